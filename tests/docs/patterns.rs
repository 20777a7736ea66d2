//! The scripts of `docs/patterns`, two and more at once: they exclude each other, wait or skip, as the page says.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use lokt_tests::sandbox::{Output, output, start};
use rustix::process::Signal;

use super::places::{Place, STUB, pattern_file};

/// A place with a stub of each of these commands, in the search path and in the working directory.
fn place(stubs: &[&str]) -> Place {
    let place = Place::new();
    for stub in stubs {
        place.program(stub, STUB);
        place.script(stub, STUB);
    }
    place
}

/// A stub of which so many may be at work at once for each `what`: one too many ends at once, with 99.
fn crowded(most: u32, what: &str) -> String {
    format!(
        "#!/bin/sh\necho \"{what}\" >>\"$PLACE/log\"\n\
         [ \"$(grep -cxF \"{what}\" \"$PLACE/log\")\" -le {most} ] || exit 99\n\
         while [ ! -e \"$PLACE/gate\" ]; do /bin/sleep 0.02; done\n"
    )
}

/// Two at once of a script that refuses the second; returns what the second said.
fn second_of(place: &Place, pattern: &str, args: &[&str], begun: &str) -> Output {
    let first = place.start(pattern, args);
    place.await_log(&format!("begin {begun}"));
    let second = place.run(pattern, args);
    assert_eq!(place.log().len(), 1, "the second did not run: {:?}", place.log());
    place.open_gate();
    assert_eq!(first.output().code, 0);
    second
}

/// Two at once of a script that waits: one after the other, and both succeed.
fn both_in_turn(place: &Place, pattern: &str, args: &[&str], lock: &str, begun: &str) {
    let first = place.start(pattern, args);
    place.await_log(&format!("begin {begun}"));
    let second = place.start(pattern, args);
    place.await_waiters(lock, 1);
    place.open_gate();
    for ran in [first.output(), second.output()] {
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    let (begin, end) = (format!("begin {begun}"), format!("end {begun}"));
    assert_eq!(place.log(), [&*begin, &*end, &*begin, &*end]);
}

/// A repository with a commit, and a second worktree beside it.
fn repository(place: &Place) {
    place.sh("git init -q -b main repo && cd repo && git commit -q --allow-empty -m one \
         && git worktree add -q ../other");
}

/// A script in a directory below the working directory, with its locks where the repository has them.
fn in_worktree(place: &Place, dir: &str, pattern: &str, args: &[&str]) -> Command {
    let mut command = place.command(pattern_file(pattern));
    command.args(args).current_dir(place.sandbox.work().join(dir)).env_remove("LOKT_ROOT");
    command
}

#[test]
fn a_second_build_is_refused() {
    let refused = second_of(&place(&["make"]), "build.sh", &["all"], "make");
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("lock \"build\" is held by ada@"), "{refused:?}");
}

