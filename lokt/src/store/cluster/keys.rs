//! What the keys below a root's prefix are called.
//!
//! ```text
//! PREFIX/state/NAME/record            who holds the name, or that several do
//! PREFIX/state/NAME/holder/LOCK_ID    each of several
//! PREFIX/state/NAME/session/LOCK_ID   there as long as the lease of an admission
//! PREFIX/state/NAME/freeze            a freeze
//! PREFIX/state/NAME/frozen            there as long as the lease of the freeze
//! PREFIX/state/NAME/gate              put by every transaction that changes anything of the name's state
//! PREFIX/line/NAME/LOCK_ID            a waiter's ticket; they stand in the order of their creation
//! PREFIX/audit/TIME.ID                what happened: the events of one transaction, a line each
//! ```

use jiff::Timestamp;

use crate::protocol::{LockId, Name};

/// The names of the keys.
pub(super) struct Keys(String);

/// One of the keys of a name's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Record,
    Holder(LockId),
    Session(LockId),
    Freeze,
    Frozen,
    Gate,
}

impl Keys {
    pub(super) fn below(prefix: &str) -> Self {
        Self(prefix.to_owned())
    }

    /// What the keys of all states begin with.
    pub(super) fn states(&self) -> String {
        format!("{}/state/", self.0)
    }

    /// What all keys of a name's state begin with.
    pub(super) fn state(&self, name: &Name) -> String {
        format!("{}/state/{name}/", self.0)
    }

    pub(super) fn part(&self, name: &Name, part: &Part) -> String {
        let state = self.state(name);
        match part {
            Part::Record => state + "record",
            Part::Holder(id) => format!("{state}holder/{id}"),
            Part::Session(id) => format!("{state}session/{id}"),
            Part::Freeze => state + "freeze",
            Part::Frozen => state + "frozen",
            Part::Gate => state + "gate",
        }
    }

    /// What the keys of all who hold a name together begin with.
    pub(super) fn holders(&self, name: &Name) -> String {
        self.state(name) + "holder/"
    }

    /// What the keys of all sessions of a name begin with.
    pub(super) fn sessions(&self, name: &Name) -> String {
        self.state(name) + "session/"
    }

    /// What the tickets of all lines begin with.
    pub(super) fn lines(&self) -> String {
        format!("{}/line/", self.0)
    }

    /// What the tickets of a line begin with.
    pub(super) fn line(&self, name: &Name) -> String {
        format!("{}/line/{name}/", self.0)
    }

    pub(super) fn ticket(&self, name: &Name, id: &LockId) -> String {
        self.line(name) + id.as_str()
    }

    /// What all events begin with.
    pub(super) fn audit(&self) -> String {
        format!("{}/audit/", self.0)
    }

    /// The key of events of this instant; `unique` tells it from others of the same.
    pub(super) fn events(&self, at: Timestamp, unique: &LockId) -> String {
        format!("{}/audit/{}.{unique}", self.0, instant(at))
    }

    /// Before every event of this instant or a later one, and after every earlier one.
    pub(super) fn events_from(&self, at: Timestamp) -> String {
        format!("{}/audit/{}", self.0, instant(at))
    }

    /// Whether a key is one of events.
    pub(super) fn is_event(&self, key: &[u8]) -> bool {
        let rest = std::str::from_utf8(key).ok().and_then(|key| key.strip_prefix(&self.audit()));
        rest.and_then(|rest| rest.split_once('.')).is_some_and(|(at, unique)| {
            at.len() == DIGITS
                && at.bytes().all(|byte| byte.is_ascii_digit())
                && LockId::parse(unique).is_some()
        })
    }

    /// What a key of a state is, and of which name's.
    pub(super) fn read_state(&self, key: &[u8]) -> Option<(Name, Part)> {
        let rest = std::str::from_utf8(key).ok()?.strip_prefix(&self.states())?;
        let (name, part) = rest.split_once('/')?;
        let part = match part {
            "record" => Part::Record,
            "freeze" => Part::Freeze,
            "frozen" => Part::Frozen,
            "gate" => Part::Gate,
            _ => match part.split_once('/')? {
                ("holder", id) => Part::Holder(LockId::parse(id)?),
                ("session", id) => Part::Session(LockId::parse(id)?),
                _ => return None,
            },
        };
        Some((name.parse().ok()?, part))
    }

    /// Whose ticket a key is, and in which line.
    pub(super) fn read_ticket(&self, key: &[u8]) -> Option<(Name, LockId)> {
        let rest = std::str::from_utf8(key).ok()?.strip_prefix(&self.lines())?;
        let (name, id) = rest.split_once('/')?;
        Some((name.parse().ok()?, LockId::parse(id)?))
    }
}

/// In so many digits an instant is written.
const DIGITS: usize = 20;

/// Nanoseconds of the wall clock, in so many digits that they sort as they count.
fn instant(at: Timestamp) -> String {
    format!("{:0DIGITS$}", at.as_nanosecond().max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_made() {
        let keys = Keys::below("/a/b");
        let name: Name = "x.y-z".parse().unwrap();
        let id = LockId::from_random([0x5a; 16]);
        let parts = [Part::Record, Part::Freeze, Part::Frozen, Part::Gate];
        for part in parts.into_iter().chain([Part::Holder(id.clone()), Part::Session(id.clone())]) {
            let key = keys.part(&name, &part);
            assert!(key.starts_with(&keys.state(&name)), "{key}");
            assert_eq!(keys.read_state(key.as_bytes()), Some((name.clone(), part)));
        }
        assert_eq!(keys.read_ticket(keys.ticket(&name, &id).as_bytes()), Some((name, id)));
        for other in ["/a/b/state/x", "/a/b/state/x/y", "/a/b/state/x/holder/1", "/a/state/x/record"] {
            assert_eq!(keys.read_state(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn events_sort_by_their_time() {
        let keys = Keys::below("/a");
        let id = LockId::from_random([0; 16]);
        let at = |second| Timestamp::from_second(second).unwrap();
        assert!(keys.events(at(9), &id) < keys.events_from(at(10)));
        assert!(keys.events_from(at(10)) < keys.events(at(10), &id));
    }

    #[test]
    fn an_event_is_told_from_the_keys_of_another_root() {
        let (keys, id) = (Keys::below("/a"), LockId::from_random([7; 16]));
        let event = keys.events(Timestamp::from_second(9).unwrap(), &id);
        assert!(keys.is_event(event.as_bytes()));
        let other = Keys::below("/a/audit/0");
        let others = [
            other.part(&"x".parse().unwrap(), &Part::Gate),
            other.events(Timestamp::from_second(9).unwrap(), &id),
            event.replace("audit/0", "audit/"),
            event.replace("audit/0", "audit/+"),
            format!("{event}/x"),
            keys.events_from(Timestamp::from_second(9).unwrap()),
        ];
        for key in others {
            assert!(!keys.is_event(key.as_bytes()), "{key}");
        }
    }
}
