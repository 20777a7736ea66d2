//! A record that is taken away from a guard by force.

use std::fs;
use std::time::Instant;

use lokt_tests::sandbox::{Sandbox, output, strace_available};

use crate::helpers::{SOON, calls, hold_with, sandbox, stop, traced, work_file, work_pid};

const COURTEOUS: &str = "trap 'echo term >> log; exit 0' TERM; echo in; read line; exit 0";

fn unlocked_by_force(terms: &[&str]) {
    let sandbox = sandbox();
    let args: Vec<&str> = ["guard", "x"].iter().chain(terms).copied().collect();
    let mut guard = hold_with(&sandbox, &args, COURTEOUS);
    let forced = Instant::now();
    assert_eq!(sandbox.run(["unlock", "x", "--force"]).code, 0);
    assert_eq!(guard.await_end(), 5);
    assert!(forced.elapsed() < SOON, "{:?}", forced.elapsed());
    assert_eq!(work_file(&sandbox, "log"), "term\n");
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}

#[test]
fn a_forced_unlock_ends_the_command_at_once_without_a_ttl() {
    unlocked_by_force(&[]);
}

#[test]
fn a_forced_unlock_ends_the_command_at_once_with_a_long_ttl() {
    unlocked_by_force(&["--ttl", "10m"]);
}

/// Before it looks at the guard's process, which it does by `kill`, the guard has ended.
#[test]
fn a_guard_that_ends_before_its_process_is_looked_at_is_not_taken_for_one_that_has_left_its_command() {
    if !strace_available("a guard that ends before its process is looked at") {
        return;
    }
    let sandbox = sandbox();
    let mut guard = hold_with(&sandbox, &["guard", "x"], COURTEOUS);
    let forced = output(&mut traced(&sandbox, &["kill:delay_enter=1000000"], &["unlock", "x", "--force"]));
    assert_eq!((forced.code, forced.stderr.as_str()), (0, ""), "{forced:?}");
    assert!(calls(&sandbox).contains(&format!("kill({}, 0)", guard.pid())), "it is looked at");
    assert_eq!(guard.await_end(), 5);
}

#[test]
fn a_forced_unlock_kills_a_command_that_does_not_end() {
    let sandbox = sandbox();
    let stubborn = "trap '' TERM; echo in; while :; do read line; done";
    let args = ["guard", "x", "--kill-after", "100ms"];
    let mut guard = hold_with(&sandbox, &args, stubborn);
    assert_eq!(sandbox.run(["unlock", "x", "--force"]).code, 0);
    assert_eq!(guard.await_end(), 5);
}

#[test]
fn a_forced_unlock_lets_a_command_that_is_stopped_act_on_its_end() {
    let sandbox = sandbox();
    let script = COURTEOUS.replace("echo in", "echo $$ > pid; echo in");
    let mut guard = hold_with(&sandbox, &["guard", "x", "--kill-after", "60s"], &script);
    stop(work_pid(&sandbox, "pid"));
    assert_eq!(sandbox.run(["unlock", "x", "--force"]).code, 0);
    assert_eq!(guard.await_end(), 5);
    assert_eq!(work_file(&sandbox, "log"), "term\n");
}

fn warned(sandbox: &Sandbox, take_away: impl Fn(&Sandbox)) {
    let args = ["guard", "x", "--on-lost", "warn", "--ttl", "10m"];
    let script = "trap 'echo term >> log; exit 0' TERM; echo in; read line; exit 7";
    let mut guard = hold_with(sandbox, &args, script);
    take_away(sandbox);
    let warning = guard.await_stderr("warning");
    assert!(warning.contains("lost"), "{warning}");
    assert!(guard.runs(), "the command goes on");
    guard.let_go();
    assert_eq!(guard.await_end(), 7, "the command's own code");
    assert_eq!(work_file(sandbox, "log"), "");
}

#[test]
fn on_lost_warn_lets_the_command_go_on_after_a_forced_unlock() {
    warned(&sandbox(), |sandbox| {
        assert_eq!(sandbox.run(["unlock", "x", "--force"]).code, 0);
    });
}

#[test]
fn on_lost_warn_leaves_the_successors_record_alone() {
    let sandbox = sandbox();
    warned(&sandbox, |sandbox| {
        assert_eq!(sandbox.run(["unlock", "x", "--force"]).code, 0);
        assert_eq!(sandbox.run(["lock", "x"]).code, 0);
    });
    assert!(sandbox.record("x").exists());
}

#[test]
fn a_record_removed_by_hand_is_noticed() {
    for terms in [&["guard", "x"][..], &["guard", "x", "--ttl", "10m"]] {
        let sandbox = sandbox();
        let mut guard = hold_with(&sandbox, terms, COURTEOUS);
        fs::remove_file(sandbox.record("x")).unwrap();
        assert_eq!(guard.await_end(), 5);
        assert_eq!(work_file(&sandbox, "log"), "term\n");
    }
}

#[test]
fn a_guard_is_not_released_or_renewed_by_its_owners_name_or_id() {
    let sandbox = sandbox();
    let mut guard = sandbox.hold(["guard", "x", "--ttl", "10m"]);
    let id = crate::helpers::record(&sandbox, "x")["lock_id"].as_str().unwrap().to_owned();
    assert_eq!(sandbox.run(["unlock", "x"]).code, 4);
    assert_eq!(sandbox.run(["unlock", "x", "--lock-id", &id]).code, 4);
    assert_eq!(sandbox.run(["renew", "x"]).code, 4);
    assert_eq!(sandbox.run(["renew", "x", "--lock-id", &id]).code, 4);
    assert_eq!(sandbox.run(["unlock", "x", "--break-stale"]).code, 1);
    assert!(guard.runs());
    guard.let_go();
    assert_eq!(guard.await_end(), 0);
}
