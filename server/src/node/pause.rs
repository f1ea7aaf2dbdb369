//! `CLIENT PAUSE`.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// `CLIENT PAUSE`: until when, and what.
#[derive(Debug, Default)]
pub(crate) struct Pause {
    /// Unix milliseconds; 0: no pause.
    until_ms: AtomicI64,
    writes_only: AtomicBool,
    /// Wakes the paused connections.
    pub(crate) changed: tokio::sync::Notify,
}

impl Pause {
    /// Pauses writing commands or all commands. A pause is never made shorter or weaker by
    /// another, as in Redis.
    pub(crate) fn begin(&self, now_ms: i64, until_ms: i64, writes_only: bool) {
        let running = self.until_ms.load(Ordering::Acquire) > now_ms;
        let all = running && !self.writes_only.load(Ordering::Acquire);
        self.writes_only.store(writes_only && !all, Ordering::Release);
        self.until_ms.fetch_max(until_ms, Ordering::AcqRel);
    }

    /// `CLIENT UNPAUSE`.
    pub(crate) fn end(&self) {
        self.until_ms.store(0, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Whether there may be a pause: one load for the hot path.
    #[inline]
    pub(crate) fn is_set(&self) -> bool {
        self.until_ms.load(Ordering::Relaxed) != 0
    }

    /// Whether nothing may change the data set now, expiry included.
    pub(crate) fn is_on(&self, now_ms: i64) -> bool {
        self.is_set() && self.until(now_ms, true).is_some()
    }

    /// The end of the pause that a writing or reading command has to wait for.
    pub(crate) fn until(&self, now_ms: i64, may_write: bool) -> Option<i64> {
        let until_ms = self.until_ms.load(Ordering::Acquire);
        if until_ms <= now_ms {
            self.until_ms.compare_exchange(until_ms, 0, Ordering::AcqRel, Ordering::Relaxed).ok();
            return None;
        }
        (may_write || !self.writes_only.load(Ordering::Acquire)).then_some(until_ms)
    }
}
