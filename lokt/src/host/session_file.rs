//! A session's own file: a FIFO whose flock is the session's life, and whose reader hears the doorbell.
//!
//! One file serves for both, and neither is capped: inotify instances are 128 per user on a stock kernel.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use super::clock::{monotonic, poll_until};
use super::{SessionFile, Wake, flock};

/// A session's file, held by its own process.
pub(super) struct Fifo {
    pub(super) file: File,
    /// Known since it was made: where files are moved by a link (FUSE), the descriptor no longer tells it afterwards.
    pub(super) inode: u64,
}

impl SessionFile for Fifo {
    fn wait(&self, until: Option<Duration>, also: Option<BorrowedFd<'_>>) -> Wake {
        loop {
            let mut fds = vec![PollFd::new(&self.file, PollFlags::IN)];
            fds.extend(also.as_ref().map(|also| PollFd::new(also, PollFlags::IN)));
            match poll_until(&mut fds, until) {
                Ok(0) => return Wake::Timeout,
                Ok(_) if !fds[0].revents().is_empty() => {
                    self.drain();
                    return Wake::Rung;
                }
                Ok(_) => return Wake::Interrupted,
                Err(Errno::INTR) => {}
                // It can't be known what came.
                Err(_) if self.drain() => return Wake::Rung,
                Err(_) if until.is_some_and(|until| monotonic() >= until) => return Wake::Timeout,
                Err(_) if also.is_some() => return Wake::Interrupted,
                Err(_) => {}
            }
        }
    }

    fn ring(&self) {
        // A full FIFO has rung already.
        let _ = (&self.file).write(b"!");
    }

    fn release(&self) {
        flock::unlock(&self.file);
    }

    fn inode(&self) -> u64 {
        self.inode
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }
}

impl Fifo {
    /// Whether it had rung.
    fn drain(&self) -> bool {
        let mut bytes = [0; 64];
        let mut rung = false;
        while let Ok(read @ 1..) = (&self.file).read(&mut bytes) {
            rung = true;
            if read < bytes.len() {
                break;
            }
        }
        rung
    }
}
