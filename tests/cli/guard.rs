//! `lokt guard`: its arguments, messages and exit codes. What it does to processes is in `processes.rs`.

use super::transcript::{check, sandbox};

#[test]
fn the_commands_own_code_is_the_exit_code() {
    let sandbox = sandbox();
    check(
        &sandbox,
        r#"
        $ lokt guard build -- echo hello
        hello
        $ lokt guard build -- sh -c 'exit 7'
        = 7
        $ lokt guard build -- sh -c 'kill -TERM $$'
        = 143
        $ lokt guard build -- sh -c 'kill -KILL $$'
        = 137
        "#,
    );
    assert!(sandbox.leftovers().is_empty(), "{:?}", sandbox.leftovers());
}

#[test]
fn a_command_that_cannot_be_started_has_the_codes_of_a_shell_and_leaves_no_lock() {
    let sandbox = sandbox();
    check(
        &sandbox,
        r#"
        $ lokt guard build -- ./missing
        ! lokt: failed to run ./missing: command not found
        = 127
        $ PATH=/usr/bin:/bin lokt guard build -- "$(printf 'no\033[31msuch')"
        ! lokt: failed to run no\u{1b}[31msuch: command not found
        ! lokt: hint: is it installed, and in the PATH?
        = 127
        $ lokt guard build -- --ttl 5m
        ! lokt: failed to run --ttl: command not found
        ! lokt: hint: options of lokt guard go before the --, as in lokt guard NAME --ttl 5m -- CMD
        = 127
        $ lokt guard build -- -c true
        ! lokt: failed to run -c: command not found
        ! lokt: hint: options of lokt guard go before the --, as in lokt guard NAME --ttl 5m -- CMD
        = 127
        $ lokt guard build -- /
        ! lokt: failed to run /: Permission denied
        = 126
        $ echo 'echo no' > plain; lokt guard build -- ./plain
        ! lokt: failed to run ./plain: Permission denied
        ! lokt: hint: if it is a program, make it one: chmod +x ./plain
        = 126
        $ cp /bin/true busy; exec 9<> busy; lokt guard build -- ./busy
        ! lokt: failed to run ./busy: Text file busy
        = 126
        $ printf '#! /nonexist -x\n' > odd; chmod +x odd; lokt guard build -- ./odd
        ! lokt: failed to run ./odd: there is no interpreter "/nonexist", which its first line names
        ! lokt: hint: install that, or mend the first line of ./odd
        = 127
        $ PATH=$PWD:$PATH; lokt guard build -- odd
        ! lokt: failed to run odd: there is no interpreter "/nonexist", which its first line names
        ! lokt: hint: install that, or mend the first line of odd
        = 127
        $ printf '#!/bin/sh\r\necho in\r\n' > crlf; chmod +x crlf; lokt guard build -- ./crlf
        ! lokt: failed to run ./crlf: its first line ends as on Windows: there is no interpreter "/bin/sh\r"
        ! lokt: hint: give it the line ends of Unix: dos2unix ./crlf
        = 127
        $ lokt guard build -- ''
        ! lokt: failed to run "": the command is empty
        ! lokt: hint: lokt guard NAME -- CMD
        = 127
        $ lokt status
        no locks
        "#,
    );
    assert!(sandbox.leftovers().is_empty(), "{:?}", sandbox.leftovers());
}

#[test]
fn names_that_are_too_many_to_tell_a_command_of_are_said_to_be_it() {
    let sandbox = sandbox();
    let names: Vec<String> = (0..5000).map(|number| format!("n{number}")).collect();
    let output = sandbox.run(["guard", &names.join(","), "--", "true"]);
    assert_eq!(output.code, 126, "{output:?}");
    let said = "hint: what it is told of its 5000 locks (LOKT_HELD, LOKT_TOKENS) is too long: take fewer";
    assert!(output.stderr.contains("Argument list too long") && output.stderr.contains(said), "{output:?}");
}

#[test]
fn the_command_knows_its_lock() {
    check(
        &sandbox(),
        r#"
        $ lokt guard build -- sh -c 'echo $LOKT_NAME $LOKT_LOCK_ID $LOKT_TOKEN'
        build ID 1
        $ lokt guard build -- sh -c 'echo $LOKT_TOKEN'
        2
        $ lokt guard build -- sh -c '"$LOKT" guard build -- echo inside'
        inside
        "#,
    );
}

#[test]
fn the_command_knows_all_of_several_locks_and_the_first_by_name() {
    let sandbox = sandbox();
    check(
        &sandbox,
        r#"
        $ lokt guard cache -- true
        $ lokt guard db,cache,db --with app,cache -- sh -c 'echo $LOKT_NAME $LOKT_LOCK_ID $LOKT_TOKEN; echo $LOKT_TOKENS; echo $LOKT_HELD | tr : " "'
        db ID 1
        app:1 cache:2 db:1
        app ID cache ID db ID
        $ lokt guard build -- sh -c 'echo $LOKT_TOKENS; "$LOKT" guard test -- sh -c "echo \$LOKT_NAME \$LOKT_TOKENS"'
        build:1
        test build:1 test:1
        $ LOKT_TOKENS='build:1 other:7' lokt guard build -- sh -c 'echo $LOKT_TOKENS'
        other:7 build:2
        $ lokt status
        no locks
        "#,
    );
    assert!(sandbox.leftovers().is_empty(), "{:?}", sandbox.leftovers());
}

#[test]
fn a_guard_of_several_names_is_denied_by_the_one_that_is_in_the_way() {
    let sandbox = sandbox();
    assert_eq!(sandbox.run(["lock", "db"]).code, 0);
    check(
        &sandbox,
        r#"
        $ lokt guard db,cache -- echo ran
        ! lokt: lock "db" is held by tester@HOST (agent agent-test), by hand, for 0s
        ! lokt: hint: wait for it: --wait, or --wait --timeout 5m
        = 2
        $ lokt guard cache --with db --conflict-exit-code 75 -- echo ran 2>/dev/null
        = 75
        $ lokt guard cache,db --wait --timeout 10ms -- echo ran
        ! lokt: waiting, place 1 in line: lock "db" is held by tester@HOST (agent agent-test), by hand, for 0s
        ! lokt: timed out after 0s: lock "db" is held by tester@HOST (agent agent-test), by hand, for 0s
        ! lokt: hint: see who holds it: lokt why db
        = 2
        "#,
    );
}

#[test]
fn each_wait_for_one_of_several_names_is_told() {
    let sandbox = sandbox();
    for name in ["a", "c"] {
        assert_eq!(sandbox.run(["lock", name]).code, 0);
    }
    let mut guard = sandbox.start(["guard", "c,b,a", "--wait", "--", "true"]);
    guard.await_stderr("waiting, place 1 in line: lock \"a\" is held");
    assert_eq!(sandbox.run(["unlock", "a"]).code, 0);
    assert_eq!(guard.await_stderr("got"), "lokt: got lock \"a\"");
    guard.await_stderr("waiting, place 1 in line: lock \"c\" is held");
    assert_eq!(sandbox.run(["unlock", "c"]).code, 0);
    let ended = guard.output();
    assert_eq!((ended.code, ended.stderr.as_str()), (0, "lokt: got lock \"c\"\n"), "{ended:?}");
}

#[test]
fn one_bad_name_of_several_is_pointed_out() {
    check(
        &sandbox(),
        r#"
        $ lokt guard a,,b -- true
        ! lokt: invalid lock name "": it is empty (number 2 of "a,,b")
        ! lokt: hint: see lokt guard --help
        = 64
        $ lokt guard a,b/c -- true
        ! lokt: invalid lock name "b/c": only a-z, A-Z, 0-9, '.', '_' and '-' are allowed (number 2 of "a,b/c")
        ! lokt: hint: see lokt guard --help
        = 64
        $ lokt guard a --with ,b -- true
        ! lokt: --with: invalid lock name "": it is empty (number 1 of ",b")
        ! lokt: hint: see lokt guard --help
        = 64
        $ lokt guard --with b -- true
        ! lokt: the lock's name is missing
        ! lokt: hint: lokt guard NAME -- CMD
        = 64
        $ lokt lock a,b
        ! lokt: invalid lock name "a,b": only a-z, A-Z, 0-9, '.', '_' and '-' are allowed
        ! lokt: hint: see lokt lock --help
        = 64
        $ lokt status
        no locks
        "#,
    );
}

#[test]
fn its_options_stand_before_or_after_the_name() {
    check(
        &sandbox(),
        r#"
        $ lokt guard --ttl 5m build -- echo before
        before
        $ lokt guard build --ttl 5m -- echo after
        after
        $ lokt guard -ttl 5m build --wait -- echo as in Go
        as in Go
        "#,
    );
}

#[test]
fn a_guard_that_is_denied_runs_nothing() {
    let sandbox = sandbox();
    let mut guard = sandbox.hold(["guard", "build", "--ttl", "5m", "--note", "release 2.1"]);
    check(
        &sandbox,
        r#"
        $ lokt guard build -- echo ran
        ! lokt: lock "build" is held by tester@HOST (agent agent-test), pid PID, for 0s, 5m0s left of its lease, note: release 2.1
        ! lokt: hint: wait for it: --wait, or --wait --timeout 5m
        = 2
        $ lokt guard build --break-stale -- echo ran
        ! lokt: lock "build" is held by tester@HOST (agent agent-test), pid PID, for 0s, 5m0s left of its lease, note: release 2.1
        ! lokt: hint: wait for it: --wait, or --wait --timeout 5m
        = 2
        $ lokt guard build --conflict-exit-code 0 -- echo ran 2>/dev/null
        $ lokt guard build --wait --timeout 0s -- echo ran 2>&1 | sed 's/after .*: lock/after …: lock/; s/pid .*/pid …/'
        lokt: timed out after …: lock "build" is held by tester@HOST (agent agent-test), pid …
        lokt: hint: see who holds it: lokt why build
        $ lokt guard build --conflict-exit-code 75 --wait --timeout 10ms -- echo ran 2>/dev/null
        = 75
        "#,
    );
    guard.let_go();
    assert_eq!(guard.output().stderr, "", "the holder was not disturbed");
}

#[test]
fn what_makes_no_sense_is_refused() {
    check(
        &sandbox(),
        r#"
        $ lokt guard
        ! lokt: the lock's name and the command are missing
        ! lokt: hint: lokt guard NAME -- CMD
        = 64
        $ lokt guard build
        ! lokt: the command is missing
        ! lokt: hint: lokt guard NAME -- CMD
        = 64
        $ lokt guard -- true
        ! lokt: the lock's name is missing
        ! lokt: hint: lokt guard NAME -- CMD
        = 64
        $ lokt guard build true
        ! lokt: unexpected argument "true"
        ! lokt: hint: the command goes after --: lokt guard NAME -- true
        = 64
        $ lokt guard build --ttl 999ms -- true
        ! lokt: a TTL under 1s leaves a heartbeat no room: use 1s or more, or none
        = 64
        $ lokt guard build --on-lost panic -- true
        ! lokt: --on-lost can be kill or warn, not "panic"
        ! lokt: hint: see lokt guard --help
        = 64
        $ lokt guard build --conflict-exit-code 256 -- true
        ! lokt: --conflict-exit-code: "256" is not an exit code: a number from 0 to 255
        ! lokt: hint: see lokt guard --help
        = 64
        $ lokt status
        no locks
        "#,
    );
}

#[test]
fn a_wait_that_was_in_vain_is_known_by_one_id() {
    let sandbox = sandbox();
    let _guard = sandbox.hold(["guard", "x"]);
    let _ = sandbox.run(["guard", "x", "--wait", "--timeout", "1ms", "--", "true"]);
    let events: serde_json::Value =
        serde_json::from_str(&sandbox.run(["audit", "--since", "1h", "--json"]).stdout).unwrap();
    let ids = ["wait", "deny"].map(|kind| {
        let mut of_kind = events.as_array().unwrap().iter().filter(|event| event["event"] == kind);
        of_kind.next().unwrap_or_else(|| panic!("no {kind}: {events:#}"))["lock_id"].clone()
    });
    assert!(ids[0].is_string() && ids[0] == ids[1], "{ids:?}");
}
