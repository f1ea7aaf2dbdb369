//! `COMMAND` and its subcommands: all from the table.

use ballast_protocol::glob::glob_match_nocase;
use ballast_protocol::{Args, ArgsBuf, CommandError, Reply};

use super::context::SessionContext;
use super::documentation;
use super::key_spec::{Access, Found, Specification};
use super::table::{Command, CommandResult, Definition, Group, KeySpec, Run, flag};

const FLAGS: u32 = flag::LOADING | flag::STALE;
const CATEGORIES: Option<&[&str]> = Some(&["@connection"]);
const UNORDERED: &[&str] = &["nondeterministic_output_order"];

const fn sub(
    name: &'static str,
    arity: i16,
    syntax: &'static str,
    run: fn(&mut SessionContext<'_>, Args<'_>, &mut Reply) -> CommandResult,
    since: &'static str,
    summary: &'static str,
) -> Definition {
    Definition {
        name,
        arity,
        syntax,
        flags: FLAGS,
        run: Run::Session(run),
        group: Group::Server,
        since,
        categories: CATEGORIES,
        complexity: "O(N) where N is the number of commands",
        summary,
        ..Definition::BASE
    }
}

pub(crate) static COMMANDS: &[Definition] = &[Definition {
    name: "command",
    arity: -1,
    flags: FLAGS,
    categories: CATEGORIES,
    tips: UNORDERED,
    run: Run::Container,
    group: Group::Server,
    since: "2.8.13",
    complexity: "O(N) where N is the total number of Redis commands",
    summary: "Returns detailed information about all commands.",
    subcommands: &[
        // Without a subcommand: the dispatcher looks for one with an empty name.
        sub("", 1, "", all, "2.8.13", "Returns detailed information about all commands."),
        sub("count", 2, "", count, "2.8.13", "Returns a count of commands."),
        Definition {
            tips: UNORDERED,
            ..sub(
                "docs",
                -2,
                "[command-name [command-name ...]]",
                documentation::docs,
                "7.0.0",
                "Returns documentary information about commands.",
            )
        },
        sub(
            "getkeys",
            -3,
            "command-name [arg [arg ...]]",
            getkeys,
            "2.8.13",
            "Extracts the key names from an arbitrary command.",
        ),
        sub(
            "getkeysandflags",
            -3,
            "command-name [arg [arg ...]]",
            getkeysandflags,
            "7.0.0",
            "Extracts the key names and access flags for an arbitrary command.",
        ),
        sub("help", 2, "", help, "5.0.0", "Returns helpful text about the different subcommands."),
        Definition {
            tips: UNORDERED,
            ..sub(
                "info",
                -2,
                "[command-name [command-name ...]]",
                info,
                "2.8.13",
                "Returns information about one, multiple or all commands.",
            )
        },
        Definition {
            tips: UNORDERED,
            ..sub(
                "list",
                -2,
                "[FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]",
                list,
                "7.0.0",
                "Returns a list of command names.",
            )
        },
    ],
    ..Definition::BASE
}];

/// Flags as `COMMAND INFO` names them, in Redis's order.
const FLAG_NAMES: [(u32, &str); 17] = [
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
    (flag::NO_ASYNC_LOADING, "no_async_loading"),
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
    let own = |group: Group, name: &'static str| match command.categories {
        Some(categories) => categories.contains(&name),
        None => command.group == group,
    };
    add(own(Group::Generic, "@keyspace") || command.has(flag::KEYSPACE), "@keyspace");
    add(command.has(flag::READONLY), "@read");
    add(command.has(flag::WRITE), "@write");
    add(own(Group::Set, "@set"), "@set");
    add(own(Group::SortedSet, "@sortedset"), "@sortedset");
    add(own(Group::List, "@list"), "@list");
    add(own(Group::Hash, "@hash"), "@hash");
    add(own(Group::String, "@string"), "@string");
    add(own(Group::Bitmap, "@bitmap"), "@bitmap");
    add(command.has(flag::PUBSUB), "@pubsub");
    let admin = command.categories.is_some_and(|categories| categories.contains(&"@admin"));
    add(command.has(flag::ADMIN) || admin, "@admin");
    add(command.has(flag::FAST), "@fast");
    add(!command.has(flag::FAST), "@slow");
    add(command.has(flag::BLOCKING), "@blocking");
    add(command.has(flag::ADMIN) || command.has(flag::DANGEROUS), "@dangerous");
    add(own(Group::Connection, "@connection"), "@connection");
    add(own(Group::Transactions, "@transaction"), "@transaction");
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
        KeySpec::FirstAnd(_) => (1, 1, 1),
    }
}

/// The key specifications of a command, those of what is no key among them.
fn specifications(command: &Command) -> (KeySpec, &'static [Access]) {
    const NO_KEYS: &[Access] = &[Access::to("not_key")];
    match command.channels {
        KeySpec::None => (command.keys, command.access),
        channels => (channels, NO_KEYS),
    }
}

fn write_info(command: &Command, reply: &mut Reply) {
    let (first, last, step) = key_range(specifications(command).0);
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
    reply.set(command.tips.len());
    command.tips.iter().for_each(|tip| reply.bulk_str(tip));
    write_key_specs(command, reply);
    let subs: Vec<&Command> =
        command.subcommands().iter().filter(|sub| !sub.name.is_empty()).collect();
    reply.array(subs.len());
    subs.into_iter().for_each(|sub| write_info(sub, reply));
}

