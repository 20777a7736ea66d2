//! A command that takes long to start: its file system hangs, or it is stopped on the way to its exec.

use lokt_tests::sandbox::{Running, Sandbox, eventually, start, strace_available};
use rustix::process::Signal;

use crate::helpers::{
    await_lapse, await_state, calls, holder_pid, record, sandbox, signal, traced, with_script, work_file,
};

/// A guard whose command takes `long` to start, in that state.
fn slow_to_start(sandbox: &Sandbox, how: &str, args: &[&str]) -> Running {
    let mut traced = traced(sandbox, &[how], args);
    // Found where it is looked for first.
    let guard = start(with_script(traced.env("PATH", "/bin:/usr/bin"), "echo ran >> ran"));
    eventually("it is admitted", || sandbox.record("x").exists());
    guard
}

/// As long as an exec takes that hangs: longer than any lease here.
const HANGING: &str = "execve:delay_enter=4000000";

/// Only what becomes the command asks who its parent is.
const STOPPED: &str = "getppid:signal=STOP";

#[test]
fn a_lease_is_renewed_while_its_command_is_slow_to_start() {
    if !strace_available("a lease is renewed while its command is slow to start") {
        return;
    }
    let sandbox = sandbox();
    let mut guard = slow_to_start(&sandbox, HANGING, &["guard", "x", "--ttl", "1s"]);
    eventually("it is renewed", || record(&sandbox, "x")["renewals"].as_u64() > Some(2));
    assert_eq!(work_file(&sandbox, "ran"), "", "it has not started");
    assert_eq!(sandbox.run(["guard", "x", "--break-stale", "--", "true"]).code, 2);
    assert_eq!(guard.await_end(), 0);
    assert_eq!(work_file(&sandbox, "ran"), "ran\n");
}

#[test]
fn a_command_that_is_slow_to_start_never_does_once_its_lock_is_lost() {
    if !strace_available("a command that is slow to start never does once its lock is lost") {
        return;
    }
    for how in [HANGING, STOPPED] {
        for terms in [&["guard", "x"][..], &["guard", "x", "--ttl", "1s"], &["guard", "x", "--ttl", "5m"]] {
            let sandbox = sandbox();
            let guard = slow_to_start(&sandbox, how, terms);
            assert_eq!(sandbox.run(["unlock", "x", "--force"]).code, 0);
            let next = sandbox.hold(["guard", "x"]);
            let output = guard.output();
            assert_eq!(output.code, 5, "{how}, {terms:?}: {output:?}");
            assert_eq!(work_file(&sandbox, "ran"), "", "{how}, {terms:?}");
            assert_eq!(next.output().code, 0);
        }
    }
}

#[test]
fn a_guard_can_be_ended_while_its_command_is_slow_to_start() {
    if !strace_available("a guard can be ended while its command is slow to start") {
        return;
    }
    for terms in [&["guard", "x"][..], &["guard", "x", "--ttl", "5m"]] {
        let sandbox = sandbox();
        let mut guard = slow_to_start(&sandbox, HANGING, terms);
        signal(holder_pid(&sandbox, "x"), Signal::TERM);
        assert_eq!(guard.await_end(), 143, "{terms:?}");
        assert_eq!(work_file(&sandbox, "ran"), "", "{terms:?}");
        assert_eq!(sandbox.run(["guard", "x", "--", "true"]).code, 0, "{terms:?}: the lock is free");
    }
}

#[test]
fn a_command_that_came_to_its_start_while_its_guard_was_paused_goes_on() {
    if !strace_available("a command that came to its start while its guard was paused goes on") {
        return;
    }
    for terms in [&["guard", "x"][..], &["guard", "x", "--ttl", "1s"]] {
        let sandbox = sandbox();
        let mut traced = traced(&sandbox, &["execve:delay_enter=300000"], terms);
        let script = "trap 'echo told; exit 3' TERM; echo in; while :; do sleep 0.01; done";
        let mut guard = start(with_script(traced.env("PATH", "/bin:/usr/bin"), script));
        // The first is the guard's own.
        eventually("the start begins", || calls(&sandbox).matches("execve(").count() > 1);
        let pid = holder_pid(&sandbox, "x");
        signal(pid, Signal::STOP);
        await_state(pid, "Tt");
        guard.await_line("in");
        if terms.contains(&"--ttl") {
            await_lapse(&sandbox);
        }
        signal(pid, Signal::TERM);
        signal(pid, Signal::CONT);
        guard.await_line("told");
        assert_eq!(guard.await_end(), 3, "{terms:?}");
    }
}
