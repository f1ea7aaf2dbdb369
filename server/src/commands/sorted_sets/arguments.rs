//! What the arguments of several commands have in common: bounds, limits, timeouts.

use ballast_protocol::CommandError;
use ballast_protocol::number::{parse_f64, parse_i64};
use ballast_storage::types::{MemberBound, ScoreBound};

/// An integer argument.
pub(super) fn integer(text: &[u8]) -> Result<i64, CommandError> {
    parse_i64(text).ok_or(CommandError::NotInteger)
}

/// A number of members that is at least 0.
pub(super) fn count(text: &[u8]) -> Result<usize, CommandError> {
    parse_i64(text).and_then(|count| usize::try_from(count).ok()).ok_or(CommandError::NotPositive)
}

/// A number that is at least 1; `refusal` is the error's text otherwise.
pub(super) fn at_least_one(text: &[u8], refusal: &'static str) -> Result<usize, CommandError> {
    parse_i64(text)
        .and_then(|count| usize::try_from(count).ok())
        .filter(|count| *count > 0)
        .ok_or(CommandError::other(refusal))
}

/// A score.
pub(super) fn score(text: &[u8]) -> Result<f64, CommandError> {
    parse_f64(text).ok_or(CommandError::NotFloat)
}

/// One end of a range of scores: `5`, `(5`, `-inf`.
pub(super) fn score_bound(text: &[u8]) -> Result<ScoreBound, CommandError> {
    match text {
        [b'(', rest @ ..] => Ok(ScoreBound::Excluded(bound_value(rest)?)),
        _ => Ok(ScoreBound::Included(bound_value(text)?)),
    }
}

/// Bounds are read more leniently than scores, as by C's `strtod`: blanks may stand before the
/// number, nothing is 0, and what is too large is infinite.
fn bound_value(text: &[u8]) -> Result<f64, CommandError> {
    if text.is_empty() {
        return Ok(0.0);
    }
    let text = text.trim_ascii_start();
    parse_f64(text)
        .or_else(|| str::from_utf8(text).ok()?.parse::<f64>().ok())
        .filter(|value| !value.is_nan())
        .ok_or(CommandError::MinMaxNotFloat)
}

/// One end of a range of members: `[a`, `(a`, `-`, `+`.
pub(super) fn member_bound(text: &[u8]) -> Result<MemberBound<'_>, CommandError> {
    match text {
        b"-" => Ok(MemberBound::Lowest),
        b"+" => Ok(MemberBound::Highest),
        [b'[', member @ ..] => Ok(MemberBound::Included(member)),
        [b'(', member @ ..] => Ok(MemberBound::Excluded(member)),
        _ => Err(CommandError::MinMaxNotRange),
    }
}

/// The time that a blocking command waits at most: seconds as a float, in milliseconds, 0 for
/// ever. A part of a millisecond counts as a whole one.
pub(super) fn timeout_ms(text: &[u8]) -> Result<u64, CommandError> {
    let seconds = parse_f64(text).ok_or(CommandError::TimeoutNotFloat)?;
    if seconds < 0.0 {
        return Err(CommandError::TimeoutNegative);
    }
    let ms = (seconds * 1000.0).ceil();
    if ms >= i64::MAX as f64 {
        return Err(CommandError::other("ERR timeout is out of range"));
    }
    Ok(ms as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_scores() {
        for (text, bound) in [
            ("1", ScoreBound::Included(1.0)),
            ("(1.5", ScoreBound::Excluded(1.5)),
            ("-inf", ScoreBound::Included(f64::NEG_INFINITY)),
            ("(+inf", ScoreBound::Excluded(f64::INFINITY)),
            ("1e400", ScoreBound::Included(f64::INFINITY)),
            ("", ScoreBound::Included(0.0)),
            ("(", ScoreBound::Excluded(0.0)),
        ] {
            assert_eq!(score_bound(text.as_bytes()), Ok(bound), "{text}");
        }
        for text in ["x", "nan", "((1", "1x", "[1"] {
            assert_eq!(score_bound(text.as_bytes()), Err(CommandError::MinMaxNotFloat), "{text}");
        }
    }

    #[test]
    fn bounds_of_members() {
        assert_eq!(member_bound(b"-"), Ok(MemberBound::Lowest));
        assert_eq!(member_bound(b"+"), Ok(MemberBound::Highest));
        assert_eq!(member_bound(b"["), Ok(MemberBound::Included(b"")));
        assert_eq!(member_bound(b"(ab"), Ok(MemberBound::Excluded(b"ab")));
        for text in ["", "a", "-a", "++"] {
            assert_eq!(member_bound(text.as_bytes()), Err(CommandError::MinMaxNotRange), "{text}");
        }
    }

    #[test]
    fn timeouts() {
        assert_eq!(timeout_ms(b"0"), Ok(0));
        assert_eq!(timeout_ms(b"0.0001"), Ok(1));
        assert_eq!(timeout_ms(b"1.5"), Ok(1500));
        assert_eq!(timeout_ms(b"-1"), Err(CommandError::TimeoutNegative));
        assert_eq!(timeout_ms(b"x"), Err(CommandError::TimeoutNotFloat));
        assert!(timeout_ms(b"1e300").is_err());
    }
}
