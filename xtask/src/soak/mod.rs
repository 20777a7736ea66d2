//! `cargo xtask soak`: many real processes claim, wait, are killed and stopped, at random; their critical sections
//! write a history, and a checker that knows nothing of the lock judges it.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `plan` | what can be done, drawn from a seed |
//! | `peer` | what is soaked: lokt, or another tool in front of the same sections |
//! | `actors`, `child` | how it is done, and what is seen of it |
//! | `history`, `claim` | what was seen, in the format of `docs/history.md` |
//! | `checker` | the rules, of the history alone |
//! | `audit` | whether lokt's audit log tells the same |
//! | `latency` | hand-overs |
//! | `report` | all of it for people |
//!
//! The section itself is `tests/bin/section.rs`.

mod actors;
mod audit;
mod checker;
mod child;
mod claim;
mod history;
mod latency;
mod peer;
mod plan;
mod report;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use xshell::Shell;

use crate::etcd::Etcd;
use crate::race::Store;
use crate::section::Section;
use crate::{UsageError, built, console, paths};
use actors::Stage;
use audit::Clock;
use checker::{Findings, Rule, Violation};
use history::{History, Writer};
use peer::{Arena, Tool};
use plan::{Plan, Range};

/// How long a process may take to disappear.
const ENDED_WITHIN: Duration = Duration::from_secs(10);

/// How long what the killed left in the root may lie there. A sweep is due a thousand times its cost after the last
/// one: some 20 s on a machine with much else to do, more on one that is overrun.
const SWEPT_WITHIN: Duration = Duration::from_secs(180);

/// The size at which it runs as one part of a longer proof.
const CI_MINUTES: f64 = 0.75;

#[derive(Args)]
pub struct Soak {
    /// For how long new claims are begun
    #[arg(long, value_name = "M", default_value = "1", value_parser = minutes)]
    minutes: f64,

    /// How many actors; each has one claim at a time
    #[arg(long, value_name = "N", default_value = "24", value_parser = clap::value_parser!(u32).range(1..=2000))]
    procs: u32,

    /// How many names they claim
    #[arg(long, value_name = "N", default_value = "6", value_parser = clap::value_parser!(u32).range(1..=1000))]
    names: u32,

    /// What the actors do is drawn from it [default: a new one each time; it is printed]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Kill and stop nobody
    #[arg(long)]
    calm: bool,

    /// Soak another tool: a line of shell, put before the section's command; {file} is a lock file for each name,
    /// {name} the name, {dir} a directory, {who} different in each claim
    #[arg(long, value_name = "TEMPLATE", conflicts_with = "check")]
    command: Option<String>,

    /// Where the locks are: in a directory, or on an etcd that is started for it
    #[arg(long, value_enum, default_value_t = Store::Dir, conflicts_with_all = ["command", "check"])]
    store: Store,

    /// Only check a history that was written before
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "calm", "keep"])]
    check: Option<PathBuf>,

    /// Fail on an overtaking of a peer, or in a history that is checked, too
    #[arg(long)]
    strict_order: bool,

    /// Keep the sandbox although it passed
    #[arg(long)]
    keep: bool,
}

fn minutes(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(minutes) if minutes > 0.0 && minutes <= 24.0 * 60.0 => Ok(minutes),
        _ => Err("give minutes, such as 0.5 or 10, up to a day".to_owned()),
    }
}

/// What was found, and where it is.
struct Outcome {
    history: History,
    findings: Findings,
    kept: Option<PathBuf>,
}

impl Soak {
    /// A soak of lokt at the size of a CI job.
    pub fn ci_size(store: Store) -> Self {
        Self {
            minutes: CI_MINUTES,
            procs: 24,
            names: 6,
            store,
            seed: None,
            calm: false,
            command: None,
            check: None,
            strict_order: false,
            keep: false,
        }
    }

    pub fn run(self, sh: &Shell) -> anyhow::Result<()> {
        self.measure(sh)?.conclude()
    }

