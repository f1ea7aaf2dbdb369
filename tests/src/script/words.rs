//! A command line into words: the quoting of `redis-cli`, and the two repetitions.

/// Splits a line into words.
///
/// # Errors
/// A text that names what is wrong with the line.
pub fn split_words(line: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        if let Some((range, after)) = range_word(rest) {
            words.extend(range);
            rest = after.trim_start();
            continue;
        }
        let (word, after) = one_word(rest)?;
        words.push(word);
        rest = after.trim_start();
    }
    Ok(words)
}

/// `$(e1..e129)` at the start of `text`: its words and what follows.
fn range_word(text: &str) -> Option<(Vec<Vec<u8>>, &str)> {
    let (inner, after) = text.strip_prefix("$(")?.split_once(')')?;
    let (from, to) = inner.split_once("..")?;
    let digits = from.find(|c: char| c.is_ascii_digit())?;
    let (prefix, first) = from.split_at(digits);
    let first: i64 = first.parse().ok()?;
    let last: i64 = to.strip_prefix(prefix)?.parse().ok()?;
    Some(((first..=last).map(|n| format!("{prefix}{n}").into_bytes()).collect(), after))
}

fn one_word(text: &str) -> Result<(Vec<u8>, &str), String> {
    let bytes = text.as_bytes();
    let mut word = Vec::new();
    let mut at = 0;
    while at < bytes.len() && !bytes[at].is_ascii_whitespace() {
        match bytes[at] {
            b'"' => at = double_quoted(bytes, at + 1, &mut word)?,
            b'\'' => at = single_quoted(bytes, at + 1, &mut word)?,
            b'$' if bytes.get(at + 1) == Some(&b'(') => {
                let (inner, after) =
                    text[at + 2..].split_once(')').ok_or("a `$(` that does not end")?;
                let (count, what) = inner.split_once('*').ok_or("`$(` wants `count*text`")?;
                let count: usize = count.parse().map_err(|_| "`$(` wants a count")?;
                word.extend(what.repeat(count).into_bytes());
                at = text.len() - after.len();
            }
            byte => {
                word.push(byte);
                at += 1;
            }
        }
    }
    Ok((word, &text[at..]))
}

/// Reads up to the closing `"`; returns the position after it.
fn double_quoted(bytes: &[u8], mut at: usize, word: &mut Vec<u8>) -> Result<usize, String> {
    loop {
        match *bytes.get(at).ok_or("a `\"` that does not end")? {
            b'"' => return Ok(at + 1),
            b'\\' => {
                let escape = *bytes.get(at + 1).ok_or("a `\\` at the end")?;
                if escape == b'x' {
                    let hex =
                        bytes.get(at + 2..at + 4).and_then(|hex| std::str::from_utf8(hex).ok());
                    let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
                    word.push(byte.ok_or("`\\x` wants two hexadecimal digits")?);
                    at += 4;
                    continue;
                }
                word.push(match escape {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'a' => 7,
                    b'b' => 8,
                    other => other,
                });
                at += 2;
            }
            byte => {
                word.push(byte);
                at += 1;
            }
        }
    }
}

fn single_quoted(bytes: &[u8], mut at: usize, word: &mut Vec<u8>) -> Result<usize, String> {
    loop {
        match *bytes.get(at).ok_or("a `'` that does not end")? {
            b'\'' => return Ok(at + 1),
            b'\\' if bytes.get(at + 1) == Some(&b'\'') => {
                word.push(b'\'');
                at += 2;
            }
            byte => {
                word.push(byte);
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::split_words;

    fn words(line: &str) -> Vec<String> {
        let words = split_words(line).expect("a good line");
        words.into_iter().map(|word| String::from_utf8_lossy(&word).into_owned()).collect()
    }

    #[test]
    fn quoting_is_that_of_redis_cli() {
        assert_eq!(words(r#"SET "a b" 'c"d' "\x41\n\"" """#), ["SET", "a b", "c\"d", "A\n\"", ""]);
        assert!(split_words("SET \"a").is_err());
    }

    #[test]
    fn repetitions_expand() {
        assert_eq!(words("a$(3*x)b $(e9..e11) $(1..2)"), ["axxxb", "e9", "e10", "e11", "1", "2"]);
    }
}
