//! The line of those who wait for a name.
//!
//! A waiter's session file is its place in a CLH queue (Craig; Landin and Hagersten, 1993): each sleeps on the
//! flock of the one before it, and a waiter that is admitted keeps its file as holder, so that its successor
//! sleeps on, undisturbed, until it is its turn. A hand-over wakes one process.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::{Claim, DirStore, Evidence, Name, Now, Publish, Stripe, Ticket, Turn, Waiter, stripe_of};
use crate::Error;
use crate::host::{Dir, Draft};
use crate::protocol::{Holder, Kind, Liveness, LockId, Mode, Stored, judge};
use crate::store::{Place, Watch};

/// How long the mutex is waited for by one who only does the others a favour.
pub(super) const BESIDE: Duration = Duration::from_secs(1);

/// The same for one who is on its way out. If the stopped one has the mutex, nobody gets on anyway.
const PASSING_ON: Duration = Duration::from_millis(20);

/// How many holders the first in line sleeps on: each takes a thread and a descriptor. Whoever releases rings it, and
/// if another has died, it sees that when it looks.
const WATCHED: usize = 64;

/// Numbers have twelve digits. Each line counts from 1.
const LAST_TICKET: u64 = 999_999_999_999;

/// The first in line who may go.
pub(super) struct First {
    pub(super) number: u64,
    pub(super) id: LockId,
    /// How many stand before the asker, from this one on.
    pub(super) ahead: usize,
}

impl DirStore {
    /// The tickets of a line, in order, dead ones too.
    pub(super) fn tickets(&self, name: &Name) -> io::Result<Vec<(u64, LockId)>> {
        let mut tickets: Vec<(u64, LockId)> =
            self.host.list(Dir::Line(name))?.iter().filter_map(|file| split_ticket(file)).collect();
        tickets.sort_unstable();
        Ok(tickets)
    }

    /// The first so many of a line who are not seen to be dead.
    pub(super) fn first_alive(&self, name: &Name, count: usize) -> Vec<LockId> {
        let tickets = self.tickets(name).unwrap_or_default();
        tickets.into_iter().map(|(_, id)| id).filter(|id| self.lives(name, id)).take(count).collect()
    }

    pub(super) fn living_waiters(&self, name: &Name) -> Result<Vec<Waiter>, Error> {
        let tickets = self.tickets(name).map_err(Error::root)?;
        Ok(tickets
            .iter()
            .filter(|(_, id)| self.lives(name, id))
            .filter_map(|(number, id)| self.read_ticket(name, *number, id))
            .collect())
    }

    /// The first waiter that stands before the asker and is ready to go.
    ///
    /// Whoever is dead or stopped, and who has been silent for too long, is put out of line on the way: its place holds
    /// up the others, and it can take a new one when it runs again.
    pub(super) fn first_ready(&self, name: &Name, turn: &Turn<'_>) -> io::Result<Option<First>> {
        let is_ready = |number, id: &_| {
            !turn.passes_over(id, |mark| self.sessions.has_heard(name, id, mark))
                && self.lives(name, id)
                && !self.is_stopped(name, number, id)
        };
        self.first_of(name, turn.ticket(), &is_ready)
    }

    /// Gives the mutex back and calls the first in line: it is free now.
    ///
    /// Only then, as it wakes to take the mutex; and then sees whether it is stopped, which takes longer than to wake.
    pub(super) fn call_next(&self, name: &Name, stripe: Box<dyn Stripe>) {
        let lives = |_, id: &_| self.lives(name, id);
        let Ok(Some(First { number, id, .. })) = self.first_of(name, None, &lives) else {
            self.host.remove_dir(Dir::Line(name));
            return;
        };
        drop(stripe);
        self.sessions.ring(name, &id);
        self.host.give_way();
        if self.is_stopped(name, number, &id)
            && let Ok(_stripe) = self.locked(name, PASSING_ON)
        {
            self.ring_first(name);
        }
    }

    /// Calls the first who is ready; if nobody is, the empty line goes.
    pub(super) fn ring_first(&self, name: &Name) {
        match self.first_ready(name, &Turn::Passing) {
            Ok(Some(first)) => self.sessions.ring(name, &first.id),
            _ => drop(self.host.remove_dir(Dir::Line(name))),
        }
    }

