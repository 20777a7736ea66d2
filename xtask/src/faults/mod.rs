//! `cargo xtask faults`: a fault at every system call of the real program.
//!
//! An operation is run once without a fault, under strace, which gives its positions: every system call that it makes.
//! Then once for each position and fault: killed there, held up there or stopped there past its lease while a rival
//! comes, or the call fails. Afterwards no two may have been inside at once, tokens must have risen, every answer must
//! have been true, the lock must be there for the next, and nothing may be left in the root.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `operation` | what is tried: who holds before, what the victim does, who comes meanwhile |
//! | `case` | one operation, fault and position, played |
//! | `aftermath` | what must be so afterwards |
//! | `sections` | the critical section, its log, the judge of that log |
//! | `scene` | the directory and the programs of one case |
//! | `trace`, `errors` | strace: positions, injections, which error is possible where |
//! | `bench` | what cases share; the pool that runs them |
//! | `clock` | steps of the wall clock |
//! | `report` | the table |

mod aftermath;
mod bench;
mod case;
mod clock;
mod errors;
mod operation;
mod report;
mod scene;
mod sections;
pub mod trace;

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, ValueEnum};
use xshell::Shell;

use crate::console;
use crate::section::Section;
use bench::Bench;
use case::{Case, Fault, Outcome};
use operation::Operation;
use report::Report;
use trace::{Point, Position};

/// How often a case is tried again, alone, that told nothing: the machine was too slow for it, or the victim did not come
/// to its position, as what a program does beside others varies.
const AGAIN: usize = 3;

#[derive(Args)]
pub struct Faults {
    /// Only these operations [default: all]
    #[arg(long, value_delimiter = ',', value_name = "OPERATION")]
    operation: Vec<Operation>,

    /// Only these faults: kill, delay, stop, hang, eio, enospc, eacces, emfile, eintr [default: all]
    #[arg(long, value_delimiter = ',', value_name = "FAULT")]
    fault: Vec<Fault>,

    /// Only at this position, whether or not a clean run comes to it: a system call and its count in the thread, such as renameat2:2
    #[arg(long, value_name = "CALL:N", requires = "operation")]
    at: Option<Point>,

    /// Only the steps of the wall clock
    #[arg(long, conflicts_with_all = ["operation", "fault"])]
    clock: bool,

    /// Try this program instead of building lokt
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,

    /// Only the positions in the root, and of the faults other than kill only some, as CI does
    #[arg(long)]
    quick: bool,

    /// How many cases at once [default: by the fault]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    jobs: Option<u32>,

    /// Keep the directories of the cases that passed, too
    #[arg(long)]
    keep: bool,

    #[command(flatten)]
    section: sections::SectionArgs,
}

/// Faults that are tried together: they load the machine in the same way.
struct Batch {
    name: &'static str,
    waits: bool,
    jobs_per_core: usize,
}

const BATCHES: [Batch; 2] = [
    Batch { name: "those that work", waits: false, jobs_per_core: 2 },
    Batch { name: "those that wait", waits: true, jobs_per_core: 8 },
];

impl Faults {
    /// What fits into a CI job: every position in the root for kills, some for the others.
    pub fn ci_size() -> Self {
        Self {
            operation: Vec::new(),
            fault: Vec::new(),
            at: None,
            clock: false,
            program: None,
            quick: true,
            jobs: None,
            keep: false,
            section: sections::SectionArgs::none(),
        }
    }

    pub fn run(self, sh: &Shell) -> anyhow::Result<()> {
        if self.section.stand()? {
            return Ok(());
        }
        self.measure(sh)?.conclude()
    }

