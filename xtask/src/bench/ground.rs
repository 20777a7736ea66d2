//! What is measured: the programs, and the directories in which they work.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, ensure};
use tempfile::TempDir;
use xshell::Shell;

use crate::dist::build::Program;
use crate::stats::percentile;
use crate::{built, console, tools};

/// A file system in memory, on Linux.
const MEMORY: &str = "/dev/shm";

/// How many files are created to see how long that takes.
const CREATED: usize = 50;

/// A program that does a part of what lokt does, and the Debian package that has it.
pub struct Peer(pub &'static str, pub &'static str);

pub struct Ground {
    dir: TempDir,
    /// A place in memory, where there is one.
    memory: Option<TempDir>,
    /// The program of a release.
    pub lokt: PathBuf,
    /// What `cargo build --release` makes.
    pub plain: PathBuf,
    pub stamp: PathBuf,
    pub flock: PathBuf,
    pub nothing: PathBuf,
    pub quick: bool,
    /// How many rounds there are of what takes milliseconds.
    pub rounds: usize,
    crowded: RefCell<HashMap<usize, PathBuf>>,
}

impl Ground {
    /// Builds the programs, and finds what they are compared with.
    pub fn prepare(sh: &Shell, quick: bool, rounds: usize) -> anyhow::Result<Self> {
        console::note("bench: building the programs");
        let lokt = Program::build(sh)?;
        lokt.must_be_static()?;
        let (plain, stamp) = (built::lokt(sh)?, built::helper(sh, "stamp")?);
        let mut builder = tempfile::Builder::new();
        builder.prefix("lokt-bench-");
        let dir = builder.tempdir().context("no sandbox")?;
        let installed = |program: &Path, name: &str| install(program, &dir.path().join(name));
        let peer = |name| {
            let found = tools::find(name).with_context(|| format!("no {name}: all is compared with it"))?;
            installed(&found, name)
        };
        Ok(Self {
            memory: builder.tempdir_in(MEMORY).ok(),
            lokt: installed(&lokt.path, "lokt")?,
            plain: installed(&plain, "lokt-plain")?,
            stamp: installed(&stamp, "stamp")?,
            flock: peer("flock")?,
            nothing: peer("true")?,
            dir,
            quick,
            rounds,
            crowded: RefCell::default(),
        })
    }

    /// Where something of that name is, or is to be.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The same in memory, where no file system of a disk has a part in it.
    pub fn path_in_memory(&self, name: &str) -> Option<PathBuf> {
        self.memory.as_ref().map(|dir| dir.path().join(name))
    }

    /// How many microseconds it takes to create a file here. ext4 passes over the inodes of what was deleted in the last
    /// minutes, one by one: after many it takes ten times as long.
    pub fn creation(&self) -> anyhow::Result<f64> {
        let path = self.path("new");
        let create = || {
            let began = Instant::now();
            drop(File::create_new(&path).context("failed to create a file")?);
            let us = began.elapsed().as_secs_f64() * 1e6;
            fs::remove_file(&path)?;
            Ok(us)
        };
        let all: Vec<f64> = (0..CREATED).map(|_| create()).collect::<anyhow::Result<_>>()?;
        Ok(percentile(&all, 50).unwrap_or(f64::NAN))
    }

    /// A command in the environment of whoever measures, a locale included. What Cargo adds would slow down the search
    /// for libraries.
    pub fn command(&self, program: &Path) -> Command {
        let added = |name: &str| ["CARGO", "RUST", "LD_", "LOKT_"].iter().any(|of| name.starts_with(of));
        let own = std::env::vars_os().filter(|(name, _)| !added(&name.to_string_lossy()));
        let mut command = Command::new(program);
        command.env_clear().env("LANG", "C.UTF-8").envs(own);
        command
    }

    /// lokt, with a root.
    pub fn lokt(&self, root: &Path, arguments: &[&str]) -> Command {
        self.lokt_of(&self.lokt, root, arguments)
    }

    pub fn lokt_of(&self, program: &Path, root: &Path, arguments: &[&str]) -> Command {
        let mut command = self.command(program);
        command.env("LOKT_ROOT", root).args(arguments);
        command
    }

    /// `lokt guard x ... -- true`.
    pub fn guard(&self, program: &Path, root: &Path, options: &[&str]) -> Command {
        let mut command = self.lokt_of(program, root, &["guard", "x"]);
        command.args(options).arg("--").arg(&self.nothing);
        command
    }

    /// A command that ends at once, and well.
    pub fn run(&self, mut command: Command) -> anyhow::Result<String> {
        let ran = command.output().with_context(|| format!("failed to run {command:?}"))?;
        ensure!(ran.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ran.stderr).trim());
        Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
    }

    /// Where there are many files: in memory, if that can be, as ext4 is slow for minutes after so many were deleted.
    pub fn path_of_many(&self, name: &str) -> PathBuf {
        self.path_in_memory(name).unwrap_or_else(|| self.path(name))
    }

    /// A root in which so many locks are held, as manual ones are. Made once.
    pub fn root_with(&self, records: usize) -> anyhow::Result<PathBuf> {
        if let Some(root) = self.crowded.borrow().get(&records) {
            return Ok(root.clone());
        }
        let root = self.path_of_many(&format!("root-{records}"));
        self.run(self.lokt(&root, &["lock", "seed"]))?;
        let locks = root.join("locks");
        let seed = fs::read_to_string(locks.join("seed.json")).context("no record of the seed")?;
        for number in 1..records {
            let name = format!("other-{number:06}");
            let record = seed.replace("\"seed\"", &format!("\"{name}\""));
            fs::write(locks.join(format!("{name}.json")), record).context("failed to write a record")?;
        }
        self.crowded.borrow_mut().insert(records, root.clone());
        Ok(root)
    }
}

/// A copy of a program, as an installation is one. In the cache a file that was just linked lies in small pieces, and
/// starts up to a tenth more slowly.
fn install(program: &Path, copy: &Path) -> anyhow::Result<PathBuf> {
    fs::copy(program, copy).with_context(|| format!("failed to copy {}", program.display()))?;
    Ok(copy.to_owned())
}

/// Where a peer is; if it is not here, `missing` is told which package has it.
pub fn find(peer: &Peer, missing: &mut Vec<String>) -> Option<PathBuf> {
    let found = tools::find(peer.0);
    if found.is_none() {
        let Peer(name, package) = peer;
        missing
            .push(format!("{name} is not installed (Debian, Ubuntu: apt-get install {package}): left out"));
    }
    found
}
