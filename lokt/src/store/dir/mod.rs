//! The embedded store: a directory that processes of one machine share.
//!
//! ```text
//! <root>/locks/NAME.json          the record (read by the Go tool too)
//! <root>/holders/NAME/LOCK_ID.json   the records of those who hold a name together
//! <root>/freezes/NAME.json        a freeze
//! <root>/sessions/NAME.LOCK_ID    liveness and doorbell of one session
//! <root>/lines/NAME/NUMBER.LOCK_ID   a waiter's ticket
//! <root>/stripes/NN               mutex and token counter of the names that hash to NN; never removed
//! <root>/stripes/log              the mutex of those who rotate the log; only ever tried
//! <root>/audit.log                what happened; before that, audit.log.1 and so on
//! ```
//!
//! # The mutex rules
//!
//! 1. A record, a freeze, a ticket or a session's file is created or removed only under the mutex of its name; but a
//!    session that has ended may remove its own file, whose name nobody will ever use again.
//! 2. Under the mutex of a name no other name's is taken, and no flock that blocks; the log's is tried, for some
//!    milliseconds at most. Whoever sweeps has the sweep's, and takes those of names under it, each as it can be had
//!    at once. So the order is the sweep's, a name's, the log's, and nobody waits long under any.
//! 3. A session's flock is taken under the mutex and released without it, after its record is gone.
//! 4. Records are read without it: they are replaced as a whole (but for renewals on a full disk).

mod evidence;
mod freeze;
mod holders;
mod inspect;
mod line;
mod list;
mod records;
mod sweep;
mod token;

pub(crate) use inspect::{Leftover, stripe_of_file, stripe_of_temporary};

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::sessions::{Sessions, stripe_of};
use super::{
    Admission, Answer, Asked, Seen, Status, Store, Ticket, Turn, View, Waiter, Warn, Watch, sweeper,
};
use crate::Error;
use crate::audit::{self, Event, Query, Source};
use crate::error::LOOK_AT;
use crate::host::{
    Dir, Host, Identity, Publish, SessionFile, SessionState, Stripe, StripeError, stripe_file,
};
use crate::protocol::{
    Claim, Decision, Evidence, FreezeDecision, FreezeRequest, Kind, LockId, Manner, Mode, Name, Now, Record,
    Refusal, Request, Stored, Whom, decide,
};

/// The embedded store.
pub struct DirStore {
    host: Arc<dyn Host>,
    sessions: Sessions,
    identity: Identity,
    warn: Warn,
}

impl DirStore {
    /// A store in the root of `host`, acting as `identity`.
    pub fn new(host: Arc<dyn Host>, identity: Identity, warn: Warn) -> Self {
        Self { sessions: Sessions::on(&host), host, identity, warn }
    }

    fn locked(&self, name: &Name, patience: Duration) -> Result<Box<dyn Stripe>, Error> {
        self.locked_to("lock", name, name.as_str(), patience)
    }

    /// Takes the mutex of `key`, to do to `name` what `verb` says.
    fn locked_to(
        &self,
        verb: &'static str,
        name: &Name,
        key: &str,
        patience: Duration,
    ) -> Result<Box<dyn Stripe>, Error> {
        self.host.lock_stripe(stripe_of(key), patience).map_err(|error| match error {
            StripeError::Busy(busy) => Error::busy(name, busy),
            StripeError::Io(error) => Error::io(verb, name, error),
        })
    }

    fn record_file(name: &Name) -> String {
        format!("{name}.json")
    }

    fn log(&self, event: &Event) {
        if let Err(error) = self.host.append(audit::FILE, &event.line()) {
            (self.warn)(&format!("{} of \"{}\" is not in the audit log: {error}", event.event, event.name));
        }
    }

    fn event(&self, event: &'static str, name: &Name, now: &Now) -> Event {
        Event::new(event, name, &self.identity, now)
    }

