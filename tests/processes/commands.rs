//! The command and what it starts: how it is found, signals, lingerers, daemons.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use lokt_tests::sandbox::{Sandbox, eventually, output, start, strace_available, throughout};
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};

use crate::helpers::{
    hold_with, holder_pid, is_gone, make_gate, open_gate, sandbox, signal, stop, traced, work_file, work_pid,
};

/// A command whose child notes the signal, and lingers until the gate opens.
const LINGERING: &str = "sh -c 'trap \"echo got >> log; read go < gate; echo left >> log; exit 0\" \
    INT TERM HUP QUIT; echo in; while :; do read line; done'; exit 3";

fn forwarded(sent: Signal) {
    let sandbox = sandbox();
    make_gate(&sandbox, "gate");
    let mut guard = hold_with(&sandbox, &["guard", "x", "--kill-after", "60s"], LINGERING);
    guard.signal(sent);
    eventually("the grandchild gets the signal", || work_file(&sandbox, "log").contains("got"));
    let denied = sandbox.run(["guard", "x", "--", "true"]);
    assert_eq!(denied.code, 2, "a lingerer keeps the lock: {denied:?}");
    assert!(guard.runs());
    open_gate(&sandbox, "gate");
    assert_eq!(guard.await_end(), 128 + sent.as_raw());
    assert_eq!(work_file(&sandbox, "log"), "got\nleft\n");
    assert_eq!(sandbox.run(["guard", "x", "--", "true"]).code, 0);
}

#[test]
fn an_interrupt_reaches_grandchildren_and_waits_for_them() {
    forwarded(Signal::INT);
}

#[test]
fn a_termination_reaches_grandchildren_and_waits_for_them() {
    forwarded(Signal::TERM);
}

#[test]
fn a_hangup_reaches_grandchildren_and_waits_for_them() {
    forwarded(Signal::HUP);
}

#[test]
fn a_quit_reaches_grandchildren_and_waits_for_them() {
    forwarded(Signal::QUIT);
}

#[test]
fn a_signal_that_asks_for_an_end_is_heard_by_a_command_that_is_stopped() {
    for sent in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT] {
        let sandbox = sandbox();
        let script = "trap 'echo got >> log; exit 9' INT TERM HUP QUIT; echo $$ > pid; echo in; read line";
        let mut guard = hold_with(&sandbox, &["guard", "x"], script);
        stop(work_pid(&sandbox, "pid"));
        guard.signal(sent);
        assert_eq!(guard.await_end(), 9, "{sent:?}");
        assert_eq!(work_file(&sandbox, "log"), "got\n");
    }
}

#[test]
fn nor_is_it_lost_on_the_command_of_an_inner_guard() {
    let sandbox = sandbox();
    let command = r#"trap 'echo got >> log; exit 9' TERM; echo $$ > pid; echo in; read line"#;
    let command = command.replace('$', "\\$");
    let script = format!("exec \"$LOKT\" guard y -- sh -c \"{command}\"");
    let mut guard = hold_with(&sandbox, &["guard", "x"], &script);
    stop(work_pid(&sandbox, "pid"));
    guard.signal(Signal::TERM);
    assert_eq!(guard.await_end(), 9);
    assert_eq!(work_file(&sandbox, "log"), "got\n", "once");
}

#[test]
fn what_a_command_that_was_killed_leaves_running_is_asked_to_end() {
    let sandbox = sandbox();
    let child = "trap 'echo left > log; exit' TERM; echo in; while :; do read line; done";
    let script = format!("sh -c \"{child}\" & read go < gate; kill -KILL $$");
    make_gate(&sandbox, "gate");
    let mut guard = hold_with(&sandbox, &["guard", "x", "--kill-after", "60s"], &script);
    open_gate(&sandbox, "gate");
    assert_eq!(guard.await_end(), 128 + Signal::KILL.as_raw());
    assert_eq!(work_file(&sandbox, "log"), "left\n");
}

