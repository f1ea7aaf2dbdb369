//! Natural numbers of any size: just what decimal conversion of long doubles needs.

use std::cmp::Ordering;

/// A natural number; limbs with the least significant first, the last one not zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Big {
    limbs: Vec<u32>,
}

/// The largest power of ten in a limb, and its exponent.
const TEN_POWER: u32 = 1_000_000_000;
const TEN_POWER_DIGITS: usize = 9;

impl Big {
    pub(super) fn from_u64(value: u64) -> Self {
        let mut big = Self { limbs: vec![value as u32, (value >> 32) as u32] };
        big.trim();
        big
    }

    /// The number with these ASCII digits.
    pub(super) fn from_digits<'a>(digits: impl Iterator<Item = &'a u8>) -> Self {
        let mut big = Self { limbs: Vec::new() };
        let (mut chunk, mut scale) = (0, 1);
        for digit in digits {
            chunk = chunk * 10 + u32::from(digit - b'0');
            scale *= 10;
            if scale == TEN_POWER {
                big.multiply_add(scale, chunk);
                (chunk, scale) = (0, 1);
            }
        }
        big.multiply_add(scale, chunk);
        big
    }

    pub(super) fn multiply_power_of_ten(&mut self, mut exponent: usize) {
        while exponent >= TEN_POWER_DIGITS {
            self.multiply_add(TEN_POWER, 0);
            exponent -= TEN_POWER_DIGITS;
        }
        self.multiply_add(10u32.pow(exponent as u32), 0);
    }

    pub(super) fn bits(&self) -> usize {
        self.limbs.last().map_or(0, |last| self.limbs.len() * 32 - last.leading_zeros() as usize)
    }

    pub(super) fn is_zero(&self) -> bool {
        self.limbs.is_empty()
    }

    pub(super) fn shift_left(&mut self, bits: usize) {
        let (limbs, bits) = (bits / 32, bits % 32);
        if bits > 0 {
            let mut carry = 0;
            for limb in &mut self.limbs {
                let shifted = u64::from(*limb) << bits | u64::from(carry);
                *limb = shifted as u32;
                carry = (shifted >> 32) as u32;
            }
            self.limbs.push(carry);
            self.trim();
        }
        if limbs > 0 && !self.is_zero() {
            self.limbs.splice(0..0, std::iter::repeat_n(0, limbs));
        }
    }

    /// Subtracts a number that is not larger.
    pub(super) fn subtract(&mut self, other: &Self) {
        let mut borrow = false;
        for (i, limb) in self.limbs.iter_mut().enumerate() {
            let subtrahend = other.limbs.get(i).copied().unwrap_or(0);
            let (difference, under) = limb.overflowing_sub(subtrahend);
            let (difference, under_again) = difference.overflowing_sub(u32::from(borrow));
            *limb = difference;
            borrow = under | under_again;
        }
        debug_assert!(!borrow);
        self.trim();
    }

    /// The upper 128 bits, how many bits are below them, and whether any of those is set.
    pub(super) fn upper_bits(&self) -> (u128, usize, bool) {
        let below = self.bits().saturating_sub(128);
        let (limbs, bits) = (below / 32, below % 32);
        let mut upper = 0u128;
        for (i, &limb) in self.limbs.iter().enumerate().skip(limbs) {
            let limb = u128::from(limb);
            upper |= match i - limbs {
                0 => limb >> bits,
                above => limb << (above * 32 - bits),
            };
        }
        let is_set = self.limbs[..limbs].iter().any(|&limb| limb != 0)
            || self.limbs.get(limbs).is_some_and(|limb| limb & ((1 << bits) - 1) != 0);
        (upper, below, is_set)
    }

    /// The number's decimal digits.
    pub(super) fn to_decimal(&self) -> String {
        let mut rest = self.clone();
        let mut chunks = Vec::new();
        while !rest.is_zero() {
            chunks.push(rest.divide_by_power_of_ten());
        }
        let mut text = chunks.pop().unwrap_or(0).to_string();
        for chunk in chunks.iter().rev() {
            text.push_str(&format!("{chunk:0TEN_POWER_DIGITS$}"));
        }
        text
    }

    /// Divides by [`TEN_POWER`] and returns the remainder.
    fn divide_by_power_of_ten(&mut self) -> u32 {
        let mut remainder = 0;
        for limb in self.limbs.iter_mut().rev() {
            let value = u64::from(remainder) << 32 | u64::from(*limb);
            *limb = (value / u64::from(TEN_POWER)) as u32;
            remainder = (value % u64::from(TEN_POWER)) as u32;
        }
        self.trim();
        remainder
    }

    fn multiply_add(&mut self, factor: u32, summand: u32) {
        let mut carry = summand;
        for limb in &mut self.limbs {
            let value = u64::from(*limb) * u64::from(factor) + u64::from(carry);
            *limb = value as u32;
            carry = (value >> 32) as u32;
        }
        if carry > 0 {
            self.limbs.push(carry);
        }
    }

    fn trim(&mut self) {
        while self.limbs.last() == Some(&0) {
            self.limbs.pop();
        }
    }
}

impl PartialOrd for Big {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Big {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_length = self.limbs.len().cmp(&other.limbs.len());
        by_length.then_with(|| self.limbs.iter().rev().cmp(other.limbs.iter().rev()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn big(value: u128) -> Big {
        Big::from_digits(value.to_string().as_bytes().iter())
    }

    #[test]
    fn zero() {
        assert!(big(0).is_zero());
        assert!(Big::from_u64(0).is_zero());
        assert_eq!(big(0).to_decimal(), "0");
        assert_eq!(big(0).upper_bits(), (0, 0, false));
    }

    proptest! {
        #[test]
        fn agrees_with_machine_integers(a: u128, b: u128, shift in 0..200usize) {
            prop_assert_eq!(big(a).to_decimal(), a.to_string());
            prop_assert_eq!(big(a).cmp(&big(b)), a.cmp(&b));
            let mut difference = big(a.max(b));
            difference.subtract(&big(a.min(b)));
            prop_assert_eq!(difference, big(a.abs_diff(b)));

            let mut shifted = big(a);
            prop_assert_eq!(shifted.bits(), 128 - a.leading_zeros() as usize);
            shifted.shift_left(shift);
            let (upper, below, is_set) = shifted.upper_bits();
            prop_assert!(!is_set);
            let total_shift = shift as u32;
            let lost = below as u32;
            prop_assert_eq!(upper >> (total_shift - lost), a);
        }

        #[test]
        fn bits_below_the_upper_ones_are_noticed(a in 1..=u128::MAX, low in 1..=u32::MAX) {
            let mut number = big(a | 1 << 127);
            number.shift_left(96);
            let mut above = number.clone();
            above.subtract(&Big::from_u64(u64::from(low)));
            let (_, below, is_set) = above.upper_bits();
            prop_assert!(below == 96 && is_set || below == 95);
        }

        #[test]
        fn powers_of_ten(a: u64, exponent in 0..60usize) {
            let mut number = Big::from_u64(a);
            number.multiply_power_of_ten(exponent);
            let zeros = if a == 0 { 0 } else { exponent };
            prop_assert_eq!(number.to_decimal(), format!("{a}{}", "0".repeat(zeros)));
        }
    }
}
