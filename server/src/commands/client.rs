//! `CLIENT` and its subcommands.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use ballast_protocol::{Args, CommandError, Reply, number};

use super::context::SessionContext;
use super::table::{CommandResult, Definition, Group, Run, flag};
use crate::commands::session::ReplyMode;
use crate::ids::{ClientId, CommandId, ShardId};
use crate::node::blocked::Waiter;
use crate::node::channels::Kind;
use crate::node::clients::Client;

const FLAGS: u32 = flag::NOSCRIPT | flag::LOADING | flag::STALE;
const ADMIN: u32 = FLAGS | flag::ADMIN;
const NONDETERMINISTIC: &[&str] = &["nondeterministic_output"];

const KILL: &str = "<ip:port | <ID client-id | TYPE <NORMAL | MASTER | SLAVE | REPLICA | PUBSUB> | \
                    USER username | ADDR ip:port | LADDR ip:port | SKIPME <YES | NO> | \
                    MAXAGE maxage> [...]>";

/// A subcommand of `CLIENT`.
const fn sub(
    name: &'static str,
    arity: i16,
    syntax: &'static str,
    flags: u32,
    run: fn(&mut SessionContext<'_>, Args<'_>, &mut Reply) -> CommandResult,
    since: &'static str,
    summary: &'static str,
) -> Definition {
    Definition {
        name,
        arity,
        syntax,
        flags,
        run: Run::Session(run),
        group: Group::Connection,
        since,
        summary,
        ..Definition::BASE
    }
}

pub(crate) static COMMANDS: &[Definition] = &[Definition {
    name: "client",
    arity: -2,
    categories: Some(&[]),
    run: Run::Container,
    group: Group::Connection,
    since: "2.4.0",
    complexity: "Depends on subcommand.",
    summary: "A container for client connection commands.",
    subcommands: &[
        sub(
            "caching",
            3,
            "<YES | NO>",
            FLAGS,
            caching,
            "6.0.0",
            "Instructs the server whether to track the keys in the next request.",
        ),
        sub("getname", 2, "", FLAGS, getname, "2.6.9", "Returns the name of the connection."),
        sub(
            "getredir",
            2,
            "",
            FLAGS,
            getredir,
            "6.0.0",
            "Returns the client ID to which tracking notifications are redirected.",
        ),
        sub(
            "help",
            2,
            "",
            flag::LOADING | flag::STALE,
            help,
            "5.0.0",
            "Returns helpful text about the different subcommands.",
        ),
        sub("id", 2, "", FLAGS, id, "5.0.0", "Returns the unique client ID of the connection."),
        Definition {
            tips: NONDETERMINISTIC,
            ..sub("info", 2, "", FLAGS, info, "6.2.0", "Returns information about the connection.")
        },
        sub("kill", -3, KILL, ADMIN, kill, "2.4.0", "Terminates open connections."),
        Definition {
            tips: NONDETERMINISTIC,
            ..sub(
                "list",
                -2,
                "[TYPE <NORMAL | MASTER | REPLICA | PUBSUB> | ID client-id [client-id ...]]",
                ADMIN,
                list,
                "2.4.0",
                "Lists open connections.",
            )
        },
        sub(
            "no-evict",
            3,
            "<ON | OFF>",
            ADMIN,
            no_evict,
            "7.0.0",
            "Sets the client eviction mode of the connection.",
        ),
        sub(
            "no-touch",
            3,
            "<ON | OFF>",
            FLAGS,
            no_touch,
            "7.2.0",
            "Controls whether commands sent by the client affect the LRU/LFU of accessed keys.",
        ),
        sub(
            "pause",
            -3,
            "timeout:integer [WRITE | ALL]",
            ADMIN,
            pause,
            "3.0.0",
            "Suspends commands processing.",
        ),
        sub(
            "reply",
            3,
            "<ON | OFF | SKIP>",
            FLAGS,
            reply_mode,
            "3.2.0",
            "Instructs the server whether to reply to commands.",
        ),
        sub(
            "setinfo",
            4,
            "<LIB-NAME libname | LIB-VER libver>",
            FLAGS,
            setinfo,
            "7.2.0",
            "Sets information specific to the client or connection.",
        ),
        sub("setname", 3, "connection-name", FLAGS, setname, "2.6.9", "Sets the connection name."),
        sub(
            "trackinginfo",
            2,
            "",
            FLAGS,
            trackinginfo,
            "6.2.0",
            "Returns information about server-assisted client-side caching for the connection.",
        ),
        sub(
            "unblock",
            -3,
            "client-id [TIMEOUT | ERROR]",
            ADMIN,
            unblock,
            "5.0.0",
            "Unblocks a client blocked by a blocking command from a different connection.",
        ),
        sub(
            "unpause",
            2,
            "",
            ADMIN,
            unpause,
            "6.2.0",
            "Resumes processing commands from paused clients.",
        ),
    ],
    ..Definition::BASE
}];

