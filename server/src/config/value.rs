//! A directive's value: parsed from words, rendered back to the words CONFIG GET shows.
//! It knows the kinds, not the directives.

use std::fmt::Write as _;

use super::directive::Kind;
use super::settings::{ClientClass, KeyspaceEvents, OutputBufferLimit, SavePoint};

/// A parsed value. What [`Value::render`] writes parses to the same value again.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number.
    Int(i64),
    /// A number that reads and shows in octal.
    Octal(i64),
    /// A size in bytes.
    Bytes(u64),
    /// A percentage, 0–100.
    Percent(u8),
    /// `yes` or `no`.
    Flag(bool),
    /// One of the names of an [`Kind::Enum`].
    Choice(&'static str),
    /// A string.
    Text(String),
    /// Words; also numbers and percentiles in their canonical form.
    Words(Vec<String>),
    /// When to save.
    SavePoints(Vec<SavePoint>),
    /// Limits of normal clients, replicas and pub/sub clients.
    OutputBufferLimits([OutputBufferLimit; 3]),
    /// Which keyspace events are published.
    KeyspaceEvents(KeyspaceEvents),
}

impl Value {
    /// Parses `words` as a value of `kind`; `previous` is what kinds that add up start from.
    ///
    /// # Errors
    /// The reason in Redis's words.
    pub(super) fn parse(
        kind: Kind,
        words: &[&str],
        previous: Option<&Value>,
    ) -> Result<Value, String> {
        if kind.is_single() {
            let [word] = words else { return Err("wrong number of arguments".into()) };
            return parse_word(kind, word);
        }
        // A list may come as one quoted word, as it does from CONFIG SET.
        let split: Vec<&str> = match words {
            [one] => one.split_ascii_whitespace().collect(),
            _ => words.to_vec(),
        };
        parse_words(kind, &split, previous)
    }

    /// The text CONFIG GET shows.
    pub fn render(&self) -> String {
        match self {
            Value::Int(number) => number.to_string(),
            Value::Octal(number) => format!("{number:o}"),
            Value::Bytes(bytes) => bytes.to_string(),
            Value::Percent(percent) => format!("{percent}%"),
            Value::Flag(true) => "yes".into(),
            Value::Flag(false) => "no".into(),
            Value::Choice(name) => (*name).into(),
            Value::Text(text) => text.clone(),
            Value::Words(words) => words.join(" "),
            Value::SavePoints(points) => join(points, render_save_point),
            Value::OutputBufferLimits(limits) => {
                let classes: Vec<_> = ClientClass::ALL.iter().zip(limits).collect();
                join(&classes, |(class, limit)| render_limit(**class, limit))
            }
            Value::KeyspaceEvents(events) => events.render(),
        }
    }

    /// The number or size as the type of the field it goes to; 0 if it does not fit, which the
    /// bounds of the directive exclude.
    pub(super) fn number<T: TryFrom<i128> + Default>(&self) -> T {
        let number = match self {
            Value::Int(number) | Value::Octal(number) => i128::from(*number),
            Value::Bytes(bytes) => i128::from(*bytes),
            _ => mismatch(),
        };
        let fitting = T::try_from(number);
        debug_assert!(fitting.is_ok(), "the bounds admit {number}, the field does not");
        fitting.unwrap_or_default()
    }

    /// The flag.
    pub(super) fn flag(&self) -> bool {
        match self {
            Value::Flag(flag) => *flag,
            _ => mismatch(),
        }
    }

    /// Classes of keyspace events.
    pub(super) fn events(&self) -> KeyspaceEvents {
        match self {
            Value::KeyspaceEvents(events) => *events,
            _ => mismatch(),
        }
    }

    /// The name of a choice, or the string.
    pub(super) fn text(&self) -> &str {
        match self {
            Value::Text(text) => text,
            Value::Choice(name) => name,
            _ => mismatch(),
        }
    }

