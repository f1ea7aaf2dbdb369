//! Rests: a shard that many clients keep busy, but not fully, has a request or two to serve, goes
//! to sleep, and is woken for the next one, which costs more than to serve it, the client as well.
//! Such a shard rests a moment before it sleeps, so that several requests wait for it together,
//! as a network card holds back its interrupts. A rest is short beside the time that its clients
//! take from one request to the next, so they hardly notice, and few clients have none.

use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::Shard;
use crate::node::counters::Counter;

/// Turns of connections after which the length of a rest is reconsidered…
const WINDOW_TURNS: u64 = 512;
/// …or so many microseconds, if there are rests.
const WINDOW_USEC_MAX: u64 = 20_000;
/// A rest may take this part of the time between two requests of a client.
const OF_ROUND: u64 = 5;
/// What a rest has to bring, in turns and messages: to be woken for less is cheaper than its timer.
const WORK_MIN: u64 = 2;
/// A shorter rest would be one for few clients, who notice it.
const USEC_MIN: u64 = 60;
/// How exactly a rest ends; the usual precision of a thread's timers is as long as a rest.
const TIMER_SLACK_NS: u64 = 1_000;

/// When a shard rests. Written by its thread only.
#[derive(Default)]
pub(crate) struct Rest {
    /// Turns of connections.
    turns: Counter,
    /// Messages of other shards.
    messages: Counter,
    /// Both together, when the thread last was about to sleep.
    work_at_park: Counter,
    /// Both, when this window began.
    turns_before: Counter,
    messages_before: Counter,
    /// How many connections had turns in this window.
    clients: Counter,
    /// The number of this window.
    window: Counter,
    /// How long a rest takes now, in microseconds; 0: none.
    length_us: Counter,
    /// Wakes the task that rests.
    due: Notify,
}

impl Rest {
    /// A connection has received something; `seen` is the window in which it last did.
    #[inline(always)]
    pub(crate) fn turn(&self, seen: &mut u64) {
        self.turns.add(1);
        let window = self.window.value();
        if *seen != window {
            *seen = window;
            self.clients.add(1);
        }
    }

    /// The shard has something else to do.
    #[inline]
    pub(crate) fn message(&self) {
        self.messages.add(1);
    }

    fn work(&self) -> u64 {
        self.turns.value() + self.messages.value()
    }

    fn turns_in_window(&self) -> u64 {
        self.turns.value() - self.turns_before.value()
    }

    /// The thread is about to sleep: unless it has only just rested, lets the task look whether it
    /// should.
    pub(crate) fn before_park(&self) {
        let work = self.work();
        if work != self.work_at_park.value() {
            self.work_at_park.set(work);
            if self.length_us.value() > 0 || self.turns_in_window() >= WINDOW_TURNS {
                self.due.notify_one();
            }
        }
    }

    /// Reconsiders the length after a window that took `elapsed_us`; it is `max_us` at most.
    fn adapt(&self, elapsed_us: u64, max_us: u64) {
        let turns = self.turns_in_window();
        let messages = self.messages.value() - self.messages_before.value();
        let load =
            Load { elapsed_us, turns, clients: self.clients.value(), work: turns + messages };
        self.length_us.set(load.rest_us(max_us));
        self.turns_before.set(self.turns.value());
        self.messages_before.set(self.messages.value());
        self.clients.set(0);
        self.window.add(1);
    }
}

/// What a shard had to do in a window.
#[derive(Clone, Copy)]
struct Load {
    elapsed_us: u64,
    /// Turns of so many of its connections.
    turns: u64,
    clients: u64,
    /// Those, and messages of other shards.
    work: u64,
}

