//! Values as bytes, out and in: `DUMP`, `RESTORE`.

use ballast_protocol::number::parse_i64;
use ballast_protocol::{Args, CommandError, Reply};
use ballast_storage::eviction;
use ballast_storage::rdb::{self, RestoreError};

use super::context::Data;
use super::key_spec;
use super::table::{CommandResult, Definition, ONE, Run, flag};

pub(crate) static COMMANDS: &[Definition] = &[
    Definition {
        name: "dump",
        syntax: "key",
        arity: 2,
        flags: flag::READONLY,
        keys: ONE,
        run: Run::Data(dump),
        tips: &["nondeterministic_output"],
        since: "2.6.0",
        complexity: "O(N) for a collection of N elements, O(1) for a string",
        summary: "Returns the value of a key as bytes that RESTORE takes.",
        ..Definition::BASE
    },
    Definition {
        name: "restore",
        syntax: "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]",
        arity: -4,
        flags: flag::WRITE | flag::DENYOOM | flag::DANGEROUS,
        keys: ONE,
        access: &[key_spec::Access::to("OW update")],
        run: Run::Data(restore),
        since: "2.6.0",
        complexity: "O(N) for a collection of N elements, O(1) for a string",
        summary: "Makes a key of bytes that DUMP returned.",
        ..Definition::BASE
    },
];

fn dump(cx: &mut Data<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    match cx.read(cx.key(1)?) {
        Some(value) => reply.bulk(&rdb::dump(value)),
        None => reply.null(),
    }
    Ok(())
}

fn restore(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let options = Options::parse(args.from(4))?;
    let key = cx.key(1)?;
    if !options.replace && cx.exists(key) {
        return Err(CommandError::BusyKey);
    }
    let ttl = parse_i64(args.at(2)).ok_or(CommandError::NotInteger)?;
    if ttl < 0 {
        return Err(CommandError::other("ERR Invalid TTL value, must be >= 0"));
    }
    let value = rdb::restore(args.at(3), &cx.limits()).map_err(refused)?;
    let expiry = expiry(ttl, options.origin, cx.now_ms());
    if expiry.is_some_and(|at_ms| at_ms <= cx.now_ms()) {
        // Restored and expired at once; what it replaces is gone all the same.
        if options.replace {
            cx.write(key).remove("del");
        }
        reply.ok();
        return Ok(());
    }
    let aux = options.access.aux(cx);
    let mut write = cx.write(key);
    write.insert(value, expiry, aux);
    write.changed("restore");
    reply.ok();
    Ok(())
}

fn refused(error: RestoreError) -> CommandError {
    CommandError::other(match error {
        RestoreError::Footer => "ERR DUMP payload version or checksum are wrong",
        RestoreError::Content(_) => "ERR Bad data format",
    })
}

/// What the time to live counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Now,
    Epoch,
}

/// When the key expires; a time to live of 0 is none. One beyond 64 bits has overflown into the
/// past, as in Redis.
fn expiry(ttl: i64, origin: Origin, now_ms: i64) -> Option<i64> {
    match origin {
        _ if ttl == 0 => None,
        Origin::Now => Some(ttl.wrapping_add(now_ms)),
        Origin::Epoch => Some(ttl),
    }
}

/// The place in the eviction order that the restored key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// That of any new key.
    New,
    /// `IDLETIME`, in seconds.
    Idle(u64),
    /// `FREQ`.
    Frequency(u8),
}

impl Access {
    /// What the policy does not use is ignored.
    fn aux(self, cx: &Data<'_>) -> u32 {
        let counts_uses = cx.config().maxmemory_policy.is_lfu();
        match self {
            Access::Frequency(frequency) if counts_uses => {
                eviction::lfu_of_frequency(frequency, cx.now_ms())
            }
            Access::Idle(seconds) if !counts_uses => {
                eviction::lru_of_idle(seconds.saturating_mul(1000), cx.now_ms())
            }
            _ => cx.new_aux(),
        }
    }
}

/// What may follow the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Options {
    replace: bool,
    origin: Origin,
    access: Access,
}

impl Options {
    fn parse(words: Args<'_>) -> Result<Options, CommandError> {
        let mut options = Options { replace: false, origin: Origin::Now, access: Access::New };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let idle = !matches!(options.access, Access::Frequency(_));
            let frequency = !matches!(options.access, Access::Idle(_));
            match word.to_ascii_lowercase().as_slice() {
                b"replace" => options.replace = true,
                b"absttl" => options.origin = Origin::Epoch,
                b"idletime" if idle => options.access = idle_time(words.next())?,
                b"freq" if frequency => options.access = access_frequency(words.next())?,
                _ => return Err(CommandError::Syntax),
            }
        }
        Ok(options)
    }
}

fn idle_time(text: Option<&[u8]>) -> Result<Access, CommandError> {
    match u64::try_from(number(text)?) {
        Ok(seconds) => Ok(Access::Idle(seconds)),
        Err(_) => Err(CommandError::other("ERR Invalid IDLETIME value, must be >= 0")),
    }
}

fn access_frequency(text: Option<&[u8]>) -> Result<Access, CommandError> {
    match u8::try_from(number(text)?) {
        Ok(frequency) => Ok(Access::Frequency(frequency)),
        Err(_) => Err(CommandError::other("ERR Invalid FREQ value, must be >= 0 and <= 255")),
    }
}

fn number(text: Option<&[u8]>) -> Result<i64, CommandError> {
    parse_i64(text.ok_or(CommandError::Syntax)?).ok_or(CommandError::NotInteger)
}
