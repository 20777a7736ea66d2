//! The simulated machine: its time, its processes, what they hold, and who runs next.
//!
//! One fiber runs at a time. Before each operation on the machine it stops, and a choice says who goes on, or what
//! befalls it. Time stands still while anybody can run, so a wake-up that comes late is a wake-up that was lost.

use std::sync::Arc;
use std::time::Duration;

use super::boot::Boot;
use super::choices::Choices;
use super::disk::Disk;
use super::faults::Faults;
use super::fibers::Job;
use super::sessions::SessionNode;
use super::truth::{Truth, Violation};

/// A process by its number.
pub type Pid = usize;

pub struct Process {
    pub name: String,
    pub alive: bool,
    pub was_killed: bool,
    /// Stopped until then, for all to see.
    pub stopped: Option<Duration>,
    /// When it ends: a command that has outlived its guard.
    ends_at: Option<Duration>,
    /// It was paused, or something failed, since it last took part: nobody counts on it.
    pub absent: bool,
    /// What it may remove by right: the `lock_id`s of its admissions.
    pub owns: Vec<String>,
    /// It is about to remove by force.
    pub forces: bool,
    /// It has made a name free, and has not rung yet whose turn it is.
    pub owes_ring: bool,
    /// Whose bells its end rings, and for which process.
    pub watchers: Vec<(usize, Pid)>,
    /// If it is killed: how long the command under it lives on.
    pub survivor: Option<Duration>,
}

/// What a fiber sleeps on, besides the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// The bell of a session.
    Bell(usize),
    /// A mutex.
    Stripe(usize),
    /// The end of a fiber.
    End(usize),
    /// A nudge of its process.
    Nudge(Pid),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Ready,
    Asleep { on: On, until: Duration },
    Ended,
}

pub struct Fiber {
    pub pid: Pid,
    state: State,
    /// It hangs until then; nobody can see it.
    pub hangs: Option<Duration>,
    job: Option<Job>,
    /// Its stack is in use.
    begun: bool,
}

/// Time that never comes.
pub const NEVER: Duration = Duration::MAX;

/// Nobody needs so many steps, unless somebody spins.
const MOST_STEPS: u64 = 20_000;

/// Nobody waits for so long, unless for somebody who never comes.
pub const LONGEST: Duration = Duration::from_secs(40);

pub struct World {
    pub choices: Choices,
    pub faults: Faults,
    /// How likely another fiber goes on at a step.
    pub switch_odds: f32,
    /// The world's own time, which no process sees: a boot counts from its beginning.
    pub now: Duration,
    began: Duration,
    /// When its processes are expected to have ended by.
    pub ends_by: Duration,
    /// How far the wall clock was set, in seconds.
    pub wall_set: i64,
    pub boot: Boot,
    pub disk: Disk,
    pub processes: Vec<Process>,
    pub fibers: Vec<Fiber>,
    pub current: usize,
    pub over: bool,
    pub steps: u64,
    pub sessions: Vec<SessionNode>,
    pub stripes: Vec<Option<Pid>>,
    pub randoms: u64,
    pub truth: Truth,
    /// What happened, if anybody wants to read it.
    pub story: Option<Vec<String>>,
}

impl World {
    pub fn new(choices: Choices, told: bool) -> Self {
        let began = Duration::from_secs(1_000);
        Self {
            choices,
            faults: Faults::default(),
            switch_odds: 0.0,
            now: began,
            began,
            ends_by: began + LONGEST,
            wall_set: 0,
            boot: Boot::first(),
            disk: Disk::default(),
            processes: Vec::new(),
            fibers: Vec::new(),
            current: 0,
            over: false,
            steps: 0,
            sessions: Vec::new(),
            stripes: Vec::new(),
            randoms: 0,
            truth: Truth::default(),
            story: told.then(Vec::new),
        }
    }

    /// Notes what happened, if anybody wants to read it.
    pub fn tell(&mut self, pid: Pid, what: impl FnOnce() -> String) {
        let at = self.passed();
        if let Some(story) = &mut self.story {
            story.push(format!("{:>9.3} s  {:<12} {}", at.as_secs_f64(), self.processes[pid].name, what()));
        }
    }

    /// A promise was broken: nothing more happens in this run.
    pub fn violate(&mut self, promise: &'static str, what: String) {
        self.over = true;
        if self.truth.violation.is_none() {
            let at = self.passed();
            let line = format!("{:>9.3} s  BROKEN: {promise}: {what}", at.as_secs_f64());
            self.story.iter_mut().for_each(|story| story.push(line.clone()));
            self.truth.violation = Some(Violation { promise, what });
        }
    }

