//! The birth of a process: from its fork to its exec.
//!
//! An exec takes as long as the file system that it reads from, and that may have gone away. So the parent does not sleep
//! through it, as after vfork(2): it waits for the end of a pipe that the exec closes, and attends to its own.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use super::clock::monotonic;
use super::platform;
use super::signals::HeldBack;

/// Starts a process that runs `child`, which should end in an exec. Returns once it has.
///
/// Meanwhile `attend` is called: first, whenever the time has come that it returned, and after a signal. With an error it
/// calls it off: the process is killed, and never comes to its exec, however long that takes.
///
/// `child` does nothing but async-signal-safe calls; it is born with every signal `held_back`.
///
/// # Errors
///
/// What `attend` said; or the error with which `child` has returned.
#[expect(unsafe_code, reason = "only the system makes processes")]
pub(crate) fn start<E: From<io::Error>>(
    child: &mut dyn FnMut() -> Errno,
    held_back: HeldBack,
    attend: &mut dyn FnMut() -> Result<Option<Duration>, E>,
) -> Result<Pid, E> {
    let (told, tell) = platform::pipe()?;
    let number = tell.as_raw_fd();
    let mut life = || {
        let error = child() as i32;
        // SAFETY: it is open in this process, whatever the parent does with its own.
        let _ = rustix::io::write(unsafe { BorrowedFd::borrow_raw(number) }, &error.to_ne_bytes());
        127
    };
    // SAFETY: the caller promises what `child` does; and this function stays until the pipe has ended, which it does by
    // an exec, after the memory has been parted from, or the process has.
    let (pid, _kept) = unsafe { platform::bear(&raw mut life) }?;
    drop((tell, held_back));
    let buried = |error| {
        let _ = waitpid(Some(pid), WaitOptions::empty());
        Err(error)
    };
    loop {
        match attend() {
            Ok(until) if !told_by(&told, until) => {}
            Ok(_) => break,
            Err(error) => {
                let _ = kill_process(pid, Signal::KILL);
                return buried(error);
            }
        }
    }
    let mut error = [0; size_of::<i32>()];
    match rustix::io::read(&told, &mut error) {
        Ok(read) if read == error.len() => {
            buried(io::Error::from_raw_os_error(i32::from_ne_bytes(error)).into())
        }
        _ => Ok(pid),
    }
}

/// Whether there is anything to read by then, be it the end.
fn told_by(told: &OwnedFd, until: Option<Duration>) -> bool {
    let left = until.map(|until| until.saturating_sub(monotonic()));
    let left = left.and_then(|left| Timespec::try_from(left).ok());
    poll(&mut [PollFd::new(told, PollFlags::IN)], left.as_ref()) == Ok(1)
}
