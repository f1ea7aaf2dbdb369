//! The long doubles of INCRBYFLOAT: x87 extended precision, in software.
//!
//! Redis parses both operands with `strtold`, adds them, and prints the sum with `%.17Lf`
//! without trailing zeros. Its answers therefore show 64 bits of mantissa, rounded twice: once
//! to binary and once to 17 decimal places (`0.1 + 0.2` is `0.3`, and `0.1 + 10¹⁰` is
//! `10000000000.09999999962747097`). The same three steps here are exact in the same places, so
//! the answers are those of a Redis on x86-64, on every machine. (A Redis on other machines
//! computes with whatever its long double is.)

use std::fmt;

use super::big::Big;
use super::binary::{Format, Unrounded};
use super::scan::{self, Decimal};

/// Texts this long are no numbers to Redis.
const TEXT_BYTES_MAX: usize = 5 * 1024;
/// Digits behind the point in the text.
const FRACTION_DIGITS: usize = 17;
const FRACTION_SCALE: u128 = 10u128.pow(FRACTION_DIGITS as u32);
/// Bits of a quotient that decide how it is rounded.
const QUOTIENT_BITS: usize = 80;
/// No number of at least ten to this power is finite, and none below its inverse is not zero.
const DECIMAL_EXPONENT_MAX: i64 = 5_000;

/// An x87 extended-precision number (64 bits of mantissa, 15 of exponent), not NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongDouble {
    negative: bool,
    magnitude: Magnitude,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Magnitude {
    Zero,
    /// `mantissa` × 2^`exponent`; the mantissa's top bit is set unless the exponent is least.
    Finite {
        mantissa: u64,
        exponent: i32,
    },
    Infinite,
}

impl LongDouble {
    /// The number with this text, as [`super::parse_f64`] spells them but of this precision.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() >= TEXT_BYTES_MAX {
            return None;
        }
        let number = scan::scan(text)?;
        let unrounded = match number.magnitude {
            scan::Magnitude::Infinite => {
                return Some(Self { negative: number.negative, magnitude: Magnitude::Infinite });
            }
            scan::Magnitude::Hexadecimal(unrounded) => unrounded,
            scan::Magnitude::Decimal(decimal) => convert(&decimal)?,
        };
        let rounded = Self::round(number.negative, &unrounded);
        let underflowed = unrounded.mantissa != 0 && rounded.magnitude == Magnitude::Zero;
        (rounded.is_finite() && !underflowed).then_some(rounded)
    }

    /// Whether this is not an infinity.
    pub fn is_finite(&self) -> bool {
        self.magnitude != Magnitude::Infinite
    }

    /// The sum, if it is finite.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let (large, small) =
            if self.exponent() >= other.exponent() { (self, other) } else { (other, self) };
        let (a, exponent) = match (large.magnitude, small.magnitude) {
            (Magnitude::Infinite, _) | (_, Magnitude::Infinite) => return None,
            (Magnitude::Zero, _) => return Some(small),
            (_, Magnitude::Zero) => return Some(large),
            (Magnitude::Finite { mantissa, exponent }, _) => (mantissa, exponent),
        };
        let Magnitude::Finite { mantissa: b, exponent: b_exponent } = small.magnitude else {
            return None;
        };
        // 63 bits below the mantissa and one above: the bits that the smaller number loses are
        // so far below what decides the rounding that one of them can stand for all.
        let a = u128::from(a) << 63;
        let b = u128::from(b) << 63;
        let distance = (exponent - b_exponent) as u32;
        let aligned = b.checked_shr(distance).unwrap_or(0);
        let lost = aligned.checked_shl(distance).unwrap_or(0) != b;
        let b = aligned | u128::from(lost);
        let (negative, mantissa) = if large.negative == small.negative {
            (large.negative, a + b)
        } else if a >= b {
            (large.negative && a != b, a - b)
        } else {
            (small.negative, b - a)
        };
        let exponent = i64::from(exponent) - 63;
        let sum = Self::round(negative, &Unrounded { mantissa, sticky: false, exponent });
        sum.is_finite().then_some(sum)
    }

    fn round(negative: bool, unrounded: &Unrounded) -> Self {
        let magnitude = match unrounded.round(&Format::EXTENDED) {
            None => Magnitude::Infinite,
            Some((0, _)) => Magnitude::Zero,
            Some((mantissa, exponent)) => Magnitude::Finite { mantissa, exponent },
        };
        Self { negative, magnitude }
    }

    /// Orders magnitudes by their exponents, zero first.
    fn exponent(&self) -> i32 {
        match self.magnitude {
            Magnitude::Zero => i32::MIN,
            Magnitude::Finite { exponent, .. } => exponent,
            Magnitude::Infinite => i32::MAX,
        }
    }
}

