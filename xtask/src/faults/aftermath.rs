//! What must be so after a case, whatever was done to the victim.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::case::{Case, Fault, Wrong};
use super::operation::{Operation, words};
use super::scene::{BYSTANDER, NAME, Running, Scene, runs, wait_until};
use super::sections::{self, Stay};

/// How everybody ended: by an exit code, or (`None`) not at all.
pub struct Ends {
    pub victim: Option<i32>,
    /// Who came meanwhile: a rival, and perhaps a third one.
    pub company: Vec<Running>,
    /// The victim had the mutex while it was delayed or stopped.
    pub had_mutex: bool,
    /// When its lease was to lapse then.
    pub lapse: Option<Duration>,
    pub others: Vec<(&'static str, Option<i32>)>,
    /// The record before the victim came.
    pub before: Option<serde_json::Value>,
}

/// The mutex that a sweep takes, in whose file it says when the next one is due.
const SWEEPER: &str = "40";

/// What always stands in a root.
const DIRECTORIES: [&str; 6] = ["freezes", "holders", "lines", "locks", "sessions", "stripes"];

/// How long a command may take to die after its guard was killed.
const DEATH: Duration = Duration::from_millis(1_000);

struct Findings(Vec<Wrong>);

impl Findings {
    fn wrong(&mut self, what: impl Into<String>) {
        self.0.push(Wrong { what: what.into(), by_time: false });
    }

    /// Wrong, unless the machine was too slow.
    fn late(&mut self, what: impl Into<String>) {
        self.0.push(Wrong { what: what.into(), by_time: true });
    }
}

pub fn check(case: &Case, scene: &Scene<'_>, mut ends: Ends, victim: &Running) -> anyhow::Result<Vec<Wrong>> {
    let mut found = Findings(Vec::new());
    let stays = sections::read(&scene.log())?;
    answer_of_victim(case, ends.victim, victim, &stays, &mut found);
    let mut taken = false;
    for running in &mut ends.company {
        let code = running.ended();
        answer_of_company(case, code, running, ends.had_mutex, &stays, &mut found);
        taken |= code == Some(0);
    }
    for (who, code) in &ends.others {
        answer_of_other(who, *code, &mut found);
    }
    for running in ends.company.iter().chain([victim]) {
        if running.said().contains("panicked at") {
            found.wrong(format!("a panic: {}", running.said().trim()));
        }
    }
    let stay = stays.iter().find(|stay| stay.who == "victim");
    if let (Fault::Hang, Some(lapse), Some(stay)) = (case.fault, ends.lapse, stay)
        && stay.last > lapse
    {
        let ms = stay.last.saturating_sub(lapse).as_millis();
        found.late(format!("its command outlives its lease by {ms} ms"));
    }
    let section = scene.section_of("victim");
    if !wait_until(DEATH, || !section.is_some_and(runs)) {
        found.late("its command outlives the guard");
    }
    record(case, scene, &ends, taken, victim, &mut found);
    next(case.operation, scene, &mut found)?;
    history(scene, &mut found)?;
    root(scene, &mut found)?;
    Ok(found.0)
}

/// The exit codes that are right for a victim.
fn right_codes(case: &Case) -> &'static [i32] {
    use Operation as O;
    match (case.fault, case.operation.alone()) {
        (Fault::Kill, _) => &[137],
        // The rival may have been first: a plain try is denied.
        (Fault::Delay, O::First | O::Acquire | O::BreakDead | O::BreakLapsed | O::Lock) => &[0, 2],
        (Fault::Delay | Fault::Hang, O::Heartbeat) => &[0, 5],
        (Fault::Hang, _) => &[],
        (Fault::Delay, O::Break) => &[0, 1, 3],
        (Fault::Delay, _) => &[0],
        // Its command may have ended just before; that it was stopped past its lease is said all the same.
        (Fault::Stop, O::Release) => &[0, 5],
        (Fault::Stop, operation) if operation.is_guard() => &[0, 2, 5],
        (Fault::Stop, O::Renew) => &[0, 1, 3, 4],
        (Fault::Stop, _) => &[0, 1, 2, 3],
        // The command has had its lock: that its end is not written down is a warning. A beat is made up for.
        (Fault::Error(_), O::Release | O::Heartbeat) => &[0],
        (Fault::Error(_), operation) if operation.is_guard() => &[0, 1, 2, 5, 126, 127],
        (Fault::Error(_), _) => &[0, 1, 2, 3],
    }
}

