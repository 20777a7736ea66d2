//! Containers: other process ids, another clock, another host name, the same kernel.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use lokt_tests::sandbox::{Running, Sandbox, available, eventually, output, start};
use rustix::process::Signal;

use crate::helpers::{HOLD, holder_pid, queue, queue_with, record, sandbox, signal, stop, with_script};

const PIDS: &[&str] = &["--pid", "--fork", "--mount-proc", "--kill-child"];
const TIME: &[&str] = &["--time", "--monotonic", "100000", "--boottime", "100000", "--fork", "--kill-child"];
const NAMED: &[&str] = &["--uts"];
/// As LXC and systemd-nspawn do.
const BOOTED: &[&str] = &["--mount", "--fork", "--kill-child"];
const NAMED_AND_BOOTED: &[&str] = &["--uts", "--mount", "--fork", "--kill-child"];

fn allowed(namespace: &[&str]) -> bool {
    available("containers that share a root", Command::new("unshare").args(namespace).arg("true"))
}

/// lokt in namespaces of its own.
fn inside(sandbox: &Sandbox, namespace: &[&str], args: &[&str]) -> Command {
    let mut command = sandbox.command("unshare");
    command.args(namespace);
    let mut preparation = String::new();
    if namespace.contains(&"--uts") {
        preparation += "hostname elsewhere && ";
    }
    if namespace.contains(&"--mount") {
        let boot = sandbox.path().join("boot");
        fs::write(&boot, "0b007b00-7b00-47b0-8b00-7b007b007b00\n").unwrap();
        preparation += &format!("mount --bind {} /proc/sys/kernel/random/boot_id && ", boot.display());
    }
    command.args(["sh", "-c", &format!("{preparation}exec \"$LOKT\" \"$@\""), "sh"]).args(args);
    command
}

fn hold_inside(sandbox: &Sandbox, namespace: &[&str], args: &[&str]) -> Running {
    let mut holder = start(with_script(&mut inside(sandbox, namespace, args), HOLD));
    holder.await_line("in");
    holder
}

const CONTENDERS: [&[&str]; 4] = [
    &["guard", "x", "--", "true"],
    &["guard", "x", "--break-stale", "--", "true"],
    &["lock", "x", "--break-stale"],
    // Longer than the lease of those who hold with one.
    &["guard", "x", "--wait", "--timeout", "2500ms", "--", "true"],
];

fn excluded_inside(namespace: &[&str], terms: &[&str]) {
    if !allowed(namespace) {
        return;
    }
    let sandbox = sandbox();
    let mut holder = sandbox.hold(["guard", "x"].iter().chain(terms));
    for contender in CONTENDERS {
        let denied = output(&mut inside(&sandbox, namespace, contender));
        assert_eq!(denied.code, 2, "{contender:?}: {denied:?}");
    }
    assert_eq!(output(&mut inside(&sandbox, namespace, &["unlock", "x", "--break-stale"])).code, 1);
    assert!(holder.runs());
    holder.let_go();
    assert_eq!(holder.await_end(), 0);
    let next = output(&mut inside(&sandbox, namespace, &["guard", "x", "--", "true"]));
    assert_eq!(next.code, 0, "{next:?}");
}

fn excluded_outside(namespace: &[&str], terms: &[&str]) {
    if !allowed(namespace) {
        return;
    }
    let sandbox = sandbox();
    let args: Vec<&str> = ["guard", "x"].iter().chain(terms).copied().collect();
    let mut holder = hold_inside(&sandbox, namespace, &args);
    for contender in CONTENDERS {
        let denied = sandbox.run(contender);
        assert_eq!(denied.code, 2, "{contender:?}: {denied:?}");
    }
    assert_eq!(sandbox.run(["unlock", "x", "--break-stale"]).code, 1);
    assert!(holder.runs());
    holder.let_go();
    assert_eq!(holder.await_end(), 0);
    assert_eq!(sandbox.run(["guard", "x", "--", "true"]).code, 0);
}

