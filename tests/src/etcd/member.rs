//! One member of a cluster: its process, its ports, its log.

use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use lokt::store::etcd::Endpoint;
use rustix::process::{Pid, Signal, kill_process};

use super::{endpoint, network, request};

/// A member.
pub struct Member {
    name: String,
    index: usize,
    data: PathBuf,
    log: PathBuf,
    ip: Ipv4Addr,
    /// For clients; for clients without TLS, whatever the others speak; for members.
    ports: [u16; 3],
    process: Option<Child>,
    paused: bool,
}

impl Member {
    pub fn new(dir: &Path, index: usize, ip: Ipv4Addr, ports: [u16; 3]) -> Self {
        let name = format!("m{index}");
        let (data, log) = (dir.join(&name), dir.join(format!("{name}.log")));
        Self { name, index, data, log, ip, ports, process: None, paused: false }
    }

    fn url(&self, scheme: &str, port: usize) -> String {
        format!("{scheme}://{}:{}", self.ip, self.ports[port])
    }

    /// As it stands in the list of the cluster's members.
    pub fn in_cluster(&self) -> String {
        format!("{}={}", self.name, self.url("http", 2))
    }

    pub fn endpoint(&self, tls: bool) -> Endpoint {
        endpoint(self.ip, self.ports[usize::from(!tls)])
    }

    pub fn plain(&self) -> SocketAddr {
        (self.ip, self.ports[1]).into()
    }

    pub fn start(&mut self, flags: &[String], tls: bool, apart: bool) {
        let mut clients = self.url("http", 1);
        if tls {
            clients = format!("{},{clients}", self.url("https", 0));
        }
        let log = File::options().create(true).append(true).open(&self.log).expect("the member's log");
        // It waits for its network, and ends with the thread that started it.
        let script = "read -r _ && exec etcd \"$@\"";
        let mut command = Command::new(if apart { "unshare" } else { "setpriv" });
        if apart {
            command.args(["-n", "--", "setpriv"]);
        }
        command.args(["--pdeathsig", "KILL", "--", "sh", "-c", script, "etcd"]);
        command
            .args(["--name", &self.name, "--data-dir"])
            .arg(&self.data)
            .args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients])
            .args(["--listen-peer-urls", &self.url("http", 2)])
            .args(["--initial-advertise-peer-urls", &self.url("http", 2)])
            // Ten times as fast as it comes, with some room for a loaded machine.
            .args(["--heartbeat-interval", "50", "--election-timeout", "500"])
            .args(["--logger", "zap", "--log-level", "warn", "--log-outputs", "stderr"])
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("the member's log"))
            .stderr(log);
        let mut process = command.spawn().expect("setpriv and unshare, of util-linux");
        if apart {
            network::join(self.index, process.id());
        }
        let _ = process.stdin.take().expect("a pipe").write_all(b"go\n");
        self.process = Some(process);
    }

    pub fn has_ended(&mut self) -> bool {
        self.process.as_mut().is_none_or(|process| process.try_wait().is_ok_and(|status| status.is_some()))
    }

    /// Whether it serves clients, and knows a leader.
    pub fn is_healthy(&self) -> bool {
        request(self.plain(), "GET", "/health", "", "").is_ok_and(|answer| answer.contains("\"true\""))
    }

    /// Its id, the id of whom it takes for the leader, and since which term; unless it is paused or gone.
    pub fn view(&self) -> Option<(u64, u64, u64)> {
        if self.paused || self.process.is_none() {
            return None;
        }
        let answer = request(self.plain(), "POST", "/v3/maintenance/status", "", "{}").ok()?;
        let status: serde_json::Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1)?).ok()?;
        let number = |value: &serde_json::Value| value.as_str()?.parse().ok();
        let leader = number(&status["leader"]).unwrap_or(0);
        Some((number(&status["header"]["member_id"])?, leader, number(&status["raftTerm"])?))
    }

    pub fn log(&self) -> String {
        format!("{}: {}", self.name, fs::read_to_string(&self.log).unwrap_or_default())
    }

    /// Stops it, and waits until each of its threads stands still.
    pub fn pause(&mut self) {
        self.signal(Signal::STOP);
        self.paused = true;
        let tasks = format!("/proc/{}/task", self.process.as_ref().expect("a member that runs").id());
        let stands = |task: fs::DirEntry| {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
        };
        while !fs::read_dir(&tasks).expect("its threads").all(|task| task.is_ok_and(stands)) {
            thread::yield_now();
        }
    }

    pub fn resume(&mut self) {
        self.signal(Signal::CONT);
        self.paused = false;
    }

    fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().expect("a member that runs");
        kill_process(Pid::from_child(process), signal).expect("a member that runs");
    }

    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        self.paused = false;
    }

    /// Removes the data of one that was stopped.
    pub fn forget(&self) {
        fs::remove_dir_all(&self.data).expect("its data can be removed");
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.stop();
    }
}