fn answer_of_victim(case: &Case, code: Option<i32>, victim: &Running, stays: &[Stay], found: &mut Findings) {
    let Some(code) = code else {
        return found.late("the victim hangs");
    };
    if !right_codes(case).contains(&code) {
        let what = format!("the victim's exit code is {code}: {}", victim.said().trim());
        if [2, 5].contains(&code) { found.late(what) } else { found.wrong(what) }
    }
    if !case.operation.is_guard() {
        return;
    }
    let stay = stays.iter().find(|stay| stay.who == "victim");
    match (code, stay) {
        (0, stay) if !stay.is_some_and(|stay| stay.left) => {
            found.wrong("the guard's exit code is 0, and its command has not run to its end");
        }
        (1 | 2 | 126 | 127, Some(_)) => {
            found.wrong(format!("the guard's exit code is {code}, and its command has run"));
        }
        _ => {}
    }
}

fn answer_of_company(
    case: &Case,
    code: Option<i32>,
    running: &Running,
    had_mutex: bool,
    stays: &[Stay],
    found: &mut Findings,
) {
    let (who, said) = (running.who, running.said());
    let right: &[i32] = match (case.fault, case.operation) {
        // It comes while another is inside; by then that one may just have left.
        _ if who == "third" => &[0, 2],
        (_, Operation::Lock | Operation::Freeze) => &[0, 2],
        (Fault::Delay, Operation::Renew) => &[2],
        (Fault::Delay, _) => &[0],
        _ => &[0, 2],
    };
    let left = stays.iter().any(|stay| stay.who == who && stay.left);
    if said.contains("is lost") {
        found.wrong(format!("the {who}'s record is gone, and it has not been taken over: {}", said.trim()));
    }
    match code {
        None => found.late(format!("the {who} hangs")),
        Some(0) if !left => {
            found.wrong(format!("the {who}'s exit code is 0, and its command has not run to its end"))
        }
        Some(code) if !right.contains(&code) => {
            let what = format!("the {who}'s exit code is {code}: {}", said.trim());
            if [2, 5].contains(&code) { found.late(what) } else { found.wrong(what) }
        }
        // What may keep it out: the mutex, while who has it is stopped; or a lock that nobody may break.
        Some(2) if who == "rival" && case.fault == Fault::Stop && may_be_broken(case.operation) => {
            if !had_mutex {
                found.late(format!("the rival was kept out by one who is stopped: {}", said.trim()));
            }
        }
        Some(_) => {}
    }
}

/// Whether the lock, or what else keeps others out, lapses while the victim is stopped.
fn may_be_broken(operation: Operation) -> bool {
    use Operation as O;
    !matches!(operation, O::Lock | O::Unlock | O::Freeze | O::Unfreeze)
}

fn answer_of_other(who: &str, code: Option<i32>, found: &mut Findings) {
    match code {
        None => found.late(format!("the {who} hangs")),
        // As the scene wants it: released, killed, or stopped past its lease and its command ended for it.
        Some(0 | 137 | 5) => {}
        Some(code) => found.wrong(format!("the {who}'s exit code is {code}")),
    }
}

/// The record right after: what was claimed is so, what stood still stands, and nothing was invented.
fn record(case: &Case, scene: &Scene<'_>, ends: &Ends, taken: bool, victim: &Running, found: &mut Findings) {
    let record = scene.record(NAME);
    let id = |record: &Option<serde_json::Value>| record.as_ref().map(|record| record["lock_id"].clone());
    let same = id(&record).is_some() && id(&record) == id(&ends.before);
    match (case.operation, ends.victim) {
        (Operation::Lock, Some(0)) if record.is_none() => {
            found.wrong("lock said that it succeeded: there is no record")
        }
        // It says so if it is only the answer that could not be written.
        (Operation::Lock, Some(1)) if victim.said().contains("failed to write the result") => {}
        (Operation::Lock, Some(code)) if code != 0 && code != 137 && record.is_some() => {
            found.wrong(format!("lock said that it failed ({code}): there is a record"));
        }
        (Operation::Unlock | Operation::Break, Some(0)) if same => {
            found.wrong("unlock said that it succeeded: the record stands");
        }
        (Operation::Freeze, Some(0)) if !scene.is_frozen() => {
            found.wrong("freeze said that it succeeded: there is no freeze");
        }
        (Operation::Freeze, Some(1)) if victim.said().contains("failed to write the result") => {}
        (Operation::Freeze, Some(code)) if code != 0 && code != 137 && scene.is_frozen() => {
            found.wrong(format!("freeze said that it failed ({code}): there is a freeze"));
        }
        (Operation::Unfreeze, Some(0)) if scene.is_frozen() => {
            found.wrong("unfreeze said that it succeeded: the freeze stands");
        }
        (Operation::Renew, _) if !same && !taken => found.wrong("the record of a live lease is gone"),
        (Operation::Renew, Some(0)) if !taken => {
            let renewals = record.as_ref().and_then(|record| record["renewals"].as_u64()).unwrap_or(0);
            if renewals != 1 {
                found.wrong(format!("renew said that it succeeded: {renewals} renewals are recorded"));
            }
        }
        _ => {}
    }
}

