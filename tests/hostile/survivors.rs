//! A corrupt record while a guard of that name lives: nobody can tell whose it was, so nobody is admitted.

use super::attack::Attack;
use rustix::process::Signal;
use std::fs;

#[test]
fn a_corrupt_record_admits_nobody_while_its_guard_lives() {
    for content in ["nonsense", "", "{", r#"{"version":1,"pid":"x"}"#] {
        let attack = Attack::new();
        let mut guard = attack.sandbox.hold(["guard", "x"]);
        // It would look at its record within a second, and call itself lost.
        guard.signal(Signal::STOP);
        attack.plant_old("x", content);
        for command in [
            "lock x",
            "guard x -- true",
            "lock x --break-stale",
            "guard x --break-stale -- true",
            "lock x --wait --timeout 300ms",
        ] {
            let output = attack.run(command);
            assert_eq!(output.code, 2, "{content:?}: {command}: {output:?}");
        }
        for command in ["unlock x", "unlock x --break-stale", "renew x", "status x"] {
            assert_eq!(attack.code(command), 1, "{content:?}: {command}");
        }
        let why = attack.run("why x");
        assert_eq!(why.code, 2);
        assert!(why.stdout.contains("a session of it still lives"), "{why:?}");
        assert_eq!(fs::read_to_string(attack.sandbox.record("x")).unwrap(), content);
        guard.signal(Signal::CONT);
        guard.let_go();
        guard.await_end();
        assert_eq!(attack.code("lock x"), 0, "{content:?}: the guard is gone");
    }
}

#[test]
fn force_removes_a_corrupt_record_and_ends_the_guard_that_it_belonged_to() {
    let attack = Attack::new();
    let mut guard = attack.sandbox.hold(["guard", "x"]);
    guard.signal(Signal::STOP);
    attack.plant_old("x", "nonsense");
    assert_eq!(attack.code("unlock x --force"), 0);
    guard.signal(Signal::CONT);
    assert_eq!(guard.await_end(), 5);
}

#[test]
fn a_guard_whose_record_is_replaced_by_anothers_ends_its_command() {
    let attack = Attack::new();
    let mut guard = attack.sandbox.hold(["guard", "x"]);
    attack.sandbox.plant("x", r#"{"version":1,"name":"x","owner":"ada","host":"h","pid":1}"#);
    assert_eq!(guard.await_end(), 5, "it finds out by itself");
}
