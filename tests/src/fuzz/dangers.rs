//! What a random command must not do: end the server, stop its clock, take gigabytes, or wait
//! for what nobody sends.

use super::Words;
use super::words::DIRECTIVES;

/// Who else is there, and so who would wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Company {
    /// One connection to each of two servers, command by command.
    Lockstep,
    /// One connection.
    Alone,
    /// Several connections, and somebody who kills those that wait.
    Crowd,
}

/// The longest wait of a blocking command in seconds.
const WAIT_MAX: f64 = 0.02;
/// Beyond, a time to wait is refused as out of range.
const WAIT_REFUSED: f64 = 1e16;
/// Places in strings are below, so that none grows large, or refused.
const PLACE_MAX: i64 = 5_000;
const PLACE_REFUSED: i64 = 1 << 33;
/// Numbers of items to be drawn with repetition.
const DRAWN_MAX: i64 = 1_000;

/// Whether `words`, which were made for the command called `name`, may be sent.
pub(super) fn is_harmless(name: &str, words: &Words, company: Company) -> bool {
    let number = |at: usize| words.get(at).and_then(|word| integer(word));
    let all_numbers = || words.iter().skip(1).filter_map(|word| integer(word));
    match name {
        "shutdown" => false,
        "setrange" | "setbit" | "getbit" | "bitfield" | "bitfield_ro" => {
            all_numbers().all(|place| !(PLACE_MAX..PLACE_REFUSED).contains(&place))
        }
        "srandmember" | "hrandfield" | "zrandmember" => {
            all_numbers().all(|count| count == i64::MIN || count >= -DRAWN_MAX)
        }
        "blpop" | "brpop" | "bzpopmin" | "bzpopmax" | "blmove" | "brpoplpush" => {
            words.last().is_none_or(|timeout| is_short(timeout, company))
        }
        "blmpop" | "bzmpop" => words.get(1).is_none_or(|timeout| is_short(timeout, company)),
        "wait" | "waitaof" => all_numbers().all(|number| number <= 0),
        "client|pause" => {
            company != Company::Lockstep && number(2).is_none_or(|ms| (..20).contains(&ms))
        }
        // In lockstep and in order a reply belongs to each command.
        "client|reply" => company != Company::Lockstep,
        // Who listens reads other things than a reply to each command.
        "subscribe" | "unsubscribe" | "psubscribe" | "punsubscribe" | "ssubscribe"
        | "sunsubscribe" | "monitor" => company == Company::Crowd,
        // A client that is to be killed might be the one that judges.
        "client|kill" => company == Company::Crowd,
        "config|set" => {
            let known = |word: &Vec<u8>| DIRECTIVES.iter().any(|known| known.as_bytes() == word);
            company == Company::Crowd && words.iter().skip(2).step_by(2).all(known)
        }
        "config|rewrite" => false,
        // How long it takes decides what the next save is answered.
        "bgsave" | "bgrewriteaof" => company != Company::Lockstep,
        "debug" => is_harmless_debug(words, company),
        _ => true,
    }
}

fn is_harmless_debug(words: &Words, company: Company) -> bool {
    let Some(sub) = words.get(1) else { return true };
    let sub = String::from_utf8_lossy(sub).to_lowercase();
    let small =
        |max: i64| words.iter().skip(2).filter_map(|word| integer(word)).all(|number| number < max);
    match sub.as_str() {
        _ if company == Company::Lockstep => false,
        "sleep" => words.get(2).is_none_or(|seconds| is_short(seconds, company)),
        "hand-overs" => {
            words.get(3).is_none_or(|seconds| is_short(seconds, company)) && small(1000)
        }
        "populate" => small(200),
        "stringmatch-len" => small(30),
        _ => true,
    }
}

fn is_short(timeout: &[u8], company: Company) -> bool {
    let seconds = std::str::from_utf8(timeout).ok().and_then(|text| text.parse::<f64>().ok());
    match seconds {
        Some(0.0) => company == Company::Crowd,
        Some(seconds) => !(WAIT_MAX..WAIT_REFUSED).contains(&seconds),
        // Servers read hexadecimal numbers too.
        None => !timeout.starts_with(b"0x"),
    }
}

/// A whole number as a command would read it, also one with a `#` before it.
fn integer(word: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(word).ok()?;
    let number: i128 = text.strip_prefix('#').unwrap_or(text).trim().parse().ok()?;
    Some(i64::try_from(number).unwrap_or(if number < 0 { i64::MIN } else { i64::MAX }))
}
