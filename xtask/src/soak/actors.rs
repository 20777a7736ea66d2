//! The actors: each claims and claims again, does to its own claim what the plan says, and writes down what it saw.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use fastrand::Rng;
use rustix::process::Signal;
use serde_json::Value;

use super::child::{Inside, News, Watched};
use super::history::{Cause, Kind, Line, Writer, now};
use super::peer::Arena;
use super::plan::{Deed, From, How, Plan, Range};

/// A claim that takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A stop that is shorter than this share of the TTL must not lose the lease: a guard that still has its command
/// running has twice as much left.
const SHORT: u32 = 8;

/// How long after a forced removal a name may still see sections whose lock was removed before they entered.
const AFTER_FORCE: u64 = 1_000_000_000;

/// Whom an exit code of `unlock --break-stale` may be about: it removed something, refused, or found nothing.
const BREAK_CODES: [i32; 3] = [0, 1, 3];

/// All that the actors share.
pub struct Stage<'a> {
    pub arena: &'a Arena,
    pub history: &'a Writer,
    pub range: Range<'a>,
    pub ends_at: Instant,
    /// Another actor has failed.
    pub stop: AtomicBool,
}

impl Stage<'_> {
    /// Plays one actor until the time is up.
    pub fn act(&self, actor: u32, seed: u64) -> anyhow::Result<()> {
        // Actors next to each other must not do the same.
        let mut rng = Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(u64::from(actor)));
        for number in 0.. {
            if self.stop.load(Ordering::Relaxed) || Instant::now() >= self.ends_at {
                break;
            }
            let plan = Plan::draw(&mut rng, &self.range);
            let done = self.claim(&plan, &format!("{actor}.{number}"));
            done.inspect_err(|_| self.stop.store(true, Ordering::Relaxed))?;
            std::thread::sleep(Duration::from_millis(rng.u64(0..40)));
        }
        Ok(())
    }

    /// Makes one claim, from its begin to its end.
    pub fn claim(&self, plan: &Plan, who: &str) -> anyhow::Result<()> {
        let how = if self.arena.is_lokt() { plan.flags().join(" ") } else { "peer".to_owned() };
        let begin = now();
        self.write(Line { name: Some(plan.name.clone()), ..Line::new(Kind::Begin, begin, who).what(how) })?;
        let mut command = self.arena.claim(plan, who);
        let mut process = Watched::start(&mut command).context("failed to start a claim")?;
        let mut one =
            One { stage: self, plan, who, section: None, deed: None, stopped_at: None, said: String::new() };
        let code = one.attend(&mut process)?;
        let end = Line::new(Kind::End, now(), who);
        self.write(&Line { pid: Some(process.pid()), code: Some(code), ..end })?;
        match plan.how {
            How::Guard => {}
            How::Lock { renew, forget } if code == 0 => {
                Manual { stage: self, plan, who, begin, said: &one.said, renew, forget }.hold()?;
            }
            How::Break if !BREAK_CODES.contains(&code) => {
                self.failed(who, &format!("unlock --break-stale ended with {code}: {}", process.complaints))?;
            }
            How::Lock { .. } | How::Break => {}
        }
        let broken = match self.arena.is_lokt() {
            true => code == 1 && plan.how != How::Break || [64, 70, 126, 127].contains(&code),
            // Its own codes are its own business; these are of the section, or of one that could not be started.
            false => [70, 126, 127].contains(&code),
        };
        if broken {
            self.failed(who, &format!("ended with {code}: {}", process.complaints.trim_end()))?;
        }
        Ok(())
    }

    fn write(&self, line: impl std::borrow::Borrow<Line>) -> anyhow::Result<()> {
        self.history.write(line.borrow())
    }

    fn failed(&self, who: &str, what: &str) -> anyhow::Result<()> {
        self.write(Line::new(Kind::Failed, now(), who).what(what))
    }
}

/// A claim whose process runs.
struct One<'a> {
    stage: &'a Stage<'a>,
    plan: &'a Plan,
    who: &'a str,
    section: Option<Inside>,
    /// When to do what is planned next.
    deed: Option<Instant>,
    stopped_at: Option<u64>,
    /// What it said on stdout.
    said: String,
}

