//! Patterns as KEYS, SCAN, PSUBSCRIBE and CONFIG GET understand them.
//!
//! `*` is any text, `?` any byte, `[abc]`, `[a-z]` and `[^a]` a byte of a set, `\x` the byte x.
//! Everything works on bytes. A pattern is never invalid: a set that does not close ends with
//! the pattern, and a backslash at the end stands for itself.
//!
//! One deliberate difference: stars match the empty text. Redis agrees where it takes a lone `*`
//! as "everything" without matching, and nowhere else.

/// Whether the whole text matches the pattern.
///
/// Takes at most pattern length × text length steps: when a byte does not match, only the last
/// `*` can take one byte more, since the ones before it have no better choice.
pub fn glob_match(pattern: &[u8], text: &[u8]) -> bool {
    matches(pattern, text, |byte| byte)
}

/// [`glob_match`] that takes ASCII letters of both cases as equal.
pub fn glob_match_nocase(pattern: &[u8], text: &[u8]) -> bool {
    matches(pattern, text, |byte| byte.to_ascii_lowercase())
}

fn matches(pattern: &[u8], text: &[u8], fold: impl Fn(u8) -> u8) -> bool {
    let mut rest_pattern = pattern;
    let mut rest_text = text;
    // Pattern behind the last star, and the text from which it was last tried.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        if let [b'*', tail @ ..] = rest_pattern {
            rest_pattern = tail;
            if tail.is_empty() {
                return true;
            }
            retry = Some((tail, rest_text));
            continue;
        }
        let matched = match rest_text {
            [] if rest_pattern.is_empty() => return true,
            // No star can make the text longer.
            [] => return false,
            [byte, tail @ ..] => match_one(rest_pattern, *byte, &fold).map(|rest| (rest, tail)),
        };
        if let Some((pattern_tail, text_tail)) = matched {
            rest_pattern = pattern_tail;
            rest_text = text_tail;
            continue;
        }
        let Some((after_star, tried)) = retry else { return false };
        rest_pattern = after_star;
        rest_text = &tried[1..];
        retry = Some((after_star, rest_text));
    }
}

/// Matches one byte with the first element of a pattern and returns the pattern behind it.
fn match_one<'p>(pattern: &'p [u8], byte: u8, fold: &impl Fn(u8) -> u8) -> Option<&'p [u8]> {
    match pattern {
        [] => None,
        [b'?', tail @ ..] => Some(tail),
        [b'[', tail @ ..] => match_set(tail, byte, fold),
        [b'\\', escaped, tail @ ..] => (fold(*escaped) == fold(byte)).then_some(tail),
        [literal, tail @ ..] => (fold(*literal) == fold(byte)).then_some(tail),
    }
}

/// Matches one byte with the set whose `[` was taken already.
fn match_set<'p>(set: &'p [u8], byte: u8, fold: &impl Fn(u8) -> u8) -> Option<&'p [u8]> {
    let (negated, mut rest) = match set {
        [b'^', tail @ ..] => (true, tail),
        _ => (false, set),
    };
    let mut found = false;
    loop {
        rest = match rest {
            [] => break,
            [b']', tail @ ..] => {
                rest = tail;
                break;
            }
            // Redis compares an escaped byte of a set as it is, also when case does not matter.
            [b'\\', escaped, tail @ ..] => {
                found |= *escaped == byte;
                tail
            }
            [first, b'-', last, tail @ ..] => {
                let (low, high) = (fold(*first.min(last)), fold(*first.max(last)));
                found |= (low..=high).contains(&fold(byte));
                tail
            }
            [member, tail @ ..] => {
                found |= fold(*member) == fold(byte);
                tail
            }
        };
    }
    (found != negated).then_some(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn glob(pattern: &str, text: &str) -> bool {
        glob_match(pattern.as_bytes(), text.as_bytes())
    }

    #[test]
    fn stars_and_question_marks() {
        assert!(glob("*", ""));
        assert!(glob("", ""));
        assert!(!glob("", "a"));
        assert!(glob("h*llo", "heeeello"));
        assert!(glob("h*llo", "hllo"));
        assert!(glob("h?llo", "hallo"));
        assert!(!glob("h?llo", "hllo"));
        assert!(glob("a*b*c", "aXbYbZc"));
        assert!(!glob("a*b*c", "aXbYbZ"));
        assert!(glob("**a**", "xxa"));
        assert!(glob("foo*", "foo"));
        assert!(!glob("foo?", "foo"));
    }

    #[test]
    fn sets() {
        assert!(glob("h[ae]llo", "hello"));
        assert!(!glob("h[ae]llo", "hillo"));
        assert!(glob("h[a-c]llo", "hbllo"));
        assert!(glob("h[c-a]llo", "hbllo"));
        assert!(!glob("h[^e]llo", "hello"));
        assert!(glob("h[^e]llo", "hallo"));
        assert!(glob(r"[\]]", "]"));
        assert!(glob(r"[\-]", "-"));
        assert!(glob("[a-", "-"));
        assert!(glob("[a", "a"));
        assert!(!glob("[]", "a"));
        assert!(glob("[^]", "a"));
        assert!(glob("*[0-9]x", "ab12x"));
    }

    #[test]
    fn escapes() {
        assert!(glob(r"a\*b", "a*b"));
        assert!(!glob(r"a\*b", "axb"));
        assert!(glob(r"a\", r"a\"));
        assert!(glob(r"\[a]", "[a]"));
    }

    #[test]
    fn without_case() {
        assert!(glob_match_nocase(b"MAX*[A-M]", b"maxmem"));
        assert!(glob_match_nocase(b"h[EA]LLO", b"Hello"));
        assert!(!glob_match_nocase(br"[\A]", b"a"));
        assert!(!glob("HELLO", "hello"));
    }

    #[test]
    fn many_stars_do_not_take_exponential_time() {
        let pattern = "a*".repeat(500) + "b";
        let text = "a".repeat(5_000);
        assert!(!glob(&pattern, &text));
        assert!(glob(&pattern, &(text + "b")));
    }

    /// The rules as a recursion, for short inputs.
    fn model(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            ([b'*', tail @ ..], _) => (0..=text.len()).any(|taken| model(tail, &text[taken..])),
            (_, []) => false,
            (_, [byte, rest @ ..]) => {
                match_one(pattern, *byte, &|byte| byte).is_some_and(|tail| model(tail, rest))
            }
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_recursion(
            pattern in r"[ab*?\[\]\\^-]{0,8}",
            text in r"[ab*?\[\]\\^-]{0,8}",
        ) {
            let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
            prop_assert_eq!(glob_match(pattern, text), model(pattern, text));
        }

        #[test]
        fn an_escaped_text_matches_itself_only(text: Vec<u8>, other: Vec<u8>) {
            let pattern: Vec<u8> = text.iter().flat_map(|&byte| [b'\\', byte]).collect();
            prop_assert!(glob_match(&pattern, &text));
            prop_assert_eq!(glob_match(&pattern, &other), text == other);
        }
    }
}
