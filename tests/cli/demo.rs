//! `lokt demo` without a terminal: what it says is what happened, and nothing of it is left.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lokt_tests::sandbox::{Output, Sandbox, eventually, output, start};
use rustix::process::Signal;

use super::transcript::{check, sandbox};

/// The program, whose temporary files go to a directory of this sandbox.
fn demo(sandbox: &Sandbox, args: &[&str]) -> (Command, PathBuf) {
    let temporary = sandbox.path().join("temporary");
    fs::create_dir_all(&temporary).unwrap();
    let mut command = sandbox.lokt([&["demo"], args].concat());
    command.env("TMPDIR", &temporary);
    (command, temporary)
}

#[track_caller]
fn assert_nothing_left(sandbox: &Sandbox, temporary: &Path) {
    let left: Vec<_> = fs::read_dir(temporary).unwrap().flatten().map(|entry| entry.path()).collect();
    assert_eq!(left, Vec::<PathBuf>::new());
    assert_eq!(at_work(temporary), Vec::<String>::new());
    assert!(!sandbox.root().exists(), "it has used the user's own locks");
}

/// Processes whose home is below a directory: the workers.
fn at_work(temporary: &Path) -> Vec<String> {
    let home = format!("HOME={}", temporary.display());
    let pids = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let of_demo = pids.filter(|pid| {
        let variables = fs::read(pid.join("environ")).unwrap_or_default();
        String::from_utf8_lossy(&variables).split('\0').any(|variable| variable.starts_with(&home))
    });
    of_demo.map(|pid| fs::read_to_string(pid.join("cmdline")).unwrap_or_default()).collect()
}

fn line<'a>(said: &'a Output, start: &str) -> &'a str {
    let line = said.stdout.lines().find(|line| line.starts_with(start));
    line.unwrap_or_else(|| panic!("no line {start:?}: {said:?}"))
}

#[test]
fn a_guarded_wall_is_whole_and_the_other_is_counted() {
    let sandbox = sandbox();
    let (mut command, temporary) = demo(&sandbox, &["hexwall", "--workers", "3", "--speed", "12"]);
    let said = output(&mut command);
    assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{said:?}");
    assert_eq!(line(&said, "with lokt guard  "), "with lokt guard  0 of 180 cells lost");
    let bare = line(&said, "without a lock   ").trim_start_matches("without a lock   ");
    let lost: usize = bare.split(' ').next().unwrap().parse().unwrap();
    assert!(lost <= 180 && bare.contains(" of 180 cells lost"), "{bare}");
    for side in ["without a lock: ", "with lokt guard: "] {
        let mut told = said.stdout.lines().filter(|line| line.starts_with(side));
        assert_eq!(told.next_back(), Some(format!("{side}180 of 180 done").as_str()), "{said:?}");
    }
    assert!(!said.stdout.contains('\u{1b}'), "{said:?}");
    assert_nothing_left(&sandbox, &temporary);
}

#[test]
fn a_guarded_trunk_is_a_straight_line_and_the_other_is_counted() {
    let sandbox = sandbox();
    let (mut command, temporary) = demo(&sandbox, &["trunk", "--workers", "2", "--speed", "20"]);
    // What git was told of another repository is not for the trunks.
    command.env("GIT_DIR", "/nowhere").env("GIT_CONFIG_COUNT", "many");
    let said = output(&mut command);
    assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{said:?}");
    assert_eq!(
        line(&said, "with lokt guard  "),
        "with lokt guard  6 landed, 6 test runs, 0 pushes rejected, 0 merges"
    );
    assert!(line(&said, "without a lock   ").starts_with("without a lock   6 landed, "), "{said:?}");
    assert_nothing_left(&sandbox, &temporary);
}

#[test]
fn the_side_without_a_lock_races() {
    let sandbox = sandbox();
    // Eight who take their time: that none of them meets another on 180 occasions is no chance.
    let (mut command, _) = demo(&sandbox, &["hexwall", "--workers", "8", "--speed", "3"]);
    let said = output(&mut command);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(!line(&said, "without a lock   ").starts_with("without a lock   0 of"), "{said:?}");
}

#[test]
fn one_that_is_told_to_end_leaves_nothing_behind() {
    let (paint, agent) = ("--paint=", "What an agent does");
    for (scene, worker, signal) in
        [("hexwall", paint, Signal::TERM), ("trunk", agent, Signal::TERM), ("hexwall", paint, Signal::HUP)]
    {
        let sandbox = sandbox();
        let (mut command, temporary) = demo(&sandbox, &[scene]);
        let running = start(&mut command);
        let is_there = || at_work(&temporary).iter().any(|command| command.contains(worker));
        eventually("somebody is at work", is_there);
        running.signal(signal);
        let said = running.output();
        assert_eq!((said.code, said.stderr.as_str()), (128 + signal.as_raw(), ""), "{said:?}");
        assert_nothing_left(&sandbox, &temporary);
    }
}

#[test]
fn without_git_there_is_no_trunk_and_that_is_said() {
    let sandbox = sandbox();
    let bin = sandbox.path().join("bin");
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink("/bin/sh", bin.join("sh")).unwrap();
    let (mut command, temporary) = demo(&sandbox, &["trunk"]);
    let said = output(command.env("PATH", bin));
    assert_eq!(said.code, 1);
    assert!(
        said.stderr.ends_with("this one needs git, which is not installed here: try lokt demo hexwall\n"),
        "{said:?}"
    );
    assert_nothing_left(&sandbox, &temporary);
}

#[test]
fn what_makes_no_sense_is_refused() {
    check(
        &sandbox(),
        r#"
        $ lokt demo hexwal
        ! lokt: SCENE can be hexwall or trunk, not "hexwal"
        ! lokt: hint: did you mean hexwall?
        = 64
        $ lokt demo --workers 1
        ! lokt: --workers: "1" is not a number from 2 to 8
        ! lokt: hint: see lokt demo --help
        = 64
        $ lokt demo --speed fast
        ! lokt: --speed: "fast" is not a number from 1 to 50
        ! lokt: hint: see lokt demo --help
        = 64
        $ lokt demo --paint 1:b:1
        ! lokt: failed to paint: No such file or directory
        = 1
        "#,
    );
}
