//! Doubles as text: C's `%.17g`, which is what Redis 7.0 writes for scores.

use std::fmt::{self, Write as _};

/// Significant digits: enough that every double reads back as itself.
const DIGITS: usize = 17;
/// The longest text is `-1.2345678901234567e-308`.
const BYTES_MAX: usize = 32;

/// The text of a double, without an allocation.
#[derive(Clone, Copy)]
pub struct DoubleText {
    bytes: [u8; BYTES_MAX],
    len: usize,
}

/// The text of a double with 17 significant digits, trailing zeros dropped: `0.1` is
/// `0.10000000000000001`, 10²⁰ is `1e+20`. Not finite: `inf`, `-inf`, `nan`.
pub fn format_f64(value: f64) -> DoubleText {
    DoubleText::new(value)
}

impl DoubleText {
    /// See [`format_f64`].
    pub fn new(value: f64) -> Self {
        let mut text = Self { bytes: [0; BYTES_MAX], len: 0 };
        if value.is_nan() {
            text.push(b"nan");
        } else if value.is_infinite() {
            text.push(if value > 0.0 { b"inf" } else { b"-inf" });
        } else if value == value.trunc() && value.abs() < 1e17 {
            // Here 17 digits are exact, and `%g` writes no exponent yet.
            if value.is_sign_negative() && value == 0.0 {
                text.push(b"-");
            }
            text.push(itoa::Buffer::new().format(value as i64).as_bytes());
        } else {
            text.push_digits(value);
        }
        text
    }

    /// The text.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        str::from_utf8(self.as_bytes()).expect("ASCII only")
    }

    fn push(&mut self, text: &[u8]) {
        self.bytes[self.len..self.len + text.len()].copy_from_slice(text);
        self.len += text.len();
    }

    fn push_digits(&mut self, value: f64) {
        let mut scientific = Self { bytes: [0; BYTES_MAX], len: 0 };
        write!(scientific, "{:.*e}", DIGITS - 1, value.abs()).expect("room for every double");
        let (mantissa, exponent) = scientific.as_str().split_once('e').expect("an exponent");
        let exponent: i32 = exponent.parse().expect("a number");
        let mut digits = [0; DIGITS];
        for (digit, byte) in digits.iter_mut().zip(mantissa.bytes().filter(|&byte| byte != b'.')) {
            *digit = byte;
        }
        let significant = digits.iter().rposition(|&digit| digit != b'0').map_or(1, |at| at + 1);
        let digits = &digits[..significant];

        if value.is_sign_negative() {
            self.push(b"-");
        }
        if !(-4..DIGITS as i32).contains(&exponent) {
            self.push_with_point(digits, 1);
            self.push(if exponent < 0 { b"e-" } else { b"e+" });
            if exponent.abs() < 10 {
                self.push(b"0");
            }
            self.push(itoa::Buffer::new().format(exponent.abs()).as_bytes());
        } else if exponent < 0 {
            self.push(b"0.");
            self.push(&b"000"[..(-exponent - 1) as usize]);
            self.push(digits);
        } else {
            self.push_with_point(digits, exponent as usize + 1);
        }
    }

    /// Writes digits with a point behind the first `whole` of them, if any are left then.
    fn push_with_point(&mut self, digits: &[u8], whole: usize) {
        let (head, tail) = digits.split_at(whole.min(digits.len()));
        self.push(head);
        for _ in head.len()..whole {
            self.push(b"0");
        }
        if !tail.is_empty() {
            self.push(b".");
            self.push(tail);
        }
    }
}

impl fmt::Write for DoubleText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.len + text.len() > BYTES_MAX {
            return Err(fmt::Error);
        }
        self.push(text.as_bytes());
        Ok(())
    }
}

impl fmt::Display for DoubleText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for DoubleText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl PartialEq<str> for DoubleText {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each is what redis-server 7.0 answers to ZSCORE.
    #[test]
    fn the_texts_of_scores() {
        for (value, text) in [
            (0.1, "0.10000000000000001"),
            (3.0, "3"),
            (-3.5, "-3.5"),
            (1e20, "1e+20"),
            (1e17, "1e+17"),
            (1e16, "10000000000000000"),
            (1e-7, "9.9999999999999995e-08"),
            (1e-4, "0.0001"),
            (1e-5, "1.0000000000000001e-05"),
            (123_456_789_012_345_678.0, "1.2345678901234568e+17"),
            (1.5e300, "1.5000000000000001e+300"),
            (4.9e-324, "4.9406564584124654e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (std::f64::consts::PI, "3.1415926535897931"),
            (123.456, "123.456"),
            (9_007_199_254_740_993.0, "9007199254740992"),
            (9_223_372_036_854_775_807.0, "9.2233720368547758e+18"),
            (1e150, "9.9999999999999998e+149"),
            (0.0, "0"),
            (-0.0, "-0"),
            (0.5, "0.5"),
            // Half-way cases go to the even digit.
            (2f64.powi(-25), "2.9802322387695312e-08"),
            (3.0 * 2f64.powi(-25), "8.9406967163085938e-08"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(format_f64(value).as_str(), text);
        }
    }
}
