//! The one door to flock(2).
//!
//! A flock belongs to an *open file description*: two opens of one file exclude each other, even in one
//! process, and copies of one descriptor (dup, fork, exec) share it until the last is closed or any of them
//! unlocks. So every lock here is taken on an open of its own, and is ended by an explicit unlock, which a
//! child that was forked meanwhile can't delay.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{hint, io, mem, thread};

use fs2::FileExt;
use rustix::fs::{Dev, fstat};

use super::clock::monotonic;
use super::signals::start_beside;

/// Longer than most transitions take. To start a thread takes half as long.
const TRANSITION: Duration = Duration::from_micros(100);

/// Takes an exclusive lock if it is free.
pub(super) fn try_exclusive(file: &File) -> io::Result<bool> {
    taken(FileExt::try_lock_exclusive(file))
}

/// Whether somebody else holds an exclusive lock. Shared, so that two who look don't see each other.
pub(super) fn is_locked(file: &File) -> io::Result<bool> {
    if taken(FileExt::try_lock_shared(file))? {
        unlock(file);
        return Ok(false);
    }
    Ok(true)
}

/// Sleeps until nobody holds an exclusive lock.
pub(super) fn await_unlocked(file: &File) -> io::Result<()> {
    uninterrupted(|| FileExt::lock_shared(file))?;
    unlock(file);
    Ok(())
}

/// Ends the lock, for every copy of the descriptor.
pub(super) fn unlock(file: &File) {
    // It fails only for a descriptor that is none.
    let _ = FileExt::unlock(file);
}

/// The places that this process has in the kernel's queues, by the names of the files, and that nobody waits for just now.
#[derive(Default)]
pub(super) struct Queues(Mutex<BTreeMap<String, Vec<Arc<Place>>>>);

impl Queues {
    /// Takes an exclusive lock within `patience`; `None` if that was not enough. Whoever comes again then has its place in
    /// the queue still.
    ///
    /// Most often it is free after the few system calls of somebody else's transition.
    pub(super) fn exclusive_within(
        &self,
        name: &str,
        file: File,
        patience: Duration,
    ) -> io::Result<Option<File>> {
        let began = monotonic();
        while !try_exclusive(&file)? {
            if patience.is_zero() {
                return Ok(None);
            }
            if monotonic() - began >= TRANSITION.min(patience) {
                return self.queued(name, file, patience);
            }
            // To yield would be to hand the processor over for some milliseconds, to whoever else wants it.
            hint::spin_loop();
        }
        Ok(Some(file))
    }

    fn queued(&self, name: &str, file: File, patience: Duration) -> io::Result<Option<File>> {
        // Whoever cleared the directory away has left those before in the queue of a file that is nobody's any more.
        let stat = fstat(&file)?;
        let place = match self.left_before(name, (stat.st_dev, stat.st_ino)) {
            Some(place) => {
                drop(file);
                place
            }
            None => Place::join(file, (stat.st_dev, stat.st_ino))?,
        };
        let taken = place.wait(patience);
        if taken.is_none() {
            self.all().entry(name.to_owned()).or_default().push(place);
        }
        taken.transpose()
    }

    /// The foremost of them.
    fn left_before(&self, name: &str, file: Inode) -> Option<Arc<Place>> {
        let mut all = self.all();
        let places = all.get_mut(name)?;
        let mut foremost = std::iter::from_fn(|| (!places.is_empty()).then(|| places.remove(0)));
        foremost.find(|place| place.file == file && place.is_wanted_again())
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Arc<Place>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file, by device and inode.
type Inode = (Dev, u64);

/// A place in the kernel's queue for a file. The kernel has no flock with a time limit, and who leaves its queue comes
/// last in it: a thread of its own sleeps there.
struct Place {
    file: Inode,
    service: Mutex<Service>,
    told: Condvar,
}

enum Service {
    Awaited,
    /// Whoever waited has given up, for now.
    Unwanted,
    Ready(io::Result<File>),
    /// It was given to somebody, or let go as nobody was there to take it.
    Over,
}

impl Place {
    fn join(file: File, inode: Inode) -> io::Result<Arc<Self>> {
        let service = Mutex::new(Service::Awaited);
        let place = Arc::new(Self { file: inode, service, told: Condvar::new() });
        let own = Arc::clone(&place);
        let thread = thread::Builder::new().name("mutex".into()).stack_size(64 * 1024);
        start_beside(thread, move || {
            let taken = uninterrupted(|| FileExt::lock_exclusive(&file)).map(|()| file);
            own.serve(taken);
        })?;
        Ok(place)
    }

    fn serve(&self, taken: io::Result<File>) {
        let mut service = self.service();
        *service = match (&*service, taken) {
            (Service::Awaited, taken) => Service::Ready(taken),
            (_, Ok(late)) => {
                unlock(&late);
                Service::Over
            }
            (_, Err(_)) => Service::Over,
        };
        self.told.notify_one();
    }

    /// Whether there is still something to wait for.
    fn is_wanted_again(&self) -> bool {
        let mut service = self.service();
        let is_left = matches!(*service, Service::Unwanted);
        if is_left {
            *service = Service::Awaited;
        }
        is_left
    }

    fn wait(&self, patience: Duration) -> Option<io::Result<File>> {
        let unserved = |service: &mut Service| matches!(service, Service::Awaited);
        let waited = self.told.wait_timeout_while(self.service(), patience, unserved);
        let (mut service, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match mem::replace(&mut *service, Service::Over) {
            Service::Ready(taken) => Some(taken),
            _ => {
                *service = Service::Unwanted;
                None
            }
        }
    }

    fn service(&self) -> MutexGuard<'_, Service> {
        self.service.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn taken(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == fs2::lock_contended_error().raw_os_error() => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
        Err(error) => Err(error),
    }
}

fn uninterrupted(mut call: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
