//! Scales of the plots: where a value stands on its axis, and which ticks the axis has.

use crate::stats::thousands;

/// The shortest time that a logarithmic axis tells apart, in milliseconds.
const SHORTEST_MS: f64 = 0.001;

pub struct Tick {
    pub value: f64,
    pub label: String,
}

/// An axis over `low..=high`.
pub struct Scale {
    pub low: f64,
    pub high: f64,
    pub ticks: Vec<Tick>,
    logarithmic: bool,
}

impl Scale {
    /// Times in milliseconds, from whole decade to whole decade around the values.
    pub fn log_time(values: impl Iterator<Item = f64> + Clone) -> Self {
        Self::log(range(values.map(|value| value.max(SHORTEST_MS))).unwrap_or((0.1, 10.0)), round_time)
    }

    /// Numbers of things, from whole decade to whole decade.
    pub fn log_count(values: impl Iterator<Item = f64> + Clone) -> Self {
        let range = range(values.map(|value| value.max(1.0))).unwrap_or((1.0, 10.0));
        Self::log(range, |value| thousands(value.round() as u64))
    }

    fn log((min, max): (f64, f64), label: fn(f64) -> String) -> Self {
        let (first, last) = (min.log10().floor() as i32, max.log10().ceil() as i32);
        let last = last.max(first + 1);
        let steps: &[f64] = if last - first <= 2 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let (low, high) = (10_f64.powi(first), 10_f64.powi(last));
        let decades =
            (first..=last).flat_map(|decade| steps.iter().map(move |step| step * 10_f64.powi(decade)));
        let ticks =
            decades.filter(|value| *value <= high * 1.001).map(|value| Tick { value, label: label(value) });
        Self { low, high, ticks: ticks.collect(), logarithmic: true }
    }

    /// A share of something, in percent: from 0, or below if it must be.
    pub fn percent(values: impl Iterator<Item = f64> + Clone) -> Self {
        let (min, max) = range(values).unwrap_or((0.0, 50.0));
        let tens = |value: f64, round: fn(f64) -> f64| round(value / 10.0) * 10.0;
        let (low, high) = (tens(min, f64::floor).min(0.0), tens(max, f64::ceil).max(60.0));
        Self::linear(low, high, 7, |value| format!("{value:.0} %"))
    }

    /// From zero to a round value above the largest.
    pub fn from_zero(largest: f64, most_ticks: usize, label: fn(f64) -> String) -> Self {
        Self::linear(0.0, largest.max(f64::MIN_POSITIVE), most_ticks, label)
    }

    /// Numbers of things, from zero; each tick is a whole one.
    pub fn counts(largest: f64, most_ticks: usize) -> Self {
        let most = most_ticks.min(largest.ceil().max(1.0) as usize);
        Self::from_zero(largest.max(1.0), most, |value| format!("{value:.0}"))
    }

    fn linear(low: f64, high: f64, most_ticks: usize, label: fn(f64) -> String) -> Self {
        let step = round_step((high - low) / most_ticks as f64);
        let high = (high / step).ceil() * step;
        let first = (low / step).round() as i64;
        let last = (high / step).round() as i64;
        let ticks = (first..=last).map(|n| n as f64 * step).map(|value| Tick { value, label: label(value) });
        Self { low, high, ticks: ticks.collect(), logarithmic: false }
    }

    /// Where a value stands: 0 at the low end, 1 at the high end. Values beyond an end stand at it.
    pub fn position(&self, value: f64) -> f64 {
        let share = match self.logarithmic {
            true => (value.max(self.low) / self.low).log10() / (self.high / self.low).log10(),
            false => (value - self.low) / (self.high - self.low),
        };
        share.clamp(0.0, 1.0)
    }

    /// The value at a position.
    pub fn value(&self, position: f64) -> f64 {
        match self.logarithmic {
            true => self.low * (self.high / self.low).powf(position),
            false => self.low + (self.high - self.low) * position,
        }
    }

    /// How many bins a histogram over this axis gets: a whole number for each decade, or one for a percent.
    pub fn bins(&self) -> usize {
        if !self.logarithmic {
            return (self.high - self.low).round() as usize;
        }
        let decades = ((self.high / self.low).log10().round() as usize).max(1);
        decades * (36 / decades).clamp(6, 24)
    }
}

fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |range, value| {
        let (min, max) = range.unwrap_or((value, value));
        Some((min.min(value), max.max(value)))
    })
}

/// The next of 1, 2, 5, 10, 20, 50 and so on that is not below `step`.
fn round_step(step: f64) -> f64 {
    let decade = 10_f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * decade >= step * 0.999);
    factor.unwrap_or(10.0) * decade
}

/// A time that is one digit and zeros: `20 µs`, `5 ms`.
fn round_time(ms: f64) -> String {
    let (value, unit) = match ms {
        ms if ms >= 999.9 => (ms / 1_000.0, "s"),
        ms if ms >= 0.9999 => (ms, "ms"),
        ms => (ms * 1_000.0, "µs"),
    };
    format!("{value:.0} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: &Scale) -> Vec<&str> {
        scale.ticks.iter().map(|tick| tick.label.as_str()).collect()
    }

    #[test]
    fn a_wide_time_axis_has_a_tick_for_each_decade() {
        let scale = Scale::log_time([0.02, 30.0].into_iter());
        assert_eq!(labels(&scale), ["10 µs", "100 µs", "1 ms", "10 ms", "100 ms"]);
        assert_eq!((scale.position(0.0), scale.position(1.0), scale.position(1e9)), (0.0, 0.5, 1.0));
        assert!((scale.value(0.5) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_narrow_time_axis_has_ticks_between_the_decades() {
        let scale = Scale::log_time([1.5, 7.0].into_iter());
        assert_eq!(labels(&scale), ["1 ms", "2 ms", "5 ms", "10 ms"]);
    }

    #[test]
    fn numbers_of_things_have_their_thousands_set_apart() {
        let scale = Scale::log_count([10.0, 90_000.0].into_iter());
        assert_eq!(labels(&scale), ["10", "100", "1,000", "10,000", "100,000"]);
    }

    #[test]
    fn a_share_starts_at_zero_unless_it_went_below() {
        let of = |values: [f64; 2]| Scale::percent(values.into_iter());
        assert_eq!(labels(&of([48.0, 50.0])), ["0 %", "10 %", "20 %", "30 %", "40 %", "50 %", "60 %"]);
        assert_eq!(of([-12.0, 50.0]).low, -20.0);
    }

    #[test]
    fn numbers_of_few_things_have_no_tick_between_them() {
        let of = |largest| labels(&Scale::counts(largest, 10)).join(" ");
        assert_eq!([of(0.0), of(1.0), of(3.0)], ["0 1", "0 1", "0 1 2 3"]);
        assert_eq!([of(15.0), of(100.0)], ["0 2 4 6 8 10 12 14 16", "0 10 20 30 40 50 60 70 80 90 100"]);
    }

    #[test]
    fn no_values_still_make_an_axis() {
        assert!(!Scale::log_time(std::iter::empty()).ticks.is_empty());
        assert!(!Scale::from_zero(0.0, 5, |v| v.to_string()).ticks.is_empty());
    }

    #[test]
    fn steps_are_round() {
        let steps: Vec<f64> = [1.0, 1.3, 3.0, 7.0, 0.3].into_iter().map(round_step).collect();
        assert_eq!(steps, [1.0, 2.0, 5.0, 10.0, 0.5]);
    }
}
