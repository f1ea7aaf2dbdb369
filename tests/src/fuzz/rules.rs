//! How a reply is compared with that of `redis-server`, and where they may differ.

use super::Words;
use super::words::has_equal_scores;
use crate::script::render;
use crate::support::Reply;

/// How equal two replies must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// In every byte.
    Exact,
    /// Items in any order.
    Unordered,
    /// Of the same kind, and errors in every byte: what chance or the time has a part in.
    Shape,
    /// Numbers of milliseconds that pass between the servers' turns.
    Near,
}

/// Milliseconds that may pass between the turns of two servers.
const NEAR_MS: i64 = 60_000;

/// Times below, in milliseconds or since 1970, have passed or pass soon.
const SOON_MS: i64 = 100_000;

/// How the replies of this command are compared; `None` if it is not sent to both.
pub(super) fn rule(name: &str, words: &Words) -> Option<Rule> {
    let has = |option: &str| {
        words.iter().skip(1).any(|word| word.eq_ignore_ascii_case(option.as_bytes()))
    };
    // An order of members is defined among those of one score only.
    let of_one_score = |at: usize| words.get(at).is_some_and(|key| has_equal_scores(key));
    let sources = if name == "zrangestore" { 1..3 } else { 1..2 };
    if (name.contains("lex") || has("BYLEX")) && !sources.clone().all(of_one_score)
        || name == "zrangestore" && of_one_score(1) != of_one_score(2)
    {
        return None;
    }
    Some(match name {
        "sort" | "sort_ro" => match (has("BY"), has("STORE")) {
            // What is equal to the pattern's weights has no order.
            (true, true) => return None,
            (true, false) if has("LIMIT") => Rule::Shape,
            (true, false) => Rule::Unordered,
            (false, _) => Rule::Exact,
        },
        // Takes a member by chance unless it takes all.
        "spop" => {
            let count = words.get(2).and_then(|count| std::str::from_utf8(count).ok());
            let takes_all = count
                .and_then(|count| count.parse().ok())
                .is_some_and(|count: i64| words.len() == 3 && (count <= 0 || count > 10_000));
            if !takes_all {
                return None;
            }
            Rule::Unordered
        }
        "keys" | "hgetall" | "hkeys" | "hvals" | "smembers" | "sinter" | "sunion" | "sdiff" => {
            Rule::Unordered
        }
        "srandmember" | "hrandfield" | "zrandmember" | "randomkey" | "scan" | "hscan" | "sscan"
        | "zscan" | "dump" | "memory|usage" | "object|encoding" | "object|idletime"
        | "object|refcount" | "time" | "lastsave" | "client|id" | "client|info" | "hello" => {
            Rule::Shape
        }
        "ttl" | "pttl" | "expiretime" | "pexpiretime" => Rule::Near,
        // Redis saturates a value far below the smallest one to the largest.
        "bitfield" if has(&i64::MIN.to_string()) => return None,
        // What expires meanwhile, or has when it is set, is there or not by chance.
        "set" | "getex" | "psetex" | "pexpire" | "restore" if is_soon(words) => return None,
        "debug" | "wait" | "waitaof" | "info" | "lolwut" | "role" | "balancer" | "quit"
        | "shutdown" | "asking" | "readonly" | "readwrite" | "auth" => return None,
        "client|getname"
        | "client|setname"
        | "client|no-evict"
        | "client|getredir"
        | "client|trackinginfo"
        | "client|caching" => Rule::Exact,
        "object|freq" => Rule::Exact,
        // Redis 7.0 has no WITHSCORE, and wants one word more to get the keys of.
        "zrank" | "zrevrank" if words.len() > 3 => return None,
        "command|getkeys"
            if words.len() < 4 || words[2].to_ascii_lowercase().ends_with(b"rank") =>
        {
            return None;
        }
        "command|getkeys" => Rule::Exact,
        _ if name.contains('|') => return None,
        _ => Rule::Exact,
    })
}

/// Whether an option of the command may be a time that comes while a run lasts, or has passed.
fn is_soon(words: &Words) -> bool {
    words.iter().skip(2).any(|word| {
        let number = std::str::from_utf8(word).ok().and_then(|text| text.parse::<i64>().ok());
        number.is_some_and(|number| (1..SOON_MS).contains(&number))
    })
}

/// A difference that is meant.
pub(super) struct Known {
    /// The command, or `*`.
    command: &'static str,
    /// What Redis 7.0.15 answers, or the beginning of it.
    redis: &'static str,
    /// What we answer, or the beginning of it.
    ballast: &'static str,
    /// Why.
    #[allow(dead_code, reason = "each difference has one, for the reader")]
    reason: &'static str,
}

/// All of them.
pub(super) const KNOWN: &[Known] = &[
    Known {
        command: "lpos",
        redis: "(",
        ballast: "(error) ERR value is out of range, value must between",
        reason: "the smallest RANK is refused, as from Redis 7.2 on",
    },
    Known {
        command: "*",
        redis: "(error) ERR timeout is negative",
        ballast: "(error) ERR timeout is out of range",
        reason: "Redis 7.0 lets a large timeout overflow, Redis 7.2 says this",
    },
    Known {
        command: "bitpos",
        redis: "(integer)",
        ballast: "(error)",
        reason: "Redis 7.0 reads the arguments only if there is a key, Redis 7.2 always",
    },
    Known { command: "bitcount", redis: "(integer)", ballast: "(error)", reason: "as BITPOS" },
    Known { command: "bitcount", redis: "(error) W", ballast: "(error)", reason: "as BITPOS" },
    Known { command: "bitpos", redis: "(error) W", ballast: "(error)", reason: "as BITPOS" },
];

/// Whether the replies are as equal as the rule says, or the difference is known.
pub(super) fn agree(name: &str, rule: Rule, redis: &Reply, ballast: &Reply) -> bool {
    let equal = match rule {
        Rule::Exact => redis == ballast,
        Rule::Unordered => render(redis, true) == render(ballast, true),
        Rule::Shape => is_alike(redis, ballast),
        Rule::Near => match (redis, ballast) {
            (Reply::Integer(a), Reply::Integer(b)) => {
                (*a < 0) == (*b < 0) && a.abs_diff(*b) < NEAR_MS.unsigned_abs()
            }
            _ => redis == ballast,
        },
    };
    equal || is_known(name, redis, ballast)
}

fn is_alike(redis: &Reply, ballast: &Reply) -> bool {
    match (redis, ballast) {
        (Reply::Error(a), Reply::Error(b)) => a == b,
        (Reply::Bulk(_), Reply::Bulk(_)) | (Reply::Verbatim(..), Reply::Verbatim(..)) => true,
        (Reply::Integer(a), Reply::Integer(b)) => (*a < 0) == (*b < 0),
        _ => std::mem::discriminant(redis) == std::mem::discriminant(ballast),
    }
}

fn is_known(name: &str, redis: &Reply, ballast: &Reply) -> bool {
    let [redis, ballast] = [redis, ballast].map(|reply| render(reply, false).join("\n"));
    KNOWN.iter().any(|known| {
        (known.command == "*" || known.command == name)
            && redis.starts_with(known.redis)
            && ballast.starts_with(known.ballast)
    })
}
