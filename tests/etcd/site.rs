//! Machines that share a cluster: each with a directory of its own for its sessions, so that none sees another's.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use lokt_tests::etcd::{Etcd, Setup};
use lokt_tests::sandbox::{Output, Running, Sandbox, output, start};
use serde_json::Value;

/// Within this a hand-over has happened that waits for no lease, on a loaded machine too.
pub const SOON: Duration = Duration::from_secs(2);

/// Holds the lock until its input ends.
pub const HOLD: &str = "echo in; read line; exit 0";

/// A cluster, and a place in which programs run that use it.
pub struct Site {
    pub etcd: Etcd,
    sandbox: Sandbox,
}

/// One machine of a site.
#[derive(Clone, Copy)]
pub struct Machine<'a> {
    site: &'a Site,
    number: usize,
}

impl Site {
    pub fn new(members: usize) -> Option<Self> {
        Self::with(Setup { members, ..Setup::default() })
    }

    pub fn with(setup: Setup) -> Option<Self> {
        let etcd = Etcd::with(setup)?;
        Some(Self { etcd, sandbox: Sandbox::new(env!("CARGO_BIN_EXE_lokt-under-test")) })
    }

    pub fn machine(&self, number: usize) -> Machine<'_> {
        Machine { site: self, number }
    }

    /// Two machines.
    pub fn machines(&self) -> (Machine<'_>, Machine<'_>) {
        (self.machine(0), self.machine(1))
    }

    /// A file that scripts write into their working directory; empty if there is none.
    pub fn file(&self, name: &str) -> String {
        fs::read_to_string(self.sandbox.work().join(name)).unwrap_or_default()
    }
}

impl Machine<'_> {
    pub fn lokt(&self, args: &[&str]) -> Command {
        self.on_it(self.site.sandbox.lokt(args))
    }

    /// Another program, which finds lokt as `$LOKT`.
    pub fn command(&self, program: &str) -> Command {
        self.on_it(self.site.sandbox.command(program))
    }

    fn on_it(&self, mut command: Command) -> Command {
        let runtime = self.runtime();
        if fs::create_dir(&runtime).is_ok() {
            fs::set_permissions(&runtime, fs::Permissions::from_mode(0o700)).unwrap();
        }
        command.env("LOKT_ROOT", self.site.etcd.address().to_string()).env("XDG_RUNTIME_DIR", runtime);
        command
    }

    /// Where it has what is of this machine.
    pub fn runtime(&self) -> PathBuf {
        self.site.sandbox.path().join(format!("run{}", self.number))
    }

    pub fn run(&self, args: &[&str]) -> Output {
        output(&mut self.lokt(args))
    }

    /// Starts `guard ARGS -- sh -c SCRIPT`, with an input that ends when the test says so.
    pub fn guard(&self, args: &[&str], script: &str) -> Running {
        let mut command = self.lokt(&["guard"]);
        command.args(args).args(["--", "sh", "-c", script]).stdin(Stdio::piped());
        start(&mut command)
    }

    /// Starts a guard whose command holds the lock until it is let go.
    pub fn hold(&self, args: &[&str]) -> Running {
        let mut guard = self.guard(args, HOLD);
        guard.await_line("in");
        guard
    }

    /// Starts a guard that waits, and returns once it stands in line.
    pub fn queue(&self, args: &[&str]) -> Running {
        let mut guard = self.guard(args, HOLD);
        guard.await_stderr("lokt: waiting");
        guard
    }

    pub fn json(&self, args: &[&str]) -> Value {
        let said = self.run(args);
        serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"))
    }
}

/// Guards of `x` that stand in line one after the other, each on its machine; each notes its number in the file `order`.
pub fn in_line(machines: &[Machine<'_>]) -> Vec<Running> {
    let wait = |(number, machine): (usize, &Machine<'_>)| {
        let mut guard = machine.guard(&["x", "--wait"], &format!("echo {number} >> order"));
        guard.await_stderr("lokt: waiting");
        guard
    };
    machines.iter().enumerate().map(wait).collect()
}
