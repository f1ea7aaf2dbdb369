//! `SET` with its options, the commands that it replaced, and `GETEX`, which shares the options.

use ballast_protocol::{Args, CommandError, Reply, number};

use super::read_string;
use crate::commands::context::Data;
use crate::commands::table::CommandResult;

#[inline]
pub(super) fn set(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    if args.len() > 3 {
        return set_with_options(cx, args, reply);
    }
    let key = cx.key(1)?;
    let mut write = cx.write(key);
    write.set_string(args.at(2), None);
    write.changed("set");
    reply.ok();
    Ok(())
}

#[inline(never)]
fn set_with_options(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let options = Options::parse(args)?;
    let mut expiry = options.lifetime.expiry_ms(cx)?;
    let key = cx.key(1)?;
    if options.get {
        read_string(cx, key, reply)?;
    }
    let refused = match options.condition {
        None => false,
        Some(Condition::Absent) => cx.exists(key),
        Some(Condition::Present) => !cx.exists(key),
    };
    if refused {
        if !options.get {
            reply.null();
        }
        return Ok(());
    }
    let mut write = cx.write(key);
    if matches!(options.lifetime, Lifetime::Keep) {
        expiry = write.expiry();
    }
    write.set_string(args.at(2), expiry);
    let expires = !matches!(options.lifetime, Lifetime::Keep) && expiry.is_some();
    write.changed(if expires { "set expire" } else { "set" });
    if !options.get {
        reply.ok();
    }
    Ok(())
}

pub(super) fn setnx(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let key = cx.key(1)?;
    let absent = !cx.exists(key);
    if absent {
        let mut write = cx.write(key);
        write.set_string(args.at(2), None);
        write.changed("set");
    }
    reply.integer(i64::from(absent));
    Ok(())
}

pub(super) fn setex(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    set_for(cx, Unit::Seconds, args, reply)
}

pub(super) fn psetex(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    set_for(cx, Unit::Milliseconds, args, reply)
}

fn set_for(cx: &mut Data<'_>, unit: Unit, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let expiry = Lifetime::Until(unit, args.at(2)).expiry_ms(cx)?;
    let key = cx.key(1)?;
    let mut write = cx.write(key);
    write.set_string(args.at(3), expiry);
    write.changed("set expire");
    reply.ok();
    Ok(())
}

pub(super) fn getset(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let key = cx.key(1)?;
    read_string(cx, key, reply)?;
    let mut write = cx.write(key);
    write.set_string(args.at(2), None);
    write.changed("set");
    Ok(())
}

pub(super) fn getex(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let mut lifetime = Lifetime::Unsaid;
    let mut at = 2;
    while at < args.len() {
        at += lifetime.take(args, at).ok_or(CommandError::Syntax)?;
    }
    if matches!(lifetime, Lifetime::Keep) {
        return Err(CommandError::Syntax);
    }
    let key = cx.key(1)?;
    if !read_string(cx, key, reply)? {
        return Ok(());
    }
    match (lifetime, lifetime.expiry_ms(cx)?) {
        (_, Some(expiry)) if expiry <= cx.now_ms() => {
            cx.write(key).remove("del");
        }
        (_, Some(expiry)) => {
            let mut write = cx.write(key);
            write.set_expiry(Some(expiry));
            write.changed("expire");
        }
        (Lifetime::Persist, None) => {
            let mut write = cx.write(key);
            if write.expiry().is_some() {
                write.set_expiry(None);
                write.changed("persist");
            }
        }
        _ => {}
    }
    Ok(())
}

/// The options of `SET`.
struct Options<'a> {
    condition: Option<Condition>,
    /// The reply is the old value.
    get: bool,
    lifetime: Lifetime<'a>,
}

/// What has to be so for `SET` to set.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    Absent,
    Present,
}

