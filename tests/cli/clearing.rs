//! `lokt doctor --fix`: what it clears away, and what it leaves alone.

use super::doctor::{checks, examined, of, wrong};
use super::transcript::{check, sandbox, sh};
use lokt_tests::sandbox::{Sandbox, eventually};
use serde_json::Value;
use std::fs;

/// What was cleared away, by check.
fn fixed(found: &Value) -> Vec<(&str, Vec<&str>)> {
    let all = checks(found).iter().filter(|check| check["fixed"].is_array());
    all.map(|check| {
        let lines = check["fixed"].as_array().into_iter().flatten();
        (check["name"].as_str().unwrap(), lines.map(|line| line.as_str().unwrap()).collect())
    })
    .collect()
}

/// Everything that was cleared away, whichever check tells of it.
fn number_fixed(found: &Value) -> usize {
    fixed(found).iter().map(|(_, lines)| lines.len()).sum()
}

const ID: &str = "0123456789abcdef0123456789abcdef";

/// A script that plants something, the check whose matter it is, and what is said of it when it is gone.
const MENDED: [(&str, &str, &str); 14] = [
    ("lokt lock x --ttl 1ms", "stale_records", "removed \"x\" by tester@"),
    (
        "lokt guard x -- sh -c 'kill -9 $PPID'; until lokt why x | grep -q STALE; do :; done",
        "stale_records",
        "removed \"x\" by tester@",
    ),
    ("sleep 9 & lokt lock x --pid $!; kill $!; wait", "stale_records", "removed \"x\" by tester@"),
    (
        "lokt guard x --shared -- sh -c 'kill -9 $PPID'; until lokt why x | grep -q STALE; do :; done",
        "stale_records",
        "removed \"x\" by tester@",
    ),
    ("mkdir -p holders/x; echo {} >holders/x/$ID.json", "stale_records", "removed holders/x, of some who"),
    (
        "echo x >locks/x.json; touch -d '1 hour ago' locks/x.json",
        "corrupt_records",
        "removed \"x\": expected value",
    ),
    (
        "mkdir freezes; echo x >freezes/x.json; touch -d '1 hour ago' freezes/x.json",
        "freezes",
        "removed \"x\", which",
    ),
    ("mkdir freezes; echo $LAPSED >freezes/x.json", "freezes", "removed \"x\" by ada@h, which has lapsed"),
    ("echo $LAPSED >locks/freeze-x.json", "legacy_freezes", "removed \"x\", which has lapsed"),
    ("mkdir -p lines/x", "lines", "removed lines/x"),
    ("mkdir -p lines/x; echo {} >lines/x/000000000001.$ID", "lines", "removed lines/x"),
    ("mkfifo sessions/x.$ID", "sessions", "removed sessions/x.0123"),
    ("touch stripes/3f.tmp", "temporary_files", "removed stripes/3f.tmp"),
    (
        "touch locks/.doctor.999999999.7; touch -d '1 hour ago' locks/.doctor.*",
        "temporary_files",
        "removed locks/.doctor.999999999.7",
    ),
];

const LAPSED: &str = r#"{"version":1,"name":"x","owner":"ada","host":"h","pid":7,"acquired_ts":"2020-01-01T00:00:00Z","ttl_sec":60,"expires_at":"2020-01-01T00:01:00Z"}"#;

/// A root in which something is left over.
fn planted(script: &str) -> Sandbox {
    let sandbox = sandbox();
    // What is planted is for the doctor to clear away, and not for a sweep in passing.
    let setup = format!(
        "lokt lock first && lokt unlock first; export LOKT_NO_SWEEP=1; cd $LOKT_ROOT; ID={ID}; LAPSED='{LAPSED}'"
    );
    let _ = sh(&sandbox, &format!("{setup}; {script}"));
    sandbox
}

#[test]
fn what_nobody_alive_uses_is_cleared_away_and_said_and_a_second_time_there_is_nothing_to_do() {
    for (script, name, said) in MENDED {
        let sandbox = planted(script);
        let before = examined(&sandbox, &[]);
        let check = of(&before, name);
        assert_eq!(
            (&check["status"], &check["fixable"]),
            (&"warn".into(), &true.into()),
            "{script}: {before:#}"
        );
        let after = examined(&sandbox, &["--fix"]);
        assert_eq!(wrong(&after), [""; 0], "{script}: {after:#}");
        let done = fixed(&after);
        assert!(done.len() == 1 && done[0].0 == name && done[0].1.len() == 1, "{script}: {done:?}");
        assert!(done[0].1[0].starts_with(said), "{script}: {done:?}");
        assert_eq!(sandbox.leftovers(), [""; 0], "{script}");
        let again = examined(&sandbox, &["--fix"]);
        assert_eq!(fixed(&again), [], "{script}");
    }
}

