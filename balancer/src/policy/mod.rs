//! Every `balancer-*` directive: parsed, validated, rendered, and turned into the planner's
//! goals and the windows' schedules.

mod directives;
mod value;

pub use directives::{DIRECTIVES, Directive};
pub use value::PolicyError;

use jiff::tz::TimeZone;

use crate::model::{LoadSnapshot, Tier};
use crate::plan::{Goal, Threshold, Trigger};
use crate::window::{Blackout, Schedule, SkippedRange, WindowSet, parse_zone};

/// What a tier may do on its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Nothing, not even plans.
    Off,
    /// Plans are made and recorded, nothing moves.
    Dryrun,
    /// Plans wait for `BALANCER APPLY`.
    Manual,
    /// Plans are carried out when a window is open.
    #[default]
    Auto,
}

/// What happens to running node moves when the window closes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WindowClose {
    /// Running chunks are finished, within the grace.
    #[default]
    Finish,
    /// The slot under way is finished, the rest of its chunk is not started.
    Pause,
    /// Running chunks are cancelled; the source still owns them.
    Abort,
}

/// What an emergency may do outside windows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Emergency {
    /// Nothing.
    Off,
    /// Hand-overs inside the node.
    #[default]
    Thread,
    /// Node moves as well.
    All,
}

/// The windows of the thread tier.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum ThreadWindows {
    /// Those of `balancer-windows`.
    #[default]
    Inherit,
    /// Its own.
    Own(WindowSet),
}

/// A pair of numbers for the two tiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerTier {
    /// Thread tier.
    pub thread: u64,
    /// Node tier.
    pub node: u64,
}

impl PerTier {
    /// The number of a tier.
    pub fn of(self, tier: Tier) -> u64 {
        match tier {
            Tier::Thread => self.thread,
            Tier::Node => self.node,
        }
    }
}

/// The settings behind the directives; see [`DIRECTIVES`] for names, defaults and documentation.
/// Thresholds and fills are fractions (0.05 = 5 points).
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "each field is the directive of its name")]
pub struct Policy {
    pub thread_mode: Mode,
    pub node_mode: Mode,
    pub windows: WindowSet,
    pub thread_windows: ThreadWindows,
    pub timezone: TimeZone,
    pub blackout: Vec<Blackout>,
    pub window_close: WindowClose,
    pub window_grace_s: u64,
    pub thread_memory: Threshold,
    pub thread_load: Threshold,
    pub node_memory: Threshold,
    pub node_load: Threshold,
    pub load_min: f64,
    pub min_gain: f64,
    pub confirm: u32,
    pub interval_s: PerTier,
    pub load_window_fast_s: u64,
    pub load_window_slow_s: u64,
    pub slot_cooldown_s: PerTier,
    pub thread_batch: usize,
    pub node_concurrency_cluster: usize,
    pub node_concurrency_direction: usize,
    pub node_bandwidth: u64,
    pub node_chunk: u64,
    pub node_bytes_per_window: u64,
    pub latency_guard_ms: u64,
    pub target_fill: f64,
    pub emergency: Emergency,
    pub emergency_fill: Threshold,
    pub max_ranges: usize,
    pub capacity: u64,
    pub weight: u64,
    pub plan_ttl_s: u64,
    pub history_len: usize,
}

impl Default for Policy {
    fn default() -> Policy {
        let points = |start: f64, stop: f64| Threshold { start: start / 100.0, stop: stop / 100.0 };
        Policy {
            thread_mode: Mode::Auto,
            node_mode: Mode::Auto,
            windows: WindowSet::Always,
            thread_windows: ThreadWindows::Inherit,
            timezone: parse_zone("UTC").unwrap_or(TimeZone::UTC),
            blackout: Vec::new(),
            window_close: WindowClose::Finish,
            window_grace_s: 600,
            thread_memory: points(10.0, 5.0),
            thread_load: points(10.0, 5.0),
            node_memory: points(10.0, 5.0),
            node_load: points(20.0, 10.0),
            load_min: 0.30,
            min_gain: 0.01,
            confirm: 3,
            interval_s: PerTier { thread: 5, node: 60 },
            load_window_fast_s: 15,
            load_window_slow_s: 120,
            slot_cooldown_s: PerTier { thread: 60, node: 3_600 },
            thread_batch: 64,
            node_concurrency_cluster: 2,
            node_concurrency_direction: 1,
            node_bandwidth: 64 << 20,
            node_chunk: 64 << 20,
            node_bytes_per_window: 0,
            latency_guard_ms: 0,
            target_fill: 0.85,
            emergency: Emergency::Thread,
            emergency_fill: points(95.0, 90.0),
            max_ranges: 0,
            capacity: 0,
            weight: 100,
            plan_ttl_s: 900,
            history_len: 128,
        }
    }
}