impl<'a> Options<'a> {
    fn parse(args: Args<'a>) -> Result<Options<'a>, CommandError> {
        let mut options = Options { condition: None, get: false, lifetime: Lifetime::Unsaid };
        let mut at = 3;
        while at < args.len() {
            let word = args.at(at);
            if let Some(condition) = Condition::named(word) {
                if options.condition.is_some_and(|other| other != condition) {
                    return Err(CommandError::Syntax);
                }
                options.condition = Some(condition);
                at += 1;
            } else if word.eq_ignore_ascii_case(b"get") {
                options.get = true;
                at += 1;
            } else {
                at += options.lifetime.take(args, at).ok_or(CommandError::Syntax)?;
            }
        }
        match options.lifetime {
            Lifetime::Persist => Err(CommandError::Syntax),
            _ => Ok(options),
        }
    }
}

impl Condition {
    fn named(word: &[u8]) -> Option<Condition> {
        if word.eq_ignore_ascii_case(b"nx") {
            Some(Condition::Absent)
        } else if word.eq_ignore_ascii_case(b"xx") {
            Some(Condition::Present)
        } else {
            None
        }
    }
}

/// What the options say about the expiry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lifetime<'a> {
    /// Nothing.
    Unsaid,
    /// `KEEPTTL`.
    Keep,
    /// `PERSIST`.
    Persist,
    /// A number, not parsed yet.
    Until(Unit, &'a [u8]),
}

impl<'a> Lifetime<'a> {
    /// Takes the option at `at` and answers how many arguments it has. `None`: it is not about
    /// time, lacks its number, or contradicts an earlier one (repeating the same one does not).
    fn take(&mut self, args: Args<'a>, at: usize) -> Option<usize> {
        let word = args.at(at);
        let (said, words) = if word.eq_ignore_ascii_case(b"keepttl") {
            (Lifetime::Keep, 1)
        } else if word.eq_ignore_ascii_case(b"persist") {
            (Lifetime::Persist, 1)
        } else {
            (Lifetime::Until(Unit::named(word)?, args.get(at + 1)?), 2)
        };
        let agrees = match (*self, said) {
            (Lifetime::Unsaid, _) => true,
            (Lifetime::Until(before, _), Lifetime::Until(unit, _)) => before == unit,
            (before, _) => before == said,
        };
        *self = said;
        agrees.then_some(words)
    }

    /// The Unix milliseconds named, if any.
    fn expiry_ms(self, cx: &Data<'_>) -> Result<Option<i64>, CommandError> {
        let Lifetime::Until(unit, text) = self else { return Ok(None) };
        let amount = number::parse_i64(text).ok_or(CommandError::NotInteger)?;
        let expiry = (amount > 0).then(|| unit.expiry_ms(amount, cx.now_ms())).flatten();
        match expiry {
            Some(expiry) => Ok(Some(expiry)),
            None => Err(CommandError::InvalidExpire(cx.command.name.into())),
        }
    }
}

/// How a time is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// `EX`
    Seconds,
    /// `PX`
    Milliseconds,
    /// `EXAT`
    UnixSeconds,
    /// `PXAT`
    UnixMilliseconds,
}

impl Unit {
    fn named(word: &[u8]) -> Option<Unit> {
        let units: [(&[u8], Unit); 4] = [
            (b"ex", Unit::Seconds),
            (b"px", Unit::Milliseconds),
            (b"exat", Unit::UnixSeconds),
            (b"pxat", Unit::UnixMilliseconds),
        ];
        let found = units.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name));
        found.map(|(_, unit)| unit)
    }

    /// The time in Unix milliseconds, if it can be represented.
    fn expiry_ms(self, amount: i64, now_ms: i64) -> Option<i64> {
        match self {
            Unit::Seconds => amount.checked_mul(1000)?.checked_add(now_ms),
            Unit::Milliseconds => amount.checked_add(now_ms),
            Unit::UnixSeconds => amount.checked_mul(1000),
            Unit::UnixMilliseconds => Some(amount),
        }
    }
}

#[cfg(test)]
mod tests {
    use ballast_protocol::args::ArgsBuf;

    use super::*;

    fn parsed(text: &str) -> bool {
        Options::parse(ArgsBuf::new(text.split(' ')).view()).is_ok()
    }

    #[test]
    fn options_that_agree() {
        for text in ["NX", "xx GET", "EX 1", "GET px 5 NX", "EX 1 EX 2", "KEEPTTL KEEPTTL NX NX"] {
            assert!(parsed(&format!("SET k v {text}")), "{text}");
        }
    }

    #[test]
    fn options_that_do_not() {
        for text in ["NX XX", "EX", "EX 1 PX 1", "KEEPTTL EX 1", "EX 1 KEEPTTL", "PERSIST", "FOO"] {
            assert!(!parsed(&format!("SET k v {text}")), "{text}");
        }
    }

    #[test]
    fn times_that_overflow_are_none() {
        assert_eq!(Unit::Seconds.expiry_ms(10, 5), Some(10_005));
        assert_eq!(Unit::Seconds.expiry_ms(i64::MAX / 1000, 1000), None);
        assert_eq!(Unit::Milliseconds.expiry_ms(i64::MAX, 1), None);
        assert_eq!(Unit::UnixSeconds.expiry_ms(i64::MAX, 0), None);
        assert_eq!(Unit::UnixMilliseconds.expiry_ms(i64::MAX, 1), Some(i64::MAX));
    }
}
