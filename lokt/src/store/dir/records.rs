//! Records: how an admission comes to stand on the disk, and how it goes.

use std::io;
use std::sync::Arc;

use super::line::ticket_file;
use super::{Admission, DirStore, Error, Name, Ticket, holders, stripe_of};
use crate::audit::{self, Event};
use crate::host::{Dir, Draft, Publish, is_full};
use crate::protocol::{Displaced, Evidence, Kind, Mode, Now, Record, Stored};
use crate::store::content::content_of;

impl DirStore {
    /// Writes a record beside the mutex, and puts it in its place.
    pub(super) fn write_record(&self, name: &Name, record: &Record, how: Publish) -> io::Result<()> {
        self.publish_record(name, record, how, Draft::New(stripe_of(name.as_str())))
    }

    /// Writes a record that was renewed. On a full disk a guard's is written where it stands: that its lease lapses, and its
    /// command is ended, would be worse than a look that finds some of the old and some of the new.
    pub(super) fn write_renewed(&self, name: &Name, record: &Record) -> io::Result<()> {
        let written = self.write_record(name, record, Publish::Replace);
        let full = written.as_ref().is_err_and(|error| is_full(error.kind()));
        if full && record.kind == Some(Kind::Guard) {
            let (dir, file) = Self::place_of(name, record);
            return self.host.overwrite(dir, &file, &content_of(record)?).or(written);
        }
        written
    }

    /// Writes the record of one who is admitted. The file of a waiter's ticket becomes that of its record: so it
    /// stands in line until it is admitted, and at no instant both.
    fn write_own_record(
        &self,
        name: &Name,
        record: &Record,
        how: Publish,
        ticket: Option<&Ticket>,
    ) -> io::Result<()> {
        let Some(ticket) = ticket else {
            return self.write_record(name, record, how);
        };
        let file = ticket_file(ticket.number, &ticket.lock_id);
        match self.publish_record(name, record, how, Draft::Used(Dir::Line(name), &file)) {
            Err(error) if is_no_draft(error.kind()) => self.write_record(name, record, how),
            other => other,
        }
    }

    fn publish_record(&self, name: &Name, record: &Record, how: Publish, draft: Draft<'_>) -> io::Result<()> {
        let sync = record.is_lasting();
        let (dir, file) = Self::place_of(name, record);
        let content = content_of(record)?;
        self.host.publish(dir, &file, &content, how, sync, draft)
    }

    /// Removes records and says so, of each that is gone even if not all of them can be removed.
    pub(super) fn take_away(
        &self,
        name: &Name,
        evidence: &Evidence,
        gone: &[Displaced],
        now: &Now,
    ) -> Result<(), Error> {
        let removed = self.remove_records(name, evidence, gone);
        self.settle_all(name, gone, removed.is_err(), now, Event::removed);
        removed
    }

    fn remove_records(&self, name: &Name, evidence: &Evidence, gone: &[Displaced]) -> Result<(), Error> {
        let together = gone.iter().all(|one| one.holder.is_some());
        if together {
            let own = gone.iter().all(Displaced::is_given_up);
            let are_all = !own && gone.len() >= evidence.holders.len();
            return self.remove_holders(name, gone, are_all);
        }
        let sync = gone.iter().any(holders::is_lasting);
        self.remove_from(name, Dir::Locks, &Self::record_file(name), sync)?;
        if evidence.mode() != Mode::Exclusive {
            self.clear_holders(name);
        }
        Ok(())
    }

    /// Whether what was to be removed or replaced is no more, though not all came about that was decided.
    fn is_gone(&self, name: &Name, one: &Displaced) -> bool {
        match (&one.holder, &one.record) {
            (Some(id), _) => self.read_holder(name, id) == Stored::Empty,
            (None, Some(record)) => match self.read_record(name) {
                Stored::Record(stands) => stands.lock_id != record.lock_id,
                stored => stored == Stored::Empty,
            },
            (None, None) => self.read_record(name) == Stored::Empty,
        }
    }

    /// Says what an admission has put out of its place, and what has become of it; if it has `failed`, of what it has
    /// come to.
    pub(super) fn settle_displaced(&self, name: &Name, displaced: &[Displaced], failed: bool, now: &Now) {
        self.settle_all(name, displaced, failed, now, Event::pruned);
    }

