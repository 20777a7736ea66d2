//! The named mutants, one after the other: which test notices each, and how soon the simulator does.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::time::Instant;

use anyhow::{Context, bail};
use xshell::Shell;

use super::copy::{self, Copy};
use super::leftovers;
use super::patch::Mutant;
use super::simulator;
use crate::nextest::{self, Case, Nextest};
use crate::section::{Figure, Table};
use crate::{UsageError, console, packages, stats};

/// The profile for the tests that a mutant names, in `.config/nextest.toml`.
const PROFILE: &str = "mutants";

/// The profile for all tests.
const WHOLE: &str = "ci";

/// Everything that may notice a mutant; how the sources look is not a promise.
const ALL: [&str; 5] = ["--workspace", "--exclude", "xtask", "--filterset", "not binary(tidy)"];

/// What became of the named mutants.
pub struct Named {
    verdicts: Vec<Verdict>,
    simulated: bool,
}

/// What became of one.
struct Verdict {
    mutant: Mutant,
    killed: Option<Kill>,
    search: Search,
}

/// The test that noticed it.
struct Kill {
    test: String,
    seconds: f64,
    /// Its header names that test.
    named: bool,
    /// It did not fail, but did not end.
    hung: bool,
}

/// What the simulator made of it.
enum Search {
    /// It is none of its business, or there is no simulator.
    None,
    Found {
        schedules: u64,
        promise: String,
    },
    /// Not in so many.
    Missed(u64),
}

struct Runner<'a> {
    sh: &'a Shell,
    nextest: Nextest,
    copy: Copy,
    /// How many schedules to search for each.
    schedules: Option<u64>,
}

/// The mutants of these names, or all.
pub fn choose(names: &[String]) -> anyhow::Result<Vec<Mutant>> {
    let all = Mutant::all()?;
    if let Some(unknown) = names.iter().find(|name| all.iter().all(|mutant| mutant.name != **name)) {
        let known: Vec<&str> = all.iter().map(|mutant| mutant.name.as_str()).collect();
        return Err(
            UsageError(format!("no mutant is named {unknown:?}: there are {}", known.join(", "))).into()
        );
    }
    Ok(all.into_iter().filter(|mutant| names.is_empty() || names.contains(&mutant.name)).collect())
}

/// Tries the mutants, each in the copy alone.
pub fn measure(sh: &Shell, mutants: Vec<Mutant>, schedules: u64) -> anyhow::Result<Named> {
    let nextest = Nextest::find_or_install(sh)?;
    if mutants.iter().any(|mutant| mutant.target == "etcd") {
        let path = packages::path_with_etcd(sh)?;
        sh.set_var("PATH", path.context("without an etcd nobody would notice the mutants of its store")?);
    }
    let copy = Copy::prepare(sh)?;
    // Of a run that was ended in the middle of it.
    leftovers::end(sh, &copy.build);
    let _copy = sh.push_dir(&copy.root);
    let ordered = mutants.iter().any(|mutant| mutant.order);
    let simulated = ordered && simulator::exists(sh)?;
    if ordered && !simulated {
        console::note("mutants: there is no simulator in this tree; the tests alone are tried");
    }
    let runner = Runner { sh, nextest, copy, schedules: simulated.then_some(schedules) };
    fs::write(runner.log()?, "")?;
    runner.try_unbroken(&mutants)?;
    let count = mutants.len();
    let mut verdicts = Vec::with_capacity(count);
    for (index, mutant) in mutants.into_iter().enumerate() {
        let verdict = runner.try_mutant(mutant)?;
        console::note(&format!("mutants: {}/{count} {}", index + 1, verdict.words()));
        verdicts.push(verdict);
    }
    Ok(Named { verdicts, simulated })
}