/// As with `perl -e 'alarm 60; exec @ARGV' lokt guard …`.
#[test]
fn a_command_whose_time_is_up_hears_the_alarm_that_the_guard_gets() {
    let sandbox = sandbox();
    let script = "trap 'echo cleaned > log; exit 0' ALRM; echo in; while :; do read line; done";
    let mut guard = hold_with(&sandbox, &["guard", "x", "--ttl", "5m"], script);
    guard.signal(Signal::ALARM);
    assert_eq!(guard.await_end(), 0);
    assert_eq!(work_file(&sandbox, "log"), "cleaned\n");
}

#[test]
fn a_command_that_survives_a_signal_ends_with_its_own_code() {
    let sandbox = sandbox();
    let script = "trap 'echo got; read go < gate; exit 9' TERM; echo in; while :; do read line; done";
    make_gate(&sandbox, "gate");
    let mut guard = hold_with(&sandbox, &["guard", "x"], script);
    guard.signal(Signal::TERM);
    guard.await_line("got");
    assert_eq!(sandbox.run(["lock", "x"]).code, 2);
    open_gate(&sandbox, "gate");
    assert_eq!(guard.await_end(), 9);
}

#[test]
fn what_a_command_leaves_running_that_has_survived_a_hangup_keeps_nothing_locked() {
    let sandbox = sandbox();
    let daemon = "trap '' HUP; sleep 1000 <&- >/dev/null 2>&1 & echo $! > daemon";
    let script = format!(
        "{daemon}; trap 'echo reloaded' HUP; echo in; while [ ! -e go ]; do sleep 0.02; done; exit 0"
    );
    let mut guard = hold_with(&sandbox, &["guard", "x", "--kill-after", "0s"], &script);
    let daemon = work_pid(&sandbox, "daemon");
    guard.signal(Signal::HUP);
    guard.await_line("reloaded");
    fs::write(sandbox.work().join("go"), "").unwrap();
    assert_eq!(guard.await_end(), 0);
    assert_eq!(sandbox.run(["guard", "x", "--", "true"]).code, 0);
    assert!(!is_gone(daemon));
    signal(daemon, Signal::KILL);
}

#[test]
fn a_lingerer_is_killed_after_its_grace() {
    let sandbox = sandbox();
    let script = "sh -c 'trap \"\" TERM; echo $$ > pid; echo in; while :; do read line; done' & wait";
    let script = format!("exec 3<&0; {}", script.replace("read line", "read line <&3"));
    let mut guard = hold_with(&sandbox, &["guard", "x", "--kill-after", "100ms"], &script);
    guard.signal(Signal::TERM);
    assert_eq!(guard.await_end(), 143);
    assert!(is_gone(work_pid(&sandbox, "pid")));
    assert_eq!(sandbox.run(["guard", "x", "--", "true"]).code, 0);
}

#[test]
fn a_lingerer_is_killed_by_a_guard_that_can_open_nothing_any_more() {
    let sandbox = sandbox();
    let lingerer = "sh -c 'trap \"\" TERM; echo $$ > pid; echo in; read line <&3' & wait";
    let script = format!("exec 3<&0; {lingerer}");
    let mut guard = hold_with(&sandbox, &["guard", "x", "--kill-after", "100ms"], &script);
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    prlimit(Pid::from_raw(holder_pid(&sandbox, "x")), Resource::Nofile, none).unwrap();
    guard.signal(Signal::TERM);
    assert_eq!(guard.await_end(), 143);
    assert!(is_gone(work_pid(&sandbox, "pid")));
}

#[test]
fn a_daemon_that_is_left_behind_keeps_nothing_locked() {
    let sandbox = sandbox();
    let script =
        "setsid sleep 1000 < /dev/null > /dev/null 2>&1 & echo $! > daemon; echo in; read line; exit 0";
    let mut guard = hold_with(&sandbox, &["guard", "x"], script);
    let daemon = work_pid(&sandbox, "daemon");
    assert!(holds_flock(daemon), "the test sees a flock");
    guard.let_go();
    assert_eq!(guard.await_end(), 0);
    assert!(holds_session(&sandbox, daemon), "it has inherited the descriptor");
    assert!(!holds_flock(daemon), "whoever sleeps on the session would sleep on");
    assert_eq!(sandbox.run(["guard", "x", "--", "true"]).code, 0);
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
    assert!(!is_gone(daemon));
    signal(daemon, Signal::KILL);
}