    /// Decides on a claim under the mutex, and on what the line makes of it.
    fn decide_claim(
        &self,
        name: &Name,
        request: &Request,
        evidence: &mut Evidence,
        turn: &Turn<'_>,
        seen: &[Seen<'_>],
        now: &Now,
    ) -> io::Result<Decision> {
        let decision = decide(name.as_str(), request, evidence, now);
        if !matches!(decision, Decision::Admit { .. }) {
            return Ok(decision);
        }
        // Only now does it matter who of the line is ready.
        let Some(first) = self.first_ready(name, turn)? else {
            return Ok(decision);
        };
        // It may sleep on one that has just been put out of line.
        self.sessions.ring(name, &first.id);
        evidence.ahead = first.ahead;
        evidence.first_wants =
            self.read_ticket(name, first.number, &first.id).map_or(Mode::Exclusive, |first| first.mode);
        // Whoever did not have to know the holders has to know them for the first in line.
        self.add_holders(name, evidence, Whom::All, seen, now);
        Ok(decide(name.as_str(), request, evidence, now))
    }

    fn refused(
        &self,
        name: &Name,
        claim: &Claim,
        evidence: &Evidence,
        refusal: Refusal,
        turn: &Turn<'_>,
        now: &Now,
    ) -> Result<Answer, Error> {
        let place = match turn {
            Turn::Waiting { ticket, .. } if !refusal.is_hopeless() => Some(
                self.stand_in_line(name, claim, *ticket, evidence, now)
                    .map_err(|error| Error::io("join the line for", name, error))?,
            ),
            _ => None,
        };
        match &place {
            Some(place) if place.ticket.is_some() => {
                self.log(&self.event(audit::WAIT, name, now).id(&claim.lock_id).ttl(claim.ttl));
            }
            Some(_) => {}
            // A plain try that finds it free but waited for is not refused yet.
            None if refusal.is_free() => {}
            None => self.log(&self.event(audit::DENY, name, now).ttl(claim.ttl).refusal(&refusal)),
        }
        Ok(Answer::Refused(refusal, place))
    }
}

impl Store for DirStore {
    fn acquire(
        &self,
        name: &Name,
        claim: &Claim,
        manner: Manner,
        turn: &Turn<'_>,
        asked: Asked<'_>,
    ) -> Result<Answer, Error> {
        self.host.prepare().map_err(|error| Error::io("lock", name, error))?;
        let failed = |error| Error::io("lock", name, error);
        let mut stripe = self.locked(name, asked.patience)?;
        // A second look is only needed when the Go tool created its file between our look and our write.
        for _ in 0..3 {
            let now = self.host.now();
            let request = Request::Acquire(claim.clone(), manner);
            let mut evidence = self.gather_from(name, Some(&request), asked.seen, &now, None);
            let mut tokens = token::Counter::read(stripe.as_ref(), &now).map_err(failed)?;
            evidence.next_token = tokens.next();
            let decided = self.decide_claim(name, &request, &mut evidence, turn, asked.seen, &now);
            match decided.map_err(failed)? {
                Decision::Admit { record, joint, displaced } => {
                    let token = record.token.unwrap_or_default();
                    tokens.hand_out(token, stripe.as_mut()).map_err(failed)?;
                    let ticket = turn.ticket();
                    let admitted = self.admit(name, record, joint.as_deref(), &evidence, &displaced, ticket);
                    self.settle_displaced(name, &displaced, admitted.is_err(), &now);
                    match admitted {
                        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                        Err(error) => return Err(failed(error)),
                        Ok(admission) => {
                            self.lift_outwaited(name, asked.seen, &now);
                            self.log(&self.event(audit::ACQUIRE, name, &now).record(&admission.record));
                            if admission.record.joint.is_some() {
                                // There may be room for one more; and if not, the next has more to watch now than us.
                                self.call_next(name, stripe);
                            }
                            return Ok(Answer::Admitted(admission));
                        }
                    }
                }
                Decision::Refuse(refusal) => {
                    return self.refused(name, claim, &evidence, refusal, turn, &now);
                }
                Decision::Renew(_) | Decision::Remove(_) => {
                    return Err(Error::io("lock", name, io::Error::other("a claim was not decided on")));
                }
            }
        }
        Err(failed(io::Error::other("another program keeps creating its record")))
    }

    fn change(&self, name: &Name, request: &Request, asked: Asked<'_>) -> Result<Decision, Error> {
        let verb = request.verb();
        let stripe = match self.locked_to(verb, name, name.as_str(), asked.patience) {
            // No root, no record; but somebody may have removed the mutex alone.
            Err(error) if error.is_not_there() && self.read_record(name) == Stored::Empty => {
                let evidence = Evidence::default();
                return Ok(decide(name.as_str(), request, &evidence, &self.host.now()));
            }
            other => other?,
        };
        let now = self.host.now();
        let evidence = match request.is_of_ones_own() {
            true => self.evidence_of_one(name, request.concerns(Mode::Exclusive), &now),
            false => self.gather(name, asked.seen, &now),
        };
        let decision = decide(name.as_str(), request, &evidence, &now);
        match &decision {
            Decision::Renew(record) => {
                self.write_renewed(name, record).map_err(|error| Error::io("renew", name, error))?;
                self.log(&self.event(audit::RENEW, name, &now).record(record));
            }
            Decision::Remove(gone) => {
                let taken = self.take_away(name, &evidence, gone, &now);
                self.call_next(name, stripe);
                taken?;
            }
            Decision::Admit { .. } | Decision::Refuse(_) => {}
        }
        Ok(decision)
    }

