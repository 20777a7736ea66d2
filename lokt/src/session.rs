//! One admission: its liveness, its heartbeat, its end. The guard and the race test run this same code.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::Error;
use crate::audit::{self, Event};
use crate::host::{Host, Identity, Running, SessionFile, Wake};
use crate::protocol::{
    Authority, Beat, Decision, LockId, Name, Record, Refusal, Request, Stored, format_duration,
};
use crate::store::{Admission, Asked, Store};
use crate::wait::PATIENCE;

/// After how long a holder has settled.
const SETTLED: Duration = Duration::from_secs(1);

/// How long one renewal may wait for the store's mutex; a failed one is tried again anyway. And how long a release may
/// at least.
const ATTEMPT: Duration = Duration::from_secs(1);

/// How many of the line learn where they stand once the holder has settled; see [`Store::wake_line`].
const FRONT: usize = 3;

/// A lock that is held. Dropping it releases it.
///
/// A session with a TTL must be renewed, by [`keep_alive`](Self::keep_alive) or by [`renew`](Self::renew).
#[must_use = "the lock is released when the session is dropped"]
pub struct Session {
    shared: Arc<Shared>,
    host: Arc<dyn Host>,
    heartbeat: Option<Box<dyn Running>>,
}

struct Shared {
    store: Arc<dyn Store>,
    identity: Identity,
    name: Name,
    lock_id: LockId,
    token: u64,
    slot: Option<u32>,
    file: Arc<dyn SessionFile>,
    /// The process whose session it is.
    process: u32,
    lease: Option<Lease>,
    state: Mutex<State>,
}

#[derive(Clone, Copy)]
struct Lease {
    ttl: Duration,
    beat: Beat,
}

#[derive(Default)]
struct State {
    /// When the lease lapses, on the monotonic clock.
    deadline: Option<Duration>,
    /// When the next beat is due.
    due: Option<Duration>,
    /// When the latest look at the record began that has proved it to be ours.
    proved: Duration,
    lost: bool,
    /// The log is to be told that it is lost, once whoever has to act on it has been.
    unreported: Option<Event>,
    ended: bool,
}

impl State {
    /// Notes that it is lost; `false` if that was known, or does not matter any more.
    fn note_loss(&mut self) -> bool {
        let news = !self.lost && !self.ended;
        self.lost |= news;
        news
    }
}

/// News of a session.
#[derive(Debug)]
pub enum News {
    /// The lease was renewed.
    Renewed {
        /// How long after the beat was due.
        late: Duration,
        /// What was left of the lease before.
        left: Duration,
    },
    /// A renewal failed; it is tried again soon.
    RenewalFailed {
        /// Why.
        error: Error,
        /// What is left of the lease.
        left: Duration,
    },
    /// The lock is lost: its record is gone, or another's.
    Lost(Error),
}

