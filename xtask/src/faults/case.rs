//! One case: an operation, a fault, a position. Plays it, and says what came of it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::aftermath::{self, Ends};
use super::bench::Bench;
use super::errors::Errno;
use super::operation::{GO, Operation, Pace, delay_ms};
use super::scene::{LIMIT, Running, Scene, wait_until};
use super::sections;
use super::trace::{self, Injection, Point, Position};

/// How long a victim that goes on has for whatever it is going to do, before a third one comes.
const WORKS: Duration = Duration::from_millis(100);

/// How long a call hangs: for several leases.
const HANGS_MS: u64 = 4_000;

/// The calls that a file system can keep.
const HANGING: [&str; 14] = [
    "openat",
    "open",
    "read",
    "pread64",
    "write",
    "pwrite64",
    "fstat",
    "newfstatat",
    "statx",
    "flock",
    "renameat2",
    "renameat",
    "unlinkat",
    "ftruncate",
];

/// What is done to the victim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    Kill,
    Delay,
    Stop,
    /// The file system does not answer any more.
    Hang,
    Error(Errno),
}

impl Fault {
    pub const ALL: [Self; 9] = [
        Self::Kill,
        Self::Delay,
        Self::Stop,
        Self::Hang,
        Self::Error(Errno::Eio),
        Self::Error(Errno::Enospc),
        Self::Error(Errno::Eacces),
        Self::Error(Errno::Emfile),
        Self::Error(Errno::Eintr),
    ];

    pub fn name(self) -> String {
        match self {
            Self::Kill => "kill".to_owned(),
            Self::Delay => "delay".to_owned(),
            Self::Stop => "stop".to_owned(),
            Self::Hang => "hang".to_owned(),
            Self::Error(errno) => errno.name().to_lowercase(),
        }
    }

    pub fn injection(self, operation: Operation) -> Injection {
        match self {
            Self::Kill => Injection::Kill,
            Self::Stop => Injection::Stop,
            Self::Delay => Injection::Delay(delay_ms(operation)),
            Self::Hang => Injection::Hang(HANGS_MS),
            Self::Error(errno) => Injection::Error(errno),
        }
    }

    /// Whether it can be tried there. Before the root is touched only a kill can matter.
    pub fn is_possible(self, position: &Position, quick: bool) -> bool {
        match self {
            Self::Kill => position.in_root || !quick,
            // It returns to where the process no longer is.
            _ if !position.in_root || position.point.call == "rt_sigreturn" => false,
            Self::Delay => true,
            Self::Hang => HANGING.contains(&position.point.call.as_str()),
            // After these nothing is left to stop.
            Self::Stop => !["exit_group", "exit"].contains(&position.point.call.as_str()),
            Self::Error(errno) => errno.is_possible(&position.point.call, &position.text),
        }
    }
}

impl std::str::FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|fault| fault.name() == text)
            .ok_or_else(|| format!("faults are {}", names()))
    }
}

/// A case to be tried.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Case {
    pub operation: Operation,
    pub fault: Fault,
    pub point: Point,
}

/// What came of it.
#[derive(Clone, Debug)]
pub enum Outcome {
    Passed,
    /// The thread did not come to the position in this run.
    NotReached,
    /// The machine was too slow to tell.
    Inconclusive(String),
    Violated(Vec<String>),
}

/// A thing that is wrong.
pub struct Wrong {
    pub what: String,
    /// A machine that is slow enough could bring it about, and nothing be wrong.
    pub by_time: bool,
}

impl Case {
    /// Whether most of its time is spent waiting: for a lease to lapse, or for a delay.
    pub fn mostly_waits(&self) -> bool {
        matches!(self.fault, Fault::Delay | Fault::Stop | Fault::Hang) || self.operation.takes_long()
    }

    /// The command that repeats it.
    pub fn command(&self) -> String {
        let Self { operation, fault, point } = self;
        format!(
            "cargo xtask faults --operation {} --fault {} --at {point} --keep",
            operation.name(),
            fault.name()
        )
    }

