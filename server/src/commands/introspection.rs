//! `COMMAND` and its subcommands: all from the table.

use ballast_protocol::glob::glob_match_nocase;
use ballast_protocol::{Args, ArgsBuf, CommandError, Reply};

use super::context::SessionContext;
use super::table::{Command, CommandResult, Definition, Group, KeySpec, Run, flag};

const FLAGS: u32 = flag::LOADING | flag::STALE;

const fn sub(
    name: &'static str,
    arity: i16,
    run: fn(&mut SessionContext<'_>, Args<'_>, &mut Reply) -> CommandResult,
    since: &'static str,
    summary: &'static str,
) -> Definition {
    Definition {
        name,
        arity,
        flags: FLAGS,
        run: Run::Session(run),
        group: Group::Server,
        since,
        complexity: "O(N) where N is the number of commands",
        summary,
        ..Definition::BASE
    }
}

pub(crate) static COMMANDS: &[Definition] = &[Definition {
    name: "command",
    arity: -1,
    flags: FLAGS,
    run: Run::Container,
    group: Group::Server,
    since: "2.8.13",
    complexity: "O(N) where N is the total number of Redis commands",
    summary: "Returns detailed information about all commands.",
    subcommands: &[
        // Without a subcommand: the dispatcher looks for one with an empty name.
        sub("", 1, all, "2.8.13", "Returns detailed information about all commands."),
        sub("count", 2, count, "2.8.13", "Returns a count of commands."),
        sub("docs", -2, docs, "7.0.0", "Returns documentary information about commands."),
        sub("getkeys", -3, getkeys, "2.8.13", "Extracts the key names from an arbitrary command."),
        sub(
            "getkeysandflags",
            -3,
            getkeysandflags,
            "7.0.0",
            "Extracts the key names and access flags for an arbitrary command.",
        ),
        sub("help", 2, help, "5.0.0", "Returns helpful text about the different subcommands."),
        sub("info", -2, info, "2.8.13", "Returns information about one, multiple or all commands."),
        sub("list", -2, list, "7.0.0", "Returns a list of command names."),
    ],
    ..Definition::BASE
}];

/// Flags as `COMMAND INFO` names them, in Redis's order.
const FLAG_NAMES: [(u32, &str); 16] = [
    (flag::WRITE, "write"),
    (flag::READONLY, "readonly"),
    (flag::DENYOOM, "denyoom"),
    (flag::ADMIN, "admin"),
    (flag::PUBSUB, "pubsub"),
    (flag::NOSCRIPT, "noscript"),
    (flag::BLOCKING, "blocking"),
    (flag::LOADING, "loading"),
    (flag::STALE, "stale"),
    (flag::SKIP_MONITOR, "skip_monitor"),
    (flag::SKIP_SLOWLOG, "skip_slowlog"),
    (flag::FAST, "fast"),
    (flag::NO_AUTH, "no_auth"),
    (flag::MOVABLEKEYS, "movablekeys"),
    (flag::NO_MULTI, "no_multi"),
    (flag::ALLOW_BUSY, "allow_busy"),
];

fn flag_names(command: &Command) -> Vec<&'static str> {
    let set = FLAG_NAMES.iter().filter(|(bit, _)| command.has(*bit));
    set.map(|(_, name)| *name).collect()
}

/// The ACL categories that follow from group and flags.
pub(crate) fn categories(command: &Command) -> Vec<&'static str> {
    let mut names = Vec::new();
    let mut add = |condition: bool, name: &'static str| {
        if condition && !names.contains(&name) {
            names.push(name);
        }
    };
    add(command.group == Group::Generic || command.has(flag::KEYSPACE), "@keyspace");
    add(command.has(flag::READONLY), "@read");
    add(command.has(flag::WRITE), "@write");
    add(command.group == Group::Set, "@set");
    add(command.group == Group::SortedSet, "@sortedset");
    add(command.group == Group::List, "@list");
    add(command.group == Group::Hash, "@hash");
    add(command.group == Group::String, "@string");
    add(command.has(flag::PUBSUB), "@pubsub");
    add(command.has(flag::ADMIN), "@admin");
    add(command.has(flag::FAST), "@fast");
    add(!command.has(flag::FAST), "@slow");
    add(command.has(flag::BLOCKING), "@blocking");
    add(command.has(flag::ADMIN) || command.has(flag::DANGEROUS), "@dangerous");
    add(command.group == Group::Connection, "@connection");
    add(command.group == Group::Transactions, "@transaction");
    names
}

