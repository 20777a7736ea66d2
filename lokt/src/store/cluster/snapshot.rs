//! A name's state and line as they stood at one revision, and what that says: the evidence of a decision.
//!
//! # Deadlines
//!
//! A record's deadline is of its holder's clock, and is not rewritten by a renewal. What tells whether the lease has
//! lapsed is the key of its session, which is bound to the lease in etcd: etcd deletes it late, never early. So what is
//! left of the lease is told beside the record, whose own deadline and clock stay as they are written: the clock on
//! which it was acquired says on which boot of which machine that was.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::super::etcd::{KeyValue, Op, OpAnswer, Range, Span, Txn};
use super::super::{View, Waiter};
use super::keys::Part;
use super::{EtcdStore, Failure};
use crate::protocol::{
    Evidence, FreezeEvidence, Holder, Lapse, LockId, NO_TOKEN, Name, Now, Record, SessionFiles, Stored,
    liveness,
};

/// No record in etcd is half written: it counts as old.
const OLD: Duration = Duration::from_secs(3600);

/// What is left of leases, where it was asked for.
pub(super) type Left = HashMap<i64, Duration>;

/// What every change of a name puts.
#[derive(Clone, Copy, Default)]
pub(super) struct Gate {
    /// When it was put last: a revision; 0 for never.
    pub(super) revision: i64,
    /// The token of the last admission; 0 for none.
    pub(super) token: u64,
}

impl Gate {
    fn read(kv: &KeyValue) -> Self {
        let token = std::str::from_utf8(&kv.value).ok().and_then(|text| text.parse().ok());
        let token = token.filter(|token| *token < NO_TOKEN).unwrap_or_default();
        Self { revision: kv.mod_revision, token }
    }
}

/// A name's state.
#[derive(Default)]
pub(super) struct State {
    pub(super) gate: Gate,
    record: Option<KeyValue>,
    holders: BTreeMap<LockId, KeyValue>,
    /// The lease of each session that has not lapsed.
    pub(super) sessions: BTreeMap<LockId, i64>,
    freeze: Option<KeyValue>,
    /// The lease of the freeze.
    pub(super) frozen: Option<i64>,
}

/// A place in line.
pub(super) struct InLine {
    /// The revision at which it was taken.
    pub(super) number: u64,
    pub(super) id: LockId,
    pub(super) waiter: Option<Waiter>,
}

/// State and line at one revision.
pub(super) struct Snapshot {
    pub(super) revision: i64,
    pub(super) state: State,
    /// Those of the line who were looked at, the first first.
    pub(super) line: Vec<InLine>,
    /// How many stand in line; what was not looked at counts too.
    pub(super) waiting: usize,
    /// How many keys were looked at that are no tickets.
    pub(super) foreign: usize,
    /// The place of the one who asks.
    pub(super) own: Option<InLine>,
}

/// How much of a line is looked at: it may be long, and whoever stands in it asks.
#[derive(Clone, Copy)]
pub(super) enum Extent<'a> {
    /// Nothing.
    Unseen,
    /// The first few, and one's own place.
    Front(Option<&'a LockId>),
    /// All of it.
    Whole,
}

/// So many are the first few.
const FRONT: i64 = 8;

impl Snapshot {
    /// Of nothing, so far.
    pub(super) fn at(revision: i64) -> Self {
        Self { revision, state: State::default(), line: Vec::new(), waiting: 0, foreign: 0, own: None }
    }
}

impl State {
    pub(super) fn add(&mut self, part: Part, kv: KeyValue) {
        match part {
            Part::Record => self.record = Some(kv),
            Part::Holder(id) => drop(self.holders.insert(id, kv)),
            Part::Session(id) => drop(self.sessions.insert(id, kv.lease)),
            Part::Freeze => self.freeze = Some(kv),
            Part::Frozen => self.frozen = Some(kv.lease),
            Part::Gate => self.gate = Gate::read(&kv),
        }
    }