#[test]
fn pushes_of_several_worktrees_all_arrive() {
    let place = Place::new();
    place.sh("git init -q --bare -b main origin.git && git init -q -b main repo && cd repo \
         && git remote add origin ../origin.git && git commit -q --allow-empty -m base && git push -q origin main \
         && for n in 1 2 3 4; do git worktree add -q ../w$n && git -C ../w$n commit -q --allow-empty -m $n; done");
    let pushes: Vec<_> =
        ["w1", "w2", "w3", "w4"].map(|dir| start(&mut in_worktree(&place, dir, "push.sh", &[]))).into();
    for push in pushes {
        let ran = push.output();
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    let log = place.sh("git -C origin.git log --format=%s main | sort");
    assert_eq!(log, "1\n2\n3\n4\nbase\n");
}

#[test]
fn a_second_deploy_waits_for_the_first() {
    let place = place(&["do-deploy.sh"]);
    place.sh("git init -q && git commit -q --allow-empty -m one");
    let first = place.start("deploy.sh", &[]);
    place.await_log("begin do-deploy.sh");
    let commit = place.sh("git describe --always");
    let note = place.sh("lokt status deploy");
    assert!(note.contains(&format!("deploys {}", commit.trim())), "{note}");
    let second = place.start("deploy.sh", &[]);
    place.await_waiters("deploy", 1);
    place.open_gate();
    assert_eq!((first.output().code, second.output().code), (0, 0));
    assert_eq!(place.log(), ["begin do-deploy.sh", "end do-deploy.sh"].repeat(2));
}

#[test]
fn a_migration_is_refused_while_one_runs_however_long() {
    let place = place(&["do-migrate.sh"]);
    let first = place.start("migrate.sh", &[]);
    place.await_log("begin do-migrate.sh");
    assert_eq!(place.run("migrate.sh", &[]).code, 2);
    let broken = output(place.command("lokt").args(["unlock", "db-migrate", "--break-stale"]));
    assert_eq!(broken.code, 1, "it has no lease that could lapse: {broken:?}");
    place.open_gate();
    assert_eq!(first.output().code, 0);
    assert_eq!(place.log().len(), 2);
}

#[test]
fn each_shard_is_run_once_by_two_workers() {
    let place = Place::new();
    place.script("test", "#!/bin/sh\necho \"$SHARD\" >>\"$PLACE/log\"\n");
    let workers = [0, 1].map(|_| place.start("shards.sh", &["r1", "5", "./test"]));
    for worker in workers {
        let ran = worker.output();
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    let mut log = place.log();
    log.sort();
    assert_eq!(log, ["1", "2", "3", "4", "5"]);
}

#[test]
fn a_worker_leaves_out_the_shard_that_another_is_at_and_tells_of_failures() {
    let place = place(&["test"]);
    let first = place.start("shards.sh", &["r1", "1", "./test"]);
    place.await_log("begin test 1");
    let second = place.run("shards.sh", &["r1", "1", "./test"]);
    assert_eq!((second.code, &*second.stdout), (0, "0 of 1 shards failed here; others are at 1\n"));
    place.open_gate();
    assert_eq!(first.output().code, 0);
    let failed = place.run("shards.sh", &["r2", "1", "false"]);
    assert_eq!((failed.code, &*failed.stdout), (1, "1 of 1 shards failed here; others are at 0\n"));
}

#[test]
fn a_nightly_job_is_left_out_in_silence_while_the_last_one_runs() {
    let skipped = second_of(&place(&["nightly-job.sh"]), "nightly.sh", &[], "nightly-job.sh");
    assert_eq!((skipped.code, &*skipped.stdout, &*skipped.stderr), (0, "", ""));
}

#[test]
fn a_ci_job_skips() {
    let skipped = second_of(&place(&["do-deploy.sh"]), "ci-deploy.sh", &["skip"], "do-deploy.sh");
    assert_eq!((skipped.code, &*skipped.stdout), (0, "skipped: somebody is deploying\n"));
    let place = Place::new();
    place.script("do-deploy.sh", "#!/bin/sh\nexit 2\n");
    assert_eq!(place.run("ci-deploy.sh", &["skip"]).code, 2, "the command's own code");
}

#[test]
fn a_ci_job_waits() {
    both_in_turn(&place(&["do-deploy.sh"]), "ci-deploy.sh", &["wait"], "deploy", "do-deploy.sh");
}

#[test]
fn a_check_runs_once_for_a_commit() {
    let place = place(&["lint"]);
    place.sh("git init -q && git commit -q --allow-empty -m one");
    let key = format!("lint-{}", place.sh("git rev-parse HEAD").trim());
    let first = place.start("once.sh", &["lint", "./lint"]);
    place.await_log("begin lint");
    let second = place.start("once.sh", &["lint", "./lint"]);
    place.await_waiters(&key, 1);
    place.open_gate();
    assert_eq!((first.output().code, second.output().code), (0, 0));
    assert_eq!(place.run("once.sh", &["lint", "./lint"]).code, 0);
    assert_eq!(place.log(), ["begin lint", "end lint"]);
}

#[test]
fn a_check_that_failed_is_tried_again() {
    let place = Place::new();
    place.sh("git init -q && git commit -q --allow-empty -m one");
    assert_eq!(place.run("once.sh", &["lint", "false"]).code, 1);
    assert_eq!(place.run("once.sh", &["lint", "true"]).code, 0);
    assert_eq!(place.run("once.sh", &["lint", "false"]).code, 0, "it has passed: it is not run again");
}

#[test]
fn worktrees_share_a_lock() {
    let place = place(&["serve"]);
    repository(&place);
    let first = start(&mut in_worktree(&place, "repo", "dev-server.sh", &["serve"]));
    place.await_log("begin serve");
    let second = output(&mut in_worktree(&place, "other", "dev-server.sh", &["serve"]));
    assert_eq!(second.code, 2, "{second:?}");
    assert!(second.stderr.contains("work/repo"), "it says in which worktree: {second:?}");
    place.open_gate();
    assert_eq!(first.output().code, 0);
}

#[test]
fn a_worktree_may_have_a_lock_of_its_own() {
    let place = Place::new();
    place.program("make", &crowded(1, "$PWD"));
    repository(&place);
    let dirs = ["repo", "other"];
    let builds = dirs.map(|dir| start(&mut in_worktree(&place, dir, "build-here.sh", &[])));
    dirs.iter().for_each(|dir| place.await_log(&place.sandbox.work().join(dir).display().to_string()));
    let again = output(&mut in_worktree(&place, "other", "build-here.sh", &[]));
    assert_eq!(again.code, 2, "{again:?}");
    place.open_gate();
    builds.into_iter().for_each(|build| assert_eq!(build.output().code, 0));
}

#[test]
fn a_script_of_several_steps_holds_its_lock_through_all_of_them() {
    let place = place(&["tag.sh"]);
    place.script("publish.sh", "#!/bin/sh\nlokt exists release && echo publish >>\"$PLACE/log\"\n");
    let first = place.start("release.sh", &[]);
    place.await_log("begin tag.sh");
    let second = place.run("release.sh", &[]);
    assert_eq!(second.code, 2, "{second:?}");
    assert!(place.sandbox.record("release").exists(), "the second released what was not its own");
    place.open_gate();
    assert_eq!(first.output().code, 0);
    assert_eq!(place.log(), ["begin tag.sh", "end tag.sh", "publish"]);
    assert!(!place.sandbox.record("release").exists(), "it was released");
}

#[test]
fn a_script_that_is_killed_leaves_no_lock_behind() {
    let place = place(&["tag.sh", "publish.sh"]);
    let mut first = place.start("release.sh", &[]);
    place.await_log("begin tag.sh");
    assert_eq!(place.run("release.sh", &[]).code, 2);
    first.signal(Signal::KILL);
    first.await_end();
    place.open_gate();
    place.await_log("end tag.sh");
    assert_eq!(place.run("release.sh", &[]).code, 0);
}

#[test]
fn a_late_writer_is_refused_by_the_resource() {
    let place = Place::new();
    let put = pattern_file("put.sh");
    let put = put.display();
    // Its guard is stopped: its lease lapses, but its command goes on.
    let job = format!("echo $PPID >\"$PLACE/log\"; read line; echo old | {put} page");
    let mut late = start(
        place
            .command("lokt")
            .args(["guard", "job", "--ttl", "1s", "--on-lost", "warn", "--"])
            .args(["sh", "-c", &format!("{job}; echo $? >>\"$PLACE/log\"")])
            .stdin(std::process::Stdio::piped()),
    );
    let log = || place.log();
    lokt_tests::sandbox::eventually("the first runs", || !log().is_empty());
    late.signal(Signal::STOP);
    place.sh(&format!("lokt guard job --wait -- sh -c 'echo new | {put} page'"));
    late.let_go();
    lokt_tests::sandbox::eventually("the first has tried to write", || log().len() == 2);
    assert_eq!(log()[1], "1", "it was refused");
    late.signal(Signal::CONT);
    let said = late.output();
    assert!(said.stderr.contains("refused: token 1 is older than 2"), "{said:?}");
    assert_eq!(fs::read_to_string(place.sandbox.work().join("page")).unwrap(), "new\n");
}

#[test]
fn a_pool_has_so_many_places() {
    let place = Place::new();
    place.script("call", &crowded(2, "in"));
    let calls = [0, 1].map(|_| place.start("pool.sh", &["2", "api", "./call"]));
    lokt_tests::sandbox::eventually("two are in", || place.log().len() == 2);
    let third = place.run("pool.sh", &["2", "api", "./call"]);
    assert_eq!(third.code, 75, "{third:?}");
    place.open_gate();
    calls.into_iter().for_each(|call| assert_eq!(call.output().code, 0));
    assert_eq!(place.run("pool.sh", &["2", "api", "sh", "-c", "exit 9"]).code, 9);
    assert_eq!(place.log().len(), 2);
}

#[test]
fn two_makes_build_one_after_the_other() {
    let place = place(&["compile.sh"]);
    symlink(pattern_file("Makefile"), place.sandbox.work().join("Makefile")).unwrap();
    let make = || start(place.command("make").arg("app"));
    let first = make();
    place.await_log("begin compile.sh");
    let second = make();
    place.await_waiters("build-app", 1);
    place.open_gate();
    for ran in [first.output(), second.output()] {
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    assert_eq!(place.log(), ["begin compile.sh", "end compile.sh"].repeat(2));
}

#[test]
fn two_pushes_test_one_after_the_other() {
    let place = place(&["make"]);
    repository(&place);
    place.sh("git init -q --bare origin.git && cd repo && git remote add origin ../origin.git");
    symlink(pattern_file("pre-push"), place.sandbox.work().join("repo/.git/hooks/pre-push")).unwrap();
    let push = |dir: &str| {
        let dir = place.sandbox.work().join(dir);
        start(place.command("git").args(["push", "-q", "origin", "HEAD"]).current_dir(dir))
    };
    let first = push("repo");
    place.await_log("begin make");
    let second = push("other");
    place.await_waiters("pre-push", 1);
    place.open_gate();
    for ran in [first.output(), second.output()] {
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    assert_eq!(place.log(), ["begin make", "end make"].repeat(2));
    assert_eq!(place.sh("git -C origin.git branch --format='%(refname:short)'"), "main\nother\n");
}

/// The patterns that a test above runs are all that there are; and where shellcheck is, it has nothing to say.
#[test]
fn every_pattern_is_run_and_clean() {
    let tests = include_str!("patterns.rs");
    let page = super::page::Page::read("docs/patterns.md");
    let mut scripts = Vec::new();
    for entry in fs::read_dir(pattern_file("")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(tests.contains(&format!("\"{name}\"")), "no test runs {name}");
        assert!(page.text.contains(&format!("<!-- file: patterns/{name} -->")), "the page shows {name}");
        if name != "Makefile" {
            scripts.push(pattern_file(&name));
        }
    }
    assert!(scripts.len() > 10);
    let place = Place::new();
    for script in &scripts {
        assert_eq!(output(place.command("sh").arg("-n").arg(script)).code, 0, "{}", script.display());
    }
    // SC2016: the inner script is quoted on purpose.
    if let Ok(checked) = Command::new("shellcheck").args(["--exclude", "SC2016"]).args(&scripts).output() {
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    }
}
