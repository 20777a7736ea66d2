//! An opened root: everything that can be asked of its locks.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::Error;
use crate::audit::{Query, Reading};
use crate::host::{Host, Identity, ProcessState, Root, UnixHost};
use crate::protocol::{
    Authority, Claim, Decision, Displaced, FreezeDecision, FreezeRequest, Kind, LiftBy, LockId,
    MIN_GUARD_TTL, Manner, Mode, Name, Now, Record, Refusal, Request, process_of,
};
use crate::session::Session;
#[cfg(feature = "etcd")]
use crate::store::EtcdStore;
pub use crate::store::Status;
#[cfg(feature = "etcd")]
use crate::store::etcd::{Access, Address, BadAddress};
use crate::store::{Admission, Asked, DirStore, Store, Ticket};
use crate::wait::{Observer, PATIENCE, Unobserved, Until, Waiting};

/// How long a guarded command has between SIGTERM and SIGKILL, if nothing else is said.
pub const KILL_AFTER: Duration = Duration::from_secs(5);

/// The longest text of each kind that a record takes, in bytes: a record is small, and is read as a whole.
const LONGEST_TEXT: usize = 4096;

/// The locks of one root.
#[derive(Clone)]
pub struct Locks {
    store: Arc<dyn Store>,
    host: Arc<dyn Host>,
    identity: Identity,
}

/// On what terms a lock is wanted.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    /// The length of the lease; `None` for a strict lock, which is never taken from anything alive.
    pub ttl: Option<Duration>,
    /// What to tell those who find it held.
    pub note: Option<String>,
    /// Take over a lapsed lease too, although its holder may be alive.
    pub break_stale: bool,
    /// Alone, or together with others.
    pub mode: Mode,
    /// How long a command that must end is given; decides how long before its lapse a lease is given up.
    pub kill_after: Option<Duration>,
}

/// How long to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Not at all.
    None,
    /// This long.
    AtMost(Duration),
    /// For ever.
    Unlimited,
}

impl Locks {
    /// The locks of the root that the environment and the working directory name.
    ///
    /// # Errors
    ///
    /// See [`Root::discover`].
    pub fn discover() -> Result<Self, Error> {
        Self::at(&Root::discover().map_err(Error::root)?, Arc::new(|_| {}))
    }

    /// The locks of a root that was found, whether it is a directory or on a cluster; `warn` is told what goes wrong
    /// beside the point.
    ///
    /// # Errors
    ///
    /// [`Error::is_invalid`] if `LOKT_AUDIT_MAX_BYTES` is no number; if the root is on a cluster and its address is wrong, or
    /// this program is built without etcd.
    pub fn at(root: &Root, warn: Arc<dyn Fn(&str) + Send + Sync>) -> Result<Self, Error> {
        match root.address() {
            Some(address) => Self::at_address(address, warn),
            None => {
                UnixHost::check_environment().map_err(Error::invalid)?;
                let host = Arc::new(UnixHost::new(root.path.clone()));
                Ok(Self::with_host(host, Identity::current(), warn))
            }
        }
    }

    /// The locks on an etcd cluster, asked for as `identity`. What lets one in is in the variables of etcdctl. Nothing is
    /// asked of the cluster yet.
    ///
    /// # Errors
    ///
    /// [`Error::is_invalid`] if such a variable is wrong, or a file that it names can't be used; or the directory of this
    /// machine's sessions can't.
    #[cfg(feature = "etcd")]
    pub fn on_cluster(
        address: &Address,
        identity: Identity,
        warn: Arc<dyn Fn(&str) + Send + Sync>,
    ) -> Result<Self, Error> {
        let access = Access::from_environment().map_err(|bad| Error::invalid(bad.to_string()))?;
        let (store, host) = EtcdStore::open(address, &access, identity.clone(), warn)?;
        Ok(Self { store: Arc::new(store), host, identity })
    }

    #[cfg(feature = "etcd")]
    fn at_address(address: &str, warn: Arc<dyn Fn(&str) + Send + Sync>) -> Result<Self, Error> {
        let address =
            address.parse().map_err(|bad: BadAddress| Error::invalid(format!("LOKT_ROOT: {bad}")))?;
        Self::on_cluster(&address, Identity::current(), warn)
    }

