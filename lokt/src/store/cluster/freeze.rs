//! Freezes: a record of its own beside the holder's, timed by a lease like that one.

use std::time::Duration;

use super::acquire::whole_seconds;
use super::commit::Change;
use super::keys::Part;
use super::snapshot::{Extent, Left, Snapshot};
use super::{BESIDE, EtcdStore, Failure};
use crate::audit;
use crate::protocol::{FreezeDecision, FreezeRequest, LiftBy, Name, Now, Record, decide_freeze};
use crate::store::content::content_of;

impl EtcdStore {
    pub(super) fn freeze_or_lift(
        &self,
        name: &Name,
        request: &FreezeRequest,
        by: Duration,
    ) -> Result<FreezeDecision, Failure> {
        loop {
            let now = self.local.now();
            let seen = self.snapshot(name, Extent::Unseen, by)?;
            let evidence = self.freeze_evidence(&seen.state, &Left::new(), &now);
            let decision = decide_freeze(name.as_str(), request, &evidence, &now);
            let made = match &decision {
                FreezeDecision::Place(record) => self.place_freeze(name, record, &seen, &now, by)?,
                FreezeDecision::Lift(record) => {
                    self.lift_freeze(name, request, record.as_deref(), &seen, &now, by)?
                }
                FreezeDecision::Refuse(_) => true,
            };
            if made {
                return Ok(decision);
            }
            if self.left(by).is_zero() {
                return Err(Failure::Overtaken);
            }
        }
    }

    /// `false` if the name has changed meanwhile.
    fn place_freeze(
        &self,
        name: &Name,
        record: &Record,
        seen: &Snapshot,
        now: &Now,
        by: Duration,
    ) -> Result<bool, Failure> {
        let lease = match record.ttl() {
            Some(ttl) => Some(self.client.grant(whole_seconds(ttl), self.left(by))?.id),
            None => None,
        };
        let mut change = Change::default();
        change.put(self.keys.part(name, &Part::Freeze), content_of(record)?, 0);
        if let Some(lease) = lease {
            change.put(self.keys.part(name, &Part::Frozen), "", lease);
        }
        change.tell(&self.event(audit::FREEZE, name, now).record(record));
        let placed = self.commit(name, seen.state.gate, change, now, by);
        if let (Err(_) | Ok(None), Some(lease)) = (&placed, lease) {
            let _ = self.client.revoke(lease, BESIDE);
        }
        placed.map(|revision| revision.is_some())
    }

    fn lift_freeze(
        &self,
        name: &Name,
        request: &FreezeRequest,
        record: Option<&Record>,
        seen: &Snapshot,
        now: &Now,
        by: Duration,
    ) -> Result<bool, Failure> {
        let mut change = Change::default();
        change.delete(self.keys.part(name, &Part::Freeze));
        change.delete(self.keys.part(name, &Part::Frozen));
        change.tell(&self.event(audit::UNFREEZE, name, now).lifted(request, record));
        let lifted = self.commit(name, seen.state.gate, change, now, by)?.is_some();
        if let (true, Some(lease)) = (lifted, seen.state.frozen) {
            let _ = self.client.revoke(lease, BESIDE);
        }
        Ok(lifted)
    }

    /// Lifts a freeze that is in force no more.
    pub(super) fn sweep_freeze(&self, name: &Name, by: Duration) {
        // What can't be swept now is swept the next time.
        let _ = self.freeze_or_lift(name, &FreezeRequest::Lift(LiftBy::Sweep), by);
    }
}
