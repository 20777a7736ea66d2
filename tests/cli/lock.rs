//! `lokt lock`.

use super::transcript::{check, sandbox};

#[test]
fn whoever_is_under_a_guard_of_that_name_is_told_so_and_does_not_wait_for_itself() {
    check(
        &sandbox(),
        r#"
        $ lokt guard x -- $LOKT lock x
        ! lokt: lock "x" is held by the guard around this command
        ! lokt: hint: whatever is done here is done under it
        = 2
        $ lokt guard x -- $LOKT lock x --wait
        ! lokt: lock "x" is held by the guard around this command: it would wait for itself
        ! lokt: hint: whatever is done here is done under it
        = 64
        $ lokt guard y -- $LOKT lock x
        acquired lock "x"
        $ lokt guard z --shared -- $LOKT lock z --shared --wait
        acquired lock "z"
        $ lokt guard g --slots 2 -- $LOKT lock g --slots 2
        acquired lock "g", slot 2 of 2
        "#,
    );
}

#[test]
fn whoever_cannot_be_told_that_he_has_it_is_told_how_to_release_it() {
    let sandbox = sandbox();
    check(
        &sandbox,
        r#"
        $ lokt lock x --json > /dev/full
        ! lokt: failed to write the result: No space left on device
        ! lokt: lock "x" was taken all the same
        ! lokt: hint: to release it: lokt unlock x --lock-id ID
        = 1
        "#,
    );
}

#[test]
fn a_lock_is_taken_and_then_denied_to_everybody_even_to_its_owner() {
    check(
        &sandbox(),
        r#"
        $ lokt lock deploy
        acquired lock "deploy"
        $ lokt lock deploy
        ! lokt: lock "deploy" is held by tester@HOST (agent agent-test), by hand, for 0s
        ! lokt: hint: wait for it: --wait, or --wait --timeout 5m
        = 2
        $ LOKT_OWNER=bob lokt lock deploy
        ! lokt: lock "deploy" is held by tester@HOST (agent agent-test), by hand, for 0s
        ! lokt: hint: wait for it: --wait, or --wait --timeout 5m
        = 2
        "#,
    );
}

#[test]
fn a_denial_tells_the_note_and_what_is_left_of_the_lease() {
    check(
        &sandbox(),
        r#"
        $ lokt lock deploy --ttl 30m --note 'ask Ada'
        acquired lock "deploy"
        $ lokt lock deploy
        ! lokt: lock "deploy" is held by tester@HOST (agent agent-test), by hand, for 0s, 30m0s left of its lease, note: ask Ada
        ! lokt: hint: wait for it: --wait, or --wait --timeout 5m
        = 2
        "#,
    );
}

#[test]
fn json_has_the_fields_of_the_go_tool_first() {
    check(
        &sandbox(),
        r#"
        $ lokt lock --json --ttl 30m --note 'ask Ada' deploy
        {
          "status": "acquired",
          "name": "deploy",
          "lock_id": "ID",
          "token": 1,
          "expires_at": "TIME"
        }
        $ lokt lock deploy --json
        {
          "status": "blocked",
          "name": "deploy",
          "holder_owner": "tester",
          "holder_host": "HOST",
          "holder_agent_id": "agent-test",
          "holder_ttl_sec": 1800,
          "holder_remaining_sec": 1800,
          "holder_pid_status": "unknown",
          "holder_acquired_ts": "TIME",
          "holder_expires_at": "TIME",
          "holder_lock_id": "ID",
          "holder_note": "ask Ada"
        }
        ! lokt: lock "deploy" is held by tester@HOST (agent agent-test), by hand, for 0s, 30m0s left of its lease, note: ask Ada
        ! lokt: hint: wait for it: --wait, or --wait --timeout 5m
        = 2
        "#,
    );
}

