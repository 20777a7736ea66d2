//! What really holds, whoever believes what: the promises of the lock, checked at every step.
//!
//! Nothing here asks the code under test, but to read the fields of a record. Records are seen as they are placed and
//! removed, sessions as the kernel has them, leases by their deadlines.

use std::collections::BTreeMap;
use std::time::Duration;

use lokt::protocol::{Kind, LockId, Mode, Record};

use super::disk::Place;
use super::world::{LONGEST, Pid, World};

/// How long ready waiters may be kept by those before them who are paused: twice the silence after which a
/// waiter is passed over, and a look.
const PASSED_OVER: Duration = Duration::from_millis(6_500);

/// How long after somebody stood still under a mutex the line is in order again.
const SETTLED: Duration = Duration::from_secs(3);

/// What "at once" leaves a waiter that has to look twice.
const AT_ONCE: Duration = Duration::from_millis(1);

/// How often the first in line looks by itself.
const LOOK: Duration = Duration::from_secs(1);

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which promise.
    pub promise: &'static str,
    /// By whom, and how.
    pub what: String,
}

/// A record that was placed for a new holder.
pub struct Admission {
    /// Of which lock.
    pub name: String,
    /// Its identity.
    pub lock_id: String,
    /// Whose it is.
    pub pid: Pid,
}

/// A waiter's place in line.
struct Ticket {
    name: String,
    lock_id: String,
    pid: Pid,
    mode: Mode,
    /// It was given up by its owner: on admission, or for good.
    left: bool,
}

/// What the world knows of the lock.
#[derive(Default)]
pub struct Truth {
    /// The first promise that was broken.
    pub violation: Option<Violation>,
    /// Something failed: wake-ups may be late, and files be left.
    pub troubled: bool,
    /// The power was lost: the log may have holes.
    pub power_lost: bool,
    /// Whose heart beats, for which admission.
    listening: Vec<(Pid, String)>,
    /// Whose record was taken from under a beating heart, and who has not noticed.
    evicted: Vec<Pid>,
    line: Vec<Ticket>,
    last_token: BTreeMap<String, u64>,
    /// Every admission, in order.
    pub admissions: Vec<Admission>,
    /// When a process was last killed in the middle of a transition.
    pub cut_short: Option<Duration>,
    /// When somebody last stood still in the middle of a transition: meanwhile nobody can take its turn.
    stuck: Option<Duration>,
    /// Since when a name is to be had while somebody who is ready waits for it.
    waited_for: BTreeMap<String, Duration>,
    /// Manual locks that were reported as taken and not given back since: their names, by their ids.
    promised: BTreeMap<String, String>,
    /// Those that were removed by force, perhaps before they were reported as taken.
    forced: Vec<String>,
}

impl Truth {
    /// Whatever was only believed is forgotten.
    pub fn power_was_lost(&mut self) {
        self.power_lost = true;
        self.line.clear();
        self.waited_for.clear();
    }

    /// Whoever took a manual lock was told that it has it.
    pub fn promise(&mut self, lock_id: &str, name: &str) {
        if !self.forced.iter().any(|id| id == lock_id) {
            self.promised.insert(lock_id.to_owned(), name.to_owned());
        }
    }

    /// It is to be given back.
    pub fn releases(&mut self, lock_id: &str) {
        self.promised.remove(lock_id);
    }

    /// The manual locks that must be there: their ids and names.
    pub fn take_promised(&mut self) -> BTreeMap<String, String> {
        std::mem::take(&mut self.promised)
    }

    /// The heart of `pid` begins to beat: it wants to hear if its record is taken.
    pub fn listens(&mut self, pid: Pid, lock_id: &LockId) {
        self.listening.push((pid, lock_id.as_str().to_owned()));
    }

    /// It has heard, or its section is over.
    pub fn stops_listening(&mut self, pid: Pid) {
        self.listening.retain(|(one, _)| *one != pid);
        self.evicted.retain(|one| *one != pid);
    }
}

const EXCLUSION: &str = "exclusion";
const RENEWALS: &str = "no lost renewal, no stolen renewal";
const FAIR: &str = "waiting is fair";
const FENCING: &str = "fencing";
const FREEZES: &str = "a freeze admits nobody, and is its owner's";

impl World {
    /// Whether any process still holds the session of `lock_id`.
    fn lives(&self, name: &str, record: &Record) -> bool {
        match record.kind {
            Some(Kind::Guard) => match self.session_of(name, &record.lock_id) {
                Some(ino) => self.sessions[ino].locked,
                None => !self.is_of_earlier_boot(record),
            },
            _ => !self.has_outlived(record),
        }
    }

