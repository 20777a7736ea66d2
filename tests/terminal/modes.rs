//! The terminal's modes and its foreground: the command's while it runs, and as before when it has ended.

use crate::pty::{CTRL_C, Pty, script};

#[test]
fn a_password_is_read_without_echo() {
    let mut pty = Pty::shell();
    pty.guarded("read -r -s -p Password: p; echo; echo got-$p.", "");
    pty.expect("Password:");
    pty.line("secret");
    pty.expect("got-secret.");
    pty.prompt();
    assert_eq!(pty.all().matches("secret").count(), 1, "{}", pty.all());
}

#[test]
fn an_editor_gets_every_key_as_it_is() {
    let mut pty = Pty::shell();
    pty.guarded(
        "old=$(stty -g); stty raw -echo; printf ready; keys=$(dd bs=1 count=3 2> out | od -An -tx1)
        stty $old; echo \"got$keys.\"",
        "",
    );
    pty.expect("ready");
    for key in ["\x03", "\x1a", "\x1c"] {
        pty.send(key);
    }
    pty.expect("got 03 1a 1c.");
    pty.prompt();
}

#[test]
fn the_modes_come_back_when_a_signal_has_ended_the_command() {
    let mut pty = Pty::shell();
    pty.guarded("stty -echo -icanon; echo ready; exec cat", "; stty -a | tr ' ' '\\n' > modes");
    pty.expect("ready");
    pty.send(CTRL_C);
    pty.prompt();
    let modes = std::fs::read_to_string(pty.sandbox.work().join("modes")).unwrap();
    assert!(modes.lines().any(|mode| mode == "echo"), "{modes}");
    assert!(modes.lines().any(|mode| mode == "icanon"), "{modes}");
}

#[test]
fn modes_that_a_command_sets_on_purpose_stay() {
    let mut pty = Pty::shell();
    pty.guarded("stty -echoctl", "; stty -a | tr ' ' '\\n' > modes; stty echoctl");
    pty.prompt();
    let modes = std::fs::read_to_string(pty.sandbox.work().join("modes")).unwrap();
    assert!(modes.lines().any(|mode| mode == "-echoctl"), "{modes}");
}

#[test]
fn a_script_has_the_terminal_back_after_a_command_that_died_with_it() {
    let mut pty = Pty::shell();
    // An interactive shell takes the foreground for itself; killed, it can't give it back.
    script(
        &pty.sandbox,
        "all",
        "export PS1='PROMPT> '; $LOKT guard x -- bash --norc --noprofile -i
        echo code-$?.; read -r line; echo got-$line.",
    );
    pty.line("bash all");
    pty.prompt();
    pty.line("kill -9 $$");
    pty.expect("code-137.");
    pty.line("hello");
    pty.expect("got-hello.");
    pty.prompt();
}
