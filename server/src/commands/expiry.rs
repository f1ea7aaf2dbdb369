//! When keys expire.

use ballast_protocol::number::parse_i64;
use ballast_protocol::{Args, CommandError, Reply};

use super::context::Data;
use super::keys::read_meta;
use super::table::{ALWAYS, Access, CommandResult, Definition, ONE, Run, flag};
use crate::engine::write::Located;

const BASE: Definition = Definition { keys: ONE, ..Definition::BASE };

pub(crate) static COMMANDS: &[Definition] = &[
    Definition {
        name: "expire",
        syntax: "key seconds [NX | XX | GT | LT]",
        arity: -3,
        flags: flag::WRITE | flag::FAST,
        access: &[Access::to("RW update")],
        constant: 5,
        run: Run::Data(expire),
        summary: "Lets a key expire after some seconds.",
        ..BASE
    },
    Definition {
        name: "expireat",
        syntax: "key unix-time-seconds [NX | XX | GT | LT]",
        arity: -3,
        flags: flag::WRITE | flag::FAST,
        access: &[Access::to("RW update")],
        constant: 5,
        run: Run::Data(expireat),
        since: "1.2.0",
        summary: "Lets a key expire at a Unix time in seconds.",
        ..BASE
    },
    Definition {
        name: "expiretime",
        syntax: "key",
        arity: 2,
        flags: flag::READONLY | flag::FAST,
        constant: 2,
        run: Run::Data(expiretime),
        since: "7.0.0",
        summary: "Returns when a key expires, as a Unix time in seconds.",
        ..BASE
    },
    Definition {
        name: "persist",
        syntax: "key",
        arity: 2,
        flags: flag::WRITE | flag::FAST,
        access: &[Access::to("RW update")],
        constant: 2,
        repeats: ALWAYS,
        run: Run::Data(persist),
        since: "2.2.0",
        summary: "Lets a key never expire.",
        ..BASE
    },
    Definition {
        name: "pexpire",
        syntax: "key milliseconds [NX | XX | GT | LT]",
        arity: -3,
        flags: flag::WRITE | flag::FAST,
        access: &[Access::to("RW update")],
        constant: 5,
        run: Run::Data(pexpire),
        since: "2.6.0",
        summary: "Lets a key expire after some milliseconds.",
        ..BASE
    },
    Definition {
        name: "pexpireat",
        syntax: "key unix-time-milliseconds [NX | XX | GT | LT]",
        arity: -3,
        flags: flag::WRITE | flag::FAST,
        access: &[Access::to("RW update")],
        constant: 5,
        run: Run::Data(pexpireat),
        since: "2.6.0",
        summary: "Lets a key expire at a Unix time in milliseconds.",
        ..BASE
    },
    Definition {
        name: "pexpiretime",
        syntax: "key",
        arity: 2,
        flags: flag::READONLY | flag::FAST,
        constant: 2,
        run: Run::Data(pexpiretime),
        since: "7.0.0",
        summary: "Returns when a key expires, as a Unix time in milliseconds.",
        ..BASE
    },
    Definition {
        name: "pttl",
        syntax: "key",
        arity: 2,
        flags: flag::READONLY | flag::FAST,
        constant: 2,
        run: Run::Data(pttl),
        tips: &["nondeterministic_output"],
        since: "2.6.0",
        summary: "Returns in how many milliseconds a key expires.",
        ..BASE
    },
    Definition {
        name: "ttl",
        syntax: "key",
        arity: 2,
        flags: flag::READONLY | flag::FAST,
        constant: 2,
        run: Run::Data(ttl),
        tips: &["nondeterministic_output"],
        summary: "Returns in how many seconds a key expires.",
        ..BASE
    },
];

/// The unit of a command's times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Seconds,
    Milliseconds,
}

impl Unit {
    /// Milliseconds in this unit, rounded to the nearest.
    fn of_ms(self, ms: i64) -> i64 {
        match self {
            Unit::Seconds => ms.saturating_add(500) / 1000,
            Unit::Milliseconds => ms,
        }
    }
}

/// What a command's times count from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Now,
    Epoch,
}

/// Which expiries may be replaced.
#[derive(Clone, Copy, Debug, Default)]
struct Conditions {
    /// `NX`: none at all.
    only_absent: bool,
    /// `XX`: any, but there must be one.
    only_present: bool,
    /// `GT`: earlier ones.
    only_later: bool,
    /// `LT`: later ones; a key without expiry lives longest.
    only_earlier: bool,
}

