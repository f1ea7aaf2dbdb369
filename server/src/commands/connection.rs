//! Connections: `HELLO`, `AUTH`, `SELECT`, `PING` and their like.

use std::sync::atomic::Ordering::Relaxed;

use ballast_protocol::{Args, CommandError, Protocol, Reply, number};

use super::arguments::database;
use super::context::{Data, SessionContext};
use super::pubsub;
use super::table::{CommandResult, Definition, Group, Run, flag};

const ALWAYS: u32 = flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::FAST;

pub(crate) static COMMANDS: &[Definition] = &[
    Definition {
        name: "auth",
        syntax: "[username] password",
        arity: -2,
        flags: ALWAYS | flag::NO_AUTH | flag::ALLOW_BUSY,
        run: Run::Session(auth),
        group: Group::Connection,
        complexity: "O(N) where N is the number of passwords defined for the user",
        summary: "Authenticates the connection.",
        ..Definition::BASE
    },
    Definition {
        name: "echo",
        syntax: "message",
        arity: 2,
        flags: flag::LOADING | flag::STALE | flag::FAST,
        constant: 2,
        run: Run::Session(echo),
        group: Group::Connection,
        summary: "Returns the given string.",
        ..Definition::BASE
    },
    Definition {
        name: "hello",
        syntax: "[protover [AUTH username password] [SETNAME clientname]]",
        arity: -1,
        flags: ALWAYS | flag::NO_AUTH | flag::ALLOW_BUSY,
        run: Run::Session(hello),
        group: Group::Connection,
        since: "6.0.0",
        summary: "Handshakes with the server: protocol version, password, name.",
        ..Definition::BASE
    },
    Definition {
        name: "ping",
        syntax: "[message]",
        arity: -1,
        flags: flag::FAST | flag::LISTENING,
        constant: 2,
        run: Run::Session(ping),
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        group: Group::Connection,
        summary: "Returns the server's liveliness response.",
        ..Definition::BASE
    },
    Definition {
        name: "quit",
        arity: -1,
        flags: ALWAYS | flag::LISTENING | flag::NO_AUTH | flag::AT_ONCE | flag::ALLOW_BUSY,
        run: Run::Session(quit),
        group: Group::Connection,
        summary: "Closes the connection.",
        ..Definition::BASE
    },
    Definition {
        name: "reset",
        arity: 1,
        flags: ALWAYS | flag::LISTENING | flag::NO_AUTH | flag::AT_ONCE | flag::ALLOW_BUSY,
        run: Run::Transaction(crate::commands::table::Step::Reset),
        group: Group::Connection,
        since: "6.2.0",
        summary: "Resets the connection.",
        ..Definition::BASE
    },
    Definition {
        name: "select",
        syntax: "index",
        arity: 2,
        flags: flag::LOADING | flag::STALE | flag::FAST,
        constant: 2,
        run: Run::Session(select),
        group: Group::Connection,
        summary: "Changes the selected database.",
        ..Definition::BASE
    },
    Definition {
        name: "wait",
        syntax: "numreplicas timeout:integer",
        arity: 3,
        flags: flag::NOSCRIPT,
        categories: Some(&["@connection"]),
        run: Run::Data(wait),
        tips: &["request_policy:all_shards", "response_policy:agg_min"],
        group: Group::Generic,
        since: "3.0.0",
        summary: "Answers how many replicas have acknowledged: there are none.",
        ..Definition::BASE
    },
    Definition {
        name: "waitaof",
        syntax: "numlocal numreplicas timeout:integer",
        arity: 4,
        flags: flag::NOSCRIPT,
        categories: Some(&["@connection"]),
        tips: &["request_policy:all_shards", "response_policy:agg_min"],
        run: Run::Data(waitaof),
        group: Group::Generic,
        since: "7.2.0",
        summary: "Answers how many append-only files have been written: there are none.",
        ..Definition::BASE
    },
];

fn ping(cx: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    match args.len() {
        1 | 2 if cx.session.only_listens() => pubsub::ping_while_listening(args, reply),
        1 => reply.simple("PONG"),
        2 => reply.bulk(args.at(1)),
        _ => return Err(CommandError::WrongArity(cx.command.name.into())),
    }
    Ok(())
}

fn echo(_: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    reply.bulk(args.at(1));
    Ok(())
}

fn quit(cx: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    cx.session.closing = true;
    reply.ok();
    Ok(())
}

fn wait(_: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    number::parse_i64(args.at(1)).ok_or(CommandError::NotInteger)?;
    match number::parse_i64(args.at(2)) {
        None => return Err(CommandError::TimeoutNotInteger),
        Some(timeout) if timeout < 0 => return Err(CommandError::TimeoutNegative),
        Some(_) => {}
    }
    reply.integer(0);
    Ok(())
}

