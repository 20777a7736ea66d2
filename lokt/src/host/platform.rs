//! What only Linux has, and what stands in for it elsewhere. Both halves export the same names.
//!
//! Elsewhere (macOS): no death signal, so a guard that is killed leaves its command running, with the lock held by
//! its descriptor; no adoption, so what a command started is found by its process group only; and no way to be told
//! of the end of a process that is nobody's child, so that is looked for now and then.

pub(crate) use imp::{adopt_orphans, die_with_parent, end_of_process, make_fifo, pipe, start};

#[cfg(target_os = "linux")]
mod imp {
    use std::cell::Cell;
    use std::io;
    use std::os::fd::{AsFd, OwnedFd};
    use std::path::Path;
    use std::sync::{Mutex, PoisonError};

    use nix::sched::{CloneFlags, clone};
    use nix::sys::signal::SIGCHLD;
    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::fs::{FileType, Mode, mknodat};
    use rustix::io::Errno;
    use rustix::pipe::{PipeFlags, pipe_with};
    use rustix::process::{
        Pid, PidfdFlags, Signal, WaitOptions, getpid, pidfd_open, set_child_subreaper,
        set_parent_process_death_signal, waitpid,
    };

    /// What the few calls before an exec have for a stack. Here it costs only the pages that are used.
    static STACK: Mutex<[u8; 16 * 1024]> = Mutex::new([0; 16 * 1024]);

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

    /// Starts a process that runs `child`, which should end in an exec. Returns once it has; if `child` returns
    /// instead, its error.
    ///
    /// Until then the child has this process's memory and this thread sleeps (vfork(2)): no page tables are copied
    /// only to be thrown away. `child` does nothing but async-signal-safe calls, and every signal is held back.
    #[expect(unsafe_code, reason = "only the system makes processes")]
    pub(crate) fn start(child: &mut dyn FnMut() -> nix::errno::Errno) -> io::Result<Pid> {
        let failed = Cell::new(None);
        let mut stack = STACK.lock().unwrap_or_else(PoisonError::into_inner);
        let body = Box::new(|| {
            failed.set(Some(child()));
            127
        });
        // SAFETY: the stack is larger than what a dozen system calls need, and is used by nobody else. What the child
        // has written, this thread reads after it: it sleeps until the child has its own memory or has ended.
        // Descriptors and signal handlers are copies, and no signal runs a handler in there.
        let born = unsafe {
            clone(body, &mut *stack, CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK, Some(SIGCHLD as i32))
        };
        let pid = Pid::from_raw(born?.as_raw()).ok_or(io::ErrorKind::Other)?;
        match failed.get() {
            None => Ok(pid),
            Some(error) => {
                waitpid(Some(pid), WaitOptions::empty())?;
                Err(error.into())
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use std::fs::File;
    use std::io::{self, Read};
    use std::os::fd::{AsFd, OwnedFd};
    use std::path::Path;

    use nix::libc;
    use nix::sys::stat::Mode;
    use nix::unistd::{ForkResult, fork, mkfifo};
    use rustix::fs::{OFlags, fcntl_setfl};
    use rustix::io::{Errno, FdFlags, fcntl_setfd};
    use rustix::process::{Pid, Signal, WaitOptions, waitpid};

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

    /// By fork(2): the child's error comes through a pipe that an exec closes.
    #[expect(unsafe_code, reason = "only the system makes processes")]
    pub(crate) fn start(child: &mut dyn FnMut() -> nix::errno::Errno) -> io::Result<Pid> {
        let (readable, writable) = pipe()?;
        fcntl_setfl(&readable, OFlags::empty())?;
        // SAFETY: the child does nothing but async-signal-safe calls, and ends without any code that is run at exit.
        let pid = match unsafe { fork() }? {
            ForkResult::Parent { child } => child,
            ForkResult::Child => {
                let error = child() as i32;
                let _ = rustix::io::write(&writable, &error.to_ne_bytes());
                // SAFETY: see above.
                unsafe { libc::_exit(127) }
            }
        };
        drop(writable);
        let pid = Pid::from_raw(pid.as_raw()).ok_or(io::ErrorKind::Other)?;
        let mut error = [0; 4];
        match File::from(readable).read_exact(&mut error) {
            Err(_) => Ok(pid),
            Ok(()) => {
                waitpid(Some(pid), WaitOptions::empty())?;
                Err(io::Error::from_raw_os_error(i32::from_ne_bytes(error)))
            }
        }
    }
}
