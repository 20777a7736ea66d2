//! Freezes: while one is in force, nobody is admitted to the name. Every rule of placing and lifting one stands here.
//!
//! A freeze has no holder and no heartbeat: it ends with its TTL, or when somebody lifts it. It takes nothing from
//! whoever holds the lock already.

use std::time::Duration;

use super::clock::Now;
use super::evidence::{Freeze, UnknownFreeze};
use super::lease::{Lapse, lapse};
use super::record::{Kind, Record};
use super::refusal::Refusal;
use super::request::Claim;
use super::stored::Stored;

/// What is known of the freeze of a name at the instant of a decision.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FreezeEvidence {
    /// What stands in its place.
    pub stored: Stored,
    /// How long the asker has seen it unchanged, on its own clock; see [`super::Evidence::unchanged_for`].
    pub unchanged_for: Duration,
    /// It is from an earlier boot of this machine.
    pub earlier_boot: bool,
    /// What is left of it, where the store itself tells that.
    pub lapse: Option<Lapse>,
}

/// What is asked of the freeze of a name.
#[derive(Debug, Clone, PartialEq)]
pub enum FreezeRequest {
    /// Keep everybody out, for the time of the claim's TTL.
    Place(Claim),
    /// End it.
    Lift(LiftBy),
}

/// By what right a freeze is lifted.
#[derive(Debug, Clone, PartialEq)]
pub enum LiftBy {
    /// Somebody of that owner's name.
    Owner(String),
    /// `unfreeze --force`: whoever placed it.
    Force,
    /// A sweep: it is in force no more.
    Sweep,
}

impl FreezeRequest {
    /// What it is to do to a name, in a word.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Place(_) => "freeze",
            Self::Lift(_) => "unfreeze",
        }
    }
}

/// What happens to the freeze of a name. The store carries it out.
#[derive(Debug, Clone, PartialEq)]
pub enum FreezeDecision {
    /// Write this record.
    Place(Box<Record>),
    /// Remove what stands there: its record, if it is one.
    Lift(Option<Box<Record>>),
    /// Change nothing.
    Refuse(Refusal),
}

impl FreezeEvidence {
    /// The freeze, if it is in force. A corrupt one binds nobody, as in the Go tool; one that can't be read, or is
    /// of a newer version, does.
    pub fn in_force(&self, now: &Now) -> Option<Freeze> {
        let unknown = match &self.stored {
            Stored::Record(record) => {
                let lapse =
                    self.lapse.unwrap_or_else(|| lapse(record, now, self.unchanged_for, self.earlier_boot));
                let freeze = Freeze { record: record.clone(), left: lapse.left(), unknown: None };
                return (!lapse.has_lapsed()).then_some(freeze);
            }
            Stored::Newer(version) => UnknownFreeze::Newer(version.clone()),
            Stored::Unreadable(what) => UnknownFreeze::Unreadable(what.clone()),
            Stored::Empty | Stored::Torn | Stored::Corrupt(_) => return None,
        };
        let note = match &unknown {
            UnknownFreeze::Newer(version) => format!("of a newer version, {version}"),
            UnknownFreeze::Unreadable(what) => format!("not to be read: {}", what.why),
        };
        Some(Freeze { record: Box::new(unknown_freeze(note)), left: None, unknown: Some(unknown) })
    }
}

impl Freeze {
    /// Why it could not be seen whether there is one: for want of something, which says nothing of it.
    pub(super) fn unseen(&self) -> Option<Refusal> {
        match &self.unknown {
            Some(UnknownFreeze::Unreadable(what)) if what.shortage.is_some() => {
                Some(Refusal::UnreadableFreeze(what.clone()))
            }
            _ => None,
        }
    }
}

fn unknown_freeze(note: String) -> Record {
    Record { kind: Some(Kind::Freeze), note: Some(note), ..Record::default() }
}

/// Decides what `request` makes of the freeze of a name.
pub fn decide_freeze(
    name: &str,
    request: &FreezeRequest,
    evidence: &FreezeEvidence,
    now: &Now,
) -> FreezeDecision {
    let freeze = evidence.in_force(now);
    match request {
        FreezeRequest::Place(claim) => place(name, claim, freeze, now),
        FreezeRequest::Lift(by) => lift(by, &evidence.stored, freeze),
    }
}

fn place(name: &str, claim: &Claim, freeze: Option<Freeze>, now: &Now) -> FreezeDecision {
    if let Some(freeze) = freeze {
        return FreezeDecision::Refuse(freeze.unseen().unwrap_or(Refusal::FrozenAlready(freeze)));
    }
    FreezeDecision::Place(Box::new(claim.record(name, None, now)))
}

