//! Whether the log and the history tell of the same things.

use std::collections::{HashMap, HashSet};

use super::log::{Act, Odd};
use super::{Admission, Ending, Log, SLACK, violation};
use crate::soak::checker::{Findings, Rule, Violation};
use crate::soak::claim::Claim;
use crate::soak::history::{Gap, History};

/// The exit code of `guard` and `lock` for a lock that was held, or waited for too long.
const HELD: i32 = 2;

/// Exit codes of one to which something was done: lost, or ended by SIGKILL or SIGTERM itself or through its command.
const DISTURBED: [i32; 5] = [0, HELD, 5, 137, 143];

struct Sides<'a> {
    log: &'a Log,
    history: &'a History,
    /// Claims by the process that made them. Process ids come round again, so there may be several.
    by_pid: HashMap<u32, Vec<&'a Claim>>,
}

/// Checks one against the other.
pub fn check(log: &Log, history: &History, findings: &mut Findings) {
    let mut by_pid: HashMap<u32, Vec<&Claim>> = HashMap::new();
    for claim in &history.claims {
        by_pid.entry(claim.pid.unwrap_or_default()).or_default().push(claim);
    }
    let sides = Sides { log, history, by_pid };
    sides.admissions(findings);
    sides.odds(findings);
    sides.denials(findings);
    sides.lines(findings);
    sides.outcomes(findings);
}

