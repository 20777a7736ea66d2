//! Other users: a private root is its user's alone, and a group's root is the group's. For these one must be root.

use super::attack::Attack;
use lokt_tests::sandbox::{Lack, Output, eventually, output, skipped, start, strace_available};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

const ADA: u32 = 64_001;
const BOB: u32 = 64_002;
const EVE: u32 = 64_003;
const GROUP: u32 = 64_100;

/// A sandbox that all users can reach, with the program in it; `None` without the right to be others.
fn open_to_all() -> Option<Attack> {
    if !rustix::process::geteuid().is_root() {
        skipped(Lack::Machine, "only root may be other users");
        return None;
    }
    let attack = Attack::new();
    mode(attack.sandbox.path(), 0o755);
    fs::copy(env!("CARGO_BIN_EXE_lokt-under-test"), program(&attack)).unwrap();
    mode(&program(&attack), 0o755);
    Some(attack)
}

fn program(attack: &Attack) -> PathBuf {
    attack.sandbox.path().join("lokt")
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A root that an administrator made for the group.
fn share_root(attack: &Attack) {
    fs::create_dir(attack.sandbox.root()).unwrap();
    chown(attack.sandbox.root(), None, Some(GROUP)).unwrap();
    mode(&attack.sandbox.root(), 0o2770);
}

/// The program as another user, who is in the group unless it is Eve.
fn lokt_as(attack: &Attack, user: u32, umask: &str, command: &str) -> Command {
    let group = if user == EVE { EVE } else { GROUP };
    let ids = format!("--reuid={user} --regid={user} --groups={group}");
    let mut setpriv = attack.sandbox.command("setpriv");
    setpriv
        .args(ids.split(' '))
        .args(["sh", "-c", "umask $1; shift; exec timeout -s KILL 30 \"$@\"", "sh", umask])
        .arg(program(attack))
        .args(command.split(' '))
        .env("LOKT_OWNER", user.to_string());
    setpriv
}

#[track_caller]
fn run_as(attack: &Attack, user: u32, command: &str) -> Output {
    let output = output(&mut lokt_as(attack, user, "022", command));
    assert!(output.code < 100, "{command}: {output:?}");
    assert!(!output.stderr.contains("panicked"), "{command}: {output:?}");
    output
}

const ALL: [&str; 9] = [
    "lock x",
    "guard x -- true",
    "lock x --wait --timeout 1s",
    "unlock x --force",
    "unlock --all",
    "renew x --ttl 5m",
    "status",
    "why x",
    "exists x",
];

#[test]
fn a_private_root_is_refused_to_other_users() {
    let Some(attack) = open_to_all() else { return };
    assert_eq!(attack.code("lock x"), 0);
    // Even if it can be read, and even if it can be written: it is another's.
    for open in [0o700, 0o755, 0o777] {
        mode(&attack.sandbox.root(), open);
        for command in ALL {
            let output = run_as(&attack, EVE, command);
            assert_eq!(output.code, 1, "{open:o}: {command}: {output:?}");
            assert!(output.stderr.contains(attack.sandbox.root().to_str().unwrap()), "{output:?}");
            assert!(output.stderr.contains("LOKT_ROOT"), "it says what to do: {output:?}");
        }
    }
    assert_eq!(attack.code("lock x"), 2, "nothing has changed");
}

#[test]
fn the_refusal_of_anothers_root_names_its_owner_and_its_group() {
    let Some(attack) = open_to_all() else { return };
    let root = attack.sandbox.root();
    assert_eq!(attack.code("lock x"), 0);
    for open in [0o700, 0o755] {
        for (owner, called) in [(0, "root"), (ADA, "64001")] {
            chown(&root, Some(owner), None).unwrap();
            mode(&root, open);
            let said = run_as(&attack, EVE, "lock y").stderr;
            assert!(said.contains(&format!("belongs to another user ({called})")), "{open:o}: {said}");
            assert!(said.contains(&format!("have {called} share it")), "{open:o}: {said}");
        }
    }
    chown(&root, None, Some(GROUP)).unwrap();
    mode(&root, 0o2770);
    let said = run_as(&attack, EVE, "lock y").stderr;
    assert!(said.contains("shared with the group 64100, which you are not in"), "{said}");
}

#[test]
fn a_root_that_cannot_be_made_or_written_is_said_with_its_path() {
    let Some(attack) = open_to_all() else { return };
    let root = attack.sandbox.root();
    let expect_refused = |command: &str| {
        let output = run_as(&attack, EVE, command);
        assert_eq!(output.code, 1, "{command}: {output:?}");
        assert!(output.stderr.contains("Permission denied"), "{command}: {output:?}");
        assert!(output.stderr.contains(root.to_str().unwrap()), "{command}: {output:?}");
    };
    let locking = ["lock x", "guard x -- true", "lock x --wait --timeout 1s"];
    locking.iter().copied().for_each(expect_refused);
    assert_eq!(run_as(&attack, EVE, "status").stdout, "no locks\n");
    fs::create_dir(&root).unwrap();
    chown(&root, Some(EVE), Some(EVE)).unwrap();
    mode(&root, 0o500);
    locking.iter().copied().for_each(expect_refused);
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
}

#[test]
fn the_users_of_a_group_exclude_each_other_and_strangers_stay_out() {
    let Some(attack) = open_to_all() else { return };
    share_root(&attack);
    for (one, other) in [(ADA, BOB), (BOB, ADA)] {
        assert_eq!(run_as(&attack, one, "lock x").code, 0);
        let denied = run_as(&attack, other, "lock x");
        assert_eq!(denied.code, 2, "{denied:?}");
        assert!(denied.stderr.contains(&format!("held by {one}@")), "{denied:?}");
        assert_eq!(run_as(&attack, other, "unlock x").code, 4);
        assert_eq!(run_as(&attack, one, "unlock x").code, 0);
        let mut guard = lokt_as(&attack, one, "077", "guard y --ttl 5m -- sh -c");
        guard.arg("echo in; read line").stdin(std::process::Stdio::piped());
        let mut guard = start(&mut guard);
        guard.await_line("in");
        for command in ["guard y -- true", "lock y", "lock y --break-stale", "lock y --wait --timeout 100ms"]
        {
            assert_eq!(run_as(&attack, other, command).code, 2, "{command}");
        }
        let status = run_as(&attack, other, "status y");
        assert!(status.stdout.contains("(alive)"), "{status:?}");
        let mut waiter = start(&mut lokt_as(&attack, other, "077", "guard y --wait -- echo turn"));
        waiter.await_stderr("place 1 in line");
        guard.let_go();
        guard.await_end();
        waiter.await_line("turn");
        assert_eq!(waiter.await_end(), 0);
        assert_eq!(run_as(&attack, one, "lock z").code, 0);
        assert_eq!(run_as(&attack, other, "unlock z --force").code, 0);
    }
    for command in ALL {
        assert_eq!(run_as(&attack, EVE, command).code, 1, "{command}");
    }
    let leftovers = attack.sandbox.leftovers();
    assert!(leftovers.is_empty(), "{leftovers:?}");
}

#[test]
fn the_files_of_a_group_are_the_groups_whatever_the_mask() {
    let Some(attack) = open_to_all() else { return };
    for umask in ["077", "022", "000"] {
        let _ = fs::remove_dir_all(attack.sandbox.root());
        share_root(&attack);
        let mut guard = lokt_as(&attack, ADA, umask, "guard x -- sh -c");
        guard.arg("echo in; read line").stdin(std::process::Stdio::piped());
        let mut guard = start(&mut guard);
        guard.await_line("in");
        let mut waiter = start(&mut lokt_as(&attack, BOB, umask, "guard x --wait -- true"));
        waiter.await_stderr("place 1 in line");
        assert_eq!(output(&mut lokt_as(&attack, BOB, umask, "lock y --ttl 5m")).code, 0, "{umask}");
        assert_eq!(output(&mut lokt_as(&attack, BOB, umask, "renew y")).code, 0, "{umask}");
        assert!(attack.sandbox.leftovers().len() >= 5, "{:?}", attack.sandbox.leftovers());
        expect_shared(&attack.sandbox.root(), umask);
        guard.let_go();
        guard.await_end();
        assert_eq!(waiter.await_end(), 0, "{umask}");
    }
}

#[test]
fn the_files_of_a_private_root_are_its_users_alone_whatever_the_mask() {
    for umask in ["0000", "0022", "0077", "0277", "0777"] {
        let attack = Attack::new();
        let found = "find $LOKT_ROOT -printf \"%y%m\\n\"";
        let script = format!(
            "umask {umask}; \"$LOKT\" lock x; \"$LOKT\" freeze z --ttl 1m >&2; \"$LOKT\" guard y -- sh -c 'umask; {found}' | sort -u"
        );
        let output = attack.sandbox.sh(&script);
        let expected = format!("acquired lock \"x\"\n{umask}\nd700\nf600\np600\n");
        assert_eq!(output.stdout, expected, "{output:?}");
    }
}

/// A directory of Ada's, and `root` in it as the lock directory that root finds or makes there.
fn at_adas(attack: &Attack) -> PathBuf {
    let home = attack.sandbox.path().join("ada");
    fs::create_dir(&home).unwrap();
    chown(&home, Some(ADA), Some(ADA)).unwrap();
    home.join("root")
}

/// The program as root, whatever the mask.
fn lokt_as_root(attack: &Attack, root: &Path, umask: &str, command: &str) -> Command {
    let mut shell = attack.sandbox.command("sh");
    shell.args(["-c", "umask $1; shift; exec \"$@\"", "sh", umask]).arg(program(attack));
    shell.args(command.split(' ')).env("LOKT_ROOT", root);
    shell
}

#[test]
fn what_root_makes_in_the_root_of_a_user_is_that_users() {
    for (umask, private) in [("022", 0o700), ("077", 0o2750), ("000", 0o700)] {
        let Some(attack) = open_to_all() else { return };
        let root = at_adas(&attack);
        fs::create_dir(&root).unwrap();
        chown(&root, Some(ADA), Some(ADA)).unwrap();
        mode(&root, private);
        let as_ada = |command: &str| {
            let mut ada = lokt_as(&attack, ADA, "022", command);
            ada.env("LOKT_ROOT", &root);
            ada
        };
        let mut guard = lokt_as_root(&attack, &root, umask, "guard x --slots 2 --ttl 5m -- sh -c");
        let mut guard = start(guard.arg("echo in; read line").stdin(std::process::Stdio::piped()));
        guard.await_line("in");
        for command in ["lock y", "freeze z --ttl 5m"] {
            assert_eq!(output(&mut lokt_as_root(&attack, &root, umask, command)).code, 0, "{command}");
        }
        let mut second = start(&mut as_ada("guard x --slots 2 -- sleep 60"));
        let both = || fs::read_dir(root.join("holders/x")).is_ok_and(|all| all.count() == 2);
        eventually("she has the second", both);
        // Whoever is first in line is rung by whoever releases.
        let mut next = start(&mut as_ada("guard x --slots 2 --wait -- echo turn"));
        next.await_stderr("place 1 in line");
        expect_adas(&root);
        guard.let_go();
        guard.await_end();
        next.await_line("turn");
        assert_eq!(next.await_end(), 0);
        second.signal(Signal::TERM);
        second.await_end();
        for command in ["unlock y --force", "unfreeze z --force", "guard x -- true", "guard y -- true"] {
            assert_eq!(output(&mut as_ada(command)).code, 0, "{umask}: {command}");
        }
    }
}

#[test]
fn root_goes_on_where_it_once_left_directories_of_its_own() {
    let Some(attack) = open_to_all() else { return };
    let root = at_adas(&attack);
    let run = |command: &str| {
        assert_eq!(output(&mut lokt_as_root(&attack, &root, "022", command)).code, 0, "{command}")
    };
    run("lock x");
    for dir in ["stripes", "holders", "lines"] {
        let _ = fs::create_dir(root.join(dir));
        chown(root.join(dir), Some(0), Some(0)).unwrap();
        mode(&root.join(dir), 0o700);
    }
    ["guard y -- true", "guard z --slots 2 -- true", "freeze f --ttl 1m"].into_iter().for_each(run);
}

/// It would be taken for a link that somebody has planted.
#[test]
fn what_is_made_in_a_shared_root_is_at_no_moment_in_two_places() {
    if !strace_available("a shared root that is slowly filled") {
        return;
    }
    let Some(attack) = open_to_all() else { return };
    share_root(&attack);
    let mut slow = attack.sandbox.command("strace");
    slow.args(["-f", "-qq", "-o", "/dev/null", "-e", "inject=unlinkat,unlink:delay_enter=300000"]);
    let mut slow = start(slow.arg(program(&attack)).args(["guard", "x", "--", "true"]));
    let stripes = attack.sandbox.root().join("stripes");
    let mutex = || {
        let names = fs::read_dir(&stripes).into_iter().flatten().flatten();
        names.map(|entry| entry.file_name()).find(|name| name.len() == 2)
    };
    eventually("the mutex is there", || mutex().is_some());
    let beside = run_as(&attack, ADA, "lock x");
    assert!([0, 2].contains(&beside.code), "{beside:?}");
    assert!([0, 2].contains(&slow.await_end()));
}

#[test]
fn root_follows_a_users_link_to_what_is_that_users_and_to_nothing_else() {
    let Some(attack) = open_to_all() else { return };
    let root = at_adas(&attack);
    for (owner, code) in [(ADA, 0), (0, 1), (EVE, 1)] {
        let elsewhere = attack.sandbox.path().join(format!("elsewhere-{owner}"));
        fs::create_dir(&elsewhere).unwrap();
        chown(&elsewhere, Some(owner), Some(owner)).unwrap();
        let _ = fs::remove_file(&root);
        symlink(&elsewhere, &root).unwrap();
        lchown(&root, Some(ADA), Some(ADA)).unwrap();
        let followed = output(&mut lokt_as_root(&attack, &root, "022", "lock x"));
        assert_eq!(followed.code, code, "{owner}: {followed:?}");
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count() > 0, code == 0, "{owner}");
    }
}

