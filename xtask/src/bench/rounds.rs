//! The method: commands side by side, in rounds, and what their times come to.
//!
//! In every round each command runs once. The order goes round, every other time backwards: whatever else the machine
//! does falls upon all of them alike, and so does what the one before leaves behind. Compared is within a round: a ratio is the median of the rounds' ratios. As in
//! hyperfine, the first rounds do not count, and outliers are told by the modified Z-score (Iglewicz and Hoaglin).

use std::fmt;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, ensure};

use crate::stats::percentile;

/// How many rounds do not count.
pub const WARM_UP: usize = 10;

/// So many times the median absolute deviation away from the median, a value is an outlier; hyperfine's threshold.
const OUTLIER: f64 = 14.826;

/// A command, and how long it took each time.
pub struct Row {
    /// Its name in ratios.
    pub key: &'static str,
    /// What people would type.
    pub label: String,
    command: Command,
    /// How many lines it has to print, if its output is read.
    lines: Option<usize>,
    /// In milliseconds, a time for each round.
    pub ms: Vec<f64>,
}

impl Row {
    /// A command whose output goes nowhere.
    pub fn new(key: &'static str, label: impl Into<String>, command: Command) -> Self {
        Self { key, label: label.into(), command, lines: None, ms: Vec::new() }
    }

    /// A command whose output is read to its end, and has to have so many lines.
    pub fn printing(key: &'static str, label: impl Into<String>, command: Command, lines: usize) -> Self {
        Self { lines: Some(lines), ..Self::new(key, label, command) }
    }

    /// From before the start of the process until its end is known. Nothing is done between fork and exec, so that it
    /// is a `posix_spawn`.
    fn once(&mut self) -> anyhow::Result<f64> {
        let out = if self.lines.is_some() { Stdio::piped() } else { Stdio::null() };
        self.command.stdin(Stdio::null()).stdout(out);
        let mut printed = Vec::new();
        let began = Instant::now();
        let mut child = self.command.spawn().with_context(|| format!("failed to start {}", self.label))?;
        if let Some(out) = child.stdout.as_mut() {
            out.read_to_end(&mut printed)?;
        }
        let status = child.wait()?;
        let ms = began.elapsed().as_secs_f64() * 1_000.0;
        ensure!(status.success(), "{}: {status}", self.label);
        if let Some(lines) = self.lines {
            let seen = printed.iter().filter(|byte| **byte == b'\n').count();
            ensure!(seen == lines, "{} printed {seen} lines instead of {lines}", self.label);
        }
        Ok(ms)
    }
}

/// Runs the rounds, and leaves the times in the rows.
pub fn run(rows: &mut [Row], warm_up: usize, rounds: usize) -> anyhow::Result<()> {
    for round in 0..warm_up + rounds {
        for turn in 0..rows.len() {
            let turn = if round % 2 == 1 { rows.len() - 1 - turn } else { turn };
            let row = &mut rows[(round + turn) % rows.len()];
            let ms = row.once()?;
            if round >= warm_up {
                row.ms.push(ms);
            }
        }
    }
    Ok(())
}

/// The ratios of what belongs together.
pub fn ratios(of: &[f64], to: &[f64]) -> Vec<f64> {
    of.iter().zip(to).map(|(of, to)| of / to).collect()
}

/// A median and the quartiles around it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quartiles {
    pub p25: f64,
    pub p50: f64,
    pub p75: f64,
}

impl Quartiles {
    pub fn of(values: &[f64]) -> Option<Self> {
        let at = |percent| percentile(values, percent);
        Some(Self { p25: at(25)?, p50: at(50)?, p75: at(75)? })
    }
}

impl fmt::Display for Quartiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = if self.p50 < 9.95 { 2 } else { 1 };
        write!(f, "{:.digits$} ({:.digits$}–{:.digits$})", self.p50, self.p25, self.p75)
    }
}

/// How many values are far from all others.
pub fn outliers(values: &[f64]) -> usize {
    let Some(median) = percentile(values, 50) else { return 0 };
    let away: Vec<f64> = values.iter().map(|value| (value - median).abs()).collect();
    let typical = percentile(&away, 50).unwrap_or(0.0).max(f64::MIN_POSITIVE);
    away.iter().filter(|away| **away > OUTLIER * typical).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &'static str, script: &str) -> Row {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        Row::printing(key, script, command, 1)
    }

    #[test]
    fn every_command_runs_once_in_a_round_and_the_order_is_another() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let log = dir.path().join("log");
        let script = |name: &str| format!("echo {name} >>{}; echo", log.display());
        let mut rows = ["a", "b", "c"].map(|name| row("key", &script(name)));
        run(&mut rows, 1, 2)?;
        let order: String = std::fs::read_to_string(&log)?.split_whitespace().collect();
        assert_eq!(order, "abcacbcab");
        assert_eq!(rows.map(|row| row.ms.len()), [2, 2, 2], "the first round does not count");
        Ok(())
    }

    #[test]
    fn a_command_that_fails_or_prints_something_else_is_no_measurement() {
        for script in ["echo; false", "echo; echo", "true"] {
            assert!(run(&mut [row("key", script)], 0, 1).is_err(), "{script}");
        }
    }

    #[test]
    fn a_ratio_is_taken_round_by_round() {
        let ratios = ratios(&[1.0, 10.0, 3.0], &[2.0, 20.0, 3.0]);
        assert_eq!(ratios, [0.5, 0.5, 1.0]);
        assert_eq!(Quartiles::of(&ratios).map(|q| q.to_string()).as_deref(), Some("0.50 (0.50–1.00)"));
        assert_eq!(Quartiles::of(&[]), None);
    }

    #[test]
    fn only_what_is_far_from_all_others_is_an_outlier() {
        let mut values: Vec<f64> = (0..100).map(|n| 10.0 + f64::from(n % 5) / 10.0).collect();
        assert_eq!(outliers(&values), 0);
        values.push(20.0);
        assert_eq!(outliers(&values), 1);
        assert_eq!(outliers(&[]), 0);
    }
}
