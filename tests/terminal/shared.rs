//! A guard that shares its job with others: a script, a pipeline.

use rustix::process::{Signal, kill_process};

use crate::jobs::ECHO;
use crate::pty::{AWAIT, COUNT, CTRL_C, CTRL_D, Pty, runs, script};

const READER: &str = "echo ready; read -r line; echo got-$line.";

#[test]
fn a_script_and_its_guarded_command_hear_ctrl_c_once_each() {
    let mut pty = Pty::shell();
    script(&pty.sandbox, "cmd", COUNT);
    script(&pty.sandbox, "all", "trap 'echo all-caught' INT; $LOKT guard x -- bash cmd; echo code-$?.");
    pty.line("bash all");
    pty.interrupt_counting();
    pty.expect("all-caught");
    pty.expect("code-0.");
    pty.prompt();
}

#[test]
fn ctrl_z_stops_a_script_and_fg_continues_it() {
    let mut pty = Pty::shell();
    script(&pty.sandbox, "cmd", ECHO);
    script(&pty.sandbox, "all", "$LOKT guard x -- bash cmd; echo code-$?.");
    pty.line("bash all");
    pty.expect("ready");
    for _ in 0..3 {
        pty.suspend();
        pty.foreground();
        pty.line("hello");
        pty.expect("got-hello.");
    }
    pty.line("");
    pty.expect("code-0.");
    pty.prompt();
}

#[test]
fn ctrl_c_ends_every_guard_of_a_pipeline() {
    let mut pty = Pty::shell();
    script(&pty.sandbox, "cmd", "echo ready > /dev/tty; exec cat");
    pty.line("$LOKT guard a -- bash cmd | $LOKT guard b -- bash cmd");
    pty.expect("ready");
    pty.expect("ready");
    pty.send(CTRL_C);
    pty.prompt();
    assert_eq!(pty.answer("echo codes-${PIPESTATUS[*]}-", "codes-"), "130 130");
    assert_eq!(pty.sandbox.leftovers(), Vec::<String>::new());
}

#[test]
fn a_pipeline_with_a_guard_in_front_stops_and_goes_on() {
    let mut pty = Pty::shell();
    pty.guarded(READER, "2>&1 | tee out");
    pty.expect("ready");
    pty.suspend();
    pty.foreground();
    pty.line("hello");
    pty.expect("got-hello.");
    pty.prompt();
}

#[test]
fn a_pipeline_with_a_guard_behind_stops_and_goes_on() {
    let mut pty = Pty::shell();
    script(&pty.sandbox, "cmd", READER);
    pty.line("cat | $LOKT guard x -- bash cmd");
    pty.expect("ready");
    pty.suspend();
    pty.foreground();
    pty.line("hello");
    pty.expect("got-hello.");
    pty.send(CTRL_D);
    pty.prompt();
}

#[test]
fn a_pipeline_in_the_background_that_reads_the_terminal_reads_it_in_the_foreground() {
    let mut pty = Pty::shell();
    pty.guarded(READER, "| cat &");
    pty.expect("Stopped");
    pty.foreground();
    pty.line("hello");
    pty.expect("got-hello.");
    pty.prompt();
}

#[test]
fn a_signal_to_a_guard_of_a_pipeline_reaches_its_command_and_nobody_elses() {
    let mut pty = Pty::shell();
    pty.guarded(
        &format!("echo $PPID > guard.pid; trap 'echo caught; exit 7' INT; echo ready; {AWAIT}"),
        "| cat",
    );
    pty.expect("ready");
    kill_process(pty.pid("guard.pid"), Signal::INT).unwrap();
    pty.expect("caught");
    pty.prompt();
    assert_eq!(pty.answer("echo codes-${PIPESTATUS[*]}-", "codes-"), "7 0");
}

#[test]
fn what_a_command_of_a_pipeline_has_orphaned_is_ended_with_it() {
    let mut pty = Pty::shell();
    script(&pty.sandbox, "orphan", "trap '' TERM HUP; echo $$ > orphan.pid; echo ready; read -r line < fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, pty.sandbox.work().join("fifo"), 0o600.into()).unwrap();
    script(&pty.sandbox, "cmd", "(bash orphan &); read -r line");
    pty.line("$LOKT guard x --kill-after 50ms -- bash cmd | cat");
    pty.expect("ready");
    assert_eq!(pty.beside(&["unlock", "x", "--force"]).code, 0);
    pty.prompt();
    assert!(!runs(pty.pid("orphan.pid")));
    assert_eq!(pty.answer("echo codes-${PIPESTATUS[*]}-", "codes-"), "5 0", "the others of its job live on");
}

#[test]
fn what_a_command_of_a_pipeline_has_orphaned_is_told_from_what_its_shell_had_started_before() {
    let mut pty = Pty::shell();
    script(&pty.sandbox, "orphan", "trap '' TERM HUP; echo $$ > orphan.pid; echo ready; read -r line < fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, pty.sandbox.work().join("fifo"), 0o600.into()).unwrap();
    script(&pty.sandbox, "cmd", "(bash orphan &); read -r line");
    let older = "sleep 1000 > /dev/null & echo $! > older.pid";
    script(&pty.sandbox, "all", &format!("{older}; exec $LOKT guard x --kill-after 50ms -- bash cmd"));
    pty.line("bash all | cat");
    pty.expect("ready");
    assert_eq!(pty.beside(&["unlock", "x", "--force"]).code, 0);
    pty.prompt();
    assert!(!runs(pty.pid("orphan.pid")));
    assert!(runs(pty.pid("older.pid")));
    kill_process(pty.pid("older.pid"), Signal::KILL).unwrap();
}

#[test]
fn a_daemon_that_a_command_leaves_behind_keeps_nothing_and_lives() {
    let mut pty = Pty::shell();
    script(&pty.sandbox, "daemon", "echo $$ > daemon.pid; echo ready; read -r line < fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, pty.sandbox.work().join("fifo"), 0o600.into()).unwrap();
    pty.guarded("(bash daemon &) | read -r line", "| read -r line");
    pty.prompt();
    assert_eq!(pty.beside(&["exists", "x"]).code, 3);
    assert!(runs(pty.pid("daemon.pid")));
}

/// A command that is no group's leader goes to a session of its own with setsid, and no child of it does.
#[test]
fn a_command_in_a_session_of_its_own_is_ended_with_the_loss_of_its_lock() {
    let mut pty = Pty::shell();
    script(&pty.sandbox, "cmd", "echo $$ > cmd.pid; echo ready; exec sleep 60");
    script(&pty.sandbox, "all", "$LOKT guard x -- setsid bash cmd; echo code-$?.");
    pty.line("bash all");
    pty.expect("ready");
    assert_eq!(pty.beside(&["unlock", "x", "--force"]).code, 0);
    pty.expect("code-5.");
    assert!(!runs(pty.pid("cmd.pid")));
    pty.prompt();
}