impl Session {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        host: Arc<dyn Host>,
        identity: Identity,
        name: Name,
        admission: Admission,
        kill_after: Duration,
    ) -> Option<Self> {
        let record = admission.record;
        let lease = record.ttl().map(|ttl| Lease { ttl, beat: Beat::new(ttl, kill_after) });
        let deadline = record.deadline();
        let state = State { deadline, due: due_after(deadline, lease), ..State::default() };
        let shared = Shared {
            store,
            identity,
            name,
            lock_id: record.id()?,
            token: record.token.unwrap_or_default(),
            slot: record.slot,
            file: admission.session?,
            process: std::process::id(),
            lease,
            state: Mutex::new(state),
        };
        Some(Self { shared: Arc::new(shared), host, heartbeat: None })
    }

    /// Which lock.
    pub fn name(&self) -> &Name {
        &self.shared.name
    }

    /// This admission's identity.
    pub fn lock_id(&self) -> &LockId {
        &self.shared.lock_id
    }

    /// This admission's fencing token: larger than that of any earlier admission to the same name.
    pub fn token(&self) -> u64 {
        self.shared.token
    }

    /// Which slot it has, from 1; `None` if the name has none.
    pub fn slot(&self) -> Option<u32> {
        self.shared.slot
    }

    /// The rhythm of its heartbeat; `None` without a TTL.
    pub fn beat(&self) -> Option<Beat> {
        self.shared.lease.map(|lease| lease.beat)
    }

    /// When the lease lapses on this machine's monotonic clock, as far as it has been renewed.
    pub fn deadline(&self) -> Option<Duration> {
        self.shared.state().deadline
    }

    /// When the next renewal is due; `None` without a TTL.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.shared.state().due
    }

    /// From when on the lease is too near its lapse for anything to go on under it.
    pub(crate) fn give_up_at(&self) -> Option<Duration> {
        Some(self.deadline()?.saturating_sub(self.beat()?.margin))
    }

    /// Whether it was found to be lost.
    pub fn is_lost(&self) -> bool {
        self.shared.state().lost
    }

    /// The file whose flock is this session's life; the guarded command inherits its descriptor.
    pub(crate) fn file(&self) -> &Arc<dyn SessionFile> {
        &self.shared.file
    }

    /// Renews in the background until the session ends or is lost, and notices at once when another removes it.
    /// `on_news` is called in a thread of its own.
    ///
    /// # Errors
    ///
    /// The thread can't be started; or there is one already.
    pub fn keep_alive(&mut self, on_news: impl FnMut(News) + Send + 'static) -> Result<(), Error> {
        if self.heartbeat.is_some() {
            return Err(Error::invalid("a session has one heartbeat, and this one has it already"));
        }
        let shared = Arc::clone(&self.shared);
        let spawned = self.host.spawn("heartbeat", Box::new(move || shared.heartbeat(on_news)));
        self.heartbeat = Some(spawned.map_err(|error| Error::io("keep", &self.shared.name, error))?);
        Ok(())
    }

    /// Renews now. Proves first that the record is still this session's own, even if the lease has lapsed
    /// meanwhile (the process was paused).
    ///
    /// # Errors
    ///
    /// [`Error::is_lost`] if it is another's or gone; otherwise the renewal failed and may be tried again.
    pub fn renew(&self) -> Result<(), Error> {
        let renewed = match self.shared.lease {
            Some(lease) => self.shared.renew(lease).map(drop),
            None => self.shared.check(),
        };
        self.shared.report_loss();
        renewed
    }

    /// What a heartbeat would do now: renews if that is due, and else looks whether it is still this session's own.
    ///
    /// # Errors
    ///
    /// As for [`renew`](Self::renew).
    pub(crate) fn look_after(&self) -> Result<(), Error> {
        let now = self.shared.store.now().monotonic;
        if self.due().is_some_and(|due| now >= due) {
            return self.renew();
        }
        let checked = self.shared.check();
        self.shared.report_loss();
        checked
    }

    /// Whether the record has been seen to be this session's own since then.
    pub(crate) fn is_proved_since(&self, since: Duration) -> bool {
        self.shared.state().proved >= since
    }

    /// Wakes the heartbeat: whatever is due is done now, and else it looks whether it is still this session's own.
    pub(crate) fn nudge(&self) {
        self.shared.file.ring();
    }

    /// Releases the lock and tells whether it was still held.
    ///
    /// # Errors
    ///
    /// [`Error::is_lost`] if it was lost before; or the record could not be removed.
    pub fn release(mut self) -> Result<(), Error> {
        self.end()
    }

    /// Ends without releasing: whoever else has the session's descriptor keeps the lock until he is gone.
    pub(crate) fn abandon(self) {
        self.shared.state().ended = true;
        self.shared.file.ring();
    }

    fn end(&mut self) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        // A child that was forked with a copy of the session: it is not the child's to end. Its copy of the mutex may be
        // locked for ever, by a thread that it has not.
        if std::process::id() != shared.process || mem::replace(&mut shared.state().ended, true) {
            return Ok(());
        }
        // Whatever the heartbeat is about to do, it will find the record gone, and say nothing: whoever waits for the
        // lock need not wait for its thread.
        let released = shared.remove();
        match &released {
            // The record stays: without its session's file nobody could tell that the session is dead.
            Err(error) if !error.is_lost() => {
                self.end_heartbeat();
                shared.file.release();
            }
            _ => shared.store.end_session(&shared.name, &shared.lock_id, shared.file.as_ref()),
        }
        self.end_heartbeat();
        released
    }

    fn end_heartbeat(&mut self) {
        // Dropped in the heartbeat's own thread, there is nobody to wait for.
        if let Some(heartbeat) = self.heartbeat.take_if(|heartbeat| !heartbeat.is_current()) {
            self.shared.file.ring();
            heartbeat.join();
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Nobody is left to tell; `release` tells.
        let _ = self.end();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn authority(&self) -> Authority {
        Authority::Session(self.lock_id.clone())
    }

    fn heartbeat(&self, mut on_news: impl FnMut(News)) {
        let (began, look_every) = (self.store.now().monotonic, self.store.look_every());
        let mut next_look = began + look_every;
        let mut settles_at = Some(began + SETTLED);
        let mut retry = None;
        loop {
            let due = retry.or(self.state().due);
            let times = [Some(next_look), settles_at, due];
            let woken = self.file.wait(times.into_iter().flatten().min(), None);
            if self.state().ended {
                return;
            }
            // Whoever rings does not want to wait for the next try.
            let due = if woken == Wake::Rung { self.state().due } else { due };
            let now = self.store.now().monotonic;
            let outcome = match self.lease {
                Some(lease) if due.is_some_and(|due| now >= due) => {
                    let news = self.beat(lease, now);
                    retry = matches!(news, News::RenewalFailed { .. })
                        .then(|| self.store.now().monotonic + lease.beat.retry);
                    Some(news)
                }
                _ if woken == Wake::Rung || now >= next_look => {
                    next_look = now + look_every;
                    self.check().err().filter(Error::is_lost).map(News::Lost)
                }
                _ => None,
            };
            if settles_at.take_if(|at| now >= *at).is_some() {
                self.store.wake_line(&self.name, FRONT);
            }
            let Some(news) = outcome else { continue };
            if self.state().ended {
                return;
            }
            let lost = matches!(news, News::Lost(_));
            on_news(news);
            if lost {
                return self.report_loss();
            }
        }
    }

    /// One beat: renews, and says how it went.
    fn beat(&self, lease: Lease, now: Duration) -> News {
        let (due, deadline) = {
            let state = self.state();
            (state.due.unwrap_or(now), state.deadline.unwrap_or(now))
        };
        match self.renew(lease) {
            Ok(at) => News::Renewed { late: at.saturating_sub(due), left: deadline.saturating_sub(at) },
            Err(error) if error.is_lost() => News::Lost(error),
            Err(error) => {
                let left = deadline.saturating_sub(self.store.now().monotonic);
                News::RenewalFailed { error, left }
            }
        }
    }

    /// Renews, and returns when the new lease began.
    fn renew(&self, lease: Lease) -> Result<Duration, Error> {
        let now = self.store.now().monotonic;
        let give_up = self.state().deadline.map(|deadline| deadline.saturating_sub(lease.beat.margin));
        let asked = Asked::now(give_up.unwrap_or(now).saturating_sub(now).clamp(lease.beat.retry, ATTEMPT));
        let request = Request::Renew(self.authority(), Some(lease.ttl));
        match self.store.change(&self.name, &request, asked)? {
            Decision::Renew(record) => {
                self.note_proof(now);
                Ok(self.renewed(&record, lease))
            }
            Decision::Refuse(refusal) => Err(self.refused(refusal)),
            Decision::Admit { .. } | Decision::Remove(_) => Err(self.refused(Refusal::Lost(None))),
        }
    }

    fn renewed(&self, record: &Record, lease: Lease) -> Duration {
        let mut state = self.state();
        state.deadline = record.deadline();
        state.due = due_after(state.deadline, Some(lease));
        state.deadline.unwrap_or_default().saturating_sub(lease.ttl)
    }

    /// Looks whether the record is still this session's own, without the mutex and without writing.
    fn check(&self) -> Result<(), Error> {
        let now = self.store.now().monotonic;
        let look = match (self.lease, self.state().due) {
            // The next renewal is not to wait for it.
            (Some(lease), Some(due)) => due.saturating_sub(now).max(lease.beat.retry),
            _ => ATTEMPT,
        };
        match self.store.look_at_one(&self.name, &self.lock_id, look.min(ATTEMPT))? {
            Stored::Record(record) if record.lock_id == self.lock_id.as_str() => self.note_proof(now),
            Stored::Record(record) => return Err(self.refused(Refusal::Lost(Some(record)))),
            Stored::Empty => return Err(self.refused(Refusal::Lost(None))),
            // Not to be read, or half written by another program: neither a loss nor a proof.
            _ => {}
        }
        Ok(())
    }

    /// Notes that a look that began then has found the record to be ours.
    fn note_proof(&self, began: Duration) {
        let mut state = self.state();
        state.proved = state.proved.max(began);
    }

    fn refused(&self, refusal: Refusal) -> Error {
        let now = self.store.now();
        if matches!(refusal, Refusal::Lost(_)) {
            let mut state = self.state();
            if state.note_loss() {
                let event = Event::new(audit::LOST, &self.name, &self.identity, &now);
                state.unreported = Some(event.id(&self.lock_id).because(lost_to(&refusal)));
            }
        }
        Error::refused(&self.name, refusal, now)
    }

    fn report_loss(&self) {
        // In two steps: the state is not to be locked meanwhile.
        let unreported = self.state().unreported.take();
        unreported.iter().for_each(|event| self.store.report(event));
    }

    fn remove(&self) -> Result<(), Error> {
        // Once its lease has lapsed the lock is to be had without it.
        let left = self.state().deadline.map(|at| at.saturating_sub(self.store.now().monotonic));
        let asked = Asked::now(left.map_or(PATIENCE, |left| left.clamp(ATTEMPT, PATIENCE)));
        match self.store.change(&self.name, &Request::Release(self.authority()), asked)? {
            Decision::Refuse(refusal) => Err(Error::refused(&self.name, refusal, self.store.now())),
            _ => Ok(()),
        }
    }
}

fn lost_to(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Lost(Some(_)) => "taken over",
        _ => "removed",
    }
}

/// When the next beat is due, for a lease that ends at `deadline`.
fn due_after(deadline: Option<Duration>, lease: Option<Lease>) -> Option<Duration> {
    let lease = lease?;
    Some(deadline?.saturating_sub(lease.ttl).saturating_add(lease.beat.interval))
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let left = self.deadline().map(|at| at.saturating_sub(self.shared.store.now().monotonic));
        f.debug_struct("Session")
            .field("name", &self.shared.name.as_str())
            .field("lock_id", &self.shared.lock_id.as_str())
            .field("token", &self.shared.token)
            .field("left", &left.map(format_duration))
            .finish()
    }
}
