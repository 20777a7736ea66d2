//! Something else where a file or a directory of lokt's belongs: never followed, never waited for, left alone.

use super::attack::{Attack, THINGS, Thing};
use std::fs;
use std::os::unix::fs::symlink;

#[test]
fn in_a_records_place_it_counts_as_held_and_is_left_alone() {
    let attack = Attack::new();
    for thing in THINGS {
        attack.fresh_root();
        let record = attack.sandbox.record("x");
        if !thing.put(&attack, &record) {
            continue;
        }
        for command in [
            "lock x",
            "guard x -- true",
            "lock x --break-stale",
            "lock x --wait --timeout 5s",
            "renew x",
            "status x",
            "why x",
            "unlock x",
            "unlock x --break-stale",
            "unlock x --force",
        ] {
            let output = attack.run(command);
            assert_eq!(output.code, 1, "{thing:?}: {command}: {output:?}");
            assert!(output.stderr.contains("locks/x.json is "), "{thing:?}: {command}: {output:?}");
        }
        assert_eq!(attack.code("exists x"), 0, "{thing:?}: it is in the way");
        attack.run_all();
        assert!(thing.is_at(&record), "{thing:?}");
        assert_eq!(attack.code("lock y"), 0, "{thing:?}: other names are not concerned");
        assert_eq!(attack.code("unlock y"), 0, "{thing:?}");
    }
}

#[test]
fn in_a_mutexs_place_nobody_gets_in() {
    let attack = Attack::new();
    for thing in THINGS {
        attack.fresh_root();
        let stripes = attack.sandbox.root().join("stripes");
        let _ = fs::remove_dir_all(&stripes);
        fs::create_dir(&stripes).unwrap();
        let mutexes: Vec<_> = (0..64).map(|number| stripes.join(format!("{number:02x}"))).collect();
        if !mutexes.iter().all(|mutex| thing.put(&attack, mutex)) {
            continue;
        }
        for (command, verb) in [
            ("lock x", "lock"),
            ("guard x -- true", "lock"),
            ("lock x --wait --timeout 5s", "lock"),
            ("unlock x", "release"),
            ("renew x", "renew"),
            ("freeze x --ttl 1m", "freeze"),
            ("unfreeze x", "unfreeze"),
        ] {
            let output = attack.run(command);
            assert_eq!(output.code, 1, "{thing:?}: {command}: {output:?}");
            let said = format!("failed to {verb} \"x\": ");
            assert!(output.stderr.contains(&said), "{thing:?}: {command}: {output:?}");
        }
        assert_eq!(attack.code("why x"), 1, "{thing:?}: it promises nothing");
        attack.run_all();
        assert!(mutexes.iter().all(|mutex| thing.is_at(mutex)), "{thing:?}");
        assert!(!attack.sandbox.record("x").exists(), "{thing:?}");
    }
}

#[test]
fn in_the_place_of_a_living_session_its_lock_is_still_held() {
    let attack = Attack::new();
    // Also a FIFO that nobody has locked, which looks like a dead session's file: the record knows its own.
    for thing in THINGS {
        attack.fresh_root();
        let mut guard = attack.sandbox.hold(["guard", "x"]);
        let sessions = attack.sandbox.root().join("sessions");
        let session = fs::read_dir(&sessions).unwrap().next().unwrap().unwrap().path();
        fs::rename(&session, sessions.join("moved")).unwrap();
        if !thing.put(&attack, &session) {
            continue;
        }
        for command in ["lock x", "guard x -- true", "lock x --break-stale", "lock x --wait --timeout 100ms"]
        {
            assert_eq!(attack.code(command), 2, "{thing:?}: {command}");
        }
        assert_eq!(attack.code("unlock x --break-stale"), 1, "{thing:?}");
        guard.let_go();
        guard.await_end();
        attack.expect_untouched();
        assert_eq!(attack.code("lock x"), 0, "{thing:?}: the guard has ended");
    }
}

#[test]
fn a_session_that_is_a_link_to_a_dead_ones_file_does_not_make_its_lock_look_dead() {
    let attack = Attack::new();
    attack.fresh_root();
    let mut guard = attack.sandbox.hold(["guard", "x"]);
    let sessions = attack.sandbox.root().join("sessions");
    let session = fs::read_dir(&sessions).unwrap().next().unwrap().unwrap().path();
    fs::rename(&session, sessions.join("moved")).unwrap();
    assert!(Thing::Fifo.put(&attack, &sessions.join("dead")));
    symlink("dead", &session).unwrap();
    assert_eq!(attack.code("lock x"), 2);
    assert_eq!(attack.code("guard x -- true"), 2);
    guard.let_go();
    guard.await_end();
}

