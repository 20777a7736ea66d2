//! What was tried on the Go tool, and what happened there (the table in the design): none of it happens here.

use std::time::{Duration, Instant};

use lokt_tests::sandbox::{eventually, start, strace_available};
use rustix::process::Signal;

use crate::helpers::{
    SOON, calls, hold_with, holder_pid, lines, queue, queue_with, run_script, sandbox, signal_group, traced,
    with_script, work_pid,
};

/// Takes the holder's place in every way that two contenders could interleave: one is delayed inside of `call`.
fn delayed_contender_stays_alone(call: &str) {
    let test = "a contender that is delayed while it takes over is alone";
    if !strace_available(test) {
        return;
    }
    let sandbox = sandbox();
    let mut holder = hold_with(&sandbox, &["guard", "x"], "echo $$ > pid; echo in; read line");
    holder.signal(Signal::KILL);
    let _ = holder.await_end();
    signal_group(work_pid(&sandbox, "pid"), Signal::KILL);

    let log = "echo enter >> log; read line; echo exit >> log";
    let injection = format!("{call}:delay_enter=1500000:when=1");
    let mut delayed = start(with_script(&mut traced(&sandbox, &[&injection], &["guard", "x"]), log));
    eventually("the first contender is delayed in its call", || {
        calls(&sandbox).contains(&format!("{call}("))
    });
    let mut second = run_script(&sandbox, &["guard", "x"], log);
    let entered = || lines(&sandbox.work().join("log")).len();
    eventually("somebody enters", || entered() > 0);
    // Whoever is refused ends by itself; whoever is in stays in until it is let go.
    eventually("one of them is refused", || !second.runs() || !delayed.runs());
    assert_eq!(entered(), 1, "only one of them is in");
    delayed.let_go();
    second.let_go();
    let mut codes = [delayed.await_end(), second.await_end()];
    codes.sort_unstable();
    assert_eq!(codes, [0, 2]);
    assert_eq!(lines(&sandbox.work().join("log")), ["enter", "exit"]);
}

#[test]
fn a_contender_delayed_at_its_rename_does_not_let_a_second_in() {
    delayed_contender_stays_alone("renameat");
}

#[test]
fn a_contender_delayed_at_its_unlink_does_not_let_a_second_in() {
    delayed_contender_stays_alone("unlinkat");
}

#[test]
fn two_guards_of_one_user_exclude_each_other() {
    let sandbox = sandbox();
    let mut first = sandbox.hold(["guard", "y"]);
    let second = sandbox.run(["guard", "y", "--", "true"]);
    assert_eq!(second.code, 2, "{second:?}");
    let mut anonymous = sandbox.lokt(["guard", "y", "--", "true"]);
    anonymous.env_remove("LOKT_OWNER").env_remove("LOKT_AGENT_ID");
    assert_eq!(start(&mut anonymous).await_end(), 2);
    first.let_go();
    assert_eq!(first.await_end(), 0);
}

#[test]
fn a_lock_by_one_owner_is_denied_to_another_although_its_process_has_ended() {
    let sandbox = sandbox();
    let lock = |owner: &str| start(sandbox.lokt(["lock", "x"]).env("LOKT_OWNER", owner)).output();
    assert_eq!(lock("ann").code, 0);
    let denied = lock("bob");
    assert_eq!(denied.code, 2, "{denied:?}");
    assert!(denied.stderr.contains("ann"), "{denied:?}");
    assert_eq!(lock("ann").code, 2, "not for the same owner either");
}

/// A command that outlives SIGTERM and its parent's death, as a child of the command proper.
const STUBBORN: &str = "exec 3<&0; echo $$ > group; \
    sh -c 'trap \"\" TERM; echo in; read line <&3; echo out >> log' & \
    trap '' TERM; wait; wait";

