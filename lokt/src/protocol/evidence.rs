//! What is known of a name at the instant of a decision.

use std::time::Duration;

use super::lease::Lapse;
use super::liveness::Liveness;
use super::mode::Mode;
use super::record::{LockId, Record};
use super::stored::{Stored, Unreadable};

/// What a store knows of a name at the instant of a decision, gathered under its atomicity.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evidence {
    /// What stands in the record's place.
    pub stored: Stored,
    /// Whether the record's holder lives.
    pub liveness: Liveness,
    /// How long the asker has seen this very record, unchanged, on its own clock; zero if it never looked before.
    pub unchanged_for: Duration,
    /// The record seems to be from an earlier boot of this machine.
    pub earlier_boot: bool,
    /// What is left of the lease, where the store itself tells that: then the record's deadline does not count.
    pub lapse: Option<Lapse>,
    /// Some session of this name still lives (asked only when the record is corrupt).
    pub survivors: bool,
    /// Those who hold the name together, if the record says that several do; only those whom the request is about.
    pub holders: Vec<Holder>,
    /// A freeze in force.
    pub freeze: Option<Freeze>,
    /// How many waiters stand before the asker, from the first on that is ready: none, if nobody is.
    pub ahead: usize,
    /// How the first of them wants it.
    pub first_wants: Mode,
    /// A token larger than any that the store has handed out for this name.
    pub next_token: u64,
}

/// One of those who hold a name together.
#[derive(Debug, Clone, PartialEq)]
pub struct Holder {
    /// Which admission.
    pub id: LockId,
    /// What is known of it: its own record, its life.
    pub evidence: Evidence,
}

impl Evidence {
    /// Of what is stored in a record's place: what `witness` knows of a record, and whether there are `survivors`
    /// where it is none.
    pub fn of(
        stored: Stored,
        witness: impl FnOnce(Box<Record>) -> Self,
        survivors: impl FnOnce() -> bool,
    ) -> Self {
        match stored {
            Stored::Record(record) => witness(record),
            corrupt @ Stored::Corrupt(_) => {
                Self { survivors: survivors(), stored: corrupt, ..Self::default() }
            }
            stored => Self { stored, ..Self::default() },
        }
    }

    /// How the name is held, if it is.
    pub fn mode(&self) -> Mode {
        self.record().filter(|record| record.group().is_some()).map_or(Mode::Exclusive, Record::mode)
    }

    /// The record, if there is one.
    pub fn record(&self) -> Option<&Record> {
        self.stored.record()
    }
}

impl Holder {
    /// One of the group, by what is `stored` in the place that belongs to it; see [`Evidence::of`]. `None` if that says
    /// nothing of this group.
    pub fn of(
        id: LockId,
        group: &str,
        stored: Stored,
        witness: impl FnOnce(Box<Record>) -> Evidence,
        lives: impl FnOnce(&LockId) -> bool,
    ) -> Option<Self> {
        let evidence = match stored.of_group(group, &id) {
            Stored::Empty => return None,
            stored => Evidence::of(stored, witness, || lives(&id)),
        };
        Some(Self { id, evidence })
    }
}

/// A freeze that is in force: nobody is admitted until it ends.
#[derive(Debug, Clone, PartialEq)]
pub struct Freeze {
    /// Its record.
    pub record: Box<Record>,
    /// What is left of it; `None` if it does not end by itself.
    pub left: Option<Duration>,
    /// Why nothing is known of it but that it is there; its record tells nothing then.
    pub unknown: Option<UnknownFreeze>,
}

/// Why nothing is known of a freeze.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnknownFreeze {
    /// It is of this version, which is newer.
    Newer(String),
    /// What stands in its place can't be read, and why.
    Unreadable(Unreadable),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a store knows of a record.
    fn witness(record: Box<Record>) -> Evidence {
        Evidence { liveness: Liveness::Alive, stored: Stored::Record(record), ..Evidence::default() }
    }

    fn id() -> LockId {
        LockId::from_random([7; 16])
    }

    fn record(group: &str) -> Box<Record> {
        let (lock_id, joint) = (id().to_string(), Some(group.to_owned()));
        Box::new(Record { lock_id, joint, ..Record::default() })
    }

    #[test]
    fn a_record_is_known_by_its_witness_and_what_is_none_by_who_survives_it() {
        let not_asked = || panic!("it does not matter");
        assert_eq!(Evidence::of(Stored::Record(record("a")), witness, not_asked), witness(record("a")));
        let corrupt = Stored::Corrupt("nonsense".to_owned());
        for survivors in [false, true] {
            let known = Evidence { stored: corrupt.clone(), survivors, ..Evidence::default() };
            assert_eq!(Evidence::of(corrupt.clone(), witness, || survivors), known);
        }
        for stored in [Stored::Empty, Stored::Torn, Stored::Newer("2".to_owned())] {
            let known = Evidence { stored: stored.clone(), ..Evidence::default() };
            assert_eq!(Evidence::of(stored, witness, not_asked), known);
        }
    }

    #[test]
    fn one_of_several_is_known_by_what_stands_in_its_place_of_their_group() {
        let of = |stored, lives: bool| {
            Holder::of(id(), "a", stored, witness, |whose| {
                assert_eq!(*whose, id());
                lives
            })
        };
        let known = |evidence| Some(Holder { id: id(), evidence });
        assert_eq!(of(Stored::Record(record("a")), false), known(witness(record("a"))));
        assert_eq!(of(Stored::Record(record("b")), true), None);
        assert_eq!(of(Stored::Empty, true), None);
        let stored = Stored::Corrupt("nonsense".to_owned());
        for survivors in [false, true] {
            let evidence = Evidence { stored: stored.clone(), survivors, ..Evidence::default() };
            assert_eq!(of(stored.clone(), survivors), known(evidence));
        }
    }
}
