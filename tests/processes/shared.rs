//! Shared locks: many readers or one writer, who is not starved by readers that come later.

use std::thread;
use std::time::{Duration, Instant};

use lokt_tests::sandbox::{Running, eventually, start};
use rustix::process::Signal;

use crate::helpers::{
    HOLD, SOON, hold_paused, holder, holders, lines, nothing_is_left, queue, queue_with, record, sandbox,
    waiters, work_file,
};

const READ: [&str; 3] = ["guard", "x", "--shared"];
const READ_WAIT: [&str; 4] = ["guard", "x", "--shared", "--wait"];
const WRITE: [&str; 3] = ["guard", "x", "--wait"];

const COURTEOUS: &str = "trap 'echo term >> log; exit 0' TERM; echo $$ > pid; echo in; read line; exit 0";

fn args<'a>(args: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [args, more].concat()
}

fn end(mut holder: Running) {
    holder.let_go();
    assert_eq!(holder.await_end(), 0);
}

#[test]
fn in_a_crowd_readers_are_in_together_and_a_writer_is_alone() {
    let sandbox = sandbox();
    // The first readers do not leave before three are in: the writers come when they have.
    let read = "echo +r >> log; until [ $(grep -c +r log) -ge 3 ]; do :; done; echo -r >> log";
    let write = "echo +w >> log; echo -w >> log";
    let rounds = |mode: &str, inner: &str| {
        let rounds = format!(
            "{mode} i=0; while [ $i -lt 8 ]; do \
             $LOKT guard x $mode --wait --timeout 30s -- sh -c '{inner}' || exit 9; i=$((i+1)); done"
        );
        start(sandbox.command("sh").args(["-c", &rounds]))
    };
    let mut crowd: Vec<Running> = (0..4).map(|_| rounds("mode=--shared;", read)).collect();
    eventually("three readers are in", || work_file(&sandbox, "log").matches("+r").count() >= 3);
    crowd.extend((0..2).map(|_| rounds("mode=;", write)));
    for loops in crowd {
        let ended = loops.output();
        assert_eq!(ended.code, 0, "{ended:?}");
    }
    let log = lines(&sandbox.work().join("log"));
    let (mut readers, mut writers, mut most) = (0, 0, 0);
    for line in &log {
        match line.as_str() {
            "+r" => readers += 1,
            "-r" => readers -= 1,
            "+w" => writers += 1,
            "-w" => writers -= 1,
            other => panic!("{other}"),
        }
        most = most.max(readers);
        assert!(writers == 0 || writers == 1 && readers == 0, "{log:?}");
    }
    assert!(most >= 3, "{log:?}");
    assert_eq!(log.len(), 2 * 6 * 8);
    nothing_is_left(&sandbox);
}

#[test]
fn a_writer_waits_for_the_last_reader_and_a_reader_for_the_writer() {
    let sandbox = sandbox();
    let (first, second) = (sandbox.hold(READ), sandbox.hold(READ));
    assert_eq!(sandbox.run(["guard", "x", "--", "true"]).code, 2);
    let mut writer = queue(&sandbox, &WRITE);
    end(first);
    assert_eq!(waiters(&sandbox, "x"), 1, "one reader is left");
    end(second);
    writer.await_line("in");
    assert_eq!(sandbox.run(args(&READ, &["--", "true"])).code, 2);
    let mut reader = queue(&sandbox, &READ_WAIT);
    end(writer);
    reader.await_line("in");
    end(reader);
    nothing_is_left(&sandbox);
}

#[test]
fn a_waiting_writer_is_not_starved_by_readers_that_come_later() {
    let sandbox = sandbox();
    let reader = sandbox.hold(READ);
    let mut writer = queue_with(&sandbox, &WRITE, "echo writer >> log; echo in; read line; exit 0");
    let plain = sandbox.run(args(&READ, &["--", "true"]));
    assert_eq!(plain.code, 2, "{plain:?}");
    assert!(plain.stderr.contains("somebody who wants it alone is waiting for it"), "{plain:?}");
    let mut later = queue_with(&sandbox, &READ_WAIT, "echo reader >> log; echo in; read line; exit 0");
    assert_eq!((waiters(&sandbox, "x"), holders(&sandbox, "x").len()), (2, 1));
    let denial = sandbox.run(["lock", "x", "--shared", "--json"]);
    let denial: serde_json::Value = serde_json::from_str(&denial.stdout).unwrap();
    assert_eq!(denial["waiters_ahead"], 2, "{denial:#}");
    end(reader);
    writer.await_line("in");
    assert_eq!(waiters(&sandbox, "x"), 1);
    end(writer);
    later.await_line("in");
    end(later);
    assert_eq!(work_file(&sandbox, "log"), "writer\nreader\n");
    nothing_is_left(&sandbox);
}