/// Something legal that probably is not meant.
#[derive(Clone, Debug, PartialEq)]
pub enum Warning {
    /// Nothing will ever start on its own.
    NeverOpen,
    /// A range does not exist on a day on which the clock is put forward.
    SkippedRange(SkippedRange),
    /// The goal is finer than the largest slot.
    BelowGranularity {
        /// Largest slot's share of the smallest capacity, a fraction.
        largest_slot: f64,
        /// The stop threshold.
        stop: f64,
    },
    /// The queue cannot be moved in the windows of a week.
    WindowsTooSmall {
        /// Bytes wanted.
        needed_bytes: u64,
        /// Bytes that the windows of a week allow.
        weekly_bytes: u64,
    },
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Warning::NeverOpen => f.write_str("windows are 'never': plans are made, nothing moves"),
            Warning::SkippedRange(skipped) => write!(
                f,
                "on {} the clock is put forward over {:02}:{:02}-{:02}:{:02}: no opening that day",
                skipped.date,
                skipped.range.start / 60,
                skipped.range.start % 60,
                skipped.range.end / 60,
                skipped.range.end % 60
            ),
            Warning::BelowGranularity { largest_slot, stop } => write!(
                f,
                "goal below the granularity: stop is {:.1} points, the largest slot is {:.1}",
                stop * 100.0,
                largest_slot * 100.0
            ),
            Warning::WindowsTooSmall { needed_bytes, weekly_bytes } => write!(
                f,
                "windows too small: {needed_bytes} bytes are queued, a week's windows move \
                 {weekly_bytes}"
            ),
        }
    }
}

impl Policy {
    /// Sets one directive from its text.
    ///
    /// # Errors
    /// [`PolicyError`] for an unknown name or a bad value; the policy is then unchanged.
    pub fn set(&mut self, name: &str, value: &str) -> Result<Option<Warning>, PolicyError> {
        let directive = directives::find(name)?;
        let mut changed = self.clone();
        (directive.parse)(&mut changed, value.trim())?;
        *self = changed;
        Ok((directive.name == "balancer-windows" && self.windows == WindowSet::Never)
            .then_some(Warning::NeverOpen))
    }

    /// The text of one directive, which parses back to the same.
    ///
    /// # Errors
    /// [`PolicyError`] for an unknown name.
    pub fn render(&self, name: &str) -> Result<String, PolicyError> {
        Ok((directives::find(name)?.render)(self))
    }

    /// The mode of a tier.
    pub fn mode(&self, tier: Tier) -> Mode {
        match tier {
            Tier::Thread => self.thread_mode,
            Tier::Node => self.node_mode,
        }
    }

    /// When a tier may start work.
    pub fn schedule(&self, tier: Tier) -> Schedule {
        let windows = match (tier, &self.thread_windows) {
            (Tier::Thread, ThreadWindows::Own(windows)) => windows,
            _ => &self.windows,
        };
        Schedule {
            windows: windows.clone(),
            zone: self.timezone.clone(),
            blackout: self.blackout.clone(),
        }
    }

    /// The planner's goal for a tier. `nodes` sets the default limit on ranges.
    pub fn goal(&self, tier: Tier, nodes: usize, trigger: Trigger) -> Goal {
        let (memory, load) = match tier {
            Tier::Thread => (self.thread_memory, self.thread_load),
            Tier::Node => (self.node_memory, self.node_load),
        };
        let default_ranges = 16 * nodes + 64;
        let ranges_max = if self.max_ranges == 0 { default_ranges } else { self.max_ranges };
        Goal {
            tier,
            memory,
            load: (load.start > 0.0).then_some(load),
            load_min: self.load_min,
            min_gain: self.min_gain,
            target_fill: self.target_fill,
            ranges_max: (tier == Tier::Node).then_some(ranges_max),
            bytes_max: None,
            effort_max: Goal::EFFORT_MAX,
            trigger,
        }
    }

    /// Fast and slow averaging windows in milliseconds; the node tier's are eight times longer.
    pub fn load_windows_ms(&self, tier: Tier) -> (u64, u64) {
        let factor = match tier {
            Tier::Thread => 1_000,
            Tier::Node => 8_000,
        };
        (self.load_window_fast_s * factor, self.load_window_slow_s * factor)
    }

    /// How long a moved slot stays, in milliseconds.
    pub fn cooldown_ms(&self, tier: Tier) -> u64 {
        self.slot_cooldown_s.of(tier) * 1_000
    }