impl Load {
    /// How long to rest, at most `max_us`; 0: not.
    fn rest_us(self, max_us: u64) -> u64 {
        let round_us = self.elapsed_us.saturating_mul(self.clients) / self.turns.max(1);
        let rest_us = max_us.min(round_us / OF_ROUND);
        let brings = rest_us.saturating_mul(self.work);
        let brings_enough = brings >= self.elapsed_us.saturating_mul(WORK_MIN);
        if rest_us >= USEC_MIN && brings_enough { rest_us } else { 0 }
    }
}

/// Has the thread's timers end when they should.
pub(crate) fn sharpen_timers() {
    #[cfg(target_os = "linux")]
    // If the system refuses, rests are longer than meant.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(TIMER_SLACK_NS));
}

/// The task that rests, with all the thread.
pub(crate) async fn rest(shard: Rc<Shard>) {
    let rest = &shard.rest;
    let mut began = Instant::now();
    loop {
        rest.due.notified().await;
        let elapsed_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        if rest.turns_in_window() >= WINDOW_TURNS || elapsed_us >= WINDOW_USEC_MAX {
            began = Instant::now();
            rest.adapt(elapsed_us, shard.state().config.coalesce_us);
        }
        behind_others().await;
        let length_us = rest.length_us.value();
        if length_us > 0 && rest.work() == rest.work_at_park.value() {
            shard.counters.rests.add(1);
            std::thread::sleep(Duration::from_micros(length_us));
        }
    }
}

/// Waits until all tasks had their turns that have something to do. Unlike `yield_now`, without
/// another look at the sockets.
async fn behind_others() {
    let mut has_waited = false;
    std::future::poll_fn(|context| {
        if has_waited {
            return Poll::Ready(());
        }
        has_waited = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest_us(turns: u64, clients: u64, elapsed_us: u64, max_us: u64) -> u64 {
        Load { elapsed_us, turns, clients, work: turns }.rest_us(max_us)
    }

    #[test]
    fn many_clients_let_a_shard_rest_a_fifth_of_their_round() {
        // Fifty clients, 8 µs between requests: each comes round every 400 µs.
        assert_eq!(rest_us(500, 50, 4_000, 100), 80);
        assert_eq!(rest_us(500, 50, 4_000, 60), 60);
        assert_eq!(rest_us(500, 50, 4_000, 0), 0, "switched off");
        assert_eq!(rest_us(500, 500, 4_000, 100), 100, "a thousand clients, one request each");
        let with_messages = Load { elapsed_us: 20_000, turns: 500, clients: 50, work: 1_500 };
        assert_eq!(with_messages.rest_us(100), 100, "other shards bring as much");
    }

    #[test]
    fn few_clients_or_a_slow_load_have_none() {
        assert_eq!(rest_us(500, 1, 15_000, 100), 0, "one client that waits for each reply");
        assert_eq!(rest_us(500, 30, 4_000, 100), 0, "their round has no time for a rest");
        assert_eq!(rest_us(500, 50, 20_000, 100), 100, "two requests in a rest");
        assert_eq!(rest_us(500, 50, 30_000, 100), 0, "less");
        assert_eq!(rest_us(0, 0, 0, 100), 0);
        assert_eq!(rest_us(u64::MAX, u64::MAX, u64::MAX, 100), 0);
    }

    #[test]
    fn a_rest_is_due_once_after_work() {
        let rest = Rest::default();
        let is_due = || {
            use std::future::Future;
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            let mut due = std::pin::pin!(rest.due.notified());
            due.as_mut().poll(&mut context).is_ready()
        };
        rest.before_park();
        assert!(!is_due(), "no work");
        let mut seen = [u64::MAX; 64];
        for round in 0..WINDOW_TURNS {
            rest.turn(&mut seen[round as usize % 64]);
        }
        rest.before_park();
        assert!(is_due(), "the window is full");
        rest.adapt(4_000, 60);
        assert_eq!(rest.length_us.value(), 60);
        rest.before_park();
        assert!(!is_due(), "nothing since");
        rest.message();
        rest.before_park();
        assert!(is_due());
    }
}
