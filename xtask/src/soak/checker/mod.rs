//! The checker: judges a history by nothing but the history. It knows no lock.
//!
//! | rule | in short |
//! | --- | --- |
//! | overlap | no two sections of a name ran at the same instant |
//! | alone | no section met the witness of another that still existed |
//! | token | tokens rise from section to section |
//! | order | who stood in line before another began enters before it |
//! | outlived | who lost its lock to another is ended |
//! | failed | whoever drove the processes saw nothing that must not be |
//!
//! `docs/history.md` has them in full, with what each makes of fields that are absent.

mod order;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod simulated;

use std::collections::BTreeMap;
use std::fmt;

use super::claim::Claim;
use super::history::{Gap, History};
pub use order::PRESUMED;

/// How long one that lost its lock may go on after it was continued: far more than it takes to end a command.
const GRACE: u64 = 3_000_000_000;

/// How long the kernel may take to remove what is left of a process that was reaped, or whose guard was.
const AFTERLIFE: u64 = 1_000_000_000;

/// A rule, of the checker or of what else a soak looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    Overlap,
    Alone,
    Token,
    Order,
    Outlived,
    Failed,
    /// The exit code of a claim is one that its history explains.
    Outcome,
    /// The audit log and the history agree.
    Audit,
    /// Nothing is left behind.
    Leftovers,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{self:?}").to_lowercase())
    }
}

/// A rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub rule: Rule,
    pub text: String,
    /// Lines of the history that show it.
    pub lines: Vec<usize>,
    /// The claims concerned, by their `who`.
    pub claims: Vec<String>,
}

impl Violation {
    pub fn new(rule: Rule, text: impl Into<String>, claims: &[&Claim]) -> Self {
        let claims = claims.iter().map(|claim| claim.who.clone()).collect();
        Self { rule, text: text.into(), lines: Vec::new(), claims }
    }

    pub fn lines(self, lines: impl IntoIterator<Item = usize>) -> Self {
        Self { lines: lines.into_iter().collect(), ..self }
    }
}

/// What the rules found, and how much each had to look at.
#[derive(Debug, Default)]
pub struct Findings {
    pub violations: Vec<Violation>,
    pub looked_at: BTreeMap<Rule, u64>,
    /// Of the order, where it is reported and not judged.
    pub overtakings: u64,
}

impl Findings {
    pub fn looked(&mut self, rule: Rule, count: u64) {
        *self.looked_at.entry(rule).or_default() += count;
    }

    pub fn add(&mut self, violation: Violation) {
        self.violations.push(violation);
    }

    pub fn of(&self, rule: Rule) -> usize {
        self.violations.iter().filter(|violation| violation.rule == rule).count()
    }

    pub fn merge(&mut self, other: Self) {
        self.violations.extend(other.violations);
        other.looked_at.into_iter().for_each(|(rule, count)| self.looked(rule, count));
        self.overtakings += other.overtakings;
    }
}

/// The sections of one name, in the order in which they were entered.
struct Of<'a> {
    name: &'a str,
    gaps: &'a [Gap],
    entered: Vec<&'a Claim>,
}

/// Judges a whole history. The order of the line is only counted unless `judge_order`.
pub fn check(history: &History, judge_order: bool) -> Findings {
    let mut findings = Findings::default();
    let seen_waiting = history.claims.iter().any(|claim| claim.waits.is_some());
    for of in by_name(history) {
        overlap(&of, &mut findings);
        alone(&of, &mut findings);
        token(&of, &mut findings);
        order::check(&of, seen_waiting, judge_order, &mut findings);
        outlived(&of, &mut findings);
    }
    for claim in &history.claims {
        findings.looked(Rule::Failed, 1);
        for (mark, what) in &claim.failed {
            findings.add(Violation::new(Rule::Failed, what.clone(), &[claim]).lines([mark.line]));
        }
    }
    findings
}

fn by_name(history: &History) -> Vec<Of<'_>> {
    let mut names: BTreeMap<&str, Vec<&Claim>> = BTreeMap::new();
    for claim in history.claims.iter().filter(|claim| claim.enter.is_some()) {
        names.entry(&claim.name).or_default().push(claim);
    }
    // Of two that entered at one instant nobody knows which was the first: the tokens may say so.
    names.values_mut().for_each(|entered| entered.sort_by_key(|claim| (entered_at(claim), claim.token)));
    let gaps = |name: &str| history.gaps.get(name).map_or(&[][..], Vec::as_slice);
    names.into_iter().map(|(name, entered)| Of { name, gaps: gaps(name), entered }).collect()
}

