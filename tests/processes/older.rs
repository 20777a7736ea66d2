//! A guard with older children: it was exec'd by a shell that had started something. It adopts their orphans with those of its
//! command.

use std::fs;
use std::process::Stdio;

use lokt_tests::sandbox::{Running, Sandbox, eventually, start};
use rustix::process::Signal;

use crate::helpers::{
    await_state, holder_pid, is_gone, make_gate, open_gate, sandbox, signal, stat_field, work_file, work_pid,
};

/// Does not end when it is asked to.
const STUBBORN: &str = "trap '' TERM; echo > up; read line <> idle";

/// Notes when it is asked to end, and does when the gate opens.
const LINGERING: &str =
    "trap 'echo got > log; read go < gate; exit' TERM; echo > up; while :; do read line <> idle; done";

/// Leaves an orphan behind in a process group of its own, and says so.
const IN_A_JOB: &str =
    "set -m; ( sh orphan & echo $! > pid ) & read up < up; wait; echo in; read line; kill -KILL $$";

/// The same in the command's group, with no environment.
const UNNAMED: &str = "( env -i sh orphan & echo $! > pid ); read up < up; echo in; read line; kill -KILL $$";

/// The older child of most.
const OLDER: &str = "sleep 1000 < /dev/null > /dev/null 2>&1 & echo $! > older; ";

/// So many times something restless is asked to end.
const RESTLESS: usize = 40;

/// A place with the scripts `cmd` and `orphan`.
fn scripts(cmd: &str, orphan: &str) -> Sandbox {
    let sandbox = sandbox();
    ["up", "idle", "gate"].iter().for_each(|fifo| make_gate(&sandbox, fifo));
    for (script, content) in [("cmd", cmd), ("orphan", orphan)] {
        fs::write(sandbox.work().join(script), content).unwrap();
    }
    sandbox
}

/// Runs `script` in a shell that finds the program as `$LOKT`, until a command has said `in`.
fn hold(sandbox: &Sandbox, script: &str) -> Running {
    let mut shell = sandbox.command("bash");
    let mut guard = start(shell.args(["-c", script]).stdin(Stdio::piped()));
    guard.await_line("in");
    guard
}

fn force(sandbox: &Sandbox, name: &str) {
    assert_eq!(sandbox.run(["unlock", name, "--force"]).code, 0);
}

/// What is not the command's is left alone.
fn lives_on(sandbox: &Sandbox, file: &str) {
    let pid = work_pid(sandbox, file);
    assert!(!is_gone(pid), "{file}");
    signal(pid, Signal::KILL);
}

#[test]
fn what_its_command_has_orphaned_is_ended_with_the_loss_of_any_of_its_locks() {
    for (names, lost) in [("x", "x"), ("x --ttl 10m", "x"), ("x,y", "x"), ("x,y", "y")] {
        let sandbox = scripts(IN_A_JOB, STUBBORN);
        let guard = format!("{OLDER} exec $LOKT guard {names} --kill-after 50ms -- bash cmd");
        let mut guard = hold(&sandbox, &guard);
        force(&sandbox, lost);
        assert_eq!(guard.await_end(), 5);
        assert!(is_gone(work_pid(&sandbox, "pid")), "{names}");
        lives_on(&sandbox, "older");
    }
}

fn keeps_the_lock_until_it_is_gone(cmd: &str) {
    let sandbox = scripts(cmd, LINGERING);
    let mut guard = hold(&sandbox, &format!("{OLDER} exec $LOKT guard x --kill-after 60s -- bash cmd"));
    guard.let_go();
    eventually("the orphan is asked to end", || work_file(&sandbox, "log") == "got\n");
    assert_eq!(sandbox.run(["guard", "x", "--", "true"]).code, 2, "it keeps the lock");
    open_gate(&sandbox, "gate");
    assert_eq!(guard.await_end(), 128 + Signal::KILL.as_raw());
    assert!(is_gone(work_pid(&sandbox, "pid")));
    lives_on(&sandbox, "older");
}

#[test]
fn what_its_command_has_orphaned_keeps_the_lock_when_that_is_killed() {
    keeps_the_lock_until_it_is_gone(IN_A_JOB);
}

#[test]
fn what_has_no_environment_is_known_by_the_group_of_its_command() {
    keeps_the_lock_until_it_is_gone(UNNAMED);
}

