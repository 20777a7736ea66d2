//! `cargo xtask sim`: the lock on a simulated machine, under schedules by the million.
//!
//! The simulator itself is in `tests/src/sim`; this builds it, runs it, and shows what it says.

use std::time::Instant;

use anyhow::{Context, bail};
use clap::Args;
use serde::Deserialize;
use xshell::{Shell, cmd};

use crate::section::{Figure, Section, Table};
use crate::stats::thousands;
use crate::{console, paths};

#[derive(Args)]
pub struct Sim {
    /// How many schedules to choose at random
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    schedules: u64,

    /// The seed of the first of them; the others follow [default: another one each day]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,

    /// The largest number of actors
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(2..=12))]
    actors: u8,

    /// In the small cases, try every schedule with at most so many deviations
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=4))]
    deviations: u8,

    /// How many threads [default: one per core]
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
}

/// What the simulator prints.
#[derive(Deserialize)]
struct Findings {
    schedules: u64,
    steps: u64,
    seconds: f64,
    jobs: usize,
    cases: Vec<Case>,
    violation: Option<Violation>,
}

#[derive(Deserialize)]
struct Case {
    case: String,
    schedules: u64,
}

/// A promise that was broken, and how to see it again.
#[derive(Deserialize)]
struct Violation {
    promise: String,
    what: String,
    /// Of the schedule, if it was chosen at random.
    seed: Option<u64>,
    timeline: Vec<String>,
}

impl Sim {
    /// A million schedules, and the small cases.
    pub fn ci_size() -> Self {
        Self { schedules: 1_000_000, seed: None, actors: 4, deviations: 2, jobs: None }
    }

    pub fn run(self, sh: &Shell) -> anyhow::Result<()> {
        self.measure(sh)?.conclude()
    }

    pub fn measure(&self, sh: &Shell) -> anyhow::Result<Section> {
        let began = Instant::now();
        let _workspace = sh.push_dir(paths::workspace());
        cmd!(sh, "cargo build --quiet --profile sim --package lokt-tests --bin sim").run()?;
        let program = paths::target().join("sim/sim");
        let seed = self.seed.unwrap_or_else(seed_of_today);
        let jobs = self.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        let (schedules, actors, deviations) =
            (self.schedules.to_string(), self.actors.to_string(), self.deviations.to_string());
        console::note(&format!("{} schedules from seed {seed}, {jobs} at a time", thousands(self.schedules)));
        let (seed_text, jobs) = (seed.to_string(), jobs.to_string());
        let said = cmd!(
            sh,
            "{program} --json --schedules {schedules} --seed {seed_text} --actors {actors} --deviations {deviations} --jobs {jobs}"
        )
        .quiet()
        .ignore_status()
        .read()?;
        let findings = understand(&said)?;
        if findings.violation.is_none() && findings.schedules < self.schedules {
            bail!("the simulator stopped after {} of {schedules} schedules", findings.schedules);
        }
        Ok(self.section(&findings, seed, began.elapsed().as_secs_f64()))
    }

    fn section(&self, findings: &Findings, seed: u64, seconds: f64) -> Section {
        let exhaustive: u64 = findings.cases.iter().map(|case| case.schedules).sum();
        let rate = findings.schedules as f64 / findings.seconds.max(f64::EPSILON);
        let per_core = rate / findings.jobs.max(1) as f64;
        let rounded = |rate: f64| thousands(rate as u64);
        let figures = vec![
            Figure::count("schedules", "schedules at random", findings.schedules),
            Figure::count("steps", "steps in them", findings.steps),
            Figure::new(
                "schedules_per_second_per_core",
                "schedules a second, per core",
                per_core,
                rounded(per_core),
            ),
            Figure::count("exhaustive", "schedules of the small cases, all tried", exhaustive),
        ];
        let mut small = Table::new(
            &format!("Every schedule with at most {} deviations", self.deviations),
            &["case", "schedules"],
        );
        small.rows =
            findings.cases.iter().map(|case| vec![case.case.clone(), thousands(case.schedules)]).collect();
        let mut tables = if small.rows.is_empty() { Vec::new() } else { vec![small] };
        let verdict = match &findings.violation {
            None => format!(
                "no promise broken in {} schedules at random and {} tried one by one",
                thousands(findings.schedules),
                thousands(exhaustive)
            ),
            Some(violation) => {
                let mut story = Table::new(&self.again(violation), &["the shortest schedule that was found"]);
                story.rows = violation.timeline.iter().map(|line| vec![line.clone()]).collect();
                tables.push(story);
                format!("{}: {}", violation.promise, violation.what)
            }
        };
        Section {
            name: "sim",
            title: "Simulated schedules".to_owned(),
            command: format!("cargo xtask sim --schedules {} --seed {seed}", self.schedules),
            passed: findings.violation.is_none(),
            verdict,
            seconds,
            figures,
            tables,
            plots: Vec::new(),
        }
    }

    fn again(&self, violation: &Violation) -> String {
        match violation.seed {
            Some(seed) => {
                format!("Again: cargo xtask sim --schedules 1 --seed {seed} --actors {}", self.actors)
            }
            None => format!("Again: cargo xtask sim --schedules 0 --deviations {}", self.deviations),
        }
    }
}

/// What the simulator has printed.
fn understand(said: &str) -> anyhow::Result<Findings> {
    serde_json::from_str(said).with_context(|| format!("the simulator did not end as it should: {said:?}"))
}

/// New schedules every day, and the same ones for all who ask on one day.
fn seed_of_today() -> u64 {
    let today = jiff::Timestamp::now().as_second().max(0) as u64 / 86_400;
    today * 1_000_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_is_shown_with_its_schedule_and_seed() -> anyhow::Result<()> {
        let said = r#"{"schedules": 7, "steps": 70, "seconds": 0.5, "jobs": 1, "cases": [], "violation":
            {"promise": "fencing", "what": "a token went back", "schedule": 7, "seed": 12, "timeline": ["a", "b"]}}"#;
        let section = Sim::ci_size().section(&understand(said)?, 6, 1.0);
        assert!(!section.passed);
        assert_eq!(section.verdict, "fencing: a token went back");
        let text = section.text();
        assert!(text.contains("--schedules 1 --seed 12 --actors 4") && text.contains("\n  b\n"), "{text}");
        Ok(())
    }

    #[test]
    fn a_simulator_that_crashed_is_no_success() {
        assert!(understand("").is_err());
    }
}
