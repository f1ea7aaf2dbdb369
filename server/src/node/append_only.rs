//! The way from the shards to the thread that writes the append-only file, and what all may know of
//! that file.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};

use crossbeam::channel::{Receiver, Sender, unbounded};
use parking_lot::Mutex;

/// Clients wait before their next commands while more than this is on its way to the file.
const WAITING_BYTES_MAX: u64 = 128 << 20;

/// What the writer's thread is told, in order.
pub(crate) enum Told {
    /// Records of a shard: see [`super::effects`].
    Effects(Vec<u8>),
    /// What comes now goes to another file: a base is being made that has all before.
    NextFile,
    /// That base is complete at this path, or could not be made.
    Base(Option<PathBuf>),
    /// No more is written.
    Off,
    /// Answers when all that came before is written.
    Written(std::sync::mpsc::Sender<()>),
    /// The server ends: what has come is to be on disk.
    End,
}

/// What may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// Writing to the file.
    Write = 0,
    /// Having it on disk.
    Flush = 1,
}

/// What `INFO` says of the file.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// Bytes of all its files.
    pub(crate) size_bytes: AtomicU64,
    /// What they had after the last rewrite, or at the start.
    pub(crate) base_bytes: AtomicU64,
    /// Flushes to disk that took more than two seconds.
    pub(crate) delayed_flushes: AtomicU64,
    /// A flush is under way.
    pub(crate) is_flushing: AtomicBool,
    /// A base is being made.
    pub(crate) is_rewriting: AtomicBool,
    /// Unix milliseconds at which it was begun.
    pub(crate) rewrite_began_ms: AtomicI64,
    /// Rewrites that have been begun.
    pub(crate) rewrites: AtomicU64,
    /// Seconds that the last took; -1: there was none.
    pub(crate) rewrite_s: AtomicI64,
    /// Rewrites that have failed since one succeeded.
    pub(crate) failed_rewrites: AtomicU64,
    /// The file is written.
    pub(crate) is_on: AtomicBool,
}

/// See the module. The queue is bounded by the connections, which wait while it is long.
pub(crate) struct AppendOnly {
    sender: Sender<Told>,
    /// For the thread, once it is started.
    receiver: Mutex<Option<Receiver<Told>>>,
    /// Messages sent: counted before they are.
    sent: AtomicU64,
    /// Messages of which all is as durable as `appendfsync` asks.
    settled: AtomicU64,
    /// Bytes of messages that have not been written.
    waiting_bytes: AtomicU64,
    /// Replies leave when what they answer for is settled.
    holds_replies: AtomicBool,
    /// Wakes whoever waits for one or the other.
    progress: tokio::sync::Notify,
    /// Why writing, and flushing, has failed, until it succeeds.
    failures: Mutex<[Option<String>; 2]>,
    has_failed: AtomicBool,
    /// Shards that may still send something.
    shards: AtomicUsize,
    /// Somebody wants a rewrite.
    wants_rewrite: AtomicBool,
    /// Wakes whoever sees to it that the file is as the configuration wants it.
    pub(crate) wanted: tokio::sync::Notify,
    /// For `INFO`.
    pub(crate) figures: Figures,
}

impl AppendOnly {
    /// For so many shards.
    pub(crate) fn new(shards: u16) -> AppendOnly {
        let (sender, receiver) = unbounded();
        AppendOnly {
            sender,
            receiver: Mutex::new(Some(receiver)),
            sent: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            waiting_bytes: AtomicU64::new(0),
            holds_replies: AtomicBool::new(false),
            progress: tokio::sync::Notify::new(),
            failures: Mutex::default(),
            has_failed: AtomicBool::new(false),
            shards: AtomicUsize::new(usize::from(shards)),
            wants_rewrite: AtomicBool::new(false),
            wanted: tokio::sync::Notify::new(),
            figures: Figures { rewrite_s: AtomicI64::new(-1), ..Figures::default() },
        }
    }
}

/// What shards and connections do.
impl AppendOnly {
    /// Sends a message to the writer.
    pub(crate) fn send(&self, told: Told) {
        if let Told::Effects(effects) = &told {
            self.waiting_bytes.fetch_add(effects.len() as u64, Ordering::Relaxed);
        }
        // Before it is in the queue: who reads the count afterwards waits for this message too.
        self.sent.fetch_add(1, Ordering::SeqCst);
        // There is a receiver as long as there is the queue, or the server ends.
        let _ = self.sender.send(told);
    }

    /// Replies wait from now on, or do so no more.
    pub(super) fn hold_replies(&self, holds: bool) {
        if self.holds_replies.swap(holds, Ordering::SeqCst) != holds {
            self.progress.notify_waiters();
        }
    }

