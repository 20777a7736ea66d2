//! `lokt completions`: what a shell offers at a Tab.

use std::fs;
use std::process::Command;

use lokt_tests::sandbox::{Lack, Sandbox, output, skipped};

use super::transcript::{check, commands, sandbox};

/// What is offered for a line, whose last word is the one to complete.
fn offered(sandbox: &Sandbox, words: &[&str]) -> Vec<String> {
    let told = sandbox.run(["__complete", "lokt"].iter().chain(words));
    assert_eq!((told.code, told.stderr.as_str()), (0, ""), "{words:?}: {told:?}");
    let mut lines = told.stdout.lines();
    assert_eq!(lines.next(), Some("words"), "{words:?}: {told:?}");
    lines.map(|line| line.split('\t').next().unwrap().to_owned()).collect()
}

#[test]
fn every_command_is_offered_with_what_it_does() {
    let sandbox = sandbox();
    let found = offered(&sandbox, &[""]);
    for command in commands() {
        assert!(found.contains(&command.get_name().to_owned()), "{}: {found:?}", command.get_name());
    }
    check(
        &sandbox,
        r#"
        $ lokt __complete lokt unl
        words
        unlock	Release a lock
        $ lokt __complete lokt completions ''
        words
        bash
        zsh
        fish
        "#,
    );
}

#[test]
fn a_shell_has_to_be_named_and_known() {
    check(
        &sandbox(),
        r#"
        $ lokt completions
        ! lokt: SHELL is missing
        ! lokt: hint: lokt completions SHELL
        = 64
        $ lokt completions nushell
        ! lokt: SHELL can be bash, zsh or fish, not "nushell"
        ! lokt: hint: see lokt completions --help
        = 64
        $ cd /; LOKT_ROOT='' lokt completions zsh | head -1
        #compdef lokt
        "#,
    );
}

#[test]
fn names_are_those_that_are_held_now_and_make_sense_for_the_command() {
    let sandbox = sandbox();
    for name in ["build", "deploy", "docs"] {
        assert_eq!(sandbox.run(["lock", name]).code, 0);
    }
    for command in ["guard", "lock", "unlock", "renew", "why", "exists", "status"] {
        assert_eq!(offered(&sandbox, &[command, ""]), ["build", "deploy", "docs"], "{command}");
    }
    assert_eq!(offered(&sandbox, &["unlock", "d"]), ["deploy", "docs"]);
    assert_eq!(offered(&sandbox, &["unlock", "-force", "do"]), ["docs"]);
    assert_eq!(sandbox.run(["unlock", "docs"]).code, 0);
    assert_eq!(offered(&sandbox, &["unlock", "do"]), [""; 0]);
    check(
        &sandbox,
        r#"
        $ lokt __complete lokt why de
        words
        deploy	held, tester@HOST (agent agent-test), 0s ago
        "#,
    );
}

#[test]
fn behind_a_comma_one_more_name_is_offered() {
    let sandbox = sandbox();
    for name in ["build", "deploy", "docs"] {
        assert_eq!(sandbox.run(["lock", name]).code, 0);
    }
    assert_eq!(offered(&sandbox, &["guard", "docs,"]), ["docs,build", "docs,deploy"]);
    assert_eq!(offered(&sandbox, &["guard", "new,docs,d"]), ["new,docs,deploy"]);
    assert_eq!(offered(&sandbox, &["guard", "x", "--with", "d"]), ["deploy", "docs"]);
    assert_eq!(offered(&sandbox, &["guard", "x", "--with=docs,b"]), ["--with=docs,build"]);
    assert_eq!(offered(&sandbox, &["lock", "docs,"]), [""; 0], "one name only");
}

#[test]
fn options_and_their_values_are_offered() {
    let sandbox = sandbox();
    assert_eq!(offered(&sandbox, &["guard", "x", "--t"]), ["--ttl", "--timeout"]);
    assert_eq!(offered(&sandbox, &["guard", "--ttl", "5m", "x", "--wa"]), ["--wait"]);
    assert_eq!(offered(&sandbox, &["guard", "x", "--on-lost", ""]), ["kill", "warn"]);
    assert_eq!(offered(&sandbox, &["guard", "x", "--on-lost=k"]), ["--on-lost=kill"]);
}

