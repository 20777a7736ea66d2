//! Each JSON output has a schema in `docs/schemas/`: what the program prints, in every shape, is valid by it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use lokt_tests::sandbox::{Sandbox, eventually};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::transcript::{sandbox, sh};
use crate::schema::{dir, schemas, validate};

/// The program's JSON for a line of shell, validated; it must end with that code.
#[track_caller]
fn says(sandbox: &Sandbox, schema: &str, line: &str, code: i32) -> Value {
    let said = sh(sandbox, &format!("export LOKT_NO_SWEEP=1; {line}"));
    assert_eq!(said.code, code, "{line}: {said:?}");
    validate(schema, &said.stdout)
}

/// A root with a lock in each state; the processes that hold them.
fn zoo(sandbox: &Sandbox) -> Vec<lokt_tests::sandbox::Running> {
    let lapsing = sandbox.hold(["guard", "lapsed", "--ttl", "1s"]);
    lapsing.signal(Signal::STOP);
    let made = sh(
        sandbox,
        r"export LOKT_NO_SWEEP=1; lokt lock by-hand --ttl 1h --note 'ask <Ada> & co' && LOKT_AGENT_ID=claude-7 lokt lock forever
        sleep 100 & lokt lock tied --ttl 1h --pid $!; kill $!; wait
        lokt lock alive --pid $PPID; lokt lock past --ttl 1ns
        lokt lock read --shared --ttl 1h; lokt lock read --shared; lokt lock read --shared --ttl 1ns
        lokt lock gpu --slots 2; lokt lock gpu --slots 2 --ttl 1h --note 'epoch 7'
        mkdir $LOKT_ROOT/locks/unreadable.json",
    );
    assert_eq!(made.code, 0, "{made:?}");
    let mut held = vec![sandbox.hold(["guard", "held", "--ttl", "1h", "--note", "building"]), lapsing];
    let mut waiter = sandbox.start(["guard", "held", "--wait", "--", "true"]);
    waiter.await_stderr("place 1 in line");
    held.push(waiter);
    let mut dying = sandbox.hold(["guard", "dead"]);
    held.push(sandbox.hold(["guard", "strict"]));
    dying.signal(Signal::KILL);
    assert_eq!(dying.await_end(), 137);
    sandbox.plant("corrupt", "nonsense");
    sandbox.plant("newer", r#"{"version":99}"#);
    sandbox.plant("go", go_record("go"));
    sandbox.plant("bare", r#"{"version":1,"name":"bare","owner":"","host":"","pid":0}"#);
    let freezes = sandbox.root().join("freezes");
    fs::create_dir_all(&freezes).unwrap();
    for name in ["frozen", "held"] {
        fs::write(freezes.join(format!("{name}.json")), freeze(name)).unwrap();
    }
    eventually("all is as it is to be", || {
        let listed = sh(sandbox, "LOKT_NO_SWEEP=1 lokt status --json").stdout;
        ["lapsed", "dead"].iter().all(|state| listed.contains(&format!("\"state\": \"{state}\"")))
    });
    held
}

fn go_record(name: &str) -> String {
    format!(
        r#"{{"version":1,"name":"{name}","lock_id":"00112233445566778899aabbccddeeff","owner":"ada","host":"elsewhere",
        "pid":77,"pid_start_ns":64013,"agent_id":"agent-12ef","acquired_ts":"2001-02-08T19:00:00.123456789+09:00",
        "ttl_sec":60,"expires_at":"2001-02-08T19:01:00.123456789+09:00"}}"#
    )
}

fn freeze(name: &str) -> String {
    go_record(name).replace("2001", "2999").replace("60,", "3600,")
}

#[test]
fn the_status_of_everything_that_can_stand_in_a_root() {
    let sandbox = sandbox();
    says(&sandbox, "status", "lokt status --json", 0);
    let _held = zoo(&sandbox);
    sandbox.plant("young", "");
    let all = says(&sandbox, "status", "lokt status --json", 0);
    let states: BTreeSet<&str> =
        all.as_array().unwrap().iter().filter_map(|one| one["state"].as_str()).collect();
    let known = ["corrupt", "dead", "expired", "held", "lapsed", "newer", "starting", "unreadable"];
    assert_eq!(states.into_iter().filter(|state| *state != "frozen").collect::<Vec<_>>(), known);
    let frozen = all.as_array().unwrap().iter().filter(|one| one["freeze"] == true).count();
    assert_eq!(frozen, 2, "{all:#}");
}