/// How soon the next one who comes must be admitted: at once, but for a command that is still dying with its guard.
/// Much less than what is left of any lease.
const SOON: &str = "700ms";

/// The next one who comes is admitted. A manual lock or a freeze that stands is ended before, as its owner would.
fn next(operation: Operation, scene: &Scene<'_>, found: &mut Findings) -> anyhow::Result<()> {
    let stands = scene.record(NAME).is_some_and(|record| record["kind"] == "manual");
    if stands {
        let mut unlock = scene.start("owner", &words(["unlock", NAME]))?;
        if unlock.end_within(Duration::from_secs(15)) != Some(0) {
            found.late(format!("the record that stands can't be released: {}", unlock.said().trim()));
        }
    }
    if scene.is_frozen() {
        let mut lift = scene.start("owner", &words(["unfreeze", NAME, "--force"]))?;
        if lift.end_within(Duration::from_secs(15)) != Some(0) {
            found.late(format!("the freeze that stands can't be lifted: {}", lift.said().trim()));
        }
    }
    // Whatever the last sweep has cost: now one is due.
    let _ = fs::write(scene.root().join("stripes").join(SWEEPER), "");
    let section = scene.section("next", Duration::from_millis(2), None);
    let waits = words(["--wait", "--timeout", SOON]);
    let mut next = scene.start("next", &[operation.guard(), waits, section].concat())?;
    match next.end_within(Duration::from_secs(15)) {
        Some(0) => {}
        code => {
            found.late(format!("the lock can't be acquired again: exit {code:?}: {}", next.said().trim()))
        }
    }
    Ok(())
}

fn history(scene: &Scene<'_>, found: &mut Findings) -> anyhow::Result<()> {
    let stays = sections::read(&scene.log())?;
    sections::judge(&stays).into_iter().for_each(|wrong| found.wrong(wrong));
    Ok(())
}

/// Only what is held now is left in the root, and the log is whole.
fn root(scene: &Scene<'_>, found: &mut Findings) -> anyhow::Result<()> {
    let root = scene.root();
    let left = leftovers(&root, &root);
    if !left.is_empty() {
        found.wrong(format!("left in the root: {}", left.join(", ")));
    }
    let kept = fs::read(scene.kept_bystander()).ok();
    if kept.is_some() && kept != fs::read(scene.record_file(BYSTANDER)).ok() {
        found.wrong("the record of another name has changed");
    }
    let log = fs::read_to_string(root.join("audit.log")).unwrap_or_default();
    if let Some(line) = log.lines().find(|line| serde_json::from_str::<serde_json::Value>(line).is_err()) {
        found.wrong(format!("a broken line in the audit log: {line}"));
    }
    Ok(())
}

/// What is below the root, beyond its directories, mutexes and log, and the bystander's record.
fn leftovers(root: &Path, dir: &Path) -> Vec<String> {
    let mut left = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        if path.is_dir() && DIRECTORIES.contains(&name.as_str()) {
            left.extend(leftovers(root, &path));
            continue;
        }
        let mutex = name.strip_prefix("stripes/").is_some_and(|mutex| mutex.len() == 2);
        if !mutex && name != "audit.log" && name != format!("locks/{BYSTANDER}.json") {
            left.push(name);
        }
    }
    left.sort();
    left
}
