//! Locks on a cluster, whose members are well.

use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use lokt::store::etcd::Address;
use lokt_tests::etcd::Setup;
use lokt_tests::link::Link;
use lokt_tests::sandbox::{Lack, eventually, output, skipped, start};
use rustix::process::Signal;
use serde_json::Value;

use super::site::{HOLD, SOON, Site, in_line};

#[test]
fn a_crowd_on_two_machines_gets_in_one_at_a_time() {
    const GUARDS: usize = 8;
    const ROUNDS: usize = 6;
    let Some(site) = Site::new(1) else { return };
    let script =
        "mkdir inside || echo overlap >> overlaps; n=$(cat n 2>/dev/null); echo $((n + 1)) > n; rmdir inside";
    std::thread::scope(|scope| {
        for number in 0..GUARDS {
            let machine = site.machine(number % 2);
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    let said =
                        output(machine.lokt(&["guard", "x", "--wait"]).args(["--", "sh", "-c", script]));
                    assert_eq!(said.code, 0, "{said:?}");
                }
            });
        }
    });
    assert_eq!(site.file("n").trim(), (GUARDS * ROUNDS).to_string());
    assert_eq!(site.file("overlaps"), "");
    assert_eq!(
        site.machine(0).json(&["status", "--json"]).as_array().map(Vec::len),
        Some(0),
        "nothing is left"
    );
}

#[test]
fn of_two_who_have_seen_a_name_to_be_free_one_gets_it() {
    let Some(site) = Site::new(1) else { return };
    let (here, there) = site.machines();
    let link = Link::to(&site.etcd.endpoints()[0]);
    let (has_looked, looked) = mpsc::channel();
    let (lets_go, go) = mpsc::channel();
    link.before_next_put(move || {
        has_looked.send(()).unwrap();
        go.recv().unwrap();
    });
    let slow = Address { endpoints: vec![link.endpoint()], ..site.etcd.address() };
    let slow = start(here.lokt(&["lock", "x"]).env("LOKT_ROOT", slow.to_string()));
    looked.recv_timeout(Duration::from_secs(60)).expect("it is about to take it");
    assert_eq!(there.run(&["lock", "x"]).code, 0);
    lets_go.send(()).unwrap();
    let said = slow.output();
    assert_eq!(said.code, 2, "{said:?}");
    let events = there.run(&["audit", "--event", "acquire"]).stdout;
    assert_eq!(events.lines().count(), 1, "{events}");
}

#[test]
fn waiters_on_two_machines_get_in_in_their_order() {
    let Some(site) = Site::new(1) else { return };
    let (here, there) = site.machines();
    let mut holder = here.hold(&["x"]);
    let waiters = in_line(&[there, here, there, here]);
    let status = here.json(&["status", "x", "--json"]);
    assert_eq!(status["waiters"].as_array().map(Vec::len), Some(4), "{status}");
    let refused = there.run(&["guard", "x", "--", "true"]);
    assert_eq!(refused.code, 2, "a plain try: {refused:?}");
    holder.let_go();
    for waiter in waiters {
        let said = waiter.output();
        assert_eq!(said.code, 0, "{said:?}");
    }
    assert_eq!(site.file("order"), "0\n1\n2\n3\n");
    assert_eq!(holder.output().code, 0);
}

