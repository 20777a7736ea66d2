//! Who gets in: one of many at once, and each of a line in its turn.

use std::fs;
use std::io::pipe;

use lokt_tests::sandbox::{Running, Sandbox, eventually, start, strace_available};

use crate::helpers::{Member, count, remains, sandbox, work_file};
use crate::judge::order;

/// Waits for the others at its input, then tries; who gets in stays until somebody writes into the FIFO `hold`.
const RUSH: &str = "read go; exec $LOKT guard x -- sh -c 'echo in >> log; read line < hold'";

#[test]
fn crowd_of_ten_at_once_one_enters_and_nine_are_refused() {
    for round in 0..20 {
        let sandbox = sandbox();
        std::process::Command::new("mkfifo").arg(sandbox.work().join("hold")).status().unwrap();
        let (line, start) = pipe().unwrap();
        let rush = |line| Member::start(&sandbox, sandbox.command("sh").args(["-c", RUSH]).stdin(line));
        let mut crowd: Vec<Member> = (0..10).map(|_| rush(line.try_clone().unwrap())).collect();
        drop(start);
        let running =
            |crowd: &mut Vec<Member>| crowd.iter_mut().filter_map(|one| one.runs().then_some(())).count();
        eventually("nine are refused", || running(&mut crowd) == 1);
        eventually("one is in", || count(&sandbox, "log", "in") > 0);
        fs::write(sandbox.work().join("hold"), "go\n").unwrap();
        let mut codes: Vec<i32> = crowd.iter_mut().map(Member::end).collect();
        codes.sort_unstable();
        assert_eq!(codes, [0, 2, 2, 2, 2, 2, 2, 2, 2, 2], "round {round}: {}", work_file(&sandbox, "err"));
        assert_eq!(work_file(&sandbox, "log"), "in\n", "round {round}");
        assert_eq!(remains(&sandbox), Vec::<String>::new(), "round {round}");
    }
}

#[test]
fn crowd_of_two_that_make_the_root_at_the_same_moment_shares_it() {
    if !strace_available("what a guard asks of the kernel") {
        return;
    }
    let sandbox = sandbox();
    let (trace, root) = (sandbox.path().join("trace"), sandbox.root());
    let mut slow = sandbox.command("strace");
    // Slow after each look at the root: another makes it meanwhile.
    slow.args(["-f", "-qq", "-e", "inject=?stat,?statx,?newfstatat,?lstat:delay_exit=300000", "-P"])
        .arg(root);
    slow.arg("-o").arg(&trace).args([env!("CARGO_BIN_EXE_lokt-under-test"), "guard", "x", "--", "true"]);
    let slow = start(&mut slow);
    eventually("it has not found a root", || {
        fs::read_to_string(&trace).is_ok_and(|calls| calls.contains("ENOENT"))
    });
    assert_eq!(sandbox.run(["guard", "y", "--", "true"]).code, 0);
    let ended = slow.output();
    assert_eq!(ended.code, 0, "{ended:?}");
}

/// A section that two can't go through at once without leaving a trace in the log: see [`order`].
const SECTION: &str = "read n < count; echo enter $1 $n >> log; \
    echo $((n + 1)) > next; mv next count; echo exit $1 $n >> log";

/// Starts a waiter, and returns once it stands in line.
fn queue(sandbox: &Sandbox, who: usize, terms: &[&str]) -> Running {
    let mut command = sandbox.lokt(["guard", "x", "--wait"]);
    command.args(terms).args(["--", "sh", "-c", SECTION, "sh", &who.to_string()]);
    let mut waiter = start(&mut command);
    let place = waiter.await_stderr("lokt: waiting");
    assert!(place.contains(&format!("place {} in line", who + 1)), "{who}: {place}");
    waiter
}

fn fifty_enter_in_their_order(terms: &[&str]) {
    let sandbox = sandbox();
    fs::write(sandbox.work().join("count"), "0\n").unwrap();
    let mut holder = sandbox.hold(["guard", "x"]);
    let line: Vec<Running> = (0..50).map(|who| queue(&sandbox, who, terms)).collect();
    assert_eq!(work_file(&sandbox, "log"), "", "nobody enters while another holds it");
    holder.let_go();
    for waiter in line {
        let ended = waiter.output();
        assert_eq!(ended.code, 0, "{ended:?}");
    }
    let order = order(&work_file(&sandbox, "log"), |_| false).unwrap();
    assert_eq!(order, (0..50).collect::<Vec<_>>(), "in the order in which they queued");
    assert_eq!(work_file(&sandbox, "count"), "50\n");
    assert_eq!(holder.await_end(), 0);
    assert_eq!(remains(&sandbox), Vec::<String>::new());
}

#[test]
fn crowd_of_fifty_waiters_enters_one_at_a_time_in_the_order_of_the_line() {
    fifty_enter_in_their_order(&[]);
}

#[test]
fn crowd_of_fifty_waiters_with_leases_enters_one_at_a_time_in_the_order_of_the_line() {
    fifty_enter_in_their_order(&["--ttl", "1s"]);
}
