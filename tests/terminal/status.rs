//! `lokt status` on a terminal: its table, and the view that is drawn in place.

use std::path::Path;

use lokt_tests::sandbox::{Sandbox, eventually};

use crate::pty::{CTRL_C, Pty, sandbox};

/// The alternate screen comes, and goes; the cursor with it.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

fn lock(sandbox: &Sandbox, name: &str) {
    assert_eq!(sandbox.run(["lock", name, "--ttl", "1h", "--note", "by hand, ask Ada"]).code, 0);
}

/// A shell on a terminal that takes colour, of that width, where `deploy` is held.
fn shell(columns: u16) -> Pty {
    let sandbox = sandbox();
    lock(&sandbox, "deploy");
    let mut pty = Pty::shell_in(sandbox, columns);
    pty.line("export TERM=xterm");
    pty.prompt();
    pty
}

/// What a command shows, line by line, without the colours.
fn shown(pty: &mut Pty, command: &str) -> (String, Vec<String>) {
    pty.line(command);
    pty.expect("\r\n");
    let raw = pty.prompt();
    let mut plain = String::new();
    let mut rest = raw.as_str();
    while let Some((before, after)) = rest.split_once('\x1b') {
        plain.push_str(before);
        rest = after.split_once(|c: char| c.is_ascii_alphabetic()).map_or("", |(_, rest)| rest);
    }
    plain.push_str(rest);
    let lines: Vec<String> = plain.lines().map(str::to_owned).collect();
    (raw, lines[..lines.len() - 1].to_vec())
}

#[test]
fn the_list_is_a_table_with_colour() {
    let mut pty = shell(120);
    let (raw, lines) = shown(&mut pty, "$LOKT status");
    assert_eq!(lines.len(), 2, "{lines:?}");
    let words: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(
        words,
        ["NAME", "STATE", "HOLDER", "AGENT", "AGE", "LEFT", "NOTE"],
        "columns without content are left out"
    );
    let held: Vec<&str> = lines[1].split_whitespace().collect();
    assert_eq!(held[..2], ["deploy", "held"]);
    assert!(held[2].starts_with("tester@") && held[5].starts_with("59m"), "{held:?}");
    assert!(raw.contains("\x1b[33mheld\x1b[0m"), "{raw:?}");
}

#[test]
fn the_table_is_cut_to_the_terminals_width() {
    for columns in [120, 80, 60, 40, 36, 20] {
        let mut pty = shell(columns);
        lock(&pty.sandbox, "a-name-that-is-quite-long-for-a-lock");
        let (_, lines) = shown(&mut pty, "$LOKT status");
        let widest = lines.iter().map(|line| line.chars().count()).max().unwrap();
        assert!(lines.len() == 3 && widest <= usize::from(columns), "{columns}: {widest} {lines:#?}");
        assert!(lines[0].contains("NAME") && lines[0].contains("STATE"), "{lines:#?}");
        assert_eq!(lines[0].contains("HOLDER"), columns > 20, "{lines:#?}");
    }
}

#[test]
fn the_note_gives_way_before_a_name_is_cut() {
    for (columns, note) in [(100, true), (80, true), (60, false)] {
        let sandbox = sandbox();
        let owner = "margarethe-from-the-night-shift";
        let mut locking =
            sandbox.lokt(["lock", "deploy-production", "--note", "ask Ada, before you touch it"]);
        assert!(locking.env("LOKT_OWNER", owner).status().unwrap().success());
        let mut pty = Pty::shell_in(sandbox, columns);
        let (_, lines) = shown(&mut pty, "$LOKT status");
        assert!(lines[1].starts_with("deploy-production  held   margarethe-"), "{columns}: {lines:#?}");
        assert_eq!(lines[1].contains("ask Ada"), note, "{columns}: {lines:#?}");
        assert_eq!(lines[1].ends_with('…'), note, "{columns}: {lines:#?}");
    }
}

#[test]
fn what_has_no_room_where_one_lock_is_watched_is_said() {
    let mut pty = shell(24);
    pty.line("$LOKT status deploy --watch --interval 1h");
    pty.expect(ENTER);
    pty.expect("by hand, ask …");
    pty.resize(100, 8);
    let frame = pty.expect("… and 7 more");
    assert!(frame.contains("host:") && !frame.rsplit("host:").next().unwrap().contains("pid:"), "{frame:?}");
    pty.send("q");
    pty.prompt();
}

#[test]
fn there_is_no_colour_where_none_is_wanted_and_no_table_in_a_pipe() {
    let mut pty = shell(80);
    for quiet in ["NO_COLOR=1 $LOKT status", "TERM=dumb $LOKT status", "NO_COLOR=1 $LOKT why deploy"] {
        let (raw, lines) = shown(&mut pty, quiet);
        assert!(!raw.contains('\x1b'), "{quiet}: {raw:?}");
        assert!(lines.concat().contains("deploy"), "{quiet}: {lines:?}");
    }
    let (raw, lines) = shown(&mut pty, "$LOKT status | cat");
    assert!(!raw.contains('\x1b') && lines[0].starts_with("deploy                tester@"), "{lines:?}");
}

