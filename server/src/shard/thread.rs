//! A shard's thread: its runtime, its mailbox loop, its connections, its cron.

use std::io;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::LocalOptions;

use super::message::Message;
use super::pace::Pace;
use super::{Shard, ShardState};
use crate::engine::snapshot::Walked;
use crate::ids::ShardId;
use crate::node::memory::Starting;
use crate::shard::shared::Shared;

/// Messages handled before connections get their turn again.
const MESSAGES_PER_TURN: usize = 256;
/// A shard that has nothing left to walk looks this often whether a box has come that has.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Starts the thread of a shard; it drops `ready` when it has its slots, or first says there why
/// it cannot run.
pub(crate) fn spawn(
    id: ShardId,
    shared: Arc<Shared>,
    ready: mpsc::Sender<io::Error>,
) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(format!("ballast-{id}")).spawn(move || {
        let _guard = StopOnPanic(Arc::clone(&shared));
        let starting = Starting::begin();
        let ended = Arc::clone(&shared);
        let shard = Rc::new(Shard::new(id, shared));
        let shared = Arc::clone(&shard.shared);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            // Look for sockets and timers often enough that a busy mailbox cannot starve them.
            .event_interval(61)
            .on_thread_park(move || shared.mailboxes[id.index()].wake_for_quiet())
            .build_local(LocalOptions::default());
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return drop(ready.send(error)),
        };
        runtime.block_on(async {
            tokio::task::spawn_local(cron(Rc::clone(&shard)));
            tokio::task::spawn_local(walk(Rc::clone(&shard)));
            // What a runtime needs at all it takes with its first task and timer.
            tokio::task::yield_now().await;
            starting.end(&shard.shared.overheads);
            drop(ready);
            run(shard).await;
        });
        // Closes the connections that are left; the slots go with the last of its tasks.
        drop(runtime);
        ended.append_only.shard_ended();
        // The program may go on without this server. The last shard to end gives back all of it.
        ballast_storage::memory::purge();
    })
}

/// Ends the process in order if the thread, or a task of it, panics: a shard that no longer
/// answers, or whose books are wrong, would hold up the clients of all others for ever.
pub(crate) struct StopOnPanic(pub(crate) Arc<Shared>);

impl Drop for StopOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.request_stop();
        }
    }
}

/// The life of the shard, until `Stop`.
async fn run(shard: Rc<Shard>) {
    let mailbox = &shard.shared.mailboxes[shard.id.index()];
    loop {
        mailbox.wait().await;
        for _ in 0..MESSAGES_PER_TURN {
            // Held before: who finds the mailbox empty and takes the state must not overtake this.
            let mut state = shard.state();
            let Some(message) = mailbox.pop() else { break };
            match message {
                Message::Stop => return,
                Message::Task(begin) => {
                    drop(state);
                    begin(Rc::clone(&shard));
                }
                other => {
                    state.handle(other);
                    state.serve_ready();
                }
            }
        }
        tokio::task::yield_now().await;
        shard.state().resume_postponed();
    }
}

/// Periodic work, `hz` times a second; every slice of it is bounded.
async fn cron(shard: Rc<Shard>) {
    loop {
        let hz = shard.state().config.hz.max(1);
        tokio::time::sleep(Duration::from_millis(1000 / u64::from(hz))).await;
        // Kept for speed only: at the limit it is the first to go.
        if shard.state().is_over_maxmemory() {
            shard.buffers.trim();
            shard.state().spares.trim();
        }
        shard.buffers.count();
        while shard.state().cron_slice() {
            tokio::task::yield_now().await;
        }
    }
}

/// The shard's part of each snapshot.
async fn walk(shard: Rc<Shard>) {
    let snapshots = &shard.shared.snapshots;
    loop {
        snapshots.woken(shard.id.index()).await;
        let mut pace = Pace::default();
        loop {
            let walked = {
                let mut state = shard.state();
                state.tick();
                state.walk_slice(pace.slice())
            };
            match walked {
                Walked::More => pace.rest().await,
                // A box that comes here, or room in the queue, is something to go on with.
                Walked::Full | Walked::Idle => tokio::select! {
                    () = snapshots.woken(shard.id.index()) => {}
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                },
                Walked::Over => break,
            }
        }
    }
}

impl ShardState {
    /// A message that is neither a connection nor the end.
    pub(crate) fn handle(&mut self, message: Message) {
        match message {
            Message::Batch(batch) => self.continue_batch(batch),
            Message::BatchDone(batch) => self.batch_done(batch),
            Message::Hold(hold) => {
                self.tick();
                self.take_for(hold);
            }
            Message::Return(part) => {
                self.tick();
                self.take_back(part);
            }
            Message::Adopt(slot, boxed, since) => {
                self.tick();
                self.adopt(slot, boxed, since);
            }
            Message::Unblocked(token, reply) => self.unblocked(token, reply),
            Message::Call(work) => work(self),
            Message::Wake(clients) => clients.iter().for_each(|client| client.wake()),
            Message::Task(_) | Message::Stop => {}
        }
    }
}
