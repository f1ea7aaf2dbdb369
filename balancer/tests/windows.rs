//! Windows: daylight saving, ranges over midnight, blackouts, and the next change against a
//! minute-by-minute scan.

use ballast_balancer::window::{
    Opening, Schedule, SkippedRange, parse_blackout, parse_windows, parse_zone,
};
use proptest::prelude::*;

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;

fn schedule(windows: &str, zone: &str, blackout: &str) -> Schedule {
    Schedule {
        windows: parse_windows(windows).unwrap(),
        zone: parse_zone(zone).unwrap(),
        blackout: parse_blackout(blackout).unwrap(),
    }
}

fn utc(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

/// The openings that begin in a span, as "open..close" in UTC, found minute by minute.
fn openings(schedule: &Schedule, from: &str, to: &str) -> Vec<String> {
    let (from, to) = (utc(from), utc(to));
    let mut found = Vec::new();
    let mut opened = schedule.is_open(from).then_some(from);
    let mut now = from;
    while now <= to {
        match (schedule.is_open(now), opened) {
            (true, None) => opened = Some(now),
            (false, Some(start)) => {
                found.push(format!("{}..{}", short(start), short(now)));
                opened = None;
            }
            _ => {}
        }
        now += MINUTE_MS;
    }
    found
}

fn short(unix_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(unix_ms).unwrap().strftime("%d %H:%M").to_string()
}

#[test]
fn clock_forward_in_berlin() {
    // 2026-03-29: 02:00 CET becomes 03:00 CEST at 01:00 UTC.
    let night = ("2026-03-28T22:00:00Z", "2026-03-29T21:00:00Z");
    let late = schedule("daily 02:30-05:00", "Europe/Berlin", "");
    assert_eq!(openings(&late, night.0, night.1), ["29 01:00..29 03:00"], "opens at 03:00");
    let gone = schedule("daily 02:00-03:00", "Europe/Berlin", "");
    assert!(openings(&gone, night.0, night.1).is_empty(), "does not exist that day");
    let skipped = gone.skipped_ranges(utc("2026-01-01T00:00:00Z"));
    assert_eq!(skipped.len(), 2, "once a year, two years ahead: {skipped:?}");
    let SkippedRange { date, range } = skipped[0];
    assert_eq!((date.to_string().as_str(), range.start, range.end), ("2026-03-29", 120, 180));
    assert!(late.skipped_ranges(utc("2026-01-01T00:00:00Z")).is_empty());
    assert_eq!(
        gone.next_open(utc("2026-03-28T12:00:00Z")),
        Some(utc("2026-03-30T00:00:00Z")),
        "the next opening is a day later"
    );
}

#[test]
fn clock_back_in_berlin() {
    // 2026-10-25: 03:00 CEST becomes 02:00 CET at 01:00 UTC.
    let night = ("2026-10-24T20:00:00Z", "2026-10-25T20:00:00Z");
    let long = schedule("daily 01:00-05:00", "Europe/Berlin", "");
    assert_eq!(openings(&long, night.0, night.1), ["24 23:00..25 04:00"], "lasts five hours");
    let twice = schedule("daily 02:30-02:45", "Europe/Berlin", "");
    assert_eq!(
        openings(&twice, night.0, night.1),
        ["25 00:30..25 00:45", "25 01:30..25 01:45"],
        "opens twice"
    );
    assert_eq!(twice.next_open(utc("2026-10-25T00:50:00Z")), Some(utc("2026-10-25T01:30:00Z")));
    let across = schedule("daily 01:30-02:30", "Europe/Berlin", "");
    assert_eq!(
        openings(&across, night.0, night.1),
        ["24 23:30..25 00:30", "25 01:00..25 01:30"],
        "open whenever the clock on the wall says so"
    );
}

#[test]
fn over_midnight_belongs_to_the_opening_day() {
    let weekdays = schedule("mon-fri 22:00-06:00; sat,sun 00:00-24:00", "UTC", "");
    // 2026-06-05 is a Friday.
    assert!(weekdays.is_open(utc("2026-06-05T23:00:00Z")));
    assert!(!weekdays.is_open(utc("2026-06-05T12:00:00Z")));
    assert!(weekdays.is_open(utc("2026-06-07T23:59:59Z")), "Sunday, all day");
    assert!(!weekdays.is_open(utc("2026-06-08T00:00:00Z")), "Monday 00:00: Sunday has no night");
    assert!(!weekdays.is_open(utc("2026-06-08T05:00:00Z")));
    assert!(weekdays.is_open(utc("2026-06-09T05:59:59Z")), "Monday's night");
    assert!(!weekdays.is_open(utc("2026-06-09T06:00:00Z")), "the end is outside");
    let friday = schedule("fri 22:00-06:00", "UTC", "");
    assert_eq!(
        openings(&friday, "2026-06-01T00:00:00Z", "2026-06-14T00:00:00Z"),
        ["05 22:00..06 06:00", "12 22:00..13 06:00"]
    );
    let wrapped = schedule("fri-mon 01:00-02:00", "UTC", "");
    assert_eq!(
        openings(&wrapped, "2026-06-01T00:00:00Z", "2026-06-07T23:59:00Z"),
        ["01 01:00..01 02:00", "05 01:00..05 02:00", "06 01:00..06 02:00", "07 01:00..07 02:00"]
    );
}

#[test]
fn blackout_takes_whole_local_days() {
    let nights =
        schedule("daily 22:00-02:00", "Europe/Berlin", "2026-12-24, 2026-12-31..2027-01-01");
    assert_eq!(
        openings(&nights, "2026-12-23T12:00:00Z", "2026-12-26T00:00:00Z"),
        // The night of the 23rd ends at local midnight; that of the 24th begins there.
        ["23 21:00..23 23:00", "24 23:00..25 01:00", "25 21:00..26 01:00"][..2]
    );
    assert_eq!(nights.opening(utc("2026-12-24T22:00:00Z")), Opening::Blackout);
    assert_eq!(nights.opening(utc("2026-12-24T12:00:00Z")), Opening::Closed);
    let always = schedule("always", "Europe/Berlin", "2026-12-24");
    assert_eq!(always.next_close(utc("2026-06-01T00:00:00Z")), Some(utc("2026-12-23T23:00:00Z")));
    assert_eq!(always.next_open(utc("2026-12-24T05:00:00Z")), Some(utc("2026-12-24T23:00:00Z")));
}

#[test]
fn always_and_never() {
    let always = schedule("always", "UTC", "");
    assert!(always.is_open(0));
    assert_eq!(always.next_change(0), None);
    let never = schedule("never", "UTC", "");
    assert!(!never.is_open(0));
    assert_eq!(never.next_open(0), None);
    assert!(!never.is_open(i64::MAX), "a moment outside the calendar is closed");
    assert_eq!(always.open_ms_per_week(0), 7 * DAY_MS);
    let nightly = schedule("daily 01:00-04:00", "UTC", "");
    assert_eq!(nightly.open_ms_per_week(0), 7 * 3 * 60 * MINUTE_MS);
}

#[test]
fn windows_in_several_zones_are_a_union() {
    let both = schedule("daily 01:00-02:00 Europe/Berlin; daily 01:00-02:00 Asia/Tokyo", "UTC", "");
    assert_eq!(
        openings(&both, "2026-06-01T00:00:00Z", "2026-06-02T00:00:00Z"),
        ["01 16:00..01 17:00", "01 23:00..02 00:00"]
    );
    assert_eq!(both.next_open(utc("2026-06-01T00:30:00Z")), Some(utc("2026-06-01T16:00:00Z")));
    assert_eq!(both.next_open(utc("2026-06-01T17:00:00Z")), Some(utc("2026-06-01T23:00:00Z")));
}

/// Walks ten years by `next_change` and checks every minute in between.
fn scan_ten_years(windows: &str, zone: &str, blackout: &str) {
    let schedule = schedule(windows, zone, blackout);
    let (mut now, end) = (utc("2020-01-01T00:00:00Z"), utc("2030-01-01T00:00:00Z"));
    let mut changes = 0;
    while now < end {
        let open = schedule.is_open(now);
        let next = schedule.next_change(now).unwrap_or(end).min(end);
        let mut minute = now;
        while minute < next {
            assert_eq!(schedule.is_open(minute), open, "{windows} {zone} at {}", short(minute));
            minute += MINUTE_MS;
        }
        if next < end {
            assert_ne!(schedule.is_open(next), open, "{windows} {zone} at {}", short(next));
            changes += 1;
        }
        now = next;
    }
    assert!(changes >= 20, "{windows} {zone}: {changes} changes in ten years");
}

#[test]
fn ten_years_minute_by_minute() {
    for (windows, zone, blackout) in [
        ("daily 02:00-03:00 23:30-00:30", "Europe/Berlin", "2024-02-28..2024-03-02"),
        ("mon-fri 22:00-06:00; sat,sun 00:00-24:00", "America/New_York", ""),
        ("sun 01:30-02:15", "Australia/Lord_Howe", "2025-01-01, 2027-06-01..2028-06-01"),
        ("fri-mon 00:00-00:15 12:00-24:00", "Africa/Casablanca", ""),
        ("daily 23:59-00:01", "America/Santiago", ""),
    ] {
        scan_ten_years(windows, zone, blackout);
    }
}

fn any_window() -> impl Strategy<Value = String> {
    let range = (0u16..1440, 1u16..=1440).prop_filter("equal", |(start, end)| start != end);
    let days = prop_oneof![
        Just("daily".to_owned()),
        Just("sat,sun".to_owned()),
        Just("sun-tue".to_owned()),
        Just("wed".to_owned()),
    ];
    (days, prop::collection::vec(range, 1..3)).prop_map(|(days, ranges)| {
        let ranges = ranges.iter().map(|&(start, end)| {
            format!(" {:02}:{:02}-{:02}:{:02}", start / 60, start % 60, end / 60, end % 60)
        });
        days + &ranges.collect::<String>()
    })
}

const ZONES: [&str; 30] = [
    "Europe/Berlin",
    "Europe/London",
    "Europe/Dublin",
    "Europe/Moscow",
    "Europe/Lisbon",
    "America/New_York",
    "America/Los_Angeles",
    "America/Sao_Paulo",
    "America/Santiago",
    "America/St_Johns",
    "America/Havana",
    "America/Phoenix",
    "America/Asuncion",
    "America/Godthab",
    "Asia/Tokyo",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Asia/Tehran",
    "Asia/Gaza",
    "Asia/Beirut",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Africa/Lagos",
    "Australia/Sydney",
    "Australia/Lord_Howe",
    "Australia/Adelaide",
    "Pacific/Auckland",
    "Pacific/Apia",
    "Pacific/Chatham",
    "UTC",
];

/// Seeds are printed on failure; nothing is written to the source tree.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(90))]

    /// Any windows, each of thirty zones, around any clock change of ten years.
    #[test]
    fn next_change_agrees_with_a_scan(
        windows in prop::collection::vec(any_window(), 1..3),
        zone in prop::sample::select(&ZONES[..]),
        change in 0usize..20,
        blackout in prop::bool::ANY,
    ) {
        let windows = windows.join("; ");
        let start = "2020-01-01T00:00:00Z".parse::<jiff::Timestamp>().unwrap();
        // Zones without clock changes are looked at now and then.
        let otherwise = start.as_millisecond() + change as i64 * 17 * DAY_MS;
        let around = parse_zone(zone).unwrap().following(start).nth(change)
            .map_or(otherwise, |change| change.timestamp().as_millisecond());
        let day = jiff::Timestamp::from_millisecond(around).unwrap();
        let day = day.strftime("%Y-%m-%d").to_string();
        let schedule = schedule(&windows, zone, if blackout { &day } else { "" });
        let mut now = around - 3 * DAY_MS;
        let end = around + 6 * DAY_MS;
        let mut expected = schedule.next_change(now);
        while now < end {
            let (before, next) = (schedule.is_open(now), now + MINUTE_MS);
            let changed = schedule.is_open(next) != before;
            let told = expected == Some(next);
            prop_assert_eq!(told, changed, "{} {} at {}", windows, zone, short(next));
            if changed {
                expected = schedule.next_change(next);
            }
            now = next;
        }
    }
}
