//! The operations that faults are tried in: who holds the lock before, what the victim does, who comes meanwhile.

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use super::bench::Bench;
use super::scene::{NAME, Running, Scene, runs, wait_until};
use super::trace::{Injection, Position};

/// An operation of lokt, in the situation that it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, clap::ValueEnum)]
pub enum Operation {
    /// A guard is admitted in a root that does not exist yet
    First,
    /// A guard is admitted
    Acquire,
    /// A guard releases after its command has ended
    Release,
    /// A guard's heartbeat renews its lease
    Heartbeat,
    /// `renew` of a manual lock
    Renew,
    /// `lock`
    Lock,
    /// `unlock`
    Unlock,
    /// `unlock --break-stale` of a dead holder's record
    Break,
    /// `freeze`
    Freeze,
    /// `unfreeze`
    Unfreeze,
    /// `guard --break-stale` of a dead holder's record
    BreakDead,
    /// `guard --break-stale` of a lease that has lapsed while its holder is stopped
    BreakLapsed,
    /// A waiter takes over from a holder that is killed
    TakeOver,
    /// A waiter takes over from a holder that is stopped past its lease
    TakeOverLapsed,
    /// A waiter takes over after the one before it in line was killed
    InLine,
    /// A waiter is admitted when the holder releases
    HandOver,
    /// A guard is admitted to a name of one slot
    Slot,
    /// A guard releases the slot after its command has ended
    SlotRelease,
    /// A guard's heartbeat renews its lease of the slot
    SlotHeartbeat,
    /// A waiter takes the slot over from a holder that is killed
    SlotTakeOver,
    /// A waiter takes the slot over from a holder that is stopped past its lease
    SlotTakeOverLapsed,
    /// A waiter gets the slot when its holder releases it
    SlotHandOver,
}

/// The measures of a case.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The victim's lease.
    ttl: Duration,
    /// How long the victim's section lasts.
    section: Duration,
    /// How long a rival waits at most.
    patience: Duration,
    /// How long a rival stays.
    rival_section: Duration,
}

/// How long a delay is; for the heartbeat's, longer than its lease.
pub fn delay_ms(operation: Operation) -> u64 {
    if operation.alone() == Operation::Heartbeat { 2_000 } else { 300 }
}

const LONG: Duration = Duration::from_secs(5);
const SHORT: Duration = Duration::from_secs(1);

/// The file that lets a holder's section end.
pub const GO: &str = "go";

impl Operation {
    /// The same with a lock that one holds alone.
    pub fn alone(self) -> Self {
        match self {
            Self::Slot => Self::Acquire,
            Self::SlotRelease => Self::Release,
            Self::SlotHeartbeat => Self::Heartbeat,
            Self::SlotTakeOver => Self::TakeOver,
            Self::SlotTakeOverLapsed => Self::TakeOverLapsed,
            Self::SlotHandOver => Self::HandOver,
            alone => alone,
        }
    }

    /// What everybody's guard is started with in it: a name of one slot excludes as a lock does, in another way.
    pub fn guard(self) -> Vec<String> {
        match self.alone() == self {
            true => words(["guard", NAME]),
            false => words(["guard", NAME, "--slots", "1"]),
        }
    }

    pub fn name(self) -> String {
        clap::ValueEnum::to_possible_value(&self).map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// The thread that is traced, if not the main one.
    pub fn thread(self) -> Option<&'static str> {
        (self.alone() == Self::Heartbeat).then_some("heartbeat")
    }

    /// Whether the victim is a guard, which runs a section.
    pub fn is_guard(self) -> bool {
        !matches!(self, Self::Renew | Self::Lock | Self::Unlock | Self::Break | Self::Freeze | Self::Unfreeze)
    }

    /// Whether the victim waits in line for what happens to the holder.
    pub fn waits(self) -> bool {
        matches!(self.alone(), Self::TakeOver | Self::TakeOverLapsed | Self::InLine | Self::HandOver)
    }

    /// Whether a lease has to go by in it, fault or not.
    pub fn takes_long(self) -> bool {
        matches!(self.alone(), Self::Heartbeat | Self::BreakLapsed | Self::TakeOverLapsed)
    }

