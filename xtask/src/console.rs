//! What the tasks say. The only file that prints: results go to stdout, all the rest to stderr.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the one door to the terminal")]

use std::io::IsTerminal;

/// A result, as it is.
pub fn print(text: &str) {
    print!("{text}");
}

/// A line of a result.
pub fn line(text: &str) {
    println!("{text}");
}

/// What is being done, for the person who waits for it.
pub fn note(text: &str) {
    eprintln!("{text}");
}

/// The heading of a step that prints much.
pub fn heading(text: &str) {
    eprintln!("{}", bold(&format!("── {text} ──")));
}

/// Why the task failed.
pub fn error(text: &str) {
    eprintln!("xtask: {text}");
}

fn bold(text: &str) -> String {
    match std::io::stderr().is_terminal() {
        true => format!("\x1b[1m{text}\x1b[0m"),
        false => text.to_owned(),
    }
}
