//! Runs schedules by the million.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::choices::{Choices, Deviation, shortest};
use super::{Case, Kind, Run, Simulator};

/// A schedule that broke a promise.
pub struct Finding {
    /// Which promise.
    pub promise: &'static str,
    /// How.
    pub what: String,
    /// The seed that finds it again, if it was found at random.
    pub seed: Option<u64>,
    /// How many schedules it took to find, this one included.
    pub schedules: u64,
    /// The shortest schedule that was found for the same promise.
    pub shortest: Vec<Deviation>,
    /// What happens in it.
    pub story: Vec<String>,
}

/// What a search came to.
#[derive(Default)]
pub struct Search {
    /// How many schedules were run.
    pub schedules: u64,
    /// How many steps they had.
    pub steps: u64,
    /// What was found, if anything.
    pub finding: Option<Finding>,
}

impl Search {
    fn and(self, other: Self) -> Self {
        let finding = match (self.finding, other.finding) {
            (Some(one), Some(two)) if two.schedules < one.schedules => Some(two),
            (one, two) => one.or(two),
        };
        let (schedules, steps) = (self.schedules + other.schedules, self.steps + other.steps);
        Self { schedules, steps, finding }
    }
}

/// How many schedules are run before it is looked whether another thread has found something.
const BLOCK: u64 = 500;

/// Runs `schedules` schedules on `jobs` threads, with the seeds from `seed` on, until a promise is broken. Of several
/// findings it is the one with the lowest seed, so that the answer does not depend on the threads.
pub fn random(kind: Kind, seed: u64, schedules: u64, jobs: usize) -> Search {
    let next = AtomicU64::new(0);
    let first_found = AtomicU64::new(u64::MAX);
    let searches: Vec<Search> = thread::scope(|scope| {
        let work = || {
            let mut search = Search::default();
            let mut simulator = Simulator::default();
            loop {
                let from = next.fetch_add(BLOCK, Ordering::SeqCst);
                if from >= schedules || from >= first_found.load(Ordering::SeqCst) {
                    return search;
                }
                for n in from..(from + BLOCK).min(schedules) {
                    let run = simulator.run(kind, Choices::random(seed.wrapping_add(n)), false);
                    search.schedules += 1;
                    search.steps += run.steps;
                    if run.violation.is_some() {
                        first_found.fetch_min(n, Ordering::SeqCst);
                        search.finding = found(&mut simulator, kind, run, Some(seed.wrapping_add(n)), n + 1);
                        return search;
                    }
                }
            }
        };
        let threads: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(work)).collect();
        // One that has panicked has searched nothing.
        let joined = threads.into_iter().map(|thread| thread.join());
        joined.map(|search| search.unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    searches.into_iter().reduce(Search::and).unwrap_or_default()
}

/// Runs every schedule with at most `deviations` deviations, until a promise is broken.
fn exhaustive(kind: Kind, deviations: usize) -> Search {
    let mut simulator = Simulator::default();
    let mut search = Search::default();
    let mut next = Some(Choices::exhaustive(deviations));
    while let Some(choices) = next.take() {
        let run = simulator.run(kind, choices, false);
        search.schedules += 1;
        search.steps += run.steps;
        if run.violation.is_some() {
            search.finding = found(&mut simulator, kind, run, None, search.schedules);
            break;
        }
        next = run.choices.following();
    }
    search
}

/// In a small case, how many schedules are run at random as well: those deviate more often.
const AT_RANDOM: u64 = 5_000;

/// Runs all schedules of each case with at most so many deviations, and some with more, on `jobs` threads.
pub fn side_by_side(cases: &[Case], deviations: usize, jobs: usize) -> Vec<Search> {
    let next = AtomicU64::new(0);
    let found: Mutex<Vec<(usize, Search)>> = Mutex::default();
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while let n = next.fetch_add(1, Ordering::SeqCst) as usize
                    && let Some(case) = cases.get(n)
                {
                    let mut search = exhaustive(Kind::Small(*case), deviations);
                    if search.finding.is_none() {
                        search.finding = random(Kind::Small(*case), 1, AT_RANDOM, 1).finding;
                    }
                    found.lock().unwrap_or_else(PoisonError::into_inner).push((n, search));
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_by_key(|(n, _)| *n);
    found.into_iter().map(|(_, search)| search).collect()
}

/// How long it is tried to make a schedule shorter.
const SHORTENING: Duration = Duration::from_secs(20);

fn found(
    simulator: &mut Simulator,
    kind: Kind,
    run: Run,
    seed: Option<u64>,
    schedules: u64,
) -> Option<Finding> {
    let promise = run.violation?.promise;
    let until = Instant::now() + SHORTENING;
    let shortest = shortest(&run.schedule, |schedule| {
        Instant::now() < until
            && simulator
                .run(kind, Choices::replay(schedule), false)
                .violation
                .is_some_and(|violation| violation.promise == promise)
    });
    let told = simulator.run(kind, Choices::replay(&shortest), true);
    let what = told.violation.map(|violation| violation.what).unwrap_or_default();
    Some(Finding { promise, what, seed, schedules, shortest, story: told.story })
}
