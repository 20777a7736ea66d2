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

/// A test for each small case.
macro_rules! small_cases {
    ($($name:ident: $case:ident,)*) => {
        mod no_schedule_breaks_a_promise_of {
            use super::*;

            $(#[test]
            fn $name() {
                let searches = explore::side_by_side(&[Case::$case], 2, 1);
                searches.iter().for_each(|search| assert_kept(search, 10));
                assert_eq!(searches.len(), 1);
            })*
        }

        #[test]
        fn every_small_case_is_tried() {
            assert_eq!([$(Case::$case),*], Case::ALL);
        }
    };
}

small_cases! {
    two_guards: TwoGuards,
    a_renewal_and_a_break: RenewalAndBreak,
    a_line: Line,
    a_lapse: Lapse,
    one_who_leaves: Leaving,
    a_manual_lock: Manual,
    a_freeze: Freeze,
    two_slots: Slots,
    a_shared_lock: Shared,
}