#[test]
fn a_writer_gets_in_among_readers_that_never_leave_a_gap() {
    let sandbox = sandbox();
    // Each stays until another has come in after it, or all the others are in line.
    let overlap = "echo $$ >> log; until [ $(tail -n 1 log) != $$ ] || \
        [ $(ls $LOKT_ROOT/lines/x 2> /dev/null | wc -l) -eq 3 ] || [ -e ../done ]; do :; done";
    let script = format!(
        "echo in; until [ -e ../done ]; do $LOKT guard x --shared --wait -- sh -c '{overlap}'; done; exit 0"
    );
    let mut readers: Vec<Running> =
        (0..3).map(|_| start(sandbox.command("sh").args(["-c", &script]))).collect();
    readers.iter_mut().for_each(|reader| reader.await_line("in"));
    eventually("they read", || lines(&sandbox.work().join("log")).len() > 10);
    let mut writer = queue(&sandbox, &WRITE);
    let waits = Instant::now();
    writer.await_line("in");
    assert!(waits.elapsed() < SOON, "{:?}", waits.elapsed());
    std::fs::write(sandbox.path().join("done"), "").unwrap();
    end(writer);
    for reader in readers {
        assert_eq!(reader.output().code, 0);
    }
    nothing_is_left(&sandbox);
}

#[test]
fn all_readers_in_line_behind_a_writer_get_in_when_it_has_ended() {
    let sandbox = sandbox();
    let writer = sandbox.hold(["guard", "x"]);
    let mut line: Vec<Running> = (0..8).map(|_| queue(&sandbox, &READ_WAIT)).collect();
    let mut last = queue(&sandbox, &WRITE);
    let behind = queue(&sandbox, &READ_WAIT);
    let ended = Instant::now();
    end(writer);
    // The last of them first: none waits for another to leave. Each calls the next.
    line.iter_mut().rev().for_each(|reader| reader.await_line("in"));
    assert!(ended.elapsed() < SOON, "{:?}", ended.elapsed());
    assert_eq!((holders(&sandbox, "x").len(), waiters(&sandbox, "x")), (8, 2));
    line.into_iter().for_each(end);
    last.await_line("in");
    end(last);
    end(behind);
    nothing_is_left(&sandbox);
}

#[test]
fn a_killed_reader_is_in_nobodys_way_and_the_others_still_are() {
    let sandbox = sandbox();
    let (mut killed, kept) = (sandbox.hold(READ), sandbox.hold(READ));
    let mut writer = queue(&sandbox, &WRITE);
    killed.signal(Signal::KILL);
    assert_eq!(killed.await_end(), 137);
    assert_eq!(waiters(&sandbox, "x"), 1);
    let ended = Instant::now();
    end(kept);
    writer.await_line("in");
    assert!(ended.elapsed() < SOON, "{:?}", ended.elapsed());
    end(writer);
    nothing_is_left(&sandbox);
}

#[test]
fn when_the_last_reader_is_killed_the_writer_gets_in_at_once() {
    let sandbox = sandbox();
    let mut readers = [sandbox.hold(READ), sandbox.hold(READ)];
    let mut writer = queue(&sandbox, &WRITE);
    let killed = Instant::now();
    for reader in &mut readers {
        reader.signal(Signal::KILL);
        assert_eq!(reader.await_end(), 137);
    }
    writer.await_line("in");
    assert!(killed.elapsed() < SOON, "{:?}", killed.elapsed());
    end(writer);
    nothing_is_left(&sandbox);
}

