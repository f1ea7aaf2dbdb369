//! What the arguments of several commands on sorted sets have in common: scores and bounds.

use ballast_protocol::CommandError;
use ballast_protocol::number::parse_f64;
use ballast_storage::types::{MemberBound, ScoreBound};

pub(super) use crate::commands::arguments::{at_least_one, count, integer, timeout_ms};

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
/// number, nothing is 0, what is too large is infinite, and a NUL ends the text.
fn bound_value(text: &[u8]) -> Result<f64, CommandError> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
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
            ("\0", ScoreBound::Included(0.0)),
            ("(2\0x", ScoreBound::Excluded(2.0)),
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
}