#[test]
fn a_root_that_root_makes_in_a_users_directory_is_that_users() {
    let Some(attack) = open_to_all() else { return };
    let root = at_adas(&attack).join("and/below");
    assert_eq!(output(&mut lokt_as_root(&attack, &root, "022", "lock x")).code, 0);
    expect_adas(&attack.sandbox.path().join("ada"));
    let denied = output(lokt_as(&attack, ADA, "022", "lock x").env("LOKT_ROOT", &root));
    assert_eq!(denied.code, 2, "{denied:?}");
}

#[test]
fn a_user_is_given_nothing_of_roots_that_he_puts_where_root_makes_a_file() {
    if !strace_available("a user gets nothing of root's by a swap") {
        return;
    }
    let Some(attack) = open_to_all() else { return };
    let root = at_adas(&attack);
    assert_eq!(output(&mut lokt_as_root(&attack, &root, "022", "lock y")).code, 0);
    let key = attack.sandbox.path().join("ada/key");
    fs::write(&key, "secret").unwrap();
    mode(&key, 0o600);
    // The file of root's session is made, and only then opened: meanwhile there is another file of root's in its place.
    let swap = "while :; do for made in $LOKT_ROOT/stripes/*.new; do
            [ -p $made ] && mv -f $LOKT_ROOT/../key $made && exit 0
        done; done";
    let mut ada = lokt_as(&attack, ADA, "022", "status");
    let mut swapper = attack.sandbox.command("setpriv");
    let ids: Vec<_> = ada.get_args().take(3).map(ToOwned::to_owned).collect();
    swapper.args(ids).args(["timeout", "20", "sh", "-c", swap]).env("LOKT_ROOT", &root);
    let mut swapper = start(&mut swapper);
    let mut slow = attack.sandbox.command("strace");
    slow.args(["-f", "-qq", "-o", "/dev/null", "-e", "inject=mknodat,mknod:delay_exit=500000"]);
    slow.arg(program(&attack)).args(["guard", "x", "--", "true"]).env("LOKT_ROOT", &root);
    let guarded = output(&mut slow);
    assert_eq!(swapper.await_end(), 0, "it was swapped: {guarded:?}");
    assert_ne!(guarded.code, 0, "what stands there is not the guard's: {guarded:?}");
    ada.env("LOKT_ROOT", &root);
    assert_eq!(output(&mut ada).code, 0);
}