#[test]
fn a_file_beside_what_is_lokts_is_left_alone_whatever_it_is_called() {
    let sandbox =
        planted("touch .mine.999999999.7 .audit.log.999999999.7; touch -d '1 hour ago' .mine.* .audit.*");
    let fixed = examined(&sandbox, &["--fix"]);
    let removed = of(&fixed, "temporary_files")["fixed"].to_string();
    assert_eq!(removed, r#"["removed .audit.log.999999999.7"]"#);
    assert!(sandbox.root().join(".mine.999999999.7").exists(), "{fixed:#}");
}

#[test]
fn what_a_corrupt_record_keeps_goes_with_it_and_all_at_once() {
    let sandbox = planted("mkfifo sessions/x.$ID; echo x >locks/x.json; touch -d '1 hour ago' locks/x.json");
    let after = examined(&sandbox, &["--fix"]);
    assert_eq!(number_fixed(&after), 2, "{after:#}");
    assert_eq!(sandbox.leftovers(), [""; 0]);
}

#[test]
fn of_those_who_hold_a_name_together_the_dead_one_is_cleared_away() {
    let sandbox = planted("lokt lock x --shared --ttl 1ms; lokt lock x --shared");
    let before = examined(&sandbox, &[]);
    assert_eq!(of(&before, "records")["message"], "1 held, 0 of them by a guard");
    let after = examined(&sandbox, &["--fix"]);
    assert_eq!(number_fixed(&after), 1, "{after:#}");
    let status = sandbox.run(["status", "x", "--json"]).stdout;
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["holders"], 1, "{status:#}");
}

#[test]
fn what_another_put_beside_those_who_held_a_name_together_is_left_alone_and_not_called_removed() {
    let sandbox = planted("mkdir -p holders/x; echo {} >holders/x/$ID.json; echo mine >holders/x/README");
    let fixed = examined(&sandbox, &["--fix"]);
    assert_eq!(number_fixed(&fixed), 1, "{fixed:#}");
    let again = examined(&sandbox, &["--fix"]);
    assert_eq!(
        (number_fixed(&again), &of(&again, "stale_records")["status"]),
        (0, &"ok".into()),
        "{again:#}"
    );
    assert!(sandbox.root().join("holders/x/README").exists());
}

#[test]
fn it_says_in_text_what_it_has_done() {
    let sandbox = planted("touch stripes/3f.tmp");
    let text = sandbox.run(["doctor"]).stdout;
    assert!(text.ends_with("\nResult: 1 warning; lokt doctor --fix mends it\n"), "{text}");
    let text = sandbox.run(["doctor", "--fix"]).stdout;
    assert!(text.contains("\n         fixed: removed stripes/3f.tmp\n"), "{text}");
    assert!(text.ends_with("\nResult: 1 cleared away, all is well\n"), "{text}");
    let text = sandbox.run(["doctor", "--fix"]).stdout;
    assert!(text.ends_with("\nResult: nothing to clear away, all is well\n"), "{text}");
}

#[test]
fn what_could_not_be_removed_is_not_called_removed() {
    let sandbox = planted("mkdir -p lines/x/000000000001.$ID");
    let after = examined(&sandbox, &["--fix"]);
    assert_eq!(number_fixed(&after), 0, "{after:#}");
    let lines = of(&after, "lines");
    let items = lines["items"].to_string();
    assert!(items.contains("not removed: lines/x: ") && items.contains("Is a directory"), "{lines:#}");
}

#[test]
fn what_is_not_lokts_or_not_dead_stays() {
    for (script, kept) in [
        ("ln -s / locks/x.json", "locks/x.json"),
        ("mkfifo locks/x.json", "locks/x.json"),
        ("touch 'locks/no record'", "locks/no record"),
        ("echo '{\"version\":9}' >locks/x.json", "locks/x.json"),
        ("mkdir freezes; mkfifo freezes/x.json", "freezes/x.json"),
        ("mkdir freezes; echo $LAPSED | sed s/2020/2090/g >freezes/x.json", "freezes/x.json"),
        ("echo $LAPSED | sed s/2020/2090/g >locks/freeze-x.json", "locks/freeze-x.json"),
        ("echo $LAPSED | sed s/2020/2090/g >locks/x.json", "locks/x.json"),
        ("lokt lock x", "locks/x.json"),
        ("touch sessions/x.$ID", "sessions/x.0123456789abcdef0123456789abcdef"),
        ("mkfifo sessions/x.y", "sessions/x.y"),
        ("mkdir -p lines/x; touch lines/x/note", "lines/x/note"),
        // Not old enough to be left over.
        ("touch locks/.doctor.999999999.7", "locks/.doctor.999999999.7"),
        ("touch .gitignore", ".gitignore"),
    ] {
        let sandbox = planted(script);
        let after = examined(&sandbox, &["--fix"]);
        assert_eq!(number_fixed(&after), 0, "{script}: {after:#}");
        assert!(fs::symlink_metadata(sandbox.root().join(kept)).is_ok(), "{script}: {after:#}");
    }
}

