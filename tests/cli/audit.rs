//! `lokt audit`: what happened, as it is stored, in one array, added up, and as it goes on.

use super::transcript::{check, sandbox, sh};
use crate::schema::validate;
use lokt_tests::sandbox::{Output, Running, Sandbox, eventually, start, strace_available};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, SystemTime};

/// Events of long ago, a minute each.
fn lines(numbers: impl IntoIterator<Item = usize>) -> String {
    let line = |number: usize| {
        format!(
            "{{\"ts\":\"2020-01-01T12:{:02}:{:02}Z\", \"event\":\"{}\",\"name\":\"n{}\",\"owner\":\"o{}\",\
             \"host\":\"h\",\"pid\":{number},\"newer\":[1e2]}}\n",
            number / 60,
            number % 60,
            ["acquire", "release", "deny"][number % 3],
            number % 2,
            number % 5
        )
    };
    numbers.into_iter().map(line).collect()
}

fn plant(sandbox: &Sandbox, content: impl AsRef<[u8]>) {
    fs::create_dir_all(sandbox.root()).unwrap();
    fs::write(sandbox.root().join("audit.log"), content).unwrap();
}

#[track_caller]
fn stdout(sandbox: &Sandbox, args: &str) -> String {
    let output = sh(sandbox, &format!("lokt audit {args}"));
    assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{args}: {output:?}");
    output.stdout
}

#[test]
fn without_a_log_there_are_no_events() {
    check(
        &sandbox(),
        r#"
        $ lokt audit
        $ lokt audit --since 1h --name x
        $ lokt audit --json
        []
        $ lokt audit --summary
        no events
        $ lokt audit --summary --json
        []
        $ lokt audit --json >/dev/full
        ! lokt: failed to write the result: No space left on device
        = 1
        $ ls $LOKT_ROOT 2>/dev/null
        = 2
        "#,
    );
}

#[test]
fn events_are_printed_as_they_are_stored() {
    let sandbox = sandbox();
    plant(&sandbox, lines(0..100));
    assert_eq!(stdout(&sandbox, ""), lines(80..100), "the last twenty");
    assert_eq!(stdout(&sandbox, "--limit 3"), lines(97..100));
    assert_eq!(stdout(&sandbox, "--since 2020-01-01T12:01:00Z"), lines(60..100));
    assert_eq!(stdout(&sandbox, "--since 2020-01-01T21:01:00.5+09:00"), lines(61..100));
    assert_eq!(stdout(&sandbox, "--since 2020-01-01T12:01:00Z --limit 5"), lines(95..100));
    assert_eq!(stdout(&sandbox, "-since 2000000h"), lines(0..100));
    assert_eq!(stdout(&sandbox, "--since 1h"), "");
}

#[test]
fn events_are_chosen_by_lock_kind_and_owner() {
    let sandbox = sandbox();
    plant(&sandbox, lines(0..100));
    let of = |chosen: &dyn Fn(usize) -> bool| lines((0..100).filter(|number| chosen(*number)));
    let all = |args: &str| stdout(&sandbox, &format!("--since 2020-01-01T00:00:00Z {args}"));
    assert_eq!(all("--name n1"), of(&|n| n % 2 == 1));
    assert_eq!(all("--name n1 --name n0 --name none"), lines(0..100));
    assert_eq!(all("--event deny"), of(&|n| n % 3 == 2));
    assert_eq!(all("--event deny --event release"), of(&|n| n % 3 > 0));
    assert_eq!(all("--owner o4 --event deny --name n0"), of(&|n| n % 5 == 4 && n % 3 == 2 && n % 2 == 0));
    assert_eq!(all("--owner nobody"), "");
    // The last ones of those that are wanted, not the wanted ones of the last.
    assert_eq!(stdout(&sandbox, "--limit 2 --owner o0 --name n1"), lines([85, 95]));
}

