//! What stands in a record's place.

use super::record::Record;

/// What stands in a record's place.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Slot {
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
    Unreadable(String),
}

impl Slot {
    /// The record, if it is one.
    pub fn record(&self) -> Option<&Record> {
        match self {
            Self::Record(record) => Some(record),
            _ => None,
        }
    }

    /// What this place, which is one of several, says of the group: the record of another group says nothing.
    #[must_use]
    pub fn of_group(self, group: &str) -> Self {
        match self {
            Self::Record(record) if record.joint.as_deref() != Some(group) => Self::Empty,
            slot => slot,
        }
    }

    /// From the name's own place, that of one admission: the same, or `beside` it if several hold the name together.
    #[must_use]
    pub fn of_one(self, beside: impl FnOnce() -> Self) -> Self {
        match self.record().and_then(Record::group) {
            Some(group) => beside().of_group(group),
            None => self,
        }
    }
}
