//! What only Linux has, and what stands in for it elsewhere. Both halves export the same names.
//!
//! Elsewhere (macOS): no death signal, so a guard that is killed leaves its command running, with the lock held by
//! its descriptor; no adoption, so what a command started is found by its process group only; and no way to be told
//! of the end of a process that is nobody's child, so that is looked for now and then.

pub(crate) use imp::{adopt_orphans, die_with_parent, end_of_process, make_fifo, pipe};

#[cfg(target_os = "linux")]
mod imp {
    use std::io;
    use std::os::fd::{AsFd, OwnedFd};
    use std::path::Path;

    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::fs::{FileType, Mode, mknodat};
    use rustix::io::Errno;
    use rustix::pipe::{PipeFlags, pipe_with};
    use rustix::process::{
        Pid, PidfdFlags, Signal, getpid, pidfd_open, set_child_subreaper, set_parent_process_death_signal,
    };

    /// A pipe that nobody inherits and no end of which blocks.
    pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
        Ok(pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?)
    }

    /// Makes a FIFO, `name` in `dir`, which is also at `path`.
    pub(crate) fn make_fifo(dir: impl AsFd, name: &str, _: &Path) -> rustix::io::Result<()> {
        mknodat(dir, name, FileType::Fifo, Mode::from_raw_mode(0o600), 0)
    }

    /// Something that returns when the process has ended; `None` if that can't be told.
    pub(crate) fn end_of_process(pid: Pid) -> Option<impl FnOnce() + Send + 'static> {
        let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        Some(move || while poll(&mut [PollFd::new(&process, PollFlags::IN)], None) == Err(Errno::INTR) {})
    }

    /// Makes this process the parent of whatever its descendants leave behind.
    pub(crate) fn adopt_orphans() -> bool {
        set_child_subreaper(Some(getpid())).is_ok()
    }

    /// Sends `signal` to this process when the thread that started it ends. Async-signal-safe.
    pub(crate) fn die_with_parent(signal: Signal) -> rustix::io::Result<()> {
        set_parent_process_death_signal(Some(signal))
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use std::io;
    use std::os::fd::{AsFd, OwnedFd};
    use std::path::Path;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use rustix::fs::{OFlags, fcntl_setfl};
    use rustix::io::{Errno, FdFlags, fcntl_setfd};
    use rustix::process::{Pid, Signal};

    pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
        let (readable, writable) = rustix::pipe::pipe()?;
        for end in [&readable, &writable] {
            fcntl_setfd(end, FdFlags::CLOEXEC)?;
            fcntl_setfl(end, OFlags::NONBLOCK)?;
        }
        Ok((readable, writable))
    }

    pub(crate) fn make_fifo(_: impl AsFd, _: &str, path: &Path) -> rustix::io::Result<()> {
        mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR).map_err(|error| Errno::from_raw_os_error(error as i32))
    }

    pub(crate) fn end_of_process(_: Pid) -> Option<fn()> {
        None
    }

    pub(crate) fn adopt_orphans() -> bool {
        false
    }

    pub(crate) fn die_with_parent(_: Signal) -> rustix::io::Result<()> {
        Ok(())
    }
}
