//! Durations in Go's notation: `500ms`, `90s`, `5m`, `1h30m`.

use std::fmt;
use std::time::Duration;

/// The units, largest first, and their lengths in nanoseconds.
const UNITS: [(&str, u64); 8] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ns", 1),
];

/// How many digits of a fraction count.
const MAX_DIGITS: usize = 18;

/// Reads a duration as Go's `time.ParseDuration` does, unless it is negative.
///
/// A fraction of a unit is exact to the nanosecond below; Go's floating point may come out one above.
///
/// # Errors
///
/// A number without a unit, an unknown unit, a minus, or more than 292 years.
pub fn parse_duration(text: &str) -> Result<Duration, BadDuration> {
    let bad = |fault| BadDuration { text: text.chars().take(80).collect(), fault };
    if text.is_empty() {
        return Err(bad(Fault::Empty));
    }
    if text.starts_with('-') {
        return Err(bad(Fault::Negative));
    }
    let mut total: u64 = 0;
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.is_empty() {
        return Err(bad(Fault::Other));
    }
    while !rest.is_empty() {
        let (number, after) = split_where(rest, |c| !(c.is_ascii_digit() || c == '.'));
        let (unit, next) = split_where(after, |c| c.is_ascii_digit() || c == '.');
        if unit.is_empty() {
            return Err(bad(Fault::NoUnit));
        }
        let (_, scale) = UNITS.iter().find(|(known, _)| *known == unit).ok_or_else(|| bad(Fault::Other))?;
        let part = scaled(number, *scale).map_err(bad)?;
        total = total
            .checked_add(part)
            .filter(|sum| i64::try_from(*sum).is_ok())
            .ok_or_else(|| bad(Fault::TooLong))?;
        rest = next;
    }
    Ok(Duration::from_nanos(total))
}

fn split_where(text: &str, stop: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(stop).unwrap_or(text.len()))
}

/// `number` (digits with at most one point) times `scale`, in nanoseconds, rounded down.
fn scaled(number: &str, scale: u64) -> Result<u64, Fault> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(Fault::Number);
    }
    let whole: u64 = match whole {
        "" => 0,
        digits => digits.parse().map_err(|_| Fault::TooLong)?,
    };
    whole
        .checked_mul(scale)
        .and_then(|nanos| nanos.checked_add(part_of(fraction, scale)))
        .ok_or(Fault::TooLong)
}

/// `scale` times the decimal fraction with these digits, rounded down.
fn part_of(fraction: &str, scale: u64) -> u64 {
    // Further digits add less than a nanosecond, also to hours.
    let digits = fraction.bytes().take(MAX_DIGITS).map(|digit| u128::from(digit - b'0'));
    let (part, length) = digits.fold((0, 1), |(part, length), digit| (part * 10 + digit, length * 10));
    // Less than the scale, as the fraction is less than one.
    (u128::from(scale) * part / length) as u64
}

/// Writes a duration for people: whole seconds from one second on (`1h30m0s`, `90s` is `1m30s`), else
/// milliseconds; as Go writes them.
pub fn format_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        _ if seconds == 0 && duration.as_millis() > 0 => format!("{}ms", duration.as_millis()),
        (0, 0) => format!("{rest}s"),
        (0, _) => format!("{minutes}m{rest}s"),
        _ => format!("{hours}h{minutes}m{rest}s"),
    }
}

/// Why a text is not a duration, and how to write one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadDuration {
    text: String,
    fault: Fault,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Empty,
    Negative,
    NoUnit,
    Number,
    TooLong,
    Other,
}

impl fmt::Display for BadDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text.escape_debug();
        match self.fault {
            Fault::Empty => write!(f, "a duration is missing: write it like 500ms, 90s, 5m, 1h30m"),
            Fault::Negative => write!(f, "duration \"{text}\" is negative: write it like 90s, 5m, 1h30m"),
            Fault::NoUnit => write!(
                f,
                "duration \"{text}\" has a number without a unit: write {text}s for seconds, {text}m for minutes"
            ),
            Fault::Number => write!(f, "duration \"{text}\" has no proper number: write it like 90s, 1.5h"),
            Fault::TooLong => write!(f, "duration \"{text}\" is longer than 292 years"),
            Fault::Other => write!(
                f,
                "\"{text}\" is not a duration: write it like 5m or 1h30m, in h, m, s, ms, us and ns"
            ),
        }
    }
}

impl std::error::Error for BadDuration {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads() {
        for (text, nanos) in [
            ("500ms", 500_000_000),
            ("90s", 90_000_000_000),
            ("5m", 300_000_000_000),
            ("1h30m", 5_400_000_000_000),
            (".5m", 30_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("1.s", 1_000_000_000),
            ("7us", 7_000),
            ("7\u{b5}s", 7_000),
            ("3ns", 3),
            ("0s", 0),
            ("0.0000000000009h", 3),
            ("0.333333333333333333h", 1_199_999_999_999),
            ("+5m", 300_000_000_000),
            ("+.5m", 30_000_000_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_duration() {
        for text in [
            "",
            "5",
            "0",
            "1d",
            "-5s",
            "+",
            "++5s",
            "+-5s",
            "-+5s",
            "5s+3s",
            "5 s",
            "s",
            ".s",
            "1..5s",
            "nan",
            "inf",
            "5m3",
            "1H",
            "999999999h",
            "99999999999999999999s",
            "\u{1b}s",
        ] {
            assert!(parse_duration(text).is_err(), "{text:?} should be refused");
        }
    }

    #[test]
    fn what_is_wrong_with_a_duration_is_said() {
        for (text, said) in [
            ("", "a duration is missing: write it like 500ms, 90s, 5m, 1h30m"),
            ("-5s", "duration \"-5s\" is negative: write it like 90s, 5m, 1h30m"),
            ("30", "duration \"30\" has a number without a unit: write 30s for seconds, 30m for minutes"),
            (".s", "duration \".s\" has no proper number: write it like 90s, 1.5h"),
            ("999999999h", "duration \"999999999h\" is longer than 292 years"),
        ] {
            assert_eq!(parse_duration(text).unwrap_err().to_string(), said);
        }
        for text in ["NaN", "inf", "1e3s", "1h 30m", "1d", "+"] {
            let said = parse_duration(text).unwrap_err().to_string();
            let expected = "is not a duration: write it like 5m or 1h30m, in h, m, s, ms, us and ns";
            assert_eq!(said, format!("\"{text}\" {expected}"));
        }
    }

    #[test]
    fn writes_as_go_does() {
        for (nanos, text) in [
            (0, "0s"),
            (250_000_000, "250ms"),
            (59_900_000_000, "59s"),
            (60_000_000_000, "1m0s"),
            (3_600_000_000_000, "1h0m0s"),
            (28_313_233_000_000_000, "7864h47m13s"),
        ] {
            assert_eq!(format_duration(Duration::from_nanos(nanos)), text);
        }
    }
}
