//! A guard inside a guard: being inside is proved, not claimed.

use std::fs;

use lokt_tests::sandbox::{eventually, output, start, strace_available};
use rustix::process::Signal;

use crate::helpers::{
    calls, hold_with, holder_pid, holders, make_gate, nothing_is_left, open_gate, record, sandbox, signal,
    traced, work_file, work_pid,
};

fn straight_through(script: &str) {
    let sandbox = sandbox();
    let outer = output(sandbox.lokt(["guard", "x", "--", "sh", "-c", script]).env("IN", "x"));
    assert_eq!((outer.code, outer.stdout.as_str()), (0, "inner\n"), "{script}: {outer:?}");
}

#[test]
fn a_guard_of_the_same_name_runs_straight_through() {
    straight_through("$LOKT guard x -- echo inner");
    straight_through("$LOKT guard x --wait -- echo inner");
    straight_through("$LOKT guard x --ttl 5m -- echo inner; exit $?");
    straight_through("sh -c 'sh -c \"$LOKT guard x -- echo inner; exit\"; exit'");
}

#[test]
fn a_guard_of_the_same_name_runs_straight_through_with_another_in_between() {
    straight_through("$LOKT guard y -- $LOKT guard x -- echo inner");
    straight_through("$LOKT guard y -- $LOKT guard z -- $LOKT guard x -- $LOKT guard y -- echo inner");
}

#[test]
fn a_guard_runs_straight_through_with_one_of_its_name_in_another_root_in_between() {
    let within = "env LOKT_ROOT=$LOKT_ROOT $LOKT guard x -- echo inner";
    straight_through(&format!("LOKT_ROOT=$PWD/other $LOKT guard x -- {within}"));
    let tokens = "test \"$LOKT_TOKENS\" = \"x:$LOKT_TOKEN\" && echo inner";
    straight_through(&format!("LOKT_ROOT=$PWD/other $LOKT guard x -- sh -c '{tokens}'"));
}

#[test]
fn a_command_is_told_of_the_locks_that_its_own_guard_asks_for() {
    let told = |guards: &str, variables: &str| format!("$({guards} -- sh -c 'echo {variables}')");
    let (x, y, slot) = ("$LOKT guard x", "$LOKT guard y", "$LOKT guard g --slots 2");
    let inner = told(&format!("{y} -- {x}"), "$LOKT_NAME:$LOKT_TOKEN");
    straight_through(&format!("test {inner} = $LOKT_TOKENS && echo inner"));
    let inner = told(&format!("{slot} -- {y} -- {slot}"), "$LOKT_NAME $LOKT_SLOT");
    straight_through(&format!("test \"{inner}\" = 'g 1' && echo inner"));
    let inner = told(&format!("LOKT_ROOT=$PWD/other {x} -- env LOKT_ROOT=$LOKT_ROOT {x}"), "$LOKT_TOKENS");
    straight_through(&format!("test \"{inner}\" = $LOKT_TOKENS && echo inner"));
}

#[test]
fn a_signal_reaches_the_innermost_command_once() {
    if !strace_available("guards inside a guard, and who signals whom") {
        return;
    }
    let sandbox = sandbox();
    let innermost = "trap 'echo got' TERM; trap 'echo done' USR1; echo $$ > pid; echo in; \
        while [ ! -e go ]; do sleep 0.02; done";
    let within =
        ["guard", "x", "--", "sh", "-c", "trap : USR1; $LOKT guard y -- $LOKT guard z -- sh -c \"$0\""];
    let mut guard = start(traced(&sandbox, &[], &within).arg(innermost));
    guard.await_line("in");
    let command = work_pid(&sandbox, "pid");
    signal(holder_pid(&sandbox, "x"), Signal::TERM);
    guard.await_line("got");
    // The outer guard takes up the second when it has passed on all of the first.
    signal(holder_pid(&sandbox, "x"), Signal::USR1);
    guard.await_line("done");
    fs::write(sandbox.work().join("go"), "").unwrap();
    guard.await_end();
    let calls = calls(&sandbox);
    let to_it = |call: &&str| {
        [format!("kill({command}, SIGTERM"), format!("kill(-{command}, SIGTERM")]
            .iter()
            .any(|to| call.contains(to))
    };
    assert_eq!(calls.lines().filter(to_it).count(), 1, "{calls}");
}

#[test]
fn a_guard_is_inside_with_a_part_of_the_variables() {
    straight_through("env -u LOKT_NAME -u LOKT_LOCK_ID -u LOKT_TOKEN $LOKT guard x -- echo inner");
    straight_through("env -u LOKT_HELD $LOKT guard x -- echo inner");
}

#[test]
fn a_guard_without_any_of_the_variables_is_outside() {
    let sandbox = sandbox();
    let script = "env -u LOKT_NAME -u LOKT_LOCK_ID -u LOKT_HELD $LOKT guard x -- echo inner";
    let outer = sandbox.run(["guard", "x", "--", "sh", "-c", script]);
    assert_eq!((outer.code, outer.stdout.as_str()), (2, ""), "{outer:?}");
}

#[test]
fn an_inner_guard_gives_the_inner_commands_code_and_keeps_the_lock() {
    let sandbox = sandbox();
    let script = "$LOKT guard x -- sh -c 'exit 7'; echo $?; $LOKT status x > /dev/null; echo $?";
    let outer = sandbox.run(["guard", "x", "--", "sh", "-c", script]);
    assert_eq!((outer.code, outer.stdout.as_str()), (0, "7\n0\n"), "{outer:?}");
}