impl From<i64> for LongDouble {
    fn from(value: i64) -> Self {
        let mantissa = u128::from(value.unsigned_abs());
        Self::round(value < 0, &Unrounded { mantissa, sticky: false, exponent: 0 })
    }
}

impl LongDouble {
    /// The same number; `None` for NaN.
    pub fn from_f64(value: f64) -> Option<Self> {
        let negative = value.is_sign_negative();
        if value.is_nan() {
            return None;
        }
        if value.is_infinite() {
            return Some(Self { negative, magnitude: Magnitude::Infinite });
        }
        let bits = value.to_bits();
        let (fraction, biased) = (bits & ((1 << 52) - 1), (bits >> 52 & 0x7ff) as i64);
        let (mantissa, exponent) =
            if biased == 0 { (fraction, -1074) } else { (fraction | 1 << 52, biased - 1075) };
        let mantissa = u128::from(mantissa);
        Some(Self::round(negative, &Unrounded { mantissa, sticky: false, exponent }))
    }
}

/// The text that Redis gives numbers which people read: 17 decimal places, trailing zeros
/// dropped, never an exponent. Not finite: `inf`, `-inf`, `nan`.
pub fn format_human_f64(value: f64) -> String {
    LongDouble::from_f64(value).map_or_else(|| "nan".to_owned(), |value| value.to_string())
}

/// 17 decimal places, trailing zeros dropped, never an exponent and never `-0`.
impl fmt::Display for LongDouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.negative { "-" } else { "" };
        match self.magnitude {
            Magnitude::Zero => f.write_str("0"),
            Magnitude::Infinite => write!(f, "{sign}inf"),
            Magnitude::Finite { mantissa, exponent } if exponent <= 0 => {
                let scaled = Unrounded {
                    mantissa: u128::from(mantissa) * FRACTION_SCALE,
                    sticky: false,
                    exponent: i64::from(exponent),
                };
                let scaled = scaled.round_to_integer();
                if scaled == 0 {
                    return f.write_str("0");
                }
                let (whole, fraction) = (scaled / FRACTION_SCALE, scaled % FRACTION_SCALE);
                write!(f, "{sign}{whole}")?;
                if fraction != 0 {
                    let digits = format!("{fraction:0FRACTION_DIGITS$}");
                    write!(f, ".{}", digits.trim_end_matches('0'))?;
                }
                Ok(())
            }
            Magnitude::Finite { mantissa, exponent } => {
                let mut whole = Big::from_u64(mantissa);
                whole.shift_left(exponent as usize);
                write!(f, "{sign}{}", whole.to_decimal())
            }
        }
    }
}

