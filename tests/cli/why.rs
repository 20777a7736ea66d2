//! `lokt why`.

use super::status::freeze;
use super::transcript::{check, sandbox, sh};
use lokt_tests::sandbox::{Running, Sandbox, eventually, start};
use rustix::process::Signal;
use std::process::Stdio;

#[test]
fn a_free_lock_is_free() {
    check(
        &sandbox(),
        r#"
        $ lokt why deploy
        Lock "deploy" is FREE — acquisition would succeed.
        $ lokt why --json deploy
        {
          "name": "deploy",
          "status": "free",
          "reasons": [],
          "suggestions": [],
          "waiters": 0
        }
        "#,
    );
}

#[test]
fn a_manual_lock_is_explained() {
    check(
        &sandbox(),
        r#"
        $ lokt lock deploy --ttl 30m --note 'ask Ada'
        acquired lock "deploy"
        $ lokt why deploy
        Lock "deploy" is BLOCKED:

          HELD by tester@HOST (agent agent-test) (by hand)
            Age:  0s
            TTL:  30m0s (30m0s remaining)
            Note: ask Ada

        Suggestions:
          - lokt guard deploy --wait -- CMD
          - lokt unlock deploy  (by its owner)
          - lokt unlock deploy --force  (break-glass)
        = 2
        $ lokt why deploy --json
        {
          "name": "deploy",
          "status": "blocked",
          "reasons": [
            {
              "type": "held",
              "message": "Held by tester@HOST (agent agent-test) (by hand) for 0s",
              "holder_owner": "tester",
              "holder_host": "HOST",
              "holder_agent_id": "agent-test",
              "holder_ttl_sec": 1800,
              "holder_remaining_sec": 1800,
              "holder_pid_status": "unknown",
              "holder_lock_id": "ID",
              "holder_note": "ask Ada"
            }
          ],
          "suggestions": [
            "lokt guard deploy --wait -- CMD",
            "lokt unlock deploy  (by its owner)",
            "lokt unlock deploy --force  (break-glass)"
          ],
          "waiters": 0
        }
        = 2
        "#,
    );
}

#[test]
fn a_guard_and_those_who_wait_for_it_are_explained() {
    let sandbox = sandbox();
    let _guard = sandbox.hold(["guard", "build"]);
    let mut waiter = sandbox.start(["guard", "build", "--wait", "--", "true"]);
    waiter.await_stderr("place 1 in line");
    check(
        &sandbox,
        r#"
        $ lokt why build
        Lock "build" is BLOCKED:

          HELD by tester@HOST (agent agent-test) (PID PID, alive)
            Age:  0s

          1 waiting in line

        Suggestions:
          - lokt guard build --wait -- CMD
          - lokt unlock build --force  (break-glass: ends its command)
        = 2
        "#,
    );
}

/// A guard of `build` that was killed; its stdin stays open, and so its command waits until it is let go.
fn killed_guard(sandbox: &Sandbox) -> Running {
    let mut guard = sandbox.lokt(["guard", "build", "--", "sh", "-c", "trap '' TERM; echo in; read line"]);
    let mut guard = start(guard.stdin(Stdio::piped()));
    guard.await_line("in");
    guard.signal(Signal::KILL);
    eventually("the guard has died", || !guard.runs());
    guard
}

#[test]
fn a_guard_that_was_killed_is_told_from_its_command_that_runs_on() {
    let sandbox = sandbox();
    let mut guard = killed_guard(&sandbox);
    let text = sh(&sandbox, "lokt why build");
    assert_eq!(text.code, 2, "{text:?}");
    let pid = guard.pid();
    for said in [
        &*format!(" (PID {pid}, gone, but its command runs on)"),
        "- lokt guard build --wait -- CMD  (enters when that command has ended)\n",
        &format!("- fuser -v {}/sessions/build.", sandbox.root().display()),
        "- lokt unlock build --force  (break-glass: does not end its command)\n",
    ] {
        assert!(text.stdout.contains(said), "{said}: {text:?}");
    }
    assert!(!text.stdout.contains("break-glass: ends"), "{text:?}");
    let json = sh(&sandbox, "lokt why build --json").stdout;
    assert!(json.contains("gone, but its command runs on"), "{json}");
    guard.let_go();
    eventually("its command has ended", || sandbox.run(["why", "build"]).stdout.contains("left behind"));
}

#[test]
fn whoever_removes_the_lock_of_a_command_that_has_lost_its_guard_is_told_that_it_runs_on() {
    let sandbox = sandbox();
    let mut guard = killed_guard(&sandbox);
    let removed = sandbox.run(["unlock", "build", "--force"]);
    let said = format!("(pid {}) is gone, but its command runs on, and nobody ends it", guard.pid());
    assert!(removed.code == 0 && removed.stderr.contains(&said), "{removed:?}");
    guard.let_go();
}