#[test]
fn the_status_of_one_lock() {
    let sandbox = sandbox();
    let _held = zoo(&sandbox);
    for name in
        ["held", "by-hand", "forever", "tied", "alive", "past", "lapsed", "dead", "strict", "go", "bare"]
    {
        says(&sandbox, "status-one", &format!("lokt status {name} --json"), 0);
    }
    for state in ["corrupt", "newer", "unreadable"] {
        let said = says(&sandbox, "status-one", &format!("lokt status {state} --json 2>/dev/null"), 1);
        assert_eq!(said, json!({ "name": state, "state": state }));
    }
    let waiters = says(&sandbox, "status-one", "lokt status held --json", 0);
    assert_eq!(waiters["waiters"].as_array().map(Vec::len), Some(1));
    let readers = says(&sandbox, "status-one", "lokt status read --json", 0);
    let summary = |one: &Value| (one["shared"].clone(), one["holders"].clone(), one["slot"].clone());
    assert_eq!(summary(&readers), (json!(true), json!(2), Value::Null), "{readers:#}");
    let trainers = says(&sandbox, "status-one", "lokt status gpu --json", 0);
    assert_eq!(summary(&trainers), (Value::Null, json!(2), json!(1)), "{trainers:#}");
    assert_eq!((&trainers["slots"], &trainers["others"][0]["slot"]), (&json!(2), &json!(2)), "{trainers:#}");
    says(&sandbox, "status-pruned", "lokt status past --json --prune-expired", 0);
}

#[test]
fn what_is_watched_is_a_status_in_each_line() {
    let sandbox = sandbox();
    let _held = zoo(&sandbox);
    says(&sandbox, "status", "lokt status --watch --json --interval 1h | head -1", 0);
    for name in ["held", "frozen", "free", "corrupt", "newer", "unreadable"] {
        let line = format!("lokt status {name} --watch --json --interval 1h | head -1");
        says(&sandbox, "status-one", &line, 0);
    }
}

#[test]
fn why_explains_everything_that_can_be_in_the_way() {
    let sandbox = sandbox();
    let _held = zoo(&sandbox);
    sandbox.plant("young", "");
    says(&sandbox, "why", "lokt why young --json", 2);
    says(&sandbox, "why", "lokt why free --json", 0);
    let mut types = BTreeSet::new();
    for name in [
        "held", "by-hand", "forever", "tied", "alive", "past", "lapsed", "dead", "strict", "go", "bare",
        "frozen", "corrupt", "read", "gpu",
    ] {
        let said = says(&sandbox, "why", &format!("lokt why {name} --json"), 2);
        types.extend(said["reasons"].as_array().unwrap().iter().map(|reason| reason["type"].to_string()));
    }
    for state in ["newer", "unreadable"] {
        let said = says(&sandbox, "why", &format!("lokt why {state} --json 2>/dev/null"), 1);
        types.insert(said["reasons"][0]["type"].to_string());
    }
    let gpu = says(&sandbox, "why", "lokt why gpu --json", 2);
    let slots: Vec<_> = gpu["reasons"].as_array().unwrap().iter().map(|one| &one["holder_slot"]).collect();
    assert_eq!((slots, &gpu["slots"]), (vec![&json!(1), &json!(2)], &json!(2)), "{gpu:#}");
    let known = ["corrupted", "dead_pid", "expired", "frozen", "held", "newer", "unreadable"];
    let known = known.map(|one| format!("\"{one}\""));
    assert_eq!(types.into_iter().collect::<Vec<_>>(), known);
}

