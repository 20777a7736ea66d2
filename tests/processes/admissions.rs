//! A waiter that dies, or stands still, in the middle of its own admission.

use std::time::Duration;

use lokt_tests::sandbox::{Sandbox, eventually, start, strace_available};
use rustix::process::Signal;

use crate::helpers::{
    HOLD, await_state, calls, hold_with, queue, queue_with, record, sandbox, signal, traced, waiters,
    with_script, work_file,
};

/// Kills a waiter at a system call of its admission; the next must get in, and nothing may stay behind.
fn killed_at(call: &str, count: usize) {
    let at = format!("{call} number {count}");
    let sandbox = sandbox();
    let mut holder = sandbox.hold(["guard", "x"]);
    let kill = format!("{call}:signal=KILL:when={count}");
    let killed = with_script(&mut traced(&sandbox, &[&kill], &["guard", "x", "--wait"]), HOLD).spawn();
    eventually("the first stands in line", || waiters(&sandbox, "x") == 1);
    let mut next = queue(&sandbox, &["guard", "x", "--wait"]);
    holder.let_go();
    next.await_line("in");
    next.let_go();
    assert_eq!(next.await_end(), 0, "{at}");
    // Only now: under strace it may have looked stopped, and so its turn comes after the next one's.
    assert!(killed.unwrap().wait().is_ok());
    assert_eq!(sandbox.run(["guard", "x", "--", "true"]).code, 0, "{at}: the lock is to be had again");
    eventually(&format!("{at}: a sweep has cleared everything away"), || {
        sandbox.run(["status"]).code == 0 && sandbox.leftovers().is_empty()
    });
}

#[test]
fn a_waiter_killed_at_any_step_of_its_admission_leaves_the_lock_to_the_next() {
    if !strace_available("a waiter killed in its admission") {
        return;
    }
    // Its ticket becomes its record: it is written anew, and then moved, as the third after those with which it joined.
    for (call, count) in [("ftruncate", 1), ("renameat2", 3)] {
        killed_at(call, count);
    }
}

#[test]
fn the_record_of_a_waiter_that_was_admitted_outlives_its_ticket() {
    let sandbox = sandbox();
    let mut holder = sandbox.hold(["guard", "x"]);
    let mut first = queue(&sandbox, &["guard", "x", "--wait"]);
    holder.let_go();
    first.await_line("in");
    signal(first.pid(), Signal::KILL);
    // Its command lives on a moment longer, or not; the next comes after it.
    let next = sandbox.run(["guard", "x", "--wait", "--", "echo", "next"]);
    assert_eq!((next.code, next.stdout.as_str()), (0, "next\n"), "{next:?}");
}

/// A guard that stands still between its admission and the start of its command.
fn stopped_before_its_command(sandbox: &Sandbox, args: &[&str]) -> (lokt_tests::sandbox::Running, i32) {
    let traced = traced(sandbox, &["waitid:signal=STOP:when=1"], args);
    // A command that is started would not run at all if it were ended soon enough: it does not hear of that.
    let mut deaf = sandbox.command("sh");
    deaf.args(["-c", "trap '' TERM; exec \"$@\"", "sh"]).arg(traced.get_program()).args(traced.get_args());
    let guard = start(with_script(&mut deaf, "echo ran >> ran; echo in"));
    eventually("it is stopped after its admission", || calls(sandbox).contains("stopped by SIGSTOP"));
    let pid = i32::try_from(record(sandbox, "x")["pid"].as_i64().unwrap()).unwrap();
    await_state(pid, "Tt");
    (guard, pid)
}

#[test]
fn a_command_is_not_started_under_a_lease_that_was_taken_over_meanwhile() {
    if !strace_available("a guard paused before its command") {
        return;
    }
    let sandbox = sandbox();
    let (guard, pid) = stopped_before_its_command(&sandbox, &["guard", "x", "--ttl", "1s"]);
    let mut next = hold_with(&sandbox, &["guard", "x", "--ttl", "1m", "--wait"], HOLD);
    signal(pid, Signal::CONT);
    let output = guard.output();
    assert_eq!(output.code, 5, "{output:?}");
    assert_eq!(work_file(&sandbox, "ran"), "", "its command never ran");
    next.let_go();
    assert_eq!(next.await_end(), 0);
}

#[test]
fn a_command_is_started_when_a_short_pause_cost_nothing() {
    if !strace_available("a guard paused before its command") {
        return;
    }
    let sandbox = sandbox();
    let (guard, pid) = stopped_before_its_command(&sandbox, &["guard", "x", "--ttl", "1m"]);
    signal(pid, Signal::CONT);
    let output = guard.output();
    assert_eq!((output.code, work_file(&sandbox, "ran").as_str()), (0, "ran\n"), "{output:?}");
}

#[test]
fn stopped_waiters_deep_in_the_line_hold_up_nobody() {
    let sandbox = sandbox();
    let mut holder = sandbox.hold(["guard", "x"]);
    let mut waiters: Vec<_> =
        (0..12).map(|_| queue_with(&sandbox, &["guard", "x", "--wait"], "true")).collect();
    let stopped: Vec<i32> = waiters[6..9].iter().map(lokt_tests::sandbox::Running::pid).collect();
    stopped.iter().for_each(|pid| signal(*pid, Signal::STOP));
    let began = std::time::Instant::now();
    holder.let_go();
    for (number, waiter) in waiters.iter_mut().enumerate().filter(|(number, _)| !(6..9).contains(number)) {
        assert_eq!(waiter.await_end(), 0, "waiter {number}");
    }
    // Looking up by turns, those behind would have noticed after ten seconds.
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    stopped.iter().for_each(|pid| signal(*pid, Signal::CONT));
    waiters[6..9].iter_mut().for_each(|waiter| assert_eq!(waiter.await_end(), 0));
}
