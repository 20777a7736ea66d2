//! How a claim is decided on, and how an admission comes to stand in etcd.

use std::sync::Arc;
use std::time::Duration;

use super::commit::Change;
use super::keys::Part;
use super::line::Ready;
use super::snapshot::{Extent, Left, Snapshot, State};
use super::{BESIDE, EtcdStore, Failure};
use crate::audit;
use crate::host::SessionFile;
use crate::protocol::{
    Authority, Claim, Decision, Displaced, Evidence, Kind, LockId, Manner, Mode, Name, Now, Record, Refusal,
    Request, decide,
};
use crate::store::content::content_of;
use crate::store::{Admission, Answer, Store, Ticket, Turn};

/// More than this is not displaced in one transaction, of which etcd takes 128 parts.
pub(super) const AT_ONCE: usize = 50;

/// The pause before the next look at a line of which all who were looked at are out.
const MOMENT: Duration = Duration::from_millis(5);

/// A claim on its way, and what was made for an admission that has not come about yet.
pub(super) struct Attempt<'a> {
    pub(super) store: &'a EtcdStore,
    pub(super) name: &'a Name,
    pub(super) claim: &'a Claim,
    turn: &'a Turn<'a>,
    /// When it is to be done.
    pub(super) by: Duration,
    lease: Option<i64>,
    pub(super) session: Option<Arc<dyn SessionFile>>,
}

/// The name as it stood, and what that said.
pub(super) struct Sight {
    pub(super) seen: Snapshot,
    pub(super) evidence: Evidence,
    pub(super) now: Now,
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
        let mut attempt = Attempt { store: self, name, claim, turn, by, lease: None, session: None };
        let answer = attempt.run(&Request::Acquire(claim.clone(), manner));
        if !matches!(answer, Ok(Answer::Admitted(_))) {
            attempt.undo();
        }
        answer
    }
}

impl<'a> Attempt<'a> {
    fn run(&mut self, request: &Request) -> Result<Answer, Failure> {
        let store = self.store;
        loop {
            // The new lease counts from here.
            let now = store.local.now();
            if let Some(lease) = self.lease
                && store.client.keep_alive(lease, store.left(self.by))?.is_none()
            {
                self.lease = None;
            }
            let seen = store.snapshot(self.name, Extent::Front(self.own()), self.by)?;
            if let Some(own) = seen.state.own_stored(&self.claim.lock_id).record()
                && own.lock_id == self.claim.lock_id.as_str()
            {
                return self.adopt();
            }
            let evidence = store.evidence(self.name, &seen, &Left::new(), &now);
            let mut sight = Sight { seen, evidence, now };
            match self.decide(request, &mut sight) {
                None if store.left(self.by).is_zero() => return Err(Failure::Overtaken),
                // More of the line must be looked at. Whoever was put out of it still stands there if etcd would not.
                None => store.pause(MOMENT, self.by),
                Some(Decision::Admit { displaced, .. }) if displaced.len() > AT_ONCE => {
                    store.remove(self.name, &Request::Release(Authority::Stale), self.by)?;
                }
                Some(Decision::Admit { record, joint, displaced }) => {
                    match self.admit(record, joint.as_deref(), &displaced, &sight)? {
                        Some(admission) => return Ok(Answer::Admitted(admission)),
                        None if store.left(self.by).is_zero() => return Err(Failure::Overtaken),
                        None => {}
                    }
                }
                Some(Decision::Refuse(refusal)) => return self.refused(refusal, &sight),
                Some(Decision::Renew(_) | Decision::Remove(_)) => return Err(Failure::Overtaken),
            }
        }
    }

