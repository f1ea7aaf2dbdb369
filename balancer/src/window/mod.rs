//! When work may start: a membership test in civil time, and when it will change.
//!
//! Open means: the local weekday is one of the days and the time of day is in `[start, end)`;
//! for a range over midnight, also when *yesterday* is one of the days and it is before the end.
//! Nothing is ever computed as "start plus so many hours", so clock changes need no special case:
//! an hour that does not exist is not open, an hour that happens twice is open twice.

mod grammar;

pub use grammar::{
    BLACKOUTS_MAX, RANGES_MAX, WINDOWS_MAX, WindowError, parse_blackout, parse_windows, parse_zone,
    render_blackout, render_windows, tzdb_version,
};

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan};

/// Local days that are walked to find the next change. A weekly window can lose one week to a
/// clock change, so two weeks and a day on either side.
const HORIZON_DAYS: i32 = 16;
const DAY_MS: i64 = 86_400_000;

/// Time of day in minutes, `[start, end)`; `end < start` runs over midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// 0 to 1,439.
    pub start: u16,
    /// 1 to 1,440.
    pub end: u16,
}

/// Days, ranges and the zone they are meant in.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// Bit 0 is Monday. The day is the one on which the window opens.
    pub days: u8,
    /// At least one.
    pub ranges: Vec<Range>,
    /// `None`: the zone of the schedule.
    pub zone: Option<TimeZone>,
}

/// The parsed value of a windows directive.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum WindowSet {
    /// No restriction.
    #[default]
    Always,
    /// Plans only.
    Never,
    /// Open if any of them is.
    List(Vec<Window>),
}

/// Whole local days without any work, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blackout {
    /// First day.
    pub first: Date,
    /// Last day.
    pub last: Date,
}

/// Windows, their default zone and the blackout dates: everything that decides *when*.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// The windows.
    pub windows: WindowSet,
    /// Zone of windows that name none, and of blackouts where no window names one.
    pub zone: TimeZone,
    /// Dates on which nothing starts, in the zone of the window concerned.
    pub blackout: Vec<Blackout>,
}

/// Why the schedule is closed, or that it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Work may start.
    Open,
    /// No window contains the moment.
    Closed,
    /// A window would contain it, but its day is blacked out.
    Blackout,
}

/// A range that a clock change makes disappear on one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SkippedRange {
    /// The local day.
    pub date: Date,
    /// The range that does not exist on it.
    pub range: Range,
}

impl Schedule {
    /// Always open.
    pub fn always() -> Schedule {
        Schedule { windows: WindowSet::Always, zone: TimeZone::UTC, blackout: Vec::new() }
    }

    /// Whether work may start at this moment (milliseconds since 1970, UTC).
    pub fn is_open(&self, unix_ms: i64) -> bool {
        self.opening(unix_ms) == Opening::Open
    }

    /// The same, with the reason.
    pub fn opening(&self, unix_ms: i64) -> Opening {
        let Ok(moment) = Timestamp::from_millisecond(unix_ms) else { return Opening::Closed };
        match &self.windows {
            WindowSet::Never => Opening::Closed,
            WindowSet::Always => self.unless_blackout(self.zone.to_datetime(moment).date()),
            WindowSet::List(windows) => {
                let mut opening = Opening::Closed;
                for window in windows {
                    let zone = window.zone.as_ref().unwrap_or(&self.zone);
                    let local = zone.to_datetime(moment);
                    if window.contains(local) {
                        opening = self.unless_blackout(local.date());
                    }
                    if opening == Opening::Open {
                        break;
                    }
                }
                opening
            }
        }
    }

    fn unless_blackout(&self, date: Date) -> Opening {
        if self.blackout.iter().any(|entry| entry.first <= date && date <= entry.last) {
            Opening::Blackout
        } else {
            Opening::Open
        }
    }

    /// The next moment at which it opens; `None` if it is open now or never will be.
    pub fn next_open(&self, unix_ms: i64) -> Option<i64> {
        if self.is_open(unix_ms) { None } else { self.next_change(unix_ms) }
    }

    /// The next moment at which it closes; `None` if it is closed now or never will be.
    pub fn next_close(&self, unix_ms: i64) -> Option<i64> {
        if self.is_open(unix_ms) { self.next_change(unix_ms) } else { None }
    }

    /// The next moment at which open becomes closed or closed becomes open.
    pub fn next_change(&self, unix_ms: i64) -> Option<i64> {
        if self.blackout.is_empty() && !matches!(self.windows, WindowSet::List(_)) {
            return None;
        }
        let now = self.is_open(unix_ms);
        let mut zones: Vec<&TimeZone> = vec![&self.zone];
        if let WindowSet::List(windows) = &self.windows {
            zones.extend(windows.iter().filter_map(|window| window.zone.as_ref()));
        }
        let mut moments = Vec::new();
        for first_ms in self.walk_starts(unix_ms) {
            for day in 0..=i64::from(HORIZON_DAYS) {
                let from_ms = first_ms + day * DAY_MS;
                moments.clear();
                self.moments_between(from_ms, &zones, &mut moments);
                moments.retain(|&moment| moment > unix_ms.max(from_ms - 1));
                moments.retain(|&moment| moment <= from_ms + DAY_MS);
                moments.sort_unstable();
                let changed = moments.iter().find(|&&moment| self.is_open(moment) != now);
                if let Some(&moment) = changed {
                    return Some(moment);
                }
            }
        }
        None
    }

