//! Effects: each change of a key as a command that does the same again, for those who follow the
//! slot. A slot that nobody follows costs one comparison per change.
//!
//! The guard of a write records what it has done, in the shortest of three forms:
//! - the call as it came, where repeating it on the same key does the same (`INCR`, `HSET`: the
//!   command table says so, see [`Came`]);
//! - a command that the handler names, where that is known only afterwards (`SPOP` has removed
//!   these members);
//! - otherwise what the key holds now. So a handler that says nothing is right as well.
//!
//! Times are absolute in all of them, and a key that expires or is evicted is deleted by an effect,
//! so that whoever repeats them needs no clock.

use ballast_protocol::Args;
use ballast_storage::{Value, rdb};

use super::Engine;
use crate::node::append_only::Told;
use crate::node::effects::{ALL_SLOTS, Followers, Recorder};

/// The call that changes a key.
#[derive(Clone, Copy)]
pub(crate) struct Came<'c> {
    /// As it came.
    pub(crate) args: &'c Args<'c>,
    /// With up to so many arguments repeating it has the same effect.
    pub(crate) repeats: &'static usize,
}

/// What a guard has changed of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Changed {
    /// No more than when the key expires.
    Expiry,
    /// The value, or whether there is one.
    Value,
    /// It has been recorded already.
    Recorded,
}

/// What a shard has recorded and not sent.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    buffer: Vec<u8>,
    /// Of the running transaction; 0: each command is a group of its own.
    transaction: u64,
}

/// Where an effect belongs.
#[derive(Clone, Copy)]
struct To {
    slot: u16,
    db: u8,
    followers: Followers,
    group: u64,
}

impl Effects {
    /// Begins a record of so many words.
    fn begin(&mut self, to: To, words: usize) -> Recorder<'_> {
        Recorder::begin(&mut self.buffer, (to.slot, to.db), to.followers, to.group, words)
    }
}

/// A group of effects that is not complete.
#[derive(Debug, Default)]
pub(crate) struct Suspended {
    group: u64,
    recorded: Vec<u8>,
}

impl Engine {
    /// Lets these follow the slots that are here, and nobody else. Answers who has.
    pub(crate) fn follow_all(&mut self, followers: Followers) -> Followers {
        let mut before = 0;
        for boxed in self.slots.iter_mut().flatten() {
            before |= std::mem::replace(&mut boxed.followers, followers);
        }
        before
    }

    /// Whether somebody follows one of the slots that are here.
    pub(crate) fn has_followers(&self) -> bool {
        self.boxes().any(|(_, boxed)| boxed.followers != 0)
    }

    /// What is done until [`Self::end_group`] belongs together.
    pub(crate) fn begin_group(&mut self) {
        self.effects.transaction = self.command_number();
    }

    /// See [`Self::begin_group`].
    pub(crate) fn end_group(&mut self) {
        self.effects.transaction = 0;
    }

    /// Goes on with a group whose slots were put aside, and of which this has been recorded.
    pub(crate) fn resume_group(&mut self, suspended: Suspended) {
        self.send_effects();
        self.effects.buffer = suspended.recorded;
        match suspended.group {
            0 => self.begin_group(),
            group => self.effects.transaction = group,
        }
    }

    /// Before the slots of a group are put aside.
    pub(crate) fn suspend_group(&mut self) -> Suspended {
        let recorded = std::mem::take(&mut self.effects.buffer);
        Suspended { group: std::mem::take(&mut self.effects.transaction), recorded }
    }

    /// Sends what has been recorded to those who follow: before the state is let go, and before a
    /// box leaves.
    #[inline(always)]
    pub(crate) fn send_effects(&mut self) {
        if !self.effects.buffer.is_empty() {
            self.send_recorded();
        }
    }

    #[cold]
    #[inline(never)]
    fn send_recorded(&mut self) {
        let capacity = self.effects.buffer.len().min(RECORDED_BYTES);
        let recorded = std::mem::replace(&mut self.effects.buffer, Vec::with_capacity(capacity));
        self.node.append_only.send(Told::Effects(recorded));
    }

    /// Bytes of what has been recorded and not sent.
    pub(super) fn recorded_bytes(&self) -> usize {
        self.effects.buffer.capacity()
    }

    /// The running command, as the effects' groups name it.
    fn command_number(&self) -> u64 {
        // 0 stands for no group.
        self.counters.commands.value() + 1
    }

    fn group(&self) -> u64 {
        match self.effects.transaction {
            0 => self.command_number(),
            transaction => transaction,
        }
    }

