//! The server itself: `CONFIG`, `TIME`, `LOLWUT`, `SAVE`, `SHUTDOWN`. The slow log and latencies
//! are in `slowlog`.

use std::sync::Arc;

use ballast_balancer::Warning;
use ballast_protocol::{Args, CommandError, Reply};

use super::context::SessionContext;
use super::session::Session;
use super::table::{CommandResult, Definition, Group, Run, flag};
use crate::commands::gather::{After, Gathered, Gathering, Local};
use crate::config::{Changed, Config, ConfigSetError, Peer, system_reason};
use crate::files::bgsave::{self, Refused};
use crate::files::save;
use crate::log::Level;
use crate::node::Node;
use crate::node::descriptors::{self, Descriptors};
use crate::node::listeners::Unavailable;

const ADMIN: u32 = flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE;

pub(crate) static COMMANDS: &[Definition] = &[
    Definition {
        name: "config",
        arity: -2,
        run: Run::Container,
        group: Group::Server,
        since: "2.0.0",
        complexity: "Depends on subcommand.",
        summary: "A container for server configuration commands.",
        subcommands: &[
            Definition {
                name: "get",
                syntax: "parameter [parameter ...]",
                arity: -3,
                flags: ADMIN,
                run: Run::Session(config_get),
                group: Group::Server,
                since: "2.0.0",
                complexity: "O(N) when N is the number of configuration parameters provided",
                summary: "Returns the effective values of configuration parameters.",
                ..Definition::BASE
            },
            Definition {
                name: "help",
                arity: 2,
                flags: flag::LOADING | flag::STALE,
                run: Run::Session(config_help),
                group: Group::Server,
                since: "5.0.0",
                summary: "Returns helpful text about the different subcommands.",
                ..Definition::BASE
            },
            Definition {
                name: "resetstat",
                arity: 2,
                flags: ADMIN,
                run: Run::Gather(config_resetstat),
                group: Group::Server,
                since: "2.0.0",
                summary: "Resets the server's statistics.",
                ..Definition::BASE
            },
            Definition {
                name: "rewrite",
                arity: 2,
                flags: ADMIN,
                run: Run::Session(config_rewrite),
                group: Group::Server,
                since: "2.8.0",
                summary: "Persists the effective configuration to file.",
                ..Definition::BASE
            },
            Definition {
                name: "set",
                syntax: "parameter value [parameter value ...]",
                arity: -4,
                flags: ADMIN,
                run: Run::Session(config_set),
                tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
                group: Group::Server,
                since: "2.0.0",
                complexity: "O(N) when N is the number of configuration parameters provided",
                summary: "Sets configuration parameters in-flight.",
                ..Definition::BASE
            },
        ],
        ..Definition::BASE
    },
    Definition {
        name: "time",
        arity: 1,
        flags: flag::LOADING | flag::STALE | flag::FAST,
        constant: 1,
        run: Run::Session(time),
        tips: &["nondeterministic_output"],
        group: Group::Server,
        since: "2.6.0",
        summary: "Returns the server time.",
        ..Definition::BASE
    },
    Definition {
        name: "bgrewriteaof",
        arity: 1,
        flags: flag::ADMIN | flag::NOSCRIPT | flag::NO_ASYNC_LOADING,
        run: Run::Session(bgrewriteaof),
        group: Group::Server,
        summary: "Has the append-only file rewritten in the background, to hold what is there now.",
        ..Definition::BASE
    },
    Definition {
        name: "lastsave",
        arity: 1,
        flags: flag::LOADING | flag::STALE | flag::FAST | flag::DANGEROUS,
        categories: Some(&["@admin"]),
        tips: &["nondeterministic_output"],
        constant: 1,
        run: Run::Session(lastsave),
        group: Group::Server,
        summary: "Returns the Unix time of the last save, or of the start before the first.",
        ..Definition::BASE
    },
    Definition {
        name: "save",
        arity: 1,
        flags: flag::ADMIN
            | flag::NOSCRIPT
            | flag::AT_ONCE
            | flag::NO_MULTI
            | flag::NO_ASYNC_LOADING,
        run: Run::Gather(save_now),
        group: Group::Server,
        complexity: "O(N) where N is the total number of keys in all databases",
        summary: "Writes a snapshot of all databases to disk, while no other command runs.",
        ..Definition::BASE
    },
    Definition {
        name: "bgsave",
        syntax: "[SCHEDULE]",
        arity: -1,
        flags: flag::ADMIN | flag::NOSCRIPT | flag::NO_ASYNC_LOADING,
        run: Run::Gather(bgsave_now),
        group: Group::Server,
        complexity: "O(1)",
        summary: "Writes a snapshot of all databases to disk, as they are now, in the background.",
        ..Definition::BASE
    },
    Definition {
        name: "role",
        arity: 1,
        flags: flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::FAST | flag::DANGEROUS,
        categories: Some(&["@admin"]),
        run: Run::Session(role),
        group: Group::Server,
        since: "2.8.12",
        summary: "Returns the replication role.",
        ..Definition::BASE
    },
    Definition {
        name: "lolwut",
        syntax: "[VERSION version]",
        arity: -1,
        flags: flag::READONLY | flag::FAST,
        run: Run::Session(lolwut),
        group: Group::Server,
        since: "5.0.0",
        summary: "Displays computer art and the server version.",
        ..Definition::BASE
    },
    Definition {
        name: "shutdown",
        syntax: "[NOSAVE | SAVE] [NOW] [FORCE] [ABORT]",
        arity: -1,
        flags: ADMIN | flag::AT_ONCE | flag::NO_MULTI | flag::ALLOW_BUSY,
        run: Run::Gather(shutdown),
        group: Group::Server,
        complexity: "O(N) when saving, where N is the total number of keys in all databases.",
        summary: "Shuts down the server.",
        ..Definition::BASE
    },
];

