//! Stores: they carry the protocol's decisions out atomically, and know no rule themselves.
//!
//! The embedded store is a directory ([`DirStore`]). A store may also be a service (compare-and-swap on a revision, a
//! lease, a watch), as etcd is (`EtcdStore`); every store runs the same [`decide`](crate::protocol::decide). A [`Store`] is asked
//! for transitions, for what waiters need of their line and their bells, and for what there is to look at.

#[cfg(feature = "etcd")]
mod cluster;
mod content;
mod dir;
#[cfg(feature = "etcd")]
pub mod etcd;
mod sessions;
mod sweeper;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "etcd")]
pub use cluster::EtcdStore;
pub use dir::DirStore;
pub(crate) use dir::{Leftover, stripe_of_file, stripe_of_temporary};
pub(crate) use sessions::split_session;

use crate::Error;
use crate::audit::{Event, Query, Source};
use crate::host::{Identity, SessionFile};
use crate::protocol::{
    Claim, Decision, Evidence, Freeze, FreezeDecision, FreezeRequest, Holder, LockId, Manner, Mode, Name,
    Now, Record, Refusal, Request, Standing, Stored, judge,
};

/// Receives what went wrong beside the point: the log could not be written, say.
pub type Warn = Arc<dyn Fn(&str) + Send + Sync>;

/// What the asker brings along.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The records that it has watched; one counts only if it still stands there, unchanged.
    pub seen: &'a [Seen<'a>],
    /// How long it is ready to wait for the store's own mutex.
    pub patience: Duration,
}

/// A record that somebody has watched.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// All of it.
    pub record: &'a Record,
    /// Since when it has not changed, on the watcher's monotonic clock.
    pub since: Duration,
}

impl Asked<'_> {
    /// Asked by one who has watched nothing.
    pub fn now(patience: Duration) -> Self {
        Self { seen: &[], patience }
    }
}

/// A place in the line of those who wait for a name.
pub struct Ticket {
    /// Its number: lower is earlier.
    pub number: u64,
    /// The identity of the admission that it waits for.
    pub lock_id: LockId,
    /// The waiter's own file: while its flock is held, the waiter lives.
    pub session: Arc<dyn SessionFile>,
}

/// How a claimant stands to the line.
pub enum Turn<'a> {
    /// It passes by: a plain try. It does not overtake those who wait.
    Passing,
    /// It wants a place, or has one.
    Waiting {
        /// The place it has.
        ticket: Option<&'a Ticket>,
        /// Who before it may be passed over.
        silent: Option<Silent<'a>>,
    },
}

/// Those in line who have not stirred for so long that they may be passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silent<'a> {
    /// The first of all.
    pub first: &'a LockId,
    /// Whoever was rung with this mark, and has not heard it, is silent as well.
    pub mark: u64,
}

impl<'a> Turn<'a> {
    /// The place that it has.
    fn ticket(&self) -> Option<&'a Ticket> {
        match self {
            Self::Passing => None,
            Self::Waiting { ticket, .. } => *ticket,
        }
    }

    /// Whether it may pass over one who stands before it; `has_heard` tells of a mark.
    fn passes_over(&self, id: &LockId, has_heard: impl FnOnce(u64) -> bool) -> bool {
        match self {
            Self::Waiting { silent: Some(silent), .. } => silent.first == id || !has_heard(silent.mark),
            _ => false,
        }
    }
}

/// An admission.
pub struct Admission {
    /// The record, as it was written.
    pub record: Box<Record>,
    /// The liveness of a process's session; none for a manual lock.
    pub session: Option<Arc<dyn SessionFile>>,
}

/// What a waiter sleeps on: the end of the one before it (the CLH queue lock).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watch {
    /// A session's liveness: that of the waiter before, or of the holder.
    Session(LockId),
    /// The process that a manual lock is tied to.
    Process(i64),
    /// Nothing that the kernel could tell of: whoever removes the record rings.
    Doorbell,
    /// A record of the Go tool, which rings nobody: look now and then.
    Poll,
}

/// A waiter's place, as it was when the store last looked.
pub struct Place {
    /// A place that was just taken; `None` if the waiter keeps the one it had.
    pub ticket: Option<Ticket>,
    /// How many tickets are before it.
    pub ahead: usize,
    /// The first ticket before it.
    pub first: Option<LockId>,
    /// What to sleep on: the first of these to end.
    pub watch: Vec<Watch>,
}

/// What came of a claim.
pub enum Answer {
    /// It is admitted.
    Admitted(Admission),
    /// It is not; a waiter has its place.
    Refused(Refusal, Option<Place>),
}

