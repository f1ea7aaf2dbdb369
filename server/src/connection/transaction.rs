//! `MULTI`, `EXEC`, `DISCARD`, `WATCH`, `UNWATCH`: a transaction holds the slots of all its
//! commands, and of the keys it watches, while it runs.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use ballast_protocol::slot::key_slot;
use ballast_protocol::{CommandError, Reply};

use super::Connection;
use super::barrier::write_timeout;
use super::batch::Barrier;
use super::on_session::run_on_session;
use crate::commands::gather::Gathering;
use crate::commands::session::{Queued, Session, Transaction, WatchedKey};
use crate::commands::table::{CommandResult, Run, Step, flag};
use crate::engine::NO_SLOT;
use crate::node::blocked::Caller;
use crate::node::modes::Mode;
use crate::shard::ShardState;
use crate::shard::borrowing::{Slots, Want};
use crate::shard::gather::Holding;

impl Connection {
    pub(super) async fn transact(&mut self, step: Step, barrier: &Barrier) -> CommandResult {
        match step {
            Step::Multi => {
                if self.session.transaction.is_some() {
                    return Err(CommandError::NestedMulti);
                }
                self.session.transaction = Some(Transaction::default());
                self.session.client.queued.store(0, Relaxed);
                self.reply.ok();
            }
            Step::Discard => {
                if self.session.transaction.take().is_none() {
                    return Err(CommandError::DiscardWithoutMulti);
                }
                self.session.client.queued.store(-1, Relaxed);
                self.unwatch_all();
                self.reply.ok();
            }
            Step::Watch => {
                if self.session.transaction.is_some() {
                    return Err(CommandError::WatchInsideMulti);
                }
                self.watch(barrier).await;
                self.reply.ok();
            }
            Step::Unwatch => {
                self.unwatch_all();
                self.reply.ok();
            }
            Step::Reset => {
                self.unwatch_all();
                self.session.unsubscribe_all(&self.shard.shared.node);
                // Who could not keep up has lost what it listened to; it listens no more.
                let _ = self.append_pushed();
                let authenticated = self.shard.shared.config.load().requirepass.is_empty();
                self.session.reset(authenticated);
                self.reply.set_protocol(self.session.protocol);
                self.reply.simple("RESET");
            }
            Step::Exec => return self.exec().await,
        }
        Ok(())
    }

    async fn watch(&mut self, barrier: &Barrier) {
        if self.session.is_dirty() {
            // The transaction fails anyway; more watches would only cost.
            return;
        }
        let db = self.session.db;
        let keys: Vec<WatchedKey> = barrier
            .args
            .view()
            .from(1)
            .iter()
            .map(|key| WatchedKey { db, slot: key_slot(key), key: key.to_vec() })
            .filter(|key| !self.session.watching.contains(key))
            .collect();
        let dirty = Arc::clone(&self.session.dirty);
        self.with_slots(Want::Slots(barrier.slots.clone()), "watch", |state| {
            for watched in &keys {
                state.expire_key(watched.slot, watched.db, &watched.key);
                if let Some(boxed) = state.slot_mut(watched.slot) {
                    boxed.watchers.watch(watched.db, &watched.key, &dirty);
                }
            }
        })
        .await;
        self.session.watch(keys);
    }

    pub(super) fn unwatch_all(&mut self) {
        unwatch_all(&mut self.shard.state(), &mut self.session);
    }

    async fn exec(&mut self) -> CommandResult {
        let Some(transaction) = self.session.transaction.take() else {
            return Err(CommandError::ExecWithoutMulti);
        };
        self.session.client.queued.store(-1, Relaxed);
        if transaction.failed {
            self.unwatch_all();
            return Err(CommandError::ExecAbort);
        }
        if transaction.commands.iter().any(|queued| queued.command.has(flag::WRITE)) {
            self.wait_for_room().await;
        }
        let want = slots_of_transaction(&transaction, &self.session);
        let asks = |queued: &Queued| matches!(queued.command.run, Run::Gather(_));
        self.session.is_executing = true;
        let result = if transaction.commands.iter().any(asks) {
            self.exec_asking(&transaction, want).await
        } else {
            let mut reply = self.lend_reply();
            let stand_in = Session::new(Arc::clone(&self.session.client), true);
            let mut session = std::mem::replace(&mut self.session, stand_in);
            let execute = |state: &mut ShardState| {
                expire_watched(state, &session);
                if session.is_dirty() {
                    reply.null_array();
                    return Ok(());
                }
                check_room(state, &transaction)?;
                reply.array(transaction.commands.len());
                state.begin_group();
                for queued in &transaction.commands {
                    run_queued(state, &mut session, queued, &mut reply);
                }
                state.end_group();
                Ok(())
            };
            let result = self.with_slots(want, "transaction", execute).await;
            self.session = session;
            self.reply = reply;
            result
        };
        self.session.is_executing = false;
        self.shard.free_if_asked().await;
        self.unwatch_all();
        result
    }

