//! The line: tickets in the order in which etcd created them. Each is bound to a lease that its waiter keeps alive.

use std::sync::Arc;
use std::time::Duration;

use super::super::etcd::{Compare, Found, Is, Op, OpAnswer, Range, Span, Txn};
use super::acquire::{Attempt, Sight};
use super::keeper::{Keeper, TICKET_TTL_S};
use super::snapshot::{InLine, Snapshot};
use super::{BESIDE, EtcdStore, Failure};
use crate::audit;
use crate::protocol::{Evidence, Kind, Liveness, LockId, Mode, Name, Now};
use crate::store::{Place, Ticket, Turn, Waiter, Watch};

/// How long a holder looks for others that it could do a favour: its own renewals must not wait for that.
const GLANCE: Duration = Duration::from_millis(100);

impl EtcdStore {
    /// The first waiter before the asker that is ready to go. Whoever is seen to be dead or stopped, or has been
    /// silent for too long, is put out of line on the way.
    pub(super) fn first_ready<'l>(&self, name: &Name, seen: &'l Snapshot, turn: &Turn<'_>) -> Ready<'l> {
        // One who was put out of line stands behind everybody.
        let own = seen.own.as_ref().and_then(|own| seen.line.iter().position(|place| place.id == own.id));
        for (at, place) in seen.line[..own.unwrap_or(seen.line.len())].iter().enumerate() {
            let has_heard = |mark| self.sessions.has_heard(name, &place.id, mark);
            if !turn.passes_over(&place.id, has_heard) && self.is_ready(name, place) {
                return Ready::First(place, own.unwrap_or(seen.waiting) - at);
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
            Some(false) => self.sessions.remove(name, id),
            _ => self.sessions.ring(name, id),
        }
    }

    /// Who is before a place.
    fn before(&self, name: &Name, number: u64, by: Duration) -> Result<Before, Failure> {
        let line = Range::of(Span::prefix(self.keys.line(name))).keys_only().oldest_first();
        let before = line.created_before(number.cast_signed());
        let found = self.client.range(&before, self.left(by))?;
        let ids = found.kvs.iter().filter_map(|kv| Some(self.keys.read_ticket(&kv.key)?.1)).collect();
        Ok(self.last_alive(name, ids, found.revision))
    }

    /// The last of these who is not seen to be dead; whoever is after that one is put out of line.
    fn last_alive(&self, name: &Name, mut ids: Vec<LockId>, revision: i64) -> Before {
        while let Some(dead) = ids.pop_if(|id| self.is_dead(name, id)) {
            self.put_out_of_line(name, &dead);
        }
        let ahead = ids.len();
        Before { nearest: ids.pop(), ahead, revision }
    }

    fn is_dead(&self, name: &Name, id: &LockId) -> bool {
        self.probe(name, id) == Some(false)
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
        self.watching.end(ticket.session.inode());
        self.revoke_ticket(name, &ticket.lock_id);
        self.sessions.remove(name, &ticket.lock_id);
        ticket.session.release();
    }

    /// Removes a ticket; if etcd can't be reached, it goes with its lease.
    pub(super) fn revoke_ticket(&self, name: &Name, id: &LockId) {
        let keeper = self.kept().remove(id);
        let txn = Txn { then: vec![Op::Delete(Span::key(self.keys.ticket(name, id)))], ..Txn::default() };
        let _ = self.client.txn(&txn, BESIDE);
        drop(keeper);
    }

    /// Those of the first `count` in line who are on this machine; the others watch etcd themselves.
    pub(super) fn first_here(&self, name: &Name, count: usize) -> Vec<LockId> {
        let range = Range::of(Span::prefix(self.keys.line(name))).keys_only().oldest_first();
        let range = range.at_most(i64::try_from(count).unwrap_or(i64::MAX));
        let line = self.client.range(&range, GLANCE).map(|found| found.kvs).unwrap_or_default();
        let ids = line.iter().filter_map(|kv| Some(self.keys.read_ticket(&kv.key)?.1));
        ids.filter(|id| self.probe(name, id) == Some(true)).collect()
    }
}

impl Attempt<'_> {
    /// Takes a place, or finds out about the one that it has. A session that was already made for an admission that did
    /// not come about goes with it.
    pub(super) fn stand_in_line(&mut self, sight: &Sight) -> Result<Place, Failure> {
        let (store, name, seen) = (self.store, self.name, &sight.seen);
        let kept = self.ticket().filter(|_| seen.own.is_some());
        let joined = match kept {
            Some(_) => None,
            None => Some(self.join(&sight.now)?),
        };
        let number = joined.as_ref().map(|joined| joined.ticket.number).or(kept.map(|own| own.number));
        let front = kept.and_then(|own| seen.line.iter().position(|place| place.id == own.lock_id));
        let before = match (front, &joined) {
            (Some(own), _) => {
                let before = seen.line[..own].iter().map(|place| place.id.clone()).collect();
                store.last_alive(name, before, seen.revision)
            }
            (None, Some(Joined { before, .. }))
                if seen.foreign == 0
                    && !before.nearest.as_ref().is_some_and(|id| store.is_dead(name, id)) =>
            {
                before.clone()
            }
            _ => store.before(name, number.unwrap_or_default(), self.by)?,
        };
        let ticket = joined.map(|joined| joined.ticket);
        let Before { nearest, ahead, revision } = before;
        if let Some(bell) = ticket.as_ref().or(kept).map(|own| own.session.inode()) {
            // The first in line goes by the state that was decided on, which is older than its ticket.
            let revision = if nearest.is_some() { revision } else { seen.revision };
            store.watching.note(bell, revision, nearest.clone());
        }
        let first = seen.line.iter().find(|place| Some(place.number) < number).map(|place| place.id.clone());
        Ok(Place {
            ticket,
            ahead,
            first: first.or(nearest.clone()).filter(|_| ahead > 0),
            watch: match nearest {
                Some(nearest) => vec![Watch::Session(nearest)],
                None => store.watch_holders(name, &sight.evidence),
            },
        })
    }

