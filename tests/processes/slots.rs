//! Slots: at most so many at once, and each who has one is judged, lost and released for itself.

use std::fs;
use std::time::Instant;

use lokt_tests::sandbox::{Running, Sandbox, eventually, output, start, strace_available};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::helpers::{
    SOON, hold_paused, hold_with, holder, holders, is_gone, lines, make_gate, nothing_is_left, open_gate,
    queue, queue_with, record, run_script, sandbox, signal, stop, traced, waiters, work_file, work_pid,
};

const TWO: [&str; 4] = ["guard", "x", "--slots", "2"];
const WAIT: [&str; 5] = ["guard", "x", "--slots", "2", "--wait"];

const COURTEOUS: &str = "trap 'echo term >> log; exit 0' TERM; echo $$ > pid; echo in; read line; exit 0";

fn args<'a>(args: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [args, more].concat()
}

fn hold(sandbox: &Sandbox) -> Running {
    sandbox.hold(TWO)
}

fn slot(sandbox: &Sandbox, of: &Running) -> Value {
    holder(sandbox, "x", of)["slot"].clone()
}

fn end(mut holder: Running) {
    holder.let_go();
    assert_eq!(holder.await_end(), 0);
}

/// How many were in at once, by a log to which each has added a `+` when it was in and a `-` when it still was.
fn most_at_once(log: &[String]) -> usize {
    let (mut now, mut most) = (0_usize, 0);
    for line in log {
        match line.as_str() {
            "+" => now += 1,
            "-" => now -= 1,
            other => panic!("{other}: {log:?}"),
        }
        most = most.max(now);
    }
    most
}

#[test]
fn in_a_crowd_as_many_as_there_are_slots_are_in_at_once_and_never_more() {
    let sandbox = sandbox();
    // Nobody leaves before three are in.
    let inner = "echo + >> log; mkdir $LOKT_SLOT || echo twice >> log; \
        until [ $(grep -c + log) -ge 3 ]; do :; done; rmdir $LOKT_SLOT; echo - >> log";
    let rounds = format!(
        "i=0; while [ $i -lt 8 ]; do \
         $LOKT guard x --slots 3 --wait --timeout 30s -- sh -c '{inner}' || exit 9; i=$((i+1)); done"
    );
    let crowd: Vec<Running> = (0..6).map(|_| start(sandbox.command("sh").args(["-c", &rounds]))).collect();
    for loops in crowd {
        let ended = loops.output();
        assert_eq!(ended.code, 0, "{ended:?}");
    }
    let log = lines(&sandbox.work().join("log"));
    assert_eq!(log.len(), 2 * 6 * 8);
    assert_eq!(most_at_once(&log), 3);
    nothing_is_left(&sandbox);
}

#[test]
fn each_has_a_slot_and_a_token_of_its_own_and_a_slot_is_used_again() {
    let sandbox = sandbox();
    let tells = "echo $LOKT_SLOT $LOKT_TOKEN; echo in; read line; exit 0";
    let enter = |said: &str| {
        let mut holder = run_script(&sandbox, &["guard", "x", "--slots", "3"], tells);
        holder.await_line(said);
        holder
    };
    let (first, second, third) = (enter("1 1"), enter("2 2"), enter("3 3"));
    end(second);
    let fourth = enter("2 4");
    end(first);
    end(third);
    let fifth = enter("1 5");
    end(fourth);
    end(fifth);
    nothing_is_left(&sandbox);
}

#[test]
fn waiters_get_the_slots_in_the_order_in_which_they_came() {
    let sandbox = sandbox();
    let (first, second) = (hold(&sandbox), hold(&sandbox));
    let wait =
        |number| queue_with(&sandbox, &WAIT, &format!("echo {number} >> log; echo in; read line; exit 0"));
    let mut line: Vec<Running> = (1..=4).map(wait).collect();
    assert_eq!(waiters(&sandbox, "x"), 4);
    end(second);
    line[0].await_line("in");
    assert_eq!(waiters(&sandbox, "x"), 3);
    end(first);
    line[1].await_line("in");
    for (at, holder) in line.drain(..2).collect::<Vec<_>>().into_iter().enumerate() {
        end(holder);
        line[at].await_line("in");
    }
    line.into_iter().for_each(end);
    assert_eq!(work_file(&sandbox, "log"), "1\n2\n3\n4\n");
    nothing_is_left(&sandbox);
}

