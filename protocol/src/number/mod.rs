//! Numbers as text, as strict and as precise as Redis is with them.
//!
//! Integers have exactly one spelling. Floats are what C's `strtod` takes whole (hexadecimal
//! and `inf` included), without blanks around and without NaN, overflow or underflow to zero.
//! Scores are doubles, written with 17 significant digits; INCRBYFLOAT and HINCRBYFLOAT
//! compute with x87 long doubles ([`LongDouble`]).

mod big;
mod binary;
mod double_text;
mod long_double;
mod scan;

pub use double_text::{DoubleText, format_f64};
pub use long_double::{LongDouble, format_human_f64};

/// A signed integer in its one spelling: no plus, no leading zeros, no blanks, no `-0`.
#[inline]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    match text {
        [b'-', digits @ ..] => {
            let magnitude = parse_u64(digits)?;
            if magnitude == 0 { None } else { 0i64.checked_sub_unsigned(magnitude) }
        }
        digits => i64::try_from(parse_u64(digits)?).ok(),
    }
}

/// An unsigned integer in its one spelling: no sign, no leading zeros, no blanks.
#[inline]
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    /// Digits that cannot overflow, whatever they are.
    const SAFE_DIGITS: usize = 19;
    let (first, rest) = text.split_first()?;
    if *first == b'0' {
        return rest.is_empty().then_some(0);
    }
    if text.len() > SAFE_DIGITS + 1 {
        return None;
    }
    let mut value = 0u64;
    let (safe, last) = text.split_at(text.len().min(SAFE_DIGITS));
    for &byte in safe {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    for &byte in last {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(value)
}

/// A double as Redis reads scores and other floats: what `strtod` takes whole.
///
/// Decimal, hexadecimal (`0x1.8p3`) and infinities (`inf`, `Infinity`, any case) are numbers;
/// blanks, NaN, what overflows, and what is not zero but too small for a double are not.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    let number = scan::scan(text)?;
    let magnitude = match number.magnitude {
        scan::Magnitude::Infinite => f64::INFINITY,
        scan::Magnitude::Hexadecimal(hexadecimal) => hexadecimal.to_f64()?,
        scan::Magnitude::Decimal(decimal) => {
            let value: f64 = str::from_utf8(decimal.text).ok()?.parse().ok()?;
            let underflowed = value == 0.0 && !decimal.is_zero();
            if value.is_infinite() || underflowed {
                return None;
            }
            value
        }
    };
    Some(if number.negative { -magnitude } else { magnitude })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn integers_have_one_spelling() {
        for (text, value) in [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-9223372036854775809", None),
            ("99999999999999999999999", None),
            ("", None),
            ("-", None),
            ("-0", None),
            ("+1", None),
            ("01", None),
            ("-01", None),
            ("00", None),
            (" 1", None),
            ("1 ", None),
            ("1a", None),
            ("1234567890123456789a", None),
        ] {
            assert_eq!(parse_i64(text.as_bytes()), value, "{text}");
        }
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_u64(b"18446744073709551616"), None);
        assert_eq!(parse_u64(b"100000000000000000000"), None);
    }

    #[test]
    fn floats_that_redis_takes() {
        for (text, value) in [
            ("0.1", 0.1),
            ("1.", 1.0),
            (".5", 0.5),
            ("+1", 1.0),
            ("-0", -0.0),
            ("1E5", 1e5),
            ("1e+5", 1e5),
            ("1e-320", 1e-320),
            ("4.9e-324", 5e-324),
            ("0e99999999999", 0.0),
            ("inf", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("+INF", f64::INFINITY),
            ("0x10", 16.0),
            ("0X1P2", 4.0),
            ("0x.8", 0.5),
            ("0x1.8p3", 12.0),
            ("-0x1p-1074", -5e-324),
            ("0x0p99999", 0.0),
            ("0x1.fffffffffffff7p1023", f64::MAX),
            ("0x1.00000000000008p0", 1.0),
            ("0x1.000000000000080000000000000000000000000001p0", 1.0 + f64::EPSILON),
        ] {
            let parsed = parse_f64(text.as_bytes());
            assert_eq!(parsed.map(f64::to_bits), Some(f64::to_bits(value)), "{text}");
        }
    }

    #[test]
    fn floats_that_redis_refuses() {
        for text in [
            "",
            ".",
            "+",
            "++1",
            " 1",
            "1 ",
            "\t1",
            "1\n",
            "1\0",
            "1e",
            "1e+",
            "1_0",
            "1d",
            "infi",
            "in",
            "nan",
            "-nan",
            "nan(1)",
            "0x",
            "0x.",
            "0x1p",
            "1e400",
            "-1e400",
            "1e-400",
            "e5",
            "0x1p-1080",
            "0x1p1024",
            "0x1.fffffffffffff8p1023",
            "--1",
            "1.2.3",
            "\u{ff11}",
        ] {
            assert_eq!(parse_f64(text.as_bytes()), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn integers_round_trip(signed: i64, unsigned: u64) {
            prop_assert_eq!(parse_i64(signed.to_string().as_bytes()), Some(signed));
            prop_assert_eq!(parse_u64(unsigned.to_string().as_bytes()), Some(unsigned));
        }

        #[test]
        fn what_is_no_integer_is_refused(text in "[-+0-9 a]{0,22}") {
            let strict = text.parse::<i64>().ok().filter(|value| value.to_string() == text);
            prop_assert_eq!(parse_i64(text.as_bytes()), strict);
        }

        #[test]
        fn doubles_round_trip(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(!value.is_nan());
            let parsed = parse_f64(format_f64(value).as_bytes());
            prop_assert_eq!(parsed.map(f64::to_bits), Some(bits));
        }

        #[test]
        fn hexadecimal_doubles_round_trip(mantissa in 0..1u64 << 53, exponent in -1074i32..971) {
            let text = format!("0x{mantissa:x}p{exponent}");
            // Exact: the mantissa fits, and halving or doubling it does not round.
            let half = 2f64.powi(exponent / 2);
            let value = mantissa as f64 * half * 2f64.powi(exponent - exponent / 2);
            prop_assert_eq!(parse_f64(text.as_bytes()), Some(value));
        }

        #[test]
        fn garbage_is_refused_or_read_without_panic(text: Vec<u8>) {
            let _ = (parse_i64(&text), parse_u64(&text));
            let _ = (parse_f64(&text), LongDouble::parse(&text));
        }
    }
}