    /// The place in line that it has.
    pub(super) fn ticket(&self) -> Option<&'a Ticket> {
        self.turn.ticket()
    }

    /// Whose place that is.
    fn own(&self) -> Option<&'a LockId> {
        self.ticket().map(|ticket| &ticket.lock_id)
    }

    /// Decides, also on what the line makes of it; `None` if more of the line must be looked at.
    fn decide(&self, request: &Request, sight: &mut Sight) -> Option<Decision> {
        let Sight { seen, evidence, now } = sight;
        let decision = decide(self.name.as_str(), request, evidence, now);
        if !matches!(decision, Decision::Admit { .. }) {
            return Some(decision);
        }
        // Only now does it matter who of the line is ready.
        let (first, ahead) = match self.store.first_ready(self.name, seen, self.turn) {
            Ready::First(first, ahead) => (first, ahead),
            Ready::Nobody => return Some(decision),
            Ready::Unseen => return None,
        };
        // It may sleep on one that has just been put out of line.
        self.store.sessions.ring(self.name, &first.id);
        evidence.ahead = ahead;
        evidence.first_wants = first.waiter.as_ref().map_or(Mode::Exclusive, |waiter| waiter.mode);
        Some(decide(self.name.as_str(), request, evidence, now))
    }

    /// The lease of the admission, if it has a TTL.
    fn lease(&mut self) -> Result<Option<i64>, Failure> {
        if let (None, Some(ttl)) = (self.lease, self.claim.ttl) {
            let left = self.store.left(self.by);
            self.lease = Some(self.store.client.grant(whole_seconds(ttl), left)?.id);
        }
        Ok(self.lease)
    }

    /// The file of the session, if it is a guard's: a waiter has it already.
    fn session(&mut self) -> Result<Option<Arc<dyn SessionFile>>, Failure> {
        if self.claim.kind != Kind::Guard {
            return Ok(None);
        }
        if let Some(ticket) = self.ticket() {
            return Ok(Some(Arc::clone(&ticket.session)));
        }
        if self.session.is_none() {
            self.session = Some(self.store.make_session(self.name, &self.claim.lock_id, self.by)?);
        }
        Ok(self.session.clone())
    }

    /// Makes an admission; `None` if the name has changed meanwhile.
    fn admit(
        &mut self,
        mut record: Box<Record>,
        joint: Option<&Record>,
        displaced: &[Displaced],
        sight: &Sight,
    ) -> Result<Option<Admission>, Failure> {
        let (store, name, id) = (self.store, self.name, &self.claim.lock_id);
        let (lease, session) = (self.lease()?, self.session()?);
        record.session_ino = session.as_ref().map(|session| session.inode());
        let mut change = Change::default();
        change.token = record.token;
        self.place(&mut change, &record, joint, displaced, &sight.seen.state)?;
        if let Some(lease) = lease {
            change.put(store.keys.part(name, &Part::Session(id.clone())), "", lease);
        }
        if let Some(own) = self.own() {
            change.delete(store.keys.ticket(name, own));
        }
        for gone in displaced.iter().filter(|gone| gone.is_admission()) {
            change.tell(&store.event(audit::displaced(gone), name, &sight.now).pruned(gone));
        }
        change.tell(&store.event(audit::ACQUIRE, name, &sight.now).record(&record));
        let revision = match store.commit(name, sight.seen.state.gate, change, &sight.now, self.by) {
            Err(Failure::Etcd(error)) if error.is_lease_gone() => None,
            other => other?,
        };
        let Some(revision) = revision else {
            return Ok(None);
        };
        displaced.iter().for_each(|gone| store.sessions.settle(name, gone));
        self.hold(lease, session.as_ref(), &record, revision + 1);
        Ok(Some(Admission { record, session }))
    }

    /// What follows from an admission for this process: no ticket any more, and an ear for what becomes of the record
    /// from a revision on.
    fn hold(&self, lease: Option<i64>, session: Option<&Arc<dyn SessionFile>>, record: &Record, from: i64) {
        let (store, id) = (self.store, &self.claim.lock_id);
        if let Some(keeper) = store.kept().remove(id) {
            keeper.end();
        }
        let Some(session) = session else {
            return;
        };
        if let Some(lease) = lease {
            store.held().insert(id.clone(), lease);
        }
        let key = store.keys.part(self.name, &place_of(record, id));
        store.watching.only(&store.client, session, Some((key, from)));
    }

    /// Puts the record of one who is admitted, alone or beside others, and removes what is displaced; then what nobody
    /// has cleared away, records first, as much of it as there is room for in a transaction. The rest is for whoever
    /// comes next: a session without a record binds nobody.
    fn place(
        &self,
        change: &mut Change,
        record: &Record,
        joint: Option<&Record>,
        displaced: &[Displaced],
        state: &State,
    ) -> Result<(), Failure> {
        let (keys, name, id) = (&self.store.keys, self.name, &self.claim.lock_id);
        // Whoever joins a group leaves the others of it in place.
        let joins = record.joint.is_some() && joint.is_none();
        let goes = |one: &LockId| !joins || displaced.iter().any(|gone| gone.holder.as_ref() == Some(one));
        let is_displaced = |one: &LockId| displaced.iter().any(|gone| gone.id().as_ref() == Some(one));
        let holders = state.holder_ids().map(|one| (one, Part::Holder(one.clone())));
        let sessions = state.sessions.keys().map(|one| (one, Part::Session(one.clone())));
        let mut gone: Vec<_> = holders.chain(sessions).filter(|(one, _)| goes(one) && *one != id).collect();
        gone.sort_by_cached_key(|(one, _)| !is_displaced(one));
        for (_, part) in gone.into_iter().take(2 * AT_ONCE) {
            change.delete(keys.part(name, &part));
        }
        if let Some(joint) = joint {
            change.put(keys.part(name, &Part::Record), content_of(joint)?, 0);
        }
        change.put(keys.part(name, &place_of(record, id)), content_of(record)?, 0);
        Ok(())
    }

    /// An admission of ours stands there already: the answer to an earlier request was lost.
    fn adopt(&mut self) -> Result<Answer, Failure> {
        let (store, id) = (self.store, &self.claim.lock_id);
        let request = Request::Renew(Authority::Session(id.clone()), self.claim.ttl);
        let record = match store.renew(self.name, &request, self.by)? {
            Decision::Renew(record) => record,
            // Without a lease there is nothing to renew.
            Decision::Refuse(Refusal::NoLease(record)) => record,
            _ => return Err(Failure::Overtaken),
        };
        if let Some(own) = self.own() {
            store.revoke_ticket(self.name, own);
        }
        let session = self.session()?;
        if let Some(lease) = self.lease.take() {
            // That of the earlier one is in use.
            let _ = store.client.revoke(lease, BESIDE);
        }
        let lease = store.held().get(id).copied();
        // When it came about is not known: its watch begins now.
        self.hold(lease, session.as_ref(), &record, 0);
        Ok(Answer::Admitted(Admission { record, session }))
    }

    fn refused(&mut self, mut refusal: Refusal, sight: &Sight) -> Result<Answer, Failure> {
        let place = match self.turn {
            Turn::Waiting { .. } if !refusal.is_hopeless() => Some(self.stand_in_line(sight)?),
            _ => None,
        };
        if let (Refusal::Queued { ahead, .. }, Some(place), Some(own)) =
            (&mut refusal, &place, &sight.seen.own)
            && !sight.seen.line.iter().any(|one| one.id == own.id)
        {
            // So far behind, it was not looked at who stands between. The first may have left since.
            *ahead = place.ahead.max(1);
        }
        // A plain try that finds it free but waited for is not refused yet.
        if place.is_none() && !refusal.is_free() {
            let event = self.store.event(audit::DENY, self.name, &sight.now).ttl(self.claim.ttl);
            self.store.report(&event.refusal(&refusal));
        }
        Ok(Answer::Refused(refusal, place))
    }

    /// Takes back what was made for nothing. Should the admission come about all the same, by a request that is still
    /// on its way, it has lapsed.
    fn undo(self) {
        if let Some(lease) = self.lease {
            let _ = self.store.client.revoke(lease, BESIDE);
        }
        if let Some(session) = self.session {
            self.store.sessions.remove(self.name, &self.claim.lock_id);
            session.release();
        }
    }
}

/// Where the record of an admission stands.
pub(super) fn place_of(record: &Record, id: &LockId) -> Part {
    if record.joint.is_some() { Part::Holder(id.clone()) } else { Part::Record }
}

/// etcd counts leases in whole seconds; rounded up, so that none lapses before its holder thinks so.
pub(super) fn whole_seconds(ttl: Duration) -> i64 {
    let seconds = ttl.as_secs().saturating_add(u64::from(ttl.subsec_nanos() > 0));
    // etcd takes no more than this, nine thousand million.
    i64::try_from(seconds).unwrap_or(i64::MAX).clamp(1, 9_000_000_000)
}
