//! A lock that is lost while its command has the terminal.

use std::fs;

use lokt_tests::sandbox::eventually;

use crate::pty::{Pty, runs, script};

#[test]
fn a_job_whose_lease_was_taken_while_it_was_stopped_does_not_run_on() {
    let mut pty = Pty::shell();
    script(&pty.sandbox, "cmd", "echo > count; echo ready; while :; do echo >> count; done");
    pty.line("$LOKT guard x --ttl 1s -- bash cmd");
    pty.expect("ready");
    pty.suspend();
    let before = fs::metadata(pty.sandbox.work().join("count")).unwrap().len();
    eventually("it lapses", || pty.beside(&["unlock", "x", "--break-stale"]).code == 0);
    pty.line("fg");
    pty.expect("lokt: lock \"x\" is lost: its record is gone; ending the command");
    pty.prompt();
    assert_eq!(pty.code(), "5");
    let counted = fs::metadata(pty.sandbox.work().join("count")).unwrap().len();
    assert_eq!(counted, before, "it counted on");
}

#[test]
fn a_job_whose_lease_lapsed_while_it_was_stopped_goes_on_if_nobody_took_it() {
    let mut pty = Pty::shell();
    script(&pty.sandbox, "cmd", "echo ready; read -r line; echo got-$line.");
    pty.line("$LOKT guard x --ttl 1s -- bash cmd");
    pty.expect("ready");
    pty.suspend();
    let lapsed = || pty.beside(&["status", "x", "--json"]).stdout.contains("\"expired\": true");
    eventually("it lapses", lapsed);
    pty.foreground();
    pty.line("hello");
    pty.expect("got-hello.");
    pty.prompt();
    assert_eq!(pty.code(), "0");
}

#[test]
fn a_job_whose_lock_was_removed_while_it_was_stopped_may_go_on_with_on_lost_warn() {
    let mut pty = Pty::shell();
    script(&pty.sandbox, "cmd", "echo ready; read -r line; echo got-$line.");
    pty.line("$LOKT guard x --on-lost warn -- bash cmd");
    pty.expect("ready");
    pty.suspend();
    assert_eq!(pty.beside(&["unlock", "x", "--force"]).code, 0);
    pty.line("fg");
    pty.expect("goes on without it");
    pty.line("hello");
    pty.expect("got-hello.");
    pty.prompt();
}

#[test]
fn a_command_in_the_foreground_is_ended_although_the_terminal_stops_others_that_write() {
    let mut pty = Pty::shell();
    pty.line("stty tostop");
    pty.prompt();
    pty.guarded("echo ready; read -r line", "");
    pty.expect("ready");
    assert_eq!(pty.beside(&["unlock", "x", "--force"]).code, 0);
    pty.expect("ending the command");
    pty.prompt();
    assert_eq!(pty.code(), "5");
}

#[test]
fn a_command_is_killed_although_nobody_reads_what_its_guard_says() {
    let mut pty = Pty::shell();
    script(
        &pty.sandbox,
        "cmd",
        "trap '' TERM; echo $$ > cmd.pid; echo ready > /dev/tty; read -r line < /dev/tty",
    );
    rustix::fs::mkfifoat(rustix::fs::CWD, pty.sandbox.work().join("full"), 0o600.into()).unwrap();
    // A pipe that somebody holds open, full to the brim.
    pty.line("exec 9<> full; dd if=/dev/zero of=full oflag=nonblock bs=4k status=none 2> /dev/null");
    pty.prompt();
    pty.line("$LOKT guard x --kill-after 50ms -- bash cmd 2>&9");
    pty.expect("ready");
    assert_eq!(pty.beside(&["unlock", "x", "--force"]).code, 0);
    pty.prompt();
    assert!(!runs(pty.pid("cmd.pid")));
    assert_eq!(pty.code(), "5");
}

#[test]
fn a_guarded_shell_is_ended_with_all_of_its_jobs() {
    let mut pty = Pty::shell();
    script(&pty.sandbox, "inner", "trap '' TERM HUP; echo $$ > inner.pid; echo ready; read -r line");
    pty.line("$LOKT guard x --kill-after 50ms -- bash --norc --noprofile -i");
    pty.prompt();
    pty.line("bash inner");
    pty.expect("ready");
    assert_eq!(pty.beside(&["unlock", "x", "--force"]).code, 0);
    pty.expect("ending the command");
    pty.prompt();
    assert_eq!(pty.code(), "5");
    assert!(!runs(pty.pid("inner.pid")), "its job went on without the lock");
}
