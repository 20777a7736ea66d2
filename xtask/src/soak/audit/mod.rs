//! lokt's audit log against the history: whether both tell of the same admissions, ends, denials and lines.
//!
//! The log's times are of the wall clock. They are only used with a slack, to tell apart processes of one id and to
//! see that nothing was freed while its section ran, or taken before it lapsed.

mod agree;
mod log;
#[cfg(test)]
mod samples;

use super::checker::{Findings, Rule, Violation};
use super::claim::Claim;
use super::history::{Cause, History, Kind, Line};
pub use agree::check;
pub use log::{Clock, Log};

/// By how much the wall clock may be slewed against the monotonic one within one soak, in nanoseconds.
pub const SLACK: u64 = 20_000_000;

/// How a lock that was admitted came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    Release,
    AutoPrune,
    StaleBreak,
    ForceBreak,
    CorruptBreak,
}

/// One admission, as the log has it.
#[derive(Debug, Clone)]
pub struct Admission {
    pub name: String,
    pub lock_id: String,
    pub token: Option<u64>,
    pub pid: u32,
    /// Where it stands in the log.
    pub line: usize,
    pub at: u64,
    pub ttl: Option<u64>,
    /// When its lease last began.
    pub renewed_at: u64,
    pub ending: Option<(Ending, u64)>,
}

impl Admission {
    /// When its lease lapsed, if it had one.
    pub fn lapse(&self) -> Option<u64> {
        Some(self.renewed_at.saturating_add(self.ttl?))
    }

    /// Whether it was removed once its lease had lapsed.
    pub fn lapsed(&self) -> bool {
        let (Some((ending, at)), Some(lapse)) = (self.ending, self.lapse()) else {
            return false;
        };
        matches!(ending, Ending::StaleBreak | Ending::AutoPrune) && at.saturating_add(SLACK) >= lapse
    }
}

/// The lines that the log adds to a history: which locks were free from when on because their lease had lapsed.
pub fn lapses(log: &Log, history: &History) -> Vec<Line> {
    let mut lines = Vec::new();
    for admission in log.admissions.iter().filter(|admission| admission.lapsed()) {
        let own =
            |claim: &&Claim| claim.lock_id.as_deref() == Some(&admission.lock_id) && claim.kills.is_empty();
        if let (Some(claim), Some(lapse)) = (history.claims.iter().find(own), admission.lapse()) {
            let line = Line::new(Kind::Freed, lapse, &claim.who);
            lines.push(Line { cause: Some(Cause::Lapse), ..line });
        }
    }
    lines
}

fn violation(text: impl Into<String>, claims: &[&Claim], findings: &mut Findings) {
    findings.add(Violation::new(Rule::Audit, text, claims));
}