/// Nothing is written to an append-only file, nor by replicas, so nobody is waited for.
fn waitaof(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let local = number::parse_i64(args.at(1)).ok_or(CommandError::NotInteger)?;
    if !(0..=1).contains(&local) {
        return Err(CommandError::other("ERR value is out of range, must be between 0 and 1"));
    }
    let replicas = number::parse_i64(args.at(2)).ok_or(CommandError::NotInteger)?;
    if replicas < 0 {
        return Err(CommandError::NotPositive);
    }
    match number::parse_i64(args.at(3)) {
        None => return Err(CommandError::TimeoutNotInteger),
        Some(timeout) if timeout < 0 => return Err(CommandError::TimeoutNegative),
        Some(_) => {}
    }
    if local > 0 && !cx.config().appendonly {
        return Err(CommandError::other(
            "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.",
        ));
    }
    reply.array(2);
    reply.integer(0);
    reply.integer(0);
    Ok(())
}

fn select(cx: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let db = database(args.at(1), cx.shard.config.databases)?;
    cx.session.db = db;
    cx.session.client.db.store(db, Relaxed);
    reply.ok();
    Ok(())
}

fn auth(cx: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let (user, password) = match args.len() {
        2 => {
            if cx.shard.config.requirepass.is_empty() {
                return Err(CommandError::other(
                    "ERR AUTH <password> called without any password configured for the default \
                     user. Are you sure your configuration is correct?",
                ));
            }
            (&b"default"[..], args.at(1))
        }
        3 => (args.at(1), args.at(2)),
        _ => return Err(CommandError::Syntax),
    };
    authenticate(cx, user, password)?;
    reply.ok();
    Ok(())
}

fn authenticate(
    cx: &mut SessionContext<'_>,
    user: &[u8],
    password: &[u8],
) -> Result<(), CommandError> {
    let wanted = cx.shard.config.requirepass.as_bytes();
    // Without a password the default user accepts any.
    if user != b"default" || !(wanted.is_empty() || same(wanted, password)) {
        return Err(CommandError::WrongPass);
    }
    cx.session.authenticated = true;
    Ok(())
}

/// Compares in a time that does not tell where the difference is.
fn same(wanted: &[u8], given: &[u8]) -> bool {
    let mut difference = usize::from(wanted.len() != given.len());
    for (at, byte) in given.iter().enumerate() {
        difference |= usize::from(byte ^ wanted.get(at).copied().unwrap_or(!*byte));
    }
    difference == 0
}

fn hello(cx: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let mut protocol = cx.session.protocol;
    if let Some(version) = args.get(1) {
        protocol = match number::parse_i64(version) {
            Some(2) => Protocol::Resp2,
            Some(3) => Protocol::Resp3,
            Some(_) => return Err(CommandError::NoProtocol),
            None => {
                return Err(CommandError::other(
                    "ERR Protocol version is not an integer or out of range",
                ));
            }
        };
    }
    let mut name = None;
    let mut at = 2;
    while let Some(option) = args.get(at) {
        if option.eq_ignore_ascii_case(b"auth") && at + 2 < args.len() {
            // Before the rest is read, as in Redis.
            authenticate(cx, args.at(at + 1), args.at(at + 2))?;
            at += 3;
        } else if option.eq_ignore_ascii_case(b"setname") && at + 1 < args.len() {
            name = Some(super::client::checked_label(args.at(at + 1), "Client names")?);
            at += 2;
        } else {
            return Err(CommandError::repeating("ERR Syntax error in HELLO option '", option, "'"));
        }
    }
    if !cx.session.authenticated {
        return Err(CommandError::other(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the \
             HELLO AUTH <user> <pass> option can be used to authenticate the client and \
             select the RESP protocol version at the same time",
        ));
    }
    if let Some(name) = name {
        cx.session.client.labels.lock().name = name;
    }
    cx.session.protocol = protocol;
    cx.session.client.protocol.store(version_number(protocol), Relaxed);
    reply.set_protocol(protocol);
    describe(cx, reply);
    Ok(())
}

fn describe(cx: &SessionContext<'_>, reply: &mut Reply) {
    reply.map(7);
    reply.bulk_str("server");
    reply.bulk_str("redis");
    reply.bulk_str("version");
    reply.bulk_str(crate::REDIS_VERSION);
    reply.bulk_str("proto");
    reply.integer(i64::from(version_number(cx.session.protocol)));
    reply.bulk_str("id");
    reply.integer(i64::try_from(cx.session.client.id.0).unwrap_or(i64::MAX));
    reply.bulk_str("mode");
    reply.bulk_str("standalone");
    reply.bulk_str("role");
    reply.bulk_str("master");
    reply.bulk_str("modules");
    reply.array(0);
}

fn version_number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Resp2 => 2,
        Protocol::Resp3 => 3,
    }
}
