//! A process that stands still inside a transition, with the mutex.

use std::fs;
use std::time::{Duration, Instant};

use lokt_tests::sandbox::{Running, Sandbox, eventually, start, strace_available};
use rustix::fs::{FlockOperation, flock};
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
    let log = fs::read_to_string(sandbox.root().join("audit.log")).unwrap_or_default();
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
fn a_waiter_for_the_mutex_says_who_has_it_and_keeps_one_place_in_its_queue() {
    let sandbox = sandbox();
    assert_eq!(sandbox.run(["guard", "x", "--", "true"]).code, 0);
    let held: Vec<fs::File> = (0..64)
        .filter_map(|number| fs::File::open(sandbox.root().join(format!("stripes/{number:02x}"))).ok())
        .inspect(|file| flock(file, FlockOperation::LockExclusive).unwrap())
        .collect();
    let mut waiter = sandbox.start(["guard", "x", "--wait", "--", "echo", "in"]);
    let said = waiter.await_stderr("waiting for");
    let named = format!("the lock directory's mutex is busy: process {}", std::process::id());
    assert!(said.contains(&named), "{said}");
    let of_waiter = |what: &str| fs::read_dir(format!("/proc/{}/{what}", waiter.pid())).unwrap().count();
    let (threads, descriptors) = (of_waiter("task"), of_waiter("fd"));
    let began = Instant::now();
    eventually("it has tried again, several times", || began.elapsed() > Duration::from_millis(3500));
    // It may have one more open for a moment; each second that cost one would be three by now.
    eventually("it has no more of them", || of_waiter("task") <= threads && of_waiter("fd") <= descriptors);
    drop(held);
    waiter.await_line("in");
    assert_eq!(waiter.await_end(), 0);
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