#[test]
fn a_lapsed_reader_gives_way_to_a_writer_only_with_the_last_of_the_others() {
    let sandbox = sandbox();
    let mut late = hold_paused(&sandbox, &args(&READ, &["--ttl", "1s"]), COURTEOUS);
    let other = sandbox.hold(READ);
    let mut writer = queue(&sandbox, &WRITE);
    eventually("the lease lapses", || sandbox.run(["why", "x"]).stdout.contains("LAPSED"));
    let kept = holder(&sandbox, "x", &late);
    assert_eq!(waiters(&sandbox, "x"), 1);
    assert_eq!(holder(&sandbox, "x", &late), kept, "nobody is the better for its end yet");
    end(other);
    writer.await_line("in");
    late.signal(Signal::CONT);
    assert_eq!((late.await_end(), work_file(&sandbox, "log")), (5, "term\n".to_owned()));
    assert_eq!(record(&sandbox, "x")["pid"], writer.pid());
    end(writer);
    nothing_is_left(&sandbox);
}

#[test]
fn a_lapsed_reader_is_left_alone_by_other_readers() {
    let sandbox = sandbox();
    let mut late = hold_paused(&sandbox, &args(&READ, &["--ttl", "1s"]), COURTEOUS);
    eventually("the lease lapses", || sandbox.run(["why", "x"]).stdout.contains("LAPSED"));
    let other = sandbox.hold(args(&READ, &["--break-stale"]));
    late.signal(Signal::CONT);
    eventually("it renews", || holder(&sandbox, "x", &late)["renewals"].as_u64() > Some(0));
    end(other);
    late.let_go();
    assert_eq!((late.await_end(), work_file(&sandbox, "log")), (0, String::new()));
    nothing_is_left(&sandbox);
}

#[test]
fn a_freeze_keeps_readers_out_who_would_join_others() {
    let sandbox = sandbox();
    let mut reader = sandbox.hold(READ);
    assert_eq!(sandbox.run(["freeze", "x", "--ttl", "1h"]).code, 0);
    let refused = sandbox.run(args(&READ, &["--", "true"]));
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("frozen") && reader.runs(), "{refused:?}");
    let mut line: Vec<Running> = (0..2).map(|_| queue(&sandbox, &READ_WAIT)).collect();
    assert_eq!(sandbox.run(["unfreeze", "x"]).code, 0);
    line.iter_mut().for_each(|reader| reader.await_line("in"));
    assert!(reader.runs());
    end(reader);
    line.into_iter().for_each(end);
    nothing_is_left(&sandbox);
}

#[test]
fn readers_by_hand_and_of_guards_hold_it_together() {
    let sandbox = sandbox();
    assert_eq!(sandbox.run(["lock", "x", "--shared"]).code, 0);
    let mut guard = sandbox.hold(READ);
    let mut writer = queue(&sandbox, &WRITE);
    assert_eq!(sandbox.run(["unlock", "x"]).code, 0, "the one that is mine by hand");
    assert!(guard.runs());
    assert_eq!((holders(&sandbox, "x").len(), waiters(&sandbox, "x")), (1, 1));
    end(guard);
    writer.await_line("in");
    end(writer);
    nothing_is_left(&sandbox);
}

#[test]
fn a_forced_unlock_ends_every_reader() {
    let sandbox = sandbox();
    let mut readers = [(); 3].map(|()| crate::helpers::hold_with(&sandbox, &READ, HOLD));
    let mut writer = queue(&sandbox, &WRITE);
    assert_eq!(sandbox.run(["unlock", "x", "--force"]).code, 0);
    writer.await_line("in");
    for reader in &mut readers {
        assert_eq!(reader.await_end(), 5);
    }
    end(writer);
    nothing_is_left(&sandbox);
}

/// It is not passed over, however often those behind it look whether it is hung.
#[test]
fn a_writer_that_runs_stays_first_in_a_crowd_of_readers() {
    let sandbox = sandbox();
    let reader = sandbox.hold(READ);
    let mut writer = queue(&sandbox, &WRITE);
    let mut crowd: Vec<Running> = (0..30).map(|_| queue(&sandbox, &READ_WAIT)).collect();
    // Whoever looks once a second, and is patient for two, has made up its mind.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(8) {
        thread::park_timeout(Duration::from_secs(8).saturating_sub(began.elapsed()));
    }
    assert_eq!((waiters(&sandbox, "x"), holders(&sandbox, "x").len()), (31, 1));
    end(reader);
    writer.await_line("in");
    assert_eq!(waiters(&sandbox, "x"), 30, "nobody was let in before it");
    end(writer);
    crowd.iter_mut().for_each(|reader| reader.await_line("in"));
    crowd.into_iter().for_each(end);
}