#[test]
fn a_command_that_ends_just_after_its_guard_has_looked_is_noticed() {
    if !strace_available("a command that ends just after its guard has looked") {
        return;
    }
    for terms in [&["guard", "x", "--", "true"][..], &["guard", "x", "--ttl", "10m", "--", "true"]] {
        let sandbox = sandbox();
        // The guard's first look finds the command running, and takes longer than the command.
        let slow = ["wait4:delay_exit=500000:when=1"];
        let mut guard = start(&mut traced(&sandbox, &slow, terms));
        assert_eq!(guard.await_end(), 0);
    }
}

/// Whether a descriptor of a process holds a flock (proc(5), `fdinfo`).
fn holds_flock(pid: i32) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap();
    descriptors
        .flatten()
        .any(|entry| fs::read_to_string(entry.path()).is_ok_and(|info| info.contains("FLOCK")))
}

/// Whether a process has the file of a session of `x` open.
fn holds_session(sandbox: &Sandbox, pid: i32) -> bool {
    let sessions = sandbox.root().join("sessions");
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    descriptors
        .flatten()
        .any(|entry| fs::read_link(entry.path()).is_ok_and(|file| file.starts_with(&sessions)))
}

/// Writes an executable file.
fn write_program(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_script_that_names_no_interpreter_is_run_by_the_shell() {
    let sandbox = sandbox();
    write_program(&sandbox.work().join("bare"), "echo \"ran $0 with $1 under $LOKT_NAME\"\n");
    let run = sandbox.run(["guard", "x", "--", "./bare", "an argument"]);
    assert_eq!((run.code, run.stdout.as_str()), (0, "ran ./bare with an argument under x\n"), "{run:?}");
}

#[test]
fn the_search_path_is_searched_as_a_shell_does_it() {
    let sandbox = sandbox();
    let dir = |name: &str| sandbox.work().join(name);
    write_program(&dir("first/other"), "#!/bin/sh\necho other\n");
    write_program(&dir("locked/tool"), "#!/bin/sh\necho locked\n");
    fs::set_permissions(dir("locked/tool"), fs::Permissions::from_mode(0o644)).unwrap();
    write_program(&dir("last/tool"), "#!/bin/sh\necho last\n");
    write_program(&dir("tool"), "#!/bin/sh\necho here\n");
    let run = |path: &str| {
        let mut command = sandbox.lokt(["guard", "x", "--", "tool"]);
        command.env("PATH", path);
        output(&mut command)
    };
    let found = run("first:missing:first/other:locked:last");
    assert_eq!(
        (found.code, found.stdout.as_str()),
        (0, "last\n"),
        "what may not be run is passed over: {found:?}"
    );
    assert_eq!(run("first::last").stdout, "here\n", "an empty part is the working directory");
    assert_eq!(run("").stdout, "here\n", "and so is no path at all");
    assert_eq!(run("first:locked").code, 126, "found, but not to be run");
    assert_eq!(run("first:missing").code, 127);
}

#[test]
fn what_forks_and_ends_over_and_over_is_ended_too() {
    let chain = "trap '' TERM; [ -e goes ] || exit; echo >> log; sh chain &";
    let script = "exec bash -c 'set -m; sh chain & echo in; read line'";
    // Where it is when it is looked for is as it comes.
    for _ in 0..6 {
        let sandbox = sandbox();
        fs::write(sandbox.work().join("chain"), chain).unwrap();
        fs::write(sandbox.work().join("goes"), "").unwrap();
        let mut guard = hold_with(&sandbox, &["guard", "x", "--kill-after", "50ms"], script);
        eventually("it goes on", || work_file(&sandbox, "log").len() > 5);
        assert_eq!(sandbox.run(["unlock", "x", "--force"]).code, 0);
        assert_eq!(guard.await_end(), 5);
        let done = work_file(&sandbox, "log").len();
        throughout(Duration::from_millis(60), "nobody is left", || work_file(&sandbox, "log").len() == done);
    }
}
