//! The audit log: one JSON line for each thing that happened, in the order in which it happened.
//!
//! The Go tool's events and fields come first, then ours. `lock_id` and `token` join the lines of one admission.
//!
//! [`Event`] is a line as it is written, [`Entry`] one as it is read; a [`Query`] says which are wanted, a [`Reading`]
//! finds and follows them, and a [`Summary`] adds them up, name by name.

mod back;
mod entry;
mod files;
mod read;
mod summary;

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};

pub use entry::{Entry, Fields, Query};
pub(crate) use files::Files;
pub use read::Reading;
pub use read::Source;
pub use summary::{Breaks, Summary, summarize};

use crate::host::Identity;
use crate::protocol::{
    Abandoned, Authority, Displaced, FreezeRequest, LiftBy, LockId, Name, Now, Record, Refusal, Standing,
};

/// The log's file in the root.
pub(crate) const FILE: &str = "audit.log";

/// A claim was admitted.
pub(crate) const ACQUIRE: &str = "acquire";
/// A claim was refused.
pub(crate) const DENY: &str = "deny";
/// A claim was refused because of a freeze.
pub(crate) const FREEZE_DENY: &str = "freeze-deny";
/// A holder gave its lock back.
pub(crate) const RELEASE: &str = "release";
/// A lease was renewed.
pub(crate) const RENEW: &str = "renew";
/// `unlock --force` removed a record.
pub(crate) const FORCE_BREAK: &str = "force-break";
/// A stale record was broken on demand, or a lapsed lease taken over.
pub(crate) const STALE_BREAK: &str = "stale-break";
/// Something that was no record was removed.
pub(crate) const CORRUPT_BREAK: &str = "corrupt-break";
/// A dead record was cleared away.
pub(crate) const AUTO_PRUNE: &str = "auto-prune";
/// A name was frozen.
pub(crate) const FREEZE: &str = "freeze";
/// A freeze was lifted by its owner.
pub(crate) const UNFREEZE: &str = "unfreeze";
/// `unfreeze --force` lifted a freeze.
pub(crate) const FORCE_UNFREEZE: &str = "force-unfreeze";
/// A claim joined the line.
pub(crate) const WAIT: &str = "wait";
/// A guard found its lock lost.
pub(crate) const LOST: &str = "lost";

/// All events that there are.
pub const EVENTS: [&str; 14] = [
    ACQUIRE,
    DENY,
    FREEZE_DENY,
    WAIT,
    RENEW,
    RELEASE,
    LOST,
    FORCE_BREAK,
    STALE_BREAK,
    CORRUPT_BREAK,
    AUTO_PRUNE,
    FREEZE,
    UNFREEZE,
    FORCE_UNFREEZE,
];

/// Whether an event ends the admission that it names.
fn ends_an_admission(event: &str) -> bool {
    [RELEASE, FORCE_BREAK, STALE_BREAK, CORRUPT_BREAK, AUTO_PRUNE].contains(&event)
}

/// One line of the log.
#[derive(Debug, Clone, Serialize)]
pub struct Event {
    ts: String,
    /// What happened.
    pub event: &'static str,
    /// To which lock.
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    lock_id: Option<String>,
    owner: String,
    host: String,
    pid: i64,
    agent_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_sec: Option<u64>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    extra: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<u64>,
}

impl Event {
    /// Something that `actor` did to `name` at `now`.
    pub(crate) fn new(event: &'static str, name: &Name, actor: &Identity, now: &Now) -> Self {
        Self {
            ts: now.wall.to_string(),
            event,
            name: name.to_string(),
            lock_id: None,
            owner: actor.owner.clone(),
            host: actor.host.clone(),
            pid: actor.pid,
            agent_id: actor.agent_id.clone(),
            ttl_sec: None,
            extra: Map::new(),
            token: None,
        }
    }

    pub(crate) fn id(mut self, lock_id: &LockId) -> Self {
        self.lock_id = Some(lock_id.to_string());
        self
    }

