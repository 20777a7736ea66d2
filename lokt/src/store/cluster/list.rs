//! All names at once, at one revision; and one record alone.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::etcd::{self, Op, Range, Span, Txn};
use super::keys::Part;
use super::snapshot::{InLine, Snapshot, State, found};
use super::{EtcdStore, Failure};
use crate::protocol::{LockId, Name, Stored};
use crate::store::{Status, confirmed};

impl EtcdStore {
    /// How every name stood at one revision.
    pub(super) fn snapshots(&self, by: Duration) -> Result<BTreeMap<Name, Snapshot>, etcd::Error> {
        let states = Range::of(Span::prefix(self.keys.states()));
        let lines = Range::of(Span::prefix(self.keys.lines())).oldest_first();
        let txn = Txn { then: vec![Op::Range(states), Op::Range(lines)], ..Txn::default() };
        let done = self.client.txn(&txn, self.left(by))?;
        let mut all: BTreeMap<Name, Snapshot> = BTreeMap::new();
        let revision = done.revision;
        let empty = || Snapshot::at(revision);
        for kv in done.answers.into_iter().flat_map(found) {
            if let Some((name, part)) = self.keys.read_state(&kv.key) {
                all.entry(name).or_insert_with(empty).state.add(part, kv);
            } else if let Some((name, place)) = self.in_line(&kv) {
                all.entry(name).or_insert_with(empty).line.push(place);
            }
        }
        Ok(all)
    }

    pub(super) fn list_all(&self, by: Duration) -> Result<Vec<Status>, etcd::Error> {
        let dead = |all: &Vec<Status>| all.iter().flat_map(|status| status.view.dead()).collect();
        Ok(confirmed(self.listed(by)?, dead, || self.listed(by).ok()))
    }

    fn listed(&self, by: Duration) -> Result<Vec<Status>, etcd::Error> {
        let all = self.snapshots(by)?;
        let left = self.left_of(all.values().map(|seen| &seen.state), by);
        let shown = all.into_iter().filter(|(_, seen)| !seen.state.is_empty());
        let status = shown.map(|(name, mut seen)| {
            let line: Vec<InLine> = std::mem::take(&mut seen.line);
            Status { view: self.view(&name, &seen, &left), waiters: self.living(&name, line), name }
        });
        Ok(status.collect())
    }

    /// The record of one admission as it is written, or what stands there in its stead.
    pub(super) fn own_stored(&self, name: &Name, id: &LockId, by: Duration) -> Result<Stored, Failure> {
        let parts = [Part::Record, Part::Holder(id.clone())];
        let look = |part: &Part| Op::Range(Range::of(Span::key(self.keys.part(name, part))));
        let txn = Txn { then: parts.iter().map(look).collect(), ..Txn::default() };
        let done = self.client.txn(&txn, self.left(by))?;
        let mut state = State::default();
        for kv in done.answers.into_iter().flat_map(found) {
            if let Some((_, part)) = self.keys.read_state(&kv.key) {
                state.add(part, kv);
            }
        }
        Ok(state.own_stored(id))
    }
}
