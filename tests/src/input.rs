//! What must be true of any bytes as a record, and of any text as a name, a duration or an id.
//!
//! The properties make such input up, the corpus of the fuzzer keeps some, and the fuzzer looks for more: all of
//! them ask here. What is expected is written anew from the documents, not taken from the code.

use std::time::Duration;

use lokt::protocol::{
    Authority, ClockId, Decision, Evidence, Liveness, LockId, Name, Now, Record, Request, Stored, decide,
    format_duration, parse_duration,
};
use serde_json::Value;

use crate::rules;

/// An empty or half record younger than this may still be being written by the Go tool.
const TORN_FOR: Duration = Duration::from_secs(2);

/// The longest duration in nanoseconds: Go counts them in 63 bits.
const LONGEST: u128 = i64::MAX as u128;

/// Checks what becomes of `bytes` in a record's place, and what is decided of it.
pub fn check_record(bytes: &[u8]) {
    let stored = check_parsing(bytes);
    for liveness in [Liveness::Alive, Liveness::Dead, Liveness::Unknown] {
        rules::check_all(&evidence(stored.clone(), liveness), &now());
    }
}

/// Checks what becomes of `bytes` in a record's place, and returns it.
pub fn check_parsing(bytes: &[u8]) -> Stored {
    let old = Record::read(bytes, TORN_FOR);
    check_age(bytes, &old);
    check_content(bytes, &old);
    if let Stored::Record(record) = &old {
        check_round_trip(record);
        check_renewal(record);
    }
    old
}

/// The age of the file tells an acquisition in progress from damage, and nothing else.
fn check_age(bytes: &[u8], old: &Stored) {
    assert_eq!(Record::read(bytes, Duration::MAX), *old, "older is no different");
    let young = Record::read(bytes, TORN_FOR - Duration::from_nanos(1));
    match (&young, old) {
        // Half of a newer one tells its version all the same.
        (Stored::Torn, Stored::Corrupt(_) | Stored::Newer(_)) => {}
        _ => assert_eq!(young, *old, "only what is torn depends on its age"),
    }
}

fn check_content(bytes: &[u8], stored: &Stored) {
    let value = serde_json::from_slice::<Value>(bytes).ok();
    let object = value.as_ref().and_then(Value::as_object);
    let version = object.and_then(|object| object.get("version"));
    let number = |version: &Value| version.as_f64().or_else(|| version.as_str()?.parse().ok());
    let newer = version.and_then(number).is_some_and(|version| version > 1.0);
    match stored {
        Stored::Record(record) => {
            let object = object.expect("only a JSON object is a record");
            assert!(!newer, "a newer record is not read");
            let said = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
            assert_eq!(record.lock_id, said("lock_id"), "whose it is");
            assert_eq!(record.owner, said("owner"), "whose it is");
            for time in ["acquired_ts", "expires_at"].map(said).iter().filter(|time| !time.is_empty()) {
                let is_never = time.starts_with("9999-12-3");
                assert!(is_never || time.parse::<jiff::Timestamp>().is_ok(), "{time} is not RFC 3339");
            }
            assert_eq!(record.token, object.get("token").and_then(Value::as_u64), "its token");
        }
        Stored::Newer(_) => assert!(newer || object.is_none(), "newer is a version above 1"),
        Stored::Corrupt(why) => {
            assert!(!newer, "a newer record is left alone: {why}");
            assert!(!why.is_empty(), "it says why");
        }
        Stored::Empty | Stored::Torn | Stored::Unreadable(_) => {
            panic!("bytes of that age are a record, corrupt or newer, not {stored:?}")
        }
    }
}

/// What is written is read back equal, and written again the same.
pub fn check_round_trip(record: &Record) {
    let content = record.write();
    match Record::read(&content, TORN_FOR) {
        Stored::Record(read) => {
            assert_eq!(*read, *record, "written, and read back");
            assert_eq!(read.write(), content, "written again");
        }
        other => panic!("what was written is not read: {other:?}"),
    }
}

/// A renewal touches the lease and nothing else, unknown fields least of all.
fn check_renewal(record: &Record) {
    let Some(id) = record.id() else {
        return;
    };
    let request = Request::Renew(Authority::Session(id), Some(Duration::from_secs(60)));
    let known = evidence(Stored::Record(Box::new(record.clone())), Liveness::Alive);
    match decide("x", &request, &known, &now()) {
        Decision::Renew(renewed) => {
            assert_eq!(
                without_lease(&renewed),
                without_lease(record),
                "a renewal changed more than the lease"
            );
            check_round_trip(&renewed);
        }
        other => panic!("its own record is renewed: {other:?}"),
    }
}

/// The record without what a renewal is there to change.
pub fn without_lease(record: &Record) -> Record {
    Record {
        ttl_sec: None,
        ttl_ns: None,
        expires_at: None,
        deadline_ns: None,
        clock_id: None,
        acquired_clock_id: None,
        renewals: None,
        ..record.clone()
    }
}

/// Some instant.
fn now() -> Now {
    Now {
        monotonic: Duration::from_secs(1000),
        boottime: Duration::from_secs(5000),
        wall: jiff::Timestamp::constant(1_800_000_000, 0),
        clock: ClockId::new("boot-1/1"),
    }
}

/// All that is known of a name is its record.
fn evidence(stored: Stored, liveness: Liveness) -> Evidence {
    Evidence { stored, liveness, next_token: 10, ..Evidence::default() }
}

