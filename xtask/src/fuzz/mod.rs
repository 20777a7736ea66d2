//! `cargo xtask fuzz`: libFuzzer on records, on what is decided of them, and on names, durations and ids.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `build` | how the targets are built so that libFuzzer sees which branches an input takes |
//! | `libfuzzer` | one target at work: its corpus, its figures, its crashes |
//!
//! The targets are in `tests/fuzz`, what they check in `tests/src/input.rs`. `tests/fuzz/corpus` holds the seeds, which
//! `cargo xtask test` replays as well; what the fuzzer adds goes to `target/fuzz` and is tried again the next time.
//!
//! A fuzzer that is blind finds nothing either. So each time it must also find a panic that was planted behind five
//! bytes, which no blind search would do in time.

mod build;
mod libfuzzer;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::bail;
use clap::{Args, ValueEnum};
use xshell::Shell;

use crate::section::{Figure, Section, Table};
use crate::stats::thousands;
use crate::{UsageError, console, paths};
use build::Build;
use libfuzzer::{Crash, Found};

/// Seconds for each target, unless told otherwise.
const SECONDS: u32 = 60;

/// Seconds for each target in CI.
const CI_SECONDS: u32 = 10;

/// Within this the planted panic is found; some seconds are usual.
const PLANTED_SECONDS: u32 = 60;

#[derive(Args)]
pub struct Fuzz {
    /// How long to fuzz each target
    #[arg(long, value_name = "S", default_value_t = SECONDS, value_parser = clap::value_parser!(u32).range(1..=604_800))]
    seconds: u32,

    /// What to fuzz [default: all]
    #[arg(long, value_name = "TARGET")]
    target: Vec<Target>,

    /// Only run this input through the target, as it is
    #[arg(long, value_name = "FILE", requires = "target")]
    repeat: Option<PathBuf>,
}

/// A target that is fuzzed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Target {
    /// Any bytes as a record
    Record,
    /// What is decided of any bytes as a record
    Decided,
    /// Any text as a name, a duration and an id
    Text,
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Decided => "decided",
            Self::Text => "text",
        }
    }

    /// Whose seeds it begins with, in `tests/fuzz/corpus`.
    fn seeds(self) -> &'static str {
        match self {
            Self::Record | Self::Decided => "record",
            Self::Text => "text",
        }
    }
}

impl Fuzz {
    /// As the CI runs it: all targets, briefly.
    pub fn ci_size() -> Self {
        Self { seconds: CI_SECONDS, target: Vec::new(), repeat: None }
    }

    pub fn run(self, sh: &Shell) -> anyhow::Result<()> {
        match &self.repeat {
            Some(input) => self.repeat(sh, input),
            None => self.measure(sh)?.conclude(),
        }
    }

    fn repeat(&self, sh: &Shell, input: &PathBuf) -> anyhow::Result<()> {
        let [target] = self.target[..] else {
            return Err(UsageError("--repeat needs exactly one --target".to_owned()).into());
        };
        if !input.is_file() {
            return Err(UsageError(format!("{} is not a file: give the input", input.display())).into());
        }
        let input = std::path::absolute(input)?;
        let _workspace = sh.push_dir(paths::workspace());
        let build = Build::of(sh, &[target.name()])?;
        if !std::process::Command::new(build.program(target.name())).arg(input).status()?.success() {
            bail!("the input still fails: see above");
        }
        Ok(())
    }

    /// Fuzzes all targets and tells what came of it.
    pub fn measure(&self, sh: &Shell) -> anyhow::Result<Section> {
        let began = Instant::now();
        let _workspace = sh.push_dir(paths::workspace());
        let targets = self.targets();
        let names: Vec<&str> = targets.iter().map(|target| target.name()).chain(["planted"]).collect();
        let build = Build::of(sh, &names)?;

        let planted = libfuzzer::find_planted(&build, PLANTED_SECONDS)?;
        let mut found = Vec::new();
        for target in &targets {
            console::note(&format!("fuzzing {} for {} s", target.name(), self.seconds));
            found.push(libfuzzer::fuzz(&build, target.name(), target.seeds(), self.seconds)?);
        }
        for crash in found.iter().filter_map(|found| found.crash.as_ref()) {
            console::line(&crash.told());
        }
        Ok(self.section(planted, &found, began.elapsed().as_secs_f64()))
    }

    /// Without repetition, in the order in which they are declared.
    fn targets(&self) -> Vec<Target> {
        let all = Target::value_variants().iter().copied();
        all.filter(|target| self.target.is_empty() || self.target.contains(target)).collect()
    }

    fn section(&self, planted: Option<f64>, found: &[Found], seconds: f64) -> Section {
        let total = |of: fn(&Found) -> u64| found.iter().map(of).sum::<u64>();
        let crashes = found.iter().filter(|found| found.crash.is_some()).count();
        let executions = total(|found| found.executions);
        let per_second = executions as f64 / found.iter().map(|found| found.seconds).sum::<f64>().max(0.001);
        let verdict = match (planted, crashes) {
            (_, 1..) => format!("{crashes} of {} targets crash", found.len()),
            (None, _) => "the planted panic was not found: the fuzzer is blind".to_owned(),
            (Some(after), 0) => format!(
                "no crash in {} executions; the planted one was found after {after:.1} s",
                thousands(executions)
            ),
        };
        Section {
            name: "fuzz",
            title: "Does any input break the parsers, or a rule of what is decided of it?".to_owned(),
            command: format!("cargo xtask fuzz --seconds {}", self.seconds),
            passed: planted.is_some() && crashes == 0,
            verdict,
            seconds,
            figures: vec![
                Figure::count("executions", "executions", executions),
                Figure::count("executions_per_second", "executions per second", per_second as u64),
                Figure::count(
                    "coverage_seeds",
                    "branches seen by the seeds",
                    total(|found| found.coverage_seeds),
                ),
                Figure::count("coverage", "branches seen at the end", total(|found| found.coverage)),
                Figure::count("corpus", "inputs in the corpus", total(|found| found.corpus)),
                Figure::count("crashes", "crashes", crashes as u64),
            ],
            tables: vec![table(found)],
            plots: Vec::new(),
        }
    }
}

fn table(found: &[Found]) -> Table {
    let columns =
        ["target", "executions", "per second", "seeds", "branches by seeds", "branches", "corpus", "crash"];
    let mut table = Table::new("Targets", &columns);
    for found in found {
        let per_second = found.executions as f64 / found.seconds.max(0.001);
        let numbers = [
            found.executions,
            per_second as u64,
            found.seeds,
            found.coverage_seeds,
            found.coverage,
            found.corpus,
        ];
        let mut row = vec![found.target.clone()];
        row.extend(numbers.map(thousands));
        row.push(found.crash.as_ref().map_or("none".to_owned(), Crash::why));
        table.rows.push(row);
    }
    table
}