/// The binary value of decimal digits, to more bits than a mantissa has; `None` when it is far
/// too large or far too small.
fn convert(decimal: &Decimal<'_>) -> Option<Unrounded> {
    let digits = decimal.whole.iter().chain(decimal.fraction);
    let significant = {
        let trailing = digits.clone().rev().take_while(|&&digit| digit == b'0').count();
        let all = decimal.whole.len() + decimal.fraction.len();
        if trailing == all {
            return Some(Unrounded { mantissa: 0, sticky: false, exponent: 0 });
        }
        all - trailing
    };
    let leading = digits.clone().take_while(|&&digit| digit == b'0').count();
    let digits = digits.take(significant).skip(leading);
    let exponent = decimal.exponent + decimal.whole.len() as i64 - significant as i64;
    let count = significant - leading;
    if (exponent + count as i64).abs() > DECIMAL_EXPONENT_MAX {
        return None;
    }
    if count <= 19 && (-18..=18).contains(&exponent) {
        let value = digits.fold(0u64, |value, digit| value * 10 + u64::from(digit - b'0'));
        return Some(convert_short(value, exponent as i32));
    }
    let mut numerator = Big::from_digits(digits);
    if exponent >= 0 {
        numerator.multiply_power_of_ten(exponent as usize);
        let (mantissa, below, sticky) = numerator.upper_bits();
        return Some(Unrounded { mantissa, sticky, exponent: below as i64 });
    }
    let mut denominator = Big::from_u64(1);
    denominator.multiply_power_of_ten(exponent.unsigned_abs() as usize);
    Some(divide(numerator, denominator))
}

/// `value` × 10^`exponent` for a value that is not zero and exponents of at most 18.
fn convert_short(value: u64, exponent: i32) -> Unrounded {
    let power = 10u128.pow(exponent.unsigned_abs());
    if exponent >= 0 {
        let mantissa = u128::from(value) * power;
        return Unrounded { mantissa, sticky: false, exponent: 0 };
    }
    // The numerator has 128 bits and the power less than 60: the quotient has 68 at least.
    let shift = value.leading_zeros() + 64;
    let numerator = u128::from(value) << shift;
    Unrounded {
        mantissa: numerator / power,
        sticky: !numerator.is_multiple_of(power),
        exponent: -i64::from(shift),
    }
}