    pub fn measure(&self, sh: &Shell) -> anyhow::Result<Section> {
        let began = Instant::now();
        let seed = self.seed.unwrap_or_else(|| fastrand::u64(0..1_000_000_000));
        let outcome = match &self.check {
            Some(file) => self.judge(file)?,
            None => self.soak(sh, seed)?,
        };
        let Outcome { history, findings, kept } = outcome;
        if !findings.violations.is_empty() {
            console::line(&report::timelines(&history, &findings));
            if self.check.is_none() {
                console::line(&format!("  seed   {seed} (the same plans; the timing is the machine's)"));
            }
        }
        if let Some(kept) = kept {
            console::line(&format!("  kept   {}", kept.display()));
        }
        let handovers = latency::handovers(&history);
        Ok(Section {
            name: if self.store == Store::Etcd { "soak-etcd" } else { "soak" },
            title: self.title(),
            command: self.command_line(seed),
            passed: findings.violations.is_empty(),
            verdict: self.verdict(&history, &findings),
            seconds: began.elapsed().as_secs_f64(),
            figures: report::figures(&history, &findings, &handovers),
            tables: report::tables(&history, &findings, &handovers),
            plots: report::plots(&history, &findings, &handovers),
        })
    }

    fn judge(&self, file: &Path) -> anyhow::Result<Outcome> {
        let history = History::read(file)?;
        if history.sections() == 0 {
            return Err(UsageError(format!("{} has no section: nothing to check", file.display())).into());
        }
        let findings = checker::check(&history, self.strict_order);
        Ok(Outcome { history, findings, kept: None })
    }

    fn soak(&self, sh: &Shell, seed: u64) -> anyhow::Result<Outcome> {
        let template = self.command.as_deref().map(peer::template).transpose()?;
        let section = built::helper(sh, "section")?;
        let tool = match template {
            Some(template) => Tool::Peer(template),
            None => Tool::Lokt(built::lokt(sh)?),
        };
        let dir = tempfile::Builder::new().prefix("lokt-soak-").tempdir().context("no sandbox")?;
        let etcd = (self.store == Store::Etcd).then(|| Etcd::start(sh, dir.path())).transpose()?;
        let address = etcd.as_ref().map(|etcd| etcd.address("soak"));
        let arena = Arena::new(dir.path(), tool, &section, address)?;
        console::note(&format!(
            "soak: {} actors on {} names for {} s, seed {seed}",
            self.procs,
            self.names,
            self.minutes * 60.0
        ));
        let played = self.play(&arena, seed);
        let kept = |dir: tempfile::TempDir| dir.keep();
        let (history, findings) = match played {
            Ok(played) => played,
            Err(error) => bail!(error.context(format!("seed {seed}, sandbox {}", kept(dir).display()))),
        };
        keep_history(&arena)?;
        if history.sections() == 0 {
            bail!("no section was ever entered: there is nothing to judge; sandbox {}", kept(dir).display());
        }
        let kept = (self.keep || !findings.violations.is_empty()).then(|| kept(dir));
        Ok(Outcome { history, findings, kept })
    }

    fn play(&self, arena: &Arena, seed: u64) -> anyhow::Result<(History, Findings)> {
        let names = plan::names(self.names);
        let writer = Writer::create(&arena.history())?;
        let stage = Stage {
            arena,
            history: &writer,
            range: Range { names: &names, peer: !arena.is_lokt(), calm: self.calm },
            ends_at: Instant::now() + Duration::from_secs_f64(self.minutes * 60.0),
            stop: AtomicBool::new(false),
        };
        let clock = Clock::read();
        std::thread::scope(|scope| {
            let stage = &stage;
            let actors: Vec<_> =
                (0..self.procs).map(|actor| scope.spawn(move || stage.act(actor, seed))).collect();
            let ends =
                actors.into_iter().map(|actor| actor.join().map_err(|_| anyhow!("an actor panicked"))?);
            ends.collect::<anyhow::Result<()>>()
        })?;
        let leftovers = tidy_up(&stage, &names)?;
        let mut findings = Findings::default();
        // On an etcd, renewals are not in the log: what it says of leases is less than what the driver saw.
        let history = match arena.has_files() {
            true => self.with_audit(&stage, clock, &mut findings)?,
            false => History::read(writer.path())?,
        };
        findings.merge(checker::check(&history, self.strict_order || arena.is_lokt()));
        findings.looked(Rule::Leftovers, 1);
        console::note(&format!("soak: tidy {:.1} s after the last claim", leftovers.after.as_secs_f64()));
        for left in leftovers.left {
            findings.add(Violation::new(Rule::Leftovers, format!("left behind: {left}"), &[]));
        }
        Ok((history, findings))
    }

