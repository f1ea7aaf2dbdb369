//! Runs commands on the boxes that are here, with everything that goes with each: the memory
//! limit, statistics, the slot's account of work, blocked commands that it makes ready.

use std::time::Instant;

use ballast_protocol::{Args, CommandError, Reply};
use ballast_storage::ACCOUNTS;

use super::ShardState;
use super::lending::Absent;
use super::message::{Caller, Message, RemoteBatch};
use super::prefetch::AHEAD_MAX;
use super::waits::Outcome;
use crate::commands::context::{BlockOn, Data, Routed};
use crate::commands::table::{Command, Run, flag};
use crate::connection::REPLY_BYTES;
use crate::ids::{ClientId, ShardId};

/// More commands than this, or more bytes of them, are left to the thread of their shard, though
/// it has to be woken: it then works beside this one.
const ON_BEHALF_MAX: usize = 16;
const ON_BEHALF_BYTES_MAX: usize = 64 << 10;

/// A slot number for commands without keys.
pub(crate) const NO_SLOT: u16 = u16::MAX;

impl ShardState {
    /// Executes a command all of whose slots are here. If it wants to block, `self.blocked` says
    /// so; otherwise the reply has been written.
    ///
    /// `slot` is that of its first key, or [`NO_SLOT`].
    pub(crate) fn execute(
        &mut self,
        command: &'static Command,
        slot: u16,
        args: Args<'_>,
        caller: Caller,
        reply: &mut Reply,
    ) {
        self.execute_routed(command, Routed::new(args, slot), args, caller, reply);
    }

    /// [`Self::execute`] for the one caller through which nearly all commands come, which knows
    /// the hash of the key already.
    #[inline(always)]
    pub(crate) fn execute_routed(
        &mut self,
        command: &'static Command,
        routed: Routed,
        args: Args<'_>,
        caller: Caller,
        reply: &mut Reply,
    ) {
        if self.slots_bytes > self.limit_bytes && command.has(flag::DENYOOM) && !self.make_room() {
            return self.out_of_memory(command, reply);
        }
        self.execute_admitted(command, routed, args, caller, reply);
    }

    /// [`Self::execute`] when there is memory for it.
    #[inline(always)]
    fn execute_admitted(
        &mut self,
        command: &'static Command,
        routed: Routed,
        args: Args<'_>,
        caller: Caller,
        reply: &mut Reply,
    ) {
        let (Run::Data(run) | Run::Spread(run, _)) = command.run else {
            return reply.error("ERR command cannot run here");
        };
        let timed = self.begin_timing(command);
        let slot = routed.slot;
        let boxed = self.slots.get(usize::from(slot)).and_then(Option::as_deref);
        let before_bytes = boxed.filter(|_| ACCOUNTS).map_or(0, |boxed| boxed.data.bytes());
        let start = reply.len();
        let mut data = Data::new(self, caller, command, routed);
        if let Err(error) = run(&mut data, args, reply) {
            self.failed(command, &error, start, reply);
        }
        self.counters.commands.add(1);
        if slot != NO_SLOT {
            self.account(command, slot, before_bytes, timed, args, reply.len() - start);
        }
    }

    #[cold]
    fn out_of_memory(&mut self, command: &'static Command, reply: &mut Reply) {
        reply.command_error(&CommandError::Oom);
        self.count_error(&CommandError::Oom);
        self.statistics.rejected(command);
    }

    #[cold]
    fn failed(
        &mut self,
        command: &'static Command,
        error: &CommandError,
        start: usize,
        reply: &mut Reply,
    ) {
        reply.truncate(start);
        reply.command_error(error);
        self.count_error(error);
        self.statistics.failed(command);
    }

