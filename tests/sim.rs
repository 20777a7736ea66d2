//! The simulator, at the size of a test; `cargo xtask sim` runs a million schedules.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first surprise"
)]

use lokt_tests::sim::explore::{self, Finding, Search};
use lokt_tests::sim::{Case, Kind};

fn told(finding: &Finding) -> String {
    let (promise, what, story) = (finding.promise, &finding.what, finding.story.join("\n"));
    format!("{promise}: {what}\nseed {:?}\n{story}", finding.seed)
}

fn assert_kept(search: &Search, at_least: u64) {
    if let Some(finding) = &search.finding {
        panic!("{}", told(finding));
    }
    assert!(search.schedules >= at_least, "only {} schedules were run", search.schedules);
}

#[test]
fn no_schedule_of_some_thousands_breaks_a_promise() {
    assert_kept(&explore::random(Kind::Any { actors: 4 }, 1, 12_000, 1), 12_000);
}

#[test]
fn many_actors_break_no_promise_either() {
    assert_kept(&explore::random(Kind::Any { actors: 9 }, 1, 500, 1), 500);
}

#[test]
fn one_seed_is_one_run() {
    let steps = |seed| explore::random(Kind::Any { actors: 4 }, seed, 50, 1).steps;
    assert_eq!(steps(7), steps(7));
    assert_ne!(steps(7), steps(1_000));
}

mod no_schedule_breaks_a_promise_of {
    use super::*;

    fn tried(case: Case) {
        let searches = explore::side_by_side(&[case], 2, 1);
        searches.iter().for_each(|search| assert_kept(search, 10));
        assert_eq!(searches.len(), 1);
    }

    #[test]
    fn two_guards() {
        tried(Case::TwoGuards);
    }

    #[test]
    fn a_renewal_and_a_break() {
        tried(Case::RenewalAndBreak);
    }

    #[test]
    fn a_line() {
        tried(Case::Line);
    }

    #[test]
    fn a_lapse() {
        tried(Case::Lapse);
    }

    #[test]
    fn one_who_leaves() {
        tried(Case::Leaving);
    }

    #[test]
    fn a_manual_lock() {
        tried(Case::Manual);
    }

    #[test]
    fn a_lock_tied_to_a_process() {
        tried(Case::Tied);
    }

    #[test]
    fn a_lock_tied_to_a_process_that_waits_for_it() {
        tried(Case::TiedInLine);
    }

    #[test]
    fn a_freeze() {
        tried(Case::Freeze);
    }

    #[test]
    fn two_slots() {
        tried(Case::Slots);
    }

    #[test]
    fn a_shared_lock() {
        tried(Case::Shared);
    }

    #[test]
    fn a_power_loss() {
        tried(Case::PowerLoss);
    }

    #[test]
    fn any_other_small_case() {
        assert_eq!(Case::ALL.len(), 12, "one that was added needs a test here");
    }
}
