//! Those who wait: in order, and whoever is dead, stopped or gone holds nobody up.

use std::time::{Duration, Instant};

use lokt_tests::sandbox::{Running, Sandbox, eventually, start};
use rustix::process::Signal;

use crate::helpers::{
    SOON, await_state, lines, queue, queue_with, record, sandbox, signal, stop, waiters, with_script,
};

const WAIT: [&str; 3] = ["guard", "x", "--wait"];

/// Whoever is stopped is passed over within this: a few seconds, on a loaded machine.
const PASSED_OVER: Duration = Duration::from_secs(10);

fn holder_and_line(sandbox: &Sandbox, length: usize) -> (Running, Vec<Running>) {
    let holder = sandbox.hold(["guard", "x"]);
    let line = (0..length).map(|_| queue(sandbox, &WAIT)).collect();
    (holder, line)
}

/// Lets a holder go, and waits until the next has entered, which must not take longer than `within`.
fn hand_over(mut from: Running, to: &mut Running, within: Duration) {
    let released = Instant::now();
    from.let_go();
    to.await_line("in");
    assert!(released.elapsed() < within, "{:?}", released.elapsed());
    assert_eq!(from.await_end(), 0);
}

#[test]
fn waiters_enter_in_the_order_in_which_they_came() {
    let sandbox = sandbox();
    let (mut holder, line) = holder_and_line(&sandbox, 5);
    assert_eq!(waiters(&sandbox, "x"), 5);
    for mut next in line {
        hand_over(holder, &mut next, SOON);
        holder = next;
    }
    assert_eq!(holder.output().code, 0);
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}

#[test]
fn a_dead_waiter_delays_nobody() {
    let sandbox = sandbox();
    let (mut holder, mut line) = holder_and_line(&sandbox, 4);
    let mut last = line.pop().unwrap();
    line[0].signal(Signal::KILL);
    line[2].signal(Signal::KILL);
    for dead in [0, 2] {
        assert_eq!(line[dead].await_end(), 137);
    }
    eventually("the dead are not shown", || waiters(&sandbox, "x") == 2);
    hand_over(holder, &mut line[1], SOON);
    holder = line.remove(1);
    hand_over(holder, &mut last, SOON);
    assert_eq!(last.output().code, 0);
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}

#[test]
fn a_waiter_killed_after_the_release_passes_its_turn_on() {
    let sandbox = sandbox();
    let (mut holder, mut line) = holder_and_line(&sandbox, 2);
    stop(line[0].pid());
    holder.let_go();
    assert_eq!(holder.await_end(), 0);
    let killed = Instant::now();
    line[0].signal(Signal::KILL);
    line[1].await_line("in");
    assert!(killed.elapsed() < SOON, "{:?}", killed.elapsed());
}

#[test]
fn a_stopped_waiter_is_passed_over_and_gets_its_turn_later() {
    let sandbox = sandbox();
    let (holder, mut line) = holder_and_line(&sandbox, 2);
    stop(line[0].pid());
    let mut second = line.pop().unwrap();
    let mut first = line.pop().unwrap();
    hand_over(holder, &mut second, PASSED_OVER);
    first.signal(Signal::CONT);
    eventually("it stands in line again", || waiters(&sandbox, "x") == 1);
    hand_over(second, &mut first, SOON);
    assert_eq!(first.output().code, 0);
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}

#[test]
fn several_stopped_waiters_at_once_are_passed_over() {
    let sandbox = sandbox();
    let (holder, mut line) = holder_and_line(&sandbox, 4);
    let mut last = line.pop().unwrap();
    line.iter().for_each(|waiter| stop(waiter.pid()));
    hand_over(holder, &mut last, PASSED_OVER);
    for waiter in &line {
        waiter.signal(Signal::CONT);
    }
    eventually("all stand in line again", || waiters(&sandbox, "x") == 3);
    last.let_go();
    assert_eq!(last.await_end(), 0);
    // In whatever order they are back: none holds it longer than it takes.
    line.iter_mut().for_each(Running::let_go);
    for waiter in line {
        assert_eq!(waiter.output().code, 0);
    }
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}

