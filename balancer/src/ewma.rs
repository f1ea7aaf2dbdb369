//! Decayed averages of a slot's load: a fast one for emergencies, a slow one for plans.
//!
//! The step is `dt / (dt + window)` instead of `1 - exp(-dt / window)`: it needs no `exp`, whose
//! last digit differs between platforms, and the same history must give the same plan anywhere.

/// Two decayed averages of one value. Until a window has passed, each is the plain average of all
/// that came, so that neither the first value nor a new beginning weighs more than what follows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ewma {
    fast: f64,
    slow: f64,
    /// Milliseconds since its beginning, up to the longest window that matters.
    age_ms: u64,
}

impl Ewma {
    /// Takes in a value that held for `elapsed_ms`; the first sets both averages.
    pub fn update(&mut self, value: f64, elapsed_ms: u64, fast_ms: u64, slow_ms: u64) {
        let value = if value.is_finite() && value > 0.0 { value } else { 0.0 };
        self.fast += (value - self.fast) * step(elapsed_ms, fast_ms.min(self.age_ms));
        self.slow += (value - self.slow) * step(elapsed_ms, slow_ms.min(self.age_ms));
        self.age_ms = self.age_ms.saturating_add(elapsed_ms).min(slow_ms.max(fast_ms));
    }

    /// Begins anew: the next value sets both averages.
    pub fn forget(&mut self) {
        self.age_ms = 0;
    }

    /// The weight that the next value has in an average over a window.
    pub fn step(&self, elapsed_ms: u64, window_ms: u64) -> f64 {
        step(elapsed_ms, window_ms.min(self.age_ms))
    }

    /// The average that follows within seconds.
    pub fn fast(&self) -> f64 {
        self.fast
    }

    /// The average that plans are made on.
    pub fn slow(&self) -> f64 {
        self.slow
    }
}

fn step(elapsed_ms: u64, window_ms: u64) -> f64 {
    let elapsed = elapsed_ms as f64;
    if window_ms == 0 { 1.0 } else { elapsed / (elapsed + window_ms as f64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fast_leads_and_both_arrive() {
        let mut load = Ewma::default();
        (0..30).for_each(|_| load.update(0.0, 5_000, 15_000, 120_000));
        for _ in 0..6 {
            load.update(1.0, 5_000, 15_000, 120_000);
        }
        assert!(load.fast() > 0.8 && load.slow() < 0.3, "{load:?}");
        for _ in 0..1_000 {
            load.update(1.0, 5_000, 15_000, 120_000);
        }
        assert!(load.slow() > 0.999);
    }

    #[test]
    fn a_beginning_is_a_plain_average() {
        let mut load = Ewma::default();
        for (value, average) in [(6.0, 6.0), (0.0, 3.0), (3.0, 3.0)] {
            load.update(value, 5_000, 15_000, 120_000);
            assert!((load.slow() - average).abs() < 1e-9, "{load:?}");
        }
        load.forget();
        load.update(7.0, 5_000, 15_000, 120_000);
        assert_eq!((load.fast(), load.slow()), (7.0, 7.0));
    }

    #[test]
    fn nonsense_counts_as_nothing() {
        let mut load = Ewma::default();
        load.update(f64::NAN, 1, 1, 1);
        load.update(f64::INFINITY, 1, 1, 1);
        load.update(-3.0, 1, 1, 1);
        assert_eq!(load.fast(), 0.0);
    }
}
