//! The project's tasks, one program instead of a folder of scripts: `cargo xtask --help`.
//!
//! This file is the table of contents. Each task has a file of its own, whose `run` does it:
//!
//! | task | what it does |
//! | --- | --- |
//! | `test` | every test once, under nextest, then the doc tests |
//! | `race` | the contention test many times over, with a report on its timings |
//! | `sim` | the lock on a simulated machine, under a million schedules |
//! | `soak` | many real processes at random, and a checker of their history |
//! | `faults` | a fault at every system call of the real program |
//! | `fuzz` | libFuzzer on records, names and durations |
//! | `mutants` | broken versions of lokt, and which test notices each |
//! | `film` | the moving picture of the README, played by the real program |
//! | `bench` | lokt beside its peers, as ratios, and its targets |
//! | `scale` | what up to 1,000 sessions ask of an etcd |
//! | `proof` | `race`, `sim`, `faults`, `soak`, `fuzz` and `mutants`, on one page |
//! | `man` | a man page for each command |
//! | `dist` | what a release consists of: archive, package, checksums |
//! | `ci` | any job of `ci/matrix.json`, as the CI runs it |
//!
//! Below them: `tools` finds and installs programs, `packages` unpacks them, `etcd` runs one, `nextest` runs and reads the test runner, `page` draws, `stats`
//! counts, `console` is the only file that prints.

#![allow(
    clippy::disallowed_methods,
    reason = "a task is not the lock: it may ask the clock, the environment and other programs"
)]

mod alone;
mod bench;
mod built;
mod ci;
mod console;
mod dist;
mod etcd;
mod faults;
mod film;
mod fuzz;
mod machine;
mod man;
mod mutants;
mod nextest;
mod outdir;
mod packages;
mod page;
mod paths;
mod proof;
mod race;
mod scale;
mod section;
mod sim;
mod skipped;
mod soak;
mod source;
mod stats;
mod test;
mod tools;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use xshell::Shell;

/// Exit code for a command line that makes no sense (`EX_USAGE`), the one that `lokt` itself uses.
const EXIT_USAGE: u8 = 64;

/// The tasks of the lokt project
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Task {
    /// Run all tests: nextest, then the doc tests
    Test(test::Test),
    /// Run the contention test many times per TTL and report its timings
    Race(race::Race),
    /// Simulate schedules by the million, and check the promises at every step
    Sim(sim::Sim),
    /// Let many real processes contend at random, and check the history of their critical sections
    Soak(soak::Soak),
    /// Inject a fault at every system call of lokt and judge what follows
    Faults(faults::Faults),
    /// Fuzz the parsers of records, names and durations with libFuzzer
    Fuzz(fuzz::Fuzz),
    /// Break lokt on purpose, in a copy, and see each mistake noticed
    Mutants(mutants::Mutants),
    /// Play the scene of the README's picture, and draw it
    Film(film::Film),
    /// Measure lokt beside its peers, and hold it to its targets
    Bench(bench::Bench),
    /// Count what locks on an etcd ask of it, with up to 1,000 sessions
    Scale(scale::Scale),
    /// Run every part of the proof at the size of CI, and put what was seen on one page
    Proof(proof::Prove),
    /// Write the man pages
    Man(man::Man),
    /// Build what a release consists of, for this machine
    Dist(dist::Dist),
    /// Run jobs of the CI matrix on this machine
    Ci(ci::Ci),
}

impl Task {
    fn run(self, sh: &Shell) -> anyhow::Result<()> {
        match self {
            Self::Test(test) => test.run(sh),
            Self::Race(race) => race.run(sh),
            Self::Sim(sim) => sim.run(sh),
            Self::Soak(soak) => soak.run(sh),
            Self::Faults(faults) => faults.run(sh),
            Self::Fuzz(fuzz) => fuzz.run(sh),
            Self::Mutants(mutants) => mutants.run(sh),
            Self::Film(film) => film.run(sh),
            Self::Bench(bench) => bench.run(sh),
            Self::Scale(scale) => scale.run(sh),
            Self::Proof(proof) => proof.run(sh),
            Self::Man(man) => man.run(sh),
            Self::Dist(dist) => dist.run(sh),
            Self::Ci(ci) => ci.run(sh),
        }
    }
}

/// A request that cannot be carried out as it stands: reported like a mistake on the command line.
#[derive(Debug)]
struct UsageError(String);

impl std::fmt::Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

fn main() -> ExitCode {
    // If it can't be, all that is lost is time.
    let _ = paths::without_cargos_own();
    let task = match Task::try_parse() {
        Ok(task) => task,
        Err(error) => return explain(&error),
    };
    match Shell::new().map_err(Into::into).and_then(|sh| task.run(&sh)) {
        Ok(()) => console::ended(),
        Err(error) => {
            console::error(&format!("{error:#}"));
            match error.is::<UsageError>() {
                true => ExitCode::from(EXIT_USAGE),
                false => ExitCode::FAILURE,
            }
        }
    }
}

/// Help goes to stdout as it is, also for one who names no task; of a mistake, one line says what is wrong.
fn explain(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    if !error.use_stderr() {
        console::print(&text);
        return console::ended();
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        console::print(&text);
        return ExitCode::from(EXIT_USAGE);
    }
    console::error(&first_paragraph(&text));
    ExitCode::from(EXIT_USAGE)
}

/// The first paragraph of clap's message, on one line and without its `error:`.
fn first_paragraph(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let line = lines.join(" ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_is_consistent() {
        <Task as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn a_mistake_is_explained_in_one_line() {
        let error = Task::try_parse_from(["xtask", "race", "--ttl", "2parsecs"])
            .err()
            .map(|e| e.render().to_string());
        let line = first_paragraph(&error.unwrap_or_default());
        assert!(line.starts_with("invalid value '2parsecs' for '--ttl <TTL>'"), "{line}");
    }
}
