//! Figures as people read them.

/// `61.2 MB`, in powers of 1024.
pub(super) fn bytes(bytes: u64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
    let value = bytes as f64;
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..0x10_0000 => format!("{:.1} KB", value / 1024.0),
        0x10_0000..0x4000_0000 => format!("{:.1} MB", value / f64::from(1 << 20)),
        _ => format!("{:.1} GB", value / f64::from(1 << 30)),
    }
}

/// `7`, `612`, `12.1k`, `3.4M`.
pub(super) fn count(number: f64) -> String {
    match number {
        n if n < 1_000.0 => format!("{n:.0}"),
        n if n < 1_000_000.0 => format!("{:.1}k", n / 1_000.0),
        n => format!("{:.1}M", n / 1_000_000.0),
    }
}

/// The same by the second.
pub(super) fn per_second(number: f64) -> String {
    format!("{}/s", count(number))
}

/// `0.82 ms`, `13 ms`.
pub(super) fn milliseconds(us: u64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "two digits are shown")]
    let ms = us as f64 / 1000.0;
    if ms < 10.0 { format!("{ms:.2} ms") } else { format!("{ms:.0} ms") }
}

/// Centred in a column, or cut to it.
pub(super) fn padded(text: &str, width: usize) -> String {
    let text: String = text.chars().take(width).collect();
    format!("{text:^width$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!((bytes(900), bytes(64_172_851)), ("900 B".into(), "61.2 MB".into()));
        assert_eq!((count(612.4), count(12_090.0)), ("612".into(), "12.1k".into()));
        assert_eq!((milliseconds(816), milliseconds(12_600)), ("0.82 ms".into(), "13 ms".into()));
        assert_eq!((padded("ab", 6), padded("abcdef", 3)), ("  ab  ".into(), "abc".into()));
    }
}