/// With another user the kernel forgets who is to be ended with whom.
#[test]
fn a_guard_that_makes_files_as_a_user_still_ends_with_the_guard_around_it() {
    let Some(attack) = open_to_all() else { return };
    let root = at_adas(&attack);
    let inner = format!("{} guard b -- sh -c", program(&attack).display());
    let mut outer = lokt_as_root(&attack, &root, "022", &format!("guard a --ttl 1m -- {inner}"));
    let mut outer = start(outer.arg("echo $PPID in; read line").stdin(std::process::Stdio::piped()));
    let said = outer.await_stdout("in");
    let inner = said.trim_end_matches("in").trim();
    outer.signal(Signal::KILL);
    let state = || fs::read_to_string(format!("/proc/{inner}/stat")).unwrap_or_default();
    eventually("the inner one is gone", || !state().contains(") ") || state().contains(") Z "));
}

fn expect_adas(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let (path, meta) = (entry.path(), entry.metadata().unwrap());
        let mode = if meta.is_dir() { 0o700 } else { 0o600 };
        assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o777), (ADA, ADA, mode), "{path:?}");
        if meta.is_dir() {
            expect_adas(&path);
        }
    }
}

#[test]
fn the_doctor_tells_who_may_use_a_root_and_what_they_cannot_use() {
    let Some(attack) = open_to_all() else { return };
    let root = attack.sandbox.root();
    fs::create_dir(&root).unwrap();
    chown(&root, Some(ADA), Some(ADA)).unwrap();
    mode(&root, 0o700);
    assert_eq!(run_as(&attack, ADA, "lock x").code, 0);
    let says = |output: &Output, line: &str| {
        assert!(output.stdout.lines().any(|one| one.contains(line)), "{line}: {}", output.stdout);
    };
    let own = run_as(&attack, ADA, "doctor");
    assert_eq!(own.code, 0, "{own:?}");
    says(&own, "[OK]   access           for the user 64001 alone (mode 0700)");
    let other = run_as(&attack, EVE, "doctor");
    assert_eq!(other.code, 1, "{other:?}");
    mode(&root, 0o755);
    let other = run_as(&attack, EVE, "doctor");
    says(&other, "[FAIL] access");
    says(&other, "belongs to another user (64001)");
    mode(&root, 0o700);
    fs::write(root.join("stripes/3f.tmp"), "").unwrap();
    let by_root = attack.run("doctor --fix");
    assert_eq!(by_root.code, 0, "{by_root:?}");
    says(
        &by_root,
        "[OK]   access           for the user 64001 alone (mode 0700); what you (root) make in it is made for that user",
    );
    assert!(!root.join("stripes/3f.tmp").exists(), "{by_root:?}");
    // As lokt once left it.
    assert_eq!(attack.code("lock y"), 0);
    chown(attack.sandbox.record("y"), Some(0), Some(0)).unwrap();
    let own = run_as(&attack, ADA, "doctor");
    assert_eq!(own.code, 1, "{own:?}");
    says(&own, "locks/y.json: its user is root, and the root's is 64001");
    says(&own, &format!("sudo chown -hR 64001: {}", root.display()));
    says(&own, "\"y\": failed to open");
}

