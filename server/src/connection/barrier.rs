//! Commands that run alone: those that need slots of several shards, block, or ask all threads.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Instant;

use ballast_protocol::slot::key_slot;
use ballast_protocol::{CommandError, Reply};
use smallvec::SmallVec;

use super::batch::Barrier;
use super::on_session::run_on_session;
use super::{Connection, End};
use crate::commands::gather::Gathering;
use crate::commands::table::{KeySpec, Run, flag};
use crate::engine::NO_SLOT;
use crate::engine::waiters::{BlockOn, OnTimeout};
use crate::node::blocked::{Blocked, Caller, Cancelled, Token, WaitKey, WaitState, Waiter};
use crate::node::modes::Mode;
use crate::shard::borrowing::Want;
use crate::shard::waits::Outcome;
use crate::shard::{Shard, ShardState};

impl Connection {
    /// Runs a command alone.
    pub(super) async fn pass(&mut self, barrier: Barrier) -> Result<(), End> {
        let mut start = self.reply.len();
        let command = barrier.command;
        match command.run {
            Run::Data(_) => start = self.pass_data(&barrier).await?,
            Run::Session(run) => {
                let mut state = self.shard.state();
                let (session, args) = (&mut self.session, barrier.args.view());
                run_on_session(&mut state, session, (command, run), args, &mut self.reply);
            }
            Run::Gather(run) | Run::Spread(_, run) => {
                let started = Instant::now();
                let gathering = Gathering {
                    threads: &*self.shard,
                    session: &mut self.session,
                    is_inside_transaction: false,
                };
                let result = run(gathering, barrier.args.view(), &mut self.reply).await;
                self.finish(&barrier, started, start, result);
            }
            Run::Transaction(step) => {
                let started = Instant::now();
                let result = self.transact(step, &barrier).await;
                self.finish(&barrier, started, start, result);
            }
            Run::Container => {}
        }
        self.reply.set_protocol(self.session.protocol);
        if !self.session.wants_reply() {
            self.reply.truncate(start);
        }
        Ok(())
    }

    /// Books a command that ran alone, and writes its error, if it ended in one.
    fn finish(
        &mut self,
        barrier: &Barrier,
        started: Instant,
        start: usize,
        result: Result<(), CommandError>,
    ) {
        let command = barrier.command;
        let mut state = self.shard.state();
        state.begin_batch(self.session.client.id);
        if let Err(error) = result {
            state.failed(command, &error, start, &mut self.reply);
        }
        state.ran(command, barrier.args.view(), started.elapsed());
        if state.modes.has(Mode::Monitored) {
            let (client, db) = (self.session.client.id, self.session.db);
            state.show(command, barrier.args.view(), client, db);
        }
    }

    /// A command on keys. Answers where its reply begins: what was before it in the buffer has been
    /// sent if the command waited.
    async fn pass_data(&mut self, barrier: &Barrier) -> Result<usize, End> {
        let mut start = self.reply.len();
        if barrier.command.has(flag::WRITE) {
            self.wait_for_room().await;
        }
        let want = barrier.want();
        let caller = self.session.caller();
        let mut reply = self.lend_reply();
        let client = &self.session.client;
        let shard = Rc::clone(&self.shard);
        let blocked = self
            .with_slots(want.clone(), "command", |state| {
                let wait = barrier.execute(state, &want, caller, &mut reply)?;
                client.blocked.lock().replace(wait.waiter.clone());
                Some(wait)
            })
            .await;
        self.reply = reply;
        self.shard.free_if_asked().await;
        if let Some(wait) = blocked {
            shard.state().counters.blocked_clients.add(1);
            self.waiting_bytes = barrier.args.view().bytes();
            let ended = self.wait_blocked(&wait).await;
            self.waiting_bytes = 0;
            shard.state().counters.blocked_clients.sub(1);
            self.session.client.blocked.lock().take();
            start = self.reply.len();
            self.reply.append(Reply::from(ended?));
        }
        Ok(start)
    }

    /// Before slots are held: waits until there is room in memory, or none can be made.
    pub(super) async fn wait_for_room(&self) {
        while !self.session.client.is_killed() && self.shard.state().must_wait_for_room() {
            tokio::task::yield_now().await;
        }
    }

    /// Takes the reply buffer out, for a closure that writes to it.
    pub(super) fn lend_reply(&mut self) -> Reply {
        std::mem::replace(&mut self.reply, Reply::new(self.session.protocol))
    }

    /// [`with_slots`](crate::shard::Shard::with_slots) for this connection.
    pub(super) async fn with_slots<R>(
        &self,
        want: Want,
        reason: &'static str,
        work: impl FnOnce(&mut ShardState) -> R,
    ) -> R {
        self.shard.with_slots(self.session.client.id, want, reason, work).await
    }
}

impl Barrier {
    /// The slots that it needs.
    pub(super) fn want(&self) -> Want {
        if self.command.needs_all_slots(self.args.view()) {
            Want::All
        } else {
            Want::Slots(self.slots.clone())
        }
    }

    /// Executes a command on keys, all of whose slots are here. Answers with the wait that it
    /// begins.
    pub(super) fn execute(
        &self,
        state: &mut ShardState,
        want: &Want,
        caller: Caller,
        reply: &mut Reply,
    ) -> Option<Wait> {
        let (args, needed) = (self.args.view(), want.slots());
        // Where it names keys, the work is theirs, though it may expire others.
        let first = self.slots.first().or(needed.first()).copied().unwrap_or(NO_SLOT);
        let on = state.execute_slots(self.command, needed, first, args, caller, reply);
        state.book_barrier(first);
        Some(begin_wait(state, self, caller, &on?))
    }
}