    /// [`Self::execute`] for a command with keys in several slots, all of which are here. The
    /// first of its slots gets the credit for the work.
    pub(crate) fn execute_slots(
        &mut self,
        command: &'static Command,
        slots: &[u16],
        first: u16,
        args: Args<'_>,
        caller: Caller,
        reply: &mut Reply,
    ) -> Option<BlockOn> {
        if let [slot] = slots {
            self.execute(command, *slot, args, caller, reply);
            return self.blocked.take();
        }
        // Before the bytes are counted: what is evicted from these very slots is accounted for.
        if self.slots_bytes > self.limit_bytes && command.has(flag::DENYOOM) && !self.make_room() {
            self.out_of_memory(command, reply);
            return None;
        }
        let bytes = |state: &ShardState| -> u64 {
            slots.iter().filter_map(|slot| state.slot(*slot)).map(|boxed| boxed.data.bytes()).sum()
        };
        let before_bytes = bytes(self);
        let start = reply.len();
        let started = Instant::now();
        self.execute_admitted(command, Routed::NOWHERE, args, caller, reply);
        let blocked = self.blocked.take();
        let after_bytes = bytes(self);
        self.slots_bytes = self.slots_bytes.wrapping_add(after_bytes.wrapping_sub(before_bytes));
        let timed = Some((started, 1));
        if first == NO_SLOT {
            self.statistics.called(command);
        } else {
            let now_bytes = self.slot(first).map_or(0, |boxed| boxed.data.bytes());
            self.account(command, first, now_bytes, timed, args, reply.len() - start);
        }
        blocked
    }

    /// Begins a batch of `client`'s commands: reads the clock once for all of them.
    #[inline]
    pub(crate) fn begin_batch(&mut self, client: ClientId) {
        self.begin_batch_at(client, self.shared.clock.wall_ms());
    }

    /// [`Self::begin_batch`] at a time that has been read already.
    #[inline]
    pub(crate) fn begin_batch_at(&mut self, client: ClientId, now_ms: i64) {
        self.now_ms = now_ms;
        self.running = client;
        // Not what travels, or is here with a transaction only: cron counts that.
        if self.lent.is_empty() {
            self.counters.slots_bytes.set(self.slots_bytes);
        }
        let version = self.shared.config.version();
        if version != self.config_version {
            self.take_config(version);
        }
    }

    /// Starts the clock for a slow command or a sampled fast one: the start, and for how many
    /// commands it counts.
    #[inline(always)]
    fn begin_timing(&mut self, command: &'static Command) -> Option<(Instant, u32)> {
        if !command.is_quick() {
            return Some((Instant::now(), 1));
        }
        self.sample = self.sample.wrapping_add(1);
        let mask = self.statistics.sample_mask;
        (self.sample & mask == 0).then(|| (Instant::now(), mask + 1))
    }

    /// Writes what the command has done into the slot's and the shard's books.
    #[inline(always)]
    fn account(
        &mut self,
        command: &'static Command,
        slot: u16,
        before_bytes: u64,
        timed: Option<(Instant, u32)>,
        args: Args<'_>,
        reply_bytes: usize,
    ) {
        let Some(boxed) = self.slots[usize::from(slot)].as_deref_mut() else { return };
        if ACCOUNTS {
            let work = &mut boxed.work;
            work.commands += 1;
            // As it came: from its first argument to the end of its last.
            work.net_in_bytes += args.span().len() as u64;
            work.net_out_bytes += reply_bytes as u64;
            let grown = boxed.data.bytes().wrapping_sub(before_bytes);
            self.slots_bytes = self.slots_bytes.wrapping_add(grown);
        }
        match timed {
            None => self.statistics.called(command),
            Some((start, weight)) => self.account_time(command, slot, start, weight, args),
        }
    }

    #[cold]
    fn account_time(
        &mut self,
        command: &'static Command,
        slot: u16,
        start: Instant,
        weight: u32,
        args: Args<'_>,
    ) {
        let ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let weighted_ns = ns.saturating_mul(u64::from(weight));
        if let Some(boxed) = self.slots[usize::from(slot)].as_deref_mut() {
            boxed.work.cpu_ns += weighted_ns;
        }
        self.statistics.timed(command, ns, weighted_ns, self.now_ms);
        if self.statistics.is_slow(ns) && !command.has(flag::SKIP_SLOWLOG) {
            self.log_slow(ns, args);
        }
    }

