//! The line: tickets in the order in which etcd created them. Each is bound to a lease that its waiter keeps alive.

use std::sync::Arc;
use std::time::Duration;

use super::super::etcd::{Compare, Found, Is, Op, OpAnswer, Range, Span, Txn};
use super::keeper::{Keeper, TICKET_TTL_S};
use super::snapshot::{InLine, Snapshot};
use super::{BESIDE, EtcdStore, Failure, session_file};
use crate::audit;
use crate::host::SessionFile;
use crate::protocol::{Claim, Evidence, Kind, Liveness, LockId, Mode, Name, Now};
use crate::store::{Place, Ticket, Turn, Waiter, Watch};

/// How long a holder looks for others that it could do a favour: its own renewals must not wait for that.
const GLANCE: Duration = Duration::from_millis(100);

impl EtcdStore {
    /// The first waiter before the asker that is ready to go. Whoever is seen to be dead or stopped, or has been
    /// silent for too long, is put out of line on the way.
    pub(super) fn first_ready<'l>(&self, name: &Name, seen: &'l Snapshot, turn: &Turn<'_>) -> Ready<'l> {
        let silent = match turn {
            Turn::Passing => None,
            Turn::Waiting { silent, .. } => *silent,
        };
        // One who was put out of line stands behind everybody.
        let own = seen.own.as_ref().and_then(|own| seen.line.iter().position(|place| place.id == own.id));
        for place in &seen.line[..own.unwrap_or(seen.line.len())] {
            if silent != Some(&place.id) && self.is_ready(name, place) {
                return Ready::First(place);
            }
            self.put_out_of_line(name, &place.id);
        }
        match own {
            None if seen.waiting > seen.line.len() => Ready::Unseen,
            _ => Ready::Nobody,
        }
    }

    fn is_ready(&self, name: &Name, place: &InLine) -> bool {
        match self.probe(name, &place.id) {
            Some(false) => false,
            Some(true) => !place.waiter.as_ref().is_some_and(|waiter| {
                waiter.pid_ns == self.identity.pid_ns && self.local.is_stopped(waiter.pid)
            }),
            // Of another machine: there as long as its lease.
            None => true,
        }
    }

    /// Takes a ticket away; the waiter is told, if it is on this machine.
    fn put_out_of_line(&self, name: &Name, id: &LockId) {
        let key = self.keys.ticket(name, id);
        let txn = Txn { then: vec![Op::Delete(Span::key(key))], ..Txn::default() };
        let _ = self.client.txn(&txn, BESIDE);
        match self.probe(name, id) {
            Some(false) => self.remove_session(name, id),
            _ => self.local.ring_session(&session_file(name, id)),
        }
    }

    /// Takes a place, or finds out about the one that `own` is. A session that was already `made` for an admission that
    /// did not come about goes with it.
    #[expect(clippy::too_many_arguments, reason = "who wants a place, and what is known of the name")]
    pub(super) fn stand_in_line(
        &self,
        made: &mut Option<Arc<dyn SessionFile>>,
        name: &Name,
        claim: &Claim,
        own: Option<&Ticket>,
        evidence: &Evidence,
        seen: &Snapshot,
        now: &Now,
        by: Duration,
    ) -> Result<Place, Failure> {
        let kept = own.filter(|_| seen.own.is_some());
        let joined = match kept {
            Some(_) => None,
            None => Some(self.join(made, name, claim, own, now, by)?),
        };
        let number = joined.as_ref().map(|joined| joined.ticket.number).or(kept.map(|own| own.number));
        let front = kept.and_then(|own| seen.line.iter().position(|place| place.id == own.lock_id));
        let (nearest, ahead, revision) = match (front, &joined) {
            (Some(own), _) => {
                let before = seen.line[..own].iter().map(|place| place.id.clone()).collect();
                let (nearest, ahead) = self.last_alive(name, before);
                (nearest, ahead, seen.revision)
            }
            (None, Some(joined)) if !joined.before.as_ref().is_some_and(|id| self.is_dead(name, id)) => {
                (joined.before.clone(), joined.ahead, joined.revision)
            }
            _ => self.nearest(name, number.unwrap_or_default(), by)?,
        };
        let ticket = joined.map(|joined| joined.ticket);
        if let Some(bell) = ticket.as_ref().or(kept).map(|own| own.session.identity()) {
            // The first in line goes by the state that was decided on, which is older than its ticket.
            let revision = if nearest.is_some() { revision } else { seen.revision };
            self.watching.note(bell, revision, nearest.clone());
        }
        let first = seen.line.iter().find(|place| Some(place.number) < number).map(|place| place.id.clone());
        Ok(Place {
            ticket,
            ahead,
            first: first.or(nearest.clone()).filter(|_| ahead > 0),
            watch: match nearest {
                Some(nearest) => vec![Watch::Session(nearest)],
                None => self.watch_holders(name, evidence),
            },
        })
    }

