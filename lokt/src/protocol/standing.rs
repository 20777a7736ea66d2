//! How a name stands: what evidence says of its holder.

use std::time::Duration;

use super::decide::Evidence;
use super::lease::{Lapse, Now, lapse};
use super::record::{Kind, Record, Slot};

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

/// Why a record binds nobody any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abandoned {
    /// Every process that held its liveness is gone.
    HolderDead,
    /// The process that it was tied to is gone.
    PidGone,
    /// It is a manual lock past its TTL.
    TtlPassed,
    /// It is no record.
    Corrupt,
}

/// How a name stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Standing {
    /// Nobody holds it.
    Free,
    /// It is held.
    Held {
        /// What is left of the lease.
        lapse: Lapse,
        /// Whether the holder is known to live.
        liveness: Liveness,
    },
    /// Its holder lives (or may), but the lease has lapsed: to be had by `--break-stale` and by waiting.
    Lapsed {
        /// Whether the holder is known to live.
        liveness: Liveness,
    },
    /// To be had by anyone.
    Abandoned(Abandoned),
    /// The Go tool may be writing it at this moment.
    InProgress,
    /// Corrupt, but a session of this name still lives: nobody can tell which, so nobody is admitted.
    CorruptButAlive(String),
    /// Of a newer version.
    Newer(String),
    /// Not to be read.
    Unreadable(String),
}

impl Standing {
    /// Whether `--break-stale` may remove or take it.
    pub fn is_stale(&self) -> bool {
        matches!(self, Self::Lapsed { .. } | Self::Abandoned(_))
    }
}

/// Judges how a name stands. Every doubtful case counts as held.
pub fn judge(evidence: &Evidence, now: &Now) -> Standing {
    match &evidence.slot {
        Slot::Empty => Standing::Free,
        Slot::Record(record) => judge_record(record, evidence, now),
        Slot::Torn => Standing::InProgress,
        Slot::Corrupt(why) if evidence.survivors => Standing::CorruptButAlive(why.clone()),
        Slot::Corrupt(_) => Standing::Abandoned(Abandoned::Corrupt),
        Slot::Newer(version) => Standing::Newer(version.clone()),
        Slot::Unreadable(why) => Standing::Unreadable(why.clone()),
    }
}

fn judge_record(record: &Record, evidence: &Evidence, now: &Now) -> Standing {
    let lapse = lapse(record, now, evidence.unchanged_for, evidence.earlier_boot);
    let liveness = evidence.liveness;
    let lapsed = lapse.has_lapsed();
    match (record.kind, liveness) {
        (Some(Kind::Guard), Liveness::Dead) => Standing::Abandoned(Abandoned::HolderDead),
        (Some(Kind::Manual) | None, Liveness::Dead) => Standing::Abandoned(Abandoned::PidGone),
        (Some(Kind::Manual), _) if lapsed => Standing::Abandoned(Abandoned::TtlPassed),
        // The Go tool sweeps another host's expired record, and spares this host's while its process runs.
        (None, Liveness::Unknown) if lapsed => Standing::Abandoned(Abandoned::TtlPassed),
        (Some(Kind::Guard) | None, _) if lapsed => Standing::Lapsed { liveness },
        _ => Standing::Held { lapse, liveness },
    }
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
    /// The freeze in `slot`, if it is in force. A corrupt one binds nobody, as in the Go tool; a newer one does.
    pub fn in_force(slot: Slot, now: &Now) -> Option<Self> {
        let record = match slot {
            Slot::Record(record) => record,
            Slot::Newer(version) => Box::new(unknown_freeze(&version)),
            Slot::Empty | Slot::Torn | Slot::Corrupt(_) | Slot::Unreadable(_) => return None,
        };
        let lapse = lapse(&record, now, Duration::ZERO, true);
        (!lapse.has_lapsed()).then(|| Self { left: lapse.left(), record })
    }
}

fn unknown_freeze(version: &str) -> Record {
    Record {
        kind: Some(Kind::Freeze),
        note: Some(format!("written by a newer lokt (version {version})")),
        ..Record::default()
    }
}
