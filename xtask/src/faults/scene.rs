//! The place of one case: a directory with a root, the log of the sections, and the programs that run there.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::sections;
use super::trace::{Injection, Point};

/// The lock that all is about.
pub const NAME: &str = "x";

/// A lock of somebody else in the same root, which nothing that is done to [`NAME`] may touch.
pub const BYSTANDER: &str = "bystander";

/// How long any program may take to end by itself; longer is a hang. lokt waits 10 s for a mutex.
pub const LIMIT: Duration = Duration::from_secs(25);

/// How often to look for what no channel tells of.
const LOOK: Duration = Duration::from_millis(1);

/// The programs that a scene is played with.
pub struct Programs {
    pub lokt: PathBuf,
    /// This program, which also stands in the sections.
    pub xtask: PathBuf,
}

/// The place of one case.
pub struct Scene<'a> {
    pub dir: PathBuf,
    programs: &'a Programs,
    environment: Vec<(&'static str, String)>,
}

/// A program of a scene; it and its tracer are killed when it is dropped.
pub struct Running {
    pub who: &'static str,
    child: Child,
    code: Option<i32>,
    /// strace, if it was attached later.
    tracers: Vec<Child>,
    stderr: PathBuf,
}

/// Says when the next sweep is due: a clock, and nanoseconds on it.
const SWEEPER: &str = "stripes/40";

impl<'a> Scene<'a> {
    /// Makes the place, with a copy of the root `template`, or with none.
    pub fn new(dir: PathBuf, programs: &'a Programs, template: Option<&Path>) -> anyhow::Result<Self> {
        if dir.exists() {
            fs::remove_dir_all(&dir).with_context(|| format!("failed to clear {}", dir.display()))?;
        }
        fs::create_dir_all(dir.join("home"))
            .with_context(|| format!("failed to create {}", dir.display()))?;
        let scene = Self { dir, programs, environment: Vec::new() };
        if let Some(template) = template {
            copy(template, &scene.root())?;
            fs::copy(scene.record_file(BYSTANDER), scene.kept_bystander())?;
        }
        fs::write(scene.log(), "")?;
        Ok(scene)
    }

    /// Whether the root of the template is to be swept by whoever is done first, or by nobody.
    pub fn let_sweep_be_due(&self, due: bool) -> anyhow::Result<()> {
        let sweeper = self.root().join(SWEEPER);
        if due {
            return fs::remove_file(&sweeper)
                .with_context(|| format!("failed to remove {}", sweeper.display()));
        }
        let text = fs::read_to_string(&sweeper)?;
        let (clock, _) = text.split_once(' ').context("the template was not swept")?;
        // In three centuries: as many digits as there were.
        fs::write(&sweeper, format!("{clock} {:020}\n", u64::MAX / 2))?;
        Ok(())
    }

    /// Sets a variable for all programs to come.
    pub fn set(&mut self, name: &'static str, value: String) {
        self.environment.push((name, value));
    }

    pub fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    pub fn log(&self) -> PathBuf {
        self.dir.join("sections")
    }

    pub fn trace(&self) -> PathBuf {
        self.dir.join("trace")
    }

    pub fn record_file(&self, name: &str) -> PathBuf {
        self.root().join("locks").join(format!("{name}.json"))
    }

    /// A copy of the bystander's record as it was in the beginning.
    pub fn kept_bystander(&self) -> PathBuf {
        self.dir.join("bystander")
    }

    /// Whether the name is frozen.
    pub fn is_frozen(&self) -> bool {
        self.root().join(format!("freezes/{NAME}.json")).exists()
    }

