//! nextest at work on a race: its command line, its log, and the progress shown to whoever waits.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use xshell::{Cmd, Shell};

use super::outdir::OutDir;
use super::plan::{PACKAGE, PLANTED_ENV, PLANTED_TEST, Plan, TARGET};
use super::sanitize::{Sanitizer, Subject};
use crate::console;
use crate::nextest::{self, Nextest};

/// The profile in `.config/nextest.toml`.
const PROFILE: &str = "race";

/// Off a terminal, how often a line tells how far the race is.
const WORD_EVERY: Duration = Duration::from_secs(10);

pub struct Runner<'a> {
    pub sh: &'a Shell,
    pub nextest: &'a Nextest,
    pub plan: &'a Plan,
    pub out: &'a OutDir,
    pub sanitizer: Option<&'a Sanitizer>,
    /// The address of the cluster that the locks are on, if they are on one.
    pub etcd: Option<String>,
}

impl Runner<'_> {
    /// Runs all of the plan's runs, and says how many seconds that took after the build.
    pub fn race(&self) -> anyhow::Result<f64> {
        let config = self.out.nextest_config();
        fs::write(&config, self.plan.nextest_config(&self.out.nextest_store()))
            .with_context(|| format!("failed to write {}", config.display()))?;
        let cmd = self.nextest(&self.plan.filter(), Subject::Race).envs(self.plan.env());
        let cmd = match &self.etcd {
            Some(address) => {
                let runtime = self.out.runtime_dir()?;
                cmd.env("LOKT_RACE_ETCD", address).env("XDG_RUNTIME_DIR", runtime)
            }
            None => cmd,
        };
        let mut progress = Progress::new(self.plan.expected().len());
        self.watch(cmd.into(), &mut progress)?;
        console::note(&progress.words());
        let junit = self.out.nextest_store().join(PROFILE).join("junit.xml");
        fs::rename(junit, self.out.junit()).context("nextest left no JUnit file")?;
        Ok(progress.seconds())
    }

    /// Runs the planted data race alone; whether it passed does not matter, only what the sanitizer says.
    pub fn planted(&self) -> anyhow::Result<()> {
        let cmd = self.nextest(&format!("test(={PLANTED_TEST})"), Subject::Planted).env(PLANTED_ENV, "1");
        self.watch(cmd.into(), &mut Progress::silent())
    }

    fn nextest(&self, filter: &str, subject: Subject) -> Cmd<'_> {
        let config = format!("xtask:{}", self.out.nextest_config().display());
        let jobs = self.plan.jobs.to_string();
        let cmd = self
            .nextest
            .run(self.sh, PROFILE)
            .args(["--package", PACKAGE, "--test", TARGET, "--filterset", filter])
            .args(["--tool-config-file", &config])
            // Whatever the environment says: every run once, all of them, and a line for each.
            .args(["--retries", "0", "--no-fail-fast", "--test-threads", &jobs])
            .args(["--status-level", "all", "--final-status-level", "none", "--failure-output", "never"])
            .args(["--show-progress", "none", "--color", "never", "--no-input-handler"]);
        match self.sanitizer {
            Some(sanitizer) => sanitizer.apply(cmd, self.out, subject),
            None => cmd,
        }
    }

    /// Copies what nextest says into the log and into the progress, until the tests have run.
    fn watch(&self, mut command: Command, progress: &mut Progress) -> anyhow::Result<()> {
        let path = self.out.log();
        let log = File::options().create(true).append(true).open(&path);
        let mut log = log.with_context(|| format!("failed to write {}", path.display()))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(Stdio::piped());
        let mut child = command.spawn().context("failed to start nextest")?;
        if let Some(stderr) = child.stderr.take() {
            for line in BufReader::new(stderr).split(b'\n') {
                let line = line?;
                log.write_all(&line)?;
                log.write_all(b"\n")?;
                progress.see(&String::from_utf8_lossy(&line));
            }
        }
        progress.bar.finish_and_clear();
        match child.wait()?.code() {
            Some(code) if nextest::EXIT_RAN.contains(&code) => Ok(()),
            _ => Err(self.did_not_run()),
        }
    }

    /// A build that failed, a setting that nextest refuses, no such test: all of it, it is the answer.
    fn did_not_run(&self) -> anyhow::Error {
        let path = self.out.log();
        console::note(&fs::read_to_string(&path).unwrap_or_default());
        anyhow::anyhow!("the race did not start: see above for why (also in {})", path.display())
    }
}

/// How far the race is, from nextest's line per test.
struct Progress {
    bar: ProgressBar,
    /// Off a terminal the bar draws nothing, and lines are printed instead.
    in_lines: bool,
    expected: usize,
    done: HashSet<String>,
    failed: usize,
    started: Instant,
    last_word: Instant,
}

