//! A real etcd for tests: one member or several on this machine, which can be stopped, paused and cut off.
//!
//! The program is Debian's `etcd-server`, found on the search path; a test that finds none says that it is skipped. Its
//! members are on ports of the loopback interface, or, for a test that is [`alone`](network::alone), each in a network
//! namespace of its own. They end with the test, however that ends.

mod member;
pub mod network;
mod secrets;

use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use lokt::store::etcd::{Access, Address, Endpoint, User};
use tempfile::TempDir;

use self::member::Member;
use self::secrets::Secrets;
use crate::sandbox::{Lack, eventually, skipped};

/// How long anything about a cluster may take: long enough for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The user that a cluster with users lets in below `/lokt`, and the password.
pub const USER: (&str, &str) = ("ada", "open:sesame");

/// What a cluster is to be like.
#[derive(Clone, Copy, Default)]
pub struct Setup {
    /// How many members.
    pub members: usize,
    /// Whether clients speak TLS to it.
    pub tls: bool,
    /// Whether they have to show a certificate of their own.
    pub client_certificates: bool,
    /// Whether they have to name a user.
    pub users: bool,
    /// Whether each member is in a network namespace of its own; only for a test that is alone.
    pub apart: bool,
}

/// A cluster; it ends when it is dropped.
pub struct Etcd {
    setup: Setup,
    secrets: Option<Secrets>,
    members: Vec<Member>,
    /// Last: the members are ended before their directory goes.
    dir: TempDir,
}

impl Etcd {
    /// One member; `None`, said loudly, where there is no etcd.
    pub fn single() -> Option<Self> {
        Self::with(Setup { members: 1, ..Setup::default() })
    }

    /// So many members.
    pub fn cluster(members: usize) -> Option<Self> {
        Self::with(Setup { members, ..Setup::default() })
    }

    /// A cluster like that, which has a leader and answers.
    pub fn with(setup: Setup) -> Option<Self> {
        if let Err(error) = Command::new("etcd").arg("--version").output() {
            skipped(
                Lack::behind("etcd"),
                &format!("etcd can't be run ({error}): apt-get install etcd-server"),
            );
            return None;
        }
        // Another program may take a port between our choice and etcd's start.
        for _ in 0..5 {
            let mut etcd = Self::prepare(setup);
            match etcd.start_all() {
                Ok(()) => return Some(etcd),
                Err(log) if log.contains("address already in use") => {}
                Err(log) => panic!("etcd does not start:\n{log}"),
            }
        }
        panic!("etcd finds its ports taken, again and again");
    }

    fn prepare(setup: Setup) -> Self {
        let dir = memory_dir();
        let secrets = setup.tls.then(|| Secrets::make(dir.path()));
        let mut ports = free_ports(3 * setup.members).into_iter();
        let mut port = || ports.next().expect("as many ports as were asked for");
        let members: Vec<Member> = (0..setup.members)
            .map(|index| {
                let ip = if setup.apart { network::address(index) } else { Ipv4Addr::LOCALHOST };
                Member::new(dir.path(), index, ip, [port(), port(), port()])
            })
            .collect();
        Self { setup, secrets, members, dir }
    }

    /// What it writes to its log if it can't.
    fn start_all(&mut self) -> Result<(), String> {
        for index in 0..self.members.len() {
            self.spawn(index);
        }
        let begun = Instant::now();
        while !self.members.iter().all(Member::is_healthy) {
            let ended = self.members.iter_mut().any(Member::has_ended);
            if ended || begun.elapsed() > PATIENCE {
                return Err(self.members.iter().map(Member::log).collect());
            }
            thread::park_timeout(Duration::from_millis(10));
        }
        if self.setup.users {
            self.add_users();
        }
        Ok(())
    }

    fn spawn(&mut self, index: usize) {
        let cluster: Vec<String> = self.members.iter().map(Member::in_cluster).collect();
        let mut flags = vec!["--initial-cluster".to_owned(), cluster.join(",")];
        if let Some(secrets) = &self.secrets {
            flags.extend(secrets.flags(self.setup.client_certificates));
        }
        self.members[index].start(&flags, self.setup.tls, self.setup.apart);
    }