/// A name that a client gives: printable, without blanks, because `CLIENT LIST` prints it in a
/// line.
pub(crate) fn checked_label(text: &[u8], what: &str) -> Result<String, CommandError> {
    if text.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        return Ok(String::from_utf8_lossy(text).into_owned());
    }
    Err(CommandError::other(format!(
        "ERR {what} cannot contain spaces, newlines or special characters."
    )))
}

fn id(cx: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    reply.integer(i64::try_from(cx.session.client.id.0).unwrap_or(i64::MAX));
    Ok(())
}

fn getname(cx: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    let labels = cx.session.client.labels.lock();
    if labels.name.is_empty() {
        reply.null();
    } else {
        reply.bulk_str(&labels.name);
    }
    Ok(())
}

fn setname(cx: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let name = checked_label(args.at(2), "Client names")?;
    cx.session.client.labels.lock().name = name;
    reply.ok();
    Ok(())
}

fn setinfo(cx: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let option = args.at(2);
    let mut labels = cx.session.client.labels.lock();
    if option.eq_ignore_ascii_case(b"lib-name") {
        labels.lib_name = checked_label(args.at(3), "lib-name")?;
    } else if option.eq_ignore_ascii_case(b"lib-ver") {
        labels.lib_version = checked_label(args.at(3), "lib-ver")?;
    } else {
        return Err(CommandError::repeating("ERR Unrecognized option '", option, "'"));
    }
    reply.ok();
    Ok(())
}

fn info(cx: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let mut text = String::new();
    let client = &cx.session.client;
    let now_ms = cx.shard.node.clock.wall_ms();
    while_it_runs(client, args, || describe(client, now_ms, &mut text));
    reply.verbatim("txt", text.as_bytes());
    Ok(())
}

fn list(cx: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let client = Arc::clone(&cx.session.client);
    while_it_runs(&client, args, || write_list(cx, args, reply))
}

/// What the client's own line shows is what it keeps while it asks, as in Redis: the arguments.
fn while_it_runs<R>(client: &Client, args: Args<'_>, describe: impl FnOnce() -> R) -> R {
    client.argument_bytes.store(args.bytes() as u64, Relaxed);
    let described = describe();
    client.argument_bytes.store(0, Relaxed);
    described
}

fn write_list(cx: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let now_ms = cx.shard.node.clock.wall_ms();
    let mut text = String::new();
    match args.get(2) {
        None => {
            for client in cx.shard.node.clients.all() {
                describe(&client, now_ms, &mut text);
            }
        }
        Some(option) if option.eq_ignore_ascii_case(b"id") && args.len() > 3 => {
            for wanted in args.from(3) {
                let client = client_id(wanted)?.and_then(|id| cx.shard.node.clients.find(id));
                client.iter().for_each(|client| describe(client, now_ms, &mut text));
            }
        }
        Some(option) if option.eq_ignore_ascii_case(b"type") && args.len() == 4 => {
            let class = client_type(args.at(3))?;
            let clients = cx.shard.node.clients.all();
            let of_class = clients.iter().filter(|client| class.has(client));
            of_class.for_each(|client| describe(client, now_ms, &mut text));
        }
        Some(_) => return Err(CommandError::Syntax),
    }
    reply.verbatim("txt", text.as_bytes());
    Ok(())
}