/// First key, last key and step, as the old part of `COMMAND INFO` has them.
fn key_range(keys: KeySpec) -> (i64, i64, i64) {
    let signed = |value: usize| i64::try_from(value).unwrap_or(0);
    match keys {
        KeySpec::None => (0, 0, 0),
        KeySpec::Range { first, last, step } => {
            (signed(first), i64::try_from(last).unwrap_or(0), signed(step))
        }
        KeySpec::Counted { destination: Some(at), .. } => (signed(at), signed(at), 1),
        KeySpec::Counted { destination: None, .. } => (0, 0, 0),
        KeySpec::FirstAndStore => (1, 1, 1),
    }
}

fn write_info(command: &Command, reply: &mut Reply) {
    let (first, last, step) = key_range(command.keys);
    reply.array(10);
    reply.bulk_str(&command.full_name);
    reply.integer(i64::from(command.arity));
    let flags = flag_names(command);
    reply.set(flags.len());
    flags.iter().for_each(|name| reply.simple(name));
    reply.integer(first);
    reply.integer(last);
    reply.integer(step);
    let categories = categories(command);
    reply.set(categories.len());
    categories.iter().for_each(|name| reply.simple(name));
    reply.array(0);
    write_key_specs(command, reply);
    let subs: Vec<&Command> =
        command.subcommands().iter().filter(|sub| !sub.name.is_empty()).collect();
    reply.array(subs.len());
    subs.into_iter().for_each(|sub| write_info(sub, reply));
}

/// The key specifications of Redis 7.
fn write_key_specs(command: &Command, reply: &mut Reply) {
    let access = if command.has(flag::WRITE) { "RW" } else { "RO" };
    let begin = |reply: &mut Reply, index: usize| {
        reply.map(3);
        reply.bulk_str("flags");
        reply.set(1);
        reply.simple(access);
        reply.bulk_str("begin_search");
        reply.map(2);
        reply.bulk_str("type");
        reply.bulk_str("index");
        reply.bulk_str("spec");
        reply.map(1);
        reply.bulk_str("index");
        reply.integer(i64::try_from(index).unwrap_or(0));
        reply.bulk_str("find_keys");
        reply.map(2);
        reply.bulk_str("type");
    };
    let range = |reply: &mut Reply, last: i64, step: usize| {
        reply.bulk_str("range");
        reply.bulk_str("spec");
        reply.map(3);
        reply.bulk_str("lastkey");
        reply.integer(last);
        reply.bulk_str("keystep");
        reply.integer(i64::try_from(step).unwrap_or(1));
        reply.bulk_str("limit");
        reply.integer(0);
    };
    match command.keys {
        KeySpec::None => reply.array(0),
        KeySpec::Range { first, last, step } => {
            reply.array(1);
            begin(reply, first);
            let last = i64::try_from(last).unwrap_or(0);
            let from_first = i64::try_from(first).unwrap_or(0);
            range(reply, if last < 0 { last } else { last - from_first }, step);
        }
        KeySpec::Counted { destination, count } => {
            reply.array(1 + usize::from(destination.is_some()));
            if let Some(at) = destination {
                begin(reply, at);
                range(reply, 0, 1);
            }
            begin(reply, count);
            reply.bulk_str("keynum");
            reply.bulk_str("spec");
            reply.map(3);
            reply.bulk_str("keynumidx");
            reply.integer(0);
            reply.bulk_str("firstkey");
            reply.integer(1);
            reply.bulk_str("keystep");
            reply.integer(1);
        }
        KeySpec::FirstAndStore => {
            reply.array(1);
            begin(reply, 1);
            range(reply, 0, 1);
        }
    }
}

fn all(_: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    reply.array(super::table().len());
    super::table().iter().for_each(|command| write_info(command, reply));
    Ok(())
}

fn count(_: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    reply.integer(i64::try_from(super::table().len()).unwrap_or(0));
    Ok(())
}

/// `config|get` or `get`.
fn find(name: &[u8]) -> Option<&'static Command> {
    let mut words = name.splitn(2, |byte| *byte == b'|');
    let command = super::table().find(words.next()?)?;
    match words.next() {
        Some(sub) => command.subcommand(sub),
        None => Some(command),
    }
}

