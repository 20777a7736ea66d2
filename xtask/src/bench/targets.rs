//! The targets: what of all that is measured has a limit, and which.
//!
//! None is a time, as that would be the machine's; all are ratios and counts.

use serde::Serialize;

use super::found::Found;
use crate::dist::LARGEST;
use crate::section::Table;

/// The most user-space instructions of `lokt guard x -- true` itself.
///
/// To renew the two: `cargo xtask bench --only instructions`, and take what it shows, rounded up to three digits.
const INSTRUCTIONS: f64 = 600_000.0;

/// The most system calls of `lokt guard x -- true` itself.
const SYSTEM_CALLS: f64 = 330.0;

/// What a value should not exceed.
#[derive(Clone, Copy, Serialize)]
pub struct Target {
    /// The section that measures it, and the value's name there.
    pub section: &'static str,
    pub name: &'static str,
    pub limit: f64,
    /// `--check` fails beyond so many times the limit: what a busy machine may add.
    pub slack: f64,
}

/// What processes take in relation to each other, where others run too.
const BUSY: f64 = 1.15;

/// The same of a few hand-overs only.
const FEW: f64 = 1.3;

pub const TARGETS: [Target; 17] = [
    target("admission", "guard / flock", 0.8, BUSY),
    target("admission", "guard --ttl / flock", 0.9, BUSY),
    target("admission", "lokt --version / flock --version", 1.0, BUSY),
    target("admission", "crowded root / empty root", 1.05, BUSY),
    target("admission", "bytes of the program", LARGEST as f64, 1.0),
    target("handover", "lokt / flock, parked for 100 ms", 1.0, FEW),
    target("handover", "lokt / flock, parked for 1 s", 1.0, FEW),
    target("handover", "lokt / flock, parked for 5 s", 1.0, FEW),
    target("crowd", "99 % of hand-overs, most waiters / 2 waiters", 2.0, FEW),
    // It is one. Whoever happens to look up by itself at that moment is counted, too: the rest is for those.
    target("crowd", "waiters woken by a hand-over", 1.2, 1.0),
    target("crowd", "pairs that entered out of order", 0.0, 1.0),
    target("crowd", "CPU ticks of all waiters in 3 s", 1.0, 4.0),
    target("listing", "status / ls -l, 10,000 records", 5.0, BUSY),
    target("listing", "audit --since, most events / 1,000 events", 2.0, BUSY),
    target("library", "acquire_release / floor", 3.0, BUSY),
    target("instructions", "instructions of a guard", INSTRUCTIONS, 1.02),
    target("instructions", "system calls of a guard", SYSTEM_CALLS, 1.0),
];

const fn target(section: &'static str, name: &'static str, limit: f64, slack: f64) -> Target {
    Target { section, name, limit, slack }
}

/// A target, and what was measured.
#[derive(Serialize)]
pub struct Judged {
    #[serde(flatten)]
    pub target: Target,
    /// Absent if it was not measured.
    pub value: Option<f64>,
    /// `met`, `missed` or `not measured`.
    pub state: &'static str,
}

impl Judged {
    pub fn is_missed(&self) -> bool {
        self.state == "missed"
    }

    /// Whether it is missed by more than a busy machine explains.
    pub fn fails_check(&self) -> bool {
        self.value.is_some_and(|value| value > self.target.limit * self.target.slack)
    }
}

pub fn judge(found: &[Found]) -> Vec<Judged> {
    let value = |target: &Target| {
        let section = found.iter().find(|found| found.section.name == target.section)?;
        section.values.get(target.name).copied()
    };
    let judged = |target: &Target| {
        let value = value(target);
        let state = match value {
            Some(value) if value <= target.limit => "met",
            Some(_) => "missed",
            None => "not measured",
        };
        Judged { target: *target, value, state }
    };
    TARGETS.iter().map(judged).collect()
}

pub fn table(judged: &[Judged]) -> Table {
    let mut table = Table::new("Targets", &["section", "what", "at most", "measured", ""]);
    let row = |one: &Judged| {
        let value = one.value.map_or("-".to_owned(), shown);
        let words = [one.target.section, one.target.name].map(str::to_owned);
        [words.to_vec(), vec![shown(one.target.limit), value, one.state.to_owned()]].concat()
    };
    table.rows = judged.iter().map(row).collect();
    table
}

fn shown(value: f64) -> String {
    match value {
        value if value >= 1_000.0 => crate::stats::thousands(value.round() as u64),
        value if value.fract() == 0.0 => format!("{value:.0}"),
        value => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: Option<f64>) -> Vec<Judged> {
        let mut found = Found::new("admission", "");
        found.values.extend(value.map(|value| ("guard / flock".to_owned(), value)));
        judge(&[found])
    }

    #[test]
    fn a_target_is_met_up_to_its_limit_and_only_fails_beyond_its_slack() {
        for (value, state, fails) in [(0.8, "met", false), (0.9, "missed", false), (0.93, "missed", true)] {
            let judged = of(Some(value));
            assert_eq!((judged[0].state, judged[0].fails_check()), (state, fails), "{value}");
        }
    }

    #[test]
    fn what_was_not_measured_is_neither_met_nor_missed() {
        let judged = of(None);
        assert!(judged.iter().all(|one| one.state == "not measured" && !one.fails_check()));
        assert_eq!(table(&judged).rows[0][3], "-");
    }

    #[test]
    fn every_target_has_a_name_of_its_own() {
        for (index, one) in TARGETS.iter().enumerate() {
            let same = |other: &&Target| (other.section, other.name) == (one.section, one.name);
            assert!(!TARGETS[index + 1..].iter().any(|other| same(&other)), "{}", one.name);
        }
    }
}
