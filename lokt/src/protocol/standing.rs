//! How a name stands: what evidence says of its holder.

use std::time::Duration;

use super::clock::Now;
use super::evidence::{Evidence, Liveness};
use super::lease::{Lapse, lapse};
use super::record::{Kind, Record};
use super::seats::judge_together;
use super::stored::Stored;

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

    /// What is left of the lease of whoever holds it; `None` if nobody does, or if it never lapses.
    pub fn left(&self) -> Option<Duration> {
        match self {
            Self::Held { lapse, .. } => lapse.left(),
            _ => None,
        }
    }
}

/// Judges how a name stands. Every doubtful case counts as held.
pub fn judge(evidence: &Evidence, now: &Now) -> Standing {
    match &evidence.stored {
        Stored::Empty => Standing::Free,
        Stored::Record(record) if record.group().is_some() => judge_together(evidence, now),
        Stored::Record(record) => judge_record(record, evidence, now),
        Stored::Torn => Standing::InProgress,
        Stored::Corrupt(why) if evidence.survivors => Standing::CorruptButAlive(why.clone()),
        Stored::Corrupt(_) => Standing::Abandoned(Abandoned::Corrupt),
        Stored::Newer(version) => Standing::Newer(version.clone()),
        Stored::Unreadable(why) => Standing::Unreadable(why.clone()),
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Lapse;
    use super::*;

    #[test]
    fn only_of_a_lease_that_is_held_something_is_left() {
        let held = |lapse| Standing::Held { lapse, liveness: Liveness::Alive };
        let some = Duration::from_secs(7);
        assert_eq!(held(Lapse::Left(some)).left(), Some(some));
        assert_eq!(held(Lapse::Never).left(), None);
        assert_eq!(Standing::Lapsed { liveness: Liveness::Alive }.left(), None);
        assert_eq!(Standing::Free.left(), None);
    }
}
