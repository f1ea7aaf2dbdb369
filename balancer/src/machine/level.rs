//! When the load of a bin has become another, so that averages over the past mislead: a crowd that
//! comes, or goes, is seen after two looks instead of the minutes of the slow average. A noisy load
//! is not taken for a new one: what counts is beside how much the load varies anyway.

use crate::ewma::Ewma;
use crate::model::{ShardId, ShardLoad};

/// Looks in a row that must be off on the same side of the average…
const LOOKS_MIN: u32 = 2;
/// …for this part of the fast window at least.
const WINDOW_PART: u64 = 2;
/// A look is off by this part of the bin's cores at least: the usual stop threshold.
const OFF_MIN: f64 = 0.05;
/// …and by so many times what it is usually off.
const OFF_TIMES: f64 = 4.0;

/// The standard deviation of normal noise over its mean absolute deviation.
const DEVIATION_OVER_MEAN: f64 = 1.25;

/// What is remembered of a bin.
#[derive(Clone, Debug)]
pub(crate) struct BinMemory {
    /// Which.
    pub(crate) id: ShardId,
    /// Cores that no move of a slot sets free.
    pub(crate) fixed: Ewma,
    /// How far looks usually are from the average.
    usual: Ewma,
    /// Looks in a row that were off above (positive) or below the average, and for how long.
    off: i32,
    off_ms: u64,
}

impl BinMemory {
    pub(crate) fn new(id: ShardId) -> BinMemory {
        BinMemory { id, fixed: Ewma::default(), usual: Ewma::default(), off: 0, off_ms: 0 }
    }

    /// Takes in what the bin's slots use and what they use on average. True if the averages are
    /// to begin anew with this look.
    pub(crate) fn observe(
        &mut self,
        shard: &ShardLoad,
        now: f64,
        average: f64,
        elapsed_ms: u64,
        windows: (u64, u64),
    ) -> bool {
        let (fast_ms, slow_ms) = windows;
        let by = now + shard.fixed_cpu - average - self.fixed.slow();
        let limit = (OFF_MIN * shard.cores).max(OFF_TIMES * self.usual.slow());
        let is_off = by.abs() > limit;
        let side = if by > 0.0 { 1 } else { -1 };
        if !is_off {
            (self.off, self.off_ms) = (0, 0);
        } else if self.off.signum() == side {
            self.off += side;
            self.off_ms = self.off_ms.saturating_add(elapsed_ms);
        } else {
            (self.off, self.off_ms) = (side, elapsed_ms);
        }
        let is_new = self.off.unsigned_abs() >= LOOKS_MIN && self.off_ms >= fast_ms / WINDOW_PART;
        if is_new {
            (self.off, self.off_ms) = (0, 0);
            self.fixed.forget();
        } else {
            // What may be a new level is not how far looks usually are off.
            self.usual.update(by.abs().min(limit), elapsed_ms, fast_ms, slow_ms);
        }
        self.fixed.update(shard.fixed_cpu, elapsed_ms, fast_ms, slow_ms);
        is_new
    }
}

impl BinMemory {
    /// How far an average over `window_ms` may be off by chance, in cores: its standard error, if
    /// looks are `elapsed_ms` apart.
    pub(crate) fn error(&self, elapsed_ms: u64, window_ms: u64) -> f64 {
        // As old as all averages of the bin.
        let step = self.fixed.step(elapsed_ms, window_ms);
        DEVIATION_OVER_MEAN * self.usual.slow() * (step / (2.0 - step)).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOWS: (u64, u64) = (15_000, 120_000);

    /// Feeds loads every five seconds; the looks after which the averages began anew.
    fn run(loads: &[f64]) -> Vec<usize> {
        let shard = ShardLoad::new(ShardId(0), 1);
        let (mut bin, mut average) = (BinMemory::new(ShardId(0)), Ewma::default());
        let mut anew = Vec::new();
        for (at, &load) in loads.iter().enumerate() {
            if bin.observe(&shard, load, average.slow(), 5_000, WINDOWS) {
                anew.push(at);
                average.forget();
            }
            average.update(load, 5_000, WINDOWS.0, WINDOWS.1);
        }
        anew
    }

    #[test]
    fn a_crowd_is_seen_with_its_second_look() {
        let mut loads = vec![0.05; 20];
        loads.extend([0.6; 10]);
        loads.extend([0.05; 10]);
        assert_eq!(run(&loads), [21, 31]);
        assert_eq!(run(&[0.0, 0.0, 0.6, 0.6, 0.6]), [3], "also soon after the start");
    }

    #[test]
    fn a_short_burst_is_not() {
        let mut loads = vec![0.05; 60];
        (10..60).step_by(12).for_each(|at| loads[at] = 0.9);
        let anew = run(&loads);
        assert!(anew.iter().all(|&at| loads[at] < 0.1), "it is forgotten at most: {anew:?}");
    }

    #[test]
    fn noise_is_not_a_new_level() {
        let mut random = crate::simulate::Random::new(3);
        let loads: Vec<f64> = (0..17_280).map(|_| 0.4 + 0.08 * random.normal()).collect();
        let anew = run(&loads);
        assert!(anew.len() <= 2, "{anew:?} in a day");
    }
}
