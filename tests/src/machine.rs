//! A machine whose instants can be chosen: the real one, with hooks at the narrow places of a transition, writes
//! that fail on demand, and (if wanted) a clock that only moves when the test says so.
//!
//! Each actor of a test has a machine of its own on the same root, so that what is done to one happens to that
//! one alone. Files and flocks are the real ones.

use std::collections::HashMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use lokt::Locks;
use lokt::host::{
    Content, Dir, Draft, Host, Identity, LogFile, ProcessState, Publish, Running, SessionFile, SessionState,
    Stripe, StripeError, UnixHost, Wake,
};
use lokt::protocol::{ClockId, Now};

/// A place in a transition at which a test can do something, in the thread that carries the transition out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Point {
    /// Before the mutex is asked for.
    BeforeMutex,
    /// Under the mutex, between reading the record and writing or removing it.
    BeforeWrite,
    /// After the mutex was released.
    AfterMutex,
    /// Between the reading of a record and the look whether its session lives.
    BeforeProbe,
}

type Hook = Arc<dyn Fn() + Send + Sync>;

/// The hooks of one machine.
#[derive(Default)]
struct Hooks(Mutex<HashMap<Point, Hook>>);

impl Hooks {
    fn pass(&self, point: Point) {
        // Not called under the lock: a hook may change the hooks.
        let hook = self.0.lock().unwrap().get(&point).cloned();
        if let Some(hook) = hook {
            hook();
        }
    }
}

/// The machine of one actor.
pub struct Machine {
    real: UnixHost,
    clock: Option<Arc<Clock>>,
    hooks: Arc<Hooks>,
    writes_fail: AtomicBool,
    afar: bool,
    /// Those of which it says what the test wants.
    processes: Mutex<HashMap<i64, ProcessState>>,
}

impl Machine {
    /// A machine on `root`, in real time.
    pub fn new(root: &Path) -> Arc<Self> {
        Self::with(root, None, false)
    }

    /// A machine to which `root` is another's (NFS): of a session it can't see whether its flock is held.
    pub fn afar(root: &Path) -> Arc<Self> {
        Self::with(root, None, true)
    }

    /// A machine on `root`, in the time of `clock`.
    pub fn in_time_of(clock: &Arc<Clock>, root: &Path) -> Arc<Self> {
        Self::with(root, Some(Arc::clone(clock)), false)
    }

    fn with(root: &Path, clock: Option<Arc<Clock>>, afar: bool) -> Arc<Self> {
        Arc::new(Self {
            real: UnixHost::new(root.to_owned()),
            clock,
            hooks: Arc::default(),
            writes_fail: AtomicBool::new(false),
            afar,
            processes: Mutex::default(),
        })
    }

    /// The locks of this machine, asked for as `owner`.
    pub fn locks(self: &Arc<Self>, owner: &str) -> Locks {
        let identity = Identity { owner: owner.to_owned(), ..Identity::current() };
        Locks::with_host(Arc::<Self>::clone(self), identity, Arc::new(|_| {}))
    }

    /// Calls `hook` whenever a transition of this machine passes `point`.
    pub fn at(&self, point: Point, hook: impl Fn() + Send + Sync + 'static) {
        self.hooks.0.lock().unwrap().insert(point, Arc::new(hook));
    }

    /// Forgets all hooks.
    pub fn unhook(&self) {
        self.hooks.0.lock().unwrap().clear();
    }

    /// From now on, this is what it says of a process.
    pub fn show_process(&self, pid: i64, state: ProcessState) {
        self.processes.lock().unwrap().insert(pid, state);
    }

    /// From now on, no record of this machine gets written (or, with `false`, again they do).
    pub fn fail_writes(&self, fail: bool) {
        self.writes_fail.store(fail, Ordering::SeqCst);
    }
}

/// A clock that stands still until it is moved, and wakes whoever sleeps until then.
pub struct Clock {
    start: Now,
    state: Mutex<ClockState>,
    changed: Condvar,
}

struct ClockState {
    passed: Duration,
    /// How far somebody has set the wall clock forward, and back.
    wall_set: (Duration, Duration),
    rung: HashMap<String, bool>,
    /// By whom, where that can be told, and not yet heard.
    marks: Vec<(String, u64)>,
    /// Until when each sleeper sleeps.
    asleep: HashMap<String, Option<Duration>>,
}

impl Clock {
    /// A clock that begins with the real time.
    pub fn new() -> Arc<Self> {
        Self::from(UnixHost::new(PathBuf::new()).now())
    }

    /// As [`new`](Self::new), in a time namespace of its own: nobody else's deadlines mean anything to it.
    pub fn in_another_namespace() -> Arc<Self> {
        let mut start = UnixHost::new(PathBuf::new()).now();
        start.clock = ClockId::new(format!("{}/elsewhere", start.clock.boot()));
        Self::from(start)
    }

