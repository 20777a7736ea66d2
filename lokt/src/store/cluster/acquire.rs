//! How a claim is decided on, and how an admission comes to stand in etcd.

use std::sync::Arc;
use std::time::Duration;

use super::commit::Change;
use super::keys::Part;
use super::line::Ready;
use super::snapshot::{Left, Line, Snapshot};
use super::{BESIDE, EtcdStore, Failure, session_file};
use crate::audit;
use crate::host::SessionFile;
use crate::protocol::{
    Abandoned, Authority, Claim, Decision, Displaced, Evidence, Kind, LockId, Manner, Mode, Name, Now,
    Record, Refusal, Request, Slot, Standing, decide,
};
use crate::store::{Admission, Answer, Ticket, Turn};

/// More than this is not displaced in one transaction, of which etcd takes 128 parts.
pub(super) const AT_ONCE: usize = 50;

/// What was made for an admission that has not come about yet.
#[derive(Default)]
struct Made {
    lease: Option<i64>,
    session: Option<Arc<dyn SessionFile>>,
}

impl EtcdStore {
    pub(super) fn try_acquire(
        &self,
        name: &Name,
        claim: &Claim,
        manner: Manner,
        turn: &Turn<'_>,
        by: Duration,
    ) -> Result<Answer, Failure> {
        let mut made = Made::default();
        let answer = self.acquire_with(&mut made, name, claim, manner, turn, by);
        if !matches!(answer, Ok(Answer::Admitted(_))) {
            // Should the admission come about all the same, by a request that is still on its way, it has lapsed.
            if let Some(lease) = made.lease {
                let _ = self.client.revoke(lease, BESIDE);
            }
            if let Some(session) = made.session {
                self.remove_session(name, &claim.lock_id);
                session.release();
            }
        }
        answer
    }

    fn acquire_with(
        &self,
        made: &mut Made,
        name: &Name,
        claim: &Claim,
        manner: Manner,
        turn: &Turn<'_>,
        by: Duration,
    ) -> Result<Answer, Failure> {
        let request = Request::Acquire(claim.clone(), manner);
        let ticket = match turn {
            Turn::Waiting { ticket, .. } => *ticket,
            Turn::Passing => None,
        };
        loop {
            // The new lease counts from here.
            let now = self.local.now();
            if let Some(lease) = made.lease
                && self.client.keep_alive(lease, self.left(by))?.is_none()
            {
                made.lease = None;
            }
            let own = ticket.map(|ticket| &ticket.lock_id);
            let seen = self.snapshot(name, Line::Front(own), by)?;
            if let Slot::Record(own) = seen.state.own_slot(&claim.lock_id)
                && own.lock_id == claim.lock_id.as_str()
            {
                return self.adopt(made, name, claim, ticket, by);
            }
            let mut evidence = self.evidence(name, &seen, &Left::new(), &now);
            let Some(decision) = self.decide_claim(name, &request, &mut evidence, turn, &seen, &now) else {
                continue;
            };
            match decision {
                Decision::Admit { record, joint, displaced } => {
                    if displaced.len() > AT_ONCE {
                        self.remove(name, &Request::Release(Authority::Stale), by)?;
                        continue;
                    }
                    self.prepare(made, name, claim, ticket, by)?;
                    let admit = Admit { record, joint, displaced, ticket };
                    if let Some(admission) = self.admit(made, name, admit, &seen, &now, by)? {
                        return Ok(Answer::Admitted(admission));
                    }
                }
                Decision::Refuse(refusal) => {
                    let made = &mut made.session;
                    return self.refused(made, name, claim, &evidence, refusal, turn, &seen, &now, by);
                }
                Decision::Renew(_) | Decision::Remove(_) => return Err(Failure::Overtaken),
            }
            if self.left(by).is_zero() {
                return Err(Failure::Overtaken);
            }
        }
    }

    /// Decides on a claim, and on what the line makes of it; `None` if more of the line must be looked at.
    fn decide_claim(
        &self,
        name: &Name,
        request: &Request,
        evidence: &mut Evidence,
        turn: &Turn<'_>,
        seen: &Snapshot,
        now: &Now,
    ) -> Option<Decision> {
        let decision = decide(name.as_str(), request, evidence, now);
        if !matches!(decision, Decision::Admit { .. }) {
            return Some(decision);
        }
        // Only now does it matter who of the line is ready.
        let first = match self.first_ready(name, seen, turn) {
            Ready::First(first) => first,
            Ready::Nobody => return Some(decision),
            Ready::Unseen => return None,
        };
        // It may sleep on one that has just been put out of line.
        self.local.ring_session(&session_file(name, &first.id));
        evidence.ahead = 1;
        evidence.first_wants = first.waiter.as_ref().map_or(Mode::Exclusive, |waiter| waiter.mode);
        Some(decide(name.as_str(), request, evidence, now))
    }

