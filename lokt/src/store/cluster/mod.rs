//! The store on an etcd cluster: what processes of many machines share.
//!
//! It carries out the same decisions as the directory does, on the evidence of one snapshot of a name's keys, in one
//! transaction that is made only if the name's gate has not changed since ([`commit`]). What the keys are is in
//! [`keys`]; how a record is read that another machine's clock has timed is in [`snapshot`].
//!
//! What is of this machine stays on it: a session's file, its flock and its bell, in a directory of the user's own.
//! So a holder or a waiter that dies is seen at once by others on its machine, and by the end of its lease elsewhere.

mod acquire;
mod change;
mod commit;
mod events;
mod freeze;
mod keeper;
mod keys;
mod line;
mod list;
mod renew;
mod snapshot;
mod sweep;
mod watching;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use self::events::Events;
use self::keeper::Keeper;
use self::keys::{Keys, Part};
use self::snapshot::Extent;
use self::watching::Watching;
use super::etcd::{self, Access, Address, Client, Range, Span};
use super::sessions::{Sessions, stripe_of};
use super::{Answer, Asked, Status, Store, Ticket, Turn, View, Waiter, Warn, Watch, confirmed, sweeper};
use crate::Error;
use crate::audit::{Event, Query, Source};
use crate::error::LOOK_AT;
use crate::host::{Host, Identity, SessionFile, SessionState, StripeError, UnixHost, runtime_dir};
use crate::protocol::{
    Claim, Decision, FreezeDecision, FreezeRequest, LockId, Manner, Name, Now, Request, Stored,
};

/// The TTL of a guard that asks for none: nobody can tell a dead holder on another machine from one that is cut off.
const DEFAULT_TTL: Duration = Duration::from_secs(60);

/// How long anything may take that is only a favour to others.
const BESIDE: Duration = Duration::from_secs(1);

/// How long a look may take.
const LOOK: Duration = Duration::from_secs(10);

/// The store.
pub struct EtcdStore {
    client: Client,
    keys: Keys,
    /// This machine, with the directory of its sessions.
    local: Arc<dyn Host>,
    sessions: Sessions,
    identity: Identity,
    warn: Warn,
    /// The leases of this process's own admissions.
    held: Mutex<HashMap<LockId, i64>>,
    /// Who keeps this process's own tickets alive.
    kept: Mutex<HashMap<LockId, Keeper>>,
    watching: Watching,
}

/// Why a step failed.
enum Failure {
    /// etcd was not to be had, or would not.
    Etcd(etcd::Error),
    /// Others were faster, again and again.
    Overtaken,
    /// This machine would not.
    Here(std::io::Error),
}

impl From<etcd::Error> for Failure {
    fn from(error: etcd::Error) -> Self {
        Self::Etcd(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Here(error)
    }
}

impl EtcdStore {
    /// A store below the prefix of `address`, acting as `identity`; and this machine, with the directory in which the
    /// sessions' files are. Nothing is asked of the cluster yet.
    ///
    /// # Errors
    ///
    /// [`Error::is_invalid`] if a file that lets one in can't be used; or the directory can't.
    pub fn open(
        address: &Address,
        access: &Access,
        identity: Identity,
        warn: Warn,
    ) -> Result<(Self, Arc<dyn Host>), Error> {
        let client = Client::new(address, access).map_err(|error| Error::invalid(error.to_string()))?;
        let dir = runtime_dir(&address.to_string()).map_err(Error::runtime)?;
        let local: Arc<dyn Host> = Arc::new(UnixHost::new(dir));
        let store = Self::with(client, address, Arc::clone(&local), identity, warn);
        Ok((store, local))
    }

    fn with(client: Client, address: &Address, local: Arc<dyn Host>, identity: Identity, warn: Warn) -> Self {
        Self {
            client,
            keys: Keys::below(&address.prefix),
            sessions: Sessions::on(&local),
            local,
            identity,
            warn,
            held: Mutex::default(),
            kept: Mutex::default(),
            watching: Watching::default(),
        }
    }

