//! What stands in a record's place.

use super::record::{LockId, Record};

/// What stands in a record's place.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Stored {
    /// Nothing.
    #[default]
    Empty,
    /// A whole record.
    Record(Box<Record>),
    /// An empty or half record so young that the Go tool may still be writing it.
    Torn,
    /// Something that is no record.
    Corrupt(String),
    /// A record of a version that this code does not know.
    Newer(String),
    /// Something that may not or must not be read: a symlink, a directory, another's file.
    Unreadable(Unreadable),
}

/// Why something can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// In words.
    pub why: String,
    /// What there was too little of, if it was that.
    pub shortage: Option<Shortage>,
}

impl From<&str> for Unreadable {
    fn from(why: &str) -> Self {
        Self { why: why.to_owned(), shortage: None }
    }
}

/// What the system had too little of for this process, which says nothing of any lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortage {
    /// Files that this process may have open.
    OpenFiles,
    /// Files that all processes may have open.
    OpenFilesOfAll,
    /// Memory.
    Memory,
}

impl Stored {
    /// The record, if it is one.
    pub fn record(&self) -> Option<&Record> {
        match self {
            Self::Record(record) => Some(record),
            _ => None,
        }
    }

    /// What this place, which is one of several and belongs to the admission `id`, says of the group: the record of
    /// another group says nothing.
    #[must_use]
    pub fn of_group(self, group: &str, id: &LockId) -> Self {
        match self {
            Self::Record(record) if record.joint.as_deref() != Some(group) => Self::Empty,
            Self::Record(record) if record.lock_id != id.as_str() => {
                Self::Corrupt("it is called after another admission".to_owned())
            }
            stored => stored,
        }
    }

    /// From the name's own place, that of the admission `id`: the same, or `beside` it if several hold the name together.
    #[must_use]
    pub fn of_one(self, id: &LockId, beside: impl FnOnce() -> Self) -> Self {
        match self.record().and_then(Record::group) {
            Some(group) => beside().of_group(group, id),
            None => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::Kind;
    use super::*;

    fn of(group: Option<&str>, kind: Kind) -> Stored {
        let (joint, lock_id) = (group.map(str::to_owned), id(1).to_string());
        let record = Record { joint, lock_id, kind: Some(kind), shared: true, ..Record::default() };
        Stored::Record(Box::new(record))
    }

    fn id(number: u8) -> LockId {
        LockId::from_random([number; 16])
    }

    #[test]
    fn of_a_group_counts_what_is_of_that_group() {
        let own = of(Some("a"), Kind::Guard);
        assert_eq!(own.clone().of_group("a", &id(1)), own);
        assert_eq!(own.clone().of_group("b", &id(1)), Stored::Empty);
        assert_eq!(of(None, Kind::Guard).of_group("a", &id(1)), Stored::Empty);
        let untold = Stored::Corrupt("nonsense".to_owned());
        assert_eq!(untold.clone().of_group("a", &id(1)), untold, "it may be of any");
        assert!(matches!(own.of_group("a", &id(2)), Stored::Corrupt(_)), "it stands in another's place");
    }

    #[test]
    fn beside_a_group_an_admission_has_a_place_of_its_own() {
        let (group, alone) = (of(Some("a"), Kind::Joint), of(None, Kind::Guard));
        let own = || of(Some("a"), Kind::Guard);
        assert_eq!(group.clone().of_one(&id(1), own), own());
        assert_eq!(group.of_one(&id(1), || of(Some("b"), Kind::Guard)), Stored::Empty);
        assert_eq!(alone.clone().of_one(&id(1), own), alone);
        assert_eq!(Stored::Empty.of_one(&id(1), own), Stored::Empty);
    }
}
