//! The demo as lines of text: for pipes, and for what is left on the screen at the end.

use std::fmt::Write;

use super::frame::Frame;
use super::reading::{PlanReading, ratio};
use super::words::{bytes, count, milliseconds, per_second};

/// One moment in one line.
pub(super) fn line(frame: &Frame) -> String {
    let mut line = format!("{:>3}s {:<9} fill", frame.seconds, frame.scene.name());
    // Writing to a string cannot fail, here and below.
    for bar in &frame.bars {
        let _ = write!(line, " {:>3.0}", bar.fill * 100.0);
    }
    let _ = write!(line, " %  spread {:>4.1}  evicted/s", frame.spread);
    for bar in &frame.bars {
        let _ = write!(line, " {:>4}", count(bar.evictions));
    }
    let _ = write!(
        line,
        "  moved {:>3}  {:>7}  p99 {}  hits {:.0} %  window {}, {}",
        frame.moves,
        per_second(frame.commands),
        milliseconds(frame.p99_us),
        frame.hit_rate * 100.0,
        if frame.window_open { "open" } else { "closed" },
        frame.state
    );
    line
}

/// A plan before it is carried out.
pub(super) fn plan(plan: &PlanReading) -> String {
    let mut text = format!(
        "plan: {} slots, {}; any plan needs at least {}; spread {:.1} -> {:.1} points\n",
        plan.slots,
        bytes(plan.bytes),
        bytes(plan.lower_bound),
        plan.spread_before,
        plan.spread_after
    );
    for (from, to, slots, moved) in &plan.flows {
        let _ = writeln!(text, "  shard {from} -> {to}: {slots} slots, {}", bytes(*moved));
    }
    for note in &plan.notes {
        let _ = writeln!(text, "  note: {note}");
    }
    text
}

/// What the end is compared with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Shards.
    pub shards: usize,
    /// Before the window opened and at the end, points.
    pub spread: (f64, f64),
    /// Keys evicted until the window opened, while slots moved, and once it was level.
    pub evicted: (u64, u64, u64),
    /// Keys evicted in the last second before and at the end.
    pub evictions_per_s: (f64, f64),
    /// Part of the views that found their page, before and at the end.
    pub hit_rate: (f64, f64),
    /// Slots handed over until it was level, and their bytes.
    pub moved_until_level: (u64, u64),
    /// The same until the end.
    pub moved: (u64, u64),
    /// Of those, what was moved at once so that a full shard need not evict.
    pub relief: (u64, u64),
    /// Least bytes that any plan needed when the window opened.
    pub lower_bound: u64,
    /// Hand-overs that failed.
    pub failed_moves: u64,
    /// From the opening until it was level; `None`: that did not happen.
    pub level_after_ms: Option<u64>,
    /// Commands of all clients.
    pub commands: u64,
    /// Their errors, and the first one's text.
    pub errors: u64,
    /// See `errors`.
    pub complaint: Option<String>,
    /// 99th percentile before, while slots moved, and after.
    pub p99_us: (u64, u64, u64),
}

/// The summary in numbers.
pub(super) fn summary(of: &Summary) -> String {
    let mut text = String::new();
    let mut row = |name: &str, before: String, after: String| {
        let _ = writeln!(text, "  {name:<24}{before:>10}{after:>10}");
    };
    row("", "before".into(), "after".into());
    row("spread, points", format!("{:.1}", of.spread.0), format!("{:.1}", of.spread.1));
    let (before, after) = of.evictions_per_s;
    row("evicted keys a second", count(before), count(after));
    let percent = |part: f64| format!("{:.1} %", part * 100.0);
    row("views that hit", percent(of.hit_rate.0), percent(of.hit_rate.1));
    let p99 = of.p99_us;
    row("client p99", milliseconds(p99.0), milliseconds(p99.2));
    let (before, moving, level) = of.evicted;
    let _ = writeln!(
        text,
        "  evicted keys: {before} before, {moving} while slots moved, {level} since it is level"
    );
    let (slots, moved) = of.moved_until_level;
    let _ = writeln!(
        text,
        "  slots moved: {slots}, {}: {:.3} x the lower bound of {}; {} failed",
        bytes(moved),
        ratio(moved, of.lower_bound),
        bytes(of.lower_bound),
        of.failed_moves
    );
    if of.moved.0 > slots {
        let later = (of.moved.0 - slots, bytes(of.moved.1.saturating_sub(moved)));
        let _ = writeln!(text, "  as evicted pages came back: {} more, {}", later.0, later.1);
    }
    if of.relief.0 > 0 {
        let relief = bytes(of.relief.1);
        let _ = writeln!(text, "  of these at once, against eviction: {}, {relief}", of.relief.0);
    }
    let _ = match of.level_after_ms {
        Some(ms) => writeln!(text, "  level {:.1} s after the window opened", ratio(ms, 1000)),
        None => writeln!(text, "  it was not level when the demo ended"),
    };
    let _ = writeln!(
        text,
        "  clients: {} commands, {} errors, p99 while slots moved {}",
        of.commands,
        of.errors,
        milliseconds(p99.1)
    );
    if let Some(complaint) = &of.complaint {
        let _ = writeln!(text, "  the first error: {complaint}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::frame::tests::example;
    use super::*;

    #[test]
    fn a_moment_is_one_line() {
        assert_eq!(
            line(&example()),
            " 17s levelling fill  99  41  50  44 %  spread 58.0  evicted/s  612    0    0    0  \
             moved  30   6.0k/s  p99 0.82 ms  hits 91 %  window open, running"
        );
    }

    #[test]
    fn a_plan_says_where_slots_go() {
        assert_eq!(
            plan(&example().plan.unwrap_or_default()),
            "plan: 131 slots, 42.0 MB; any plan needs at least 41.5 MB; spread 58.0 -> 4.9 points\n\
             \x20 shard 0 -> 1: 70 slots, 22.9 MB\n\
             \x20 shard 0 -> 3: 61 slots, 19.1 MB\n"
        );
    }

    #[test]
    fn the_summary_has_the_numbers() {
        let text = summary(&Summary {
            shards: 4,
            spread: (58.0, 3.1),
            evicted: (4120, 12, 0),
            evictions_per_s: (612.0, 0.0),
            hit_rate: (0.914, 1.0),
            moved_until_level: (133, 45_088_768),
            moved: (150, 46_137_344),
            relief: (2, 1_048_576),
            lower_bound: 43_515_904,
            failed_moves: 0,
            level_after_ms: Some(3_200),
            commands: 240_000,
            errors: 0,
            complaint: None,
            p99_us: (816, 902, 640),
        });
        let expected = [
            "                              before     after",
            "  spread, points                58.0       3.1",
            "  evicted keys a second          612         0",
            "  views that hit              91.4 %   100.0 %",
            "  client p99                 0.82 ms   0.64 ms",
            "  evicted keys: 4120 before, 12 while slots moved, 0 since it is level",
            "  slots moved: 133, 43.0 MB: 1.036 x the lower bound of 41.5 MB; 0 failed",
            "  as evicted pages came back: 17 more, 1.0 MB",
            "  of these at once, against eviction: 2, 1.0 MB",
            "  level 3.2 s after the window opened",
            "  clients: 240000 commands, 0 errors, p99 while slots moved 0.90 ms",
            "",
        ];
        assert_eq!(text, expected.join("\n"));
    }
}