    fn add_users(&self) {
        let (name, password) = USER;
        for (path, body) in [
            ("/v3/auth/user/add", r#"{"name":"root","password":"root"}"#.to_owned()),
            ("/v3/auth/role/add", r#"{"name":"root"}"#.to_owned()),
            ("/v3/auth/user/grant", r#"{"user":"root","role":"root"}"#.to_owned()),
            ("/v3/auth/user/add", format!(r#"{{"name":"{name}","password":"{password}"}}"#)),
            ("/v3/auth/role/add", r#"{"name":"lokt"}"#.to_owned()),
            // From /lokt/ up to /lokt0, in base64.
            (
                "/v3/auth/role/grant",
                r#"{"name":"lokt","perm":{"permType":"READWRITE","key":"L2xva3Qv","range_end":"L2xva3Qw"}}"#
                    .to_owned(),
            ),
            ("/v3/auth/user/grant", format!(r#"{{"user":"{name}","role":"lokt"}}"#)),
            ("/v3/auth/enable", "{}".to_owned()),
        ] {
            let answer = self.post(0, path, &body).expect("etcd's answer");
            assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        }
    }

    /// Sends a member a request without TLS, as an administrator would; its whole answer.
    pub fn post(&self, index: usize, path: &str, body: &str) -> io::Result<String> {
        request(self.members[index].plain(), "POST", path, "", body)
    }

    /// Has all tokens of the user forgotten, by setting the password anew.
    pub fn forget_tokens(&self) {
        let root = self.post(0, "/v3/auth/authenticate", r#"{"name":"root","password":"root"}"#);
        let root = root.expect("etcd's answer");
        let token =
            root.split("\"token\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a token");
        let (name, password) = USER;
        let body = format!(r#"{{"name":"{name}","password":"{password}"}}"#);
        let header = format!("Authorization: {token}\r\n");
        let answer = request(self.members[0].plain(), "POST", "/v3/auth/user/changepw", &header, &body);
        let answer = answer.expect("etcd's answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// The address of a root in it.
    pub fn address(&self) -> Address {
        Address { endpoints: self.endpoints(), prefix: "/lokt".to_owned(), tls: self.setup.tls }
    }

    /// Where the members serve clients, in their order.
    pub fn endpoints(&self) -> Vec<Endpoint> {
        self.members.iter().map(|member| member.endpoint(self.setup.tls)).collect()
    }

    /// What lets one in.
    pub fn access(&self) -> Access {
        let mut access = self.secrets.as_ref().map_or_else(Access::default, Secrets::access);
        if !self.setup.client_certificates {
            access = Access { cert: None, key: None, ..access };
        }
        let (name, password) = USER;
        access.user = self.setup.users.then(|| User { name: name.into(), password: password.into() });
        access
    }

    /// The file of a CA that has nothing to do with it.
    pub fn strange_ca(&self) -> PathBuf {
        Secrets::make(&self.dir.path().join("strange")).access().ca.expect("a CA")
    }

    /// The member that leads, once all that run agree on it.
    pub fn leader(&self) -> usize {
        let mut found = None;
        eventually("the members agree on a leader", || {
            let views: Vec<_> = self.members.iter().filter_map(Member::view).collect();
            found = views.first().and_then(|(_, leader, term)| {
                let agreed = views.iter().all(|(_, of, in_term)| (of, in_term) == (leader, term));
                let is_it = |member: &Member| member.view().is_some_and(|view| view.0 == *leader);
                self.members.iter().position(is_it).filter(|_| agreed)
            });
            found.is_some()
        });
        found.unwrap_or_default()
    }

    /// Stops a member's process where it stands; its connections stay open.
    pub fn pause(&mut self, index: usize) {
        self.members[index].pause();
    }

    /// Lets a paused one go on.
    pub fn resume(&mut self, index: usize) {
        self.members[index].resume();
    }

    /// Kills a member.
    pub fn stop(&mut self, index: usize) {
        self.members[index].stop();
    }

    /// Starts it again, with the data that it had, and waits until it is of use.
    pub fn start(&mut self, index: usize) {
        self.spawn(index);
        self.await_health(index);
    }

    /// Starts one that was stopped without the data that it had, and waits until it is of use.
    pub fn start_anew(&mut self, index: usize) {
        self.members[index].forget();
        self.start(index);
    }

    /// Lets no packet through from or to a member, and tells nobody.
    pub fn cut_off(&self, index: usize) {
        assert!(self.setup.apart, "only members in networks of their own can be cut off");
        network::cut_off(index);
    }

    /// Lets its packets through again, and waits until it is of use.
    pub fn reconnect(&self, index: usize) {
        network::reconnect(index);
        self.await_health(index);
    }

    fn await_health(&self, index: usize) {
        let begun = Instant::now();
        let member = &self.members[index];
        while !member.is_healthy() {
            assert!(begun.elapsed() < PATIENCE, "it does not come back:\n{}", member.log());
            thread::park_timeout(Duration::from_millis(10));
        }
    }
}

/// Without an option to spare it, etcd waits for the disk at every write: there is none below memory.
fn memory_dir() -> TempDir {
    let memory = Path::new("/dev/shm");
    let mut builder = tempfile::Builder::new();
    let prefix = format!("lokt-etcd-{}-", std::process::id());
    builder.prefix(&prefix);
    // A member takes 64 MiB of it at once.
    let has_room =
        rustix::fs::statvfs(memory).is_ok_and(|room| room.f_bavail.saturating_mul(room.f_frsize) > 1 << 30);
    let made = if has_room {
        sweep(memory);
        builder.tempdir_in(memory)
    } else {
        builder.tempdir()
    };
    made.expect("a temporary directory")
}

/// Removes what tests have left there that were killed.
fn sweep(memory: &Path) {
    for entry in fs::read_dir(memory).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix("lokt-etcd-").and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<_> =
        (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port")).collect();
    listeners.iter().map(|listener| listener.local_addr().expect("its port").port()).collect()
}

/// A port on which nobody listens.
pub fn closed_port() -> u16 {
    free_ports(1)[0]
}

/// An endpoint for clients.
pub fn endpoint(ip: impl Into<IpAddr>, port: u16) -> Endpoint {
    Endpoint { host: ip.into().to_string(), port }
}

/// Sends a request with these headers more, each with its line's end; all that comes back.
fn request(to: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_millis(500))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {to}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
