//! A root with something hostile in it, and the program that must not fall for it.

use lokt_tests::sandbox::{Lack, Output, Sandbox, output, skipped};
use std::fs;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

/// Every command, for the name `x`: those that only look first, those that take or remove it last.
pub const COMMANDS: [&str; 19] = [
    "doctor",
    "doctor --json",
    "status",
    "status --json",
    "status x",
    "status x --json",
    "why x",
    "why x --json",
    "exists x",
    "renew x --ttl 5m",
    "unlock x --lock-id 00000000000000000000000000000000",
    "unlock --all --json",
    "unlock x --break-stale --json",
    "lock x --wait --timeout 30ms --json",
    "guard x -- true",
    "lock x --json",
    "unlock x",
    "status --prune-expired --json",
    "unlock x --force",
];

/// A sandbox with a canary beside the root: a directory that nobody has any business in.
pub struct Attack {
    pub sandbox: Sandbox,
    before: Vec<(PathBuf, String)>,
}

impl Attack {
    pub fn new() -> Self {
        let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_lokt-under-test"));
        fs::create_dir_all(sandbox.path().join("canary/dir")).unwrap();
        fs::write(sandbox.path().join("canary/file"), "untouched").unwrap();
        fs::write(sandbox.path().join("x"), "untouched").unwrap();
        assert!(made("mkfifo", &[sandbox.path().join("canary/fifo").to_str().unwrap()]));
        let mut attack = Self { sandbox, before: Vec::new() };
        attack.before = attack.outside();
        attack
    }

    /// Something outside of the root.
    pub fn canary(&self, name: &str) -> PathBuf {
        self.sandbox.path().join("canary").join(name)
    }

    /// Runs a command, which must end in time, without a panic, and with nothing on the terminal that it would obey.
    #[track_caller]
    pub fn run(&self, command: &str) -> Output {
        let mut timed = self.sandbox.command("sh");
        timed.args(["-c", "exec timeout -s KILL 20 \"$LOKT\" \"$@\"", "sh"]);
        let output = output(timed.args(command.split(' ')));
        assert!(output.code < 100, "{command}: hangs or panics: {output:?}");
        assert!(!output.stderr.contains("panicked"), "{command}: {output:?}");
        let text = format!("{}{}", output.stdout, output.stderr);
        let obeyed =
            text.chars().find(|c| (c.is_control() && *c != '\n') || ('\u{202a}'..='\u{202e}').contains(c));
        assert_eq!(obeyed, None, "{command}: {output:?}");
        if command.contains("--json") && !output.stdout.is_empty() {
            let parsed = serde_json::from_str::<serde_json::Value>(&output.stdout);
            assert!(parsed.is_ok(), "{command}: {output:?}");
        }
        output
    }

    /// Runs a command for its exit code.
    #[track_caller]
    pub fn code(&self, command: &str) -> i32 {
        self.run(command).code
    }

    /// Runs every command, and looks at the canary.
    #[track_caller]
    pub fn run_all(&self) {
        for command in COMMANDS {
            let _ = self.run(command);
        }
        self.expect_untouched();
    }

    /// Nothing outside of the root has changed.
    #[track_caller]
    pub fn expect_untouched(&self) {
        assert_eq!(self.outside(), self.before, "outside of the root something has changed");
    }

    /// Nothing has changed outside of the root and of `dir`, where another root may be.
    #[track_caller]
    pub fn expect_untouched_beside(&self, dir: &Path) {
        let beside = |found: Vec<(PathBuf, String)>| -> Vec<(PathBuf, String)> {
            found.into_iter().filter(|(path, _)| !path.starts_with(dir)).collect()
        };
        let (now, before) = (beside(self.outside()), beside(self.before.clone()));
        assert_eq!(now, before, "outside of the root something has changed");
    }

    /// Everything in the sandbox that is outside of the root.
    fn outside(&self) -> Vec<(PathBuf, String)> {
        let mut found = Vec::new();
        let mut dirs = vec![self.sandbox.path().to_owned()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).unwrap().flatten() {
                let (path, kind) = (entry.path(), entry.file_type().unwrap());
                if kind.is_dir() && path != self.sandbox.root() {
                    dirs.push(path.clone());
                }
                let content = if kind.is_file() { fs::read_to_string(&path).unwrap() } else { String::new() };
                found.push((path, content));
            }
        }
        found.retain(|(path, _)| *path != self.sandbox.root());
        found.sort();
        found
    }

    /// Plants a record that was last written an hour ago.
    pub fn plant_old(&self, name: &str, content: impl AsRef<[u8]>) {
        self.sandbox.plant(name, content);
        self.make_old(name);
    }

    /// Makes a record look as if it was last written an hour ago.
    pub fn make_old(&self, name: &str) {
        let record = fs::File::options().write(true).open(self.sandbox.record(name)).unwrap();
        record.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
    }

    /// Makes the root's directories, and clears everything else in it away.
    pub fn fresh_root(&self) {
        let _ = fs::remove_dir_all(self.sandbox.root());
        assert_eq!(self.code("lock other"), 0);
        assert_eq!(self.code("unlock other"), 0);
    }
}

/// What may stand where a file of lokt's belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thing {
    Symlink,
    Dangling,
    LinkToDir,
    Fifo,
    Directory,
    Socket,
    Device,
}

pub const THINGS: [Thing; 7] = [
    Thing::Symlink,
    Thing::Dangling,
    Thing::LinkToDir,
    Thing::Fifo,
    Thing::Directory,
    Thing::Socket,
    Thing::Device,
];

impl Thing {
    /// Puts it at `path`; `false` if this user may not make such a thing.
    pub fn put(self, attack: &Attack, path: &Path) -> bool {
        match self {
            Self::Symlink => symlink(attack.canary("file"), path).unwrap(),
            Self::Dangling => symlink(attack.canary("nothing"), path).unwrap(),
            Self::LinkToDir => symlink(attack.canary("dir"), path).unwrap(),
            Self::Fifo => assert!(made("mkfifo", &[path.to_str().unwrap()])),
            Self::Directory => fs::create_dir(path).unwrap(),
            Self::Socket => drop(UnixListener::bind(path).unwrap()),
            Self::Device => {
                if !made("mknod", &[path.to_str().unwrap(), "c", "1", "5"]) {
                    skipped(Lack::Machine, "only root may make a device");
                    return false;
                }
            }
        }
        true
    }

    /// What it is called where a directory belongs.
    pub fn as_no_directory(self) -> &'static str {
        match self {
            Self::Symlink | Self::Dangling | Self::LinkToDir => "a symbolic link",
            _ => "not a directory",
        }
    }

    /// Whether it still stands at `path`.
    pub fn is_at(self, path: &Path) -> bool {
        let Ok(meta) = fs::symlink_metadata(path) else {
            return false;
        };
        let kind = meta.file_type();
        match self {
            Self::Symlink | Self::Dangling | Self::LinkToDir => kind.is_symlink(),
            Self::Fifo => kind.is_fifo(),
            Self::Directory => kind.is_dir(),
            Self::Socket => kind.is_socket(),
            Self::Device => kind.is_char_device(),
        }
    }
}

fn made(program: &str, arguments: &[&str]) -> bool {
    let output = Command::new(program).args(arguments).output();
    output.is_ok_and(|output| output.status.success())
}
