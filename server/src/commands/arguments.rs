//! What the arguments of several families have in common: integers, counts, timeouts, and how
//! many members to choose at random.

use std::borrow::Cow;

use ballast_protocol::number::{LongDouble, parse_f64, parse_i64};
use ballast_protocol::{CommandError, Reply};

use super::table::CommandResult;

/// The number of one of `databases`, in Redis a C `int`.
pub(crate) fn database(text: &[u8], databases: u32) -> Result<u8, CommandError> {
    let number = i32::try_from(integer(text)?).map_err(|_| {
        CommandError::other(
            "ERR value is out of range, value must between -2147483648 and 2147483647",
        )
    })?;
    existing_database(number, databases)
}

/// A database that there is.
pub(crate) fn existing_database(number: i32, databases: u32) -> Result<u8, CommandError> {
    u8::try_from(number)
        .ok()
        .filter(|number| u32::from(*number) < databases)
        .ok_or(CommandError::InvalidDatabase)
}

/// An integer argument.
pub(crate) fn integer(text: &[u8]) -> Result<i64, CommandError> {
    parse_i64(text).ok_or(CommandError::NotInteger)
}

/// A number of elements that is at least 0.
pub(crate) fn count(text: &[u8]) -> Result<usize, CommandError> {
    parse_i64(text).and_then(|count| usize::try_from(count).ok()).ok_or(CommandError::NotPositive)
}

/// A number that is at least 1; `refusal` is the error's text otherwise.
pub(crate) fn at_least_one(text: &[u8], refusal: &'static str) -> Result<usize, CommandError> {
    parse_i64(text)
        .and_then(|count| usize::try_from(count).ok())
        .filter(|count| *count > 0)
        .ok_or(CommandError::other(refusal))
}

/// The time that a blocking command waits at most: seconds as a float, in milliseconds, 0 for
/// ever. A part of a millisecond counts as a whole one.
pub(crate) fn timeout_ms(text: &[u8]) -> Result<u64, CommandError> {
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
    CommandError::Other(Cow::Borrowed("ERR timeout is out of range"));

/// How many members `SRANDMEMBER` and its like are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sample {
    /// Different ones, as far as there are so many.
    Distinct(usize),
    /// Each chosen from all.
    Repeated(usize),
}

/// What each chosen member is returned with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Companion {
    /// Nothing.
    None,
    /// Its value or score.
    One,
}

/// The most members that are chosen with repeats. Redis has no limit there: a number with too
/// many digits makes it write replies until it is killed.
const REPEATED_MAX: usize = 1 << 24;
/// The longest reply of such members, as long as the longest string.
const REPEATED_BYTES_MAX: usize = 512 << 20;
/// So many are chosen before the length of the reply is looked at.
const REPEATED_PIECE: usize = 1000;

impl Sample {
    /// Parses a count; a negative one allows repeats.
    pub(crate) fn parse(text: &[u8]) -> Result<i64, CommandError> {
        match parse_i64(text) {
            None => Err(CommandError::NotInteger),
            Some(i64::MIN) => Err(CommandError::other(
                "ERR value is out of range, value must between -9223372036854775807 and \
                 9223372036854775807",
            )),
            Some(count) => Ok(count),
        }
    }

    /// What a parsed count asks for.
    pub(crate) fn of(count: i64, companion: Companion) -> Result<Sample, CommandError> {
        let wanted = count.unsigned_abs();
        if companion == Companion::One && wanted > i64::MAX as u64 / 2 {
            return Err(CommandError::ValueOutOfRange);
        }
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        Ok(if count >= 0 { Sample::Distinct(wanted) } else { Sample::Repeated(wanted) })
    }
}

/// Writes `count` repeated members by calls of `piece` with a part of them. Too many for one
/// reply are an error, which takes the place of what has been written.
pub(crate) fn write_repeated(
    count: usize,
    reply: &mut Reply,
    mut piece: impl FnMut(usize, &mut Reply),
) -> CommandResult {
    if count > REPEATED_MAX {
        return Err(CommandError::ValueOutOfRange);
    }
    let start = reply.len();
    let mut left = count;
    while left > 0 {
        let part = left.min(REPEATED_PIECE);
        piece(part, reply);
        left -= part;
        if reply.len() - start > REPEATED_BYTES_MAX {
            return Err(CommandError::ValueOutOfRange);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ballast_protocol::Protocol;

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
    fn samples() {
        assert_eq!(Sample::of(3, Companion::None), Ok(Sample::Distinct(3)));
        assert_eq!(Sample::of(-3, Companion::One), Ok(Sample::Repeated(3)));
        assert!(Sample::of(i64::MAX, Companion::None).is_ok());
        assert!(Sample::of(i64::MAX, Companion::One).is_err());
        assert!(Sample::parse(b"-9223372036854775808").is_err());
    }

    #[test]
    fn repeats_come_in_pieces_until_the_reply_is_too_long() {
        let mut reply = Reply::new(Protocol::Resp2);
        let mut pieces = Vec::new();
        assert_eq!(write_repeated(2500, &mut reply, |part, _| pieces.push(part)), Ok(()));
        assert_eq!(pieces, [1000, 1000, 500]);
        let large = vec![b'x'; REPEATED_BYTES_MAX / 4];
        let mut calls = 0;
        let ended = write_repeated(1_000_000, &mut reply, |_, reply| {
            calls += 1;
            reply.bulk(&large);
        });
        assert_eq!(ended, Err(CommandError::ValueOutOfRange));
        assert_eq!(calls, 4);
        let ended = write_repeated(REPEATED_MAX + 1, &mut reply, |_, _| panic!("too many"));
        assert_eq!(ended, Err(CommandError::ValueOutOfRange));
    }
}
