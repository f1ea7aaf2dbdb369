//! A reply as text: what `redis-cli` shows, with what it hides made visible.

use crate::support::Reply;

/// The lines of a reply. `unordered` sorts the items of arrays, sets and maps by their text.
pub fn render(reply: &Reply, unordered: bool) -> Vec<String> {
    let nested = |items: &[Reply], mark: char, empty: &str| {
        let items = items.iter().map(|item| render(item, unordered)).collect();
        numbered(items, mark, empty, unordered)
    };
    match reply {
        Reply::Simple(text) => vec![without_origin(&String::from_utf8_lossy(text))],
        Reply::Error(text) => vec![format!("(error) {}", escaped(text))],
        Reply::Integer(number) => vec![format!("(integer) {number}")],
        Reply::Bulk(bytes) => vec![format!("\"{}\"", escaped(bytes))],
        Reply::NilBulk => vec!["(nil)".to_owned()],
        Reply::NilArray => vec!["(nil array)".to_owned()],
        Reply::Null => vec!["(null)".to_owned()],
        Reply::Boolean(value) => vec![format!("({value})")],
        Reply::Double(text) => vec![format!("(double) {}", escaped(text))],
        Reply::BigNumber(text) => vec![format!("(big number) {}", escaped(text))],
        Reply::Verbatim(format, text) => {
            vec![format!("(verbatim {}) \"{}\"", escaped(format), escaped(text))]
        }
        Reply::Array(items) => nested(items, ')', "(empty array)"),
        Reply::Set(items) => nested(items, '~', "(empty set)"),
        Reply::Push(items) => nested(items, '>', "(empty push)"),
        Reply::Map(pairs) => numbered(pair_lines(pairs, unordered), '#', "(empty map)", unordered),
        Reply::Attribute(pairs, inner) => {
            let mut lines =
                numbered(pair_lines(pairs, unordered), '|', "(no attribute)", unordered);
            lines.extend(render(inner, unordered));
            lines
        }
    }
}

/// A line of `MONITOR` without what no two runs have in common: when, and from which address.
fn without_origin(text: &str) -> String {
    let shown = || {
        let (time, rest) = text.split_once(" [")?;
        let (seconds, us) = time.split_once('.')?;
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let (origin, command) = rest.split_once("] ")?;
        let (db, address) = origin.split_once(' ')?;
        let fits = is_number(seconds) && us.len() == 6 && is_number(us);
        (fits && address.contains(':')).then(|| format!("time [{db} address] {command}"))
    };
    shown().unwrap_or_else(|| text.to_owned())
}

/// `key => value`, the value's further lines below it.
fn pair_lines(pairs: &[(Reply, Reply)], unordered: bool) -> Vec<Vec<String>> {
    let line = |(key, value): &(Reply, Reply)| {
        let mut lines = render(key, unordered);
        let last = lines.pop().unwrap_or_default();
        let value = render(value, unordered);
        if value.len() == 1 {
            lines.push(format!("{last} => {}", value[0]));
        } else {
            lines.push(format!("{last} =>"));
            lines.extend(value.into_iter().map(|line| format!("   {line}")));
        }
        lines
    };
    pairs.iter().map(line).collect()
}

fn numbered(mut items: Vec<Vec<String>>, mark: char, empty: &str, unordered: bool) -> Vec<String> {
    if items.is_empty() {
        return vec![empty.to_owned()];
    }
    if unordered {
        items.sort();
    }
    let width = items.len().to_string().len();
    let mut lines = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        for (row, line) in item.into_iter().enumerate() {
            let number = if row == 0 {
                format!("{:>width$}{mark}", index + 1)
            } else {
                " ".repeat(width + 1)
            };
            lines.push(format!("{number} {line}"));
        }
    }
    lines
}

/// Printable ASCII as it is, all else escaped, long runs of one byte as `<count*byte>`.
fn escaped(bytes: &[u8]) -> String {
    const RUN_MIN: usize = 33;
    let mut text = String::with_capacity(bytes.len());
    for run in bytes.chunk_by(|a, b| a == b) {
        let one = match run[0] {
            b'"' => "\\\"".to_owned(),
            b'\\' => "\\\\".to_owned(),
            b'\n' => "\\n".to_owned(),
            b'\r' => "\\r".to_owned(),
            b'\t' => "\\t".to_owned(),
            byte @ 0x20..=0x7e => char::from(byte).to_string(),
            byte => format!("\\x{byte:02x}"),
        };
        if run.len() >= RUN_MIN {
            text.push_str(&format!("<{}*{one}>", run.len()));
        } else {
            text.push_str(&one.repeat(run.len()));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_aggregates_stay_unambiguous() {
        let bulk = |text: &str| Reply::Bulk(text.into());
        let reply = Reply::Array(vec![
            Reply::Integer(1),
            Reply::Array(vec![bulk("b"), bulk("a\n")]),
            Reply::Map(vec![(bulk("k"), Reply::NilBulk)]),
        ]);
        let lines = ["1) (integer) 1", "2) 1) \"b\"", "   2) \"a\\n\"", "3) 1# \"k\" => (nil)"];
        assert_eq!(render(&reply, false), lines);
        assert_eq!(render(&reply, true)[1], "2) 1# \"k\" => (nil)");
    }

    #[test]
    fn a_long_run_is_counted() {
        assert_eq!(escaped(&[b'x'; 40]), "<40*x>");
        assert_eq!(escaped(&[0; 3]), "\\x00\\x00\\x00");
    }
}
