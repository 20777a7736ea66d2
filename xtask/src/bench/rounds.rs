//! The method: commands side by side, in rounds, and what their times come to.
//!
//! Each command alternates with the one that it is compared with, and begins every other round: whatever else the
//! machine does falls upon both alike, and so does what the other leaves behind in its caches. A ratio is the median of
//! the rounds' ratios. As in hyperfine, the first rounds do not count, and outliers are told by the modified Z-score
//! (Iglewicz and Hoaglin).

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
    /// The times, in the same rounds, of what it is compared with.
    beside: Vec<f64>,
}

impl Row {
    /// A command whose output goes nowhere.
    pub fn new(key: &'static str, label: impl Into<String>, command: Command) -> Self {
        Self { key, label: label.into(), command, lines: None, ms: Vec::new(), beside: Vec::new() }
    }

    /// A command whose output is read to its end, and has to have so many lines.
    pub fn printing(key: &'static str, label: impl Into<String>, command: Command, lines: usize) -> Self {
        Self { lines: Some(lines), ..Self::new(key, label, command) }
    }

    /// How many times as long it took as what it is compared with, round by round; none for that one itself.
    pub fn ratios(&self) -> Vec<f64> {
        ratios(&self.ms, &self.beside)
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

/// Runs each of the rows in alternation with `base`, and leaves the times in them.
pub fn run(base: &mut Row, rows: &mut [Row], warm_up: usize, rounds: usize) -> anyhow::Result<()> {
    for row in rows {
        for round in 0..warm_up + rounds {
            let base_first = round % 2 == 1;
            let before = if base_first { Some(base.once()?) } else { None };
            let ms = row.once()?;
            let beside = before.map_or_else(|| base.once(), Ok)?;
            if round >= warm_up {
                row.ms.push(ms);
                row.beside.push(beside);
                base.ms.push(beside);
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
    fn every_command_alternates_with_the_one_that_it_is_compared_with() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let log = dir.path().join("log");
        let script = |name: &str| format!("echo {name} >>{}; echo", log.display());
        let [mut base, mut rows @ ..] = ["b", "x", "y"].map(|name| row("key", &script(name)));
        run(&mut base, &mut rows, 1, 2)?;
        let order: String = std::fs::read_to_string(&log)?.split_whitespace().collect();
        assert_eq!(order, "xbbxxbybbyyb");
        assert_eq!(rows.map(|row| row.ratios().len()), [2, 2], "the first round does not count");
        assert_eq!(base.ms.len(), 4);
        Ok(())
    }

    #[test]
    fn a_command_that_fails_or_prints_something_else_is_no_measurement() {
        for script in ["echo; false", "echo; echo", "true"] {
            assert!(run(&mut row("key", "echo"), &mut [row("key", script)], 0, 1).is_err(), "{script}");
        }
    }

    #[test]
    fn a_ratio_is_taken_round_by_round() {
        let mut row = row("key", "echo");
        (row.ms, row.beside) = (vec![1.0, 10.0, 3.0], vec![2.0, 20.0, 3.0]);
        let ratios = row.ratios();
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
