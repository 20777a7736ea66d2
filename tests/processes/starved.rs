//! What a guard was started without: room to say something, a signal, a thread, its own `/proc`.

use std::fs;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use lokt_tests::sandbox::{Running, Sandbox, available, eventually, output, start, strace_available};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::{Errno, write};
use rustix::pipe::pipe;
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};

use crate::helpers::{HOLD, record, sandbox, traced, waiters, with_script};

/// Both ends of a pipe that is full.
fn full_pipe() -> (OwnedFd, OwnedFd) {
    let (reader, writer) = pipe().unwrap();
    fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
    while write(&writer, &[b'x'; 4096]) != Err(Errno::AGAIN) {}
    fcntl_setfl(&writer, OFlags::empty()).unwrap();
    (reader, writer)
}

fn start_mute(command: &mut Command, stderr: &OwnedFd) -> Running {
    Running::of(command.stdout(Stdio::piped()).stderr(stderr.try_clone().unwrap()))
}

#[test]
fn a_command_that_loses_its_lock_is_killed_though_nobody_reads_what_is_said() {
    let (_reader, writer) = full_pipe();
    let sandbox = sandbox();
    // The guard has adopted what ends 50 ms after SIGTERM, and is told so while it looks for room.
    let stubborn = "exec 2> /dev/null; ((trap 'sleep 0.05; exit' TERM; echo in; while :; do sleep 1; done) &); \
                    trap '' TERM; while :; do sleep 1; done";
    let mut guard = sandbox.lokt(["guard", "x", "--kill-after", "300ms"]);
    let mut guard = start_mute(with_script(&mut guard, stubborn), &writer);
    guard.await_line("in");
    assert_eq!(sandbox.run(["unlock", "x", "--force"]).code, 0);
    assert_eq!(guard.await_end(), 5);
}

#[test]
fn a_waiter_gets_in_though_nobody_reads_what_is_said_and_signals_come() {
    let (_reader, writer) = full_pipe();
    let sandbox = sandbox();
    let mut holder = sandbox.hold(["guard", "x"]);
    let mut waiter = sandbox.lokt(["guard", "x", "--wait"]);
    let mut waiter = start_mute(with_script(&mut waiter, "echo in"), &writer);
    eventually("it stands in line", || waiters(&sandbox, "x") == 1);
    holder.let_go();
    eventually("it is in, or hangs", || {
        waiter.signal(Signal::CONT);
        record_of(&sandbox).is_none_or(|record| record["pid"] == waiter.pid())
    });
    (0..20).for_each(|_| waiter.signal(Signal::CONT));
    waiter.await_line("in");
    assert_eq!(waiter.await_end(), 0);
}

fn record_of(sandbox: &Sandbox) -> Option<serde_json::Value> {
    serde_json::from_slice(&fs::read(sandbox.record("x")).ok()?).ok()
}

#[test]
fn whoever_can_only_wait_to_be_read_is_ended_by_a_signal() {
    let sandbox = sandbox();
    let _holder = sandbox.hold(["guard", "x"]);
    for args in [&["guard", "x", "--", "true"][..], &["lock", "x"], &["guard", "y", "--", "no-such-command"]]
    {
        let (reader, writer) = full_pipe();
        let mut mute = start_mute(&mut sandbox.lokt(args), &writer);
        let in_write = || fs::read_to_string(format!("/proc/{}/wchan", mute.pid())).unwrap_or_default();
        eventually("it waits for room", || in_write().contains("pipe"));
        mute.signal(Signal::TERM);
        assert_eq!(mute.await_end(), 143, "{args:?}");
        drop(reader);
    }
}

#[test]
fn a_watch_that_nobody_reads_is_ended_by_a_signal() {
    let sandbox = sandbox();
    for name in 0..60 {
        let note = "n".repeat(100);
        assert_eq!(sandbox.run(["lock", &format!("lock-{name}"), "--note", &note]).code, 0);
    }
    let (_reader, full) = full_pipe();
    let (reader, almost) = full_pipe();
    // Room for a message, but not for all of it.
    rustix::io::read(&reader, &mut [0; 4096]).unwrap();
    for stdout in [full, almost] {
        let mut watch = sandbox.lokt(["status", "--watch"]);
        let mut watch = Running::of(watch.stdout(stdout).stderr(Stdio::piped()));
        let in_write = || fs::read_to_string(format!("/proc/{}/wchan", watch.pid())).unwrap_or_default();
        eventually("it waits for room", || in_write().contains("pipe"));
        watch.signal(Signal::TERM);
        assert_eq!(watch.await_end(), 143);
    }
}

