//! Runs the workers of both sides at once, in a temporary directory; nothing of it outlives [`play`].

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, kill_process_group, wait};

use super::command::clean;
use super::scene::{Progress, Scene, Side};
use super::show::Show;
use crate::host::clock::monotonic;
use crate::host::signals::{Signals, asks_to_end};
use crate::host::{platform, process};
use crate::words;

/// Between two frames.
const FRAME: Duration = Duration::from_millis(50);

/// How long workers that must end may take for it.
const GRACE: Duration = Duration::from_secs(2);

/// Where the workers complain.
const COMPLAINTS: &str = "complaints";

/// Plays a scene to its end; `Some` if a signal ended it, or the terminal has gone.
pub(super) fn play(scene: &mut dyn Scene) -> Result<Option<Signal>, String> {
    let signals = Signals::catch().map_err(|error| said("catch signals", &error))?;
    let mut stage = Stage::open(scene, signals)?;
    let mut show = Show::begin(scene);
    let ended = stage.run(scene, &mut show);
    match ended {
        Ok(None) => show.end(scene, &stage.progress()),
        _ => show.break_off(),
    }
    ended
}

fn said(verb: &str, error: &io::Error) -> String {
    format!("failed to {verb}: {}", words::cause(error))
}

/// The directory, and everybody who is at work in it.
struct Stage {
    dir: PathBuf,
    program: PathBuf,
    signals: Signals,
    began: Duration,
    sides: [Troupe; 2],
    /// Whoever descends from this process was started by it.
    alone: bool,
}

/// The workers of one side.
struct Troupe {
    side: Side,
    dir: PathBuf,
    set_up: Option<Child>,
    workers: Vec<Worker>,
    progress: Progress,
}

struct Worker {
    name: String,
    /// The next piece, and when it is to be begun.
    next: usize,
    begins: Duration,
    at_work: Option<Child>,
}

