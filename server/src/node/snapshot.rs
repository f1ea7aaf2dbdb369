//! A snapshot under way: what the shards share of it, and their queue to the thread that takes it.
//!
//! It is over when nothing is open any more: no slot and no detached database that the walk has yet
//! to reach, and no chunk that a shard has begun. Each of them is closed after what it led to has
//! been opened, so the number does not reach zero before the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use ballast_storage::rdb::file::Chunk;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// The walk stops while so much waits for the thread that takes it. What is saved early, before a
/// change, does not stop for it.
const QUEUE_BYTES_MAX: u64 = 4 << 20;

/// What the thread that takes a snapshot receives.
#[derive(Debug)]
pub(crate) enum Part {
    /// Keys.
    Chunk(Queued),
    /// That was all.
    End,
    /// There will be no more, though it is not all.
    Stopped,
}

/// Keys that count as waiting until they are dropped.
#[derive(Debug)]
pub(crate) struct Queued {
    /// The keys.
    pub(crate) chunk: Chunk,
    bytes: u64,
    queued_bytes: Arc<AtomicU64>,
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.queued_bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// Keys of a database at the cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// All of them.
    pub(crate) keys: u64,
    /// Those that expire.
    pub(crate) expiring: u64,
}

/// A snapshot whose walk is not over. See the module.
#[derive(Debug)]
pub(crate) struct Snapshot {
    sender: Sender<Part>,
    open: AtomicUsize,
    /// Nobody wants the keys any more; the walk goes to its end without them.
    is_unwanted: AtomicBool,
    /// Those of the node.
    queued_bytes: Arc<AtomicU64>,
    keys_sent: AtomicU64,
    /// Keys at the cut.
    pub(crate) keys: u64,
}

impl Snapshot {
    /// Of so many keys, of which so many parts are open, and the end that takes them.
    pub(crate) fn new(of: &Snapshots, keys: u64, open: usize) -> (Arc<Snapshot>, Receiver<Part>) {
        let (sender, receiver) = channel();
        let snapshot = Snapshot {
            sender,
            open: AtomicUsize::new(open),
            is_unwanted: AtomicBool::new(false),
            queued_bytes: Arc::clone(&of.queued_bytes),
            keys_sent: AtomicU64::new(0),
            keys,
        };
        (Arc::new(snapshot), receiver)
    }

    /// Something that the walk has to reach, or a chunk, is there besides what was.
    pub(crate) fn open(&self) {
        self.open.fetch_add(1, Ordering::AcqRel);
    }

    /// So much of what was opened is done. True if that was the last.
    #[must_use]
    pub(crate) fn close(&self, done: usize) -> bool {
        let before = self.open.fetch_sub(done, Ordering::AcqRel);
        assert!(before >= done, "more is closed than was opened");
        done > 0 && before == done
    }

    /// Whether nothing is open any more, and never will be again.
    pub(crate) fn is_over(&self) -> bool {
        self.open.load(Ordering::Acquire) == 0
    }

    /// Sends keys. They are dropped if nobody wants them.
    pub(crate) fn send(&self, chunk: Chunk) {
        self.keys_sent.fetch_add(chunk.keys(), Ordering::Relaxed);
        let bytes = chunk.heap_bytes() as u64;
        self.queued_bytes.fetch_add(bytes, Ordering::AcqRel);
        let queued = Queued { chunk, bytes, queued_bytes: Arc::clone(&self.queued_bytes) };
        // Whoever took them may have failed.
        let _ = self.sender.send(Part::Chunk(queued));
    }

    /// Says that all has been sent.
    pub(crate) fn end(&self) {
        let _ = self.sender.send(Part::End);
    }

    /// Whether so much waits that the walk is to stop.
    pub(crate) fn is_full(&self) -> bool {
        !self.is_unwanted() && self.queued_bytes.load(Ordering::Acquire) >= QUEUE_BYTES_MAX
    }

    /// Nobody wants the keys any more. The walk goes on: it leaves the slots ready for the next.
    pub(crate) fn abandon(&self) {
        self.is_unwanted.store(true, Ordering::Release);
    }

    /// [`Self::abandon`], and has the thread that takes it give up at once.
    pub(crate) fn stop(&self) {
        self.abandon();
        let _ = self.sender.send(Part::Stopped);
    }

    /// Whether nobody wants the keys any more.
    pub(crate) fn is_unwanted(&self) -> bool {
        self.is_unwanted.load(Ordering::Acquire)
    }

    /// Keys that have been sent.
    pub(crate) fn keys_sent(&self) -> u64 {
        self.keys_sent.load(Ordering::Relaxed)
    }
}

/// The snapshot of a node: one at a time.
#[derive(Debug)]
pub(crate) struct Snapshots {
    current: Mutex<Option<Arc<Snapshot>>>,
    /// Bytes that wait for the thread that takes them.
    queued_bytes: Arc<AtomicU64>,
    /// One per shard: there is something to walk, or room for more of it.
    wakes: Vec<Notify>,
}

impl Snapshots {
    pub(crate) fn new(shards: u16) -> Snapshots {
        let wakes = (0..shards).map(|_| Notify::new()).collect();
        Snapshots { current: Mutex::new(None), queued_bytes: Arc::default(), wakes }
    }

    /// The one whose walk is not over.
    pub(crate) fn current(&self) -> Option<Arc<Snapshot>> {
        self.current.lock().clone()
    }

    /// Begins one, and wakes the shards.
    ///
    /// # Panics
    /// If there is one.
    pub(crate) fn begin(&self, snapshot: &Arc<Snapshot>) {
        let before = self.current.lock().replace(Arc::clone(snapshot));
        assert!(before.is_none(), "one snapshot at a time");
        self.wake_all();
    }

    /// The walk of the current one is over.
    pub(crate) fn end(&self) {
        let over = self.current.lock().take();
        if let Some(over) = over {
            over.end();
        }
        self.wake_all();
    }

    /// Drops what has been taken; the walk goes on if there is room again.
    pub(crate) fn took(&self, queued: Queued) {
        let was_full = self.queued_bytes() >= QUEUE_BYTES_MAX;
        drop(queued);
        if was_full && self.queued_bytes() < QUEUE_BYTES_MAX {
            self.wake_all();
        }
    }

    /// Bytes that wait for the thread that takes them.
    pub(crate) fn queued_bytes(&self) -> u64 {
        self.queued_bytes.load(Ordering::Acquire)
    }

    fn wake_all(&self) {
        self.wakes.iter().for_each(Notify::notify_one);
    }

    /// Waits until there is something to walk, or room for more of it.
    pub(crate) async fn woken(&self, shard: usize) {
        self.wakes[shard].notified().await;
    }
}
