//! How a change is made: one transaction, if the name has not changed since it was looked at.
//!
//! # When the answer is lost
//!
//! The transaction may have been made, may still be, or never will. The very same one is sent again: as each puts the
//! gate that all of them ask for, at most one of them is made. Each also puts the key of its events, which no other
//! puts and nobody removes for days; if the gate has changed, that key tells whether it was by this change.

use std::time::Duration;

use super::super::etcd::{self, Compare, Is, Op, OpAnswer, Outcome, Range, Span, Txn};
use super::keys::Part;
use super::snapshot::Gate;
use super::{EtcdStore, Failure};
use crate::audit::Event;
use crate::protocol::{LockId, Name, Now};

/// The least that one attempt gets of the time that is left.
const ATTEMPT: Duration = Duration::from_millis(300);

/// A change that is to be made.
#[derive(Default)]
pub(super) struct Change {
    pub(super) ops: Vec<Op>,
    /// The token of an admission.
    pub(super) token: Option<u64>,
    /// Lines, one for each event.
    events: Vec<u8>,
}

impl Change {
    pub(super) fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>, lease: i64) {
        self.ops.push(Op::put_leased(key, value, lease));
    }

    pub(super) fn delete(&mut self, key: impl Into<Vec<u8>>) {
        self.ops.push(Op::Delete(Span::key(key)));
    }

    pub(super) fn delete_all(&mut self, prefix: impl Into<Vec<u8>>) {
        self.ops.push(Op::Delete(Span::prefix(prefix)));
    }

    pub(super) fn tell(&mut self, event: &Event) {
        self.events.extend(event.line());
    }
}

impl EtcdStore {
    /// Makes a change of a name whose gate was `gate`: the revision of the change, or `None` if the name has changed
    /// since.
    pub(super) fn commit(
        &self,
        name: &Name,
        gate: Gate,
        mut change: Change,
        now: &Now,
        by: Duration,
    ) -> Result<Option<i64>, Failure> {
        let gate_key = self.keys.part(name, &Part::Gate);
        let mark = self.keys.events(now.wall, &LockId::from_random(self.local.random()));
        let token = change.token.unwrap_or_default().max(gate.token);
        change.put(gate_key.as_str(), token.to_string(), 0);
        let events = std::mem::take(&mut change.events);
        change.put(mark.as_str(), events, 0);
        let when = vec![Compare::mod_revision(gate_key, Is::Equal, gate.revision)];
        let look = Op::Range(Range::of(Span::key(mark)).keys_only());
        let txn = Txn { when, then: change.ops, or_else: vec![look] };
        let done = self.insist(&txn, by)?;
        let made_before = done.answers.iter().find_map(|answer| match answer {
            OpAnswer::Range(found) => found.kvs.first().map(|mark| mark.mod_revision),
            OpAnswer::Put | OpAnswer::Deleted(_) => None,
        });
        Ok(if done.succeeded { Some(done.revision) } else { made_before })
    }

    /// Sends a transaction until there is an answer; it must be one that is made at most once.
    pub(super) fn insist(&self, txn: &Txn, by: Duration) -> Result<etcd::Done, etcd::Error> {
        loop {
            let left = self.left(by);
            let share = (left / 3).max(ATTEMPT).min(left);
            let error = match self.client.txn(txn, share) {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let is_early = self.left(by) > left.saturating_sub(share);
            match error.outcome() {
                Outcome::Refused => return Err(error),
                // What could not be sent, and not for want of time, can't be sent the next time either.
                Outcome::NotSent if is_early => return Err(error),
                _ if self.left(by).is_zero() => return Err(error),
                Outcome::NotSent | Outcome::Unknown => {}
            }
        }
    }

    /// Writes an event that is no change of a name's state.
    pub(super) fn log(&self, event: &Event, within: Duration) -> Result<(), etcd::Error> {
        let key = self.keys.events(self.local.now().wall, &LockId::from_random(self.local.random()));
        let txn = Txn { then: vec![Op::put(key, event.line())], ..Txn::default() };
        self.client.txn(&txn, within).map(drop)
    }
}