/// The class of a client.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Normal,
    Pubsub,
    /// There is none of these.
    Replication,
}

impl Type {
    fn has(self, client: &Client) -> bool {
        match self {
            Type::Normal => !client.is_subscriber(),
            Type::Pubsub => client.is_subscriber(),
            Type::Replication => false,
        }
    }
}

fn client_type(name: &[u8]) -> Result<Type, CommandError> {
    let known = ["master", "replica", "slave"];
    if name.eq_ignore_ascii_case(b"normal") {
        Ok(Type::Normal)
    } else if name.eq_ignore_ascii_case(b"pubsub") {
        Ok(Type::Pubsub)
    } else if known.iter().any(|other| name.eq_ignore_ascii_case(other.as_bytes())) {
        Ok(Type::Replication)
    } else {
        Err(CommandError::repeating("ERR Unknown client type '", name, "'"))
    }
}

/// A number of a client, or one that no client has.
fn client_id(text: &[u8]) -> Result<Option<ClientId>, CommandError> {
    let invalid = || CommandError::other("ERR Invalid client ID");
    let id = number::parse_i64(text).ok_or_else(invalid)?;
    Ok(u64::try_from(id).ok().map(ClientId))
}

/// The answer to more arguments than a subcommand takes.
fn too_many(args: Args<'_>) -> CommandError {
    CommandError::repeating(
        "ERR unknown subcommand or wrong number of arguments for '",
        args.at(1),
        "'. Try CLIENT HELP.",
    )
}

/// A line of `CLIENT LIST`, with the fields of Redis 7.2. Between its batches a connection has no
/// buffer for replies (rbs, rbp, obl): those that wait are in a list of blocks (oll, omem).
fn describe(client: &Client, now_ms: i64, text: &mut String) {
    let labels = client.labels.lock().clone();
    let age_s = (now_ms - client.since_ms).max(0) / 1000;
    let idle_s = (now_ms - client.last_ms.load(Relaxed)).max(0) / 1000;
    let mut flags = String::new();
    for (set, letter) in [
        (client.monitors.load(Relaxed), 'O'),
        (client.is_subscriber(), 'P'),
        (client.queued.load(Relaxed) >= 0, 'x'),
        (client.is_blocked(), 'b'),
        (client.is_dirty(), 'd'),
        (client.no_evict.load(Relaxed), 'e'),
        (client.no_touch.load(Relaxed), 'T'),
    ] {
        if set {
            flags.push(letter);
        }
    }
    if flags.is_empty() {
        flags.push('N');
    }
    let last = CommandId(client.last_command.load(Relaxed));
    let command = super::table().by_id(last).map_or("NULL", |command| command.full_name.as_str());
    let query = client.query_bytes.load(Relaxed);
    let pushed = client.pushed_bytes();
    let (output, blocks) = (
        client.output_bytes.load(Relaxed) + pushed,
        client.output_blocks.load(Relaxed) + u64::from(pushed > 0),
    );
    let events = if blocks > 0 { "rw" } else { "r" };
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "id={} addr={} laddr={} fd={} name={} age={age_s} idle={idle_s} flags={flags} db={} \
         sub={} psub={} ssub={} multi={} watch={} qbuf={query} qbuf-free={} argv-mem={} \
         multi-mem={} rbs=0 rbp=0 obl=0 oll={blocks} omem={output} tot-mem={} \
         events={events} cmd={command} user=default redir=-1 resp={} lib-name={} lib-ver={} \
         shard={}",
        client.id,
        client.address,
        client.local_address,
        client.descriptor,
        labels.name,
        client.db.load(Relaxed),
        client.subscribed(Kind::Channel),
        client.subscribed(Kind::Pattern),
        client.subscribed(Kind::Sharded),
        client.queued.load(Relaxed),
        client.watching.load(Relaxed),
        client.query_free.load(Relaxed),
        client.argument_bytes.load(Relaxed),
        client.queued_bytes.load(Relaxed),
        client.bytes.load(Relaxed) + pushed,
        client.protocol.load(Relaxed),
        labels.lib_name,
        labels.lib_version,
        ShardId(client.shard.load(Relaxed)),
    );
}