impl Stage {
    fn open(scene: &dyn Scene, signals: Signals) -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|error| said("find this program", &error))?;
        let me = i64::from(std::process::id());
        let began = monotonic();
        let dir = std::env::temp_dir().join(format!("lokt-demo-{me}-{:x}", began.as_nanos()));
        DirBuilder::new()
            .mode(0o700)
            .create(&dir)
            .map_err(|error| said(&format!("make {}", dir.display()), &error))?;
        // The workers have working directories of their own.
        let dir = fs::canonicalize(dir).map_err(|error| said("make a temporary directory", &error))?;
        let alone = process::descendants(me).is_some_and(|all| all.is_empty()) && platform::adopt_orphans();
        let sides = Side::BOTH.map(|side| Troupe::new(side, &dir, scene));
        let mut stage = Self { dir, program, signals, began, sides, alone };
        for at in 0..stage.sides.len() {
            stage.set_up(at, scene).map_err(|error| said("prepare the demonstration", &error))?;
        }
        Ok(stage)
    }

    fn set_up(&mut self, at: usize, scene: &dyn Scene) -> io::Result<()> {
        let dir = self.sides[at].dir.clone();
        fs::create_dir(&dir)?;
        if let Some(command) = scene.set_up(&dir)? {
            self.sides[at].set_up = Some(self.start(&dir, "lokt", &command)?);
        }
        Ok(())
    }

    fn progress(&self) -> [Progress; 2] {
        [0, 1].map(|at| self.sides[at].progress.clone())
    }

    fn run(&mut self, scene: &mut dyn Scene, show: &mut Show) -> Result<Option<Signal>, String> {
        let mut next_frame = Duration::ZERO;
        loop {
            for came in self.signals.take() {
                if came.signal == Signal::TSTP {
                    show.leave();
                    self.signals.stop();
                } else if asks_to_end(came.signal) {
                    return Ok(Some(came.signal));
                }
            }
            let due = self.step(scene)?;
            let complete = self.sides.iter().all(|troupe| troupe.progress.is_complete());
            if monotonic() >= next_frame || complete {
                for troupe in &self.sides {
                    scene.look(troupe.side, &troupe.dir, &troupe.progress);
                }
                if complete {
                    return Ok(None);
                }
                if !show.update(scene, &self.progress()) {
                    return Ok(Some(Signal::HUP));
                }
                next_frame = monotonic() + FRAME;
            }
            self.signals.wait(Some(due.map_or(next_frame, |due| due.min(next_frame))));
        }
    }

    /// Takes note of who is done, and starts whoever is to begin; returns when the next one is.
    fn step(&mut self, scene: &dyn Scene) -> Result<Option<Duration>, String> {
        let mut due = None;
        for at in 0..self.sides.len() {
            self.reap(at, scene)?;
            if self.sides[at].set_up.is_some() {
                continue;
            }
            for worker in 0..self.sides[at].workers.len() {
                let begins = self.begin(at, worker, scene).map_err(|error| said("start a worker", &error))?;
                due = [due, begins].into_iter().flatten().min();
            }
        }
        Ok(due)
    }

    fn reap(&mut self, at: usize, scene: &dyn Scene) -> Result<(), String> {
        let now = monotonic();
        let troupe = &mut self.sides[at];
        if has_ended(&mut troupe.set_up, &troupe.dir)? {
            troupe.set_up = None;
        }
        for (number, worker) in troupe.workers.iter_mut().enumerate() {
            if worker.at_work.is_some() && has_ended(&mut worker.at_work, &troupe.dir)? {
                worker.at_work = None;
                troupe.progress.done[worker.next] = true;
                troupe.progress.at[number] = None;
                worker.next += troupe.progress.at.len();
                worker.begins = now + scene.pause(worker.next);
            }
        }
        if !troupe.progress.is_complete() || troupe.progress.took.is_zero() {
            troupe.progress.took = now - self.began;
        }
        Ok(())
    }

    /// Starts a worker's next piece if it is time; when it will be, if not.
    fn begin(&mut self, at: usize, number: usize, scene: &dyn Scene) -> io::Result<Option<Duration>> {
        let troupe = &self.sides[at];
        let worker = &troupe.workers[number];
        let piece = worker.next;
        if worker.at_work.is_some() || piece >= troupe.progress.done.len() {
            return Ok(None);
        }
        if worker.begins > monotonic() {
            return Ok(Some(worker.begins));
        }
        let mut command = scene.piece(piece, &self.program);
        if troupe.side == Side::Guarded {
            let guard = [
                self.program.as_os_str(),
                "guard".as_ref(),
                scene.lock().as_ref(),
                "--wait".as_ref(),
                "--".as_ref(),
            ];
            command.splice(0..0, guard.map(OsString::from));
        }
        let child = self.start(&troupe.dir, &worker.name, &command)?;
        self.sides[at].workers[number].at_work = Some(child);
        self.sides[at].progress.at[number] = Some(piece);
        Ok(None)
    }

    /// Starts a command of a worker.
    fn start(&self, dir: &Path, who: &str, command: &[OsString]) -> io::Result<Child> {
        let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let complaints = File::options().create(true).append(true).open(dir.join(COMPLAINTS))?;
        clean(program, dir, who)
            .args(arguments)
            .env("LOKT_ROOT", self.dir.join("locks"))
            .stderr(complaints)
            .process_group(0)
            .spawn()
    }

    /// Ends everybody who is still at work.
    fn end_all(&mut self) {
        let me = i64::from(std::process::id());
        let mut left: Vec<Child> = Vec::new();
        for troupe in &mut self.sides {
            left.extend(troupe.set_up.take());
            left.extend(troupe.workers.iter_mut().filter_map(|worker| worker.at_work.take()));
        }
        let groups: Vec<Pid> = left.iter().map(Pid::from_child).collect();
        groups.iter().for_each(|group| _ = kill_process_group(*group, Signal::TERM));
        let give_up = monotonic() + GRACE;
        loop {
            left.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
            let mut others = Vec::new();
            if self.alone && left.is_empty() {
                while matches!(wait(WaitOptions::NOHANG), Ok(Some(_))) {}
                others = process::descendants(me).unwrap_or_default();
            }
            if left.is_empty() && others.is_empty() {
                return;
            }
            if monotonic() >= give_up {
                groups.iter().for_each(|group| _ = kill_process_group(*group, Signal::KILL));
            }
            for pid in others.into_iter().filter_map(process::as_pid) {
                let _ = kill_process(pid, if monotonic() >= give_up { Signal::KILL } else { Signal::TERM });
            }
            let _ = self.signals.take();
            self.signals.wait(Some(monotonic() + Duration::from_millis(20)));
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.end_all();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Troupe {
    fn new(side: Side, dir: &Path, scene: &dyn Scene) -> Self {
        let names = scene.workers().into_iter().enumerate();
        let workers: Vec<Worker> = names
            .map(|(number, name)| Worker { name, next: number, begins: Duration::ZERO, at_work: None })
            .collect();
        let progress = Progress {
            done: vec![false; scene.pieces()],
            at: vec![None; workers.len()],
            took: Duration::ZERO,
        };
        Self {
            side,
            dir: dir.join(if side == Side::Bare { "bare" } else { "guarded" }),
            set_up: None,
            workers,
            progress,
        }
    }
}

/// Whether a process has ended; it must have ended well.
fn has_ended(child: &mut Option<Child>, dir: &Path) -> Result<bool, String> {
    let Some(running) = child else { return Ok(false) };
    match running.try_wait() {
        Ok(None) => Ok(false),
        Ok(Some(status)) if status.success() => Ok(true),
        Ok(Some(status)) => {
            let complaints = fs::read_to_string(dir.join(COMPLAINTS)).unwrap_or_default();
            let last =
                complaints.lines().last().unwrap_or("without a word").trim_start_matches("lokt: ").to_owned();
            Err(format!("a worker of the demonstration failed ({status}): {last}"))
        }
        Err(error) => Err(said("wait for a worker", &error)),
    }
}
