//! Control sequences in everything that a record says.

use super::attack::{Attack, COMMANDS};

const EVIL: &str = r"\u001b]0;title\u0007\u001b[2J\u009b31m\r\n\u202etxt\u007f\u0000";

#[test]
fn no_field_of_a_record_sends_a_control_sequence() {
    let attack = Attack::new();
    for field in ["name", "lock_id", "owner", "host", "agent_id", "note", "clock_id", "of_later"] {
        for kind in ["", r#","kind":"guard""#, r#","kind":"manual""#] {
            let fields = if field == "owner" { String::new() } else { r#","owner":"ada""#.to_owned() };
            let record = format!(r#"{{"version":1,"pid":1,"{field}":"{EVIL}"{fields}{kind}}}"#);
            for command in COMMANDS {
                attack.sandbox.plant("x", &record);
                let output = attack.run(command);
                assert!(output.code != 0 || !command.starts_with("guard"), "{field}: {command}: {output:?}");
            }
        }
    }
}

#[test]
fn no_corrupt_record_sends_a_control_sequence() {
    let attack = Attack::new();
    for record in [
        format!(r#"{{"version":1,"acquired_ts":"{EVIL}"}}"#),
        format!(r#"{{"version":1,"expires_at":"{EVIL}"}}"#),
        format!(r#"{{"version":"{EVIL}"}}"#),
        format!(r#"{{"version":1,"kind":"{EVIL}"}}"#),
        format!(r#"{{"version":1,"{EVIL}":7,"pid":"{EVIL}"}}"#),
        "\u{1b}]0;title\u{7}\u{9b}2J".to_owned(),
    ] {
        for command in COMMANDS {
            attack.plant_old("x", &record);
            let _ = attack.run(command);
        }
    }
}

#[test]
fn a_freeze_sends_none_either() {
    let attack = Attack::new();
    let freezes = attack.sandbox.root().join("freezes");
    std::fs::create_dir_all(&freezes).unwrap();
    let record =
        format!(r#"{{"version":1,"owner":"{EVIL}","host":"{EVIL}","note":"{EVIL}","agent_id":"{EVIL}"}}"#);
    std::fs::write(freezes.join("x.json"), record).unwrap();
    attack.run_all();
    assert_eq!(attack.code("lock x"), 2);
}

#[test]
fn what_the_environment_and_the_arguments_say_is_escaped_for_those_who_read_it() {
    let attack = Attack::new();
    let mut lock = attack.sandbox.lokt(["lock", "x", "--note", "\u{1b}[31mred\u{202e}"]);
    lock.env("LOKT_OWNER", "\u{1b}[2Jada").env("LOKT_AGENT_ID", "\u{9b}31m");
    let taken = lokt_tests::sandbox::output(&mut lock);
    assert_eq!(taken.code, 0, "{taken:?}");
    for command in COMMANDS {
        let _ = attack.run(command);
    }
}

#[test]
fn a_ticket_sends_none_either() {
    let attack = Attack::new();
    let _holder = attack.sandbox.hold(["guard", "x"]);
    let mut waiter = attack.sandbox.lokt(["guard", "x", "--wait", "--", "true"]);
    waiter.env("LOKT_OWNER", "\u{1b}[2Jada\n");
    let mut waiter = lokt_tests::sandbox::start(&mut waiter);
    waiter.await_stderr("place 1 in line");
    for command in ["status", "status x", "status x --json", "why x"] {
        let output = attack.run(command);
        assert!(output.stdout.contains("1"), "{command}: {output:?}");
    }
}
