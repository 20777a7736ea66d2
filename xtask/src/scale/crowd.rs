//! Many guards at once, and what is to be seen of them.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;

/// The lease of every guard, in seconds; long enough that a machine with a thousand of them renews in time.
pub const TTL_S: u32 = 20;

/// Where the guards run.
pub struct Place {
    pub lokt: PathBuf,
    /// The address of the cluster.
    pub root: String,
    /// The directory of the sessions' files.
    pub runtime: PathBuf,
}

/// Guards that are killed when this is dropped.
pub struct Crowd(Vec<Child>);

impl Place {
    /// A guard of `name`, whose command lasts until its input ends. However long all the others take to begin, it waits.
    fn guard(&self, name: &str) -> anyhow::Result<Child> {
        let ttl = format!("{TTL_S}s");
        let mut command = self.command();
        command
            .args(["guard", name, "--ttl", &ttl, "--wait", "--", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.spawn().context("failed to start lokt")
    }

    /// A command of lokt on this cluster.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.lokt);
        command
            .env("LOKT_ROOT", &self.root)
            .env("XDG_RUNTIME_DIR", &self.runtime)
            .env("LOKT_NO_SWEEP", "1")
            .current_dir(Path::new("/"));
        command
    }

    /// So many guards, each of a name of its own.
    pub fn holders(&self, number: usize) -> anyhow::Result<Crowd> {
        let guards = (0..number).map(|one| self.guard(&format!("name-{one}")));
        guards.collect::<anyhow::Result<_>>().map(Crowd)
    }

    /// So many guards that wait for one name.
    pub fn line(&self, number: usize) -> anyhow::Result<Crowd> {
        let guards = (0..number).map(|_| self.guard("one"));
        guards.collect::<anyhow::Result<_>>().map(Crowd)
    }

    /// One guard of the name that the line is for.
    pub fn holder_of_line(&self) -> anyhow::Result<Crowd> {
        Ok(Crowd(vec![self.guard("one")?]))
    }
}

impl Crowd {
    /// Lets the commands of all end, and so the guards.
    pub fn let_go(&mut self) {
        self.0.iter_mut().for_each(|guard| drop(guard.stdin.take()));
    }

    /// How many have ended.
    pub fn ended(&mut self) -> usize {
        self.0.iter_mut().filter_map(|guard| guard.try_wait().ok().flatten()).count()
    }

    /// What they use of this machine, all together: their memory (proportional set size), in bytes, without their
    /// commands.
    pub fn memory(&self) -> u64 {
        let pss = |guard: &Child| {
            let text = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", guard.id())).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
            line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
        };
        self.0.iter().filter_map(pss).sum::<u64>() * 1024
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.let_go();
        let patience = std::time::Instant::now() + Duration::from_secs(30);
        while self.ended() < self.0.len() && std::time::Instant::now() < patience {
            std::thread::park_timeout(Duration::from_millis(20));
        }
        for guard in &mut self.0 {
            let _ = guard.kill();
            let _ = guard.wait();
        }
    }
}
