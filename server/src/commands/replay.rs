//! Repeats the commands of an append-only file.

use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ballast_protocol::number::parse_i64;
use ballast_protocol::slot::SLOTS;
use ballast_protocol::{Args, ArgsBuf, Protocol, Reply};

use super::table::{Command, Run};
use crate::engine::{Engine, NO_SLOT};
use crate::files::append::read::{CommandReader, ReadError};
use crate::files::append::{AppendReason, Set, starts_as_snapshot};
use crate::files::load;
use crate::ids::ClientId;
use crate::log::Level;
use crate::node::blocked::Caller;

/// Bytes that are read at once.
const READ_BYTES: usize = 256 << 10;
/// Others have their turn after so much work.
const MOMENT: Duration = Duration::from_millis(10);
/// Commands and transactions between two looks at the clock.
const GROUPS_PER_LOOK: usize = 64;

/// A file of commands that is being repeated, on a shard that has all slots. No key expires
/// meanwhile, as the file says which have, and what was admitted once is admitted again.
pub(crate) struct Replay {
    path: PathBuf,
    reader: CommandReader<BufReader<File>>,
    /// The last one: what was being written when the process or the machine died may be cut off.
    is_last: bool,
    db: u8,
    commands: Vec<ArgsBuf>,
    count: u64,
}

impl Replay {
    /// Begins at `offset` of a file.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn open(path: &Path, offset: u64, is_last: bool) -> Result<Replay, AppendReason> {
        let mut file = File::open(path).map_err(AppendReason::System)?;
        file.seek(SeekFrom::Start(offset)).map_err(AppendReason::System)?;
        let reader = CommandReader::new(BufReader::with_capacity(READ_BYTES, file), offset);
        let path = path.to_owned();
        Ok(Replay { path, reader, is_last, db: 0, commands: Vec::new(), count: 0 })
    }

    /// Bytes of the file that are behind it.
    pub(crate) fn offset(&self) -> u64 {
        self.reader.offset()
    }

    /// Repeats commands for a moment. Answers whether there are more.
    ///
    /// # Errors
    /// If one cannot be read or repeated: some may have been. A command or transaction that is not
    /// complete is cut off at the end of the last file, if the configuration allows that.
    pub(crate) fn go_on(&mut self, engine: &mut Engine) -> Result<bool, AppendReason> {
        let now_ms = std::mem::replace(&mut engine.now_ms, 0);
        engine.lift_limit();
        let result = self.repeat_some(engine);
        engine.now_ms = now_ms;
        engine.renew_lease();
        engine.reply_when_freed = false;
        if !matches!(result, Ok(true)) {
            engine.statistics.reset();
        }
        result
    }

    fn repeat_some(&mut self, engine: &mut Engine) -> Result<bool, AppendReason> {
        let started = Instant::now();
        loop {
            for _ in 0..GROUPS_PER_LOOK {
                if !self.repeat_group(engine)? {
                    let text = format!(
                        "DB loaded from append only file '{}': {} commands",
                        self.path.display(),
                        self.count
                    );
                    engine.node.log.line(engine.node.clock.wall_ms(), Level::Notice, &text);
                    return Ok(false);
                }
            }
            engine.free_slice();
            if started.elapsed() >= MOMENT {
                return Ok(true);
            }
        }
    }

    /// Repeats a command or a transaction. False at the end.
    fn repeat_group(&mut self, engine: &mut Engine) -> Result<bool, AppendReason> {
        match self.reader.next_group(&mut self.commands) {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(ReadError::Truncated { good_bytes })
                if self.is_last && engine.node.config.load().aof_load_truncated =>
            {
                cut(engine, &self.path, good_bytes, self.reader.offset())?;
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        }
        for command in &self.commands {
            repeat(engine, command.view(), &mut self.db).map_err(|error| {
                AppendReason::Refused {
                    command: String::from_utf8_lossy(command.view().at(0)).into_owned(),
                    offset: self.reader.offset(),
                    error,
                }
            })?;
            self.count += 1;
        }
        Ok(true)
    }
}

