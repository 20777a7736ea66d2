//! `lokt status --watch`, for files and programs. On a terminal: see `terminal/status.rs`.

use std::fs;
use std::time::Duration;

use super::transcript::{sandbox, sh, steady};
use lokt_tests::sandbox::{Lack, Running, Sandbox, eventually, skipped, start};
use rustix::process::Signal;

/// Watches, and looks often.
fn watch(sandbox: &Sandbox, args: &[&str]) -> Running {
    let mut all = vec!["status", "--watch", "--interval", "100ms"];
    all.extend(args);
    sandbox.start(all)
}

/// What it says until it is told to end, and its code.
fn end(watch: Running, signal: Signal) -> (String, i32) {
    watch.signal(signal);
    let said = watch.output();
    assert_eq!(said.stderr, "");
    (steady(&said.stdout), said.code)
}

#[test]
fn a_block_is_printed_whenever_something_has_changed_and_only_then() {
    let sandbox = sandbox();
    let mut to_file = sandbox.command("sh");
    let watching = start(to_file.args(["-c", "exec $LOKT status --watch --interval 100ms > seen"]));
    let seen = || fs::read_to_string(sandbox.work().join("seen")).unwrap_or_default();
    eventually("the first look", || seen() == "no locks\n");
    assert_eq!(sandbox.run(["lock", "x", "--ttl", "1h", "--note", "one"]).code, 0);
    eventually("the lock is seen", || seen().ends_with("one\n"));
    // It grows older, and its lease runs down; neither is a change.
    let age = || fs::metadata(sandbox.record("x")).unwrap().modified().unwrap().elapsed().unwrap_or_default();
    eventually("it has an age", || age() > Duration::from_secs(2));
    assert_eq!(sandbox.run(["unlock", "x"]).code, 0);
    eventually("the end is seen", || seen().ends_with("no locks\n") && seen().len() > 10);
    assert_eq!(end(watching, Signal::INT), (String::new(), 130));
    let said = steady(&seen());
    let blocks: Vec<&str> = said.trim_end().split("\n\n").collect();
    assert_eq!(blocks.len(), 3, "{said}");
    assert!(blocks[1].starts_with("x                     tester@"), "{said}");
}

#[test]
fn json_is_a_line_for_each_change() {
    let sandbox = sandbox();
    let mut seen = watch(&sandbox, &["--json"]);
    seen.await_line("[]");
    assert_eq!(sandbox.run(["lock", "x"]).code, 0);
    let mut one = watch(&sandbox, &["--json", "x"]);
    let line = one.await_stdout("\"x\"");
    let object: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&object["name"], &object["state"]), (&"x".into(), &"held".into()));
    let line = seen.await_stdout("\"x\"");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap()[0]["name"], "x");
    assert_eq!(sandbox.run(["unlock", "x"]).code, 0);
    seen.await_line("[]");
    one.await_line(r#"{"name":"x","state":"free"}"#);
    assert_eq!(end(seen, Signal::TERM), (String::new(), 143));
    assert_eq!(end(one, Signal::HUP), (String::new(), 129));
}

#[test]
fn a_root_that_is_made_anew_is_watched() {
    let sandbox = sandbox();
    let mut seen = watch(&sandbox, &["--json"]);
    seen.await_line("[]");
    assert_eq!(sandbox.run(["lock", "one"]).code, 0);
    seen.await_stdout("\"one\"");
    fs::remove_dir_all(sandbox.root()).unwrap();
    seen.await_line("[]");
    assert_eq!(sandbox.run(["lock", "two"]).code, 0);
    seen.await_stdout("\"two\"");
    end(seen, Signal::TERM);
}

#[test]
fn it_ends_with_its_reader_even_if_nothing_changes() {
    let said = sh(&sandbox(), "{ lokt status --watch --interval 1h; echo $? >&2; } | head -1");
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("no locks\n", "0\n"));
}

#[test]
fn a_result_that_cannot_be_written_ends_it() {
    let said = sh(&sandbox(), "lokt status --watch --interval 1h > /dev/full");
    assert_eq!(said.code, 1, "{said:?}");
    assert_eq!(said.stderr, "lokt: failed to write the result: No space left on device\n");
}

#[test]
fn it_sleeps_between_its_looks() {
    // The reader dawdles, and whoever does not sleep has time to show it.
    let script = "strace -qq -e trace=poll,ppoll -o trace $LOKT status --watch --interval 1h |
        { read -r line; echo \"$line\"; i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done; }";
    let sandbox = sandbox();
    let said = sandbox.sh(script);
    if said.stdout.is_empty() {
        skipped(Lack::behind("strace"), "strace does not work here");
        return;
    }
    let trace = fs::read_to_string(sandbox.work().join("trace")).unwrap();
    let slept = trace.lines().filter(|call| call.contains("POLLIN")).count();
    assert!((1..=2).contains(&slept), "{slept} times:\n{trace}");
}
