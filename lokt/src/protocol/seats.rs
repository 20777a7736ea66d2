//! Those who hold a name: nobody, one alone, or several together. Each is judged by itself.

use super::clock::Now;
use super::decide::{Authority, Displaced};
use super::evidence::Evidence;
use super::record::{LockId, Record};
use super::standing::{Abandoned, Standing, judge};

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
        let seat = |holder: &'a super::Holder| Seat {
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

/// What is removed with a group that nobody belongs to any more.
pub(super) fn of_nobody(evidence: &Evidence, standing: Standing, authority: Option<&Authority>) -> Displaced {
    Displaced {
        holder: None,
        record: evidence.record().cloned().map(Box::new),
        standing,
        authority: authority.cloned(),
    }
}

/// How those stand who hold a name together: as the one does who is most in the way.
pub(super) fn judge_together(evidence: &Evidence, now: &Now) -> Standing {
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
        matches!(self.standing, Standing::Abandoned(_))
    }

    /// What is removed with it, and by what right.
    pub(super) fn displaced(&self, authority: Option<&Authority>) -> Displaced {
        Displaced {
            holder: self.id.cloned(),
            record: self.record().cloned().map(Box::new),
            standing: self.standing.clone(),
            authority: authority.cloned(),
        }
    }
}