    #[cfg(not(feature = "etcd"))]
    fn at_address(address: &str, _: Arc<dyn Fn(&str) + Send + Sync>) -> Result<Self, Error> {
        Err(Error::invalid(format!("this lokt was built without etcd, and can't use {address}"))
            .with_hint("build it with the feature \"etcd\", or let LOKT_ROOT name a directory"))
    }

    /// The locks in the directory `root`, which is created when the first is taken.
    pub fn open(root: impl Into<PathBuf>) -> Self {
        let host = Arc::new(UnixHost::new(root.into()));
        Self::with_host(host, Identity::current(), Arc::new(|_| {}))
    }

    /// The locks of a machine, asked for as `identity`; `warn` is told what goes wrong beside the point.
    pub fn with_host(host: Arc<dyn Host>, identity: Identity, warn: Arc<dyn Fn(&str) + Send + Sync>) -> Self {
        let store = DirStore::new(Arc::clone(&host), identity.clone(), warn);
        Self { store: Arc::new(store), host, identity }
    }

    /// Who asks.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The time, as the locks see it.
    pub fn now(&self) -> Now {
        self.store.now()
    }

    /// Takes a lock for this process if it is to be had now.
    ///
    /// # Errors
    ///
    /// [`Error::is_held`] if it is not; else see [`Error`].
    pub fn try_acquire(&self, name: &Name, terms: &Terms) -> Result<Session, Error> {
        self.acquire(name, terms, Patience::None)
    }

    /// Takes a lock for this process, waiting for it in line.
    ///
    /// # Errors
    ///
    /// [`Error::is_timed_out`] or [`Error::is_held`] if it was not to be had; else see [`Error`].
    pub fn acquire(&self, name: &Name, terms: &Terms, patience: Patience) -> Result<Session, Error> {
        self.acquire_watched(name, terms, patience, &mut Unobserved)
    }

    /// As [`acquire`](Self::acquire), with somebody who looks on.
    ///
    /// # Errors
    ///
    /// [`Error::is_interrupted`] if the observer gave up; else as for `acquire`.
    pub fn acquire_watched(
        &self,
        name: &Name,
        terms: &Terms,
        patience: Patience,
        observer: &mut dyn Observer,
    ) -> Result<Session, Error> {
        if terms.ttl.is_some_and(|ttl| ttl < MIN_GUARD_TTL) {
            return Err(Error::invalid("a TTL under 1s leaves a heartbeat no room: use 1s or more, or none"));
        }
        let pid = (self.identity.pid, self.identity.pid_start);
        let terms = &Terms { ttl: terms.ttl.or(self.store.default_ttl()), ..terms.clone() };
        let claim = self.claim(Kind::Guard, terms, pid)?;
        let (admission, _) = self.admit(name, claim, terms, patience, observer)?;
        let kill_after = terms.kill_after.unwrap_or(KILL_AFTER);
        let (store, host) = (Arc::clone(&self.store), Arc::clone(&self.host));
        Session::new(store, host, self.identity.clone(), name.clone(), admission, kill_after).ok_or_else(
            || Error::io("lock", name, std::io::Error::other("the store has made no session of it")),
        )
    }

    /// Takes a lock that no process holds: it lives until it is unlocked, its TTL has passed, or, with `pid`,
    /// that process has ended.
    ///
    /// # Errors
    ///
    /// As for [`acquire`](Self::acquire); and if there is no such process.
    pub fn lock(
        &self,
        name: &Name,
        terms: &Terms,
        pid: Option<i64>,
        patience: Patience,
        observer: &mut dyn Observer,
    ) -> Result<Record, Error> {
        let tied = pid.map(|pid| Ok::<_, Error>((pid, self.start_of(pid)?))).transpose()?;
        let claim = self.claim(Kind::Manual, terms, tied.unwrap_or_default())?;
        let (admission, ticket) = self.admit(name, claim, terms, patience, observer)?;
        if let Some(ticket) = ticket {
            // It stood in line as a process; it is held by none.
            self.store.end_session(name, &ticket.lock_id, ticket.session.as_ref());
        }
        let record = *admission.record;
        match tied {
            Some((pid, start)) if self.start_of(pid).ok() != Some(start) => {
                // It has ended while the lock was waited for: nobody would hold it.
                let _ = self.unlock(name, Authority::Id(record.lock_id));
                Err(no_process(pid))
            }
            _ => Ok(record),
        }
    }