    /// Where walks begin: now, and at both ends of each later blackout, in order.
    fn walk_starts(&self, unix_ms: i64) -> Vec<i64> {
        let mut starts = vec![unix_ms];
        for entry in &self.blackout {
            for date in [entry.first, entry.last] {
                if let Ok(zoned) = date.to_zoned(TimeZone::UTC) {
                    // A day early: local dates begin up to 14 hours before those of UTC.
                    starts.push(zoned.timestamp().as_millisecond() - DAY_MS);
                }
            }
        }
        starts.retain(|&start| start >= unix_ms - 3 * DAY_MS);
        starts.sort_unstable();
        starts
    }

    /// At least all moments of the 24 hours from `from_ms` at which membership could change:
    /// local midnights, edges of ranges (each twice when it happens twice), clock changes.
    fn moments_between(&self, from_ms: i64, zones: &[&TimeZone], moments: &mut Vec<i64>) {
        let Ok(from) = Timestamp::from_millisecond(from_ms) else { return };
        for zone in zones {
            for date in dates_around(zone, from) {
                push_instants(zone, date.to_datetime(Time::midnight()), moments);
            }
            let start = from.checked_sub(1.second()).unwrap_or(from);
            let changes = zone.following(start).map(|change| change.timestamp().as_millisecond());
            moments.extend(changes.take_while(|&moment| moment <= from_ms + DAY_MS));
        }
        let WindowSet::List(windows) = &self.windows else { return };
        for window in windows {
            let zone = window.zone.as_ref().unwrap_or(&self.zone);
            for date in dates_around(zone, from) {
                for minute in window.ranges.iter().flat_map(|range| [range.start, range.end]) {
                    if let Some(time) = time_of(minute) {
                        push_instants(zone, date.to_datetime(time), moments);
                    }
                }
            }
        }
    }

    /// Ranges that will not exist on a day of the next year because the clock jumps over them.
    pub fn skipped_ranges(&self, unix_ms: i64) -> Vec<SkippedRange> {
        let mut skipped = Vec::new();
        let (WindowSet::List(windows), Ok(now)) =
            (&self.windows, Timestamp::from_millisecond(unix_ms))
        else {
            return skipped;
        };
        for window in windows {
            let zone = window.zone.as_ref().unwrap_or(&self.zone);
            for change in zone.following(now).take(4) {
                let before = change.timestamp().checked_sub(1.second()).unwrap_or(now);
                let (from, to) = (zone.to_datetime(before), zone.to_datetime(change.timestamp()));
                if from.date() != to.date() || !window.opens_on(from.date()) {
                    continue;
                }
                let (from, to) = (minute_of(from) + 1, minute_of(to));
                let gone = window.ranges.iter().filter(|range| {
                    range.start < range.end && from <= range.start && range.end <= to
                });
                skipped.extend(
                    gone.map(|&range| SkippedRange { date: zone_date(zone, before), range }),
                );
            }
        }
        skipped
    }

    /// Open minutes in the seven days after `unix_ms`; for "can the queue ever drain?".
    pub fn open_ms_per_week(&self, unix_ms: i64) -> i64 {
        let end = unix_ms + 7 * DAY_MS;
        let (mut now, mut open) = (unix_ms, 0);
        while now < end {
            let next = self.next_change(now).unwrap_or(end).min(end);
            if self.is_open(now) {
                open += next - now;
            }
            now = next;
        }
        open
    }
}

impl Window {
    /// Whether a local date and time lies in the window.
    fn contains(&self, local: DateTime) -> bool {
        let minute = minute_of(local);
        let (today, yesterday) = (self.opens_on(local.date()), self.opened_yesterday(local.date()));
        self.ranges.iter().any(|range| {
            if range.start < range.end {
                today && range.start <= minute && minute < range.end
            } else {
                (today && range.start <= minute) || (yesterday && minute < range.end)
            }
        })
    }

    fn opens_on(&self, date: Date) -> bool {
        self.has_day(date.weekday().to_monday_zero_offset())
    }

    fn opened_yesterday(&self, date: Date) -> bool {
        self.has_day((date.weekday().to_monday_zero_offset() + 6) % 7)
    }

    fn has_day(&self, day: i8) -> bool {
        self.days & (1 << day) != 0
    }
}

fn zone_date(zone: &TimeZone, moment: Timestamp) -> Date {
    zone.to_datetime(moment).date()
}

/// The local dates that the 24 hours from a moment can touch, by the calendar: a day of 23 hours
/// must not be stepped over.
fn dates_around(zone: &TimeZone, from: Timestamp) -> impl Iterator<Item = Date> {
    let date = zone.to_datetime(from).date();
    (-1..=2).filter_map(move |day: i32| date.checked_add(day.days()).ok())
}

fn minute_of(local: DateTime) -> u16 {
    // Hours and minutes of a civil time are never negative.
    u16::try_from(i16::from(local.hour()) * 60 + i16::from(local.minute())).unwrap_or(0)
}

/// `None` for 24:00, which is the midnight that every day is asked for anyway.
fn time_of(minute: u16) -> Option<Time> {
    let hour = i8::try_from(minute / 60).ok()?;
    Time::new(hour, i8::try_from(minute % 60).ok()?, 0, 0).ok()
}

/// The instants of a local time: one, two when the clock is put back over it, and none when it
/// is jumped over (the clock change itself is a moment of its own).
fn push_instants(zone: &TimeZone, local: DateTime, moments: &mut Vec<i64>) {
    let mut push = |offset: jiff::tz::Offset| {
        if let Ok(moment) = offset.to_timestamp(local) {
            moments.push(moment.as_millisecond());
        }
    };
    match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } => push(offset),
        AmbiguousOffset::Gap { .. } => {}
        AmbiguousOffset::Fold { before, after } => {
            push(before);
            push(after);
        }
    }
}