    /// The string, or none if it is empty.
    pub(super) fn text_if_any(&self) -> Option<String> {
        Some(self.text()).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// The points of a list of save points.
    pub(super) fn save_points(&self) -> Vec<SavePoint> {
        match self {
            Value::SavePoints(points) => points.clone(),
            _ => mismatch(),
        }
    }

    /// The words of a list.
    pub(super) fn words(&self) -> &[String] {
        match self {
            Value::Words(words) => words,
            _ => mismatch(),
        }
    }
}

/// A save point as it stands on one line.
pub(super) fn render_save_point(point: &SavePoint) -> String {
    format!("{} {}", point.seconds, point.changes)
}

/// An output buffer limit as it stands on one line.
pub(super) fn render_limit(class: ClientClass, limit: &OutputBufferLimit) -> String {
    format!("{} {} {} {}", class.name(), limit.hard_bytes, limit.soft_bytes, limit.soft_seconds)
}

/// A value asked for as what its kind never is: the table is wrong, and its test says so.
fn mismatch<T: Default>() -> T {
    debug_assert!(false, "the directive's field reads another kind");
    T::default()
}

fn join<T>(items: &[T], render: impl Fn(&T) -> String) -> String {
    let mut text = String::new();
    for item in items {
        let gap = if text.is_empty() { "" } else { " " };
        let _ = write!(text, "{gap}{}", render(item));
    }
    text
}

fn parse_word(kind: Kind, word: &str) -> Result<Value, String> {
    match kind {
        Kind::Int { min, max } => parse_int(word, min, max).map(Value::Int),
        Kind::Octal { max } => match i64::from_str_radix(word, 8) {
            Ok(number) => in_bounds(number, 0, max).map(Value::Octal),
            Err(_) => Err("argument couldn't be parsed as an octal number".into()),
        },
        Kind::Bytes { min, max } => {
            let bytes = parse_bytes(word).ok_or("argument must be a memory value")?;
            if bytes < min || bytes > max {
                return Err(out_of_bounds(min, max));
            }
            Ok(Value::Bytes(bytes))
        }
        Kind::BytesOrPercent => parse_bytes_or_percent(word),
        Kind::Bool if word.eq_ignore_ascii_case("yes") => Ok(Value::Flag(true)),
        Kind::Bool if word.eq_ignore_ascii_case("no") => Ok(Value::Flag(false)),
        Kind::Bool => Err("argument must be 'yes' or 'no'".into()),
        Kind::Enum(names) => parse_name(names, word).map(Value::Choice),
        Kind::KeyspaceEvents => KeyspaceEvents::parse(word)
            .map(Value::KeyspaceEvents)
            .ok_or_else(|| "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".into()),
        _ => Ok(Value::Text(word.to_owned())),
    }
}

fn parse_words(kind: Kind, words: &[&str], previous: Option<&Value>) -> Result<Value, String> {
    match kind {
        Kind::Flags(names) => parse_flags(names, words),
        Kind::Numbers { count_min, count_max, min, max } => {
            if words.len() < count_min || words.len() > count_max {
                return Err("wrong number of arguments".into());
            }
            let numbers: Result<Vec<String>, String> =
                words.iter().map(|word| Ok(parse_int(word, min, max)?.to_string())).collect();
            numbers.map(Value::Words)
        }
        Kind::Percentiles => parse_percentiles(words),
        Kind::SavePoints => parse_save_points(words, previous),
        Kind::OutputBufferLimits => parse_limits(words, previous),
        _ => Ok(Value::Words(words.iter().map(|word| (*word).to_owned()).collect())),
    }
}

/// A decimal integer written the one canonical way: no `+`, no leading zero, as Redis wants it.
fn parse_int(word: &str, min: i64, max: i64) -> Result<i64, String> {
    let number = word.parse::<i64>().ok().filter(|number| number.to_string() == word);
    in_bounds(number.ok_or("argument couldn't be parsed into an integer")?, min, max)
}

fn in_bounds(number: i64, min: i64, max: i64) -> Result<i64, String> {
    if number < min || number > max { Err(out_of_bounds(min, max)) } else { Ok(number) }
}

fn out_of_bounds(min: impl std::fmt::Display, max: impl std::fmt::Display) -> String {
    format!("argument must be between {min} and {max} inclusive")
}

/// A memory size. As in Redis no digits mean 0; unlike there, what does not fit is refused.
fn parse_bytes(word: &str) -> Option<u64> {
    let end = word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len());
    let (digits, unit) = word.split_at(end);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1000 * 1000,
        "mb" => 1 << 20,
        "g" => 1000 * 1000 * 1000,
        "gb" => 1 << 30,
        _ => return None,
    };
    let number: u64 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    number.checked_mul(factor)
}