/// Replaces all keys by those of an append-only file; all slots are here, and what is done is no
/// effect.
///
/// # Errors
/// If not all of it can be loaded: some keys may be there.
pub(crate) fn replay_set(engine: &mut Engine, set: &Set) -> Result<(), (PathBuf, AppendReason)> {
    let followers = engine.follow_all(0);
    let result = replay_parts(engine, set);
    engine.follow_all(followers);
    result
}

fn replay_parts(engine: &mut Engine, set: &Set) -> Result<(), (PathBuf, AppendReason)> {
    (0..SLOTS).for_each(|slot| engine.flush_slot(slot, None));
    if let Some(base) = set.base() {
        let failed = |reason| (base.clone(), reason);
        let is_snapshot = starts_as_snapshot(&base);
        let mut end = 0;
        if is_snapshot.map_err(|error| failed(AppendReason::System(error)))? {
            let loaded = load::load_base(engine, &base);
            end = loaded.map_err(|error| failed(AppendReason::Base(Box::new(error))))?;
        }
        replay_file(engine, &base, end).map_err(failed)?;
    }
    for path in set.incremental() {
        replay_file(engine, &path, 0).map_err(|reason| (path, reason))?;
    }
    Ok(())
}

fn replay_file(engine: &mut Engine, path: &Path, offset: u64) -> Result<(), AppendReason> {
    let mut replay = Replay::open(path, offset, false)?;
    while replay.go_on(engine)? {}
    Ok(())
}

/// Cuts the end of a file, which was being written when the process or the machine died.
fn cut(engine: &Engine, path: &Path, good: u64, end: u64) -> Result<(), AppendReason> {
    let say = |text: &str| {
        engine.node.log.line(engine.node.clock.wall_ms(), Level::Warning, text);
    };
    say(&format!(
        "The append-only file '{}' ends within a command or transaction: bytes {good} to {end} are \
         cut off. (aof-load-truncated no refuses the start instead.)",
        path.display()
    ));
    let file = File::options().write(true).open(path).map_err(AppendReason::System)?;
    file.set_len(good).and_then(|()| file.sync_all()).map_err(AppendReason::System)
}

/// Repeats a command. `db` is the database that is selected.
fn repeat(engine: &mut Engine, args: Args<'_>, db: &mut u8) -> Result<(), String> {
    let unknown = || "it is not known".to_owned();
    let command = super::table().find(args.at(0)).ok_or_else(unknown)?;
    if !command.arity_ok(args.len()) {
        return Err("it has another number of arguments".to_owned());
    }
    if command.name == "select" {
        let databases = u8::try_from(engine.config.databases).unwrap_or(u8::MAX);
        let index = parse_i64(args.at(1));
        let index = index.and_then(|index| u8::try_from(index).ok());
        *db = index.filter(|index| *index < databases).ok_or("there is no such database")?;
        return Ok(());
    }
    if !matches!(command.run, Run::Data(_) | Run::Spread(..)) {
        return Err(unknown());
    }
    let caller = Caller {
        client: ClientId(0),
        db: *db,
        protocol: Protocol::Resp2,
        may_block: false,
        no_touch: false,
    };
    let mut reply = Reply::new(Protocol::Resp2);
    execute(engine, command, args, caller, &mut reply);
    let text = reply.to_vec();
    match text.split_first() {
        Some((b'-', message)) => Err(String::from_utf8_lossy(message).trim_end().to_owned()),
        _ => Ok(()),
    }
}

fn execute(
    engine: &mut Engine,
    command: &'static Command,
    args: Args<'_>,
    caller: Caller,
    reply: &mut Reply,
) {
    let slots = command.keys.slots(args);
    let first = slots.first().copied().unwrap_or(NO_SLOT);
    if command.needs_all_slots(args) {
        let all: Vec<u16> = (0..SLOTS).collect();
        engine.execute_slots(command, &all, first, args, caller, reply);
    } else {
        engine.execute_slots(command, &slots, first, args, caller, reply);
    }
}
