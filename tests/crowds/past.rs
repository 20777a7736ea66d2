//! Nothing grows with the past, and one name does not pay for the others.

use std::fs;
use std::process::Command;

use lokt_tests::sandbox::{Sandbox, output};

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

const OTHERS: usize = 20_000;

/// Others' locks, as lokt writes them, and what else of other names may lie in the root.
fn fill(sandbox: &Sandbox) {
    assert_eq!(sandbox.run(["lock", "other", "--ttl", "1h"]).code, 0);
    let record = fs::read_to_string(sandbox.record("other")).unwrap();
    for other in 0..OTHERS {
        let name = format!("other-{other}");
        sandbox.plant(&name, record.replace("\"other\"", &format!("\"{name}\"")));
    }
    let shown = sandbox.run(["status", "other-7"]);
    assert!(shown.code == 0 && shown.stdout.contains("other-7"), "{shown:?}");
}

/// The system calls of a guard and its command, up to and from the start of that command.
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
    // A call that another thread interrupts has two lines.
    let calls = trace.lines().filter(|line| !line.contains(" resumed>")).map(str::to_owned);
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for call in calls {
        if after.is_empty() && !call.contains("execve(\"/bin/true\"") { &mut before } else { &mut after }
            .push(call);
    }
    assert!(before.len() > 50 && after.len() > 10, "the trace was understood: {trace}");
    (before, after)
}

fn can_trace() -> bool {
    let works = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status();
    let works = works.is_ok_and(|status| status.success());
    if !works {
        eprintln!("SKIPPED: strace does not work here");
    }
    works
}

/// How many system calls may come and go from run to run: two threads meet or miss each other.
const HANDFUL: usize = 12;

#[test]
fn crowd_of_20_000_other_locks_costs_a_guard_nothing() {
    if !can_trace() {
        return;
    }
    let empty = sandbox();
    // The first use of a root makes its directories.
    assert_eq!(empty.run(["guard", "mine", "--", "true"]).code, 0);
    let (few, few_after) = calls(&empty, false);
    let full = sandbox();
    fill(&full);
    assert_eq!(full.run(["guard", "mine", "--", "true"]).code, 0);
    let (many, many_after) = calls(&full, false);
    eprintln!(
        "{} and {} calls up to the command, {} and {} from there",
        few.len(),
        many.len(),
        few_after.len(),
        many_after.len()
    );
    assert!(many.len().abs_diff(few.len()) <= HANDFUL, "{}\n\n{}", few.join("\n"), many.join("\n"));
    assert!(many_after.len().abs_diff(few_after.len()) <= HANDFUL);
}

#[test]
fn crowd_of_20_000_other_locks_is_swept_only_after_the_command_has_run() {
    if !can_trace() {
        return;
    }
    let sandbox = sandbox();
    fill(&sandbox);
    // Whatever the last sweep has cost: one is due.
    for stripe in fs::read_dir(sandbox.root().join("stripes")).unwrap().flatten() {
        fs::remove_file(stripe.path()).unwrap();
    }
    let (before, after) = calls(&sandbox, true);
    let of_others = |call: &&String| call.contains("other-") || call.contains("getdents");
    assert_eq!(before.iter().find(of_others), None, "on the way to the command");
    assert!(after.iter().any(|call| call.contains("other-")), "the test sees a sweep");
    let ended = after
        .iter()
        .position(|call| call.contains("+++ exited with 0 +++") || call.contains("wait4("))
        .unwrap();
    let swept = after.iter().position(|call| call.contains("other-")).unwrap();
    assert!(ended < swept, "while the lock was held");
}
