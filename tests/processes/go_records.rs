//! Records as the Go tool writes them: judged by process, start time and TTL, as that tool judges them.

use std::fs;

use lokt_tests::sandbox::Sandbox;
use serde_json::{Value, json};

use crate::helpers::{queue, record, sandbox};

const PAST: &str = "2020-01-01T00:00:00.123456789Z";
const FUTURE: &str = "2999-01-01T00:00:00Z";

/// A record in the Go tool's format, of this very test: a process that lives.
fn of_this_process() -> Value {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    json!({
        "version": 1,
        "name": "x",
        "lock_id": "0123456789abcdef0123456789abcdef",
        "owner": "gopher",
        "host": host.trim(),
        "pid": std::process::id(),
        "pid_start_ns": start_of_this_process(),
        "agent_id": "agent-1234",
        "acquired_ts": PAST,
    })
}

fn start_of_this_process() -> i64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').nth(19).unwrap().parse().unwrap()
}

fn planted(changes: Value) -> Sandbox {
    let sandbox = sandbox();
    let mut record = of_this_process();
    for (field, value) in changes.as_object().unwrap() {
        record[field] = value.clone();
    }
    sandbox.plant("x", record.to_string());
    sandbox
}

/// The exit codes of a plain try, of `unlock --break-stale` and of a try with `--break-stale`, each on its own.
fn codes(changes: Value) -> [i32; 3] {
    [
        planted(changes.clone()).run(["guard", "x", "--", "true"]).code,
        planted(changes.clone()).run(["unlock", "x", "--break-stale"]).code,
        planted(changes).run(["guard", "x", "--break-stale", "--", "true"]).code,
    ]
}

const HELD: [i32; 3] = [2, 1, 2];
const LAPSED: [i32; 3] = [2, 0, 0];
const FREE: [i32; 3] = [0, 0, 0];

#[test]
fn a_go_record_of_a_process_that_lives_is_held() {
    assert_eq!(codes(json!({})), HELD);
    assert_eq!(codes(json!({ "ttl_sec": 300, "expires_at": FUTURE })), HELD);
}

#[test]
fn a_go_record_of_a_process_that_lives_past_its_ttl_has_lapsed() {
    assert_eq!(codes(json!({ "ttl_sec": 1, "expires_at": PAST })), LAPSED);
    assert_eq!(codes(json!({ "ttl_sec": 1 })), LAPSED);
}

#[test]
fn a_go_record_of_a_process_that_is_gone_is_free() {
    let reused = json!({ "pid_start_ns": start_of_this_process() - 1 });
    assert_eq!(codes(reused), FREE, "its id belongs to a later process");
    let gone = json!({ "pid": 0x3fff_fff0, "ttl_sec": 300, "expires_at": FUTURE });
    assert_eq!(codes(gone), FREE);
}

#[test]
fn a_go_record_of_another_host_is_judged_by_its_ttl_alone() {
    assert_eq!(codes(json!({ "host": "elsewhere", "pid": 0x3fff_fff0 })), HELD);
    let fresh = json!({ "host": "elsewhere", "ttl_sec": 300, "expires_at": FUTURE });
    assert_eq!(codes(fresh), HELD);
    let expired = json!({ "host": "elsewhere", "ttl_sec": 1, "expires_at": PAST });
    assert_eq!(codes(expired), FREE);
}

#[test]
fn a_waiter_enters_when_the_go_tool_removes_its_record() {
    let sandbox = planted(json!({}));
    let mut waiter = queue(&sandbox, &["guard", "x", "--wait"]);
    fs::remove_file(sandbox.record("x")).unwrap();
    waiter.await_line("in");
    assert_eq!(record(&sandbox, "x")["pid"], waiter.pid());
}