    /// Takes over the configuration that `CONFIG SET` has changed.
    pub(crate) fn take_config(&mut self, version: u64) {
        self.config_version = version;
        self.config = self.shared.config.load();
        let slow_max = usize::try_from(self.config.slowlog_max_len).unwrap_or(usize::MAX);
        let slower_than_us = self.config.slowlog_log_slower_than_us;
        let latency_ms = self.config.latency_monitor_threshold_ms;
        self.statistics.configure(slower_than_us, slow_max, latency_ms);
        self.limits = crate::commands::limits(&self.config);
        self.counts_uses = self.config.maxmemory_policy.is_lfu();
        self.refresh_memory_limit();
    }

    /// Counts an error reply.
    pub(crate) fn count_error(&mut self, error: &CommandError) {
        self.counters.error_replies.add(1);
        self.statistics.error(error);
    }

    /// Goes on with a batch of another shard's connection until it is done, or something it
    /// needs is not here.
    pub(crate) fn continue_batch(&mut self, mut batch: Box<RemoteBatch>) {
        match self.run_batch(&mut batch).map(|slot| (slot, self.absent(slot))) {
            Some((slot, Absent::Lent)) => self.park_batch(slot, batch),
            Some((_, Absent::OnItsWay)) => self.send(self.id, Message::Batch(batch)),
            Some((_, Absent::Elsewhere)) | None => self.answer_batch(batch),
        }
    }

    /// Executes the next commands of a batch: all, or until there are enough replies to be sent, or
    /// a slot is needed that is not here: that is what it returns.
    fn run_batch(&mut self, batch: &mut RemoteBatch) -> Option<u16> {
        self.begin_batch(batch.caller.client);
        let mut reply = Reply::new(batch.caller.protocol);
        reply.resume(std::mem::take(&mut batch.replies));
        let mut loaded = 0;
        while let Some(next) = batch.commands.get(batch.done).copied() {
            if !self.has(next.slot) {
                batch.replies = reply.take();
                return Some(next.slot);
            }
            if batch.done >= loaded {
                loaded = self.load_some(batch);
            }
            let (args, routed) = (batch.args(batch.done), batch.routed(batch.done));
            self.execute_routed(next.command, routed, args, batch.caller, &mut reply);
            debug_assert!(self.blocked.is_none(), "blocking commands do not travel in batches");
            batch.ends.push(reply.len());
            batch.done += 1;
            if !self.ready.is_empty() {
                self.serve_ready();
            }
            if reply.len() > REPLY_BYTES {
                // Long replies take time and memory: the connection sends these first.
                break;
            }
        }
        batch.replies = reply.take();
        None
    }

    /// Executes a quick batch of this shard's connection on the shard `of`, if that is free.
    /// False: it has to be sent there.
    pub(crate) fn run_on_behalf(&mut self, of: ShardId, batch: &mut RemoteBatch) -> bool {
        let is_quick = batch.commands.len() <= ON_BEHALF_MAX
            && batch.bytes.len() <= ON_BEHALF_BYTES_MAX
            && batch.commands.iter().all(|next| next.command.is_quick());
        if !is_quick {
            return false;
        }
        let ran = self.on_behalf(of, |other| {
            other.run_batch(batch);
        });
        ran.is_some()
    }

    /// Has loaded what the next commands of a batch will read; returns for how many of all.
    fn load_some(&self, batch: &RemoteBatch) -> usize {
        let end = batch.commands.len().min(batch.done + AHEAD_MAX);
        let next = &batch.commands[batch.done..end];
        next.iter().for_each(|command| self.load_box(command.slot));
        self.load_keys(batch.caller.db, next.iter().map(|command| (command.slot, command.hash)));
        end
    }

    /// Sends a batch home, as far as it was executed.
    fn answer_batch(&mut self, batch: Box<RemoteBatch>) {
        if batch.origin == self.id {
            self.batch_done(batch);
        } else {
            self.send(batch.origin, Message::BatchDone(batch));
        }
    }

    /// A batch of this shard's connection is back.
    pub(crate) fn batch_done(&mut self, batch: Box<RemoteBatch>) {
        let token = batch.token;
        if let Some(Outcome::Batch(batch)) = self.waits.complete(token, Outcome::Batch(batch)) {
            self.recycle(batch);
        }
    }
}
