//! A guard that is a job of an interactive shell by itself.

use std::process::Command;

use lokt_tests::sandbox::{available, eventually, strace_available};
use rustix::process::{Resource, Rlimit, Signal, kill_process, prlimit};

use crate::pty::{AWAIT, COUNT, CTRL_BACKSLASH, CTRL_C, CTRL_Z, Pty, is_pending, is_stopped, script};

/// Says which lines it reads, up to an empty one.
pub const ECHO: &str = "echo ready; while read -r line && [ $line ]; do echo got-$line.; done";

/// Says when it is ready, reads a line, says which.
const READER: &str = "echo ready; read -r line; echo got-$line.";

#[test]
fn ctrl_c_reaches_a_command_exactly_once() {
    let mut pty = Pty::shell();
    pty.guarded(COUNT, "");
    pty.interrupt_counting();
    pty.prompt();
    assert_eq!(pty.code(), "0");
}

#[test]
fn ctrl_c_reaches_what_a_command_has_started() {
    let mut pty = Pty::shell();
    script(
        &pty.sandbox,
        "inner",
        &format!("trap 'echo inner-caught' INT; echo ready; {AWAIT}; echo inner-$line."),
    );
    pty.guarded("trap 'echo outer-caught' INT; bash inner; echo over", "");
    pty.expect("ready");
    pty.send(CTRL_C);
    pty.expect("inner-caught");
    pty.line("done");
    pty.expect("inner-done.");
    pty.expect("outer-caught");
    pty.expect("over");
    pty.prompt();
}

#[test]
fn a_command_ended_by_ctrl_c_gives_a_plain_exit_code_and_frees_the_lock() {
    let mut pty = Pty::shell();
    pty.guarded("echo ready; exec cat", "; echo went-on");
    pty.expect("ready");
    pty.send(CTRL_C);
    pty.expect("went-on");
    pty.prompt();
    pty.guarded("echo ready; read -r line", "");
    pty.expect("ready");
    pty.send(CTRL_C);
    pty.prompt();
    assert_eq!(pty.code(), "130");
    assert_eq!(pty.beside(&["exists", "x"]).code, 3);
}

#[test]
fn ctrl_backslash_quits_the_command() {
    let mut pty = Pty::shell();
    pty.guarded("echo ready; exec cat", "");
    pty.expect("ready");
    // Twice: the terminal's echo, and cat's.
    pty.line("on");
    pty.expect("on\r\non\r\n");
    pty.send(CTRL_BACKSLASH);
    pty.prompt();
    assert_eq!(pty.code(), "131");
}

#[test]
fn ctrl_z_stops_the_job_and_fg_continues_it() {
    let mut pty = Pty::shell();
    pty.guarded(ECHO, "");
    pty.expect("ready");
    for _ in 0..3 {
        pty.suspend();
        assert_eq!(pty.beside(&["exists", "x"]).code, 0, "it is stopped, not gone");
        pty.foreground();
        pty.line("hello");
        pty.expect("got-hello.");
    }
    pty.line("");
    pty.prompt();
    assert_eq!(pty.code(), "0");
}

#[test]
fn ctrl_z_stops_a_job_whose_guard_can_read_no_proc() {
    let hides = ["--mount", "mount", "-t", "tmpfs", "none", "/proc"];
    if !available("a guard without /proc", Command::new("unshare").args(hides)) {
        return;
    }
    let mut pty = Pty::shell();
    script(&pty.sandbox, "cmd", ECHO);
    pty.line("exec unshare --mount bash --norc --noprofile -i");
    pty.prompt();
    pty.line("mount -t tmpfs none /proc");
    pty.prompt();
    pty.line("$LOKT guard x -- bash cmd");
    pty.expect("ready");
    for _ in 0..2 {
        pty.suspend();
        pty.foreground();
        pty.line("hello");
        pty.expect("got-hello.");
    }
    pty.line("");
    pty.prompt();
    assert_eq!(pty.code(), "0");
}

/// A script that tells who guards it, and who it is.
fn told(script: &str) -> String {
    format!("echo $PPID > guard.pid; echo $$ > pid; {script}")
}

/// Lets a stopped job go on while its guard can open nothing; then what is done `meanwhile`, before it can again.
fn resume_in_doubt(pty: &mut Pty, meanwhile: impl FnOnce(&Pty)) {
    let guard = Some(pty.pid("guard.pid"));
    let limit = |current| prlimit(guard, Resource::Nofile, Rlimit { current, maximum: Some(1_024) }).unwrap();
    // Enough to wait by.
    limit(Some(3));
    pty.foreground();
    pty.expect("can't be told");
    meanwhile(pty);
    limit(Some(1_024));
}

#[test]
fn a_job_goes_on_once_it_can_be_told_that_its_lock_is_still_there() {
    let mut pty = Pty::shell();
    pty.guarded(&told(READER), "");
    pty.expect("ready");
    pty.suspend();
    resume_in_doubt(&mut pty, |pty| assert!(is_stopped(pty.pid("pid")), "nothing has been proved"));
    pty.line("hello");
    pty.expect("got-hello.");
    pty.prompt();
    assert_eq!(pty.code(), "0");
}