/// Somebody who waits.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Waiter {
    /// The identity of the admission that it waits for.
    pub lock_id: String,
    /// Who.
    pub owner: String,
    /// On which machine.
    pub host: String,
    /// Which process.
    pub pid: i64,
    /// The namespace of `pid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid_ns: Option<u64>,
    /// The agent that acts for the owner.
    pub agent_id: String,
    /// Since when, by the wall clock.
    pub since_ts: String,
    /// What it says about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// How it wants the name.
    #[serde(default)]
    pub mode: Mode,
}

impl Waiter {
    /// Who waits with this claim, from `now` on, for the admission `lock_id`.
    fn of(claim: &Claim, lock_id: &LockId, identity: &Identity, now: &Now) -> Self {
        Self {
            lock_id: lock_id.to_string(),
            owner: claim.owner.clone(),
            host: identity.host.clone(),
            pid: identity.pid,
            pid_ns: identity.pid_ns,
            agent_id: claim.agent_id.clone(),
            since_ts: now.wall.to_string(),
            note: claim.note.clone(),
            mode: claim.mode,
        }
    }
}

/// A name as it can be seen without any lock.
pub struct View {
    /// What stands in the record's place.
    pub stored: Stored,
    /// How it stands.
    pub standing: Standing,
    /// Those who hold it together, if several do, by their slots.
    pub holders: Vec<Holding>,
    /// A freeze in force.
    pub freeze: Option<Freeze>,
    /// When this was seen.
    pub now: Now,
}

/// One who seems to have died and left its record: by its admission, and by its process, as old records tell no more.
type Dead = (String, i64);

/// How often something is looked at that changes all the time, without any lock.
const LOOKS: usize = 10;

/// What was `seen` without any lock, or by those who `look` again, as far as they can.
///
/// Whoever lets go of a name between the reading of its record and the look at its session seems to have died. The
/// record of one that has stays: so whoever seems dead is, if it seems so twice.
fn confirmed<T>(seen: T, dead: impl Fn(&T) -> HashSet<Dead>, mut look: impl FnMut() -> Option<T>) -> T {
    let (mut seen, mut before) = (seen, HashSet::new());
    for _ in 1..LOOKS {
        let now = dead(&seen);
        if now.is_subset(&before) {
            break;
        }
        let Some(again) = look() else { break };
        (seen, before) = (again, now);
    }
    seen
}

/// One of those who hold a name together.
pub struct Holding {
    /// Which admission.
    pub id: LockId,
    /// What stands in its record's place.
    pub stored: Stored,
    /// How it stands.
    pub standing: Standing,
}

impl Holding {
    /// Its record, if it can be read.
    pub fn record(&self) -> Option<&Record> {
        self.stored.record()
    }
}

impl View {
    /// What the evidence of `now` shows.
    fn of(evidence: Evidence, now: Now) -> Self {
        let standing = judge(&evidence, &now);
        let holding = |holder: Holder| Holding {
            standing: judge(&holder.evidence, &now),
            stored: holder.evidence.stored,
            id: holder.id,
        };
        let mut holders: Vec<Holding> = evidence.holders.into_iter().map(holding).collect();
        holders.sort_by_key(|holding| holding.record().map(|record| (record.slot, record.token)));
        Self { stored: evidence.stored, standing, holders, freeze: evidence.freeze, now }
    }

    /// How the name is held, if it is.
    pub fn mode(&self) -> Mode {
        self.stored.record().map_or(Mode::Exclusive, Record::mode)
    }

    /// The record of each who holds it, and how it stands.
    pub fn held_by(&self) -> impl Iterator<Item = (&Record, &Standing)> {
        let alone = self.stored.record().filter(|record| record.group().is_none());
        let alone = alone.map(|record| (record, &self.standing));
        let together = self.holders.iter().filter_map(|one| Some((one.record()?, &one.standing)));
        alone.into_iter().chain(together)
    }

    /// What stands in each place from which somebody holds it or held it, and how it stands: one place, or that of
    /// each who holds it together with others.
    pub fn places(&self) -> Vec<(&Stored, &Standing)> {
        match self.holders.is_empty() {
            true => vec![(&self.stored, &self.standing)],
            false => self.holders.iter().map(|one| (&one.stored, &one.standing)).collect(),
        }
    }

    /// Those who seem to have died and left their records.
    fn dead(&self) -> impl Iterator<Item = Dead> {
        let abandoned = |(stored, standing): (&Stored, &Standing)| {
            let record = stored.record().filter(|_| standing.is_abandoned())?;
            Some((record.lock_id.clone(), record.pid))
        };
        self.places().into_iter().filter_map(abandoned)
    }

    /// How many hold it for certain, or may.
    pub fn count(&self) -> usize {
        let gone = |standing: &Standing| matches!(standing, Standing::Abandoned(_) | Standing::Free);
        match self.stored.record().and_then(Record::group) {
            Some(_) => self.holders.iter().filter(|one| !gone(&one.standing)).count(),
            None => usize::from(!gone(&self.standing)),
        }
    }
}

