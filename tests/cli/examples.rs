//! The examples of every command's help, each run as it stands there.

use std::fs;

use clap::Command;
use lokt_tests::sandbox::{Output, Sandbox, output};

use super::transcript::{commands, sandbox};

/// What an example needs before it, and the code it ends with if that is not 0. Looked up by how the example begins.
const SCENES: [(&str, &str, i32); 11] = [
    ("lokt unlock deploy --break-stale", "lokt lock deploy --pid $(sh -c 'echo $PPID')", 0),
    ("lokt unlock deploy", "lokt lock deploy", 0),
    ("lokt renew deploy", "lokt lock deploy --ttl 5m", 0),
    ("lokt status deploy", "lokt lock deploy --ttl 5m", 0),
    ("lokt why deploy", "lokt lock deploy", 2),
    ("lokt unfreeze deploy", "lokt freeze deploy --ttl 5m", 0),
    ("lokt completions bash", "mkdir -p ~/.local/share/bash-completion/completions", 0),
    ("lokt completions zsh", "mkdir -p ~/.zfunc", 0),
    ("lokt completions fish", "mkdir -p ~/.config/fish/completions", 0),
    // With nothing held there is nothing to look at.
    ("lokt status", "lokt lock deploy --ttl 5m", 0),
    ("lokt audit", "lokt lock deploy; lokt unlock deploy", 0),
];

/// Programs that the examples call.
const STUBS: [&str; 5] = ["make", "jq", "npm", "cargo", "git"];

/// How `timeout` says that a program still ran: what an example that follows or watches must do.
const STILL_RAN: i32 = 124;

#[test]
fn every_command_has_examples_and_each_of_them_works() {
    for command in commands().into_iter().chain([lokt::cli::command()]) {
        let examples = examples(&command);
        assert!(!examples.is_empty(), "the help of {} has no examples", command.get_name());
        for example in examples {
            assert!(example.starts_with("lokt ") || example.starts_with("if lokt "), "{example}");
            run(&example);
        }
    }
}

/// The examples in a help: the indented lines below `Examples:`, without what is said of them.
fn examples(command: &Command) -> Vec<String> {
    let help = command.get_after_long_help().or(command.get_after_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    let lines = help.lines().skip_while(|line| !["Example:", "Examples:"].contains(line)).skip(1);
    let lines = lines.take_while(|line| line.starts_with("  "));
    lines.map(|line| line.trim().split("   ").next().unwrap().to_owned()).collect()
}

fn run(example: &str) {
    let sandbox = sandbox();
    for script in ["deploy.sh", "train.sh"] {
        sandbox.stub(&sandbox.work().join(script));
    }
    // A demonstration does real work.
    let stubs = if example.starts_with("lokt demo") { &[] } else { &STUBS[..] };
    let path = sandbox.path_with_lokt(stubs);
    let sh = |line: &str| output(sandbox.command("sh").args(["-c", line]).env("PATH", &path));

    let scene = SCENES.iter().find(|(beginning, ..)| example.starts_with(beginning));
    let (before, code) = scene.map_or(("", 0), |(_, before, code)| (*before, *code));
    assert_eq!(sh(before).code, 0, "before {example}: {before}");
    let endless = ["--watch", "--tail"].iter().any(|flag| example.split(' ').any(|word| word == *flag));
    let ran = if endless { sh(&format!("timeout --signal INT 1 {example}")) } else { sh(example) };
    assert_eq!(ran.code, if endless { STILL_RAN } else { code }, "{example}: {ran:?}");
    check_what_it_left(&sandbox, example, &ran);
}

/// A guard leaves nothing; what an example writes has something in it.
fn check_what_it_left(sandbox: &Sandbox, example: &str, ran: &Output) {
    if example.starts_with("lokt guard") {
        assert_eq!(sandbox.leftovers(), Vec::<String>::new(), "{example}: {ran:?}");
    }
    if let Some((_, file)) = example.split_once(" > ~/") {
        let written = fs::read_to_string(sandbox.path().join("home").join(file)).unwrap();
        assert!(written.contains("lokt"), "{example}: {written}");
    }
}