#[test]
fn a_job_that_goes_on_is_ended_once_it_can_be_told_that_its_lock_is_anothers() {
    let mut pty = Pty::shell();
    pty.guarded(&told(READER), "");
    pty.expect("ready");
    pty.suspend();
    resume_in_doubt(&mut pty, |pty| {
        assert_eq!(pty.beside(&["lock", "y"]).code, 0);
        // At no instant there is none: that could be seen without opening it.
        std::fs::rename(pty.sandbox.record("y"), pty.sandbox.record("x")).unwrap();
    });
    pty.prompt();
    assert_eq!(pty.code(), "5");
}

#[test]
fn a_job_that_is_told_to_end_while_its_lock_is_in_doubt_has_only_so_much_time() {
    let mut pty = Pty::shell();
    script(&pty.sandbox, "cmd", &told("trap : TERM; echo ready; while :; do read -t 1 line; done"));
    pty.line("$LOKT guard x --kill-after 200ms -- bash cmd");
    pty.expect("ready");
    let (guard, command) = (pty.pid("guard.pid"), pty.pid("pid"));
    pty.suspend();
    resume_in_doubt(&mut pty, |_| {
        kill_process(guard, Signal::TERM).unwrap();
        eventually("its command goes on, or is gone", || !is_stopped(command));
    });
    pty.prompt();
    assert_eq!(pty.code(), "137");
}

#[test]
fn a_command_that_stops_while_its_guard_looks_for_the_lock_stops_its_job_no_more() {
    let mut pty = Pty::shell();
    let fifo = pty.sandbox.work().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, 0o600.into()).unwrap();
    let waits = "trap '' TSTP; trap : USR1 USR2; exec 3<>fifo; echo ready; until read -r go <&3; do :; done";
    pty.guarded(&told(&format!("{waits}; {READER}")), "");
    pty.expect("ready");
    let (guard, command) = (pty.pid("guard.pid"), pty.pid("pid"));
    kill_process(guard, Signal::TSTP).unwrap();
    pty.expect("Stopped");
    pty.prompt();
    resume_in_doubt(&mut pty, |_| {
        kill_process(command, Signal::STOP).unwrap();
        eventually("it is stopped", || is_stopped(command));
        // When the second has been sent on, it has been seen what had become of the command at the first.
        for signal in [Signal::USR1, Signal::USR2] {
            kill_process(guard, signal).unwrap();
            eventually("it is sent on", || is_pending(command, signal));
        }
        assert!(!is_stopped(guard));
    });
    std::fs::write(fifo, "go\n").unwrap();
    pty.expect("ready");
    pty.line("hello");
    pty.expect("got-hello.");
    pty.prompt();
    assert_eq!(pty.code(), "0");
}

/// Stops a job whose command is held up before its exec, finds the terminal to be the shell's, and lets the job go on.
fn suspend_at_the_start(call: &str) {
    let mut pty = Pty::shell();
    pty.guarded_slowly(READER, call);
    pty.suspend();
    pty.await_call("stopped by SIGTSTP");
    assert!(pty.is_the_leaders(), "the shell has its terminal");
    pty.foreground();
    pty.expect("ready");
    pty.line("hello");
    pty.expect("got-hello.");
    pty.prompt();
    assert_eq!(pty.code(), "0");
}

#[test]
fn ctrl_z_stops_a_job_whose_command_has_the_terminal_and_has_not_come_to_its_exec() {
    if strace_available("Ctrl-Z stops a job whose command has not come to its exec") {
        suspend_at_the_start("execve");
    }
}

#[test]
fn a_command_that_was_about_to_take_the_terminal_leaves_it_to_the_shell_once_its_job_is_stopped() {
    if strace_available("a command leaves the terminal to the shell once its job is stopped") {
        // With the first it asks who has the terminal.
        suspend_at_the_start("ioctl");
    }
}

#[test]
fn a_stopped_job_goes_on_in_the_background_until_it_needs_the_terminal() {
    let mut pty = Pty::shell();
    pty.guarded("echo ready; read -r go < fifo; echo working; read -r line; echo got-$line.", "");
    rustix::fs::mkfifoat(rustix::fs::CWD, pty.sandbox.work().join("fifo"), 0o600.into()).unwrap();
    pty.expect("ready");
    pty.suspend();
    pty.line("bg; echo > fifo");
    pty.expect("working");
    pty.expect("Stopped");
    pty.foreground();
    pty.line("hello");
    pty.expect("got-hello.");
    pty.prompt();
}

#[test]
fn a_background_command_that_reads_the_terminal_stops_and_reads_it_in_the_foreground() {
    let mut pty = Pty::shell();
    pty.guarded(READER, "&");
    pty.expect("ready");
    pty.expect("Stopped");
    pty.foreground();
    pty.line("hello");
    pty.expect("got-hello.");
    pty.prompt();
}

