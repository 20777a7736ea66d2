//! The one step of the protocol: from what is there and what is asked, to what happens.
//!
//! Every rule of acquire, renew, release, break and sweep stands here and nowhere else; those of a freeze are in
//! `freeze.rs`. `docs/protocol.md` shows the same rules as a table; each of its rows has a test of its name.

use std::time::Duration;

use super::clock::Now;
use super::evidence::Evidence;
use super::freeze::Freeze;
use super::lease::lapse;
use super::record::{Kind, LockId, Record, Slot, VERSION};
use super::standing::{Abandoned, Standing, judge};

/// From here on no counter has handed a token out: one that a record claims nevertheless would lift the name's next
/// one beyond what the counter takes for its own, and the one after that would be smaller again.
const NO_TOKEN: u64 = 1 << 52;

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
    /// What the claimant says about it.
    pub note: Option<String>,
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
    /// Whether nothing counts but the record: for what a session does with its own, it does not matter whether its
    /// holder lives, or whether the name is frozen.
    pub fn is_of_ones_own(&self) -> bool {
        matches!(self, Self::Renew(Authority::Session(_), _) | Self::Release(Authority::Session(_)))
    }
}

/// What happens. The store carries it out.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Write this record: its claimant is admitted.
    Admit {
        /// The new record, with its token.
        record: Box<Record>,
        /// What stood there.
        displaced: Option<Displaced>,
    },
    /// Write this record: its lease starts anew.
    Renew(Box<Record>),
    /// Remove what stands there.
    Remove(Displaced),
    /// Change nothing.
    Refuse(Refusal),
}

/// What a decision removes, and on what grounds.
#[derive(Debug, Clone, PartialEq)]
pub struct Displaced {
    /// The record, if it was one.
    pub record: Option<Box<Record>>,
    /// How it stood.
    pub standing: Standing,
    /// By what right, for a release.
    pub authority: Option<Authority>,
}

/// Why nothing happens.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// Somebody holds it.
    Held {
        /// The holder's record, if there is one to show.
        record: Option<Box<Record>>,
        /// How it stands.
        standing: Standing,
    },
    /// It is free, but waiters stand before the asker.
    Queued {
        /// How many.
        ahead: usize,
    },
    /// It is frozen.
    Frozen(Freeze),
    /// It is frozen, and can't be frozen once more.
    FrozenAlready(Freeze),
    /// It is not frozen.
    NotFrozen,
    /// It was frozen by another.
    AnothersFreeze(Freeze),
    /// There is no such lock.
    NotFound,
    /// It is another's, or a guard's own.
    NotOwner(Box<Record>),
    /// It is not stale.
    NotStale {
        /// The holder's record, if there is one to show.
        record: Option<Box<Record>>,
        /// How it stands.
        standing: Standing,
    },
    /// The session's record is gone, or another's: the lock is lost.
    Lost(Option<Box<Record>>),
    /// It has no TTL to renew.
    NoLease(Box<Record>),
    /// What stands there can't be dealt with by this version, or at all.
    Unusable(Standing),
}

/// Decides what `request` makes of a name of which `evidence` is known at `now`.
pub fn decide(name: &str, request: &Request, evidence: &Evidence, now: &Now) -> Decision {
    let standing = judge(evidence, now);
    match request {
        Request::Acquire(claim, manner) => acquire(name, claim, *manner, evidence, standing, now),
        Request::Renew(authority, ttl) => renew(authority, *ttl, evidence, standing, now),
        Request::Release(authority) => release(authority, evidence, standing),
        Request::Sweep => sweep(evidence, standing, now),
    }
}

fn acquire(
    name: &str,
    claim: &Claim,
    manner: Manner,
    evidence: &Evidence,
    standing: Standing,
    now: &Now,
) -> Decision {
    if let Standing::Newer(_) | Standing::Unreadable(_) = standing {
        return Decision::Refuse(Refusal::Unusable(standing));
    }
    // Before the holder: when that one has ended, the freeze is what is in the way.
    if let Some(freeze) = &evidence.freeze {
        return Decision::Refuse(Refusal::Frozen(freeze.clone()));
    }
    let to_be_had = match &standing {
        Standing::Free | Standing::Abandoned(_) => true,
        Standing::Lapsed { .. } => manner == Manner::BreakStale,
        Standing::Held { .. } | Standing::InProgress | Standing::CorruptButAlive(_) => false,
        Standing::Newer(_) | Standing::Unreadable(_) => false,
    };
    if !to_be_had {
        return Decision::Refuse(Refusal::Held { record: held_record(evidence), standing });
    }
    if evidence.ahead > 0 {
        return Decision::Refuse(Refusal::Queued { ahead: evidence.ahead });
    }
    let last_token = held_record(evidence).and_then(|record| record.token).filter(|token| *token < NO_TOKEN);
    let token = evidence.next_token.max(last_token.map_or(0, |last| last + 1));
    Decision::Admit {
        record: Box::new(new_record(name, claim, Some(token), now)),
        displaced: (standing != Standing::Free).then(|| Displaced {
            record: held_record(evidence),
            standing,
            authority: None,
        }),
    }
}

