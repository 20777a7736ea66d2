//! Waiting for a name: one loop, for whoever stands in line.
//!
//! A waiter sleeps until the one before it has ended, and only the first in line also watches the clock for the
//! holder's lease. Everybody else looks up rarely, the later the rarer (the n-th every √n seconds), so that
//! somebody who runs notices when those before it are stopped or hung while there is room for it.

mod silence;

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use crate::Error;
use crate::audit::{self, Event};
use crate::hash::fnv1a;
use crate::host::{Identity, Wake};
use crate::protocol::{Claim, LockId, Manner, Name, Now, Record, Refusal, Standing};
use crate::store::{Admission, Answer, Asked, Place, Seen, Store, Ticket, Turn, Watch};

use silence::{Sight, Silence};

/// The first in line looks this often even if nothing rings: somebody may have removed the record by hand.
const LOOK: Duration = Duration::from_secs(1);

/// How often to look where nothing can ring: a record of the Go tool, a network file system.
const POLL: Duration = Duration::from_millis(50);

/// Nobody sleeps longer than this.
const LONGEST_SLEEP: Duration = Duration::from_secs(20);

/// Nobody asks again sooner than after this.
const SHORTEST_SLEEP: Duration = Duration::from_micros(50);

/// How long anybody waits for the store's own mutex, if nothing else is asked for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How long a claimant waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// Only for those in line to take, or to miss, their turn: a plain try does not overtake, nor does it wait.
    LineMoves,
    /// To this instant of the monotonic clock.
    Instant(Duration),
    /// For ever.
    Admitted,
}

/// What a waiter's surroundings want of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitControl {
    /// Go on waiting.
    GoOn,
    /// Give up.
    GiveUp,
    /// Leave the line, so that nobody waits for one who can't go, and come back later.
    StepAside,
}

/// How a wait stands.
#[derive(Debug)]
pub struct Progress<'a> {
    /// What is waited for.
    pub name: &'a Name,
    /// What stands in the way.
    pub refusal: &'a Refusal,
    /// How many stand before in line.
    pub ahead: usize,
    /// How long it has taken.
    pub waited: Duration,
    /// When this was seen.
    pub now: &'a Now,
}

/// Whoever looks on while a waiter waits. A waiter that does not come back from it within two seconds may be passed over.
pub trait Observer {
    /// Is told each time that the waiter has looked.
    fn progress(&mut self, _: &Progress<'_>) {}

    /// Is told each time that the waiter could not look, and why: a process is stopped in the middle of a change, say.
    fn delayed(&mut self, _name: &Name, _why: &str, _waited: Duration) {}

    /// A descriptor whose readability interrupts the sleep.
    fn interrupt(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// How often to be told, if it wants to hear even when nothing happens.
    fn interval(&self) -> Option<Duration> {
        None
    }

    /// What is wanted now.
    fn control(&mut self) -> WaitControl {
        WaitControl::GoOn
    }

    /// The waiter has left the line; it comes back when this returns.
    fn step_aside(&mut self) {}
}

/// Nobody looks on.
pub struct Unobserved;

impl Observer for Unobserved {}

/// A claim that waits.
pub(crate) struct Waiting<'a> {
    store: &'a Arc<dyn Store>,
    asker: &'a Identity,
    name: &'a Name,
    claim: Claim,
    manner: Manner,
    until: Until,
    began: Duration,
    /// Whether it wants a place in line; a plain try does only if the lock is free.
    joins: bool,
    ticket: Option<Ticket>,
    /// The holders' records as they were last seen, and since when they have not changed.
    seen: Vec<(Record, Duration)>,
    /// Whether it was rung since.
    rung: bool,
    silence: Option<Silence>,
}

impl<'a> Waiting<'a> {
    pub(crate) fn new(
        store: &'a Arc<dyn Store>,
        asker: &'a Identity,
        name: &'a Name,
        claim: Claim,
        manner: Manner,
        until: Until,
    ) -> Self {
        let began = store.now().monotonic;
        let joins = until != Until::LineMoves;
        Self {
            store,
            asker,
            name,
            claim,
            manner,
            until,
            began,
            joins,
            ticket: None,
            seen: Vec::new(),
            rung: false,
            silence: None,
        }
    }

    /// Waits until the claim is admitted; leaves the line in every other case.
    pub(crate) fn wait(mut self, observer: &mut dyn Observer) -> Result<(Admission, Option<Ticket>), Error> {
        match self.run(observer) {
            Ok(admission) => Ok((admission, self.ticket)),
            Err(error) => {
                match (error.refusal(), &self.ticket) {
                    (Some(refusal), Some(_)) => self.report(|denial| denial.refusal(refusal)),
                    // No transition came about that could have said so.
                    (None, _) if error.is_busy() => self.report(|denial| denial.because("mutex busy")),
                    _ => {}
                }
                self.leave();
                Err(error)
            }
        }
    }

