//! `cargo xtask race --sanitize`: the race built with ThreadSanitizer.
//!
//! Two questions, in this order: does the sanitizer report anything about the runs (it must not), and does it
//! report a data race that was planted for it (it must, or its silence means nothing).
//!
//! The standard library is not instrumented: its source is not part of a stable toolchain. So the sanitizer sees all
//! of our own code, of the crates that it uses, and of the generic and inlined code of the standard library, but not
//! what synchronises inside the rest of it (`Barrier`, `park`, `OnceLock`, the end of a `thread::scope`): data that
//! only those order may be reported though it is right. `Mutex`, `join` and our own atomics are seen. `tsan.supp`
//! names the false alarms that can't be avoided, and why each of them is one.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use xshell::{Cmd, Shell};

use super::outdir::OutDir;
use super::runner::Runner;
use crate::machine::host_target;
use crate::{console, paths};

/// Runs per TTL, unless told otherwise: what is looked for does not hide in timing.
pub const RUNS: u32 = 3;

/// Where this has been made to work. rustc knows more targets; add one when it has been tried there.
const TARGETS: [&str; 2] = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"];

/// The second flag lets our code link with the standard library as it comes, which is not instrumented.
const RUSTFLAGS: &str = "-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer";

/// The exit code of a program that the sanitizer reported on, its own default.
pub const EXIT_REPORTED: i32 = 66;

/// How each report of the sanitizer begins.
const REPORT: &str = "WARNING: ThreadSanitizer:";

/// Reports that are printed in full; each is some hundred lines long.
const SHOWN: usize = 3;

pub struct Sanitizer {
    target: String,
    /// Beside the ordinary build: other flags, other objects.
    target_dir: PathBuf,
}

/// What a build runs, and so the first part of the names of the sanitizer's files about it.
#[derive(Clone, Copy)]
pub enum Subject {
    Race,
    Planted,
}

impl Subject {
    fn prefix(self) -> &'static str {
        match self {
            Self::Race => "race",
            Self::Planted => "planted",
        }
    }
}

impl Sanitizer {
    pub fn for_this_machine(sh: &Shell) -> anyhow::Result<Self> {
        let target = host_target(sh)?;
        if !TARGETS.contains(&target.as_str()) {
            bail!(
                "ThreadSanitizer is not set up for {target}, only for {}: run --sanitize there",
                TARGETS.join(" and ")
            );
        }
        Ok(Self { target, target_dir: paths::target().join("sanitize") })
    }

    /// Makes nextest build and run with the sanitizer. `RUSTC_BOOTSTRAP` lets a stable compiler take a `-Z` flag.
    pub fn apply<'a>(&self, cmd: Cmd<'a>, out: &OutDir, subject: Subject) -> Cmd<'a> {
        let log = out.tsan().join(subject.prefix());
        let suppressions = paths::workspace().join("xtask/src/race/tsan.supp");
        let options = format!(
            "exitcode={EXIT_REPORTED} halt_on_error=0 suppressions='{}' log_path='{}'",
            suppressions.display(),
            log.display()
        );
        cmd.env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTFLAGS", RUSTFLAGS)
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env("TSAN_OPTIONS", options)
            .args(["--target", &self.target])
            .arg("--target-dir")
            .arg(&self.target_dir)
    }

    /// Fails if a data race was reported, or if the planted one was not.
    pub fn judge(&self, runner: &Runner<'_>) -> anyhow::Result<()> {
        let dir = runner.out.tsan();
        let found = reports(&dir, Subject::Race)?;
        for report in found.iter().take(SHOWN) {
            console::line(report);
        }
        console::line(&format!("ThreadSanitizer: {} reports on the race", found.len()));

        runner.planted()?;
        if !reports(&dir, Subject::Planted)?.iter().any(|report| is_about_planted(report)) {
            bail!(
                "ThreadSanitizer did not report the planted data race: it is blind, and its silence means nothing"
            );
        }
        console::line("ThreadSanitizer: the planted data race was reported, as it must be");
        if !found.is_empty() {
            bail!(
                "ThreadSanitizer reported {} times: see above, and all of it in {}",
                found.len(),
                dir.display()
            );
        }
        Ok(())
    }
}

/// Whether one of the two accesses that raced was by the planted code, and not just by something near it.
fn is_about_planted(report: &str) -> bool {
    let accesses = report.split("\n  Thread T").next().unwrap_or(report);
    accesses.lines().any(|line| line.trim_start().starts_with('#') && line.contains("planted"))
}

/// The sanitizer's reports on a subject. It writes a file per process, `<prefix>.<pid>`, if it has something to say.
fn reports(dir: &Path, subject: Subject) -> anyhow::Result<Vec<String>> {
    let mut reports = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("failed to read {}", dir.display()))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(subject.prefix()) {
            let text = String::from_utf8_lossy(&fs::read(entry.path())?).into_owned();
            reports.extend(text.split(REPORT).skip(1).map(|report| format!("{REPORT}{report}")));
        }
    }
    Ok(reports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_counted_one_by_one_and_by_subject() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let text = format!("====\n{REPORT} data race\n...\n====\n{REPORT} data race\n...\n");
        fs::write(dir.path().join("race.123"), text)?;
        fs::write(dir.path().join("planted.124"), format!("{REPORT} data race\n"))?;
        assert_eq!(reports(dir.path(), Subject::Race)?.len(), 2);
        assert_eq!(reports(dir.path(), Subject::Planted)?.len(), 1);
        Ok(())
    }

    #[test]
    fn another_race_in_the_thread_of_the_planted_test_is_not_the_planted_one() {
        let report = |frame: &str| {
            format!(
                "{REPORT} data race\n  Write of size 8 at 0x7 by thread T2 'planted::data_race':\n    #0 {frame} x.rs:1\n\n  Thread T2 'planted::data_race' created at:\n    #0 contention::planted::{{closure#0}} x.rs:2\n"
            )
        };
        assert!(is_about_planted(&report("contention::planted::bump")));
        assert!(!is_about_planted(&report("std::sync::mpmc::Waker::notify")));
    }
}
