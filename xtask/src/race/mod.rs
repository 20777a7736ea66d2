//! `cargo xtask race`: the contention test many times over, for several TTLs, side by side and without retries.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `plan` | which runs there are, and what the test program is told about them |
//! | `outdir` | the output directory, and when it may be cleared |
//! | `runner` | nextest at work, and the progress shown meanwhile |
//! | `results` | what each run left behind, or that it left nothing |
//! | `report` | the summary per TTL; `report.json` |
//! | `table`, `timeline` | what is printed at the end |
//! | `page`, `figures` | `report.html` |
//! | `sanitize` | the same under ThreadSanitizer |
//!
//! The runs themselves, and what they check, are in `tests/contention.rs`.

mod figures;
mod outdir;
mod page;
mod plan;
mod report;
mod results;
mod runner;
mod sanitize;
mod table;
mod timeline;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::bail;
use clap::Args;
use xshell::Shell;

use crate::etcd::Etcd;
use crate::mutants::Mutants;
use crate::nextest::Nextest;
use crate::section::Section;
use crate::{console, paths};
use outdir::OutDir;
use plan::Plan;
pub use plan::{Store, Ttl};
use report::Report;
use runner::Runner;

/// Runs per TTL, unless told otherwise.
const RUNS: u32 = 100;

/// The TTLs, unless told otherwise.
const TTLS: &str = "2s,3s,5s";

#[derive(Args)]
pub struct Race {
    /// How many runs for each TTL [default: 100, with --sanitize 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=9999))]
    runs: Option<u32>,

    /// Only the N-th run of each TTL
    #[arg(long, value_name = "N", conflicts_with = "runs", value_parser = clap::value_parser!(u32).range(1..=9999))]
    run: Option<u32>,

    /// The TTLs to try, such as 2s or 1500ms
    #[arg(long, value_delimiter = ',', default_value = TTLS)]
    ttl: Vec<Ttl>,

    /// How many runs at once [default: 8 per core; runs mostly wait]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    jobs: Option<u32>,

    /// How many contenders in each run [default: the test's own]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    contenders: Option<u32>,

    /// Where the locks are: in a directory, or on an etcd that is started for it
    #[arg(long, value_enum, default_value_t = Store::Dir)]
    store: Store,

    /// Keep the directories of the runs that passed, too
    #[arg(long)]
    keep: bool,

    /// Where to put the results; an earlier race's results there are replaced [default: target/race]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Build with ThreadSanitizer and fail on any data race that it sees
    #[arg(long)]
    sanitize: bool,

    /// Show that the tests have teeth: break lokt in a copy, and see each mistake noticed (as `cargo xtask mutants
    /// --named`)
    #[arg(long, conflicts_with_all = ["runs", "run", "ttl", "jobs", "contenders", "keep", "out", "sanitize", "store"])]
    mutants: bool,

    /// With --mutants: only this one; again for more
    #[arg(long, value_name = "NAME", requires = "mutants")]
    mutant: Vec<String>,
}

impl Race {
    /// A race over some TTLs, the rest as usual: for the CI matrix.
    pub fn of(ttl: Vec<Ttl>, runs: Option<u32>, store: Store, sanitize: bool) -> Self {
        Self {
            runs,
            run: None,
            ttl,
            jobs: None,
            contenders: None,
            store,
            keep: false,
            out: None,
            sanitize,
            mutants: false,
            mutant: Vec::new(),
        }
    }

    /// Fewer runs, for a proof that has other parts as well.
    pub fn ci_size(store: Store) -> Self {
        let ttls = TTLS.split(',').filter_map(|ttl| ttl.parse().ok()).collect();
        let runs = match store {
            Store::Dir => 20,
            // Not so many go on at once.
            Store::Etcd => 5,
        };
        Self::of(ttls, Some(runs), store, false)
    }

    pub fn run(self, sh: &Shell) -> anyhow::Result<()> {
        if self.mutants {
            return Mutants::of_names(self.mutant).run(sh);
        }
        let report = self.race(sh)?;
        if report.failed > 0 {
            bail!("{} of {} runs failed", report.failed, report.runs.len());
        }
        Ok(())
    }

    pub fn measure(&self, sh: &Shell) -> anyhow::Result<Section> {
        let began = Instant::now();
        let report = self.race(sh)?;
        let mut command = format!("cargo xtask race --runs {}", self.runs.unwrap_or(RUNS));
        if self.store == Store::Etcd {
            command += " --store etcd";
        }
        Ok(report.section(command, began.elapsed().as_secs_f64()))
    }

    fn race(&self, sh: &Shell) -> anyhow::Result<Report> {
        let sanitizer = self.sanitize.then(|| sanitize::Sanitizer::for_this_machine(sh)).transpose()?;
        let plan = self.plan()?;
        let _workspace = sh.push_dir(paths::workspace());
        let nextest = Nextest::find_or_install(sh)?;
        let out = OutDir::prepare(&plan.out)?;

        let etcd = (self.store == Store::Etcd).then(|| Etcd::start(sh, &out.path())).transpose()?;
        let address = etcd.as_ref().map(|etcd| etcd.address("race"));
        let runner = Runner {
            sh,
            nextest: &nextest,
            plan: &plan,
            out: &out,
            sanitizer: sanitizer.as_ref(),
            etcd: address,
        };
        let seconds = runner.race()?;
        let report = Report::new(sh, &plan, seconds, results::collect(&plan, &out)?);
        report.write(&out)?;
        page::write(&report, &plan, &out)?;
        show(&report, &plan, &out);

        if let Some(sanitizer) = &sanitizer {
            sanitizer.judge(&runner)?;
        }
        Ok(report)
    }

    fn plan(&self) -> anyhow::Result<Plan> {
        let default_runs = if self.sanitize { sanitize::RUNS } else { RUNS };
        let out = self.out.clone().unwrap_or_else(|| paths::target().join("race"));
        Ok(Plan {
            ttls: plan::distinct(&self.ttl)?,
            runs: self.run.or(self.runs).unwrap_or(default_runs),
            only: self.run,
            jobs: self.jobs.unwrap_or_else(|| default_jobs(self.sanitize || self.store == Store::Etcd)),
            contenders: self.contenders,
            store: self.store,
            keep: self.keep,
            sanitize: self.sanitize,
            out: std::path::absolute(out)?,
        })
    }
}

/// Runs wait more than they work: at 8 per core 300 of them end in about 100 s on two cores, and the beats
/// are still on time. Under the sanitizer everything takes some ten times the processor, and with an etcd beside it more.
fn default_jobs(is_heavy: bool) -> u32 {
    let cores = std::thread::available_parallelism().map_or(2, |cores| cores.get() as u32);
    if is_heavy { cores } else { (8 * cores).min(64) }
}

fn show(report: &Report, plan: &Plan, out: &OutDir) {
    for run in report.runs.iter().filter(|run| !run.passed) {
        console::line(&timeline::of_failed(run, plan));
    }
    console::line(&table::of(report));
    console::line(&report.verdict());
    console::note(&format!("report: {}", out.report_html().display()));
}