    /// Writes that it was not admitted in the end, and `why`.
    fn report(&self, why: impl FnOnce(Event) -> Event) {
        let denial =
            Event::new(audit::DENY, self.name, self.asker, &self.store.now()).id(&self.claim.lock_id);
        self.store.report(&why(denial.ttl(self.claim.ttl)));
    }

    fn run(&mut self, observer: &mut dyn Observer) -> Result<Admission, Error> {
        loop {
            let asked_at = self.store.now().monotonic;
            let (refusal, place) = match self.ask(asked_at) {
                Ok(Answer::Admitted(admission)) => return Ok(admission),
                Ok(Answer::Refused(refusal, place)) => (refusal, place),
                // Somebody is stopped in the middle of a transition, or a cluster chooses its leader: that is waited for
                // like anything else.
                Err(error) if error.is_passing() && self.store.now().monotonic < self.latest() => {
                    // Nobody could take its turn meanwhile.
                    self.silence = None;
                    let waited = self.store.now().monotonic.saturating_sub(self.began);
                    observer.delayed(self.name, &error.delay().unwrap_or_default(), waited);
                    self.obey(observer.control(), observer)?;
                    continue;
                }
                Err(error) if matches!(self.until, Until::Instant(_)) && error.is_passing() => {
                    return Err(error.out_of_time());
                }
                Err(error) => return Err(error),
            };
            let now = self.store.now();
            let queued = refusal.is_free();
            let Some(mut place) = place else {
                // It is free: either the first in line takes it at once, or it can't. That is worth a place.
                if queued && !self.joins {
                    self.joins = true;
                    continue;
                }
                return Err(Error::refused(self.name, refusal, now));
            };
            self.ticket = place.ticket.take().or(self.ticket.take());
            self.note(&refusal, &place, now.monotonic);
            self.ring_the_silent(now.monotonic);
            if self.until == Until::LineMoves && !queued {
                return Err(Error::refused(self.name, refusal, now));
            }
            self.sleep(asked_at, &refusal, &place, observer)?;
        }
    }

    /// Until when it makes sense to go on.
    fn latest(&self) -> Duration {
        match self.until {
            Until::Instant(end) => end,
            Until::LineMoves => self.began + PATIENCE,
            Until::Admitted => Duration::MAX,
        }
    }

    fn ask(&mut self, now: Duration) -> Result<Answer, Error> {
        let seen: Vec<Seen<'_>> =
            self.seen.iter().map(|(record, since)| Seen { record, since: *since }).collect();
        let asked = Asked { seen: &seen, patience: self.latest().saturating_sub(now).clamp(POLL, LOOK) };
        let turn = if self.joins {
            let has_heard = |first: &LockId, mark| self.store.has_heard(self.name, first, mark);
            let silent = self.silence.as_mut().and_then(|silence| silence.over(now, has_heard));
            Turn::Waiting { ticket: self.ticket.as_ref(), silent }
        } else {
            Turn::Passing
        };
        self.store.acquire(self.name, &self.claim, self.manner, &turn, asked)
    }

    /// Remembers what was seen, to time it on this process's own clock.
    fn note(&mut self, refusal: &Refusal, place: &Place, now: Duration) {
        let watched: Vec<&Record> = match refusal {
            Refusal::Held { record, others, .. } => record.as_deref().into_iter().chain(others).collect(),
            Refusal::Frozen(freeze) => vec![&freeze.record],
            _ => Vec::new(),
        };
        let since = |record: &Record| {
            let before = self.seen.iter().find(|(seen, _)| seen == record);
            before.map_or(now, |(_, since)| *since)
        };
        self.seen = watched.into_iter().map(|record| (record.clone(), since(record))).collect();
        let before = self.silence.take();
        if let (Refusal::Queued { free, .. }, Some(first)) = (refusal, &place.first) {
            let own = fnv1a(self.claim.lock_id.as_str().bytes());
            self.silence = Some(Silence::seen(
                before,
                &Sight {
                    first,
                    free: *free,
                    ahead: place.ahead,
                    rare: rarely(place.ahead),
                    rung: self.rung,
                    mark: own.wrapping_add(now.as_nanos() as u64),
                    now,
                },
            ));
        }
    }

    /// Rings those who are silent, if it is time for that.
    fn ring_the_silent(&mut self, now: Duration) {
        if let Some(ring) = self.silence.as_mut().and_then(|silence| silence.rings(now)) {
            self.store.mark_line(self.name, ring.count, ring.mark);
        }
    }

