//! Removals: by whoever holds the name, because it is stale, or by force.

use std::time::Duration;

use super::acquire::AT_ONCE;
use super::commit::Change;
use super::keys::Part;
use super::snapshot::{Extent, Left, Snapshot};
use super::{BESIDE, EtcdStore, Failure};
use crate::audit;
use crate::protocol::{Decision, Displaced, Name, Request, decide};

impl EtcdStore {
    /// Decides on a removal and carries it out; of very many in several steps.
    pub(super) fn remove(&self, name: &Name, request: &Request, by: Duration) -> Result<Decision, Failure> {
        let mut removed: Vec<Displaced> = Vec::new();
        loop {
            let now = self.local.now();
            let seen = self.snapshot(name, Extent::Unseen, by)?;
            let evidence = self.evidence(name, &seen, &Left::new(), &now);
            let mut gone = match decide(name.as_str(), request, &evidence, &now) {
                Decision::Remove(gone) => gone,
                Decision::Refuse(_) if !removed.is_empty() => return Ok(Decision::Remove(removed)),
                other => return Ok(other),
            };
            let together = gone.iter().all(|one| one.holder.is_some());
            let are_all = !together || gone.len() >= evidence.holders.len();
            let is_part = !are_all && gone.len() > AT_ONCE;
            if is_part {
                gone.truncate(AT_ONCE);
            }
            let mut change = Change::default();
            self.take_away(&mut change, name, &gone, are_all);
            for one in gone.iter().filter(|one| one.is_admission()) {
                change.tell(&self.event(audit::displaced(one), name, &now).removed(one));
            }
            if self.commit(name, seen.state.gate, change, &now, by)?.is_some() {
                gone.iter().for_each(|one| self.sessions.settle(name, one));
                self.end_leases(&seen, &gone);
                removed.extend(gone);
                if !is_part {
                    return Ok(Decision::Remove(removed));
                }
            }
            if self.left(by).is_zero() {
                return Err(Failure::Overtaken);
            }
        }
    }

    fn take_away(&self, change: &mut Change, name: &Name, gone: &[Displaced], are_all: bool) {
        if are_all {
            change.delete(self.keys.part(name, &Part::Record));
            change.delete_all(self.keys.holders(name));
            change.delete_all(self.keys.sessions(name));
            return;
        }
        for id in gone.iter().filter_map(|one| one.holder.as_ref()) {
            change.delete(self.keys.part(name, &Part::Holder(id.clone())));
            change.delete(self.keys.part(name, &Part::Session(id.clone())));
        }
    }

    /// Ends the leases of what was removed; a session's own is ended with it.
    fn end_leases(&self, seen: &Snapshot, gone: &[Displaced]) {
        for one in gone.iter().filter(|one| !one.is_given_up()) {
            if let Some(lease) = one.id().and_then(|id| seen.state.sessions.get(&id)) {
                let _ = self.client.revoke(*lease, BESIDE);
            }
        }
    }
}
