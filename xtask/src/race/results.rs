//! What each run left behind: the file that it wrote itself, checked against what nextest saw of it.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::outdir::OutDir;
use super::plan::{Plan, RunId, Ttl};
use super::sanitize::EXIT_REPORTED;
use crate::nextest::{self, Case};

/// One run of the contention test, as its file `runs/<ttl>-<number>.json` tells it. All times in milliseconds
/// since the run began, on a monotonic clock.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Run {
    /// The TTL as it was asked for, such as `2s`.
    pub ttl: String,
    pub ttl_ms: u64,
    /// Counted from 1 within its TTL.
    pub run: u32,
    pub passed: bool,
    /// How long the run took.
    pub wall_ms: f64,
    #[serde(default)]
    pub renewals: Vec<Renewal>,
    /// Attempts to take or to remove the lock while the heartbeat lived, and how many of them were refused.
    #[serde(default)]
    pub break_attempts: u64,
    #[serde(default)]
    pub break_refused: u64,
    #[serde(default)]
    pub strikes: Strikes,
    /// Before the lease that nobody renewed had lapsed: attempts to break it that were refused.
    #[serde(default)]
    pub early_breaks: u64,
    /// After the heartbeat was stopped: from the lapse of the lease to a contender's admission.
    #[serde(default)]
    pub takeover_ms: Option<f64>,
    /// After a normal end: from the release to the parked contender's admission.
    #[serde(default)]
    pub handover_ms: Option<f64>,
    /// Why the run failed.
    #[serde(default)]
    pub failure: Option<String>,
    /// The run's own directory, kept if the run failed.
    #[serde(default)]
    pub sandbox: Option<String>,
    #[serde(default)]
    pub timeline: Vec<Moment>,
    /// The end of what the run printed, if it failed and said nothing in its file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
}

/// One beat of the heartbeat.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Renewal {
    pub at_ms: f64,
    /// How long after the instant at which it was due the renewal was committed.
    pub late_ms: f64,
    /// What was left of the old lease at that instant.
    pub left_ms: f64,
}

/// How many strikes there were at each of the instants that matter.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct Strikes {
    pub before: u64,
    pub inside: u64,
    pub after: u64,
    pub at_expiry: u64,
    /// Those that did not come about.
    pub missed: u64,
}

/// One thing that somebody did in a run.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Moment {
    pub at_ms: f64,
    pub who: String,
    pub what: String,
}

impl Run {
    pub fn id(&self) -> RunId {
        RunId { ttl: Ttl { label: self.ttl.clone(), ms: self.ttl_ms }, number: self.run }
    }

    fn fail(&mut self, why: String) {
        self.passed = false;
        self.failure.get_or_insert(why);
    }
}

/// The runs of a plan, each of them, in order: one that left no result has failed.
pub fn collect(plan: &Plan, out: &OutDir) -> anyhow::Result<Vec<Run>> {
    let cases = nextest::read_junit(&out.junit())?;
    let cases: HashMap<String, Case> = cases.into_iter().map(|case| (case.name.clone(), case)).collect();
    let run_of = |id: RunId| {
        let written = read(&out.runs().join(format!("{}.json", id.file_stem())), &id);
        judge(&id, written, cases.get(&id.test_name()), &out.sandboxes())
    };
    let mut runs: Vec<Run> = plan.expected().into_iter().map(run_of).collect();
    doubt_early_breaks(&mut runs);
    Ok(runs)
}

/// Any one run may have been late for its early breaks. If all of a TTL were, they show nothing of what they are for.
fn doubt_early_breaks(runs: &mut [Run]) {
    let in_time: HashSet<String> =
        runs.iter().filter(|run| run.early_breaks > 0).map(|run| run.ttl.clone()).collect();
    for run in runs.iter_mut().filter(|run| run.passed && !in_time.contains(&run.ttl)) {
        run.fail(
            "nobody tried in time to break a lease that was to lapse, in this run or any other".to_owned(),
        );
    }
}

/// The run's own file; the error says what is the matter with it.
fn read(path: &Path, id: &RunId) -> Result<Run, String> {
    let text = fs::read_to_string(path).map_err(|_| "it ended without writing its result".to_owned())?;
    let run: Run =
        serde_json::from_str(&text).map_err(|error| format!("its result can't be read: {error}"))?;
    match run.id() == *id {
        true => Ok(run),
        false => Err(format!("its result is that of another run: {}", run.id().test_name())),
    }
}

/// Puts the two witnesses of a run together. It passed only if both say so and its numbers do not say otherwise.
fn judge(id: &RunId, written: Result<Run, String>, case: Option<&Case>, sandboxes: &Path) -> Run {
    let mut run = match (&written, case) {
        (Ok(run), _) => run.clone(),
        (Err(_), case) => died(id, case, sandboxes),
    };
    match case {
        None => run.fail("nextest never ran it".to_owned()),
        Some(case) => {
            if let Some(failure) = &case.failure {
                let why = written.err().map(|why| format!("; {why}")).unwrap_or_default();
                run.output =
                    run.failure.is_none().then(|| tail(&case.output)).filter(|text| !text.is_empty());
                run.fail(format!("{}{why}", in_words(failure)));
            } else if let Err(why) = written {
                run.fail(format!("it passed, but {why}"));
            }
        }
    }
    if let Some(doubt) = run.passed.then(|| doubt(&run)).flatten() {
        run.fail(doubt);
    }
    run
}

