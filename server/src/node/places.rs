//! Room that a shard has for connections of other shards.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

/// Connections that a shard takes until its next cron.
const PLACES: u32 = 8;
/// A shard that uses more than this of a core, in thousandths, takes none.
const BUSY_PERMILLE: u64 = 700;

/// How many connections a shard may take until it says so again.
#[derive(Debug, Default)]
pub(crate) struct Places(AtomicU32);

impl Places {
    /// The shard has used `cpu_us` in the last `elapsed_us`.
    pub(crate) fn offer(&self, cpu_us: u64, elapsed_us: u64) {
        let is_busy = cpu_us.saturating_mul(1000) > elapsed_us.saturating_mul(BUSY_PERMILLE);
        self.0.store(if is_busy { 0 } else { PLACES }, Relaxed);
    }

    /// Takes one, if there is one.
    pub(crate) fn take(&self) -> bool {
        self.0.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_shard_takes_none_and_others_a_few() {
        let places = Places::default();
        assert!(!places.take());
        places.offer(50_000, 100_000);
        assert_eq!((0..100).filter(|_| places.take()).count(), PLACES as usize);
        places.offer(71_000, 100_000);
        assert!(!places.take());
    }
}
