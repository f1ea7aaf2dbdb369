//! Draws a moment as lines of styled text: a skyline of the shards and what goes with it. Knows
//! no terminal; a unit test compares the exact text.

use super::frame::{Bar, Frame};
use super::story::Scene;
use super::words::{bytes, count, milliseconds, padded, per_second};

/// How a piece of text looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Usual,
    /// What matters.
    Strong,
    /// What does not.
    Faint,
    Good,
    Warm,
    Hot,
}

/// A line: pieces from left to right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) pieces: Vec<(Style, String)>,
}

impl Line {
    fn of(style: Style, text: impl Into<String>) -> Line {
        Line::default().and(style, text)
    }

    fn and(mut self, style: Style, text: impl Into<String>) -> Line {
        self.pieces.push((style, text.into()));
        self
    }

    /// Cut to a width. Every character here is one column wide.
    fn cut(mut self, width: usize) -> Line {
        let mut left = width;
        for (_, text) in &mut self.pieces {
            if let Some((end, _)) = text.char_indices().nth(left) {
                text.truncate(end);
            }
            left -= text.chars().count();
        }
        self
    }
}

/// Columns left of the skyline, for the axis.
const MARGIN: usize = 8;
/// A column's label is this wide at least.
const COLUMN_MIN: usize = 6;
const COLUMN_MAX: usize = 20;
/// Rows besides the skyline.
const OTHER_ROWS: usize = 15;
/// Rows of the skyline.
const SKYLINE_MIN: usize = 3;
const SKYLINE_MAX: usize = 24;
/// Steps of a character cell.
const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Above this fill a column is warm, and hot at its limit.
const WARM: f64 = 0.80;
const HOT: f64 = 0.97;
/// Evictions and spreads at which their lines are full.
const SPREAD_FULL: f64 = 60.0;

/// Draws `frame` for a terminal of that many columns and rows; never more than that.
pub(super) fn draw(frame: &Frame, columns: usize, rows: usize) -> Vec<Line> {
    let height = rows.saturating_sub(OTHER_ROWS).clamp(SKYLINE_MIN, SKYLINE_MAX);
    // The last column stays free: some terminals wrap when it is written.
    let width = columns.saturating_sub(1);
    let column =
        (width.saturating_sub(MARGIN) / frame.bars.len().max(1)).clamp(COLUMN_MIN, COLUMN_MAX);
    let mut lines = vec![title(frame, width), story(frame), Line::default()];
    lines.extend((0..height).map(|row| skyline(frame, height - 1 - row, height, column)));
    lines.push(ground(frame, column));
    lines.extend(labels(frame, column));
    lines.extend(trends(frame, width));
    lines.push(window(frame));
    lines.push(plan(frame));
    lines.push(visitors(frame));
    lines.truncate(rows);
    lines.into_iter().map(|line| line.cut(width)).collect()
}

fn title(frame: &Frame, width: usize) -> Line {
    let left = format!(
        " Ballast demo  {}  {} shards of {}",
        frame.address,
        frame.bars.len(),
        bytes(frame.capacity)
    );
    let right = format!("{:02}:{:02} ", frame.seconds / 60, frame.seconds % 60);
    let gap = width.saturating_sub(left.chars().count() + right.len());
    Line::of(Style::Strong, left).and(Style::Faint, format!("{}{right}", " ".repeat(gap)))
}

fn story(frame: &Frame) -> Line {
    let style = match frame.scene {
        Scene::Filling | Scene::Done => Style::Usual,
        Scene::Uneven => Style::Hot,
        Scene::Levelling => Style::Warm,
        Scene::Level => Style::Good,
    };
    Line::of(style, format!(" {}", frame.scene.sentence()))
}

