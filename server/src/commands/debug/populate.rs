//! `DEBUG POPULATE`: many string keys, made by the shards themselves.

use std::ops::Range;
use std::sync::Arc;

use ballast_protocol::slot::key_slot;
use ballast_protocol::{Args, CommandError, number};
use ballast_storage::{Key, STRING_MAX};

use super::visit;
use crate::commands::gather::Gathering;
use crate::engine::Engine;
use crate::engine::write::{Located, Usage};

/// Keys made in one slice.
const KEYS_PER_SLICE: u64 = 4096;
/// Bytes of values made in one slice.
const BYTES_PER_SLICE: u64 = 1 << 20;

/// What is to be made.
#[derive(Clone)]
pub(super) struct Populate {
    count: u64,
    prefix: Arc<[u8]>,
    size: Option<usize>,
}

impl Populate {
    pub(super) fn parse(args: Args<'_>) -> Result<Populate, CommandError> {
        let positive = |text: &[u8]| {
            let error = || CommandError::other("ERR value is out of range, must be positive");
            number::parse_i64(text).and_then(|value| u64::try_from(value).ok()).ok_or_else(error)
        };
        let size = args.get(2).map(positive).transpose()?;
        let fits = |size| usize::try_from(size).ok().filter(|size| *size <= STRING_MAX);
        let size = size.map(|size| fits(size).ok_or(CommandError::ValueOutOfRange)).transpose()?;
        Ok(Populate {
            count: positive(args.at(0))?,
            prefix: args.get(1).unwrap_or(b"key").into(),
            size,
        })
    }

    /// The numbers of the keys, in slices of bounded work.
    pub(super) fn parts(&self) -> impl Iterator<Item = Range<u64>> + use<> {
        let value = self.size.unwrap_or(0) as u64 + 64;
        let step = (BYTES_PER_SLICE / value).clamp(1, KEYS_PER_SLICE);
        let count = self.count;
        (0..count.div_ceil(step)).map(move |part| part * step..count.min((part + 1) * step))
    }

    fn key(&self, number: u64) -> Vec<u8> {
        let mut key = self.prefix.to_vec();
        key.extend_from_slice(format!(":{number}").as_bytes());
        key
    }

    /// `value:N`, cut or filled with zero bytes to the size.
    fn value(&self, number: u64) -> Vec<u8> {
        let mut value = format!("value:{number}").into_bytes();
        if let Some(size) = self.size {
            value.resize(size, 0);
        }
        value
    }

    /// Makes the keys of one slice, each on its shard.
    pub(super) async fn run(
        &self,
        cx: &Gathering<'_>,
        db: u8,
        numbers: Range<u64>,
    ) -> Result<(), CommandError> {
        let (populate, there) = (self.clone(), numbers.clone());
        let made = cx
            .each_shard(move |state| {
                state.tick();
                let make = |number| populate.make(state, db, number);
                there.clone().map(make).collect::<Vec<bool>>()
            })
            .await;
        for (at, number) in numbers.enumerate() {
            if !made.iter().any(|made| made[at]) {
                // Its slot was on its way, or in a transaction.
                let populate = self.clone();
                let slot = key_slot(&self.key(number));
                visit::one(cx, slot, move |state| populate.make(state, db, number)).await?;
            }
        }
        Ok(())
    }

    /// Makes the keys of one slice where all slots are here.
    pub(super) fn run_here(&self, engine: &mut Engine, db: u8, numbers: Range<u64>) {
        for number in numbers {
            self.make(engine, db, number);
        }
    }

    /// Makes one key unless it exists. False if its slot is not here.
    fn make(&self, engine: &mut Engine, db: u8, number: u64) -> bool {
        let key = self.key(number);
        let slot = key_slot(&key);
        if !engine.has(slot) {
            return false;
        }
        let mut write = engine.write(db, Located { slot, key: Key::new(&key) }, Usage::Ignored);
        if write.meta().is_none() {
            write.set_string(&self.value(number), None);
            write.changed("set");
        }
        true
    }
}
