//! `LCS`: the longest common subsequence of two strings, by the textbook table of prefix lengths.

use ballast_protocol::number::parse_i64;
use ballast_protocol::{Args, CommandError, Reply};

use super::text_of;
use crate::commands::context::Data;
use crate::commands::table::CommandResult;
use crate::engine::write::Located;

pub(super) fn lcs(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let a = string_at(cx, cx.key(1)?)?;
    let b = string_at(cx, cx.key(2)?)?;
    let options = Options::parse(args)?;
    let table = Table::new(&a, &b, cx.config().proto_max_bulk_len)?;
    match options.answer {
        Answer::Length => reply.integer(table.len().into()),
        Answer::Text => {
            let runs = table.runs();
            let parts: Vec<&[u8]> =
                runs.iter().rev().map(|run| &a[run.a..run.a + run.len]).collect();
            reply.bulk_parts(&parts);
        }
        Answer::Indexes => write_indexes(reply, &table, &options),
    }
    Ok(())
}

/// A copy, as two values are needed at a time.
fn string_at(cx: &mut Data<'_>, key: Located<'_>) -> Result<Vec<u8>, CommandError> {
    let mut digits = itoa::Buffer::new();
    match text_of(cx.read(key), &mut digits) {
        Ok(text) => Ok(text.to_vec()),
        Err(_) => Err(CommandError::other("ERR The specified keys must contain string values")),
    }
}

fn write_indexes(reply: &mut Reply, table: &Table<'_>, options: &Options) {
    let runs = table.runs();
    let long_enough = || runs.iter().filter(|run| run.len as u64 >= options.run_len_min);
    reply.map(2);
    reply.bulk(b"matches");
    reply.array(long_enough().count());
    for run in long_enough() {
        reply.array(if options.with_run_len { 3 } else { 2 });
        for start in [run.a, run.b] {
            reply.array(2);
            reply.integer(start as i64);
            reply.integer((start + run.len - 1) as i64);
        }
        if options.with_run_len {
            reply.integer(run.len as i64);
        }
    }
    reply.bulk(b"len");
    reply.integer(table.len().into());
}

/// What the reply is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Text,
    Length,
    Indexes,
}

struct Options {
    answer: Answer,
    /// Shorter runs are left out of the indexes.
    run_len_min: u64,
    with_run_len: bool,
}

impl Options {
    fn parse(args: Args<'_>) -> Result<Options, CommandError> {
        let (mut length, mut indexes) = (false, false);
        let mut options = Options { answer: Answer::Text, run_len_min: 0, with_run_len: false };
        let mut at = 3;
        while at < args.len() {
            let word = args.at(at);
            if word.eq_ignore_ascii_case(b"idx") {
                indexes = true;
            } else if word.eq_ignore_ascii_case(b"len") {
                length = true;
            } else if word.eq_ignore_ascii_case(b"withmatchlen") {
                options.with_run_len = true;
            } else if word.eq_ignore_ascii_case(b"minmatchlen") && at + 1 < args.len() {
                at += 1;
                let min = parse_i64(args.at(at)).ok_or(CommandError::NotInteger)?;
                options.run_len_min = min.max(0).unsigned_abs();
            } else {
                return Err(CommandError::Syntax);
            }
            at += 1;
        }
        options.answer = match (length, indexes) {
            (true, true) => {
                return Err(CommandError::other(
                    "ERR If you want both the length and indexes, please just use IDX.",
                ));
            }
            (true, false) => Answer::Length,
            (false, true) => Answer::Indexes,
            (false, false) => Answer::Text,
        };
        Ok(options)
    }
}

/// A part of the common subsequence that is contiguous in both strings.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    /// Where it starts in the first string.
    a: usize,
    /// Where it starts in the second string.
    b: usize,
    len: usize,
}

/// For each pair of prefixes the length of their longest common subsequence.
struct Table<'s> {
    a: &'s [u8],
    b: &'s [u8],
    /// Row by row, a row per prefix of `a`.
    lengths: Vec<u32>,
}

impl<'s> Table<'s> {
    /// Refuses tables of more than `bytes_max`.
    fn new(a: &'s [u8], b: &'s [u8], bytes_max: u64) -> Result<Table<'s>, CommandError> {
        let width = b.len() + 1;
        let cells = (a.len() as u64 + 1).checked_mul(width as u64);
        let Some(cells) = cells.filter(|cells| *cells <= bytes_max / size_of::<u32>() as u64)
        else {
            return Err(CommandError::other(
                "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
            ));
        };
        let mut lengths = vec![0_u32; cells as usize];
        for (row, byte) in a.iter().enumerate() {
            let (above, below) = lengths[row * width..].split_at_mut(width);
            for (at, other) in b.iter().enumerate() {
                below[at + 1] =
                    if byte == other { above[at] + 1 } else { below[at].max(above[at + 1]) };
            }
        }
        Ok(Table { a, b, lengths })
    }

    fn len(&self) -> u32 {
        self.lengths.last().copied().unwrap_or(0)
    }

    fn at(&self, i: usize, j: usize) -> u32 {
        self.lengths[i * (self.b.len() + 1) + j]
    }

    /// The runs of one longest subsequence, the last one first.
    fn runs(&self) -> Vec<Run> {
        let mut runs = Vec::new();
        let (mut i, mut j) = (self.a.len(), self.b.len());
        while i > 0 && j > 0 {
            let (a_end, b_end) = (i, j);
            while i > 0 && j > 0 && self.a[i - 1] == self.b[j - 1] {
                i -= 1;
                j -= 1;
            }
            if i < a_end {
                runs.push(Run { a: i, b: j, len: a_end - i });
                debug_assert_eq!(a_end - i, b_end - j);
            } else if self.at(i - 1, j) > self.at(i, j - 1) {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Is `part` what is left of `whole` when some of it is left out?
    fn is_subsequence(part: &[u8], whole: &[u8]) -> bool {
        let mut rest = whole.iter();
        part.iter().all(|byte| rest.any(|other| other == byte))
    }

    #[test]
    fn tables_over_the_limit_are_refused() {
        assert!(Table::new(b"abc", b"abc", 64).is_ok());
        assert!(Table::new(b"abc", b"abc", 63).is_err());
        assert_eq!(Table::new(b"", b"abc", 64).unwrap().runs(), []);
    }

    proptest! {
        #[test]
        fn runs_are_a_longest_common_subsequence(a in "[abc]{0,9}", b in "[abc]{0,9}") {
            let (a, b) = (a.as_bytes(), b.as_bytes());
            let table = Table::new(a, b, 1024).unwrap();
            let mut common = Vec::new();
            for run in table.runs().iter().rev() {
                prop_assert_eq!(&a[run.a..run.a + run.len], &b[run.b..run.b + run.len]);
                common.extend_from_slice(&a[run.a..run.a + run.len]);
            }
            prop_assert_eq!(common.len() as u32, table.len());
            prop_assert!(is_subsequence(&common, a) && is_subsequence(&common, b));
            let longest = (0..1_u32 << a.len())
                .map(|mask| -> Vec<u8> {
                    let kept = |at: &usize| mask >> at & 1 == 1;
                    (0..a.len()).filter(kept).map(|at| a[at]).collect()
                })
                .filter(|part| is_subsequence(part, b))
                .map(|part| part.len())
                .max();
            prop_assert_eq!(longest, Some(common.len()));
        }
    }
}
