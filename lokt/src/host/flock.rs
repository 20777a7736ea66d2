//! The one door to flock(2).
//!
//! A flock belongs to an *open file description*: two opens of one file exclude each other, even in one
//! process, and copies of one descriptor (dup, fork, exec) share it until the last is closed or any of them
//! unlocks. So every lock here is taken on an open of its own, and is ended by an explicit unlock, which a
//! child that was forked meanwhile can't delay.

use std::fs::File;
use std::hint;
use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use fs2::FileExt;

use super::clock::monotonic;

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

/// Takes an exclusive lock within `patience`; `None` if that was not enough.
///
/// Most often it is free after the few system calls of somebody else's transition.
pub(super) fn exclusive_within(file: File, patience: Duration) -> io::Result<Option<File>> {
    let soon = monotonic() + TRANSITION.min(patience);
    while !try_exclusive(&file)? {
        if patience.is_zero() {
            return Ok(None);
        }
        if monotonic() >= soon {
            return queued(file, patience);
        }
        // To yield would be to hand the processor over for some milliseconds, to whoever else wants it.
        hint::spin_loop();
    }
    Ok(Some(file))
}

/// The kernel has no flock with a time limit. A thread of its own sleeps in it, in the kernel's queue; if it is
/// served too late, nobody is there to take the file from it, and it lets go at once.
fn queued(file: File, patience: Duration) -> io::Result<Option<File>> {
    let (served, service) = mpsc::sync_channel(0);
    thread::Builder::new().name("mutex".into()).stack_size(64 * 1024).spawn(move || {
        let taken = uninterrupted(|| FileExt::lock_exclusive(&file)).map(|()| file);
        if let Err(mpsc::SendError(Ok(late))) = served.send(taken) {
            unlock(&late);
        }
    })?;
    match service.recv_timeout(patience) {
        Ok(taken) => taken.map(Some),
        Err(_) => Ok(None),
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
