//! What is told of locks on a cluster: the log, and what the doctor says.

use lokt_tests::sandbox::{eventually, output, start};
use serde_json::Value;

use super::site::Site;
use crate::schema::validate;

fn events(site: &Site, args: &[&str]) -> Vec<String> {
    let said = site.machine(1).run(&[&["audit"], args].concat());
    let event = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {said:?}"));
        format!(
            "{} {}",
            event["event"].as_str().unwrap_or_default(),
            event["name"].as_str().unwrap_or_default()
        )
    };
    said.stdout.lines().map(event).collect()
}

#[test]
fn the_log_tells_of_all_machines_in_order() {
    let Some(site) = Site::new(1) else { return };
    let (here, there) = site.machines();
    let mut holder = here.hold(&["x"]);
    assert_eq!(there.run(&["guard", "x", "--", "true"]).code, 2);
    let mut waiter = there.queue(&["x", "--wait"]);
    holder.let_go();
    waiter.await_line("in");
    assert_eq!(here.run(&["unlock", "x", "--force"]).code, 0);
    assert_eq!(waiter.await_end(), 5);
    assert_eq!(here.run(&["freeze", "y", "--ttl", "1h"]).code, 0);
    assert_eq!(there.run(&["unfreeze", "y"]).code, 0);
    let all = [
        "acquire x",
        "deny x",
        "wait x",
        "release x",
        "acquire x",
        "force-break x",
        "lost x",
        "freeze y",
        "unfreeze y",
    ];
    assert_eq!(events(&site, &[]), all);
    assert_eq!(events(&site, &["--limit", "3"]), all[6..]);
    assert_eq!(events(&site, &["--limit", "2", "--event", "acquire"]), ["acquire x", "acquire x"]);
    assert_eq!(events(&site, &["--since", "1h", "--name", "y"]), all[7..]);
    assert_eq!(events(&site, &["--limit", "0"]), [""; 0]);
}

#[test]
fn the_log_is_followed() {
    let Some(site) = Site::new(1) else { return };
    let (here, there) = site.machines();
    assert_eq!(here.run(&["guard", "x", "--", "true"]).code, 0);
    let mut tail = start(&mut there.lokt(&["audit", "--tail", "--limit", "1"]));
    tail.await_stdout("\"event\":\"release\",\"name\":\"x\"");
    assert_eq!(here.run(&["guard", "y", "--", "true"]).code, 0);
    tail.await_stdout("\"event\":\"acquire\",\"name\":\"y\"");
    tail.await_stdout("\"event\":\"release\",\"name\":\"y\"");
}

#[test]
fn a_renewal_by_the_heartbeat_writes_nothing() {
    let Some(site) = Site::new(1) else { return };
    let here = site.machine(0);
    let holder = here.guard(&["x", "--ttl", "1s"], "sleep 2.5; echo $LOKT_TOKEN");
    let said = holder.output();
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(events(&site, &["--name", "x"]), ["acquire x", "release x"]);
    let next = output(&mut here.lokt(&["guard", "x", "--", "sh", "-c", "echo $LOKT_TOKEN"]));
    let token = |text: &str| text.trim().parse::<u64>().unwrap();
    assert!(token(&next.stdout) - token(&said.stdout) <= 3, "so few revisions: {said:?} {next:?}");
}

#[test]
fn the_doctor_says_whether_a_cluster_is_well() {
    let Some(mut site) = Site::new(3) else { return };
    let checks = |site: &Site| {
        let report = validate("doctor", &site.machine(0).run(&["doctor", "--json"]).stdout);
        let checks: Vec<String> = report["checks"]
            .as_array()
            .unwrap()
            .iter()
            .map(|check| format!("{} {}", check["name"].as_str().unwrap(), check["status"].as_str().unwrap()))
            .collect();
        checks
    };
    assert_eq!(
        checks(&site),
        [
            "address ok",
            "endpoints ok",
            "leader ok",
            "members ok",
            "write ok",
            "lease ok",
            "clock ok",
            "local_directory ok"
        ]
    );
    site.etcd.stop(0);
    let now = checks(&site);
    assert!(now.contains(&"endpoints warn".to_owned()) && now.contains(&"members ok".to_owned()), "{now:?}");
    site.etcd.stop(1);
    let said = site.machine(0).run(&["doctor"]);
    assert_eq!(said.code, 1, "{said:?}");
}

#[test]
fn stale_records_are_swept() {
    let Some(site) = Site::new(1) else { return };
    let (here, there) = site.machines();
    assert_eq!(here.run(&["lock", "x", "--ttl", "1s"]).code, 0);
    assert_eq!(here.run(&["lock", "y"]).code, 0);
    eventually("it is swept", || there.run(&["doctor", "--fix"]).stdout.contains("\"x\""));
    let left = there.json(&["status", "--json"]);
    let names: Vec<&str> = left.as_array().unwrap().iter().filter_map(|lock| lock["name"].as_str()).collect();
    assert_eq!(names, ["y"]);
}
