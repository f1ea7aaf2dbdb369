//! How long hand-overs of slots took.

use hdrhistogram::Histogram;

/// Longer ones count as this many nanoseconds.
const NS_MAX: u64 = 10_000_000_000;

/// How long hand-overs took, in nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct HandOverTimes {
    /// The time of the thread that gave a slot away, with waking the other one.
    pub(crate) give: Histogram<u64>,
    /// The time of the thread that took a slot over.
    pub(crate) adopt: Histogram<u64>,
    /// From the moment at which the slot could no longer be used until it could again.
    pub(crate) pause: Histogram<u64>,
}

impl Default for HandOverTimes {
    fn default() -> HandOverTimes {
        // One digit: within ten per cent, in some kilobytes.
        let histogram = || Histogram::new_with_max(NS_MAX, 1).expect("it is a valid range");
        HandOverTimes { give: histogram(), adopt: histogram(), pause: histogram() }
    }
}

impl HandOverTimes {
    /// Adds those of another shard.
    pub(crate) fn add(&mut self, other: &HandOverTimes) {
        let pairs = [
            (&mut self.give, &other.give),
            (&mut self.adopt, &other.adopt),
            (&mut self.pause, &other.pause),
        ];
        for (own, others) in pairs {
            own.add(others).expect("they are of one range");
        }
    }
}