    /// Whether there is nothing to show of it.
    pub(super) fn is_empty(&self) -> bool {
        self.record.is_none() && self.freeze.is_none()
    }

    pub(super) fn has_freeze(&self) -> bool {
        self.freeze.is_some()
    }

    /// The record in the name's own place.
    fn stored(&self) -> Stored {
        stored(self.record.as_ref())
    }

    /// Those whose records stand beside it.
    pub(super) fn holder_ids(&self) -> impl Iterator<Item = &LockId> {
        self.holders.keys()
    }

    /// The record of one admission as it is written, or what stands there in its stead.
    pub(super) fn own_stored(&self, id: &LockId) -> Stored {
        self.stored().of_one(id, || stored(self.holders.get(id)))
    }
}

fn stored(kv: Option<&KeyValue>) -> Stored {
    kv.map_or(Stored::Empty, |kv| Record::read(&kv.value, OLD))
}

impl EtcdStore {
    /// How the name and its line stand.
    pub(super) fn snapshot(
        &self,
        name: &Name,
        extent: Extent<'_>,
        by: Duration,
    ) -> Result<Snapshot, Failure> {
        let seen = self.snapshot_of(name, extent, FRONT, by)?;
        if seen.line.is_empty() && seen.waiting > 0 {
            // Nothing but foreign keys: the tickets are behind them.
            return self.snapshot_of(name, extent, 0, by);
        }
        Ok(seen)
    }

    /// With so many keys of the line, if only its front is asked for; 0 for all.
    fn snapshot_of(
        &self,
        name: &Name,
        extent: Extent<'_>,
        front: i64,
        by: Duration,
    ) -> Result<Snapshot, Failure> {
        let mut looks = vec![Range::of(Span::prefix(self.keys.state(name)))];
        let all = Range::of(Span::prefix(self.keys.line(name))).oldest_first();
        match extent {
            Extent::Unseen => {}
            Extent::Whole => looks.push(all),
            Extent::Front(own) => {
                looks.push(all.at_most(front));
                looks.extend(own.map(|id| Range::of(Span::key(self.keys.ticket(name, id)))));
            }
        }
        let txn = Txn { then: looks.into_iter().map(Op::Range).collect(), ..Txn::default() };
        let done = self.client.txn(&txn, self.left(by))?;
        let mut snapshot = Snapshot::at(done.revision);
        let mut answers = done.answers.into_iter();
        for kv in answers.next().into_iter().flat_map(found) {
            if let Some((_, part)) = self.keys.read_state(&kv.key) {
                snapshot.state.add(part, kv);
            }
        }
        if let Some(OpAnswer::Range(found)) = answers.next() {
            snapshot.line = found.kvs.iter().filter_map(|kv| Some(self.in_line(kv)?.1)).collect();
            snapshot.foreign = found.kvs.len() - snapshot.line.len();
            snapshot.waiting =
                usize::try_from(found.count).unwrap_or_default().saturating_sub(snapshot.foreign);
        }
        let own = answers.next().into_iter().flat_map(found).next();
        snapshot.own = own.and_then(|kv| Some(self.in_line(&kv)?.1));
        Ok(snapshot)
    }

    pub(super) fn in_line(&self, kv: &KeyValue) -> Option<(Name, InLine)> {
        let (name, id) = self.keys.read_ticket(&kv.key)?;
        let waiter = serde_json::from_slice(&kv.value).ok();
        Some((name, InLine { number: kv.create_revision.unsigned_abs(), id, waiter }))
    }