    /// Whether a connection has to wait before it goes on.
    #[inline(always)]
    pub(crate) fn is_slow(&self) -> bool {
        self.is_full() || self.holds_replies.load(Ordering::Relaxed)
    }

    /// Whether nothing more is to be sent for now. While the file cannot be written that is seen to
    /// in another way: writes are refused, and who reads need not wait.
    #[inline(always)]
    fn is_full(&self) -> bool {
        self.waiting_bytes.load(Ordering::Relaxed) > WAITING_BYTES_MAX && !self.has_failed()
    }

    /// Waits until all that has been sent is as durable as `appendfsync` asks, if replies wait for
    /// that, and until there is room in the queue.
    pub(crate) async fn wait(&self) {
        let sent = self.sent.load(Ordering::SeqCst);
        loop {
            let progress = self.progress.notified();
            tokio::pin!(progress);
            progress.as_mut().enable();
            let holds = self.holds_replies.load(Ordering::SeqCst);
            let is_settled = !holds || self.settled.load(Ordering::SeqCst) >= sent;
            if is_settled && !self.is_full() {
                return;
            }
            progress.await;
        }
    }

    /// A shard ends: nothing comes from it any more.
    pub(crate) fn shard_ended(&self) {
        if self.shards.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.send(Told::End);
        }
    }

    /// Asks for a rewrite. False if one is under way, or asked for.
    pub(crate) fn want_rewrite(&self) -> bool {
        let is_under_way = self.figures.is_rewriting.load(Ordering::SeqCst);
        let is_first = !is_under_way && !self.wants_rewrite.swap(true, Ordering::SeqCst);
        if is_first {
            self.wanted.notify_one();
        }
        is_first
    }

    /// Whether somebody has asked for a rewrite.
    pub(crate) fn wants_rewrite(&self) -> bool {
        self.wants_rewrite.load(Ordering::SeqCst)
    }

    /// A rewrite begins.
    pub(crate) fn begin_rewrite(&self, now_ms: i64) {
        self.figures.is_rewriting.store(true, Ordering::SeqCst);
        self.wants_rewrite.store(false, Ordering::SeqCst);
        self.figures.rewrite_began_ms.store(now_ms, Ordering::Relaxed);
        self.figures.rewrites.fetch_add(1, Ordering::Relaxed);
    }

    /// It has ended.
    pub(crate) fn end_rewrite(&self, now_ms: i64, has_succeeded: bool) {
        let figures = &self.figures;
        let took_ms = now_ms - figures.rewrite_began_ms.load(Ordering::Relaxed);
        figures.rewrite_s.store(took_ms / 1000, Ordering::Relaxed);
        if has_succeeded {
            figures.failed_rewrites.store(0, Ordering::Relaxed);
        } else {
            figures.failed_rewrites.fetch_add(1, Ordering::Relaxed);
        }
        figures.is_rewriting.store(false, Ordering::SeqCst);
        self.wanted.notify_one();
    }

    /// Bytes that wait to be written.
    pub(crate) fn waiting_bytes(&self) -> u64 {
        self.waiting_bytes.load(Ordering::Relaxed)
    }

    /// Whether the file cannot be written.
    #[inline]
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed)
    }

    /// Why the file cannot be written.
    pub(crate) fn failure(&self) -> Option<String> {
        let failures = self.failures.lock();
        failures.iter().flatten().next().cloned()
    }
}

/// What the writer does.
impl AppendOnly {
    /// The end of the queue, once.
    pub(crate) fn take_receiver(&self) -> Option<Receiver<Told>> {
        self.receiver.lock().take()
    }

    /// So many bytes of effects have been written, or need not be.
    pub(crate) fn written(&self, bytes: u64) {
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// The first so many messages are settled.
    pub(crate) fn settled(&self, messages: u64) {
        self.settled.store(messages, Ordering::SeqCst);
        self.progress.notify_waiters();
    }

    /// One of both has failed, or succeeds. Answers whether that is new.
    pub(crate) fn set_failure(&self, of: Effort, failure: Option<String>) -> bool {
        let mut failures = self.failures.lock();
        let before = std::mem::replace(&mut failures[of as usize], failure);
        self.has_failed.store(failures.iter().any(Option::is_some), Ordering::Relaxed);
        // Who waits for room need not any more.
        self.progress.notify_waiters();
        before.is_some() != failures[of as usize].is_some()
    }

    /// Whether one of both has failed.
    pub(crate) fn fails(&self, of: Effort) -> bool {
        self.has_failed() && self.failures.lock()[of as usize].is_some()
    }
}
