//! The sessions of one guard, as if they were one: the first that is lost is a loss, the first lease to lapse is the
//! one that counts, and the command inherits them all.

use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::Error;
use crate::host::clock::monotonic as now;
use crate::host::signals::Signals;
use crate::host::{SessionFile, Wake};
use crate::inside;
use crate::protocol::{Beat, Name, Record};
use crate::session::{News, Session};

/// A command that ends within this needs no thread for a heartbeat: nothing is to be renewed so soon, and until then the
/// guard itself hears of a removal by force.
const QUIET: Duration = Duration::from_millis(100);

/// How often the guard itself looks after what no thread could be started for, and tries to start one.
const BY_HAND: Duration = Duration::from_millis(500);

/// What a guard holds. Dropping it releases all of it, the last that was taken first.
#[must_use = "the locks are released when it is dropped"]
pub(crate) struct Held {
    /// In the order in which they were taken; all on the same terms.
    sessions: Vec<Session>,
    /// So many of them, from the first, have been given a heartbeat.
    beating: usize,
    /// When the last was taken.
    taken: Duration,
    /// No thread could be started for the others: when the guard itself looks after them next.
    by_hand: Option<Duration>,
    losses: Arc<Mutex<Losses>>,
    /// What of what is wanted a guard around this one holds.
    around: Vec<Badge>,
    /// The name by which the command is introduced.
    leads: Option<Name>,
}

/// What has been found to be lost, by whichever thread.
#[derive(Default)]
struct Losses {
    /// Each is news once.
    known: Vec<Name>,
    news: Vec<Error>,
}

/// One admission, as the command is told of it.
#[derive(Clone)]
pub(super) struct Badge {
    pub(super) name: Name,
    pub(super) lock_id: String,
    pub(super) token: u64,
    pub(super) slot: Option<u32>,
}

impl From<&Session> for Badge {
    fn from(session: &Session) -> Self {
        let (name, lock_id) = (session.name().clone(), session.lock_id().to_string());
        Self { name, lock_id, token: session.token(), slot: session.slot() }
    }
}

impl Badge {
    /// That of a guard around this one.
    pub(super) fn of_record(name: Name, record: Record) -> Self {
        let token = record.token.unwrap_or_default();
        Self { name, lock_id: record.lock_id, token, slot: record.slot }
    }
}

impl Losses {
    fn note(&mut self, name: &Name, error: Error) {
        if !self.known.contains(name) {
            self.known.push(name.clone());
            self.news.push(error);
        }
    }
}

impl Held {
    /// Nothing yet, beside what is held `around`. The command is introduced by the name that `leads`.
    pub(super) fn nothing(around: Vec<Badge>, leads: Option<Name>) -> Self {
        let losses = Arc::default();
        Self { sessions: Vec::new(), beating: 0, taken: Duration::ZERO, by_hand: None, losses, around, leads }
    }

    /// One more.
    pub(super) fn add(&mut self, session: Session) {
        self.sessions.push(session);
        self.taken = now();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Every admission that the command is told of, in the order in which they were taken.
    pub(super) fn badges(&self) -> Vec<Badge> {
        self.around.iter().cloned().chain(self.sessions.iter().map(Into::into)).collect()
    }

    /// Those of its own, as `LOKT_HELD` names them.
    pub(super) fn admissions(&self) -> Vec<String> {
        let own = self.sessions.iter();
        own.map(|session| inside::entry(session.name(), &session.lock_id().to_string())).collect()
    }

    /// Whether it is the one that the command is told of first.
    pub(super) fn leads(&self, badge: &Badge) -> bool {
        self.leads.as_ref() == Some(&badge.name)
    }

    /// The rhythm of the heartbeats; `None` without a TTL.
    pub(super) fn beat(&self) -> Option<Beat> {
        self.sessions.first()?.beat()
    }

    /// What rings when one may have been removed that has no heartbeat to hear it.
    pub(super) fn bells(&self) -> Vec<BorrowedFd<'_>> {
        self.sessions[self.beating..].iter().filter_map(|session| session.file().descriptor()).collect()
    }

    /// The same, for one who borrows nothing.
    pub(super) fn files(&self) -> Vec<Arc<dyn SessionFile>> {
        self.sessions.iter().map(|session| Arc::clone(session.file())).collect()
    }

    /// Until when those that have no heartbeat can do without being [looked after](Self::keep_alive), if nothing rings for
    /// them; `None` if all have one.
    pub(super) fn quiet_until(&self) -> Option<Duration> {
        let quiet = &self.sessions[self.beating..];
        let due = quiet.iter().filter_map(Session::due);
        let until = self.by_hand.unwrap_or_else(|| due.fold(self.taken + QUIET, Duration::min));
        (!quiet.is_empty()).then_some(until)
    }

