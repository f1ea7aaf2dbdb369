//! Publish and subscribe. A subscription lives in its connection and in the node's list of who
//! listens ([`Channels`](crate::node::channels::Channels)); a message goes straight from the thread
//! that publishes to each connection that listens.

use ballast_protocol::{Args, CommandError, Reply};

use super::context::SessionContext;
use super::help::{self, Help};
use super::session::ReplyMode;
use super::table::{CommandResult, Definition, Group, ONE, REST, Run, flag};
use crate::config::ClientClass;
use crate::node::channels::Kind;

const LISTENS: u32 = ASKS | flag::NOSCRIPT | flag::MESSAGES | flag::LISTENING;
const PUBLISHES: u32 = ASKS | flag::FAST | flag::MAY_REPLICATE;
const ASKS: u32 = flag::PUBSUB | flag::LOADING | flag::STALE;

const BASE: Definition = Definition { group: Group::PubSub, since: "2.0.0", ..Definition::BASE };

/// A subcommand of `PUBSUB`.
const fn sub(
    name: &'static str,
    arity: i16,
    syntax: &'static str,
    run: fn(&mut SessionContext<'_>, Args<'_>, &mut Reply) -> CommandResult,
    since: &'static str,
    complexity: &'static str,
    summary: &'static str,
) -> Definition {
    let run = Run::Session(run);
    Definition { name, arity, syntax, flags: ASKS, run, since, complexity, summary, ..BASE }
}

