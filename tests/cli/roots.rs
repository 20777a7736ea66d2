//! Where the locks are.

use super::transcript::{check, sandbox, sh};
use lokt_tests::sandbox::{Lack, Output, Sandbox, output, skipped};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs the program in `dir`, without `LOKT_ROOT` and without any `git` to start.
fn lokt_in(sandbox: &Sandbox, dir: &Path, git_dir: Option<&str>) -> Output {
    let mut command = sandbox.lokt(["lock", "x"]);
    command.env_remove("LOKT_ROOT").env("PATH", "/nowhere").current_dir(dir);
    if let Some(git_dir) = git_dir {
        command.env("GIT_DIR", git_dir);
    }
    output(&mut command)
}

/// Where the only record in the sandbox is, which is then removed.
fn found(sandbox: &Sandbox) -> PathBuf {
    let mut records = Vec::new();
    let mut dirs = vec![sandbox.path().to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap().flatten() {
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => dirs.push(entry.path()),
                _ if entry.file_name() == "x.json" => records.push(entry.path()),
                _ => {}
            }
        }
    }
    assert_eq!(records.len(), 1, "{records:?}");
    fs::remove_file(&records[0]).unwrap();
    let root = records[0].ancestors().nth(2).unwrap();
    root.strip_prefix(sandbox.path()).unwrap().to_owned()
}

#[track_caller]
fn expect_root(sandbox: &Sandbox, dir: &str, git_dir: Option<&str>, root: &str) {
    let output = lokt_in(sandbox, &sandbox.path().join(dir), git_dir);
    assert_eq!(output.code, 0, "in {dir}: {output:?}");
    assert_eq!(found(sandbox), Path::new(root), "in {dir}");
}

/// Runs git in the sandbox; `false` if there is none.
fn git(sandbox: &Sandbox, arguments: &str) -> bool {
    let who = "-c user.name=t -c user.email=t@t -c protocol.file.allow=always -c init.defaultBranch=main";
    let status = Command::new("git")
        .args(who.split(' '))
        .args(arguments.split(' '))
        .current_dir(sandbox.path())
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("HOME", sandbox.path().join("home"))
        .output();
    match status {
        Ok(output) if output.status.success() => true,
        Ok(output) => panic!("git {arguments}: {output:?}"),
        Err(_) => {
            skipped(Lack::behind("git"), "there is no git here");
            false
        }
    }
}

#[test]
fn all_worktrees_of_a_repository_share_its_locks_and_no_git_is_started() {
    let sandbox = sandbox();
    if !git(&sandbox, "init -q repo") {
        return;
    }
    git(&sandbox, "-C repo commit -q --allow-empty -m x");
    git(&sandbox, "-C repo worktree add -q ../tree");
    git(&sandbox, "init -q module");
    git(&sandbox, "-C module commit -q --allow-empty -m x");
    git(&sandbox, "-C repo submodule --quiet add ../module sub");
    git(&sandbox, "init -q --bare bare.git");
    fs::create_dir_all(sandbox.path().join("repo/deep/er")).unwrap();
    for dir in ["repo", "repo/deep/er", "repo/.git", "tree"] {
        expect_root(&sandbox, dir, None, "repo/.git/lokt");
    }
    expect_root(&sandbox, "repo/sub", None, "repo/.git/modules/sub/lokt");
    expect_root(&sandbox, "bare.git", None, "bare.git/lokt");
    expect_root(&sandbox, "work", None, "work/.lokt");
    expect_root(&sandbox, "work", Some("../repo/.git"), "repo/.git/lokt");
    expect_root(&sandbox, "work", Some("../repo/.git/worktrees/tree"), "repo/.git/lokt");
}

#[test]
fn a_git_file_that_leads_nowhere_is_an_error_and_not_another_root() {
    let sandbox = sandbox();
    for content in ["gitdir: ../gone\n", "junk", "", "gitdir: \u{1b}[31m\n"] {
        fs::write(sandbox.work().join(".git"), content).unwrap();
        let output = lokt_in(&sandbox, &sandbox.work(), None);
        assert_eq!(output.code, 1, "{content:?}: {output:?}");
        let said = "does not lead to a git directory, so the lock directory is unknown";
        assert!(output.stderr.contains(said), "{content:?}: {output:?}");
        assert!(!sandbox.work().join(".lokt").exists());
    }
}

#[test]
fn a_git_directory_that_is_none_is_passed_over() {
    let sandbox = sandbox();
    fs::create_dir(sandbox.work().join(".git")).unwrap();
    expect_root(&sandbox, "work", None, "work/.lokt");
}

#[test]
fn lokt_root_is_taken_as_it_is_and_made_with_its_parents() {
    check(
        &sandbox(),
        r#"
        $ LOKT_ROOT=some/where/new lokt lock x && ls -ld some/where/new some/where/new/locks | cut -c1-10
        acquired lock "x"
        drwx------
        drwx------
        $ ls -l some/where/new/locks some/where/new/audit.log some/where/new/stripes | grep -- - | cut -c1-10 | sort -u
        -rw-------
        $ cd some && LOKT_ROOT=where/new lokt lock x --note other 2>/dev/null
        = 2
        $ ln -s some/where link; LOKT_ROOT=link/new lokt exists x && LOKT_ROOT=$PWD/some/where/../where/new lokt exists x
        $ LOKT_ROOT= lokt lock x && ls -d .lokt
        acquired lock "x"
        .lokt
        "#,
    );
}

