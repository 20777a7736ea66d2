//! A sandbox for the real program: a root, a working directory and a home of its own, and a clean environment.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub use crate::skipped::{Lack, available, skipped, strace_available};

/// How long any program of a test may take: long enough for a loaded machine, and a hang is still a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// A place of its own for the programs of one test; gone when it is dropped.
pub struct Sandbox {
    dir: TempDir,
    program: PathBuf,
}

/// What a program said, and how it ended.
#[must_use = "look at the exit code"]
#[derive(Clone, PartialEq, Eq)]
pub struct Output {
    /// Its exit code; 128 and the signal's number if a signal ended it.
    pub code: i32,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

/// A program that runs; killed when it is dropped.
pub struct Running {
    child: Child,
}

impl Sandbox {
    /// A new sandbox; `program` is `env!("CARGO_BIN_EXE_lokt-under-test")`.
    pub fn new(program: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("lokt-").tempdir().expect("a temporary directory");
        for sub in ["work", "home"] {
            fs::create_dir(dir.path().join(sub)).expect("a directory in the sandbox");
        }
        Self { dir, program: program.into() }
    }

    /// The sandbox's directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The lock directory; nothing creates it but the program.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// The working directory of the programs.
    pub fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    /// The record of a lock.
    pub fn record(&self, name: &str) -> PathBuf {
        self.root().join("locks").join(format!("{name}.json"))
    }

    /// Every file below the root, sorted, without the fixed number of mutexes and the log.
    pub fn leftovers(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut dirs = vec![self.root()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    dirs.push(path);
                } else {
                    found.push(path.strip_prefix(self.root()).unwrap().display().to_string());
                }
            }
        }
        found.retain(|file| !file.starts_with("stripes/") && file != "audit.log");
        found.sort();
        found
    }

    /// Puts a record (or anything else) in a lock's place.
    pub fn plant(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::create_dir_all(self.root().join("locks")).expect("the records' directory");
        fs::write(self.record(name), content).expect("a planted record");
    }

    /// The program with these arguments, as the owner `tester`.
    pub fn lokt<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.command(&self.program);
        command.args(args);
        command
    }

    /// Another program, in this sandbox, which finds the program under test as `$LOKT`.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.dir.path().join("home"))
            .env("LOKT", &self.program)
            .env("LOKT_ROOT", self.root())
            .env("LOKT_OWNER", "tester")
            .env("LOKT_AGENT_ID", "agent-test")
            .current_dir(self.work())
            .stdin(Stdio::null());
        command
    }

    /// The search path of somebody who has installed the program: it is there as `lokt`, and so are these stubs, which
    /// do nothing.
    pub fn path_with_lokt(&self, stubs: &[&str]) -> OsString {
        let bin = self.dir.path().join("bin");
        fs::create_dir_all(&bin).expect("a directory in the sandbox");
        symlink(&self.program, bin.join("lokt")).expect("a link to the program");
        for stub in stubs {
            self.stub(&bin.join(stub));
        }
        let mut path = bin.into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        path
    }

    /// A program that does nothing.
    pub fn stub(&self, program: &Path) {
        fs::write(program, "#!/bin/sh\nexit 0\n").expect("a stub");
        fs::set_permissions(program, fs::Permissions::from_mode(0o755)).expect("a stub that can be run");
    }

    /// Runs the program to its end.
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Output {
        output(&mut self.lokt(args))
    }

    /// Runs a shell script in which `$LOKT` is the program.
    pub fn sh(&self, script: &str) -> Output {
        output(self.command("sh").args(["-c", script]))
    }

    /// Starts the program.
    pub fn start<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Running {
        start(&mut self.lokt(args))
    }

    /// Starts a guard whose command holds the lock until it is told to go ([`Running::let_go`]), and returns once
    /// the command runs.
    pub fn hold<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Running {
        let mut command = self.lokt(args);
        command.args(["--", "sh", "-c", "echo in; read line; exit 0"]).stdin(Stdio::piped());
        let mut running = start(&mut command);
        running.await_line("in");
        running
    }
}

/// Runs a command to its end.
pub fn output(command: &mut Command) -> Output {
    start(command).output()
}

/// Starts a command with its stdout and stderr captured.
pub fn start(command: &mut Command) -> Running {
    Running::of(command.stdout(Stdio::piped()).stderr(Stdio::piped()))
}

