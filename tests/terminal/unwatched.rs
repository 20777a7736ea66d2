//! A guard with no shell to watch over it: directly on a terminal (ssh -tt, docker run -t), cut off, or without one.

use lokt_tests::sandbox::eventually;

use crate::pty::{COUNT, CTRL_C, CTRL_Z, Pty, runs, sandbox, script};

const READER: &str = "echo ready; read -r line; echo got-$line.";

/// Writes its process id, and waits for what never comes.
const SITTER: &str = "echo $$ > cmd.pid; echo ready; read -r line < fifo";

fn with_fifo(pty: &Pty) {
    rustix::fs::mkfifoat(rustix::fs::CWD, pty.sandbox.work().join("fifo"), 0o600.into()).unwrap();
}

#[test]
fn ctrl_z_stops_nobody_where_nobody_could_continue_it() {
    let mut pty = Pty::guard(&["guard", "x"], READER);
    pty.expect("ready");
    pty.send(CTRL_Z);
    pty.expect("^Z");
    pty.line("hello");
    pty.expect("got-hello.");
    assert_eq!(pty.end(), 0);
}

#[test]
fn ctrl_c_reaches_it_once_and_ends_it_with_a_plain_code() {
    let mut pty = Pty::guard(&["guard", "x"], &format!("{COUNT}; exec cat"));
    pty.interrupt_counting();
    // Twice: the terminal's echo, and cat's.
    pty.line("on");
    pty.expect("on\r\non\r\n");
    pty.send(CTRL_C);
    assert_eq!(pty.end(), 130);
}

#[test]
fn ctrl_z_at_a_waiter_that_nobody_could_continue_lets_it_wait() {
    let sandbox = sandbox();
    assert_eq!(sandbox.run(["lock", "x"]).code, 0);
    let guard = sandbox.lokt(["guard", "x", "--wait", "--", "echo", "in"]);
    let mut pty = Pty::start(sandbox, guard, 80, true);
    pty.expect("waiting");
    pty.send(CTRL_Z);
    pty.expect("^Z");
    assert_eq!(pty.beside(&["unlock", "x"]).code, 0);
    pty.expect("in\r\n");
    assert_eq!(pty.end(), 0);
}

#[test]
fn a_hangup_ends_the_command_of_a_guard_that_leads_the_session() {
    let script = "mkfifo fifo; echo $$ > cmd.pid; echo ready; read -r line < fifo";
    let mut pty = Pty::guard(&["guard", "x"], script);
    pty.expect("ready");
    pty.hang_up();
    assert_eq!(pty.end(), 129);
    assert!(!runs(pty.pid("cmd.pid")));
    assert_eq!(pty.beside(&["exists", "x"]).code, 3);
}

#[test]
fn a_hangup_ends_the_command_of_a_guard_in_a_shell() {
    let mut pty = Pty::shell();
    with_fifo(&pty);
    pty.guarded(SITTER, "");
    pty.expect("ready");
    pty.hang_up();
    eventually("the lock is released", || pty.beside(&["exists", "x"]).code == 3);
    assert!(!runs(pty.pid("cmd.pid")));
}

#[test]
fn a_hangup_ends_the_command_of_a_stopped_job() {
    let mut pty = Pty::shell();
    with_fifo(&pty);
    pty.guarded(SITTER, "");
    pty.expect("ready");
    pty.suspend();
    pty.hang_up();
    eventually("the lock is released", || pty.beside(&["exists", "x"]).code == 3);
    eventually("the command ends", || !runs(pty.pid("cmd.pid")));
}

#[test]
fn nohup_lets_the_command_outlive_its_terminal() {
    let mut pty = Pty::shell();
    with_fifo(&pty);
    script(&pty.sandbox, "cmd", "echo ready > /dev/tty; read -r line < fifo");
    pty.line("nohup $LOKT guard x -- bash cmd > out 2>&1 &");
    pty.expect("ready");
    pty.hang_up();
    pty.end();
    assert_eq!(pty.beside(&["exists", "x"]).code, 0);
    std::fs::write(pty.sandbox.work().join("fifo"), "go\n").unwrap();
    eventually("it comes to its end", || pty.beside(&["exists", "x"]).code == 3);
}

#[test]
fn a_terminal_that_went_away_while_the_guard_waited_is_none() {
    let mut pty = Pty::shell();
    assert_eq!(pty.beside(&["lock", "x"]).code, 0);
    script(&pty.sandbox, "cmd", "echo $$ > cmd.pid; ps -o pgid= -p $$ > group.pid; echo > done");
    pty.line("nohup $LOKT guard x --wait -- bash cmd > out 2>&1 &");
    let line = pty.sandbox.root().join("lines/x");
    eventually("it waits", || line.exists());
    pty.hang_up();
    pty.end();
    assert_eq!(pty.beside(&["unlock", "x"]).code, 0);
    let done = pty.sandbox.work().join("done");
    eventually("the command runs", || done.exists());
    assert_eq!(pty.pid("cmd.pid"), pty.pid("group.pid"), "it has a group of its own");
}

#[test]
fn a_terminal_that_does_not_control_it_is_read_like_any_file() {
    let sandbox = sandbox();
    script(&sandbox, "cmd", READER);
    let guard = sandbox.lokt(["guard", "x", "--", "bash", "cmd"]);
    let mut pty = Pty::start(sandbox, guard, 80, false);
    pty.expect("ready");
    pty.line("hello");
    pty.expect("got-hello.");
    assert_eq!(pty.end(), 0);
}