#[test]
fn a_stopped_waiter_alone_in_line_does_not_block_a_plain_try() {
    let sandbox = sandbox();
    let (holder, line) = holder_and_line(&sandbox, 1);
    stop(line[0].pid());
    assert_eq!(holder.output().code, 0);
    let tried = Instant::now();
    let plain = sandbox.run(["guard", "x", "--", "true"]);
    assert_eq!(plain.code, 0, "{plain:?}");
    assert!(tried.elapsed() < PASSED_OVER, "{:?}", tried.elapsed());
    let mut waiter = line.into_iter().next().unwrap();
    waiter.signal(Signal::CONT);
    waiter.await_line("in");
    assert_eq!(waiter.output().code, 0);
}

#[test]
fn a_waiter_that_is_suspended_steps_out_of_line_and_comes_back() {
    let sandbox = sandbox();
    let (holder, mut line) = holder_and_line(&sandbox, 2);
    line[0].signal(Signal::TSTP);
    await_state(line[0].pid(), "T");
    assert_eq!(waiters(&sandbox, "x"), 1, "it has left before it stopped");
    let mut second = line.pop().unwrap();
    let mut first = line.pop().unwrap();
    first.signal(Signal::CONT);
    eventually("it is back", || waiters(&sandbox, "x") == 2);
    hand_over(holder, &mut second, SOON);
    hand_over(second, &mut first, SOON);
    assert_eq!(first.output().code, 0);
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}

#[test]
fn a_signal_ends_a_waiter_its_command_unrun_and_nothing_left() {
    for sent in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT, Signal::ALARM] {
        let sandbox = sandbox();
        let mut holder = sandbox.hold(["guard", "x"]);
        let before = sandbox.leftovers();
        let mut waiter = queue_with(&sandbox, &WAIT, "touch ran");
        assert!(sandbox.leftovers().len() > before.len(), "it has a ticket");
        waiter.signal(sent);
        assert_eq!(waiter.await_end(), 128 + sent.as_raw());
        assert!(!sandbox.work().join("ran").exists());
        assert_eq!(sandbox.leftovers(), before);
        holder.let_go();
        assert_eq!(holder.await_end(), 0);
    }
}

#[test]
fn a_waiter_gives_up_when_its_time_is_over() {
    let sandbox = sandbox();
    let holder = sandbox.hold(["guard", "x"]);
    let before = sandbox.leftovers();
    let began = Instant::now();
    let waiter = sandbox.run(["guard", "x", "--timeout", "300ms", "--wait", "--", "touch", "ran"]);
    assert_eq!(waiter.code, 2, "{waiter:?}");
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert!(began.elapsed() < Duration::from_millis(300) + SOON);
    assert!(!sandbox.work().join("ran").exists());
    assert_eq!(sandbox.leftovers(), before);
    assert_eq!(holder.output().code, 0);
}

#[test]
fn a_plain_try_is_denied_while_others_wait_and_does_not_wait_itself() {
    let sandbox = sandbox();
    let (holder, mut line) = holder_and_line(&sandbox, 1);
    let denied = sandbox.run(["guard", "x", "--", "true"]);
    assert_eq!(denied.code, 2, "{denied:?}");
    hand_over(holder, &mut line[0], SOON);
    assert_eq!(sandbox.run(["lock", "x"]).code, 2);
}