    /// Warnings that need to know the time and the data.
    pub fn warnings(&self, tier: Tier, unix_ms: i64, snapshot: &LoadSnapshot) -> Vec<Warning> {
        let schedule = self.schedule(tier);
        let mut warnings: Vec<Warning> =
            schedule.skipped_ranges(unix_ms).into_iter().map(Warning::SkippedRange).collect();
        if schedule.windows == WindowSet::Never {
            warnings.push(Warning::NeverOpen);
        }
        let smallest = snapshot.shards.iter().map(|shard| shard.capacity_bytes);
        let smallest = smallest.filter(|&capacity| capacity > 0).min().unwrap_or(0);
        let largest = snapshot.slots.iter().map(|slot| slot.bytes).max().unwrap_or(0);
        let stop = self.goal(tier, snapshot.shards.len(), Trigger::Start).memory.stop;
        if smallest > 0 && stop < 2.0 * largest as f64 / smallest as f64 {
            let largest_slot = largest as f64 / smallest as f64;
            warnings.push(Warning::BelowGranularity { largest_slot, stop });
        }
        warnings
    }

    /// Warns if `needed_bytes` cannot be moved in the windows of a week (node tier).
    pub fn queue_warning(&self, unix_ms: i64, needed_bytes: u64) -> Option<Warning> {
        if self.node_bandwidth == 0 {
            return None;
        }
        let open_s = self.schedule(Tier::Node).open_ms_per_week(unix_ms) / 1_000;
        let weekly_bytes = self.node_bandwidth.saturating_mul(u64::try_from(open_s).unwrap_or(0));
        (needed_bytes > weekly_bytes)
            .then_some(Warning::WindowsTooSmall { needed_bytes, weekly_bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_table() {
        let policy = Policy::default();
        for directive in DIRECTIVES {
            assert_eq!((directive.render)(&policy), directive.default, "{}", directive.name);
            assert!(!directive.doc.is_empty());
            let mut again = Policy::default();
            again.set(directive.name, directive.default).unwrap();
            assert_eq!(again, policy, "{}", directive.name);
        }
    }

    #[test]
    fn values_round_trip() {
        for (name, value, rendered) in [
            ("balancer-thread-mode", "DRYRUN", "dryrun"),
            ("balancer-windows", "sat 22:00-06:00", "sat 22:00-06:00"),
            ("balancer-thread-windows", "always", "always"),
            ("balancer-thread-windows", "Inherit", "inherit"),
            ("balancer-timezone", "europe/berlin", "Europe/Berlin"),
            ("balancer-blackout", "2026-12-24", "2026-12-24"),
            ("balancer-node-memory", "8 2.5", "8 2.5"),
            ("balancer-node-load", "0 0", "0 0"),
            ("balancer-node-bandwidth", "1gb", "1gb"),
            ("balancer-node-bandwidth", "1000", "1000"),
            ("balancer-emergency", "all", "all"),
            ("balancer-load-window", "10 60", "10 60"),
            ("balancer-interval", "1 30", "1 30"),
        ] {
            let mut policy = Policy::default();
            policy.set(name, value).unwrap();
            assert_eq!(policy.render(name).unwrap(), rendered);
        }
    }

    #[test]
    fn bad_values_change_nothing() {
        for (name, value) in [
            ("balancer-thread-memory", "5 10"),
            ("balancer-thread-memory", "5 5"),
            ("balancer-thread-memory", "101 5"),
            ("balancer-thread-memory", "10"),
            ("balancer-thread-memory", "nan 5"),
            ("balancer-node-memory", "0 0"),
            ("balancer-windows", "sometimes"),
            ("balancer-timezone", "local"),
            ("balancer-confirm", "0"),
            ("balancer-thread-batch", "-1"),
            ("balancer-target-fill", "0"),
            ("balancer-emergency-fill", "90 95"),
            ("balancer-node-chunk", "0"),
            ("balancer-node-bandwidth", "99999999999gb"),
            ("balancer-history-len", "1000000000"),
        ] {
            let mut policy = Policy::default();
            let error = policy.set(name, value).unwrap_err();
            assert!(!error.to_string().is_empty());
            assert_eq!(policy, Policy::default(), "{name} {value}");
        }
        assert!(matches!(
            Policy::default().set("balancer-nonsense", "1"),
            Err(PolicyError::Unknown(_))
        ));
        let warning = Policy::default().set("balancer-windows", "never").unwrap();
        assert_eq!(warning, Some(Warning::NeverOpen));
    }
}