fn parse_bytes_or_percent(word: &str) -> Result<Value, String> {
    let neither = "argument must be a memory or percent value";
    match word.strip_suffix('%') {
        Some(digits) => {
            let percent = parse_int(digits, 0, i64::MAX).map_err(|_| neither)?;
            match u8::try_from(percent) {
                Ok(percent) if percent <= 100 => Ok(Value::Percent(percent)),
                _ => Err("percentage argument must be less or equal to 100".into()),
            }
        }
        None => Ok(parse_bytes(word).map(Value::Bytes).ok_or(neither)?),
    }
}

fn parse_name(names: &'static [&'static str], word: &str) -> Result<&'static str, String> {
    names
        .iter()
        .find(|name| name.eq_ignore_ascii_case(word))
        .copied()
        .ok_or_else(|| format!("argument(s) must be one of the following: {}", names.join(", ")))
}

fn parse_flags(names: &'static [&'static str], words: &[&str]) -> Result<Value, String> {
    let Some(none) = names.first() else { return Ok(Value::Words(Vec::new())) };
    let mut chosen = Vec::new();
    for word in if words.is_empty() { &[""] } else { words } {
        chosen.push(parse_name(names, word)?);
    }
    let set = names[1..].iter().filter(|name| chosen.contains(name)).map(ToString::to_string);
    let set: Vec<String> = set.collect();
    Ok(Value::Words(if set.is_empty() { vec![none.to_string()] } else { set }))
}

fn parse_percentiles(words: &[&str]) -> Result<Value, String> {
    let mut percentiles = Vec::new();
    for word in words {
        let percentile: f64 = word
            .parse()
            .ok()
            .filter(|number: &f64| !number.is_nan())
            .ok_or("Invalid latency-tracking-info-percentiles parameters")?;
        if !(0.0..=100.0).contains(&percentile) {
            return Err("latency-tracking-info-percentiles parameters should sit between \
                        [0.0,100.0]"
                .into());
        }
        percentiles.push(percentile.abs().to_string());
    }
    Ok(Value::Words(percentiles))
}

/// Save points. An empty list clears; other lists add to `previous`.
fn parse_save_points(words: &[&str], previous: Option<&Value>) -> Result<Value, String> {
    let invalid = "Invalid save parameters";
    let mut points = match previous {
        Some(Value::SavePoints(points)) if !words.is_empty() => points.clone(),
        _ => Vec::new(),
    };
    if !words.len().is_multiple_of(2) {
        return Err(invalid.into());
    }
    for pair in words.chunks_exact(2) {
        let seconds = pair[0].parse().ok().filter(|seconds| *seconds > 0).ok_or(invalid)?;
        let changes = pair[1].parse().map_err(|_| invalid)?;
        points.push(SavePoint { seconds, changes });
    }
    if points.len() > SAVE_POINTS_MAX {
        return Err(format!("more than {SAVE_POINTS_MAX} save points"));
    }
    Ok(Value::SavePoints(points))
}

/// More save points than this are a mistake.
const SAVE_POINTS_MAX: usize = 1024;

fn parse_limits(words: &[&str], previous: Option<&Value>) -> Result<Value, String> {
    let mut limits = match previous {
        Some(Value::OutputBufferLimits(limits)) => *limits,
        _ => [OutputBufferLimit::default(); 3],
    };
    if !words.len().is_multiple_of(4) {
        return Err("Wrong number of arguments in buffer limit configuration.".into());
    }
    for limit in words.chunks_exact(4) {
        let class = ClientClass::named(limit[0])
            .ok_or("Invalid client class specified in buffer limit configuration.")?;
        let parsed = (parse_bytes(limit[1]), parse_bytes(limit[2]), limit[3].parse().ok());
        let (Some(hard_bytes), Some(soft_bytes), Some(soft_seconds)) = parsed else {
            return Err("Error in hard, soft or soft_seconds setting in buffer limit \
                        configuration."
                .into());
        };
        limits[class.index()] = OutputBufferLimit { hard_bytes, soft_bytes, soft_seconds };
    }
    Ok(Value::OutputBufferLimits(limits))
}