#[test]
fn a_plain_try_does_not_overtake_a_line() {
    let sandbox = sandbox();
    let mut holder = sandbox.hold(["guard", "x"]);
    let line: Vec<Running> = (0..15).map(|_| queue_with(&sandbox, &WAIT, "echo waiter >> log")).collect();
    // Two that try over and over while the lock goes from hand to hand.
    let script = "echo in; until [ -e ../stop ]; do \
        $LOKT guard x -- sh -c 'echo plain >> log' 2> /dev/null; done; exit 0";
    let mut hammers: Vec<Running> =
        (0..2).map(|_| start(sandbox.command("sh").args(["-c", script]))).collect();
    hammers.iter_mut().for_each(|hammer| hammer.await_line("in"));
    holder.let_go();
    for waiter in line {
        assert_eq!(waiter.output().code, 0);
    }
    std::fs::write(sandbox.path().join("stop"), "").unwrap();
    for hammer in hammers {
        assert_eq!(hammer.output().code, 0);
    }
    let log = lines(&sandbox.work().join("log"));
    assert_eq!(log.iter().filter(|line| *line == "waiter").count(), 15);
    assert!(log[..15].iter().all(|line| line == "waiter"), "{log:?}");
}

#[test]
fn a_waiter_on_a_plain_try_that_takes_the_lock_over_sees_no_ghosts() {
    // The first in line is told of a successor that replaced the record it slept on.
    let sandbox = sandbox();
    let mut paused = sandbox.hold(["guard", "x", "--ttl", "1s"]);
    let id = record(&sandbox, "x")["lock_id"].clone();
    stop(paused.pid());
    let mut waiter = queue(&sandbox, &WAIT);
    waiter.await_line("in");
    assert_ne!(record(&sandbox, "x")["lock_id"], id);
    let mut next = queue(&sandbox, &WAIT);
    signal(paused.pid(), Signal::CONT);
    assert_eq!(paused.await_end(), 5);
    assert_eq!(waiters(&sandbox, "x"), 1, "it still waits for the present holder");
    hand_over(waiter, &mut next, SOON);
}

#[test]
fn a_waiter_that_is_refused_a_root_command_is_heard() {
    // A missing command is found out only when the lock is had; the lock is free again afterwards.
    let sandbox = sandbox();
    let mut holder = sandbox.hold(["guard", "x"]);
    let mut waiter = start(&mut sandbox.lokt(["guard", "x", "--wait", "--", "no-such-command"]));
    waiter.await_stderr("lokt: waiting");
    let mut next = start(with_script(&mut sandbox.lokt(WAIT), "echo in"));
    next.await_stderr("lokt: waiting");
    holder.let_go();
    assert_eq!(waiter.await_end(), 127);
    assert_eq!(next.await_end(), 0);
    assert_eq!(holder.await_end(), 0);
}

#[test]
fn a_waiter_is_not_admitted_to_what_was_frozen_meanwhile() {
    let sandbox = sandbox();
    let holder = sandbox.hold(["guard", "x"]);
    let waiter = queue_with(&sandbox, &["guard", "x", "--wait", "--timeout", "2s"], "touch ran");
    std::fs::create_dir_all(sandbox.root().join("freezes")).unwrap();
    let freeze = r#"{"version":1,"name":"x","owner":"ops","host":"h","pid":1}"#;
    std::fs::write(sandbox.root().join("freezes/x.json"), freeze).unwrap();
    assert_eq!(holder.output().code, 0);
    let waited = waiter.output();
    assert_eq!(waited.code, 2, "{waited:?}");
    assert!(waited.stderr.contains("frozen"), "{waited:?}");
    assert!(!sandbox.work().join("ran").exists());
}

#[test]
fn those_in_line_enter_in_order_after_a_freeze() {
    let sandbox = sandbox();
    let (mut holder, mut line) = holder_and_line(&sandbox, 2);
    assert_eq!(sandbox.run(["freeze", "x", "--ttl", "1h"]).code, 0);
    holder.let_go();
    assert_eq!(holder.await_end(), 0);
    assert_eq!(sandbox.run(["guard", "x", "--", "true"]).code, 2, "it is frozen, and waited for");
    let tickets = std::fs::read_dir(sandbox.root().join("lines/x")).unwrap();
    assert_eq!(tickets.count(), 2, "they go on waiting");
    assert_eq!(sandbox.run(["unfreeze", "x"]).code, 0);
    line[0].await_line("in");
    let mut last = line.pop().unwrap();
    hand_over(line.pop().unwrap(), &mut last, SOON);
    assert_eq!(last.output().code, 0);
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}
