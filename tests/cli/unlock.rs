//! `lokt unlock`.

use lokt_tests::sandbox::eventually;
use rustix::process::Signal;

use super::transcript::{check, said, sandbox, sh};

#[test]
fn its_owner_releases_a_lock_and_then_there_is_none() {
    let sandbox = sandbox();
    check(
        &sandbox,
        r#"
        $ lokt lock deploy
        acquired lock "deploy"
        $ lokt unlock deploy
        released lock "deploy"
        $ lokt unlock deploy
        ! lokt: lock "deploy" not found
        ! lokt: hint: see what is held: lokt status
        = 3
        $ lokt lock deploy
        acquired lock "deploy"
        $ lokt unlock deploy --json
        {
          "released": [
            "deploy"
          ],
          "count": 1
        }
        "#,
    );
    assert!(sandbox.leftovers().is_empty(), "{:?}", sandbox.leftovers());
}

#[test]
fn another_owner_needs_force_before_or_after_the_name() {
    check(
        &sandbox(),
        r#"
        $ LOKT_OWNER=ada lokt lock deploy
        acquired lock "deploy"
        $ lokt unlock deploy
        ! lokt: lock "deploy" is owned by ada@HOST (agent agent-test), not by you
        ! lokt: hint: see who holds it: lokt why deploy
        ! lokt: hint: if you are sure that it is abandoned: lokt unlock deploy --force
        = 4
        $ lokt unlock deploy --force
        released lock "deploy"
        $ LOKT_OWNER=ada lokt lock deploy
        acquired lock "deploy"
        $ lokt unlock --force deploy
        released lock "deploy"
        "#,
    );
}

#[test]
fn a_lock_is_released_by_its_id_whoever_owns_it_and_no_other_lock_is() {
    let sandbox = sandbox();
    check(
        &sandbox,
        r#"
        $ LOKT_OWNER=ada lokt lock deploy
        acquired lock "deploy"
        $ lokt unlock deploy --lock-id 00000000000000000000000000000000
        ! lokt: lock "deploy" is not the one with the id ID: ada@HOST (agent agent-test) has it now
        ! lokt: hint: see who that is: lokt why deploy
        = 4
        $ lokt unlock deploy --lock-id 7
        ! lokt: --lock-id: "7" is not a lock's id: 32 hexadecimal digits, as lokt status NAME shows them
        ! lokt: hint: see lokt unlock --help
        = 64
        $ lokt unlock deploy --lock-id $(lokt status deploy | sed -n 's/^lock-id: *//p' | tr a-f A-F)
        released lock "deploy"
        "#,
    );
}

#[test]
fn only_what_is_stale_is_broken() {
    let sandbox = sandbox();
    let _guard = sandbox.hold(["guard", "build"]);
    check(
        &sandbox,
        r#"
        $ lokt lock deploy
        acquired lock "deploy"
        $ lokt unlock deploy --break-stale
        ! lokt: lock "deploy" is not stale: held by tester@HOST (agent agent-test), by hand, for 0s
        ! lokt: hint: see who holds it: lokt why deploy
        ! lokt: hint: if you are sure that it is abandoned: lokt unlock deploy --force
        = 1
        $ lokt unlock build --break-stale
        ! lokt: lock "build" is not stale: held by tester@HOST (agent agent-test), pid PID, for 0s
        ! lokt: hint: see who holds it: lokt why build
        ! lokt: hint: if its command must end: lokt unlock build --force
        = 1
        $ LOKT_NO_SWEEP=1 lokt lock brief --ttl 1ns
        acquired lock "brief"
        $ lokt unlock brief --break-stale
        released lock "brief"
        "#,
    );
}

#[test]
fn a_guards_lock_is_its_own() {
    let sandbox = sandbox();
    let _guard = sandbox.hold(["guard", "build"]);
    check(
        &sandbox,
        r#"
        $ lokt unlock build
        ! lokt: lock "build" is a guard's own (tester@HOST (agent agent-test), pid PID): it ends with its command
        ! lokt: hint: if its command must end: lokt unlock build --force
        = 4
        $ lokt unlock --all
        no locks matched
        ! lokt: left lock "build": it is a guard's own (pid PID)
        "#,
    );
}

#[test]
fn force_ends_the_command_of_a_guard() {
    let sandbox = sandbox();
    let mut guard = sandbox.hold(["guard", "build"]);
    check(
        &sandbox,
        r#"
        $ lokt unlock build --force
        released lock "build"
        "#,
    );
    // Before its command is told to end.
    assert_eq!(guard.await_end(), 5);
    let ended = said(&guard.output());
    assert_eq!(ended, "! lokt: lock \"build\" is lost: its record is gone; ending the command\n= 5\n");
}

