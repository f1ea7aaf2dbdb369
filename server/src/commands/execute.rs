//! Runs commands on the boxes that are here, with everything that goes with each: the memory
//! limit, statistics, the slot's account of work.

use std::time::{Duration, Instant};

use ballast_protocol::{Args, CommandError, Reply};
use ballast_storage::ACCOUNTS;

use crate::commands::context::{Data, Routed};
use crate::commands::redaction::secrets;
use crate::commands::table::{Command, Run, flag};
use crate::engine::hot_keys::HotKeys;
use crate::engine::waiters::BlockOn;
use crate::engine::{Engine, Long, NO_SLOT};
use crate::node::blocked::Caller;
use crate::node::modes::Mode;

/// Whether a command was executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ran {
    /// It was, and has replied.
    Done,
    /// It turned out to take long while another thread runs it on behalf of the shard's own: it has
    /// done nothing, and is for the shard's own thread.
    Left,
}

impl Engine {
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
        self.execute_routed(command, Routed::to(slot).with(args), args, caller, reply);
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
    ) -> Ran {
        if self.is_lease_over() && !self.admit(command) {
            self.out_of_memory(command, reply);
            return Ran::Done;
        }
        self.execute_admitted(command, routed, args, caller, reply)
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
    ) -> Ran {
        let (Run::Data(run) | Run::Spread(run, _)) = command.run else {
            reply.error("ERR command cannot run here");
            return Ran::Done;
        };
        let mut timed = self.begin_timing(command, routed, args);
        let slot = routed.slot;
        let start = reply.len();
        if let Err(error) = run(&mut Data::new(self, caller, command, args, routed), args, reply) {
            if self.long == Long::Unmet {
                self.failed(command, &error, start, reply);
            } else {
                let Some(started) = self.begin_anew(start, reply) else { return Ran::Left };
                timed = Some((started, 1));
                let mut data = Data::new(self, caller, command, args, routed);
                let done = run(&mut data, args, reply);
                self.long = Long::Unmet;
                if let Err(error) = done {
                    self.failed(command, &error, start, reply);
                }
            }
        }
        self.counters.commands.add(1);
        if self.modes.has(Mode::Monitored) {
            self.show(command, args, caller.client, caller.db);
        }
        if slot != NO_SLOT {
            self.account(command, slot, timed, args, reply.len() - start);
        }
        Ran::Done
    }

    /// Whether a command has to wait until there is room for what it may write. What it asks for is
    /// made in slices meanwhile, so that others have their turns.
    #[inline(always)]
    pub(crate) fn postpones(&mut self, command: &'static Command) -> bool {
        self.is_lease_over() && self.postpones_write(command)
    }

    #[cold]
    fn postpones_write(&mut self, command: &'static Command) -> bool {
        command.has(flag::WRITE) && self.must_wait_for_room()
    }

    /// Makes room for a command that writes. False if there is none for one that needs some.
    #[cold]
    fn admit(&mut self, command: &'static Command) -> bool {
        !command.has(flag::WRITE) || self.make_room() || !command.has(flag::DENYOOM)
    }

    #[cold]
    fn out_of_memory(&mut self, command: &'static Command, reply: &mut Reply) {
        reply.command_error(&CommandError::Oom);
        self.count_error(&CommandError::Oom);
        self.statistics.rejected(command.id);
    }

    /// Replaces the reply of a command by the error that it ended in.
    #[cold]
    pub(crate) fn failed(
        &mut self,
        command: &'static Command,
        error: &CommandError,
        start: usize,
        reply: &mut Reply,
    ) {
        reply.truncate(start);
        reply.command_error(error);
        self.count_error(error);
        self.statistics.failed(command.id);
    }

    /// Lets a call that has met a long value be executed anew from now on; or, if it runs on behalf
    /// of the shard's own thread, leaves it to that.
    #[cold]
    fn begin_anew(&mut self, start: usize, reply: &mut Reply) -> Option<Instant> {
        reply.truncate(start);
        self.left = self.on_behalf;
        self.long = if self.left { Long::Unmet } else { Long::Allowed };
        (!self.left).then(Instant::now)
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
        if self.is_lease_over() && !self.admit(command) {
            self.out_of_memory(command, reply);
            return None;
        }
        let start = reply.len();
        let started = Instant::now();
        if self.execute_admitted(command, Routed::NOWHERE, args, caller, reply) == Ran::Left {
            return None;
        }
        let blocked = self.blocked.take();
        let timed = Some((started, 1));
        if first == NO_SLOT {
            self.statistics.called(command.id);
        } else {
            self.account(command, first, timed, args, reply.len() - start);
        }
        blocked
    }

    /// Starts the clock: for some of the calls whose cost is constant, and for all others.
    #[inline(always)]
    pub(crate) fn begin_timing(
        &mut self,
        command: &'static Command,
        routed: Routed,
        args: Args<'_>,
    ) -> Option<(Instant, u32)> {
        if !command.is_constant(args.len()) || !routed.is_short {
            return Some((Instant::now(), 1));
        }
        let weight = self.statistics.begin_sample(command.id)?;
        Some((Instant::now(), weight))
    }

    /// Writes what the command has done into the slot's and the shard's books.
    #[inline(always)]
    fn account(
        &mut self,
        command: &'static Command,
        slot: u16,
        timed: Option<(Instant, u32)>,
        args: Args<'_>,
        reply_bytes: usize,
    ) {
        let Some(boxed) = self.slot_mut(slot) else { return };
        if ACCOUNTS {
            let work = &mut boxed.work;
            work.commands += 1;
            // As it came: from its first argument to the end of its last.
            work.net_in_bytes += args.span().len() as u64;
            work.net_out_bytes += reply_bytes as u64;
        }
        match timed {
            None => self.statistics.called(command.id),
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
        if let Some(boxed) = self.slot_mut(slot) {
            boxed.work.cpu_ns += weighted_ns;
            if let Some(hot_keys) = &mut boxed.hot_keys {
                count_key(hot_keys, command, args, weight);
            }
        }
        self.statistics.timed(command.id, command.event(), ns, weight, self.now_ms);
        if self.statistics.is_slow(ns) && !command.has(flag::SKIP_SLOWLOG) {
            self.log_slow(ns, args, &secrets(command, args));
        }
    }

    /// Books a command that ran outside of [`Self::execute`], with all that it waited for.
    pub(crate) fn ran(&mut self, command: &'static Command, args: Args<'_>, took: Duration) {
        self.counters.commands.add(1);
        self.ran_for(command, args, took, 1);
    }

    fn ran_for(&mut self, command: &'static Command, args: Args<'_>, took: Duration, weight: u32) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.statistics.timed(command.id, command.event(), ns, weight, self.now_ms);
        if self.statistics.is_slow(ns) && !command.has(flag::SKIP_SLOWLOG) {
            self.log_slow(ns, args, &secrets(command, args));
        }
    }

    /// Books a command that ran on the session, timed or not as [`Self::begin_timing`] says.
    pub(crate) fn ran_on_session(
        &mut self,
        command: &'static Command,
        args: Args<'_>,
        timed: Option<(Instant, u32)>,
    ) {
        self.counters.commands.add(1);
        match timed {
            None => self.statistics.called(command.id),
            Some((started, weight)) => self.ran_for(command, args, started.elapsed(), weight),
        }
    }

    /// Counts an error reply.
    pub(crate) fn count_error(&mut self, error: &CommandError) {
        self.counters.error_replies.add(1);
        self.statistics.error(error);
    }
}

/// Counts a command for its first key.
#[cold]
fn count_key(hot_keys: &mut HotKeys, command: &'static Command, args: Args<'_>, weight: u32) {
    let mut first = None;
    command.keys.each(args, |at| first = first.or(Some(at)));
    if let Some(at) = first {
        hot_keys.count(args.at(at), weight.into());
    }
}