#[test]
fn the_doctor_knows_a_root_that_a_group_shares() {
    let Some(attack) = open_to_all() else { return };
    share_root(&attack);
    assert_eq!(run_as(&attack, ADA, "lock x").code, 0);
    let shared = run_as(&attack, BOB, "doctor");
    assert_eq!(shared.code, 0, "{shared:?}");
    assert!(shared.stdout.contains("[OK]   access           shared by the group 64100"), "{shared:?}");
    assert!(shared.stdout.contains("Result: all is well"), "{shared:?}");
    mode(&attack.sandbox.root().join("locks"), 0o2750);
    mode(&attack.sandbox.record("x"), 0o640);
    let shut = run_as(&attack, BOB, "doctor");
    assert!(shut.stdout.contains("[WARN] access           locks/ is not for the whole group"), "{shut:?}");
    assert!(shut.stdout.contains("locks/x.json: the group 64100 may not use it"), "{shut:?}");
    assert_eq!(run_as(&attack, EVE, "doctor").code, 1);
}

fn expect_shared(dir: &Path, umask: &str) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let (path, meta) = (entry.path(), entry.metadata().unwrap());
        let expected = if meta.is_dir() { 0o2770 } else { 0o660 };
        assert_eq!(meta.mode() & 0o7777, expected, "mask {umask}: {path:?}");
        assert_eq!(meta.gid(), GROUP, "mask {umask}: {path:?}");
        if meta.is_dir() {
            expect_shared(&path, umask);
        }
    }
}
