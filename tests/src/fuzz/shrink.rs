//! Makes a failing sequence of commands short, and prints it as a command script.

use std::fmt::Write as _;

use super::Words;
use crate::script::render;
use crate::support::Reply;

/// The fewest of `commands` that still fail, found by leaving out ever smaller parts.
/// `fails` runs them from the beginning.
pub fn shrink<T: Clone>(commands: &[T], mut fails: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let mut kept = commands.to_vec();
    let mut part = kept.len().div_ceil(2);
    while part > 0 {
        let mut at = 0;
        let before = kept.len();
        while at < kept.len() {
            let mut fewer = kept.clone();
            fewer.drain(at..(at + part).min(kept.len()));
            if !fewer.is_empty() && fails(&fewer) {
                kept = fewer;
            } else {
                at += part;
            }
        }
        // As long as single commands can be left out, others may become superfluous.
        part = if part == 1 && kept.len() < before { 1 } else { part / 2 };
    }
    kept
}

/// The commands in the format of `tests/scripts`, with the replies that are expected.
pub fn script(commands: &[Words], replies: &[Reply]) -> String {
    let mut text = String::new();
    for words in commands {
        let quoted: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        writeln!(text, "{}", quoted.join(" ")).expect("a String takes all");
    }
    if !replies.is_empty() {
        text.push_str("---\n");
        for reply in replies {
            writeln!(text, "{}", render(reply, false).join("\n")).expect("a String takes all");
        }
    }
    text
}

fn quoted(word: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !b"\"'\\$#@&<".contains(byte);
    if !word.is_empty() && word.iter().all(plain) {
        return String::from_utf8_lossy(word).into_owned();
    }
    let mut text = String::from("\"");
    for byte in word {
        match byte {
            b'"' => text.push_str("\\\""),
            b'\\' => text.push_str("\\\\"),
            0x20..=0x7e => text.push(char::from(*byte)),
            _ => write!(text, "\\x{byte:02x}").expect("a String takes all"),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::split_words;

    #[test]
    fn the_commands_that_matter_are_left() {
        let commands: Vec<Words> = (0..100_u8).map(|number| vec![vec![number]]).collect();
        let matter = |of: &[Words]| [7, 50, 51].iter().all(|one| of.contains(&vec![vec![*one]]));
        let left = shrink(&commands, matter);
        assert_eq!(left, [vec![vec![7]], vec![vec![50]], vec![vec![51]]]);
    }

    #[test]
    fn a_printed_script_is_read_back() {
        let words: Words = [&b"SET"[..], b"", b"\xff\x00\r\n\"\\ $(1*x)", b"'"]
            .iter()
            .map(|word| word.to_vec())
            .collect();
        let text = script(std::slice::from_ref(&words), &[]);
        assert_eq!(split_words(text.trim_end_matches('\n')).expect("words"), words);
    }
}