#[test]
fn a_lapsed_lease_is_told_from_one_that_is_held() {
    let sandbox = sandbox();
    let guard = sandbox.hold(["guard", "build", "--ttl", "1s"]);
    guard.signal(Signal::STOP);
    eventually("the lease lapses", || sandbox.run(["why", "build"]).stdout.contains("LAPSED"));
    check(
        &sandbox,
        r#"
        $ lokt why build | grep -v -e Age -e TTL
        Lock "build" is BLOCKED:

          LAPSED by tester@HOST (agent agent-test) (PID PID, alive, but its lease has lapsed)

        Suggestions:
          - lokt unlock build --break-stale
          - lokt guard build --wait -- CMD  (takes a lapsed lease over)
        $ lokt why build --json | grep -e type -e expired -e status -e stale
          "status": "blocked",
              "type": "expired",
              "holder_expired": true,
              "holder_pid_status": "alive",
              "holder_stale_reason": "expired",
            "lokt unlock build --break-stale",
        "#,
    );
}

#[test]
fn what_a_dead_holder_left_behind_is_anybodys() {
    let sandbox = sandbox();
    let guard = sandbox.start(["guard", "build", "--", "sh", "-c", "exec sleep 600"]);
    eventually("the guard holds its lock", || sandbox.run(["exists", "build"]).code == 0);
    guard.signal(Signal::KILL);
    eventually("the guard and its command are dead", || sandbox.run(["exists", "build"]).code == 3);
    check(
        &sandbox,
        r#"
        $ lokt why build
        Lock "build" is left behind — the next one who wants it gets it:

          STALE by tester@HOST (agent agent-test) (PID PID, dead)
            Age:  0s

        Suggestions:
          - lokt guard build -- CMD  (takes it over)
          - lokt unlock build --break-stale
        = 2
        $ lokt lock build
        acquired lock "build"
        "#,
    );
}

#[test]
fn a_manual_lock_past_its_ttl_is_anybodys() {
    check(
        &sandbox(),
        r#"
        $ export LOKT_NO_SWEEP=1; lokt lock deploy --ttl 1ns && lokt why deploy
        acquired lock "deploy"
        Lock "deploy" is left behind — the next one who wants it gets it:

          EXPIRED by tester@HOST (agent agent-test) (its time has passed)
            Age:  0s
            TTL:  0s (expired)

        Suggestions:
          - lokt guard deploy -- CMD  (takes it over)
          - lokt unlock deploy --break-stale
        = 2
        "#,
    );
}

#[test]
fn a_freeze_comes_before_the_holder() {
    let sandbox = sandbox();
    freeze(&sandbox, "deploy");
    check(
        &sandbox,
        r#"
        $ lokt why deploy
        Lock "deploy" is BLOCKED:

          FROZEN by ops@h
            Age:       0s

        Suggestions:
          - Wait for the freeze to end
          - lokt unfreeze deploy  (by its owner)
          - lokt unfreeze deploy --force  (break-glass)
        = 2
        $ lokt why deploy --json
        {
          "name": "deploy",
          "status": "blocked",
          "reasons": [
            {
              "type": "frozen",
              "message": "Frozen by ops@h for 0s",
              "freeze_owner": "ops",
              "freeze_host": "h",
              "freeze_pid": 1
            }
          ],
          "suggestions": [
            "Wait for the freeze to end",
            "lokt unfreeze deploy  (by its owner)",
            "lokt unfreeze deploy --force  (break-glass)"
          ],
          "waiters": 0
        }
        = 2
        "#,
    );
}

#[test]
fn records_that_are_none_are_explained() {
    let sandbox = sandbox();
    sandbox.plant("corrupt", "nonsense");
    sandbox.plant("young", "");
    sandbox.plant("later", r#"{"version":99}"#);
    check(
        &sandbox,
        r#"
        $ lokt why corrupt
        Lock "corrupt" is left behind — the next one who wants it gets it:

          CORRUPT record: expected ident at line 1 column 2

        Suggestions:
          - lokt unlock corrupt --break-stale
        = 2
        $ lokt why young
        Lock "young" is BLOCKED:

          HELD: it is just being acquired

        Suggestions:
          - lokt lock --wait young
        = 2
        $ lokt why later
        ! lokt: lock "later" is of version 99, newer than this lokt knows: it counts as held; upgrade lokt
        ! lokt: hint: if you are sure that it is abandoned: lokt unlock later --force
        = 1
        "#,
    );
}
