//! Renewals: of the lease in etcd, which costs no write. The record is written anew only when its TTL changes, or when
//! the lease had lapsed and nobody has taken the lock.

use std::time::Duration;

use super::acquire::{place_of, whole_seconds};
use super::commit::Change;
use super::keys::Part;
use super::snapshot::{Extent, Left, Snapshot};
use super::{BESIDE, EtcdStore, Failure};
use crate::audit;
use crate::protocol::{Authority, Decision, Name, Now, Record, Request, decide};
use crate::store::Store;
use crate::store::content::content_of;

impl EtcdStore {
    /// Decides on a renewal and carries it out. The new lease counts from before anything was asked of etcd.
    pub(super) fn renew(&self, name: &Name, request: &Request, by: Duration) -> Result<Decision, Failure> {
        let own = match request {
            Request::Renew(Authority::Session(id), _) => Some(id),
            _ => None,
        };
        // First the lease, then the look: what is seen to be its own after that, is.
        let mut now = self.local.now();
        let mut alive = None;
        if let Some(lease) = own.and_then(|id| self.held().get(id).copied()) {
            alive = self.client.keep_alive(lease, self.left(by))?.map(|_| lease);
        }
        loop {
            let seen = self.snapshot(name, Extent::Unseen, by)?;
            let evidence = self.evidence(name, &seen, &Left::new(), &now);
            let record = match decide(name.as_str(), request, &evidence, &now) {
                Decision::Renew(record) => record,
                other => return Ok(other),
            };
            let Some(id) = record.id() else {
                return Err(Failure::Overtaken);
            };
            let lease = seen.state.sessions.get(&id).copied();
            let before = seen.state.own_stored(&id);
            let is_as_long = before.record().and_then(Record::ttl) == record.ttl();
            if lease.is_some() && alive == lease && is_as_long {
                if own.is_none() {
                    self.tell_renewal(name, &record, &now);
                }
                return Ok(Decision::Renew(record));
            }
            now = self.local.now();
            if let (Some(lease), true) = (lease, is_as_long) {
                alive = self.client.keep_alive(lease, self.left(by))?.map(|_| lease);
                if alive.is_some() {
                    if own.is_some() {
                        self.held().insert(id, lease);
                    }
                    continue;
                }
            }
            if let Some(renewed) = self.write_renewal(name, *record, own.is_some(), &seen, &now, by)? {
                if let Some(old) = lease {
                    // No key goes with it any more.
                    let _ = self.client.revoke(old, BESIDE.min(self.left(by)));
                }
                return Ok(Decision::Renew(Box::new(renewed)));
            }
            if self.left(by).is_zero() {
                return Err(Failure::Overtaken);
            }
            now = self.local.now();
            alive = None;
        }
    }

    /// Gives a record a new lease; `None` if the name has changed meanwhile.
    fn write_renewal(
        &self,
        name: &Name,
        mut record: Record,
        is_own: bool,
        seen: &Snapshot,
        now: &Now,
        by: Duration,
    ) -> Result<Option<Record>, Failure> {
        let ttl = record.ttl();
        let id = record.id().ok_or(Failure::Overtaken)?;
        record.start_lease(ttl, now);
        let lease = self.client.grant(whole_seconds(ttl.unwrap_or_default()), self.left(by))?.id;
        let mut change = Change::default();
        change.put(self.keys.part(name, &place_of(&record, &id)), content_of(&record)?, 0);
        change.put(self.keys.part(name, &Part::Session(id.clone())), "", lease);
        change.tell(&self.event(audit::RENEW, name, now).record(&record));
        match self.commit(name, seen.state.gate, change, now, by) {
            Ok(Some(_)) => {
                if is_own {
                    self.held().insert(id, lease);
                }
                Ok(Some(record))
            }
            other => {
                // Also if it is not known whether it was made: then the lease has lapsed, and is renewed once more.
                let _ = self.client.revoke(lease, BESIDE);
                other.map(|_| None)
            }
        }
    }

    fn tell_renewal(&self, name: &Name, record: &Record, now: &Now) {
        self.report(&self.event(audit::RENEW, name, now).record(record));
    }
}
