//! A process of the simulated machine, as the lock sees it: [`Host`] on a virtual file system, clock and kernel.
//!
//! Every operation first lets the world say who goes on. An operation that is several system calls on the real
//! machine is several steps here, wherever a kill or an error between them leaves something else behind.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use lokt::host::{
    Content, Dir, Draft, Host, Identity, LogFile, MutexBusy, ProcessState, Publish, Running, SessionFile,
    SessionState, Stripe, StripeError,
};
use lokt::protocol::Now;

use super::disk::Place;
use super::fibers::{die, pause};
use super::open::{SimFile, SimStripe, SimThread};
use super::world::{On, Pid, Shared, World};

/// When its processes started; their ids are not used again.
const STARTED: i64 = 1;

/// A process of the simulated machine.
#[derive(Clone)]
pub struct SimHost {
    world: Shared,
    pub pid: Pid,
}

/// The world, while one operation changes it.
type Step<'a> = MutexGuard<'a, World>;

impl SimHost {
    pub fn new(world: &Shared, pid: Pid) -> Self {
        Self { world: Arc::clone(world), pid }
    }

    pub fn identity(&self) -> Identity {
        let name = self.world().processes[self.pid].name.clone();
        Identity {
            owner: name,
            agent_id: String::new(),
            host: "sim".to_owned(),
            pid: self.pid as i64 + 1,
            pid_start: Some(STARTED),
            pid_ns: Some(1),
        }
    }

    /// The world, without a step: to look, or to note something.
    pub fn world(&self) -> Step<'_> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the others go first, if so chosen; never comes back if the process is killed.
    pub(super) fn step(&self) -> io::Result<Step<'_>> {
        if std::thread::panicking() {
            return Err(io::Error::other("this process is dead"));
        }
        let mut world = self.world();
        if !world.is_running(self.pid) {
            drop(world);
            die();
        }
        let me = world.current;
        world.point();
        Ok(self.come_back(world, me))
    }

    /// A step that may fail.
    pub(super) fn failing_step(&self, kind: io::ErrorKind) -> io::Result<Step<'_>> {
        let mut world = self.step()?;
        match world.fails(self.pid) {
            true => Err(kind.into()),
            false => Ok(world),
        }
    }

    /// Goes on once it is this fiber's turn.
    fn come_back<'a>(&'a self, mut world: Step<'a>, me: usize) -> Step<'a> {
        if world.current != me || world.over || !world.is_running(self.pid) {
            drop(world);
            pause();
            world = self.world();
        }
        if !world.is_running(self.pid) {
            drop(world);
            die();
        }
        world
    }

    /// Sleeps on something, until then at the latest.
    pub(super) fn sleep<'a>(&'a self, mut world: Step<'a>, on: On, until: Duration) -> Step<'a> {
        let me = world.current;
        world.sleep(on, until);
        self.come_back(world, me)
    }

    /// Sleeps until then, or until it is nudged.
    pub fn sleep_until(&self, until: Duration) {
        if let Ok(world) = self.step()
            && world.monotonic() < until
        {
            let until = world.instant(until);
            drop(self.sleep(world, On::Nudge(self.pid), until));
        }
    }

    /// The guard has heard that its lock is lost.
    pub fn notices_loss(&self) {
        let mut world = self.world();
        world.truth.stops_listening(self.pid);
        world.wake(On::Nudge(self.pid));
    }

    pub fn elapsed(&self) -> Duration {
        self.world().monotonic()
    }

    /// Writes a draft: a file in some other place has this content from then on.
    fn write_draft(&self, draft: Draft<'_>, content: &[u8]) -> io::Result<()> {
        let mut world = self.failing_step(io::ErrorKind::StorageFull)?;
        let Draft::Used(dir, file) = draft else { return Ok(()) };
        let dir = Place::from(dir);
        if world.disk.read(&dir, file).is_none() {
            return Err(io::ErrorKind::NotFound.into());
        }
        world.disk.write(&dir, file, content.to_vec());
        Ok(())
    }

    /// Takes a draft away from where it was written.
    fn take_draft(&self, world: &mut World, draft: Draft<'_>) {
        if let Draft::Used(dir, file) = draft {
            self.unlink(world, &dir.into(), file);
        }
    }

    /// Removes a file, seen by the truth.
    fn unlink(&self, world: &mut World, dir: &Place, file: &str) -> bool {
        world.sees_removal(self.pid, dir, file);
        world.disk.remove(dir, file)
    }

    /// Places a file, seen by the truth.
    fn place(&self, world: &mut World, dir: &Place, file: &str, content: &[u8]) {
        world.sees_placed(self.pid, dir, file, content);
        world.disk.write(dir, file, content.to_vec());
    }
}