/// Amid an exec a process has no environment. Orphans of older children that come and go make the guard look again and again.
#[test]
fn what_is_amid_an_exec_is_not_taken_for_gone() {
    let restless = "trap '' TERM; n=${1:-0}; [ $n = 0 ] && echo > up; [ $n = 1000 ] && { echo > end; exit; }
        exec sh orphan $((n + 1))";
    let sandbox = scripts(IN_A_JOB, restless);
    let older = "(while [ ! -e end ]; do (true &); (true &); (true &); done) &";
    let mut guard = hold(&sandbox, &format!("{older} exec $LOKT guard x --kill-after 60s -- bash cmd"));
    guard.let_go();
    assert_eq!(guard.await_end(), 128 + Signal::KILL.as_raw());
    let end = sandbox.work().join("end");
    let came_to_its_end = end.exists();
    fs::write(end, "").unwrap();
    assert!(came_to_its_end);
}

#[test]
fn what_is_amid_an_exec_is_asked_to_end_all_the_same() {
    let restless = "[ $1 ] || echo > up; [ -e goes ] || exit; exec sh orphan again";
    // How far it is with its exec is as it comes.
    for _ in 0..RESTLESS {
        let sandbox = scripts(IN_A_JOB, restless);
        fs::write(sandbox.work().join("goes"), "").unwrap();
        let mut guard = hold(&sandbox, &format!("{OLDER} exec $LOKT guard x --kill-after 10m -- bash cmd"));
        guard.let_go();
        assert_eq!(guard.await_end(), 128 + Signal::KILL.as_raw());
        lives_on(&sandbox, "older");
    }
}

#[test]
fn what_a_guard_inside_that_is_killed_has_orphaned_is_ended_with_the_outer_lock() {
    let sandbox = scripts(IN_A_JOB, STUBBORN);
    let inner = "$LOKT guard y -- bash cmd & wait; read line";
    fs::write(sandbox.work().join("outer"), inner.replace("bash cmd &", "bash cmd <&0 &")).unwrap();
    let mut guard = hold(&sandbox, &format!("{OLDER} exec $LOKT guard x --kill-after 50ms -- bash outer"));
    signal(holder_pid(&sandbox, "y"), Signal::KILL);
    let orphan = work_pid(&sandbox, "pid");
    eventually("it is adopted", || stat_field(orphan, 4) == guard.pid().to_string());
    force(&sandbox, "x");
    assert_eq!(guard.await_end(), 5);
    assert!(is_gone(orphan));
    lives_on(&sandbox, "older");
}

/// With what starts the shell of the guard of `y`.
fn what_older_children_leave_is_left_alone(around: &str) {
    let sandbox = scripts("echo in; read line", "");
    make_gate(&sandbox, "end");
    let stray = |how: &str, file: &str| format!("{how} sleep 1000 & echo $! > {file};");
    let older = format!("({} {} read go < end) > /dev/null 2>&1 &", stray("", "one"), stray("env -i", "two"));
    let shell = format!("{older} exec $LOKT guard y --kill-after 10m -- bash cmd");
    fs::write(sandbox.work().join("shell"), shell).unwrap();
    let mut guard = hold(&sandbox, &format!("exec {around} bash shell"));
    let parent = holder_pid(&sandbox, "y").to_string();
    open_gate(&sandbox, "end");
    for file in ["one", "two"] {
        let stray = work_pid(&sandbox, file);
        eventually("it is adopted", || stat_field(stray, 4) == parent);
    }
    // Whoever adopts has to notice an end.
    let ended = work_pid(&sandbox, "one");
    signal(ended, Signal::KILL);
    await_state(ended, "-");
    force(&sandbox, "y");
    assert_eq!(guard.await_end(), 5);
    lives_on(&sandbox, "two");
}

#[test]
fn what_older_children_leave_behind_is_neither_ended_nor_waited_for() {
    what_older_children_leave_is_left_alone("");
}

#[test]
fn nor_is_it_inside_another_guard_which_they_are_under_as_well() {
    what_older_children_leave_is_left_alone("$LOKT guard x --");
}

#[test]
fn an_older_child_that_is_a_guard_goes_on() {
    let sandbox = scripts("echo in; read line", "");
    make_gate(&sandbox, "ready");
    let other = "$LOKT guard z -- sh -c 'echo $$ > other; echo > ready; exec sleep 1000' < /dev/null > /dev/null 2>&1 &";
    let mut guard = hold(&sandbox, &format!("{other} read up < ready; exec $LOKT guard x -- bash cmd"));
    force(&sandbox, "x");
    assert_eq!(guard.await_end(), 5);
    assert_eq!(sandbox.run(["guard", "z", "--", "true"]).code, 2, "it holds its own");
    lives_on(&sandbox, "other");
}
