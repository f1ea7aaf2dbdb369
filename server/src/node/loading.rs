//! How far the loading of the data set at the start has come. Until its end only commands that may
//! run while it loads are executed, no slot moves, and nothing expires or is evicted.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicI64, AtomicU64};

use super::Node;
use super::modes::Mode;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Loading {
    /// Unix milliseconds of its begin.
    started_ms: AtomicI64,
    /// Bytes of the file.
    total_bytes: AtomicU64,
    /// Bytes of the file that are read.
    loaded_bytes: AtomicU64,
    /// Bytes of memory that who wrote the file had in use.
    used_bytes: AtomicU64,
}

/// What `INFO` tells of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Progress {
    /// Unix seconds of its begin.
    pub(crate) started_s: i64,
    /// Bytes of the file.
    pub(crate) total_bytes: u64,
    /// Bytes of memory that who wrote the file had in use.
    pub(crate) used_bytes: u64,
    /// Bytes of the file that are read.
    pub(crate) loaded_bytes: u64,
    /// As a percentage.
    pub(crate) percent: f64,
    /// Seconds that are left.
    pub(crate) left_s: u64,
}

impl Loading {
    /// So many bytes of the file are read.
    pub(crate) fn read(&self, bytes: u64) {
        self.loaded_bytes.store(bytes, Relaxed);
    }

    /// Who wrote the file had so much memory in use.
    pub(crate) fn took(&self, bytes: u64) {
        self.used_bytes.store(bytes, Relaxed);
    }

    /// How far it is at unix milliseconds `now_ms`, by Redis's arithmetic.
    pub(crate) fn progress(&self, now_ms: i64) -> Progress {
        let started_s = self.started_ms.load(Relaxed) / 1000;
        let (total_bytes, loaded_bytes) =
            (self.total_bytes.load(Relaxed), self.loaded_bytes.load(Relaxed));
        let elapsed_s = u64::try_from(now_ms / 1000 - started_s).unwrap_or(0);
        Progress {
            started_s,
            total_bytes,
            used_bytes: self.used_bytes.load(Relaxed),
            loaded_bytes,
            percent: percent(loaded_bytes, total_bytes),
            // With less than a second behind it, nothing is known.
            left_s: if elapsed_s == 0 { 1 } else { left(elapsed_s, loaded_bytes, total_bytes) },
        }
    }
}

/// A part as a percentage of all.
#[allow(clippy::cast_precision_loss, reason = "two digits are shown")]
pub(crate) fn percent(part: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { part as f64 / all as f64 * 100.0 }
}

/// How much longer all takes, if a part took `elapsed`, in its unit.
pub(crate) fn left(elapsed: u64, part: u64, all: u64) -> u64 {
    elapsed.saturating_mul(all.saturating_sub(part)) / (part + 1)
}

impl Node {
    /// A file of so many bytes is being loaded from now on.
    pub(crate) fn begin_loading(&self, total_bytes: u64) {
        self.loading.started_ms.store(self.clock.wall_ms(), Relaxed);
        self.loading.total_bytes.store(total_bytes, Relaxed);
        self.router.freeze();
        self.switch(Mode::Loading, true);
    }

    /// The data set is there.
    pub(crate) fn end_loading(&self) {
        self.switch(Mode::Loading, false);
        self.router.thaw();
    }

    /// Whether a file is being loaded at the start.
    pub(crate) fn is_loading(&self) -> bool {
        self.modes.load().has(Mode::Loading)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_by_bytes() {
        let loading = Loading::default();
        loading.started_ms.store(10_500, Relaxed);
        loading.total_bytes.store(1000, Relaxed);
        assert_eq!(loading.progress(10_900).left_s, 1);
        loading.read(249);
        let progress = loading.progress(15_000);
        assert_eq!((progress.started_s, progress.left_s), (10, 15));
        assert!((progress.percent - 24.9).abs() < 1e-9);
        assert_eq!(loading.progress(9_000).left_s, 1, "a clock that was set back");
        loading.total_bytes.store(0, Relaxed);
        assert_eq!((loading.progress(15_000).left_s, loading.progress(1).percent), (0, 0.0));
    }
}
