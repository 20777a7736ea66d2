//! The real machine: Linux, and other Unixes as far as they go.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, openat, unlinkat};
use rustix::io::Errno;

use super::clock::{boottime, clock_id, monotonic};
use super::dirs::{Handle, RootDir};
use super::failure::named;
use super::files::{place, stripe_file};
use super::log::{ROTATOR, Rotation};
use super::session_file::Fifo;
use super::signals::start_beside;
use super::{
    Content, Dir, Draft, Host, LogFile, MutexBusy, ProcessState, Publish, Running, SessionFile, SessionState,
    Stripe, StripeError, flock, platform, process,
};
use crate::protocol::{ClockId, Now};

/// How a session's file is opened: it must not be followed elsewhere, waited for, or inherited by chance.
const SESSION: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// A bell in which so much stands is heard by nobody, and may take no mark any more: no FIFO is smaller.
const UNHEARD: usize = 4096;

/// This machine, with one directory as root.
pub struct UnixHost {
    pub(super) files: RootDir,
    rotation: Rotation,
    clock: OnceLock<ClockId>,
    watched: Arc<Watched>,
    mutexes: flock::Queues,
}

/// What is being watched, and whose bells its end rings: a thread each, however many watch it.
#[derive(Default)]
struct Watched(Mutex<BTreeMap<String, Vec<Weak<dyn SessionFile>>>>);

/// A mutex that is held.
struct UnixStripe {
    file: File,
    path: PathBuf,
}

impl UnixHost {
    /// The machine, with `root` as the lock directory.
    pub fn new(root: PathBuf) -> Self {
        Self {
            files: RootDir::new(root),
            rotation: Rotation::from_environment().unwrap_or_default(),
            clock: OnceLock::new(),
            watched: Arc::default(),
            mutexes: flock::Queues::default(),
        }
    }

    /// What is wrong with the variables that it goes by, if anything is.
    pub(crate) fn check_environment() -> Result<(), String> {
        Rotation::from_environment().map(drop)
    }

    /// The same, with an audit log of at most `bytes` or so, whatever `LOKT_AUDIT_MAX_BYTES` says; 0 lets it grow.
    pub fn with_log_limit(self, bytes: u64) -> Self {
        Self { rotation: Rotation::within(bytes), ..self }
    }

    /// The lock directory.
    pub fn root(&self) -> &Path {
        self.files.path()
    }

    fn make_fifo(&self, dir: &Handle<'_>, name: &str) -> io::Result<Fifo> {
        let path = self.files.path_of(Dir::Stripes, name);
        let _owner = self.files.as_owner_of(dir)?;
        match platform::make_fifo(dir, name, &path) {
            // Left by a process that died in here; we hold its mutex.
            Err(Errno::EXIST) => {
                unlinkat(dir, name, AtFlags::empty())
                    .map_err(|error| named(&error.into(), "remove", &path))?;
                platform::make_fifo(dir, name, &path)?;
            }
            other => other?,
        }
        let fd = openat(dir, name, OFlags::RDWR | SESSION, Mode::empty())?;
        let stat = fstat(&fd)?;
        if self.files.is_shared()? {
            // Whoever may write there may have put another file in its place, which is not to be shared.
            if FileType::from_raw_mode(stat.st_mode) != FileType::Fifo || stat.st_nlink != 1 {
                return Err(io::Error::other("a file that was just made is another"));
            }
        }
        self.files.share(&fd)?;
        let fifo = Fifo { file: File::from(fd), inode: stat.st_ino };
        match flock::try_exclusive(&fifo.file)? {
            true => Ok(fifo),
            false => Err(io::Error::other("a file that was just made is locked")),
        }
    }

    fn lock_mutex(&self, name: &str, patience: Duration) -> Result<UnixStripe, StripeError> {
        loop {
            let (file, stat) = self.files.open_stripe(name).map_err(StripeError::Io)?;
            let taken = self.mutexes.exclusive_within(name, file, patience).map_err(StripeError::Io)?;
            let Some(file) = taken else {
                let holder = process::flock_holder(&stat);
                return Err(StripeError::Busy(MutexBusy { holder }));
            };
            // Nobody removes it but a user who clears the root away; then this lock excludes nobody.
            if fstat(&file).is_ok_and(|stat| stat.st_nlink > 0) {
                return Ok(UnixStripe { file, path: self.files.path_of(Dir::Stripes, name) });
            }
        }
    }