    /// The first before the asker that `is_ready`; all before that one are put out of line.
    fn first_of(
        &self,
        name: &Name,
        own: Option<&Ticket>,
        is_ready: &dyn Fn(u64, &LockId) -> bool,
    ) -> io::Result<Option<First>> {
        let mut tickets = self.tickets(name)?;
        // One who was put out of line stands behind everybody.
        let own = own.filter(|own| tickets.contains(&(own.number, own.lock_id.clone())));
        tickets.retain(|(number, _)| own.is_none_or(|own| *number < own.number));
        let mut ahead = tickets.len();
        for (number, id) in tickets {
            if is_ready(number, &id) {
                return Ok(Some(First { number, id, ahead }));
            }
            let _ = self.put_out_of_line(name, number, &id);
            ahead -= 1;
        }
        Ok(None)
    }

    /// Takes a ticket away; the waiter is told, and a dead one leaves nothing behind.
    pub(super) fn put_out_of_line(&self, name: &Name, number: u64, id: &LockId) -> io::Result<()> {
        let removed = self.host.remove(Dir::Line(name), &ticket_file(number, id), false);
        if self.lives(name, id) {
            self.sessions.ring(name, id);
        } else if !self.may_be_recorded(name, id) {
            self.sessions.remove(name, id);
        }
        removed.map(drop)
    }

    /// Whether a session's file may be the one that the record names: then it is what proves the holder dead.
    pub(super) fn may_be_recorded(&self, name: &Name, id: &LockId) -> bool {
        match self.own_stored(name, id) {
            Stored::Empty => false,
            Stored::Record(record) => record.lock_id == id.as_str(),
            // It may be the one of a record that can't be read.
            _ => true,
        }
    }

    fn is_stopped(&self, name: &Name, number: u64, id: &LockId) -> bool {
        let me = &self.identity;
        self.read_ticket(name, number, id).is_some_and(|waiter| {
            waiter.pid_ns == me.pid_ns && waiter.host == me.host && self.host.is_stopped(waiter.pid)
        })
    }

    /// Takes a place, or finds out about the one that `own` is.
    pub(super) fn stand_in_line(
        &self,
        name: &Name,
        claim: &Claim,
        own: Option<&Ticket>,
        evidence: &Evidence,
        now: &Now,
    ) -> io::Result<Place> {
        let tickets = self.tickets(name)?;
        let kept = own.filter(|own| tickets.iter().any(|(_, id)| *id == own.lock_id));
        let ticket = match kept {
            Some(_) => None,
            None => {
                let last = tickets.last().map_or(0, |(number, _)| *number);
                // Nobody comes to the last one but by a file that was planted.
                let number = (last + 1).min(LAST_TICKET - 1);
                Some(self.take_ticket(name, number, claim, own, now)?)
            }
        };
        let number = ticket.as_ref().or(kept).map_or(0, |own| own.number);
        let before: Vec<&(u64, LockId)> = tickets.iter().filter(|(other, _)| *other < number).collect();
        let nearest = before.iter().rev().find(|(other, id)| {
            let lives = self.lives(name, id);
            if !lives {
                let _ = self.put_out_of_line(name, *other, id);
            }
            lives
        });
        let ahead = nearest.map_or(0, |nearest| before.iter().take_while(|b| b.0 <= nearest.0).count());
        Ok(Place {
            ticket,
            ahead,
            first: before.first().filter(|_| ahead > 0).map(|(_, id)| id.clone()),
            watch: nearest.map_or_else(
                || self.watch_holders(evidence, now),
                |(_, id)| vec![Watch::Session(id.clone())],
            ),
        })
    }

    /// A new place, for a newcomer or for one that was put out of line, whose session lives on.
    fn take_ticket(
        &self,
        name: &Name,
        number: u64,
        claim: &Claim,
        own: Option<&Ticket>,
        now: &Now,
    ) -> io::Result<Ticket> {
        self.host.make_dir(Dir::Line(name), false)?;
        let lock_id = own.map_or(&claim.lock_id, |own| &own.lock_id).clone();
        let content = ticket_content(&Waiter::of(claim, &lock_id, &self.identity, now))?;
        let session = match own {
            Some(own) => Arc::clone(&own.session),
            None => self.sessions.create(name, &lock_id)?,
        };
        let file = ticket_file(number, &lock_id);
        let placed = self.host.publish(
            Dir::Line(name),
            &file,
            &content,
            Publish::New,
            false,
            Draft::New(stripe_of(name.as_str())),
        );
        if let Err(error) = placed {
            self.sessions.remove(name, &lock_id);
            self.host.remove_dir(Dir::Line(name));
            return Err(error);
        }
        Ok(Ticket { number, lock_id, session })
    }

