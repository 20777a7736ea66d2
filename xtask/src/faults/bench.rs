//! What all cases share: the programs, the root to begin with, the pool that runs them, and a look at the machine.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use xshell::Shell;

use super::case::{Case, Outcome};
use super::operation::words;
use super::scene::{BYSTANDER, NAME, Programs, Scene};
use crate::{built, console, paths};

/// How long a program that does nothing may take for the times of a case to mean something; usual are 2 ms.
const TOLERANCE: Duration = Duration::from_millis(100);

/// How often somebody who waits for the cases hears of them.
const WORD_EVERY: Duration = Duration::from_secs(10);

/// What all cases share.
pub struct Bench {
    pub programs: Programs,
    pub cases: PathBuf,
    /// A root that has been used, and in which a bystander's lock stands.
    pub template: PathBuf,
    pub sentinel: Sentinel,
    pub tolerance: Duration,
}

impl Bench {
    /// Builds lokt as it is shipped, unless another `program` is to be tried, and makes the root to begin with.
    pub fn build(sh: &Shell, program: Option<&Path>) -> anyhow::Result<Self> {
        let lokt = match program {
            Some(program) => {
                program.canonicalize().with_context(|| format!("failed to find {}", program.display()))?
            }
            None => built::lokt(sh)?,
        };
        let xtask = std::env::current_exe().context("failed to find this program")?;
        let dir = paths::target().join("faults");
        let cases = dir.join("cases");
        if cases.exists() {
            fs::remove_dir_all(&cases).with_context(|| format!("failed to clear {}", cases.display()))?;
        }
        let programs = Programs { lokt, xtask };
        let template = {
            let scene = Scene::new(cases.join("template"), &programs, None)?;
            let section = scene.section("first", Duration::ZERO, None);
            for arguments in [words(["lock", BYSTANDER]), [words(["guard", NAME]), section].concat()] {
                let mut running = scene.start("template", &arguments)?;
                let code = running.end_within(super::scene::LIMIT);
                anyhow::ensure!(code == Some(0), "{arguments:?}: exit {code:?}: {}", running.said());
            }
            scene.root()
        };
        Ok(Self { programs, cases, template, sentinel: Sentinel::start(), tolerance: TOLERANCE })
    }

    /// Tries all cases, so many at once, and returns what came of each.
    pub fn try_all(&self, cases: &[Case], jobs: usize, what: &str) -> Vec<Outcome> {
        let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let outcomes: Vec<Mutex<Option<Outcome>>> = cases.iter().map(|_| Mutex::new(None)).collect();
        let last_word = Mutex::new(Instant::now());
        thread::scope(|scope| {
            for _ in 0..jobs.min(cases.len()) {
                scope.spawn(|| {
                    while let Some((case, slot)) = take(&next, cases, &outcomes) {
                        let outcome = case.try_it(self);
                        *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
                        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                        let mut last = last_word.lock().unwrap_or_else(PoisonError::into_inner);
                        if last.elapsed() >= WORD_EVERY {
                            *last = Instant::now();
                            console::note(&format!("faults: {what}: {done} of {} tried", cases.len()));
                        }
                    }
                });
            }
        });
        let lost = || Outcome::Inconclusive("the thread that tried it ended".to_owned());
        outcomes
            .into_iter()
            .map(|slot| slot.into_inner().unwrap_or_else(PoisonError::into_inner).unwrap_or_else(lost))
            .collect()
    }
}

fn take<'a>(
    next: &AtomicUsize,
    cases: &'a [Case],
    slots: &'a [Mutex<Option<Outcome>>],
) -> Option<(&'a Case, &'a Mutex<Option<Outcome>>)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    cases.get(index).zip(slots.get(index))
}

/// Keeps looking how long the machine takes to start and end a program that does nothing.
///
/// A thread that sleeps is no measure: the kernel wakes it soon enough even where a hundred programs want two cores, while
/// each of those gets a fiftieth of one.
pub struct Sentinel {
    seen: Arc<Mutex<VecDeque<(Instant, Duration)>>>,
}

impl Sentinel {
    /// What is noted: anything less is usual.
    const NOTED: Duration = Duration::from_millis(20);
    const PAUSE: Duration = Duration::from_millis(50);
    /// More than any case sees.
    const KEPT: usize = 100_000;

    fn start() -> Self {
        let seen = Arc::new(Mutex::new(VecDeque::new()));
        let weak = Arc::downgrade(&seen);
        thread::spawn(move || {
            loop {
                let began = Instant::now();
                let _ = Command::new("true").stdin(Stdio::null()).status();
                let took = began.elapsed();
                thread::sleep(Self::PAUSE);
                let late = took.max(began.elapsed().saturating_sub(Self::PAUSE));
                let Some(seen) = weak.upgrade() else { return };
                if late >= Self::NOTED {
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.push_back((Instant::now(), late));
                    if seen.len() > Self::KEPT {
                        seen.pop_front();
                    }
                }
            }
        });
        Self { seen }
    }

    /// How long that took at worst since then.
    pub fn latest(&self, since: Instant) -> Duration {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().rev().take_while(|(at, _)| *at >= since).map(|(_, late)| *late).max().unwrap_or_default()
    }
}
