//! Why a request is refused.

use super::evidence::Freeze;
use super::mode::Mode;
use super::record::{LockId, Record};
use super::standing::Standing;
use super::stored::Unreadable;

/// Why nothing happens.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// Somebody holds it.
    Held {
        /// The holder's record, if there is one to show.
        record: Option<Box<Record>>,
        /// How it stands.
        standing: Standing,
        /// How it is held.
        mode: Mode,
        /// Those who hold it together with that one.
        others: Vec<Record>,
    },
    /// It is held in a way that what was asked for has no place in: another number of slots, say.
    OtherMode {
        /// How it is held.
        held: Mode,
        /// How it was asked for.
        asked: Mode,
        /// By how many.
        holders: usize,
        /// One of them.
        record: Box<Record>,
    },
    /// There is room for the asker, but waiters stand before it.
    Queued {
        /// How many, from the first on that is ready.
        ahead: usize,
        /// Whether the first of them could have it now.
        free: bool,
    },
    /// It is frozen.
    Frozen(Freeze),
    /// It is frozen, and can't be frozen once more.
    FrozenAlready(Freeze),
    /// It is not frozen.
    NotFrozen,
    /// It was frozen by another.
    AnothersFreeze(Freeze),
    /// What stands in its freeze's place can't be read, so that it can't be ended; or not even seen.
    UnreadableFreeze(Unreadable),
    /// There is no such lock.
    NotFound,
    /// It is another's, or a guard's own.
    NotOwner {
        /// The holder's record.
        record: Box<Record>,
        /// How it stands: nobody needs to be the owner of what is stale.
        standing: Standing,
    },
    /// Several of those who hold it are the asker's: it must say which.
    Several(Vec<LockId>),
    /// So many hold it, and none of them is the asker's to release: it takes force, and to say which.
    SeveralOfOthers(usize),
    /// It is not stale.
    NotStale {
        /// The holder's record, if there is one to show.
        record: Option<Box<Record>>,
        /// How it stands.
        standing: Standing,
    },
    /// The session's record is gone, or another's: the lock is lost.
    Lost(Option<Box<Record>>),
    /// The process that it was tied to has ended, so that there is nothing to renew.
    PidGone(Box<Record>),
    /// It has no TTL to renew.
    NoLease(Box<Record>),
    /// What stands there can't be dealt with by this version, or at all.
    Unusable(Standing),
}

impl Refusal {
    pub(super) fn not_owner(record: &Record, standing: &Standing) -> Self {
        Self::NotOwner { record: Box::new(record.clone()), standing: standing.clone() }
    }

    /// The record of whoever is in the way, if it is one holder's.
    pub fn record(&self) -> Option<&Record> {
        match self {
            Self::Held { record, .. } | Self::NotStale { record, .. } => record.as_deref(),
            Self::OtherMode { record, .. }
            | Self::NotOwner { record, .. }
            | Self::PidGone(record)
            | Self::NoLease(record) => Some(record),
            _ => None,
        }
    }

    /// Whether there is room for the asker, and for whoever is first of those who stand before it.
    pub fn is_free(&self) -> bool {
        matches!(self, Self::Queued { free: true, .. })
    }

    /// Whether nobody's end would change it, so that there is nothing to wait for.
    pub fn is_hopeless(&self) -> bool {
        matches!(self, Self::Unusable(_) | Self::UnreadableFreeze(_) | Self::OtherMode { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::super::lease::Lapse;
    use super::super::{Abandoned, Liveness};
    use super::*;

    #[test]
    fn of_who_is_in_the_way_there_is_a_record() {
        let record = Box::new(Record { owner: "ada".to_owned(), ..Record::default() });
        let standing = Standing::Held { lapse: Lapse::Never, liveness: Liveness::Alive };
        let (held, asked, some) = (Mode::Shared, Mode::Slots(2), Some(record.clone()));
        for refusal in [
            Refusal::Held {
                record: some.clone(),
                standing: standing.clone(),
                mode: held,
                others: Vec::new(),
            },
            Refusal::NotStale { record: some, standing: standing.clone() },
            Refusal::OtherMode { held, asked, holders: 1, record: record.clone() },
            Refusal::NotOwner { record: record.clone(), standing: standing.clone() },
            Refusal::NoLease(record.clone()),
        ] {
            assert_eq!(refusal.record(), Some(&*record), "{refusal:?}");
            assert!(!refusal.is_free());
            assert_eq!(refusal.is_hopeless(), matches!(refusal, Refusal::OtherMode { .. }), "{refusal:?}");
        }
        assert_eq!(Refusal::NotFound.record(), None);
        assert!(Refusal::Unusable(Standing::Abandoned(Abandoned::Corrupt)).is_hopeless());
    }

    #[test]
    fn what_is_waited_for_is_free_if_the_first_in_line_could_have_it() {
        for free in [false, true] {
            let queued = Refusal::Queued { ahead: 1, free };
            assert_eq!((queued.is_free(), queued.is_hopeless()), (free, false));
        }
    }
}