/// Checks any text as a name, a duration and a lock's id.
pub fn check_text(text: &str) {
    check_name(text);
    check_duration(text);
    check_id(text);
}

/// Checks that a text is a name exactly if the documents say so, and then is harmless as a file's name.
pub fn check_name(text: &str) {
    match text.parse::<Name>() {
        Ok(name) => {
            assert!(is_name(text), "{text:?} should not be a name");
            assert_eq!(name.as_str(), text, "a name stays as it was given");
            assert_eq!(name.to_string(), text, "a name is shown as it was given");
            check_file_name(text);
            check_file_name(&format!("{text}.json"));
            check_file_name(&format!("{text}.{}", "0".repeat(32)));
        }
        Err(bad) => {
            assert!(!is_name(text), "{text:?} should be a name: {bad}");
            check_message(&bad.to_string());
        }
    }
}

/// The rule as it is documented, character by character.
fn is_name(text: &str) -> bool {
    const ALLOWED: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    (1..=200).contains(&text.len())
        && text.chars().all(|c| ALLOWED.contains(c))
        && text != "."
        && !text.contains("..")
        && !text.starts_with('-')
}

/// One component of a path, that leads down and not up, and that any file system takes.
fn check_file_name(file: &str) {
    let below = std::path::Path::new("/root/locks").join(file);
    let parts: Vec<_> = below.components().collect();
    assert_eq!(parts.len(), 4, "{file:?} is not one component");
    assert!(matches!(parts[3], std::path::Component::Normal(last) if last == file), "{file:?} leads away");
    assert!(file.len() <= 255, "{file:?} is too long for a file's name");
}

/// Checks that a text is a duration exactly if it is one of Go's that is not negative, of that length, and that the
/// length is understood again as it is shown.
pub fn check_duration(text: &str) {
    let expected = nanoseconds(text);
    match parse_duration(text) {
        Ok(duration) => {
            assert_eq!(Some(duration.as_nanos()), expected, "{text:?}");
            check_shown(duration);
        }
        Err(bad) => {
            assert_eq!(expected, None, "{text:?} should be a duration: {bad}");
            check_message(&bad.to_string());
        }
    }
}

/// A duration is shown so that it is read again: exactly in whole seconds, and in milliseconds below one.
pub fn check_shown(duration: Duration) {
    let shown = format_duration(duration);
    let shortened = match duration.as_secs() {
        0 => Duration::from_millis(duration.as_millis() as u64),
        seconds => Duration::from_secs(seconds),
    };
    let readable = shortened.as_nanos() <= LONGEST;
    assert_eq!(
        parse_duration(&shown).ok(),
        readable.then_some(shortened),
        "{duration:?} is shown as {shown}"
    );
}

/// The grammar of Go's `time.ParseDuration`, without its minus and without its bare `0`:
/// `"+"? ([0-9]+ ("." [0-9]*)? | "." [0-9]+) unit`, what follows the sign one or more times.
///
/// In whole nanoseconds, each part rounded down, after 18 digits behind the point.
fn nanoseconds(text: &str) -> Option<u128> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut total = 0_u128;
    let nothing = rest.is_empty();
    while !rest.is_empty() || nothing {
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let (whole, after) = rest.split_at(digits(rest));
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => after.split_at(digits(after)),
            None => ("", after),
        };
        // The longest unit that fits: `ms` is not a minute and an `s`.
        let units = [("ns", 0), ("us", 3), ("\u{b5}s", 3), ("\u{3bc}s", 3), ("ms", 6), ("s", 9)];
        let seconds = [("m", 60), ("h", 3600)];
        let decimal = units.iter().find(|(unit, _)| after.starts_with(unit)).map(|(u, power)| (u, *power, 1));
        let sexagesimal =
            || seconds.iter().find(|(unit, _)| after.starts_with(unit)).map(|(u, s)| (u, 9, *s));
        let (unit, power, times) = decimal.or_else(sexagesimal)?;
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        total = total.checked_add(shifted(whole, fraction, power, times)?)?;
        rest = &after[unit.len()..];
    }
    (total <= LONGEST).then_some(total)
}

/// `whole.fraction` times 10^`power` times `times`, rounded down; `None` if it is beyond all bounds.
fn shifted(whole: &str, fraction: &str, power: u32, times: u128) -> Option<u128> {
    let kept = &fraction[..fraction.len().min(18)];
    let whole = whole.trim_start_matches('0');
    if whole.len() > 19 {
        return None;
    }
    let unit = 10_u128.pow(power) * times;
    let number = |digits: &str| format!("0{digits}").parse::<u128>().ok();
    Some(number(whole)? * unit + number(kept)? * unit / 10_u128.pow(kept.len() as u32))
}

/// Checks that a text is a lock's id exactly if it is 32 hexadecimal digits, in lower case.
pub fn check_id(text: &str) {
    let proper = text.len() == 32 && text.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
    assert_eq!(LockId::parse(text).map(|id| id.to_string()), proper.then(|| text.to_owned()), "{text:?}");
}

/// A message is one line, not a long one, and holds nothing that a terminal would obey.
fn check_message(message: &str) {
    assert!(!message.is_empty());
    assert!(message.chars().count() < 3000, "a message is no dump: {message}");
    assert!(!message.chars().any(char::is_control), "one line for people: {message:?}");
}
