//! Lines split into arguments as Redis splits them, and arguments quoted back.
//!
//! Words are separated by spaces. In double quotes `\n \r \t \a \b \xHH` and a backslash before
//! any other byte mean what they do in C; in single quotes only `\'` is special. A closing quote
//! must end the word.

/// Splits one line; none if quotes do not balance.
pub(super) fn split(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut rest = line.trim_ascii_start();
    let mut words = Vec::new();
    while !rest.is_empty() {
        let (word, after) = take_word(rest)?;
        words.push(word);
        rest = after.trim_ascii_start();
    }
    Some(words)
}

/// The word as it must be written so that [`split`] reads it back.
pub(super) fn quote(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\');
    if !word.is_empty() && word.bytes().all(plain) && !word.starts_with('#') {
        return word.to_owned();
    }
    quote_always(word)
}

/// The word in double quotes.
pub(super) fn quote_always(word: &str) -> String {
    let mut quoted = String::with_capacity(word.len() + 2);
    quoted.push('"');
    for letter in word.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            control if control.is_ascii_control() => {
                quoted.push_str(&format!("\\x{:02x}", u32::from(control)));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// One word and what follows it. `rest` starts with neither space nor end.
fn take_word(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    loop {
        match rest {
            [] => return Some((word, rest)),
            [space, ..] if space.is_ascii_whitespace() || *space == 0 => {
                // A NUL ends a word too, and is skipped so that the line always gets shorter.
                let skipped = usize::from(*space == 0);
                return Some((word, &rest[skipped..]));
            }
            [b'"', tail @ ..] => return take_double_quoted(word, tail),
            [b'\'', tail @ ..] => return take_single_quoted(word, tail),
            [byte, tail @ ..] => {
                word.push(*byte);
                rest = tail;
            }
        }
    }
}

fn take_double_quoted(mut word: Vec<u8>, mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    loop {
        rest = match rest {
            [b'\\', b'x', high, low, tail @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                word.push(hex(*high) << 4 | hex(*low));
                tail
            }
            [b'\\', escaped, tail @ ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                tail
            }
            [b'"', tail @ ..] => return ends_word(tail).then_some((word, tail)),
            [byte, tail @ ..] => {
                word.push(*byte);
                tail
            }
            [] => return None,
        }
    }
}

fn take_single_quoted(mut word: Vec<u8>, mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    loop {
        rest = match rest {
            [b'\\', b'\'', tail @ ..] => {
                word.push(b'\'');
                tail
            }
            [b'\'', tail @ ..] => return ends_word(tail).then_some((word, tail)),
            [byte, tail @ ..] => {
                word.push(*byte);
                tail
            }
            [] => return None,
        }
    }
}

fn ends_word(rest: &[u8]) -> bool {
    rest.first().is_none_or(u8::is_ascii_whitespace)
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => digit.to_ascii_lowercase() - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(line: &str) -> Option<Vec<String>> {
        let words = split(line.as_bytes())?;
        Some(words.into_iter().map(|word| String::from_utf8_lossy(&word).into_owned()).collect())
    }

    #[test]
    fn words_and_quotes() {
        assert_eq!(words("  save 60   1 ").unwrap(), ["save", "60", "1"]);
        assert_eq!(words(r#"a "b c" 'd "e' "" "#).unwrap(), ["a", "b c", "d \"e", ""]);
        assert_eq!(words(r#""\x41\n\t\a\b\"\q" '\'\n'"#).unwrap(), ["A\n\t\u{7}\u{8}\"q", "'\\n"]);
        assert_eq!(words(r#"pre"quoted""#).unwrap(), ["prequoted"]);
        assert_eq!(words("").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        for line in ["\"a", "'a", "\"a\"b", "'a'b", "a\"", "\"a\\\""] {
            assert_eq!(words(line), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn what_is_quoted_reads_back(all in prop::collection::vec("\\PC*|[\\x00-\\x7f]*", 1..4)) {
            let line = all.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ");
            prop_assert_eq!(words(&line).unwrap(), all);
        }

        #[test]
        fn no_line_panics(line in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = split(&line);
        }
    }
}
