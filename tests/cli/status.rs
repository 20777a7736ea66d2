//! `lokt status`.

use super::transcript::{check, sandbox};
use lokt_tests::sandbox::{Sandbox, eventually};
use std::fs;

/// A freeze that does not end by itself.
pub fn freeze(sandbox: &Sandbox, name: &str) {
    let freezes = sandbox.root().join("freezes");
    fs::create_dir_all(&freezes).unwrap();
    let record = format!(r#"{{"version":1,"name":"{name}","owner":"ops","host":"h","pid":1}}"#);
    fs::write(freezes.join(format!("{name}.json")), record).unwrap();
}

#[test]
fn an_empty_root_has_no_locks() {
    check(
        &sandbox(),
        r#"
        $ lokt status
        no locks
        $ lokt status --json
        []
        $ lokt status deploy
        ! lokt: lock "deploy" not found
        ! lokt: hint: see what is held: lokt status
        = 3
        $ lokt status deploy --json
        ! lokt: lock "deploy" not found
        ! lokt: hint: see what is held: lokt status
        = 3
        "#,
    );
}

#[test]
fn a_ttl_is_shown_as_it_was_given_everywhere() {
    let sandbox = sandbox();
    for (given, shown) in [("1500ms", "1.5s"), ("48h", "48h0m0s")] {
        let script =
            format!("lokt lock x --ttl {given}; lokt status x; lokt why x; lokt renew x; lokt unlock x");
        let said = super::transcript::sh(&sandbox, &script).stdout;
        let told =
            [format!("ttl:      {shown}\n"), format!("TTL:  {shown} ("), format!("\"x\" for {shown}\n")];
        assert!(told.iter().all(|told| said.contains(told)), "{told:?}\n{said}");
    }
}

#[test]
fn an_owner_of_blanks_is_none() {
    let sandbox = sandbox();
    let said = super::transcript::sh(&sandbox, "LOKT_OWNER=' ' lokt lock x; lokt status x --json");
    assert!(said.stdout.contains("\"owner\": \"") && !said.stdout.contains("\"owner\": \" \""), "{said:?}");
}

#[test]
fn the_list_is_in_columns_however_long_the_names() {
    let sandbox = sandbox();
    check(
        &sandbox,
        r#"
        $ lokt lock b
        acquired lock "b"
        $ LOKT_OWNER=somebody-else lokt lock a --note 'ask Ada'
        acquired lock "a"
        $ lokt status
        a                     somebody-else@HOST  0s  ask Ada
        b                     tester@HOST         0s
        $ lokt lock a-name-that-is-longer-than-twenty
        acquired lock "a-name-that-is-longer-than-twenty"
        $ lokt status
        a                                  somebody-else@HOST  0s  ask Ada
        a-name-that-is-longer-than-twenty  tester@HOST         0s
        b                                  tester@HOST         0s
        $ LOKT_OWNER=東京 lokt lock c && lokt status | grep -v -e tester -e '^a-'
        acquired lock "c"
        a                                  somebody-else@HOST  0s  ask Ada
        c                                  東京@HOST           0s
        "#,
    );
}

#[test]
fn freezes_and_what_cannot_be_read_are_in_the_list() {
    let sandbox = sandbox();
    freeze(&sandbox, "frozen");
    sandbox.plant("corrupt", "nonsense");
    sandbox.plant("later", r#"{"version":99}"#);
    sandbox.plant("young", "");
    check(
        &sandbox,
        r#"
        $ lokt status
        corrupt               -      [CORRUPT]
        frozen                ops@h  0s [FROZEN]
        later                 -      [NEWER]
        young                 -      [STARTING]
        $ lokt status --json | grep -e name -e state
            "name": "corrupt",
            "state": "corrupt"
            "name": "frozen",
            "state": "frozen"
            "name": "later",
            "state": "newer"
            "name": "young",
            "state": "starting"
        $ lokt status corrupt
        ! lokt: lock "corrupt" has a corrupt record
        ! lokt: hint: remove it: lokt unlock corrupt --break-stale
        = 1
        "#,
    );
}

#[test]
fn one_lock_is_shown_in_full() {
    check(
        &sandbox(),
        r#"
        $ lokt lock deploy --ttl 30m --note 'ask Ada'
        acquired lock "deploy"
        $ lokt status deploy
        name:     deploy
        state:    held
        owner:    tester
        agent:    agent-test
        host:     HOST
        pid:      none (locked by hand)
        age:      0s
        note:     ask Ada
        ttl:      30m0s
        expires:  TIME (in 30m0s)
        token:    1
        lock-id:  ID
        "#,
    );
}

#[test]
fn json_has_the_fields_of_the_go_tool_first_and_one_name_is_one_object() {
    let sandbox = sandbox();
    let _guard = sandbox.hold(["guard", "build", "--ttl", "30m"]);
    let object = r#"{
          "version": 1,
          "name": "build",
          "owner": "tester",
          "host": "HOST",
          "pid": PID,
          "pid_start_ns": START,
          "agent_id": "agent-test",
          "acquired_ts": "TIME",
          "ttl_sec": 1800,
          "expires_at": "TIME",
          "age_sec": 0,
          "expired": false,
          "pid_status": "alive",
          "state": "held",
          "kind": "guard",
          "lock_id": "ID",
          "token": 1,
          "remaining_sec": 1800,
          "waiters": []
        }"#;
    check(&sandbox, &format!("\n        $ lokt status build --json\n        {object}\n"));
    let element = object.replace('\n', "\n  ");
    check(&sandbox, &format!("\n        $ lokt status --json\n        [\n          {element}\n        ]\n"));
}

#[test]
fn a_freeze_is_shown_beside_the_lock() {
    let sandbox = sandbox();
    freeze(&sandbox, "deploy");
    check(
        &sandbox,
        r#"
        $ lokt status deploy
        ! lokt: lock "deploy" is held by nobody, and frozen by ops@h, for 0s
        ! lokt: hint: see what is held: lokt status
        = 3
        $ lokt status --json
        [
          {
            "version": 1,
            "name": "deploy",
            "owner": "ops",
            "host": "h",
            "pid": PID,
            "acquired_ts": "",
            "age_sec": 0,
            "expired": false,
            "pid_status": "unknown",
            "freeze": true,
            "state": "frozen"
          }
        ]
        "#,
    );
}

#[test]
fn what_has_lapsed_is_marked_and_pruned_on_demand() {
    let sandbox = sandbox();
    for name in ["one", "two"] {
        sandbox.plant(name, expired_on_another_host(name));
    }
    check(
        &sandbox,
        r#"
        $ export LOKT_NO_SWEEP=1; lokt status --prune-expired one; lokt status | sed -E 's/[0-9]+h[0-9]+m[0-9]+s/AGE/'
        pruned expired lock "one"
        two                   ada@elsewhere  AGE [EXPIRED]
        $ LOKT_NO_SWEEP=1 lokt status --prune-expired
        pruned: two (expired)

        pruned 1 expired lock(s)
        $ lokt status --prune-expired
        no locks
        "#,
    );
    sandbox.plant("three", expired_on_another_host("three"));
    sandbox.plant("four", expired_on_another_host("four"));
    check(
        &sandbox,
        r#"
        $ LOKT_NO_SWEEP=1 lokt status --prune-expired three --json
        {
          "status": "pruned",
          "name": "three"
        }
        $ LOKT_NO_SWEEP=1 lokt status --prune-expired --json
        []
        "#,
    );
}

fn expired_on_another_host(name: &str) -> String {
    format!(
        r#"{{"version":1,"name":"{name}","owner":"ada","host":"elsewhere","pid":7,"acquired_ts":"2001-01-01T00:00:00Z","ttl_sec":60,"expires_at":"2001-01-01T00:01:00Z"}}"#
    )
}

#[test]
fn what_a_sweep_may_remove_is_swept_unless_it_is_turned_off() {
    let sandbox = sandbox();
    sandbox.plant("old", expired_on_another_host("old"));
    check(
        &sandbox,
        r#"
        $ LOKT_NO_SWEEP=0 lokt exists old; lokt status >/dev/null; lokt status
        = 0
        "#
        .replace("        = 0\n", "        no locks\n")
        .as_str(),
    );
}

#[test]
fn waiters_are_shown_in_the_order_of_the_line() {
    let sandbox = sandbox();
    let mut guard = sandbox.hold(["guard", "build"]);
    let mut first = sandbox.start(["guard", "build", "--wait", "--", "true"]);
    first.await_stderr("place 1 in line");
    let mut second = sandbox.start(["guard", "build", "--wait", "--", "true"]);
    second.await_stderr("place 2 in line");
    check(
        &sandbox,
        r#"
        $ lokt status
        build                 tester@HOST  0s (2 waiting)
        $ lokt status build | grep -A1 waiting
        waiting:  1. tester@HOST, pid PID, for 0s
                  2. tester@HOST, pid PID, for 0s
        $ lokt status build --json | grep -A8 waiters
          "waiters": [
            {
              "owner": "tester",
              "host": "HOST",
              "pid": PID,
              "agent_id": "agent-test",
              "since_ts": "TIME"
            },
            {
        "#,
    );
    guard.let_go();
    assert_eq!(first.await_end(), 0);
    assert_eq!(second.await_end(), 0);
}

#[test]
fn a_lapsed_lease_is_shown_as_lapsed_although_its_holder_lives() {
    let sandbox = sandbox();
    let mut guard = sandbox.hold(["guard", "build", "--ttl", "1s"]);
    guard.signal(rustix::process::Signal::STOP);
    eventually("the lease lapses", || sandbox.run(["status", "build"]).stdout.contains("state:    lapsed"));
    check(
        &sandbox,
        r#"
        $ lokt status build | grep -v age:
        name:     build
        state:    lapsed
        owner:    tester
        agent:    agent-test
        host:     HOST
        pid:      PID (alive)
        ttl:      0s
        expires:  TIME (EXPIRED)
        token:    1
        lock-id:  ID
        $ lokt lock build
        ! lokt: lock "build" is held by tester@HOST (agent agent-test), pid PID, for 0s, alive but its lease has lapsed
        ! lokt: hint: take it over: --break-stale, or --wait
        = 2
        $ lokt lock build --break-stale
        acquired lock "build"
        "#,
    );
    guard.signal(rustix::process::Signal::CONT);
    assert_eq!(guard.await_end(), 5, "on waking it finds out");
}

#[test]
fn a_record_of_the_go_tool_is_shown_as_that_tool_shows_it() {
    let sandbox = sandbox();
    sandbox.plant(
        "deploy",
        r#"{"version":1,"name":"deploy","lock_id":"00112233445566778899aabbccddeeff","owner":"ada","host":"elsewhere",
        "pid":77,"pid_start_ns":64013,"agent_id":"agent-12ef","acquired_ts":"2999-02-08T19:00:00.123456789+09:00"}"#,
    );
    check(
        &sandbox,
        r#"
        $ lokt status deploy --json
        {
          "version": 1,
          "name": "deploy",
          "owner": "ada",
          "host": "elsewhere",
          "pid": PID,
          "pid_start_ns": START,
          "agent_id": "agent-12ef",
          "acquired_ts": "2999-02-08T19:00:00+09:00",
          "age_sec": 0,
          "expired": false,
          "pid_status": "unknown",
          "state": "held",
          "lock_id": "ID",
          "waiters": []
        }
        $ lokt status
        deploy                ada@elsewhere  0s
        $ lokt lock deploy
        ! lokt: lock "deploy" is held by ada@elsewhere, pid PID, for 0s
        ! lokt: hint: wait for it: --wait, or --wait --timeout 5m
        = 2
        "#,
    );
}