#[test]
fn messages_hints_explanations_and_help_are_coloured() {
    let mut pty = shell(80);
    let (raw, _) = shown(&mut pty, "$LOKT lock deploy");
    assert!(raw.starts_with("\x1b[1m\x1b[31mlokt:\x1b[0m lock \"deploy\" is held"), "{raw:?}");
    assert!(raw.contains("\x1b[2mlokt:\x1b[0m \x1b[36mhint:\x1b[0m wait for it"), "{raw:?}");
    for (command, painted) in [
        ("$LOKT why deploy", "\x1b[31mBLOCKED:\x1b[0m"),
        ("$LOKT why deploy", "\x1b[33mHELD by tester@"),
        ("$LOKT why free", "\x1b[32mFREE"),
        ("$LOKT status deploy", "\x1b[33mheld\x1b[0m"),
        ("$LOKT status --help", "\x1b[1m"),
        ("$LOKT", "\x1b[1m"),
        ("$LOKT bogus", "\x1b[1m\x1b[31mlokt:\x1b[0m unknown command"),
    ] {
        let (raw, _) = shown(&mut pty, command);
        assert!(raw.contains(painted), "{command}: {raw:?}");
    }
    let (raw, _) = shown(&mut pty, "$LOKT lock deploy 2>&1 | cat");
    assert!(!raw.contains('\x1b'), "{raw:?}");
}

#[test]
fn what_is_watched_is_drawn_in_place_until_q() {
    let mut pty = shell(100);
    pty.line("$LOKT status --watch --interval 100ms");
    pty.expect(ENTER);
    pty.expect("1 held");
    pty.expect("deploy");
    lock(&pty.sandbox, "another");
    pty.expect("2 held");
    pty.expect("another");
    pty.send("q");
    pty.expect(LEAVE);
    pty.prompt();
    assert_eq!(pty.code(), "0");
    assert!(shown(&mut pty, "stty -a").1.concat().contains(" icanon"), "keys are read as before");
}

#[test]
fn ctrl_c_and_signals_end_it_and_the_terminal_is_as_before() {
    let mut pty = shell(100);
    pty.line("$LOKT status deploy --watch");
    pty.expect("lock-id:");
    pty.send(CTRL_C);
    pty.expect(LEAVE);
    pty.prompt();
    assert_eq!(pty.code(), "130");
    pty.line("$LOKT status --watch --interval 1h; echo code-$?-");
    pty.expect(ENTER);
    pty.expect("deploy");
    pty.terminate("--interval");
    pty.expect(LEAVE);
    pty.expect("code-143-");
    pty.prompt();
    assert!(shown(&mut pty, "stty -a").1.concat().contains(" icanon"));
}

#[test]
fn another_size_of_the_terminal_is_followed_at_once() {
    let mut pty = shell(100);
    pty.line("$LOKT status --watch --interval 1h");
    pty.expect(ENTER);
    pty.expect("ask Ada");
    for i in 0..20 {
        lock(&pty.sandbox, &format!("lock-{i:02}"));
    }
    pty.resize(60, 10);
    // The heading, an empty line, the headings, six locks, and what is left.
    let frame = pty.expect("… and 15 more");
    assert!(frame.contains("lock-04") && !frame.contains("lock-05"), "{frame:?}");
    pty.send("q");
    pty.prompt();
}

#[test]
fn ctrl_z_gives_the_terminal_back_and_fg_draws_it_anew() {
    let mut pty = shell(100);
    pty.line("$LOKT status --watch --interval 1h");
    pty.expect("ask Ada");
    pty.send("\x1a");
    pty.expect(LEAVE);
    pty.expect("Stopped");
    pty.prompt();
    pty.line("fg");
    pty.expect(ENTER);
    pty.expect("ask Ada");
    pty.send("q");
    pty.expect(LEAVE);
    pty.prompt();
}

#[test]
fn a_signal_ends_it_though_the_terminal_is_told_to_hold() {
    let mut pty = shell(100);
    pty.line("$LOKT status --watch --interval 100ms; echo code-$?-");
    pty.expect("ask Ada");
    pty.send("\x13");
    lock(&pty.sandbox, "another");
    let watch = pty.terminate("--interval");
    eventually("it has ended", || !Path::new(&format!("/proc/{}", watch.as_raw_nonzero())).exists());
    pty.send("\x11");
    pty.expect("code-143-");
}

#[test]
fn in_the_background_it_draws_nothing_over_the_persons_line() {
    let mut pty = shell(100);
    pty.line("$LOKT status --watch --interval 100ms & echo $! > pid");
    pty.prompt();
    let pid = pty.pid("pid").as_raw_nonzero();
    // Whoever has slept ten times has looked as often.
    let slept = format!("awk '/^voluntary/ {{ exit $2 < 10 }}' /proc/{pid}/status");
    eventually("it has looked", || pty.sandbox.sh(&slept).code == 0);
    assert_eq!(pty.answer("echo quiet-yes-", "quiet-"), "yes");
    assert!(!pty.all().contains(ENTER), "{:?}", pty.all());
    pty.line("fg");
    pty.expect(ENTER);
    pty.expect("ask Ada");
    pty.send("q");
    pty.expect(LEAVE);
    pty.prompt();
}

#[test]
fn on_a_terminal_without_a_cursor_it_is_one_table_after_the_other() {
    let mut pty = shell(100);
    pty.line("TERM=dumb $LOKT status --watch --interval 100ms");
    pty.expect("ask Ada");
    lock(&pty.sandbox, "another");
    pty.expect("another");
    pty.send(CTRL_C);
    pty.prompt();
    assert!(!pty.all().contains('\x1b'), "{:?}", pty.all());
}