#[test]
fn slots_that_are_released_together_go_to_as_many_waiters() {
    let sandbox = sandbox();
    let eight = ["guard", "x", "--slots", "8"];
    let mut holders: Vec<Running> = (0..8).map(|_| sandbox.hold(eight)).collect();
    let mut line: Vec<Running> = (0..9).map(|_| queue(&sandbox, &args(&eight, &["--wait"]))).collect();
    let released = Instant::now();
    holders.iter_mut().for_each(Running::let_go);
    // The last of them first: none waits for another to leave. Each calls the next.
    line[..8].iter_mut().rev().for_each(|waiter| waiter.await_line("in"));
    assert!(released.elapsed() < SOON, "{:?}", released.elapsed());
    assert_eq!(waiters(&sandbox, "x"), 1);
    line.into_iter().for_each(end);
    nothing_is_left(&sandbox);
}

#[test]
fn a_killed_holder_frees_its_slot_at_once_and_no_other() {
    let sandbox = sandbox();
    let (mut first, second) = (hold(&sandbox), hold(&sandbox));
    let (freed, kept) = (slot(&sandbox, &first), holder(&sandbox, "x", &second));
    let mut next = queue(&sandbox, &WAIT);
    let after = queue(&sandbox, &WAIT);
    let killed = Instant::now();
    first.signal(Signal::KILL);
    next.await_line("in");
    assert!(killed.elapsed() < SOON, "{:?}", killed.elapsed());
    assert_eq!(first.await_end(), 137);
    assert_eq!(slot(&sandbox, &next), freed);
    assert_eq!(holder(&sandbox, "x", &second), kept);
    assert_eq!(waiters(&sandbox, "x"), 1);
    end(second);
    end(after);
    end(next);
    nothing_is_left(&sandbox);
}

#[test]
fn a_killed_guard_keeps_its_slot_while_its_command_lives() {
    let sandbox = sandbox();
    make_gate(&sandbox, "gate");
    let stubborn = "trap '' TERM; echo in; read go < gate";
    let mut killed = hold_with(&sandbox, &TWO, stubborn);
    let other = hold(&sandbox);
    killed.signal(Signal::KILL);
    assert_eq!(killed.await_end(), 137);
    let refused = sandbox.run(args(&TWO, &["--", "true"]));
    assert_eq!(refused.code, 2, "{refused:?}");
    open_gate(&sandbox, "gate");
    eventually("its slot is free", || sandbox.run(args(&TWO, &["--", "true"])).code == 0);
    end(other);
    nothing_is_left(&sandbox);
}

#[test]
fn when_all_who_hold_slots_are_killed_the_name_is_free_for_any_number() {
    for mode in [&["--slots", "5"][..], &[], &["--shared"]] {
        let sandbox = sandbox();
        for mut holder in [hold(&sandbox), hold(&sandbox)] {
            holder.signal(Signal::KILL);
            assert_eq!(holder.await_end(), 137);
        }
        eventually("their commands are gone", || sandbox.run(["why", "x"]).stdout.contains("left behind"));
        let taken = sandbox.run(args(&args(&["guard", "x"], mode), &["--", "true"]));
        assert_eq!(taken.code, 0, "{mode:?}: {taken:?}");
        nothing_is_left(&sandbox);
    }
}

/// One of two has a lease that has lapsed; `take` gets its slot.
fn one_of_two_lapses(take: impl Fn(&Sandbox) -> Running) {
    let sandbox = sandbox();
    let mut late = hold_paused(&sandbox, &args(&TWO, &["--ttl", "1s"]), COURTEOUS);
    let mut other = sandbox.hold(args(&TWO, &["--ttl", "10m"]));
    let (freed, kept) = (slot(&sandbox, &late), holder(&sandbox, "x", &other));
    let successor = take(&sandbox);
    assert_eq!(slot(&sandbox, &successor), freed);
    assert_eq!(holder(&sandbox, "x", &other), kept, "the other's record is untouched");

    late.signal(Signal::CONT);
    assert_eq!(late.await_end(), 5);
    assert_eq!(work_file(&sandbox, "log"), "term\n", "its command was asked to end");
    assert!(is_gone(work_pid(&sandbox, "pid")));
    assert!(other.runs(), "it has lost nothing");
    assert_eq!(holders(&sandbox, "x").len(), 2);
    end(other);
    end(successor);
    nothing_is_left(&sandbox);
}

#[test]
fn a_lapsed_lease_of_one_goes_to_a_waiter_and_only_that_one_is_lost() {
    one_of_two_lapses(|sandbox| {
        let mut waiter = queue(sandbox, &WAIT);
        waiter.await_line("in");
        waiter
    });
}

#[test]
fn a_lapsed_lease_of_one_goes_to_break_stale_and_only_that_one_is_lost() {
    one_of_two_lapses(|sandbox| {
        eventually("the lease lapses", || {
            let denied = sandbox.run(["lock", "x", "--slots", "2"]);
            assert_eq!(denied.code, 2, "a plain try never takes it over: {denied:?}");
            sandbox.run(["why", "x"]).stdout.contains("LAPSED")
        });
        sandbox.hold(args(&TWO, &["--break-stale"]))
    });
}