    fn write_to_session(&self, file: &str, bytes: &[u8]) {
        // Nobody reads it: nobody is there to hear. A full FIFO has rung already.
        if let Ok((fd, _)) = self.open_session(file, OFlags::WRONLY) {
            let _ = File::from(fd).write(bytes);
        }
    }

    /// Opens a session's file; its inode number too.
    fn open_session(&self, file: &str, access: OFlags) -> io::Result<(OwnedFd, u64)> {
        let sessions = self.files.open_dir(Dir::Sessions)?;
        let fd = openat(&sessions, file, access | SESSION, Mode::empty())?;
        let stat = fstat(&fd)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Fifo => Ok((fd, stat.st_ino)),
            _ => Err(io::Error::from(io::ErrorKind::InvalidData)),
        }
    }
}

impl Host for UnixHost {
    fn now(&self) -> Now {
        let clock = self.clock.get_or_init(clock_id).clone();
        Now { monotonic: monotonic(), boottime: boottime(), wall: jiff::Timestamp::now(), clock }
    }

    fn is_local(&self) -> bool {
        self.files.is_local()
    }

    fn prepare(&self) -> io::Result<()> {
        self.files.prepare()
    }

    fn read(&self, dir: Dir<'_>, file: &str, at_most: usize) -> io::Result<Option<Content>> {
        self.files.read(dir, file, at_most)
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
        self.files.publish(dir, file, content, how, sync, draft)
    }

    fn overwrite(&self, dir: Dir<'_>, file: &str, content: &[u8]) -> io::Result<()> {
        self.files.overwrite(dir, file, content)
    }

    fn sync(&self, dir: Dir<'_>, file: &str) -> io::Result<()> {
        self.files.sync(dir, file)
    }

    fn remove(&self, dir: Dir<'_>, file: &str, sync: bool) -> io::Result<bool> {
        self.files.remove(dir, file, sync)
    }

    fn list(&self, dir: Dir<'_>) -> io::Result<Vec<String>> {
        self.files.list(dir)
    }

    fn make_dir(&self, dir: Dir<'_>, sync: bool) -> io::Result<()> {
        self.files.make(dir)?;
        if sync { self.files.sync_parents(dir) } else { Ok(()) }
    }

    fn remove_dir(&self, dir: Dir<'_>) -> bool {
        self.files.remove_dir(dir)
    }

    fn append(&self, file: &str, line: &[u8]) -> io::Result<()> {
        let is_full = self.files.append(file, line, self.rotation)?;
        if is_full && let Ok(_turn) = self.lock_mutex(ROTATOR, Duration::ZERO) {
            // The line is in the log. Where it can't be rotated, the next one tries again.
            let _ = self.files.rotate(file, self.rotation);
        }
        Ok(())
    }

    fn open_log(&self, file: &str, age: usize) -> io::Result<Option<Box<dyn LogFile>>> {
        self.files.open_log(file, age)
    }

    fn lock_stripe(&self, stripe: usize, patience: Duration) -> Result<Box<dyn Stripe>, StripeError> {
        Ok(Box::new(self.lock_mutex(&stripe_file(stripe), patience)?))
    }

    fn create_session(&self, file: &str, stripe: usize) -> io::Result<Box<dyn SessionFile>> {
        let (stripes, sessions) = (self.files.open_dir(Dir::Stripes)?, self.files.open_dir(Dir::Sessions)?);
        let hidden = stripe_file(stripe) + ".new";
        let made = self.make_fifo(&stripes, &hidden).and_then(|fifo| {
            place(&stripes, &hidden, &sessions, file, Publish::New)?;
            Ok(fifo)
        });
        match made {
            Ok(fifo) => Ok(Box::new(fifo)),
            Err(error) => {
                let _ = unlinkat(&stripes, hidden.as_str(), AtFlags::empty());
                Err(named(&error, "create", &self.files.path_of(Dir::Sessions, file)))
            }
        }
    }

    fn probe_session(&self, file: &str, inode: Option<u64>) -> SessionState {
        let (fd, found) = match self.open_session(file, OFlags::RDONLY) {
            Ok(opened) => opened,
            Err(error) if is_none_of_ours(&error) => return SessionState::Missing,
            // Out of descriptors, or of memory: that is no news of the session.
            Err(_) => return SessionState::Locked,
        };
        if inode.is_some_and(|inode| inode != found) {
            return SessionState::Missing;
        }
        match flock::is_locked(&File::from(fd)) {
            Ok(false) => SessionState::Unlocked,
            Ok(true) | Err(_) => SessionState::Locked,
        }
    }

    fn ring_session(&self, file: &str) {
        self.write_to_session(file, b"!");
    }