#[test]
fn a_running_job_that_comes_to_the_foreground_may_read_the_terminal() {
    let mut pty = Pty::shell();
    rustix::fs::mkfifoat(rustix::fs::CWD, pty.sandbox.work().join("fifo"), 0o600.into()).unwrap();
    pty.guarded("echo ready; read -r go < fifo; read -r line; echo got-$line.", "&");
    pty.expect("ready");
    pty.foreground();
    std::fs::write(pty.sandbox.work().join("fifo"), "go\n").unwrap();
    pty.line("hello");
    pty.expect("got-hello.");
    pty.prompt();
}

#[test]
fn a_command_that_suspends_itself_stops_its_job() {
    let mut pty = Pty::shell();
    pty.guarded("echo ready; kill -STOP $$; echo again", "");
    pty.expect("Stopped");
    pty.foreground();
    pty.expect("again");
    pty.prompt();
}

#[test]
fn a_job_killed_by_its_shell_ends_with_what_it_has_started() {
    let mut pty = Pty::shell();
    script(&pty.sandbox, "inner", "trap '' HUP; echo $BASHPID > inner.pid; echo ready; exec sleep 1000");
    // What starts in a group of its own, as under timeout(1), is the command's as well.
    pty.guarded("set -m; bash inner & wait", "&");
    pty.expect("ready");
    pty.line("kill %1; wait %1");
    pty.expect("Exit 143");
    assert!(!crate::pty::runs(pty.pid("inner.pid")), "it ended before the lock was free");
    assert_eq!(pty.beside(&["exists", "x"]).code, 3);
}

#[test]
fn jobs_of_a_guarded_shell_are_its_own() {
    let mut pty = Pty::shell();
    pty.line("$LOKT guard x -- bash --norc --noprofile -i");
    pty.prompt();
    script(&pty.sandbox, "inner", "echo ready; read -r line");
    pty.line("bash inner");
    pty.expect("ready");
    pty.send(CTRL_Z);
    pty.expect("Stopped");
    pty.prompt();
    pty.line("suspend");
    pty.expect("Stopped");
    pty.prompt();
    pty.foreground();
    assert_eq!(pty.answer("echo in-$(jobs -s | wc -l)-", "in-"), "1", "its job is still stopped");
    pty.line("exit");
    pty.expect("There are stopped jobs.");
    pty.prompt();
    pty.line("exit");
    pty.prompt();
    assert_eq!(pty.answer("echo out-$LOKT_NAME-", "out-"), "", "this is the outer one");
}

#[test]
fn a_guard_in_a_guard_stops_and_continues_as_one() {
    let mut pty = Pty::shell();
    script(&pty.sandbox, "inner", READER);
    pty.line("$LOKT guard a -- $LOKT guard b -- bash inner");
    pty.expect("ready");
    pty.suspend();
    pty.foreground();
    pty.line("hello");
    pty.expect("got-hello.");
    pty.prompt();
}

#[test]
fn a_signal_to_the_guard_reaches_a_command_that_is_in_the_foreground() {
    let mut pty = Pty::shell();
    pty.guarded(&format!("echo $PPID > guard.pid; trap 'echo caught; exit 7' INT; echo ready; {AWAIT}"), "");
    pty.expect("ready");
    kill_process(pty.pid("guard.pid"), Signal::INT).unwrap();
    pty.expect("caught");
    pty.prompt();
    assert_eq!(pty.code(), "7");
}

#[test]
fn a_guard_that_ignores_interrupts_runs_a_command_that_does() {
    let mut pty = Pty::shell();
    script(&pty.sandbox, "cmd", READER);
    pty.line("(trap '' INT; exec $LOKT guard x -- bash cmd)");
    pty.expect("ready");
    pty.send(CTRL_C);
    pty.expect("^C");
    pty.line("hello");
    pty.expect("got-hello.");
    pty.prompt();
}

#[test]
fn a_redirected_command_may_still_ask_on_the_terminal() {
    let mut pty = Pty::shell();
    pty.guarded(
        "echo Password: > /dev/tty; read -r line < /dev/tty; echo got-$line",
        "< /dev/null > out 2>&1",
    );
    pty.expect("Password:");
    pty.line("hello");
    pty.prompt();
    eventually("it was read", || {
        std::fs::read_to_string(pty.sandbox.work().join("out")).is_ok_and(|out| out == "got-hello\n")
    });
}

#[test]
fn a_command_treats_signals_as_it_would_without_a_guard() {
    let mut pty = Pty::shell();
    script(
        &pty.sandbox,
        "cmd",
        "while read -r line; do [[ $line == Sig* ]] && echo $line; done < /proc/$$/status",
    );
    pty.line("bash cmd > bare; $LOKT guard x -- bash cmd > guarded");
    pty.prompt();
    let [bare, guarded] = ["bare", "guarded"].map(|file| {
        let text = std::fs::read_to_string(pty.sandbox.work().join(file)).unwrap();
        // The queue's length is everybody's.
        text.lines().filter(|line| !line.starts_with("SigQ")).map(str::to_owned).collect::<Vec<_>>()
    });
    assert_eq!(bare.len(), 4, "pending, blocked, ignored, caught");
    assert_eq!(guarded, bare);
}
