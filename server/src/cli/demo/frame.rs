//! What is shown at one moment, worked out from the last readings. Knows no terminal.

use std::collections::VecDeque;

use super::reading::{PlanReading, Reading, ratio};
use super::story::Scene;

/// Rates are of the last second, or a little more.
const RATE_MS: u64 = 1000;
/// Readings kept for rates.
const READINGS_MAX: usize = 64;
/// Moments kept for the lines of spread and evictions: one a second at most.
const HISTORY_MAX: usize = 240;

/// One shard's column.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Bar {
    pub(super) bytes: u64,
    /// Of its capacity; may be over 1 while relief is on its way.
    pub(super) fill: f64,
    pub(super) slots: u64,
    /// Commands a second.
    pub(super) commands: f64,
    /// Points of a core.
    pub(super) cpu: f64,
    /// Keys a second.
    pub(super) evictions: f64,
    /// Slots that came and left since the start.
    pub(super) arrived: u64,
    pub(super) left: u64,
}

/// What the visitors of the shop see.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Visitors {
    /// Commands since the start.
    pub(super) commands: u64,
    pub(super) hits: u64,
    pub(super) misses: u64,
    pub(super) errors: u64,
    /// 99th percentile since the last moment.
    pub(super) p99_us: u64,
}

/// One moment.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Frame {
    pub(super) seconds: u64,
    pub(super) address: String,
    pub(super) scene: Scene,
    pub(super) capacity: u64,
    pub(super) bars: Vec<Bar>,
    /// Points.
    pub(super) spread: f64,
    /// Oldest first, one a second.
    pub(super) spreads: Vec<f64>,
    /// Keys a second, all shards.
    pub(super) evictions: f64,
    pub(super) evictions_before: Vec<f64>,
    pub(super) evicted: u64,
    pub(super) window_open: bool,
    pub(super) windows: String,
    pub(super) state: String,
    pub(super) reason: String,
    pub(super) queued_moves: u64,
    pub(super) queued_bytes: u64,
    pub(super) plan: Option<PlanReading>,
    pub(super) moves: u64,
    pub(super) moved_bytes: u64,
    /// Commands a second.
    pub(super) commands: f64,
    /// Part of the views that found their page, of the last second.
    pub(super) hit_rate: f64,
    pub(super) p99_us: u64,
    pub(super) errors: u64,
}

/// Remembers readings, so that counters become rates.
#[derive(Debug, Default)]
pub(super) struct Memory {
    readings: VecDeque<(Reading, Visitors)>,
    spreads: VecDeque<f64>,
    evictions: VecDeque<f64>,
    /// The second that the newest of those belongs to.
    second: Option<u64>,
}

impl Memory {
    /// Takes in a reading and answers what is to be shown.
    pub(super) fn frame(&mut self, reading: &Reading, visitors: Visitors, scene: Scene) -> Frame {
        let old = self.readings.iter().rev();
        let mut old = old.filter(|(old, _)| old.at_ms + RATE_MS <= reading.at_ms);
        let first = || self.readings.front();
        let (before, visitors_before) =
            old.next().or_else(first).cloned().unwrap_or((reading.clone(), visitors));
        let elapsed_ms = reading.at_ms.saturating_sub(before.at_ms);
        let rate = |now: u64, then: u64| ratio(now.saturating_sub(then) * 1000, elapsed_ms);
        let mut bars = Vec::new();
        for (at, shard) in reading.shards.iter().enumerate() {
            let then = before.shards.get(at).copied().unwrap_or_default();
            bars.push(Bar {
                bytes: shard.bytes,
                fill: reading.fill(shard),
                slots: shard.slots,
                commands: rate(shard.commands, then.commands),
                cpu: shard.cpu,
                evictions: rate(shard.evicted, then.evicted),
                arrived: shard.adopted,
                left: shard.handed_over,
            });
        }
        let evictions = rate(reading.evicted(), before.evicted());
        let hits = visitors.hits - visitors_before.hits;
        let views = hits + visitors.misses - visitors_before.misses;
        self.remember(reading, visitors, evictions);
        Frame {
            seconds: reading.at_ms / 1000,
            address: String::new(),
            scene,
            capacity: reading.capacity,
            bars,
            spread: reading.spread(),
            spreads: self.spreads.iter().copied().collect(),
            evictions,
            evictions_before: self.evictions.iter().copied().collect(),
            evicted: reading.evicted(),
            window_open: reading.window_open,
            windows: reading.windows.clone(),
            state: reading.state.clone(),
            reason: reading.reason.clone(),
            queued_moves: reading.queued_moves,
            queued_bytes: reading.queued_bytes,
            plan: None,
            moves: reading.moves,
            moved_bytes: reading.moved_bytes,
            commands: rate(visitors.commands, visitors_before.commands),
            hit_rate: if views == 0 { 1.0 } else { ratio(hits, views) },
            p99_us: visitors.p99_us,
            errors: visitors.errors,
        }
    }