/// How a name stands.
pub struct Status {
    /// Which lock.
    pub name: Name,
    /// Its record, its standing, its freeze.
    pub view: View,
    /// Who waits for it, first come first.
    pub waiters: Vec<Waiter>,
}

/// Carries decisions out atomically.
pub trait Store: Send + Sync + 'static {
    /// Decides on a claim and carries the decision out. A waiter that is refused has joined the line by then:
    /// no wake-up is lost between the refusal and its sleep.
    ///
    /// # Errors
    ///
    /// The store can't be reached, written or locked. Nobody is admitted then; a stale holder that was to make room may
    /// be gone, which is in the log.
    fn acquire(
        &self,
        name: &Name,
        claim: &Claim,
        manner: Manner,
        turn: &Turn<'_>,
        asked: Asked<'_>,
    ) -> Result<Answer, Error>;

    /// Decides on any other request and carries the decision out.
    ///
    /// # Errors
    ///
    /// As for [`acquire`](Self::acquire).
    fn change(&self, name: &Name, request: &Request, asked: Asked<'_>) -> Result<Decision, Error>;

    /// Decides on a request about the name's freeze and carries the decision out. Whoever waits is told.
    ///
    /// # Errors
    ///
    /// As for [`acquire`](Self::acquire).
    fn change_freeze(
        &self,
        name: &Name,
        request: &FreezeRequest,
        patience: Duration,
    ) -> Result<FreezeDecision, Error>;

    /// Looks, without any lock and without changing anything.
    ///
    /// # Errors
    ///
    /// The store can't be reached.
    fn look(&self, name: &Name) -> Result<View, Error>;

    /// Whether a name that is free could be taken, as far as can be told without doing it.
    ///
    /// # Errors
    ///
    /// Something of the store that an admission needs can't be used.
    fn is_usable(&self, _: &Name) -> Result<(), Error> {
        Ok(())
    }

    /// The record of one admission as it stands, or what stands there in its stead; without any lock. It may take as
    /// long as `patience`.
    ///
    /// # Errors
    ///
    /// The store can't be reached.
    fn look_at_one(&self, name: &Name, lock_id: &LockId, patience: Duration) -> Result<Stored, Error>;

    /// How every name stands that has a record or a freeze, in order.
    ///
    /// # Errors
    ///
    /// The store can't be reached.
    fn list(&self) -> Result<Vec<Status>, Error>;

    /// Who waits for a name, first come first.
    ///
    /// # Errors
    ///
    /// The store can't be reached.
    fn waiters(&self, name: &Name) -> Result<Vec<Waiter>, Error>;

    /// Gives a place in line up.
    fn leave(&self, name: &Name, ticket: &Ticket);

    /// Ends a session's liveness, after its record is gone.
    fn end_session(&self, name: &Name, lock_id: &LockId, session: &dyn SessionFile);

    /// Rings `bell` when what a waiter sleeps on has ended; `false` if the store can't tell.
    fn watch(&self, name: &Name, watch: &Watch, bell: &Arc<dyn SessionFile>) -> bool;

    /// Whether the session of a waiter or a holder lives, as far as can be told.
    fn is_alive(&self, name: &Name, lock_id: &LockId) -> bool;

    /// Wakes the first `count` in line, so that they learn where they stand.
    fn wake_line(&self, name: &Name, count: usize);

    /// Wakes the first `count` in line with a mark, of which [`has_heard`](Self::has_heard) tells later.
    fn mark_line(&self, name: &Name, count: usize, mark: u64);

    /// Whether one in line has heard that mark, as far as can be told.
    fn has_heard(&self, name: &Name, lock_id: &LockId, mark: u64) -> bool;

    /// Removes what is dead, as far as it gets in `budget`; returns the names whose records went.
    fn sweep(&self, budget: Duration) -> Vec<Name>;

    /// Whether it seems to be time to sweep; costs next to nothing.
    fn is_untidy(&self) -> bool;

    /// Sweeps if it is time for it.
    fn tidy(&self, budget: Duration);

    /// An identity that no admission has had.
    fn new_id(&self) -> LockId;

    /// Writes an event that no transition wrote.
    fn report(&self, event: &Event);

    /// The log, from where the events begin that a query wants.
    ///
    /// # Errors
    ///
    /// It can't be read. One that is not there is an empty one.
    fn events(&self, query: &Query) -> std::io::Result<Box<dyn Source>>;

    /// Where a session's file is, if the store has it on this machine.
    fn session_path(&self, name: &Name, lock_id: &LockId) -> Option<std::path::PathBuf>;

    /// How often a holder looks whether its record still stands. Whoever removes it with lokt tells it; this is for
    /// whoever removes it otherwise.
    fn look_every(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// What time it is for this store.
    fn now(&self) -> Now;

    /// The TTL of a session that asks for none, where none can be judged without.
    fn default_ttl(&self) -> Option<Duration> {
        None
    }
}
