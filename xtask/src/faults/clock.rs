//! Steps of the wall clock, by hours and both ways, while a guard renews and others try to break its lock.
//!
//! libfaketime stands between the program and libc's `clock_gettime`, and is told the step by a file. lokt makes its
//! system calls itself, through rustix, so for this part it is built with `rustix_use_libc`. Only the wall clock is
//! faked; the monotonic clock and file times are left alone. That a step has reached the program is seen in the record
//! that it writes next: without that, nothing would have been tried, and the task fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};
use xshell::{Shell, cmd};

use super::operation::words;
use super::scene::{LIMIT, NAME, Programs, Running, Scene};
use super::sections;
use crate::section::Table;
use crate::{console, paths};

/// The offsets of the wall clock, one after another.
const STEPS: [&str; 6] = ["+6h", "-6h", "+0", "+90s", "-90s", "+24h"];

/// How long each lasts at least: a guard of [`TTL`] beats more than once in it.
const EACH: Duration = Duration::from_millis(1_300);

const TTL: &str = "2s";

/// A lock by hand whose lease lapses while the clock is hours back.
const LAPSING: &str = "lapsing";
/// One whose lease does not, while the clock is hours ahead.
const LASTING: &str = "lasting";

/// How far what a record says may be from the stepped clock, in seconds: less than the smallest step by far.
const NEAR: i64 = 20;

/// What became of it.
pub struct Stepped {
    pub table: Table,
    pub wrong: Vec<String>,
}

/// What happened during one step.
struct During {
    renewals: u64,
    denied: u64,
    wall_offset: Option<i64>,
}

