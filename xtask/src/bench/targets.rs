//! The targets: what of all that is measured has a limit, and which.
//!
//! None is a time, as that would be the machine's; all are ratios and counts.

use serde::Serialize;

use super::found::Found;
use crate::dist::LARGEST;
use crate::section::Table;

/// The most user-space instructions of `lokt lock x`.
///
/// To renew this and the next: `cargo xtask bench --only instructions` some times; take the most that it shows, the
/// instructions rounded up to thousands: other compilers make some more of them. The system calls differ by two or three, as memory is asked for in pages.
const INSTRUCTIONS: f64 = 191_000.0;

/// The most system calls of `lokt guard x -- true` itself.
const SYSTEM_CALLS: f64 = 149.0;

/// What a value should not exceed.
#[derive(Clone, Copy, Serialize)]
pub struct Target {
    /// The section that measures it, and the value's name there.
    pub section: &'static str,
    pub name: &'static str,
    pub limit: f64,
    /// `--check` fails beyond this: what was reached when this was written, and what a busy machine may add to it.
    pub fails_beyond: f64,
}

pub const TARGETS: [Target; 17] = [
    target("admission", "guard / flock", 0.8, 0.95),
    target("admission", "guard --ttl / flock", 0.9, 1.05),
    target("admission", "lokt --version / flock --version", 1.0, 1.0),
    target("admission", "crowded root / empty root", 1.05, 1.2),
    target("admission", "bytes of the program", LARGEST as f64, LARGEST as f64),
    // Not reached yet: docs/performance.md says what it would take.
    target("handover", "lokt / flock, parked for 100 ms", 1.0, 2.0),
    target("handover", "lokt / flock, parked for 1 s", 1.0, 2.5),
    target("handover", "lokt / flock, parked for 5 s", 1.0, 2.5),
    target("crowd", "slowest 1 % of hand-overs, most / 2 waiters", 2.0, 4.0),
    // It is one. Whoever happens to look up by itself at that moment is counted, too: the rest is for those.
    target("crowd", "waiters woken by a hand-over", 1.2, 1.5),
    target("crowd", "pairs that entered out of order", 0.0, 0.0),
    target("crowd", "CPU ticks of all waiters in 3 s", 1.0, 4.0),
    target("listing", "status / ls -l, 10,000 records", 5.0, 5.0),
    target("listing", "audit --since, most events / 1,000 events", 2.0, 2.3),
    target("library", "acquire_release / floor", 3.0, 3.0),
    target("instructions", "instructions of a lock", INSTRUCTIONS, INSTRUCTIONS * 1.1),
    target("instructions", "system calls of a guard", SYSTEM_CALLS, SYSTEM_CALLS + 10.0),
];

const fn target(section: &'static str, name: &'static str, limit: f64, fails_beyond: f64) -> Target {
    Target { section, name, limit, fails_beyond }
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
        self.value.is_some_and(|value| value > self.target.fails_beyond)
    }
}

/// Says in a section how its targets stand.
pub fn conclude(found: &mut Found) {
    let judged = judge(std::slice::from_ref(found));
    let count = |state| judged.iter().filter(|one| one.state == state).count();
    let (met, missed) = (count("met"), count("missed"));
    found.section.passed = missed == 0 && !found.failed;
    if found.section.verdict.is_empty() {
        found.section.verdict = match met + missed {
            0 => "measured; no target".to_owned(),
            all => format!("{met} of {all} targets met"),
        };
    }
}

/// The targets of the sections that were asked for.
pub fn judge(found: &[Found]) -> Vec<Judged> {
    let judged = |target: &Target| {
        let section = found.iter().find(|found| found.section.name == target.section)?;
        let value = section.values.get(target.name).copied();
        let state = match value {
            Some(value) if value <= target.limit => "met",
            Some(_) => "missed",
            None => "not measured",
        };
        Some(Judged { target: *target, value, state })
    };
    TARGETS.iter().filter_map(judged).collect()
}

pub fn table(judged: &[Judged]) -> Table {
    let mut table = Table::new("Targets", &["what", "measured", "at most", "", "section"]);
    let row = |one: &Judged| {
        let value = one.value.map_or("-".to_owned(), |value| measured(value, one.target.limit));
        let cells = [one.target.name, &value, &shown(one.target.limit), one.state, one.target.section];
        cells.map(str::to_owned).to_vec()
    };
    table.rows = judged.iter().map(row).collect();
    table
}

/// A value, precisely enough to be told from its limit.
fn measured(value: f64, limit: f64) -> String {
    let hundredths = |value: f64| (value * 100.0).round();
    match value < 1_000.0 && value != limit && hundredths(value) == hundredths(limit) {
        true => format!("{value:.4}"),
        false => shown(value),
    }
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
    fn a_target_is_met_up_to_its_limit_and_fails_only_far_beyond_it() {
        for (value, state, fails) in [(0.8, "met", false), (0.9, "missed", false), (0.96, "missed", true)] {
            let judged = of(Some(value));
            assert_eq!((judged[0].state, judged[0].fails_check()), (state, fails), "{value}");
        }
    }

    #[test]
    fn a_section_passes_if_none_of_its_targets_is_missed() {
        let concluded = |name, value: f64| {
            let mut found = Found::new("admission", "");
            found.value(name, value);
            conclude(&mut found);
            (found.section.passed, found.section.verdict)
        };
        assert_eq!(concluded("guard / flock", 0.7), (true, "1 of 1 targets met".to_owned()));
        assert_eq!(concluded("guard / flock", 0.9), (false, "0 of 1 targets met".to_owned()));
        assert_eq!(concluded("something else", 9.0), (true, "measured; no target".to_owned()));
    }

    #[test]
    fn what_was_not_measured_is_neither_met_nor_missed() {
        let judged = of(None);
        assert_eq!(judged.len(), 5, "those of other sections were not asked for");
        assert!(judged.iter().all(|one| one.state == "not measured" && !one.fails_check()));
        assert_eq!(table(&judged).rows[0][..3], ["guard / flock", "-", "0.80"]);
    }

    #[test]
    fn a_value_beside_its_limit_is_told_from_it() {
        let cases = [(1.003, 1.0), (0.8, 0.8), (1.94, 0.8), (367.0, 330.0), (806_815.4, 600_000.0)];
        let shown = cases.map(|(value, limit)| measured(value, limit));
        assert_eq!(shown, ["1.0030", "0.80", "1.94", "367", "806,815"]);
    }

    #[test]
    fn every_target_has_a_name_of_its_own() {
        for (index, one) in TARGETS.iter().enumerate() {
            let same = |other: &&Target| (other.section, other.name) == (one.section, one.name);
            assert!(!TARGETS[index + 1..].iter().any(|other| same(&other)), "{}", one.name);
        }
    }
}