impl Runner<'_> {
    /// All of the tests that are to notice a mutant must pass as long as there is none.
    fn try_unbroken(&self, mutants: &[Mutant]) -> anyhow::Result<()> {
        let mut named: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for mutant in mutants {
            let tests = named.entry(&mutant.target).or_default();
            tests.extend(mutant.tests.iter().map(String::as_str));
        }
        let started = Instant::now();
        for (target, tests) in named {
            console::note(&format!("mutants: the unbroken copy, {target}"));
            let cases = self.run(PROFILE, &selection(target, &tests))?;
            for test in tests {
                match cases.iter().find(|case| case.name == test) {
                    None => bail!("there is no test {test} in {target}, or it did not run"),
                    Some(Case { failure: Some(why), output, .. }) => {
                        console::note(output);
                        bail!("{test} fails without any mutant, so it proves nothing: {why}")
                    }
                    Some(_) => {}
                }
            }
        }
        if let Some(schedules) = self.schedules {
            let answer = simulator::search(self.sh, &self.copy, schedules)?;
            if let Some(violation) = answer.violation {
                bail!("the simulator finds a violation without any mutant: {}", violation.promise);
            }
        }
        console::note(&format!(
            "mutants: the unbroken copy passes, {:.0} s with its build",
            started.elapsed().as_secs_f64()
        ));
        Ok(())
    }

    fn try_mutant(&self, mutant: Mutant) -> anyhow::Result<Verdict> {
        let tests: Vec<&str> = mutant.tests.iter().map(String::as_str).collect();
        let (killed, search) = self.copy.broken_by(self.sh, &mutant, || {
            let named = self.run(PROFILE, &selection(&mutant.target, &tests));
            let named = first_failure(&named.with_context(|| format!("mutant {}", mutant.name))?, true);
            let killed = match named {
                Some(kill) => Some(kill),
                None => {
                    console::note(&format!("mutants: {} survives its tests; trying all", mutant.name));
                    first_failure(&self.run(WHOLE, &ALL.map(str::to_owned))?, false)
                }
            };
            Ok((killed, self.search(&mutant)?))
        })?;
        if let Some(kill) = killed.as_ref().filter(|kill| !kill.named) {
            self.must_pass(&kill.test)?;
        }
        Ok(Verdict { mutant, killed, search })
    }

    fn search(&self, mutant: &Mutant) -> anyhow::Result<Search> {
        let Some(schedules) = self.schedules.filter(|_| mutant.order) else {
            return Ok(Search::None);
        };
        let answer = simulator::search(self.sh, &self.copy, schedules)?;
        Ok(match answer.violation {
            None => Search::Missed(answer.schedules),
            Some(found) => Search::Found { schedules: found.schedule, promise: found.promise },
        })
    }

    /// A test that nobody has named must pass in the mended copy.
    fn must_pass(&self, test: &str) -> anyhow::Result<()> {
        let [workspace, exclude, xtask, ..] = ALL.map(str::to_owned);
        let only = ["--filterset".to_owned(), format!("test(={test})")];
        let cases = self.run(WHOLE, &[&[workspace, exclude, xtask][..], &only].concat())?;
        match cases.iter().find(|case| case.failure.is_some()) {
            Some(case) => bail!("{} fails without any mutant, so it proves nothing", case.name),
            None => Ok(()),
        }
    }

    /// Builds and runs these tests in the copy as it stands, up to the first that fails.
    fn run(&self, profile: &str, selection: &[String]) -> anyhow::Result<Vec<Case>> {
        let junit = nextest::junit_path(&self.copy.root, profile);
        nextest::forget_junit(&junit)?;
        let cmd = self
            .nextest
            .run(self.sh, profile)
            .args(selection)
            .args(["--retries", "0", "--fail-fast", "--no-input-handler", "--show-progress", "none"])
            .args(["--color", "never", "--cargo-quiet"]);
        // Those that simulate work hard, and share what is built for the simulator.
        let simulates = selection.iter().any(|argument| argument == "sim");
        let cmd = if simulates { self.copy.built(cmd) } else { self.copy.built_quickly(cmd) };
        let output = cmd.output()?;
        leftovers::end(self.sh, &self.copy.build);
        let said = [output.stdout, output.stderr].concat();
        fs::File::options().append(true).open(self.log()?)?.write_all(&said)?;
        match output.status.code() {
            Some(code) if nextest::EXIT_RAN.contains(&code) => nextest::read_junit(&junit),
            _ => {
                console::note(&String::from_utf8_lossy(&said));
                bail!("the tests did not run: see above for why")
            }
        }
    }

    /// All that nextest and Cargo said.
    fn log(&self) -> anyhow::Result<std::path::PathBuf> {
        Ok(copy::dir()?.join("nextest.log"))
    }
}

/// These tests of one target.
fn selection(target: &str, tests: &[&str]) -> Vec<String> {
    let filter: Vec<String> = tests.iter().map(|test| format!("test(={test})")).collect();
    let place = match target {
        "lib" => vec!["--package", "lokt", "--lib"],
        test => vec!["--package", "lokt-tests", "--test", test],
    };
    let place = place.into_iter().map(str::to_owned);
    place.chain(["--filterset".to_owned(), filter.join(" | ")]).collect()
}

fn first_failure(cases: &[Case], named: bool) -> Option<Kill> {
    let (failed, why) = cases.iter().find_map(|case| Some((case, case.failure.as_ref()?)))?;
    let hung = why.contains("timeout");
    Some(Kill { test: failed.name.clone(), seconds: failed.seconds, named, hung })
}

impl Verdict {
    fn words(&self) -> String {
        let killed = match &self.killed {
            Some(kill) => format!("killed by {} in {}", kill.test, kill.after()),
            None => "SURVIVES".to_owned(),
        };
        let search = self.search.words();
        let comma = if search.is_empty() { "" } else { "; " };
        format!("{}: {killed}{comma}{search}", self.mutant.name)
    }

    fn row(&self) -> Vec<String> {
        let (test, after) = match &self.killed {
            Some(kill) => (kill.test.clone(), kill.after()),
            None => ("nobody: it SURVIVES".to_owned(), "–".to_owned()),
        };
        vec![
            self.mutant.name.clone(),
            // Words, also for the table that sets numbers to the right.
            format!("promise {}", self.mutant.breaks),
            test.rsplit("::").next().unwrap_or(&test).to_owned(),
            after,
            self.search.words(),
        ]
    }
}

