//! The place where a scene is played: directories, environment, and the timetable that everybody keeps to.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tempfile::TempDir;

use super::reel::{Frame, Pane, Reel};
use super::terminal::Terminal;

/// As wide as the longest line that the program says in the scene.
const COLUMNS: u16 = 92;

/// Between two keys.
const KEY: Duration = Duration::from_millis(36);

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// A pty hands on what was written to it a little later.
const QUIET: Duration = Duration::from_millis(60);

pub struct Stage {
    dir: TempDir,
    lokt: PathBuf,
    began: Instant,
    terminals: Vec<Terminal>,
    frames: Vec<Frame>,
    /// The time of what happens now, by the timetable.
    now: Duration,
}

impl Stage {
    /// A stage on which `lokt` is this program, and `./deploy.sh` this script.
    pub fn new(lokt: &Path, deploy: &str) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir().context("failed to make a directory")?;
        let script = dir.path().join("deploy.sh");
        fs::write(&script, deploy)?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        Ok(Self {
            dir,
            lokt: lokt.to_owned(),
            began: Instant::now(),
            terminals: Vec::new(),
            frames: Vec::new(),
            now: Duration::ZERO,
        })
    }

    /// Opens a terminal of `owner`, and returns its number.
    pub fn terminal(&mut self, owner: &str, rows: u16) -> anyhow::Result<usize> {
        let done = self.dir.path().join(format!("{owner}.done"));
        let made = Command::new("mkfifo").arg(&done).status()?;
        anyhow::ensure!(made.success(), "failed to make {}", done.display());
        self.terminals.push(Terminal::open(owner, rows, COLUMNS)?);
        self.began = Instant::now();
        Ok(self.terminals.len() - 1)
    }

    /// Types a line, from `at` on.
    pub fn types(&mut self, who: usize, at: u64, line: &str) {
        self.at(at);
        for (number, key) in line.chars().enumerate() {
            self.now = millis(at) + KEY * u32::try_from(number).unwrap_or(u32::MAX);
            self.terminals[who].types(key);
            self.shoot();
        }
    }

    /// Runs the line, as the process `pid`.
    pub fn enters(&mut self, who: usize, at: u64, pid: u32) -> anyhow::Result<()> {
        self.at(at);
        // The next process gets the next number.
        fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string())
            .context("failed to choose a process id")?;
        let terminal = &mut self.terminals[who];
        let mut command = Command::new("/bin/sh");
        let bin = self.lokt.parent().unwrap_or(Path::new("/"));
        command
            .args(["-c", &format!("exec {}", terminal.line)])
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
            .env("TERM", "xterm-256color")
            .env("LANG", "C.UTF-8")
            .env("HOME", self.dir.path())
            .env("LOKT_ROOT", self.dir.path().join("root"))
            .env("LOKT_OWNER", &terminal.owner)
            .current_dir(self.dir.path());
        terminal.runs(command)?;
        self.shoot();
        Ok(())
    }

    /// Waits until `text` is on a screen.
    pub fn sees(&mut self, who: usize, text: &str) -> anyhow::Result<()> {
        self.until(&format!("{text:?} is shown"), |stage| Ok(stage.terminals[who].shows(text)))
    }

    /// Waits until the prompt is back.
    pub fn is_back(&mut self, who: usize) -> anyhow::Result<()> {
        self.until("the command ends", |stage| stage.terminals[who].is_back())
    }

    /// Looks at the screens from time to time.
    pub fn watches(&mut self, from: u64, to: u64, every: u64) -> anyhow::Result<()> {
        for at in (from..=to).step_by(usize::try_from(every)?) {
            self.at(at);
            self.shoot();
        }
        Ok(())
    }

    /// Lets the command of `who` end.
    pub fn lets_go(&mut self, who: usize, at: u64) -> anyhow::Result<()> {
        self.at(at);
        let owner = &self.terminals[who].owner;
        Ok(fs::write(self.dir.path().join(format!("{owner}.done")), "\n")?)
    }

    /// The end. Where nothing can move, the moment `poster` is shown.
    pub fn ends(mut self, at: u64, poster: u64) -> anyhow::Result<Reel> {
        self.at(at);
        let pane = |terminal: &Terminal| Pane { title: terminal.owner.clone(), rows: terminal.rows };
        Ok(Reel {
            columns: COLUMNS,
            panes: self.terminals.iter().map(pane).collect(),
            frames: self.frames,
            length: millis(at),
            poster: millis(poster),
        })
    }

    /// Lets the time come, whatever is shown meanwhile.
    fn at(&mut self, at: u64) {
        self.now = millis(at);
        while let Some(left) = self.now.checked_sub(self.began.elapsed()).filter(|left| !left.is_zero()) {
            self.listen(left);
        }
    }

    /// Waits until it is so, and takes a picture. It counts as having happened at once.
    fn until(
        &mut self,
        what: &str,
        mut met: impl FnMut(&mut Self) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let began = Instant::now();
        while !met(self)? {
            if began.elapsed() > PATIENCE {
                bail!("it did not happen that {what}");
            }
            self.listen(Duration::from_millis(5));
        }
        self.listen(QUIET);
        self.shoot();
        Ok(())
    }

    fn listen(&mut self, time: Duration) {
        let share = time / u32::try_from(self.terminals.len()).unwrap_or(1).max(1);
        self.terminals.iter_mut().for_each(|terminal| terminal.listens(share));
    }

    fn shoot(&mut self) {
        let screens = self.terminals.iter().map(Terminal::screen).collect();
        self.frames.push(Frame { at: self.now, screens });
    }
}

fn millis(at: u64) -> Duration {
    Duration::from_millis(at)
}