/// The key specifications of Redis 7.
fn write_key_specs(command: &Command, reply: &mut Reply) {
    let (places, access) = specifications(command);
    let specifications = places.specifications(access);
    reply.array(specifications.len());
    for specification in specifications {
        let access = specification.access;
        reply.map(3 + usize::from(!access.notes.is_empty()));
        if !access.notes.is_empty() {
            reply.bulk_str("notes");
            reply.bulk_str(access.notes);
        }
        reply.bulk_str("flags");
        write_access(access.flags, reply);
        write_place(&specification, reply);
    }
}

/// What is done to a key, as a set of flags.
fn write_access(flags: &str, reply: &mut Reply) {
    reply.set(flags.split(' ').count());
    flags.split(' ').for_each(|flag| reply.simple(flag));
}

/// Where the keys of a specification are.
fn write_place(specification: &Specification, reply: &mut Reply) {
    let open = |reply: &mut Reply, what: &str, kind: &str, fields: &[(&str, i64)]| {
        reply.bulk_str(what);
        reply.map(2);
        reply.bulk_str("type");
        reply.bulk_str(kind);
        reply.bulk_str("spec");
        reply.map(fields.len());
        for (name, value) in fields {
            reply.bulk_str(name);
            reply.integer(*value);
        }
    };
    if specification.access.is_anywhere {
        open(reply, "begin_search", "unknown", &[]);
        return open(reply, "find_keys", "unknown", &[]);
    }
    let begin = i64::try_from(specification.begin).unwrap_or(0);
    open(reply, "begin_search", "index", &[("index", begin)]);
    match specification.found {
        Found::Range { last, step } => {
            let (last, step) = (i64::try_from(last).unwrap_or(0), i64::try_from(step).unwrap_or(1));
            let fields = [("lastkey", last), ("keystep", step), ("limit", 0)];
            open(reply, "find_keys", "range", &fields);
        }
        Found::Counted => {
            let fields = [("keynumidx", 0), ("firstkey", 1), ("keystep", 1)];
            open(reply, "find_keys", "keynum", &fields);
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
pub(super) fn find(name: &[u8]) -> Option<&'static Command> {
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
            None => reply.null(),
        }
    }
    Ok(())
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

/// The command of `COMMAND GETKEYS` with its own arguments, and where its keys are among them.
fn inner(args: Args<'_>) -> Result<(&'static Command, ArgsBuf, Vec<usize>), CommandError> {
    let inner: ArgsBuf = args.from(2).to_owned();
    let view = inner.view();
    let unknown = || CommandError::other("ERR Invalid command specified");
    let mut command = view.get(0).and_then(|name| super::table().find(name)).ok_or_else(unknown)?;
    if let (Run::Container, Some(name)) = (command.run, view.get(1)) {
        command = command.subcommand(name).ok_or_else(unknown)?;
    }
    if matches!(command.keys, KeySpec::None) {
        return Err(CommandError::other("ERR The command has no key arguments"));
    }
    if !command.arity_ok(view.len()) {
        return Err(CommandError::other("ERR Invalid number of arguments specified for command"));
    }
    let mut places = Vec::new();
    command.keys.each(view, |at| places.push(at));
    if places.is_empty() || !command.keys.all_there(view) {
        return Err(CommandError::other("ERR Invalid arguments specified for command"));
    }
    Ok((command, inner, places))
}

fn getkeys(_: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let (_, inner, places) = inner(args)?;
    reply.array(places.len());
    places.into_iter().for_each(|at| reply.bulk(inner.view().at(at)));
    Ok(())
}

fn getkeysandflags(_: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let (command, inner, places) = inner(args)?;
    reply.array(places.len());
    for at in places {
        reply.array(2);
        reply.bulk(inner.view().at(at));
        write_access(access_at(command, inner.view(), at), reply);
    }
    Ok(())
}

/// What a command does to the key that is argument `at`.
fn access_at(command: &Command, args: Args<'_>, at: usize) -> &'static str {
    let specifications = command.keys.specifications(command.access);
    let known = || specifications.iter().filter(|one| !one.access.is_anywhere);
    // The last that begins before the key: those of single keys come first.
    let found = known().rfind(|one| match one.found {
        Found::Range { .. } => one.begin <= at,
        Found::Counted => one.begin < at,
    });
    let flags = found.map_or("", |one| one.access.flags);
    if matches!(command.keys, KeySpec::FirstAnd(_)) && at > 1 {
        return command.access.last().map_or(flags, |access| access.flags);
    }
    if !flags.ends_with(VARIABLE) {
        return flags;
    }
    let has = |word: &[u8]| args.from(2).iter().any(|arg| arg.eq_ignore_ascii_case(word));
    let (reads, writes) = match command.name {
        "bitfield" => (true, has(b"set") || has(b"incrby")),
        _ => (args.len() > 3 && has(b"get"), true),
    };
    match (reads, writes) {
        (true, false) => "RO access",
        (true, true) => "RW access update",
        (false, _) => "OW update",
    }
}

/// The flag of an access that depends on further arguments: `SET … GET`, and `BITFIELD`.
const VARIABLE: &str = "variable_flags";

fn help(_: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    super::help::write("COMMAND", super::help::COMMAND, reply);
    Ok(())
}