    /// The last of those before a place who is not seen to be dead, how many there are up to that one, and when.
    fn nearest(
        &self,
        name: &Name,
        number: u64,
        by: Duration,
    ) -> Result<(Option<LockId>, usize, i64), Failure> {
        let line = Range::of(Span::prefix(self.keys.line(name))).keys_only().oldest_first();
        let before = line.created_before(number.cast_signed());
        let found = self.client.range(&before, self.left(by))?;
        let ids = found.kvs.iter().filter_map(|kv| Some(self.keys.read_ticket(&kv.key)?.1)).collect();
        let (nearest, ahead) = self.last_alive(name, ids);
        Ok((nearest, ahead, found.revision))
    }

    /// The last of these who is not seen to be dead, and how many there are up to that one.
    fn last_alive(&self, name: &Name, mut ids: Vec<LockId>) -> (Option<LockId>, usize) {
        while let Some(dead) = ids.pop_if(|id| self.is_dead(name, id)) {
            self.put_out_of_line(name, &dead);
        }
        let ahead = ids.len();
        (ids.pop(), ahead)
    }

    fn is_dead(&self, name: &Name, id: &LockId) -> bool {
        self.probe(name, id) == Some(false)
    }

    /// Takes a new place, for a newcomer or for one that lost its own, whose session lives on.
    fn join(
        &self,
        made: &mut Option<Arc<dyn SessionFile>>,
        name: &Name,
        claim: &Claim,
        own: Option<&Ticket>,
        now: &Now,
        by: Duration,
    ) -> Result<Joined, Failure> {
        let lock_id = own.map_or(&claim.lock_id, |own| &own.lock_id).clone();
        let waiter = Waiter {
            lock_id: lock_id.as_str().to_owned(),
            owner: claim.owner.clone(),
            host: self.identity.host.clone(),
            pid: self.identity.pid,
            pid_ns: self.identity.pid_ns,
            agent_id: claim.agent_id.clone(),
            since_ts: now.wall.to_string(),
            note: claim.note.clone(),
            mode: claim.mode,
        };
        let value = serde_json::to_vec(&waiter).map_err(std::io::Error::from)?;
        let lease = self.client.grant(TICKET_TTL_S, self.left(by))?.id;
        let session = match (own, made.take()) {
            (Some(own), _) => Arc::clone(&own.session),
            (None, Some(made)) => made,
            (None, None) => self.make_session(name, &lock_id, by)?,
        };
        let joined = self.put_ticket(name, &lock_id, value, lease, claim, now, by);
        let kept = joined.and_then(|joined| {
            let keeper = Keeper::start(self.local.as_ref(), self.client.clone(), lease, &session)?;
            Ok((joined, keeper))
        });
        match kept {
            Ok((put, keeper)) => {
                self.kept().insert(lock_id.clone(), keeper);
                let ticket = Ticket { number: put.number, lock_id, session };
                Ok(Joined { ticket, revision: put.revision, before: put.before, ahead: put.ahead })
            }
            Err(failure) => {
                let _ = self.client.revoke(lease, BESIDE);
                if own.is_none() {
                    self.remove_session(name, &lock_id);
                    session.release();
                }
                Err(failure)
            }
        }
    }