    fn monotonic(&self) -> Duration {
        self.local.now().monotonic
    }

    /// What is left until then.
    fn left(&self, by: Duration) -> Duration {
        by.saturating_sub(self.monotonic())
    }

    /// Pauses, but not beyond `by`.
    fn pause(&self, time: Duration, by: Duration) {
        let until = by.min(self.monotonic() + time);
        while !self.left(until).is_zero() {
            thread::park_timeout(self.left(until));
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<LockId, i64>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<LockId, Keeper>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn event(&self, event: &'static str, name: &Name, now: &Now) -> Event {
        Event::new(event, name, &self.identity, now)
    }

    /// The failure of something that was to be done by `by`, for people.
    fn failed(&self, verb: &'static str, name: &Name, failure: Failure, by: Duration) -> Error {
        match failure {
            Failure::Here(error) => Error::io(verb, name, error),
            Failure::Overtaken => {
                let why = "others change it all the time; nothing was changed here".to_owned();
                Error::cluster(verb, Some(name), why, true)
            }
            // What ends before its time is over won't be better the next time.
            Failure::Etcd(error) => {
                let is_final = error.outcome() == etcd::Outcome::Refused && !error.is_out_of_space();
                let passes = !is_final && self.left(by).is_zero();
                Error::cluster(verb, Some(name), error.to_string(), passes)
            }
        }
    }

    /// Makes a session's file, whose flock is held from then on.
    fn make_session(&self, name: &Name, id: &LockId, by: Duration) -> std::io::Result<Arc<dyn SessionFile>> {
        self.local.prepare()?;
        let patience = self.left(by).max(BESIDE);
        let mutex = self.local.lock_stripe(stripe_of(name.as_str()), patience);
        let _mutex = mutex.map_err(|error| match error {
            StripeError::Io(error) => error,
            StripeError::Busy(busy) => std::io::Error::other(busy.to_string()),
        })?;
        self.sessions.create(name, id)
    }

    /// What can be told from here of a session's life.
    fn probe(&self, name: &Name, id: &LockId) -> Option<bool> {
        match self.sessions.probe(name, id, None) {
            SessionState::Locked => Some(true),
            SessionState::Unlocked if self.local.is_local() => Some(false),
            SessionState::Unlocked | SessionState::Missing => None,
        }
    }
}

impl Store for EtcdStore {
    fn acquire(
        &self,
        name: &Name,
        claim: &Claim,
        manner: Manner,
        turn: &Turn<'_>,
        asked: Asked<'_>,
    ) -> Result<Answer, Error> {
        let by = self.monotonic() + asked.patience;
        let answer = self.try_acquire(name, claim, manner, turn, by);
        if let (Err(Failure::Etcd(error)), Turn::Waiting { .. }) = (&answer, turn)
            && error.is_out_of_space()
        {
            // A waiter outlasts that like any other outage, which takes all of its time.
            self.pause(asked.patience, by);
        }
        answer.map_err(|failure| self.failed("lock", name, failure, by))
    }

    fn change(&self, name: &Name, request: &Request, asked: Asked<'_>) -> Result<Decision, Error> {
        let by = self.monotonic() + asked.patience;
        let changed = match request {
            Request::Renew(..) => self.renew(name, request, by),
            _ => self.remove(name, request, by),
        };
        changed.map_err(|failure| self.failed(request.verb(), name, failure, by))
    }

    fn change_freeze(
        &self,
        name: &Name,
        request: &FreezeRequest,
        patience: Duration,
    ) -> Result<FreezeDecision, Error> {
        let by = self.monotonic() + patience;
        self.freeze_or_lift(name, request, by)
            .map_err(|failure| self.failed(request.verb(), name, failure, by))
    }

    fn look(&self, name: &Name) -> Result<View, Error> {
        let by = self.monotonic() + LOOK;
        let look = || {
            let seen = self.snapshot(name, Extent::Unseen, by)?;
            Ok(self.view(name, &seen, &self.left_of([&seen.state], by)))
        };
        let seen = look().map_err(|failure| self.failed(LOOK_AT, name, failure, by))?;
        Ok(confirmed(seen, |view| view.dead().collect(), || look().ok()))
    }

    fn look_at_one(&self, name: &Name, lock_id: &LockId, patience: Duration) -> Result<Stored, Error> {
        let by = self.monotonic() + patience;
        let own = self.own_stored(name, lock_id, by);
        own.map_err(|failure| self.failed(LOOK_AT, name, failure, by))
    }

    fn list(&self) -> Result<Vec<Status>, Error> {
        let by = self.monotonic() + LOOK;
        self.list_all(by).map_err(|error| Error::cluster(LOOK_AT, None, error.to_string(), false))
    }

    fn waiters(&self, name: &Name) -> Result<Vec<Waiter>, Error> {
        let by = self.monotonic() + LOOK;
        let seen = self
            .snapshot(name, Extent::Whole, by)
            .map_err(|failure| self.failed(LOOK_AT, name, failure, by))?;
        Ok(self.living(name, seen.line))
    }

    fn leave(&self, name: &Name, ticket: &Ticket) {
        self.leave_line(name, ticket);
    }

    fn end_session(&self, name: &Name, lock_id: &LockId, session: &dyn SessionFile) {
        self.watching.end(session.inode());
        self.sessions.remove(name, lock_id);
        session.release();
        let lease = self.held().remove(lock_id);
        if let Some(lease) = lease {
            // Its key is gone already; it would end by itself.
            let _ = self.client.revoke(lease, BESIDE);
        }
    }

    fn watch(&self, name: &Name, watch: &Watch, bell: &Arc<dyn SessionFile>) -> bool {
        self.watch_for(name, watch, bell)
    }

    fn is_alive(&self, name: &Name, lock_id: &LockId) -> bool {
        self.probe(name, lock_id).unwrap_or_else(|| {
            let keys =
                [self.keys.ticket(name, lock_id), self.keys.part(name, &Part::Session(lock_id.clone()))];
            let there = |key: &String| {
                let range = Range::of(Span::key(key.as_str())).keys_only();
                self.client.range(&range, BESIDE).map_or(true, |found| found.count > 0)
            };
            keys.iter().any(there)
        })
    }

    fn wake_line(&self, name: &Name, count: usize) {
        self.first_here(name, count).iter().for_each(|id| self.sessions.ring(name, id));
    }

    fn mark_line(&self, name: &Name, count: usize, mark: u64) {
        self.first_here(name, count).iter().for_each(|id| self.sessions.mark(name, id, mark));
    }

    fn has_heard(&self, name: &Name, lock_id: &LockId, mark: u64) -> bool {
        self.sessions.has_heard(name, lock_id, mark)
    }

    fn sweep(&self, budget: Duration) -> Vec<Name> {
        self.sweep_within(budget)
    }

    fn is_untidy(&self) -> bool {
        sweeper::seems_due(self.local.as_ref())
    }

    fn tidy(&self, budget: Duration) {
        self.sweep_if_due(budget);
    }

    fn new_id(&self) -> LockId {
        LockId::from_random(self.local.random())
    }

    fn report(&self, event: &Event) {
        if let Err(error) = self.log(event, BESIDE) {
            (self.warn)(&format!("{} of \"{}\" is not in the audit log: {error}", event.event, event.name));
        }
    }

    fn events(&self, query: &Query) -> std::io::Result<Box<dyn Source>> {
        Ok(Box::new(Events::begin(self, query).map_err(std::io::Error::other)?))
    }

    fn session_path(&self, name: &Name, lock_id: &LockId) -> Option<PathBuf> {
        self.sessions.path(name, lock_id)
    }

    fn now(&self) -> Now {
        self.local.now()
    }

    /// Its watch tells a holder of every change.
    fn look_every(&self) -> Duration {
        LOOK
    }

    fn default_ttl(&self) -> Option<Duration> {
        Some(DEFAULT_TTL)
    }
}
