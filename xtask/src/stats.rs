//! Percentiles, and how times are written.

use serde::Serialize;

/// How a set of times in milliseconds is spread. Percentiles are by nearest rank: each is a time that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spread {
    pub count: usize,
    pub min: f64,
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub max: f64,
}

impl Spread {
    /// The spread of some values, if there are any.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let at = |percent| nearest_rank(&sorted, percent);
        Some(Self { count: sorted.len(), min, p50: at(50), p95: at(95), p99: at(99), max })
    }
}

/// The smallest value that at least `percent` % of the sorted, non-empty values do not exceed.
fn nearest_rank(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted[rank - 1]
}

/// The value at a percentile, by nearest rank, if there are any values.
pub fn percentile(values: &[f64], percent: usize) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    (!sorted.is_empty()).then(|| nearest_rank(&sorted, percent))
}

/// A time for people: three digits that matter and the unit that suits it.
pub fn time(ms: f64) -> String {
    let (value, unit) = match ms.abs() {
        size if size >= 999.5 => (ms / 1_000.0, "s"),
        size if size >= 0.9995 || size == 0.0 => (ms, "ms"),
        _ => (ms * 1_000.0, "µs"),
    };
    format!("{} {unit}", three_digits(value))
}

fn three_digits(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 99.95 || size == 0.0 => 0,
        size if size >= 9.995 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}

/// A number with its thousands set apart, as in `31,200`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_values() {
        let spread = Spread::of((1..=100).rev().map(f64::from));
        let expected = Spread { count: 100, min: 1.0, p50: 50.0, p95: 95.0, p99: 99.0, max: 100.0 };
        assert_eq!(spread, Some(expected));
    }

    #[test]
    fn few_values_have_percentiles_too() {
        let one = Spread { count: 1, min: 7.0, p50: 7.0, p95: 7.0, p99: 7.0, max: 7.0 };
        assert_eq!(Spread::of([7.0]), Some(one));
        assert_eq!(Spread::of([1.0, 2.0, 3.0]).map(|spread| (spread.p50, spread.p99)), Some((2.0, 3.0)));
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn times_have_three_digits_and_a_unit() {
        let cases = [
            (0.0, "0 ms"),
            (0.0123, "12.3 µs"),
            (0.9994, "999 µs"),
            (0.9996, "1.00 ms"),
            (1.234, "1.23 ms"),
            (99.96, "100 ms"),
            (999.4, "999 ms"),
            (999.6, "1.00 s"),
            (3021.0, "3.02 s"),
            (-0.5, "-500 µs"),
        ];
        for (ms, text) in cases {
            assert_eq!(time(ms), text, "{ms}");
        }
    }

    #[test]
    fn thousands_are_set_apart() {
        let texts: Vec<String> = [0, 999, 1_000, 31_200, 1_234_567].into_iter().map(thousands).collect();
        assert_eq!(texts, ["0", "999", "1,000", "31,200", "1,234,567"]);
    }
}
