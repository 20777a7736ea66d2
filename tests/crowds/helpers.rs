//! What the crowds share.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use lokt_tests::sandbox::{Sandbox, eventually};

pub fn sandbox() -> Sandbox {
    Sandbox::new(env!("CARGO_BIN_EXE_lokt-under-test"))
}

/// A file in the working directory; empty if there is none.
pub fn work_file(sandbox: &Sandbox, file: &str) -> String {
    fs::read_to_string(sandbox.work().join(file)).unwrap_or_default()
}

/// How many lines of a file in the working directory contain `text`.
pub fn count(sandbox: &Sandbox, file: &str, text: &str) -> usize {
    work_file(sandbox, file).lines().filter(|line| line.contains(text)).count()
}

/// What is left in the root beyond what it always has: files, and directories of single names.
pub fn remains(sandbox: &Sandbox) -> Vec<String> {
    let dirs = |path: &Path| {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect::<Vec<_>>()
    };
    let below = dirs(&sandbox.root()).iter().flat_map(|dir| dirs(dir)).collect::<Vec<_>>();
    let mut found = sandbox.leftovers();
    found.extend(below.iter().map(|path| path.display().to_string()));
    found
}

/// One of a crowd: nobody has a pipe to it, as a thousand times two are more than a process may have open.
/// Killed when it is dropped.
pub struct Member(Child);

impl Member {
    /// Starts `command`, whose messages are appended to the file `err` in the working directory.
    pub fn start(sandbox: &Sandbox, command: &mut Command) -> Self {
        let err = File::options().create(true).append(true).open(sandbox.work().join("err")).unwrap();
        Self(command.stdout(Stdio::null()).stderr(err).spawn().expect("the program starts"))
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    pub fn kill(&mut self) {
        self.0.kill().unwrap();
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    /// Waits for its end and returns its exit code.
    pub fn end(&mut self) -> i32 {
        eventually("one of a crowd ends", || !self.runs());
        let status = self.0.wait().unwrap();
        status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
