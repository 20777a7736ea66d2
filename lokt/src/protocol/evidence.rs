//! What is known of a name at the instant of a decision.

use std::time::Duration;

use super::clock::Now;
use super::lease::lapse;
use super::record::{Kind, Record, Slot};

/// What a store knows of a name at the instant of a decision, gathered under its atomicity.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// What stands in the record's place.
    pub slot: Slot,
    /// Whether the record's holder lives.
    pub liveness: Liveness,
    /// How long the asker has seen this very record, unchanged, on its own clock; zero if it never looked before.
    pub unchanged_for: Duration,
    /// The record is from an earlier boot of this machine.
    pub earlier_boot: bool,
    /// Some session of this name still lives (asked only when the record is corrupt).
    pub survivors: bool,
    /// A freeze in force.
    pub freeze: Option<Freeze>,
    /// How many waiters that are ready stand before the asker.
    pub ahead: usize,
    /// A token larger than any that the store has handed out for this name.
    pub next_token: u64,
}

/// What this machine can say of a holder's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// It lives: its flock is held, or its process runs.
    Alive,
    /// It is proved dead: its flock is free, its process gone or another's.
    Dead,
    /// It can't be told from here. Counts as alive.
    Unknown,
}

/// A freeze that is in force: nobody is admitted until it ends.
#[derive(Debug, Clone, PartialEq)]
pub struct Freeze {
    /// Its record.
    pub record: Box<Record>,
    /// What is left of it; `None` if it does not end by itself.
    pub left: Option<Duration>,
}

impl Freeze {
    /// The freeze in `slot`, if it is in force. A corrupt one binds nobody, as in the Go tool; one that can't be
    /// read, or is of a newer version, does.
    pub fn in_force(slot: Slot, now: &Now, earlier_boot: bool) -> Option<Self> {
        let record = match slot {
            Slot::Record(record) => record,
            Slot::Newer(version) => Box::new(unknown_freeze(format!("of a newer version, {version}"))),
            Slot::Unreadable(why) => Box::new(unknown_freeze(format!("not to be read: {why}"))),
            Slot::Empty | Slot::Torn | Slot::Corrupt(_) => return None,
        };
        let lapse = lapse(&record, now, Duration::ZERO, earlier_boot);
        (!lapse.has_lapsed()).then(|| Self { left: lapse.left(), record })
    }
}

fn unknown_freeze(note: String) -> Record {
    Record { kind: Some(Kind::Freeze), note: Some(note), ..Record::default() }
}
