//! Nothing grows with the past, and one name does not pay for the others.

use std::fs;

use lokt_tests::sandbox::{Running, Sandbox, eventually, output, start, strace_available};
use rustix::process::Signal;

use crate::helpers::{remains, sandbox};

/// A thousand names, each used once: by a guard, by one that another waits for in vain, by hand.
const ONCE: &str = r"
    outside='env -u LOKT_NAME -u LOKT_LOCK_ID -u LOKT_HELD'
    for i in $(seq $1 $2); do
        case $((i % 4)) in
        0) $LOKT lock once-$i && $LOKT unlock once-$i ;;
        1) $LOKT guard once-$i --ttl 5m -- $outside $LOKT guard once-$i --wait --timeout 1ms -- true ;;
        *) $LOKT guard once-$i -- true ;;
        esac > /dev/null 2>&1
        echo $?
    done";

fn files(sandbox: &Sandbox) -> usize {
    let dirs = fs::read_dir(sandbox.root()).unwrap().flatten();
    dirs.flat_map(|dir| fs::read_dir(dir.path()).into_iter().flatten()).count()
}

#[test]
fn crowd_of_a_thousand_names_used_once_leaves_nothing_behind() {
    let sandbox = sandbox();
    let use_once = |from: usize, to: usize| {
        let ran = output(sandbox.command("sh").args(["-c", ONCE, "sh", &from.to_string(), &to.to_string()]));
        let codes: Vec<&str> = ran.stdout.lines().collect();
        assert_eq!(codes.len(), to - from + 1);
        // Whoever waits in vain says 2, and so does the guard around it.
        assert!(
            codes.iter().zip(from..).all(|(code, i)| *code == if i % 4 == 1 { "2" } else { "0" }),
            "{ran:?}"
        );
    };
    use_once(1, 500);
    let half = files(&sandbox);
    std::thread::scope(|scope| {
        scope.spawn(|| use_once(501, 750));
        scope.spawn(|| use_once(751, 1000));
    });
    assert_eq!(remains(&sandbox), Vec::<String>::new());
    assert!(half <= 70 && files(&sandbox) <= 70, "{half} files, then {}", files(&sandbox));
}

/// Fills the root with others' locks, as lokt writes them. Nobody has swept it afterwards.
fn fill(sandbox: &Sandbox, others: usize) {
    let unswept = |args: &[&str]| output(sandbox.lokt(args).env("LOKT_NO_SWEEP", "1"));
    assert_eq!(unswept(&["lock", "other", "--ttl", "1h"]).code, 0);
    let record = fs::read_to_string(sandbox.record("other")).unwrap();
    for other in 0..others {
        let name = format!("other-{other}");
        sandbox.plant(&name, record.replace("\"other\"", &format!("\"{name}\"")));
    }
    if let Some(last) = others.checked_sub(1) {
        let shown = unswept(&["status", &format!("other-{last}")]);
        assert!(shown.code == 0 && shown.stdout.contains("other-"), "{shown:?}");
    }
}

/// The system calls of a guard up to the birth of its command, and all that come after.
fn calls(sandbox: &Sandbox, sweeps: bool) -> (Vec<String>, Vec<String>) {
    let trace = sandbox.path().join("trace");
    let mut strace = sandbox.command("strace");
    strace.args(["-f", "-qq", "-s", "200", "-o"]).arg(&trace);
    strace.args([env!("CARGO_BIN_EXE_lokt-under-test"), "guard", "mine", "--", "/bin/true"]);
    if !sweeps {
        strace.env("LOKT_NO_SWEEP", "1");
    }
    let ran = output(&mut strace);
    assert_eq!(ran.code, 0, "{ran:?}");
    let trace = fs::read_to_string(trace).unwrap();
    let calls: Vec<String> = trace.lines().map(str::to_owned).collect();
    let birth = calls.iter().position(|call| call.contains("clone") && call.contains("SIGCHLD"));
    let (before, after) = calls.split_at(birth.expect("the test sees the birth of the command"));
    assert!(after.iter().any(|call| call.contains("execve(\"/bin/true\"")), "and its start");
    (before.to_vec(), after.to_vec())
}

/// How many of the calls are the first thread's: what others do meanwhile depends on who comes first.
fn on_the_way(calls: &[String]) -> usize {
    let thread = |call: &str| call.split(' ').next().unwrap_or_default().to_owned();
    let first = calls.first().map(|call| thread(call));
    // A call that another thread interrupts has two lines.
    calls.iter().filter(|call| Some(thread(call)) == first && !call.contains(" resumed>")).count()
}

/// How many files they open, beside those of /proc, which has one for each process of the machine.
fn opened(calls: &[String]) -> usize {
    calls.iter().filter(|call| call.contains("openat(") && !call.contains("/proc/")).count()
}