    /// What is known of a name; `next_token` too, but nothing of the line.
    ///
    /// The token is the revision that was seen. It grows from one admission of a name to the next: the admission's
    /// transaction puts the gate at a revision beyond it, and the next admission is made only on a snapshot in which
    /// that gate stands, which therefore is of that revision or a later one. A record that came from elsewhere may have
    /// a larger token, and then whoever is admitted in its place has; so the gate has the last one in it.
    pub(super) fn evidence(&self, name: &Name, seen: &Snapshot, left: &Left, now: &Now) -> Evidence {
        let state = &seen.state;
        let witness = |record| self.witness(name, state, record, left, now);
        let mut evidence = Evidence::of(state.stored(), witness, || !state.sessions.is_empty());
        let group = evidence.record().and_then(Record::group).map(str::to_owned);
        if let Some(group) = group {
            let known = state.holders.iter().filter_map(|(id, kv)| {
                let lives = |id: &LockId| state.sessions.contains_key(id);
                Holder::of(id.clone(), &group, stored(Some(kv)), witness, lives)
            });
            evidence.holders = known.collect();
        }
        evidence.freeze = self.freeze_evidence(state, left, now).in_force(now);
        evidence.next_token = seen.revision.unsigned_abs().max(state.gate.token + 1);
        evidence
    }

    pub(super) fn freeze_evidence(&self, state: &State, left: &Left, now: &Now) -> FreezeEvidence {
        let mut evidence =
            FreezeEvidence { stored: stored(state.freeze.as_ref()), ..FreezeEvidence::default() };
        if let Stored::Record(record) = &mut evidence.stored {
            evidence.lapse = tell_lapse(record, state.frozen, left, now);
        }
        evidence
    }

    /// What is known of a holder, by its record.
    fn witness(
        &self,
        name: &Name,
        state: &State,
        mut record: Box<Record>,
        left: &Left,
        now: &Now,
    ) -> Evidence {
        let here = self.identity.here(&now.clock, self.local.is_local(), SessionFiles::Apart);
        let liveness = liveness(&record, &here, &self.sessions.of(name));
        let lease = record.id().and_then(|id| state.sessions.get(&id).copied());
        let lapse = tell_lapse(&mut record, lease, left, now);
        Evidence { stored: Stored::Record(record), liveness, lapse, ..Evidence::default() }
    }

    /// A name as it can be shown.
    pub(super) fn view(&self, name: &Name, seen: &Snapshot, left: &Left) -> View {
        let now = self.local.now();
        let evidence = self.evidence(name, seen, left, &now);
        View::of(evidence, now)
    }

    /// What is left of the leases of these states, as far as it can be had in time.
    pub(super) fn left_of<'a>(&self, states: impl IntoIterator<Item = &'a State>, by: Duration) -> Left {
        let leases =
            states.into_iter().flat_map(|state| state.sessions.values().copied().chain(state.frozen));
        let mut left = Left::new();
        for lease in leases {
            let time = self.left(by);
            if time.is_zero() {
                break;
            }
            match self.client.time_to_live(lease, time) {
                Ok(found) => {
                    let seconds = found.map_or(0, |found| found.ttl_s.unsigned_abs());
                    left.insert(lease, Duration::from_secs(seconds));
                }
                Err(_) => break,
            }
        }
        left
    }
}

/// What is left of the lease of a record, if it has one; see the top of the file. The record tells people when that ends.
fn tell_lapse(record: &mut Record, lease: Option<i64>, left: &Left, now: &Now) -> Option<Lapse> {
    let ttl = record.kind.and(record.ttl())?;
    // As long as the key is there, the lease has not lapsed, whatever else is known.
    let least = Duration::from_millis(1);
    let Some(lease) = lease else {
        return Some(Lapse::Lapsed);
    };
    let left = left.get(&lease).map_or(ttl, |left| (*left).clamp(least, ttl));
    if let Ok(expires) = now.wall.checked_add(left) {
        record.expires_at = Some(expires.to_string());
    }
    Some(Lapse::Left(left))
}

/// The keys in an answer.
pub(super) fn found(answer: OpAnswer) -> Vec<KeyValue> {
    match answer {
        OpAnswer::Range(found) => found.kvs,
        OpAnswer::Put | OpAnswer::Deleted(_) => Vec::new(),
    }
}
