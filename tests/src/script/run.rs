//! Runs scripts against a target and compares, or records, the replies.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use super::{Action, Script, Step, render};
use crate::support::{Client, Reply, Target};

const BLOCKED_WAIT_MAX: Duration = Duration::from_secs(5);
/// After so many commands without an answer the rest of a script is not worth the waiting.
const SILENCES_MAX: usize = 2;

/// A block whose replies are not the expected ones.
#[derive(Debug)]
pub struct Failure {
    /// The line of the block's first command.
    pub line: usize,
    /// The lines that differ, below the command that they answer.
    pub diff: Vec<String>,
}

/// One line of a rendered reply, and the step that it answers.
#[derive(Debug)]
struct Line {
    step: usize,
    text: String,
}

/// One run of one script.
pub struct Runner<'a> {
    target: &'a dyn Target,
    resp3: bool,
    connections: BTreeMap<usize, Client>,
    silences: usize,
}

/// The asked server, as far as scripts distinguish them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The reference.
    Redis,
    /// What is tested.
    Ballast,
}

impl<'a> Runner<'a> {
    fn new(target: &'a dyn Target, script: &Script) -> Runner<'a> {
        Runner { target, resp3: script.resp3, connections: BTreeMap::new(), silences: 0 }
    }

    /// Compares every reply; returns the blocks that differ, all of them.
    pub fn check(target: &'a dyn Target, script: &Script, asked: Asked) -> Vec<Failure> {
        let mut runner = Runner::new(target, script);
        let mut failures = Vec::new();
        for block in &script.blocks {
            let skip = match asked {
                Asked::Redis => &block.skip_redis,
                Asked::Ballast => &block.skip_ballast,
            };
            if skip.is_some() {
                continue;
            }
            if runner.silences > SILENCES_MAX {
                let diff = vec!["given up: the server leaves commands without a reply".to_owned()];
                failures.push(Failure { line: block.line, diff });
                break;
            }
            let actual = runner.run_block(&block.steps, block.unordered);
            let expected = block.expected.clone().unwrap_or_default();
            if actual.iter().map(|line| &line.text).ne(&expected) {
                let commands: Vec<&String> = block.commands().collect();
                failures
                    .push(Failure { line: block.line, diff: diff(&expected, &actual, &commands) });
            }
        }
        failures
    }

    /// Replaces the expectation of every block that Redis is asked.
    pub fn record(target: &'a dyn Target, script: &mut Script) {
        let mut runner = Runner::new(target, script);
        for block in &mut script.blocks {
            if block.skip_redis.is_none() {
                let lines = runner.run_block(&block.steps, block.unordered);
                block.expected = Some(lines.into_iter().map(|line| line.text).collect());
            }
        }
    }

    fn run_block(&mut self, steps: &[Step], unordered: bool) -> Vec<Line> {
        let mut lines = Vec::new();
        for (index, step) in steps.iter().enumerate() {
            let texts = match self.run_step(step) {
                Ok(Some(reply)) => render(&reply, unordered),
                Ok(None) => continue,
                Err(error) => {
                    self.connections.remove(&step.connection);
                    vec![self.without_reply(&error)]
                }
            };
            lines.extend(texts.into_iter().map(|text| Line { step: index, text }));
        }
        lines
    }

    fn without_reply(&mut self, error: &io::Error) -> String {
        match error.kind() {
            ErrorKind::UnexpectedEof => "(connection closed)".to_owned(),
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                self.silences += 1;
                "(no reply)".to_owned()
            }
            _ => format!("(failed: {error})"),
        }
    }

