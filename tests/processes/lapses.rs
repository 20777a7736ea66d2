//! Leases: what lapses, what can't be renewed, and what becomes of the command.

use std::fs;

use lokt_tests::sandbox::{Running, Sandbox, eventually, start, strace_available};
use rustix::process::Signal;

use crate::helpers::{
    await_lapse, await_state, hold_paused, hold_with, holder_pid, is_gone, queue, queue_with, record,
    sandbox, signal, signal_group, stop, traced, with_script, work_file, work_pid,
};

const COURTEOUS: &str = "trap 'echo term >> log; exit 0' TERM; echo $$ > pid; echo in; read line; exit 0";

/// Starts a guard with a lease of a second, and stops it and its command.
fn paused(sandbox: &Sandbox, script: &str) -> Running {
    hold_paused(sandbox, &["guard", "x", "--ttl", "1s"], script)
}

#[test]
fn a_lapsed_lease_goes_to_break_stale_and_its_guard_ends_its_command() {
    let sandbox = sandbox();
    let mut guard = paused(&sandbox, COURTEOUS);
    await_lapse(&sandbox);
    assert_eq!(sandbox.run(["guard", "x", "--", "true"]).code, 2);
    let successor = sandbox.hold(["guard", "x", "--break-stale"]);
    let taken = record(&sandbox, "x");
    assert_eq!(taken["pid"], successor.pid());

    guard.signal(Signal::CONT);
    assert_eq!(guard.await_end(), 5);
    assert_eq!(work_file(&sandbox, "log"), "term\n", "its command was asked to end");
    assert_eq!(record(&sandbox, "x"), taken, "the successor's record is untouched");
    assert!(is_gone(work_pid(&sandbox, "pid")));
}

#[test]
fn a_lapsed_lease_goes_to_a_waiter() {
    let sandbox = sandbox();
    let mut guard = paused(&sandbox, COURTEOUS);
    let mut waiter = queue(&sandbox, &["guard", "x", "--wait"]);
    waiter.await_line("in");
    let taken = record(&sandbox, "x");
    assert_eq!(taken["pid"], waiter.pid());
    guard.signal(Signal::CONT);
    assert_eq!(guard.await_end(), 5);
    assert_eq!(record(&sandbox, "x"), taken);
}

#[test]
fn a_lapsed_lease_is_removed_by_unlock_break_stale() {
    let sandbox = sandbox();
    let mut guard = paused(&sandbox, COURTEOUS);
    await_lapse(&sandbox);
    assert_eq!(sandbox.run(["unlock", "x", "--break-stale"]).code, 0);
    guard.signal(Signal::CONT);
    assert_eq!(guard.await_end(), 5);
    assert!(!sandbox.record("x").exists());
}

#[test]
fn a_guard_paused_past_its_lease_goes_on_if_nobody_has_taken_it() {
    let sandbox = sandbox();
    let mut guard = paused(&sandbox, COURTEOUS);
    let id = record(&sandbox, "x")["lock_id"].clone();
    await_lapse(&sandbox);
    guard.signal(Signal::CONT);
    eventually("it renews", || record(&sandbox, "x")["renewals"].as_u64() > Some(0));
    assert_eq!(record(&sandbox, "x")["lock_id"], id);
    guard.let_go();
    assert_eq!(guard.await_end(), 0);
    assert_eq!(work_file(&sandbox, "log"), "");
}

#[test]
fn a_paused_command_does_not_go_on_before_its_guard_has_proved_the_lock() {
    let sandbox = sandbox();
    let mut guard = paused(&sandbox, "echo $$ > pid; echo in; read line; echo ran >> log");
    await_lapse(&sandbox);
    let successor = sandbox.hold(["guard", "x", "--break-stale"]);
    // It would go on now, if it were not stopped.
    guard.let_go();
    guard.signal(Signal::CONT);
    assert_eq!(guard.await_end(), 5);
    assert_eq!(work_file(&sandbox, "log"), "", "it ran while its successor held the lock");
    drop(successor);
}

#[test]
fn a_paused_command_stands_still_while_its_guard_is_slow_to_prove_the_lock() {
    if !strace_available("a paused command stands still while its guard is slow to prove the lock") {
        return;
    }
    // Between the guard's waking and its proof, or between that and its telling, there is time for whatever the command could do.
    slow_to_prove("flock");
    slow_to_prove("write");
}

