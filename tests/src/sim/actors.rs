//! What the actors of a run do, each in a process of its own, with nothing but the library's own doors.

use std::fmt;
use std::time::Duration;

use lokt::protocol::{Authority, Kind, LiftBy, Mode, Name};
use lokt::{Error, Locks, News, Patience, Session, Terms, Unobserved};

use super::choices::Choices;
use super::host::SimHost;

/// What one actor does.
#[derive(Debug, Clone)]
pub enum Script {
    /// Guards a section, as `lokt guard` does.
    Guard(Guard),
    /// Breaks what is stale, again and again.
    Break { times: u8 },
    /// Takes a manual lock, holds it, and gives it back.
    Lock(Lock),
    /// Removes by force whatever stands there.
    Force,
    /// Removes what is dead.
    Sweep,
    /// Freezes the name for some time.
    Freeze { ttl: Duration, hold: Duration },
}

/// How a guard guards.
#[derive(Debug, Clone)]
pub struct Guard {
    pub mode: Mode,
    pub ttl: Option<Duration>,
    pub patience: Patience,
    pub break_stale: bool,
    pub section: Duration,
    /// Whether it has a heartbeat.
    pub beats: bool,
    /// How long its command lives on if the guard is killed.
    pub survivor: Option<Duration>,
    pub times: u8,
}

/// How a manual lock is held.
#[derive(Debug, Clone)]
pub struct Lock {
    pub mode: Mode,
    pub ttl: Option<Duration>,
    pub patience: Patience,
    pub hold: Duration,
    pub renews: bool,
    /// It is tied to the actor's own process, whose end gives it back.
    pub tied: bool,
}

/// One actor of a run.
#[derive(Debug, Clone)]
pub struct Actor {
    pub script: Script,
    pub name: Name,
    pub after: Duration,
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

impl Actor {
    /// Some actor; `names` are the names there are, `modes` the ways in which one is wanted.
    pub fn any(choices: &mut Choices, names: &[Name], modes: &[Mode]) -> Self {
        let after = ms([0, 0, 0, 120, 700, 1_100][choices.any(6)]);
        let name = names[choices.any(names.len())].clone();
        let script = match choices.any(16) {
            0..=9 => Script::Guard(Guard::any(choices, modes)),
            10 | 11 => Script::Break { times: 3 },
            12 | 13 => Script::Lock(Lock {
                ttl: [None, Some(ms(400))][choices.any(2)],
                patience: [Patience::Unlimited, Patience::None][choices.any(2)],
                hold: ms([0, 300, 900][choices.any(3)]),
                renews: choices.any(2) == 1,
                mode: modes[choices.any(modes.len())],
                tied: choices.any(2) == 1,
            }),
            14 => [Script::Sweep, Script::Force][choices.any(2)].clone(),
            _ => Script::Freeze {
                ttl: ms([3_600_000, 400][choices.any(2)]),
                hold: ms([0, 200, 1_500][choices.any(3)]),
            },
        };
        Self { script, name, after }
    }

    /// A guard that waits: there is no run without one.
    pub fn guard(choices: &mut Choices, name: &Name, modes: &[Mode]) -> Self {
        Self { script: Script::Guard(Guard::any(choices, modes)), name: name.clone(), after: Duration::ZERO }
    }

    /// Whether it breaks the rules with leave to do so.
    pub fn forces(&self) -> bool {
        matches!(self.script, Script::Force)
    }

    pub fn run(&self, host: &SimHost, calm: bool) {
        let locks = open(host);
        if !self.after.is_zero() {
            host.sleep_until(host.elapsed() + self.after);
        }
        let act = Act { host, locks, name: &self.name, calm };
        match &self.script {
            Script::Guard(guard) => (0..guard.times).for_each(|_| act.guard(guard)),
            Script::Break { times } => (0..*times).for_each(|_| act.break_stale()),
            Script::Lock(lock) => act.lock(lock),
            Script::Force => act.force(),
            Script::Sweep => drop(act.locks.sweep(Duration::from_secs(1))),
            Script::Freeze { ttl, hold } => act.freeze(*ttl, *hold),
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.script {
            Script::Guard(guard) => write!(f, "guard {:?} {guard}", self.name.as_str()),
            Script::Break { times } => {
                write!(f, "break {:?} if it is stale, {times} times", self.name.as_str())
            }
            Script::Lock(lock) => write!(f, "lock {:?}{lock}", self.name.as_str()),
            Script::Force => write!(f, "remove {:?} by force", self.name.as_str()),
            Script::Sweep => f.write_str("sweep"),
            Script::Freeze { ttl, hold } => {
                write!(f, "freeze {:?} for {ttl:?}, and lift it after {hold:?}", self.name.as_str())
            }
        }?;
        if self.after.is_zero() { Ok(()) } else { write!(f, ", after {:?}", self.after) }
    }
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mode, ttl, patience) = (wanted(self.mode), of_ttl(self.ttl), waiting(self.patience));
        write!(f, "{ttl}{mode}, {patience}, for {:?}", self.section)?;
        if self.break_stale {
            f.write_str(", breaking what is stale")?;
        }
        if !self.beats {
            f.write_str(", without a heartbeat")?;
        }
        if let Some(survivor) = self.survivor {
            write!(f, ", with a command that may outlive it by {survivor:?}")?;
        }
        if self.times > 1 { write!(f, ", {} times", self.times) } else { Ok(()) }
    }
}

impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mode, ttl, patience) = (wanted(self.mode), of_ttl(self.ttl), waiting(self.patience));
        let renews = if self.renews { ", renewing it" } else { "" };
        let tied = if self.tied { ", tied to its own process" } else { "" };
        write!(f, "{mode} {ttl}, {patience}, for {:?}{renews}{tied}", self.hold)
    }
}

fn wanted(mode: Mode) -> String {
    if mode == Mode::Exclusive { String::new() } else { format!(" {mode}") }
}

fn of_ttl(ttl: Option<Duration>) -> String {
    ttl.map_or("without a TTL".to_owned(), |ttl| format!("with a TTL of {ttl:?}"))
}

fn waiting(patience: Patience) -> String {
    match patience {
        Patience::None => "not waiting".to_owned(),
        Patience::AtMost(time) => format!("waiting {time:?} at most"),
        Patience::Unlimited => "waiting".to_owned(),
    }
}

impl Guard {
    fn any(choices: &mut Choices, modes: &[Mode]) -> Self {
        let ttl = [Some(ms(1_000)), None, Some(ms(2_000))][choices.any(3)];
        Self {
            mode: modes[choices.any(modes.len())],
            ttl,
            patience: [Patience::Unlimited, Patience::Unlimited, Patience::AtMost(ms(700)), Patience::None]
                [choices.any(4)],
            break_stale: choices.any(2) == 1,
            section: ms([0, 0, 700, 1_600][choices.any(4)]),
            beats: choices.any(5) < 4,
            survivor: [None, Some(ms(1_800))][choices.any(2)].filter(|_| ttl.is_none()),
            times: [1, 1, 2][choices.any(3)],
        }
    }
}

/// The locks, as one process opens them.
pub fn open(host: &SimHost) -> Locks {
    Locks::with_host(std::sync::Arc::new(host.clone()), host.identity(), std::sync::Arc::new(|_| {}))
}

struct Act<'a> {
    host: &'a SimHost,
    locks: Locks,
    name: &'a Name,
    /// Nothing goes wrong in this run, so nothing may be lost.
    calm: bool,
}

