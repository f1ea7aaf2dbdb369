//! `DEBUG`: what test tools ask a server to do, and the audit of the account.
//!
//! Outside of a transaction each subcommand asks the shards, one part after the other, so that
//! they go on serving; inside of one it has all slots at hand.

mod audit;
mod digest;
mod kinds;
mod populate;
mod request;
mod visit;

use std::time::Duration;

use ballast_protocol::slot::{SLOTS, key_slot};
use ballast_protocol::{Args, CommandError, Reply, glob};
use ballast_storage::{Key, eviction};
use rand::RngExt;

use self::audit::SlotAudit;
use self::request::Request;
use super::context::Data;
use super::help::{self, Help};
use super::table::{CommandResult, Definition, Group, Run, flag};
use crate::commands::gather::{After, Gathered, Gathering, Local};
use crate::commands::replay::replay_set;
use crate::commands::session::Session;
use crate::config::Allowed;
use crate::engine::Engine;
use crate::files::append::{AppendError, Set};
use crate::files::{load, save};
use crate::ids::ShardId;
use crate::log::Level;
use crate::node::Node;
use crate::node::append_only::Told;

/// All subcommands: they are not in the table, as unknown ones have an answer of their own.
const SYNTAX: &str = "<CHANGE-REPL-ID | DIGEST | DIGEST-VALUE [key:string [key:string ...]] | \
                      ERROR message | HAND-OVER slot shard | HAND-OVERS rate duration | HELP | \
                      LOADAOF | LOG message | OBJECT key:string | POPULATE count [prefix [size]] | \
                      PROTOCOL type | RELOAD [NOSAVE] | SET-ACTIVE-EXPIRE flag | SLEEP duration | \
                      SLOT-AUDIT [slot] | STRINGMATCH-LEN len pattern | JMAP | PAUSE-CRON flag | \
                      QUICKLIST-PACKED-THRESHOLD size | REPLYBUFFER option value | \
                      SET-DISABLE-DENY-SCRIPTS flag | DROP-CLUSTER-PACKET-FILTER type | \
                      SET-SKIP-CHECKSUM-VALIDATION flag>";

pub(crate) static COMMANDS: &[Definition] = &[Definition {
    name: "debug",
    arity: -2,
    syntax: SYNTAX,
    flags: flag::ADMIN
        | flag::NOSCRIPT
        | flag::LOADING
        | flag::STALE
        | flag::ALL_SLOTS
        | flag::PROTECTED,
    run: Run::Spread(run_here, run),
    group: Group::Server,
    complexity: "Depends on subcommand.",
    summary: "A container for debugging commands.",
    ..Definition::BASE
}];

const HELP: Help = &[
    ("CHANGE-REPL-ID", &["Accepted, as there are no replicas that could notice."]),
    ("DIGEST", &["Return a signature of the keys and values of all databases, as Redis has it."]),
    ("DIGEST-VALUE <key> [<key> ...]", &["Return a signature of the value of each key."]),
    ("ERROR <string>", &["Return <string> as an error."]),
    ("HAND-OVER <slot> <shard>", &["Hand a slot over to another shard thread."]),
    (
        "HAND-OVERS <count> <seconds>",
        &[
            "Hand random slots over to other shard threads, <count> of them every second, and",
            "return how many that were.",
        ],
    ),
    ("LOG <message>", &["Write <message> to the server log."]),
    ("OBJECT <key>", &["Show how <key> and its value are kept."]),
    ("LOADAOF", &["Write what waits for the append-only file, and replace all keys by its."]),
    (
        "POPULATE <count> [<prefix>] [<size>]",
        &["Create <count> string keys named key:<num>, or <prefix>:<num>, of <size> bytes."],
    ),
    (
        "PROTOCOL <type>",
        &[
            "Return a test value of a type: string, integer, double, bignum, null, array, set,",
            "map, attrib, push, verbatim, true, false.",
        ],
    ),
    (
        "RELOAD [NOSAVE]",
        &["Save a snapshot, unless told not to, and replace all keys by what it holds."],
    ),
    ("SET-ACTIVE-EXPIRE <0|1>", &["Whether expired keys are removed that nobody asks for."]),
    ("SLEEP <seconds>", &["Stop the shard thread of this connection. Decimals allowed."]),
    (
        "SLOT-AUDIT [<slot>]",
        &[
            "Count the bytes of a slot, or of all, by walking, and compare with the account:",
            "any drift is a bug.",
        ],
    ),
    ("STRINGMATCH-LEN <len> <pattern>", &["Match a string of <len> times `a`."]),
    (
        "JMAP, PAUSE-CRON <0|1>, QUICKLIST-PACKED-THRESHOLD <size>, REPLYBUFFER <option> <value>,",
        &["SET-DISABLE-DENY-SCRIPTS <0|1>, DROP-CLUSTER-PACKET-FILTER <type>: accepted."],
    ),
];