impl Progress {
    fn new(expected: usize) -> Self {
        let bar = ProgressBar::new(expected as u64).with_style(style("{spinner} building {msg}"));
        bar.enable_steady_tick(Duration::from_millis(200));
        let in_lines = !std::io::stderr().is_terminal();
        if in_lines {
            console::note("racing: building the test");
        }
        Self::with(bar, in_lines, expected)
    }

    /// For what is over in a moment.
    fn silent() -> Self {
        Self::with(ProgressBar::hidden(), false, 1)
    }

    fn with(bar: ProgressBar, in_lines: bool, expected: usize) -> Self {
        let now = Instant::now();
        Self { bar, in_lines, expected, done: HashSet::new(), failed: 0, started: now, last_word: now }
    }

    fn see(&mut self, line: &str) {
        match Event::of(line) {
            Some(Event::Building(what)) => self.bar.set_message(what),
            Some(Event::Started) => self.start(),
            Some(Event::Ended { test, passed }) => self.count(test, passed),
            None => {}
        }
    }

    fn start(&mut self) {
        self.started = Instant::now();
        self.last_word = self.started;
        self.bar.set_message("");
        self.bar.set_style(style("{wide_bar:.green} {pos}/{len} runs, {msg}{elapsed}"));
        self.bar.reset_elapsed();
        if self.in_lines {
            console::note(&format!("racing: {} to go", runs(self.expected)));
        }
    }

    fn count(&mut self, test: String, passed: bool) {
        if !self.done.insert(test) {
            return;
        }
        self.failed += usize::from(!passed);
        self.bar.set_position(self.done.len() as u64);
        if self.failed > 0 {
            self.bar.set_message(format!("{} failed, ", self.failed));
        }
        if self.in_lines && self.last_word.elapsed() >= WORD_EVERY {
            self.last_word = Instant::now();
            console::note(&self.words());
        }
    }

    fn words(&self) -> String {
        let seconds = self.started.elapsed().as_secs();
        format!(
            "racing: {} of {} ended, {} failed, {seconds} s",
            self.done.len(),
            runs(self.expected),
            self.failed
        )
    }

    fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }
}

fn runs(count: usize) -> String {
    if count == 1 { "1 run".to_owned() } else { format!("{count} runs") }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// What a line of nextest's or Cargo's tells.
#[derive(Debug, PartialEq)]
enum Event {
    /// `   Compiling lokt v0.1.0 (/home/me/lokt)`
    Building(String),
    /// `    Starting 300 tests across 1 binary`
    Started,
    /// `        PASS [   0.913s] (1/4) lokt-tests::contention race::ttl_2s::run_0002`
    Ended { test: String, passed: bool },
}

impl Event {
    fn of(line: &str) -> Option<Self> {
        let line = line.trim();
        if let Some(what) = line.strip_prefix("Compiling ") {
            return Some(Self::Building(what.split(" (").next()?.to_owned()));
        }
        if line.starts_with("Starting ") {
            return Some(Self::Started);
        }
        let (status, rest) = line.split_once(" [")?;
        // `SLOW [> 30.000s]` and `TERMINATING [> 60.000s]` are about tests that still run.
        if rest.starts_with('>') || !rest.contains("s] ") {
            return None;
        }
        // The summary's own line has a time in brackets too, but no test.
        let test = rest.rsplit(' ').next().filter(|test| test.contains("::"))?.to_owned();
        Some(Self::Ended { test, passed: matches!(status, "PASS" | "LEAK") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(passed: bool) -> Option<Event> {
        Some(Event::Ended { test: "race::ttl_2s::run_0002".to_owned(), passed })
    }

    #[test]
    fn a_line_per_test_that_ended_is_understood() {
        let line = |status: &str| {
            Event::of(&format!("  {status}] (  1/300) lokt-tests::contention race::ttl_2s::run_0002"))
        };
        assert_eq!(line("      PASS [   0.913s"), ended(true));
        assert_eq!(line("      FAIL [   0.913s"), ended(false));
        assert_eq!(line("   SIGABRT [   0.913s"), ended(false));
        assert_eq!(line("   TIMEOUT [  60.002s"), ended(false));
    }

    #[test]
    fn lines_that_look_like_it_are_not_taken_for_an_end() {
        let lines = [
            "        SLOW [> 30.000s] (────) lokt-tests::contention race::ttl_2s::run_0002",
            " TERMINATING [> 60.000s] (────) lokt-tests::contention race::ttl_2s::run_0002",
            "     Summary [   1.367s] 4 tests run: 2 passed, 2 failed, 0 skipped",
        ];
        for line in lines {
            assert_eq!(Event::of(line), None);
        }
    }

    #[test]
    fn the_build_shows_what_it_is_at() {
        assert_eq!(
            Event::of("   Compiling lokt v0.1.0 (/home/me/lokt)"),
            Some(Event::Building("lokt v0.1.0".to_owned()))
        );
        assert_eq!(Event::of("error[E0308]: mismatched types"), None);
    }
}
