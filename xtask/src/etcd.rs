//! An etcd of our own, of one member, for as long as a task runs.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use xshell::Shell;

use crate::packages;

/// How long it may take to begin.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long an answer may take.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// It is killed when it is dropped, and its data go with it.
pub struct Etcd {
    child: Child,
    port: u16,
    data: PathBuf,
}

impl Etcd {
    /// Starts one, whose log is in `dir`; it is found, or unpacked.
    pub fn start(sh: &Shell, dir: &Path) -> anyhow::Result<Self> {
        let path = packages::path_with_etcd(sh)?.context("a race on an etcd needs one")?;
        let data = data_dir();
        let [client, peer] = free_ports()?;
        let log = dir.join("etcd.log");
        let url = |port: u16| format!("http://{}:{port}", Ipv4Addr::LOCALHOST);
        let log_file = File::create(&log).with_context(|| format!("failed to write {}", log.display()))?;
        // However this process ends, it ends with it.
        let child = Command::new("setpriv")
            .env("PATH", path)
            .args(["--pdeathsig", "KILL", "--", "etcd", "--data-dir"])
            .arg(&data)
            .args(["--name", "one", "--initial-cluster", &format!("one={}", url(peer))])
            .args(["--listen-client-urls", &url(client), "--advertise-client-urls", &url(client)])
            .args(["--listen-peer-urls", &url(peer), "--initial-advertise-peer-urls", &url(peer)])
            .args(["--heartbeat-interval", "50", "--election-timeout", "500"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log_file)
            .spawn()
            .context("failed to start etcd")?;
        let mut etcd = Self { child, port: client, data };
        let begun = Instant::now();
        while !etcd.is_healthy() {
            if etcd.child.try_wait()?.is_some() || begun.elapsed() > PATIENCE {
                bail!("etcd does not start: see {}", log.display());
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Ok(etcd)
    }

    /// The address of a root in it.
    pub fn address(&self, prefix: &str) -> String {
        format!("etcd://{}:{}/{prefix}", Ipv4Addr::LOCALHOST, self.port)
    }

    fn is_healthy(&self) -> bool {
        self.get("/health").is_ok_and(|answer| answer.contains(r#""health":"true""#))
    }

    /// What it answers to a `GET`, head and all.
    pub fn get(&self, path: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(ANSWERS_WITHIN))?;
        let host = Ipv4Addr::LOCALHOST;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.data);
    }
}

/// In memory, where that is to be had: etcd waits for the disk at every write.
fn data_dir() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    parent.join(format!("lokt-xtask-etcd-{}", std::process::id()))
}

fn free_ports() -> anyhow::Result<[u16; 2]> {
    let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let (one, other) = (listen()?, listen()?);
    Ok([one.local_addr()?.port(), other.local_addr()?.port()])
}