/// The upper [`QUOTIENT_BITS`] of a quotient, by long division.
fn divide(mut numerator: Big, mut denominator: Big) -> Unrounded {
    let mut shift = denominator.bits() as i64 - numerator.bits() as i64;
    if shift >= 0 {
        numerator.shift_left(shift as usize);
    } else {
        denominator.shift_left(shift.unsigned_abs() as usize);
    }
    if numerator < denominator {
        numerator.shift_left(1);
        shift += 1;
    }
    let mut mantissa = 0;
    for _ in 0..QUOTIENT_BITS {
        mantissa <<= 1;
        if numerator >= denominator {
            numerator.subtract(&denominator);
            mantissa |= 1;
        }
        numerator.shift_left(1);
    }
    Unrounded {
        mantissa,
        sticky: !numerator.is_zero(),
        exponent: -shift - (QUOTIENT_BITS as i64 - 1),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum(a: &str, b: &str) -> Option<String> {
        let (a, b) = (LongDouble::parse(a.as_bytes())?, LongDouble::parse(b.as_bytes())?);
        a.checked_add(b).map(|sum| sum.to_string())
    }

    /// Each is what redis-server 7.0 on x86-64 answers to SET k a; INCRBYFLOAT k b.
    #[test]
    fn the_sums_of_redis() {
        for (a, b, expected) in [
            ("0.1", "0.2", "0.3"),
            ("3.0e3", "0", "3000"),
            ("1e17", "1", "100000000000000001"),
            ("5.0e-5", "0", "0.00005"),
            ("1e18", "0.5", "1000000000000000000.5"),
            ("1e19", "0.1", "10000000000000000000"),
            ("1", "1e-17", "1.00000000000000001"),
            ("1", "1e-18", "1"),
            ("1.23456789012345678901", "0", "1.23456789012345679"),
            ("-0.1", "0.1", "0"),
            ("9007199254740993", "1", "9007199254740994"),
            ("0.1", "1e10", "10000000000.09999999962747097"),
            ("123456789012345678901234567890", "0.5", "123456789012345678899921813504"),
            ("1e4932", "-1e4932", "0"),
            ("-1e-20", "0", "0"),
            ("1e-17", "0", "0.00000000000000001"),
            ("4e-18", "0", "0"),
            ("6e-18", "0", "0.00000000000000001"),
            ("-5e-18", "0", "0"),
            ("0x10", "1", "17"),
            ("1.1", "2.2", "3.3"),
            ("17179869184.1", "0.1", "17179869184.19999999925494194"),
            ("0.7", "-0.6", "0.1"),
            ("0.1", "-0.3", "-0.2"),
            ("9223372036854775807", "0", "9223372036854775807"),
            ("4.9e-324", "0", "0"),
            ("1e-400", "0", "0"),
        ] {
            assert_eq!(sum(a, b).as_deref(), Some(expected), "{a} + {b}");
            assert_eq!(sum(b, a).as_deref(), Some(expected), "{b} + {a}");
        }
        let large = sum("1e300", "1").unwrap();
        assert!(large.starts_with("1000000000000000000008997324079559193870523944273290"));
        assert!(large.ends_with("567187386105690089424915104006144") && large.len() == 301);
        let larger = sum("1e4000", "1").unwrap();
        assert!(larger.starts_with("9999999999999999999965463873099623784932492583506957"));
        assert!(larger.ends_with("0272729951206648276349901340672") && larger.len() == 4000);
    }

    #[test]
    fn what_is_no_number_or_no_sum() {
        let long = "1".repeat(TEXT_BYTES_MAX);
        for text in ["", "nan", " 1", "1e5000", "1e-5000", "-1e99999999999999999999", &long] {
            assert_eq!(LongDouble::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(sum("1e4932", "1e4932"), None);
        assert_eq!(sum("inf", "1"), None);
        assert_eq!(sum("inf", "-inf"), None);
        assert_eq!(LongDouble::parse(b"-inf").unwrap().to_string(), "-inf");
        assert_eq!(LongDouble::parse(b"0e99999999999999").unwrap().to_string(), "0");
    }

    #[test]
    fn doubles_for_people() {
        assert_eq!(format_human_f64(0.1), "0.10000000000000001");
        assert_eq!(format_human_f64(3.0), "3");
        assert_eq!(format_human_f64(-0.0), "0");
        assert_eq!(format_human_f64(1e20), "100000000000000000000");
        assert_eq!(format_human_f64(f64::NAN), "nan");
        assert_eq!(format_human_f64(f64::NEG_INFINITY), "-inf");
    }

    proptest! {
        #[test]
        fn integers_are_exact(a: i64, b: i64) {
            let exact = i128::from(a) + i128::from(b);
            prop_assume!(exact.unsigned_abs() < 1 << 64);
            let sum = LongDouble::from(a).checked_add(LongDouble::from(b)).unwrap();
            prop_assert_eq!(sum.to_string(), exact.to_string());
            prop_assert_eq!(LongDouble::parse(a.to_string().as_bytes()), Some(a.into()));
        }

        /// The short way and the long division agree.
        #[test]
        fn conversions_agree(value in 1..u64::MAX / 2, exponent in -18i32..0) {
            let short = LongDouble::round(false, &convert_short(value, exponent));
            let mut power = Big::from_u64(1);
            power.multiply_power_of_ten(exponent.unsigned_abs() as usize);
            let long = LongDouble::round(false, &divide(Big::from_u64(value), power));
            prop_assert_eq!(short, long);
        }

        /// Doubles are long doubles: their sum, where exact, is the same.
        #[test]
        fn small_binary_fractions_add(a in -1i64 << 50..1 << 50, b in -1i64 << 50..1 << 50) {
            let (x, y) = (a as f64 / 4096.0, b as f64 / 4096.0);
            let exact = (a + b) as f64 / 4096.0;
            let long = |value| LongDouble::from_f64(value).unwrap();
            let sum = long(x).checked_add(long(y));
            prop_assert_eq!(sum.unwrap().to_string(), format_human_f64(exact));
        }

        #[test]
        fn texts_read_back(text in "-?(0|[1-9])\\.[0-9]{0,8}[1-9]") {
            let parsed = LongDouble::parse(text.as_bytes()).unwrap();
            prop_assert_eq!(parsed.to_string(), text);
        }
    }
}