fn lift(by: &LiftBy, stored: &Stored, freeze: Option<Freeze>) -> FreezeDecision {
    let refusal = match (by, stored, freeze) {
        (_, Stored::Empty, _) => Refusal::NotFrozen,
        (_, Stored::Unreadable(what), _) => Refusal::UnreadableFreeze(what.clone()),
        (LiftBy::Force, ..) => return removed(stored),
        (LiftBy::Owner(owner), _, Some(freeze)) if freeze.record.owner == *owner => return removed(stored),
        (LiftBy::Owner(_), _, Some(freeze)) => Refusal::AnothersFreeze(freeze),
        // What has lapsed, or can't be one, is no freeze that anybody could end.
        (LiftBy::Owner(_), _, None) => Refusal::NotFrozen,
        // The Go tool may be writing it at this moment.
        (LiftBy::Sweep, Stored::Torn, _) => Refusal::NotFrozen,
        (LiftBy::Sweep, _, None) => return removed(stored),
        (LiftBy::Sweep, _, Some(freeze)) => Refusal::FrozenAlready(freeze),
    };
    FreezeDecision::Refuse(refusal)
}

fn removed(stored: &Stored) -> FreezeDecision {
    FreezeDecision::Lift(match stored {
        Stored::Record(record) => Some(record.clone()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::clock::tests::at;
    use super::super::request::tests::claim;
    use super::super::{ClockId, Decision, Evidence, LockId, Manner, Request, Shortage, Unreadable, decide};
    use super::*;

    const TTL: Duration = Duration::from_secs(60);

    fn place_at(stored: Stored, now: &Now) -> FreezeDecision {
        let request = FreezeRequest::Place(of_incident());
        decide_freeze("x", &request, &known(stored), now)
    }

    fn of_incident() -> Claim {
        let claim = claim(Kind::Freeze, Some(TTL));
        Claim { pid: 0, pid_start: None, pid_ns: None, note: Some("incident".into()), ..claim }
    }

    fn known(stored: Stored) -> FreezeEvidence {
        FreezeEvidence { stored, ..FreezeEvidence::default() }
    }

    /// The record of a freeze that ada placed at second 0.
    fn placed() -> Box<Record> {
        match place_at(Stored::Empty, &at(0)) {
            FreezeDecision::Place(record) => record,
            other => panic!("{other:?}"),
        }
    }

    fn lift_at(seconds: u64, by: &LiftBy, stored: &Stored) -> FreezeDecision {
        decide_freeze("x", &FreezeRequest::Lift(by.clone()), &known(stored.clone()), &at(seconds))
    }

    fn owner(name: &str) -> LiftBy {
        LiftBy::Owner(name.to_owned())
    }

    #[test]
    fn a_freeze_ends_with_its_ttl() {
        let freeze = known(Stored::Record(placed()));
        assert_eq!(freeze.in_force(&at(59)).and_then(|freeze| freeze.left), Some(Duration::from_secs(1)));
        assert_eq!(freeze.in_force(&at(60)), None);
        let mut abroad = at(60);
        abroad.clock = ClockId::new("boot-2/0");
        assert!(freeze.in_force(&abroad).is_some(), "another's clock says nothing");
        let watched = FreezeEvidence { unchanged_for: TTL, ..freeze.clone() };
        assert_eq!(watched.in_force(&abroad), None, "it was watched for its whole time");
        let rebooted = FreezeEvidence { earlier_boot: true, ..freeze };
        assert_eq!(rebooted.in_force(&abroad), None, "the machine is up for longer than that");
    }

    #[test]
    fn a_freeze_that_can_not_be_read_is_in_force_and_says_why() {
        for (stored, why) in
            [(Stored::Newer("2".into()), "newer version, 2"), (Stored::Unreadable("EIO".into()), "EIO")]
        {
            let freeze = known(stored).in_force(&at(0)).expect("doubt counts as held");
            assert_eq!((freeze.record.kind, freeze.left), (Some(Kind::Freeze), None));
            assert!(freeze.record.note.as_ref().is_some_and(|note| note.contains(why)), "{freeze:?}");
        }
        for stored in [Stored::Empty, Stored::Torn, Stored::Corrupt("?".into())] {
            assert_eq!(known(stored).in_force(&at(0)), None, "as in the Go tool");
        }
    }

    #[test]
    fn what_could_not_be_seen_for_want_of_something_is_no_freeze() {
        let stored = |shortage| Stored::Unreadable(Unreadable { why: "EMFILE".to_owned(), shortage });
        let refusals = |shortage| {
            let acquire = Request::Acquire(claim(Kind::Guard, None), Manner::Plain);
            let evidence =
                Evidence { freeze: known(stored(shortage)).in_force(&at(0)), ..Evidence::default() };
            match (decide("x", &acquire, &evidence, &at(0)), place_at(stored(shortage), &at(0))) {
                (Decision::Refuse(one), FreezeDecision::Refuse(other)) => (one, other),
                other => panic!("{other:?}"),
            }
        };
        let there = refusals(None);
        assert!(matches!(there, (Refusal::Frozen(_), Refusal::FrozenAlready(_))), "{there:?}");
        let unseen = refusals(Some(Shortage::OpenFiles));
        assert!(matches!(unseen, (Refusal::UnreadableFreeze(_), Refusal::UnreadableFreeze(_))), "{unseen:?}");
    }

    #[test]
    fn a_request_says_what_it_is_to_do() {
        let lift = FreezeRequest::Lift(LiftBy::Sweep);
        assert_eq!([FreezeRequest::Place(of_incident()), lift].map(|one| one.verb()), ["freeze", "unfreeze"]);
    }

    #[test]
    fn a_freeze_says_who_and_why_and_has_no_process() {
        let record = placed();
        assert_eq!((&*record.name, &*record.owner, record.pid), ("x", "ada", 0));
        assert_eq!((&*record.host, &*record.agent_id), ("here", "agent-1"));
        assert_eq!((record.kind, record.version, record.token), (Some(Kind::Freeze), 1, None));
        assert_eq!(record.acquired(), Some(at(0).wall));
        assert_eq!((record.ttl(), record.note.as_deref()), (Some(TTL), Some("incident")));
        assert_eq!(record.lock_id, LockId::from_random([7; 16]).as_str());
    }

    #[test]
    fn what_is_frozen_is_not_frozen_once_more() {
        let freeze = Stored::Record(placed());
        let again = place_at(freeze.clone(), &at(59));
        assert!(matches!(again, FreezeDecision::Refuse(Refusal::FrozenAlready(_))), "{again:?}");
        let newer = place_at(Stored::Newer("2".into()), &at(0));
        assert!(matches!(newer, FreezeDecision::Refuse(Refusal::FrozenAlready(_))), "{newer:?}");
        for over in [freeze, Stored::Corrupt("?".into()), Stored::Torn] {
            let placed = place_at(over.clone(), &at(60));
            assert!(matches!(placed, FreezeDecision::Place(_)), "{over:?} is in nobody's way");
        }
    }

    #[test]
    fn a_freeze_is_lifted_by_its_owner_or_by_force() {
        let freeze = Stored::Record(placed());
        assert_eq!(lift_at(1, &owner("ada"), &freeze), FreezeDecision::Lift(Some(placed())));
        let refused = lift_at(1, &owner("eve"), &freeze);
        assert!(matches!(refused, FreezeDecision::Refuse(Refusal::AnothersFreeze(_))), "{refused:?}");
        assert_eq!(lift_at(1, &LiftBy::Force, &freeze), FreezeDecision::Lift(Some(placed())));
        let newer = Stored::Newer("2".into());
        let refused = lift_at(1, &owner("ada"), &newer);
        assert!(matches!(refused, FreezeDecision::Refuse(Refusal::AnothersFreeze(_))), "{refused:?}");
        assert_eq!(lift_at(1, &LiftBy::Force, &newer), FreezeDecision::Lift(None));
    }

    #[test]
    fn what_is_in_force_no_more_is_swept_and_not_lifted() {
        let none = FreezeDecision::Refuse(Refusal::NotFrozen);
        let freeze = Stored::Record(placed());
        assert_eq!(lift_at(60, &owner("ada"), &freeze), none);
        assert_eq!(lift_at(60, &LiftBy::Sweep, &freeze), FreezeDecision::Lift(Some(placed())));
        let alive = lift_at(59, &LiftBy::Sweep, &freeze);
        assert!(matches!(alive, FreezeDecision::Refuse(Refusal::FrozenAlready(_))), "{alive:?}");
        let corrupt = Stored::Corrupt("?".into());
        assert_eq!(lift_at(0, &owner("ada"), &corrupt), none);
        assert_eq!(lift_at(0, &LiftBy::Sweep, &corrupt), FreezeDecision::Lift(None));
        assert_eq!(lift_at(0, &LiftBy::Sweep, &Stored::Torn), none, "it may be just being written");
        for by in [owner("ada"), LiftBy::Force, LiftBy::Sweep] {
            assert_eq!(lift_at(0, &by, &Stored::Empty), none);
            let odd = lift_at(0, &by, &Stored::Unreadable("a FIFO".into()));
            assert!(
                matches!(odd, FreezeDecision::Refuse(Refusal::UnreadableFreeze(_))),
                "not lokt's to remove: {odd:?}"
            );
        }
    }
}