/// The longest `DEBUG SLEEP`, so that a mistyped number does not cost a shard.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// Refuses protected commands to whom `enable-debug-command` does not allow them.
pub(crate) fn check_allowed(shared: &Node, session: &Session) -> CommandResult {
    let allowed = match shared.config.load().enable_debug_command {
        Allowed::Yes => true,
        Allowed::Local => session.client.address.ip().is_loopback(),
        Allowed::No => false,
    };
    if allowed {
        return Ok(());
    }
    Err(CommandError::other(
        "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", \
         you can run it from a local connection, otherwise you need to set this option in the \
         configuration file, and then restart the server.",
    ))
}

fn run<'a>(cx: Gathering<'a>, args: Args<'a>, reply: &'a mut Reply) -> Gathered<'a> {
    Box::pin(async move {
        let request = Request::parse(args)?;
        let db = cx.session.db;
        match request {
            Request::Object(key) => {
                let found =
                    visit::one(&cx, key_slot(&key), move |state| describe(state, db, &key)).await?;
                write_description(found, reply)?;
            }
            Request::Digest => {
                let slots = visit::all(&cx, digest::of_slot).await?;
                digest::write(slots.iter(), reply);
            }
            Request::DigestValue(keys) => {
                reply.array(keys.len());
                for key in keys {
                    let slot = key_slot(&key);
                    let found =
                        visit::one(&cx, slot, move |state| digest::of_key(state, db, &key)).await?;
                    reply.simple(&digest::hex(&found));
                }
            }
            Request::SlotAudit(Some(slot)) => {
                let found = visit::one(&cx, slot, move |state| SlotAudit::of(state, slot)).await?;
                audit::write_slot(slot, &found, reply);
            }
            Request::SlotAudit(None) => {
                let slots = visit::all(&cx, SlotAudit::of).await?;
                let drift = cx.each_shard(|state| audit::shard_drift(state)).await;
                audit::write_all(&slots, drift.iter().sum(), reply);
            }
            Request::Populate(populate) => {
                for numbers in populate.parts() {
                    populate.run(&cx, db, numbers).await?;
                    tokio::task::yield_now().await;
                }
                reply.ok();
            }
            Request::HandOver { slot, to } => {
                check_shard(cx.node(), to)?;
                let done = move |state: &mut dyn Local| to == state.id || state.hand_over(slot, to);
                match visit::one(&cx, slot, done).await? {
                    true => reply.ok(),
                    false => return Err(CommandError::other("ERR the slot is travelling")),
                }
            }
            Request::HandOvers { a_second, lasting } => {
                let done = hand_overs(&cx, a_second, lasting.min(SLEEP_MAX)).await;
                reply.integer(i64::try_from(done).unwrap_or(i64::MAX));
            }
            Request::LoadAof => {
                let work = |local: &mut dyn Local| (load_aof(local), After::GiveBack);
                match cx.on_all_slots("reload", work).await {
                    Some(result) => result?,
                    None => return Err(CommandError::other("ERR the server is ending")),
                }
                reply.ok();
            }
            Request::Reload { saves } => {
                let work = move |local: &mut dyn Local| (reload(local, saves), After::GiveBack);
                match cx.on_all_slots("reload", work).await {
                    Some(result) => result?,
                    None => return Err(CommandError::other("ERR the server is ending")),
                }
                reply.ok();
            }
            simple => run_anywhere(cx.node(), &simple, reply)?,
        }
        Ok(())
    })
}

/// Inside a transaction, which has all slots on this shard.
fn run_here(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let request = Request::parse(args)?;
    let db = cx.caller.db;
    let state = &mut *cx.engine;
    match request {
        Request::Object(key) => write_description(describe(state, db, &key), reply)?,
        Request::Digest => digest::write(visit::here(state, digest::of_slot).iter(), reply),
        Request::DigestValue(keys) => {
            reply.array(keys.len());
            for key in keys {
                reply.simple(&digest::hex(&digest::of_key(state, db, &key)));
            }
        }
        Request::SlotAudit(Some(slot)) => {
            audit::write_slot(slot, &SlotAudit::of(state, slot), reply);
        }
        Request::SlotAudit(None) => {
            audit::write_all(&visit::here(state, SlotAudit::of), audit::shard_drift(state), reply);
        }
        Request::Populate(populate) => {
            for numbers in populate.parts() {
                populate.run_here(state, db, numbers);
            }
            reply.ok();
        }
        Request::LoadAof => {
            return Err(CommandError::other("ERR Command not allowed inside a transaction"));
        }
        Request::Reload { saves } => {
            reload(state, saves)?;
            reply.ok();
        }
        Request::HandOver { .. } | Request::HandOvers { .. } => {
            return Err(CommandError::other("ERR a transaction holds the slot"));
        }
        simple => run_anywhere(&state.node, &simple, reply)?,
    }
    Ok(())
}

/// Writes a snapshot, unless it is there already, and loads it; all slots are here.
fn reload(engine: &mut Engine, saves: bool) -> CommandResult {
    if !saves && engine.has_followers() {
        return Err(CommandError::other(
            "ERR The append-only file would not know of keys that come from elsewhere. Say \
             CONFIG SET appendonly no before.",
        ));
    }
    if saves {
        save::save(engine).map_err(|error| CommandError::other(format!("ERR {error}")))?;
    }
    load::replace_all(engine).map_err(|error| {
        engine.node.log.line(engine.now_ms, Level::Warning, &error.to_string());
        CommandError::other("ERR Error trying to load the RDB dump, check server logs.")
    })
}

