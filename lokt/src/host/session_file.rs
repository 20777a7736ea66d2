//! A session's own file: a FIFO whose flock is the session's life, and whose reader hears the doorbell.
//!
//! One file serves for both, and neither is capped: inotify instances are 128 per user on a stock kernel.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::fstat;

use super::clock::time_left;
use super::{SessionFile, Wake, flock};

/// A session's file, held by its own process.
pub(super) struct Fifo(pub(super) File);

impl SessionFile for Fifo {
    fn wait(&self, until: Option<Duration>, also: Option<BorrowedFd<'_>>) -> Wake {
        loop {
            let timeout = until.map(time_left);
            let mut fds = vec![PollFd::new(&self.0, PollFlags::IN)];
            fds.extend(also.as_ref().map(|also| PollFd::new(also, PollFlags::IN)));
            match poll(&mut fds, timeout.as_ref()) {
                Ok(0) => return Wake::Timeout,
                Ok(_) if !fds[0].revents().is_empty() => {
                    self.drain();
                    return Wake::Rung;
                }
                Ok(_) => return Wake::Interrupted,
                Err(_) => {}
            }
        }
    }

    fn ring(&self) {
        // A full FIFO has rung already.
        let _ = (&self.0).write(b"!");
    }

    fn release(&self) {
        flock::unlock(&self.0);
    }

    fn identity(&self) -> u64 {
        // It fails only for a descriptor that is none.
        fstat(&self.0).map_or(0, |stat| stat.st_ino)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }
}

impl Fifo {
    fn drain(&self) {
        let mut bytes = [0; 64];
        while (&self.0).read(&mut bytes).is_ok_and(|read| read == bytes.len()) {}
    }
}
