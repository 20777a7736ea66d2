//! What a person sees of a wait.

use lokt_tests::sandbox::eventually;

use crate::pty::{CTRL_C, Pty, sandbox};

/// Goes to the line's start and empties it.
const ERASE: &str = "\r\x1b[2K";

/// A shell on a terminal of that width, where `x` is held with that note.
fn held(columns: u16, note: &str) -> Pty {
    let sandbox = sandbox();
    assert_eq!(sandbox.run(["lock", "x", "--note", note]).code, 0);
    Pty::shell_in(sandbox, columns)
}

fn wait(pty: &mut Pty) {
    pty.line("$LOKT guard x --wait -- echo admitted");
    pty.expect("admitted\r\n");
    pty.expect("lokt: waiting");
}

#[test]
fn one_line_shows_the_wait_and_goes_when_it_is_over() {
    let mut pty = held(200, "release 2.1");
    wait(&mut pty);
    let line = pty.expect("release 2.1");
    assert!(line.starts_with(" 0s, place 1 in line: lock \"x\" is held by tester@"), "{line}");
    // It is refreshed in place.
    let refreshed = pty.expect("waiting 1s");
    assert!(!refreshed.contains('\n') && refreshed.contains(ERASE), "{refreshed:?}");
    assert_eq!(pty.beside(&["unlock", "x"]).code, 0);
    let rest = pty.expect("admitted\r\n");
    assert!(rest.ends_with(&format!("{ERASE}admitted\r\n")), "{rest:?}");
    assert!(!rest.trim_end().contains('\n'), "{rest:?}");
    pty.prompt();
}

#[test]
fn the_line_is_cut_to_the_terminals_width() {
    let mut pty = held(70, &"東京e\u{301}\u{1b}[31m".repeat(40));
    wait(&mut pty);
    let rest = pty.expect("…");
    let line = format!("lokt: waiting{rest}");
    let width: usize = line.chars().map(width).sum();
    assert!((67..70).contains(&width), "{width} columns: {line}");
    assert!(!line.contains('\u{1b}'), "{line}");
    pty.send(CTRL_C);
    pty.prompt();
}

fn width(c: char) -> usize {
    match c {
        '東' | '京' => 2,
        '\u{301}' => 0,
        _ => 1,
    }
}

#[test]
fn a_narrow_line_has_the_name_the_holder_and_the_age_before_the_note() {
    let mut pty = held(80, "rolling out release 2.14 to all regions, ask Ada");
    wait(&mut pty);
    let line = pty.expect("…");
    assert!(line.starts_with(" 0s for \"x\": held by tester@"), "{line}");
    assert!(line.contains("s: rolling out "), "as much of the note as there is room for: {line}");
    pty.send(CTRL_C);
    pty.prompt();
    pty.resize(14, 24);
    pty.line("$LOKT guard x --wait -- true");
    pty.expect(&format!("{ERASE}x: held by t…"));
    pty.send(CTRL_C);
    pty.prompt();
}

#[test]
fn ctrl_c_ends_the_wait_at_once() {
    let mut pty = held(80, "");
    wait(&mut pty);
    pty.send(CTRL_C);
    let rest = pty.prompt();
    assert!(rest.contains(ERASE) && !rest.contains("admitted"), "{rest:?}");
    assert_eq!(pty.code(), "130");
}

#[test]
fn ctrl_z_steps_out_of_line_and_fg_comes_back() {
    let mut pty = held(80, "");
    wait(&mut pty);
    pty.suspend();
    eventually("it has left the line", || waiters(&pty) == 0);
    pty.line("fg");
    pty.expect("lokt: waiting");
    eventually("it is back in line", || waiters(&pty) == 1);
    assert_eq!(pty.beside(&["unlock", "x"]).code, 0);
    pty.expect(&format!("{ERASE}admitted"));
    pty.prompt();
}

fn waiters(pty: &Pty) -> usize {
    pty.sandbox.leftovers().iter().filter(|file| file.starts_with("line")).count()
}

#[test]
fn a_wait_in_the_background_draws_nothing_over_the_persons_line() {
    let mut pty = held(80, "");
    pty.line("$LOKT guard x --wait -- echo admitted &");
    pty.expect("lokt: waiting, place 1 in line");
    assert_eq!(pty.beside(&["unlock", "x"]).code, 0);
    pty.expect("got lock \"x\"");
    pty.expect("admitted");
    assert!(!pty.all().contains(ERASE), "{:?}", pty.all());
}

#[test]
fn a_wait_that_comes_to_the_foreground_is_drawn_there() {
    let mut pty = held(80, "");
    pty.line("$LOKT guard x --wait -- echo admitted &");
    pty.expect("lokt: waiting, place 1 in line");
    pty.line("kill -STOP %1");
    pty.expect("Stopped");
    pty.line("fg");
    pty.expect(&format!("{ERASE}lokt: waiting"));
    pty.send(CTRL_C);
    pty.prompt();
}

#[test]
fn off_a_terminal_there_is_a_line_at_the_start_and_one_at_the_end() {
    let sandbox = sandbox();
    assert_eq!(sandbox.run(["lock", "x"]).code, 0);
    let mut waiter = sandbox.start(["guard", "x", "--wait", "--", "true"]);
    let first = waiter.await_stderr("place 1 in line");
    assert!(first.starts_with("lokt: waiting, place 1 in line: lock \"x\" is held by tester@"), "{first}");
    assert_eq!(sandbox.run(["unlock", "x"]).code, 0);
    let rest = waiter.output();
    assert_eq!((rest.code, rest.stderr.as_str()), (0, "lokt: got lock \"x\"\n"));
}