    /// Makes what an admission needs: its lease, and its file on this machine.
    fn prepare(
        &self,
        made: &mut Made,
        name: &Name,
        claim: &Claim,
        ticket: Option<&Ticket>,
        by: Duration,
    ) -> Result<(), Failure> {
        if let (None, Some(ttl)) = (made.lease, claim.ttl) {
            made.lease = Some(self.client.grant(whole_seconds(ttl), self.left(by))?.id);
        }
        if claim.kind == Kind::Guard && ticket.is_none() && made.session.is_none() {
            made.session = Some(self.make_session(name, &claim.lock_id, by)?);
        }
        Ok(())
    }

    /// Makes an admission; `None` if the name has changed meanwhile.
    fn admit(
        &self,
        made: &Made,
        name: &Name,
        admit: Admit<'_>,
        seen: &Snapshot,
        now: &Now,
        by: Duration,
    ) -> Result<Option<Admission>, Failure> {
        let Admit { mut record, joint, displaced, ticket } = admit;
        let Some(id) = record.id() else {
            return Err(Failure::Overtaken);
        };
        let is_guard = record.kind == Some(Kind::Guard);
        let session = made.session.clone().or(ticket.map(|ticket| Arc::clone(&ticket.session)));
        let session = session.filter(|_| is_guard);
        record.session_ino = session.as_ref().map(|session| session.identity());
        let mut change = Change::default();
        self.place(&mut change, name, &record, joint.as_deref(), &displaced, seen)?;
        if let Some(lease) = made.lease {
            change.put(self.keys.part(name, &Part::Session(id.clone())), "", lease);
        }
        if let Some(ticket) = ticket {
            change.delete(self.keys.ticket(name, &ticket.lock_id));
        }
        for gone in displaced.iter().filter(|gone| is_told(gone)) {
            change.tell(&self.event(audit::displaced(gone), name, now).pruned(gone));
        }
        change.tell(&self.event(audit::ACQUIRE, name, now).record(&record));
        let revision = match self.commit(name, seen.state.gate, change, now, by) {
            Err(Failure::Etcd(error)) if error.is_lease_gone() => None,
            other => other?,
        };
        let Some(revision) = revision else {
            return Ok(None);
        };
        self.settle(name, &displaced);
        self.settled_in(name, &id, made.lease.filter(|_| is_guard), session.as_ref(), revision, &record);
        Ok(Some(Admission::of(record, session)))
    }

    /// What follows from an admission for this process: no ticket any more, and an ear for its removal.
    fn settled_in(
        &self,
        name: &Name,
        id: &LockId,
        lease: Option<i64>,
        session: Option<&Arc<dyn SessionFile>>,
        revision: i64,
        record: &Record,
    ) {
        if let Some(keeper) = self.kept().remove(id) {
            keeper.end();
        }
        if let Some(lease) = lease {
            self.held().insert(id.clone(), lease);
        }
        if let Some(session) = session {
            let key = self.keys.part(name, &self.place_of(record, id));
            self.watching.only(&self.client, session, Some((key, revision + 1)));
        }
    }

    pub(super) fn place_of(&self, record: &Record, id: &LockId) -> Part {
        if record.joint.is_some() { Part::Holder(id.clone()) } else { Part::Record }
    }

    /// Puts the record of one who is admitted, alone or beside others, and removes what is displaced.
    fn place(
        &self,
        change: &mut Change,
        name: &Name,
        record: &Record,
        joint: Option<&Record>,
        displaced: &[Displaced],
        seen: &Snapshot,
    ) -> Result<(), Failure> {
        let id = record.id().ok_or(Failure::Overtaken)?;
        let group = record.joint.is_some();
        // Whoever joins a group leaves the others of it in place.
        let joins = group && joint.is_none();
        let goes = |one: &LockId| !joins || displaced.iter().any(|gone| gone.holder.as_ref() == Some(one));
        for one in seen.state.holder_ids().filter(|one| goes(one) && **one != id) {
            change.delete(self.keys.part(name, &Part::Holder(one.clone())));
        }
        for one in seen.state.sessions.keys().filter(|one| goes(one) && **one != id) {
            change.delete(self.keys.part(name, &Part::Session(one.clone())));
        }
        if let Some(joint) = joint {
            change.put(self.keys.part(name, &Part::Record), content(joint)?, 0);
        }
        change.put(self.keys.part(name, &self.place_of(record, &id)), content(record)?, 0);
        Ok(())
    }

