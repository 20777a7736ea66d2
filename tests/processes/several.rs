//! Several names under one guard: all or none, and the loss of one is the loss of all.

use std::fs;
use std::time::{Duration, Instant};

use lokt_tests::sandbox::{Running, Sandbox, eventually, output, start, strace_available};
use rustix::process::Signal;

use crate::helpers::{
    SOON, await_state, hold_with, lines, nothing_is_left, queue, queue_with, record, sandbox, traced,
    waiters, with_script, work_file,
};

const COURTEOUS: &str = "trap 'echo term >> log; exit 0' TERM; echo in; read line; exit 0";

const WAIT: [&str; 3] = ["guard", "a,b", "--wait"];

fn args<'a>(args: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [args, more].concat()
}

/// Nobody holds the lock, and nobody waits for it.
fn is_free(sandbox: &Sandbox, name: &str) -> bool {
    !sandbox.leftovers().iter().any(|file| file.contains(&format!("/{name}.")))
}

#[test]
fn refused_one_of_several_names_a_guard_holds_none() {
    let sandbox = sandbox();
    let mut holder = sandbox.hold(["guard", "b", "--note", "mine"]);
    let before = sandbox.leftovers();
    for names in [&["a,b,c"][..], &["c,b,a"], &["b", "--with", "a"], &["a", "--with", "c,b"]] {
        let refused = sandbox.run(args(&["guard"], names).into_iter().chain(["--", "touch", "ran"]));
        assert_eq!(refused.code, 2, "{names:?}: {refused:?}");
        let named =
            refused.stderr.contains("lock \"b\" is held by tester@") && refused.stderr.contains("mine");
        assert!(named, "it names what is in the way: {refused:?}");
        assert_eq!(sandbox.leftovers(), before, "{names:?}");
    }
    assert!(!sandbox.work().join("ran").exists());
    holder.let_go();
    assert_eq!(holder.await_end(), 0);
}

#[test]
fn what_was_taken_in_vain_goes_to_those_who_wait_for_it() {
    let sandbox = sandbox();
    assert_eq!(sandbox.run(["lock", "b"]).code, 0);
    let mut both = queue(&sandbox, &args(&WAIT, &["--timeout", "2s"]));
    let mut next = queue(&sandbox, &["guard", "a", "--wait"]);
    assert_eq!(both.await_end(), 2);
    next.await_line("in");
    next.let_go();
    assert_eq!(next.await_end(), 0);
}

#[test]
fn guards_that_want_the_same_names_in_other_orders_never_wait_for_each_other() {
    let sandbox = sandbox();
    // One alone is in at a time: a directory is made once.
    let rounds = |names: &str| {
        let script = format!(
            "i=0; while [ $i -lt 50 ]; do \
             $LOKT guard {names} --wait --timeout 20s -- sh -c 'mkdir in && rmdir in' || exit 9; \
             i=$((i+1)); done"
        );
        start(sandbox.command("sh").args(["-c", &script]))
    };
    let all: Vec<Running> = ["a,b", "b,a", "b --with a", "c,b,a"].map(rounds).into();
    for loops in all {
        let ended = loops.output();
        assert_eq!(ended.code, 0, "{ended:?}");
    }
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}

#[test]
fn the_loss_of_any_one_ends_the_command_and_releases_the_others() {
    for terms in [&[][..], &["--ttl", "10m"]] {
        for lost in ["a", "b", "c"] {
            let sandbox = sandbox();
            let mut guard = hold_with(&sandbox, &args(&["guard", "b,c,a"], terms), COURTEOUS);
            let forced = Instant::now();
            assert_eq!(sandbox.run(["unlock", lost, "--force"]).code, 0);
            let said = guard.await_stderr("ending the command");
            assert!(said.contains(&format!("lock \"{lost}\" is lost")), "{said}");
            assert_eq!(guard.await_end(), 5);
            assert!(forced.elapsed() < SOON, "{:?}", forced.elapsed());
            assert_eq!(work_file(&sandbox, "log"), "term\n");
            assert_eq!(sandbox.leftovers(), Vec::<String>::new());
        }
    }
}