    fn mark_session(&self, file: &str, mark: u64) {
        self.write_to_session(file, &mark.to_ne_bytes());
    }

    fn has_heard(&self, file: &str, mark: u64) -> bool {
        let unheard = self.open_session(file, OFlags::RDONLY).and_then(|(fd, _)| platform::unread(&fd));
        let mark = mark.to_ne_bytes();
        let stands_in = |unheard: Vec<u8>| {
            unheard.len() >= UNHEARD || unheard.windows(mark.len()).any(|part| part == mark)
        };
        !unheard.is_ok_and(stands_in)
    }

    fn give_way(&self) {
        thread::yield_now();
    }

    fn watch_session(&self, file: &str, bell: &Arc<dyn SessionFile>) -> bool {
        // On a network file system a blocked flock may wake late, or hang where no signal reaches.
        if !self.is_local() {
            return false;
        }
        let Ok((fd, _)) = self.open_session(file, OFlags::RDONLY) else {
            return false;
        };
        let session = File::from(fd);
        self.watched.watch(file.to_owned(), bell, move || {
            let _ = flock::await_unlocked(&session);
        })
    }

    fn process(&self, pid: i64) -> ProcessState {
        process::state_of(pid)
    }

    fn is_stopped(&self, pid: i64) -> bool {
        process::is_stopped(pid)
    }

    fn watch_process(&self, pid: i64, bell: &Arc<dyn SessionFile>) -> bool {
        match process::as_pid(pid).and_then(platform::end_of_process) {
            Some(end) => self.watched.watch(format!("process {pid}"), bell, end),
            None => false,
        }
    }

    fn session_path(&self, file: &str) -> Option<PathBuf> {
        Some(self.files.path_of(Dir::Sessions, file))
    }

    fn spawn(&self, name: &str, work: Box<dyn FnOnce() + Send>) -> io::Result<Box<dyn Running>> {
        let thread = thread::Builder::new().name(name.to_owned()).stack_size(256 * 1024);
        Ok(Box::new(start_beside(thread, work)?))
    }

    fn random(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        if getrandom::fill(&mut bytes).is_err() {
            // No entropy: unique all the same, by time and process.
            let seed = monotonic().as_nanos() ^ (u128::from(std::process::id()) << 96);
            bytes = seed.to_ne_bytes();
        }
        bytes
    }
}

/// Whether opening a session's file failed because there is none, or something else in its place.
fn is_none_of_ours(error: &io::Error) -> bool {
    let strange = [Errno::LOOP, Errno::NXIO, Errno::ISDIR, Errno::NOTDIR].map(Errno::raw_os_error);
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData)
        || error.raw_os_error().is_some_and(|raw| strange.contains(&raw))
}

impl Watched {
    /// Rings `bell` after `end` has returned, in a thread that all who watch the same thing share.
    fn watch(
        self: &Arc<Self>,
        what: String,
        bell: &Arc<dyn SessionFile>,
        end: impl FnOnce() + Send + 'static,
    ) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bell = Arc::downgrade(bell);
        if let Some(bells) = all.get_mut(&what) {
            bells.retain(|other| other.strong_count() > 0 && !other.ptr_eq(&bell));
            bells.push(bell);
            return true;
        }
        let (watched, key) = (Arc::clone(self), what.clone());
        let thread = thread::Builder::new().name("watch".into()).stack_size(64 * 1024);
        let spawned = start_beside(thread, move || {
            end();
            let bells = watched.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            bells.iter().flatten().filter_map(Weak::upgrade).for_each(|bell| bell.ring());
        });
        if spawned.is_ok() {
            all.insert(what, vec![bell]);
        }
        spawned.is_ok()
    }
}

impl Running for JoinHandle<()> {
    fn join(self: Box<Self>) {
        // It panicked: then there is nothing to wait for either.
        let _ = JoinHandle::join(*self);
    }

    fn is_current(&self) -> bool {
        self.thread().id() == thread::current().id()
    }
}

impl Stripe for UnixStripe {
    fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; 256];
        let read = self.file.read_at(&mut bytes, 0).map_err(|error| named(&error, "read", &self.path))?;
        bytes.truncate(read);
        Ok(bytes)
    }

    fn write(&mut self, content: &[u8], sync: bool) -> io::Result<()> {
        let written = self.file.write_all_at(content, 0);
        let done = if sync { written.and_then(|()| self.file.sync_all()) } else { written };
        done.map_err(|error| named(&error, "write", &self.path))
    }
}

impl Drop for UnixStripe {
    fn drop(&mut self) {
        flock::unlock(&self.file);
    }
}
