//! The one step of the protocol: from what is there and what is asked, to what happens.
//!
//! Every rule of renew, release, break and sweep stands here and nowhere else; those of an admission are in
//! `admit.rs`, those of a freeze in `freeze.rs`. `docs/protocol.md` shows the same rules as a table; each of its rows has a test of its name.

use std::time::Duration;

use super::admit::acquire;
use super::clock::Now;
use super::decision::{Decision, Displaced};
use super::evidence::Evidence;
use super::record::{Kind, Record};
use super::refusal::Refusal;
use super::request::{Authority, Request};
use super::standing::{Abandoned, Seat, Standing, first_in_the_way, is_joint, judge, lapse_by_record, seats};
use super::stored::Stored;

/// Decides what `request` makes of a name of which `evidence` is known at `now`.
pub fn decide(name: &str, request: &Request, evidence: &Evidence, now: &Now) -> Decision {
    let standing = judge(evidence, now);
    match request {
        Request::Acquire(claim, manner) => acquire(name, claim, *manner, evidence, standing, now),
        Request::Renew(authority, ttl) => renew(authority, *ttl, evidence, standing, now),
        Request::Release(authority) => release(authority, evidence, standing, now),
        Request::Sweep => sweep(evidence, standing, now),
    }
}

fn renew(
    authority: &Authority,
    ttl: Option<Duration>,
    evidence: &Evidence,
    standing: Standing,
    now: &Now,
) -> Decision {
    let record = match (&evidence.stored, authority) {
        (Stored::Record(record), _) => record,
        (Stored::Empty, Authority::Session(_)) => return Decision::Refuse(Refusal::Lost(None)),
        (Stored::Empty, _) => return Decision::Refuse(Refusal::NotFound),
        // What can't be read may still be ours: only what is gone or another's is lost.
        _ => return Decision::Refuse(Refusal::Unusable(standing)),
    };
    if is_joint(evidence) {
        return match entitled(authority, evidence, now) {
            Ok(seat) => renew(authority, ttl, seat.evidence, seat.standing, now),
            Err(refusal) => Decision::Refuse(refusal),
        };
    }
    // To break a lock is one thing; to prolong another's is nobody's business.
    if let Authority::Stale | Authority::Force | Authority::ForceId(_) = authority {
        return Decision::Refuse(Refusal::not_owner(record, &standing));
    }
    if let Some(refusal) = refuse_authority(authority, record, &standing) {
        return Decision::Refuse(refusal);
    }
    // It is anybody's by now, and a new lease would not change that.
    let own = matches!(authority, Authority::Session(_));
    if standing == Standing::Abandoned(Abandoned::PidGone) && !own {
        return Decision::Refuse(Refusal::PidGone(record.clone()));
    }
    let Some(ttl) = ttl.or_else(|| record.ttl()) else {
        return Decision::Refuse(Refusal::NoLease(record.clone()));
    };
    let mut renewed = record.clone();
    renewed.start_lease(Some(ttl), now);
    // Who renews it may read another clock than who acquired it, or be on another machine.
    renewed.acquired_clock_id = record
        .acquired_clock()
        .filter(|then| renewed.clock().as_ref() != Some(then))
        .map(|then| then.to_string());
    renewed.renewals = Some(record.renewals.unwrap_or(0).saturating_add(1));
    Decision::Renew(renewed)
}

fn release(authority: &Authority, evidence: &Evidence, standing: Standing, now: &Now) -> Decision {
    // What is left of several when the last of them has died is to be had like a record that nobody holds.
    if is_joint(evidence) && (authority.names_a_holder() || !evidence.holders.is_empty()) {
        return release_of_several(authority, evidence, standing, now);
    }
    let refusal = match (&evidence.stored, authority) {
        (Stored::Empty, Authority::Session(_)) => Some(Refusal::Lost(None)),
        (Stored::Empty, _) => Some(Refusal::NotFound),
        (Stored::Unreadable(_), _) => Some(Refusal::Unusable(standing.clone())),
        (_, Authority::Force) => None,
        (_, Authority::Stale) => refuse_fresh(evidence, &standing),
        (Stored::Record(record), _) => refuse_authority(authority, record, &standing),
        (Stored::Torn | Stored::Corrupt(_) | Stored::Newer(_), _) => {
            Some(Refusal::Unusable(standing.clone()))
        }
    };
    match refusal {
        Some(refusal) => Decision::Refuse(refusal),
        None => Decision::Remove(vec![Displaced {
            holder: None,
            record: held_record(evidence),
            standing,
            authority: Some(authority.clone()),
        }]),
    }
}

