//! The machine: its clocks, the mutexes of the root, and the versions that meet there.

use std::time::Duration;

use jiff::Timestamp;

use super::check::count;
use super::place::is_read_only;
use super::{Check, Patient};
use crate::host::{Dir, Host, StripeError, What, stripe_file};
use crate::protocol::{Now, VERSION};
use crate::store::stripe_of_file;
use crate::words;

/// Years in which a clock can be right.
const YEARS: std::ops::RangeInclusive<i16> = 2020..=2100;

/// How far a file system's clock may be from ours before a half record is judged too early or too late.
const SKEW: Duration = Duration::from_secs(2);

/// How long the mutexes that are busy are waited for, one, and all together.
const PATIENCE: Duration = Duration::from_secs(1);
const PATIENCE_WITH_ALL: Duration = Duration::from_secs(3);

pub(super) fn clock(patient: &Patient) -> Check {
    clock_of(&patient.host.now(), patient.skew.get())
}

pub(super) fn clock_of(now: &Now, skew: Duration) -> Check {
    let year = year(now.wall);
    if !YEARS.contains(&year) {
        return Check::warn(format!("the wall clock says that it is the year {year}")).advise(
            "set it: date, timedatectl; leases do not mind, but what people read and the Go tool do",
        );
    }
    if !now.clock.is_known() {
        return Check::warn("the machine does not tell its boots apart (/proc/sys/kernel/random/boot_id)")
            .advise("mount /proc: until then a lease lapses only for who has watched it for its whole TTL");
    }
    // As far apart as two readings may be.
    if now.boottime + Duration::from_secs(1) < now.monotonic {
        return Check::warn("the clock that counts suspended time is behind the one that does not")
            .advise("that is a kernel's or a sandbox's fault: give manual locks no --ttl here");
    }
    if skew > SKEW {
        let skew = words::short(skew);
        return Check::warn(format!("the file system's clock is {skew} off this machine's")).advise(
            "let both follow the same time server: an acquisition of the Go tool is told by its file's time",
        );
    }
    let suspended = now.boottime.saturating_sub(now.monotonic);
    let mut message = format!("it is {:.0}, up for {}", now.wall, words::short(now.boottime));
    if suspended > Duration::from_secs(1) {
        message.push_str(&format!(", suspended for {} of it", words::short(suspended)));
    }
    Check::ok(message)
}

/// RFC 3339 begins with it; one that is not in four digits is wrong anyway.
fn year(time: Timestamp) -> i16 {
    time.to_string().split('-').next().and_then(|year| year.parse().ok()).unwrap_or_default()
}

pub(super) fn mutexes(patient: &Patient) -> Check {
    let contents = match patient.contents() {
        Ok(contents) => contents,
        Err(check) => return check,
    };
    let files = contents.stripes.entries.iter().filter(|entry| entry.what == What::File);
    let all: Vec<usize> = files.filter_map(|entry| stripe_of_file(&entry.name)).collect();
    let (mut busy, mut failed) = (Vec::new(), Vec::new());
    for stripe in &all {
        match patient.host.lock_stripe(*stripe, Duration::ZERO) {
            Ok(_) => {}
            Err(StripeError::Busy(_)) => busy.push(*stripe),
            Err(StripeError::Io(error)) if is_read_only(&error) => return Check::skipped(),
            Err(StripeError::Io(error)) => failed.push(words::cause(&error)),
        }
    }
    let held = still_busy(patient, &busy);
    if !failed.is_empty() {
        return Check::fail(format!("{} can't be used: names that need them can't be locked", failed.len()))
            .naming(failed)
            .advise(format!(
                "see what stands there: ls -la {}",
                words::shell_word(patient.host.path_of(Dir::Stripes).display())
            ));
    }
    if !held.is_empty() {
        return Check::fail(format!(
            "{} of {} held for too long: names that need them wait",
            held.len(),
            all.len()
        ))
        .naming(held)
        .advise("let that process go on (kill -CONT), or end it");
    }
    Check::ok(match all.len() {
        0 => "none is there yet".to_owned(),
        number => format!("{} to be had", if number == 1 { "1 is".into() } else { format!("{number} are") }),
    })
}

/// Which of them are still held after a while, and by whom.
fn still_busy(patient: &Patient, busy: &[usize]) -> Vec<String> {
    let until = patient.host.now().monotonic + PATIENCE_WITH_ALL;
    let mut held = Vec::new();
    for stripe in busy {
        let left = until.saturating_sub(patient.host.now().monotonic).min(PATIENCE);
        if let Err(StripeError::Busy(busy)) = patient.host.lock_stripe(*stripe, left) {
            let holder = busy.holder.unwrap_or_else(|| "a process that can't be seen from here".to_owned());
            held.push(format!("stripes/{}: {holder} has it", stripe_file(*stripe)));
        }
    }
    held
}

pub(super) fn versions(patient: &Patient) -> Check {
    let mine = format!("lokt {}, records of version {VERSION}", env!("CARGO_PKG_VERSION"));
    let Ok(contents) = patient.contents() else {
        return Check::ok(mine);
    };
    let go: Vec<String> = contents.of_the_go_tool().map(|name| format!("\"{name}\"")).collect();
    if go.is_empty() {
        return Check::ok(mine);
    }
    Check::warn(format!("{mine}; {} written by the Go tool", count(go.len(), "record")))
        .naming(go)
        .advise("who holds a lock by the Go tool is told by process id and TTL alone, as that tool does it")
        .advise("let everybody who shares these locks use this lokt")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;
    use crate::protocol::ClockId;

    fn at(wall: &str) -> Now {
        Now {
            monotonic: Duration::from_secs(600),
            boottime: Duration::from_secs(4200),
            wall: wall.parse().unwrap(),
            clock: ClockId::new("b00t"),
        }
    }

    #[test]
    fn a_clock_that_can_be_right_is_ok_and_time_asleep_is_told() {
        let check = clock_of(&at("2026-11-24T17:47:04.5Z"), Duration::from_secs(1));
        assert_eq!(check.status, Status::Ok);
        assert_eq!(check.message, "it is 2026-11-24T17:47:04Z, up for 1h10m, suspended for 1h of it");
    }

    #[test]
    fn a_clock_that_is_off_is_a_warning_with_advice() {
        let unknown = Now { clock: ClockId::unknown(7), ..at("2026-11-24T17:47:04Z") };
        let back = Now { boottime: Duration::from_secs(1), ..at("2026-11-24T17:47:04Z") };
        for (now, skew, said) in [
            (at("1970-01-02T00:00:00Z"), 0, "the year 1970"),
            (at("2101-01-01T00:00:00Z"), 0, "the year 2101"),
            (unknown, 0, "boot_id"),
            (back, 0, "suspended time is behind"),
            (at("2026-11-24T17:47:04Z"), 90, "1m30s off"),
        ] {
            let check = clock_of(&now, Duration::from_secs(skew));
            assert_eq!(check.status, Status::Warn, "{said}");
            assert!(check.message.contains(said), "{}", check.message);
            assert_eq!(check.advice.len(), 1, "{said}");
        }
    }
}