impl Conditions {
    fn parse(words: Args<'_>) -> Result<Conditions, CommandError> {
        let mut conditions = Conditions::default();
        for word in words.iter() {
            match word.to_ascii_lowercase().as_slice() {
                b"nx" => conditions.only_absent = true,
                b"xx" => conditions.only_present = true,
                b"gt" => conditions.only_later = true,
                b"lt" => conditions.only_earlier = true,
                _ => return Err(CommandError::repeating("ERR Unsupported option ", word, "")),
            }
        }
        let Conditions { only_absent, only_present, only_later, only_earlier } = conditions;
        if only_absent && (only_present || only_later || only_earlier) {
            return Err(CommandError::other(
                "ERR NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if only_later && only_earlier {
            return Err(CommandError::other(
                "ERR GT and LT options at the same time are not compatible",
            ));
        }
        Ok(conditions)
    }

    fn allow(self, old: Option<i64>, new: i64) -> bool {
        match old {
            None => !self.only_present && !self.only_later,
            Some(old) => {
                !self.only_absent
                    && (!self.only_later || new > old)
                    && (!self.only_earlier || new < old)
            }
        }
    }
}

fn expire(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    set(cx, args, Unit::Seconds, Origin::Now, reply)
}

fn pexpire(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    set(cx, args, Unit::Milliseconds, Origin::Now, reply)
}

fn expireat(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    set(cx, args, Unit::Seconds, Origin::Epoch, reply)
}

fn pexpireat(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    set(cx, args, Unit::Milliseconds, Origin::Epoch, reply)
}

fn set(
    cx: &mut Data<'_>,
    args: Args<'_>,
    unit: Unit,
    origin: Origin,
    reply: &mut Reply,
) -> CommandResult {
    let conditions = Conditions::parse(args.from(3))?;
    let time = parse_i64(args.at(2)).ok_or(CommandError::NotInteger)?;
    let now_ms = cx.now_ms();
    let at_ms = absolute_ms(time, unit, origin, now_ms)
        .ok_or_else(|| CommandError::InvalidExpire(cx.command.full_name.as_str().into()))?;
    let key = cx.key(1)?;
    let mut write = cx.write(key);
    let allowed = write.meta().is_some_and(|meta| conditions.allow(meta.expiry, at_ms));
    if allowed && at_ms <= now_ms {
        write.remove("del");
    } else if allowed {
        write.set_expiry(Some(at_ms));
        write.changed("expire");
    }
    reply.integer(i64::from(allowed));
    Ok(())
}

/// The Unix time in milliseconds, if 64 bits can hold it.
fn absolute_ms(time: i64, unit: Unit, origin: Origin, now_ms: i64) -> Option<i64> {
    let ms = match unit {
        Unit::Seconds => time.checked_mul(1000)?,
        Unit::Milliseconds => time,
    };
    match origin {
        Origin::Now => ms.checked_add(now_ms),
        Origin::Epoch => Some(ms),
    }
}

fn persist(cx: &mut Data<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    let key = cx.key(1)?;
    let mut write = cx.write(key);
    let expires = write.expiry().is_some();
    if expires {
        write.set_expiry(None);
        write.changed("persist");
    }
    reply.integer(i64::from(expires));
    Ok(())
}

fn ttl(cx: &mut Data<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    show(cx, cx.key(1)?, Unit::Seconds, Origin::Now, reply)
}

fn pttl(cx: &mut Data<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    show(cx, cx.key(1)?, Unit::Milliseconds, Origin::Now, reply)
}

fn expiretime(cx: &mut Data<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    show(cx, cx.key(1)?, Unit::Seconds, Origin::Epoch, reply)
}

fn pexpiretime(cx: &mut Data<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    show(cx, cx.key(1)?, Unit::Milliseconds, Origin::Epoch, reply)
}

/// Replies with the expiry; -1: there is none, -2: there is no key.
fn show(
    cx: &mut Data<'_>,
    key: Located<'_>,
    unit: Unit,
    origin: Origin,
    reply: &mut Reply,
) -> CommandResult {
    let now_ms = cx.now_ms();
    reply.integer(match read_meta(cx, key) {
        None => -2,
        Some(meta) => meta.expiry.map_or(-1, |at_ms| {
            unit.of_ms(match origin {
                Origin::Now => at_ms.saturating_sub(now_ms).max(0),
                Origin::Epoch => at_ms,
            })
        }),
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use ballast_protocol::ArgsBuf;

    use super::*;

    #[test]
    fn times_that_do_not_fit_are_refused() {
        let (seconds, ms) = (Unit::Seconds, Unit::Milliseconds);
        assert_eq!(absolute_ms(5, seconds, Origin::Now, 1_000), Some(6_000));
        assert_eq!(absolute_ms(-5, seconds, Origin::Now, 1_000), Some(-4_000));
        assert_eq!(absolute_ms(5, ms, Origin::Epoch, 1_000), Some(5));
        assert_eq!(absolute_ms(i64::MAX, seconds, Origin::Epoch, 0), None);
        assert_eq!(absolute_ms(i64::MIN, seconds, Origin::Epoch, 0), None);
        assert_eq!(absolute_ms(i64::MAX, ms, Origin::Now, 1), None);
    }

    #[test]
    fn a_key_without_expiry_lives_longest() {
        let parse = |words: &[&str]| Conditions::parse(ArgsBuf::new(words).view());
        let later = parse(&["gt"]).unwrap();
        assert!(!later.allow(None, 5) && later.allow(Some(4), 5) && !later.allow(Some(5), 5));
        let earlier = parse(&["LT"]).unwrap();
        assert!(earlier.allow(None, 5) && earlier.allow(Some(6), 5) && !earlier.allow(Some(5), 5));
        let present = parse(&["xx", "lt"]).unwrap();
        assert!(!present.allow(None, 5) && present.allow(Some(6), 5));
        assert!(parse(&["nx", "gt"]).is_err() && parse(&["gt", "lt"]).is_err());
        assert!(parse(&["foo"]).is_err());
    }
}