/// Directive names and values are text; a name that is none cannot be one.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn config_get(cx: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let patterns: Vec<String> = args.from(2).iter().map(text).collect();
    let found = cx.shard.node.config.load().get(&patterns);
    reply.map(found.len());
    for (name, value) in found {
        reply.bulk_str(&name);
        reply.bulk_str(&value);
    }
    Ok(())
}

fn config_set(cx: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    if !args.len().is_multiple_of(2) {
        return Err(CommandError::Syntax);
    }
    let words: Vec<String> = args.from(2).iter().map(text).collect();
    let pairs: Vec<(&str, &str)> =
        words.chunks_exact(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect();
    let local = cx.session.client.address.ip().is_loopback();
    let peer = if local { Peer::Local } else { Peer::Remote };
    let shared = Arc::clone(&cx.shard.node);
    let changing = shared.config.changing.lock();
    let before = shared.config.load();
    let changed = shared
        .config
        .update(|config| config.set_as(peer, &pairs))
        .map_err(|error| CommandError::other(format!("ERR {error}")))?;
    if let Err((name, reason)) = take_resources(&shared, &before, &changed) {
        let text = format!(
            "Failed applying new configuration. Possibly related to new {name} setting. \
             Restoring previous settings."
        );
        shared.log.line(shared.clock.wall_ms(), Level::Warning, &text);
        shared.config.revert(changed);
        let error = ConfigSetError::Refused { name: name.to_owned(), reason };
        return Err(CommandError::other(format!("ERR {error}")));
    }
    drop(changing);
    for warning in changed.warnings() {
        shared.log.line(shared.clock.wall_ms(), Level::Warning, &warning.to_string());
    }
    if pairs.iter().any(|(name, _)| name.to_ascii_lowercase().starts_with("balancer-")) {
        warn_of_balancer(&shared);
    }
    take_effect(&shared, |name| changed.contains(name));
    cx.shard.take_config(shared.config.version());
    reply.ok();
    Ok(())
}

/// Takes from the system what a change needs: sockets to listen on, descriptors for clients.
/// The error is the directive and the reason, in Redis's words.
fn take_resources(
    shared: &Node,
    before: &Config,
    changed: &Changed,
) -> Result<(), (&'static str, String)> {
    let now = shared.config.load();
    let log = |text: &str| shared.log.line(shared.clock.wall_ms(), Level::Warning, text);
    if now.maxclients > before.maxclients
        && let Descriptors::Fewer(fewer) = descriptors::provide(now.maxclients, shared.shards())
    {
        fewer.lines().iter().for_each(|line| log(line));
        let reason = format!(
            "The operating system is not able to handle the specified number of clients, try \
             with {}",
            fewer.clients
        );
        return Err(("maxclients", reason));
    }
    let (bind, port) = (changed.contains("bind"), changed.contains("port"));
    if (bind || port)
        && let Err(Unavailable { address, error }) = shared.listeners.replace(before, &now)
    {
        let reason = system_reason(&error);
        log(&format!("Could not create server TCP listening socket {address}: bind: {reason}"));
        return Err(match bind {
            true => ("bind", "Failed to bind to specified addresses.".into()),
            false => ("port", "Unable to listen on this port. Check server logs.".into()),
        });
    }
    Ok(())
}

/// What only the data shows to be wrong with the balancer's directives, and times that do not
/// exist.
fn warn_of_balancer(shared: &Arc<Node>) {
    let (node, config) = (Arc::clone(shared), shared.config.load());
    shared.balance.leave_word(shared, move |desk| {
        let wall_ms = node.clock.wall_ms();
        let (tier, Some(snapshot)) = (desk.machine.tier(), desk.machine.working()) else { return };
        for warning in config.balancer.warnings(tier, wall_ms, snapshot) {
            // The directive itself has said so.
            if warning != Warning::NeverOpen {
                node.log.line(wall_ms, Level::Warning, &warning.to_string());
            }
        }
    });
}

/// What a change means outside of the shards, which look at the configuration themselves.
fn take_effect(shared: &Node, changed: impl Fn(&str) -> bool) {
    let config = shared.config.load();
    if changed("loglevel") {
        shared.log.set_level(crate::log::level(config.loglevel));
    }
    shared.relief.wake.notify_one();
}

fn config_rewrite(cx: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    let shared = &cx.shard.node;
    match shared.config.load().rewrite_own_file() {
        Ok(()) => {
            let now_ms = shared.clock.wall_ms();
            shared.log.line(now_ms, Level::Warning, "CONFIG REWRITE executed with success.");
            reply.ok();
            Ok(())
        }
        Err(error) => Err(CommandError::other(format!("ERR {error}"))),
    }
}

fn config_resetstat<'a>(cx: Gathering<'a>, _: Args<'a>, reply: &'a mut Reply) -> Gathered<'a> {
    Box::pin(async move {
        cx.each_shard(|state| {
            state.statistics.reset();
            state.reset_work();
        })
        .await;
        ballast_storage::memory::reset_peak();
        for counter in [&cx.node().clients.rejected, &cx.node().clients.evicted] {
            counter.store(0, std::sync::atomic::Ordering::Relaxed);
        }
        reply.ok();
        Ok(())
    })
}

