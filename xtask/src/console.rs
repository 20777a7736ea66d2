//! What the tasks say. The only file that prints: results go to stdout, all the rest to stderr.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether some of a result could not be written.
static UNWRITTEN: AtomicBool = AtomicBool::new(false);

/// A result, as it is.
pub fn print(text: &str) {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // A reader that has gone away has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Err(error) => {
            if !UNWRITTEN.swap(true, Ordering::Relaxed) {
                self::error(&format!("failed to write the result: {error}"));
            }
        }
        Ok(()) => {}
    }
}

/// A line of a result.
pub fn line(text: &str) {
    print(&format!("{text}\n"));
}

/// How a task ends that went well: its result may not have been written.
pub fn ended() -> ExitCode {
    if UNWRITTEN.load(Ordering::Relaxed) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// What is being done, for the person who waits for it.
pub fn note(text: &str) {
    // With stderr gone there is nowhere to complain.
    let _ = writeln!(io::stderr(), "{text}");
}

/// The heading of a step that prints much.
pub fn heading(text: &str) {
    note(&bold(&format!("── {text} ──")));
}

/// Why the task failed.
pub fn error(text: &str) {
    note(&format!("xtask: {text}"));
}

fn bold(text: &str) -> String {
    match io::stderr().is_terminal() {
        true => format!("\x1b[1m{text}\x1b[0m"),
        false => text.to_owned(),
    }
}