impl Host for SimHost {
    fn now(&self) -> Now {
        self.world().clocks()
    }

    fn is_local(&self) -> bool {
        true
    }

    fn prepare(&self) -> io::Result<()> {
        Ok(())
    }

    fn read(&self, dir: Dir<'_>, file: &str, _: usize) -> io::Result<Option<Content>> {
        let world = self.failing_step(io::ErrorKind::Other)?;
        let content = world.disk.read(&dir.into(), file);
        let age = Duration::from_secs(3_600);
        Ok(content.map(|bytes| Content { bytes: bytes.clone(), truncated: false, age }))
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
        let dir = Place::from(dir);
        let placed = self.write_draft(draft, content).and_then(|()| {
            let mut world = self.failing_step(io::ErrorKind::Other)?;
            if !world.disk.has_dir(&dir) {
                return Err(io::ErrorKind::NotFound.into());
            }
            if how == Publish::New && world.disk.read(&dir, file).is_some() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            self.take_draft(&mut world, draft);
            self.place(&mut world, &dir, file, content);
            Ok(())
        });
        if placed.is_err() {
            self.take_draft(&mut *self.step()?, draft);
        }
        placed?;
        if sync {
            let mut world = self.failing_step(io::ErrorKind::Other)?;
            world.disk.sync(&dir, file);
        }
        Ok(())
    }

