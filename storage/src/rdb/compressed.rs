//! Compressed strings: LZF.
//!
//! A control byte below 32 is followed by that many and one literal bytes. Any other begins a
//! copy from what is there already: its upper three bits are the length less 2 (7: the next byte
//! is added), the lower five and the last byte how far back the copy begins, less 1.
//!
//! Why not a library: the published ones set aside the whole length that the payload claims before
//! they look at it, and the best known is deprecated. To fold, they clear a table for each string,
//! which costs more than to fold the short strings that most are.

/// The most bytes that one byte becomes: three of them are a copy of 264.
const RATIO_MAX: usize = 88;
/// Control bytes below this are followed by literals.
const LITERALS: u8 = 1 << 5;
/// A copy of this length (less 2) says more in its next byte.
const LONG_COPY: usize = 7;

/// The longest copy.
const COPY_MAX: usize = 264;
/// What is copied begins at most so many bytes back.
const BACK_MAX: usize = 1 << 13;
/// Bytes that a copy replaces at least.
const COPY_MIN: usize = 3;
/// Literals behind one control byte.
const RUN_MAX: usize = LITERALS as usize;
/// Strings up to this length are not worth it.
const SHORT_MAX: usize = 20;
/// A folded string is at least so many bytes shorter, since it has two lengths in front.
const SAVED_MIN: usize = 4;
/// Cells of the table of beginnings: a power of two.
const CELLS: usize = 1 << 13;

/// Folds one string after the other.
#[derive(Debug)]
pub(super) struct Folder {
    /// Where three bytes that hash to a cell were seen last, counted over all strings.
    seen: Box<[u32]>,
    /// Where the next string begins in that count; what was seen before is another's.
    base: u32,
    out: Vec<u8>,
}

impl Folder {
    pub(super) fn new() -> Folder {
        Folder { seen: vec![0; CELLS].into_boxed_slice(), base: 1, out: Vec::new() }
    }

    /// What `text` folds to, if that is shorter.
    ///
    /// # Panics
    /// If the text is 4 GiB long.
    pub(super) fn fold(&mut self, text: &[u8]) -> Option<&[u8]> {
        if text.len() <= SHORT_MAX {
            return None;
        }
        let len = u32::try_from(text.len()).expect("strings are shorter");
        if self.base.checked_add(len).is_none() {
            self.seen.fill(0);
            self.base = 1;
        }
        let folds = self.try_fold(text);
        self.base += len;
        folds.then_some(&self.out[..])
    }

    fn try_fold(&mut self, text: &[u8]) -> bool {
        let len_max = text.len() - SAVED_MIN;
        self.out.clear();
        let (mut at, mut literals_at) = (0, 0);
        while at + COPY_MIN <= text.len() {
            if self.out.len() + (at - literals_at) > len_max {
                return false;
            }
            let Some(from) = self.see(text, at) else {
                at += 1;
                continue;
            };
            let most = COPY_MAX.min(text.len() - at);
            let more = (COPY_MIN..most).take_while(|next| text[from + next] == text[at + next]);
            let len = COPY_MIN + more.count();
            push_literals(&text[literals_at..at], &mut self.out);
            push_copy(at - from, len, &mut self.out);
            let behind = at + len;
            for inside in at + 1..behind.min(text.len() - COPY_MIN + 1) {
                self.see(text, inside);
            }
            (at, literals_at) = (behind, behind);
        }
        push_literals(&text[literals_at..], &mut self.out);
        self.out.len() <= len_max
    }

    /// Notes the three bytes at `at`; where the same three were before, if a copy reaches there.
    fn see(&mut self, text: &[u8], at: usize) -> Option<usize> {
        let beginning = &text[at..at + COPY_MIN];
        let word = beginning.iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
        let cell = word.wrapping_mul(0x9e37_79b1) as usize >> (u32::BITS - CELLS.ilog2());
        // Offsets fit: `fold` has counted all of the text.
        let seen = std::mem::replace(&mut self.seen[cell], self.base + at as u32);
        let from = seen.checked_sub(self.base)? as usize;
        let equal = at - from <= BACK_MAX && text[from..from + COPY_MIN] == *beginning;
        equal.then_some(from)
    }
}

fn push_literals(literals: &[u8], out: &mut Vec<u8>) {
    for run in literals.chunks(RUN_MAX) {
        out.push((run.len() - 1) as u8);
        out.extend_from_slice(run);
    }
}

fn push_copy(back: usize, len: usize, out: &mut Vec<u8>) {
    let [high, low] = ((back - 1) as u16).to_be_bytes();
    let code = len - 2;
    if code < LONG_COPY {
        out.extend_from_slice(&[(code as u8) << 5 | high, low]);
    } else {
        out.extend_from_slice(&[(LONG_COPY as u8) << 5 | high, (code - LONG_COPY) as u8, low]);
    }
}

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

    #[test]
    fn what_does_not_get_shorter_is_left_alone() {
        let mut folder = Folder::new();
        for text in [&b""[..], b"abc", b"aaaaaaaaaaaaaaaaaaaa", b"abcdefghijklmnopqrstuvwxyz"] {
            assert_eq!(folder.fold(text), None, "{}", text.escape_ascii());
        }
        assert!(folder.fold(&[b'a'; 21]).is_some_and(|folded| folded.len() < 8));
    }

    #[test]
    fn a_count_that_would_overflow_begins_anew() {
        let (mut folder, text) = (Folder::new(), [b'a'; 100]);
        folder.base = u32::MAX - 50;
        let folded = folder.fold(&text).map(<[u8]>::to_vec).expect("one letter folds");
        assert_eq!(inflate(&folded, text.len()).as_deref(), Some(&text[..]));
    }

    /// Of few letters, of many that come again far away, or of any bytes.
    fn text() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(0u8..3, 0..700),
            (prop::collection::vec(any::<u8>(), 1..9000), 1usize..4)
                .prop_map(|(part, times)| part.repeat(times)),
            prop::collection::vec(any::<u8>(), 0..300),
        ]
    }

    proptest! {
        #[test]
        fn what_was_folded_unfolds(texts in prop::collection::vec(text(), 1..5)) {
            let mut folder = Folder::new();
            for text in texts {
                if let Some(folded) = folder.fold(&text) {
                    prop_assert!(folded.len() + SAVED_MIN <= text.len());
                    prop_assert_eq!(inflate(folded, text.len()), Some(text));
                }
            }
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