fn entered_at(claim: &Claim) -> u64 {
    claim.enter.map_or(0, |enter| enter.at)
}

/// The last instant at which a section certainly ran and was protected.
fn certain_end(claim: &Claim, gaps: &[Gap]) -> u64 {
    let last_seen = claim.last_seen().map_or(0, |mark| mark.at);
    last_seen.min(claim.protected_until(gaps))
}

/// Of each section only the time counts during which it certainly ran: from when it had entered to the last that it
/// said itself. So two that overlap here have overlapped; touching is no overlap.
fn overlap(of: &Of<'_>, findings: &mut Findings) {
    let mut longest: Option<(&Claim, u64)> = None;
    for claim in &of.entered {
        let (enter, end) = (entered_at(claim), certain_end(claim, of.gaps));
        if claim.protected_until(of.gaps) <= enter {
            continue;
        }
        findings.looked(Rule::Overlap, 1);
        if let Some((before, until)) = longest
            && enter < until
            && entered_at(before) < end
        {
            let both = until.min(end) - enter;
            let text = format!(
                "{} and {} were both inside {:?} for {} at least",
                before.who,
                claim.who,
                of.name,
                crate::stats::time(ms(both))
            );
            findings
                .add(Violation::new(Rule::Overlap, text, &[before, claim]).lines(lines_of(&[before, claim])));
        }
        if longest.is_none_or(|(_, until)| end > until) {
            longest = Some((claim, end));
        }
    }
}

fn lines_of(claims: &[&Claim]) -> Vec<usize> {
    let of = |claim: &&Claim| [claim.enter, claim.last_seen()].into_iter().flatten().map(|mark| mark.line);
    claims.iter().flat_map(of).collect()
}

/// A section that found both witnesses taken was not alone; but one that nothing protects any more may be the other.
fn alone(of: &Of<'_>, findings: &mut Findings) {
    for claim in &of.entered {
        let (Some(alone), at) = (claim.alone, entered_at(claim)) else { continue };
        findings.looked(Rule::Alone, 1);
        if alone || claim.protected_until(of.gaps) <= at {
            continue;
        }
        let excuses = |other: &&&Claim| {
            let there = other.end.is_none_or(|end| at <= end.at.saturating_add(AFTERLIFE));
            other.who != claim.who && entered_at(other) <= at && other.protected_until(of.gaps) <= at && there
        };
        if !of.entered.iter().any(|other| excuses(&other)) {
            let text = format!("{} was not alone when it entered {:?}", claim.who, of.name);
            let before = of.entered.iter().rev().find(|other| entered_at(other) < at);
            let claims: Vec<&Claim> = before.into_iter().chain([claim]).copied().collect();
            findings.add(Violation::new(Rule::Alone, text, &claims).lines(lines_of(&claims)));
        }
    }
}

fn token(of: &Of<'_>, findings: &mut Findings) {
    let mut largest: Option<(&Claim, u64)> = None;
    for claim in &of.entered {
        let Some(token) = claim.token else { continue };
        if claim.protected_until(of.gaps) <= entered_at(claim) {
            continue;
        }
        findings.looked(Rule::Token, 1);
        if let Some((before, larger)) = largest.filter(|(_, largest)| token <= *largest) {
            let text = format!(
                "{} entered {:?} with token {token}, after {} with token {larger}",
                claim.who, of.name, before.who
            );
            findings
                .add(Violation::new(Rule::Token, text, &[before, claim]).lines(lines_of(&[before, claim])));
        }
        if largest.is_none_or(|(_, largest)| token > largest) {
            largest = Some((claim, token));
        }
    }
}

/// One whose lock was taken from it while it could not run is ended as soon as it runs again.
fn outlived(of: &Of<'_>, findings: &mut Findings) {
    for claim in &of.entered {
        let (Some(cont), Some((freed, _)), Some(last)) = (claim.conts.last(), claim.freed, claim.last_seen())
        else {
            continue;
        };
        findings.looked(Rule::Outlived, 1);
        if last.at > freed.at.max(cont.at).saturating_add(GRACE) {
            let text =
                format!("{} ran on in {:?} long after its lock had been taken over", claim.who, of.name);
            let lines = [freed.line, cont.line, last.line];
            findings.add(Violation::new(Rule::Outlived, text, &[claim]).lines(lines));
        }
    }
}

/// Nanoseconds as milliseconds.
pub fn ms(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e6
}
