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
use ballast_storage::{Key, Value, rdb};

use super::Engine;
use crate::node::append_only::Told;
use crate::node::effects::{ALL_SLOTS, Followers, record};

/// A buffer begins with room for as much as the last had, up to this.
const RECORDED_BYTES: usize = 16 << 10;

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

/// A group of effects that is not complete.
#[derive(Debug, Default)]
pub(crate) struct Suspended {
    group: u64,
    recorded: Vec<u8>,
}

impl Engine {
    /// Lets these follow the slots that are here, and nobody else. Answers who did before.
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

    /// Begins a group: whoever repeats what is done until [`Self::end_group`] does all of it or
    /// nothing.
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

    /// Sends what has been recorded to those who follow: before the state is let go, before a box
    /// leaves, and before another thread is sent something. A group goes as a whole, when it has
    /// ended.
    #[inline(always)]
    pub(crate) fn send_effects(&mut self) {
        if !self.effects.buffer.is_empty() && self.effects.transaction == 0 {
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

    /// Records a command.
    #[cold]
    #[inline(never)]
    pub(super) fn record<'w>(
        &mut self,
        at: (u16, u8),
        followers: Followers,
        words: impl ExactSizeIterator<Item = &'w [u8]>,
    ) {
        let group = self.group();
        record(&mut self.effects.buffer, at, followers, group, words);
    }

    /// Records that no command has removed `key`. Within a transaction that is a part of it: what
    /// comes before and after belongs together.
    pub(super) fn record_end(&mut self, at: (u16, u8), followers: Followers, key: &[u8]) {
        self.record(at, followers, [&b"DEL"[..], key].into_iter());
    }

    /// Records what `key` holds now, of which so much has changed.
    #[cold]
    #[inline(never)]
    pub(super) fn record_state(
        &mut self,
        at: (u16, u8),
        followers: Followers,
        key: &[u8],
        changed: Changed,
    ) {
        let group = self.group();
        let Engine { slots, effects, .. } = self;
        let boxed = slots[usize::from(at.0)].as_deref();
        let hashed = Key::new(key);
        let found = boxed.and_then(|boxed| {
            let keys = boxed.data.keyspace(at.1)?;
            Some((keys.find(&hashed)?, keys.meta(&hashed)?.expiry))
        });
        let mut record = |words: &[&[u8]]| {
            record(&mut effects.buffer, at, followers, group, words.iter().copied());
        };
        let Some((value, expiry)) = found else { return record(&[b"DEL", key]) };
        let mut digits = itoa::Buffer::new();
        let at_ms = expiry.map(|at_ms| digits.format(at_ms).as_bytes());
        match (changed, at_ms) {
            (Changed::Expiry, None) => return record(&[b"PERSIST", key]),
            (Changed::Expiry, Some(at_ms)) => return record(&[b"PEXPIREAT", key, at_ms]),
            _ => {}
        }
        let mut number = itoa::Buffer::new();
        let text = match value {
            Value::Str(text) => text,
            Value::Int(int) => number.format(int).as_bytes(),
            value => {
                let (at_ms, value) = (at_ms.unwrap_or(b"0"), rdb::dump(value));
                return record(&[b"RESTORE", key, at_ms, &value, b"REPLACE", b"ABSTTL"]);
            }
        };
        match at_ms {
            Some(at_ms) => record(&[b"SET", key, text, b"PXAT", at_ms]),
            None => record(&[b"SET", key, text]),
        }
    }

    /// Records a command on all slots, which are here.
    pub(crate) fn record_on_all(&mut self, db: u8, words: &[&[u8]]) {
        let followers = self.boxes().fold(0, |all, (_, boxed)| all | boxed.followers);
        if followers != 0 {
            self.record((ALL_SLOTS, db), followers, words.iter().copied());
        }
    }
}