    pub(crate) fn ttl(mut self, ttl: Option<Duration>) -> Self {
        self.ttl_sec = ttl.map(|ttl| ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0));
        self
    }

    /// Joins the event to the admission in `record`.
    pub(crate) fn record(mut self, record: &Record) -> Self {
        self.lock_id = (!record.lock_id.is_empty()).then(|| record.lock_id.clone());
        self.ttl_sec = record.ttl_sec;
        self.token = record.token;
        self
    }

    /// Says who was in the way.
    pub(crate) fn refusal(mut self, refusal: &Refusal) -> Self {
        match refusal {
            Refusal::Held { record: Some(record), .. } | Refusal::OtherMode { record, .. } => {
                self.person("holder", record);
            }
            Refusal::Frozen(freeze) => {
                self.event = FREEZE_DENY;
                self.lock_id = Some(freeze.record.lock_id.clone()).filter(|id| !id.is_empty());
                self.person("freeze", &freeze.record);
            }
            Refusal::Queued { ahead, .. } => self.put("waiters_ahead", json!(ahead)),
            _ => {}
        }
        self
    }

    /// Says whose record was removed to make room.
    pub(crate) fn pruned(mut self, displaced: &Displaced) -> Self {
        if let Some(record) = &displaced.record {
            self = self.record(record);
            self.person("pruned", record);
        }
        self
    }

    /// Says what was removed on demand.
    pub(crate) fn removed(self, displaced: &Displaced) -> Self {
        match (&displaced.authority, &displaced.record) {
            (None, _) => self.pruned(displaced).swept_as(sweep_reason(&displaced.standing)),
            (Some(_), Some(record)) => self.record(record),
            (Some(_), None) => self,
        }
    }

    /// Says that it was a freeze that a sweep removed, whose (if that can be read), and why.
    fn swept_freeze(mut self, record: Option<&Record>, reason: &str) -> Self {
        self.person("freeze", record.unwrap_or(&Record::default()));
        self.swept_as(reason)
    }

    /// Says how and by what right a freeze was lifted, and whose it was, if that can be read.
    pub(crate) fn lifted(mut self, request: &FreezeRequest, record: Option<&Record>) -> Self {
        let (event, reason) = match request {
            FreezeRequest::Lift(LiftBy::Sweep) if record.is_none() => (AUTO_PRUNE, Some("corrupted")),
            FreezeRequest::Lift(LiftBy::Sweep) => (AUTO_PRUNE, Some("expired")),
            FreezeRequest::Lift(LiftBy::Force) => (FORCE_UNFREEZE, None),
            _ => (UNFREEZE, None),
        };
        self.event = event;
        if let Some(record) = record {
            self = self.record(record);
        }
        match reason {
            Some(reason) => self.swept_freeze(record, reason),
            None => self,
        }
    }

    /// Says why a sweep removed it.
    fn swept_as(mut self, reason: &str) -> Self {
        self.put("sweep_reason", json!(reason));
        self
    }

    pub(crate) fn because(mut self, reason: &str) -> Self {
        self.put("reason", json!(reason));
        self
    }

    fn person(&mut self, role: &str, record: &Record) {
        self.put(&format!("{role}_host"), json!(record.host));
        self.put(&format!("{role}_owner"), json!(record.owner));
        self.put(&format!("{role}_pid"), json!(record.pid));
    }

    fn put(&mut self, key: &str, value: Value) {
        self.extra.insert(key.to_owned(), value);
    }

    /// The event as a line.
    pub(crate) fn line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

/// The event for what a decision removed.
pub(crate) fn displaced(gone: &Displaced) -> &'static str {
    match (&gone.authority, &gone.standing) {
        (_, Standing::Abandoned(Abandoned::Corrupt) | Standing::CorruptButAlive(_)) => CORRUPT_BREAK,
        (Some(Authority::Force | Authority::ForceId(_)), _) => FORCE_BREAK,
        (Some(Authority::Stale), _) | (None, Standing::Lapsed { .. }) => STALE_BREAK,
        (Some(_), _) => RELEASE,
        (None, _) => AUTO_PRUNE,
    }
}

fn sweep_reason(standing: &Standing) -> &'static str {
    match standing {
        Standing::Abandoned(Abandoned::TtlPassed) => "expired",
        _ => "dead",
    }
}
