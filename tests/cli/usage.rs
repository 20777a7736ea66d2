//! Bad arguments, help, and what the Go tool takes too.

use super::transcript::{check, commands, sandbox, sh};
use lokt::protocol::format_duration;
use lokt_tests::sandbox::output;

#[test]
fn an_option_that_has_taken_the_dashes_for_its_value_needs_one() {
    check(
        &sandbox(),
        r#"
        $ lokt guard x --ttl -- true
        ! lokt: --ttl needs a value
        ! lokt: hint: see lokt guard --help
        = 64
        $ lokt guard a b -- true
        ! lokt: unexpected argument "b"
        ! lokt: hint: several names are one argument: lokt guard NAME,b -- CMD
        = 64
        $ lokt guard a b --wait -- true
        ! lokt: unexpected argument "b"
        ! lokt: hint: several names are one argument: lokt guard NAME,b -- CMD
        = 64
        $ lokt guard a true
        ! lokt: unexpected argument "true"
        ! lokt: hint: the command goes after --: lokt guard NAME -- true
        = 64
        "#,
    );
}

#[test]
fn a_value_that_looks_like_an_option_is_told_how_to_be_one() {
    check(
        &sandbox(),
        r#"
        $ lokt guard x --note --weird -- true
        ! lokt: unknown option "--weird"
        ! lokt: hint: if it is the value of --note: --note=--weird
        = 64
        $ lokt lock x -note -weird=1
        ! lokt: unknown option "-weird"
        ! lokt: hint: if it is the value of --note: --note='-weird=1'
        = 64
        $ lokt lock x --note '- one for all'
        ! lokt: unknown option "- "
        ! lokt: hint: if it is the value of --note: --note='- one for all'
        = 64
        $ lokt lock x --note '--don'"'"'t'
        ! lokt: unknown option "--don't"
        ! lokt: hint: if it is the value of --note: --note='--don'\''t'
        = 64
        $ lokt lock x --wait --weird
        ! lokt: unknown option "--weird"
        ! lokt: hint: see lokt lock --help
        = 64
        $ lokt lock x --note=a --weird
        ! lokt: unknown option "--weird"
        ! lokt: hint: see lokt lock --help
        = 64
        $ lokt lock x --note=--weird
        acquired lock "x"
        "#,
    );
}

#[test]
fn an_option_in_gos_way_is_quoted_as_it_was_typed() {
    check(
        &sandbox(),
        r#"
        $ lokt status -wj
        ! lokt: unknown option "-wj"
        ! lokt: hint: see lokt status --help
        = 64
        $ lokt status -jsno=true
        ! lokt: unknown option "-jsno"
        ! lokt: hint: did you mean --json?
        = 64
        $ lokt lock x -ttl -five
        ! lokt: --ttl: duration "-five" is negative: write it like 1m30s, 5m, 1h30m
        ! lokt: hint: see lokt lock --help
        = 64
        $ lokt lock x -wait --waitress
        ! lokt: unknown option "--waitress"
        ! lokt: hint: see lokt lock --help
        = 64
        $ lokt guard x -wj -- -wj
        ! lokt: unknown option "-wj"
        ! lokt: hint: see lokt guard --help
        = 64
        $ lokt guard x --wj -- -wj
        ! lokt: unknown option "--wj"
        ! lokt: hint: see lokt guard --help
        = 64
        "#,
    );
}