    /// A transaction with commands that ask all threads (`INFO` and the like): its slots stay
    /// held, but aside, while they ask.
    async fn exec_asking(&mut self, transaction: &Transaction, want: Want) -> CommandResult {
        let shard = Rc::clone(&self.shard);
        let holding = Holding::new(&shard, shard.hold(want, "transaction").await);
        let client = self.session.client.id;
        let room = holding.with(|state| {
            state.begin_batch(client);
            expire_watched(state, &self.session);
            if self.session.is_dirty() { Ok(()) } else { check_room(state, transaction) }
        });
        if self.session.is_dirty() {
            self.reply.null_array();
        } else if room.is_ok() {
            self.reply.array(transaction.commands.len());
            for queued in &transaction.commands {
                let start = self.reply.len();
                if let Run::Gather(run) = queued.command.run {
                    let session = &mut self.session;
                    let gathering =
                        Gathering { threads: &holding, session, is_inside_transaction: true };
                    let started = Instant::now();
                    let result = run(gathering, queued.args.view(), &mut self.reply).await;
                    let mut state = self.shard.state();
                    state.begin_batch(client);
                    if let Err(error) = result {
                        state.failed(queued.command, &error, start, &mut self.reply);
                    }
                    state.ran(queued.command, queued.args.view(), started.elapsed());
                    show(&state, &self.session, queued);
                    continue;
                }
                holding.with(|state| {
                    state.begin_batch(client);
                    run_queued(state, &mut self.session, queued, &mut self.reply);
                });
            }
        }
        holding.give_back();
        room
    }
}

/// The slots that a transaction needs.
pub(super) fn slots_of_transaction(transaction: &Transaction, session: &Session) -> Want {
    let needs_all = |queued: &Queued| queued.command.needs_all_slots(queued.args.view());
    if transaction.commands.iter().any(needs_all) {
        return Want::All;
    }
    let mut slots: Slots = transaction
        .commands
        .iter()
        .flat_map(|queued| {
            let args = queued.args.view();
            queued.command.keys.slots(args).into_iter().chain(queued.command.slot(args))
        })
        .chain(session.watching.iter().map(|watched| watched.slot))
        .collect();
    slots.sort_unstable();
    slots.dedup();
    Want::Slots(slots)
}

/// Forgets the watched keys: here at once, elsewhere by a note that follows the slot.
pub(super) fn unwatch_all(state: &mut ShardState, session: &mut Session) {
    let dirty = std::mem::replace(&mut session.dirty, Arc::new(AtomicBool::new(false)));
    if session.watching.is_empty() {
        return;
    }
    for watched in session.take_watched() {
        let dirty = Arc::clone(&dirty);
        let slot = watched.slot;
        state.note(slot, move |boxed| boxed.watchers.unwatch(watched.db, &watched.key, &dirty));
    }
}

/// Removes the watched keys whose time is over, which tells all who watch them, this session among
/// them: a key that had expired already at `WATCH` was removed then.
fn expire_watched(state: &mut ShardState, session: &Session) {
    for watched in &session.watching {
        state.expire_key(watched.slot, watched.db, &watched.key);
    }
}

/// All of a transaction or nothing: it is refused as a whole when there is no memory for a command
/// of it that may need some.
fn check_room(state: &mut ShardState, transaction: &Transaction) -> CommandResult {
    let takes_memory = |queued: &Queued| queued.command.has(flag::DENYOOM);
    if !transaction.commands.iter().any(takes_memory) || state.make_room() {
        return Ok(());
    }
    let why = CommandError::Oom;
    Err(CommandError::other(format!("EXECABORT Transaction discarded because of: {why}")))
}

/// Shows a command that has been executed without the engine knowing to all who want to see it.
fn show(state: &ShardState, session: &Session, queued: &Queued) {
    if state.modes.has(Mode::Monitored) {
        state.show(queued.command, queued.args.view(), session.client.id, session.db);
    }
}

/// One command of a transaction whose slots are all here.
pub(super) fn run_queued(
    state: &mut ShardState,
    session: &mut Session,
    queued: &Queued,
    reply: &mut Reply,
) {
    let command = queued.command;
    let args = queued.args.view();
    match command.run {
        Run::Data(_) | Run::Spread(..) => {
            let named = command.keys.slots(args);
            // Where it names keys, the work is theirs, though it may expire others.
            let first = named.first().copied();
            let want = if command.needs_all_slots(args) { Want::All } else { Want::Slots(named) };
            let slots = want.slots();
            let first = first.or(slots.first().copied()).unwrap_or(NO_SLOT);
            let caller = Caller { may_block: false, ..session.caller() };
            let on = state.execute_slots(command, slots, first, args, caller, reply);
            state.book_barrier(first);
            if let Some(on) = on {
                write_timeout(on.on_timeout, reply);
            }
        }
        Run::Session(run) => run_on_session(state, session, (command, run), args, reply),
        // The watches end with the transaction anyway.
        Run::Transaction(Step::Unwatch) => {
            reply.ok();
            state.ran_on_session(command, args, None);
            show(state, session, queued);
        }
        Run::Gather(_) | Run::Transaction(_) | Run::Container => {
            reply.error("ERR command not allowed inside a transaction");
        }
    }
}
