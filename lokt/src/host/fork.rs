//! A child process: from its fork to its exec.
//!
//! An exec takes as long as the file system that it reads from, and that may have gone away. So the parent does not sleep
//! through it, as after vfork(2): it goes on, and a pipe that the exec closes tells when that is done.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use super::platform::{self, ChildMain, ChildStack};
use super::signals::HeldBack;

/// What a child does until its exec; it returns if there is none, and why. Async-signal-safe calls only.
pub(crate) type UntilExec = Box<dyn FnMut() -> Errno>;

/// A child that may not have come to its exec yet.
pub(crate) struct Forked {
    pid: Pid,
    told: OwnedFd,
    /// The memory that it uses until its exec.
    kept: Option<(Box<ChildMain>, ChildStack)>,
}

impl Forked {
    /// Starts a child, with every signal held back: none must end in the handlers that it inherits.
    #[expect(unsafe_code, reason = "only the system makes processes")]
    pub(crate) fn begin(mut until_exec: UntilExec) -> io::Result<Self> {
        let held_back = HeldBack::all()?;
        let (told, tell) = platform::pipe()?;
        let number = tell.as_raw_fd();
        let mut main: Box<ChildMain> = Box::new(Box::new(move || {
            let error = until_exec() as i32;
            // SAFETY: it is open in this process, whatever the parent does with its own.
            let _ = rustix::io::write(unsafe { BorrowedFd::borrow_raw(number) }, &error.to_ne_bytes());
            127
        }));
        // SAFETY: all that it does is async-signal-safe; both are kept until it is over, or for ever.
        let (pid, stack) = unsafe { platform::fork_child(&raw mut *main) }?;
        drop((tell, held_back));
        Ok(Self { pid, told, kept: Some((main, stack)) })
    }

    /// Its id.
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Whether it has come to its exec, or to another end; `None` if it has not yet. Nobody needs to wait for that: of an end
    /// the parent is told by SIGCHLD, and an exec that is done is no news.
    ///
    /// # Errors
    ///
    /// What it has returned instead of an exec.
    pub(crate) fn outcome(&mut self) -> Option<io::Result<()>> {
        let mut error = [0; size_of::<i32>()];
        let outcome = match rustix::io::read(&self.told, &mut error) {
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return None,
            Ok(read) if read == error.len() => {
                self.await_end();
                Err(io::Error::from_raw_os_error(i32::from_ne_bytes(error)))
            }
            // Its descriptors are closed after it has parted from the memory, be it by an exec or an end.
            _ => Ok(()),
        };
        self.kept = None;
        Some(outcome)
    }

    /// Waits for one that is ending anyway, and so not for somebody who has stopped it.
    fn await_end(&self) {
        if let Ok(None) = waitpid(Some(self.pid), WaitOptions::NOHANG) {
            let _ = kill_process(self.pid, Signal::KILL);
            let _ = waitpid(Some(self.pid), WaitOptions::empty());
        }
    }
}

impl Drop for Forked {
    fn drop(&mut self) {
        // It may still use it.
        mem::forget(self.kept.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Program;

    #[test]
    fn why_an_exec_failed_is_told_whatever_the_parent_meets_meanwhile() {
        let mut program = Program::new(&["/there is/no such program".into()]).unwrap();
        let until_exec = move || {
            (0..500_000)
                .map(|_| program.exec())
                .find(|error| *error != Errno::ENOENT)
                .unwrap_or(Errno::ENOENT)
        };
        let mut child = Forked::begin(Box::new(until_exec)).unwrap();
        // Of half a million, one or two would be mistaken for this.
        let outcome = loop {
            (0..1000).for_each(|_| Errno::EAGAIN.set());
            if let Some(outcome) = child.outcome() {
                break outcome;
            }
        };
        assert_eq!(outcome.unwrap_err().raw_os_error(), Some(Errno::ENOENT as i32));
    }
}