#[test]
fn a_root_that_cannot_be_is_an_error_for_every_command() {
    let sandbox = sandbox();
    fs::write(sandbox.work().join("file"), "").unwrap();
    for (root, why) in [
        ("file", "file"),
        ("file/below", "Not a directory"),
        ("/dev/null/x", "Not a directory"),
        (&"x".repeat(300), "File name too long"),
        (&"x/".repeat(3000), "File name too long"),
    ] {
        for command in ["lock x", "guard x -- true", "lock x --wait --timeout 1s"] {
            let output = output(sandbox.lokt(command.split(' ')).env("LOKT_ROOT", root));
            assert_eq!(output.code, 1, "{command} in {root:.20}: {output:?}");
            assert!(output.stderr.contains(why), "{command} in {root:.20}: {output:?}");
            assert_eq!(output.stdout, "", "{command}");
        }
        for command in ["status", "why x", "unlock x", "renew x", "exists x"] {
            let output = output(sandbox.lokt(command.split(' ')).env("LOKT_ROOT", root));
            assert_eq!(output.code, 1, "{command} in {root:.20}: {output:?}");
        }
    }
}

#[test]
fn a_working_directory_that_is_gone_is_named() {
    let sandbox = sandbox();
    let gone = "mkdir gone; cd gone; rmdir ../gone";
    for command in ["status", "why x", "guard x -- true", "prime"] {
        let output = sh(&sandbox, &format!("{gone}; unset LOKT_ROOT; lokt {command}"));
        assert_eq!(output.code, 1, "{command}: {output:?}");
        let said = "lokt: failed to use the lock directory: the working directory is gone: change to one";
        assert!(output.stderr.starts_with(said), "{command}: {output:?}");
        assert!(output.stderr.contains("hint: LOKT_ROOT chooses"), "{command}: {output:?}");
    }
    let doctor = sh(&sandbox, &format!("{gone}; unset LOKT_ROOT; lokt doctor"));
    assert!(doctor.stdout.contains("the working directory is gone"), "{doctor:?}");
    let prime = sh(&sandbox, &format!("{gone}; lokt prime"));
    assert!(prime.stderr.starts_with("lokt: the working directory is gone: "), "{prime:?}");
    assert_eq!(sh(&sandbox, &format!("{gone}; lokt guard x -- echo in")).stdout, "in\n", "it needs none");
}

#[test]
fn a_root_with_a_name_for_terminals_is_escaped() {
    let sandbox = sandbox();
    let output = output(sandbox.lokt(["lock", "x"]).env("LOKT_ROOT", "/dev/null/\u{1b}[31m"));
    assert!(output.stderr.contains("/dev/null/\\u{1b}[31m"), "{output:?}");
    assert!(!output.stderr.contains('\u{1b}'), "{output:?}");
}

#[test]
fn a_root_that_is_not_unicode_is_taken_as_it_is() {
    check(
        &sandbox(),
        r#"
        $ export LOKT_ROOT="$(printf 'r\377')"; lokt lock x && ls -d r* | od -An -tx1
        acquired lock "x"
         72 ff 0a
        "#,
    );
}

#[test]
fn a_git_file_that_is_no_text_is_an_error_that_names_it() {
    let sandbox = sandbox();
    for size in [0_u64, 4 << 30] {
        let file = fs::File::create(sandbox.work().join(".git")).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"gitdir: /no\xff", 0).unwrap();
        file.set_len(size.max(12)).unwrap();
        let output = lokt_in(&sandbox, &sandbox.work(), None);
        assert_eq!(output.code, 1, "{output:?}");
        assert!(output.stderr.contains("work/.git"), "{output:?}");
    }
}

#[test]
fn a_git_dir_that_is_none_is_an_error_and_not_another_root() {
    let sandbox = sandbox();
    let output = lokt_in(&sandbox, &sandbox.work(), Some("gone/.git"));
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stderr.contains("work/gone/.git"), "{output:?}");
}

#[test]
fn what_begins_with_a_scheme_is_no_directory() {
    let sandbox = sandbox();
    for address in [
        "etcd:/host:2379/p",
        "etcd:host:2379/p",
        "ETCDS:x",
        "etcd:///p",
        "http://host/p",
        "file:///tmp/x",
        "Etcds:/x",
    ] {
        let refused = output(sandbox.lokt(["guard", "x", "--", "true"]).env("LOKT_ROOT", address));
        assert_eq!(refused.code, 64, "{address}: {refused:?}");
        assert_eq!(refused.stderr.lines().count(), 1, "{refused:?}");
        assert!(refused.stderr.contains(address) && refused.stderr.contains("LOKT_ROOT"), "{refused:?}");
    }
    for path in ["./etcd:/x", "./etcd:x", "etcd", "a:b", "a:/b", "-x:/y", "dir/etcd://x"] {
        let taken = output(sandbox.lokt(["guard", "x", "--", "true"]).env("LOKT_ROOT", path));
        assert_eq!(taken.code, 0, "{path}: {taken:?}");
        assert!(sandbox.work().join(path).join("locks").is_dir(), "{path}");
    }
}

#[test]
fn a_file_in_the_place_of_the_root_is_called_what_it_is() {
    let sandbox = sandbox();
    fs::write(sandbox.work().join("file"), "").unwrap();
    for command in [&["status"][..], &["lock", "x"], &["why", "x"], &["unlock", "x"]] {
        let said = output(sandbox.lokt(command).env("LOKT_ROOT", "file"));
        assert!(
            said.stderr.contains("file is not a directory: no locks can be there"),
            "{command:?}: {said:?}"
        );
        assert_eq!(said.code, 1, "{said:?}");
    }
}