impl One<'_> {
    /// Attends to the process until it has ended, and returns its exit code.
    fn attend(&mut self, process: &mut Watched) -> anyhow::Result<i32> {
        let began = Instant::now();
        if self.plan.deed != Deed::Nothing && self.plan.from == From::Start {
            self.deed = Some(began + self.plan.after);
        }
        let mut hang = began + PATIENCE + self.plan.hold;
        loop {
            match process.next(self.deed.unwrap_or(hang).min(hang))? {
                News::Ended(code) => return Ok(code),
                News::Complained(line) if line.contains("waiting, place ") => {
                    self.stage.write(Line::new(Kind::Waits, now(), self.who))?;
                }
                News::Complained(_) => {}
                News::Said(line) => self.heard(&line, process),
                News::Nothing if self.deed.is_some_and(|due| due <= Instant::now()) => {
                    self.deed = self.act(process)?;
                }
                News::Nothing if Instant::now() >= hang => {
                    self.stage.failed(self.who, "it hangs")?;
                    self.kill("guard")?;
                    process.signal(Signal::KILL)?;
                    hang += PATIENCE;
                }
                News::Nothing => {}
            }
        }
    }

    fn heard(&mut self, line: &str, process: &Watched) {
        let pid = line.strip_prefix("in ").and_then(|pid| pid.parse().ok());
        if let Some(pid) = pid {
            self.section = Inside::find(pid, process.pid());
            if self.plan.deed != Deed::Nothing && self.plan.from == From::Entry {
                self.deed = Some(Instant::now() + self.plan.after);
            }
        }
        self.said += line;
        self.said.push('\n');
    }

    /// Does the deed, and returns when there is more to do. What is written is written before it is done, so that
    /// nothing which follows from it can be earlier.
    fn act(&mut self, process: &Watched) -> anyhow::Result<Option<Instant>> {
        match self.plan.deed {
            Deed::Nothing => {}
            Deed::KillGuard => {
                self.kill("guard")?;
                process.signal(Signal::KILL)?;
            }
            Deed::KillSection => self.kill_section()?,
            Deed::KillBoth => {
                self.kill_section()?;
                self.kill("guard")?;
                process.signal(Signal::KILL)?;
            }
            Deed::Terminate => {
                self.kill("guard, SIGTERM")?;
                process.signal(Signal::TERM)?;
            }
            Deed::Stop { lasts, section_too } => match self.stopped_at {
                None => {
                    self.stop(process, section_too)?;
                    return Ok(Some(Instant::now() + lasts));
                }
                Some(since) => self.go_on(process, since)?,
            },
            Deed::Force => self.force()?,
        }
        Ok(None)
    }

    fn kill(&self, whom: &str) -> anyhow::Result<()> {
        self.stage.write(Line::new(Kind::Kill, now(), self.who).what(whom))
    }

    fn kill_section(&self) -> anyhow::Result<()> {
        if let Some(section) = &self.section {
            self.kill("section")?;
            section.signal(Signal::KILL);
        }
        Ok(())
    }

    fn stop(&mut self, process: &Watched, section_too: bool) -> anyhow::Result<()> {
        let at = now();
        self.stopped_at = Some(at);
        let section = self.section.as_ref().filter(|_| section_too);
        let whom = if section.is_some() { "guard and section" } else { "guard" };
        self.stage.write(Line::new(Kind::Stop, at, self.who).what(whom))?;
        process.signal(Signal::STOP)?;
        if let Some(section) = section {
            section.signal(Signal::STOP);
        }
        Ok(())
    }

    fn go_on(&mut self, process: &Watched, since: u64) -> anyhow::Result<()> {
        let at = now();
        let stopped = Duration::from_nanos(at - since);
        // The lease may have lapsed: by its contract others may have entered meanwhile.
        if self.plan.ttl.is_some_and(|ttl| stopped > ttl / SHORT) {
            let gap = Line::new(Kind::Unprotected, since, self.who).what("stopped under a lease");
            self.stage.write(Line { until: Some(at), ..gap })?;
        }
        self.stage.write(Line::new(Kind::Cont, at, self.who))?;
        process.signal(Signal::CONT)?;
        if let Some(section) = &self.section {
            section.signal(Signal::CONT);
        }
        Ok(())
    }

    /// Removes whatever holds the name, which may be another by now: so the gap is the name's.
    fn force(&self) -> anyhow::Result<()> {
        let before = now();
        let (code, complaints) =
            self.stage.run(self.stage.arena.lokt(&["unlock", &self.plan.name, "--force"]))?;
        let gap = Line::of_name(Kind::Unprotected, before, &self.plan.name).what("unlock --force");
        self.stage.write(Line { until: Some(now() + AFTER_FORCE), ..gap })?;
        if ![0, 3].contains(&code) {
            self.stage.failed(self.who, &format!("unlock --force ended with {code}: {complaints}"))?;
        }
        Ok(())
    }
}