fn config_help(_: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    super::help::write("CONFIG", super::help::CONFIG, reply);
    Ok(())
}

fn time(cx: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    let now_us = cx.shard.node.clock.wall_us();
    reply.array(2);
    reply.bulk_integer(now_us / 1_000_000);
    reply.bulk_integer(now_us % 1_000_000);
    Ok(())
}

fn lastsave(cx: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    reply.integer(cx.shard.node.saves.last_s());
    Ok(())
}

/// A master without replicas.
fn role(_: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    reply.array(3);
    reply.bulk_str("master");
    reply.integer(0);
    reply.array(0);
    Ok(())
}

fn lolwut(_: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    if let (Some(word), Some(version)) = (args.get(1), args.get(2))
        && word.eq_ignore_ascii_case(b"version")
    {
        ballast_protocol::number::parse_i64(version).ok_or(CommandError::NotInteger)?;
    }
    let version = env!("CARGO_PKG_VERSION");
    let art = format!(
        "        ▁▂▃▄▅▆▇█▇▆▅▄▃▂▁        ▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅\n\
         ~~~~~~~~~~~~~~~~~~~~~~~  →  ~~~~~~~~~~~~~~~\n\
         Ballast ver. {version}, level (Redis ver. {})\n",
        crate::REDIS_VERSION
    );
    reply.verbatim("txt", art.as_bytes());
    Ok(())
}

/// What stands in for a flag of commands that are refused inside a transaction.
fn refuse_in_transaction(session: &mut Session) -> CommandResult {
    if session.transaction.is_none() {
        return Ok(());
    }
    session.fail_transaction();
    Err(CommandError::other("ERR Command not allowed inside a transaction"))
}

