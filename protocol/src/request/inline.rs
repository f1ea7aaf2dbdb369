//! Inline requests: a line split at blanks, with shell-like quotes.
//!
//! The rules are those of redis-cli and of Redis's own inline commands: `"…"` knows `\n`, `\r`,
//! `\t`, `\b`, `\a` and `\xHH`, any other escaped byte stands for itself; `'…'` knows only
//! `\'`. A quote may open inside a word, and a closing quote must be followed by a blank.

/// Splits a line into arguments; `None` when quotes are not balanced.
pub(super) fn split(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut args = Vec::new();
    let mut rest = line;
    loop {
        while let [first, tail @ ..] = rest
            && is_space(*first)
        {
            rest = tail;
        }
        if rest.is_empty() {
            return Some(args);
        }
        let (arg, tail) = take_word(rest)?;
        args.push(arg);
        rest = tail;
    }
}

/// What C's `isspace` accepts; the vertical tab and the form feed separate only around words.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn take_word(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    loop {
        match rest {
            [] | [b' ' | b'\n' | b'\r' | b'\t', ..] => return Some((word, rest)),
            [b'"', tail @ ..] => {
                let tail = take_double_quoted(&mut word, tail)?;
                return Some((word, tail));
            }
            [b'\'', tail @ ..] => {
                let tail = take_single_quoted(&mut word, tail)?;
                return Some((word, tail));
            }
            [byte, tail @ ..] => {
                word.push(*byte);
                rest = tail;
            }
        }
    }
}

/// Appends what stands before the closing `"` and returns what follows it.
fn take_double_quoted<'a>(word: &mut Vec<u8>, mut rest: &'a [u8]) -> Option<&'a [u8]> {
    loop {
        let (byte, tail) = match rest {
            [] => return None,
            [b'"', tail @ ..] => return ends_word(tail),
            [b'\\', b'x', high, low, tail @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                (hex_value(*high) << 4 | hex_value(*low), tail)
            }
            [b'\\', escaped, tail @ ..] => (unescape(*escaped), tail),
            [byte, tail @ ..] => (*byte, tail),
        };
        word.push(byte);
        rest = tail;
    }
}

/// Appends what stands before the closing `'` and returns what follows it.
fn take_single_quoted<'a>(word: &mut Vec<u8>, mut rest: &'a [u8]) -> Option<&'a [u8]> {
    loop {
        let (byte, tail) = match rest {
            [] => return None,
            [b'\'', tail @ ..] => return ends_word(tail),
            [b'\\', b'\'', tail @ ..] => (b'\'', tail),
            [byte, tail @ ..] => (*byte, tail),
        };
        word.push(byte);
        rest = tail;
    }
}

fn ends_word(rest: &[u8]) -> Option<&[u8]> {
    match rest {
        [byte, ..] if !is_space(*byte) => None,
        _ => Some(rest),
    }
}

fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

fn unescape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Option<Vec<String>> {
        let words = split(line.as_bytes())?;
        Some(words.iter().map(|word| word.escape_ascii().to_string()).collect())
    }

    #[test]
    fn blanks_separate_words() {
        assert_eq!(words("").unwrap(), [""; 0]);
        assert_eq!(words(" \t \r").unwrap(), [""; 0]);
        assert_eq!(words("  SET\tk  v\r").unwrap(), ["SET", "k", "v"]);
        assert_eq!(words("a\u{b}b \u{c} c").unwrap(), ["a\\x0bb", "c"]);
    }

    #[test]
    fn quotes_and_escapes() {
        assert_eq!(words(r#"echo """#).unwrap(), ["echo", ""]);
        assert_eq!(words(r#"echo "\x41\n\z\x4""#).unwrap(), ["echo", r"A\nzx4"]);
        assert_eq!(words(r#"echo "\xfF\xg0\"""#).unwrap(), ["echo", r#"\xffxg0\""#]);
        assert_eq!(words(r"echo 'a\'b\n'").unwrap(), ["echo", r"a\'b\\n"]);
        assert_eq!(words(r#"echo a"b c""#).unwrap(), ["echo", "ab c"]);
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        for line in [r#"set "a"#, r#"set "a"b"#, "echo '", "echo 'a'b", r#"echo "\"#, r#""a\""#] {
            assert_eq!(words(line), None, "{line}");
        }
    }
}