/// What `CLIENT KILL` looks for; all that are given must fit.
#[derive(Default)]
struct Filter {
    id: Option<ClientId>,
    address: Option<SocketAddr>,
    local_address: Option<SocketAddr>,
    class: Option<Type>,
    no_such_user: bool,
    max_age_s: Option<i64>,
    keep_me: bool,
}

impl Filter {
    fn parse(args: Args<'_>) -> Result<Filter, CommandError> {
        let mut filter = Filter { keep_me: true, ..Filter::default() };
        let mut at = 0;
        while at < args.len() {
            let (Some(option), Some(value)) = (args.get(at), args.get(at + 1)) else {
                return Err(CommandError::Syntax);
            };
            at += 2;
            if option.eq_ignore_ascii_case(b"id") {
                let id = number::parse_i64(value).filter(|id| *id > 0);
                let Some(id) = id.and_then(|id| u64::try_from(id).ok()) else {
                    return Err(CommandError::other("ERR client-id should be greater than 0"));
                };
                filter.id = Some(ClientId(id));
            } else if option.eq_ignore_ascii_case(b"addr") {
                filter.address = Some(address(value));
            } else if option.eq_ignore_ascii_case(b"laddr") {
                filter.local_address = Some(address(value));
            } else if option.eq_ignore_ascii_case(b"type") {
                filter.class = Some(client_type(value)?);
            } else if option.eq_ignore_ascii_case(b"user") {
                if value != b"default" {
                    return Err(CommandError::repeating("ERR No such user '", value, "'"));
                }
            } else if option.eq_ignore_ascii_case(b"maxage") {
                filter.max_age_s = Some(number::parse_i64(value).ok_or(CommandError::NotInteger)?);
            } else if option.eq_ignore_ascii_case(b"skipme") {
                filter.keep_me = match () {
                    () if value.eq_ignore_ascii_case(b"yes") => true,
                    () if value.eq_ignore_ascii_case(b"no") => false,
                    () => return Err(CommandError::Syntax),
                };
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(filter)
    }

    fn fits(&self, client: &Client, me: ClientId, now_ms: i64) -> bool {
        self.class.is_none_or(|class| class.has(client))
            && !self.no_such_user
            && self.id.is_none_or(|id| id == client.id)
            && self.address.is_none_or(|address| address == client.address)
            && self.local_address.is_none_or(|address| address == client.local_address)
            && self.max_age_s.is_none_or(|age| (now_ms - client.since_ms) / 1000 >= age)
            && !(self.keep_me && client.id == me)
    }
}

/// An address that is none fits no client.
fn address(text: &[u8]) -> SocketAddr {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)))
}

fn kill(cx: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let old_style = args.len() == 3;
    let filter = if old_style {
        Filter { address: Some(address(args.at(2))), ..Filter::default() }
    } else {
        Filter::parse(args.from(2))?
    };
    let me = cx.session.client.id;
    let now_ms = cx.shard.node.clock.wall_ms();
    let mut killed = 0;
    for client in cx.shard.node.clients.all() {
        if filter.fits(&client, me, now_ms) {
            killed += 1;
            if client.id == me {
                cx.session.closing = true;
            } else {
                client.kill();
                // Before the next command, which might have something for it.
                let waiter = client.blocked.lock().clone();
                waiter.map(|waiter| cx.shard.end_wait(&waiter));
            }
        }
    }
    if !old_style {
        reply.integer(killed);
    } else if killed == 0 {
        return Err(CommandError::other("ERR No such client"));
    } else {
        reply.ok();
    }
    Ok(())
}