#[test]
fn a_lapsed_lease_is_left_alone_while_there_is_a_slot_for_whoever_comes() {
    let sandbox = sandbox();
    let three = ["guard", "x", "--slots", "3"];
    let mut late = hold_paused(&sandbox, &args(&three, &["--ttl", "1s"]), COURTEOUS);
    let other = sandbox.hold(three);
    eventually("the lease lapses", || {
        sandbox.run(["status", "x", "--json"]).stdout.contains("\"expired\": true")
    });
    let beside = sandbox.hold(args(&three, &["--break-stale"]));
    assert_eq!(slot(&sandbox, &beside), 3);
    late.signal(Signal::CONT);
    eventually("it renews", || holder(&sandbox, "x", &late)["renewals"].as_u64() > Some(0));
    for holder in [beside, other] {
        end(holder);
    }
    late.let_go();
    assert_eq!((late.await_end(), work_file(&sandbox, "log")), (0, String::new()));
    nothing_is_left(&sandbox);
}

#[test]
fn each_renews_its_own_lease() {
    let sandbox = sandbox();
    let holders = [(); 2].map(|()| sandbox.hold(args(&TWO, &["--ttl", "1s"])));
    for one in &holders {
        eventually("it is renewed", || holder(&sandbox, "x", one)["renewals"].as_u64() > Some(1));
    }
    holders.into_iter().for_each(end);
    nothing_is_left(&sandbox);
}

#[test]
fn a_freeze_keeps_out_whoever_comes_and_leaves_those_who_hold_a_slot_alone() {
    let sandbox = sandbox();
    let mut holder = hold(&sandbox);
    assert_eq!(sandbox.run(["freeze", "x", "--ttl", "1h"]).code, 0);
    let refused = sandbox.run(args(&TWO, &["--", "touch", "ran"]));
    assert_eq!(refused.code, 2, "a slot is left, but it is frozen: {refused:?}");
    assert!(refused.stderr.contains("frozen"), "{refused:?}");
    let mut waiter = queue(&sandbox, &WAIT);
    assert!(holder.runs() && !sandbox.work().join("ran").exists());
    end(holder);
    let tickets = fs::read_dir(sandbox.root().join("lines/x")).unwrap().count();
    assert_eq!(tickets, 1, "nor does a slot that is given back let it in");
    assert_eq!(sandbox.run(["unfreeze", "x"]).code, 0);
    waiter.await_line("in");
    end(waiter);
    nothing_is_left(&sandbox);
}

#[test]
fn whoever_asks_for_another_number_is_refused_at_once_though_it_would_wait() {
    let sandbox = sandbox();
    let modes = [&["--slots", "2"][..], &["--slots", "3"], &["--shared"], &[]];
    for held in modes {
        let holder = sandbox.hold(args(&["guard", "x"], held));
        for asked in modes {
            let slots = |mode: &[&str]| mode.contains(&"--slots");
            if asked == held || !slots(asked) && !slots(held) {
                continue;
            }
            for wait in [&["--wait"][..], &[]] {
                let asked = args(&args(&["guard", "x"], asked), wait);
                let refused = sandbox.run(args(&asked, &["--", "touch", "ran"]));
                assert_eq!(refused.code, 2, "{asked:?} beside {held:?}: {refused:?}");
                let says = refused.stderr.contains("tester@") && refused.stderr.contains("ask for it with");
                assert!(
                    says && !refused.stderr.contains("waiting"),
                    "{asked:?} beside {held:?}: {refused:?}"
                );
            }
        }
        end(holder);
        nothing_is_left(&sandbox);
    }
    assert!(!sandbox.work().join("ran").exists());
}

#[test]
fn a_waiter_whose_number_is_contradicted_meanwhile_is_told_at_once() {
    let sandbox = sandbox();
    assert_eq!(sandbox.run(["freeze", "x", "--ttl", "1h"]).code, 0);
    let mut two = queue(&sandbox, &WAIT);
    let three = queue(&sandbox, &["guard", "x", "--slots", "3", "--wait"]);
    let mut behind = queue(&sandbox, &WAIT);
    assert_eq!(sandbox.run(["unfreeze", "x"]).code, 0);
    two.await_line("in");
    behind.await_line("in");
    let refused = three.output();
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("--slots 3 does not agree"), "{refused:?}");
    end(two);
    end(behind);
    nothing_is_left(&sandbox);
}

