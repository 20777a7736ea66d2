//! Processes of this machine that read another clock: what a record says of a process is on the clock of its holder.

use std::process::Command;

use lokt_tests::sandbox::{Output, available, end, output, some_process};

use super::site::{Machine, Site};

const TIME: [&str; 7] = ["--time", "--monotonic", "100000", "--boottime", "100000", "--fork", "--kill-child"];

/// A site with one member, if there can be other clocks.
fn site() -> Option<Site> {
    let can = available("another clock on this machine", Command::new("unshare").args(TIME).arg("true"));
    can.then(|| Site::new(1)).flatten()
}

/// Runs lokt on that machine by another clock.
fn by_another_clock(machine: Machine<'_>, args: &[&str]) -> Output {
    let script = ["sh", "-c", "exec \"$LOKT\" \"$@\"", "sh"];
    output(machine.command("unshare").args(TIME).args(script).args(args))
}

#[test]
fn a_lock_tied_to_a_process_keeps_those_with_another_clock_out_until_it_ends() {
    let Some(site) = site() else { return };
    let here = site.machine(0);
    let process = some_process();
    let tied = here.run(&["lock", "x", "--pid", &process.id().to_string()]);
    assert_eq!(tied.code, 0, "{tied:?}");
    for contender in [&["lock", "x"][..], &["lock", "x", "--break-stale"], &["guard", "x", "--", "true"]] {
        let denied = by_another_clock(here, contender);
        assert_eq!(denied.code, 2, "{contender:?}: {denied:?}");
    }
    assert_eq!(by_another_clock(here, &["unlock", "x", "--break-stale"]).code, 1);
    end(process);
    let next = by_another_clock(here, &["lock", "x"]);
    assert_eq!(next.code, 0, "{next:?}");
}

#[test]
fn a_lock_tied_to_a_process_is_still_its_own_when_it_was_renewed_by_another_clock() {
    let Some(site) = site() else { return };
    let (here, there) = site.machines();
    let process = some_process();
    let tied = here.run(&["lock", "x", "--ttl", "1h", "--pid", &process.id().to_string()]);
    assert_eq!(tied.code, 0, "{tied:?}");
    // With another TTL the record is written anew.
    let renewed = by_another_clock(here, &["renew", "x", "--ttl", "2h"]);
    assert_eq!(renewed.code, 0, "{renewed:?}");
    assert_eq!(by_another_clock(here, &["lock", "x"]).code, 2);
    assert_eq!(here.run(&["lock", "x"]).code, 2);
    assert_eq!(there.run(&["renew", "x", "--ttl", "3h"]).code, 0);
    assert_eq!(here.run(&["lock", "x"]).code, 2);
    end(process);
    let next = here.run(&["lock", "x"]);
    assert_eq!(next.code, 0, "its end is seen here still: {next:?}");
}

#[test]
fn a_guard_is_seen_to_run_by_another_clock() {
    let Some(site) = site() else { return };
    let here = site.machine(0);
    let mut holder = here.hold(&["x"]);
    let why = by_another_clock(here, &["why", "x"]);
    assert!(why.stdout.contains("alive") && !why.stdout.contains("its command runs on"), "{why:?}");
    holder.let_go();
    assert_eq!(holder.await_end(), 0);
    let inner = format!("unshare {} \"$LOKT\" guard x -- echo inner", TIME.join(" "));
    let mut outer = here.lokt(&["guard", "x", "--", "sh", "-c"]);
    let outer = output(outer.arg(inner));
    assert_eq!((outer.code, outer.stdout.as_str()), (0, "inner\n"), "{outer:?}");
}
