//! The two clocks everything takes its time from, so that a test can hold the hands.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;

/// Wall time (expiry, windows) and monotonic time (durations, cooldowns).
#[derive(Clone, Debug)]
pub struct Clock {
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    System { start: Instant },
    Manual(Arc<ManualHands>),
}

#[derive(Debug)]
struct ManualHands {
    wall_ms: AtomicI64,
    mono_ms: AtomicI64,
    /// Notified whenever the hands move.
    moved: Notify,
}

/// Sets the hands of a manual [`Clock`].
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<ManualHands>);

/// CPU time that the calling thread has used, user and system, in nanoseconds.
pub(crate) fn thread_cpu_ns() -> u64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let part = |value: i64| u64::try_from(value).unwrap_or(0);
    part(used.tv_sec).saturating_mul(1_000_000_000).saturating_add(part(used.tv_nsec))
}

impl Clock {
    /// The clocks of the machine.
    #[must_use]
    pub fn system() -> Clock {
        Clock { source: Source::System { start: Instant::now() } }
    }

    /// A clock that stands at `wall_ms` (Unix milliseconds) until its hands are moved.
    #[must_use]
    pub fn manual(wall_ms: i64) -> (Clock, ManualClock) {
        let hands = Arc::new(ManualHands {
            wall_ms: AtomicI64::new(wall_ms),
            mono_ms: AtomicI64::new(0),
            moved: Notify::new(),
        });
        (Clock { source: Source::Manual(Arc::clone(&hands)) }, ManualClock(hands))
    }

    /// Unix time in milliseconds.
    #[must_use]
    pub fn wall_ms(&self) -> i64 {
        self.wall_us() / 1000
    }

    /// Unix time in microseconds.
    #[must_use]
    pub fn wall_us(&self) -> i64 {
        match &self.source {
            Source::System { .. } => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH);
                // Seconds and nanoseconds fit by hundreds of thousands of years.
                now.map_or(0, |since| {
                    since.as_secs() as i64 * 1_000_000 + i64::from(since.subsec_micros())
                })
            }
            Source::Manual(hands) => hands.wall_ms.load(Ordering::Relaxed) * 1000,
        }
    }

    /// Milliseconds since an arbitrary start, never going back.
    #[must_use]
    pub fn mono_ms(&self) -> u64 {
        match &self.source {
            Source::System { start } => {
                u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
            }
            Source::Manual(hands) => {
                u64::try_from(hands.mono_ms.load(Ordering::Relaxed)).unwrap_or(0)
            }
        }
    }

    /// Waits until [`Self::mono_ms`] is `end_ms`.
    pub(crate) async fn sleep_until(&self, end_ms: u64) {
        let hands = match &self.source {
            Source::System { .. } => {
                let left_ms = end_ms.saturating_sub(self.mono_ms());
                return tokio::time::sleep(Duration::from_millis(left_ms)).await;
            }
            Source::Manual(hands) => hands,
        };
        loop {
            // Made before the look at the hands, so that no move in between is missed.
            let moved = hands.moved.notified();
            if self.mono_ms() >= end_ms {
                return;
            }
            moved.await;
        }
    }

    /// Whether the hands are moved by hand, so that periodic work waits for [`ManualClock`]
    /// instead of the machine's time.
    #[must_use]
    pub fn is_manual(&self) -> bool {
        matches!(self.source, Source::Manual(_))
    }
}

impl ManualClock {
    /// Lets both clocks go on by `by`.
    pub fn advance(&self, by: Duration) {
        let ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.0.wall_ms.fetch_add(ms, Ordering::Relaxed);
        self.0.mono_ms.fetch_add(ms, Ordering::Relaxed);
        self.0.moved.notify_waiters();
    }

    /// Sets the wall clock, forwards or backwards, as an operator would; monotonic time stays.
    pub fn set_wall_ms(&self, wall_ms: i64) {
        self.0.wall_ms.store(wall_ms, Ordering::Relaxed);
        self.0.moved.notify_waiters();
    }
}