    fn run_step(&mut self, step: &Step) -> io::Result<Option<Reply>> {
        let client = self.connection(step.connection)?;
        let mut last = None;
        for count in 1..=step.repeat {
            last = match &step.action {
                Action::Call(args) => Some(client.call(&counted(args, count))?),
                Action::Send(args) => client.send(&counted(args, count)).map(|()| None)?,
                Action::Read => Some(client.read_reply()?),
                Action::Raw(bytes) => {
                    client.send_raw(bytes)?;
                    Some(client.read_reply()?)
                }
                Action::AwaitBlocked(wanted) => await_blocked(client, *wanted).map(|()| None)?,
            };
        }
        Ok(last)
    }

    fn connection(&mut self, number: usize) -> io::Result<&mut Client> {
        if !self.connections.contains_key(&number) {
            let mut client = self.target.connect()?;
            if self.resp3 {
                client.call(&["HELLO", "3"])?;
            }
            self.connections.insert(number, client);
        }
        Ok(self.connections.get_mut(&number).expect("inserted above"))
    }
}

/// Asks until as many clients are blocked as wanted.
fn await_blocked(client: &mut Client, wanted: usize) -> io::Result<()> {
    let deadline = Instant::now() + BLOCKED_WAIT_MAX;
    let line = format!("blocked_clients:{wanted}\r\n");
    loop {
        let (Reply::Bulk(info) | Reply::Verbatim(_, info)) = client.call(&["INFO", "clients"])?
        else {
            return Err(io::Error::other("INFO clients answers with no text"));
        };
        if String::from_utf8_lossy(&info).contains(&line) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(io::Error::other(format!("never {wanted} blocked clients")));
        }
    }
}

/// The words with `$i` replaced.
fn counted(args: &[Vec<u8>], count: usize) -> Vec<Vec<u8>> {
    let mark = b"$i";
    let replace = |arg: &Vec<u8>| match arg.windows(2).position(|pair| pair == mark) {
        Some(at) => [&arg[..at], count.to_string().as_bytes(), &arg[at + 2..]].concat(),
        None => arg.clone(),
    };
    args.iter().map(replace).collect()
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "block at line {}:", self.line)?;
        self.diff.iter().try_for_each(|line| writeln!(f, "    {line}"))
    }
}

/// Lines that are only expected marked `-`, only found `+` (from a longest common subsequence),
/// each below the command whose replies they stand among.
fn diff(expected: &[String], actual: &[Line], commands: &[&String]) -> Vec<String> {
    let (rows, columns) = (expected.len(), actual.len());
    let mut common = vec![vec![0_usize; columns + 1]; rows + 1];
    for row in (0..rows).rev() {
        for column in (0..columns).rev() {
            common[row][column] = if expected[row] == actual[column].text {
                common[row + 1][column + 1] + 1
            } else {
                common[row + 1][column].max(common[row][column + 1])
            };
        }
    }
    let (mut row, mut column) = (0, 0);
    let mut lines = Vec::new();
    let mut shown = usize::MAX;
    while row < rows || column < columns {
        if row < rows && column < columns && expected[row] == actual[column].text {
            row += 1;
            column += 1;
            continue;
        }
        let step = actual.get(column).or(actual.last()).map_or(0, |line| line.step);
        if step != shown {
            lines.push(format!("  {}", commands.get(step).map_or("", |command| command)));
            shown = step;
        }
        if row < rows && (column == columns || common[row + 1][column] >= common[row][column + 1]) {
            lines.push(format!("- {}", expected[row]));
            row += 1;
        } else {
            lines.push(format!("+ {}", actual[column].text));
            column += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_names_the_command_what_is_missing_and_what_is_new() {
        let expected = ["OK", "(integer) 1", "(nil)"].map(str::to_owned);
        let line = |step, text: &str| Line { step, text: text.to_owned() };
        let actual = [line(0, "OK"), line(1, "(integer) 2"), line(2, "(nil)")];
        let commands = ["SET a 1", "INCR b", "GET c"].map(str::to_owned);
        let lines = diff(&expected, &actual, &commands.each_ref());
        assert_eq!(lines, ["  INCR b", "- (integer) 1", "+ (integer) 2"]);
    }
}
