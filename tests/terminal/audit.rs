//! `lokt audit` on a terminal: a table for people.

use crate::pty::{CTRL_C, Pty, sandbox};

#[test]
fn events_are_a_table_for_people() {
    let sandbox = sandbox();
    let evil =
        sandbox.command("sh").args(["-c", "LOKT_OWNER=$(printf 'e\\033[2Jvil') $LOKT lock x"]).output();
    assert!(evil.unwrap().status.success());
    assert_eq!(sandbox.run(["lock", "x", "--ttl", "5m"]).code, 2);
    let audit = sandbox.lokt(["audit"]);
    let mut pty = Pty::start(sandbox, audit, 100, true);
    assert_eq!(pty.end(), 0);
    let shown = pty.all().replace("\r\n", "\n");
    let lines: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["WHEN", "EVENT", "LOCK", "WHO", "DETAILS"], "{shown}");
    assert_eq!(lines[1][1..4], ["ago", "acquire", "x"], "{shown}");
    assert!(lines[1][4].starts_with("e\\u{1b}[2Jvil@"), "{shown}");
    assert_eq!(lines[2][1..4], ["ago", "deny", "x"], "{shown}");
    assert!(shown.contains("held by e\\u{1b}[2Jvil@"), "{shown}");
    assert_eq!(lines.len(), 3, "{shown}");
    assert!(!shown.contains('\x1b'), "{shown:?}");
}

#[test]
fn what_happens_is_followed_until_ctrl_c() {
    let sandbox = sandbox();
    let audit = sandbox.lokt(["audit", "--tail"]);
    let mut pty = Pty::start(sandbox, audit, 100, true);
    pty.expect("following the audit log until Ctrl-C");
    // It is said once the place is known from which on it follows.
    assert_eq!(pty.beside(&["lock", "x"]).code, 0);
    pty.expect("DETAILS");
    pty.expect("acquire       x ");
    pty.expect("token 1");
    assert_eq!(pty.beside(&["unlock", "x"]).code, 0);
    pty.expect("release       x ");
    pty.send(CTRL_C);
    assert_eq!(pty.end(), 0);
}
