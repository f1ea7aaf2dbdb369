//! Compressed strings: LZF, of which only the unfolding is here.
//!
//! A control byte below 32 is followed by that many and one literal bytes. Any other begins a
//! copy from what is there already: its upper three bits are the length less 2 (7: the next byte
//! is added), the lower five and the last byte how far back the copy begins, less 1.
//!
//! Why not a library: the published ones set aside the whole length that the payload claims before
//! they look at it, and the best known is deprecated.

/// The most bytes that one byte becomes: three of them are a copy of 264.
const RATIO_MAX: usize = 88;
/// Control bytes below this are followed by literals.
const LITERALS: u8 = 1 << 5;
/// A copy of this length (less 2) says more in its next byte.
const LONG_COPY: usize = 7;

/// The `len` bytes that `bytes` unfold to; `None` if they do not. Needs no more memory than a few
/// times what it returns, and nothing for a length that cannot be.
pub(super) fn inflate(mut bytes: &[u8], len: usize) -> Option<Vec<u8>> {
    if len > bytes.len().saturating_mul(RATIO_MAX) {
        return None;
    }
    let mut out = Vec::with_capacity(len.min(bytes.len().saturating_mul(2)));
    while let Some((&control, rest)) = bytes.split_first() {
        bytes = rest;
        if control < LITERALS {
            let (literals, rest) = bytes.split_at_checked(usize::from(control) + 1)?;
            bytes = rest;
            out.extend_from_slice(literals);
        } else {
            let mut copied = usize::from(control >> 5);
            if copied == LONG_COPY {
                copied += usize::from(*bytes.split_off_first()?);
            }
            let high = usize::from(control & (LITERALS - 1)) << 8;
            let back = (high | usize::from(*bytes.split_off_first()?)) + 1;
            repeat(&mut out, back, copied + 2)?;
        }
        if out.len() > len {
            return None;
        }
    }
    (out.len() == len).then_some(out)
}

/// Appends `len` bytes that begin `back` bytes before the end; they may reach into themselves.
fn repeat(out: &mut Vec<u8>, back: usize, len: usize) -> Option<()> {
    let from = out.len().checked_sub(back)?;
    let mut left = len;
    while left > 0 {
        // What is there from `from` on repeats with a period of `back`, so it can be taken anew.
        let part = left.min(out.len() - from);
        out.extend_from_within(from..from + part);
        left -= part;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn literals_and_copies() {
        assert_eq!(inflate(b"\x02abc", 3).as_deref(), Some(&b"abc"[..]));
        // "ab", then six bytes from two back; "x", then 12 bytes from one back.
        assert_eq!(inflate(b"\x01ab\x80\x01", 8).as_deref(), Some(&b"abababab"[..]));
        assert_eq!(inflate(b"\x00x\xe0\x03\x00", 13), Some(vec![b'x'; 13]));
        assert_eq!(inflate(b"", 0), Some(Vec::new()));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        // Cut off in the literals, in a copy, in a long copy.
        for (bytes, len) in [(&b"\x02ab"[..], 3), (b"\x00a\x20", 4), (b"\x00a\xe0\x00", 10)] {
            assert_eq!(inflate(bytes, len), None, "{bytes:?}");
        }
        assert_eq!(inflate(b"\x00a\x20\x01", 4), None, "from before the beginning");
        assert_eq!(inflate(b"\x02abc", 2), None, "longer than it says");
        assert_eq!(inflate(b"\x02abc", 4), None, "shorter than it says");
        assert_eq!(inflate(b"\x02abc", usize::MAX), None, "longer than it can be");
    }

    /// Compresses as badly as it can: a copy wherever the last bytes begin again.
    fn folded(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut at = 0;
        while at < text.len() {
            let copy = (1..=at.min(40)).find_map(|back| {
                let len = (at..text.len().min(at + 264))
                    .take_while(|&to| text[to] == text[to - back])
                    .count();
                (len >= 3).then_some((back, len))
            });
            let Some((back, len)) = copy else {
                out.extend_from_slice(&[0, text[at]]);
                at += 1;
                continue;
            };
            let (low, code) = ((back - 1) as u8, len - 2);
            if code < LONG_COPY {
                out.extend_from_slice(&[(code as u8) << 5, low]);
            } else {
                out.extend_from_slice(&[0xe0, (code - LONG_COPY) as u8, low]);
            }
            at += len;
        }
        out
    }

    proptest! {
        #[test]
        fn what_was_folded_unfolds(text in prop::collection::vec(0u8..3, 0..700)) {
            prop_assert_eq!(inflate(&folded(&text), text.len()), Some(text));
        }

        #[test]
        fn any_bytes_stay_within_the_length(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            len in 0usize..3000,
        ) {
            prop_assert!(inflate(&bytes, len).is_none_or(|out| out.len() == len));
        }
    }
}