impl Act<'_> {
    fn violate(&self, promise: &'static str, what: String) {
        let who = self.host.world().processes[self.host.pid].name.clone();
        self.host.world().violate(promise, format!("{who} {what}"));
    }

    fn tell(&self, what: impl FnOnce() -> String) {
        self.host.world().tell(self.host.pid, what);
    }

    fn guard(&self, guard: &Guard) {
        let Guard { ttl, break_stale, mode, .. } = *guard;
        let terms = Terms { ttl, break_stale, mode, ..Terms::default() };
        if let Some(session) = self.claim(|| self.locks.acquire(self.name, &terms, guard.patience)) {
            self.section(session, guard);
        }
    }

    /// What is admitted, if it is; it may not be denied for one who is dead.
    fn claim<T>(&self, claim: impl FnOnce() -> Result<T, Error>) -> Option<T> {
        let dead = self.dead_holder();
        let admitted = claim();
        self.host.world().no_longer_waits(self.host.pid);
        let denied = |error: &Error| {
            self.tell(|| format!("is not admitted: {error}"));
            self.check_denial(error, dead);
        };
        admitted.inspect_err(denied).ok()
    }

    /// The holder whose processes are all dead.
    fn dead_holder(&self) -> Option<String> {
        let world = self.host.world();
        let mut records = world.records(self.name.as_str());
        // Of several that hold it together, others may live.
        let record = records.pop().filter(|record| record.joint.is_none())?;
        let is_dead = match record.kind {
            Some(Kind::Guard) => {
                !world.sessions[world.session_of(self.name.as_str(), &record.lock_id)?].locked
            }
            _ => world.has_outlived(&record),
        };
        is_dead.then_some(record.lock_id)
    }

    /// A lock that was free because its holder had died was not to be denied.
    fn check_denial(&self, error: &Error, dead: Option<String>) {
        let still =
            dead.as_ref().is_some_and(|id| self.host.world().record_of(self.name.as_str(), id).is_some());
        let held = matches!(error.refusal(), Some(lokt::protocol::Refusal::Held { .. }));
        let troubled = self.host.world().truth.troubled;
        if held && still && !troubled {
            self.violate(
                "a crash frees the lock at once",
                format!("is denied a dead holder's lock: {error}"),
            );
        }
    }

    /// The command under a guard: works while the lease is good, ends before it is not.
    fn section(&self, mut session: Session, guard: &Guard) {
        self.host.world().processes[self.host.pid].survivor = guard.survivor;
        let nudged = self.host.clone();
        if guard.beats {
            let started = session.keep_alive(move |news| {
                if let News::Lost(_) = news {
                    nudged.notices_loss();
                }
            });
            if started.is_err() {
                return;
            }
            self.host.world().truth.listens(self.host.pid, session.lock_id());
        }
        let end = self.host.elapsed() + guard.section;
        let margin = session.beat().map_or(Duration::ZERO, |beat| beat.margin);
        let ended_early = loop {
            let now = self.host.elapsed();
            let give_up = session.deadline().map(|deadline| deadline.saturating_sub(margin));
            if session.is_lost() {
                break Some("loses");
            }
            if let Some(give_up) = give_up.filter(|give_up| now >= *give_up) {
                // Whoever has slept too long proves first that the lock is still its own.
                if now > give_up && session.renew().is_ok() {
                    continue;
                }
                break Some("gives up");
            }
            self.work(&session, now);
            if now >= end {
                break None;
            }
            self.host.sleep_until(give_up.map_or(end, |give_up| give_up.min(end)));
        };
        if let Some(how) = ended_early.filter(|_| self.calm && guard.beats) {
            let what =
                format!("{how} {:?} although its heart beats and nothing went wrong", self.name.as_str());
            self.violate("a heartbeat keeps the lease", what);
        }
        self.host.world().processes[self.host.pid].survivor = None;
        self.host.world().truth.stops_listening(self.host.pid);
        let released = session.release();
        if let Some(error) = released.as_ref().err().filter(|_| self.calm && ended_early.is_none()) {
            let what = format!("loses its lock {:?} at its own end: {error}", self.name.as_str());
            self.violate("a session lives until its record is gone", what);
        }
        if released.is_ok() && guard.beats && ended_early == Some("loses") {
            self.violate("no answer claims success falsely", "releases what it had lost".to_owned());
        }
    }

    /// One piece of work in the section, at an instant at which the guard believes that all is well.
    fn work(&self, session: &Session, now: Duration) {
        let world = self.host.world();
        let ours = world.record_of(self.name.as_str(), session.lock_id().as_str());
        let lapsed = ours.is_some_and(|record| record.deadline().is_some_and(|deadline| now >= deadline));
        drop(world);
        if lapsed {
            self.violate(
                "the command never outlives its admission",
                "works after its lease has lapsed".to_owned(),
            );
        }
    }

    fn break_stale(&self) {
        let broken = self.locks.break_stale(self.name);
        self.tell(|| format!("breaks what is stale: {}", outcome(&broken)));
        self.host.sleep_until(self.host.elapsed() + ms(350));
    }

    fn lock(&self, lock: &Lock) {
        let Lock { ttl, mode, patience, hold, renews, tied } = *lock;
        let terms = Terms { ttl, mode, ..Terms::default() };
        let process = tied.then(|| self.host.identity().pid);
        let take = || self.locks.lock(self.name, &terms, process, patience, &mut Unobserved);
        let Some(record) = self.claim(take) else { return };
        let id = record.lock_id.clone();
        if ttl.is_none() && !tied {
            self.host.world().truth.promise(&id, self.name.as_str());
        }
        self.host.sleep_until(self.host.elapsed() + hold);
        if renews && ttl.is_some() {
            let renewed = self.locks.renew(self.name, Authority::Id(id.clone()), None);
            self.tell(|| format!("renews by its id: {}", outcome(&renewed)));
        }
        if tied {
            return;
        }
        self.host.world().truth.releases(&id);
        let unlocked = self.locks.unlock(self.name, Authority::Id(id.clone()));
        self.tell(|| format!("unlocks: {}", outcome(&unlocked)));
        let still = self.host.world().record_of(self.name.as_str(), &id).is_some();
        if unlocked.is_ok() && still {
            self.violate(
                "no answer claims success falsely",
                "has unlocked, and the lock still stands".to_owned(),
            );
        }
    }

    fn force(&self) {
        self.host.world().processes[self.host.pid].forces = true;
        let forced = self.locks.unlock(self.name, Authority::Force);
        self.tell(|| format!("removes by force: {}", outcome(&forced)));
        self.host.world().processes[self.host.pid].forces = false;
    }

    /// Freezes the name, and lifts the freeze, if nobody was quicker.
    fn freeze(&self, ttl: Duration, hold: Duration) {
        let frozen = self.locks.freeze(self.name, ttl, None);
        self.tell(|| format!("freezes it: {}", outcome(&frozen)));
        if frozen.is_ok() {
            self.host.sleep_until(self.host.elapsed() + hold);
            let lifted = self.locks.unfreeze(self.name, LiftBy::Owner(self.host.identity().owner));
            self.tell(|| format!("lifts its freeze: {}", outcome(&lifted)));
        }
    }
}

fn outcome<T>(result: &Result<T, Error>) -> String {
    result.as_ref().err().map_or("done".to_owned(), ToString::to_string)
}