    fn remember(&mut self, reading: &Reading, visitors: Visitors, evictions: f64) {
        push(&mut self.readings, (reading.clone(), visitors), READINGS_MAX);
        let second = Some(reading.at_ms / 1000);
        if self.second != second {
            self.second = second;
            push(&mut self.spreads, reading.spread(), HISTORY_MAX);
            push(&mut self.evictions, evictions, HISTORY_MAX);
        }
    }
}

fn push<T>(queue: &mut VecDeque<T>, item: T, most: usize) {
    if queue.len() == most {
        queue.pop_front();
    }
    queue.push_back(item);
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::reading::ShardReading;
    use super::*;

    /// The moment that pictures of it are compared with.
    pub(in super::super) fn example() -> Frame {
        let bar = |fill: f64, evictions: f64, left: u64, arrived: u64| Bar {
            bytes: (fill * 640.0) as u64 * 100_000,
            fill,
            slots: 4096 + arrived - left,
            commands: 1500.0,
            cpu: 12.0,
            evictions,
            arrived,
            left,
        };
        Frame {
            seconds: 17,
            address: "127.0.0.1:7000".into(),
            scene: Scene::Levelling,
            capacity: 64_000_000,
            bars: vec![
                bar(0.99, 612.0, 30, 0),
                bar(0.41, 0.0, 0, 18),
                bar(0.5, 0.0, 0, 0),
                bar(0.44, 0.0, 0, 12),
            ],
            spread: 58.0,
            spreads: vec![0.0, 5.0, 10.0, 20.0, 40.0, 60.0, 58.0],
            evictions: 612.0,
            evictions_before: vec![0.0, 0.0, 0.0, 100.0, 400.0, 700.0, 612.0],
            evicted: 4120,
            window_open: true,
            windows: "always".into(),
            state: "running".into(),
            reason: "balanced".into(),
            queued_moves: 0,
            queued_bytes: 0,
            plan: Some(PlanReading {
                slots: 131,
                bytes: 44_040_192,
                lower_bound: 43_515_904,
                spread_before: 58.0,
                spread_after: 4.9,
                flows: vec![(0, 1, 70, 24_040_192), (0, 3, 61, 20_000_000)],
                notes: vec![],
            }),
            moves: 30,
            moved_bytes: 9_437_184,
            commands: 6012.0,
            hit_rate: 0.914,
            p99_us: 816,
            errors: 0,
        }
    }

    #[test]
    fn counters_become_rates_of_the_last_second() {
        let mut memory = Memory::default();
        let mut last = None;
        for step in 0..=8_u64 {
            let shard = ShardReading {
                bytes: 100 * step,
                commands: 250 * step,
                evicted: if step > 4 { (step - 4) * 10 } else { 0 },
                ..ShardReading::default()
            };
            let reading = Reading {
                at_ms: step * 250,
                capacity: 1000,
                shards: vec![shard, ShardReading::default()],
                ..Reading::default()
            };
            let visitors = Visitors { hits: step * 3, misses: step, ..Visitors::default() };
            last = Some(memory.frame(&reading, visitors, Scene::Uneven));
        }
        let frame = last.expect("nine moments");
        assert_eq!((frame.bars[0].commands, frame.bars[0].evictions), (1000.0, 40.0));
        assert_eq!((frame.spread, frame.hit_rate, frame.evicted), (80.0, 0.75, 40));
        assert_eq!(frame.spreads, [0.0, 40.0, 80.0]);
    }
}
