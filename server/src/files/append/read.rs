//! Reads the commands of an append-only file, with an eye on its end: a command that was being
//! written when the process or the machine died is no damage.

use std::io::{self, BufRead, Read};

use ballast_protocol::ArgsBuf;
use ballast_protocol::number::parse_i64;

/// A line has a sign, a number and its end; an annotation may be longer.
const LINE_BYTES_MAX: usize = 64 << 10;
/// Arguments of a command at most, as of a request.
const ARGUMENTS_MAX: i64 = i32::MAX as i64;
/// What is believed of a length before its bytes are there.
const BELIEVED_BYTES: u64 = 1 << 20;

/// What is wrong with a file of commands.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It ends within a command or a transaction.
    #[error("it ends unexpectedly, within what begins at byte {good_bytes}")]
    Truncated {
        /// Before it, all is complete.
        good_bytes: u64,
    },
    /// It is no file of commands there.
    #[error("bad file format: {what} at byte {offset}")]
    Format {
        /// What is not as it has to be.
        what: &'static str,
        /// Where.
        offset: u64,
    },
    /// It cannot be read.
    #[error("{}", crate::config::system_reason(.0))]
    Read(#[from] io::Error),
}

/// See the module.
pub(crate) struct CommandReader<R> {
    from: R,
    offset: u64,
    /// Where the command that is being read begins, or the transaction that it is a part of.
    good_bytes: u64,
    line: Vec<u8>,
    in_transaction: bool,
}

impl<R: BufRead> CommandReader<R> {
    /// Of what comes from `offset` of a file on.
    pub(crate) fn new(from: R, offset: u64) -> CommandReader<R> {
        let line = Vec::new();
        CommandReader { from, offset, good_bytes: offset, line, in_transaction: false }
    }

    /// Bytes read so far.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads the next command, or the commands of the next transaction, into `commands`; false at
    /// the end of the file.
    pub(crate) fn next_group(&mut self, commands: &mut Vec<ArgsBuf>) -> Result<bool, ReadError> {
        commands.clear();
        self.good_bytes = self.offset;
        self.in_transaction = false;
        loop {
            let Some(command) = self.next_command()? else {
                return if self.in_transaction { Err(self.truncated()) } else { Ok(false) };
            };
            let name = command.view().at(0);
            let is_step = |step: &str| name.eq_ignore_ascii_case(step.as_bytes());
            if is_step("multi") {
                if self.in_transaction {
                    return Err(self.bad("a transaction within a transaction"));
                }
                self.in_transaction = true;
            } else if is_step("exec") {
                if !self.in_transaction {
                    return Err(self.bad("the end of a transaction that has no beginning"));
                }
                return Ok(true);
            } else {
                commands.push(command);
                if !self.in_transaction {
                    return Ok(true);
                }
            }
        }
    }

    fn next_command(&mut self) -> Result<Option<ArgsBuf>, ReadError> {
        loop {
            if self.from.fill_buf()?.is_empty() {
                return Ok(None);
            }
            self.read_line()?;
            match self.line.first() {
                Some(b'#') => {
                    if !self.in_transaction {
                        self.good_bytes = self.offset;
                    }
                }
                Some(b'*') => break,
                _ => return Err(self.bad("no command")),
            }
        }
        let count = parse_i64(&self.line[1..]).filter(|count| (1..=ARGUMENTS_MAX).contains(count));
        let count = count.ok_or_else(|| self.bad("no number of arguments"))?;
        let mut command = ArgsBuf::default();
        let mut argument = Vec::new();
        for _ in 0..count {
            self.read_line()?;
            let length = match self.line.split_first() {
                Some((b'$', digits)) => parse_i64(digits).and_then(|len| u64::try_from(len).ok()),
                _ => None,
            };
            let length = length.ok_or_else(|| self.bad("no length of an argument"))?;
            argument.clear();
            argument.reserve(usize::try_from(length.min(BELIEVED_BYTES)).unwrap_or(0));
            let read = (&mut self.from).take(length).read_to_end(&mut argument)?;
            self.offset += read as u64;
            if (read as u64) < length {
                return Err(self.truncated());
            }
            self.read_line()?;
            if !self.line.is_empty() {
                return Err(self.bad("no end of an argument"));
            }
            command.push(&argument);
        }
        Ok(Some(command))
    }