/// A process to tie a lock to.
pub fn some_process() -> Child {
    Command::new("sleep").arg("1000").spawn().expect("sleep(1) can be started")
}

/// Ends such a process.
pub fn end(mut process: Child) {
    process.kill().expect("a child can be killed");
    process.wait().expect("a child can be waited for");
}

/// Waits until `met`, looking often; fails with `what` if it takes too long.
///
/// For what only another process can bring about and no channel tells of. Never a way to order events.
pub fn eventually(what: &str, mut met: impl FnMut() -> bool) {
    let began = Instant::now();
    while !met() {
        assert!(began.elapsed() < PATIENCE, "did not happen: {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// Sees that it `holds` for so long, looking often; fails with `what` as soon as it does not.
///
/// For what takes its time in a program of others, whose clock can't be moved.
pub fn throughout(time: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while began.elapsed() < time {
        assert!(holds(), "no more after {:?}: {what}", began.elapsed());
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

impl Running {
    /// Starts a command, whose streams are where it has them.
    pub fn of(command: &mut Command) -> Self {
        Self { child: command.spawn().expect("the program starts") }
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("the process takes a signal");
    }

    /// Reads its stdout up to and including a line that is `line`.
    pub fn await_line(&mut self, line: &str) {
        let out = self.child.stdout.as_mut().expect("stdout is captured");
        let mut read = Vec::new();
        let mut byte = [0];
        while !read.ends_with(format!("{line}\n").as_bytes()) {
            if out.read(&mut byte).expect("stdout can be read") == 0 {
                let said = String::from_utf8_lossy(&read).into_owned();
                let mut stderr = String::new();
                let _ = self.child.stderr.as_mut().map(|err| err.read_to_string(&mut stderr));
                panic!("it ended without the line {line:?}: {said:?} {stderr:?}");
            }
            read.push(byte[0]);
        }
    }

    /// Reads its stdout up to and including a line that contains `text`, and returns that line.
    pub fn await_stdout(&mut self, text: &str) -> String {
        let out = self.child.stdout.as_mut().expect("stdout is captured");
        let mut line = Vec::new();
        let mut byte = [0];
        loop {
            if out.read(&mut byte).expect("stdout can be read") == 0 {
                panic!("it ended without {text:?} on stdout: {:?}", String::from_utf8_lossy(&line));
            }
            line.push(byte[0]);
            if byte == *b"\n" {
                let said = String::from_utf8_lossy(&line).trim_end().to_owned();
                if said.contains(text) {
                    return said;
                }
                line.clear();
            }
        }
    }

    /// Reads its stderr up to and including a line that contains `text`, and returns that line.
    pub fn await_stderr(&mut self, text: &str) -> String {
        let err = self.child.stderr.as_mut().expect("stderr is captured");
        let mut read = Vec::new();
        let mut byte = [0];
        loop {
            if err.read(&mut byte).expect("stderr can be read") == 0 {
                panic!("it ended without {text:?} on stderr: {:?}", String::from_utf8_lossy(&read));
            }
            read.push(byte[0]);
            let said = String::from_utf8_lossy(&read).into_owned();
            if said.ends_with('\n') && said.lines().last().is_some_and(|line| line.contains(text)) {
                return said.lines().last().unwrap_or_default().to_owned();
            }
        }
    }

    /// Lets the command of [`Sandbox::hold`] go on to its end.
    pub fn let_go(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("a child can be asked").is_none()
    }

    /// Waits for its end.
    pub fn output(mut self) -> Output {
        drop(self.child.stdin.take());
        // Both streams are read at once: a program that fills one must not wait for the other.
        let mut err = self.child.stderr.take().expect("stderr is captured");
        let stderr = std::thread::spawn(move || {
            let mut text = Vec::new();
            err.read_to_end(&mut text).map(|_| text)
        });
        let mut stdout = Vec::new();
        let mut out = self.child.stdout.take().expect("stdout is captured");
        out.read_to_end(&mut stdout).expect("stdout can be read");
        let stderr = stderr.join().unwrap().expect("stderr can be read");
        Output {
            code: self.await_end(),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        }
    }

    /// Waits for its end and returns its exit code, whoever still has its output open.
    pub fn await_end(&mut self) -> i32 {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be asked") {
                return status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
            }
            assert!(began.elapsed() < PATIENCE, "the program hangs");
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit {}\n--- stdout\n{}\n--- stderr\n{}", self.code, self.stdout, self.stderr)
    }
}
