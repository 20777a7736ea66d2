//! `lokt status --watch`, for files and programs. On a terminal: see `terminal/status.rs`.

use super::transcript::{sandbox, sh, steady};
use lokt_tests::sandbox::{Running, Sandbox};
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
    let mut seen = watch(&sandbox, &[]);
    seen.await_line("no locks");
    assert_eq!(sandbox.run(["lock", "x", "--ttl", "1h", "--note", "one"]).code, 0);
    // It ages, and its lease runs down; neither is a change.
    seen.await_line("");
    let looked =
        sandbox.sh("while [ $(( $(date +%s) - $(stat -c %Y $LOKT_ROOT/locks/x.json) )) -lt 2 ]; do :; done");
    assert_eq!(looked.code, 0);
    assert_eq!(sandbox.run(["unlock", "x"]).code, 0);
    seen.await_line("");
    seen.await_line("no locks");
    let (rest, code) = end(seen, Signal::INT);
    assert_eq!((rest.as_str(), code), ("", 130));
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
#[expect(clippy::print_stderr, reason = "what was not tested is told")]
fn it_sleeps_between_its_looks() {
    // The reader dawdles, and whoever does not sleep has time to show it.
    let script = "strace -qq -e trace=poll,ppoll -o trace $LOKT status --watch --interval 1h |
        { read -r line; echo \"$line\"; i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done; }";
    let sandbox = sandbox();
    let said = sandbox.sh(script);
    if said.stdout.is_empty() {
        eprintln!("SKIPPED: strace does not work here");
        return;
    }
    let trace = std::fs::read_to_string(sandbox.work().join("trace")).unwrap();
    let slept = trace.lines().filter(|call| call.contains("POLLIN")).count();
    assert!((1..=2).contains(&slept), "{slept} times:\n{trace}");
}