    /// Starts the heartbeats that have not been started; what they find is news, and wakes whoever sleeps on the
    /// signals. What no thread can be started for (a limit, ulimit -u) is looked after here and now.
    pub(super) fn keep_alive(&mut self, signals: &Signals, tell: &(dyn Fn(&str) + Sync)) {
        let is_early = self.by_hand.is_some_and(|at| now() < at);
        while !is_early && let Some(session) = self.sessions.get_mut(self.beating) {
            let (losses, name) = (Arc::clone(&self.losses), session.name().clone());
            let started = signals.waker().map_err(Error::root).and_then(|waker| {
                session.keep_alive(move |news| {
                    if let News::Lost(error) = news {
                        losses.lock().unwrap_or_else(PoisonError::into_inner).note(&name, error);
                        waker.wake();
                    }
                })
            });
            if let Err(error) = started {
                if self.by_hand.replace(now() + BY_HAND).is_none() {
                    tell(&format!("warning: {error}; it is kept without a thread of its own"));
                }
                break;
            }
            self.beating += 1;
        }
        for session in self.sessions[self.beating..].iter().filter(|session| !session.is_lost()) {
            // Whoever ends the command in time has more to do than this.
            if self.give_up_at().is_some_and(|give_up| now() >= give_up) {
                break;
            }
            let rung = session.file().wait(Some(Duration::ZERO), None) == Wake::Rung;
            if rung || !is_early {
                self.note_loss(session, session.look_after());
            }
        }
    }

    /// What was found to be lost since the last time.
    pub(super) fn take_losses(&self) -> Vec<Error> {
        std::mem::take(&mut self.losses().news)
    }

    /// Whether there is something to [take](Self::take_losses).
    pub(super) fn has_losses(&self) -> bool {
        !self.losses().news.is_empty()
    }

    fn losses(&self) -> MutexGuard<'_, Losses> {
        self.losses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Proves of each that it is still ours, and renews its lease. What is lost is news.
    pub(super) fn renew(&self) {
        self.sessions.iter().for_each(|session| self.note_loss(session, session.renew()));
    }

    /// Has it looked whether each is still ours, and renewed what is due; what is lost is news. It is done by the heartbeats:
    /// where a file system hangs, whoever asks has to be able to end the command. What has none is looked at here and now;
    /// if that must be done `until` then, only what is late.
    pub(super) fn look(&mut self, signals: &Signals, tell: &(dyn Fn(&str) + Sync), until: Option<Duration>) {
        self.keep_alive(signals, tell);
        self.sessions[..self.beating].iter().for_each(Session::nudge);
        let by_hand = self.sessions[self.beating..].iter();
        for session in by_hand.filter(|session| until.is_none() || is_late(session)) {
            if until.is_none_or(|until| now() < until) {
                self.note_loss(session, session.renew());
            }
        }
    }

    /// Whether each was found to be ours since then, or is lost and that is news, or was: whoever finds it tells of it last.
    pub(super) fn is_proved_since(&self, since: Duration) -> bool {
        let known = &self.losses().known;
        // In this order: a look that finds a loss says so before it ends.
        let is_ours = |session: &Session| session.is_proved_since(since) && !session.is_lost();
        self.sessions.iter().all(|session| is_ours(session) || known.contains(session.name()))
    }

    fn note_loss(&self, session: &Session, outcome: Result<(), Error>) {
        if let Err(error) = outcome
            && error.is_lost()
        {
            self.losses().note(session.name(), error);
        }
    }

    /// Proves that each lease which should have been renewed by now is still ours.
    pub(super) fn still_ours(&self) -> Result<(), Error> {
        for session in self.sessions.iter().filter(|session| is_late(session)) {
            session.renew()?;
        }
        self.take_losses().pop().map_or(Ok(()), Err)
    }

    /// The first lease to be given up of those that are not lost, and when.
    pub(super) fn next_to_lapse(&self) -> Option<(&Session, Duration)> {
        let kept = self.sessions.iter().filter(|session| !session.is_lost());
        kept.filter_map(|session| Some((session, session.give_up_at()?))).min_by_key(|(_, at)| *at)
    }

    /// From when on a lease is too near its lapse for anything to go on under it.
    pub(super) fn give_up_at(&self) -> Option<Duration> {
        self.next_to_lapse().map(|(_, at)| at)
    }

    /// From when on no command may be started any more. What has been lost meanwhile counts as well: its lease is over.
    pub(super) fn start_before(&self) -> Option<Duration> {
        self.sessions.iter().filter_map(Session::give_up_at).min()
    }

    /// Until when a command that is ended may run, as others are admitted then; `None` if no lease says so.
    pub(super) fn last_moment(&self) -> Option<Duration> {
        let kept = self.sessions.iter().filter(|session| !session.is_lost() && !left(session).is_zero());
        kept.filter_map(|session| Some(session.give_up_at()? + session.beat()?.grace)).min()
    }

    /// Ends without releasing: whoever else has the descriptors keeps the locks until he is gone.
    pub(super) fn abandon(mut self) {
        std::mem::take(&mut self.sessions).into_iter().for_each(Session::abandon);
    }

    /// Releases all. A loss is told unless losses have been `told`.
    pub(super) fn release(mut self, told: bool, tell: &dyn Fn(&str)) {
        while let Some(session) = self.sessions.pop() {
            match session.release() {
                Err(error) if error.is_lost() && !told => {
                    tell(&format!("warning: {error}: its command had just ended"));
                }
                Err(error) if !error.is_lost() => tell(&format!("warning: {error}")),
                _ => {}
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        while self.sessions.pop().is_some() {}
    }
}

/// What is left of a lease.
pub(super) fn left(session: &Session) -> Duration {
    session.deadline().unwrap_or_default().saturating_sub(now())
}

fn is_late(session: &Session) -> bool {
    session.give_up_at().is_some_and(|give_up| now() >= give_up)
}
