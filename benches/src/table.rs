//! Medians, ratios and markdown.

/// The middle of the values; of two, their mean. NaN without values.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => sorted[len / 2],
        len => f64::midpoint(sorted[len / 2 - 1], sorted[len / 2]),
    }
}

/// Ballast's value over Redis's, pair by pair: `median (min–max)`.
pub(crate) fn ratio_text(redis: &[f64], ballast: &[f64]) -> String {
    let ratios: Vec<f64> =
        redis.iter().zip(ballast).map(|(redis, ballast)| ballast / redis).collect();
    let min = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let max = ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{:.2} ({min:.2}–{max:.2})", median(&ratios))
}

/// A table that prints a row as soon as it is known.
pub(crate) struct Table;

impl Table {
    /// Prints the head.
    pub(crate) fn begin(columns: &[&str]) -> Table {
        println!("| {} |", columns.join(" | "));
        println!("|{}", "---|".repeat(columns.len()));
        Table
    }

    /// Prints a row.
    pub(crate) fn row(&self, cells: &[String]) {
        println!("| {} |", cells.join(" | "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_ratios() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0]) - 2.5).abs() < 1e-9);
        assert_eq!(ratio_text(&[2.0, 4.0, 1.0], &[4.0, 4.0, 1.5]), "1.50 (1.00–2.00)");
    }
}
