//! The report of a race: what is printed, shown and written to `report.json` all comes from here.
//!
//! `report.json` is one object with the fields of [`Report`], documented there. All times are in milliseconds.

use std::fs;

use anyhow::Context;
use serde::Serialize;
use xshell::Shell;

use super::outdir::OutDir;
use super::plan::{Plan, Store, Ttl};
use super::results::Run;
use super::{figures, table};
use crate::machine::Machine;
use crate::section::{Figure, Section};
use crate::stats::Spread;

/// A whole race.
#[derive(Serialize)]
pub struct Report {
    /// `lokt race report`, and the version of this format.
    pub format: &'static str,
    pub version: u32,
    /// When it ended, RFC 3339.
    pub ended_at: String,
    pub machine: Machine,
    /// How many runs went on at once.
    pub jobs: u32,
    /// Where the locks were: `dir` or `etcd`.
    pub store: Store,
    /// Whether it was built with ThreadSanitizer.
    pub sanitized: bool,
    /// How long all runs together took, without the build.
    pub total_ms: f64,
    pub passed: usize,
    pub failed: usize,
    /// A summary for each TTL, in the order in which they were asked for.
    pub ttls: Vec<Summary>,
    /// Each run, by TTL and number.
    pub runs: Vec<Run>,
}

/// The runs of one TTL. A spread is null if there was nothing to measure.
#[derive(Serialize)]
pub struct Summary {
    pub ttl: Ttl,
    pub ttl_ms: u64,
    pub runs: usize,
    pub passed: usize,
    pub failed: usize,
    pub wall_ms: Option<Spread>,
    pub renewals: usize,
    pub late_ms: Option<Spread>,
    pub left_ms: Option<Spread>,
    pub break_attempts: u64,
    pub break_refused: u64,
    pub strikes_missed: u64,
    pub early_breaks: u64,
    pub takeover_ms: Option<Spread>,
    pub handover_ms: Option<Spread>,
}

impl Summary {
    fn of(ttl: &Ttl, all: &[Run]) -> Self {
        let runs: Vec<&Run> = all.iter().filter(|run| run.ttl == ttl.label).collect();
        let renewals = || runs.iter().flat_map(|run| &run.renewals);
        let passed = runs.iter().filter(|run| run.passed).count();
        Self {
            ttl: ttl.clone(),
            ttl_ms: ttl.ms,
            runs: runs.len(),
            passed,
            failed: runs.len() - passed,
            wall_ms: Spread::of(runs.iter().map(|run| run.wall_ms)),
            renewals: renewals().count(),
            late_ms: Spread::of(renewals().map(|renewal| renewal.late_ms)),
            left_ms: Spread::of(renewals().map(|renewal| renewal.left_ms)),
            break_attempts: runs.iter().map(|run| run.break_attempts).sum(),
            break_refused: runs.iter().map(|run| run.break_refused).sum(),
            strikes_missed: runs.iter().map(|run| run.strikes.missed).sum(),
            early_breaks: runs.iter().map(|run| run.early_breaks).sum(),
            takeover_ms: Spread::of(runs.iter().filter_map(|run| run.takeover_ms)),
            handover_ms: Spread::of(runs.iter().filter_map(|run| run.handover_ms)),
        }
    }
}

impl Report {
    pub fn new(sh: &Shell, plan: &Plan, seconds: f64, runs: Vec<Run>) -> Self {
        let passed = runs.iter().filter(|run| run.passed).count();
        Self {
            format: "lokt race report",
            version: 1,
            ended_at: format!("{:.0}", jiff::Timestamp::now()),
            machine: Machine::this(sh),
            jobs: plan.jobs,
            store: plan.store,
            sanitized: plan.sanitize,
            total_ms: seconds * 1_000.0,
            passed,
            failed: runs.len() - passed,
            ttls: plan.ttls.iter().map(|ttl| Summary::of(ttl, &runs)).collect(),
            runs,
        }
    }