    /// Reads a line, without its end.
    fn read_line(&mut self) -> Result<(), ReadError> {
        self.line.clear();
        let most = LINE_BYTES_MAX as u64;
        let read = (&mut self.from).take(most).read_until(b'\n', &mut self.line)?;
        self.offset += read as u64;
        if self.line.pop_if(|last| *last == b'\n').is_none() {
            let is_long = read == LINE_BYTES_MAX;
            return Err(if is_long { self.bad("a line without end") } else { self.truncated() });
        }
        if self.line.pop_if(|last| *last == b'\r').is_none() {
            return Err(self.bad("a line with another end"));
        }
        Ok(())
    }

    fn truncated(&self) -> ReadError {
        ReadError::Truncated { good_bytes: self.good_bytes }
    }

    fn bad(&self, what: &'static str) -> ReadError {
        ReadError::Format { what, offset: self.offset }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The commands of a file in groups, and how its reading ended.
    fn read(file: &[u8]) -> (Vec<Vec<String>>, Result<(), ReadError>) {
        let mut reader = CommandReader::new(file, 0);
        let (mut groups, mut commands) = (Vec::new(), Vec::new());
        loop {
            match reader.next_group(&mut commands) {
                Ok(true) => groups.push(
                    commands
                        .iter()
                        .map(|command| {
                            let words = command.view();
                            let words: Vec<_> =
                                words.iter().map(|word| String::from_utf8_lossy(word)).collect();
                            words.join(" ")
                        })
                        .collect(),
                ),
                Ok(false) => return (groups, Ok(())),
                Err(error) => return (groups, Err(error)),
            }
        }
    }

    const FILE: &[u8] = b"#TS:1\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*1\r\n$5\r\nMULTI\r\n\
        *3\r\n$3\r\nSET\r\n$1\r\na\r\n$2\r\n\r\n\r\n*2\r\n$3\r\nDEL\r\n$0\r\n\r\n\
        *1\r\n$4\r\nEXEC\r\n";

    #[test]
    fn transactions_are_groups() {
        let (groups, result) = read(FILE);
        assert!(result.is_ok());
        assert_eq!(groups, [vec!["SELECT 0"], vec!["SET a \r\n", "DEL "]]);
    }

    #[test]
    fn each_prefix_is_complete_or_truncated_where_its_last_group_begins() {
        let select_end = 7 + 23;
        for len in 0..FILE.len() {
            let (groups, result) = read(&FILE[..len]);
            match result {
                Ok(()) => assert!([0, 7, select_end].contains(&len), "{len}"),
                Err(ReadError::Truncated { good_bytes }) => {
                    let begins = [0, 7, select_end as u64];
                    assert!(begins.contains(&good_bytes), "{len}: {good_bytes}");
                    let (again, result) = read(&FILE[..good_bytes as usize]);
                    assert!(result.is_ok() && again == groups, "{len}");
                }
                Err(error) => panic!("{len}: {error}"),
            }
        }
    }

    #[test]
    fn damage_is_told_with_its_place() {
        for file in [
            b"SET a b\r\n".as_slice(),
            b"*1\r\n$x\r\n",
            b"*-1\r\n",
            b"*1\n",
            b"*1\r\n$1\r\nabc\r\n",
            b"*1\r\n$4\r\nEXEC\r\n",
            b"*1\r\n$5\r\nMULTI\r\n*1\r\n$5\r\nMULTI\r\n",
        ] {
            let (groups, result) = read(file);
            assert!(matches!(result, Err(ReadError::Format { .. })), "{file:?}: {result:?}");
            assert!(groups.is_empty());
        }
        // A length that nothing follows takes no memory.
        let (_, result) = read(b"*1\r\n$99999999999999\r\nab");
        assert!(matches!(result, Err(ReadError::Truncated { good_bytes: 0 })), "{result:?}");
    }
}
