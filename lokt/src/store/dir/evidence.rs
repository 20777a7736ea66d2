//! Gathers what a decision needs to know.

use super::freeze::unchanged_for;
use super::list::Listing;
use super::{DirStore, Seen};
use crate::host::{Dir, ProcessState, SessionState};
use crate::protocol::{Evidence, Kind, Liveness, LockId, Name, Now, Record, Request, Stored, Whom};
use crate::store::content::LARGEST;
use crate::store::process_of;

/// What is known of a name in a root that does not exist.
pub(super) fn nothing() -> Evidence {
    Evidence::default()
}

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
        let mut evidence = match self.read_record(name) {
            Stored::Record(record) => self.witness(name, record, seen, now),
            Stored::Corrupt(why) => Evidence {
                survivors: self.has_survivors(name, all),
                stored: Stored::Corrupt(why),
                ..nothing()
            },
            stored => Evidence { stored, ..nothing() },
        };
        let whom = request.map_or(Whom::All, |request| request.concerns(evidence.mode()));
        self.add_holders(name, &mut evidence, whom, seen, now);
        evidence.freeze = self.freeze(name, seen, now, all);
        evidence
    }

    /// What is known of a holder, by its record.
    pub(super) fn witness(&self, name: &Name, record: Box<Record>, seen: &[Seen<'_>], now: &Now) -> Evidence {
        let earlier_boot = self.is_of_earlier_boot(&record, now);
        let liveness = self.liveness(name, &record, earlier_boot, now);
        Evidence {
            unchanged_for: unchanged_for(&record, seen, now),
            liveness,
            // What lives is of this boot.
            earlier_boot: earlier_boot && liveness != Liveness::Alive,
            stored: Stored::Record(record),
            ..nothing()
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
            Err(error) => Stored::Unreadable(error.to_string()),
        }
    }

    /// Whether the record was written before this machine last booted. Only certain if no other machine can
    /// have written it (a local file system, and this machine's name), and no container that is told another boot.
    pub(super) fn is_of_earlier_boot(&self, record: &Record, now: &Now) -> bool {
        record.clock().is_some_and(|then| then.tells_kernels() && then.boot() != now.clock.boot())
            && now.clock.tells_kernels()
            && record.host == self.identity.host
            && self.host.is_local()
    }

    fn liveness(&self, name: &Name, record: &Record, earlier_boot: bool, now: &Now) -> Liveness {
        match record.kind {
            Some(Kind::Guard) => self.guard_liveness(name, record, earlier_boot, now),
            _ if earlier_boot && record.pid != 0 => Liveness::Dead,
            Some(Kind::Manual) if record.pid != 0 => self.process_liveness(record, now),
            None if record.host == self.identity.host => {
                match self.host.process(record.pid, record.pid_start_ns) {
                    ProcessState::Gone => Liveness::Dead,
                    ProcessState::Running | ProcessState::Unknown => Liveness::Alive,
                }
            }
            Some(Kind::Manual | Kind::Freeze | Kind::Joint | Kind::Unknown) | None => Liveness::Unknown,
        }
    }

    fn guard_liveness(&self, name: &Name, record: &Record, earlier_boot: bool, now: &Now) -> Liveness {
        let session = match record.id() {
            Some(id) => self.sessions.probe(name, &id, record.session_ino),
            None => SessionState::Missing,
        };
        match session {
            SessionState::Locked => Liveness::Alive,
            _ if earlier_boot => Liveness::Dead,
            SessionState::Unlocked if record.session_local && self.host.is_local() => Liveness::Dead,
            // Another kernel's flock need not be visible here; nor one through another mount of a network's.
            SessionState::Unlocked => self.process_liveness(record, now),
            SessionState::Missing => Liveness::Unknown,
        }
    }

    fn process_liveness(&self, record: &Record, now: &Now) -> Liveness {
        process_of(self.host.as_ref(), &self.identity, record, now).into()
    }

    /// Whether a session of this name lives that is not merely waiting.
    fn has_survivors(&self, name: &Name, all: Option<&Listing>) -> bool {
        let (Ok(waiting), Some(sessions)) = (self.tickets(name), self.sessions_of(name, all)) else {
            return true;
        };
        let waits = |id: &LockId| waiting.iter().any(|(_, other)| other == id);
        sessions.iter().any(|id| !waits(id) && self.lives(name, id))
    }
}