#[test]
fn as_json_the_events_are_one_array() {
    let sandbox = sandbox();
    plant(&sandbox, lines(0..30));
    let array: Vec<Value> = serde_json::from_str(&stdout(&sandbox, "--json --limit 25")).unwrap();
    let expected: Vec<Value> = lines(5..30).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(array, expected);
    plant(&sandbox, lines([2]).replace("[1e2]", "\"a\u{9b}b\\u2028\\n\""));
    check(
        &sandbox,
        r#"
        $ lokt audit --json
        [
          {
            "ts": "TIME",
            "event": "deny",
            "name": "n0",
            "owner": "o2",
            "host": "h",
            "pid": PID,
            "newer": "a\u009bb\u2028\n"
          }
        ]
        "#,
    );
}

#[test]
fn what_is_no_event_is_left_out() {
    let sandbox = sandbox();
    let long = format!("{{\"ts\":\"{}\"}}\n", "9".repeat(3_000_000));
    let half = &lines([3])[..50];
    plant(
        &sandbox,
        [
            b"\n\0\0\n{}\n\xff\n",
            half.as_bytes(),
            lines(0..2).as_bytes(),
            long.as_bytes(),
            lines([4]).as_bytes(),
            half.as_bytes(),
        ]
        .concat(),
    );
    for (args, left_out) in [
        ("--limit 1", ""),
        ("", "lokt: left out a line of the audit log that is no event\n"),
        ("--since 0h", ""),
        ("--since 2000000h", "lokt: left out a line of the audit log that is no event\n"),
    ] {
        let output = sh(&sandbox, &format!("lokt audit {args}"));
        let expected = match args {
            "--limit 1" => lines([4]),
            "--since 0h" => String::new(),
            _ => lines([0, 1, 4]),
        };
        assert_eq!((output.stdout, output.stderr.as_str()), (expected, left_out), "{args}");
    }
    let all = sandbox.run(["audit", "--summary"]);
    assert_eq!(all.stderr, "lokt: left out 4 lines of the audit log that are no events\n");
}

#[test]
fn bad_input_is_said_in_a_line() {
    check(
        &sandbox(),
        r#"
        $ lokt audit --since yesterday
        ! lokt: --since: "yesterday" is neither a duration (1m30s, 1h30m) nor a time (TIME)
        ! lokt: hint: see lokt audit --help
        = 64
        $ lokt audit --since -1h
        ! lokt: --since: duration "-1h" is negative: write it like 1m30s, 5m, 1h30m
        ! lokt: hint: see lokt audit --help
        = 64
        $ lokt audit --since 7d
        ! lokt: --since: "7d" is not a duration: write it like 5m or 1h30m, in h, m, s, ms, us and ns
        ! lokt: hint: see lokt audit --help
        = 64
        $ lokt audit --since 2026-13-01
        ! lokt: --since: "2026-13-01" is neither a duration (1m30s, 1h30m) nor a time (TIME)
        ! lokt: hint: see lokt audit --help
        = 64
        $ lokt audit --since
        ! lokt: --since needs a value
        ! lokt: hint: see lokt audit --help
        = 64
        $ lokt audit --event aquire
        ! lokt: --event can be acquire, deny, freeze-deny, wait, renew, release, lost, force-break, stale-break, corrupt-break, auto-prune, freeze, unfreeze or force-unfreeze, not "aquire"
        ! lokt: hint: did you mean acquire?
        = 64
        $ lokt audit --name ../x
        ! lokt: --name: invalid lock name "../x": '..' is not allowed in a name
        ! lokt: hint: see lokt audit --help
        = 64
        $ lokt audit --limit few
        ! lokt: --limit: "few" is not a number of events
        ! lokt: hint: see lokt audit --help
        = 64
        $ lokt audit --tail --json
        ! lokt: --tail cannot be combined with --json
        ! lokt: hint: see lokt audit --help
        = 64
        $ lokt audit --summary --event deny
        ! lokt: --summary cannot be combined with --event
        ! lokt: hint: see lokt audit --help
        = 64
        $ lokt audit deploy
        ! lokt: unexpected argument "deploy"
        ! lokt: hint: see lokt audit --help
        = 64
        "#,
    );
}