/// A process that starts lokt with this signal held back.
fn held_back(sandbox: &Sandbox, signal: &str, args: &[&str]) -> Command {
    let mut command = sandbox.command("env");
    command.arg(format!("--block-signal={signal}")).arg(env!("CARGO_BIN_EXE_lokt-under-test")).args(args);
    command
}

#[test]
fn a_guard_that_was_started_with_sigchld_held_back_hears_of_its_commands_end() {
    let blocks = Command::new("env").args(["--block-signal=CHLD", "true"]).output();
    if !blocks.is_ok_and(|tried| tried.status.success()) {
        return lokt_tests::skipped::skipped(
            lokt_tests::skipped::Lack::behind("env"),
            "SIGCHLD held back: this env can't do it",
        );
    }
    let sandbox = sandbox();
    let mut guard = start(with_script(&mut held_back(&sandbox, "CHLD", &["guard", "x"]), HOLD));
    guard.await_line("in");
    // Longer than the guard looks for itself.
    eventually("it has its heartbeat", || tasks(guard.pid()) > 1);
    guard.let_go();
    assert_eq!(guard.await_end(), 0);
    let command = ["guard", "x", "--", "grep", "SigBlk", "/proc/self/status"];
    let told = output(&mut held_back(&sandbox, "CHLD", &command));
    assert!(told.stdout.trim_end().ends_with("10000"), "the command has it held back still: {told:?}");
}

fn tasks(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

#[test]
fn a_guard_that_can_start_no_thread_keeps_its_lock_and_notices_its_loss() {
    if !strace_available("a guard without threads") {
        return;
    }
    for terms in [&[][..], &["--ttl", "1s"]] {
        let sandbox = sandbox();
        let args: Vec<&str> = ["guard", "x"].iter().chain(terms).copied().collect();
        let mut traced = traced(&sandbox, &["clone3:error=EAGAIN"], &args);
        let mut guard = start(with_script(&mut traced, HOLD));
        guard.await_line("in");
        assert!(guard.await_stderr("warning").contains("without a thread"));
        if !terms.is_empty() {
            eventually("it is renewed", || record(&sandbox, "x")["renewals"].as_u64() > Some(3));
        }
        assert_eq!(sandbox.run(["unlock", "x", "--force"]).code, 0);
        assert_eq!(guard.await_end(), 5, "{terms:?}");
    }
}

#[test]
fn a_guard_that_can_open_nothing_any_more_notices_a_removal_by_force() {
    let sandbox = sandbox();
    let mut guard = sandbox.hold(["guard", "x"]);
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    prlimit(Pid::from_raw(guard.pid()), Resource::Nofile, none).unwrap();
    assert_eq!(sandbox.run(["unlock", "x", "--force"]).code, 0);
    assert_eq!(guard.await_end(), 5);
}

/// With the `/proc` of another namespace, where the guard's process id is another process's.
fn elsewhere(sandbox: &Sandbox, script: &str) -> Command {
    let mut command = sandbox.command("unshare");
    command.args(["--pid", "--fork", "--kill-child", "sh", "-c", script]).stdin(Stdio::piped());
    command
}

#[test]
fn nobody_else_is_ended_by_numbers_of_another_proc() {
    if !available("the /proc of another namespace", Command::new("unshare").args(["--pid", "--fork", "true"]))
    {
        return;
    }
    let sandbox = sandbox();
    let script = "$LOKT guard x --kill-after 1s -- sleep 60 & guard=$!
        for i in 1 2 3 4 5 6 7 8; do sleep 6$i & others=\"$others $!\"; done
        until $LOKT exists x; do :; done
        kill -TERM $guard; wait $guard; echo guard $?
        for other in $others; do kill -0 $other && echo spared; kill $other; done";
    let out = output(&mut elsewhere(&sandbox, script));
    assert_eq!(out.stdout.matches("spared").count(), 8, "{out:?}");
    assert!(out.stdout.starts_with("guard 143\n"), "{out:?}");
}

#[test]
fn on_a_file_system_without_rename_noreplace_a_guard_and_its_waiters_get_in() {
    if !strace_available("a file system without RENAME_NOREPLACE") {
        return;
    }
    let sandbox = sandbox();
    let lacking = ["renameat2:error=EINVAL"];
    let mut holder =
        start(with_script(&mut traced(&sandbox, &lacking, &["guard", "x", "--ttl", "5m"]), HOLD));
    holder.await_line("in");
    let mut waiter = traced(&sandbox, &lacking, &["guard", "x", "--wait"]);
    let mut waiter = start(with_script(&mut waiter, "echo in"));
    waiter.await_stderr("lokt: waiting");
    holder.let_go();
    assert_eq!(holder.await_end(), 0);
    waiter.await_line("in");
    assert_eq!(waiter.await_end(), 0);
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}
