//! Events that took longer than `latency-monitor-threshold`, as `LATENCY` shows them: the last
//! samples of each kind, per shard, put together by whoever reads them.

use std::collections::VecDeque;
use std::time::Duration;

/// What took long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A command.
    Command,
    /// A command that Redis calls fast.
    FastCommand,
    /// A slice of active expiry.
    ExpireCycle,
    /// Eviction before a command.
    EvictionCycle,
    /// Writing to the append-only file.
    AofWrite,
    /// The same, while it was flushed.
    AofWritePendingFsync,
    /// The same, while a snapshot was written.
    AofWriteActiveChild,
    /// The same, while neither was.
    AofWriteAlone,
    /// Flushing the append-only file before the replies.
    AofFsyncAlways,
}

/// All kinds, in the order in which they are shown.
const EVENTS: [Event; 9] = [
    Event::Command,
    Event::FastCommand,
    Event::ExpireCycle,
    Event::EvictionCycle,
    Event::AofWrite,
    Event::AofWritePendingFsync,
    Event::AofWriteActiveChild,
    Event::AofWriteAlone,
    Event::AofFsyncAlways,
];

/// Samples kept per event, as Redis keeps them.
const SAMPLES_MAX: usize = 160;

impl Event {
    /// Its name in `LATENCY`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Event::Command => "command",
            Event::FastCommand => "fast-command",
            Event::ExpireCycle => "expire-cycle",
            Event::EvictionCycle => "eviction-cycle",
            Event::AofWrite => "aof-write",
            Event::AofWritePendingFsync => "aof-write-pending-fsync",
            Event::AofWriteActiveChild => "aof-write-active-child",
            Event::AofWriteAlone => "aof-write-alone",
            Event::AofFsyncAlways => "aof-fsync-always",
        }
    }
}

/// The worst of one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Unix seconds.
    pub(crate) at_s: i64,
    /// How long it took.
    pub(crate) ms: u64,
}

/// The samples of one kind of event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct History {
    /// Oldest first, at most [`SAMPLES_MAX`], one per second.
    pub(crate) samples: VecDeque<Sample>,
    /// The worst ever.
    pub(crate) worst_ms: u64,
}

impl History {
    fn add(&mut self, sample: Sample) {
        self.worst_ms = self.worst_ms.max(sample.ms);
        match self.samples.back_mut() {
            Some(last) if last.at_s == sample.at_s => last.ms = last.ms.max(sample.ms),
            _ => {
                if self.samples.len() == SAMPLES_MAX {
                    self.samples.pop_front();
                }
                self.samples.push_back(sample);
            }
        }
    }

    /// The history of several shards.
    fn merged<'a>(histories: impl Iterator<Item = &'a History>) -> History {
        let mut worst_ms = 0;
        let mut samples: Vec<Sample> = Vec::new();
        for history in histories {
            worst_ms = worst_ms.max(history.worst_ms);
            samples.extend(&history.samples);
        }
        samples.sort_by_key(|sample| sample.at_s);
        let mut merged = History::default();
        samples.into_iter().for_each(|sample| merged.add(sample));
        merged.worst_ms = worst_ms;
        merged
    }
}

/// The events of a shard, or of the threads that are none.
#[derive(Clone, Debug)]
pub(crate) struct Latency {
    /// `Duration::MAX`: nothing is kept.
    threshold: Duration,
    histories: [History; EVENTS.len()],
}

impl Default for Latency {
    fn default() -> Latency {
        Latency { threshold: Duration::MAX, histories: Default::default() }
    }
}

impl Latency {
    /// Takes over the threshold; 0 milliseconds: off.
    pub(crate) fn configure(&mut self, threshold_ms: u64) {
        self.threshold = match threshold_ms {
            0 => Duration::MAX,
            ms => Duration::from_millis(ms),
        };
    }