    /// What the first in line sleeps on: whoever's end makes room for it. One who wants the name alone has to wait
    /// for all, one after the other.
    fn watch_holders(&self, evidence: &Evidence, now: &Now) -> Vec<Watch> {
        // The process of a lock that has lapsed may live on, and tells nothing.
        let binds = |holder: &&Holder| !judge(&holder.evidence, now).is_abandoned();
        let watches = evidence.holders.iter().filter(binds);
        let watches = watches.map(|holder| self.watch_holder(&holder.evidence));
        match evidence.mode() {
            Mode::Exclusive => vec![self.watch_holder(evidence)],
            Mode::Shared => watches.take(1).collect(),
            Mode::Slots(_) => watches.take(WATCHED).collect(),
        }
    }

    fn watch_holder(&self, evidence: &Evidence) -> Watch {
        let Stored::Record(record) = &evidence.stored else {
            return Watch::Doorbell;
        };
        if evidence.liveness == Liveness::Dead {
            // It has ended already: what is waited for is the end of a freeze.
            return Watch::Doorbell;
        }
        let visible = record.pid_ns == self.identity.pid_ns && record.host == self.identity.host;
        match (record.kind, record.id()) {
            (Some(Kind::Guard), Some(id)) => Watch::Session(id),
            (Some(Kind::Manual), _) if record.pid > 0 && visible => Watch::Process(record.pid),
            (None, _) => Watch::Poll,
            _ => Watch::Doorbell,
        }
    }

    pub(super) fn read_ticket(&self, name: &Name, number: u64, id: &LockId) -> Option<Waiter> {
        let content = self.host.read(Dir::Line(name), &ticket_file(number, id), 64 * 1024).ok()??;
        let [waiter] = serde_json::from_slice(&content.bytes).ok()?;
        Some(waiter)
    }

    /// Gives the place up. An empty line is taken away by whoever leaves it without the lock, or has had the lock:
    /// whoever gets it has no time for that.
    pub(super) fn drop_ticket(&self, name: &Name, ticket: &Ticket) {
        let _ = self.host.remove(Dir::Line(name), &ticket_file(ticket.number, &ticket.lock_id), false);
    }
}

/// A list of one: a ticket's file becomes that of a record, and if a power cut brings its content back there, it must
/// not be read as the record of anybody.
fn ticket_content(waiter: &Waiter) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&[waiter])
}

pub(super) fn ticket_file(number: u64, id: &LockId) -> String {
    format!("{number:012}.{id}")
}

