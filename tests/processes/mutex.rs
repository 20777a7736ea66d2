//! A process that stands still inside a transition, with the mutex.

use std::time::{Duration, Instant};

use lokt_tests::sandbox::{Running, Sandbox, eventually, start, strace_available};
use rustix::process::Signal;

use crate::helpers::{SOON, await_state, calls, holder_pid, sandbox, signal, traced, with_script};

/// Starts a guard that stops right after it has put its record in place, with the mutex. Returns its process.
fn stopped_inside(sandbox: &Sandbox, script: &str) -> (Running, i32) {
    let stop = ["renameat2:signal=STOP:when=2"];
    let guard = start(with_script(&mut traced(sandbox, &stop, &["guard", "x"]), script));
    eventually("it is stopped in its transition", || calls(sandbox).contains("stopped by SIGSTOP"));
    let pid = holder_pid(sandbox, "x");
    await_state(pid, "Tt");
    (guard, pid)
}

#[test]
fn others_wait_for_a_stopped_transition_only_as_long_as_they_would_wait() {
    if !strace_available("others wait for a stopped transition") {
        return;
    }
    let sandbox = sandbox();
    let (guard, pid) = stopped_inside(&sandbox, "echo in");
    for args in [
        &["guard", "x", "--wait", "--timeout", "400ms", "--", "true"][..],
        &["lock", "x", "--wait", "--timeout", "400ms"],
    ] {
        let began = Instant::now();
        let timed_out = sandbox.run(args);
        assert!(began.elapsed() >= Duration::from_millis(400));
        assert!(began.elapsed() < Duration::from_millis(400) + SOON);
        assert_eq!(timed_out.code, 2, "{args:?}: {timed_out:?}");
        let named = format!("process {pid}");
        assert!(timed_out.stderr.contains(&named), "{args:?}: {timed_out:?}");
        assert!(timed_out.stderr.contains("stopped"), "{args:?}: {timed_out:?}");
    }
    let log = std::fs::read_to_string(sandbox.root().join("audit.log")).unwrap_or_default();
    let denied: Vec<&str> = log.lines().filter(|line| line.contains(r#""event":"deny""#)).collect();
    assert_eq!(denied.len(), 2, "each denial is in the log: {log}");
    assert!(denied.iter().all(|line| line.contains(r#""reason":"mutex busy""#)), "{denied:?}");
    assert_eq!(sandbox.run(["status", "x"]).code, 0, "readers need no mutex");
    let mut patient = sandbox.start(["guard", "x", "--wait", "--timeout", "50s", "--", "echo", "patient"]);
    signal(pid, Signal::CONT);
    assert_eq!(guard.output().code, 0);
    assert_eq!(patient.await_end(), 0);
}

#[test]
fn a_process_killed_in_its_transition_leaves_the_mutex_free() {
    if !strace_available("a process killed in its transition") {
        return;
    }
    for call in ["mknodat", "pwrite64", "renameat2"] {
        let sandbox = sandbox();
        let kill = [format!("{call}:signal=KILL:when=1")];
        let kill: Vec<&str> = kill.iter().map(String::as_str).collect();
        let mut killed = start(&mut traced(&sandbox, &kill, &["guard", "x", "--", "true"]));
        assert_eq!(killed.await_end(), 137, "{call}");
        let next = sandbox.run(["guard", "x", "--", "true"]);
        assert_eq!(next.code, 0, "{call}: {next:?}");
    }
}
