//! Whoever breaks, prunes or sweeps a dead lock, however long it takes over it, spares the successor's.

use lokt_tests::sandbox::{Sandbox, eventually, start, strace_available};
use rustix::process::Signal;

use crate::helpers::{HOLD, calls, hold_with, run_script, sandbox, signal_group, traced, work_pid};

/// A lock whose guard and command were killed.
fn dead(sandbox: &Sandbox) {
    let mut holder = hold_with(sandbox, &["guard", "x"], "echo $$ > pid; echo in; read line");
    holder.signal(Signal::KILL);
    let _ = holder.await_end();
    signal_group(work_pid(sandbox, "pid"), Signal::KILL);
    crate::helpers::await_state(work_pid(sandbox, "pid"), "-ZX");
}

/// Runs `args`, delayed in each call that the injection names; when its trace shows `moment`, a successor takes
/// the lock.
fn a_delayed_breaker_spares_a_successor(args: &[&str], injection: &str, moment: &str) {
    if !strace_available("a delayed breaker spares a successor") {
        return;
    }
    let sandbox = sandbox();
    dead(&sandbox);
    let mut breaker = start(&mut traced(&sandbox, &[injection], args));
    eventually("the breaker has come so far", || calls(&sandbox).contains(moment) || !breaker.runs());
    let mut successor = run_script(&sandbox, &["guard", "x"], HOLD);
    successor.await_line("in");
    let code = breaker.await_end();
    assert!(successor.runs(), "it holds the lock still");
    assert!(sandbox.record("x").exists(), "its record was removed by {args:?} ({code})");
    successor.let_go();
    assert_eq!(successor.await_end(), 0, "it was ended for a lost lock, after {args:?} ({code})");
}

/// One delay at each flock: between every look at the session and the mutex, whichever comes first.
const SLOW_LOCKS: &str = "flock:delay_enter=500000:when=1..6";

#[test]
fn a_break_delayed_at_its_unlink_spares_a_successor() {
    let slow = "unlinkat:delay_enter=1500000:when=1";
    a_delayed_breaker_spares_a_successor(&["unlock", "x", "--break-stale"], slow, "unlinkat(");
}

#[test]
fn a_break_delayed_before_the_mutex_spares_a_successor() {
    a_delayed_breaker_spares_a_successor(&["unlock", "x", "--break-stale"], SLOW_LOCKS, "LOCK_UN");
}

#[test]
fn a_prune_delayed_before_the_mutex_spares_a_successor() {
    a_delayed_breaker_spares_a_successor(&["status", "x", "--prune-expired"], SLOW_LOCKS, "LOCK_UN");
}

#[test]
fn a_sweep_delayed_before_the_mutex_spares_a_successor() {
    // Its first flock is that of the sweep itself; then it looks at the session.
    a_delayed_breaker_spares_a_successor(&["status"], SLOW_LOCKS, "LOCK_SH");
}

#[test]
fn a_sweep_leaves_what_proves_a_holder_dead() {
    let sandbox = sandbox();
    dead(&sandbox);
    // The sweep comes to the sessions before it comes to the records.
    assert_eq!(sandbox.run(["status"]).code, 0);
    let next = sandbox.run(["guard", "x", "--", "true"]);
    assert_eq!(next.code, 0, "a dead holder's lock is to be had: {next:?}");
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}