#[test]
fn all_locks_of_an_owner_are_released_and_nobody_elses() {
    check(
        &sandbox(),
        r#"
        $ lokt unlock --all
        no locks matched
        $ lokt unlock --all --json
        {
          "released": [],
          "count": 0
        }
        $ for name in b a c; do lokt lock $name; done
        acquired lock "b"
        acquired lock "a"
        acquired lock "c"
        $ LOKT_OWNER=ada lokt lock other
        acquired lock "other"
        $ lokt unlock --all --json
        {
          "released": [
            "a",
            "b",
            "c"
          ],
          "count": 3
        }
        $ lokt unlock --owner ada
        released 1 lock(s)
        $ lokt status
        no locks
        "#,
    );
}

#[test]
fn what_cannot_be_read_is_left_and_said() {
    let sandbox = sandbox();
    sandbox.plant("later", r#"{"version":99}"#);
    check(
        &sandbox,
        r#"
        $ lokt unlock --all
        no locks matched
        ! lokt: left lock "later": its record can't be read
        $ lokt unlock later
        ! lokt: lock "later" is of version 99, newer than this lokt knows: it counts as held; upgrade lokt
        ! lokt: hint: if you are sure that it is abandoned: lokt unlock later --force
        = 1
        $ lokt unlock later --force
        released lock "later"
        "#,
    );
}

#[test]
fn what_makes_no_sense_is_refused() {
    check(
        &sandbox(),
        r#"
        $ lokt unlock
        ! lokt: nothing to release is given
        ! lokt: hint: give a NAME, --owner OWNER or --all
        = 64
        $ lokt unlock --lock-id 00000000000000000000000000000000
        ! lokt: --lock-id needs the NAME of the lock
        ! lokt: hint: lokt unlock NAME --lock-id ID
        = 64
        $ lokt unlock --lock-id=00000000000000000000000000000000 --json
        ! lokt: --lock-id needs the NAME of the lock
        ! lokt: hint: lokt unlock NAME --lock-id ID
        = 64
        $ lokt unlock --force
        ! lokt: --force needs the NAME of the lock
        ! lokt: hint: lokt unlock NAME --force
        = 64
        $ lokt unlock --owner ''
        ! lokt: --owner: an owner is missing
        ! lokt: hint: see lokt unlock --help
        = 64
        $ lokt unlock deploy --all
        ! lokt: NAME cannot be combined with --all
        ! lokt: hint: see lokt unlock --help
        = 64
        $ lokt unlock --owner ada --all
        ! lokt: --owner cannot be combined with --all
        ! lokt: hint: see lokt unlock --help
        = 64
        $ lokt unlock --all --force
        ! lokt: --all cannot be combined with --force
        ! lokt: hint: see lokt unlock --help
        = 64
        $ lokt unlock deploy --force --break-stale
        ! lokt: --force cannot be combined with --break-stale
        ! lokt: hint: see lokt unlock --help
        = 64
        "#,
    );
}

#[test]
fn a_root_that_does_not_exist_is_not_made() {
    let sandbox = sandbox();
    let output = sh(
        &sandbox,
        "lokt unlock x; lokt status; lokt why x; lokt exists x; lokt unlock --all; lokt renew x",
    );
    assert!(!sandbox.root().exists(), "{output:?}");
}

#[test]
fn whoever_may_not_release_what_is_stale_is_told_how_to() {
    check(
        &sandbox(),
        r#"
        $ export LOKT_NO_SWEEP=1; LOKT_OWNER=ada lokt lock deploy --ttl 1ms && sleep 0.1; lokt unlock deploy
        acquired lock "deploy"
        ! lokt: lock "deploy" is owned by ada@HOST (agent agent-test), not by you
        ! lokt: hint: remove it, as it binds nobody: lokt unlock deploy --break-stale
        = 4
        $ lokt unlock deploy --break-stale
        released lock "deploy"
        "#,
    );
}

#[test]
fn of_a_lapsed_lease_it_is_not_said_that_it_binds_nobody() {
    let sandbox = sandbox();
    let guard = sandbox.hold(["guard", "x", "--ttl", "1s"]);
    guard.signal(Signal::STOP);
    eventually("it lapses", || {
        sandbox.run(["status", "x", "--json"]).stdout.contains("\"state\": \"lapsed\"")
    });
    let said = sandbox.run(["unlock", "x"]);
    let hint = "lokt: hint: its lease has lapsed; to end its command: lokt unlock x --break-stale\n";
    assert!(said.code == 4 && said.stderr.ends_with(hint), "{said:?}");
}

#[test]
fn of_several_it_is_said_how_many_were_released() {
    check(
        &sandbox(),
        r#"
        $ export LOKT_NO_SWEEP=1; for ttl in 1ms 1ms 1h; do lokt lock site --shared --ttl $ttl; done; sleep 0.1
        acquired lock "site"
        acquired lock "site"
        acquired lock "site"
        $ lokt unlock site --break-stale
        released 2 holders of lock "site"
        $ lokt unlock site --break-stale 2>&1 | cut -d: -f2
         lock "site" is not stale
         hint
         hint
        "#,
    );
}
