//! The sweep: what binds nobody any more, the events of long ago, and what dead sessions have left on this machine.

use std::time::Duration;

use jiff::SignedDuration;

use super::super::etcd::{Op, Range, Span, Txn};
use super::snapshot::Left;
use super::{BESIDE, EtcdStore, session_file};
use crate::host::{Dir, SessionState};
use crate::protocol::{Decision, LockId, Name, Now, Request};
use crate::store::dir::split_session;

/// How long events are kept.
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How often a machine sweeps.
const EVERY: Duration = Duration::from_secs(300);

/// The file on this machine that says when the next sweep is due.
const SWEEPER: usize = crate::store::dir::STRIPES;

/// How many events are looked at and removed in one step.
const EVENTS: i64 = 100;

impl EtcdStore {
    pub(super) fn sweep_seems_due(&self) -> bool {
        let sweeper = self.local.read(Dir::Stripes, &format!("{SWEEPER:02x}"), 256).ok().flatten();
        let now = self.local.now();
        sweeper.is_none_or(|sweeper| now.monotonic >= due(&sweeper.bytes, &now))
    }

    /// Sweeps if it is due on this machine.
    pub(super) fn sweep_if_due(&self, budget: Duration) {
        if self.local.prepare().is_err() {
            return;
        }
        let Ok(mut sweeper) = self.local.lock_stripe(SWEEPER, Duration::ZERO) else {
            return;
        };
        let now = self.local.now();
        if now.monotonic < due(&sweeper.read().unwrap_or_default(), &now) {
            return;
        }
        let next = now.monotonic + EVERY;
        // If it can't be written, the next sweep comes too soon; no harm is done.
        let _ = sweeper.write(format!("{} {:020}\n", now.clock, next.as_nanos()).as_bytes(), false);
        self.sweep_within(budget.max(BESIDE));
    }

    /// Removes stale records, lapsed freezes, and old events; returns the names whose records went.
    pub(super) fn sweep_within(&self, budget: Duration) -> Vec<Name> {
        let by = self.monotonic() + budget;
        self.sweep_sessions();
        let Ok(all) = self.snapshots(by) else {
            return Vec::new();
        };
        let mut swept = Vec::new();
        for (name, seen) in &all {
            if self.left(by).is_zero() {
                break;
            }
            let now = self.local.now();
            let evidence = self.evidence(name, seen, &Left::new(), &now);
            let freeze = self.freeze_evidence(&seen.state, &Left::new(), &now);
            if freeze.slot != crate::protocol::Slot::Empty && evidence.freeze.is_none() {
                self.sweep_freeze(name, by);
            }
            let view = self.view(name, seen, &Left::new());
            if view.places().iter().any(|(_, standing)| standing.is_stale())
                && matches!(self.remove(name, &Request::Sweep, by), Ok(Decision::Remove(_)))
            {
                swept.push(name.clone());
            }
        }
        self.sweep_events(by);
        swept
    }

    /// Removes the events that are older than they are kept.
    fn sweep_events(&self, by: Duration) {
        let Ok(until) = self.local.now().wall.checked_sub(KEPT) else {
            return;
        };
        let until = self.keys.events_from(until);
        let oldest = Range::of(Span::prefix(self.keys.audit())).keys_only().at_most(EVENTS);
        while !self.left(by).is_zero() {
            let Ok(found) = self.client.range(&oldest, self.left(by)) else {
                return;
            };
            let old: Vec<Op> = found
                .kvs
                .into_iter()
                .map(|kv| kv.key)
                .filter(|key| key.as_slice() < until.as_bytes())
                .map(|key| Op::Delete(Span::key(key)))
                .collect();
            let are_all = (old.len() as i64) < EVENTS;
            if !old.is_empty()
                && self.client.txn(&Txn { then: old, ..Txn::default() }, self.left(by)).is_err()
            {
                return;
            }
            if are_all {
                return;
            }
        }
    }

    /// Removes the files of dead sessions from this machine.
    fn sweep_sessions(&self) {
        let sessions = self.local.list(Dir::Sessions).unwrap_or_default();
        let named = sessions.iter().filter_map(|file| split_session(file));
        let parsed = named.filter_map(|(name, id): (&str, LockId)| Some((name.parse::<Name>().ok()?, id)));
        for (name, id) in parsed {
            let file = session_file(&name, &id);
            let dead = self.local.probe_session(&file, None) == SessionState::Unlocked;
            // Its file is what proves it dead, as long as its record stands.
            let stands = || {
                let slot = self.own_slot(&name, &id, self.monotonic() + BESIDE);
                slot.map_or(true, |slot| {
                    matches!(slot, crate::protocol::Slot::Record(record) if record.lock_id == id.as_str())
                })
            };
            if dead && self.local.is_local() && !stands() {
                self.remove_session(&name, &id);
            }
        }
    }
}

/// When the next sweep is due; at once after another boot.
fn due(sweeper: &[u8], now: &Now) -> Duration {
    let text = String::from_utf8_lossy(sweeper);
    let mut fields = text.split_ascii_whitespace();
    match (fields.next(), fields.next().and_then(|nanos| nanos.parse().ok())) {
        (Some(clock), Some(nanos)) if clock == now.clock.as_str() => Duration::from_nanos(nanos),
        _ => Duration::ZERO,
    }
}