pub(crate) static COMMANDS: &[Definition] = &[
    Definition {
        name: "subscribe",
        syntax: "channel [channel ...]",
        arity: -2,
        flags: LISTENS,
        run: Run::Session(|cx, args, reply| listen(cx, Kind::Channel, args, reply)),
        complexity: "O(N) where N is the number of channels to subscribe to.",
        summary: "Listens for messages published to channels.",
        ..BASE
    },
    Definition {
        name: "unsubscribe",
        syntax: "[channel [channel ...]]",
        arity: -1,
        flags: LISTENS,
        run: Run::Session(|cx, args, reply| listen_no_more(cx, Kind::Channel, args, reply)),
        complexity: "O(N) where N is the number of channels to unsubscribe.",
        summary: "Stops listening to messages posted to channels.",
        ..BASE
    },
    Definition {
        name: "psubscribe",
        syntax: "pattern [pattern ...]",
        arity: -2,
        flags: LISTENS,
        run: Run::Session(|cx, args, reply| listen(cx, Kind::Pattern, args, reply)),
        complexity: "O(N) where N is the number of patterns to subscribe to.",
        summary: "Listens for messages published to channels that match patterns.",
        ..BASE
    },
    Definition {
        name: "punsubscribe",
        syntax: "[pattern [pattern ...]]",
        arity: -1,
        flags: LISTENS,
        run: Run::Session(|cx, args, reply| listen_no_more(cx, Kind::Pattern, args, reply)),
        complexity: "O(N) where N is the number of patterns to unsubscribe.",
        summary: "Stops listening to messages published to channels that match patterns.",
        ..BASE
    },
    Definition {
        name: "ssubscribe",
        syntax: "shardchannel [shardchannel ...]",
        arity: -2,
        flags: LISTENS,
        channels: REST,
        run: Run::Session(|cx, args, reply| listen(cx, Kind::Sharded, args, reply)),
        since: "7.0.0",
        complexity: "O(N) where N is the number of shard channels to subscribe to.",
        summary: "Listens for messages published to shard channels.",
        ..BASE
    },
    Definition {
        name: "sunsubscribe",
        syntax: "[shardchannel [shardchannel ...]]",
        arity: -1,
        flags: LISTENS,
        channels: REST,
        run: Run::Session(|cx, args, reply| listen_no_more(cx, Kind::Sharded, args, reply)),
        since: "7.0.0",
        complexity: "O(N) where N is the number of shard channels to unsubscribe.",
        summary: "Stops listening to messages posted to shard channels.",
        ..BASE
    },
    Definition {
        name: "publish",
        syntax: "channel message",
        arity: 3,
        flags: PUBLISHES,
        run: Run::Session(|cx, args, reply| post(cx, Kind::Channel, args, reply)),
        complexity: "O(N+M) where N is the number of clients subscribed to the receiving channel \
                     and M is the total number of subscribed patterns (by any client).",
        summary: "Posts a message to a channel.",
        ..BASE
    },
    Definition {
        name: "spublish",
        syntax: "shardchannel message",
        arity: 3,
        flags: PUBLISHES,
        channels: ONE,
        run: Run::Session(|cx, args, reply| post(cx, Kind::Sharded, args, reply)),
        since: "7.0.0",
        complexity: "O(N) where N is the number of clients subscribed to the receiving shard \
                     channel.",
        summary: "Posts a message to a shard channel.",
        ..BASE
    },
    Definition {
        name: "pubsub",
        arity: -2,
        run: Run::Container,
        since: "2.8.0",
        complexity: "Depends on subcommand.",
        summary: "A container for Pub/Sub commands.",
        subcommands: &[
            sub(
                "channels",
                -2,
                "[pattern]",
                |cx, args, reply| names(cx, Kind::Channel, args, reply),
                "2.8.0",
                "O(N) where N is the number of active channels, and assuming constant time \
                 pattern matching (relatively short channels and patterns)",
                "Returns the active channels.",
            ),
            Definition {
                flags: flag::LOADING | flag::STALE,
                ..sub("help", 2, "", pubsub_help, "6.2.0", "O(1)", "Shows what they do.")
            },
            sub(
                "numpat",
                2,
                "",
                numpat,
                "2.8.0",
                "O(1)",
                "Returns a count of unique pattern subscriptions.",
            ),
            sub(
                "numsub",
                -2,
                "[channel [channel ...]]",
                |cx, args, reply| counts(cx, Kind::Channel, args, reply),
                "2.8.0",
                "O(N) for the NUMSUB subcommand, where N is the number of requested channels",
                "Returns a count of subscribers to channels.",
            ),
            sub(
                "shardchannels",
                -2,
                "[pattern]",
                |cx, args, reply| names(cx, Kind::Sharded, args, reply),
                "7.0.0",
                "O(N) where N is the number of active shard channels, and assuming constant time \
                 pattern matching (relatively short shard channels).",
                "Returns the active shard channels.",
            ),
            sub(
                "shardnumsub",
                -2,
                "[shardchannel [shardchannel ...]]",
                |cx, args, reply| counts(cx, Kind::Sharded, args, reply),
                "7.0.0",
                "O(N) for the SHARDNUMSUB subcommand, where N is the number of requested shard \
                 channels",
                "Returns the count of subscribers of shard channels.",
            ),
        ],
        ..BASE
    },
];

/// The answer to a command without [`flag::LISTENING`] while the session only listens.
pub(crate) fn not_while_listening(name: &str) -> CommandError {
    CommandError::other(format!(
        "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET \
         are allowed in this context"
    ))
}

fn listen(
    cx: &mut SessionContext<'_>,
    kind: Kind,
    args: Args<'_>,
    reply: &mut Reply,
) -> CommandResult {
    for name in args.from(1) {
        let count = cx.session.subscribe(&cx.shard.node.channels, kind, name);
        confirm(cx.command.name, Some(name), count, reply);
    }
    Ok(())
}

fn listen_no_more(
    cx: &mut SessionContext<'_>,
    kind: Kind,
    args: Args<'_>,
    reply: &mut Reply,
) -> CommandResult {
    let all = if args.len() == 1 { cx.session.subscribed(kind) } else { Vec::new() };
    let named = args.from(1);
    let names = all.iter().map(|name| &name[..]).chain(named);
    let mut is_none = true;
    for name in names {
        is_none = false;
        let count = cx.session.unsubscribe(&cx.shard.node.channels, kind, name);
        // Messages that came before the end are before the confirmation.
        append_pushed(cx, reply);
        confirm(cx.command.name, Some(name), count, reply);
    }
    if is_none {
        let count = cx.session.listens_to(kind);
        confirm(cx.command.name, None, count, reply);
    }
    Ok(())
}