fn release_of_several(authority: &Authority, evidence: &Evidence, standing: Standing, now: &Now) -> Decision {
    let all = seats(evidence, now);
    let gone: Vec<Displaced> = match authority {
        Authority::Force => {
            let removable = all.iter().filter(|seat| !matches!(seat.standing, Standing::Unreadable(_)));
            removable.map(|seat| Displaced::of_seat(seat, Some(authority))).collect()
        }
        Authority::Stale => {
            let stale = all.iter().filter(|seat| seat.standing.is_stale());
            stale.map(|seat| Displaced::of_seat(seat, Some(authority))).collect()
        }
        _ => match (entitled(authority, evidence, now), authority) {
            (Ok(seat), _) => vec![Displaced::of_seat(&seat, Some(authority))],
            (Err(Refusal::NotOwner { .. }), Authority::Owner(_)) if all.len() > 1 => {
                return Decision::Refuse(Refusal::SeveralOfOthers(all.len()));
            }
            (Err(refusal), _) => return Decision::Refuse(refusal),
        },
    };
    if gone.is_empty() && *authority == Authority::Force {
        return Decision::Refuse(Refusal::Unusable(standing));
    }
    if gone.is_empty() {
        let record = first_in_the_way(&all).and_then(|seat| seat.record()).map(|it| Box::new(it.clone()));
        return Decision::Refuse(Refusal::NotStale { record, standing });
    }
    Decision::Remove(gone)
}

/// The one among those who hold the name together that `authority` has a right to.
fn entitled<'a>(authority: &Authority, evidence: &'a Evidence, now: &Now) -> Result<Seat<'a>, Refusal> {
    let all = seats(evidence, now);
    if let Authority::Session(id) = authority {
        return match all.into_iter().find(|seat| seat.id == Some(id)) {
            Some(own) if own.record().is_some() => Ok(own),
            // What can't be read may still be its own.
            Some(own) => Err(Refusal::Unusable(own.standing)),
            None => Err(Refusal::Lost(None)),
        };
    }
    let meant =
        |seat: &&Seat<'_>| matches!((authority, seat.id), (Authority::Id(id), Some(of)) if of.as_str() == id);
    let another = all.iter().find(meant).or(first_in_the_way(&all));
    let another = another.and_then(|seat| Some(Refusal::not_owner(seat.record()?, &seat.standing)));
    let may = |seat: &Seat<'_>| {
        authority.names_a_holder()
            && seat.record().is_some_and(|it| refuse_authority(authority, it, &seat.standing).is_none())
    };
    let mut theirs: Vec<Seat<'a>> = all.into_iter().filter(may).collect();
    match (theirs.pop(), theirs.len(), another) {
        (Some(seat), 0, _) => Ok(seat),
        (Some(last), _, _) => {
            theirs.push(last);
            Err(Refusal::Several(theirs.iter().filter_map(|seat| seat.id.cloned()).collect()))
        }
        (None, _, another) => Err(another.unwrap_or(Refusal::NotFound)),
    }
}

/// Why `authority` may not touch `record`, which stands so, if that is so.
fn refuse_authority(authority: &Authority, record: &Record, standing: &Standing) -> Option<Refusal> {
    // A guard's lock is its own: the name of its owner, or its id, is not enough. What a later version has is nobody's to
    // whom it is not known.
    let is_manual = matches!(record.kind, Some(Kind::Manual) | None);
    let may = match authority {
        Authority::Session(id) if record.lock_id == id.as_str() => true,
        Authority::Session(_) => return Some(Refusal::Lost(Some(Box::new(record.clone())))),
        Authority::Owner(owner) => is_manual && record.owner == *owner,
        Authority::Id(id) => is_manual && record.lock_id == *id,
        Authority::ForceId(id) => record.lock_id == *id,
        Authority::Stale | Authority::Force => true,
    };
    (!may).then(|| Refusal::not_owner(record, standing))
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
    let all = seats(evidence, now);
    let gone: Vec<Displaced> =
        all.iter().filter(|seat| is_swept(seat, now)).map(|seat| Displaced::of_seat(seat, None)).collect();
    if gone.is_empty() && all.is_empty() && is_joint(evidence) {
        return Decision::Remove(vec![Displaced::of_nobody(evidence, standing, None)]);
    }
    if gone.is_empty() {
        return Decision::Refuse(Refusal::NotStale { record: held_record(evidence), standing });
    }
    Decision::Remove(gone)
}

/// Whether a sweep removes it.
fn is_swept(seat: &Seat<'_>, now: &Now) -> bool {
    // Corrupt records are left to whoever wants the lock: until then they can still be looked at. But whoever wants to
    // hold it together with others may not even see it.
    let swept = |why| why != Abandoned::Corrupt || seat.id.is_some();
    let stale = matches!(seat.standing, Standing::Abandoned(why) if swept(why));
    match seat.record().filter(|record| record.kind.is_none()) {
        // The Go tool keeps a dead process's record until its TTL has passed as well.
        Some(go) => stale && lapse_by_record(go, seat.evidence, now).has_lapsed(),
        None => stale,
    }
}

fn held_record(evidence: &Evidence) -> Option<Box<Record>> {
    evidence.record().map(|record| Box::new(record.clone()))
}
