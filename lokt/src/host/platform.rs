//! What only Linux has, and what stands in for it elsewhere. Both halves export the same names.
//!
//! Elsewhere (macOS): no death signal, so a guard that is killed leaves its command running, with the lock held by
//! its descriptor; no adoption, so what a command started is found by its process group only; and no way to be told
//! of the end of a process that is nobody's child, so that is looked for now and then.

use std::ffi::c_int;

pub(super) use imp::{ChildStack, execve, fork_child};
pub(crate) use imp::{FilesAs, adopt_orphans, die_with_parent, end_of_process, make_fifo, pipe, unread};

/// All that a child does, if it does not come to an exec.
pub(super) type ChildMain = Box<dyn FnMut() -> c_int>;

#[cfg(target_os = "linux")]
mod imp {
    use std::ffi::{CStr, c_char, c_int, c_void};
    use std::io;
    use std::os::fd::{AsFd, OwnedFd};
    use std::path::Path;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use nix::errno::Errno as Code;
    use nix::libc::{self, CLONE_VFORK, CLONE_VM, SIGCHLD};
    use nix::unistd::{Gid, Uid, setfsgid, setfsuid};
    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::fs::{FileType, Mode, mknodat};
    use rustix::io::{Errno, ioctl_fionread, read};
    use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, tee};
    use rustix::process::{
        Pid, PidfdFlags, Signal, getpid, getppid, kill_process, parent_process_death_signal, pidfd_open,
        set_child_subreaper, set_parent_process_death_signal,
    };

    use syscalls::{Sysno, syscall};

    use super::ChildMain;

    /// What the few calls before an exec have for a stack. Here it costs only the pages that are used.
    static STACK: Mutex<Stack> = Mutex::new(Stack([0; 16 * 1024]));

    #[repr(align(16))]
    pub(crate) struct Stack([u8; 16 * 1024]);

    /// The stack of a child, until it has its own memory.
    pub(crate) type ChildStack = MutexGuard<'static, Stack>;

    /// A pipe that nobody inherits and no end of which blocks.
    pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
        Ok(pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?)
    }

    /// What stands in a FIFO, as far as it can be told; it stays there: tee(2).
    pub(crate) fn unread(fifo: &OwnedFd) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(ioctl_fionread(fifo)?).unwrap_or_default()];
        if !bytes.is_empty() {
            let (reader, writer) = pipe()?;
            tee(fifo, writer, bytes.len(), SpliceFlags::NONBLOCK)?;
            let copied = read(reader, &mut bytes)?;
            bytes.truncate(copied);
        }
        Ok(bytes)
    }

    /// Makes a FIFO, `name` in `dir`, which is also at `path`.
    pub(crate) fn make_fifo(dir: impl AsFd, name: &str, _: &Path) -> rustix::io::Result<()> {
        mknodat(dir, name, FileType::Fifo, Mode::from_raw_mode(0o600), 0)
    }

    /// While it lives, this thread makes files as another user would: setfsuid(2). The superuser only can, and has the rights
    /// of its own groups meanwhile.
    pub(crate) struct FilesAs {
        before: (Uid, Gid),
        user: Uid,
        /// What the kernel forgets with a change of users, and whose child we were then.
        death: (Option<Signal>, Option<Pid>),
    }

    impl FilesAs {
        pub(crate) fn of(user: u32, group: u32) -> Self {
            let user = Uid::from_raw(user);
            let death = (parent_process_death_signal().unwrap_or(None), getppid());
            let group = setfsgid(Gid::from_raw(group));
            Self { before: (setfsuid(user), group), user, death }
        }

        /// Whether it could be.
        pub(crate) fn is_in_force(&self) -> bool {
            setfsuid(self.user) == self.user
        }
    }

    impl Drop for FilesAs {
        fn drop(&mut self) {
            setfsuid(self.before.0);
            setfsgid(self.before.1);
            if let (Some(signal), parent) = self.death {
                let _ = die_with_parent(signal);
                if getppid() != parent {
                    let _ = kill_process(getpid(), signal);
                }
            }
        }
    }

    /// Something that returns when the process has ended; `None` if that can't be told.
    pub(crate) fn end_of_process(pid: Pid) -> Option<impl FnOnce() + Send + 'static> {
        let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        Some(move || while poll(&mut [PollFd::new(&process, PollFlags::IN)], None) == Err(Errno::INTR) {})
    }

    /// Makes this process the parent of whatever its descendants leave behind.
    pub(crate) fn adopt_orphans() -> bool {
        // Any id will do for "yes".
        set_child_subreaper(Some(Pid::INIT)).is_ok()
    }

    /// Sends `signal` to this process when the thread that started it ends. Async-signal-safe.
    pub(crate) fn die_with_parent(signal: Signal) -> rustix::io::Result<()> {
        set_parent_process_death_signal(Some(signal))
    }

    /// Replaces the program of this process; returns why not. It does not touch `errno`.
    ///
    /// # Safety
    ///
    /// Both lists end in a null, and so does each of their strings.
    #[expect(unsafe_code, reason = "what takes pointers has no safe form")]
    pub(crate) unsafe fn execve(
        program: &CStr,
        arguments: *const *const c_char,
        environment: *const *const c_char,
    ) -> Code {
        // SAFETY: the caller's promise.
        let outcome = unsafe { syscall!(Sysno::execve, program.as_ptr(), arguments, environment) };
        outcome.map_or_else(|error| Code::from_raw(error.into_raw()), |_| Code::UnknownErrno)
    }

    /// Makes a process that runs `main`, and ends with the code that it returns.
    ///
    /// Until its exec it has this process's memory: no page tables are copied only to be thrown away. Unlike that of
    /// vfork(2), its parent goes on.
    ///
    /// # Safety
    ///
    /// `main` does nothing but async-signal-safe calls, and every signal is held back. It and the stack are kept until
    /// the process has its own memory or has ended.
    #[expect(unsafe_code, reason = "only the system makes processes")]
    pub(crate) unsafe fn fork_child(main: *mut ChildMain) -> io::Result<(Pid, ChildStack)> {
        extern "C" fn run(main: *mut c_void) -> c_int {
            // SAFETY: it is the one that was handed over below, and nobody else touches it.
            unsafe { (*main.cast::<ChildMain>())() }
        }
        let mut stack = STACK.lock().unwrap_or_else(PoisonError::into_inner);
        let top = stack.0.as_mut_ptr_range().end.cast();
        // SAFETY: the stack is larger than what a dozen system calls need, and is used by nobody else. Descriptors and
        // signal handlers are copies, and no signal runs a handler in there. This thread's `errno` is shared, and so
        // nothing in there asks for it.
        let clone = |how| Code::result(unsafe { libc::clone(run, top, how | SIGCHLD, main.cast()) });
        let pid = match clone(CLONE_VM) {
            // Where another processor is emulated (qemu): the emulator makes a fork of that.
            Err(Code::EINVAL) => clone(CLONE_VM | CLONE_VFORK),
            other => other,
        };
        Ok((Pid::from_raw(pid?).ok_or(io::ErrorKind::Other)?, stack))
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use std::ffi::{CStr, c_char};
    use std::io;
    use std::os::fd::{AsFd, OwnedFd};
    use std::path::Path;

    use nix::errno::Errno as Code;
    use nix::libc;
    use nix::sys::stat::Mode;
    use nix::unistd::{ForkResult, fork, mkfifo};
    use rustix::fs::{OFlags, fcntl_setfl};
    use rustix::io::{Errno, FdFlags, fcntl_setfd};
    use rustix::process::{Pid, Signal};

    use super::ChildMain;

    pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
        let (readable, writable) = rustix::pipe::pipe()?;
        for end in [&readable, &writable] {
            fcntl_setfd(end, FdFlags::CLOEXEC)?;
            fcntl_setfl(end, OFlags::NONBLOCK)?;
        }
        Ok((readable, writable))
    }

    /// It can't be told without taking it away.
    pub(crate) fn unread(_: &OwnedFd) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn make_fifo(_: impl AsFd, _: &str, path: &Path) -> rustix::io::Result<()> {
        mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR).map_err(|error| Errno::from_raw_os_error(error as i32))
    }

    /// Here each file is its maker's.
    pub(crate) struct FilesAs;

    impl FilesAs {
        pub(crate) fn of(_: u32, _: u32) -> Self {
            Self
        }

        pub(crate) fn is_in_force(&self) -> bool {
            false
        }
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

    #[expect(unsafe_code, reason = "what takes pointers has no safe form")]
    pub(crate) unsafe fn execve(
        program: &CStr,
        arguments: *const *const c_char,
        environment: *const *const c_char,
    ) -> Code {
        // SAFETY: the caller promises that both lists, and their strings, end in a null.
        unsafe { libc::execve(program.as_ptr(), arguments, environment) };
        Code::last()
    }

    /// Nothing: a fork(2) has its own memory at once.
    pub(crate) type ChildStack = ();

    /// Makes a process that runs `main`, and ends with the code that it returns.
    ///
    /// # Safety
    ///
    /// `main` does nothing but async-signal-safe calls.
    #[expect(unsafe_code, reason = "only the system makes processes")]
    pub(crate) unsafe fn fork_child(main: *mut ChildMain) -> io::Result<(Pid, ChildStack)> {
        // SAFETY: the child does nothing but async-signal-safe calls, and ends without any code that is run at exit.
        let pid = match unsafe { fork() }? {
            ForkResult::Parent { child } => child,
            // SAFETY: see above.
            ForkResult::Child => unsafe { libc::_exit((*main)()) },
        };
        Ok((Pid::from_raw(pid.as_raw()).ok_or(io::ErrorKind::Other)?, ()))
    }
}