/// Replaces all keys by those of the append-only file; all slots are here.
fn load_aof(engine: &mut Engine) -> CommandResult {
    let failed = |engine: &Engine, text: &str| {
        engine.node.log.line(engine.now_ms, Level::Warning, text);
        CommandError::other("ERR Error trying to load the AOF files, check server logs.")
    };
    if engine.node.append_only.figures.is_rewriting.load(std::sync::atomic::Ordering::SeqCst) {
        // Its files are about to be replaced. Another cannot begin while all slots are here.
        return Err(CommandError::other(
            "ERR Background append only file rewriting in progress, try again when it is over.",
        ));
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    engine.send_effects();
    engine.node.append_only.send(Told::Written(sender));
    receiver.recv().map_err(|_| failed(engine, "the server is ending"))?;
    match Set::find(&engine.node.config.load()) {
        Ok(Some(set)) => replay_set(engine, &set)
            .map_err(|(path, reason)| failed(engine, &AppendError { path, reason }.to_string())),
        Ok(None) => Err(failed(engine, "there is no append-only file")),
        Err(error) => Err(failed(engine, &error.to_string())),
    }
}

/// Lets every shard hand slots of its own over in small steps; returns how many it were.
async fn hand_overs(cx: &Gathering<'_>, a_second: u32, lasting: Duration) -> u64 {
    const STEP: Duration = Duration::from_millis(1);
    let shards = u64::from(cx.node().shards());
    let mut ticks = tokio::time::interval(STEP);
    let steps = lasting.as_millis() / STEP.as_millis();
    let mut done = 0;
    for step in 1..=steps as u64 {
        ticks.tick().await;
        // As many as are due by now, in equal parts.
        let due = u64::from(a_second) * step / 1000;
        let each = due.saturating_sub(done) / shards;
        if each > 0 && shards > 1 {
            let handed = cx.each_shard(move |state| hand_over_some(state, each)).await;
            done += handed.iter().sum::<u64>();
        }
    }
    done
}

/// Hands up to `count` random slots that are here over to random other shards.
fn hand_over_some(state: &mut dyn Local, count: u64) -> u64 {
    let (own, shards) = (state.id.0, state.node.shards());
    let mut done = 0;
    for _ in 0..count.min(u64::from(SLOTS)) {
        let from = state.random.random_range(0..SLOTS);
        let to = ShardId((own + state.random.random_range(1..shards)) % shards);
        let Some(slot) = (from..SLOTS).chain(0..from).find(|slot| state.has(*slot)) else { break };
        done += u64::from(state.hand_over(slot, to));
    }
    done
}

fn check_shard(shared: &Node, shard: ShardId) -> CommandResult {
    if shard.0 < shared.shards() {
        return Ok(());
    }
    Err(CommandError::other(format!("ERR there are {} shards", shared.shards())))
}

/// What needs no slot.
fn run_anywhere(shared: &Node, request: &Request, reply: &mut Reply) -> CommandResult {
    match request {
        Request::Help => help::write("DEBUG", HELP, reply),
        Request::Error(text) => return Err(CommandError::other(text.clone())),
        Request::Log(message) => {
            let line = format!("DEBUG LOG: {message}");
            shared.log.line(shared.clock.wall_ms(), Level::Warning, &line);
            reply.ok();
        }
        Request::Protocol(kind) => kind.write(reply)?,
        Request::Sleep(duration) => {
            // This thread only: the other shards go on.
            std::thread::sleep((*duration).min(SLEEP_MAX));
            reply.ok();
        }
        Request::SetActiveExpire(active) => {
            shared.active_expire.store(*active, std::sync::atomic::Ordering::Relaxed);
            reply.ok();
        }
        Request::StringMatch { len, pattern } => {
            let text = vec![b'a'; *len];
            reply.integer(i64::from(glob::glob_match(pattern, &text)));
        }
        _ => reply.ok(),
    }
    Ok(())
}

/// The fields of `DEBUG OBJECT` that mean something here. `serializedlength` is what the key
/// takes in memory. `None`: there is no such key.
fn describe(state: &mut Engine, db: u8, key: &[u8]) -> Option<String> {
    let slot = key_slot(key);
    state.expire_key(slot, db, key);
    let now_ms = state.now_ms;
    let keyspace = state.slot(slot)?.data().keyspace(db)?;
    let key = Key::new(key);
    let meta = keyspace.meta(&key)?;
    Some(format!(
        "Value at:0x0 refcount:1 encoding:{} serializedlength:{} lru:{} lru_seconds_idle:{}",
        keyspace.encoding(&key)?,
        keyspace.memory_usage(&key)?,
        meta.aux,
        eviction::lru_idle_ms(meta.aux, now_ms) / 1000
    ))
}

fn write_description(found: Option<String>, reply: &mut Reply) -> CommandResult {
    reply.simple(&found.ok_or(CommandError::NoKey)?);
    Ok(())
}