fn info(cx: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    if args.len() == 2 {
        return all(cx, args, reply);
    }
    reply.array(args.len() - 2);
    for name in args.from(2) {
        match find(name) {
            Some(command) => write_info(command, reply),
            None => reply.null_array(),
        }
    }
    Ok(())
}

fn docs(_: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let commands: Vec<&Command> = if args.len() == 2 {
        super::table().iter().collect()
    } else {
        args.from(2).iter().filter_map(find).collect()
    };
    reply.map(commands.len());
    for command in commands {
        reply.bulk_str(&command.full_name);
        write_docs(command, reply);
    }
    Ok(())
}

fn write_docs(command: &Command, reply: &mut Reply) {
    let subs: Vec<&Command> =
        command.subcommands().iter().filter(|sub| !sub.name.is_empty()).collect();
    reply.map(4 + usize::from(!subs.is_empty()));
    for (name, value) in [
        ("summary", command.summary),
        ("since", command.since),
        ("group", command.group.name()),
        ("complexity", command.complexity),
    ] {
        reply.bulk_str(name);
        reply.bulk_str(value);
    }
    if !subs.is_empty() {
        reply.bulk_str("subcommands");
        reply.map(subs.len());
        for sub in subs {
            reply.bulk_str(&sub.full_name);
            write_docs(sub, reply);
        }
    }
}

fn list(_: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let filter = args.from(2);
    let names: Vec<&str> = match filter.len() {
        0 => super::table().iter().map(|command| command.name).collect(),
        3 if filter.at(0).eq_ignore_ascii_case(b"filterby") => {
            let value = filter.at(2);
            let keep: Box<dyn Fn(&Command) -> bool> = match filter.at(1) {
                kind if kind.eq_ignore_ascii_case(b"pattern") => {
                    Box::new(|command| glob_match_nocase(value, command.full_name.as_bytes()))
                }
                kind if kind.eq_ignore_ascii_case(b"aclcat") => Box::new(|command| {
                    let fits = |name: &&str| name.as_bytes()[1..].eq_ignore_ascii_case(value);
                    categories(command).iter().any(fits)
                }),
                kind if kind.eq_ignore_ascii_case(b"module") => Box::new(|_| false),
                _ => return Err(CommandError::Syntax),
            };
            super::table()
                .with_subcommands()
                .filter(|command| !command.name.is_empty() && keep(command))
                .map(|command| command.full_name.as_str())
                .collect()
        }
        _ => return Err(CommandError::Syntax),
    };
    reply.array(names.len());
    names.iter().for_each(|name| reply.bulk_str(name));
    Ok(())
}

/// The command of `COMMAND GETKEYS` with its own arguments.
fn inner(args: Args<'_>) -> Result<(&'static Command, ArgsBuf), CommandError> {
    let inner: ArgsBuf = args.from(2).to_owned();
    let view = inner.view();
    let mut command = view
        .get(0)
        .and_then(|name| super::table().find(name))
        .ok_or_else(|| CommandError::other("ERR Invalid command specified"))?;
    if let Some(sub) = view.get(1).and_then(|name| command.subcommand(name)) {
        command = sub;
    }
    if command.keys == KeySpec::None {
        return Err(CommandError::other("ERR The command has no key arguments"));
    }
    if !command.arity_ok(view.len()) {
        return Err(CommandError::other("ERR Invalid number of arguments specified for command"));
    }
    Ok((command, inner))
}

fn keys_of(command: &Command, args: Args<'_>) -> Result<Vec<Vec<u8>>, CommandError> {
    let mut keys = Vec::new();
    command.keys.each(args, |at| keys.push(args.at(at).to_vec()));
    if keys.is_empty() {
        return Err(CommandError::other("ERR Invalid arguments specified for command"));
    }
    Ok(keys)
}

fn getkeys(_: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let (command, inner) = inner(args)?;
    let keys = keys_of(command, inner.view())?;
    reply.array(keys.len());
    keys.iter().for_each(|key| reply.bulk(key));
    Ok(())
}

fn getkeysandflags(_: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let (command, inner) = inner(args)?;
    let keys = keys_of(command, inner.view())?;
    reply.array(keys.len());
    for key in &keys {
        reply.array(2);
        reply.bulk(key);
        reply.set(1);
        reply.simple(if command.has(flag::WRITE) { "RW" } else { "RO" });
    }
    Ok(())
}

fn help(_: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    super::help::write("COMMAND", super::help::COMMAND, reply);
    Ok(())
}