/// What nextest says of a failure, where it takes knowledge to understand it.
fn in_words(failure: &str) -> &str {
    match failure.ends_with(&format!("exit code {EXIT_REPORTED}")) {
        true => "ThreadSanitizer reported on it",
        false => failure,
    }
}

fn died(id: &RunId, case: Option<&Case>, sandboxes: &Path) -> Run {
    let sandbox = sandboxes.join(id.file_stem());
    Run {
        ttl: id.ttl.label.clone(),
        ttl_ms: id.ttl.ms,
        run: id.number,
        wall_ms: case.map_or(0.0, |case| case.seconds * 1_000.0),
        sandbox: sandbox.is_dir().then(|| sandbox.display().to_string()),
        ..Run::default()
    }
}

/// A run that calls itself passed must have seen the lock attacked and renewed, at every instant that matters, and every
/// attack refused. The instants are those of the renewals: they come, however late.
fn doubt(run: &Run) -> Option<String> {
    let unrefused = run.break_attempts.saturating_sub(run.break_refused);
    if unrefused > 0 {
        return Some(format!("it says that it passed, yet {unrefused} break attempts were not refused"));
    }
    if run.break_attempts == 0 || run.renewals.is_empty() {
        let (attempts, renewals) = (run.break_attempts, run.renewals.len());
        return Some(format!("it proves nothing: {attempts} break attempts, {renewals} renewals"));
    }
    let Strikes { before, inside, after, at_expiry, .. } = run.strikes;
    if [before, inside, after, at_expiry].contains(&0) {
        return Some(format!("it proves nothing: at some instant nobody struck: {:?}", run.strikes));
    }
    None
}

/// The last lines of an output: where a panic message is.
fn tail(output: &str) -> String {
    let lines: Vec<&str> = output.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> RunId {
        RunId { ttl: Ttl { label: "2s".to_owned(), ms: 2_000 }, number: 7 }
    }

    fn passed() -> Run {
        Run {
            ttl: "2s".to_owned(),
            ttl_ms: 2_000,
            run: 7,
            passed: true,
            wall_ms: 3_000.0,
            renewals: vec![Renewal { at_ms: 1_000.0, late_ms: 0.1, left_ms: 999.9 }],
            break_attempts: 10,
            break_refused: 10,
            strikes: Strikes { before: 3, inside: 3, after: 3, at_expiry: 6, missed: 0 },
            early_breaks: 1,
            ..Run::default()
        }
    }

    fn case(failure: Option<&str>) -> Case {
        let failure = failure.map(str::to_owned);
        Case { name: id().test_name(), seconds: 3.0, failure, output: "last words".to_owned() }
    }

    fn judged(written: Result<Run, &str>, case: Option<Case>) -> Run {
        judge(&id(), written.map_err(str::to_owned), case.as_ref(), Path::new("/nowhere"))
    }

    #[test]
    fn a_run_passes_when_it_and_nextest_say_so() {
        assert!(judged(Ok(passed()), Some(case(None))).passed);
    }

    #[test]
    fn a_run_that_crashed_has_failed_and_its_last_words_are_kept() {
        let run = judged(Err("it ended without writing its result"), Some(case(Some("SIGABRT"))));
        assert!(!run.passed);
        assert_eq!(run.failure.as_deref(), Some("SIGABRT; it ended without writing its result"));
        assert_eq!(run.output.as_deref(), Some("last words"));
        assert_eq!((run.ttl.as_str(), run.run, run.wall_ms), ("2s", 7, 3_000.0));
    }

    #[test]
    fn a_run_that_never_ran_has_failed() {
        assert!(!judged(Err("it ended without writing its result"), None).passed);
        assert!(!judged(Ok(passed()), None).passed);
    }

    #[test]
    fn a_run_that_failed_says_why_in_its_own_words() {
        let written = Run { passed: false, failure: Some("two holders".to_owned()), ..passed() };
        let run = judged(Ok(written), Some(case(Some("exit code 101"))));
        assert_eq!(run.failure.as_deref(), Some("two holders"));
        assert_eq!(run.output, None);
    }

    #[test]
    fn one_run_may_be_late_but_not_all_of_a_ttl() {
        let late = || Run { early_breaks: 0, ..passed() };
        let mut runs = [late(), passed(), Run { ttl: "3s".to_owned(), ..late() }];
        doubt_early_breaks(&mut runs);
        assert_eq!(runs.map(|run| run.passed), [true, true, false]);
    }

    #[test]
    fn a_pass_is_not_taken_on_trust() {
        let taken = Run { break_refused: 9, ..passed() };
        let idle = Run { break_attempts: 0, break_refused: 0, ..passed() };
        let blunt = Run { strikes: Strikes { inside: 0, missed: 9, ..passed().strikes }, ..passed() };
        for run in [taken, idle, blunt] {
            assert!(!judged(Ok(run), Some(case(None))).passed);
        }
        assert!(!judged(Ok(passed()), Some(case(Some("SIGSEGV")))).passed, "it crashed after its result");
        assert!(!judged(Err("it ended without writing its result"), Some(case(None))).passed);
    }
}