#[test]
fn a_guard_outside_keeps_those_with_other_process_ids_out() {
    excluded_inside(PIDS, &[]);
    excluded_inside(PIDS, &["--ttl", "1s"]);
}

#[test]
fn a_guard_with_other_process_ids_keeps_those_outside_out() {
    excluded_outside(PIDS, &[]);
    excluded_outside(PIDS, &["--ttl", "1s"]);
}

#[test]
fn a_guard_outside_keeps_those_with_another_clock_out() {
    excluded_inside(TIME, &[]);
    excluded_inside(TIME, &["--ttl", "1s"]);
}

#[test]
fn a_guard_with_another_clock_keeps_those_outside_out() {
    excluded_outside(TIME, &[]);
    excluded_outside(TIME, &["--ttl", "1s"]);
}

#[test]
fn a_guard_outside_keeps_those_with_another_host_name_out() {
    excluded_inside(NAMED, &[]);
    excluded_inside(NAMED, &["--ttl", "1s"]);
}

#[test]
fn a_guard_with_another_host_name_keeps_those_outside_out() {
    excluded_outside(NAMED, &[]);
    excluded_outside(NAMED, &["--ttl", "1s"]);
}

#[test]
fn a_guard_outside_keeps_those_with_another_boot_out() {
    excluded_inside(BOOTED, &[]);
    excluded_inside(BOOTED, &["--ttl", "1s"]);
    excluded_inside(NAMED_AND_BOOTED, &["--slots", "1", "--ttl", "1s"]);
}

#[test]
fn a_guard_with_another_boot_keeps_those_outside_out() {
    excluded_outside(BOOTED, &[]);
    excluded_outside(BOOTED, &["--ttl", "1s"]);
    excluded_outside(NAMED_AND_BOOTED, &["--slots", "1", "--ttl", "1s"]);
}

/// A container that is killed frees its locks at once, with a TTL or without.
#[test]
fn a_killed_container_hands_over_at_once() {
    for (namespace, terms) in [
        (PIDS, &["guard", "x"][..]),
        (PIDS, &["guard", "x", "--ttl", "10m"]),
        (BOOTED, &["guard", "x"]),
        (NAMED_AND_BOOTED, &["guard", "x", "--ttl", "10m"]),
    ] {
        if !allowed(namespace) {
            return;
        }
        let sandbox = sandbox();
        let container = hold_inside(&sandbox, namespace, terms);
        let mut waiter = queue_with(&sandbox, &["guard", "x", "--wait"], "echo in");
        // With --kill-child, this kills the container's first process, and so all of it.
        container.signal(Signal::KILL);
        waiter.await_line("in");
        assert_eq!(waiter.await_end(), 0);
    }
}

/// From outside, nobody can see that a waiter in a container is stopped; it is passed over all the same.
#[test]
fn a_stopped_waiter_in_a_container_is_passed_over() {
    if !allowed(PIDS) {
        return;
    }
    let sandbox = sandbox();
    let mut holder = sandbox.hold(["guard", "x"]);
    let args = ["guard", "x", "--wait"];
    let mut waiter = start(with_script(&mut inside(&sandbox, PIDS, &args), HOLD));
    waiter.await_stderr("lokt: waiting");
    let hidden = child_of(waiter.pid());
    signal(hidden, Signal::STOP);
    crate::helpers::await_state(hidden, "T");
    holder.let_go();
    assert_eq!(holder.await_end(), 0);
    let plain = sandbox.run(["guard", "x", "--", "true"]);
    assert_eq!(plain.code, 0, "{plain:?}");
    signal(hidden, Signal::CONT);
    waiter.await_line("in");
    assert_eq!(waiter.output().code, 0);
}

fn child_of(pid: i32) -> i32 {
    let children = format!("/proc/{pid}/task/{pid}/children");
    let mut child = String::new();
    eventually("it has a child", || {
        child = fs::read_to_string(&children).unwrap_or_default();
        !child.trim().is_empty()
    });
    child.trim().parse().unwrap()
}