pub fn measure(sh: &Shell, bench: &super::bench::Bench) -> anyhow::Result<Stepped> {
    let faketime = find_or_install(sh)?;
    let lokt = build(sh)?;
    let programs = Programs { lokt, xtask: bench.programs.xtask.clone() };
    let mut scene = Scene::new(bench.cases.join("clock"), &programs, None)?;
    let clock = scene.dir.join("wall-clock");
    step(&clock, "+0")?;
    for (name, value) in [
        ("LD_PRELOAD", faketime.display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", clock.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("FAKETIME_DONT_RESET", "1".to_owned()),
        ("NO_FAKE_STAT", "1".to_owned()),
    ] {
        scene.set(name, value);
    }
    play(&scene, &clock)
}

fn play(scene: &Scene<'_>, clock: &Path) -> anyhow::Result<Stepped> {
    let mut wrong = Vec::new();
    for (name, ttl) in [(LASTING, "10m"), (LAPSING, "4s")] {
        let lock = finished(scene, "locker", &words(["lock", name, "--ttl", ttl]))?;
        ensure!(lock.0 == 0, "a lock to begin with: {}", lock.1);
    }
    let section = scene.section("holder", Duration::ZERO, Some("go"));
    let mut holder = scene.start("holder", &[words(["guard", NAME, "--ttl", TTL]), section].concat())?;
    holder.until("it holds", || scene.section_of("holder").is_some())?;
    let waits = words(["guard", NAME, "--ttl", TTL, "--wait", "--timeout", "60s"]);
    let mut waiter = scene.start("waiter", &[waits, scene.section("waiter", EACH / 10, None)].concat())?;
    waiter.until("it waits", || scene.waiters() == 1)?;

    let mut table = Table::new(
        "Steps of the wall clock while a guard renews a lease of 2 s",
        &["wall clock", "renewals", "tries to break it, all refused", "the record's clock is off by"],
    );
    for offset in STEPS {
        step(clock, offset)?;
        let Some(during) = during(scene, &mut holder, &mut wrong)? else {
            wrong.push(format!("at {offset} the guard ended: {}", holder.said().trim()));
            return Ok(Stepped { table, wrong });
        };
        let asked = seconds(offset);
        let seen = during.wall_offset;
        ensure!(
            seen.is_some_and(|seen| (seen - asked).abs() <= NEAR),
            "the step of the wall clock by {offset} did not reach lokt: its record is off by {seen:?} s: nothing was tried"
        );
        if during.renewals == 0 {
            wrong.push(format!("at {offset} the guard did not renew"));
        }
        let off = seen.map_or("unknown".to_owned(), |seen| format!("{seen} s"));
        table.rows.push(vec![offset.to_owned(), during.renewals.to_string(), during.denied.to_string(), off]);
    }

    // Hours back: by the wall clock its lease would last on. It has lapsed, on the clock that counts.
    step(clock, "-6h")?;
    let taken = finished(scene, "taker", &words(["lock", LAPSING]))?;
    if taken.0 != 0 {
        wrong.push(format!("a lease that has lapsed was not given up after a step back: {}", taken.1));
    }
    step(clock, "+24h")?;
    let lasting = finished(scene, "taker", &words(["lock", LASTING]))?;
    if lasting.0 != 2 {
        wrong.push(format!(
            "a lease that lasts was taken after a step ahead (exit {}): {}",
            lasting.0, lasting.1
        ));
    }

    scene.allow("go")?;
    for running in [&mut holder, &mut waiter] {
        let code = running.end_within(LIMIT);
        if code != Some(0) {
            wrong.push(format!("the {}'s exit code is {code:?}: {}", running.who, running.said().trim()));
        }
    }
    let stays = sections::read(&scene.log())?;
    wrong.extend(sections::judge(&stays));
    let order: Vec<&str> = stays.iter().map(|stay| stay.who.as_str()).collect();
    if order != ["holder", "waiter"] {
        wrong.push(format!("inside were, in this order: {}", order.join(", ")));
    }
    Ok(Stepped { table, wrong })
}

/// What happens while the clock stands at one offset: others try to break the lock, and the guard renews. `None` if
/// the guard ends.
fn during(
    scene: &Scene<'_>,
    holder: &mut Running,
    wrong: &mut Vec<String>,
) -> anyhow::Result<Option<During>> {
    let renewals = || scene.record(NAME).and_then(|record| record["renewals"].as_u64()).unwrap_or(0);
    let (before, began) = (renewals(), sections::monotonic());
    let mut denied = 0;
    // Two renewals: the second certainly began after the step.
    while sections::monotonic() < began + EACH
        || (renewals() < before + 2 && sections::monotonic() < began + 3 * EACH)
    {
        let section = scene.section("breaker", Duration::ZERO, None);
        let guard = [words(["guard", NAME, "--break-stale"]), section].concat();
        for (arguments, right) in [(guard, 2), (words(["unlock", NAME, "--break-stale"]), 1)] {
            let (code, said) = finished(scene, "breaker", &arguments)?;
            match code == right {
                true => denied += 1,
                false => wrong.push(format!("{} {}: exit {code}: {said}", arguments[0], arguments[2])),
            }
        }
        if holder.ended().is_some() {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(Some(During { renewals: renewals().saturating_sub(before), denied, wall_offset: wall_offset(scene) }))
}

/// By how much the wall clock that the holder last renewed by is off, in seconds: its lease ends two seconds after it.
fn wall_offset(scene: &Scene<'_>) -> Option<i64> {
    let record = scene.record(NAME)?;
    let expires: jiff::Timestamp = record["expires_at"].as_str()?.parse().ok()?;
    Some(expires.as_second() - jiff::Timestamp::now().as_second())
}

fn finished(scene: &Scene<'_>, who: &'static str, arguments: &[String]) -> anyhow::Result<(i32, String)> {
    let mut running = scene.start(who, arguments)?;
    let code = running.end_within(LIMIT).with_context(|| format!("{arguments:?} hangs"))?;
    Ok((code, running.said().trim().to_owned()))
}

/// Sets the wall clock off. Moved into place as a whole: it is read at any moment.
fn step(clock: &Path, offset: &str) -> anyhow::Result<()> {
    let new = clock.with_extension("new");
    fs::write(&new, format!("{offset}\n"))?;
    fs::rename(&new, clock).context("failed to step the wall clock")
}

fn seconds(offset: &str) -> i64 {
    let unit = if offset.ends_with('h') { 3600 } else { 1 };
    offset.trim_end_matches(['h', 's']).parse::<i64>().unwrap_or(0) * unit
}

/// Finds libfaketime, or installs it where that can be done.
fn find_or_install(sh: &Shell) -> anyhow::Result<PathBuf> {
    if find().is_none() {
        console::note("libfaketime is not installed: installing it with apt-get");
        let installed =
            cmd!(sh, "apt-get install --yes --no-install-recommends faketime").quiet().ignore_stdout().run();
        installed.context(
            "failed to install faketime: install it (Debian, Ubuntu: sudo apt-get install faketime)",
        )?;
    }
    find().context("libfaketime.so.1 is not where its packages put it, below /usr/lib")
}

fn find() -> Option<PathBuf> {
    let libraries = fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
    let dirs = libraries.chain(["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(PathBuf::from));
    dirs.map(|dir| dir.join("faketime/libfaketime.so.1")).find(|library| library.is_file())
}

/// Builds lokt so that it asks libc for the time.
fn build(sh: &Shell) -> anyhow::Result<PathBuf> {
    let _workspace = sh.push_dir(paths::workspace());
    let target = paths::target().join("libc");
    cmd!(sh, "cargo build --quiet --package lokt --target-dir {target}")
        .env("RUSTFLAGS", "--cfg rustix_use_libc")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .quiet()
        .run()
        .context("failed to build lokt with rustix_use_libc")?;
    Ok(target.join("debug/lokt"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_read_as_libfaketime_reads_them() {
        assert_eq!(STEPS.map(seconds), [21_600, -21_600, 0, 90, -90, 86_400]);
    }
}
