//! Bad arguments, help, and what the Go tool takes too.

use super::transcript::{check, sandbox, sh};
use lokt_tests::sandbox::output;

const COMMANDS: [&str; 13] = [
    "guard", "lock", "unlock", "renew", "status", "why", "exists", "freeze", "unfreeze", "audit", "doctor",
    "prime", "demo",
];

#[test]
fn what_is_wrong_is_said_in_a_line_and_what_to_do_in_another() {
    check(
        &sandbox(),
        r#"
        $ lokt bogus
        ! lokt: unknown command "bogus"
        ! lokt: hint: lokt --help lists the commands
        = 64
        $ lokt lokc x
        ! lokt: unknown command "lokc"
        ! lokt: hint: did you mean lock?
        = 64
        $ lokt lock
        ! lokt: the lock's name is missing
        ! lokt: hint: lokt lock NAME
        = 64
        $ lokt lock x y
        ! lokt: unexpected argument "y"
        ! lokt: hint: see lokt lock --help
        = 64
        $ lokt lock x --tll 5m
        ! lokt: unknown option "--tll"
        ! lokt: hint: did you mean --ttl?
        = 64
        $ lokt lock x --ttl
        ! lokt: --ttl needs a value
        ! lokt: hint: see lokt lock --help
        = 64
        $ lokt lock x --timeout 5s
        ! lokt: --timeout requires --wait
        ! lokt: hint: see lokt lock --help
        = 64
        $ lokt exists a b
        ! lokt: unexpected argument "b"
        ! lokt: hint: see lokt exists --help
        = 64
        $ lokt --bogus
        ! lokt: unknown option "--bogus"
        ! lokt: hint: see lokt --help
        = 64
        $ lokt --
        ! lokt: a command is missing
        ! lokt: hint: see lokt --help
        = 64
        "#,
    );
}

#[test]
fn typing_mistakes_and_the_words_of_other_tools_suggest_the_right_one() {
    let sandbox = sandbox();
    for (typed, meant) in [
        ("statsu", "status"),
        ("unlok x", "unlock"),
        ("gaurd x -- true", "guard"),
        ("guard x --tll 5m -- true", "--ttl"),
        ("guard x --timout 5m -- true", "--timeout"),
        ("status --wacth", "--watch"),
        ("unlock x --forec", "--force"),
        ("release x", "unlock"),
        ("rm x", "unlock"),
        ("acquire x", "lock"),
        ("run x -- true", "guard"),
        ("list", "status"),
        ("ls", "status"),
        ("LS", "status"),
        ("explain x", "why"),
        ("extend x", "renew"),
    ] {
        let said = sh(&sandbox, &format!("lokt {typed}"));
        assert_eq!(said.code, 64, "{typed}: {said:?}");
        let hint = said.stderr.lines().nth(1).unwrap_or_default();
        assert_eq!(hint, format!("lokt: hint: did you mean {meant}?"), "{typed}");
    }
}

#[test]
fn what_is_in_the_wrong_place_is_told_its_place() {
    check(
        &sandbox(),
        r#"
        $ lokt deploy -- make
        ! lokt: unknown command "deploy"
        ! lokt: hint: to run a command under a lock: lokt guard deploy -- CMD
        = 64
        $ lokt --json status
        ! lokt: unknown option "--json"
        ! lokt: hint: options come after their command: lokt COMMAND --json
        = 64
        $ lokt status --watch=x
        ! lokt: --watch takes no value
        ! lokt: hint: see lokt status --help
        = 64
        $ lokt status --interval 5s
        ! lokt: --interval requires --watch
        ! lokt: hint: see lokt status --help
        = 64
        $ lokt status --watch --interval 5ms
        ! lokt: --interval: under 100ms there is time for nothing else: use 100ms or more
        ! lokt: hint: see lokt status --help
        = 64
        $ lokt status --watch --prune-expired
        ! lokt: --watch cannot be combined with --prune-expired
        ! lokt: hint: see lokt status --help
        = 64
        "#,
    );
}