#[test]
fn a_summary_adds_up_for_each_lock() {
    let sandbox = sandbox();
    let event = |second: &str, event: &str, name: &str, id: &str| {
        format!(
            r#"{{"ts":"2020-01-01T12:00:{second}Z","event":"{event}","name":"{name}","lock_id":"{id}","owner":"o"}}"#
        ) + "\n"
    };
    let log = [
        event("00", "acquire", "deploy", "a"),
        event("00.5", "wait", "deploy", "b"),
        event("01", "deny", "deploy", ""),
        event("02.25", "release", "deploy", "a"),
        event("02.25", "acquire", "deploy", "b"),
        event("42.25", "force-break", "deploy", "b"),
        event("43", "lost", "deploy", "b"),
        event("44", "acquire", "build", "c"),
        event("45", "auto-prune", "build", "d"),
        event("46", "corrupt-break", "build", ""),
    ];
    plant(&sandbox, log.concat());
    assert_eq!(
        stdout(&sandbox, "--summary"),
        "\
LOCK    TAKEN  DENIED  HELD P50  P99  WAITED P50  P99   BROKEN               LOST
build   1      0                                        1 corrupt, 1 pruned
deploy  2      1       2.2s      40s  1.7s        1.7s  1 force              1
"
    );
    assert_eq!(
        stdout(&sandbox, "--summary --since 2020-01-01T12:00:44Z"),
        "LOCK   TAKEN  DENIED  BROKEN\nbuild  1      0       1 corrupt, 1 pruned\n"
    );
    let summary: Value = serde_json::from_str(&stdout(&sandbox, "--summary --json --name deploy")).unwrap();
    let expected = serde_json::json!([{
        "name": "deploy",
        "acquisitions": 2,
        "denials": 1,
        "hold_count": 2,
        "hold_p50_sec": 2.25,
        "hold_p99_sec": 40.0,
        "wait_count": 1,
        "wait_p50_sec": 1.75,
        "wait_p99_sec": 1.75,
        "stale_breaks": 0,
        "force_breaks": 1,
        "corrupt_breaks": 0,
        "prunes": 0,
        "lost": 1,
    }]);
    assert_eq!(summary, expected);
}

/// Makes everything happen that can happen to a lock.
fn happen(sandbox: &Sandbox) {
    let mut holder = sandbox.hold(["guard", "lost"]);
    let script = r#"
        lokt lock a --ttl 1h; lokt lock a --ttl 90s; lokt renew a; lokt unlock a
        lokt lock a; lokt lock a --wait --timeout 50ms; lokt unlock a --force
        lokt lock s --ttl 1ms; lokt unlock s --break-stale
        sh -c '"$LOKT" lock p --pid $$; :'; lokt lock p
        lokt guard frozen -- true; lokt unlock corrupt --force
        lokt unlock lost --force
        lokt freeze f --ttl 1h; lokt unfreeze f; lokt freeze f --ttl 1h; lokt unfreeze f --force
    "#;
    super::status::freeze(sandbox, "frozen");
    sandbox.plant("corrupt", "no record");
    let record = fs::File::options().write(true).open(sandbox.record("corrupt")).unwrap();
    record.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
    let _ = sandbox.sh(&format!("lokt() {{ LOKT_NO_SWEEP=1 \"$LOKT\" \"$@\"; }}\n{script}"));
    assert_eq!(holder.await_end(), 5);
}