    /// Since the run began; whatever becomes of the machine, it goes on.
    pub fn passed(&self) -> Duration {
        self.now.saturating_sub(self.began)
    }

    pub fn start(&mut self, name: &str) -> Pid {
        self.processes.push(Process {
            name: name.to_owned(),
            alive: true,
            was_killed: false,
            stopped: None,
            ends_at: None,
            absent: false,
            owns: Vec::new(),
            forces: false,
            owes_ring: false,
            watchers: Vec::new(),
            survivor: None,
        });
        self.processes.len() - 1
    }

    pub fn spawn(&mut self, pid: Pid, job: Job) -> usize {
        self.fibers.push(Fiber { pid, state: State::Ready, hangs: None, job: Some(job), begun: false });
        self.fibers.len() - 1
    }

    pub fn is_running(&self, pid: Pid) -> bool {
        self.processes[pid].alive && !self.over
    }

    pub fn has_ended(&self, fiber: usize) -> bool {
        self.fibers[fiber].state == State::Ended
    }

    /// The fiber that is to run now, and its job if it begins.
    pub fn take_current(&mut self) -> (usize, Option<Job>) {
        let fiber = &mut self.fibers[self.current];
        fiber.begun = true;
        (self.current, fiber.job.take())
    }

    /// All fibers whose stacks are still in use, and the jobs of those that have not begun.
    pub fn unfinished(&mut self) -> (Vec<usize>, Vec<Job>) {
        self.over = true;
        let jobs = self.fibers.iter_mut().filter_map(|fiber| fiber.job.take()).collect();
        for pid in 0..self.processes.len() {
            self.processes[pid].survivor = None;
            if self.processes[pid].alive && self.fibers.iter().any(|fiber| fiber.pid == pid) {
                self.kill(pid);
            }
        }
        let begun = (0..self.fibers.len()).filter(|n| std::mem::take(&mut self.fibers[*n].begun)).collect();
        (begun, jobs)
    }

    /// Before an operation of the running fiber: says who goes on, and what befalls whom.
    pub fn point(&mut self) {
        self.steps += 1;
        if self.steps > MOST_STEPS {
            return self.violate("waiting is free", "somebody spins: the run has no end".to_owned());
        }
        self.befall();
        if self.over {
            return;
        }
        let me = self.current;
        let mine = self.can_run(me);
        let others = (0..self.fibers.len()).filter(|n| *n != me && self.can_run(*n)).count();
        if !mine {
            return self.choose();
        }
        let turn = self.choices.pick(1 + others, self.switch_odds);
        if turn > 0 {
            self.current =
                (0..self.fibers.len()).filter(|n| *n != me && self.can_run(*n)).nth(turn - 1).unwrap_or(me);
        }
    }

    fn can_run(&self, n: usize) -> bool {
        let fiber = &self.fibers[n];
        fiber.state == State::Ready && fiber.hangs.is_none() && self.processes[fiber.pid].stopped.is_none()
    }

    /// Ends a process at once, as SIGKILL does; its command may live on.
    pub fn kill(&mut self, pid: Pid) {
        let process = &mut self.processes[pid];
        process.alive = false;
        process.stopped = None;
        let heir = process.survivor.take().map(|left| {
            let name = format!("{}'s command", self.processes[pid].name);
            let heir = self.start(&name);
            self.processes[heir].ends_at = Some(self.now + left);
            heir
        });
        for session in &mut self.sessions {
            if let Some(at) = session.holders.iter().position(|holder| *holder == pid) {
                match heir {
                    Some(heir) => session.holders[at] = heir,
                    None => drop(session.holders.swap_remove(at)),
                }
            }
        }
        self.free(pid);
    }

    /// Lets go of what only `pid` held.
    fn free(&mut self, pid: Pid) {
        let watchers = std::mem::take(&mut self.processes[pid].watchers);
        self.ring_all(watchers);
        for fiber in self.fibers.iter_mut().filter(|fiber| fiber.pid == pid) {
            fiber.state = State::Ended;
        }
        let process = &self.processes[pid];
        if process.was_killed && process.owes_ring {
            // Whom it was about to ring finds out when it looks.
            self.truth.cut_short = Some(self.now);
        }
        for n in 0..self.stripes.len() {
            if self.stripes[n] == Some(pid) {
                self.truth.cut_short = Some(self.now);
                self.unlock(n);
            }
        }
        for ino in 0..self.sessions.len() {
            if self.sessions[ino].locked && self.sessions[ino].holders.is_empty() {
                self.end_session(ino);
            }
        }
    }