/// One row of the columns; row 0 is the lowest.
fn skyline(frame: &Frame, row: usize, height: usize, column: usize) -> Line {
    let axis = match row {
        _ if row + 1 == height => "  100 % ",
        _ if row * 2 == height || row * 2 == height + 1 => "   50 % ",
        _ => "        ",
    };
    let mut line = Line::of(Style::Faint, axis);
    for bar in &frame.bars {
        #[allow(clippy::cast_precision_loss, reason = "rows are few")]
        let eighths = (bar.fill.min(1.0) * height as f64 - row as f64) * 8.0;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
        let eighths = eighths.round().clamp(0.0, 8.0) as usize;
        let block = EIGHTHS[eighths].to_string().repeat(column - 2);
        line = line.and(style_of(bar), format!(" {block} "));
    }
    line
}

fn style_of(bar: &Bar) -> Style {
    match bar.fill {
        fill if fill >= HOT => Style::Hot,
        fill if fill >= WARM => Style::Warm,
        _ => Style::Good,
    }
}

fn ground(frame: &Frame, column: usize) -> Line {
    let ground = "─".repeat(column * frame.bars.len());
    Line::of(Style::Faint, format!("        {ground}"))
}

/// The figures under the columns.
fn labels(frame: &Frame, column: usize) -> Vec<Line> {
    let row = |name: &str, style: &dyn Fn(&Bar) -> Style, text: &dyn Fn(usize, &Bar) -> String| {
        let mut line = Line::of(Style::Faint, format!("{name:>7} "));
        for (at, bar) in frame.bars.iter().enumerate() {
            line = line.and(style(bar), padded(&text(at, bar), column));
        }
        line
    };
    let wide = column >= 14;
    let usual = |_: &Bar| Style::Usual;
    let alarm = |bar: &Bar| if bar.evictions > 0.0 { Style::Hot } else { Style::Faint };
    vec![
        row("shard", &|_| Style::Strong, &|at, _| at.to_string()),
        row("bytes", &style_of, &|_, bar| match wide {
            true => format!("{} {:.0}%", bytes(bar.bytes), bar.fill * 100.0),
            false => format!("{:.0}%", bar.fill * 100.0),
        }),
        row("load", &usual, &|_, bar| match wide {
            true => format!("{} {:.1}%cpu", per_second(bar.commands), bar.cpu),
            false => count(bar.commands),
        }),
        row("evicted", &alarm, &|_, bar| match wide {
            true => per_second(bar.evictions),
            false => count(bar.evictions),
        }),
        row("slots", &usual, &|_, bar| match wide && bar.arrived + bar.left > 0 {
            true => format!("{} -{} +{}", bar.slots, bar.left, bar.arrived),
            false => bar.slots.to_string(),
        }),
    ]
}

/// Spread and evictions over time.
fn trends(frame: &Frame, width: usize) -> [Line; 2] {
    let room = width.saturating_sub(29).min(120);
    let calm = |still: bool| if still { Style::Good } else { Style::Hot };
    let most = frame.evictions_before.iter().copied().fold(1.0, f64::max);
    [
        Line::of(Style::Faint, " spread ")
            .and(Style::Strong, format!("{:5.1} points      ", frame.spread))
            .and(calm(frame.spread < 10.0), trend(&frame.spreads, SPREAD_FULL, room)),
        Line::of(Style::Faint, " evicts ")
            .and(Style::Strong, format!("{:>5}/s ", count(frame.evictions)))
            .and(Style::Faint, format!("{:<10}", format!("({})", frame.evicted)))
            .and(calm(frame.evictions < 1.0), trend(&frame.evictions_before, most, room)),
    ]
}

/// The newest values as a line of blocks, the lowest of which is a flat line.
fn trend(values: &[f64], full: f64, room: usize) -> String {
    let shown = &values[values.len().saturating_sub(room)..];
    let block = |value: &f64| {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
        let eighths = (value / full * 8.0).round().clamp(1.0, 8.0) as usize;
        EIGHTHS[eighths]
    };
    shown.iter().map(block).collect()
}

fn window(frame: &Frame) -> Line {
    let (style, word) =
        if frame.window_open { (Style::Good, "open") } else { (Style::Warm, "closed") };
    let windows = format!("  ({})  ", frame.windows);
    let line = Line::of(Style::Faint, " window ").and(style, word).and(Style::Usual, windows);
    let line = line.and(Style::Strong, format!("balancer {}", frame.state));
    match frame.reason.as_str() {
        "balanced" if frame.state != "idle" => line,
        // It only says that there is more to move than fits into one round.
        "concurrency" => line,
        reason => line.and(Style::Usual, format!(": {reason}")),
    }
}

