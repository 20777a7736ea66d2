//! Names and durations that are none.

use super::attack::Attack;

#[test]
fn names_that_are_none_are_usage_errors_of_every_command_and_make_no_file() {
    let attack = Attack::new();
    let long = "x".repeat(201);
    for name in [
        "",
        ".",
        "..",
        "../x",
        "a/../b",
        "/etc/passwd",
        "a/b",
        "a..b",
        "x/",
        "~",
        "*",
        "a b",
        "a\nb",
        "a\tb",
        "é",
        "x\u{202e}",
        "\u{1b}[2J",
        "x;y",
        "$(id)",
        "x\\y",
        "%s",
        "-x",
        "--",
        "\u{fe0f}",
        &long,
        &"../".repeat(2000),
    ] {
        for command in ["lock", "unlock", "renew", "why", "exists", "status", "guard"] {
            let mut call = attack.sandbox.lokt([command, "--", name]);
            if command == "guard" {
                call = attack.sandbox.lokt([command, name, "--", "true"]);
            }
            let output = lokt_tests::sandbox::output(&mut call);
            assert_eq!(output.code, 64, "{command} {name:?}: {output:?}");
            assert!(!output.stderr.contains("panicked"), "{command} {name:?}: {output:?}");
            assert!(output.stderr.lines().all(|line| line.starts_with("lokt: ")), "{output:?}");
            assert!(!output.stderr.contains('\u{1b}'), "{command} {name:?}: {output:?}");
        }
    }
    assert!(!attack.sandbox.root().exists(), "nothing was made for a bad name");
    attack.expect_untouched();
}

#[test]
fn names_that_look_odd_but_are_names_work() {
    let attack = Attack::new();
    let long = "x".repeat(200);
    for name in [
        "a",
        ".hidden",
        "_",
        "A.b-C_9",
        "x.json",
        "freeze-x",
        "con",
        long.as_str(),
        "00",
        "x.00000000000000000000000000000000",
    ] {
        assert_eq!(attack.code(&format!("lock {name}")), 0, "{name}");
        assert_eq!(attack.code(&format!("lock {name}")), 2, "{name}");
        assert_eq!(attack.code(&format!("lock {name} --wait --timeout 10ms")), 2, "{name}");
        assert_eq!(attack.code(&format!("unlock {name}")), 0, "{name}");
        assert_eq!(attack.code(&format!("guard {name} --ttl 5m -- true")), 0, "{name}");
    }
    assert!(attack.sandbox.leftovers().is_empty(), "{:?}", attack.sandbox.leftovers());
}

#[test]
fn durations_that_are_none_are_usage_errors_wherever_one_is_asked_for() {
    let attack = Attack::new();
    for duration in [
        "",
        "5",
        "0",
        "1d",
        "-5s",
        "+",
        "+-5s",
        "5s5",
        "s",
        ".s",
        "1..5s",
        "nan",
        "inf",
        "1e9s",
        "0x5s",
        "5S",
        "5 s",
        " 5s",
        "999999999h",
        "9223372036854775808ns",
        "99999999999999999999999999s",
        "\u{1b}[31m",
        "٥s",
        "5m-3s",
    ] {
        for call in [
            vec!["lock", "x", "--ttl", duration],
            vec!["lock", "x", "--wait", "--timeout", duration],
            vec!["renew", "x", "--ttl", duration],
            vec!["guard", "x", "--ttl", duration, "--", "true"],
            vec!["guard", "x", "--kill-after", duration, "--", "true"],
        ] {
            let output = attack.sandbox.run(&call);
            assert_eq!(output.code, 64, "{call:?}: {output:?}");
            assert!(output.stderr.contains("duration"), "{call:?}: {output:?}");
            assert!(!output.stderr.contains('\u{1b}'), "{call:?}: {output:?}");
        }
    }
    let said = attack.run("lock x --ttl 90").stderr;
    assert!(said.contains("write 90s for seconds, 90m for minutes"), "{said}");
    assert!(!attack.sandbox.root().exists());
}

/// A record that is too large to be read back would bind nobody.
#[test]
fn texts_as_long_as_a_file_are_refused_and_never_let_a_second_holder_in() {
    let attack = Attack::new();
    for (length, taken) in [(4096, true), (4097, false), (70_000, false), (120_000, false)] {
        let long = "x".repeat(length);
        for variable in ["LOKT_OWNER", "LOKT_AGENT_ID", "note"] {
            for args in [vec!["lock", "x"], vec!["lock", "x", "--wait"], vec!["guard", "x"]] {
                let mut call = attack.sandbox.lokt(&args);
                match variable {
                    "note" => call.args(["--note", &long]),
                    _ => call.env(variable, &long),
                };
                if args[0] == "guard" {
                    call.args(["--", "sh", "-c", "! \"$LOKT\" lock x"]);
                }
                let output = lokt_tests::sandbox::output(&mut call);
                assert_eq!(
                    output.code,
                    if taken { 0 } else { 64 },
                    "{length} {variable} {args:?}: {output:.600?}"
                );
                if taken && args[0] == "lock" {
                    assert_eq!(attack.code("lock x"), 2, "one holder and no second: {length} {variable}");
                    assert_eq!(attack.code("unlock x --force"), 0);
                }
                assert!(attack.sandbox.leftovers().is_empty(), "{:?}", attack.sandbox.leftovers());
            }
        }
    }
}

/// Control characters take six bytes each in a record.
#[test]
fn texts_that_grow_in_the_record_are_refused_as_well() {
    let attack = Attack::new();
    let long = "\u{1}".repeat(4096);
    for args in [vec!["lock", "x"], vec!["guard", "x", "--", "true"], vec!["freeze", "x", "--ttl", "1h"]] {
        let mut call = attack.sandbox.lokt(&args[..2]);
        call.args(["--note", &long]).args(&args[2..]).env("LOKT_OWNER", &long).env("LOKT_AGENT_ID", &long);
        let output = lokt_tests::sandbox::output(&mut call);
        assert_eq!(output.code, 1, "{output:.600?}");
        assert!(output.stderr.contains("larger than 64 KiB"), "{output:.600?}");
        assert!(attack.sandbox.leftovers().is_empty(), "{:?}", attack.sandbox.leftovers());
    }
}