#[test]
fn a_lock_tied_to_a_process_of_another_namespace_counts_as_held() {
    if !allowed(PIDS) {
        return;
    }
    let sandbox = sandbox();
    let me = std::process::id().to_string();
    assert_eq!(sandbox.run(["lock", "x", "--pid", &me]).code, 0);
    for contender in [&["lock", "x"][..], &["lock", "x", "--break-stale"]] {
        let denied = output(&mut inside(&sandbox, PIDS, contender));
        assert_eq!(denied.code, 2, "{denied:?}");
    }
}

#[test]
fn a_lock_tied_to_a_process_is_still_its_own_when_it_was_renewed_by_another_clock() {
    if !allowed(TIME) {
        return;
    }
    let sandbox = sandbox();
    let mut process = Command::new("sleep").arg("1000").spawn().unwrap();
    let pid = process.id().to_string();
    assert_eq!(sandbox.run(["lock", "x", "--ttl", "1h", "--pid", &pid]).code, 0);
    let renewed = output(&mut inside(&sandbox, TIME, &["renew", "x"]));
    assert_eq!(renewed.code, 0, "{renewed:?}");
    let denied = output(&mut inside(&sandbox, TIME, &["lock", "x"]));
    assert_eq!(denied.code, 2, "{denied:?}");
    assert_eq!(sandbox.run(["lock", "x"]).code, 2);
    process.kill().unwrap();
    process.wait().unwrap();
    assert_eq!(output(&mut inside(&sandbox, TIME, &["lock", "x"])).code, 0, "it has ended");
}

/// What a waiter has seen says nothing of a record that has been renewed since.
#[test]
fn a_waiter_with_another_clock_does_not_take_a_lease_that_is_renewed() {
    if !allowed(TIME) {
        return;
    }
    let sandbox = sandbox();
    let mut holder = hold_inside(&sandbox, TIME, &["guard", "x", "--ttl", "2s"]);
    let denied = sandbox.run(["guard", "x", "--wait", "--timeout", "5s", "--", "true"]);
    assert_eq!(denied.code, 2, "{denied:?}");
    holder.let_go();
    assert_eq!(holder.await_end(), 0);
}

#[test]
fn a_waiter_with_another_clock_that_becomes_the_first_does_not_take_a_lease_that_is_renewed() {
    if !allowed(TIME) {
        return;
    }
    let sandbox = sandbox();
    let mut holder = hold_inside(&sandbox, TIME, &["guard", "x", "--ttl", "3s"]);
    let first = queue(&sandbox, &["guard", "x", "--wait"]);
    let second = queue(&sandbox, &["guard", "x", "--wait", "--timeout", "7s"]);
    eventually("more than a lease has passed", || record(&sandbox, "x")["renewals"].as_u64() > Some(2));
    first.signal(Signal::TERM);
    assert_eq!(first.output().code, 143);
    let second = second.output();
    assert_eq!(second.code, 2, "{second:?}");
    holder.let_go();
    assert_eq!(holder.await_end(), 0);
}

/// Without `--fork` only its children are in the namespace, the first of which sees no parent.
#[test]
fn a_guard_whose_children_are_in_a_namespace_of_their_own_runs_its_command() {
    let own = &["--pid"];
    if !allowed(own) {
        return;
    }
    let sandbox = sandbox();
    let said = output(&mut inside(&sandbox, own, &["guard", "x", "--ttl", "5m", "--", "echo", "in"]));
    assert_eq!((said.code, said.stdout.as_str()), (0, "in\n"), "{said:?}");
}

#[test]
fn a_lapsed_lease_with_another_clock_goes_to_a_waiter_who_has_watched_all_of_it() {
    if !allowed(TIME) {
        return;
    }
    let sandbox = sandbox();
    let mut holder = hold_inside(&sandbox, TIME, &["guard", "x", "--ttl", "2s"]);
    let guard = holder_pid(&sandbox, "x");
    stop(guard);
    let began = Instant::now();
    let mut waiter = queue(&sandbox, &["guard", "x", "--wait"]);
    waiter.await_line("in");
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    signal(guard, Signal::CONT);
    assert_eq!(holder.await_end(), 5);
}