#[test]
fn copied_variables_do_not_make_a_process_an_insider() {
    let sandbox = sandbox();
    let holder = sandbox.hold(["guard", "x"]);
    let id = record(&sandbox, "x")["lock_id"].as_str().unwrap().to_owned();
    let mut copy = sandbox.lokt(["guard", "x", "--", "echo", "inner"]);
    copy.env("LOKT_NAME", "x")
        .env("LOKT_LOCK_ID", &id)
        .env("LOKT_TOKEN", "1")
        .env("LOKT_HELD", format!("x:{id}"));
    let denied = output(&mut copy);
    assert_eq!((denied.code, denied.stdout.as_str()), (2, ""), "{denied:?}");
    assert_eq!(holder.output().code, 0);
}

/// A grandchild that asks for the lock, as one inside, when the gate opens.
const LATER: &str = "exec 3>&-; (read go < gate; $LOKT guard x -- echo inner >> log 2>&1; \
    echo code $? >> log) < /dev/null > /dev/null 2>&1 & echo in";

#[test]
fn a_grandchild_that_outlived_its_guard_is_outside() {
    let sandbox = sandbox();
    make_gate(&sandbox, "gate");
    let mut guard = hold_with(&sandbox, &["guard", "x"], LATER);
    assert_eq!(guard.await_end(), 0);
    let holder = sandbox.hold(["guard", "x"]);
    open_gate(&sandbox, "gate");
    eventually("it has tried", || work_file(&sandbox, "log").contains("code"));
    let log = work_file(&sandbox, "log");
    assert!(log.ends_with("code 2\n") && !log.contains("inner"), "{log}");
    drop(holder);
}

fn of_a_killed_guard(noticed: bool) {
    let sandbox = sandbox();
    make_gate(&sandbox, "gate");
    let stays = format!("{LATER}; read line");
    let mut guard = hold_with(&sandbox, &["guard", "x"], &stays);
    guard.signal(Signal::KILL);
    if noticed {
        assert_eq!(guard.await_end(), 137);
    } else {
        crate::helpers::await_state(guard.pid(), "Z");
    }
    open_gate(&sandbox, "gate");
    eventually("it has tried", || work_file(&sandbox, "log").contains("code"));
    let log = work_file(&sandbox, "log");
    assert!(log.ends_with("code 2\n") && !log.contains("inner"), "{log}");
}

#[test]
fn a_grandchild_of_a_killed_guard_is_outside() {
    of_a_killed_guard(true);
}

#[test]
fn a_grandchild_of_a_killed_guard_is_outside_before_anybody_has_noticed() {
    of_a_killed_guard(false);
}

/// What a guard says and does in `outer`, and how many hold the name meanwhile.
fn nested(outer: &[&str], inner: &str) -> (i32, String, String) {
    let sandbox = sandbox();
    let script =
        format!("$LOKT guard x {inner} -- sh -c 'echo inner; ls $LOKT_ROOT/holders/x 2>/dev/null | wc -l'");
    let args = [&["guard", "x"], outer, &["--", "sh", "-c", &script]].concat();
    let ended = sandbox.run(args);
    nothing_is_left(&sandbox);
    (ended.code, ended.stdout, ended.stderr)
}

#[test]
fn whoever_holds_it_alone_is_inside_however_the_inner_guard_asks() {
    for inner in ["--shared", "--slots 2", "--shared --wait", "--slots 3 --wait"] {
        let (code, said, _) = nested(&[], inner);
        assert_eq!((code, said.as_str()), (0, "inner\n0\n"), "{inner}");
    }
}

#[test]
fn a_guard_inside_one_of_its_kind_takes_no_second_place() {
    for mode in ["--shared", "--slots=2"] {
        let (code, said, _) = nested(&[mode], mode);
        assert_eq!((code, said.as_str()), (0, "inner\n1\n"), "{mode}");
    }
}

#[test]
fn a_guard_that_would_wait_for_the_one_around_it_is_refused() {
    for (outer, inner) in [
        ("--shared", ""),
        ("--shared", "--slots 2"),
        ("--slots=2", ""),
        ("--slots=2", "--slots 3"),
        ("--slots=2", "--shared"),
    ] {
        for wait in ["", "--wait"] {
            let (code, said, error) = nested(&[outer], &format!("{inner} {wait}"));
            assert_eq!((code, said.as_str()), (64, ""), "{inner} in {outer}");
            let how = outer.replace('=', " ");
            assert!(error.contains(&format!("holds lock \"x\" with {how}")), "{inner} in {outer}: {error}");
            assert!(error.contains("ask for it in the outer guard"), "{error}");
        }
    }
}

#[test]
fn an_inner_guard_that_is_refused_one_name_takes_no_other() {
    let sandbox = sandbox();
    let script = "$LOKT guard a,x,z --wait -- echo inner; echo $?; ls $LOKT_ROOT/locks";
    let outer = sandbox.run(["guard", "x", "--shared", "--", "sh", "-c", script]);
    assert_eq!(outer.stdout, "64\nx.json\n", "{outer:?}");
}

#[test]
fn one_of_those_who_share_it_is_not_inside_of_another() {
    let sandbox = sandbox();
    let holder = sandbox.hold(["guard", "x", "--slots", "2"]);
    let id = holders(&sandbox, "x")[0]["lock_id"].as_str().unwrap().to_owned();
    let mut copy = sandbox.lokt(["guard", "x", "--slots", "2", "--", "sh", "-c", "echo $LOKT_SLOT"]);
    copy.env("LOKT_NAME", "x").env("LOKT_LOCK_ID", &id).env("LOKT_HELD", format!("x:{id}"));
    let beside = output(&mut copy);
    assert_eq!((beside.code, beside.stdout.as_str()), (0, "2\n"), "it has a slot of its own: {beside:?}");
    assert_eq!(holder.output().code, 0);
}
