//! The only way from one shard thread to another: a queue of messages and one wake-up.
//!
//! Invariant: a mailbox needs no bound of its own. A connection has at most one batch or one
//! transaction under way and sends the next after the replies of the last, so a mailbox holds at
//! most `maxclients` messages per other shard, plus one per slot being handed over.

use std::future::poll_fn;
use std::sync::atomic::Ordering;
use std::task::{Poll, Waker};

use super::sync::{AtomicBool, Mutex, SegQueue};

/// Messages to one shard, in the order in which they were pushed.
#[derive(Debug)]
pub(crate) struct Mailbox<M> {
    queue: SegQueue<M>,
    /// True while the owner is asleep and has to be woken.
    asleep: AtomicBool,
    /// True while something waits for a message that may come quietly.
    expects: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl<M> Mailbox<M> {
    pub(crate) fn new() -> Mailbox<M> {
        Mailbox {
            queue: SegQueue::new(),
            asleep: AtomicBool::new(false),
            expects: AtomicBool::new(false),
            waker: Mutex::new(None),
        }
    }

    /// Appends a message and wakes the owner if it sleeps.
    pub(crate) fn push(&self, message: M) {
        self.queue.push(message);
        self.wake();
    }

    /// Appends a message that has time until the owner wakes for something else, unless that has
    /// told that it [expects](Self::expect) it.
    pub(crate) fn push_quietly(&self, message: M) {
        self.queue.push(message);
        // Pairs with the swap in `expect`: either the owner sees the message there, or we see that
        // it is expected. A load could be too early for that.
        if self.expects.fetch_or(false, Ordering::SeqCst) {
            self.wake();
        }
    }

    /// From now on, quiet messages wake the owner like others. Only who holds the owner's
    /// state may call it.
    pub(crate) fn expect(&self) {
        self.expects.swap(true, Ordering::SeqCst);
        self.wake_for_quiet();
    }

    /// Nothing waits for a quiet message any more. Only who holds the owner's state may call it.
    pub(crate) fn expect_nothing(&self) {
        self.expects.store(false, Ordering::SeqCst);
    }

    /// Wakes the owner, which is about to sleep, if a message has come quietly.
    pub(crate) fn wake_for_quiet(&self) {
        if !self.queue.is_empty() {
            self.wake();
        }
    }

    fn wake(&self) {
        // Pairs with the fence-like swap in `wait`: either the owner sees the message in its
        // second look, or we see that it sleeps.
        if self.asleep.swap(false, Ordering::SeqCst)
            && let Some(waker) = self.waker.lock().take()
        {
            waker.wake();
        }
    }

    /// The oldest message.
    pub(crate) fn pop(&self) -> Option<M> {
        self.queue.pop()
    }

    /// Whether no message waits.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How many messages wait.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Sleeps until there is a message. Only the owner may call it.
    pub(crate) async fn wait(&self) {
        poll_fn(|context| {
            if !self.queue.is_empty() {
                return Poll::Ready(());
            }
            *self.waker.lock() = Some(context.waker().clone());
            self.asleep.swap(true, Ordering::SeqCst);
            if self.queue.is_empty() { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }
}