fn slow_to_prove(call: &str) {
    let sandbox = sandbox();
    let slow = format!("{call}:delay_enter=200000");
    let slow = [slow.as_str()];
    let script = "echo $$ > pid; echo in; read line; echo ran >> log";
    let mut guard = start(with_script(&mut traced(&sandbox, &slow, &["guard", "x", "--ttl", "3s"]), script));
    guard.await_line("in");
    let (pid, command) = (holder_pid(&sandbox, "x"), work_pid(&sandbox, "pid"));
    stop(pid);
    signal_group(command, Signal::STOP);
    await_state(command, "Tt");
    await_lapse(&sandbox);
    let successor = sandbox.hold(["guard", "x", "--break-stale"]);
    guard.let_go();
    signal(pid, Signal::CONT);
    assert_eq!(guard.await_end(), 5);
    assert_eq!(work_file(&sandbox, "log"), "", "it ran while its successor held the lock");
    drop(successor);
}

#[test]
fn a_strict_lock_is_not_taken_from_a_guard_that_is_paused() {
    let sandbox = sandbox();
    let guard = sandbox.hold(["guard", "x"]);
    stop(guard.pid());
    for contender in [
        &["guard", "x", "--", "true"][..],
        &["guard", "x", "--break-stale", "--", "true"],
        &["guard", "x", "--wait", "--timeout", "1500ms", "--", "true"],
    ] {
        assert_eq!(sandbox.run(contender).code, 2, "{contender:?}");
    }
    assert_eq!(sandbox.run(["unlock", "x", "--break-stale"]).code, 1);
    signal(guard.pid(), Signal::CONT);
    assert_eq!(guard.output().code, 0);
}

/// A guard whose every renewal fails ends its command before anybody else is admitted.
fn unrenewable(script: &str, error: &str) {
    if !strace_available("a guard that can't renew ends its command before its lease lapses") {
        return;
    }
    let sandbox = sandbox();
    // The first two renames are the admission (its session, its record), and so are the first two writes in place (its token);
    // renewals replace, with another call or another count.
    let renewals =
        ["renameat:", "renameat2:when=3+:", "pwrite64:when=3+:"].map(|calls| format!("{calls}error={error}"));
    let renewals: Vec<&str> = renewals.iter().map(String::as_str).collect();
    let mut guard =
        start(with_script(&mut traced(&sandbox, &renewals, &["guard", "x", "--ttl", "4s"]), script));
    guard.await_line("in");
    let waiter = queue_with(
        &sandbox,
        &["guard", "x", "--wait"],
        // A zombie has ended, whoever has noticed.
        "case \"$(cut -d' ' -f3 /proc/$(cat pid)/stat 2> /dev/null)\" in ''|Z|X) echo alone;; *) echo overlap;; esac",
    );
    let waited = waiter.output();
    assert_eq!((waited.code, waited.stdout.as_str()), (0, "alone\n"), "{waited:?}");
    let ended = guard.output();
    assert_eq!(ended.code, 5, "{ended:?}");
    assert!(ended.stderr.contains("could not be renewed"), "{ended:?}");
}

#[test]
fn a_guard_that_cannot_renew_ends_its_command_before_its_lease_lapses() {
    unrenewable(COURTEOUS, "EIO");
}

#[test]
fn a_guard_that_cannot_renew_for_want_of_room_ends_a_stubborn_command_too() {
    unrenewable("trap '' TERM; echo $$ > pid; echo in; while :; do read line; done", "ENOSPC");
}

#[test]
fn a_guard_whose_file_system_hangs_ends_its_command_before_its_lease_lapses() {
    if !strace_available("a guard whose file system hangs ends its command before its lease lapses") {
        return;
    }
    let sandbox = sandbox();
    let guard =
        hold_with(&sandbox, &["guard", "x", "--ttl", "1s"], "echo $$ > pid; echo in; exec sleep 1000");
    let command = work_pid(&sandbox, "pid");
    // From now on none of its threads comes back from where it asks for the mutex.
    let mut hang = sandbox.command("strace");
    hang.args([
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        "trace=flock",
        "-e",
        "inject=flock:delay_enter=1000s",
        "-p",
    ]);
    let hang = start(hang.arg(holder_pid(&sandbox, "x").to_string()));
    eventually("its command has ended", || is_gone(command));
    signal(guard.pid(), Signal::KILL);
    drop(hang);
}

