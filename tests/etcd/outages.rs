//! Locks on a cluster that is not well: cut off, without a leader, or with one that hangs.

use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lokt_tests::etcd::{Setup, network};
use lokt_tests::sandbox::{output, throughout};
use rustix::process::Signal;

use super::site::{SOON, Site};

const TTL: Duration = Duration::from_secs(4);

#[test]
fn a_holder_that_is_cut_off_ends_its_command_before_its_lease() {
    if !network::alone("outages::a_holder_that_is_cut_off_ends_its_command_before_its_lease") {
        return;
    }
    let Some(site) = Site::with(Setup { members: 1, apart: true, ..Setup::default() }) else { return };
    let (here, there) = site.machines();
    let stubborn = "trap '' TERM; echo in; while :; do sleep 0.05; date +%s%N >> seen; done";
    let mut holder = here.guard(&["x", "--ttl", "4s", "--kill-after", "1s"], stubborn);
    holder.await_line("in");
    site.etcd.cut_off(0);
    let (begun, began) = (Instant::now(), SystemTime::now());
    let said = holder.output();
    assert!(begun.elapsed() < TTL + SOON, "{:?}", begun.elapsed());
    // Its lease can't have begun later than that.
    let last = site.file("seen").lines().last().and_then(|last| last.parse().ok());
    let last = UNIX_EPOCH + Duration::from_nanos(last.unwrap());
    let after = last.duration_since(began).unwrap();
    assert!(after < TTL, "{after:?}");
    assert_eq!(said.code, 5, "{said:?}");
    assert!(said.stderr.contains("could not be renewed"), "{said:?}");
    site.etcd.reconnect(0);
    let mut next = there.guard(&["x", "--wait"], "echo in");
    next.await_line("in");
}

#[test]
fn a_cluster_that_loses_its_leader_keeps_the_lock_for_its_holder() {
    let Some(mut site) = Site::new(3) else { return };
    let mut holder = site.machine(0).hold(&["x", "--ttl", "4s"]);
    for _ in 0..2 {
        let leader = site.etcd.leader();
        site.etcd.stop(leader);
        let begun = Instant::now();
        while begun.elapsed() < TTL {
            assert_eq!(site.machine(1).run(&["guard", "x", "--", "true"]).code, 2);
            assert!(holder.runs());
        }
        site.etcd.start(leader);
    }
    let said = holder.output();
    assert_eq!(said.code, 0, "{said:?}");
}

#[test]
fn a_leader_that_hangs_takes_the_lock_from_nobody() {
    let Some(mut site) = Site::new(3) else { return };
    let mut holder = site.machine(0).hold(&["x", "--ttl", "4s"]);
    let mut waiter = site.machine(1).queue(&["x", "--wait"]);
    let leader = site.etcd.leader();
    site.etcd.pause(leader);
    throughout(TTL + SOON, "both go on", || holder.runs() && waiter.runs());
    holder.let_go();
    waiter.await_line("in");
    site.etcd.resume(leader);
    assert_eq!(holder.output().code, 0);
    assert_eq!(waiter.output().code, 0);
}

#[test]
fn who_claims_a_lock_while_the_leader_is_lost_gets_it_once() {
    let Some(mut site) = Site::new(3) else { return };
    for round in 0..4 {
        let name = format!("x{round}");
        let leader = site.etcd.leader();
        if round % 2 == 0 {
            site.etcd.pause(leader)
        } else {
            site.etcd.stop(leader)
        }
        let script = "echo $LOKT_TOKEN";
        let mut command =
            site.machine(0).lokt(&["guard", &name, "--wait", "--timeout", "30s", "--", "sh", "-c"]);
        let said = output(command.arg(script));
        assert_eq!(said.code, 0, "{said:?}");
        assert_eq!(said.stdout.lines().count(), 1, "{said:?}");
        if round % 2 == 0 {
            site.etcd.resume(leader)
        } else {
            site.etcd.start(leader)
        }
        assert_eq!(site.machine(1).run(&["guard", &name, "--", "true"]).code, 0, "it was released");
    }
}

