//! The sweep: what binds nobody any more, the events of long ago, and what dead sessions have left on this machine.

use std::time::Duration;

use jiff::SignedDuration;

use super::super::etcd::{Op, Range, Span, Txn};
use super::snapshot::Left;
use super::{BESIDE, EtcdStore, Failure};
use crate::host::Dir;
use crate::protocol::{Decision, Name, Request};
use crate::store::sessions::split_session;
use crate::store::sweeper::Sweeper;

/// How long events are kept.
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How often a machine sweeps.
const EVERY: Duration = Duration::from_secs(300);

/// How many events are looked at and removed in one step.
const EVENTS: i64 = 100;

impl EtcdStore {
    /// Sweeps if it is due on this machine.
    pub(super) fn sweep_if_due(&self, budget: Duration) {
        if self.local.prepare().is_err() {
            return;
        }
        let Some(mut sweeper) = Sweeper::due(self.local.as_ref()) else {
            return;
        };
        let now = self.local.now();
        sweeper.put_off(now.monotonic + EVERY, &now);
        self.sweep_within(budget.max(BESIDE));
    }

    /// Removes stale records, lapsed freezes, and old events; returns the names whose records went.
    pub(super) fn sweep_within(&self, budget: Duration) -> Vec<Name> {
        let by = self.monotonic() + budget;
        let Ok(all) = self.snapshots(by) else {
            return Vec::new();
        };
        let mut swept = Vec::new();
        for (name, seen) in &all {
            if self.left(by).is_zero() {
                break;
            }
            let view = self.view(name, seen, &Left::new());
            if seen.state.has_freeze() && view.freeze.is_none() {
                self.sweep_freeze(name, by);
            }
            if view.places().iter().any(|(_, standing)| standing.is_abandoned())
                && matches!(self.remove(name, &Request::Sweep, by), Ok(Decision::Remove(_)))
            {
                swept.push(name.clone());
            }
        }
        self.sweep_events(by);
        // Each is asked for by itself, and there may be many.
        let _ = self.sweep_sessions(by);
        swept
    }

    /// Removes the events that are older than they are kept.
    fn sweep_events(&self, by: Duration) {
        let Ok(until) = self.local.now().wall.checked_sub(KEPT) else {
            return;
        };
        let mut rest = Span::prefix(self.keys.audit()).before(self.keys.events_from(until));
        while !self.left(by).is_zero() {
            let oldest = Range::of(rest.clone()).keys_only().at_most(EVENTS);
            let Ok(found) = self.client.range(&oldest, self.left(by)) else {
                return;
            };
            let Some(last) = found.kvs.last() else {
                return;
            };
            rest = rest.from([&*last.key, b"\0"].concat());
            // Another's keys may stand among them: another root's, whose prefix is longer.
            let events = found.kvs.into_iter().map(|kv| kv.key).filter(|key| self.keys.is_event(key));
            let old: Vec<Op> = events.map(|key| Op::Delete(Span::key(key))).collect();
            if !old.is_empty()
                && self.client.txn(&Txn { then: old, ..Txn::default() }, self.left(by)).is_err()
            {
                return;
            }
        }
    }

    /// Removes the files of dead sessions from this machine.
    fn sweep_sessions(&self, by: Duration) -> Result<(), Failure> {
        let sessions = self.local.list(Dir::Sessions).unwrap_or_default();
        let named = sessions.iter().filter_map(|file| split_session(file));
        let parsed = named.filter_map(|(name, id)| Some((name.parse::<Name>().ok()?, id)));
        for (name, id) in parsed {
            if self.probe(&name, &id) != Some(false) {
                continue;
            }
            // Its file is what proves it dead, as long as its record stands.
            let own = self.own_stored(&name, &id, by)?;
            if own.record().is_none_or(|record| record.lock_id != id.as_str()) {
                self.sessions.remove(&name, &id);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::host::{Host, Identity, UnixHost};
    use crate::store::etcd::{Access, Client};
    use crate::store::sessions::Sessions;

    #[test]
    fn a_sweep_keeps_to_its_time_however_many_sessions_have_died_while_the_cluster_is_away() {
        let dir = tempfile::tempdir().unwrap();
        // Nobody listens there.
        let address = "etcd://127.0.0.1:1/lokt".parse().unwrap();
        let local: Arc<dyn Host> = Arc::new(UnixHost::new(dir.path().to_owned()));
        let store = EtcdStore::with(
            Client::new(&address, &Access::default()).unwrap(),
            &address,
            Arc::clone(&local),
            Identity::current(),
            Arc::new(|_| {}),
        );
        local.prepare().unwrap();
        let sessions = Sessions::on(&local);
        for number in 0..8 {
            let name = format!("x{number}").parse().unwrap();
            let id = crate::protocol::LockId::from_random([number; 16]);
            sessions.create(&name, &id).unwrap().release();
        }
        let began = store.monotonic();
        assert_eq!(store.sweep_within(Duration::from_millis(200)), Vec::new());
        let took = store.monotonic() - began;
        assert!(took < Duration::from_secs(2), "{took:?}");
        assert_eq!(local.list(Dir::Sessions).unwrap().len(), 8, "nobody knows whether their records stand");
    }
}
