//! Manual locks: no process holds them, but a process, a time or a command may end them.

use std::time::{Duration, Instant};

use lokt_tests::sandbox::{end, eventually, some_process};
use rustix::process::Signal;

use crate::helpers::{SOON, await_state, queue, record, sandbox, signal, waiters};

#[test]
fn a_lock_tied_to_a_process_is_denied_while_that_lives_and_free_once_it_is_gone() {
    let sandbox = sandbox();
    let process = some_process();
    let pid = process.id().to_string();
    assert_eq!(sandbox.run(["lock", "x", "--pid", &pid]).code, 0);
    for contender in [&["lock", "x"][..], &["lock", "x", "--break-stale"], &["guard", "x", "--", "true"]] {
        assert_eq!(sandbox.run(contender).code, 2, "{contender:?}");
    }
    end(process);
    assert_eq!(sandbox.run(["guard", "x", "--", "true"]).code, 0);
}

#[test]
fn a_lock_tied_to_a_process_that_has_ended_unnoticed_is_free() {
    let sandbox = sandbox();
    let mut process = some_process();
    let pid = process.id().to_string();
    assert_eq!(sandbox.run(["lock", "x", "--pid", &pid]).code, 0);
    process.kill().unwrap();
    await_state(i32::try_from(process.id()).unwrap(), "Z");
    let next = sandbox.run(["guard", "x", "--", "true"]);
    assert_eq!(next.code, 0, "a zombie has ended: {next:?}");
    process.wait().unwrap();
}

#[test]
fn a_waiter_behind_a_process_that_has_ended_unnoticed_does_not_spin() {
    let sandbox = sandbox();
    let mut process = some_process();
    let pid = process.id().to_string();
    assert_eq!(sandbox.run(["lock", "x", "--pid", &pid]).code, 0);
    let mut waiter = queue(&sandbox, &["guard", "x", "--wait"]);
    process.kill().unwrap();
    waiter.await_line("in");
    process.wait().unwrap();
}

#[test]
fn a_waiter_enters_when_the_process_of_a_lock_ends() {
    let sandbox = sandbox();
    let process = some_process();
    let pid = process.id().to_string();
    assert_eq!(sandbox.run(["lock", "x", "--pid", &pid]).code, 0);
    let mut waiter = queue(&sandbox, &["guard", "x", "--wait"]);
    let ended = Instant::now();
    end(process);
    waiter.await_line("in");
    assert!(ended.elapsed() < SOON, "{:?}", ended.elapsed());
}

#[test]
fn a_lock_is_not_tied_to_a_process_that_has_ended_in_the_wait() {
    let sandbox = sandbox();
    let process = some_process();
    let pid = process.id().to_string();
    assert_eq!(sandbox.run(["lock", "x"]).code, 0);
    let waiter = sandbox.start(["lock", "x", "--wait", "--pid", &pid]);
    eventually("it stands in line", || waiters(&sandbox, "x") == 1);
    end(process);
    assert_eq!(sandbox.run(["unlock", "x"]).code, 0);
    let said = waiter.output();
    assert_eq!((said.code, said.stdout.as_str()), (64, ""), "{said:?}");
    assert!(said.stderr.contains(&format!("there is no process {pid}")), "{said:?}");
    assert_eq!(sandbox.run(["exists", "x"]).code, 3);
}

#[test]
fn a_waiter_enters_when_a_manual_lock_is_unlocked() {
    let sandbox = sandbox();
    assert_eq!(sandbox.run(["lock", "x"]).code, 0);
    let mut waiter = queue(&sandbox, &["guard", "x", "--wait"]);
    let unlocked = Instant::now();
    assert_eq!(sandbox.run(["unlock", "x"]).code, 0);
    waiter.await_line("in");
    assert!(unlocked.elapsed() < SOON, "{:?}", unlocked.elapsed());
}

#[test]
fn a_waiter_enters_when_the_ttl_of_a_manual_lock_has_passed() {
    let sandbox = sandbox();
    let ttl = Duration::from_millis(1500);
    let began = Instant::now();
    assert_eq!(sandbox.run(["lock", "x", "--ttl", "1500ms"]).code, 0);
    let locked = Instant::now();
    let mut waiter = queue(&sandbox, &["guard", "x", "--wait"]);
    waiter.await_line("in");
    assert!(began.elapsed() >= ttl, "{:?}", began.elapsed());
    assert!(locked.elapsed() < ttl + SOON, "{:?}", locked.elapsed());
}

#[test]
fn a_lock_taken_by_waiting_is_held_by_no_process() {
    let sandbox = sandbox();
    let mut holder = sandbox.hold(["guard", "x"]);
    let mut first = sandbox.start(["lock", "x", "--wait"]);
    first.await_stderr("waiting");
    let mut second = queue(&sandbox, &["guard", "x", "--wait"]);
    holder.let_go();
    assert_eq!(first.await_end(), 0);
    assert_eq!(sandbox.run(["guard", "x", "--", "true"]).code, 2);
    assert_eq!(waiters(&sandbox, "x"), 1);
    assert_eq!(sandbox.run(["unlock", "x"]).code, 0);
    second.await_line("in");
    second.let_go();
    assert_eq!(second.await_end(), 0);
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}

#[test]
fn a_lock_may_not_be_tied_to_a_process_that_is_not_there() {
    let sandbox = sandbox();
    let process = some_process();
    let pid = process.id().to_string();
    end(process);
    let refused = sandbox.run(["lock", "x", "--pid", &pid]);
    assert_ne!(refused.code, 0, "{refused:?}");
    assert!(!sandbox.record("x").exists());
}

#[test]
fn a_stopped_process_still_holds_the_lock_that_is_tied_to_it() {
    let sandbox = sandbox();
    let process = some_process();
    let pid = process.id().to_string();
    assert_eq!(sandbox.run(["lock", "x", "--pid", &pid]).code, 0);
    signal(i32::try_from(process.id()).unwrap(), Signal::STOP);
    assert_eq!(sandbox.run(["lock", "x", "--break-stale"]).code, 2);
    end(process);
}

#[test]
fn a_lock_tied_to_a_process_whose_id_was_used_again_is_free() {
    let sandbox = sandbox();
    let process = some_process();
    let pid = process.id().to_string();
    assert_eq!(sandbox.run(["lock", "x", "--pid", &pid]).code, 0);
    let mut tied = record(&sandbox, "x");
    let start = tied["pid_start_ns"].as_i64().expect("the start of the process is in the record");
    assert_eq!(sandbox.run(["guard", "x", "--", "true"]).code, 2, "it is that process");
    tied["pid_start_ns"] = (start - 1).into();
    sandbox.plant("x", tied.to_string());
    assert_eq!(sandbox.run(["guard", "x", "--", "true"]).code, 0, "it is a later one of the same id");
    end(process);
}