#[test]
fn a_mutex_that_is_held_keeps_what_is_under_it() {
    let sandbox = planted("touch stripes/3f.tmp stripes/3f");
    let file = fs::File::open(sandbox.root().join("stripes/3f")).unwrap();
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let found = examined(&sandbox, &["--fix"]);
    assert_eq!(number_fixed(&found), 0, "{found:#}");
    assert!(sandbox.root().join("stripes/3f.tmp").exists());
}

#[test]
fn a_corrupt_record_of_a_session_that_lives_stays() {
    let sandbox = sandbox();
    let mut guard = sandbox.hold(["guard", "x"]);
    sh_ok(&sandbox, "echo x >$LOKT_ROOT/locks/x.json; touch -d '1 hour ago' $LOKT_ROOT/locks/x.json");
    let found = examined(&sandbox, &["--fix"]);
    let check = of(&found, "corrupt_records");
    assert_eq!((number_fixed(&found), &check["status"]), (0, &"warn".into()), "{found:#}");
    assert!(check["items"][0].as_str().unwrap().contains("a session still lives"), "{check:#}");
    assert_eq!(check["fixable"], false);
    assert!(sandbox.record("x").exists());
    guard.let_go();
}

#[test]
fn a_lease_that_has_lapsed_under_a_holder_that_lives_is_told_and_left() {
    let sandbox = sandbox();
    let guard = sandbox.hold(["guard", "x", "--ttl", "1s"]);
    guard.signal(rustix::process::Signal::STOP);
    eventually("the lease lapses", || sh(&sandbox, "lokt why x").stdout.contains("LAPSED"));
    let found = examined(&sandbox, &["--fix"]);
    let check = of(&found, "stale_records");
    assert_eq!((number_fixed(&found), &check["fixable"]), (0, &false.into()), "{found:#}");
    assert_eq!(check["message"], "1 held past the end of the lease");
    let item = check["items"][0].as_str().unwrap();
    assert!(item.ends_with(", alive but its lease has lapsed"), "it is said once: {item}");
    assert!(check["advice"][0].as_str().unwrap().contains("--break-stale"), "{check:#}");
    assert!(sandbox.record("x").exists());
    guard.signal(rustix::process::Signal::CONT);
}

#[test]
fn whoever_holds_or_waits_meanwhile_is_left_alone() {
    let sandbox = sandbox();
    let mut guard = sandbox.hold(["guard", "x", "--ttl", "30s"]);
    sh_ok(&sandbox, "lokt lock by-hand");
    let mut waiters = Vec::new();
    for place in 1..=3 {
        let mut waiter = sandbox.start(["guard", "x", "--wait", "--", "sh", "-c", "echo turn"]);
        waiter.await_stderr(&format!("place {place} in line"));
        waiters.push(waiter);
    }
    // Others come and go all the while, so that there is always something half done.
    let crowd: Vec<_> = (0..4)
        .map(|n| {
            let round = format!("until [ -e done ]; do lokt guard y{} --wait -- true; done", n % 2);
            let script = format!("lokt() {{ \"$LOKT\" \"$@\"; }}\n{round}");
            lokt_tests::sandbox::start(sandbox.command("sh").args(["-c", &script]))
        })
        .collect();
    let before = sandbox.leftovers().into_iter().filter(|file| file.contains("x.")).collect::<Vec<_>>();
    for _ in 0..20 {
        let found = examined(&sandbox, &["--fix"]);
        assert_eq!(fixed(&found), [], "{found:#}");
        assert_eq!(wrong(&found), [""; 0], "{found:#}");
    }
    let after = sandbox.leftovers().into_iter().filter(|file| file.contains("x.")).collect::<Vec<_>>();
    assert_eq!(after, before);
    fs::write(sandbox.work().join("done"), "").unwrap();
    for one in crowd {
        let ended = one.output();
        assert_eq!(ended.code, 0, "{ended:?}");
    }
    guard.let_go();
    assert_eq!(guard.await_end(), 0);
    for mut waiter in waiters {
        waiter.await_line("turn");
        assert_eq!(waiter.await_end(), 0);
    }
    check(&sandbox, "$ lokt exists by-hand");
}

#[test]
fn what_is_cleared_away_is_in_the_audit_log() {
    let sandbox = planted("lokt lock x --ttl 1ms; echo x >locks/y.json; touch -d '1 hour ago' locks/y.json");
    let _ = examined(&sandbox, &["--fix"]);
    let log = fs::read_to_string(sandbox.root().join("audit.log")).unwrap();
    let events: Vec<(String, String)> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|event| {
            (event["event"].as_str().unwrap().to_owned(), event["name"].as_str().unwrap().to_owned())
        })
        .collect();
    for (event, name) in [("auto-prune", "x"), ("corrupt-break", "y")] {
        assert!(events.contains(&(event.to_owned(), name.to_owned())), "{event} of {name}: {log}");
    }
}

#[track_caller]
fn sh_ok(sandbox: &Sandbox, script: &str) {
    let output = sh(sandbox, script);
    assert_eq!(output.code, 0, "{output:?}");
}
