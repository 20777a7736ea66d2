//! libFuzzer at work on one target: its command line, its log, and what it found.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, bail};

use super::build::Build;
use crate::{console, paths};

/// The exit codes with which libFuzzer tells of an input that fails: a crash, too much memory, too much time.
const FOUND: [i32; 3] = [77, 71, 70];

/// An input that takes longer than this, in seconds, is a hang.
const HANGS: &str = "-timeout=5";

/// More memory than this, in MiB, is too much.
const MEMORY: &str = "-rss_limit_mb=1024";

/// Seconds for making a failing input smaller.
const MINIMISING: &str = "-max_total_time=10";

/// What came of one target.
pub struct Found {
    pub target: String,
    pub executions: u64,
    pub seconds: f64,
    /// Files in the repository's corpus.
    pub seeds: u64,
    /// Branches (libFuzzer's `cov`) that the seeds alone take.
    pub coverage_seeds: u64,
    /// Branches that all that was found takes.
    pub coverage: u64,
    /// Inputs, each of which goes where no other does.
    pub corpus: u64,
    pub crash: Option<Crash>,
}

/// An input that fails.
pub struct Crash {
    target: String,
    /// Where an input is kept for good.
    seeds: PathBuf,
    /// The smallest that is known to fail in this way.
    input: PathBuf,
    why: String,
}

impl Crash {
    /// The panic's own words.
    pub fn why(&self) -> String {
        self.why.clone()
    }

    /// What happened, and how to see it again.
    pub fn told(&self) -> String {
        let content = fs::read(&self.input).unwrap_or_default();
        let (input, target, seeds) = (self.input.display(), &self.target, self.seeds.display());
        format!(
            "{target} crashes: {}\n  input    {} bytes: {}\n  repeat   cargo xtask fuzz --target {target} --repeat {input}\n  \
             keep     cp {input} {seeds}/",
            self.why,
            content.len(),
            content[..content.len().min(200)].escape_ascii(),
        )
    }
}

/// One target's places below `target/fuzz`.
struct Places {
    /// What was found, in this run and before.
    corpus: PathBuf,
    crashes: PathBuf,
    log: PathBuf,
}

impl Places {
    fn of(target: &str) -> anyhow::Result<Self> {
        let dir = paths::target().join("fuzz").join(target);
        let places =
            Self { corpus: dir.join("corpus"), crashes: dir.join("crashes"), log: dir.join("fuzz.log") };
        for dir in [&places.corpus, &places.crashes] {
            fs::create_dir_all(dir).with_context(|| format!("failed to create {}", dir.display()))?;
        }
        Ok(places)
    }

    fn artifacts(&self) -> String {
        format!("-artifact_prefix={}/", self.crashes.display())
    }
}

/// Fuzzes a target. It begins with the seeds and with everything that an earlier run found, crashes included.
pub fn fuzz(build: &Build, target: &str, seeds: &str, seconds: u32) -> anyhow::Result<Found> {
    let places = Places::of(target)?;
    let seeds = seeds_of(seeds);
    let program = build.program(target);
    let mut command = Command::new(&program);
    command.arg(&seeds).args(["-runs=0", HANGS, MEMORY]).arg(places.artifacts());
    let by_seeds = run(&mut command, &places.log)?;

    let mut command = Command::new(&program);
    command.args([&places.corpus, &seeds, &places.crashes]).args([HANGS, MEMORY, "-print_final_stats=1"]);
    command.arg(format!("-max_total_time={seconds}")).arg(places.artifacts());
    let ran = if by_seeds.failed { None } else { Some(run(&mut command, &places.log)?) };
    let last = ran.as_ref().unwrap_or(&by_seeds);
    if last.coverage == 0 && !last.failed {
        bail!("libFuzzer sees no branches of {target}: was it built without its flags?");
    }
    Ok(Found {
        target: target.to_owned(),
        executions: last.executions,
        seconds: last.seconds,
        seeds: count(&seeds)?,
        coverage_seeds: by_seeds.coverage,
        coverage: last.coverage,
        corpus: last.corpus,
        crash: if last.failed { Some(crash(&program, target, seeds, &places, last)?) } else { None },
    })
}

/// Looks for the planted panic, from nothing. Tells after how many seconds it was found, if it was.
pub fn find_planted(build: &Build, seconds: u32) -> anyhow::Result<Option<f64>> {
    let places = Places::of("planted")?;
    let mut command = Command::new(build.program("planted"));
    command.arg(format!("-max_total_time={seconds}")).arg(places.artifacts());
    console::note("looking for the planted panic");
    let ran = run(&mut command, &places.log)?;
    Ok((ran.failed && ran.why().contains("the planted panic")).then_some(ran.seconds))
}