    fn start_of(&self, pid: i64) -> Result<Option<i64>, Error> {
        match self.host.process(pid) {
            ProcessState::Running { start } => Ok(start),
            _ => Err(no_process(pid)),
        }
    }

    fn claim(&self, kind: Kind, terms: &Terms, (pid, pid_start): (i64, Option<i64>)) -> Result<Claim, Error> {
        let me = &self.identity;
        for (what, text) in [
            ("the owner's name (LOKT_OWNER)", Some(&me.owner)),
            ("the agent's id (LOKT_AGENT_ID)", Some(&me.agent_id)),
            ("the note", terms.note.as_ref()),
        ] {
            if text.is_some_and(|text| text.len() > LONGEST_TEXT) {
                return Err(Error::invalid(format!(
                    "{what} is longer than {LONGEST_TEXT} bytes: shorten it"
                )));
            }
        }
        Ok(Claim {
            lock_id: self.store.new_id(),
            kind,
            owner: me.owner.clone(),
            host: me.host.clone(),
            pid,
            pid_start,
            pid_ns: me.pid_ns,
            agent_id: me.agent_id.clone(),
            ttl: terms.ttl,
            mode: terms.mode,
            note: terms.note.clone(),
        })
    }

    fn admit(
        &self,
        name: &Name,
        claim: Claim,
        terms: &Terms,
        patience: Patience,
        observer: &mut dyn Observer,
    ) -> Result<(Admission, Option<Ticket>), Error> {
        let until = match patience {
            Patience::None => Until::LineMoves,
            Patience::AtMost(time) => Until::Instant(self.store.now().monotonic.saturating_add(time)),
            Patience::Unlimited => Until::Admitted,
        };
        let manner = match until {
            Until::LineMoves if !terms.break_stale => Manner::Plain,
            // Whoever stands in line may have what has lapsed.
            _ => Manner::BreakStale,
        };
        Waiting::new(&self.store, &self.identity, name, claim, manner, until).wait(observer)
    }

    /// Starts the lease of a manual lock anew; `ttl` changes its length. Returns the new record.
    ///
    /// # Errors
    ///
    /// [`Error::is_not_found`], [`Error::is_not_owner`]; or the lock has no TTL, or would have none.
    pub fn renew(&self, name: &Name, by: Authority, ttl: Option<Duration>) -> Result<Record, Error> {
        if ttl == Some(Duration::ZERO) {
            return Err(Error::invalid("a lease of no length can't be renewed: give --ttl a length"));
        }
        not_a_sessions(&by)?;
        match self.store.change(name, &Request::Renew(by, ttl), asked())? {
            Decision::Renew(record) => Ok(*record),
            other => Err(self.refusal_in(name, other)),
        }
    }

    /// Removes a lock: a manual one by its owner's name or its id, a stale one, or any by force.
    ///
    /// # Errors
    ///
    /// [`Error::is_not_found`], [`Error::is_not_owner`]; or it is not stale.
    pub fn unlock(&self, name: &Name, by: Authority) -> Result<Vec<Displaced>, Error> {
        not_a_sessions(&by)?;
        match self.store.change(name, &Request::Release(by), asked())? {
            Decision::Remove(gone) => Ok(gone),
            other => Err(self.refusal_in(name, other)),
        }
    }

    /// Breaks a stale lock: one whose holder is dead or whose lease has lapsed.
    ///
    /// # Errors
    ///
    /// [`Error::is_not_found`]; or it is not stale.
    pub fn break_stale(&self, name: &Name) -> Result<Vec<Displaced>, Error> {
        self.unlock(name, Authority::Stale)
    }

    fn refusal_in(&self, name: &Name, decision: Decision) -> Error {
        let refusal = match decision {
            Decision::Refuse(refusal) => refusal,
            _ => Refusal::NotFound,
        };
        Error::refused(name, refusal, self.store.now())
    }