    pub fn record(&self, name: &str) -> Option<serde_json::Value> {
        let text = fs::read(self.record_file(name)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Whether the record is that of this guard.
    pub fn is_held_by(&self, guard: &Running) -> bool {
        let pid = i64::from(guard.pid().as_raw_nonzero().get());
        let is_its = |record: &serde_json::Value| record["pid"].as_i64() == Some(pid);
        self.record(NAME).as_ref().is_some_and(is_its) || self.records_of_holders().iter().any(is_its)
    }

    /// The records of those who hold the name together.
    fn records_of_holders(&self) -> Vec<serde_json::Value> {
        let files = fs::read_dir(self.root().join("holders").join(NAME)).into_iter().flatten().flatten();
        files.filter_map(|file| serde_json::from_slice(&fs::read(file.path()).ok()?).ok()).collect()
    }

    /// When the lease lapses, by the monotonic clock.
    pub fn lapse(&self) -> Option<Duration> {
        let records = self.records_of_holders();
        let deadline = |record: &serde_json::Value| record["deadline_ns"].as_u64();
        let held = self.record(NAME).as_ref().and_then(deadline);
        held.or_else(|| records.iter().find_map(deadline)).map(Duration::from_nanos)
    }

    /// Whether a program is in the middle of a transition: it has the file of a mutex open.
    pub fn is_in_transition(&self, running: &Running) -> bool {
        let descriptors =
            fs::read_dir(format!("/proc/{}/fd", running.child.id())).into_iter().flatten().flatten();
        let mutexes = self.root().join("stripes");
        let mut files = descriptors.filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
        files.any(|file| file.parent() == Some(&mutexes))
    }

    /// How many stand in line.
    pub fn waiters(&self) -> usize {
        fs::read_dir(self.root().join("lines").join(NAME)).map_or(0, Iterator::count)
    }

    /// The process that stands in the section of `who`, if it still does: an id of the past may be another's by now.
    pub fn section_of(&self, who: &str) -> Option<Pid> {
        let stays = sections::read(&self.log()).unwrap_or_default();
        let pid = stays.iter().find(|stay| stay.who == who && !stay.left)?.pid;
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let is_ours = String::from_utf8_lossy(&command).contains(&self.log().display().to_string());
        Pid::from_raw(pid).filter(|_| is_ours)
    }

    /// What comes after a guard's options: a section of `who` that lasts so long, and until `go` is there.
    pub fn section(&self, who: &str, lasts: Duration, go: Option<&str>) -> Vec<String> {
        let (xtask, log) = (self.programs.xtask.display().to_string(), self.log().display().to_string());
        let ms = lasts.as_millis().to_string();
        let mut section: Vec<String> =
            ["--", &xtask, "faults", "--section", &log, "--who", who, "--lasts-ms", &ms]
                .map(str::to_owned)
                .into();
        if let Some(go) = go {
            section.extend(["--until".to_owned(), self.dir.join(go).display().to_string()]);
        }
        section
    }

    /// Lets sections end that wait for it.
    pub fn allow(&self, go: &str) -> anyhow::Result<()> {
        fs::write(self.dir.join(go), "").context("failed to let a section end")
    }

    /// Starts lokt as `who`.
    pub fn start(&self, who: &'static str, arguments: &[String]) -> anyhow::Result<Running> {
        let program = self.programs.lokt.clone();
        self.spawn(who, Command::new(program), arguments)
    }

    /// Starts lokt as `who`, its main thread traced, with a fault at a point or with every call written down.
    pub fn start_traced(
        &self,
        who: &'static str,
        fault: Option<(Injection, &Point)>,
        arguments: &[String],
    ) -> anyhow::Result<Running> {
        let mut strace = Command::new("strace");
        // -D: lokt itself is our child, strace is its grandchild.
        strace.args(["-D", "-qq", "-o"]).arg(self.trace()).args(injected(fault)).arg(&self.programs.lokt);
        self.spawn(who, strace, arguments)
    }

    fn spawn(
        &self,
        who: &'static str,
        mut command: Command,
        arguments: &[String],
    ) -> anyhow::Result<Running> {
        let stderr = self.dir.join(format!("{who}.err"));
        let out = fs::File::create(self.dir.join(format!("{who}.out")))?;
        let child = command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.dir.join("home"))
            .env("LOKT_ROOT", self.root())
            .env("LOKT_OWNER", "tester")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(fs::File::create(&stderr)?)
            .spawn()
            .with_context(|| format!("failed to start {command:?}"))?;
        Ok(Running { who, child, code: None, tracers: Vec::new(), stderr })
    }

    /// Attaches strace to the thread of this name.
    pub fn attach(
        &self,
        running: &mut Running,
        thread: &str,
        fault: Option<(Injection, &Point)>,
    ) -> anyhow::Result<()> {
        let tasks = PathBuf::from(format!("/proc/{}/task", running.child.id()));
        let mut found = None;
        running.until("its thread runs", || {
            found = thread_named(&tasks, thread);
            found.is_some()
        })?;
        let Some(tid) = found else { return Ok(()) };
        let mut strace = Command::new("strace");
        strace.args(["-qq", "-o"]).arg(self.trace()).args(injected(fault)).args(["-p", &tid.to_string()]);
        running.trace(strace)?;
        if let Some((injection @ Injection::Hang(_), point)) = fault {
            // A file system that hangs does so for every thread; but for the first, which has more to do, only that one.
            let mut strace = Command::new("strace");
            strace.args(["-qq", "-o", "/dev/null"]).args(injection.arguments(&point.first()));
            within(&self.root()).into_iter().for_each(|path| _ = strace.arg("-P").arg(path));
            strace.args(["-p", &running.child.id().to_string()]);
            running.trace(strace)?;
        }
        let (status, trace) = (tasks.join(tid.to_string()).join("status"), self.trace());
        running.until("strace has attached to it", || {
            let traced = fs::read_to_string(&status).is_ok_and(|text| !text.contains("TracerPid:\t0\n"));
            // A fault in the very call that it was attached in may have ended it already.
            traced || fs::metadata(&trace).is_ok_and(|trace| trace.len() > 0)
        })
    }
}

/// A directory, and all that is in it; but for FIFOs, which need no file system once they are open.
fn within(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let inner = entries.flat_map(|entry| match entry.file_type() {
        Ok(of) if of.is_dir() => within(&entry.path()),
        Ok(of) if of.is_fifo() => Vec::new(),
        _ => vec![entry.path()],
    });
    inner.chain([dir.to_owned()]).collect()
}

fn injected(fault: Option<(Injection, &Point)>) -> Vec<String> {
    fault.map_or_else(|| vec!["-y".to_owned()], |(injection, point)| injection.arguments(point))
}

fn thread_named(tasks: &Path, name: &str) -> Option<u32> {
    fs::read_dir(tasks).ok()?.flatten().find_map(|task| {
        let comm = fs::read_to_string(task.path().join("comm")).ok()?;
        (comm.trim() == name).then(|| task.file_name().to_str()?.parse().ok())?
    })
}

impl Running {
    fn trace(&mut self, mut strace: Command) -> anyhow::Result<()> {
        let quiet = strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.tracers.push(quiet.spawn().context("failed to run strace")?);
        Ok(())
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn signal(&self, signal: Signal) {
        if self.code.is_none() {
            // It may just have ended.
            let _ = kill_process(self.pid(), signal);
        }
    }

    pub fn is_stopped(&self) -> bool {
        state_of(self.pid()).is_some_and(|state| matches!(state, 'T' | 't'))
    }

    /// Its exit code, if it has ended; 128 and the signal's number if a signal ended it.
    pub fn ended(&mut self) -> Option<i32> {
        if self.code.is_none() {
            let status = self.child.try_wait().ok().flatten()?;
            self.code = Some(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)));
        }
        self.code
    }