#[test]
fn on_lost_warn_tells_of_each_that_is_lost() {
    let sandbox = sandbox();
    let terms = ["guard", "a,b,c", "--on-lost", "warn"];
    let mut guard = hold_with(&sandbox, &terms, "echo in; read line; exit 7");
    for lost in ["b", "a"] {
        assert_eq!(sandbox.run(["unlock", lost, "--force"]).code, 0);
        let said = guard.await_stderr("warning");
        assert!(said.contains(&format!("lock \"{lost}\" is lost")), "{said}");
    }
    let ended = guard.output();
    assert_eq!((ended.code, ended.stderr.as_str()), (7, ""), "the command's own code, and no more words");
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}

#[test]
fn each_has_its_heartbeat_while_the_command_runs() {
    let sandbox = sandbox();
    let mut guard = sandbox.hold(["guard", "a,b", "--ttl", "1s"]);
    for name in ["a", "b"] {
        eventually("it is renewed", || record(&sandbox, name)["renewals"].as_u64() > Some(1));
    }
    guard.let_go();
    assert_eq!(guard.await_end(), 0);
}

#[test]
fn the_earlier_lease_is_renewed_while_a_later_name_is_waited_for() {
    let sandbox = sandbox();
    assert_eq!(sandbox.run(["lock", "b"]).code, 0);
    let mut guard = queue(&sandbox, &args(&WAIT, &["--ttl", "1s"]));
    eventually("it is renewed", || record(&sandbox, "a")["renewals"].as_u64() > Some(2));
    assert_eq!(sandbox.run(["unlock", "b"]).code, 0);
    guard.await_line("in");
    guard.let_go();
    assert_eq!(guard.await_end(), 0);
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}

#[test]
fn the_first_lease_is_renewed_while_the_others_are_slow_to_be_had() {
    if !strace_available("the first lease is renewed while the others are slow to be had") {
        return;
    }
    let sandbox = sandbox();
    // Two of these for each admission, none for a renewal.
    let slow = ["renameat2:delay_enter=150000"];
    let args = ["guard", "a,b,c,d,e,f,g,h", "--ttl", "1s"];
    let mut guard = start(with_script(&mut traced(&sandbox, &slow, &args), COURTEOUS));
    eventually("the first is there", || sandbox.record("a").exists());
    eventually("it is renewed", || record(&sandbox, "a")["renewals"].as_u64() > Some(0));
    assert!(!sandbox.record("h").exists(), "the last is not there yet");
    guard.await_line("in");
    guard.let_go();
    assert_eq!(guard.await_end(), 0);
}

#[test]
fn a_command_that_one_loss_ends_is_gone_before_another_lease_lapses() {
    if !strace_available("a command that one loss ends is gone before another lease lapses") {
        return;
    }
    let sandbox = sandbox();
    // Both are admitted; no renewal succeeds.
    let failing = ["renameat:error=EIO", "renameat2:error=EIO:when=5+"];
    let args = ["guard", "a,b", "--ttl", "4s", "--kill-after", "20s"];
    let stubborn = "trap '' TERM; echo $$ > pid; echo in; while :; do read line; done";
    let mut guard = start(with_script(&mut traced(&sandbox, &failing, &args), stubborn));
    guard.await_line("in");
    assert_eq!(sandbox.run(["unlock", "a", "--force"]).code, 0);
    let next = queue_with(&sandbox, &["guard", "b", "--wait"], "kill -0 $(cat pid) && echo both >&2");
    let said = next.output();
    assert!(!said.stderr.contains("both\n"), "{said:?}");
    assert_eq!(guard.await_end(), 5);
}

