//! What is asked of a name: by whom, on what terms, by what right.

use std::time::Duration;

use super::clock::Now;
use super::mode::Mode;
use super::record::{Kind, LockId, Record, VERSION};

/// Who claims a name, and on what terms.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// The identity of the admission, should it come to one.
    pub lock_id: LockId,
    /// Session of a process, or manual.
    pub kind: Kind,
    /// Who, for people.
    pub owner: String,
    /// Which machine, for people.
    pub host: String,
    /// The process that holds it, or that a manual lock is tied to; 0 for none.
    pub pid: i64,
    /// When that process started.
    pub pid_start: Option<i64>,
    /// The process-id namespace of `pid`.
    pub pid_ns: Option<u64>,
    /// The agent that acts for the owner.
    pub agent_id: String,
    /// The length of the lease; `None` for a strict lock.
    pub ttl: Option<Duration>,
    /// Alone, or together with others.
    pub mode: Mode,
    /// What the claimant says about it.
    pub note: Option<String>,
}

impl Claim {
    /// Its record from `now` on.
    pub(super) fn record(&self, name: &str, token: Option<u64>, now: &Now) -> Record {
        let mut record = Record {
            version: VERSION,
            name: name.to_owned(),
            lock_id: self.lock_id.as_str().to_owned(),
            owner: self.owner.clone(),
            host: self.host.clone(),
            pid: self.pid,
            pid_start_ns: self.pid_start,
            agent_id: self.agent_id.clone(),
            acquired_ts: now.wall.to_string(),
            kind: Some(self.kind),
            token,
            note: self.note.clone(),
            pid_ns: self.pid_ns,
            ..Record::default()
        };
        record.set_mode(self.mode);
        record.start_lease(self.ttl, now);
        // Also without a lease: it tells an earlier boot's record from one of now.
        record.clock_id = Some(now.clock.as_str().to_owned());
        record
    }
}

/// How far a claimant goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Takes what is free or abandoned.
    Plain,
    /// Takes over lapsed leases too: `--break-stale`, and whoever stands in line.
    BreakStale,
}

/// By what right a record is renewed or released.
#[derive(Debug, Clone, PartialEq)]
pub enum Authority {
    /// The admission's own process.
    Session(LockId),
    /// Somebody of that owner's name; enough for manual locks.
    Owner(String),
    /// Somebody who knows the `lock_id`; enough for manual locks.
    Id(String),
    /// `unlock --break-stale`: only what is stale.
    Stale,
    /// `unlock --force`: whatever stands there.
    Force,
    /// `unlock --force --lock-id`: that one, whosoever it is.
    ForceId(String),
}

impl Authority {
    /// Whether it is about one holder or an owner's, and not about whatever stands there.
    pub(super) fn names_a_holder(&self) -> bool {
        !matches!(self, Self::Stale | Self::Force)
    }
}

/// What is asked of a name.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Admit this claim.
    Acquire(Claim, Manner),
    /// Start a new lease; `Some` changes its length.
    Renew(Authority, Option<Duration>),
    /// Remove the record.
    Release(Authority),
    /// Remove the record if it binds nobody any more.
    Sweep,
}

impl Request {
    /// What it is to do to a lock, in a word.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Acquire(..) => "lock",
            Self::Renew(..) => "renew",
            Self::Release(_) => "release",
            Self::Sweep => "clear away",
        }
    }

    /// Whose admission is asked for.
    pub fn claimant(&self) -> Option<&LockId> {
        match self {
            Self::Acquire(claim, _) => Some(&claim.lock_id),
            _ => None,
        }
    }

    /// Whether nothing counts but the record: for what a session does with its own, it does not matter whether its
    /// holder lives, or whether the name is frozen.
    pub fn is_of_ones_own(&self) -> bool {
        matches!(self, Self::Renew(Authority::Session(_), _) | Self::Release(Authority::Session(_)))
    }

    /// Of those who hold a name together in the mode `held`, whom the request is about.
    pub fn concerns(&self, held: Mode) -> Whom<'_> {
        match self {
            Self::Renew(Authority::Session(id), _) | Self::Release(Authority::Session(id)) => Whom::One(id),
            Self::Acquire(claim, _) if claim.mode.always_has_room(held) => Whom::Nobody,
            _ => Whom::All,
        }
    }
}

/// Some of those who hold a name together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom<'a> {
    /// All of them.
    All,
    /// This one.
    One(&'a LockId),
    /// None of them.
    Nobody,
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn claim(kind: Kind, ttl: Option<Duration>) -> Claim {
        Claim {
            lock_id: LockId::from_random([7; 16]),
            kind,
            owner: "ada".into(),
            host: "here".into(),
            pid: 42,
            pid_start: Some(1),
            pid_ns: Some(1),
            agent_id: "agent-1".into(),
            ttl,
            mode: Mode::Exclusive,
            note: None,
        }
    }

    #[test]
    fn a_request_says_what_it_is_to_do_and_for_whom() {
        let claim = claim(Kind::Guard, None);
        let own = Authority::Session(claim.lock_id.clone());
        let said = [
            (Request::Acquire(claim.clone(), Manner::Plain), "lock", Some(&claim.lock_id)),
            (Request::Renew(own.clone(), None), "renew", None),
            (Request::Release(own), "release", None),
            (Request::Sweep, "clear away", None),
        ];
        for (request, verb, claimant) in said {
            assert_eq!((request.verb(), request.claimant()), (verb, claimant), "{request:?}");
        }
    }
}