    /// Sleeps until there is a reason to ask again.
    fn sleep(
        &mut self,
        asked_at: Duration,
        refusal: &Refusal,
        place: &Place,
        observer: &mut dyn Observer,
    ) -> Result<(), Error> {
        let Some(bell) = self.ticket.as_ref().map(|ticket| Arc::clone(&ticket.session)) else {
            return Ok(());
        };
        let told: Vec<bool> =
            place.watch.iter().map(|watch| self.store.watch(self.name, watch, &bell)).collect();
        let told = told.into_iter().all(|told| told);
        if let (false, [Watch::Session(before)]) = (told, &*place.watch)
            && place.ahead > 0
            && !self.store.is_alive(self.name, before)
        {
            // It has left between our look and our watch.
            return Ok(());
        }
        self.rung = false;
        // Counted from before the store looked: rather a moment too early than too late.
        let mut wake_at = asked_at + self.longest(refusal, place, told).max(SHORTEST_SLEEP);
        loop {
            let now = self.store.now();
            let waited = now.monotonic.saturating_sub(self.began);
            let is_over = matches!(self.until, Until::Instant(end) if now.monotonic >= end);
            if !is_over {
                let ahead = place.ahead;
                observer.progress(&Progress { name: self.name, refusal, ahead, waited, now: &now });
            }
            self.obey(observer.control(), observer)?;
            if self.ticket.is_none() {
                return Ok(());
            }
            if is_over {
                return Err(Error::timed_out(self.name, waited, refusal.clone(), now));
            }
            let until = self.next_wake(wake_at, now.monotonic, observer.interval());
            match bell.wait(Some(until), observer.interrupt()) {
                Wake::Rung => {
                    self.rung = true;
                    return Ok(());
                }
                Wake::Interrupted => {}
                Wake::Timeout if until < wake_at => {}
                Wake::Timeout if place.ahead > 0 && !self.worth_asking(place) => {
                    // If there was room, there is no more.
                    self.silence = None;
                    wake_at = self.store.now().monotonic + self.longest(refusal, place, told);
                }
                Wake::Timeout => return Ok(()),
            }
        }
    }

    fn obey(&mut self, wanted: WaitControl, observer: &mut dyn Observer) -> Result<(), Error> {
        match wanted {
            WaitControl::GoOn => Ok(()),
            WaitControl::GiveUp => Err(Error::interrupted(self.name)),
            WaitControl::StepAside => {
                self.leave();
                // The old place may still be there, if it could not be cleared away: it is another's then.
                self.claim.lock_id = self.store.new_id();
                observer.step_aside();
                self.seen.clear();
                self.silence = None;
                Ok(())
            }
        }
    }

    fn next_wake(&self, wake_at: Duration, now: Duration, interval: Option<Duration>) -> Duration {
        let mut until = wake_at;
        if let Until::Instant(end) = self.until {
            until = until.min(end);
        }
        interval.map_or(until, |interval| until.min(now.saturating_add(interval)))
    }

    /// How long there is nothing to do, if nothing rings.
    fn longest(&self, refusal: &Refusal, place: &Place, told: bool) -> Duration {
        let due =
            self.silence.as_ref().map(|silence| silence.due().saturating_sub(self.store.now().monotonic));
        if let (true, Some(due)) = (refusal.is_free(), due) {
            return due;
        }
        if place.ahead > 0 {
            let rare = rarely(place.ahead);
            let look = if told { rare } else { POLL.saturating_mul(saturated(place.ahead)).min(rare) };
            return due.map_or(look, |due| due.min(look));
        }
        let left = match refusal {
            // Whoever was before it has died in this moment.
            Refusal::Queued { .. } => Some(Duration::ZERO),
            Refusal::Held { standing: Standing::Held { lapse, .. }, .. } => lapse.left(),
            Refusal::Held { standing: Standing::InProgress, .. } => Some(POLL),
            Refusal::Frozen(freeze) => freeze.left,
            _ => None,
        };
        let look = if told { LOOK } else { POLL };
        left.map_or(look, |left| left.min(look))
    }

    /// Whether one who is not the first has a reason to ask: the lock is to be had, or the one before it has
    /// become the holder, so that it is now the first itself.
    fn worth_asking(&self, place: &Place) -> bool {
        let Ok(view) = self.store.look(self.name) else {
            return true;
        };
        match (&*place.watch, &view.standing) {
            ([Watch::Session(before)], Standing::Held { .. }) => {
                let holds = view.held_by().any(|(record, _)| record.lock_id == before.as_str());
                let has_room = self.claim.mode.has_room(view.mode(), view.count());
                holds || has_room || !self.store.is_alive(self.name, before)
            }
            _ => true,
        }
    }

    fn leave(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.store.leave(self.name, &ticket);
        }
    }
}

/// How often one looks up who is not the first in line.
fn rarely(ahead: usize) -> Duration {
    LOOK.saturating_mul(saturated(ahead).isqrt()).min(LONGEST_SLEEP)
}

fn saturated(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