fn on_off(value: &[u8]) -> Result<bool, CommandError> {
    if value.eq_ignore_ascii_case(b"on") {
        Ok(true)
    } else if value.eq_ignore_ascii_case(b"off") {
        Ok(false)
    } else {
        Err(CommandError::Syntax)
    }
}

fn no_evict(cx: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    cx.session.client.no_evict.store(on_off(args.at(2))?, Relaxed);
    reply.ok();
    Ok(())
}

fn no_touch(cx: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    cx.session.no_touch = on_off(args.at(2))?;
    cx.session.client.no_touch.store(cx.session.no_touch, Relaxed);
    reply.ok();
    Ok(())
}

fn reply_mode(cx: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let mode = args.at(2);
    if mode.eq_ignore_ascii_case(b"on") {
        cx.session.reply_mode = ReplyMode::On;
        reply.ok();
    } else if mode.eq_ignore_ascii_case(b"off") {
        cx.session.reply_mode = ReplyMode::Off;
    } else if mode.eq_ignore_ascii_case(b"skip") {
        if cx.session.reply_mode == ReplyMode::On {
            cx.session.reply_mode = ReplyMode::SkipNext;
        }
    } else {
        return Err(CommandError::Syntax);
    }
    Ok(())
}

fn pause(cx: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    if args.len() > 4 {
        return Err(too_many(args));
    }
    let writes_only = match args.get(3) {
        None => false,
        Some(mode) if mode.eq_ignore_ascii_case(b"all") => false,
        Some(mode) if mode.eq_ignore_ascii_case(b"write") => true,
        Some(_) => {
            return Err(CommandError::other("ERR CLIENT PAUSE mode must be WRITE or ALL"));
        }
    };
    let ms = number::parse_i64(args.at(2)).ok_or(CommandError::TimeoutNotInteger)?;
    if ms < 0 {
        return Err(CommandError::TimeoutNegative);
    }
    let now_ms = cx.shard.node.clock.wall_ms();
    let until_ms = now_ms.checked_add(ms).ok_or(CommandError::TimeoutNotInteger)?;
    cx.shard.node.pause.begin(now_ms, until_ms, writes_only);
    reply.ok();
    Ok(())
}

fn unpause(cx: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    cx.shard.node.pause.end();
    reply.ok();
    Ok(())
}

fn unblock(cx: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    if args.len() > 4 {
        return Err(too_many(args));
    }
    let error = match args.get(3) {
        None => false,
        Some(mode) if mode.eq_ignore_ascii_case(b"timeout") => false,
        Some(mode) if mode.eq_ignore_ascii_case(b"error") => true,
        Some(_) => {
            return Err(CommandError::other(
                "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR",
            ));
        }
    };
    let id = number::parse_i64(args.at(2)).ok_or(CommandError::NotInteger)?;
    let client = u64::try_from(id).ok().and_then(|id| cx.shard.node.clients.find(ClientId(id)));
    let waiter: Option<Waiter> = client.as_ref().and_then(|client| client.blocked.lock().clone());
    let (Some(client), Some(waiter)) = (client, waiter) else {
        reply.integer(0);
        return Ok(());
    };
    client.unblock_error.store(error, Relaxed);
    let ended = cx.shard.end_wait(&waiter);
    if !ended {
        client.unblock_error.store(false, Relaxed);
    }
    reply.integer(i64::from(ended));
    Ok(())
}

/// Client-side caching needs invalidations, which come with publish/subscribe.
fn caching(_: &mut SessionContext<'_>, _: Args<'_>, _: &mut Reply) -> CommandResult {
    Err(CommandError::other(
        "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or \
         OPTOUT mode enabled",
    ))
}

fn getredir(_: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    reply.integer(-1);
    Ok(())
}

fn trackinginfo(_: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    reply.map(3);
    reply.bulk_str("flags");
    reply.set(1);
    reply.bulk_str("off");
    reply.bulk_str("redirect");
    reply.integer(-1);
    reply.bulk_str("prefixes");
    reply.array(0);
    Ok(())
}

fn help(_: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    super::help::write("CLIENT", super::help::CLIENT, reply);
    Ok(())
}
