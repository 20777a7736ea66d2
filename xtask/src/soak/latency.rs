//! Hand-overs: how long after the end of one section the next waiter entered.

use std::collections::BTreeMap;

use super::checker::{PRESUMED, ms};
use super::claim::Claim;
use super::history::{Cause, History};

/// A lock that went from one to another who was waiting for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Handover {
    pub cause: Cause,
    /// When the one before had ended, in nanoseconds of the history's clock.
    pub at: u64,
    pub ms: f64,
    /// Somebody before in line was stopped, and had to be passed over.
    pub past_stopped: bool,
    pub who: String,
}

/// All hand-overs of a history to somebody who was waiting at the time.
pub fn handovers(history: &History) -> Vec<Handover> {
    let seen_waiting = history.claims.iter().any(|claim| claim.waits.is_some());
    let mut names: BTreeMap<&str, Vec<&Claim>> = BTreeMap::new();
    for claim in &history.claims {
        names.entry(&claim.name).or_default().push(claim);
    }
    let mut found = Vec::new();
    for claims in names.values() {
        let mut entered: Vec<(u64, &Claim)> =
            claims.iter().filter_map(|claim| Some((claim.enter?.at, *claim))).collect();
        entered.sort_by_key(|(at, _)| *at);
        for pair in entered.windows(2) {
            let ((_, before), (at, next)) = (pair[0], pair[1]);
            let waited_since = match next.waits {
                Some(waits) => Some(waits.at),
                None if seen_waiting => None,
                None => next.begin.map(|begin| begin.at.saturating_add(PRESUMED)),
            };
            let Some((free, cause)) = freed(before, at) else { continue };
            if waited_since.is_some_and(|since| since <= free) && !is_disturbed_before(next, at) {
                let past_stopped = claims.iter().any(|claim| stood_stopped(claim, free, at));
                found.push(Handover {
                    cause,
                    at: free,
                    ms: ms(at - free),
                    past_stopped,
                    who: next.who.clone(),
                });
            }
        }
    }
    found.sort_by_key(|handover| handover.at);
    found
}

/// When a section's lock became free, at the latest, and why; `None` if nobody can tell.
fn freed(before: &Claim, next_entered: u64) -> Option<(u64, Cause)> {
    if let Some((mark, cause)) = before.freed {
        return (mark.at <= next_entered).then_some((mark.at, cause));
    }
    let kill = before.kills.last();
    // A guard that is stopped frees nothing until it runs again.
    let last =
        [before.exit.as_ref(), kill, before.conts.last()].into_iter().flatten().map(|mark| mark.at).max()?;
    let cause = match (kill, before.exit) {
        (Some(_), _) => Cause::Death,
        (None, Some(_)) => before.exit_cause.unwrap_or(Cause::Release),
        (None, None) => return None,
    };
    (last <= next_entered).then_some((last, cause))
}

fn is_disturbed_before(claim: &Claim, at: u64) -> bool {
    claim.stops.iter().chain(&claim.kills).any(|mark| mark.at <= at)
}

/// Whether it stood in line and was stopped while the lock lay free.
fn stood_stopped(claim: &Claim, free: u64, entered: u64) -> bool {
    let waited = claim.waits.is_some_and(|waits| waits.at <= entered);
    let entered_later = claim.enter.is_none_or(|enter| enter.at > entered);
    let stopped =
        claim.stops.iter().enumerate().any(|(index, stop)| {
            stop.at <= entered && claim.conts.get(index).is_none_or(|cont| cont.at >= free)
        });
    waited && entered_later && stopped
}