    pub fn write(&self, out: &OutDir) -> anyhow::Result<()> {
        let path = out.report_json();
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))
    }

    /// The outcome in a line. It claims no more than the runs have shown.
    pub fn verdict(&self) -> String {
        let (passed, all) = (self.passed, self.runs.len());
        match self.failed {
            0 => format!("{passed} of {all} passed: {}", self.claim()),
            failed => format!("{passed} of {all} passed, {failed} failed"),
        }
    }

    /// The race as a part of a larger report.
    pub fn section(&self, command: String, seconds: f64) -> Section {
        let sum = |count: fn(&Summary) -> u64| self.ttls.iter().map(count).sum::<u64>();
        let spread = |values: fn(&Run) -> Vec<f64>| Spread::of(self.runs.iter().flat_map(values));
        let renewals =
            |run: &Run| -> Vec<f64> { run.renewals.iter().map(|renewal| renewal.late_ms).collect() };
        let mut figures = vec![
            Figure::count("runs", "runs", self.runs.len() as u64),
            Figure::count("renewals", "renewals", sum(|summary| summary.renewals as u64)),
            Figure::count("break_attempts", "attempts to break", sum(|summary| summary.break_attempts)),
            Figure::count("break_refused", "of them refused", sum(|summary| summary.break_refused)),
        ];
        figures.extend(Figure::p50("late_p50_ms", "renewals late by, median", spread(renewals).as_ref()));
        let takeover = spread(|run| run.takeover_ms.into_iter().collect());
        figures.extend(Figure::p50("takeover_p50_ms", "take-over after a lapse, median", takeover.as_ref()));
        let handover = spread(|run| run.handover_ms.into_iter().collect());
        figures.extend(Figure::p50(
            "handover_p50_ms",
            "hand-over at a normal end, median",
            handover.as_ref(),
        ));
        let (name, title) = match self.store {
            Store::Dir => ("race", "Renewal under contention"),
            Store::Etcd => ("race-etcd", "Renewal under contention, on an etcd"),
        };
        Section {
            name,
            title: title.to_owned(),
            command,
            passed: self.failed == 0,
            verdict: self.verdict(),
            seconds,
            figures,
            tables: vec![table::by_ttl(self)],
            plots: figures::plots(self),
        }
    }

    /// What the race has shown, if all of it passed.
    pub fn claim(&self) -> &'static str {
        "no take-over while the heartbeat lived"
    }
}

#[cfg(test)]
mod tests {
    use super::super::results::Renewal;
    use super::*;

    fn run(ttl: &str, passed: bool, late_ms: &[f64], takeover_ms: Option<f64>) -> Run {
        let renewal = |&late_ms: &f64| Renewal { at_ms: 0.0, late_ms, left_ms: 1_000.0 - late_ms };
        Run {
            ttl: ttl.to_owned(),
            passed,
            wall_ms: 3_000.0,
            renewals: late_ms.iter().map(renewal).collect(),
            break_attempts: 10,
            break_refused: 9,
            takeover_ms,
            ..Run::default()
        }
    }

    #[test]
    fn a_summary_counts_the_runs_of_its_own_ttl() {
        let ttl = Ttl { label: "2s".to_owned(), ms: 2_000 };
        let all = [
            run("2s", true, &[0.1, 0.3], Some(2.0)),
            run("2s", false, &[0.2], None),
            run("3s", true, &[9.0], None),
        ];
        let summary = Summary::of(&ttl, &all);
        assert_eq!((summary.runs, summary.passed, summary.failed, summary.renewals), (2, 1, 1, 3));
        assert_eq!((summary.break_attempts, summary.break_refused), (20, 18));
        assert_eq!(summary.late_ms.map(|late| (late.p50, late.max)), Some((0.2, 0.3)));
        assert_eq!(summary.left_ms.map(|left| left.min), Some(999.7));
        assert_eq!(summary.takeover_ms.map(|spread| spread.count), Some(1));
        assert_eq!(summary.handover_ms, None);
    }
}