impl Stage<'_> {
    /// Runs a command to its end.
    pub fn run(&self, mut command: Command) -> anyhow::Result<(i32, String)> {
        let mut process = Watched::start(&mut command).context("failed to start lokt")?;
        let patience = Instant::now() + PATIENCE;
        loop {
            match process.next(patience)? {
                News::Ended(code) => return Ok((code, process.complaints.trim_end().to_owned())),
                News::Nothing => return Err(anyhow!("{command:?} hangs")),
                News::Said(_) | News::Complained(_) => {}
            }
        }
    }
}

/// A manual lock that was got: nobody but the actor is in its section.
struct Manual<'a> {
    stage: &'a Stage<'a>,
    plan: &'a Plan,
    who: &'a str,
    /// When the claim began, at or before which its lease can't have begun.
    begin: u64,
    /// What `lokt lock --json` said.
    said: &'a str,
    renew: bool,
    forget: bool,
}

impl Manual<'_> {
    fn hold(&self) -> anyhow::Result<()> {
        let entered = now();
        let said: Value =
            serde_json::from_str(self.said).with_context(|| format!("lokt lock said {:?}", self.said))?;
        let id = said["lock_id"].as_str().context("lokt lock named no lock_id")?.to_owned();
        let mut line = Line::new(Kind::Enter, entered, self.who);
        line.name = Some(self.plan.name.clone());
        line.lock_id = Some(id.clone());
        line.token = said["token"].as_u64();
        self.stage.write(&line)?;
        let mut since = self.begin;
        std::thread::sleep(self.plan.hold);
        if self.renew {
            let before = now();
            let lapsed = self.has_lapsed(since, before);
            if self.change("renew", &id, lapsed)? == 0 {
                since = before;
            }
            std::thread::sleep(self.plan.hold);
        }
        self.leave(since, &id)
    }

    fn leave(&self, since: u64, id: &str) -> anyhow::Result<()> {
        let left = now();
        let lapsed = self.has_lapsed(since, left);
        if lapsed {
            self.stage
                .write(Line::new(Kind::Unprotected, since + self.ttl(), self.who).what("its lease lapsed"))?;
        }
        let cause = if self.forget { Cause::Lapse } else { Cause::Unlock };
        self.stage.write(Line { cause: Some(cause), ..Line::new(Kind::Exit, left, self.who) })?;
        if !self.forget {
            self.change("unlock", id, lapsed)?;
        }
        Ok(())
    }

    fn ttl(&self) -> u64 {
        self.plan.ttl.map_or(u64::MAX, |ttl| u64::try_from(ttl.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Whether a lease that began at `since` at the earliest may have lapsed.
    fn has_lapsed(&self, since: u64, at: u64) -> bool {
        at.saturating_sub(since) >= self.ttl()
    }

    fn change(&self, verb: &str, id: &str, may_fail: bool) -> anyhow::Result<i32> {
        let begun = now();
        let (code, complaints) =
            self.stage.run(self.stage.arena.lokt(&[verb, &self.plan.name, "--lock-id", id]))?;
        // It may have lapsed while the command was on its way; a forced removal is the audit's to explain.
        let may_fail = may_fail || self.has_lapsed(begun, now()) || [3, 4].contains(&code);
        if code != 0 && !may_fail {
            self.stage.failed(self.who, &format!("{verb} ended with {code}: {complaints}"))?;
        }
        Ok(code)
    }
}
