//! The small values of directives: numbers, sizes, points, words.

use thiserror::Error;

use crate::plan::Threshold;
use crate::window::WindowError;

/// Why a directive was not accepted.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PolicyError {
    /// There is no such directive.
    #[error("unknown directive '{0}'")]
    Unknown(String),
    /// Not one of the words.
    #[error("'{value}' is not one of {choices}")]
    Choice {
        /// What was given.
        value: String,
        /// The words, separated by commas.
        choices: String,
    },
    /// Not a number in the allowed range.
    #[error("'{value}' is not a number from {min} to {max}")]
    Number {
        /// What was given.
        value: String,
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// Not two values.
    #[error("'{0}' should be two values separated by a space")]
    Pair(String),
    /// Stop is not below start.
    #[error("'{0}': stop must be below start")]
    StopNotBelowStart(String),
    /// A window, zone or date is not understood.
    #[error(transparent)]
    Window(#[from] WindowError),
}

pub(crate) fn number(value: &str, min: u64, max: u64) -> Result<u64, PolicyError> {
    let parsed = value.parse().ok().filter(|number| (min..=max).contains(number));
    parsed.ok_or_else(|| PolicyError::Number { value: value.to_owned(), min, max })
}

pub(crate) fn length(value: &str, min: usize, max: usize) -> Result<usize, PolicyError> {
    let parsed = value.parse().ok().filter(|number| (min..=max).contains(number));
    parsed.ok_or_else(|| PolicyError::Number {
        value: value.to_owned(),
        min: min as u64,
        max: max as u64,
    })
}

/// Bytes with the units of redis.conf: `kb` is 1,024, `k` is 1,000.
pub(crate) fn size(value: &str, min: u64) -> Result<u64, PolicyError> {
    let bad = || PolicyError::Number { value: value.to_owned(), min, max: u64::MAX };
    let lower = value.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match &lower[digits.len()..] {
        "" | "b" => 1,
        "k" => 1_000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return Err(bad()),
    };
    let number: u64 = digits.parse().map_err(|_| bad())?;
    number.checked_mul(factor).filter(|&bytes| bytes >= min).ok_or_else(bad)
}

pub(crate) fn render_size(bytes: u64) -> String {
    for (unit, shift) in [("gb", 30), ("mb", 20), ("kb", 10)] {
        if bytes > 0 && bytes.is_multiple_of(1 << shift) {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

pub(crate) fn pair(value: &str) -> Result<(&str, &str), PolicyError> {
    let mut words = value.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(first), Some(second), None) => Ok((first, second)),
        _ => Err(PolicyError::Pair(value.to_owned())),
    }
}

/// Points, 0 to 100, as a fraction.
pub(crate) fn points(value: &str) -> Result<f64, PolicyError> {
    let bad = || PolicyError::Number { value: value.to_owned(), min: 0, max: 100 };
    let parsed: f64 = value.parse().map_err(|_| bad())?;
    if (0.0..=100.0).contains(&parsed) { Ok(parsed / 100.0) } else { Err(bad()) }
}

pub(crate) fn render_points(fraction: f64) -> String {
    // Points are given with at most a few decimals; the division by 100 must not show.
    ((fraction * 100.0 * 1e6).round() / 1e6).to_string()
}

pub(crate) fn threshold(value: &str) -> Result<Threshold, PolicyError> {
    let (start, stop) = pair(value)?;
    let (start, stop) = (points(start)?, points(stop)?);
    if stop < start && stop > 0.0 {
        Ok(Threshold { start, stop })
    } else {
        Err(PolicyError::StopNotBelowStart(value.to_owned()))
    }
}

/// A threshold, or `0 0` for none.
pub(crate) fn threshold_or_none(value: &str) -> Result<Threshold, PolicyError> {
    let (start, stop) = pair(value)?;
    if points(start)? == 0.0 && points(stop)? == 0.0 {
        return Ok(Threshold { start: 0.0, stop: 0.0 });
    }
    threshold(value)
}

pub(crate) fn render_threshold(threshold: Threshold) -> String {
    format!("{} {}", render_points(threshold.start), render_points(threshold.stop))
}

/// One of several words, by position.
pub(crate) fn choice(value: &str, choices: &[&str]) -> Result<usize, PolicyError> {
    choices
        .iter()
        .position(|word| word.eq_ignore_ascii_case(value))
        .ok_or_else(|| PolicyError::Choice { value: value.to_owned(), choices: choices.join(", ") })
}