#[test]
fn in_a_directorys_place_nothing_is_written_through_it() {
    let attack = Attack::new();
    for dir in ["locks", "sessions", "stripes"] {
        for thing in THINGS.into_iter().filter(|thing| *thing != Thing::Directory) {
            attack.fresh_root();
            let path = attack.sandbox.root().join(dir);
            fs::remove_dir_all(&path).unwrap();
            if !thing.put(&attack, &path) {
                continue;
            }
            // `why` promises nothing that the others can't do.
            for command in ["lock x", "guard x -- true", "lock x --wait --timeout 5s", "why x"] {
                let output = attack.run(command);
                assert_eq!(output.code, 1, "{dir} {thing:?}: {command}: {output:?}");
                let said = format!("{} is {}, where a directory", path.display(), thing.as_no_directory());
                assert!(output.stderr.contains(&said), "{dir} {thing:?}: {command}: {output:?}");
                assert!(!output.stderr.contains("LOKT_ROOT"), "{dir} {thing:?}: {command}: {output:?}");
            }
            attack.run_all();
            assert!(thing.is_at(&path), "{dir} {thing:?}");
        }
    }
}

#[test]
fn in_a_lines_place_whoever_waits_is_told_and_nothing_is_written_through_it() {
    let attack = Attack::new();
    for at in ["lines", "lines/x"] {
        for thing in THINGS.into_iter().filter(|thing| *thing != Thing::Directory) {
            attack.fresh_root();
            assert_eq!(attack.code("lock x"), 0);
            let path = attack.sandbox.root().join(at);
            let _ = fs::remove_dir_all(attack.sandbox.root().join("lines"));
            if at == "lines/x" {
                fs::create_dir(attack.sandbox.root().join("lines")).unwrap();
            }
            if !thing.put(&attack, &path) {
                continue;
            }
            let output = attack.run("lock x --wait --timeout 100ms");
            assert_eq!(output.code, 1, "{at} {thing:?}: {output:?}");
            let said = format!("{} is {}, where a directory", path.display(), thing.as_no_directory());
            assert!(output.stderr.contains(&said), "{at} {thing:?}: {output:?}");
            assert_eq!(attack.code("lock x"), 2, "{at} {thing:?}");
            attack.run_all();
        }
    }
}

#[test]
fn in_the_logs_place_it_is_said_and_the_lock_is_taken() {
    let attack = Attack::new();
    for thing in THINGS {
        attack.fresh_root();
        let log = attack.sandbox.root().join("audit.log");
        fs::remove_file(&log).unwrap();
        if !thing.put(&attack, &log) {
            continue;
        }
        let output = attack.run("lock x");
        assert_eq!(output.code, 0, "{thing:?}: {output:?}");
        assert!(output.stderr.contains("not in the audit log"), "{thing:?}: {output:?}");
        for command in ["audit", "audit --since 1h --json", "audit --tail", "audit --summary"] {
            let output = attack.run(command);
            assert_eq!(output.code, 1, "{thing:?}: {command}: {output:?}");
            assert!(output.stderr.contains("root/audit.log is "), "{thing:?}: {command}: {output:?}");
        }
        assert_eq!(attack.code("lock x"), 2, "{thing:?}");
        assert_eq!(attack.code("unlock x"), 0, "{thing:?}");
        assert!(thing.is_at(&log), "{thing:?}");
        attack.expect_untouched();
    }
}

#[test]
fn in_a_rotated_logs_place_it_is_neither_read_nor_written_through() {
    let attack = Attack::new();
    for thing in THINGS {
        attack.fresh_root();
        let log = attack.sandbox.root().join("audit.log.1");
        if !thing.put(&attack, &log) {
            continue;
        }
        let output = attack.run("audit");
        assert_eq!(output.code, 1, "{thing:?}: {output:?}");
        assert!(output.stderr.contains("root/audit.log.1 is "), "{thing:?}: {output:?}");
        // Rotated at every event: it is moved on, and falls away, but for a directory.
        for _ in 0..4 {
            let mut lock = attack.sandbox.lokt(["lock", "x"]);
            let _ = lokt_tests::sandbox::output(lock.env("LOKT_AUDIT_MAX_BYTES", "1"));
            assert_eq!(attack.code("unlock x"), 0, "{thing:?}");
        }
        assert_eq!(attack.code("audit"), i32::from(thing == Thing::Directory), "{thing:?}");
        attack.expect_untouched();
    }
}

