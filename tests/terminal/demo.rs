//! A demonstration on a terminal: it is drawn, and it gives the terminal back, however it ends.

use std::fs;

use lokt_tests::sandbox::eventually;

use crate::pty::{CTRL_C, CTRL_Z, Pty};

const HIDE_CURSOR: &str = "\u{1b}[?25l";
const SHOW_CURSOR: &str = "\u{1b}[?25h";

fn begin(options: &str) -> Pty {
    let mut pty = Pty::shell();
    fs::create_dir(pty.sandbox.work().join("tmp")).unwrap();
    pty.line(&format!("TERM=xterm TMPDIR=tmp $LOKT demo {options}"));
    pty.expect(HIDE_CURSOR);
    pty.expect("WITH lokt guard");
    pty
}

fn leftovers(pty: &Pty) -> usize {
    fs::read_dir(pty.sandbox.work().join("tmp")).unwrap().count()
}

#[test]
fn it_is_drawn_to_its_end() {
    let mut pty = begin("--speed 20");
    pty.expect("0 of 180 cells lost");
    pty.expect("Next: lokt demo trunk");
    pty.expect(SHOW_CURSOR);
    pty.prompt();
    assert_eq!(pty.code(), "0");
    assert_eq!(leftovers(&pty), 0);
}

#[test]
fn ctrl_c_gives_the_terminal_back_and_leaves_nothing_behind() {
    let mut pty = begin("");
    pty.send(CTRL_C);
    pty.expect(SHOW_CURSOR);
    pty.prompt();
    assert_eq!(pty.code(), "130");
    assert_eq!(leftovers(&pty), 0);
}

#[test]
fn ctrl_z_gives_the_terminal_back_until_it_goes_on() {
    let mut pty = begin("--speed 3");
    pty.send(CTRL_Z);
    pty.expect(SHOW_CURSOR);
    pty.expect("Stopped");
    pty.prompt();
    pty.line("fg");
    pty.expect(HIDE_CURSOR);
    pty.expect("Next: lokt demo trunk");
    pty.expect(SHOW_CURSOR);
    pty.prompt();
    assert_eq!(pty.code(), "0");
    assert_eq!(leftovers(&pty), 0);
}

#[test]
fn a_terminal_that_is_closed_ends_it_and_nothing_is_left_behind() {
    let mut pty = begin("");
    pty.hang_up();
    eventually("all is cleared away", || leftovers(&pty) == 0);
}