    fn overwrite(&self, dir: Dir<'_>, file: &str, content: &[u8]) -> io::Result<()> {
        let dir = Place::from(dir);
        let mut world = self.failing_step(io::ErrorKind::StorageFull)?;
        if world.disk.read(&dir, file).is_none() {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.place(&mut world, &dir, file, content);
        Ok(())
    }

    fn sync(&self, dir: Dir<'_>, file: &str) -> io::Result<()> {
        self.failing_step(io::ErrorKind::Other)?.disk.sync(&Place::from(dir), file);
        Ok(())
    }

    fn remove(&self, dir: Dir<'_>, file: &str, sync: bool) -> io::Result<bool> {
        let dir = Place::from(dir);
        let mut world = self.failing_step(io::ErrorKind::Other)?;
        let removed = self.unlink(&mut world, &dir, file);
        drop(world);
        if sync && removed {
            let mut world = self.failing_step(io::ErrorKind::Other)?;
            world.disk.sync(&dir, file);
        }
        Ok(removed)
    }

    fn list(&self, dir: Dir<'_>) -> io::Result<Vec<String>> {
        let world = self.failing_step(io::ErrorKind::Other)?;
        Ok(world.disk.list(&dir.into()))
    }

    fn make_dir(&self, dir: Dir<'_>, sync: bool) -> io::Result<()> {
        let dir = Place::from(dir);
        self.failing_step(io::ErrorKind::StorageFull)?.disk.make_dir(dir.clone());
        if sync {
            self.failing_step(io::ErrorKind::Other)?.disk.sync_dir(&dir);
        }
        Ok(())
    }

    fn remove_dir(&self, dir: Dir<'_>) -> bool {
        self.step().is_ok_and(|mut world| world.disk.remove_dir(&dir.into()))
    }

    fn append(&self, _: &str, line: &[u8]) -> io::Result<()> {
        self.failing_step(io::ErrorKind::StorageFull)?.disk.log.extend_from_slice(line);
        Ok(())
    }

    fn open_log(&self, _: &str, _: usize) -> io::Result<Option<Box<dyn LogFile>>> {
        // Nobody reads it but who checks the run.
        Ok(None)
    }

    fn lock_stripe(&self, stripe: usize, patience: Duration) -> Result<Box<dyn Stripe>, StripeError> {
        let mut world = self.failing_step(io::ErrorKind::Other).map_err(StripeError::Io)?;
        let until = world.now.saturating_add(patience);
        while !world.try_lock(stripe, self.pid) {
            if world.now >= until {
                return Err(StripeError::Busy(MutexBusy { holder: None }));
            }
            world.tell(self.pid, || "waits for the mutex".to_owned());
            world = self.sleep(world, On::Stripe(stripe), until);
        }
        world.processes[self.pid].owes_ring = false;
        drop(world);
        Ok(Box::new(SimStripe { host: self.clone(), stripe, file: format!("{stripe:02x}") }))
    }

    fn create_session(&self, file: &str, _: usize) -> io::Result<Box<dyn SessionFile>> {
        // First the hidden FIFO, then its flock, then its name.
        drop(self.failing_step(io::ErrorKind::StorageFull)?);
        let mut world = self.failing_step(io::ErrorKind::Other)?;
        let ino = world.new_session(self.pid);
        world.disk.write(&Place::Sessions, file, ino.to_string().into_bytes());
        drop(world);
        Ok(Box::new(SimFile { host: self.clone(), ino }))
    }

    fn probe_session(&self, file: &str, inode: Option<u64>) -> SessionState {
        let Ok(mut world) = self.step() else { return SessionState::Locked };
        if world.fails(self.pid) {
            return SessionState::Locked;
        }
        match world.session_in(file).filter(|ino| inode.is_none_or(|inode| inode == *ino as u64)) {
            Some(ino) if world.sessions[ino].locked => SessionState::Locked,
            Some(_) => SessionState::Unlocked,
            None => SessionState::Missing,
        }
    }

    fn ring_session(&self, file: &str) {
        if let Ok(mut world) = self.step()
            && let Some(ino) = world.session_in(file)
        {
            // Under the mutex it is the evicted one who is rung; the line is called without.
            world.processes[self.pid].owes_ring &= world.stripes.contains(&Some(self.pid));
            world.ring(ino);
        }
    }

    fn mark_session(&self, file: &str, mark: u64) {
        if let Ok(mut world) = self.step()
            && let Some(ino) = world.session_in(file)
        {
            world.mark(ino, mark);
        }
    }

    fn has_heard(&self, file: &str, mark: u64) -> bool {
        let Ok(world) = self.step() else { return true };
        world.session_in(file).is_none_or(|ino| world.has_heard(ino, mark))
    }

    fn watch_session(&self, file: &str, bell: &Arc<dyn SessionFile>) -> bool {
        let Ok(mut world) = self.step() else { return false };
        let Some(ino) = world.session_in(file) else { return false };
        world.watch(ino, bell.inode() as usize, self.pid);
        true
    }

    fn process(&self, pid: i64) -> ProcessState {
        let Ok(world) = self.step() else { return ProcessState::Unknown };
        match world.processes.get((pid - 1) as usize) {
            Some(process) if process.alive => ProcessState::Running { start: Some(STARTED) },
            _ => ProcessState::Gone,
        }
    }

    fn is_stopped(&self, pid: i64) -> bool {
        let Ok(world) = self.step() else { return false };
        world.processes.get((pid - 1) as usize).is_some_and(|process| process.stopped.is_some())
    }

    fn watch_process(&self, pid: i64, bell: &Arc<dyn SessionFile>) -> bool {
        let Ok(mut world) = self.step() else { return false };
        world.watch_process((pid - 1) as usize, bell.inode() as usize, self.pid);
        true
    }

    fn session_path(&self, _: &str) -> Option<PathBuf> {
        None
    }

    fn spawn(&self, _: &str, work: Box<dyn FnOnce() + Send>) -> io::Result<Box<dyn Running>> {
        let mut world = self.step()?;
        let fiber = world.spawn(self.pid, work);
        drop(world);
        Ok(Box::new(SimThread { host: self.clone(), fiber }))
    }

    fn random(&self) -> [u8; 16] {
        let mut world = self.world();
        world.randoms += 1;
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&world.randoms.to_be_bytes());
        bytes
    }
}