    pub fn measure(&self, sh: &Shell) -> anyhow::Result<Section> {
        trace::find_or_install(sh)?;
        let began = Instant::now();
        console::note("faults: building lokt");
        let bench = Bench::build(sh, self.program.as_deref())?;
        let mut report = Report::new(self.command(), self.quick);
        if self.clock || (self.operation.is_empty() && self.fault.is_empty() && self.program.is_none()) {
            console::note("faults: stepping the wall clock");
            report.clock(clock::measure(sh, &bench)?);
        }
        let mut cases = Vec::new();
        let all = if self.clock { &[] } else { Operation::value_variants() };
        for operation in chosen(&self.operation, all) {
            let positions = case::clean_run(operation, &bench)?;
            report.positions(operation, &positions);
            cases.extend(self.cases(operation, &positions));
        }
        for batch in BATCHES {
            let of = |case: &&Case| case.mostly_waits() == batch.waits;
            let cases: Vec<Case> = cases.iter().filter(of).cloned().collect();
            let cores = std::thread::available_parallelism().map_or(2, usize::from);
            let jobs = self.jobs.map_or(batch.jobs_per_core * cores, |jobs| jobs as usize);
            let outcomes = bench.try_all(&cases, jobs, batch.name);
            self.settle(&bench, cases, outcomes, &mut report);
        }
        Ok(report.section(began.elapsed().as_secs_f64()))
    }

    /// Counts the outcomes; what told nothing is tried again, alone.
    fn settle(&self, bench: &Bench, cases: Vec<Case>, outcomes: Vec<Outcome>, report: &mut Report) {
        for (case, mut outcome) in cases.into_iter().zip(outcomes) {
            for _ in 0..AGAIN {
                match outcome {
                    Outcome::Inconclusive(_) => report.measured_again(),
                    Outcome::NotReached => {}
                    Outcome::Passed | Outcome::Violated(_) => break,
                }
                outcome = case.try_it(bench);
            }
            let dir = case.dir(bench);
            if !self.keep && matches!(outcome, Outcome::Passed | Outcome::NotReached) {
                // It is only in the way.
                let _ = fs::remove_dir_all(&dir);
            }
            report.count(&case, &outcome, &dir);
        }
    }

    fn cases(&self, operation: Operation, positions: &[Position]) -> Vec<Case> {
        let mut cases = Vec::new();
        for fault in chosen(&self.fault, &Fault::ALL) {
            // What hangs is what keeps the lease of a command that runs.
            if fault == Fault::Hang && operation.thread().is_none() {
                continue;
            }
            let points: Vec<Point> = match &self.at {
                Some(point) => vec![point.clone()],
                None => positions
                    .iter()
                    .filter(|at| fault.is_possible(at, self.quick))
                    .map(|at| at.point.clone())
                    .collect(),
            };
            // Which of them does not depend on chance; and different faults begin elsewhere.
            let (stride, offset) = if self.quick && self.at.is_none() { stride(fault) } else { (1, 0) };
            let some = points.into_iter().skip(offset).step_by(stride);
            cases.extend(some.map(|point| Case { operation, fault, point }));
        }
        cases
    }

    fn command(&self) -> String {
        let mut command = "cargo xtask faults".to_owned();
        let list = |names: Vec<String>| names.join(",");
        if !self.operation.is_empty() {
            let names = self.operation.iter().map(|operation| operation.name()).collect();
            command += &format!(" --operation {}", list(names));
        }
        if !self.fault.is_empty() {
            command += &format!(" --fault {}", list(self.fault.iter().map(|fault| fault.name()).collect()));
        }
        self.at.iter().for_each(|at| command += &format!(" --at {at}"));
        if self.clock {
            command += " --clock";
        }
        if self.quick { command + " --quick" } else { command }
    }
}

/// With `--quick`: of how many positions one is tried, and the first.
fn stride(fault: Fault) -> (usize, usize) {
    match fault {
        Fault::Kill => (1, 0),
        Fault::Delay => (6, 1),
        Fault::Stop => (10, 3),
        Fault::Hang => (3, 0),
        Fault::Error(errno) => (5, errno as usize),
    }
}

fn chosen<T: Copy>(asked: &[T], all: &[T]) -> Vec<T> {
    if asked.is_empty() { all.to_vec() } else { asked.to_vec() }
}