#[test]
fn a_wait_ends_when_an_earlier_name_is_lost() {
    for terms in [&[][..], &["--ttl", "10m"]] {
        let sandbox = sandbox();
        assert_eq!(sandbox.run(["lock", "c"]).code, 0);
        let before = sandbox.leftovers();
        let guard = queue_with(&sandbox, &args(&["guard", "a,b,c", "--wait"], terms), "touch ran");
        let forced = Instant::now();
        assert_eq!(sandbox.run(["unlock", "a", "--force"]).code, 0);
        let ended = guard.output();
        assert!(forced.elapsed() < SOON, "{:?}", forced.elapsed());
        let said = "lokt: lock \"a\" is lost: its record is gone; the command was not started\n";
        assert_eq!((ended.code, ended.stderr.as_str()), (5, said), "{ended:?}");
        assert_eq!(sandbox.leftovers(), before, "nothing of it is left, in line neither");
        assert!(!sandbox.work().join("ran").exists());
    }
}

#[test]
fn a_wait_ends_when_an_earlier_record_is_removed_by_hand() {
    let sandbox = sandbox();
    assert_eq!(sandbox.run(["lock", "b"]).code, 0);
    let mut guard = queue(&sandbox, &WAIT);
    fs::remove_file(sandbox.record("a")).unwrap();
    assert_eq!(guard.await_end(), 5);
}

#[test]
fn a_signal_ends_the_wait_for_a_later_name_and_releases_the_earlier_ones() {
    for sent in [Signal::INT, Signal::TERM, Signal::HUP] {
        let sandbox = sandbox();
        assert_eq!(sandbox.run(["lock", "b"]).code, 0);
        let before = sandbox.leftovers();
        let mut guard = queue_with(&sandbox, &WAIT, "touch ran");
        assert!(!is_free(&sandbox, "a"));
        guard.signal(sent);
        assert_eq!(guard.await_end(), 128 + sent.as_raw());
        assert_eq!(sandbox.leftovers(), before);
        assert!(!sandbox.work().join("ran").exists());
    }
}

/// A guard of `a` and `b` that holds the first and was stopped while it waited for the second.
fn stopped_in_its_wait(sandbox: &Sandbox, terms: &[&str]) -> Running {
    assert_eq!(sandbox.run(["lock", "b"]).code, 0);
    let guard = queue_with(sandbox, &args(&WAIT, terms), "touch ran");
    guard.signal(Signal::TSTP);
    await_state(guard.pid(), "T");
    assert_eq!(waiters(sandbox, "b"), 0, "it has left the line");
    guard
}

#[test]
fn a_waiter_that_is_suspended_keeps_what_it_holds_and_comes_back() {
    let sandbox = sandbox();
    let mut guard = stopped_in_its_wait(&sandbox, &[]);
    assert_eq!(sandbox.run(["guard", "a", "--break-stale", "--", "true"]).code, 2, "it holds what it has");
    guard.signal(Signal::CONT);
    eventually("it is back in line", || waiters(&sandbox, "b") == 1);
    assert_eq!(sandbox.run(["unlock", "b"]).code, 0);
    assert_eq!(guard.await_end(), 0);
    assert!(sandbox.work().join("ran").exists());
}

#[test]
fn a_waiter_that_is_continued_first_proves_what_it_holds() {
    let sandbox = sandbox();
    let mut guard = stopped_in_its_wait(&sandbox, &[]);
    assert_eq!(sandbox.run(["unlock", "a", "--force"]).code, 0);
    assert_eq!(sandbox.run(["unlock", "b"]).code, 0);
    guard.signal(Signal::CONT);
    assert_eq!(guard.await_end(), 5);
    assert!(!sandbox.work().join("ran").exists());
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}

#[test]
fn a_lease_lapses_while_its_waiter_is_suspended() {
    let sandbox = sandbox();
    let mut guard = stopped_in_its_wait(&sandbox, &["--ttl", "1s"]);
    let mut next = sandbox.hold(["guard", "a", "--wait", "--timeout", "30s"]);
    guard.signal(Signal::CONT);
    assert_eq!(guard.await_end(), 5);
    assert!(next.runs() && !is_free(&sandbox, "a"), "the next one is left alone");
    assert!(!sandbox.work().join("ran").exists());
    next.let_go();
    assert_eq!(next.await_end(), 0);
}