    /// Where it is played.
    pub fn scene(self, dir: PathBuf, bench: &Bench) -> anyhow::Result<Scene<'_>> {
        let template = (self != Self::First).then_some(bench.template.as_path());
        let scene = Scene::new(dir, &bench.programs, template)?;
        // The first of several to be done would sweep, and which one that is is chance: one that is alone does.
        if template.is_some() {
            scene.let_sweep_be_due(self.alone() == Self::Release)?;
        }
        Ok(scene)
    }

    /// The positions of a clean run that belong to it: an admission ends, and a release begins, where the guarded
    /// command is started.
    pub fn span(self, mut positions: Vec<Position>) -> Vec<Position> {
        let forks = |position: &Position| {
            ["clone", "clone3", "fork", "vfork"].contains(&position.point.call.as_str())
                && !position.text.contains("CLONE_THREAD")
        };
        let Some(fork) = positions.iter().position(forks) else { return positions };
        match self.alone() {
            Self::First | Self::Acquire => positions.truncate(fork + 1),
            Self::Release => drop(positions.drain(..=fork)),
            _ => {}
        }
        positions
    }

    pub fn pace(self, injection: Option<Injection>) -> Pace {
        let heartbeat = self.alone() == Self::Heartbeat;
        let section = Duration::from_millis(if heartbeat { 1_400 } else { 20 });
        let usual = Pace {
            ttl: if heartbeat { 2 * SHORT } else { LONG },
            section,
            patience: 2 * LONG,
            rival_section: Duration::from_millis(40),
        };
        match injection {
            None | Some(Injection::Kill | Injection::Error(_)) => usual,
            // The rival is inside when the victim goes on.
            Some(Injection::Delay(ms)) if !heartbeat => {
                Pace { rival_section: Duration::from_millis(ms + 250), ..usual }
            }
            Some(Injection::Delay(_) | Injection::Hang(_)) => {
                Pace { ttl: SHORT, section: 3 * SHORT, ..usual }
            }
            Some(Injection::Stop) => Pace {
                ttl: SHORT,
                section: if heartbeat { Duration::from_millis(2_500) } else { section },
                // Longer than the lease; behind a stopped waiter it takes two seconds more to be passed over.
                patience: if self.waits() { LONG } else { 2 * SHORT },
                rival_section: Duration::from_millis(350),
            },
        }
    }

    /// Whoever is there before the victim comes.
    pub fn set(self, scene: &Scene<'_>, pace: &Pace) -> anyhow::Result<Vec<Running>> {
        let hold = |ttl| self.hold(scene, ttl);
        match self.alone() {
            Self::First | Self::Acquire | Self::Release | Self::Heartbeat | Self::Lock | Self::Freeze => {
                Ok(Vec::new())
            }
            Self::Unfreeze => {
                let mut freeze = scene.start("freezer", &words(["freeze", NAME, "--ttl", "60s"]))?;
                let code = freeze.end_within(LONG);
                anyhow::ensure!(code == Some(0), "the freeze before it: exit {code:?}: {}", freeze.said());
                Ok(Vec::new())
            }
            Self::Renew | Self::Unlock => {
                // A lease that lapses is for renewals that are stopped; else it is long.
                let ttl = if self == Self::Renew && pace.ttl == SHORT { SHORT } else { 12 * LONG };
                let mut lock = scene.start("locker", &words(["lock", NAME, "--ttl", &span(ttl)]))?;
                let code = lock.end_within(LONG);
                anyhow::ensure!(code == Some(0), "the lock before it: exit {code:?}: {}", lock.said());
                Ok(Vec::new())
            }
            Self::Break | Self::BreakDead => {
                let mut holder = hold(None)?;
                let section = scene.section_of("holder");
                holder.signal(Signal::KILL);
                let gone = wait_until(LONG, || holder.ended().is_some() && !section.is_some_and(runs));
                anyhow::ensure!(gone, "the holder's command outlives it");
                Ok(vec![])
            }
            Self::BreakLapsed => {
                let holder = hold(Some(SHORT))?;
                stop(scene, &holder);
                std::thread::sleep(SHORT + SHORT / 20);
                Ok(vec![holder])
            }
            Self::TakeOver | Self::HandOver => Ok(vec![hold(None)?]),
            Self::TakeOverLapsed => Ok(vec![hold(Some(SHORT))?]),
            Self::InLine => {
                let mut holder = hold(None)?;
                let waits = words(["--wait", "--timeout", "30s"]);
                let section = scene.section("ahead", Duration::from_millis(5), None);
                let ahead = scene.start("ahead", &[self.guard(), waits, section].concat())?;
                holder.until("one stands in line", || scene.waiters() == 1)?;
                Ok(vec![holder, ahead])
            }
            // There is none that is alone in a way of its own.
            _ => Ok(Vec::new()),
        }
    }

    /// A holder whose section lasts until [`GO`].
    fn hold(self, scene: &Scene<'_>, ttl: Option<Duration>) -> anyhow::Result<Running> {
        let lease = ttl.map(|ttl| words(["--ttl", &span(ttl)])).unwrap_or_default();
        let section = scene.section("holder", Duration::ZERO, Some(GO));
        let mut holder = scene.start("holder", &[self.guard(), lease, section].concat())?;
        holder.until("it holds", || scene.section_of("holder").is_some())?;
        Ok(holder)
    }

    /// What the victim is started with.
    pub fn victim(self, scene: &Scene<'_>, pace: &Pace) -> Vec<String> {
        let ttl = span(pace.ttl);
        let guard = |options: Vec<String>| {
            let section = scene.section("victim", pace.section, None);
            [self.guard(), words(["--ttl", &ttl]), options, section].concat()
        };
        match self.alone() {
            Self::BreakDead | Self::BreakLapsed => guard(words(["--break-stale"])),
            Self::TakeOver | Self::TakeOverLapsed | Self::InLine | Self::HandOver => {
                guard(words(["--wait", "--timeout", "15s"]))
            }
            Self::Renew => words(["renew", NAME]),
            Self::Lock => words(["lock", NAME, "--ttl", "60s"]),
            Self::Unlock => words(["unlock", NAME]),
            Self::Break => words(["unlock", NAME, "--break-stale"]),
            Self::Freeze => words(["freeze", NAME, "--ttl", "60s"]),
            Self::Unfreeze => words(["unfreeze", NAME, "--force"]),
            _ => guard(Vec::new()),
        }
    }

    /// Whether the victim stands in line, so that what it waits for can happen.
    pub fn is_ready(self, scene: &Scene<'_>) -> bool {
        self.waits() && scene.waiters() >= if self == Self::InLine { 2 } else { 1 }
    }

    /// What a waiter waits for.
    pub fn trigger(self, scene: &Scene<'_>, others: &[Running]) -> anyhow::Result<()> {
        match (self.alone(), others) {
            (Self::TakeOver, [holder]) => holder.signal(Signal::KILL),
            (Self::TakeOverLapsed, [holder]) => stop(scene, holder),
            (Self::InLine, [_, ahead]) => {
                ahead.signal(Signal::KILL);
                scene.allow(GO)?;
            }
            (Self::HandOver, _) => scene.allow(GO)?,
            _ => {}
        }
        Ok(())
    }

    /// Who comes while the rival is inside: it must be refused, whatever the victim has done to the rival's record.
    pub fn third(self, scene: &Scene<'_>) -> Vec<String> {
        [self.guard(), scene.section("third", Duration::from_millis(20), None)].concat()
    }

    /// What a rival does while the victim is delayed or stopped: it wants the same lock, by breaking it if it may.
    pub fn rival(self, scene: &Scene<'_>, pace: &Pace) -> Vec<String> {
        let patience = match self {
            // The lease is long: whoever waits for it waits in vain.
            Self::Lock | Self::Renew if pace.ttl != SHORT => SHORT,
            Self::Lock | Self::Freeze => SHORT,
            _ => pace.patience,
        };
        let patience = span(patience);
        let options = words(["--ttl", "5s", "--break-stale", "--wait", "--timeout", &patience]);
        [self.guard(), options, scene.section("rival", pace.rival_section, None)].concat()
    }
}

/// Stops a guard and its command, as a frozen container or a suspended job is; but not inside a transition, where it
/// would keep the mutex from everybody. That is tried where the victim is what is stopped.
fn stop(scene: &Scene<'_>, guard: &Running) {
    wait_until(LONG, || {
        guard.signal(Signal::STOP);
        wait_until(LONG, || guard.is_stopped());
        let between = !scene.is_in_transition(guard);
        if !between {
            guard.signal(Signal::CONT);
        }
        between
    });
    if let Some(section) = scene.section_of(guard.who) {
        let _ = rustix::process::kill_process(section, Signal::STOP);
    }
}

pub fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

fn span(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}