    /// Something took so long and is over at `now_ms`.
    #[inline]
    pub(crate) fn took(&mut self, event: Event, took: Duration, now_ms: i64) {
        if took >= self.threshold {
            let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            self.histories[event as usize].add(Sample { at_s: now_ms / 1000, ms });
        }
    }

    /// Forgets the events that `wanted` has, in any case, or all. Answers the names of those that
    /// there were.
    pub(crate) fn reset(&mut self, wanted: &[Vec<u8>]) -> Vec<&'static str> {
        let mut names = Vec::new();
        for event in EVENTS {
            let history = &mut self.histories[event as usize];
            let is_wanted = wanted.is_empty()
                || wanted.iter().any(|name| name.eq_ignore_ascii_case(event.name().as_bytes()));
            if is_wanted && !history.samples.is_empty() {
                *history = History::default();
                names.push(event.name());
            }
        }
        names
    }

    /// The events that several shards have samples of, together.
    pub(crate) fn merged(shards: &[Latency]) -> Vec<(Event, History)> {
        EVENTS
            .into_iter()
            .map(|event| {
                let histories = shards.iter().map(|shard| &shard.histories[event as usize]);
                (event, History::merged(histories))
            })
            .filter(|(_, history)| !history.samples.is_empty())
            .collect()
    }
}

/// Whether `name` is the event's. But for a reset, Redis takes it exactly as it is written.
pub(crate) fn is_name(event: Event, name: &[u8]) -> bool {
    event.name().as_bytes() == name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latency() -> Latency {
        let mut latency = Latency::default();
        latency.configure(10);
        latency
    }

    fn took(latency: &mut Latency, ms: u64, at_s: i64) {
        latency.took(Event::Command, Duration::from_millis(ms), at_s * 1000 + 999);
    }

    #[test]
    fn a_second_has_one_sample_the_worst() {
        let mut latency = latency();
        for (ms, at_s) in [(9, 1), (10, 1), (30, 1), (20, 1), (11, 2)] {
            took(&mut latency, ms, at_s);
        }
        let merged = Latency::merged(&[latency]);
        let (event, history) = &merged[0];
        assert_eq!(*event, Event::Command);
        assert_eq!(history.samples, [Sample { at_s: 1, ms: 30 }, Sample { at_s: 2, ms: 11 }]);
        assert_eq!(history.worst_ms, 30);
    }

    #[test]
    fn the_oldest_go_but_the_worst_is_remembered() {
        let mut latency = latency();
        took(&mut latency, 500, 0);
        (1..=160).for_each(|at_s| took(&mut latency, 10, at_s));
        let merged = Latency::merged(&[latency]);
        assert_eq!(merged[0].1.samples.len(), SAMPLES_MAX);
        assert_eq!(merged[0].1.samples[0], Sample { at_s: 1, ms: 10 });
        assert_eq!(merged[0].1.worst_ms, 500);
    }

    #[test]
    fn shards_are_put_together_by_time() {
        let (mut one, mut two) = (latency(), latency());
        took(&mut one, 10, 1);
        took(&mut two, 20, 2);
        took(&mut one, 30, 2);
        took(&mut one, 40, 3);
        let samples: Vec<_> = Latency::merged(&[one, two])[0].1.samples.iter().copied().collect();
        assert_eq!(samples.iter().map(|sample| sample.ms).collect::<Vec<_>>(), [10, 30, 40]);
    }

    #[test]
    fn without_a_threshold_nothing_is_kept_and_a_reset_names_what_there_was() {
        let mut latency = Latency::default();
        took(&mut latency, 1_000_000, 1);
        assert!(Latency::merged(&[latency.clone()]).is_empty());
        latency.configure(1);
        took(&mut latency, 1, 1);
        assert!(latency.reset(&[b"fork".to_vec()]).is_empty());
        assert_eq!(latency.reset(&[b"command".to_vec()]), ["command"]);
        assert!(latency.reset(&[]).is_empty());
    }
}