    /// Takes a new place, for a newcomer or for one that lost its own, whose session lives on.
    fn join(&mut self, now: &Now) -> Result<Joined, Failure> {
        let (store, name, own) = (self.store, self.name, self.ticket());
        let lock_id = own.map_or(&self.claim.lock_id, |own| &own.lock_id).clone();
        let waiter = Waiter::of(self.claim, &lock_id, &store.identity, now);
        let value = serde_json::to_vec(&waiter).map_err(std::io::Error::from)?;
        let lease = store.client.grant(TICKET_TTL_S, store.left(self.by))?.id;
        let session = match (own, self.session.take()) {
            (Some(own), _) => Arc::clone(&own.session),
            (None, Some(made)) => made,
            (None, None) => store.make_session(name, &lock_id, self.by)?,
        };
        let put = self.put_ticket(&lock_id, value, lease, now);
        let kept = put.and_then(|put| {
            let keeper = Keeper::start(store.local.as_ref(), store.client.clone(), lease, &session)?;
            Ok((put, keeper))
        });
        match kept {
            Ok(((number, before), keeper)) => {
                store.kept().insert(lock_id.clone(), keeper);
                Ok(Joined { ticket: Ticket { number, lock_id, session }, before })
            }
            Err(failure) => {
                let _ = store.client.revoke(lease, BESIDE);
                if own.is_none() {
                    store.sessions.remove(name, &lock_id);
                    session.release();
                }
                Err(failure)
            }
        }
    }

    /// Puts a ticket, which is the last in line then: its number, and who is before it.
    fn put_ticket(
        &self,
        id: &LockId,
        value: Vec<u8>,
        lease: i64,
        now: &Now,
    ) -> Result<(u64, Before), Failure> {
        let (store, name) = (self.store, self.name);
        let key = store.keys.ticket(name, id);
        let event = store.event(audit::WAIT, name, now).id(id).ttl(self.claim.ttl);
        let newest = Range::of(Span::prefix(store.keys.line(name))).keys_only().oldest_first().backwards();
        let look = Op::Range(newest.at_most(2));
        let txn = Txn {
            when: vec![Compare::create_revision(key.as_str(), Is::Equal, 0)],
            then: vec![
                Op::put_leased(key.as_str(), value, lease),
                Op::put(store.keys.events(now.wall, id), event.line()),
                look.clone(),
            ],
            // It is there already: the answer to an earlier one was lost, and others may have come since.
            or_else: vec![look, Op::Range(Range::of(Span::key(key)).keys_only())],
        };
        let done = store.insist(&txn, self.by)?;
        let ranges: Vec<Found> = done.answers.into_iter().filter_map(ranged).collect();
        let places = ranges.iter().flat_map(|found| &found.kvs).filter_map(|kv| Some(store.in_line(kv)?.1));
        let places: Vec<InLine> = places.collect();
        let number = places.iter().find(|place| place.id == *id).map(|place| place.number);
        let number = number.ok_or(Failure::Overtaken)?;
        let is_last = places.first().is_some_and(|last| last.id == *id);
        if !is_last {
            return Ok((number, store.before(name, number, self.by)?));
        }
        let count = ranges.first().map_or(0, |found| usize::try_from(found.count).unwrap_or_default());
        let nearest = places.into_iter().find(|place| place.number < number).map(|place| place.id);
        if nearest.is_none() && count > 1 {
            // A foreign key was put last before it: whoever stands in line is further ahead.
            return Ok((number, store.before(name, number, self.by)?));
        }
        Ok((number, Before { nearest, ahead: count.saturating_sub(1), revision: done.revision }))
    }
}

/// A place that was just taken.
struct Joined {
    ticket: Ticket,
    before: Before,
}

/// What is before a place.
#[derive(Clone)]
struct Before {
    /// The last of those who are not seen to be dead.
    nearest: Option<LockId>,
    /// How many there are up to that one.
    ahead: usize,
    /// At which revision.
    revision: i64,
}

/// Who is to be let go first.
pub(super) enum Ready<'l> {
    /// This waiter; how many stand before the asker, from this one on, and beyond the front of the line all of them.
    First(&'l InLine, usize),
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