fn bgrewriteaof(cx: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    let waits = cx.session.transaction.is_some() || cx.shard.node.saves.running().is_some();
    if !cx.shard.node.append_only.want_rewrite() {
        return Err(CommandError::other(
            "ERR Background append only file rewriting already in progress",
        ));
    }
    reply.simple(match waits {
        true => "Background append only file rewriting scheduled",
        false => "Background append only file rewriting started",
    });
    Ok(())
}

fn save_now<'a>(cx: Gathering<'a>, _: Args<'a>, reply: &'a mut Reply) -> Gathered<'a> {
    Box::pin(async move {
        refuse_in_transaction(cx.session)?;
        if cx.node().saves.running().is_some() {
            return Err(under_way());
        }
        let work = |local: &mut dyn Local| (save::save(local), After::GiveBack);
        match cx.on_all_slots("snapshot", work).await {
            Some(Ok(())) => reply.ok(),
            Some(Err(error)) => return Err(CommandError::other(format!("ERR {error}"))),
            None => return Err(CommandError::other("ERR the server is ending")),
        }
        Ok(())
    })
}

fn under_way() -> CommandError {
    CommandError::other("ERR Background save already in progress")
}

fn bgsave_now<'a>(cx: Gathering<'a>, args: Args<'a>, reply: &'a mut Reply) -> Gathered<'a> {
    Box::pin(async move {
        let mut is_scheduled = false;
        match args.get(1) {
            None => {}
            Some(word) if args.len() == 2 && word.eq_ignore_ascii_case(b"schedule") => {
                is_scheduled = true;
            }
            Some(_) => return Err(CommandError::Syntax),
        }
        let saves = &cx.node().saves;
        if saves.running().is_some() {
            return Err(under_way());
        }
        if cx.is_inside_transaction {
            // It begins when the slots of the transaction are home.
            saves.schedule();
            reply.simple("Background saving scheduled");
            return Ok(());
        }
        let work = |local: &mut dyn Local| (bgsave::start(local), After::GiveBack);
        match cx.on_all_slots("snapshot", work).await {
            Some(Ok(())) => reply.simple("Background saving started"),
            Some(Err(Refused::UnderWay)) if is_scheduled => {
                cx.node().saves.schedule();
                reply.simple("Background saving scheduled");
            }
            Some(Err(Refused::UnderWay)) => {
                return Err(CommandError::other(
                    "ERR Another child process is active (AOF?): can't BGSAVE right now. Use \
                     BGSAVE SCHEDULE in order to schedule a BGSAVE whenever possible.",
                ));
            }
            Some(Err(Refused::NoThread)) => return Err(CommandError::other("ERR")),
            None => return Err(CommandError::other("ERR the server is ending")),
        }
        Ok(())
    })
}

fn shutdown<'a>(cx: Gathering<'a>, args: Args<'a>, reply: &'a mut Reply) -> Gathered<'a> {
    Box::pin(async move {
        refuse_in_transaction(cx.session)?;
        let options = args.from(1);
        let has = |word: &[u8]| options.iter().any(|option| option.eq_ignore_ascii_case(word));
        let known: [&[u8]; 5] = [b"nosave", b"save", b"now", b"force", b"abort"];
        let is_known = |option: &[u8]| known.iter().any(|word| option.eq_ignore_ascii_case(word));
        let abort = has(b"abort");
        let contradicts = has(b"save") && has(b"nosave") || abort && options.len() > 1;
        if contradicts || !options.iter().all(is_known) {
            return Err(CommandError::Syntax);
        }
        if abort {
            return Err(CommandError::other("ERR No shutdown in progress."));
        }
        let node = cx.node();
        node.log.line(node.clock.wall_ms(), Level::Warning, "User requested shutdown...");
        let asked = match (has(b"save"), has(b"nosave")) {
            (false, false) => None,
            (saves, _) => Some(saves),
        };
        // As in Redis: what is half loaded must not replace the file that it comes from.
        if !node.is_loading() && save::saves_at_end(node, asked) {
            let is_forced = has(b"force");
            let work = move |local: &mut dyn Local| match save::save_and_stop(local, is_forced) {
                true => (true, After::Keep),
                false => (false, After::GiveBack),
            };
            if cx.on_all_slots("shutdown", work).await == Some(false) {
                return Err(CommandError::other("ERR Errors trying to SHUTDOWN. Check logs."));
            }
        } else {
            node.request_stop();
        }
        // Redis closes the connection instead of replying.
        let _ = reply;
        cx.session.closing = true;
        Ok(())
    })
}