    /// Records a call as it came.
    #[cold]
    #[inline(never)]
    pub(super) fn record_call(&mut self, at: (u16, u8), followers: Followers, call: Args<'_>) {
        let group = self.group();
        let buffer = &mut self.effects.buffer;
        let recorder = Recorder::begin(buffer, at, followers, group, call.len());
        call.iter().fold(recorder, Recorder::argument).end();
    }

    /// Records a command on `key`.
    #[cold]
    #[inline(never)]
    pub(super) fn record_command(
        &mut self,
        at: (u16, u8),
        followers: Followers,
        command: &str,
        key: &[u8],
        arguments: &[&[u8]],
    ) {
        let (group, count) = (self.group(), 2 + arguments.len());
        let recorder = Recorder::begin(&mut self.effects.buffer, at, followers, group, count);
        let recorder = recorder.argument(command.as_bytes()).argument(key);
        arguments.iter().copied().fold(recorder, Recorder::argument).end();
    }

    /// Records that no command has removed `key`. Within a transaction that is a part of it: what
    /// comes before and after belongs together.
    #[cold]
    #[inline(never)]
    pub(super) fn record_end(&mut self, at: (u16, u8), followers: Followers, key: &[u8]) {
        let group = self.group();
        let recorder = Recorder::begin(&mut self.effects.buffer, at, followers, group, 2);
        recorder.argument(b"DEL").argument(key).end();
    }

    /// Records what `key` holds now, of which so much has changed.
    #[cold]
    #[inline(never)]
    pub(super) fn record_state(
        &mut self,
        (slot, db): (u16, u8),
        followers: Followers,
        key: &[u8],
        changed: Changed,
    ) {
        let group = self.group();
        let Engine { slots, effects, .. } = self;
        let keyspace = slots[usize::from(slot)].as_deref().and_then(|it| it.data.keyspace(db));
        let hashed = ballast_storage::Key::new(key);
        let found = keyspace.and_then(|keys| Some((keys.find(&hashed)?, keys.meta(&hashed)?)));
        let to = To { slot, db, followers, group };
        let Some((value, meta)) = found else {
            return effects.begin(to, 2).argument(b"DEL").argument(key).end();
        };
        match (changed, meta.expiry, value) {
            (Changed::Expiry, None, _) => {
                effects.begin(to, 2).argument(b"PERSIST").argument(key).end();
            }
            (Changed::Expiry, Some(at_ms), _) => {
                effects.begin(to, 3).argument(b"PEXPIREAT").argument(key).number(at_ms).end();
            }
            (_, expiry, Value::Str(text)) => {
                with_expiry(
                    effects
                        .begin(to, words(3, expiry))
                        .argument(b"SET")
                        .argument(key)
                        .argument(text),
                    expiry,
                );
            }
            (_, expiry, Value::Int(number)) => {
                with_expiry(
                    effects
                        .begin(to, words(3, expiry))
                        .argument(b"SET")
                        .argument(key)
                        .number(number),
                    expiry,
                );
            }
            (_, expiry, value) => {
                let recorder = effects.begin(to, 6).argument(b"RESTORE").argument(key);
                let recorder = recorder.number(expiry.unwrap_or(0)).argument(&rdb::dump(value));
                recorder.argument(b"REPLACE").argument(b"ABSTTL").end();
            }
        }
    }

    /// Records a command on all slots, which are here.
    pub(crate) fn record_on_all(&mut self, db: u8, words: &[&[u8]]) {
        let followers = self.boxes().fold(0, |all, (_, boxed)| all | boxed.followers);
        if followers == 0 {
            return;
        }
        let (group, at) = (self.group(), (ALL_SLOTS, db));
        let recorder = Recorder::begin(&mut self.effects.buffer, at, followers, group, words.len());
        words.iter().copied().fold(recorder, Recorder::argument).end();
    }
}

/// How many words a `SET` of so many has with the key's expiry.
fn words(plain: usize, expiry: Option<i64>) -> usize {
    if expiry.is_some() { plain + 2 } else { plain }
}

/// Ends a `SET`.
fn with_expiry(recorder: Recorder<'_>, expiry: Option<i64>) {
    match expiry {
        Some(at_ms) => recorder.argument(b"PXAT").number(at_ms).end(),
        None => recorder.end(),
    }
}

/// A buffer begins with room for as much as the last had, up to this.
const RECORDED_BYTES: usize = 16 << 10;