    fn from(start: Now) -> Arc<Self> {
        let state = ClockState {
            passed: Duration::ZERO,
            wall_set: <(Duration, Duration)>::default(),
            rung: HashMap::new(),
            marks: Vec::new(),
            asleep: HashMap::new(),
        };
        Arc::new(Self { start, state: Mutex::new(state), changed: Condvar::new() })
    }

    /// The time it shows.
    pub fn now(&self) -> Now {
        let (passed, (forward, back)) = {
            let state = self.state.lock().unwrap();
            (state.passed, state.wall_set)
        };
        let wall = self.start.wall.saturating_add(passed + forward).expect("a time within range");
        Now {
            monotonic: self.start.monotonic + passed,
            boottime: self.start.boottime + passed,
            wall: wall.saturating_sub(back).expect("a time within range"),
            clock: self.start.clock.clone(),
        }
    }

    /// Moves it on to `monotonic`, if that is later.
    pub fn advance_to(&self, monotonic: Duration) {
        let mut state = self.state.lock().unwrap();
        state.passed = state.passed.max(monotonic.saturating_sub(self.start.monotonic));
        self.changed.notify_all();
    }

    /// Sets the wall clock forward and back by so much, as an administrator or NTP does.
    pub fn set_wall(&self, forward: Duration, back: Duration) {
        self.state.lock().unwrap().wall_set = (forward, back);
    }

    /// Waits until somebody sleeps to an instant that has not come: whatever was due has been done.
    pub fn await_sleeper(&self) {
        let mut state = self.state.lock().unwrap();
        loop {
            let now = self.start.monotonic + state.passed;
            let settled = state.asleep.iter().any(|(file, until)| {
                until.is_none_or(|until| until > now) && !state.rung.get(file).copied().unwrap_or(false)
            });
            if settled {
                return;
            }
            state = self.changed.wait(state).unwrap();
        }
    }

    /// Moves it on, from one instant for which somebody sleeps to the next, until `done`; whoever brings that about moves the
    /// clock, too, be it by nothing.
    pub fn run_until(&self, done: impl Fn() -> bool) {
        let mut state = self.state.lock().unwrap();
        while !done() {
            let now = self.start.monotonic + state.passed;
            let rung = |file: &String| state.rung.get(file).copied().unwrap_or(false);
            let asleep = state.asleep.iter().filter(|(file, until)| !rung(file) && **until > Some(now));
            match asleep.filter_map(|(_, until)| *until).min() {
                Some(next) => {
                    state.passed = next - self.start.monotonic;
                    self.changed.notify_all();
                }
                None => state = self.changed.wait(state).unwrap(),
            }
        }
    }

    fn ring(&self, file: &str) {
        self.state.lock().unwrap().rung.insert(file.to_owned(), true);
        self.changed.notify_all();
    }

    fn mark(&self, file: &str, mark: u64) {
        self.state.lock().unwrap().marks.push((file.to_owned(), mark));
        self.ring(file);
    }

    fn has_heard(&self, file: &str, mark: u64) -> bool {
        !self.state.lock().unwrap().marks.contains(&(file.to_owned(), mark))
    }

    fn sleep(&self, file: &str, until: Option<Duration>) -> Wake {
        let mut state = self.state.lock().unwrap();
        loop {
            if state.rung.remove(file).unwrap_or(false) {
                state.asleep.remove(file);
                state.marks.retain(|(other, _)| other != file);
                return Wake::Rung;
            }
            if until.is_some_and(|until| self.start.monotonic + state.passed >= until) {
                state.asleep.remove(file);
                return Wake::Timeout;
            }
            if state.asleep.insert(file.to_owned(), until) != Some(until) {
                self.changed.notify_all();
            }
            state = self.changed.wait(state).unwrap();
        }
    }
}

/// A session's real file, whose bell is the clock's.
struct TimedFile {
    file: String,
    real: Box<dyn SessionFile>,
    clock: Arc<Clock>,
}

impl SessionFile for TimedFile {
    fn wait(&self, until: Option<Duration>, _: Option<BorrowedFd<'_>>) -> Wake {
        self.clock.sleep(&self.file, until)
    }

    fn ring(&self) {
        self.clock.ring(&self.file);
    }

    fn release(&self) {
        self.real.release();
    }

    fn inode(&self) -> u64 {
        self.real.inode()
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.real.descriptor()
    }
}

/// A mutex that passes a point when it is released.
struct HookedStripe {
    real: Option<Box<dyn Stripe>>,
    hooks: Arc<Hooks>,
}

impl Stripe for HookedStripe {
    fn read(&self) -> io::Result<Vec<u8>> {
        self.real.as_ref().expect("held until dropped").read()
    }

    fn write(&mut self, content: &[u8], sync: bool) -> io::Result<()> {
        self.real.as_mut().expect("held until dropped").write(content, sync)
    }
}

impl Drop for HookedStripe {
    fn drop(&mut self) {
        drop(self.real.take());
        self.hooks.pass(Point::AfterMutex);
    }
}