    /// Whether a lock that is tied to a process is still there, and the process is not.
    pub fn has_outlived(&self, record: &Record) -> bool {
        let process = usize::try_from(record.pid - 1).ok().and_then(|pid| self.processes.get(pid));
        process.is_some_and(|process| !process.alive || self.is_of_earlier_boot(record))
    }

    fn is_of_earlier_boot(&self, record: &Record) -> bool {
        let clock = record.clock_id.as_deref().unwrap_or_default();
        let boot = clock.trim_start_matches("boot-").split('/').next().and_then(|n| n.parse().ok());
        boot != Some(self.boot.number)
    }

    /// The number of a name's session.
    pub fn session_of(&self, name: &str, lock_id: &str) -> Option<usize> {
        self.session_in(&format!("{name}.{lock_id}"))
    }

    /// The number of the session whose file stands there.
    pub fn session_in(&self, file: &str) -> Option<usize> {
        let content = self.disk.read(&Place::Sessions, file)?;
        let ino: usize = std::str::from_utf8(content).ok()?.parse().ok()?;
        (ino < self.sessions.len()).then_some(ino)
    }

    fn has_lapsed(&self, record: &Record) -> bool {
        let guards = record.kind == Some(Kind::Guard);
        match (record.ttl(), record.deadline()) {
            // Its deadline is a reading of a clock that is no more. How much of its time had passed before, nobody knows.
            (Some(ttl), _) if self.is_of_earlier_boot(record) => self.uptime() >= ttl,
            (Some(_), Some(deadline)) if guards => self.monotonic() >= deadline,
            (Some(_), Some(deadline)) => self.uptime() >= deadline,
            _ => false,
        }
    }

    /// Whether what stands there binds nobody any more.
    fn is_stale(&self, name: &str, record: &Record) -> bool {
        let guard = record.kind == Some(Kind::Guard);
        self.has_lapsed(record) || !self.lives(name, record) || guard && self.is_of_earlier_boot(record)
    }

    /// The freeze of a name that is in force.
    fn freeze(&self, name: &str) -> Option<Record> {
        self.record_in(&Place::Freezes, &format!("{name}.json")).filter(|freeze| !self.has_lapsed(freeze))
    }

    /// A freeze is placed by `pid`.
    pub fn check_freeze(&mut self, pid: Pid, name: &str) {
        if self.freeze(name).is_some() {
            let who = &self.processes[pid].name;
            self.violate(FREEZES, format!("{who} freezes {name:?}, which is frozen"));
        }
        self.tell(pid, || format!("freezes {name:?}"));
    }

    /// A freeze is lifted by `pid`.
    pub fn check_lift(&mut self, pid: Pid, name: &str) {
        let who = &self.processes[pid].name;
        if let Some(freeze) = self.freeze(name).filter(|freeze| freeze.owner != *who) {
            let whose = &freeze.owner;
            self.violate(FREEZES, format!("{who} lifts the freeze of {name:?}, which is {whose}'s"));
        }
        self.tell(pid, || format!("lifts the freeze of {name:?}"));
    }

    /// A record is placed by `pid`; `old` are those of who holds the name before.
    pub fn check_publish(&mut self, pid: Pid, name: &str, old: &[Record], new: &Record) {
        if let Some(old) = old.iter().find(|old| old.lock_id == new.lock_id) {
            if !self.processes[pid].owns.contains(&new.lock_id) {
                let who = &self.processes[pid].name;
                self.violate(RENEWALS, format!("{who} renews {name:?}, which is not its own"));
            }
            self.tell(pid, || format!("renews {name:?} ({} renewals before)", old.renewals.unwrap_or(0)));
            return;
        }
        let renewal = new.renewals.is_some();
        if renewal {
            let who = &self.processes[pid].name;
            return self
                .violate(RENEWALS, format!("{who} renews {name:?}, but its record is another's or gone"));
        }
        match new.joint {
            None => self.check_displaced(pid, name, old),
            Some(_) => self.check_room(pid, name, old, new),
        }
        if self.freeze(name).is_some() {
            let who = &self.processes[pid].name;
            return self.violate(FREEZES, format!("{who} is admitted to {name:?}, which is frozen"));
        }
        self.check_turn(pid, name, &new.lock_id);
        let token = new.token.unwrap_or(0);
        let last = self.truth.last_token.insert(name.to_owned(), token).unwrap_or(0);
        if token <= last {
            self.violate(FENCING, format!("an admission to {name:?} gets token {token} after {last}"));
        }
        self.truth.admissions.push(Admission { name: name.to_owned(), lock_id: new.lock_id.clone(), pid });
        self.processes[pid].owns.push(new.lock_id.clone());
        self.truth.waited_for.remove(name);
        self.tell(pid, || {
            let beside = if new.joint.is_some() { " beside" } else { " over from" };
            let owners: Vec<&str> = old.iter().map(|old| old.owner.as_str()).collect();
            let owners =
                if old.is_empty() { String::new() } else { format!("{beside} {}", owners.join(", ")) };
            format!("takes {name:?}{owners}, token {token}")
        });
    }