fn plan(frame: &Frame) -> Line {
    let line = Line::of(Style::Faint, " plan   ");
    let line = match &frame.plan {
        Some(plan) => line.and(
            Style::Usual,
            format!(
                "{} slots, {}, at least {} needed",
                plan.slots,
                bytes(plan.bytes),
                bytes(plan.lower_bound)
            ),
        ),
        None if frame.queued_moves > 0 => line.and(
            Style::Usual,
            format!("{} slots, {}, waiting", frame.queued_moves, bytes(frame.queued_bytes)),
        ),
        None => line.and(Style::Faint, "none"),
    };
    if frame.moves == 0 {
        return line;
    }
    let moved = format!("; moved {}, {}", frame.moves, bytes(frame.moved_bytes));
    line.and(Style::Strong, moved)
}

fn visitors(frame: &Frame) -> Line {
    let errors = if frame.errors == 0 { Style::Good } else { Style::Hot };
    let rest = format!(
        ", p99 {}, {} commands, {:.0} % of views hit",
        milliseconds(frame.p99_us),
        per_second(frame.commands),
        frame.hit_rate * 100.0
    );
    Line::of(Style::Faint, " clients ")
        .and(errors, format!("{} errors", frame.errors))
        .and(Style::Usual, rest)
}

#[cfg(test)]
mod tests {
    use super::super::frame::tests::example;
    use super::*;

    fn text(lines: &[Line]) -> Vec<String> {
        let line = |line: &Line| line.pieces.iter().map(|(_, text)| text.as_str()).collect();
        lines.iter().map(line).map(|line: String| line.trim_end().to_owned()).collect()
    }

    const PICTURE: &str = r"
 Ballast demo  127.0.0.1:7000  4 shards of 61.0 MB                       00:17
 The window is open: slots leave the full shard. Clients go on.

  100 %  ▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇
         ███████████████
         ███████████████
   50 %  ███████████████
         ███████████████                   ▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄
         ███████████████  ▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆  ███████████████  ███████████████
         ███████████████  ███████████████  ███████████████  ███████████████
         ███████████████  ███████████████  ███████████████  ███████████████
         ███████████████  ███████████████  ███████████████  ███████████████
        ────────────────────────────────────────────────────────────────────
  shard         0                1                2                3
  bytes    60.4 MB 99%      25.0 MB 41%      30.5 MB 50%      26.8 MB 44%
   load  1.5k/s 12.0%cpu  1.5k/s 12.0%cpu  1.5k/s 12.0%cpu  1.5k/s 12.0%cpu
evicted       612/s             0/s              0/s              0/s
  slots    4066 -30 +0      4114 -0 +18         4096          4108 -0 +12
 spread  58.0 points      ▁▁▁▃▅██
 evicts   612/s (4120)    ▁▁▁▁▅█▇
 window open  (always)  balancer running
 plan   131 slots, 42.0 MB, at least 41.5 MB needed; moved 30, 9.0 MB
 clients 0 errors, p99 0.82 ms, 6.0k/s commands, 91 % of views hit
";

    #[test]
    fn a_moment_is_drawn_to_the_character() {
        let drawn = text(&draw(&example(), 80, 24)).join("\n");
        assert_eq!(drawn, PICTURE.trim_matches('\n'), "drawn:\n{drawn}");
    }

    #[test]
    fn no_size_is_overrun() {
        let mut frame = example();
        for bars in [1, 2, 4, 16] {
            frame.bars = frame.bars.iter().copied().cycle().take(bars).collect();
            for (columns, rows) in [(0, 0), (1, 1), (20, 5), (80, 24), (500, 200)] {
                let lines = text(&draw(&frame, columns, rows));
                assert!(lines.len() <= rows);
                assert!(lines.iter().all(|line| line.chars().count() < columns.max(1)));
            }
        }
    }
}