impl Host for Machine {
    fn now(&self) -> Now {
        self.clock.as_ref().map_or_else(|| self.real.now(), |clock| clock.now())
    }

    fn is_local(&self) -> bool {
        !self.afar && self.real.is_local()
    }

    fn prepare(&self) -> io::Result<()> {
        self.real.prepare()
    }

    fn read(&self, dir: Dir<'_>, file: &str, at_most: usize) -> io::Result<Option<Content>> {
        self.real.read(dir, file, at_most)
    }

    fn publish(
        &self,
        dir: Dir<'_>,
        file: &str,
        content: &[u8],
        how: Publish,
        sync: bool,
        draft: Draft<'_>,
    ) -> io::Result<()> {
        if dir == Dir::Locks {
            self.hooks.pass(Point::BeforeWrite);
            if self.writes_fail.load(Ordering::SeqCst) {
                return Err(io::Error::other("the test lets no record be written"));
            }
        }
        self.real.publish(dir, file, content, how, sync, draft)
    }

    fn overwrite(&self, dir: Dir<'_>, file: &str, content: &[u8]) -> io::Result<()> {
        self.real.overwrite(dir, file, content)
    }

    fn sync(&self, dir: Dir<'_>, file: &str) -> io::Result<()> {
        self.real.sync(dir, file)
    }

    fn remove(&self, dir: Dir<'_>, file: &str, sync: bool) -> io::Result<bool> {
        if dir == Dir::Locks {
            self.hooks.pass(Point::BeforeWrite);
        }
        self.real.remove(dir, file, sync)
    }

    fn list(&self, dir: Dir<'_>) -> io::Result<Vec<String>> {
        self.real.list(dir)
    }

    fn make_dir(&self, dir: Dir<'_>, sync: bool) -> io::Result<()> {
        self.real.make_dir(dir, sync)
    }

    fn remove_dir(&self, dir: Dir<'_>) -> bool {
        self.real.remove_dir(dir)
    }

    fn append(&self, file: &str, line: &[u8]) -> io::Result<()> {
        self.real.append(file, line)
    }

    fn open_log(&self, file: &str, age: usize) -> io::Result<Option<Box<dyn LogFile>>> {
        self.real.open_log(file, age)
    }

    fn lock_stripe(&self, stripe: usize, patience: Duration) -> Result<Box<dyn Stripe>, StripeError> {
        self.hooks.pass(Point::BeforeMutex);
        // The mutex is a real one: it is waited for in real time.
        let real = self.real.lock_stripe(stripe, patience.max(Duration::from_secs(10)))?;
        Ok(Box::new(HookedStripe { real: Some(real), hooks: Arc::clone(&self.hooks) }))
    }

    fn create_session(&self, file: &str, stripe: usize) -> io::Result<Box<dyn SessionFile>> {
        let real = self.real.create_session(file, stripe)?;
        Ok(match &self.clock {
            None => real,
            Some(clock) => Box::new(TimedFile { file: file.to_owned(), real, clock: Arc::clone(clock) }),
        })
    }

    fn probe_session(&self, file: &str, inode: Option<u64>) -> SessionState {
        self.hooks.pass(Point::BeforeProbe);
        match self.real.probe_session(file, inode) {
            SessionState::Locked if self.afar => SessionState::Unlocked,
            seen => seen,
        }
    }

    fn ring_session(&self, file: &str) {
        match &self.clock {
            None => self.real.ring_session(file),
            Some(clock) => clock.ring(file),
        }
    }

    fn mark_session(&self, file: &str, mark: u64) {
        match &self.clock {
            None => self.real.mark_session(file, mark),
            Some(clock) => clock.mark(file, mark),
        }
    }

    fn has_heard(&self, file: &str, mark: u64) -> bool {
        match &self.clock {
            None => self.real.has_heard(file, mark),
            Some(clock) => clock.has_heard(file, mark),
        }
    }

    fn watch_session(&self, file: &str, bell: &Arc<dyn SessionFile>) -> bool {
        self.real.watch_session(file, bell)
    }

    fn process(&self, pid: i64) -> ProcessState {
        let made_up = self.processes.lock().unwrap().get(&pid).copied();
        made_up.unwrap_or_else(|| self.real.process(pid))
    }

    fn is_stopped(&self, pid: i64) -> bool {
        self.real.is_stopped(pid)
    }

    fn watch_process(&self, pid: i64, bell: &Arc<dyn SessionFile>) -> bool {
        self.real.watch_process(pid, bell)
    }

    fn session_path(&self, file: &str) -> Option<PathBuf> {
        self.real.session_path(file)
    }

    fn spawn(&self, name: &str, work: Box<dyn FnOnce() + Send>) -> io::Result<Box<dyn Running>> {
        self.real.spawn(name, work)
    }

    fn random(&self) -> [u8; 16] {
        self.real.random()
    }
}