    /// An admission of ours stands there already: the answer to an earlier request was lost.
    fn adopt(
        &self,
        made: &mut Made,
        name: &Name,
        claim: &Claim,
        ticket: Option<&Ticket>,
        by: Duration,
    ) -> Result<Answer, Failure> {
        let request = Request::Renew(Authority::Session(claim.lock_id.clone()), claim.ttl);
        let record = match self.renew(name, &request, by)? {
            Decision::Renew(record) => record,
            // Without a lease there is nothing to renew.
            Decision::Refuse(Refusal::NoLease(record)) => record,
            _ => return Err(Failure::Overtaken),
        };
        if let Some(ticket) = ticket {
            self.revoke_ticket(name, &ticket.lock_id);
        }
        if claim.kind == Kind::Guard && ticket.is_none() && made.session.is_none() {
            made.session = Some(self.make_session(name, &claim.lock_id, by)?);
        }
        let session = made.session.clone().or(ticket.map(|ticket| Arc::clone(&ticket.session)));
        let session = session.filter(|_| claim.kind == Kind::Guard);
        if let Some(lease) = made.lease.take() {
            // That of the earlier one is in use.
            let _ = self.client.revoke(lease, BESIDE);
        }
        let lease = self.held().get(&claim.lock_id).copied();
        let lease = lease.filter(|_| claim.kind == Kind::Guard);
        self.settled_in(name, &claim.lock_id, lease, session.as_ref(), -1, &record);
        Ok(Answer::Admitted(Admission::of(record, session)))
    }

    #[expect(clippy::too_many_arguments, reason = "what was decided on, and what is known of it")]
    fn refused(
        &self,
        made: &mut Option<Arc<dyn SessionFile>>,
        name: &Name,
        claim: &Claim,
        evidence: &Evidence,
        refusal: Refusal,
        turn: &Turn<'_>,
        seen: &Snapshot,
        now: &Now,
        by: Duration,
    ) -> Result<Answer, Failure> {
        let hopeless = matches!(refusal, Refusal::Unusable(_) | Refusal::OtherMode { .. });
        let place = match turn {
            Turn::Waiting { ticket, .. } if !hopeless => {
                Some(self.stand_in_line(made, name, claim, *ticket, evidence, seen, now, by)?)
            }
            _ => None,
        };
        // A plain try that finds it free but waited for is not refused yet.
        if place.is_none() && !matches!(refusal, Refusal::Queued { free: true, .. }) {
            let event = self.event(audit::DENY, name, now).ttl(claim.ttl).refusal(&refusal);
            crate::store::Store::report(self, &event);
        }
        Ok(Answer::Refused(refusal, place))
    }

    /// What becomes of the sessions on this machine whose records were removed or replaced.
    pub(super) fn settle(&self, name: &Name, displaced: &[Displaced]) {
        for gone in displaced {
            let recorded = gone.record.as_ref().and_then(|record| record.id());
            let Some(id) = gone.holder.clone().or(recorded) else {
                continue;
            };
            if let Standing::Abandoned(Abandoned::HolderDead | Abandoned::Corrupt) = gone.standing {
                self.remove_session(name, &id);
            } else if !matches!(gone.authority, Some(Authority::Session(_))) {
                self.local.ring_session(&session_file(name, &id));
            }
        }
    }
}

/// An admission that was decided on.
struct Admit<'a> {
    record: Box<Record>,
    joint: Option<Box<Record>>,
    displaced: Vec<Displaced>,
    ticket: Option<&'a Ticket>,
}

/// That several hold a name is no admission of anybody's.
pub(super) fn is_told(gone: &Displaced) -> bool {
    gone.record.as_ref().is_none_or(|record| record.kind != Some(Kind::Joint))
}

/// etcd counts leases in whole seconds; rounded up, so that none lapses before its holder thinks so.
pub(super) fn whole_seconds(ttl: Duration) -> i64 {
    let seconds = ttl.as_secs().saturating_add(u64::from(ttl.subsec_nanos() > 0));
    // etcd takes no more than this, nine thousand million.
    i64::try_from(seconds).unwrap_or(i64::MAX).clamp(1, 9_000_000_000)
}

/// A record as it is written.
pub(super) fn content(record: &Record) -> std::io::Result<Vec<u8>> {
    crate::store::dir::record_content(record)
}