    fn settle_all(
        &self,
        name: &Name,
        all: &[Displaced],
        failed: bool,
        now: &Now,
        tell: fn(Event, &Displaced) -> Event,
    ) {
        for gone in all.iter().filter(|gone| !failed || self.is_gone(name, gone)) {
            if gone.is_admission() {
                self.log(&tell(self.event(audit::displaced(gone), name, now), gone));
            }
            self.sessions.settle(name, gone);
        }
    }

    pub(super) fn remove_from(&self, name: &Name, dir: Dir<'_>, file: &str, sync: bool) -> Result<(), Error> {
        match self.host.remove(dir, file, sync) {
            Ok(_) => Ok(()),
            // It is gone, for all who live: what follows from that must follow.
            Err(error) if self.read_stored(dir, file) == Stored::Empty => {
                (self.warn)(&format!("lock \"{name}\" may be back after a power cut: {error}"));
                Ok(())
            }
            Err(error) => Err(Error::io("release", name, error)),
        }
    }

    /// Admits a claim: session first, then record, so that no record is seen whose session is not yet alive.
    pub(super) fn admit(
        &self,
        name: &Name,
        mut record: Box<Record>,
        joint: Option<&Record>,
        evidence: &Evidence,
        displaced: &[Displaced],
        ticket: Option<&Ticket>,
    ) -> Result<Admission, io::Error> {
        let made = match (record.kind, ticket, record.id()) {
            (Some(Kind::Guard), None, Some(id)) => Some(self.sessions.create(name, &id)?),
            _ => None,
        };
        let session = match record.kind {
            Some(Kind::Guard) => made.clone().or(ticket.map(|ticket| Arc::clone(&ticket.session))),
            _ => None,
        };
        record.session_ino = session.as_ref().map(|session| session.inode());
        record.session_local = session.is_some() && self.host.is_local();
        match self.write_admission(name, &record, joint, evidence, displaced, ticket) {
            Ok(()) => Ok(Admission { record, session }),
            Err(error) => {
                self.undo_admission(name, &record, joint, made.is_some());
                Err(error)
            }
        }
    }

    /// Writes the record of one who is admitted, alone or beside others.
    pub(super) fn write_admission(
        &self,
        name: &Name,
        record: &Record,
        joint: Option<&Record>,
        evidence: &Evidence,
        displaced: &[Displaced],
        ticket: Option<&Ticket>,
    ) -> io::Result<()> {
        let how = if evidence.stored == Stored::Empty { Publish::New } else { Publish::Replace };
        let lasting = record.is_lasting();
        match (joint, evidence.record()) {
            (Some(joint), _) => self.form_group(name, joint, how, lasting)?,
            (None, Some(_)) if record.joint.is_some() => {
                // First: if we died in between, there would be one too many.
                for id in displaced.iter().filter_map(|gone| gone.holder.as_ref()) {
                    self.remove_holder(name, id)?;
                }
                self.join_group(name, lasting)?;
            }
            _ => {
                self.write_own_record(name, record, how, ticket)?;
                if evidence.mode() != Mode::Exclusive {
                    self.clear_holders(name);
                }
                return Ok(());
            }
        }
        self.write_own_record(name, record, Publish::New, ticket)
    }

    /// A write that failed leaves nothing behind, whatever of it has come about.
    pub(super) fn undo_admission(
        &self,
        name: &Name,
        record: &Record,
        joint: Option<&Record>,
        made_session: bool,
    ) {
        // Nobody else is in a group that was just founded; and what is left of one that has ended binds nobody.
        if joint.is_some_and(|joint| self.stands_for(name, joint)) {
            let _ = self.host.remove(Dir::Locks, &Self::record_file(name), false);
        }
        // It may have been placed, and only not synced.
        let (dir, file) = Self::place_of(name, record);
        if matches!(self.read_stored(dir, &file), Stored::Record(placed) if placed.lock_id == record.lock_id)
        {
            let _ = self.host.remove(dir, &file, false);
        }
        if joint.is_some() {
            self.host.remove_dir(Dir::HoldersOf(name));
        }
        if let (true, Some(id)) = (made_session, record.id()) {
            self.sessions.remove(name, &id);
        }
    }
}

/// Whether a ticket could not be made a record as it was put out of line, or something else stands in its place.
fn is_no_draft(error: io::ErrorKind) -> bool {
    use io::ErrorKind::{InvalidData, NotFound, PermissionDenied, WouldBlock};
    matches!(error, NotFound | InvalidData | PermissionDenied | WouldBlock)
}