    /// The history, with what only the audit log can tell of it: when leases lapsed.
    fn with_audit(
        &self,
        stage: &Stage<'_>,
        clock: Clock,
        findings: &mut Findings,
    ) -> anyhow::Result<History> {
        let moved = clock.moved_by(Clock::read());
        if moved > audit::SLACK / 2 {
            bail!(
                "the wall clock was moved by {} against the monotonic one meanwhile: the times of the audit log say \
                 nothing; run it again",
                crate::stats::time(checker::ms(moved))
            );
        }
        let path = stage.arena.root().join("audit.log");
        let text = fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
        let log = audit::Log::read(&text, clock, findings)?;
        let history = History::read(stage.history.path())?;
        for line in audit::lapses(&log, &history) {
            stage.history.write(&line)?;
        }
        let history = History::read(stage.history.path())?;
        audit::check(&log, &history, findings);
        Ok(history)
    }

    fn title(&self) -> String {
        match (&self.check, &self.command) {
            (Some(file), _) => format!("A history, checked: {}", file.display()),
            (None, Some(command)) => format!("Real processes of a peer at random: {command}"),
            (None, None) if self.store == Store::Etcd => {
                "Real processes at random, killed and stopped, with their locks on an etcd".to_owned()
            }
            (None, None) => "Real processes at random, killed and stopped".to_owned(),
        }
    }

    fn command_line(&self, seed: u64) -> String {
        if let Some(file) = &self.check {
            return format!("cargo xtask soak --check {}", file.display());
        }
        let mut line = format!(
            "cargo xtask soak --minutes {} --procs {} --names {} --seed {seed}",
            self.minutes, self.procs, self.names
        );
        if self.calm {
            line += " --calm";
        }
        if self.store == Store::Etcd {
            line += " --store etcd";
        }
        if let Some(command) = &self.command {
            line += &format!(" --command '{command}'");
        }
        line
    }

    fn verdict(&self, history: &History, findings: &Findings) -> String {
        let sections = crate::stats::thousands(history.sections() as u64);
        match findings.violations.len() {
            0 => format!("{sections} sections, no two of a name at once, and no other rule broken"),
            1 => format!("{sections} sections, a rule was broken once"),
            count => format!("{sections} sections, rules were broken {count} times"),
        }
    }
}

/// What is left after a soak, and how long it took until that was all.
struct Leftovers {
    left: Vec<String>,
    after: Duration,
}

/// One more claim on each name, which clears away what the last ones left; then nothing may be left, nor run.
fn tidy_up(stage: &Stage<'_>, names: &[String]) -> anyhow::Result<Leftovers> {
    for (number, name) in names.iter().enumerate() {
        stage.claim(&Plan::guard(name, Duration::ZERO), &format!("last.{number}"))?;
    }
    let began = Instant::now();
    loop {
        let mut left = stage.arena.processes();
        let mut over = left.is_empty() || began.elapsed() >= ENDED_WITHIN;
        if stage.arena.is_lokt() {
            let files = leftovers(stage)?;
            over &= files.is_empty() || began.elapsed() >= SWEPT_WITHIN;
            left.extend(files);
        }
        if over {
            return Ok(Leftovers { left, after: began.elapsed() });
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// What is still held, or stands in a root of files.
fn leftovers(stage: &Stage<'_>) -> anyhow::Result<Vec<String>> {
    // Whoever looks also sweeps.
    let listed = stage.arena.lokt(&["status", "--json"]).output().context("failed to start lokt")?;
    if stage.arena.has_files() {
        return Ok(stage.arena.leftovers());
    }
    let locks: Vec<serde_json::Value> =
        serde_json::from_slice(&listed.stdout).context("the list of locks")?;
    Ok(locks.iter().map(|lock| format!("lock {}", lock["name"])).collect())
}

/// Keeps a copy where the next soak replaces it: for `--check`, and for whoever wants to see.
fn keep_history(arena: &Arena) -> anyhow::Result<()> {
    let dir = paths::target().join("soak");
    fs::create_dir_all(&dir).with_context(|| format!("failed to create {}", dir.display()))?;
    for (from, to) in [(arena.history(), "history.jsonl"), (arena.root().join("audit.log"), "audit.log")] {
        let to = dir.join(to);
        let _ = fs::remove_file(&to);
        if from.is_file() {
            fs::copy(&from, &to).with_context(|| format!("failed to write {}", to.display()))?;
        }
    }
    Ok(())
}
