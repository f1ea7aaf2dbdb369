//! The spelling of floats: what C's `strtod` would take, provided that it takes everything.

use super::binary::Unrounded;

/// A float that is spelled correctly.
pub(super) struct Number<'a> {
    pub(super) negative: bool,
    pub(super) magnitude: Magnitude<'a>,
}

pub(super) enum Magnitude<'a> {
    Infinite,
    Hexadecimal(Unrounded),
    Decimal(Decimal<'a>),
}

/// Digits with an optional point and exponent.
pub(super) struct Decimal<'a> {
    /// All of it, without the sign.
    pub(super) text: &'a [u8],
    /// Digits before the point.
    pub(super) whole: &'a [u8],
    /// Digits behind the point.
    pub(super) fraction: &'a [u8],
    /// Power of ten, saturated at what no number here can reach.
    pub(super) exponent: i64,
}

impl Decimal<'_> {
    pub(super) fn is_zero(&self) -> bool {
        self.whole.iter().chain(self.fraction).all(|&digit| digit == b'0')
    }
}

/// Exponents beyond this are all the same: no text has that many digits to make up for it.
const EXPONENT_MAX: i64 = 1 << 40;

pub(super) fn scan(text: &[u8]) -> Option<Number<'_>> {
    let (negative, body) = match text {
        [b'-', body @ ..] => (true, body),
        [b'+', body @ ..] => (false, body),
        body => (false, body),
    };
    let magnitude = match body {
        [b'0', b'x' | b'X', digits @ ..] => Magnitude::Hexadecimal(scan_hexadecimal(digits)?),
        [b'i' | b'I', ..] => {
            let name = [&b"inf"[..], b"infinity"];
            if !name.iter().any(|name| body.eq_ignore_ascii_case(name)) {
                return None;
            }
            Magnitude::Infinite
        }
        _ => Magnitude::Decimal(scan_decimal(body)?),
    };
    Some(Number { negative, magnitude })
}

fn scan_decimal(text: &[u8]) -> Option<Decimal<'_>> {
    let (whole, fraction, rest) = take_digits(text, u8::is_ascii_digit)?;
    let exponent = scan_exponent(rest, b'e')?;
    Some(Decimal { text, whole, fraction, exponent })
}

fn scan_hexadecimal(text: &[u8]) -> Option<Unrounded> {
    let (whole, fraction, rest) = take_digits(text, u8::is_ascii_hexdigit)?;
    let mut exponent = scan_exponent(rest, b'p')? - 4 * fraction.len() as i64;
    let mut mantissa = 0u128;
    let mut sticky = false;
    for digit in whole.iter().chain(fraction) {
        let digit = char::from(*digit).to_digit(16)?;
        if mantissa >> 124 == 0 {
            mantissa = mantissa << 4 | u128::from(digit);
        } else {
            sticky |= digit != 0;
            exponent += 4;
        }
    }
    Some(Unrounded { mantissa, sticky, exponent })
}

/// Digits, a point, digits: at least one digit. What follows is the third part.
fn take_digits(text: &[u8], is_digit: fn(&u8) -> bool) -> Option<(&[u8], &[u8], &[u8])> {
    let split = |text: &'_ [u8]| text.iter().position(|byte| !is_digit(byte)).unwrap_or(text.len());
    let (whole, rest) = text.split_at(split(text));
    let (fraction, rest) = match rest {
        [b'.', tail @ ..] => tail.split_at(split(tail)),
        _ => (&rest[..0], rest),
    };
    (!whole.is_empty() || !fraction.is_empty()).then_some((whole, fraction, rest))
}

/// The exponent behind `letter` (of either case), 0 when there is none.
fn scan_exponent(text: &[u8], letter: u8) -> Option<i64> {
    let (first, tail) = match text.split_first() {
        None => return Some(0),
        Some(split) => split,
    };
    if first.to_ascii_lowercase() != letter {
        return None;
    }
    let (negative, digits) = match tail {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let magnitude = digits
        .iter()
        .fold(0i64, |value, digit| (value * 10 + i64::from(digit - b'0')).min(EXPONENT_MAX));
    Some(if negative { -magnitude } else { magnitude })
}