/// The record of a claim from `now` on.
pub(super) fn new_record(name: &str, claim: &Claim, token: Option<u64>, now: &Now) -> Record {
    let mut record = Record {
        version: VERSION,
        name: name.to_owned(),
        lock_id: claim.lock_id.as_str().to_owned(),
        owner: claim.owner.clone(),
        host: claim.host.clone(),
        pid: claim.pid,
        pid_start_ns: claim.pid_start,
        agent_id: claim.agent_id.clone(),
        acquired_ts: now.wall.to_string(),
        kind: Some(claim.kind),
        token,
        note: claim.note.clone(),
        pid_ns: claim.pid_ns,
        ..Record::default()
    };
    record.start_lease(claim.ttl, now);
    // Also without a lease: it tells an earlier boot's record from one of now.
    record.clock_id = Some(now.clock.as_str().to_owned());
    record
}

fn renew(
    authority: &Authority,
    ttl: Option<Duration>,
    evidence: &Evidence,
    standing: Standing,
    now: &Now,
) -> Decision {
    let record = match (&evidence.slot, authority) {
        // To break a lock is one thing; to prolong another's is nobody's business.
        (Slot::Record(record), Authority::Stale | Authority::Force) => {
            return Decision::Refuse(Refusal::NotOwner(record.clone()));
        }
        (Slot::Record(record), _) => record,
        (Slot::Empty, Authority::Session(_)) => return Decision::Refuse(Refusal::Lost(None)),
        (Slot::Empty, _) => return Decision::Refuse(Refusal::NotFound),
        // What can't be read may still be ours: only what is gone or another's is lost.
        _ => return Decision::Refuse(Refusal::Unusable(standing)),
    };
    if let Some(refusal) = refuse_authority(authority, record) {
        return Decision::Refuse(refusal);
    }
    let Some(ttl) = ttl.or_else(|| record.ttl()) else {
        return Decision::Refuse(Refusal::NoLease(record.clone()));
    };
    let mut renewed = record.clone();
    renewed.start_lease(Some(ttl), now);
    renewed.renewals = Some(record.renewals.unwrap_or(0).saturating_add(1));
    Decision::Renew(renewed)
}

fn release(authority: &Authority, evidence: &Evidence, standing: Standing) -> Decision {
    let refusal = match (&evidence.slot, authority) {
        (Slot::Empty, Authority::Session(_)) => Some(Refusal::Lost(None)),
        (Slot::Empty, _) => Some(Refusal::NotFound),
        (Slot::Unreadable(_), _) => Some(Refusal::Unusable(standing.clone())),
        (_, Authority::Force) => None,
        (_, Authority::Stale) => refuse_fresh(evidence, &standing),
        (Slot::Record(record), _) => refuse_authority(authority, record),
        (Slot::Torn | Slot::Corrupt(_) | Slot::Newer(_), _) => Some(Refusal::Unusable(standing.clone())),
    };
    match refusal {
        Some(refusal) => Decision::Refuse(refusal),
        None => Decision::Remove(Displaced {
            record: held_record(evidence),
            standing,
            authority: Some(authority.clone()),
        }),
    }
}

/// Why `authority` may not touch `record`, if so.
fn refuse_authority(authority: &Authority, record: &Record) -> Option<Refusal> {
    let may = match authority {
        Authority::Session(id) if record.lock_id == id.as_str() => true,
        Authority::Session(_) => return Some(Refusal::Lost(Some(Box::new(record.clone())))),
        // A guard's lock is its own: the name of its owner, or its id, is not enough.
        Authority::Owner(owner) => record.kind != Some(Kind::Guard) && record.owner == *owner,
        Authority::Id(id) => record.kind != Some(Kind::Guard) && record.lock_id == *id,
        Authority::Stale | Authority::Force => true,
    };
    (!may).then(|| Refusal::NotOwner(Box::new(record.clone())))
}

/// Why `--break-stale` may not remove what stands there, if so.
fn refuse_fresh(evidence: &Evidence, standing: &Standing) -> Option<Refusal> {
    match standing {
        Standing::Newer(_) => Some(Refusal::Unusable(standing.clone())),
        stale if stale.is_stale() => None,
        fresh => Some(Refusal::NotStale { record: held_record(evidence), standing: fresh.clone() }),
    }
}

fn sweep(evidence: &Evidence, standing: Standing, now: &Now) -> Decision {
    let record = held_record(evidence);
    // Corrupt records are left to whoever wants the lock: until then they can still be looked at.
    let mut stale = matches!(standing, Standing::Abandoned(why) if why != Abandoned::Corrupt);
    if let Some(go) = record.as_deref().filter(|record| record.kind.is_none()) {
        // The Go tool keeps a dead process's record until its TTL has passed as well.
        stale &= lapse(go, now, evidence.unchanged_for, evidence.earlier_boot).has_lapsed();
    }
    if stale {
        Decision::Remove(Displaced { record, standing, authority: None })
    } else {
        Decision::Refuse(Refusal::NotStale { record, standing })
    }
}

fn held_record(evidence: &Evidence) -> Option<Box<Record>> {
    match &evidence.slot {
        Slot::Record(record) => Some(record.clone()),
        _ => None,
    }
}