    /// The records of all who hold a name are replaced by `pid`.
    pub fn check_displaced(&mut self, pid: Pid, name: &str, old: &[Record]) {
        for old in old {
            self.evict(pid, &old.lock_id);
            if !self.is_stale(name, old) {
                let (who, whose) = (&self.processes[pid].name, &old.owner);
                self.violate(EXCLUSION, format!("{who} takes {name:?} from {whose}, who lives and holds it"));
            }
        }
    }

    /// One more joins those who hold a name: that must be allowed by how they hold it.
    fn check_room(&mut self, pid: Pid, name: &str, old: &[Record], new: &Record) {
        let living = old.iter().filter(|old| !self.is_stale(name, old)).count();
        let agree = old.iter().all(|old| (old.slots, old.shared) == (new.slots, new.shared));
        let full = new.slots.is_some_and(|slots| living >= slots as usize);
        let same_slot = new.slots.is_some() && old.iter().any(|old| old.slot == new.slot);
        if !agree || full || same_slot {
            let (who, slot) = (&self.processes[pid].name, new.slot);
            let what = format!("{who} joins {living} who hold {name:?}, in slot {slot:?} of {:?}", new.slots);
            self.violate(EXCLUSION, what);
        }
    }

    /// Whether a name is to be had by one who wants it so.
    fn has_room(&self, name: &str, mode: Mode) -> bool {
        let records = self.records(name);
        let living: Vec<&Record> = records.iter().filter(|record| !self.is_stale(name, record)).collect();
        let alike = living.iter().all(|record| match mode {
            Mode::Exclusive => false,
            Mode::Shared => record.shared,
            Mode::Slots(slots) => record.slots == Some(slots),
        });
        let free = mode.slots().is_none_or(|slots| living.len() < slots as usize);
        living.is_empty() || alike && free
    }

    /// A record is removed by `pid`.
    pub fn check_remove(&mut self, pid: Pid, name: &str, old: &Record) {
        let process = &self.processes[pid];
        let may = process.forces || process.owns.contains(&old.lock_id) || self.is_stale(name, old);
        if !may {
            let (who, whose) = (&process.name, &old.owner);
            self.violate(
                EXCLUSION,
                format!("{who} removes the record of {whose}, who lives and holds {name:?}"),
            );
        }
        if self.processes[pid].forces {
            self.truth.forced.push(old.lock_id.clone());
        }
        self.truth.releases(&old.lock_id);
        self.evict(pid, &old.lock_id);
        self.tell(pid, || format!("removes the record of {} for {name:?}", old.owner));
    }

    /// `pid` takes the record of `lock_id` away.
    fn evict(&mut self, pid: Pid, lock_id: &str) {
        let holder = self.truth.listening.iter().find(|(_, id)| id == lock_id).map(|(holder, _)| *holder);
        self.truth.evicted.extend(holder.filter(|holder| *holder != pid));
    }

    /// Whether anybody may count on a waiter.
    fn is_ready(&self, pid: Pid) -> bool {
        let process = &self.processes[pid];
        process.alive && !process.absent && !self.is_paused(pid)
    }

    /// Whether turns are taken in order: not while, and shortly after, somebody stood still under the mutex.
    fn is_orderly(&self) -> bool {
        !self.truth.troubled && self.truth.stuck.is_none_or(|stuck| self.now > stuck + SETTLED)
    }

    /// `pid` takes a place in line.
    pub fn check_ticket(&mut self, pid: Pid, name: &str, lock_id: &str, mode: Mode) {
        self.tell(pid, || format!("stands in line for {name:?}"));
        self.truth.line.retain(|ticket| ticket.lock_id != lock_id);
        let ticket = Ticket { name: name.to_owned(), lock_id: lock_id.to_owned(), pid, mode, left: false };
        self.truth.line.push(ticket);
    }

    /// A ticket is taken away by `pid`; its own still counts for its own turn.
    pub fn check_out_of_line(&mut self, pid: Pid, name: &str, lock_id: &str) {
        let Some(at) = self.truth.line.iter().position(|ticket| ticket.lock_id == lock_id) else { return };
        let owner = self.truth.line[at].pid;
        self.truth.line[at].left |= owner == pid;
        if owner != pid {
            if self.is_ready(owner) && self.is_orderly() {
                let (who, whom) = (&self.processes[pid].name, &self.processes[owner].name);
                let what = format!("{who} puts {whom}, who is ready, out of the line for {name:?}");
                self.violate(FAIR, what);
            }
            self.tell(pid, || "puts another out of line".to_owned());
            self.truth.line.remove(at);
        }
    }