#[test]
fn a_waiter_outlasts_a_cluster_without_a_leader() {
    let Some(mut site) = Site::new(3) else { return };
    let mut holder = site.machine(0).hold(&["x", "--ttl", "60s"]);
    let mut waiter = site.machine(1).queue(&["x", "--wait"]);
    site.etcd.stop(0);
    site.etcd.stop(1);
    throughout(Duration::from_secs(5), "both go on", || holder.runs() && waiter.runs());
    site.etcd.start(0);
    holder.let_go();
    waiter.await_line("in");
    assert_eq!(holder.output().code, 0);
}

#[test]
fn whoever_had_only_so_much_time_has_timed_out_on_a_cluster_without_a_majority() {
    let Some(mut site) = Site::new(3) else { return };
    site.etcd.stop(0);
    site.etcd.stop(1);
    let waited = site.machine(0).run(&["guard", "x", "--wait", "--timeout", "300ms", "--", "true"]);
    assert_eq!(waited.code, 2, "{waited:?}");
    assert!(waited.stderr.starts_with("lokt: timed out on lock \"x\": "), "{waited:?}");
}

#[test]
fn whoever_can_not_look_is_told_nothing_of_changes() {
    let Some(mut site) = Site::new(1) else { return };
    // What says when the next sweep is due.
    let runtime = site.machine(0).runtime();
    let swept = || {
        let found = Command::new("find").arg(&runtime).args(["-name", "40"]).output();
        !found.unwrap().stdout.is_empty()
    };
    site.etcd.stop(0);
    let hint =
        "lokt: hint: see whether the cluster is well, and the address in LOKT_ROOT right: lokt doctor\n";
    let looked = site.machine(0).run(&["status"]);
    let tried = site.machine(0).run(&["lock", "x", "--wait", "--timeout", "300ms"]);
    assert_eq!((looked.code, tried.code), (1, 2));
    assert!(
        looked.stderr.starts_with("lokt: failed to look at the locks: etcd can't be reached: "),
        "{looked:?}"
    );
    assert!(looked.stderr.ends_with(hint) && looked.stderr.lines().count() == 2, "{looked:?}");
    assert!(tried.stderr.ends_with(hint) && tried.stderr.contains("nothing has changed"), "{tried:?}");
    assert!(!swept(), "a sweep would wait for the cluster once more");
    site.etcd.start(0);
    assert_eq!(site.machine(0).run(&["status"]).code, 0);
    assert!(swept(), "that is how it shows");
}

#[test]
fn a_guard_notices_at_once_that_the_cluster_has_lost_its_data() {
    let Some(mut site) = Site::new(1) else { return };
    let mut holder = site.machine(0).hold(&["x", "--ttl", "60s"]);
    site.etcd.stop(0);
    site.etcd.start_anew(0);
    let begun = Instant::now();
    assert_eq!(holder.await_end(), 5, "it is lost");
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

#[test]
fn a_waiter_outlasts_a_cluster_that_is_out_of_space() {
    let Some(site) = Site::new(1) else { return };
    let here = site.machine(0);
    let holder = here.hold(&["x", "--ttl", "60s"]);
    let mut waiter = here.queue(&["x", "--wait"]);
    alarm(&site, "ACTIVATE");
    holder.signal(Signal::KILL);
    let mut newcomer = here.guard(&["x", "--wait"], "echo in");
    newcomer.await_stderr("out of space");
    throughout(Duration::from_secs(2), "both go on", || waiter.runs() && newcomer.runs());
    let begun = Instant::now();
    let tried = site.machine(1).run(&["guard", "y", "--", "true"]);
    assert!(tried.code == 1 && tried.stderr.contains("out of space"), "{tried:?}");
    assert!(begun.elapsed() < SOON, "a plain try is told at once: {:?}", begun.elapsed());
    alarm(&site, "DEACTIVATE");
    waiter.await_line("in");
    waiter.let_go();
    newcomer.await_line("in");
}

/// Has the cluster take itself for full, or no more.
fn alarm(site: &Site, action: &str) {
    let body = format!(r#"{{"action":"{action}","memberID":"0","alarm":"NOSPACE"}}"#);
    let answer = site.etcd.post(0, "/v3/maintenance/alarm", &body).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