#[test]
fn every_event_is_as_its_schema_says() {
    let sandbox = sandbox();
    happen(&sandbox);
    let array = validate("audit", &stdout(&sandbox, "--since 1h --json"));
    validate("audit-summary", &stdout(&sandbox, "--summary --json"));
    let mut found = BTreeSet::new();
    let described: Value =
        serde_json::from_str(include_str!("../../docs/schemas/audit-event.schema.json")).unwrap();
    for event in array.as_array().unwrap() {
        validate("audit-event", &event.to_string());
        found.insert(event["event"].as_str().unwrap().to_owned());
        let known = |object: &Value, properties: &Value| {
            let mut keys = object.as_object().into_iter().flatten().map(|(key, _)| key);
            assert!(keys.all(|key| properties[key]["description"].is_string()), "{event}");
        };
        known(event, &described["properties"]);
        known(&event["extra"], &described["properties"]["extra"]["properties"]);
    }
    assert_eq!(found, lokt::audit::EVENTS.map(str::to_owned).into_iter().collect());
    let listed: BTreeSet<&str> = described["properties"]["event"]["enum"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(listed, lokt::audit::EVENTS.into_iter().collect());
}

#[test]
fn events_of_many_processes_are_whole_lines_and_none_is_lost_while_the_log_is_rotated() {
    const WRITERS: usize = 6;
    const EACH: usize = 40;
    let sandbox = sandbox();
    assert_eq!(sandbox.run(["lock", "busy"]).code, 0);
    // Four files of 20 KB take the 60 KB of all events, in four files.
    let script =
        format!("for i in $(seq {EACH}); do \"$LOKT\" lock busy --ttl ${{i}}s; done 2>/dev/null; exit 0");
    let writers: Vec<Running> = (0..WRITERS)
        .map(|writer| {
            let mut shell = sandbox.command("sh");
            shell.args(["-c", &script]).env("LOKT_OWNER", format!("w{writer}"));
            start(shell.env("LOKT_AUDIT_MAX_BYTES", "80000"))
        })
        .collect();
    assert!(writers.into_iter().all(|writer| writer.output().code == 0));
    let mut found = BTreeSet::new();
    for line in stdout(&sandbox, "--since 1h --event deny").lines() {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let who = (event["owner"].as_str().unwrap().to_owned(), event["ttl_sec"].as_u64().unwrap());
        assert!(found.insert(who), "twice: {line}");
    }
    assert_eq!(found.len(), WRITERS * EACH);
    assert!(sandbox.root().join("audit.log.1").exists(), "it was rotated");
}

/// Starts following; what it shows goes into the file `out`.
fn tail(sandbox: &Sandbox, args: &str) -> Running {
    start(sandbox.command("sh").args(["-c", &format!("exec \"$LOKT\" audit --tail {args} > out")]))
}

#[track_caller]
fn await_shown(sandbox: &Sandbox, expected: &str) {
    let out = sandbox.work().join("out");
    eventually(expected, || fs::read_to_string(&out).is_ok_and(|shown| shown == expected));
}

fn append(sandbox: &Sandbox, text: &str) {
    let log = sandbox.root().join("audit.log");
    let mut log = fs::OpenOptions::new().append(true).create(true).open(log).unwrap();
    std::io::Write::write_all(&mut log, text.as_bytes()).unwrap();
}

#[test]
fn the_log_is_followed_across_rotations_until_a_signal_comes() {
    for signal in [Signal::INT, Signal::TERM] {
        let sandbox = sandbox();
        plant(&sandbox, lines([1]));
        let tail = tail(&sandbox, "--limit 1 --name n1");
        await_shown(&sandbox, &lines([1]));
        let root = sandbox.root();
        let file = |age: usize| root.join(["audit.log", "audit.log.1", "audit.log.2", "audit.log.3"][age]);
        for first in [3, 6, 9] {
            append(&sandbox, &lines(first..first + 3));
            let there = (0..3).rev().filter(|age| file(*age).exists());
            there.for_each(|age| fs::rename(file(age), file(age + 1)).unwrap());
        }
        append(&sandbox, &lines(12..16));
        let expected = lines([1, 3, 5, 7, 9, 11, 13, 15]);
        await_shown(&sandbox, &expected);
        tail.signal(signal);
        let Output { code, stderr, .. } = tail.output();
        assert_eq!((code, stderr.as_str()), (0, ""), "{signal:?}");
        await_shown(&sandbox, &expected);
    }
}

#[test]
fn a_stop_is_over_if_its_continuation_comes_just_before_it_takes_effect() {
    if !strace_available("a continuation that comes just before a stop takes effect") {
        return;
    }
    let sandbox = sandbox();
    plant(&sandbox, lines([1]));
    // There is one thread only, and so nobody who handles SIGCONT before the SIGTSTP that it raises discards that.
    // The first signal that it sends itself is another.
    let strace = "strace -D -o calls -e inject=tgkill,tkill:delay_enter=2000000:when=2";
    let follow = format!("exec {strace} \"$LOKT\" audit --tail --limit 1 > out");
    let tail = start(sandbox.command("sh").args(["-c", &follow]));
    await_shown(&sandbox, &lines([1]));
    tail.signal(Signal::TSTP);
    let calls = sandbox.work().join("calls");
    let stops = "rt_sigaction(SIGTSTP, {sa_handler=SIG_DFL";
    eventually("it is about to stop", || fs::read_to_string(&calls).is_ok_and(|calls| calls.contains(stops)));
    // `234 0x1267 0x1267 0x14 ...`: to itself.
    let (itself, sent) = (format!("{:#x}", tail.pid()), format!("{:#x}", Signal::TSTP.as_raw()));
    eventually("it sends itself the stop", || {
        let call = fs::read_to_string(format!("/proc/{}/syscall", tail.pid())).unwrap_or_default();
        let arguments: Vec<&str> = call.split(' ').skip(1).collect();
        arguments.first() == Some(&&*itself) && arguments.contains(&&*sent)
    });
    tail.signal(Signal::CONT);
    append(&sandbox, &lines([2]));
    await_shown(&sandbox, &lines([1, 2]));
    let calls = fs::read_to_string(calls).unwrap();
    assert!(!calls.contains("--- SIGCONT"), "the test is of one that is discarded: {calls}");
}

#[test]
fn what_is_followed_comes_after_the_past() {
    let sandbox = sandbox();
    plant(&sandbox, lines(0..50));
    let _tail = tail(&sandbox, "--since 2020-01-01T12:00:48Z");
    await_shown(&sandbox, &lines(48..50));
    append(&sandbox, &lines([50]));
    await_shown(&sandbox, &lines(48..51));
}

#[test]
fn a_root_that_is_made_anew_is_followed() {
    let sandbox = sandbox();
    plant(&sandbox, lines([1]));
    let _tail = tail(&sandbox, "--limit 1");
    await_shown(&sandbox, &lines([1]));
    fs::rename(sandbox.root(), sandbox.path().join("moved")).unwrap();
    plant(&sandbox, lines([2]));
    await_shown(&sandbox, &lines([1, 2]));
    fs::remove_dir_all(sandbox.root()).unwrap();
    plant(&sandbox, lines([3, 4]));
    await_shown(&sandbox, &lines(1..5));
}

#[test]
fn a_follower_whose_reader_has_gone_ends() {
    let sandbox = sandbox();
    plant(&sandbox, "");
    // Nothing happens that it could write: it is told by the pipe itself.
    let output = sh(&sandbox, "{ lokt audit --tail; echo $? >&2; } | :");
    assert_eq!(output.stderr, "0\n");
}

#[test]
fn a_follower_sleeps_between_its_looks() {
    let sandbox = sandbox();
    plant(&sandbox, lines([1]));
    let tail = tail(&sandbox, "--limit 1");
    await_shown(&sandbox, &lines([1]));
    let status = format!("/proc/{}/status", tail.pid());
    let slept = || {
        let status = fs::read_to_string(&status).unwrap();
        let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
        count.trim().parse::<u64>().unwrap()
    };
    let before = slept();
    eventually("it goes to sleep after each look", || slept() >= before + 4);
}