    pub fn dir(&self, bench: &Bench) -> PathBuf {
        let Self { operation, fault, point } = self;
        bench.cases.join(format!("{}-{}-{}-{}", operation.name(), fault.name(), point.call, point.count))
    }

    pub fn try_it(&self, bench: &Bench) -> Outcome {
        let began = Instant::now();
        let wrong = match self.play(bench) {
            Ok(Some(wrong)) => wrong,
            Ok(None) => return Outcome::NotReached,
            // The stage could not be set: nothing was tried.
            Err(error) => return Outcome::Inconclusive(format!("{error:#}")),
        };
        if wrong.is_empty() {
            return Outcome::Passed;
        }
        let words = wrong.iter().map(|wrong| wrong.what.clone()).collect();
        let late = bench.sentinel.latest(began);
        match wrong.iter().all(|wrong| wrong.by_time) && late > bench.tolerance {
            true => Outcome::Inconclusive(format!(
                "the machine took {} ms to run a program that does nothing",
                late.as_millis()
            )),
            false => Outcome::Violated(words),
        }
    }

    /// `None` if the position was not reached.
    fn play(&self, bench: &Bench) -> anyhow::Result<Option<Vec<Wrong>>> {
        let Self { operation, fault, point } = self;
        let injection = fault.injection(*operation);
        let pace = operation.pace(Some(injection));
        let scene = operation.scene(self.dir(bench), bench)?;
        let mut others = operation.set(&scene, &pace)?;
        let before = scene.record(super::scene::NAME);
        let mut victim = start_victim(*operation, &scene, &pace, Some((injection, point)))?;
        let Company { running: mut company, had_mutex, lapse } =
            accompany(*operation, &scene, &pace, &mut victim, &others, Some((injection, point)))?;
        let struck = injection.has_struck(&trace::read(&scene.trace()), point);
        let victim_code = victim.end_within(LIMIT);
        for running in &mut company {
            running.end_within(LIMIT);
        }
        let others_codes = finish(&scene, &mut others)?;
        if !struck && victim_code.is_some() {
            return Ok(None);
        }
        let ends = Ends { victim: victim_code, company, had_mutex, lapse, others: others_codes, before };
        aftermath::check(self, &scene, ends, &victim).map(Some)
    }
}

/// Plays an operation without a fault, and returns its positions.
pub fn clean_run(operation: Operation, bench: &Bench) -> anyhow::Result<Vec<Position>> {
    let pace = operation.pace(None);
    let scene = operation.scene(bench.cases.join(format!("{}-clean", operation.name())), bench)?;
    let mut others = operation.set(&scene, &pace)?;
    let mut victim = start_victim(operation, &scene, &pace, None)?;
    accompany(operation, &scene, &pace, &mut victim, &others, None)?;
    let code = victim.end_within(LIMIT);
    anyhow::ensure!(
        code == Some(0),
        "{} without a fault: exit {code:?}: {}",
        operation.name(),
        victim.said()
    );
    finish(&scene, &mut others)?;
    let wrong = sections::judge(&sections::read(&scene.log())?);
    anyhow::ensure!(wrong.is_empty(), "{} without a fault: {}", operation.name(), wrong.join("; "));
    let root = scene.root();
    // A thread that is attached to has the root open.
    let root = operation.thread().is_none().then_some(root.as_path());
    Ok(operation.span(trace::positions(&trace::read(&scene.trace()), root)))
}

fn start_victim(
    operation: Operation,
    scene: &Scene<'_>,
    pace: &Pace,
    fault: Option<(Injection, &Point)>,
) -> anyhow::Result<Running> {
    let arguments = operation.victim(scene, pace);
    let Some(thread) = operation.thread() else {
        return scene.start_traced("victim", fault, &arguments);
    };
    let mut victim = scene.start("victim", &arguments)?;
    victim.until("its command runs", || scene.section_of("victim").is_some())?;
    scene.attach(&mut victim, thread, fault)?;
    let renewals = scene.record(super::scene::NAME).and_then(|record| record["renewals"].as_u64());
    anyhow::ensure!(renewals.unwrap_or(0) == 0, "strace attached only after the first beat");
    Ok(victim)
}