    /// Waits for its end for so long.
    pub fn end_within(&mut self, limit: Duration) -> Option<i32> {
        wait_until(limit, || self.ended().is_some());
        self.code
    }

    /// Waits until something is so that it is to bring about; an error if it ends instead, or takes too long.
    pub fn until(&mut self, what: &str, mut met: impl FnMut() -> bool) -> anyhow::Result<()> {
        let mut is_met = false;
        wait_until(LIMIT, || {
            is_met = met();
            is_met || self.ended().is_some()
        });
        // It may have brought it about in its last moment; and strace writes that down a moment later.
        let is_met = is_met || wait_until(Duration::from_millis(200), met);
        anyhow::ensure!(
            is_met,
            "{}: not so: {what} (exit {:?}; {})",
            self.who,
            self.code,
            self.said().trim()
        );
        Ok(())
    }

    pub fn said(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for child in [&mut self.child].into_iter().chain(&mut self.tracers) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Looks until something is so, for at most `limit`; returns whether it is.
pub fn wait_until(limit: Duration, mut met: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    loop {
        if met() {
            return true;
        }
        if began.elapsed() >= limit {
            return false;
        }
        thread::sleep(LOOK);
    }
}

/// Whether a process is there; a zombie is not.
pub fn runs(pid: Pid) -> bool {
    test_kill_process(pid).is_ok() && !state_of(pid).is_some_and(|state| matches!(state, 'Z' | 'X'))
}

/// The letter that /proc has for what a process is doing.
fn state_of(pid: Pid) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Copies a root that nobody is at work in.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir(to).with_context(|| format!("failed to create {}", to.display()))?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    for entry in fs::read_dir(from)?.flatten() {
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