#[test]
fn a_killed_guard_frees_the_lock_at_once_on_its_machine() {
    let Some(site) = Site::new(1) else { return };
    let here = site.machine(0);
    let holder = here.hold(&["x", "--ttl", "60s"]);
    let mut waiter = here.queue(&["x", "--wait"]);
    let begun = Instant::now();
    holder.signal(Signal::KILL);
    waiter.await_line("in");
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

#[test]
fn a_killed_guard_frees_the_lock_elsewhere_when_its_lease_ends() {
    let Some(site) = Site::new(1) else { return };
    let (here, there) = site.machines();
    let holder = here.hold(&["x", "--ttl", "2s"]);
    let mut waiter = there.queue(&["x", "--wait"]);
    holder.signal(Signal::KILL);
    let begun = Instant::now();
    waiter.await_line("in");
    assert!(begun.elapsed() > Duration::from_millis(900), "not before its lease: {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(2) + SOON, "{:?}", begun.elapsed());
}

#[test]
fn a_killed_waiter_holds_up_nobody() {
    let Some(site) = Site::new(1) else { return };
    let (here, there) = site.machines();
    let mut holder = here.hold(&["x"]);
    let first = here.queue(&["x", "--wait"]);
    let mut second = here.queue(&["x", "--wait"]);
    let mut third = there.queue(&["x", "--wait"]);
    first.signal(Signal::KILL);
    holder.let_go();
    let begun = Instant::now();
    second.await_line("in");
    assert!(begun.elapsed() < SOON, "on its machine: {:?}", begun.elapsed());
    second.let_go();
    third.await_line("in");
}

#[test]
fn a_stopped_guard_is_taken_over_after_its_lease_and_ends_its_command() {
    let Some(site) = Site::new(1) else { return };
    let (here, there) = site.machines();
    let mut holder = here.hold(&["x", "--ttl", "2s"]);
    let refused = there.run(&["unlock", "x", "--break-stale"]);
    assert_eq!(refused.code, 1, "it renews: {refused:?}");
    holder.signal(Signal::STOP);
    let mut waiter = there.queue(&["x", "--wait"]);
    waiter.await_line("in");
    holder.signal(Signal::CONT);
    assert_eq!(holder.await_end(), 5, "it is lost");
    waiter.let_go();
    assert_eq!(waiter.output().code, 0);
}

#[test]
fn a_lapsed_lease_is_broken_on_demand_and_not_while_it_is_renewed() {
    let Some(site) = Site::new(1) else { return };
    let (here, there) = site.machines();
    let mut holder = here.hold(&["x", "--ttl", "2s"]);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        assert_eq!(there.run(&["unlock", "x", "--break-stale"]).code, 1, "it renews");
    }
    holder.signal(Signal::STOP);
    eventually("it lapses", || there.run(&["unlock", "x", "--break-stale"]).code == 0);
    holder.signal(Signal::CONT);
    assert_eq!(holder.await_end(), 5);
}

#[test]
fn a_guard_whose_lease_has_lapsed_goes_on_if_nobody_took_the_lock() {
    let Some(site) = Site::new(1) else { return };
    let (here, there) = site.machines();
    let mut holder = here.hold(&["x", "--ttl", "2s"]);
    holder.signal(Signal::STOP);
    eventually("it lapses", || there.run(&["status", "x"]).stdout.contains("lapsed"));
    holder.signal(Signal::CONT);
    eventually("it is renewed", || !there.run(&["status", "x"]).stdout.contains("lapsed"));
    assert!(holder.runs());
    assert_eq!(holder.output().code, 0);
}

#[test]
fn a_removal_by_force_is_noticed_at_once_on_another_machine() {
    let Some(site) = Site::new(1) else { return };
    let (here, there) = site.machines();
    let mut holder = here.hold(&["x", "--ttl", "60s"]);
    let begun = Instant::now();
    assert_eq!(there.run(&["unlock", "x", "--force"]).code, 0);
    assert_eq!(holder.await_end(), 5);
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

#[test]
fn a_guard_without_a_ttl_has_a_lease_all_the_same() {
    let Some(site) = Site::new(1) else { return };
    let (here, there) = site.machines();
    let _holder = here.hold(&["x"]);
    let status = there.json(&["status", "x", "--json"]);
    assert_eq!(status["ttl_sec"], 60, "{status}");
}

#[test]
fn a_manual_lock_stays_until_it_is_unlocked_or_lapses() {
    let Some(site) = Site::new(1) else { return };
    let (here, there) = site.machines();
    assert_eq!(here.run(&["lock", "x"]).code, 0);
    assert_eq!(there.run(&["guard", "x", "--", "true"]).code, 2);
    assert_eq!(there.run(&["renew", "x", "--ttl", "1h"]).code, 0, "from another machine");
    let status = here.json(&["status", "x", "--json"]);
    assert_eq!(status["ttl_sec"], 3600, "{status}");
    assert_eq!(there.run(&["unlock", "x"]).code, 0);
    assert_eq!(here.run(&["lock", "x", "--ttl", "1s"]).code, 0);
    assert_eq!(there.run(&["guard", "x", "--", "true"]).code, 2);
    eventually("it lapses", || there.run(&["guard", "x", "--", "true"]).code == 0);
}

#[test]
fn tokens_grow_over_machines_and_modes() {
    let Some(site) = Site::new(1) else { return };
    let mut last = 0;
    for (number, mode) in [&["--shared"][..], &[], &["--slots", "2"], &[], &["--shared"]].iter().enumerate() {
        let mut command = site.machine(number % 2).lokt(&["guard", "x"]);
        let said = output(command.args(*mode).args(["--", "sh", "-c", "echo $LOKT_TOKEN"]));
        let token: u64 = said.stdout.trim().parse().unwrap_or_else(|error| panic!("{error}: {said:?}"));
        assert!(token > last, "{token} after {last}");
        last = token;
    }
}

#[test]
fn readers_share_and_a_writer_waits_for_all_of_them() {
    let Some(site) = Site::new(1) else { return };
    let (here, there) = site.machines();
    let mut readers = [here.hold(&["x", "--shared"]), there.hold(&["x", "--shared"])];
    let mut writer = there.queue(&["x", "--wait"]);
    let late = here.run(&["guard", "x", "--shared", "--", "true"]);
    assert_eq!(late.code, 2, "a writer waits: {late:?}");
    let mut reader = here.queue(&["x", "--shared", "--wait"]);
    let denial = there.json(&["lock", "x", "--shared", "--json"]);
    assert_eq!(denial["waiters_ahead"], 2, "{denial:#}");
    readers.iter_mut().for_each(lokt_tests::sandbox::Running::let_go);
    writer.await_line("in");
    for reader in readers {
        assert_eq!(reader.output().code, 0);
    }
    writer.let_go();
    reader.await_line("in");
}

#[test]
fn whoever_waits_far_behind_is_told_how_many_are_before_it() {
    let Some(site) = Site::new(1) else { return };
    let here = site.machine(0);
    let _holder = here.hold(&["x", "--shared"]);
    let _writer = here.queue(&["x", "--wait"]);
    let read = ["x", "--shared", "--wait"];
    let mut before: Vec<_> = (0..9).map(|_| here.queue(&read)).collect();
    let mut last = here.lokt(&["lock", "x", "--shared", "--wait", "--timeout", "6s", "--json"]);
    let mut last = start(&mut last);
    last.await_stderr("lokt: waiting");
    let _behind = [here.queue(&read), here.queue(&read)];
    // Whose end is seen by the one behind: it looks again.
    before.pop().unwrap().signal(Signal::TERM);
    let denial = last.output();
    let denial: Value = serde_json::from_str(&denial.stdout).unwrap();
    assert_eq!(denial["waiters_ahead"], 9, "{denial:#}");
}

#[test]
fn slots_admit_so_many_and_a_waiter_gets_the_one_that_falls_free() {
    let Some(site) = Site::new(1) else { return };
    let (here, there) = site.machines();
    let mut first = here.hold(&["x", "--slots", "2"]);
    let _second = there.hold(&["x", "--slots", "2"]);
    assert_eq!(there.run(&["guard", "x", "--slots", "2", "--", "true"]).code, 2);
    let mut waiter = there.guard(&["x", "--slots", "2", "--wait"], "echo slot $LOKT_SLOT; read line");
    waiter.await_stderr("lokt: waiting");
    first.let_go();
    waiter.await_line("slot 1");
    assert_eq!(there.run(&["guard", "x", "--slots", "3", "--", "true"]).code, 2, "another number");
}

#[test]
fn nobody_gets_in_while_a_name_is_frozen() {
    let Some(site) = Site::new(1) else { return };
    let (here, there) = site.machines();
    assert_eq!(here.run(&["freeze", "x", "--ttl", "1h", "--note", "incident"]).code, 0);
    let refused = there.run(&["guard", "x", "--", "true"]);
    assert!(refused.code == 2 && refused.stderr.contains("incident"), "{refused:?}");
    let mut waiter = there.queue(&["x", "--wait"]);
    let begun = Instant::now();
    assert_eq!(here.run(&["unfreeze", "x"]).code, 0);
    waiter.await_line("in");
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    assert_eq!(here.run(&["freeze", "y", "--ttl", "1s"]).code, 0);
    eventually("it ends by itself", || there.run(&["guard", "y", "--", "true"]).code == 0);
}

#[test]
fn a_guard_inside_a_guard_goes_straight_through() {
    let Some(site) = Site::new(1) else { return };
    let mut command = site.machine(0).lokt(&["guard", "x", "--", "sh", "-c", "$LOKT guard x -- echo inner"]);
    let said = output(&mut command);
    assert_eq!((said.code, said.stdout.as_str()), (0, "inner\n"), "{said:?}");
}

#[test]
fn a_wrong_address_is_an_error_of_usage_and_an_unreachable_cluster_is_named() {
    let Some(site) = Site::new(1) else { return };
    let with =
        |address: &str| output(site.machine(0).lokt(&["guard", "x", "--", "true"]).env("LOKT_ROOT", address));
    let wrong = with("etcd://host");
    assert_eq!(wrong.code, 64, "{wrong:?}");
    assert!(wrong.stderr.contains("prefix is missing"), "{wrong:?}");
    let port = lokt_tests::etcd::closed_port();
    let begun = Instant::now();
    let unreachable = with(&format!("etcd://127.0.0.1:{port}/lokt"));
    assert_eq!(unreachable.code, 1, "{unreachable:?}");
    assert!(unreachable.stderr.contains(&format!("127.0.0.1:{port}")), "{unreachable:?}");
    assert!(unreachable.stderr.contains("\"x\""), "{unreachable:?}");
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[test]
fn guards_of_several_names_never_wait_for_each_other_in_a_circle() {
    let Some(site) = Site::new(1) else { return };
    let script = "mkdir inside || echo overlap >> overlaps; rmdir inside";
    std::thread::scope(|scope| {
        for (number, names) in ["a,b", "b,a", "b,c,a", "c,b"].into_iter().enumerate() {
            let machine = site.machine(number % 2);
            scope.spawn(move || {
                for _ in 0..4 {
                    let mut guard = machine.lokt(&["guard", names, "--wait", "--ttl", "5s"]);
                    let said = output(guard.args(["--", "sh", "-c", script]));
                    assert_eq!(said.code, 0, "{said:?}");
                }
            });
        }
    });
    assert_eq!(site.file("overlaps"), "");
}

/// A command on a machine whose clocks have run for eleven days longer, and whose wall clock nobody asks.
fn shifted(command: &Command) -> Command {
    let mut shifted = Command::new("unshare");
    shifted.args(["--time", "--monotonic", "1000000", "--boottime", "1000000", "--"]);
    shifted.arg(command.get_program()).args(command.get_args()).env_clear();
    shifted.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(dir) = command.get_current_dir() {
        shifted.current_dir(dir);
    }
    shifted
}

#[test]
fn clocks_that_are_far_apart_neither_take_a_lease_nor_keep_it() {
    let Some(site) = Site::new(1) else { return };
    let (here, there) = site.machines();
    if !shifted(&Command::new("true")).status().is_ok_and(|status| status.success()) {
        return skipped(Lack::behind("unshare"), "a machine with other clocks needs a time namespace");
    }
    let breaks = |command: &mut Command| output(command).code == 0;
    let guard = there.lokt(&["guard", "x", "--ttl", "2s", "--", "sh", "-c", HOLD]);
    let mut ahead = start(shifted(&guard).stdin(Stdio::piped()));
    ahead.await_line("in");
    let mut behind = here.hold(&["y", "--ttl", "2s"]);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        assert!(!breaks(&mut here.lokt(&["unlock", "x", "--break-stale"])), "it renews");
        assert!(!breaks(&mut shifted(&there.lokt(&["unlock", "y", "--break-stale"]))), "it renews");
    }
    for holder in [&ahead, &behind] {
        holder.signal(Signal::STOP);
    }
    eventually("it lapses", || breaks(&mut here.lokt(&["unlock", "x", "--break-stale"])));
    eventually("it lapses", || breaks(&mut shifted(&there.lokt(&["unlock", "y", "--break-stale"]))));
    for holder in [&mut ahead, &mut behind] {
        holder.signal(Signal::CONT);
        assert_eq!(holder.await_end(), 5, "it ends its command");
    }
}

#[test]
fn a_cluster_behind_tls_and_a_user_is_used_like_any_other() {
    let setup = Setup { members: 1, tls: true, users: true, ..Setup::default() };
    let Some(site) = Site::with(setup) else { return };
    let access = site.etcd.access();
    let user = access.user.expect("a user");
    let run = |args: &[&str]| {
        let mut command = site.machine(0).lokt(args);
        command.env("ETCDCTL_CACERT", access.ca.as_ref().expect("a CA"));
        output(command.env("ETCDCTL_USER", format!("{}:{}", user.name, user.password)))
    };
    let inside = run(&["guard", "x", "--", "sh", "-c", "echo $LOKT_TOKEN"]);
    assert!(inside.code == 0 && inside.stdout.trim().parse::<u64>().is_ok(), "{inside:?}");
    assert_eq!(run(&["lock", "x", "--ttl", "1m"]).code, 0);
    assert_eq!(run(&["guard", "x", "--", "true"]).code, 2);
    let nobody = site.machine(0).run(&["lock", "x"]);
    assert!(nobody.code == 64 && nobody.stderr.contains("ETCDCTL_CACERT"), "{nobody:?}");
}
