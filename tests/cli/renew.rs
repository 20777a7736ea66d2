//! `lokt renew`.

use super::transcript::{check, sandbox};

#[test]
fn a_lease_starts_anew_as_long_as_it_was_or_as_long_as_is_said() {
    check(
        &sandbox(),
        r#"
        $ lokt lock deploy --ttl 30m
        acquired lock "deploy"
        $ lokt renew deploy
        renewed lock "deploy" for 30m0s
        $ lokt renew --ttl 1h deploy --json
        {
          "status": "renewed",
          "name": "deploy",
          "lock_id": "ID",
          "ttl_sec": 3600,
          "expires_at": "TIME"
        }
        $ lokt renew deploy
        renewed lock "deploy" for 1h0m0s
        "#,
    );
}

#[test]
fn a_lock_without_a_lease_gets_one() {
    check(
        &sandbox(),
        r#"
        $ lokt lock deploy
        acquired lock "deploy"
        $ lokt renew deploy
        ! lokt: lock "deploy" has no TTL that could be renewed
        ! lokt: hint: give it one: lokt renew deploy --ttl 5m
        = 1
        $ lokt renew deploy --ttl 5m
        renewed lock "deploy" for 5m0s
        $ lokt renew deploy --ttl 0s
        ! lokt: a lease of no length can't be renewed: give --ttl a length
        = 64
        "#,
    );
}

#[test]
fn what_was_tied_to_a_process_that_has_ended_is_not_renewed() {
    check(
        &sandbox(),
        r#"
        $ sleep 1000 >&- 2>&- & echo $! > pid; LOKT_NO_SWEEP=1 lokt lock x --pid $! --ttl 1h; kill $!; wait
        acquired lock "x"
        $ LOKT_NO_SWEEP=1 lokt renew x 2>&1 | sed "s/process $(cat pid)/process ITS/"
        lokt: lock "x" was tied to process ITS, which has ended
        lokt: hint: take it anew: lokt lock x
        "#,
    );
}

#[test]
fn only_its_owner_or_who_knows_its_id_renews_a_lock() {
    let sandbox = sandbox();
    let _guard = sandbox.hold(["guard", "build", "--ttl", "5m"]);
    check(
        &sandbox,
        r#"
        $ lokt renew deploy
        ! lokt: lock "deploy" not found
        ! lokt: hint: see what is held: lokt status
        = 3
        $ LOKT_OWNER=ada lokt lock deploy --ttl 5m
        acquired lock "deploy"
        $ lokt renew deploy
        ! lokt: lock "deploy" is owned by ada@HOST (agent agent-test), not by you
        ! lokt: hint: see who holds it: lokt why deploy
        ! lokt: hint: if you are sure that it is abandoned: lokt unlock deploy --force
        = 4
        $ lokt renew deploy --lock-id 00000000000000000000000000000000
        ! lokt: lock "deploy" is not the one with the id ID: ada@HOST (agent agent-test) has it now
        ! lokt: hint: see who that is: lokt why deploy
        = 4
        $ lokt renew deploy --lock-id $(lokt status deploy | sed -n 's/^lock-id: *//p')
        renewed lock "deploy" for 5m0s
        $ lokt renew build
        ! lokt: lock "build" is a guard's own (tester@HOST (agent agent-test), pid PID): it ends with its command
        ! lokt: hint: if its command must end: lokt unlock build --force
        = 4
        "#,
    );
}
