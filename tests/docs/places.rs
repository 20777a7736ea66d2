//! Where the commands of the documentation run: a sandbox with the programs that they speak of.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use lokt_tests::sandbox::{Output, Running, Sandbox, eventually, output, start};

/// What the stubs of risky commands do: they say in `log` when they begin and end, and end when there is a file `gate`;
/// but at once, with 99, if they are not alone.
pub const STUB: &str = r#"#!/bin/sh
me=$(basename "$0") log=$PLACE/log
mkdir "$PLACE/at-work" || { echo "overlap $me" >>"$log"; exit 99; }
echo "begin $me${SHARD:+ $SHARD}" >>"$log"
while [ ! -e "$PLACE/gate" ]; do /bin/sleep 0.02; done
echo "end $me" >>"$log"
rmdir "$PLACE/at-work"
"#;

/// A sandbox in which `lokt` is the program under test.
pub struct Place {
    pub sandbox: Sandbox,
}

impl Place {
    pub fn new() -> Self {
        let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_lokt-under-test"));
        let bin = sandbox.path().join("bin");
        fs::create_dir(&bin).unwrap();
        symlink(env!("CARGO_BIN_EXE_lokt-under-test"), bin.join("lokt")).unwrap();
        Self { sandbox }
    }

    /// Adds a program to the search path.
    pub fn program(&self, name: &str, text: &str) {
        executable(&self.sandbox.path().join("bin").join(name), text);
    }

    /// Adds a program to the working directory.
    pub fn script(&self, name: &str, text: &str) {
        executable(&self.sandbox.work().join(name), text);
    }

    /// A program in this place, as `ada`.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = self.sandbox.command(program.as_ref());
        let bin = self.sandbox.path().join("bin");
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        command.env("PATH", path).env("PLACE", self.sandbox.path());
        command.env("LOKT_OWNER", "ada").env_remove("LOKT_AGENT_ID");
        // Whoever runs the tests may have settings of their own.
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "ada").env(format!("GIT_{who}_EMAIL"), "ada@example.org");
        }
        command
    }

    /// Runs a line of shell that must succeed.
    pub fn sh(&self, line: &str) -> String {
        let ran = output(self.command("sh").args(["-ec", line]));
        assert_eq!(ran.code, 0, "{line}: {ran:?}");
        ran.stdout
    }

    /// Starts a program of `docs/patterns`.
    pub fn start(&self, pattern: &str, args: &[&str]) -> Running {
        start(self.command(pattern_file(pattern)).args(args))
    }

    pub fn run(&self, pattern: &str, args: &[&str]) -> Output {
        self.start(pattern, args).output()
    }

    /// What the stubs have said.
    pub fn log(&self) -> Vec<String> {
        let text = fs::read_to_string(self.sandbox.path().join("log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    pub fn await_log(&self, line: &str) {
        eventually(&format!("{line:?} in the log"), || self.log().iter().any(|logged| logged == line));
    }

    /// Waits until so many stand in line for a lock.
    pub fn await_waiters(&self, name: &str, count: usize) {
        let line = self.root().join("lines").join(name);
        eventually(&format!("{count} wait for {name}"), || {
            fs::read_dir(&line).is_ok_and(|tickets| tickets.count() >= count)
        });
    }

    /// Lets the stubs come to their end.
    pub fn open_gate(&self) {
        fs::write(self.sandbox.path().join("gate"), "").unwrap();
    }

    pub fn root(&self) -> PathBuf {
        self.sandbox.root()
    }
}

pub fn pattern_file(name: &str) -> PathBuf {
    super::page::repository().join("docs/patterns").join(name)
}

fn executable(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}