    /// Freezes a name: until `ttl` has passed or it is unfrozen, nobody is admitted to it, nor are those who wait
    /// already. Whoever holds it keeps it. Returns the freeze's record.
    ///
    /// # Errors
    ///
    /// [`Error::is_held`] if it is frozen already; or there is no `ttl`, as a freeze that is forgotten must end.
    pub fn freeze(&self, name: &Name, ttl: Duration, note: Option<String>) -> Result<Record, Error> {
        if ttl.is_zero() {
            return Err(Error::invalid(
                "a freeze needs a TTL, so that it ends if it is forgotten (30m, say)",
            ));
        }
        let terms = Terms { ttl: Some(ttl), note, ..Terms::default() };
        let claim = self.claim(Kind::Freeze, &terms, (0, None))?;
        match self.store.change_freeze(name, &FreezeRequest::Place(claim), PATIENCE)? {
            FreezeDecision::Place(record) => Ok(*record),
            other => Err(self.freeze_refusal(name, other)),
        }
    }

    /// Ends a freeze. Returns its record, if it could be read.
    ///
    /// # Errors
    ///
    /// [`Error::is_not_found`] if there is none, [`Error::is_not_owner`] if it is another's.
    pub fn unfreeze(&self, name: &Name, by: LiftBy) -> Result<Option<Record>, Error> {
        match self.store.change_freeze(name, &FreezeRequest::Lift(by), PATIENCE)? {
            FreezeDecision::Lift(record) => Ok(record.map(|record| *record)),
            other => Err(self.freeze_refusal(name, other)),
        }
    }

    fn freeze_refusal(&self, name: &Name, decision: FreezeDecision) -> Error {
        let refusal = match decision {
            FreezeDecision::Refuse(refusal) => refusal,
            _ => Refusal::NotFrozen,
        };
        Error::refused(name, refusal, self.store.now())
    }

    /// How a name stands.
    ///
    /// # Errors
    ///
    /// The root can't be read.
    pub fn status(&self, name: &Name) -> Result<Status, Error> {
        let view = self.store.look(name)?;
        Ok(Status { name: name.clone(), view, waiters: self.store.waiters(name)? })
    }

    /// Whether a name that is free could be taken, as far as can be told without doing it.
    pub(crate) fn is_usable(&self, name: &Name) -> Result<(), Error> {
        self.store.is_usable(name)
    }

    /// What can be told of the process of a record; of another machine's, or another container's, nothing.
    pub(crate) fn process_of(&self, record: &Record, now: &Now) -> ProcessState {
        process_of(record, self.identity.pid_ns, &now.clock, |pid| self.host.process(pid))
    }

    /// Whether a session lives, as far as can be told.
    pub(crate) fn is_alive(&self, name: &Name, id: &LockId) -> bool {
        self.store.is_alive(name, id)
    }

    /// How every name stands that is held or frozen, in order.
    ///
    /// # Errors
    ///
    /// The root can't be read.
    pub fn list(&self) -> Result<Vec<Status>, Error> {
        self.store.list()
    }

    /// What happened, as far as `query` wants to know, in the order of the log; and, with
    /// [`Reading::look_again`](crate::audit::Reading::look_again), what happens from now on.
    ///
    /// # Errors
    ///
    /// The log can't be read. One that is not there is an empty one.
    pub fn audit(&self, query: Query) -> Result<Reading, Error> {
        let source = self.store.events(&query).map_err(Error::log)?;
        Ok(Reading::of(source, query))
    }

    /// Whether it seems to be time to [`tidy`](Self::tidy): for who can look when nobody waits for it.
    pub fn is_untidy(&self) -> bool {
        self.store.is_untidy()
    }

    /// Sweeps if it is time for it: what everybody does who is done with its own work.
    pub fn tidy(&self) {
        self.store.tidy(Duration::from_millis(20));
    }

    pub(crate) fn session_path(&self, name: &Name, lock_id: &LockId) -> Option<PathBuf> {
        self.store.session_path(name, lock_id)
    }

    /// Removes what is dead and lapsed, as far as it gets in `budget`. Returns what it removed.
    pub fn sweep(&self, budget: Duration) -> Vec<Name> {
        self.store.sweep(budget)
    }
}

fn asked() -> Asked<'static> {
    Asked::now(PATIENCE)
}

/// What a session does with its own record is done by [`Session`] alone: nobody else is told of it.
fn not_a_sessions(by: &Authority) -> Result<(), Error> {
    match by {
        Authority::Session(_) => {
            Err(Error::invalid("a session is renewed and released by itself, and by nobody else"))
        }
        _ => Ok(()),
    }
}

fn no_process(pid: i64) -> Error {
    let error = Error::invalid(format!("there is no process {pid} to tie the lock to"));
    error.with_hint("give the id of one that runs, as in --pid $$ for this shell")
}