/// The kernel numbers time namespaces anew: only how far they shift tells two of them apart.
#[test]
fn a_manual_lock_and_a_freeze_outlive_the_time_namespace_that_they_were_made_in() {
    let shifted =
        |by: &'static str| ["--time", "--monotonic", by, "--boottime", by, "--fork", "--kill-child"];
    if !allowed(&shifted("1000")) {
        return;
    }
    let sandbox = sandbox();
    for command in [&["lock", "x", "--ttl", "1h"][..], &["freeze", "y", "--ttl", "1h"]] {
        let made = output(&mut inside(&sandbox, &shifted("1000"), command));
        assert_eq!(made.code, 0, "{made:?}");
    }
    for name in ["x", "y"] {
        for by in ["2000000", "1000"] {
            let denied = output(&mut inside(&sandbox, &shifted(by), &["guard", name, "--", "true"]));
            assert_eq!(denied.code, 2, "{name}, {by}: {denied:?}");
        }
    }
}

/// What a container is told of its boot says nothing of a time that has passed.
#[test]
fn manual_locks_and_freezes_bind_those_with_another_boot() {
    if !allowed(BOOTED) {
        return;
    }
    let sandbox = sandbox();
    let me = std::process::id().to_string();
    let made =
        [&["lock", "a", "--ttl", "1s"][..], &["lock", "b", "--pid", &me], &["freeze", "c", "--ttl", "1s"]];
    for outside in [true, false] {
        let run = |is_outside: bool, args: &[&str]| match is_outside {
            true => sandbox.run(args),
            false => output(&mut inside(&sandbox, BOOTED, args)),
        };
        for command in made {
            assert_eq!(run(outside, command).code, 0, "{command:?}");
        }
        for name in ["a", "b", "c"] {
            let denied = run(!outside, &["guard", name, "--", "true"]);
            assert_eq!(denied.code, 2, "{name}: {denied:?}");
        }
        for command in
            [&["unlock", "a", "--force"][..], &["unlock", "b", "--force"], &["unfreeze", "c", "--force"]]
        {
            assert_eq!(run(outside, command).code, 0, "{command:?}");
        }
    }
}

/// As systemd's `ProcSubset=pid` has it: nothing tells the boot.
#[test]
fn a_guard_that_can_not_read_its_boot_excludes_and_frees_its_lock_at_once() {
    let script = "mount -t proc -o subset=pid proc /proc && exec \"$LOKT\" \"$@\"";
    let namespace = ["--mount", "--fork", "--kill-child", "sh", "-c"];
    let tried = ["mount -t proc -o subset=pid proc /proc && ! cat /proc/sys/kernel/random/boot_id"];
    let mut tool = Command::new("unshare");
    if !available("a /proc without boots", tool.args(namespace).args(tried)) {
        return;
    }
    let sandbox = sandbox();
    let blind = |args: &[&str]| {
        let mut command = sandbox.command("unshare");
        command.args(namespace).args([script, "sh"]).args(args);
        command
    };
    for terms in [&["guard", "x"][..], &["guard", "x", "--ttl", "1s"]] {
        let mut holder = start(with_script(&mut blind(terms), HOLD));
        holder.await_line("in");
        for contender in CONTENDERS {
            let denied = sandbox.run(contender);
            assert_eq!(denied.code, 2, "{contender:?}: {denied:?}");
        }
        let mut waiter = queue_with(&sandbox, &["guard", "x", "--wait"], "echo in");
        holder.signal(Signal::KILL);
        waiter.await_line("in");
        assert_eq!(waiter.await_end(), 0);
        holder.await_end();
    }
}

#[test]
fn a_guard_inside_a_guard_runs_straight_through_with_another_clock() {
    if !allowed(TIME) {
        return;
    }
    let sandbox = sandbox();
    let inner = format!("unshare {} $LOKT guard x -- echo inner", TIME.join(" "));
    let outer = sandbox.run(["guard", "x", "--", "sh", "-c", &inner]);
    assert_eq!((outer.code, outer.stdout.as_str()), (0, "inner\n"), "{outer:?}");
}
