//! A network for one test alone, in which each member of a cluster has a host of its own that can be cut off.
//!
//! The test's program is started again in a network namespace; each member gets another, and a cable to a switch
//! between them. All of it is gone with the last process in it, and nothing of it can be seen from outside.

use std::net::Ipv4Addr;
use std::process::{Command, Output, Stdio};

use crate::skipped::{Lack, say, skipped};

/// Set for the program that runs in the namespace.
const ALONE: &str = "LOKT_TEST_ALONE";

const SWITCH: &str = "switch";

/// Whether this test is alone in a network, and so may go on. If not, the whole test has been made by now, by another
/// process that was; or is skipped where there can be no such network.
///
/// # Panics
///
/// The test failed there.
pub fn alone(test: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let user = if rustix::process::geteuid().is_root() { "-n" } else { "-Urn" };
    let script = format!(
        "ip link set lo up && ip link add {SWITCH} type bridge && ip addr add 198.18.0.254/24 \
                          dev {SWITCH} && ip link set {SWITCH} up"
    );
    let tried = Command::new("unshare").args([user, "sh", "-c", &script]).output();
    match tried {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr);
            // Where the container forbids it, or ip(8) is not there.
            skipped(Lack::behind("ip"), &format!("no network of its own: {}", why.trim()));
            return false;
        }
        Err(error) => {
            skipped(Lack::behind("unshare"), &format!("no network of its own: unshare: {error}"));
            return false;
        }
    }
    let program = std::env::current_exe().expect("this program");
    let status = Command::new("unshare")
        .args([user, "setpriv", "--pdeathsig", "KILL", "--", "sh", "-c"])
        .arg(format!("{script} && exec \"$@\""))
        .arg("sh")
        .arg(program)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(ALONE, "1")
        .stdin(Stdio::null())
        .output()
        .expect("unshare");
    let text =
        format!("{}{}", String::from_utf8_lossy(&status.stdout), String::from_utf8_lossy(&status.stderr));
    assert!(status.status.success(), "in a network of its own:\n{text}");
    assert!(text.contains("1 passed"), "there is no test {test}:\n{text}");
    for line in text.lines().filter(|line| line.contains("SKIPPED: ")) {
        say(line);
    }
    false
}

/// The address of a member's host.
pub fn address(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, 0, index as u8 + 1)
}

/// Gives a process, in a namespace of its own by now or soon, its cable.
pub fn join(index: usize, pid: u32) {
    let own = std::fs::read_link("/proc/self/ns/net").expect("our namespace");
    while std::fs::read_link(format!("/proc/{pid}/ns/net")).expect("its namespace") == own {
        std::thread::yield_now();
    }
    let (ours, theirs, ip) = (cable(index), format!("host{index}"), address(index));
    // A member that has ended a moment ago may still have its end of the old one.
    let _ = ip_tool(&["link", "del", &ours]);
    succeed(&["link", "add", &ours, "type", "veth", "peer", "name", &theirs, "netns", &pid.to_string()]);
    let script = format!("ip link set lo up && ip addr add {ip}/24 dev {theirs} && ip link set {theirs} up");
    let output = Command::new("nsenter")
        .args(["-t", &pid.to_string(), "-n", "sh", "-c", &script])
        .output()
        .expect("nsenter");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    reconnect(index);
}

/// Pulls a member's cable out of the switch.
pub fn cut_off(index: usize) {
    succeed(&["link", "set", &cable(index), "nomaster"]);
}

/// Puts it in again.
pub fn reconnect(index: usize) {
    succeed(&["link", "set", &cable(index), "master", SWITCH, "up"]);
}

fn cable(index: usize) -> String {
    format!("cable{index}")
}

fn ip_tool(args: &[&str]) -> Output {
    Command::new("ip").args(args).output().expect("ip, of iproute2")
}

fn succeed(args: &[&str]) {
    let output = ip_tool(args);
    assert!(output.status.success(), "ip {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}
