//! The records of those who hold a name together, `holders/NAME/LOCK_ID.json`.
//!
//! They count only as long as `locks/NAME.json` says that there is such a group, and which: so the group begins and
//! ends with that one file, whatever is left of its holders. Whoever ends a group for all, forms a new one, or sweeps clears
//! that away.

use std::io;

use super::{DirStore, Error, Evidence, Kind, LockId, Name, Now, Publish, Record, Seen, Stored, stripe_of};
use crate::host::{Dir, Draft};
use crate::protocol::{Displaced, Holder, Whom};
use crate::store::content::content_of;

impl DirStore {
    /// Adds to the evidence what is known of those who hold the name together, if several do. If that can't be read,
    /// nothing of it can.
    pub(super) fn add_holders(
        &self,
        name: &Name,
        evidence: &mut Evidence,
        whom: Whom<'_>,
        seen: &[Seen<'_>],
        now: &Now,
    ) {
        let Some(group) = evidence.record().and_then(Record::group).map(str::to_owned) else {
            return;
        };
        let ids = match whom {
            Whom::All => self.holder_ids(name),
            Whom::One(id) => Ok(vec![id.clone()]),
            Whom::Nobody => Ok(Vec::new()),
        };
        match ids {
            Ok(ids) => {
                let witness = |record| self.witness(name, record, seen, now);
                let known = |id| {
                    let stored = self.read_holder(name, &id);
                    Holder::of(id, &group, stored, witness, |id| self.lives(name, id))
                };
                evidence.holders = ids.into_iter().filter_map(known).collect();
            }
            Err(error) => evidence.stored = Stored::Unreadable(error.into()),
        }
    }

    /// The record of one of those who hold a name together, whichever group it is of.
    pub(super) fn read_holder(&self, name: &Name, id: &LockId) -> Stored {
        self.read_stored(Dir::HoldersOf(name), &holder_file(id))
    }

    fn holder_ids(&self, name: &Name) -> io::Result<Vec<LockId>> {
        let files = self.host.list(Dir::HoldersOf(name))?;
        let mut ids: Vec<LockId> = files.iter().filter_map(|file| split_holder(file)).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// Writes what says that several hold the name, in the place of whatever stands there; what is left of another
    /// group goes.
    pub(super) fn form_group(&self, name: &Name, joint: &Record, how: Publish, sync: bool) -> io::Result<()> {
        let content = content_of(joint)?;
        let draft = Draft::New(stripe_of(name.as_str()));
        self.host.publish(Dir::Locks, &Self::record_file(name), &content, how, sync, draft)?;
        self.clear_holders(name);
        self.host.make_dir(Dir::HoldersOf(name), sync)
    }

    /// Makes sure that one more can join a group; with `lasting`, that the group outlives a power cut.
    pub(super) fn join_group(&self, name: &Name, lasting: bool) -> io::Result<()> {
        self.host.make_dir(Dir::HoldersOf(name), lasting)?;
        // Not written anew: it may be another user's, who could not read ours.
        if lasting { self.host.sync(Dir::Locks, &Self::record_file(name)) } else { Ok(()) }
    }

    pub(super) fn remove_holder(&self, name: &Name, id: &LockId) -> io::Result<bool> {
        self.host.remove(Dir::HoldersOf(name), &holder_file(id), false)
    }

    /// Whether this group's record stands there.
    pub(super) fn stands_for(&self, name: &Name, joint: &Record) -> bool {
        matches!(self.read_record(name), Stored::Record(stands) if stands.group() == joint.group())
    }

    /// Removes the records of a group that has ended.
    pub(super) fn clear_holders(&self, name: &Name) {
        for id in self.holder_ids(name).unwrap_or_default() {
            let _ = self.host.remove(Dir::HoldersOf(name), &holder_file(&id), false);
        }
        self.host.remove_dir(Dir::HoldersOf(name));
    }

    /// Whether there are records of a group that has ended: whoever ended it died before it could clear them away.
    pub(super) fn has_old_holders(&self, name: &Name) -> bool {
        let has_ended = match self.read_record(name) {
            Stored::Empty => true,
            Stored::Record(record) => record.group().is_none(),
            _ => false,
        };
        has_ended && self.has_holders(name)
    }

    /// Whether there are such records, or an empty place for them. What else may stand there is left alone.
    fn has_holders(&self, name: &Name) -> bool {
        let files = self.host.list(Dir::HoldersOf(name)).unwrap_or_default();
        let is_there =
            || self.host.list(Dir::Holders).is_ok_and(|all| all.iter().any(|one| one == name.as_str()));
        files.iter().any(|file| split_holder(file).is_some()) || (files.is_empty() && is_there())
    }

    /// Takes some of those away who hold a name together; with the last of them the group ends.
    pub(super) fn remove_holders(&self, name: &Name, gone: &[Displaced], are_all: bool) -> Result<(), Error> {
        let sync = gone.iter().any(is_lasting);
        if are_all {
            // First, so that they all go at one instant; from then on their records bind nobody.
            self.remove_from(name, Dir::Locks, &Self::record_file(name), sync)?;
            self.clear_holders(name);
            return Ok(());
        }
        for id in gone.iter().filter_map(|one| one.holder.as_ref()) {
            self.remove_from(name, Dir::HoldersOf(name), &holder_file(id), sync)?;
        }
        if self.host.remove_dir(Dir::HoldersOf(name)) {
            self.remove_from(name, Dir::Locks, &Self::record_file(name), sync)?;
        }
        Ok(())
    }

    /// Where the record of a holder stands.
    pub(super) fn place_of<'a>(name: &'a Name, record: &Record) -> (Dir<'a>, String) {
        match (&record.joint, record.id()) {
            (Some(_), Some(id)) if record.kind != Some(Kind::Joint) => {
                (Dir::HoldersOf(name), holder_file(&id))
            }
            _ => (Dir::Locks, Self::record_file(name)),
        }
    }

    /// The record of one admission: its own, or what stands there in its stead.
    pub(super) fn own_stored(&self, name: &Name, id: &LockId) -> Stored {
        self.read_record(name).of_one(id, || self.read_holder(name, id))
    }

    /// What is known of a name for a request that is about one admission only.
    pub(super) fn evidence_of_one(&self, name: &Name, whom: Whom<'_>, now: &Now) -> Evidence {
        let mut evidence = Evidence { stored: self.read_record(name), ..Evidence::default() };
        self.add_holders(name, &mut evidence, whom, &[], now);
        evidence
    }
}

/// Whether it might come back after a power cut, and bind somebody.
pub(super) fn is_lasting(gone: &Displaced) -> bool {
    gone.record.as_ref().is_none_or(|record| record.is_lasting())
}

fn holder_file(id: &LockId) -> String {
    format!("{id}.json")
}

/// The `lock_id` in the name of a holder's file.
pub(crate) fn split_holder(file: &str) -> Option<LockId> {
    LockId::parse(file.strip_suffix(".json")?)
}