#[test]
fn who_has_which_slot_is_told() {
    let sandbox = sandbox();
    let holders = [hold(&sandbox), hold(&sandbox)];
    let status = sandbox.run(["status", "x", "--json"]).stdout;
    let status: Value = serde_json::from_str(&status).unwrap();
    let others = status["others"].as_array().unwrap();
    assert_eq!((&status["holders"], &status["slots"], others.len()), (&json!(2), &json!(2), 1), "{status:#}");
    for (holder, told) in holders.iter().zip([&status, &others[0]]) {
        let record = crate::helpers::holder(&sandbox, "x", holder);
        for field in ["pid", "slot", "lock_id", "token"] {
            assert_eq!(told[field], record[field], "{status:#}");
        }
        assert_eq!(told["pid_status"], "alive");
    }
    let why = sandbox.run(["why", "x"]);
    assert_eq!(why.code, 2, "{why:?}");
    for (at, holder) in holders.iter().enumerate() {
        assert!(why.stdout.contains(&format!("(PID {}, alive)", holder.pid())), "{}", why.stdout);
        assert!(why.stdout.contains(&format!("Slot: {} of 2", at + 1)), "{}", why.stdout);
    }
    let id = &record(&sandbox, "x")["joint"];
    assert_eq!(*id, status["lock_id"], "the joint record names the founder");
    holders.into_iter().for_each(end);
}

#[test]
fn unlock_must_say_which_of_several_guards_is_meant() {
    let sandbox = sandbox();
    let mut holders = [hold(&sandbox), hold(&sandbox)];
    let refused = sandbox.run(["unlock", "x"]);
    assert_eq!(refused.code, 64, "{refused:?}");
    assert!(refused.stderr.contains("lokt unlock x --force --lock-id"), "{refused:?}");
    assert!(holders.iter_mut().all(Running::runs));
    let [first, second] = holders;
    end(first);
    assert_eq!(sandbox.run(["unlock", "x"]).code, 4, "the one that is left is a guard's own");
    end(second);
}

#[test]
fn a_guard_that_is_named_is_ended_by_force_and_no_other() {
    let sandbox = sandbox();
    let three = ["guard", "x", "--slots", "3"];
    let (mut first, mut third) = (sandbox.hold(three), sandbox.hold(three));
    let mut named = hold_with(&sandbox, &three, COURTEOUS);
    let id = holder(&sandbox, "x", &named)["lock_id"].as_str().unwrap().to_owned();
    let own = sandbox.run(["unlock", "x", "--lock-id", &id]);
    assert_eq!(own.code, 4, "{own:?}");
    assert!(own.stderr.contains("a guard's own") && own.stderr.contains(&named.pid().to_string()), "{own:?}");
    assert_eq!(sandbox.run(["unlock", "x", "--force", "--lock-id", &id]).code, 0);
    assert_eq!((named.await_end(), work_file(&sandbox, "log")), (5, "term\n".to_owned()));
    assert!(first.runs() && third.runs());
    assert_eq!(holders(&sandbox, "x").len(), 2);
    let again = sandbox.run(["unlock", "x", "--force", "--lock-id", &id]);
    assert_eq!(again.code, 4, "it is gone, and the others are not meant: {again:?}");
    assert_eq!(sandbox.run(["unlock", "x", "--force"]).code, 0, "all of them");
    assert_eq!((first.await_end(), third.await_end()), (5, 5));
    nothing_is_left(&sandbox);
}

#[test]
fn a_waiter_that_is_killed_or_stopped_keeps_no_slot_from_those_behind() {
    let sandbox = sandbox();
    let (first, second) = (hold(&sandbox), hold(&sandbox));
    let mut line: Vec<Running> = (0..3).map(|_| queue(&sandbox, &WAIT)).collect();
    // First, as it is quiet now: it looks, under the mutex, when the one before it ends.
    stop(line[1].pid());
    line[0].signal(Signal::KILL);
    assert_eq!(line[0].await_end(), 137);
    end(first);
    line[2].await_line("in");
    line[1].signal(Signal::CONT);
    end(second);
    line[1].await_line("in");
    line.drain(1..).for_each(end);
    nothing_is_left(&sandbox);
}

/// What was taken to make room is told, though the room was of no use.
#[test]
fn a_stale_holder_that_made_room_in_vain_is_in_the_log_and_told() {
    if !strace_available("a full disk at the record of a slot") {
        return;
    }
    let sandbox = sandbox();
    let args = ["guard", "x", "--slots", "1", "--ttl", "1s"];
    let mut lapsed = hold_paused(&sandbox, &args, COURTEOUS);
    eventually("its lease has lapsed", || {
        sandbox.run(["lock", "x", "--slots", "1"]).stderr.contains("lapsed")
    });
    let full = ["write:error=ENOSPC:when=1"];
    let breaker = ["guard", "x", "--slots", "1", "--break-stale", "--", "true"];
    let failed = output(&mut traced(&sandbox, &full, &breaker));
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(holders(&sandbox, "x").is_empty());
    let log = fs::read_to_string(sandbox.root().join("audit.log")).unwrap();
    assert_eq!(log.matches(r#""event":"stale-break""#).count(), 1, "{log}");
    signal(lapsed.pid(), Signal::CONT);
    assert_eq!(lapsed.await_end(), 5);
}
