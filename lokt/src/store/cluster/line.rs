//! The line: tickets in the order in which etcd created them. Each is bound to a lease that its waiter keeps alive.

use std::sync::Arc;
use std::time::Duration;

use super::super::etcd::{Compare, Is, Op, Range, Span, Txn};
use super::keeper::{Keeper, TICKET_TTL_S};
use super::snapshot::{InLine, Snapshot, found};
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
    pub(super) fn first_ready<'l>(
        &self,
        name: &Name,
        line: &'l [InLine],
        turn: &Turn<'_>,
    ) -> Option<&'l InLine> {
        let (own, silent) = match turn {
            Turn::Passing => (None, None),
            Turn::Waiting { ticket, silent } => (*ticket, *silent),
        };
        // One who was put out of line stands behind everybody.
        let own = own.and_then(|own| line.iter().position(|place| place.id == own.lock_id));
        for place in &line[..own.unwrap_or(line.len())] {
            if silent != Some(&place.id) && self.is_ready(name, place) {
                return Some(place);
            }
            self.put_out_of_line(name, &place.id);
        }
        None
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
        let kept = own.filter(|own| seen.line.iter().any(|place| place.id == own.lock_id));
        let joined = match kept {
            Some(_) => None,
            None => Some(self.join(made, name, claim, own, now, by)?),
        };
        let (ticket, revision, line) = match joined {
            Some(joined) => (Some(joined.ticket), joined.revision, joined.line),
            None => (None, seen.revision, Vec::new()),
        };
        let line = if ticket.is_some() { &line } else { &seen.line };
        let id = ticket.as_ref().or(kept).map(|own| &own.lock_id);
        let before = line.iter().position(|place| Some(&place.id) == id).unwrap_or_default();
        let before = &line[..before];
        let nearest = before.iter().rposition(|place| {
            let lives = self.probe(name, &place.id) != Some(false);
            if !lives {
                self.put_out_of_line(name, &place.id);
            }
            lives
        });
        let ahead = nearest.map_or(0, |nearest| nearest + 1);
        if let Some(bell) = ticket.as_ref().or(kept).map(|own| own.session.identity()) {
            // The first in line goes by the state that was decided on, which is older than its ticket.
            let revision = if nearest.is_some() { revision } else { seen.revision };
            self.watching.note(bell, revision, nearest.map(|nearest| before[nearest].id.clone()));
        }
        Ok(Place {
            ticket,
            ahead,
            first: before.first().filter(|_| ahead > 0).map(|place| place.id.clone()),
            watch: match nearest {
                Some(nearest) => vec![Watch::Session(before[nearest].id.clone())],
                None => self.watch_holders(name, evidence),
            },
        })
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
            Ok(((number, revision, line), keeper)) => {
                self.kept().insert(lock_id.clone(), keeper);
                Ok(Joined { ticket: Ticket { number, lock_id, session }, revision, line })
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

    /// Its number, and the line with it in it, at which revision.
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
    ) -> Result<(u64, i64, Vec<InLine>), Failure> {
        let key = self.keys.ticket(name, id);
        let event = self.event(audit::WAIT, name, now).id(id).ttl(claim.ttl);
        let look = Op::Range(Range::of(Span::prefix(self.keys.line(name))).oldest_first());
        let txn = Txn {
            when: vec![Compare::create_revision(key.as_str(), Is::Equal, 0)],
            then: vec![
                Op::put_leased(key, value, lease),
                Op::put(self.keys.events(now.wall, id), event.line()),
                look.clone(),
            ],
            // It is there already: the answer to an earlier one was lost.
            or_else: vec![look],
        };
        let done = self.insist(&txn, by)?;
        let kvs = done.answers.into_iter().flat_map(found);
        let line: Vec<InLine> = kvs.filter_map(|kv| Some(self.in_line(&kv)?.1)).collect();
        let number = line.iter().find(|place| place.id == *id).map(|place| place.number);
        Ok((number.ok_or(Failure::Overtaken)?, done.revision, line))
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
    line: Vec<InLine>,
}