/// Who came while the victim was held up.
#[derive(Default)]
struct Company {
    running: Vec<Running>,
    /// The victim had the mutex.
    had_mutex: bool,
    /// When the victim's lease was to lapse, if it had one.
    lapse: Option<Duration>,
}

/// Sees the victim through its operation: brings about what it waits for, and when it is held up lets a rival come,
/// and a third one while the rival is inside and the victim goes on.
fn accompany(
    operation: Operation,
    scene: &Scene<'_>,
    pace: &Pace,
    victim: &mut Running,
    others: &[Running],
    fault: Option<(Injection, &Point)>,
) -> anyhow::Result<Company> {
    let holds_up = fault.filter(|(injection, _)| {
        matches!(injection, Injection::Delay(_) | Injection::Hang(_) | Injection::Stop)
    });
    let mut triggered = !operation.waits();
    let mut held_up = false;
    wait_until(LIMIT, || {
        held_up = holds_up
            .is_some_and(|(injection, point)| injection.has_struck(&trace::read(&scene.trace()), point));
        let ready = held_up || operation.is_ready(scene);
        if !triggered && ready {
            // It goes to sleep now.
            std::thread::sleep(Duration::from_millis(if held_up { 0 } else { 20 }));
            triggered = operation.trigger(scene, others).is_ok();
        }
        held_up || victim.ended().is_some()
    });
    if !triggered {
        operation.trigger(scene, others)?;
    }
    let Some((injection, _)) = holds_up.filter(|_| held_up) else { return Ok(Company::default()) };
    let lapse = scene.lapse();
    let had_mutex = scene.is_in_transition(victim);
    let mut rival = scene.start("rival", &operation.rival(scene, pace))?;
    let command = match injection {
        Injection::Delay(ms) | Injection::Hang(ms) => {
            victim.end_within(Duration::from_millis(ms) + WORKS);
            None
        }
        _ => continue_in_time(scene, victim, &mut rival),
    };
    let mut company = vec![rival];
    if scene.section_of("rival").is_some() {
        company.push(scene.start("third", &operation.third(scene))?);
    }
    if command.is_some() {
        continue_command(scene, victim);
    }
    Ok(Company { running: company, had_mutex, lapse })
}

/// The victim is stopped. Its command is too, and the victim goes on once the rival is inside, or has given up.
/// Returns its command.
fn continue_in_time(scene: &Scene<'_>, victim: &mut Running, rival: &mut Running) -> Option<Pid> {
    let mut command = None;
    wait_until(LIMIT, || {
        if command.is_none() {
            command = scene.section_of("victim");
            command.map(|command| kill_process(command, Signal::STOP));
        }
        scene.section_of("rival").is_some() || rival.ended().is_some()
    });
    victim.signal(Signal::CONT);
    victim.end_within(WORKS);
    command
}

/// A guard that was stopped goes on, and now its command may, if the lock is still the guard's. If it is lost, the guard
/// ends its command, and must do so before that runs again: it is not for us to continue it.
fn continue_command(scene: &Scene<'_>, guard: &mut Running) {
    guard.end_within(WORKS);
    wait_until(LIMIT, || guard.ended().is_some() || scene.is_held_by(guard));
    if let Some(command) = scene.section_of(guard.who) {
        let _ = kill_process(command, Signal::CONT);
    }
}

/// Lets the others come to their end.
fn finish(scene: &Scene<'_>, others: &mut [Running]) -> anyhow::Result<Vec<(&'static str, Option<i32>)>> {
    scene.allow(GO)?;
    let mut codes = Vec::new();
    for other in others {
        other.signal(Signal::CONT);
        continue_command(scene, other);
        codes.push((other.who, other.end_within(LIMIT)));
    }
    Ok(codes)
}