#[test]
fn a_lock_that_is_taken_and_one_that_is_not() {
    let sandbox = sandbox();
    let _held = zoo(&sandbox);
    says(&sandbox, "lock", "lokt lock new --json", 0);
    says(&sandbox, "lock", "lokt lock new-lease --json --ttl 5m --note x", 0);
    for name in ["held", "by-hand", "forever", "alive", "lapsed", "strict", "frozen", "bare", "read", "gpu"] {
        says(&sandbox, "denial", &format!("lokt lock {name} --json"), 2);
    }
    let full = says(&sandbox, "denial", "lokt lock gpu --slots 2 --json", 2);
    assert_eq!((&full["slots"], &full["holders"]), (&json!(2), &json!(2)), "{full:#}");
    assert_eq!(full["holder_slot"], 2, "the one whose lease ends first: {full:#}");
    let third = says(&sandbox, "lock", "lokt lock gpus --slots 3 --json", 0);
    assert_eq!((&third["slot"], &third["slots"]), (&json!(1), &json!(3)), "{third:#}");
    let reader = says(&sandbox, "lock", "lokt lock read --shared --json", 0);
    assert_eq!(reader["shared"], true, "{reader:#}");
    says(&sandbox, "denial", "lokt lock by-hand --json --wait --timeout 1ms 2> /dev/null", 2);
}

#[test]
fn a_lease_that_is_renewed_and_locks_that_are_released() {
    let sandbox = sandbox();
    let taken = sh(&sandbox, "lokt lock a --ttl 5m && lokt lock b --ttl 1h && lokt lock c && lokt lock d");
    assert_eq!(taken.code, 0, "{taken:?}");
    says(&sandbox, "renew", "lokt renew a --json", 0);
    says(&sandbox, "renew", "lokt renew a --ttl 90s --json", 0);
    says(&sandbox, "unlock", "lokt unlock a --json", 0);
    says(&sandbox, "unlock", "lokt unlock b --force --json", 0);
    says(&sandbox, "unlock", "lokt unlock --owner nobody --json", 0);
    let all = says(&sandbox, "unlock", "lokt unlock --all --json", 0);
    assert_eq!(all, json!({ "released": ["c", "d"], "count": 2 }));
}

#[test]
fn the_records_on_disk() {
    let sandbox = sandbox();
    let _held = zoo(&sandbox);
    assert_eq!(sandbox.run(["renew", "by-hand"]).code, 0);
    for name in
        ["held", "by-hand", "forever", "tied", "alive", "past", "lapsed", "dead", "strict", "read", "gpu"]
    {
        validate("record", &fs::read_to_string(sandbox.record(name)).unwrap());
    }
    for name in ["read", "gpu"] {
        let holders = fs::read_dir(sandbox.root().join("holders").join(name)).unwrap();
        let records: Vec<_> = holders.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect();
        assert!(records.len() >= 2, "{records:?}");
        records.iter().for_each(|record| drop(validate("record", record)));
    }
}

#[test]
fn every_schema_is_used_by_a_test() {
    let tests = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("cli")).unwrap().flatten();
    let tests: String = tests.map(|file| fs::read_to_string(file.path()).unwrap()).collect();
    for (name, _) in schemas() {
        let quoted = format!("\"{name}\"");
        let calls = tests.split("validate(").chain(tests.split("says(")).map(|rest| rest.split(';').next());
        let used = calls.flatten().any(|call| call.contains(&quoted));
        assert!(used, "no test validates anything by {name}.schema.json");
    }
}

#[test]
fn every_schema_is_one_and_says_what_everything_means() {
    for (name, schema) in schemas() {
        jsonschema::meta::validate(&schema).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{name}");
        assert!(schema["title"].is_string() && schema["description"].is_string(), "{name} has no title");
        describes(&name, &schema);
    }
}

#[test]
fn every_reference_leads_to_a_schema_beside_it() {
    for (name, schema) in schemas() {
        assert_eq!(schema.get("$id"), None, "{name}: references would be resolved by it, in the network");
        for target in references(&schema) {
            let (file, _) = target.split_once('#').unwrap_or((target, ""));
            assert!(file.is_empty() || dir().join(file).is_file(), "{name} refers to {target}");
        }
    }
}

fn references(schema: &Value) -> Vec<&str> {
    match schema {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(key, value)| match value.as_str().filter(|_| key == "$ref") {
                Some(target) => vec![target],
                None => references(value),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

/// Every property has a description, down to the last.
fn describes(path: &str, schema: &Value) {
    match schema {
        Value::Object(fields) => {
            for (key, value) in fields {
                let path = format!("{path}/{key}");
                if let ("properties", Some(properties)) = (key.as_str(), value.as_object()) {
                    for (property, value) in properties {
                        assert!(value["description"].is_string(), "{path}/{property} has no description");
                    }
                }
                describes(&path, value);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| describes(path, item)),
        _ => {}
    }
}
