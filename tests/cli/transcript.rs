//! Transcripts: commands, and everything that they say, with what differs from run to run made the same.
//!
//! ```text
//! $ lokt lock deploy          what is typed, in a shell in which `lokt` is the program under test
//! acquired lock "deploy"      its stdout
//! $ lokt lock deploy
//! ! lokt: lock "deploy" …     its stderr
//! = 2                         its exit code, unless it is 0
//! ```

use lokt::protocol::{format_duration, parse_duration};
use lokt_tests::sandbox::{Output, Sandbox};
use std::fmt::Write as _;
use std::time::Duration;

/// A new sandbox for the program under test.
pub fn sandbox() -> Sandbox {
    Sandbox::new(env!("CARGO_BIN_EXE_lokt-under-test"))
}

/// Every command of the program, but those that are hidden, and clap's own `help`.
pub fn commands() -> Vec<clap::Command> {
    let program = lokt::cli::command();
    let seen = program.get_subcommands().filter(|one| !one.is_hide_set() && one.get_name() != "help");
    seen.cloned().collect()
}

/// Types the commands of a transcript, and compares all of it.
#[track_caller]
pub fn check(sandbox: &Sandbox, transcript: &str) {
    let expected: String = lines(transcript).map(|line| format!("{line}\n")).collect();
    let mut actual = String::new();
    for line in lines(transcript) {
        if let Some(command) = line.strip_prefix("$ ") {
            let _ = writeln!(actual, "{line}");
            actual.push_str(&said(&sh(sandbox, command)));
        }
    }
    assert!(actual == expected, "\n--- expected\n{expected}\n--- actual\n{actual}");
}

/// Runs a line of shell in which `lokt` is the program under test.
pub fn sh(sandbox: &Sandbox, line: &str) -> Output {
    sandbox.sh(&format!("lokt() {{ \"$LOKT\" \"$@\"; }}\n{line}"))
}

fn lines(transcript: &str) -> impl Iterator<Item = &str> {
    let indent = transcript.len() - transcript.trim_start().len();
    let indent = transcript[..indent].rsplit('\n').next().unwrap().len();
    transcript
        .trim()
        .lines()
        .map(move |line| line.get(indent..).filter(|_| line.starts_with(' ')).unwrap_or(line.trim()))
}

/// An output as it stands in a transcript.
pub fn said(output: &Output) -> String {
    let mut text = String::new();
    for line in steady(&output.stdout).lines() {
        let _ = writeln!(text, "{line}");
    }
    for line in steady(&output.stderr).lines() {
        let _ = writeln!(text, "! {line}");
    }
    if output.code != 0 {
        let _ = writeln!(text, "= {}", output.code);
    }
    text
}

/// The text with ids, times, process ids and this machine's name replaced, and durations rounded: an age of a few
/// seconds is `0s`, and what is left of a minute after a few seconds is the whole minute.
pub fn steady(text: &str) -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut steady = String::new();
    // An age of nothing is left out of JSON.
    let kept = text
        .lines()
        .filter(|line| !["holder_age_sec", "freeze_age_sec"].iter().any(|age| line.contains(age)));
    for line in kept.map(|line| line.replace(" (os error 13)", "")) {
        let mut before = "";
        for token in line.split_inclusive(|c: char| !is_of_word(c)) {
            let word = token.trim_end_matches(|c: char| !is_of_word(c) || ":.".contains(c));
            steady.push_str(&steady_word(word, before, &host));
            steady.push_str(&token[word.len()..]);
            if !word.is_empty() {
                before = word;
            }
        }
        steady.push('\n');
    }
    steady
}

fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-:.".contains(c)
}

fn steady_word(word: &str, before: &str, host: &str) -> String {
    let number = word.parse().ok();
    match (before, number) {
        ("pid" | "PID" | "holder_pid" | "process", Some(1..)) => return "PID".to_owned(),
        ("pid_start_ns", Some(_)) => return "START".to_owned(),
        ("age_sec", Some(age)) => return settled(age).to_string(),
        ("remaining_sec" | "holder_remaining_sec" | "freeze_remaining_sec", Some(left)) => {
            return settled(left).to_string();
        }
        _ => {}
    }
    if word.len() == 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        "ID".to_owned()
    } else if word.len() == 20 && word.starts_with("20") && word.ends_with('Z') {
        "TIME".to_owned()
    } else if word == host {
        "HOST".to_owned()
    } else if let (true, Ok(duration)) = (is_measured(word, before), parse_duration(word)) {
        format_duration(Duration::from_secs(settled(duration.as_secs())))
    } else {
        word.to_owned()
    }
}

/// Whether it is a duration that was measured, and not one of a message or a hint.
fn is_measured(word: &str, before: &str) -> bool {
    word.ends_with('s') && !["under", "use"].contains(&before)
}

fn settled(seconds: u64) -> u64 {
    match seconds % 60 {
        0..20 => seconds / 60 * 60,
        40.. => (seconds / 60 + 1) * 60,
        _ => seconds,
    }
}

#[test]
fn what_differs_from_run_to_run_is_made_the_same() {
    assert_eq!(
        steady("pid 77, for 12ms, 29m59s left, 5m0s, \"age_sec\": 3,\nat 2026-11-24T17:47:04Z"),
        "pid PID, for 0s, 30m0s left, 5m0s, \"age_sec\": 0,\nat TIME\n"
    );
}