#[test]
fn a_log_of_a_line_without_an_end_is_given_up_and_what_comes_after_is_read() {
    let attack = Attack::new();
    attack.fresh_root();
    let log = fs::File::options().append(true).open(attack.sandbox.root().join("audit.log")).unwrap();
    // It takes no room, but hours to be read.
    log.set_len(100 << 40).or_else(|_| log.set_len(100 << 30)).unwrap();
    assert_eq!(attack.code("lock x"), 0);
    for command in ["audit", "audit --json", "audit --summary", "audit --summary --json", "audit --since 1h"]
    {
        let output = attack.run(command);
        assert_eq!(output.code, 0, "{command}: {output:?}");
        assert!(output.stdout.contains('x'), "{command}: {output:?}");
        assert!(output.stderr.contains("gave up a line of the audit log that does not end"), "{output:?}");
    }
    let last = attack.run("audit --limit 1");
    assert_eq!(last.stderr, "", "so far back it did not look: {last:?}");
}

#[test]
fn in_a_temporary_files_place_a_link_is_not_written_through() {
    let attack = Attack::new();
    for thing in [Thing::Symlink, Thing::Dangling, Thing::Fifo, Thing::Socket] {
        attack.fresh_root();
        for number in 0..64 {
            let temporary = attack.sandbox.root().join(format!("stripes/{number:02x}.tmp"));
            thing.put(&attack, &temporary);
        }
        assert_eq!(attack.code("lock x"), 0, "{thing:?}");
        assert_eq!(attack.code("lock x"), 2, "{thing:?}");
        attack.run_all();
    }
}

#[test]
fn in_a_temporary_files_place_a_directory_is_named() {
    let attack = Attack::new();
    for kind in ["new", "tmp"] {
        attack.fresh_root();
        for number in 0..64 {
            fs::create_dir(attack.sandbox.root().join(format!("stripes/{number:02x}.{kind}"))).unwrap();
        }
        let output = attack.run("guard x -- true");
        assert_eq!(output.code, 1, "{output:?}");
        let is_named = output.stderr.lines().next().unwrap().ends_with(&format!(".{kind}: Is a directory"));
        assert!(is_named && output.stderr.contains("see what stands there"), "{output:?}");
    }
}

#[test]
fn in_a_tickets_place_a_link_is_not_written_through() {
    let attack = Attack::new();
    let things = [Thing::Symlink, Thing::Dangling, Thing::Fifo, Thing::Socket, Thing::Directory].map(Some);
    for thing in things.into_iter().chain([None]) {
        attack.fresh_root();
        assert_eq!(attack.code("lock x"), 0);
        let mut waiter = attack.sandbox.start(["lock", "x", "--wait"]);
        waiter.await_stderr("waiting");
        let mut tickets = fs::read_dir(attack.sandbox.root().join("lines/x")).unwrap();
        let ticket = tickets.next().unwrap().unwrap().path();
        fs::remove_file(&ticket).unwrap();
        match thing {
            Some(thing) => assert!(thing.put(&attack, &ticket)),
            None => fs::hard_link(attack.canary("file"), &ticket).unwrap(),
        }
        assert_eq!(attack.code("unlock x"), 0, "{thing:?}");
        assert_eq!(waiter.await_end(), 0, "{thing:?}: it is admitted all the same");
        assert_eq!(attack.code("lock x"), 2, "{thing:?}");
        attack.expect_untouched();
    }
}

#[test]
fn a_hostile_freeze_neither_hangs_nor_leads_out() {
    let attack = Attack::new();
    for thing in THINGS {
        attack.fresh_root();
        let freezes = attack.sandbox.root().join("freezes");
        fs::create_dir_all(&freezes).unwrap();
        if thing.put(&attack, &freezes.join("x.json")) {
            attack.run_all();
        }
        fs::remove_dir_all(&freezes).unwrap();
        if thing.put(&attack, &freezes) {
            if thing != Thing::Directory {
                let output = attack.run("guard x -- true");
                let said = format!("freezes is {}, where a directory", thing.as_no_directory());
                assert!(output.code == 2 && output.stderr.contains(&said), "{thing:?}: {output:?}");
            }
            attack.run_all();
        }
    }
}

#[test]
fn what_is_also_elsewhere_is_not_written_to() {
    let attack = Attack::new();
    attack.fresh_root();
    assert_eq!(attack.code("guard x -- true"), 0);
    let root = attack.sandbox.root();
    let victim = attack.sandbox.path().join("victim");
    for number in 0..64 {
        let stripe = root.join(format!("stripes/{number:02x}"));
        fs::write(&victim, "precious").unwrap();
        let _ = fs::remove_file(&stripe);
        fs::hard_link(&victim, &stripe).unwrap();
    }
    let refused = attack.run("guard x -- true");
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("in more than one place"), "{refused:?}");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    fs::remove_dir_all(root.join("stripes")).unwrap();
    fs::remove_file(root.join("audit.log")).unwrap();
    fs::hard_link(&victim, root.join("audit.log")).unwrap();
    let warned = attack.run("guard x -- true");
    assert_eq!(warned.code, 0, "{warned:?}");
    assert!(warned.stderr.contains("in more than one place"), "{warned:?}");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
}
