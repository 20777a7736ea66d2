//! The rules of an admission: who gets a name, in whose place, beside whom.

use super::clock::Now;
use super::decision::{Decision, Displaced};
use super::evidence::Evidence;
use super::mode::Mode;
use super::record::{Kind, Record, VERSION};
use super::refusal::Refusal;
use super::request::{Claim, Manner};
use super::standing::{Seat, Standing, first_in_the_way, is_joint, seats};

/// From here on no counter has handed a token out, nor will it in a thousand years, and all JSON readers still count
/// exactly. One that a record claims nevertheless would lift the name's next
/// one beyond what the counter takes for its own, and the one after that would be smaller again.
pub(crate) const NO_TOKEN: u64 = 1 << 52;

/// So much must be left to count up to there from a token that a record claims.
pub(crate) const LEFT_TO_COUNT: u64 = 1 << 40;

pub(super) fn acquire(
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
        return Decision::Refuse(freeze.unseen().unwrap_or_else(|| Refusal::Frozen(freeze.clone())));
    }
    let held = evidence.mode();
    let seats = seats(evidence, now);
    // Whoever founded it died before it had its own record; or the last has died before it could say so. Of those
    // who share it, whoever wants to as well has not asked.
    let has_asked = !claim.mode.always_has_room(held);
    let is_of_nobody = is_joint(evidence) && seats.is_empty() && has_asked;
    let next_token = next_token(evidence, &seats);
    let (to_be_had, holding): (Vec<_>, Vec<_>) =
        seats.into_iter().partition(|seat| is_to_be_had(&seat.standing, manner));
    if !claim.mode.has_room(held, holding.len()) {
        return Decision::Refuse(in_the_way(claim.mode, held, &holding));
    }
    let unknown = holding.iter().find(|seat| seat.record().is_none());
    if let (Some(_), Some(unknown)) = (claim.mode.slots(), unknown) {
        return Decision::Refuse(slot_unknown(held, &unknown.standing));
    }
    if evidence.ahead > 0 {
        let first = evidence.first_wants;
        // One that would only be told that it asks for the wrong thing has nothing to wait for.
        let free = first.has_room(held, holding.len()) || !first.agrees(held);
        return Decision::Refuse(Refusal::Queued { ahead: evidence.ahead, free });
    }
    let mut record = claim.record(name, Some(next_token), now);
    let joins = claim.mode == held && is_joint(evidence) && !is_of_nobody;
    let displaced = match joins {
        true => make_room(claim.mode, &holding, to_be_had),
        false if is_of_nobody => vec![Displaced::of_nobody(evidence, standing, None)],
        false => all(to_be_had),
    };
    let joint = (!joins && claim.mode != Mode::Exclusive).then(|| Box::new(joint_record(&record)));
    if claim.mode != Mode::Exclusive {
        let group = joint.as_deref().or(evidence.record()).and_then(Record::group);
        record.joint = group.map(str::to_owned);
        record.slot = claim.mode.slots().and_then(|slots| free_slot(slots, evidence, &displaced));
    }
    Decision::Admit { record: Box::new(record), joint, displaced }
}

fn is_to_be_had(standing: &Standing, manner: Manner) -> bool {
    match standing {
        Standing::Free | Standing::Abandoned(_) => true,
        Standing::Lapsed { .. } => manner == Manner::BreakStale,
        Standing::Held { .. } | Standing::InProgress | Standing::CorruptButAlive(_) => false,
        Standing::Newer(_) | Standing::Unreadable(_) => false,
    }
}

fn in_the_way(asked: Mode, held: Mode, holding: &[Seat<'_>]) -> Refusal {
    let first = first_in_the_way(holding);
    let record = first.and_then(Seat::record);
    let boxed = record.map(|record| Box::new(record.clone()));
    if let (false, Some(record)) = (asked.agrees(held), &boxed) {
        return Refusal::OtherMode { held, asked, holders: holding.len(), record: record.clone() };
    }
    Refusal::Held {
        record: boxed,
        standing: first.map_or(Standing::Free, |seat| seat.standing.clone()),
        mode: held,
        others: holding
            .iter()
            .filter_map(Seat::record)
            .filter(|other| Some(*other) != record)
            .cloned()
            .collect(),
    }
}

/// One who has a slot can't be read: any of those that seem free may be its own.
fn slot_unknown(held: Mode, standing: &Standing) -> Refusal {
    let standing = standing.clone();
    match standing {
        Standing::Newer(_) | Standing::Unreadable(_) => Refusal::Unusable(standing),
        _ => Refusal::Held { record: None, standing, mode: held, others: Vec::new() },
    }
}

/// Larger than any that the store has handed out, and than those that stand there.
fn next_token(evidence: &Evidence, seats: &[Seat<'_>]) -> u64 {
    let tokens = seats.iter().filter_map(|seat| seat.record()?.token);
    let last = tokens.filter(|token| *token < NO_TOKEN - LEFT_TO_COUNT).max();
    evidence.next_token.max(last.map_or(0, |last| last + 1))
}

fn all(seats: Vec<Seat<'_>>) -> Vec<Displaced> {
    seats.iter().map(|seat| Displaced::of_seat(seat, None)).collect()
}

/// Of those whose places are to be had, who must go for one more to join: whoever is gone, and of those whose leases
/// have lapsed only as many as there is no room for.
fn make_room(mode: Mode, holding: &[Seat<'_>], to_be_had: Vec<Seat<'_>>) -> Vec<Displaced> {
    let (mut gone, mut lapsed): (Vec<_>, Vec<_>) = to_be_had.into_iter().partition(Seat::is_abandoned);
    lapsed.sort_by_key(|seat| seat.record().and_then(Record::deadline));
    while !lapsed.is_empty() && !mode.has_room(mode, holding.len() + lapsed.len()) {
        gone.push(lapsed.remove(0));
    }
    all(gone)
}

/// The lowest slot that nobody has who stays.
fn free_slot(slots: u32, evidence: &Evidence, displaced: &[Displaced]) -> Option<u32> {
    let goes = |id| displaced.iter().any(|gone| gone.holder.as_ref() == Some(id));
    let stays = evidence.holders.iter().filter(|holder| !goes(&holder.id));
    let taken: Vec<u32> = stays.filter_map(|holder| holder.evidence.record()?.slot).collect();
    (1..=slots).find(|slot| !taken.contains(slot))
}

/// What says that several hold the name, of whom `first` is the first. It has no process and no lease, so that the
/// Go tool takes it for held.
fn joint_record(first: &Record) -> Record {
    let mut joint = Record {
        version: VERSION,
        name: first.name.clone(),
        owner: first.owner.clone(),
        host: first.host.clone(),
        acquired_ts: first.acquired_ts.clone(),
        kind: Some(Kind::Joint),
        joint: Some(first.lock_id.clone()),
        ..Record::default()
    };
    joint.set_mode(first.mode());
    joint
}