#[test]
fn owners_are_offered_unless_a_shell_would_take_them_for_more_than_a_word() {
    let sandbox = sandbox();
    for (name, owner) in [("a", "ada"), ("b", "$(reboot)"), ("c", "x;reboot"), ("d", "--all"), ("e", "ada")] {
        assert_eq!(output(sandbox.lokt(["lock", name]).env("LOKT_OWNER", owner)).code, 0);
    }
    assert_eq!(offered(&sandbox, &["unlock", "--owner", ""]), ["ada"]);
}

#[test]
fn what_stands_behind_two_dashes_is_another_programs() {
    check(
        &sandbox(),
        r#"
        $ lokt __complete lokt guard x -- ''
        command 4
        $ lokt __complete lokt guard x --ttl 5m -- make -- ''
        command 6
        $ lokt __complete lokt why -- ''
        words
        "#,
    );
}

#[test]
fn completing_creates_nothing_waits_for_nothing_and_says_nothing_of_what_is_wrong() {
    let sandbox = sandbox();
    assert!(offered(&sandbox, &["unlock", ""]).iter().all(|word| word.starts_with("--")));
    assert!(!sandbox.root().exists());
    for words in [&[][..], &["guard"], &["bogus", ""], &["lock", "x", "y", ""], &["--", ""]] {
        let _ = offered(&sandbox, words);
    }
    // A record that nobody writes to, a corrupt one, and a root that is a file.
    sandbox.plant("corrupt", "{");
    let fifo = sandbox.record("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let found = offered(&sandbox, &["why", ""]);
    assert_eq!(found, ["corrupt", "fifo"]);
    fs::write(sandbox.path().join("file"), "").unwrap();
    let mut in_a_file = sandbox.lokt(["__complete", "lokt", "why", ""]);
    let told = output(in_a_file.env("LOKT_ROOT", sandbox.path().join("file")));
    assert_eq!((told.code, told.stderr.as_str()), (0, ""), "{told:?}");
}

#[test]
fn every_script_is_understood_by_its_shell() {
    let sandbox = sandbox();
    for (shell, parse_only) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        let file = sandbox.path().join(shell);
        fs::write(&file, sandbox.run(["completions", shell]).stdout).unwrap();
        match sandbox.command(shell).arg(parse_only).arg(&file).output() {
            Ok(parsed) => {
                assert!(parsed.status.success(), "{shell}: {}", String::from_utf8_lossy(&parsed.stderr));
            }
            Err(_) => skipped(Lack::behind(shell), &format!("there is no {shell} here")),
        }
    }
}

/// The script in a real bash, driven as readline would: bash takes `=` for a word of its own.
#[test]
fn bash_completes_with_the_script() {
    let sandbox = sandbox();
    if Command::new("bash").arg("--version").output().is_err() {
        skipped(Lack::behind("bash"), "there is no bash here");
        return;
    }
    assert_eq!(sandbox.run(["lock", "deploy"]).code, 0);
    let script = r#"
        source <(lokt completions bash)
        complete -p lokt
        try() {
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=999
            _lokt
            echo "${COMPREPLY[*]}"
        }
        try lokt unl
        try lokt unlock de
        try lokt unlock none
        try lokt guard x --on-lost = k
        try lokt guard x --on-lost =
        PATH=${PATH%%:*}
        try lokt guard x -- lok
        PATH=/nowhere
        try lokt unl
    "#;
    let path = sandbox.path_with_lokt(&[]);
    let said = output(sandbox.command("bash").args(["--norc", "-c", script]).env("PATH", path));
    let expected = "complete -F _lokt lokt\nunlock\ndeploy\n\nkill\nkill warn\nlokt\n\n";
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), (expected, ""), "{said:?}");
}