impl Kill {
    fn after(&self) -> String {
        let hung = if self.hung { ", hung" } else { "" };
        format!("{}{hung}", stats::time(self.seconds * 1000.0))
    }
}

impl Search {
    fn words(&self) -> String {
        match self {
            Self::None => String::new(),
            Self::Found { schedules, promise } => {
                format!("schedule {}: {promise}", stats::thousands(*schedules))
            }
            Self::Missed(schedules) => format!("NOT in {} schedules", stats::thousands(*schedules)),
        }
    }
}

impl Named {
    pub fn passed(&self) -> bool {
        self.survivors().is_empty() && self.missed().is_empty()
    }

    fn survivors(&self) -> Vec<&str> {
        let alive = self.verdicts.iter().filter(|verdict| verdict.killed.is_none());
        alive.map(|verdict| verdict.mutant.name.as_str()).collect()
    }

    /// Those that the simulator should have found.
    fn missed(&self) -> Vec<&str> {
        let missed = self.verdicts.iter().filter(|verdict| matches!(verdict.search, Search::Missed(_)));
        missed.map(|verdict| verdict.mutant.name.as_str()).collect()
    }

    pub fn verdict(&self) -> String {
        let (count, alive) = (self.verdicts.len(), self.survivors());
        let mut words = match alive.len() {
            0 => format!("each of {count} named mutants was noticed by a test"),
            n => format!("{n} of {count} named mutants SURVIVED: {}", alive.join(", ")),
        };
        let searched = self.verdicts.iter().filter(|verdict| !matches!(verdict.search, Search::None)).count();
        let missed = self.missed();
        match (self.simulated, missed.len()) {
            (false, _) => {}
            (true, 0) => words += &format!(", and {searched} of them by the simulator"),
            (true, n) => {
                words +=
                    &format!("; {n} of {searched} were NOT found by the simulator: {}", missed.join(", "));
            }
        }
        words
    }

    pub fn figures(&self) -> Vec<Figure> {
        let killed = self.verdicts.len() - self.survivors().len();
        let found = self.verdicts.iter().filter(|verdict| matches!(verdict.search, Search::Found { .. }));
        let mut figures = vec![
            Figure::count("named_mutants", "named mutants", self.verdicts.len() as u64),
            Figure::count("named_killed", "noticed by a test", killed as u64),
        ];
        if self.simulated {
            figures.push(Figure::count("named_simulated", "found by the simulator", found.count() as u64));
        }
        figures
    }

    pub fn table(&self) -> Table {
        let columns = ["mutant", "breaks", "noticed by", "after", "simulator"];
        let columns = if self.simulated { &columns[..] } else { &columns[..4] };
        let mut table = Table::new("Named mutants", columns);
        table.rows = self.verdicts.iter().map(Verdict::row).collect();
        table.rows.iter_mut().for_each(|row| row.truncate(columns.len()));
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(name: &str, test: Option<&str>, search: Search) -> Verdict {
        let killed = test.map(|test| Kill { test: test.to_owned(), seconds: 1.5, named: true, hung: false });
        let (patch, target) = (std::path::PathBuf::new(), "leases".to_owned());
        let (name, mistake, breaks) = (name.to_owned(), String::new(), String::new());
        let mutant = Mutant { name, patch, mistake, breaks, target, tests: Vec::new(), order: true };
        Verdict { mutant, killed, search }
    }

    #[test]
    fn a_survivor_fails_the_run_and_is_named() {
        let alive = verdict("b", None, Search::None);
        let named =
            Named { verdicts: vec![verdict("a", Some("m::t"), Search::None), alive], simulated: false };
        assert!(!named.passed());
        assert_eq!(named.verdict(), "1 of 2 named mutants SURVIVED: b");
        assert_eq!(named.table().rows[0], ["a", "promise ", "t", "1.50 s"]);
        assert_eq!(named.table().rows[1][2], "nobody: it SURVIVES");
    }

    #[test]
    fn one_that_the_simulator_misses_fails_the_run_although_a_test_notices_it() {
        let found = Search::Found { schedules: 1234, promise: "exclusion".to_owned() };
        let found = verdict("a", Some("t"), found);
        let named = Named { verdicts: vec![found, verdict("b", Some("t"), Search::None)], simulated: true };
        assert!(named.passed(), "{}", named.verdict());
        assert_eq!(named.table().rows[0][4], "schedule 1,234: exclusion");
        let missed = verdict("c", Some("t"), Search::Missed(2000));
        let named = Named { verdicts: vec![missed], simulated: true };
        assert!(!named.passed());
        assert!(
            named.verdict().ends_with("1 of 1 were NOT found by the simulator: c"),
            "{}",
            named.verdict()
        );
    }
}
