//! The rule of the order: first come, first served, as far as it can be told from outside.

use super::{Findings, Of, Rule, Violation, entered_at};
use crate::soak::claim::Claim;

/// Where nobody is seen to wait, who began this much earlier is presumed to have stood in line earlier, in
/// nanoseconds. Good enough to count by, not to judge by.
pub const PRESUMED: u64 = 100_000_000;

/// B overtook A: A certainly stood in line before B even began, and nothing was done to A until B was in.
///
/// Those who never entered have no part in it: from outside nobody knows when they left the line.
pub fn check(of: &Of<'_>, seen_waiting: bool, judge: bool, findings: &mut Findings) {
    let in_line = |claim: &Claim| match (claim.waits, claim.begin) {
        (Some(waits), _) => Some(waits.at),
        (None, Some(begin)) if !seen_waiting => Some(begin.at.saturating_add(PRESUMED)),
        _ => None,
    };
    // The earliest that anybody from here on stood in line: the search ends where that is too late.
    let mut earliest = vec![u64::MAX; of.entered.len() + 1];
    for (index, claim) in of.entered.iter().enumerate().rev() {
        earliest[index] = earliest[index + 1].min(in_line(claim).unwrap_or(u64::MAX));
    }
    for (index, later) in of.entered.iter().enumerate() {
        let Some(begin) = later.begin else { continue };
        findings.looked(Rule::Order, 1);
        let rest = of.entered.iter().enumerate().skip(index + 1);
        let overtaken =
            rest.take_while(|(index, _)| earliest[*index] < begin.at).map(|(_, claim)| claim).find(|claim| {
                in_line(claim).is_some_and(|at| at < begin.at) && is_ready(claim, entered_at(later))
            });
        let Some(overtaken) = overtaken.filter(|claim| entered_at(claim) > entered_at(later)) else {
            continue;
        };
        findings.overtakings += 1;
        if judge {
            findings.add(violation(of.name, overtaken, later));
        }
    }
}

/// Whether nothing was done to it until then: one that was stopped may be passed over, and has a new place later.
fn is_ready(claim: &Claim, until: u64) -> bool {
    let signals = claim.stops.iter().chain(&claim.kills).map(|mark| mark.at);
    signals.chain(claim.gaps.iter().map(|gap| gap.at)).all(|at| at > until)
}

fn violation(name: &str, overtaken: &Claim, by: &Claim) -> Violation {
    let text =
        format!("{} stood in line for {name:?} before {} began, and entered after it", overtaken.who, by.who);
    let marks = [overtaken.waits, by.begin, by.enter, overtaken.enter];
    Violation::new(Rule::Order, text, &[overtaken, by])
        .lines(marks.into_iter().flatten().map(|mark| mark.line))
}