#[test]
fn a_wait_that_takes_too_long_says_who_was_waited_for_in_json_too() {
    check(
        &sandbox(),
        r#"
        $ lokt lock deploy
        acquired lock "deploy"
        $ lokt lock deploy --wait --timeout 20ms --json
        {
          "status": "blocked",
          "name": "deploy",
          "holder_owner": "tester",
          "holder_host": "HOST",
          "holder_agent_id": "agent-test",
          "holder_pid_status": "unknown",
          "holder_acquired_ts": "TIME",
          "holder_lock_id": "ID"
        }
        ! lokt: waiting, place 1 in line: lock "deploy" is held by tester@HOST (agent agent-test), by hand, for 0s
        ! lokt: timed out after 0s: lock "deploy" is held by tester@HOST (agent agent-test), by hand, for 0s
        ! lokt: hint: see who holds it: lokt why deploy
        = 2
        "#,
    );
}

#[test]
fn a_lock_past_its_ttl_is_anybodys() {
    check(
        &sandbox(),
        r#"
        $ lokt lock deploy --ttl 1ns
        acquired lock "deploy"
        $ LOKT_OWNER=bob lokt lock deploy
        acquired lock "deploy"
        "#,
    );
}

#[test]
fn a_ttl_of_nothing_is_no_ttl_as_in_the_go_tool() {
    check(
        &sandbox(),
        r#"
        $ lokt lock deploy --ttl 0s
        acquired lock "deploy"
        $ lokt renew deploy
        ! lokt: lock "deploy" has no TTL that could be renewed
        ! lokt: hint: give it one: lokt renew deploy --ttl 5m
        = 1
        "#,
    );
}

#[test]
fn a_lock_that_is_tied_to_a_process_ends_with_it() {
    check(
        &sandbox(),
        r#"
        $ lokt lock deploy --pid $$ && lokt lock deploy 2>/dev/null || echo "denied $?"
        acquired lock "deploy"
        denied 2
        $ lokt lock deploy
        acquired lock "deploy"
        "#,
    );
}

#[test]
fn a_process_that_does_not_exist_is_refused() {
    check(
        &sandbox(),
        r#"
        $ lokt lock deploy --pid 2147483647
        ! lokt: there is no process PID to tie the lock to
        ! lokt: hint: give the id of one that runs, as in --pid $$ for this shell
        = 64
        $ lokt lock deploy --pid 99999999999999
        ! lokt: there is no process PID to tie the lock to
        ! lokt: hint: give the id of one that runs, as in --pid $$ for this shell
        = 64
        $ lokt lock deploy --pid 0
        ! lokt: --pid: "0" is not a process id: give a number, as in --pid $$
        ! lokt: hint: see lokt lock --help
        = 64
        $ lokt lock deploy --pid -1
        ! lokt: --pid: "-1" is not a process id: give a number, as in --pid $$
        ! lokt: hint: see lokt lock --help
        = 64
        "#,
    );
}

#[test]
fn a_frozen_name_is_denied_and_says_who_froze_it() {
    let sandbox = sandbox();
    super::status::freeze(&sandbox, "deploy");
    check(
        &sandbox,
        r#"
        $ lokt lock deploy --json
        {
          "status": "blocked",
          "name": "deploy",
          "frozen": true,
          "freeze_owner": "ops",
          "freeze_host": "h",
          "freeze_pid": 1
        }
        ! lokt: lock "deploy" is frozen by ops@h, for 0s
        ! lokt: hint: wait for it: --wait, or --wait --timeout 5m
        ! lokt: hint: its owner can end the freeze: lokt unfreeze deploy
        = 2
        "#,
    );
}

#[test]
fn the_longest_ttl_and_the_longest_wait_are_no_trouble() {
    check(
        &sandbox(),
        r#"
        $ lokt lock deploy --ttl 2562047h --note 'for ever'
        acquired lock "deploy"
        $ lokt renew deploy --ttl 2562047h
        renewed lock "deploy" for 2562047h0m0s
        $ lokt exists deploy
        $ lokt guard other --ttl 2562047h --kill-after 2562047h --wait --timeout 2562047h -- true
        "#,
    );
}