/// Keeps what is needed to see the crash again, and makes it small.
fn crash(program: &Path, target: &str, seeds: PathBuf, places: &Places, ran: &Ran) -> anyhow::Result<Crash> {
    let Some(input) = ran.said("Test unit written to ").map(PathBuf::from) else {
        bail!("{target} failed, but left no input: see {}", places.log.display());
    };
    let small = input.with_extension("small");
    let mut command = Command::new(program);
    command.args(["-minimize_crash=1", MINIMISING, HANGS, MEMORY]);
    command.arg(format!("-exact_artifact_path={}", small.display())).arg(&input);
    // It ends with an error, as its last attempt did not fail, or did. What counts is what it left.
    let _ = run(&mut command, &places.log.with_extension("minimise.log"));
    let input = if small.is_file() { small } else { input };
    Ok(Crash { target: target.to_owned(), seeds, input, why: ran.why() })
}

/// What a run of libFuzzer said and how it ended.
struct Ran {
    log: String,
    failed: bool,
    seconds: f64,
    executions: u64,
    coverage: u64,
    corpus: u64,
}

fn run(command: &mut Command, log: &Path) -> anyhow::Result<Ran> {
    let file = File::create(log).with_context(|| format!("failed to write {}", log.display()))?;
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).env("RUST_BACKTRACE", "0");
    let began = Instant::now();
    let status = command.status().context("failed to start the fuzzer")?;
    let seconds = began.elapsed().as_secs_f64();
    let failed = match status.code() {
        Some(0) => false,
        Some(code) if FOUND.contains(&code) => true,
        // A signal that libFuzzer could not catch: a stack overflow, say.
        None => true,
        Some(code) => bail!("the fuzzer ended with exit code {code}: see {}", log.display()),
    };
    Ok(Ran::read(String::from_utf8_lossy(&fs::read(log)?).into_owned(), failed, seconds))
}

impl Ran {
    fn read(log: String, failed: bool, seconds: f64) -> Self {
        // `#1234  NEW    cov: 56 ft: 78 corp: 9/10b …`: the last of these tells where it stands.
        let status = log.lines().rfind(|line| line.starts_with('#') && line.contains(" cov: ")).unwrap_or("");
        let number = |key: &str| {
            let digits = status.split(key).nth(1).unwrap_or("").trim_start();
            digits.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok())
        };
        let (executions, coverage, corpus) = (number("#"), number("cov:"), number("corp:"));
        let mut ran = Self {
            failed,
            seconds,
            executions: executions.unwrap_or(0),
            coverage: coverage.unwrap_or(0),
            corpus: corpus.unwrap_or(0),
            log,
        };
        if let Some(executed) = ran.said("stat::number_of_executed_units:") {
            ran.executions = executed.parse().unwrap_or(ran.executions);
        }
        ran
    }

    /// What follows `what` on its line.
    fn said(&self, what: &str) -> Option<String> {
        let after = self.log.split(what).nth(1)?;
        after.lines().next().map(|text| text.trim().to_owned())
    }

    /// The panic's message, or libFuzzer's words.
    fn why(&self) -> String {
        let mut lines = self.log.lines().skip_while(|line| !line.contains("panicked at"));
        let panic = lines.next().and_then(|_| lines.next()).map(str::to_owned);
        panic.or_else(|| self.said("libFuzzer: ")).unwrap_or_else(|| "it was ended by a signal".to_owned())
    }
}

fn seeds_of(corpus: &str) -> PathBuf {
    paths::workspace().join("tests/fuzz/corpus").join(corpus)
}

fn count(dir: &Path) -> anyhow::Result<u64> {
    let entries = fs::read_dir(dir).with_context(|| format!("failed to read {}", dir.display()))?;
    Ok(entries.count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_tells_how_far_it_came() {
        let log = "INFO: Seed: 1\n#42\tINITED cov: 1981 ft: 4007 corp: 40/5576b exec/s: 0 rss: 28Mb\n\
                   #99\tDONE   cov: 2000 ft: 4100 corp: 41/6Kb lim: 9 exec/s: 1 rss: 28Mb\n\
                   stat::number_of_executed_units: 101\n";
        let ran = Ran::read(log.to_owned(), false, 1.0);
        assert_eq!((ran.executions, ran.coverage, ran.corpus), (101, 2000, 41));
        let begun = Ran::read(log.lines().take(2).collect::<Vec<_>>().join("\n"), false, 1.0);
        assert_eq!((begun.executions, begun.coverage, begun.corpus), (42, 1981, 40));
    }

    #[test]
    fn a_crash_is_told_in_the_words_of_its_panic() {
        let log = "thread '<unnamed>' (7) panicked at tests/src/input.rs:1:2:\nonly what is torn\n\
                   ==1== ERROR: libFuzzer: deadly signal\nTest unit written to /t/crashes/crash-1\n";
        let ran = Ran::read(log.to_owned(), true, 1.0);
        assert_eq!(ran.why(), "only what is torn");
        assert_eq!(ran.said("Test unit written to ").as_deref(), Some("/t/crashes/crash-1"));
        let hung = Ran::read("==1== ERROR: libFuzzer: timeout after 6 seconds\n".to_owned(), true, 1.0);
        assert_eq!(hung.why(), "timeout after 6 seconds");
    }
}
