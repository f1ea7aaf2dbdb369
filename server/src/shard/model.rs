//! The mailbox and the router, as they are, in all interleavings of a few threads and all that
//! the memory model allows them to see: no message and no wake-up is lost, and whoever reads a
//! new owner arrives behind the box.

#![allow(clippy::duplicate_mod, reason = "the same source over other atomics")]

use std::sync::Arc;

use loom::future::block_on;
use loom::thread;

use self::mailbox::Mailbox;
use self::router::Router;
use crate::ids::ShardId;

#[allow(dead_code, reason = "some of it is for INFO only")]
#[path = "mailbox.rs"]
mod mailbox;
#[allow(dead_code, reason = "some of it is for INFO only")]
#[path = "../node/router.rs"]
mod router;

/// [`crate::node::sync`] for the model.
mod sync {
    use std::collections::VecDeque;

    use loom::sync::atomic::AtomicUsize;
    use loom::sync::atomic::Ordering::SeqCst;
    pub(super) use loom::sync::atomic::{AtomicBool, AtomicU16, AtomicU64};

    #[derive(Debug)]
    pub(super) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(super) fn new(value: T) -> Mutex<T> {
            Mutex(loom::sync::Mutex::new(value))
        }

        pub(super) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
            self.0.lock().expect("nobody panics with it")
        }
    }

    /// As crossbeam's: whether it is empty is a look at two counters, not a lock.
    #[derive(Debug)]
    pub(super) struct SegQueue<M> {
        items: Mutex<VecDeque<M>>,
        len: AtomicUsize,
    }

    impl<M> SegQueue<M> {
        pub(super) fn new() -> SegQueue<M> {
            SegQueue { items: Mutex::new(VecDeque::new()), len: AtomicUsize::new(0) }
        }

        pub(super) fn push(&self, message: M) {
            let mut items = self.items.lock();
            items.push_back(message);
            self.len.store(items.len(), SeqCst);
        }

        pub(super) fn pop(&self) -> Option<M> {
            let mut items = self.items.lock();
            let message = items.pop_front()?;
            self.len.store(items.len(), SeqCst);
            Some(message)
        }

        pub(super) fn is_empty(&self) -> bool {
            self.len.load(SeqCst) == 0
        }

        pub(super) fn len(&self) -> usize {
            self.len.load(SeqCst)
        }
    }
}

/// Explores with at most so many preemptions, which bounds the time.
fn explore(preemptions_max: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions_max);
    builder.check(model);
}

#[test]
fn no_message_and_no_wake_up_is_lost() {
    explore(3, || {
        let mailbox = Arc::new(Mailbox::new());
        let pushers = [&[1, 2][..], &[10]].map(|numbers| {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || numbers.iter().for_each(|number| mailbox.push(*number)))
        });
        let mut got = Vec::new();
        while got.len() < 3 {
            block_on(mailbox.wait());
            got.extend(std::iter::from_fn(|| mailbox.pop()));
        }
        assert!(got.contains(&10));
        let first: Vec<_> = got.into_iter().filter(|number| *number < 10).collect();
        assert_eq!(first, [1, 2]);
        for pusher in pushers {
            pusher.join().expect("it does not panic");
        }
    });
}

#[test]
fn an_expected_quiet_message_wakes_and_others_keep_their_order() {
    explore(3, || {
        let mailbox = Arc::new(Mailbox::new());
        let pusher = {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || {
                mailbox.push(1);
                mailbox.push_quietly(2);
            })
        };
        block_on(mailbox.wait());
        assert_eq!(mailbox.pop(), Some(1));
        mailbox.expect();
        block_on(mailbox.wait());
        assert_eq!(mailbox.pop(), Some(2));
        mailbox.expect_nothing();
        pusher.join().expect("it does not panic");
    });
}

#[test]
fn who_reads_the_new_owner_arrives_behind_the_box() {
    explore(3, || {
        let router = Arc::new(Router::with_owners([ShardId(0)].into_iter()));
        let mailboxes = Arc::new([Mailbox::new(), Mailbox::new()]);
        let owner = {
            let (router, mailboxes) = (Arc::clone(&router), Arc::clone(&mailboxes));
            thread::spawn(move || router.hand_over(0, ShardId(1), || mailboxes[1].push("box")))
        };
        let (seen, to) = (router.owner(0), Arc::clone(&mailboxes));
        to[seen.index()].push("command");
        owner.join().expect("it does not panic");
        assert_eq!(router.owner(0), ShardId(1));
        let messages: Vec<_> = std::iter::from_fn(|| mailboxes[1].pop()).collect();
        let expected = if seen == ShardId(1) { &["box", "command"][..] } else { &["box"] };
        assert_eq!(messages, expected);
    });
}
