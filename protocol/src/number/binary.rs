//! Binary floats of a given precision: rounding to the nearest, ties to even.

/// A binary floating-point format.
pub(super) struct Format {
    /// Bits of the mantissa.
    bits: u32,
    /// Exponent of the mantissa's last bit in the smallest number.
    exponent_min: i64,
    /// Exponent of the mantissa's last bit in the largest number.
    exponent_max: i64,
}

impl Format {
    /// IEEE 754 binary64.
    pub(super) const DOUBLE: Self = Self { bits: 53, exponent_min: -1074, exponent_max: 971 };
    /// The 80-bit extended format of the x87.
    pub(super) const EXTENDED: Self =
        Self { bits: 64, exponent_min: -16_445, exponent_max: 16_320 };
}

/// The magnitude `mantissa` × 2^`exponent`, and a little more when `sticky`.
///
/// Invariant: when `sticky`, the mantissa has at least two bits more than any [`Format`].
pub(super) struct Unrounded {
    pub(super) mantissa: u128,
    pub(super) sticky: bool,
    pub(super) exponent: i64,
}

impl Unrounded {
    /// The nearest mantissa and exponent of the format, or `None` when it is too large.
    ///
    /// The mantissa has all its bits, or the exponent is the least one.
    pub(super) fn round(&self, format: &Format) -> Option<(u64, i32)> {
        if self.mantissa == 0 {
            return Some((0, format.exponent_min as i32));
        }
        let length = i64::from(128 - self.mantissa.leading_zeros());
        let too_long = length - i64::from(format.bits);
        let too_low = format.exponent_min - self.exponent;
        let dropped = too_long.max(too_low);
        let mut exponent = self.exponent + dropped;
        let mut mantissa = if dropped <= 0 {
            self.mantissa << -dropped
        } else {
            self.shift_right_rounding(dropped)
        };
        if mantissa >> format.bits != 0 {
            mantissa >>= 1;
            exponent += 1;
        }
        (exponent <= format.exponent_max).then_some((mantissa as u64, exponent as i32))
    }

    /// The nearest integer, for exponents that are not positive.
    pub(super) fn round_to_integer(&self) -> u128 {
        if self.exponent >= 0 {
            return self.mantissa;
        }
        self.shift_right_rounding(-self.exponent)
    }

    fn shift_right_rounding(&self, dropped: i64) -> u128 {
        if dropped > 128 {
            return 0;
        }
        let kept = self.mantissa.checked_shr(dropped as u32).unwrap_or(0);
        let half = 1u128 << (dropped - 1);
        let rest = self.mantissa & (half | (half - 1));
        let is_above = rest > half || rest == half && (self.sticky || kept & 1 == 1);
        kept + u128::from(is_above)
    }

    /// The nearest double; `None` when it is too large, or too small although not zero.
    pub(super) fn to_f64(&self) -> Option<f64> {
        let (mantissa, exponent) = self.round(&Format::DOUBLE)?;
        if mantissa == 0 && self.mantissa != 0 {
            return None;
        }
        // Without the implicit bit the number is subnormal, and its exponent the least.
        let implicit = 1u64 << 52;
        let biased = if mantissa & implicit == 0 { 0 } else { (exponent + 1075) as u64 };
        Some(f64::from_bits(biased << 52 | (mantissa & (implicit - 1))))
    }
}
