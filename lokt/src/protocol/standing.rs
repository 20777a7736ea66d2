//! How a name stands: what evidence says of its holder; of several, of each by himself.

use std::time::Duration;

use super::clock::Now;
use super::evidence::{Evidence, Holder};
use super::lease::{Lapse, lapse};
use super::liveness::Liveness;
use super::record::{Kind, LockId, Record};
use super::stored::{Stored, Unreadable};

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
    Unreadable(Unreadable),
}

impl Standing {
    /// Whether `--break-stale` may remove or take it.
    pub fn is_stale(&self) -> bool {
        matches!(self, Self::Lapsed { .. } | Self::Abandoned(_))
    }

    /// Whether it binds nobody any more.
    pub fn is_abandoned(&self) -> bool {
        matches!(self, Self::Abandoned(_))
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
        Stored::Unreadable(what) => Standing::Unreadable(what.clone()),
    }
}

fn judge_record(record: &Record, evidence: &Evidence, now: &Now) -> Standing {
    let lapse = evidence.lapse.unwrap_or_else(|| lapse_by_record(record, evidence, now));
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

/// What is left of a lease by its record.
pub(super) fn lapse_by_record(record: &Record, evidence: &Evidence, now: &Now) -> Lapse {
    // What lives is of this boot.
    let earlier_boot = evidence.earlier_boot && evidence.liveness != Liveness::Alive;
    lapse(record, now, evidence.unchanged_for, earlier_boot)
}

/// One of those who hold a name.
pub(super) struct Seat<'a> {
    /// Which of several.
    pub(super) id: Option<&'a LockId>,
    /// What is known of it.
    pub(super) evidence: &'a Evidence,
    /// How it stands.
    pub(super) standing: Standing,
}

/// Those who hold the name; whatever else stands there in a record's place is one of them.
pub(super) fn seats<'a>(evidence: &'a Evidence, now: &Now) -> Vec<Seat<'a>> {
    if is_joint(evidence) {
        let seat = |holder: &'a Holder| Seat {
            id: Some(&holder.id),
            standing: judge(&holder.evidence, now),
            evidence: &holder.evidence,
        };
        return evidence.holders.iter().map(seat).collect();
    }
    match judge(evidence, now) {
        Standing::Free => Vec::new(),
        standing => vec![Seat { id: None, evidence, standing }],
    }
}

/// Whether the record says that several hold the name.
pub(super) fn is_joint(evidence: &Evidence) -> bool {
    evidence.record().is_some_and(|record| record.group().is_some())
}

/// How those stand who hold a name together: as the one does who is most in the way.
fn judge_together(evidence: &Evidence, now: &Now) -> Standing {
    // Of none: whoever was the last has died before it could say so.
    let nobody = Standing::Abandoned(Abandoned::HolderDead);
    first_in_the_way(&seats(evidence, now)).map_or(nobody, |seat| seat.standing.clone())
}

/// The one most in the way: of those who hold it for certain, the one whose lease ends first.
pub(super) fn first_in_the_way<'s, 'a>(seats: &'s [Seat<'a>]) -> Option<&'s Seat<'a>> {
    seats.iter().min_by_key(|seat| match &seat.standing {
        Standing::Held { .. } => (0, seat.standing.left().is_none(), seat.standing.left()),
        Standing::Abandoned(_) | Standing::Free => (3, false, None),
        Standing::Lapsed { .. } => (2, false, None),
        _ => (1, false, None),
    })
}

impl Seat<'_> {
    pub(super) fn record(&self) -> Option<&Record> {
        self.evidence.record()
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.standing.is_abandoned()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Lapse;
    use super::super::clock::tests::at;
    use super::*;

    #[test]
    fn the_record_of_one_who_lives_is_of_this_boot() {
        let (kind, clock_id) = (Some(Kind::Manual), Some("boot-0/1".to_owned()));
        let record = Record { kind, clock_id, ttl_sec: Some(1), ..Record::default() };
        let known = |liveness| Evidence { liveness, earlier_boot: true, ..Evidence::default() };
        let lapsed = |liveness| lapse_by_record(&record, &known(liveness), &at(1)).has_lapsed();
        assert_eq!([Liveness::Unknown, Liveness::Alive].map(lapsed), [true, false]);
    }

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