/// A command that outlives SIGTERM and its parent's death.
const STUBBORN: &str = "trap '' TERM; echo in; read line; echo out >> log";

#[test]
fn a_killed_guard_leaves_all_held_while_its_command_lives() {
    let sandbox = sandbox();
    let mut guard = hold_with(&sandbox, &["guard", "a,b,c"], STUBBORN);
    guard.signal(Signal::KILL);
    assert_eq!(guard.await_end(), 137);
    for name in ["a", "b", "c"] {
        let denied = sandbox.run(["guard", name, "--break-stale", "--", "true"]);
        assert_eq!(denied.code, 2, "{name}: {denied:?}");
    }
    guard.let_go();
    let next = sandbox.run(["guard", "a,b,c", "--wait", "--timeout", "30s", "--", "cat", "log"]);
    assert_eq!((next.code, next.stdout.as_str()), (0, "out\n"), "{next:?}");
}

#[test]
fn a_killed_waiter_leaves_what_it_held_to_the_next() {
    let sandbox = sandbox();
    assert_eq!(sandbox.run(["lock", "b"]).code, 0);
    let mut guard = queue(&sandbox, &WAIT);
    guard.signal(Signal::KILL);
    assert_eq!(guard.await_end(), 137);
    assert_eq!(sandbox.run(["guard", "a", "--", "true"]).code, 0);
}

#[test]
fn all_are_released_in_the_end_the_last_taken_first() {
    for terms in [&[][..], &["--ttl", "10m"]] {
        let sandbox = sandbox();
        let ran = sandbox.run(args(&["guard", "c,a,b"], terms).into_iter().chain(["--", "true"]));
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(sandbox.leftovers(), Vec::<String>::new());
        let log: Vec<String> = lines(&sandbox.root().join("audit.log"));
        let events: Vec<(String, String)> = log
            .iter()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .map(|event| (event["event"].to_string(), event["name"].to_string()))
            .collect();
        let of = |kind: &str| -> String {
            let of = events.iter().filter(|(event, _)| event.trim_matches('"') == kind);
            of.map(|(_, name)| name.trim_matches('"')).collect()
        };
        assert_eq!((of("acquire").as_str(), of("release").as_str()), ("abc", "cba"));
    }
}

#[test]
fn a_hundred_names_are_no_trouble() {
    let sandbox = sandbox();
    let names: Vec<String> = (0..100).map(|number| format!("name-{number}")).collect();
    let script = "echo $LOKT_TOKENS | wc -w";
    let ran = sandbox.run(["guard", &names.join(","), "--ttl", "5m", "--", "sh", "-c", script]);
    assert_eq!((ran.code, ran.stdout.trim()), (0, "100"), "{ran:?}");
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}

#[test]
fn the_time_to_wait_is_that_of_all_names_together() {
    let sandbox = sandbox();
    let mut holder = sandbox.hold(["guard", "a"]);
    assert_eq!(sandbox.run(["lock", "b"]).code, 0);
    let began = Instant::now();
    let guard = queue(&sandbox, &args(&WAIT, &["--timeout", "4s"]));
    eventually("most of the time is over", || began.elapsed() > Duration::from_secs(2));
    holder.let_go();
    let ended = guard.output();
    assert!(began.elapsed() < Duration::from_millis(5900), "{:?}: {ended:?}", began.elapsed());
    let said = ended.stderr.contains("timed out after 4") && ended.stderr.contains("lock \"b\" is held");
    assert!(ended.code == 2 && said, "{ended:?}");
    assert_eq!(holder.await_end(), 0);
    assert!(is_free(&sandbox, "a"));
}

/// Runs a script under a guard of `a`.
fn inside_a(sandbox: &Sandbox, script: &str) -> String {
    let outer = output(sandbox.lokt(["guard", "a", "--", "sh", "-c", script]).env("LOKT_NO_SWEEP", "1"));
    assert_eq!(outer.code, 0, "{outer:?}");
    outer.stdout
}