    /// The running fiber, or another, has returned.
    pub fn ended(&mut self, n: usize) {
        self.fibers[n].state = State::Ended;
        self.fibers[n].begun = false;
        self.wake(On::End(n));
        let pid = self.fibers[n].pid;
        if self.processes[pid].alive && self.fibers.iter().all(|f| f.pid != pid || f.state == State::Ended) {
            self.tell(pid, || "ends".to_owned());
            self.processes[pid].survivor = None;
            self.kill(pid);
        }
        self.choose();
    }

    /// Puts the running fiber to sleep, and says who goes on.
    pub fn sleep(&mut self, on: On, until: Duration) {
        self.fibers[self.current].state = State::Asleep { on, until };
        self.choose();
    }

    pub fn wake(&mut self, what: On) {
        for fiber in &mut self.fibers {
            if matches!(fiber.state, State::Asleep { on, .. } if on == what) {
                fiber.state = State::Ready;
            }
        }
    }

    /// Some fiber that can run; if none can, time goes on until one can.
    fn choose(&mut self) {
        while !self.over {
            let ready = (0..self.fibers.len()).filter(|n| self.can_run(*n)).count();
            if ready > 0 {
                let n = self.choices.any(ready);
                self.current =
                    (0..self.fibers.len()).filter(|n| self.can_run(*n)).nth(n).unwrap_or(self.current);
                return;
            }
            if self.fibers.iter().all(|fiber| fiber.state == State::Ended) {
                self.over = true;
                return;
            }
            self.pass_time();
        }
    }

    fn pass_time(&mut self) {
        let fibers = self.fibers.iter().filter(|fiber| fiber.state != State::Ended).map(|fiber| {
            let paused = fiber.hangs.or(self.processes[fiber.pid].stopped);
            match (paused, fiber.state) {
                (Some(until), _) | (None, State::Asleep { until, .. }) => until,
                _ => NEVER,
            }
        });
        let ends = self.processes.iter().filter(|p| p.alive).filter_map(|process| process.ends_at);
        let next = fibers.chain(ends).min().unwrap_or(NEVER);
        if next == NEVER || next > self.ends_by {
            if self.all_wait_for_people() {
                self.over = true;
                return;
            }
            let asleep: Vec<&str> = self
                .fibers
                .iter()
                .filter(|fiber| fiber.state != State::Ended)
                .map(|fiber| self.processes[fiber.pid].name.as_str())
                .collect();
            let who = asleep.join(", ");
            return self
                .violate("a crash frees the lock, and waiters are woken", format!("never woken: {who}"));
        }
        self.check_idle(next);
        self.now = self.now.max(next);
        self.resume_due();
    }

    fn resume_due(&mut self) {
        let now = self.now;
        for pid in 0..self.processes.len() {
            if self.processes[pid].stopped.is_some_and(|until| until <= now) {
                self.processes[pid].stopped = None;
                self.tell(pid, || "goes on".to_owned());
            }
            if self.processes[pid].alive && self.processes[pid].ends_at.is_some_and(|end| end <= now) {
                self.tell(pid, || "ends".to_owned());
                self.kill(pid);
            }
        }
        for fiber in &mut self.fibers {
            fiber.hangs.take_if(|until| *until <= now);
            if matches!(fiber.state, State::Asleep { until, .. } if until <= now) {
                fiber.state = State::Ready;
            }
        }
    }

    /// Whether any of a process's threads is paused.
    pub fn is_paused(&self, pid: Pid) -> bool {
        self.processes[pid].stopped.is_some()
            || self.fibers.iter().any(|fiber| fiber.pid == pid && fiber.hangs.is_some())
    }

    /// Takes a mutex, if it is free.
    pub fn try_lock(&mut self, stripe: usize, pid: Pid) -> bool {
        if self.stripes.len() <= stripe {
            self.stripes.resize(stripe + 1, None);
        }
        if self.stripes[stripe].is_some() {
            return false;
        }
        self.stripes[stripe] = Some(pid);
        self.processes[pid].absent &= self.is_paused(pid);
        true
    }

    pub fn unlock(&mut self, stripe: usize) {
        self.stripes[stripe] = None;
        self.wake(On::Stripe(stripe));
    }
}

/// The world as all its processes share it.
pub type Shared = Arc<std::sync::Mutex<World>>;
