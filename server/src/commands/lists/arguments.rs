//! What the arguments of several commands on lists have in common.

use ballast_protocol::{Args, CommandError};

use super::End;
pub(super) use crate::commands::arguments::{at_least_one, count, integer, timeout_ms};

/// One end of a list.
pub(super) fn end(text: &[u8]) -> Result<End, CommandError> {
    End::parse(text).ok_or(CommandError::Syntax)
}

/// `numkeys key … LEFT|RIGHT [COUNT count]`
pub(super) struct Choice {
    /// Positions of the keys among the arguments.
    pub(super) keys: std::ops::Range<usize>,
    pub(super) end: End,
    pub(super) count: usize,
}

impl Choice {
    /// Parses a choice whose number of keys is argument `at`.
    pub(super) fn parse(args: Args<'_>, at: usize) -> Result<Choice, CommandError> {
        let keys = at_least_one(args.at(at), "ERR numkeys should be greater than 0")?;
        let first = at + 1;
        let place = first.saturating_add(keys);
        let end = end(args.get(place).ok_or(CommandError::Syntax)?)?;
        let options = args.from(place + 1);
        let count = match options.len() {
            0 => 1,
            // Given twice, it is no option but a mistake, which is found after its first value.
            2.. if options.at(0).eq_ignore_ascii_case(b"count") => {
                let count = at_least_one(options.at(1), "ERR count should be greater than 0")?;
                if options.len() > 2 {
                    return Err(CommandError::Syntax);
                }
                count
            }
            _ => return Err(CommandError::Syntax),
        };
        Ok(Choice { keys: first..place, end, count })
    }
}

#[cfg(test)]
mod tests {
    use ballast_protocol::ArgsBuf;

    use super::*;

    #[test]
    fn choices() {
        let parse = |words: &[&str]| {
            let args = ArgsBuf::new(words);
            Choice::parse(args.view(), 1).map(|choice| (choice.keys, choice.end, choice.count))
        };
        assert_eq!(parse(&["lmpop", "2", "a", "b", "Left"]), Ok((2..4, End::Left, 1)));
        let counted = ["lmpop", "1", "a", "RIGHT", "count", "7"];
        assert_eq!(parse(&counted), Ok((2..3, End::Right, 7)));
        for wrong in [
            &["lmpop", "9223372036854775807", "a", "LEFT"][..],
            &["lmpop", "2", "a", "LEFT"],
            &["lmpop", "1", "a", "LEFT", "COUNT"],
            &["lmpop", "1", "a", "LEFT", "COUNT", "1", "COUNT"],
            &["lmpop", "1", "a", "LEFT", "COUNT", "1", "COUNT", "1"],
        ] {
            assert_eq!(parse(wrong), Err(CommandError::Syntax), "{wrong:?}");
        }
    }
}