/// The number and the `lock_id` in the name of a ticket's file. Only what this code wrote: no other number can be
/// counted on from.
fn split_ticket(file: &str) -> Option<(u64, LockId)> {
    let (number, id) = file.split_once('.')?;
    let ticket = (number.parse().ok()?, LockId::parse(id)?);
    (ticket_file(ticket.0, &ticket.1) == file && ticket.0 < LAST_TICKET).then_some(ticket)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    use proptest::prelude::*;

    use super::*;
    use crate::host::{Identity, UnixHost};
    use crate::protocol::{Authority, Manner, Record, Refusal, Request};
    use crate::store::{Admission, Answer, Asked, Silent, Store};

    const SOON: Duration = Duration::from_secs(10);

    fn ask(store: &DirStore, turn: &Turn<'_>) -> Answer {
        let name = "x".parse().unwrap();
        let own = match turn {
            Turn::Waiting { ticket: Some(own), .. } => own.lock_id.clone(),
            _ => store.new_id(),
        };
        let claim = Claim {
            lock_id: own,
            kind: Kind::Guard,
            owner: "ada".to_owned(),
            host: "host".to_owned(),
            pid: 1,
            pid_start: None,
            pid_ns: None,
            agent_id: String::new(),
            ttl: None,
            note: None,
            mode: Mode::Exclusive,
        };
        store.acquire(&name, &claim, Manner::Plain, turn, Asked::now(SOON)).unwrap()
    }

    fn hold(store: &DirStore) -> Admission {
        match ask(store, &Turn::Passing) {
            Answer::Admitted(admission) => admission,
            Answer::Refused(..) => panic!("it is free"),
        }
    }

    fn join(store: &DirStore) -> Ticket {
        match ask(store, &Turn::Waiting { ticket: None, silent: None }) {
            Answer::Refused(_, Some(Place { ticket: Some(ticket), .. })) => ticket,
            _ => panic!("it is held"),
        }
    }

    #[test]
    fn of_those_before_only_who_is_silent_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let host = Arc::new(UnixHost::new(dir.path().join("root")));
        let store = DirStore::new(host, Identity::current(), Arc::new(|_| {}));
        let name: Name = "x".parse().unwrap();
        let holder = hold(&store);
        let (first, second, third) = (join(&store), join(&store), join(&store));
        let release = Request::Release(Authority::Session(holder.record.id().unwrap()));
        store.change(&name, &release, Asked::now(SOON)).unwrap();
        let passing = |mark| {
            let silent = Some(Silent { first: &first.lock_id, mark });
            ask(&store, &Turn::Waiting { ticket: Some(&third), silent })
        };
        // That others rang is of no account.
        store.wake_line(&name, 3);
        for mark in [1, 2] {
            assert!(matches!(passing(mark), Answer::Refused(Refusal::Queued { ahead: 1, free: true }, _)));
            let left: Vec<LockId> = store.tickets(&name).unwrap().into_iter().map(|(_, id)| id).collect();
            assert_eq!(left, [second.lock_id.clone(), third.lock_id.clone()]);
        }
        store.mark_line(&name, 3, 1);
        assert!(matches!(passing(2), Answer::Refused(..)));
        assert!(matches!(passing(1), Answer::Admitted(_)));
    }

    #[test]
    fn a_ticket_that_comes_back_in_a_records_place_is_nobodys() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        let store =
            DirStore::new(Arc::new(UnixHost::new(root.clone())), Identity::current(), Arc::new(|_| {}));
        let _holder = hold(&store);
        let ticket = join(&store);
        let name: Name = "x".parse().unwrap();
        assert!(store.read_ticket(&name, ticket.number, &ticket.lock_id).is_some());
        let file = root.join("lines/x").join(ticket_file(ticket.number, &ticket.lock_id));
        let mut content = fs::read(file).unwrap();
        for zeros in [0, 200] {
            content.resize(content.len() + zeros, 0);
            assert!(matches!(Record::read(&content, SOON), Stored::Corrupt(_)), "{zeros} zeros");
        }
    }

    #[test]
    fn a_waiters_ticket_becomes_its_record() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        let store =
            DirStore::new(Arc::new(UnixHost::new(root.clone())), Identity::current(), Arc::new(|_| {}));
        let ticket_path =
            |ticket: &Ticket| root.join("lines/x").join(ticket_file(ticket.number, &ticket.lock_id));
        for is_put_out in [false, true] {
            let holder = hold(&store);
            let ticket = join(&store);
            let file = fs::metadata(ticket_path(&ticket)).unwrap().ino();
            if is_put_out {
                fs::rename(ticket_path(&ticket), dir.path().join("ticket")).unwrap();
            }
            let release = |record: &Record| {
                let release = Request::Release(Authority::Session(record.id().unwrap()));
                store.change(&"x".parse().unwrap(), &release, Asked::now(SOON)).unwrap();
            };
            release(&holder.record);
            let Answer::Admitted(next) = ask(&store, &Turn::Waiting { ticket: Some(&ticket), silent: None })
            else {
                panic!("it is its turn");
            };
            assert_eq!(next.record.lock_id, ticket.lock_id.as_str());
            let record = fs::metadata(root.join("locks/x.json")).unwrap().ino();
            assert_eq!(record == file, !is_put_out, "put out of line: {is_put_out}");
            assert!(!ticket_path(&ticket).exists());
            release(&next.record);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_name_of_a_tickets_file_is_split_as_it_was_made(number in 0..LAST_TICKET, id: [u8; 16]) {
            let id = LockId::from_random(id);
            prop_assert_eq!(split_ticket(&ticket_file(number, &id)), Some((number, id)));
        }

        #[test]
        fn what_is_split_is_what_would_be_made(file in "[0-9+-]{0,14}[.]?[0-9a-f]{31,33}") {
            if let Some((number, id)) = split_ticket(&file) {
                prop_assert_eq!(ticket_file(number, &id), file);
            }
        }
    }
}
