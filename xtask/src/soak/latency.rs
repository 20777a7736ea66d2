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
    if before.exit_cause == Some(Cause::Lapse) {
        return None;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::claim::Mark;

    const MS: u64 = 1_000_000;

    fn enters(who: &str, at: u64) -> Claim {
        let mark = |at| Some(Mark { at: at * MS, line: 1 });
        Claim {
            who: who.to_owned(),
            name: "n".to_owned(),
            waits: mark(1),
            enter: mark(at),
            ..Claim::default()
        }
    }

    fn mark(at: u64) -> Mark {
        Mark { at: at * MS, line: 1 }
    }

    fn of(claims: Vec<Claim>) -> Vec<(Cause, f64, bool)> {
        let history = History { claims, ..History::default() };
        handovers(&history).into_iter().map(|one| (one.cause, one.ms, one.past_stopped)).collect()
    }

    #[test]
    fn a_hand_over_counts_from_what_ended_the_one_before() {
        let left = Claim { exit: Some(mark(10)), ..enters("a", 5) };
        let next = enters("b", 12);
        assert_eq!(of(vec![left.clone(), next.clone()]), [(Cause::Release, 2.0, false)]);
        let unlocked = Claim { exit_cause: Some(Cause::Unlock), ..left.clone() };
        assert_eq!(of(vec![next.clone(), unlocked]), [(Cause::Unlock, 2.0, false)]);
        let killed = Claim { kills: vec![mark(9)], ..enters("a", 5) };
        assert_eq!(of(vec![killed, next.clone()]), [(Cause::Death, 3.0, false)]);
        let lapsed = Claim { freed: Some((mark(8), Cause::Lapse)), ..left.clone() };
        assert_eq!(of(vec![lapsed, next.clone()]), [(Cause::Lapse, 4.0, false)]);
        let stopped = Claim { stops: vec![mark(9)], conts: vec![mark(11)], ..left };
        assert_eq!(of(vec![stopped, next]), [(Cause::Release, 1.0, false)]);
    }

    #[test]
    fn only_who_was_waiting_then_and_was_left_alone_is_timed() {
        let left = Claim { exit: Some(mark(10)), ..enters("a", 5) };
        let late = Claim { waits: Some(mark(11)), ..enters("b", 12) };
        let unseen = Claim { waits: None, ..enters("b", 12) };
        let stopped = Claim { stops: vec![mark(9)], ..enters("b", 12) };
        for next in [late, unseen, stopped] {
            assert_eq!(of(vec![left.clone(), next]), []);
        }
        let nobody_can_tell = Claim { exit_cause: Some(Cause::Lapse), ..left };
        assert_eq!(of(vec![nobody_can_tell, enters("b", 12)]), []);
    }

    #[test]
    fn one_who_stands_before_and_is_stopped_sets_a_hand_over_apart() {
        let left = Claim { exit: Some(mark(10)), ..enters("a", 5) };
        let stopped = Claim { stops: vec![mark(9)], conts: vec![mark(20)], ..enters("b", 25) };
        let handovers = of(vec![left, stopped, enters("c", 12)]);
        assert_eq!(handovers[0], (Cause::Release, 2.0, true));
    }
}