/// Writes the messages that wait for the client.
fn append_pushed(cx: &mut SessionContext<'_>, reply: &mut Reply) {
    if cx.shard.node.channels.take(&cx.session.client, reply).is_err() {
        cx.session.closing = true;
    }
}

/// What a client reads for each channel.
fn confirm(what: &str, name: Option<&[u8]>, count: usize, reply: &mut Reply) {
    reply.push(3);
    reply.bulk_str(what);
    match name {
        Some(name) => reply.bulk(name),
        None => reply.null(),
    }
    reply.integer(i64::try_from(count).unwrap_or(i64::MAX));
}

fn post(
    cx: &mut SessionContext<'_>,
    kind: Kind,
    args: Args<'_>,
    reply: &mut Reply,
) -> CommandResult {
    let limits = &cx.shard.config.client_output_buffer_limits;
    let limit_bytes = limits[ClientClass::Pubsub.index()].hard_bytes;
    let published = cx.shard.node.channels.publish(kind, args.at(1), args.at(2), limit_bytes);
    cx.shard.wake(published.to_wake);
    if cx.session.is_subscriber() && cx.session.reply_mode == ReplyMode::On {
        // As in Redis 7.0, what a client sends to itself comes before the answer.
        append_pushed(cx, reply);
    }
    reply.integer(i64::try_from(published.receivers).unwrap_or(i64::MAX));
    Ok(())
}

fn names(
    cx: &mut SessionContext<'_>,
    kind: Kind,
    args: Args<'_>,
    reply: &mut Reply,
) -> CommandResult {
    if args.len() > 3 {
        return Err(CommandError::repeating(
            "ERR unknown subcommand or wrong number of arguments for '",
            args.at(1),
            "'. Try PUBSUB HELP.",
        ));
    }
    let names = cx.shard.node.channels.names(kind, args.get(2));
    reply.array(names.len());
    names.iter().for_each(|name| reply.bulk(name));
    Ok(())
}

fn counts(
    cx: &mut SessionContext<'_>,
    kind: Kind,
    args: Args<'_>,
    reply: &mut Reply,
) -> CommandResult {
    reply.array(2 * (args.len() - 2));
    for name in args.from(2) {
        let count = cx.shard.node.channels.subscribers(kind, name);
        reply.bulk(name);
        reply.integer(i64::try_from(count).unwrap_or(i64::MAX));
    }
    Ok(())
}

fn numpat(cx: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    let count = cx.shard.node.channels.count(Kind::Pattern);
    reply.integer(i64::try_from(count).unwrap_or(i64::MAX));
    Ok(())
}

const HELP: Help = &[
    (
        "CHANNELS [<pattern>]",
        &["Return the currently active channels matching a <pattern> (default: '*')."],
    ),
    ("NUMPAT", &["Return number of subscriptions to patterns."]),
    (
        "NUMSUB [<channel> ...]",
        &[
            "Return the number of subscribers for the specified channels, excluding",
            "pattern subscriptions(default: no channels).",
        ],
    ),
    (
        "SHARDCHANNELS [<pattern>]",
        &["Return the currently active shard level channels matching a <pattern> (default: '*')."],
    ),
    (
        "SHARDNUMSUB [<shardchannel> ...]",
        &["Return the number of subscribers for the specified shard level channel(s)"],
    ),
];

fn pubsub_help(_: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    help::write("PUBSUB", HELP, reply);
    Ok(())
}

/// `PING` of a client that listens: a message as all that it reads then.
pub(crate) fn ping_while_listening(args: Args<'_>, reply: &mut Reply) {
    reply.array(2);
    reply.bulk_str("pong");
    reply.bulk(args.get(1).unwrap_or_default());
}
