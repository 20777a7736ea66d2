//! Gathers what a decision needs to know.

use super::freeze::unchanged_for;
use super::list::Listing;
use super::{DirStore, Seen};
use crate::host::Dir;
use crate::protocol::{
    Evidence, Here, LockId, Name, Now, Record, Request, SessionFiles, Stored, Whom, liveness,
};
use crate::store::content::LARGEST;

impl DirStore {
    /// Everything but the line and the token.
    pub(super) fn gather(&self, name: &Name, seen: &[Seen<'_>], now: &Now) -> Evidence {
        self.gather_from(name, None, seen, now, None)
    }

    /// As [`gather`](Self::gather), of those who hold the name together only what the request is about; and looking
    /// only for what a listing shows, if there is one.
    pub(super) fn gather_from(
        &self,
        name: &Name,
        request: Option<&Request>,
        seen: &[Seen<'_>],
        now: &Now,
        all: Option<&Listing>,
    ) -> Evidence {
        let mut evidence = Evidence::of(
            self.read_record(name),
            |record| self.witness(name, record, seen, now),
            || self.has_survivors(name, request.and_then(Request::claimant), all),
        );
        let whom = request.map_or(Whom::All, |request| request.concerns(evidence.mode()));
        self.add_holders(name, &mut evidence, whom, seen, now);
        evidence.freeze = self.freeze(name, seen, now, all);
        evidence
    }

    /// What is known of a holder, by its record.
    pub(super) fn witness(&self, name: &Name, record: Box<Record>, seen: &[Seen<'_>], now: &Now) -> Evidence {
        Evidence {
            unchanged_for: unchanged_for(&record, seen, now),
            liveness: liveness(&record, &self.here(now), &self.sessions.of(name)),
            earlier_boot: self.is_of_earlier_boot(&record, now),
            stored: Stored::Record(record),
            ..Evidence::default()
        }
    }

    pub(super) fn read_record(&self, name: &Name) -> Stored {
        self.read_stored(Dir::Locks, &Self::record_file(name))
    }

    pub(super) fn read_stored(&self, dir: Dir<'_>, file: &str) -> Stored {
        match self.host.read(dir, file, LARGEST) {
            Ok(None) => Stored::Empty,
            Ok(Some(content)) if content.truncated => Record::read_beginning(&content.bytes),
            Ok(Some(content)) => Record::read(&content.bytes, content.age),
            Err(error) => Stored::Unreadable(error.into()),
        }
    }

    /// Whether the deadline in the record was written before this machine last booted.
    pub(super) fn is_of_earlier_boot(&self, record: &Record, now: &Now) -> bool {
        self.here(now).is_earlier_boot(record.clock(), record)
    }

    /// From where this store looks at the holders.
    fn here<'a>(&'a self, now: &'a Now) -> Here<'a> {
        self.identity.here(&now.clock, self.host.is_local(), SessionFiles::Beside)
    }

    /// Whether a session of this name lives that is not merely waiting. The asker is, also when it was put out of line.
    fn has_survivors(&self, name: &Name, asker: Option<&LockId>, all: Option<&Listing>) -> bool {
        let (Ok(waiting), Some(sessions)) = (self.tickets(name), self.sessions_of(name, all)) else {
            return true;
        };
        let waits = |id: &LockId| asker == Some(id) || waiting.iter().any(|(_, other)| other == id);
        sessions.iter().any(|id| !waits(id) && self.lives(name, id))
    }
}
