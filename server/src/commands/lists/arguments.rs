//! What the arguments of several commands have in common: indexes, counts, timeouts.

use ballast_protocol::number::{LongDouble, parse_f64, parse_i64};
use ballast_protocol::{Args, CommandError};

use super::End;

/// An integer argument.
pub(super) fn integer(text: &[u8]) -> Result<i64, CommandError> {
    parse_i64(text).ok_or(CommandError::NotInteger)
}

/// A number of elements that is at least 0.
pub(super) fn count(text: &[u8]) -> Result<usize, CommandError> {
    parse_i64(text).and_then(|count| usize::try_from(count).ok()).ok_or(CommandError::NotPositive)
}

/// One end of a list.
pub(super) fn end(text: &[u8]) -> Result<End, CommandError> {
    End::parse(text).ok_or(CommandError::Syntax)
}

/// The time that a blocking command waits at most: seconds as a float, in milliseconds, 0 for
/// ever. A part of a millisecond counts as a whole one.
pub(super) fn timeout_ms(text: &[u8]) -> Result<u64, CommandError> {
    let Some(seconds) = parse_f64(text) else {
        // Redis reads a number with a larger exponent than ours.
        return Err(match LongDouble::parse(text) {
            Some(_) if text.starts_with(b"-") => CommandError::TimeoutNegative,
            Some(_) => TIMEOUT_TOO_LONG,
            None => CommandError::TimeoutNotFloat,
        });
    };
    let ms = (seconds * 1000.0).ceil();
    if ms < 0.0 {
        return Err(CommandError::TimeoutNegative);
    }
    if ms >= i64::MAX as f64 {
        return Err(TIMEOUT_TOO_LONG);
    }
    Ok(ms as u64)
}

const TIMEOUT_TOO_LONG: CommandError =
    CommandError::Other(std::borrow::Cow::Borrowed("ERR timeout is out of range"));

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

/// A number that is at least 1; `refusal` is the error's text otherwise.
fn at_least_one(text: &[u8], refusal: &'static str) -> Result<usize, CommandError> {
    parse_i64(text)
        .and_then(|count| usize::try_from(count).ok())
        .filter(|count| *count > 0)
        .ok_or(CommandError::other(refusal))
}

#[cfg(test)]
mod tests {
    use ballast_protocol::ArgsBuf;

    use super::*;

    #[test]
    fn timeouts() {
        for (text, ms) in [
            ("0", 0),
            ("-0", 0),
            ("0.0001", 1),
            ("1.5", 1500),
            ("-0.0001", 0),
            ("1e15", 10u64.pow(18)),
        ] {
            assert_eq!(timeout_ms(text.as_bytes()), Ok(ms), "{text}");
        }
        for (text, error) in [
            ("-1", CommandError::TimeoutNegative),
            ("-inf", CommandError::TimeoutNegative),
            ("-1e400", CommandError::TimeoutNegative),
            ("x", CommandError::TimeoutNotFloat),
            ("", CommandError::TimeoutNotFloat),
            ("nan", CommandError::TimeoutNotFloat),
            ("1e16", TIMEOUT_TOO_LONG),
            ("1e400", TIMEOUT_TOO_LONG),
            ("inf", TIMEOUT_TOO_LONG),
        ] {
            assert_eq!(timeout_ms(text.as_bytes()), Err(error), "{text}");
        }
    }

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