    /// Nobody before an admitted waiter may be ready.
    fn check_turn(&mut self, pid: Pid, name: &str, lock_id: &str) {
        let ours = self.truth.line.iter().position(|ticket| ticket.lock_id == lock_id);
        let before = self.truth.line[..ours.unwrap_or(self.truth.line.len())].iter();
        let overtaken = before
            .filter(|ticket| ticket.name == name && ticket.pid != pid && !ticket.left)
            .find(|ticket| self.is_ready(ticket.pid))
            .map(|ticket| self.processes[ticket.pid].name.clone());
        if let Some(whom) = overtaken.filter(|_| self.is_orderly()) {
            let who = &self.processes[pid].name;
            self.violate(FAIR, format!("{who} overtakes {whom}, who is ready, in the line for {name:?}"));
        }
        if let Some(at) = ours {
            self.truth.line.remove(at);
        }
    }

    /// A claim of `pid` has come to an end, one way or another.
    pub fn no_longer_waits(&mut self, pid: Pid) {
        self.truth.line.retain(|ticket| ticket.pid != pid);
    }

    /// Whether all who are left wait for what only people end: a manual lock or a freeze whose maker was killed.
    pub fn all_wait_for_people(&self) -> bool {
        let bound = |ticket: &Ticket| {
            let manual = |record: &Record| {
                record.kind == Some(Kind::Manual) && record.pid == 0 && record.ttl().is_none()
            };
            let lasts = |freeze: Record| freeze.ttl() > Some(LONGEST);
            self.freeze(&ticket.name).is_some_and(lasts) || self.records(&ticket.name).iter().any(manual)
        };
        let waits = |pid: Pid| self.truth.line.iter().any(|ticket| ticket.pid == pid && bound(ticket));
        (0..self.processes.len()).all(|pid| !self.processes[pid].alive || waits(pid))
    }

    /// Nobody can run before `next`, and time is about to pass: whoever is ready and waits must have a reason to.
    pub fn check_idle(&mut self, next: Duration) {
        let busy = self.stripes.iter().flatten().any(|holder| self.is_paused(*holder));
        if busy {
            self.truth.stuck = Some(self.now);
        }
        if self.truth.troubled {
            return;
        }
        let paused = (0..self.processes.len()).any(|pid| self.processes[pid].alive && self.is_paused(pid));
        let cut_short = self.truth.cut_short.is_some_and(|since| self.now < since + LOOK);
        let untold = |pid: &&Pid| self.processes[**pid].alive && !paused && !cut_short;
        if let Some(pid) = self.truth.evicted.iter().find(untold) {
            let who = self.processes[*pid].name.clone();
            return self.violate(
                "a lost lock is noticed at once",
                format!("{who} is not told that it has lost its lock"),
            );
        }
        let mut names: Vec<&String> = self.truth.line.iter().map(|ticket| &ticket.name).collect();
        names.sort_unstable();
        names.dedup();
        let mut kept = None;
        let mut since = BTreeMap::new();
        for name in names {
            let waits =
                |ticket: &&Ticket| ticket.name == *name && !ticket.left && self.processes[ticket.pid].alive;
            let Some(ready) = self.truth.line.iter().filter(waits).find(|ticket| self.is_ready(ticket.pid))
            else {
                continue;
            };
            let to_be_had = self.has_room(name, ready.mode);
            let looks = self.truth.cut_short.is_some_and(|since| self.now < since + LOOK);
            if busy || !to_be_had || looks || self.freeze(name).is_some() {
                continue;
            }
            let from = self.truth.waited_for.get(name).copied().unwrap_or(self.now);
            since.insert(name.clone(), from);
            let first = self.truth.line.iter().find(waits).map(|ticket| ticket.pid);
            // Whoever is paused may be about to ring it.
            let paused =
                (0..self.processes.len()).any(|pid| self.processes[pid].alive && self.is_paused(pid));
            let bound = if first == Some(ready.pid) && !paused { AT_ONCE } else { PASSED_OVER };
            if next > from + bound {
                kept = Some(format!(
                    "{} waits for {name:?}, which is to be had, and nobody wakes it",
                    self.processes[ready.pid].name
                ));
            }
        }
        self.truth.waited_for = since;
        if let Some(what) = kept {
            self.violate("waiters are woken at once", what);
        }
    }
}