    /// Puts a ticket: it is the last in line then.
    #[expect(clippy::too_many_arguments, reason = "all that a ticket is made of")]
    fn put_ticket(
        &self,
        name: &Name,
        id: &LockId,
        value: Vec<u8>,
        lease: i64,
        claim: &Claim,
        now: &Now,
        by: Duration,
    ) -> Result<Put, Failure> {
        let key = self.keys.ticket(name, id);
        let event = self.event(audit::WAIT, name, now).id(id).ttl(claim.ttl);
        let newest = Range::of(Span::prefix(self.keys.line(name))).keys_only().oldest_first().backwards();
        let look = Op::Range(newest.at_most(2));
        let txn = Txn {
            when: vec![Compare::create_revision(key.as_str(), Is::Equal, 0)],
            then: vec![
                Op::put_leased(key.as_str(), value, lease),
                Op::put(self.keys.events(now.wall, id), event.line()),
                look.clone(),
            ],
            // It is there already: the answer to an earlier one was lost, and others may have come since.
            or_else: vec![look, Op::Range(Range::of(Span::key(key)).keys_only())],
        };
        let done = self.insist(&txn, by)?;
        let ranges: Vec<Found> = done.answers.into_iter().filter_map(ranged).collect();
        let places = ranges.iter().flat_map(|found| &found.kvs).filter_map(|kv| Some(self.in_line(kv)?.1));
        let places: Vec<InLine> = places.collect();
        let number = places.iter().find(|place| place.id == *id).map(|place| place.number);
        let number = number.ok_or(Failure::Overtaken)?;
        let is_last = places.first().is_some_and(|last| last.id == *id);
        let count = ranges.first().map_or(0, |found| usize::try_from(found.count).unwrap_or_default());
        let before = places.iter().find(|place| place.number < number).map(|place| place.id.clone());
        if is_last {
            return Ok(Put { number, revision: done.revision, ahead: count.saturating_sub(1), before });
        }
        let (before, ahead, revision) = self.nearest(name, number, by)?;
        Ok(Put { number, revision, ahead, before })
    }

    /// What the first in line sleeps on, beside the name's state: on this machine, whoever's end makes room for it.
    fn watch_holders(&self, name: &Name, evidence: &Evidence) -> Vec<Watch> {
        let holders: Vec<&Evidence> = match evidence.mode() {
            Mode::Exclusive => vec![evidence],
            _ => evidence.holders.iter().map(|holder| &holder.evidence).collect(),
        };
        let local = holders.into_iter().filter(|holder| holder.liveness == Liveness::Alive);
        let local = local.filter_map(|holder| {
            let record = holder.record()?;
            match record.kind {
                Some(Kind::Guard) => {
                    record.id().filter(|id| self.probe(name, id).is_some()).map(Watch::Session)
                }
                Some(Kind::Manual) => Some(Watch::Process(record.pid)),
                _ => None,
            }
        });
        std::iter::once(Watch::Doorbell).chain(local).collect()
    }

    /// Those of a line who are not seen to be dead.
    pub(super) fn living(&self, name: &Name, line: Vec<InLine>) -> Vec<Waiter> {
        let living = line.into_iter().filter(|place| self.probe(name, &place.id) != Some(false));
        living.filter_map(|place| place.waiter).collect()
    }

    /// Gives a place up.
    pub(super) fn leave_line(&self, name: &Name, ticket: &Ticket) {
        self.watching.end(ticket.session.identity());
        self.revoke_ticket(name, &ticket.lock_id);
        self.remove_session(name, &ticket.lock_id);
        ticket.session.release();
    }

    /// Removes a ticket; if etcd can't be reached, it goes with its lease.
    pub(super) fn revoke_ticket(&self, name: &Name, id: &LockId) {
        let keeper = self.kept().remove(id);
        let txn = Txn { then: vec![Op::Delete(Span::key(self.keys.ticket(name, id)))], ..Txn::default() };
        let _ = self.client.txn(&txn, BESIDE);
        drop(keeper);
    }

    /// Rings those of the first `count` in line who are on this machine; the others watch etcd themselves.
    pub(super) fn ring_line(&self, name: &Name, count: usize) {
        let range = Range::of(Span::prefix(self.keys.line(name))).keys_only().oldest_first();
        let range = range.at_most(i64::try_from(count).unwrap_or(i64::MAX));
        let Ok(line) = self.client.range(&range, GLANCE) else {
            return;
        };
        for (_, id) in line.kvs.iter().filter_map(|kv| self.keys.read_ticket(&kv.key)) {
            if self.probe(name, &id) == Some(true) {
                self.local.ring_session(&session_file(name, &id));
            }
        }
    }
}

/// A place that was just taken.
struct Joined {
    ticket: Ticket,
    revision: i64,
    /// Who is before it.
    before: Option<LockId>,
    /// How many are.
    ahead: usize,
}

/// A ticket that was just put.
struct Put {
    number: u64,
    revision: i64,
    before: Option<LockId>,
    ahead: usize,
}

/// Who is to be let go first.
pub(super) enum Ready<'l> {
    /// This waiter.
    First(&'l InLine),
    /// Nobody.
    Nobody,
    /// All who were looked at are out of line, and there are more.
    Unseen,
}

fn ranged(answer: OpAnswer) -> Option<Found> {
    match answer {
        OpAnswer::Range(found) => Some(found),
        OpAnswer::Put | OpAnswer::Deleted(_) => None,
    }
}
