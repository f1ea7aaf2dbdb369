//! How a key is kept: `OBJECT`. What it takes is `MEMORY USAGE`.

use ballast_protocol::{Args, CommandError, Reply};
use ballast_storage::{Value, eviction};

use super::context::{Data, SessionContext};
use super::help::{self, Help};
use super::table::{Access, CommandResult, Definition, Group, Run, SECOND, flag};
use crate::config::MaxmemoryPolicy;

/// A subcommand that looks at one key.
const INSPECT: Definition = Definition {
    arity: 3,
    flags: flag::READONLY,
    keys: SECOND,
    group: Group::Generic,
    since: "2.2.3",
    ..Definition::BASE
};

pub(crate) static COMMANDS: &[Definition] = &[Definition {
    name: "object",
    arity: -2,
    categories: Some(&[]),
    run: Run::Container,
    group: Group::Generic,
    since: "2.2.3",
    complexity: "Depends on subcommand.",
    summary: "A container for object introspection commands.",
    subcommands: &[
        Definition {
            name: "encoding",
            syntax: "key",
            access: &[Access::to("RO")],
            run: Run::Data(encoding),
            tips: &["nondeterministic_output"],
            summary: "Returns the internal encoding of a value.",
            ..INSPECT
        },
        Definition {
            name: "freq",
            syntax: "key",
            access: &[Access::to("RO")],
            run: Run::Data(frequency),
            tips: &["nondeterministic_output"],
            since: "4.0.0",
            summary: "Returns the logarithmic access frequency counter of a key.",
            ..INSPECT
        },
        Definition {
            name: "help",
            arity: 2,
            flags: flag::LOADING | flag::STALE,
            run: Run::Session(write_help),
            group: Group::Generic,
            since: "6.2.0",
            summary: "Returns helpful text about the different subcommands.",
            ..Definition::BASE
        },
        Definition {
            name: "idletime",
            syntax: "key",
            access: &[Access::to("RO")],
            run: Run::Data(idle_time),
            tips: &["nondeterministic_output"],
            summary: "Returns the seconds since the last access to a key.",
            ..INSPECT
        },
        Definition {
            name: "refcount",
            syntax: "key",
            access: &[Access::to("RO")],
            run: Run::Data(reference_count),
            tips: &["nondeterministic_output"],
            summary: "Returns the number of references to a value.",
            ..INSPECT
        },
    ],
    ..Definition::BASE
}];

const HELP: Help = &[
    ("ENCODING <key>", &["Return how the value of <key> is kept in memory."]),
    (
        "FREQ <key>",
        &["Return the access frequency of <key>, a counter that grows with the logarithm."],
    ),
    ("IDLETIME <key>", &["Return the seconds since <key> was last accessed."]),
    ("REFCOUNT <key>", &["Return the number of references to the value of <key>."]),
];

/// Redis shares the objects of these integers and reports a count that never ends.
const SHARED_INTEGERS: std::ops::Range<i64> = 0..10_000;
/// That count.
const SHARED_COUNT: i64 = i32::MAX as i64;

fn encoding(cx: &mut Data<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    let key = cx.key(2)?;
    match cx.keyspace(key).and_then(|keyspace| keyspace.encoding(&key.key)) {
        Some(name) => reply.bulk_str(name),
        None => reply.null(),
    }
    Ok(())
}

fn frequency(cx: &mut Data<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    let Some(meta) = cx.meta(cx.key(2)?) else {
        reply.null();
        return Ok(());
    };
    if !cx.config().maxmemory_policy.is_lfu() {
        return Err(CommandError::other(
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please \
             note that when switching between policies at runtime LRU and LFU data will take some \
             time to adjust.",
        ));
    }
    let decay_minutes = cx.config().lfu_decay_time;
    let frequency = eviction::lfu_frequency(meta.aux, cx.now_ms(), decay_minutes);
    reply.integer(i64::from(frequency));
    Ok(())
}

fn idle_time(cx: &mut Data<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    let Some(meta) = cx.meta(cx.key(2)?) else {
        reply.null();
        return Ok(());
    };
    if cx.config().maxmemory_policy.is_lfu() {
        return Err(CommandError::other(
            "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that \
             when switching between policies at runtime LRU and LFU data will take some time to \
             adjust.",
        ));
    }
    // The clock that marks keys is renewed a few times a second: a key with its present time has
    // been used just now, though the second may be over.
    let idle_ms = match meta.aux == cx.engine.lru_clock {
        true => 0,
        false => eviction::lru_idle_ms(meta.aux, cx.now_ms()),
    };
    reply.integer(i64::try_from(idle_ms / 1000).unwrap_or(i64::MAX));
    Ok(())
}

/// Nothing is shared here; small integers answer as Redis's do, which tests rely on.
fn reference_count(cx: &mut Data<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    let ages = matches!(
        cx.config().maxmemory_policy,
        MaxmemoryPolicy::AllkeysLru
            | MaxmemoryPolicy::VolatileLru
            | MaxmemoryPolicy::AllkeysLfu
            | MaxmemoryPolicy::VolatileLfu
    );
    let shares = cx.config().maxmemory == 0 || !ages;
    match cx.peek(cx.key(2)?) {
        Some(Value::Int(value)) if shares && SHARED_INTEGERS.contains(&value) => {
            reply.integer(SHARED_COUNT);
        }
        Some(_) => reply.integer(1),
        None => reply.null(),
    }
    Ok(())
}

fn write_help(_: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    help::write("OBJECT", HELP, reply);
    Ok(())
}
