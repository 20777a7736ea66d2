//! What each change of the disk means, as the truth sees it.

use std::time::Duration;

use lokt::protocol::{Kind, Record, Stored};

use super::disk::Place;
use super::world::{Pid, World};

impl World {
    /// The records of those who hold a name: nobody, one, or several together.
    pub fn records(&self, name: &str) -> Vec<Record> {
        let Some(record) = self.record_in(&Place::Locks, &format!("{name}.json")) else { return Vec::new() };
        if record.kind != Some(Kind::Joint) {
            return vec![record];
        }
        let place = Place::HoldersOf(name.to_owned());
        let holders = self.disk.list(&place).into_iter().filter_map(|file| self.record_in(&place, &file));
        holders.filter(|holder| holder.joint == record.joint).collect()
    }

    /// The record of one admission to a name, if it is in force.
    pub fn record_of(&self, name: &str, lock_id: &str) -> Option<Record> {
        self.records(name).into_iter().find(|record| record.lock_id == lock_id)
    }

    pub fn record_in(&self, place: &Place, file: &str) -> Option<Record> {
        match Record::read(self.disk.read(place, file)?, Duration::from_secs(3_600)) {
            Stored::Record(record) => Some(*record),
            _ => None,
        }
    }

    /// A file is about to be removed by `pid`.
    pub fn sees_removal(&mut self, pid: Pid, dir: &Place, file: &str) {
        let called = file.trim_end_matches(".json");
        match dir {
            // With what says that several hold it, they all go.
            Place::Locks => {
                self.records(called).iter().for_each(|old| self.check_remove(pid, called, old));
            }
            Place::HoldersOf(name) => {
                if let Some(old) = self.record_of(name, called) {
                    self.check_remove(pid, name, &old);
                }
            }
            Place::Line(name) => {
                if let Some((_, lock_id)) = file.split_once('.') {
                    self.check_out_of_line(pid, name, lock_id);
                }
            }
            Place::Freezes => self.check_lift(pid, called),
            _ => {}
        }
        if matches!(dir, Place::Locks | Place::Freezes | Place::HoldersOf(_)) {
            self.processes[pid].owes_ring = true;
        }
    }

    /// A file is about to be placed by `pid`.
    pub fn sees_placed(&mut self, pid: Pid, dir: &Place, file: &str, content: &[u8]) {
        let called = file.trim_end_matches(".json");
        match dir {
            Place::Locks => self.sees_record(pid, called, content),
            Place::HoldersOf(name) => self.sees_record(pid, name, content),
            Place::Line(name) => {
                if let Some((_, lock_id)) = file.split_once('.') {
                    let waiter = serde_json::from_slice::<lokt::store::Waiter>(content);
                    self.check_ticket(
                        pid,
                        name,
                        lock_id,
                        waiter.map(|waiter| waiter.mode).unwrap_or_default(),
                    );
                }
            }
            Place::Freezes => self.check_freeze(pid, called),
            _ => {}
        }
    }

    fn sees_record(&mut self, pid: Pid, name: &str, content: &[u8]) {
        let new = match Record::read(content, Duration::MAX) {
            Stored::Record(new) => *new,
            other => return self.violate("records are whole", format!("{name:?} gets {other:?}")),
        };
        let old = self.records(name);
        if new.kind != Some(Kind::Joint) {
            return self.check_publish(pid, name, &old, &new);
        }
        let joint = self.record_in(&Place::Locks, &format!("{name}.json")).and_then(|record| record.joint);
        if joint.is_none() || joint != new.joint {
            self.check_displaced(pid, name, &old);
        }
    }
}