#[test]
fn of_several_names_only_those_that_are_not_held_around_it_are_taken() {
    let sandbox = sandbox();
    let script = "$LOKT guard b,a -- sh -c 'ls $LOKT_ROOT/locks'; ls $LOKT_ROOT/locks";
    assert_eq!(inside_a(&sandbox, script), "a.json\nb.json\na.json\n");
    let script = "$LOKT guard b -- $LOKT guard a,b -- ls $LOKT_ROOT/locks";
    assert_eq!(inside_a(&sandbox, script), "a.json\nb.json\n");
    let script = "$LOKT guard a,b -- $LOKT guard b -- $LOKT guard b,a -- echo through";
    assert_eq!(inside_a(&sandbox, script), "through\n");
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}

#[test]
fn the_first_name_given_introduces_the_command_wherever_it_is_held() {
    let sandbox = sandbox();
    // So that the tokens differ.
    assert_eq!(sandbox.run(["guard", "a", "--", "true"]).code, 0);
    let show = "-- sh -c 'echo $LOKT_NAME $LOKT_TOKEN, $LOKT_TOKENS'";
    assert_eq!(inside_a(&sandbox, &format!("$LOKT guard a,b {show}")), "a 2, a:2 b:1\n");
    assert_eq!(inside_a(&sandbox, &format!("$LOKT guard b,a {show}")), "b 2, a:3 b:2\n");
    let same = "-- sh -c 'grep -c $LOKT_LOCK_ID $LOKT_ROOT/locks/$LOKT_NAME.json'";
    for names in ["a,b", "b,a", "c --with a,b"] {
        assert_eq!(inside_a(&sandbox, &format!("$LOKT guard {names} {same}")), "1\n", "{names}");
    }
}

#[test]
fn each_of_several_names_is_held_in_slots_or_shared() {
    let tells = "echo $LOKT_NAME $LOKT_SLOT $LOKT_TOKENS";
    for (mode, said) in [(&["--slots", "2"][..], "b 2 a:1 b:2\n"), (&["--shared"], "b a:1 b:2\n")] {
        let sandbox = sandbox();
        let one = sandbox.hold(args(&["guard", "b"], mode));
        let both = sandbox.run(args(&args(&["guard", "b,a"], mode), &["--", "sh", "-c", tells]));
        assert_eq!((both.code, both.stdout.as_str()), (0, said), "{both:?}");
        let readers = [(); 2].map(|()| sandbox.start(args(&args(&["guard", "a"], mode), &["--", "true"])));
        for reader in readers {
            assert_eq!(reader.output().code, 0);
        }
        assert_eq!(one.output().code, 0);
        nothing_is_left(&sandbox);
    }
}

#[test]
fn refused_a_slot_of_one_name_a_guard_has_none_of_another() {
    let sandbox = sandbox();
    let full = [(); 2].map(|()| sandbox.hold(["guard", "b", "--slots", "2"]));
    let before = sandbox.leftovers();
    let refused = sandbox.run(["guard", "c,b,a", "--slots", "2", "--", "touch", "ran"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("all 2 slots of lock \"b\" are held"), "{refused:?}");
    let contradicted = sandbox.run(["guard", "c,b,a", "--shared", "--wait", "--", "touch", "ran"]);
    assert_eq!(contradicted.code, 2, "{contradicted:?}");
    assert_eq!(sandbox.leftovers(), before);
    for holder in full {
        assert_eq!(holder.output().code, 0);
    }
    nothing_is_left(&sandbox);
}

#[test]
fn the_slot_of_one_name_is_not_told_as_that_of_another() {
    let sandbox = sandbox();
    let script = "echo slot $LOKT_SLOT; $LOKT guard b -- sh -c 'echo $LOKT_NAME $LOKT_SLOT'; \
        $LOKT guard a,b --slots 2 -- sh -c 'echo $LOKT_NAME $LOKT_SLOT'";
    let ended = sandbox.run(["guard", "a", "--slots", "2", "--", "sh", "-c", script]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "slot 1\nb\na 1\n"), "{ended:?}");
    nothing_is_left(&sandbox);
}