fn a_killed_guard_keeps_others_out_while_its_command_lives(terms: &[&str]) {
    let sandbox = sandbox();
    let args: Vec<&str> = ["guard", "x"].iter().chain(terms).copied().collect();
    let mut guard = hold_with(&sandbox, &args, STUBBORN);
    let waiter = queue_with(&sandbox, &["guard", "x", "--wait"], "echo waiter >> log");
    guard.signal(Signal::KILL);
    assert_eq!(guard.await_end(), 137);
    for contender in [
        &["guard", "x", "--", "true"][..],
        &["guard", "x", "--break-stale", "--", "true"],
        &["lock", "x"],
        &["lock", "x", "--break-stale"],
    ] {
        let denied = sandbox.run(contender);
        assert_eq!(denied.code, 2, "{contender:?}: {denied:?}");
    }
    assert_eq!(sandbox.run(["unlock", "x", "--break-stale"]).code, 1);
    assert!(lines(&sandbox.work().join("log")).is_empty());
    guard.let_go();
    assert_eq!(waiter.output().code, 0);
    assert_eq!(lines(&sandbox.work().join("log")), ["out", "waiter"]);
}

#[test]
fn a_killed_guard_keeps_others_out_while_its_command_lives_without_a_ttl() {
    a_killed_guard_keeps_others_out_while_its_command_lives(&[]);
}

#[test]
fn a_killed_guard_keeps_others_out_while_its_command_lives_with_a_ttl() {
    a_killed_guard_keeps_others_out_while_its_command_lives(&["--ttl", "10m"]);
}

fn a_guard_killed_with_its_command_hands_over_at_once(terms: &[&str]) {
    let sandbox = sandbox();
    let args: Vec<&str> = ["guard", "x"].iter().chain(terms).copied().collect();
    let mut guard = hold_with(&sandbox, &args, STUBBORN);
    let mut waiter = queue(&sandbox, &["guard", "x", "--wait"]);
    let killed = Instant::now();
    guard.signal(Signal::KILL);
    signal_group(work_pid(&sandbox, "group"), Signal::KILL);
    waiter.await_line("in");
    assert!(killed.elapsed() < SOON, "{:?}", killed.elapsed());
    assert_eq!(holder_pid(&sandbox, "x"), waiter.pid());
    assert_eq!(guard.await_end(), 137);
}

#[test]
fn a_guard_killed_with_its_command_hands_over_at_once_without_a_ttl() {
    a_guard_killed_with_its_command_hands_over_at_once(&[]);
}

#[test]
fn a_guard_killed_with_its_command_hands_over_at_once_with_a_ttl() {
    a_guard_killed_with_its_command_hands_over_at_once(&["--ttl", "10m"]);
}

#[test]
fn a_command_ends_when_its_guard_is_killed() {
    let sandbox = sandbox();
    for terms in [&["guard", "x"][..], &["guard", "x", "--ttl", "10m"]] {
        let mut guard = hold_with(&sandbox, terms, "echo $$ > pid; echo in; read line");
        let command = work_pid(&sandbox, "pid");
        guard.signal(Signal::KILL);
        crate::helpers::await_state(command, "-ZX");
        eventually("the lock is to be had", || sandbox.run(["guard", "x", "--", "true"]).code == 0);
        let _ = guard.await_end();
    }
}

#[test]
fn a_ttl_below_a_second_is_not_rounded_to_nothing() {
    let sandbox = sandbox();
    let began = Instant::now();
    assert_eq!(sandbox.run(["lock", "z", "--ttl", "500ms"]).code, 0);
    let next = sandbox.run(["lock", "z", "--wait"]);
    assert_eq!(next.code, 0, "{next:?}");
    assert!(began.elapsed() >= Duration::from_millis(500));
}

#[test]
fn a_parked_waiter_enters_promptly_after_the_release() {
    let sandbox = sandbox();
    let mut holder = sandbox.hold(["guard", "x"]);
    let mut waiter = queue(&sandbox, &["guard", "x", "--wait"]);
    let released = Instant::now();
    holder.let_go();
    waiter.await_line("in");
    assert!(released.elapsed() < SOON, "{:?}", released.elapsed());
    assert_eq!(holder.await_end(), 0);
}