    fn change_freeze(
        &self,
        name: &Name,
        request: &FreezeRequest,
        patience: Duration,
    ) -> Result<FreezeDecision, Error> {
        self.change_freeze_of(name, request, patience)
    }

    fn look(&self, name: &Name) -> Result<View, Error> {
        Ok(self.view(name, None))
    }

    fn is_usable(&self, name: &Name) -> Result<(), Error> {
        // What is not there yet is made; what else stands there is in everybody's way.
        let mutex = self.host.read(Dir::Stripes, &stripe_file(stripe_of(name.as_str())), 0);
        let looked = mutex.and_then(|_| self.host.list(Dir::Sessions));
        looked.map(drop).map_err(|error| Error::io(LOOK_AT, name, error))
    }

    fn look_at_one(&self, name: &Name, lock_id: &LockId, _: Duration) -> Result<Stored, Error> {
        Ok(self.own_stored(name, lock_id))
    }

    fn list(&self) -> Result<Vec<Status>, Error> {
        self.list_all()
    }

    fn waiters(&self, name: &Name) -> Result<Vec<Waiter>, Error> {
        self.living_waiters(name)
    }

    fn leave(&self, name: &Name, ticket: &Ticket) {
        if let Ok(_stripe) = self.locked(name, line::BESIDE) {
            self.drop_ticket(name, ticket);
            self.host.remove_dir(Dir::Line(name));
            self.sessions.remove(name, &ticket.lock_id);
        }
        // If the mutex can't be had, a dead ticket is left: whoever comes next clears it away.
        ticket.session.release();
    }

    fn end_session(&self, name: &Name, lock_id: &LockId, session: &dyn SessionFile) {
        self.sessions.remove(name, lock_id);
        session.release();
    }

    fn watch(&self, name: &Name, watch: &Watch, bell: &Arc<dyn SessionFile>) -> bool {
        match watch {
            Watch::Session(id) => self.sessions.watch(name, id, bell),
            Watch::Process(pid) => self.host.watch_process(*pid, bell),
            Watch::Doorbell => true,
            Watch::Poll => false,
        }
    }

    fn is_alive(&self, name: &Name, lock_id: &LockId) -> bool {
        self.lives(name, lock_id)
    }

    fn wake_line(&self, name: &Name, count: usize) {
        self.first_alive(name, count).iter().for_each(|id| self.sessions.ring(name, id));
    }

    fn mark_line(&self, name: &Name, count: usize, mark: u64) {
        self.first_alive(name, count).iter().for_each(|id| self.sessions.mark(name, id, mark));
    }

    fn has_heard(&self, name: &Name, lock_id: &LockId, mark: u64) -> bool {
        self.sessions.has_heard(name, lock_id, mark)
    }

    fn sweep(&self, budget: Duration) -> Vec<Name> {
        self.sweep_within(budget)
    }

    fn is_untidy(&self) -> bool {
        sweeper::seems_due(self.host.as_ref())
    }

    fn tidy(&self, budget: Duration) {
        self.sweep_if_due(budget);
    }

    fn new_id(&self) -> LockId {
        LockId::from_random(self.host.random())
    }

    fn report(&self, event: &Event) {
        self.log(event);
    }

    fn events(&self, query: &Query) -> io::Result<Box<dyn Source>> {
        Ok(Box::new(audit::Files::begin(Arc::clone(&self.host), query)?))
    }

    fn session_path(&self, name: &Name, lock_id: &LockId) -> Option<PathBuf> {
        self.sessions.path(name, lock_id)
    }

    fn now(&self) -> Now {
        self.host.now()
    }
}

impl DirStore {
    /// Whether a waiter lives. Doubt counts as life: somebody who really is gone is passed over in time.
    fn lives(&self, name: &Name, lock_id: &LockId) -> bool {
        match self.sessions.probe(name, lock_id, None) {
            SessionState::Locked => true,
            // Another machine's flock can't be seen from here.
            SessionState::Unlocked => !self.host.is_local(),
            SessionState::Missing => false,
        }
    }
}