impl Sides<'_> {
    /// Which claim a process made at a time.
    fn claim_of(&self, pid: u32, at: u64) -> Option<&Claim> {
        let ran = |claim: &&&Claim| {
            let begin = claim.begin.map_or(u64::MAX, |begin| begin.at.saturating_sub(SLACK));
            let end = claim.end.map_or(u64::MAX, |end| end.at.saturating_add(SLACK));
            (begin..=end).contains(&at)
        };
        self.by_pid.get(&pid)?.iter().find(ran).copied()
    }

    fn gaps(&self, claim: &Claim) -> &[Gap] {
        self.history.gaps.get(&claim.name).map_or(&[], Vec::as_slice)
    }

    /// Whether something was done to it that explains how it ended.
    fn is_disturbed(&self, claim: &Claim) -> bool {
        let began = claim.begin.map_or(0, |begin| begin.at);
        let last = [claim.end, claim.last_seen()].into_iter().flatten().map(|mark| mark.at).max();
        let forced = |gap: &Gap| began <= gap.until && last.is_none_or(|last| last >= gap.at);
        claim.is_disturbed() || self.gaps(claim).iter().any(forced)
    }

    /// Each section has its admission, and each admission its section: unless its process was hit on the way.
    fn admissions(&self, findings: &mut Findings) {
        let mut of_id: HashMap<&str, &Admission> = HashMap::new();
        for admission in &self.log.admissions {
            if of_id.insert(&admission.lock_id, admission).is_some() {
                violation(format!("two admissions have the lock_id {}", admission.lock_id), &[], findings);
            }
        }
        let mut entered = HashSet::new();
        for claim in self.history.claims.iter().filter(|claim| claim.enter.is_some()) {
            findings.looked(Rule::Audit, 1);
            let Some(lock_id) = claim.lock_id.as_deref() else {
                violation(format!("{} entered without a lock_id", claim.who), &[claim], findings);
                continue;
            };
            if !entered.insert(lock_id) {
                violation(
                    format!("{} entered with another's lock_id {lock_id}", claim.who),
                    &[claim],
                    findings,
                );
            }
            match of_id.get(lock_id) {
                None => {
                    let text =
                        format!("{} entered with lock_id {lock_id}, which was not admitted", claim.who);
                    violation(text, &[claim], findings);
                }
                Some(admission) => self.agrees(claim, admission, findings),
            }
        }
        for admission in self.log.admissions.iter().filter(|one| !entered.contains(one.lock_id.as_str())) {
            findings.looked(Rule::Audit, 1);
            let claim = self.claim_of(admission.pid, admission.at);
            if !claim.is_some_and(|claim| self.is_disturbed(claim)) {
                let text = format!(
                    "line {} of the audit log: admitted to {:?}, never entered, and nothing was done to it",
                    admission.line, admission.name
                );
                violation(text, claim.as_slice(), findings);
            }
        }
    }

    fn agrees(&self, claim: &Claim, admission: &Admission, findings: &mut Findings) {
        let mut wrong = |what: String| violation(format!("{}: {what}", claim.who), &[claim], findings);
        if (&admission.name, admission.token) != (&claim.name, claim.token) {
            wrong(format!(
                "entered {:?} with token {:?}; admitted to {:?} with {:?}",
                claim.name, claim.token, admission.name, admission.token
            ));
        }
        let Some((ending, at)) = admission.ending else {
            return;
        };
        let seen = claim.last_seen().map_or(0, |mark| mark.at).min(claim.protected_until(self.gaps(claim)));
        if at.saturating_add(SLACK) < seen {
            wrong(format!("its lock ended by {ending:?} while it was inside {:?}", claim.name));
        }
        let forced =
            || self.gaps(claim).iter().any(|gap| gap.at <= at.saturating_add(SLACK) && at <= gap.until);
        let killed = !claim.kills.is_empty();
        let explained = match ending {
            Ending::Release => claim.exit.is_some() || self.is_disturbed(claim),
            Ending::AutoPrune => killed || admission.lapsed(),
            Ending::StaleBreak => killed || !Log::taken_early(admission),
            Ending::ForceBreak => forced(),
            Ending::CorruptBreak => false,
        };
        if !explained {
            wrong(format!("its lock ended by {ending:?}, which nothing explains"));
        }
    }

    /// One that is killed between what it does and its line in the log leaves the line out. Nothing else does.
    fn odds(&self, findings: &mut Findings) {
        for odd in &self.log.odds {
            findings.looked(Rule::Audit, 1);
            let (explained, over) = match odd {
                Odd::NotEnded(index) => (true, Some(*index)),
                Odd::NotAdmitted { act, holder_pid, over } => {
                    (self.was_admitted_silently(act, *holder_pid), *over)
                }
            };
            let over = over.map(|index| &self.log.admissions[index]);
            if explained && over.is_none_or(|open| self.may_have_ended_silently(open)) {
                continue;
            }
            let text = match (odd, over) {
                (Odd::NotAdmitted { act, .. }, _) => format!(
                    "line {} of the audit log: the end of {}, which was not admitted",
                    act.line,
                    act.lock_id.as_deref().unwrap_or("nobody")
                ),
                (Odd::NotEnded(_), Some(open)) => format!(
                    "line {} of the audit log: {:?} is admitted to {}, whose end is not in the log",
                    open.line, open.name, open.lock_id
                ),
                (Odd::NotEnded(_), None) => continue,
            };
            let claim = over.and_then(|open| self.claim_of(open.pid, open.at));
            violation(text, claim.as_slice(), findings);
        }
    }

    /// Whether an admission can have ended without a line: its holder was killed as it released it, or it had lapsed and
    /// whoever removed it was killed.
    fn may_have_ended_silently(&self, open: &Admission) -> bool {
        let own = self.claim_of(open.pid, open.at).is_some_and(|claim| !claim.kills.is_empty());
        let killed_after = |lapse: u64| {
            let mut kills = self.history.claims.iter().flat_map(|claim| &claim.kills);
            kills.any(|kill| kill.at.saturating_add(SLACK) >= lapse)
        };
        own || open.lapse().is_some_and(killed_after)
    }

    /// Whether a claim can have been admitted and killed before it said so.
    fn was_admitted_silently(&self, act: &Act, holder_pid: u32) -> bool {
        let waited = self.log.waits.iter().find(|wait| wait.lock_id == act.lock_id);
        let waiter = waited.and_then(|wait| self.claim_of(wait.pid, wait.at)).map(|claim| &claim.who);
        self.was_killed_before_it_entered(&act.name, |claim| {
            let by_process = holder_pid == 0 || claim.pid == Some(holder_pid);
            by_process && waiter.is_none_or(|who| *who == claim.who)
        })
    }

    fn was_killed_before_it_entered(&self, name: &str, which: impl Fn(&Claim) -> bool) -> bool {
        let killed = |claim: &&Claim| claim.name == name && claim.enter.is_none() && !claim.kills.is_empty();
        self.history.claims.iter().filter(killed).any(which)
    }

    /// Who ended with "held" was denied once; nobody else was, but that who was hit may have been before.
    fn denials(&self, findings: &mut Findings) {
        let mut denied: HashMap<&str, u32> = HashMap::new();
        for act in &self.log.denials {
            match self.claim_of(act.pid, act.at) {
                Some(claim) if claim.name == act.name => *denied.entry(&claim.who).or_default() += 1,
                _ => violation(
                    format!("line {} of the audit log: a denial of nobody", act.line),
                    &[],
                    findings,
                ),
            }
        }
        for claim in self.history.claims.iter().filter(|claim| !claim.how.starts_with("unlock")) {
            findings.looked(Rule::Audit, 1);
            let times = denied.get(claim.who.as_str()).copied().unwrap_or(0);
            let agrees = match claim.code {
                Some(HELD) => times == 1,
                _ if claim.is_disturbed() => times <= 1,
                _ => times == 0,
            };
            if !agrees {
                let text = format!("{} was denied {times} times and ended with {:?}", claim.who, claim.code);
                violation(text, &[claim], findings);
            }
        }
    }

    /// The line, by the log's own order: who joined it earlier is admitted earlier, unless something was done to him;
    /// and while one waits until his time is out, nobody passes him either.
    fn lines(&self, findings: &mut Findings) {
        let mut joined: HashMap<&str, (usize, &Claim)> = HashMap::new();
        for act in &self.log.waits {
            match self.claim_of(act.pid, act.at) {
                Some(claim) => drop(joined.entry(&claim.who).or_insert((act.line, claim))),
                None => violation(format!("line {} of the audit log: nobody waits", act.line), &[], findings),
            }
        }
        for claim in self.history.claims.iter().filter(|claim| claim.waits.is_some()) {
            findings.looked(Rule::Audit, 1);
            if !joined.contains_key(claim.who.as_str()) {
                violation(
                    format!("{} stood in line, and the log does not say so", claim.who),
                    &[claim],
                    findings,
                );
            }
        }
        let ends = self.ends_of_waits();
        let admitted: Vec<(&Admission, Option<&Claim>)> =
            self.log.admissions.iter().map(|one| (one, self.claim_of(one.pid, one.at))).collect();
        for (who, (from, claim)) in &joined {
            let Some(to) = ends.get(who).filter(|_| !claim.is_disturbed()) else { continue };
            findings.looked(Rule::Order, 1);
            let start = admitted.partition_point(|(one, _)| one.line < *from);
            let between = admitted[start..].iter().take_while(|(one, _)| one.line < *to);
            let passed = |other: &Claim| {
                other.who != *who && joined.get(other.who.as_str()).is_none_or(|(line, _)| line > from)
            };
            let by = between
                .filter(|(one, _)| one.name == claim.name)
                .find_map(|(one, other)| other.filter(|other| passed(other)).map(|other| (*one, other)));
            if let Some((one, other)) = by {
                let text = format!(
                    "{who} joined the line for {:?} in line {from} of the audit log; {}, which came later, was \
                     admitted before it in line {}",
                    claim.name, other.who, one.line
                );
                let order = Violation::new(Rule::Order, text, &[claim, other]);
                findings.add(order);
            }
        }
    }

    /// In which line of the log each claim was admitted or denied.
    fn ends_of_waits(&self) -> HashMap<&str, usize> {
        let admitted = self.log.admissions.iter().map(|one| (one.pid, one.at, one.line));
        let denied = self.log.denials.iter().map(|act: &Act| (act.pid, act.at, act.line));
        let of = |(pid, at, line): (u32, u64, usize)| Some((self.claim_of(pid, at)?.who.as_str(), line));
        admitted.chain(denied).filter_map(of).collect()
    }

    /// Each claim ended with a code that its history explains.
    fn outcomes(&self, findings: &mut Findings) {
        for claim in self.history.claims.iter().filter(|claim| !claim.how.starts_with("unlock")) {
            findings.looked(Rule::Outcome, 1);
            let ordinary = match claim.code {
                // A guard passes on the code of its section, which is 0.
                Some(0) => claim.exit.is_some(),
                Some(HELD) => claim.enter.is_none(),
                _ => false,
            };
            let disturbed = self.is_disturbed(claim);
            let explained = disturbed && claim.code.is_some_and(|code| DISTURBED.contains(&code));
            if !(ordinary || explained) {
                let text = format!(
                    "{} ended with {}, {}",
                    claim.who,
                    claim.code.map_or("nothing".to_owned(), |code| code.to_string()),
                    if disturbed {
                        "which nothing that was done to it explains"
                    } else {
                        "and nothing was done to it"
                    }
                );
                findings.add(Violation::new(Rule::Outcome, text, &[claim]));
            }
        }
    }
}