/// A connection's part of a wait for keys.
pub(super) struct Wait {
    waiter: Waiter,
    pub(super) token: Token,
    /// Of the monotonic clock; `None`: it waits for ever.
    end_ms: Option<u64>,
    pub(super) on_timeout: OnTimeout,
}

impl Wait {
    /// Ends it from the connection's side; empty unless the command was executed after all.
    pub(super) async fn cancel(&self, shard: &Shard) -> Vec<u8> {
        match self.waiter.cancel() {
            Cancelled::Now => {
                let mut state = shard.state();
                state.waits.close(self.token);
                state.forget_waiter(&self.waiter);
                Vec::new()
            }
            Cancelled::Confirmed | Cancelled::TooLate => match shard.outcome(self.token).await {
                Outcome::Unblocked(reply) => reply,
                Outcome::Batch(_) | Outcome::Held(_) => Vec::new(),
            },
        }
    }
}

/// Registers the command with its keys, all of whose slots are here.
fn begin_wait(state: &mut ShardState, barrier: &Barrier, caller: Caller, on: &BlockOn) -> Wait {
    let token = state.waits.open();
    let args = barrier.args.view();
    let wait =
        |at: &usize| WaitKey { slot: key_slot(args.at(*at)), key: args.at(*at).into(), at: *at };
    let mut others = SmallVec::new();
    barrier.command.keys.each(args, |at| {
        if !on.keys.contains(&at) {
            others.push(key_slot(args.at(at)));
        }
    });
    let waiter = Waiter::new(Blocked {
        state: WaitState::default(),
        origin: state.id,
        token,
        caller,
        command: barrier.command.id,
        args: barrier.args.clone(),
        keys: on.keys.iter().map(wait).collect(),
        others,
        count_at: match barrier.command.keys {
            KeySpec::Counted { count, .. } => Some(count),
            _ => None,
        },
    });
    state.wait_for_keys(&waiter);
    let now_ms = state.shared.clock.mono_ms();
    let end_ms = (on.timeout_ms > 0).then(|| now_ms.saturating_add(on.timeout_ms));
    Wait { waiter, token, end_ms, on_timeout: on.on_timeout }
}

/// What ends a wait for keys, as the connection sees it.
enum Event {
    Outcome(Vec<u8>),
    Gone(End),
}

impl Connection {
    /// Waits until the command is executed, its time is over or the client is gone. Answers the
    /// encoded reply.
    async fn wait_blocked(&mut self, wait: &Wait) -> Result<Vec<u8>, End> {
        self.park_input();
        self.account();
        // What the client has waiting for must be sent before it waits.
        if let Err(end) = self.send() {
            wait.cancel(&self.shard).await;
            return Err(end);
        }
        let shared = Arc::clone(&self.shard.shared);
        let timer = async {
            match wait.end_ms {
                Some(end_ms) => shared.clock.sleep_until(end_ms).await,
                None => std::future::pending().await,
            }
        };
        let mut timer = std::pin::pin!(timer);
        let event = poll_fn(|context| {
            if let Poll::Ready(event) = self.poll_blocked(wait.token, context) {
                return Poll::Ready(Some(event));
            }
            timer.as_mut().poll(context).map(|()| None)
        })
        .await;
        match event {
            Some(Event::Outcome(reply)) => Ok(self.unblocked_reply(wait, reply)),
            Some(Event::Gone(end)) => {
                wait.cancel(&self.shard).await;
                Err(end)
            }
            None => {
                let reply = wait.cancel(&self.shard).await;
                Ok(self.unblocked_reply(wait, reply))
            }
        }
    }

    /// The outcome, or the end of the stream.
    fn poll_blocked(&mut self, token: Token, context: &mut Context<'_>) -> Poll<Event> {
        // First: the end of its wait is no reply to a client that is killed.
        if self.session.client.is_killed() {
            return Poll::Ready(Event::Gone(End::Closed));
        }
        if let Poll::Ready(Outcome::Unblocked(reply)) =
            self.shard.state().waits.poll(token, context.waker())
        {
            return Poll::Ready(Event::Outcome(reply));
        }
        if self.session.client.is_pushed()
            && let Err(end) = self.send_pushed()
        {
            return Poll::Ready(Event::Gone(end));
        }
        if self.outbox.is_some()
            && let Err(end) = self.poll_send(context)
        {
            return Poll::Ready(Event::Gone(end));
        }
        self.poll_read_ahead(context).map(Event::Gone)
    }

    /// The reply, or what stands for one when the wait ended without.
    fn unblocked_reply(&self, wait: &Wait, reply: Vec<u8>) -> Vec<u8> {
        if !reply.is_empty() {
            return reply;
        }
        let mut reply = Reply::new(self.session.protocol);
        if self.session.client.unblock_error.swap(false, Relaxed) {
            reply.error("UNBLOCKED client unblocked via CLIENT UNBLOCK");
        } else {
            write_timeout(wait.on_timeout, &mut reply);
        }
        reply.take()
    }
}

/// The reply of a blocking command that got nothing.
pub(crate) fn write_timeout(on_timeout: OnTimeout, reply: &mut Reply) {
    match on_timeout {
        OnTimeout::NullArray => reply.null_array(),
        OnTimeout::Null => reply.null(),
    }
}