#[test]
fn arguments_on_a_terminal_are_escaped() {
    check(
        &sandbox(),
        r#"
        $ lokt "$(printf '\033[31m')"
        ! lokt: unknown command "\u{1b}[31m"
        ! lokt: hint: lokt --help lists the commands
        = 64
        $ lokt lock "$(printf '\033[31m')"
        ! lokt: invalid lock name "\u{1b}[31m": only letters, digits, '.', '_' and '-' are allowed
        ! lokt: hint: see lokt lock --help
        = 64
        $ lokt lock x "--$(printf '\033[31m')"
        ! lokt: unknown option "--\u{1b}[31m"
        ! lokt: hint: see lokt lock --help
        = 64
        $ lokt lock x --ttl "$(printf '\033[31m')"
        ! lokt: --ttl: duration "\u{1b}[31m" has an unknown unit: use h, m, s, ms, us or ns, as in 1h30m
        ! lokt: hint: see lokt lock --help
        = 64
        $ lokt lock x --pid "$(printf '\302\233')"
        ! lokt: --pid: "\u{9b}" is not a process id: give a number, as in --pid $$
        ! lokt: hint: see lokt lock --help
        = 64
        $ lokt guard x "$(printf 'two\nlines')"
        ! lokt: unexpected argument "two\nlines"
        ! lokt: hint: the command goes after --: lokt guard NAME -- two\nlines
        = 64
        "#,
    );
}

#[test]
fn no_arguments_show_the_help_and_are_an_error_as_in_the_go_tool() {
    let sandbox = sandbox();
    let none = sandbox.run::<&str>([]);
    let help = sandbox.run(["--help"]);
    assert_eq!((none.code, help.code), (64, 0));
    assert!(none.stdout.contains("Usage: lokt <COMMAND>"), "{none:?}");
    assert_eq!(sandbox.run(["help"]).code, 0);
}

#[test]
fn every_help_fits_80_columns_and_has_an_example() {
    let sandbox = sandbox();
    let mut calls = vec![vec!["--help"], vec!["-h"]];
    calls.extend(COMMANDS.map(|command| vec![command, "--help"]));
    calls.extend(COMMANDS.map(|command| vec![command, "-h"]));
    for call in calls {
        let help = output(sandbox.lokt(&call).env("COLUMNS", "80"));
        assert_eq!(help.code, 0, "{call:?}: {help:?}");
        assert_eq!(help.stderr, "", "{call:?}");
        assert!(help.stdout.contains("Example"), "{call:?}: {help:?}");
        let examples = help.stdout.rsplit("Example").next().unwrap();
        let broken = examples
            .lines()
            .skip(1)
            .take_while(|line| !line.is_empty())
            .find(|line| !line.starts_with("  lokt ") && !line.starts_with("  if lokt "));
        assert_eq!(broken, None, "{call:?}: an example is in two lines: {examples}");
        for line in help.stdout.lines() {
            assert!(line.chars().count() <= 80, "{call:?}: {line}");
        }
    }
}

#[test]
fn what_scripts_for_the_go_tool_say_is_understood() {
    let sandbox = sandbox();
    check(
        &sandbox,
        r#"
        $ lokt lock -ttl 5m -json=false x
        acquired lock "x"
        $ lokt unlock -force=true x
        released lock "x"
        $ lokt lock x --ttl 1h --ttl 5m
        acquired lock "x"
        $ lokt renew x
        renewed lock "x" for 5m0s
        "#,
    );
    let version = sandbox.run(["version"]);
    assert_eq!(version.code, 0);
    assert_eq!(version.stdout, sandbox.run(["--version"]).stdout);
}

#[test]
fn bytes_that_are_not_unicode_are_refused_or_passed_on_whole() {
    let sandbox = sandbox();
    check(
        &sandbox,
        r#"
        $ lokt lock "$(printf '\377')"
        ! lokt: an argument is not valid UTF-8
        ! lokt: hint: see lokt lock --help
        = 64
        $ lokt lock x --note "$(printf '\377')"
        ! lokt: an argument is not valid UTF-8
        ! lokt: hint: see lokt lock --help
        = 64
        $ lokt guard x -- printf '%s' "$(printf '\377')" | od -An -tx1
         ff
        $ LOKT_OWNER="$(printf 'o\377')" LOKT_AGENT_ID="$(printf '\377')" lokt lock x
        acquired lock "x"
        $ LOKT_OWNER="$(printf 'o\377')" lokt unlock x
        released lock "x"
        "#,
    );
    for argument in ["\"$(printf '\\377')\"", "--\"$(printf '\\377')\""] {
        let output = sh(&sandbox, &format!("lokt {argument}"));
        assert_eq!(output.code, 64, "{output:?}");
        assert!(!output.stderr.contains("panicked"), "{output:?}");
    }
}
