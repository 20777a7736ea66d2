//! `cargo xtask mutants`: lokt broken on purpose, in a copy, to see that a test notices each mistake.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `patch` | the named mutants, in `tests/mutants`: each the plausible mistake of a good engineer |
//! | `copy` | the copy of the workspace that is broken and mended |
//! | `leftovers` | processes that a mutant has left behind |
//! | `named` | the named mutants, tried one after the other |
//! | `simulator` | how the simulator is asked about those that are a matter of interleaving |
//! | `protocol` | every small change that cargo-mutants can think of to the pure protocol |

mod copy;
mod leftovers;
mod named;
mod patch;
mod protocol;
mod simulator;

use std::time::Instant;

use clap::Args;
use xshell::Shell;

use crate::paths;
use crate::section::Section;

/// How many schedules the simulator gets to find a mutant in.
const SCHEDULES: u64 = 100_000;

#[derive(Args)]
pub struct Mutants {
    /// Only these named mutants
    #[arg(value_name = "NAME", conflicts_with = "protocol")]
    names: Vec<String>,

    /// Only the named mutants, all of them
    #[arg(long, conflicts_with = "protocol")]
    named: bool,

    /// Only the mutants that cargo-mutants makes of the protocol
    #[arg(long)]
    protocol: bool,

    /// How many schedules the simulator may take to find a mutant
    #[arg(long, value_name = "N", default_value_t = SCHEDULES, value_parser = clap::value_parser!(u64).range(1..))]
    schedules: u64,

    /// How many mutants of the protocol to try at once [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: Option<u16>,
}

impl Mutants {
    /// All of them: they are few enough for the CI.
    pub fn ci_size() -> Self {
        Self { names: Vec::new(), named: false, protocol: false, schedules: SCHEDULES, jobs: None }
    }

    /// The named ones, or some of them.
    pub fn of_names(names: Vec<String>) -> Self {
        Self { names, named: true, protocol: false, schedules: SCHEDULES, jobs: None }
    }

    pub fn run(self, sh: &Shell) -> anyhow::Result<()> {
        self.measure(sh)?.conclude()
    }

    /// Tries the mutants that were asked for.
    pub fn measure(&self, sh: &Shell) -> anyhow::Result<Section> {
        let _workspace = sh.push_dir(paths::workspace());
        let started = Instant::now();
        let mutants = named::choose(&self.names)?;
        let _alone = copy::alone()?;
        let named = match self.protocol {
            false => Some(named::measure(sh, mutants, self.schedules)?),
            true => None,
        };
        let protocol = match self.named || !self.names.is_empty() {
            false => Some(protocol::measure(sh, self.jobs())?),
            true => None,
        };
        let verdicts = [named.as_ref().map(|it| it.verdict()), protocol.as_ref().map(|it| it.verdict())];
        let figures = [named.as_ref().map(|it| it.figures()), protocol.as_ref().map(|it| it.figures())];
        let tables = [named.as_ref().map(|it| vec![it.table()]), protocol.as_ref().map(|it| it.tables())];
        Ok(Section {
            name: "mutants",
            title: "Would the tests notice a mistake?".to_owned(),
            command: self.command(),
            passed: named.is_none_or(|it| it.passed()) && protocol.is_none_or(|it| it.passed()),
            verdict: verdicts.into_iter().flatten().collect::<Vec<String>>().join("; "),
            seconds: started.elapsed().as_secs_f64(),
            figures: figures.into_iter().flatten().flatten().collect(),
            tables: tables.into_iter().flatten().flatten().collect(),
            plots: Vec::new(),
        })
    }

    fn jobs(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(2, usize::from);
        self.jobs.map_or_else(cores, usize::from)
    }

    fn command(&self) -> String {
        let mut command = "cargo xtask mutants".to_owned();
        if self.protocol {
            command += " --protocol";
        } else if self.named && self.names.is_empty() {
            command += " --named";
        }
        self.names.iter().for_each(|name| command += &format!(" {name}"));
        if self.schedules != SCHEDULES {
            command += &format!(" --schedules {}", self.schedules);
        }
        command
    }
}