/// How many system calls may come and go from run to run.
const HANDFUL: usize = 5;

#[test]
fn crowd_of_20_000_other_locks_costs_a_guard_nothing() {
    if !strace_available("what a guard asks of the kernel") {
        return;
    }
    let [few, many] = [0, 20_000].map(|others| {
        let sandbox = sandbox();
        fill(&sandbox, others);
        let (before, after) = calls(&sandbox, false);
        let counts = (on_the_way(&before), opened(&after));
        eprintln!(
            "{others} others: {} calls up to the command, {} files opened after it",
            counts.0, counts.1
        );
        (before, counts)
    });
    let (before, after) = (many.1.0.abs_diff(few.1.0), many.1.1.abs_diff(few.1.1));
    assert!(before <= HANDFUL, "{}\n\n{}", few.0.join("\n"), many.0.join("\n"));
    assert!(after <= HANDFUL, "{after} more or fewer files were opened afterwards");
}

/// The system calls of a look at all locks that name what `of` says.
fn looks(sandbox: &Sandbox, of: &str) -> (usize, usize) {
    let trace = sandbox.path().join("trace");
    let mut strace = sandbox.command("strace");
    strace.args(["-f", "-qq", "-o"]).arg(&trace).arg(env!("CARGO_BIN_EXE_lokt-under-test"));
    let ran = output(strace.args(["status", "--json"]).env("LOKT_NO_SWEEP", "1"));
    assert_eq!(ran.code, 0, "{ran:?}");
    let trace = fs::read_to_string(trace).unwrap();
    (trace.lines().count(), trace.lines().filter(|call| call.contains(of)).count())
}

/// open, fstat, read, close; and one more of a debug build, which looks whether what it closes was open.
const A_RECORD: usize = 5;

#[test]
fn crowd_of_2_000_locks_is_listed_with_a_few_calls_for_each() {
    if !strace_available("what a guard asks of the kernel") {
        return;
    }
    let [few, many] = [1_000, 2_000].map(|locks| {
        let sandbox = sandbox();
        fill(&sandbox, locks);
        looks(&sandbox, "freezes")
    });
    let more = many.0 - few.0;
    // Memory for the names comes on top, now and then.
    assert!((4_000..=1_000 * A_RECORD + 100).contains(&more), "{more} calls for 1,000 more locks");
    assert_eq!(many.1, few.1, "freezes are not looked for one by one");
}

#[test]
fn crowd_of_corrupt_records_is_listed_with_one_look_at_the_sessions() {
    if !strace_available("what a guard asks of the kernel") {
        return;
    }
    let sandbox = sandbox();
    let _holder = sandbox.hold(["guard", "held"]);
    for i in 0..100 {
        sandbox.plant(&format!("corrupt-{i}"), "nonsense");
    }
    assert_eq!(looks(&sandbox, "\"sessions\"").1, 1);
    let (calls, _) = looks(&sandbox, "sessions");
    assert!(calls < 100 * 12, "{calls} calls for 100 corrupt records");
}

#[test]
fn crowd_of_other_locks_is_swept_only_after_the_command_has_run() {
    if !strace_available("what a guard asks of the kernel") {
        return;
    }
    let sandbox = sandbox();
    fill(&sandbox, 1_000);
    let (before, after) = calls(&sandbox, true);
    let of_others = |call: &String| call.contains("other-") || call.contains("getdents");
    assert_eq!(before.iter().find(|call| of_others(call)), None, "on the way to the command");
    // It lists them in any case; how many it then looks at is a question of its time.
    let swept = after.iter().position(of_others).expect("the test sees a sweep");
    let released = after.iter().position(|call| call.contains("unlinkat(") && call.contains("\"mine.json\""));
    assert!(released.expect("the test sees the release") < swept, "while the lock was held");
}

#[test]
fn crowd_of_2_000_other_locks_does_not_hide_the_dead_from_the_sweep() {
    let sandbox = sandbox();
    fill(&sandbox, 2_000);
    let holder = sandbox.hold(["guard", "mine"]);
    let held = remains(&sandbox);
    let mut line: Vec<Running> =
        (0..5).map(|_| start(&mut sandbox.lokt(["guard", "mine", "--wait", "--", "true"]))).collect();
    for waiter in &mut line {
        waiter.await_stderr("lokt: waiting");
    }
    for waiter in &mut line {
        waiter.signal(Signal::KILL);
        assert_eq!(waiter.await_end(), 137);
    }
    assert_ne!(remains(&sandbox), held, "the dead have left something");
    // One that ran out of its time is followed by another within seconds.
    eventually("a sweep comes to the dead", || {
        assert_eq!(sandbox.run(["guard", "yours", "--", "true"]).code, 0);
        remains(&sandbox) == held
    });
    assert_eq!(holder.output().code, 0);
}
