//! One element of a collection as reads return it: an integer or a byte string.
//!
//! Canonical decimal integers (`-?[1-9][0-9]*` or `0`, within `i64`) may be kept in binary; both
//! forms of the same text compare equal, so nothing above this module needs to know which one it
//! holds.

use std::cmp::Ordering;

/// An element of a collection: borrowed bytes, or an integer kept in binary.
#[derive(Clone, Copy, Debug)]
pub enum Element<'a> {
    /// The text of this integer in decimal.
    Int(i64),
    /// These bytes.
    Bytes(&'a [u8]),
}

impl<'a> Element<'a> {
    /// The canonical form of `bytes`: an integer where the text is one, else the bytes.
    pub fn parse(bytes: &'a [u8]) -> Element<'a> {
        match canonical_int(bytes) {
            Some(value) => Element::Int(value),
            None => Element::Bytes(bytes),
        }
    }

    /// Runs `f` on the element's text.
    #[inline]
    pub fn with_bytes<R>(self, f: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Element::Int(value) => f(itoa::Buffer::new().format(value).as_bytes()),
            Element::Bytes(bytes) => f(bytes),
        }
    }

    /// Length of the text in bytes.
    pub fn len(self) -> usize {
        match self {
            Element::Int(value) => int_text_len(value),
            Element::Bytes(bytes) => bytes.len(),
        }
    }

    /// Whether the text is empty.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The text, owned.
    pub fn to_vec(self) -> Vec<u8> {
        self.with_bytes(<[u8]>::to_vec)
    }

    /// Appends the text to `out`.
    pub fn append_to(self, out: &mut Vec<u8>) {
        self.with_bytes(|bytes| out.extend_from_slice(bytes));
    }

    /// Whether the text equals `bytes`.
    pub fn eq_bytes(self, bytes: &[u8]) -> bool {
        self.with_bytes(|own| own == bytes)
    }

    /// Byte-wise order of the texts (Redis's `memcmp` order of members).
    pub fn cmp_text(self, other: Element<'_>) -> Ordering {
        match (self, other) {
            (Element::Int(own), Element::Int(other)) => cmp_int_text(own, other),
            _ => self.with_bytes(|own| other.with_bytes(|other| own.cmp(other))),
        }
    }

    /// The integer that the text is, if it is a canonical one.
    pub fn as_int(self) -> Option<i64> {
        match self {
            Element::Int(value) => Some(value),
            Element::Bytes(bytes) => canonical_int(bytes),
        }
    }
}

impl PartialEq for Element<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Element::Int(a), Element::Int(b)) => a == b,
            (Element::Bytes(a), Element::Bytes(b)) => a == b,
            (Element::Int(_), Element::Bytes(b)) => self.eq_bytes(b),
            (Element::Bytes(a), Element::Int(_)) => other.eq_bytes(a),
        }
    }
}

impl Eq for Element<'_> {}

/// The integer that `bytes` is the shortest decimal text of, if there is one.
pub fn canonical_int(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] => return (!negative).then_some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    // 19 digits are below 10^19 < 2^64, so the sum cannot overflow.
    let mut magnitude = 0u64;
    for &digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        magnitude = magnitude * 10 + u64::from(digit);
    }
    if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// Length of the decimal text of `value` in bytes.
pub(crate) fn int_text_len(value: i64) -> usize {
    digits(value.unsigned_abs()) + usize::from(value < 0)
}

/// 10^0 to 10^19.
const POWERS_OF_10: [u64; 20] = {
    let mut powers = [1; 20];
    let mut exponent = 1;
    while exponent < 20 {
        powers[exponent] = powers[exponent - 1] * 10;
        exponent += 1;
    }
    powers
};

/// Decimal digits of `value`; 1 of 0.
#[inline]
fn digits(value: u64) -> usize {
    // 1233 / 4096 is just above log10(2): the estimate is exact or one too high.
    let estimate = (64 - (value | 1).leading_zeros() as usize) * 1233 / 4096;
    estimate + usize::from(value >= POWERS_OF_10[estimate]).max(usize::from(estimate == 0))
}

/// Byte-wise order of the decimal texts of two integers, without writing them.
fn cmp_int_text(a: i64, b: i64) -> Ordering {
    // The sign sorts before the digits, and two signs are equal.
    if (a < 0) != (b < 0) {
        return b.is_negative().cmp(&a.is_negative());
    }
    let (a, b) = (a.unsigned_abs(), b.unsigned_abs());
    let (a_digits, b_digits) = (digits(a), digits(b));
    // Padded with zeros to one length numbers sort as text does; a prefix comes first. Neither
    // has more than 19 digits, so the padded one stays below 10^19 < 2^64.
    match a_digits.cmp(&b_digits) {
        Ordering::Less => (a * POWERS_OF_10[b_digits - a_digits]).cmp(&b).then(Ordering::Less),
        Ordering::Equal => a.cmp(&b),
        Ordering::Greater => {
            a.cmp(&(b * POWERS_OF_10[a_digits - b_digits])).then(Ordering::Greater)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_the_shortest_text_is_an_integer() {
        for text in ["", "-", "-0", "00", "01", "+1", "1 ", " 1", "1.0", "9223372036854775808"] {
            assert_eq!(canonical_int(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(canonical_int(b"-9223372036854775809"), None);
        assert_eq!(canonical_int(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(canonical_int(b"9223372036854775807"), Some(i64::MAX));
        assert_eq!(canonical_int(b"0"), Some(0));
    }

    #[test]
    fn digits_are_counted_at_every_power() {
        for (exponent, &power) in POWERS_OF_10.iter().enumerate() {
            assert_eq!(digits(power), exponent + 1);
            assert_eq!(digits(power - 1), exponent.max(1));
        }
        assert_eq!(digits(u64::MAX), 20);
    }

    proptest! {
        #[test]
        fn text_and_integer_are_the_same_element(value: i64) {
            let text = value.to_string();
            let element = Element::parse(text.as_bytes());
            prop_assert!(matches!(element, Element::Int(v) if v == value));
            prop_assert_eq!(element, Element::Bytes(text.as_bytes()));
            prop_assert_eq!(element.len(), text.len());
            prop_assert_eq!(element.to_vec(), text.as_bytes());
        }

        #[test]
        fn lengths_are_those_of_the_texts(value: i64, shift in 0u32..64) {
            let value = value >> shift;
            prop_assert_eq!(int_text_len(value), value.to_string().len());
        }

        #[test]
        fn integers_sort_as_their_texts(a: i64, b: i64, a_shift in 0u32..63, b_shift in 0u32..63) {
            for (a, b) in [(a, b), (a >> a_shift, b >> b_shift), (a / 1000, a), (0, b), (a, a)] {
                let texts = a.to_string().cmp(&b.to_string());
                prop_assert_eq!(Element::Int(a).cmp_text(Element::Int(b)), texts);
            }
        }

        #[test]
        fn parsing_keeps_the_text(text in "[-+0-9]{0,21}") {
            prop_assert_eq!(Element::parse(text.as_bytes()).to_vec(), text.as_bytes());
        }
    }
}