#[test]
fn a_lock_whose_mutex_was_removed_is_not_said_to_be_gone() {
    let sandbox = sandbox();
    let guard = hold_with(&sandbox, &["guard", "x", "--ttl", "1s"], "echo in; exec sleep 1000");
    fs::remove_dir_all(sandbox.root().join("stripes")).unwrap();
    let said = guard.output();
    assert_eq!(said.code, 5, "{said:?}");
    assert!(said.stderr.contains("could not be renewed") && !said.stderr.contains("gone"), "{said:?}");
}

#[test]
fn a_renewal_that_fails_once_is_made_up_for() {
    if !strace_available("a renewal that fails once is made up for") {
        return;
    }
    let sandbox = sandbox();
    let once = ["renameat:error=EIO:when=1"];
    let mut guard =
        start(with_script(&mut traced(&sandbox, &once, &["guard", "x", "--ttl", "2s"]), COURTEOUS));
    guard.await_line("in");
    eventually("it is renewed", || record(&sandbox, "x")["renewals"].as_u64() > Some(1));
    guard.let_go();
    assert_eq!(guard.await_end(), 0);
    assert_eq!(work_file(&sandbox, "log"), "");
}

#[test]
fn a_record_that_cannot_be_removed_at_the_end_keeps_nobody_out() {
    if !strace_available("a record that can't be removed at the end keeps nobody out") {
        return;
    }
    let sandbox = sandbox();
    let failing = ["unlinkat:error=EIO:when=1"];
    let mut failing = traced(&sandbox, &failing, &["guard", "x", "--", "true"]);
    // Its own sweep would clear it away.
    let ended = start(failing.env("LOKT_NO_SWEEP", "1")).output();
    assert_eq!(ended.code, 0, "the command's own code: {ended:?}");
    assert!(ended.stderr.contains("warning"), "{ended:?}");
    assert!(sandbox.record("x").exists(), "the test has made the removal fail");
    let next = sandbox.run(["guard", "x", "--", "true"]);
    assert_eq!(next.code, 0, "its holder is dead: {next:?}");
}

#[test]
fn tokens_rise_over_every_kind_of_admission() {
    let sandbox = sandbox();
    let mut tokens = Vec::new();
    let mut take = |args: &[&str]| {
        let taken = sandbox.run(args.iter().copied().chain(["--", "sh", "-c", "echo $LOKT_TOKEN"]));
        assert_eq!(taken.code, 0, "{args:?}: {taken:?}");
        tokens.push(taken.stdout.trim().parse::<u64>().unwrap());
    };
    take(&["guard", "x"]);
    take(&["guard", "x", "--ttl", "5m"]);
    let mut killed = hold_with(&sandbox, &["guard", "x"], "echo $$ > pid; echo in; read line");
    let held = record(&sandbox, "x")["token"].as_u64().unwrap();
    killed.signal(Signal::KILL);
    let _ = killed.await_end();
    await_state(work_pid(&sandbox, "pid"), "-ZX");
    take(&["guard", "x"]);
    let mut paused = paused(&sandbox, COURTEOUS);
    await_lapse(&sandbox);
    take(&["guard", "x", "--break-stale"]);
    paused.signal(Signal::CONT);
    assert_eq!(paused.await_end(), 5);
    assert_eq!(sandbox.run(["lock", "x"]).code, 0);
    let manual = record(&sandbox, "x")["token"].as_u64().unwrap();
    assert_eq!(sandbox.run(["unlock", "x", "--force"]).code, 0);
    take(&["guard", "x"]);
    sandbox.plant("x", "no record at all");
    take(&["guard", "x"]);
    sandbox.plant("x", r#"{"version":1,"name":"x","kind":"manual","token":7000000,"pid":0,"ttl_ns":1}"#);
    take(&["guard", "x", "--wait", "--timeout", "10s"]);
    assert!(tokens.is_sorted_by(|one, next| one < next), "{tokens:?}");
    assert!(tokens[1] < held && held < tokens[2], "{held}: {tokens:?}");
    assert!(tokens[3] < manual && manual < tokens[4], "{manual}: {tokens:?}");
}
