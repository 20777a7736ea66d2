//! `cargo xtask bench`: lokt beside its peers, in one run, as ratios.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `ground` | the programs, and the directories in which they work |
//! | `rounds` | how commands are timed side by side |
//! | `admission`, `listing`, `names` | whole processes: one lock, many records, many names |
//! | `queue` | holders and waiters that are watched and let go |
//! | `handover`, `crowd` | what happens between a release and the next in line |
//! | `library`, `instructions` | the library's own benches; what can be counted instead of timed |
//! | `found` | what a section hands over |
//! | `targets` | the limits, all in one table |
//! | `report` | what is printed, `report.json` and `report.html` |

mod admission;
mod crowd;
mod found;
mod ground;
mod handover;
mod instructions;
mod library;
mod listing;
mod names;
mod queue;
mod report;
mod rounds;
mod targets;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::bail;
use clap::{Args, ValueEnum};
use xshell::Shell;

use self::found::Found;
use self::ground::Ground;
use self::report::{Report, Surroundings};
use self::targets::Judged;
use crate::outdir::OutDir;
use crate::{console, paths};

/// Rounds of what takes milliseconds, unless told otherwise.
const ROUNDS: usize = 300;
const QUICK_ROUNDS: usize = 60;

#[derive(Args, Default)]
pub struct Bench {
    /// Fewer rounds and smaller crowds: a minute or two instead of four
    #[arg(long)]
    quick: bool,

    /// Only these sections
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<Part>,

    /// How many rounds of what takes milliseconds [default: 300, with --quick 60]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=99_999))]
    runs: Option<u32>,

    /// Fail if a ratio or a count has become clearly worse than it was; a time never matters
    #[arg(long)]
    check: bool,

    /// Where to put the report; an earlier one there is replaced [default: target/bench]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Lock, run nothing, unlock
    Admission,
    /// From a release to the waiter's command
    Handover,
    /// Up to a thousand waiters
    Crowd,
    /// Many records, many events
    Listing,
    /// Many names at once
    Names,
    /// The library's own benches, by criterion
    Library,
    /// User-space instructions and system calls
    Instructions,
}

impl Part {
    fn measure(self, sh: &Shell, ground: &Ground) -> anyhow::Result<Found> {
        match self {
            Self::Admission => admission::measure(ground),
            Self::Handover => handover::measure(ground),
            Self::Crowd => crowd::measure(ground),
            Self::Listing => listing::measure(ground),
            Self::Names => names::measure(ground),
            Self::Library => library::measure(sh),
            Self::Instructions => instructions::measure(ground),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Admission => "admission",
            Self::Handover => "handover",
            Self::Crowd => "crowd",
            Self::Listing => "listing",
            Self::Names => "names",
            Self::Library => "library",
            Self::Instructions => "instructions",
        }
    }

    /// What it found, whatever happened.
    fn found(self, sh: &Shell, ground: &Ground) -> Found {
        console::heading(self.name());
        let creation = ground.creation().unwrap_or(f64::NAN);
        let began = Instant::now();
        let mut found = self.measure(sh, ground).unwrap_or_else(|error| Found::failed(self.name(), &error));
        found.began_where_a_file_takes(creation);
        found.section.seconds = began.elapsed().as_secs_f64();
        targets::conclude(&mut found);
        console::print(&found.section.text());
        found
    }
}

impl Bench {
    /// The one of the CI.
    pub fn small() -> Self {
        Self { quick: true, check: true, ..Self::default() }
    }

    pub fn run(self, sh: &Shell) -> anyhow::Result<()> {
        let mut surroundings = Surroundings::look();
        let out = self.out.clone().unwrap_or_else(|| paths::target().join("bench"));
        let out = OutDir::prepare(&std::path::absolute(out)?, "bench", &["report.json", "report.html"])?;
        let _workspace = sh.push_dir(paths::workspace());
        let usual = if self.quick { QUICK_ROUNDS } else { ROUNDS };
        let ground = Ground::prepare(sh, self.quick, self.runs.map_or(usual, |runs| runs as usize))?;
        surroundings.complete(sh, &ground);

        let began = Instant::now();
        let asked = |part: &&Part| self.only.is_empty() || self.only.contains(part);
        let found: Vec<Found> =
            Part::value_variants().iter().filter(asked).map(|part| part.found(sh, &ground)).collect();
        let report = Report::new(sh, self.quick, surroundings, began.elapsed().as_secs_f64(), found);
        report.write(&out)?;
        report.print(&out);
        self.judge(&report)
    }

    fn judge(&self, report: &Report) -> anyhow::Result<()> {
        let failed: Vec<&str> =
            report.sections.iter().filter(|found| found.failed).map(|found| found.section.name).collect();
        if !failed.is_empty() {
            bail!("not to be measured: {}", failed.join(", "));
        }
        let beyond = |one: &&Judged| one.fails_check();
        let missed: Vec<&str> = report.targets.iter().filter(beyond).map(|one| one.target.name).collect();
        if self.check && !missed.is_empty() {
            bail!("worse than they were, by more than a busy machine explains: {}", missed.join("; "));
        }
        Ok(())
    }
}