#[test]
fn help_is_of_one_command() {
    check(
        &sandbox(),
        r#"
        $ lokt help guard lock
        ! lokt: unexpected argument "lock"
        ! lokt: hint: help is of one command: lokt help guard
        = 64
        $ lokt help guard bogus
        ! lokt: unexpected argument "bogus"
        ! lokt: hint: help is of one command: lokt help guard
        = 64
        $ lokt help lokc
        ! lokt: unknown command "lokc"
        ! lokt: hint: did you mean lock?
        = 64
        "#,
    );
}

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
        ! lokt: hint: to wait so long: --wait --timeout 5m
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
        ("LOCK x", "lock"),
        ("Guard x -- true", "guard"),
        ("lst", "status"),
        ("relase x", "unlock"),
        ("aquire x", "lock"),
        ("hsitory", "audit"),
        ("explain x", "why"),
        ("extend x", "renew"),
        ("ulock x", "lock or unlock"),
        ("locks", "status"),
        ("lock x --wit", "--wait"),
        ("guard x --wit -- true", "--with or --wait"),
        ("guard x --tt 5m -- true", "--ttl"),
        ("unlock --a", "--all"),
        ("lock x --TTL=5m", "--ttl"),
        ("--hlep", "--help"),
        ("audit --event aquire", "acquire"),
        ("audit --event force", "force-break or force-unfreeze"),
    ] {
        let said = sh(&sandbox, &format!("lokt {typed}"));
        assert_eq!(said.code, 64, "{typed}: {said:?}");
        let hint = said.stderr.lines().nth(1).unwrap_or_default();
        assert_eq!(hint, format!("lokt: hint: did you mean {meant}?"), "{typed}");
    }
    for (typed, hint) in [
        ("deploy", "lokt --help lists the commands"),
        ("stat -- true", "to run a command under a lock: lokt guard stat -- CMD"),
        ("audit --limit -1", "see lokt audit --help"),
        ("guard --a", "see lokt guard --help"),
        ("guard x --pid 1 -- true", "see lokt guard --help"),
        ("audit --event xyz", "see lokt audit --help"),
        ("lx", "lokt --help lists the commands"),
    ] {
        let said = sh(&sandbox, &format!("lokt {typed}"));
        assert_eq!(said.stderr.lines().nth(1), Some(&*format!("lokt: hint: {hint}")), "{typed}: {said:?}");
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
        ! lokt: invalid lock name "\u{1b}[31m": only a-z, A-Z, 0-9, '.', '_' and '-' are allowed
        ! lokt: hint: see lokt lock --help
        = 64
        $ lokt lock x "--$(printf '\033[31m')"
        ! lokt: unknown option "--\u{1b}[31m"
        ! lokt: hint: see lokt lock --help
        = 64
        $ lokt lock x --ttl "$(printf '\033[31m')"
        ! lokt: --ttl: "\u{1b}[31m" is not a duration: write it like 5m or 1h30m, in h, m, s, ms, us and ns
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
fn every_help_fits_its_terminal_up_to_100_columns() {
    let sandbox = sandbox();
    for command in
        [vec![]].into_iter().chain(commands().into_iter().map(|command| vec![command.get_name().to_owned()]))
    {
        for (flag, columns) in [("-h", 80), ("--help", 80), ("--help", 100), ("--help", 250)] {
            let mut help = sandbox.lokt(&command);
            let help = output(help.arg(flag).env("COLUMNS", columns.to_string()));
            assert_eq!((help.code, help.stderr.as_str()), (0, ""), "{command:?}: {help:?}");
            let too_long = help.stdout.lines().find(|line| line.chars().count() > columns.min(100));
            assert_eq!(too_long, None, "{command:?} {flag} in {columns} columns");
        }
    }
}

#[test]
fn the_overview_shows_every_command_in_a_group() {
    let help = sandbox().run(["help"]).stdout;
    for command in commands() {
        let name = command.get_name();
        assert_eq!(help.matches(&format!("\n  {name} ")).count(), 1, "{name}: {help}");
    }
    assert!(help.find("Every day:") < help.find("\n  guard "), "{help}");
    assert!(help.find("Looking:") < help.find("\n  why "), "{help}");
    assert!(!help.contains("More:"), "a command is in no group: {help}");
}

#[test]
fn the_version_names_the_commit_and_its_date() {
    let sandbox = sandbox();
    let version = sandbox.run(["--version"]);
    assert_eq!((version.code, version.stderr.as_str()), (0, ""));
    assert_eq!(sandbox.run(["version"]), version);
    assert_eq!(sandbox.run(["-V"]), version);
    let said = version.stdout.trim_end();
    let rest = said.strip_prefix(concat!("lokt ", env!("CARGO_PKG_VERSION"))).expect("the version");
    // Built outside of a repository, it is the version alone.
    if let Some(source) = rest.strip_prefix(" (commit ") {
        let (commit, date) = source.split_once(", ").unwrap();
        let hash = commit.trim_end_matches("-dirty");
        assert!(hash.len() == 10 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{said}");
        assert!(
            date.ends_with(')') && date.trim_end_matches(')').parse::<jiff::civil::Date>().is_ok(),
            "{said}"
        );
    } else {
        assert_eq!(rest, "");
    }
}

#[test]
fn help_tells_of_every_command_what_its_own_help_tells() {
    let sandbox = sandbox();
    let commands = commands();
    let names: Vec<&str> = commands.iter().map(clap::Command::get_name).collect();
    assert!(names.contains(&"version") && names.contains(&"guard"), "{names:?}");
    for name in names {
        let help = sandbox.run(["help", name]);
        assert_eq!((help.code, help.stderr.as_str()), (0, ""), "{name}");
        assert_eq!(help, sandbox.run([name, "--help"]), "{name}");
    }
    assert_eq!(sandbox.run(["help", "help"]).code, 0);
    for flag in ["--help", "-h"] {
        assert_eq!(sandbox.run(["help", flag]), sandbox.run(["help", "help"]), "{flag}");
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

#[test]
fn a_variable_that_is_no_number_of_bytes_is_refused() {
    let sandbox = sandbox();
    check(
        &sandbox,
        r#"
        $ LOKT_AUDIT_MAX_BYTES=64M lokt guard x -- touch ran
        ! lokt: LOKT_AUDIT_MAX_BYTES is "64M", and has to be a number of bytes, or 0 for a log that only grows
        = 64
        $ ls
        $ LOKT_AUDIT_MAX_BYTES= lokt guard x -- echo ran
        ran
        "#,
    );
}

#[test]
fn the_default_that_the_help_tells_is_the_one_there_is() {
    let help = sandbox().run(["guard", "--help"]).stdout;
    let (_, about) = help.split_once("--kill-after").unwrap();
    let default = format!("[default: {}]", format_duration(lokt::KILL_AFTER));
    assert!(about.split("\n\n").next().is_some_and(|about| about.contains(&default)), "{help}");
}
