//! Tests that can't be made on some machine: they pass, and say that they were not made.
//!
//! The runner shows nothing of a test that passes. So what was skipped also goes to the file that `LOKT_SKIPPED` names,
//! from which `cargo xtask test` tells it, and judges whether that may be.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a part of the tests' harness: it reads its setting, and says what was skipped"
)]

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::process::{Command, Stdio};

/// What a machine lacks for a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack<'a> {
    /// A program, which could be installed.
    Program(&'a str),
    /// A right, or something that its system does not have.
    Machine,
}

impl<'a> Lack<'a> {
    /// Why a program did not do what it was to: it is not there, or the machine does not let it.
    pub fn behind(program: &'a str) -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let is_there = std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
        if is_there { Self::Machine } else { Self::Program(program) }
    }
}

/// Says that a test was not made here, or a part of it, and why.
pub fn skipped(lack: Lack<'_>, why: &str) {
    say(&format!("SKIPPED: {why}"));
    let Some(file) = std::env::var_os("LOKT_SKIPPED") else { return };
    let program = match lack {
        Lack::Program(program) => Some(program),
        Lack::Machine => None,
    };
    let line = serde_json::json!({ "test": test(), "program": program, "why": why.trim() });
    let mut file =
        File::options().append(true).create(true).open(file).expect("the file named in LOKT_SKIPPED");
    // In one write, as others append to it as well.
    file.write_all(format!("{line}\n").as_bytes()).expect("the file named in LOKT_SKIPPED");
}

/// The same, of a program of the test's that has written it down itself.
pub fn say(line: &str) {
    eprintln!("{line}");
}

/// Whether this tool is there and allowed; says so if it is not.
pub fn available(test: &str, tool: &mut Command) -> bool {
    let works =
        tool.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !works {
        let program = tool.get_program();
        let lack = program.to_str().map_or(Lack::Machine, Lack::behind);
        skipped(lack, &format!("{test}: {} does not work here", command_line(tool)));
    }
    works
}

/// Whether strace(1) is there and allowed.
pub fn strace_available(test: &str) -> bool {
    available(test, Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]))
}

fn command_line(tool: &Command) -> String {
    let words: Vec<&OsStr> = [tool.get_program()].into_iter().chain(tool.get_args()).collect();
    words.join(OsStr::new(" ")).to_string_lossy().into_owned()
}

/// The test that runs. The runner tells; without it, each is a thread of its name.
fn test() -> String {
    let thread = || std::thread::current().name().unwrap_or_default().to_owned();
    std::env::var("NEXTEST_TEST_NAME").unwrap_or_else(|_| thread())
}
