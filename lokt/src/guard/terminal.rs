//! The terminal, and how the command is to share it.
//!
//! Three settings, and in each one the kernel does as much as it can:
//!
//! * No terminal: the command gets a process group of its own.
//! * [`Alone`](Setting::Alone): a shell with job control has made a job of this guard and of nothing else. The
//!   command gets a group of its own and the foreground with it, and the guard does for it what the shell does for
//!   the guard (tcsetpgrp(3)): so a job that was stopped goes on only after the guard has proved its lock.
//! * [`Among`](Setting::Among): others share the job, or may: a script, `make -j`, a pipeline; or nobody watches
//!   over it. Then the terminal, Ctrl-C and Ctrl-Z are as much theirs, so the command stays in the job's group,
//!   where the kernel reaches everybody once.

use std::cell::Cell;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, fstat};
use rustix::process::{Pid, getpid, getppid};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr, tcsetpgrp};

use super::group::group_lives;
use crate::host::process;
use crate::host::signals::job_of;

/// How a command shares the terminal.
pub(super) enum Setting {
    /// There is none.
    NoTerminal,
    /// The guard is a shell's job by itself.
    Alone(Terminal),
    /// The guard is one of several in a job.
    Among {
        terminal: Terminal,
        /// A shell waits for this very process.
        watched: bool,
    },
}

/// The controlling terminal.
pub(super) struct Terminal {
    file: File,
    modes: Option<Termios>,
    /// It is to be given back.
    lent: Cell<bool>,
}

impl Setting {
    pub(super) fn find() -> Self {
        let Some(terminal) = Terminal::open() else {
            return Self::NoTerminal;
        };
        let watched = is_watched();
        if watched && our_group() == Some(getpid()) && !in_pipeline() {
            Self::Alone(terminal)
        } else {
            Self::Among { terminal, watched }
        }
    }

    /// Whether the command gets a process group of its own.
    pub(super) fn is_apart(&self) -> bool {
        !matches!(self, Self::Among { .. })
    }

    /// The terminal, if it is ours to hand over.
    pub(super) fn to_hand_over(&self) -> Option<OwnedFd> {
        match self {
            Self::Alone(terminal) => terminal.lend(),
            _ => None,
        }
    }

    /// Makes the command's group the foreground, if ours is it now.
    pub(super) fn hand_over(&self, command: Pid) -> bool {
        let terminal = self.to_hand_over();
        if let Some(terminal) = &terminal {
            take_foreground(terminal, command);
        }
        terminal.is_some()
    }

    /// Makes our group the foreground again, if the command had it; when a signal has `broken` its work, its
    /// modes come back too, as the shell can't see from a plain exit code that it should care for them.
    pub(super) fn take_back(&self, command: Pid, broken: bool) {
        match self {
            Self::NoTerminal => {}
            Self::Alone(terminal) => terminal.take_back(command, broken),
            // Another of the job may have set them for itself.
            Self::Among { terminal, .. } => terminal.take_back(command, false),
        }
    }
}

impl Terminal {
    fn open() -> Option<Self> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open("/dev/tty", flags, Mode::empty()).ok()?);
        let modes = tcgetattr(&file).ok();
        let lent = Cell::new(is_foreground(&file));
        Some(Self { file, modes, lent })
    }

    fn lend(&self) -> Option<OwnedFd> {
        if !is_foreground(&self.file) {
            return None;
        }
        self.lent.set(true);
        self.file.as_fd().try_clone_to_owned().ok()
    }

    fn take_back(&self, command: Pid, broken: bool) {
        let left = |group: Pid| group == command || !group_lives(group);
        if self.lent.get()
            && tcgetpgrp(&self.file).is_ok_and(left)
            && let Some(group) = our_group()
        {
            take_foreground(&self.file, group);
        }
        if let Some(modes) = self.modes.as_ref().filter(|_| broken)
            && is_foreground(&self.file)
        {
            let _ = tcsetattr(&self.file, OptionalActions::Now, modes);
        }
    }
}

/// Makes `group` the foreground of `terminal`. Async-signal-safe.
///
/// SIGTTOU must be blocked, as it is wherever signals are caught: the caller may be in the background.
pub(super) fn take_foreground(terminal: impl AsFd, group: Pid) {
    // The terminal may have gone away, and the command need not know.
    let _ = tcsetpgrp(terminal, group);
}

fn is_foreground(terminal: &File) -> bool {
    tcgetpgrp(terminal).is_ok_and(|foreground| our_group() == Some(foreground))
}

/// Our process group; `None` if it is one of another process-id namespace.
pub(super) fn our_group() -> Option<Pid> {
    process::as_pid(job_of(0)?.0.into())
}

/// Whether our parent is what a job has for a parent: of our session, in another group.
fn is_watched() -> bool {
    let parent = getppid().and_then(|parent| job_of(parent.as_raw_nonzero().get().into()));
    let ours = job_of(0);
    parent.zip(ours).is_some_and(|(parent, ours)| parent.1 == ours.1 && parent.0 != ours.0)
}

/// Whether a standard stream leads to another program, which may be of our job.
fn in_pipeline() -> bool {
    let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    let leads_on = |kind| matches!(kind, FileType::Fifo | FileType::Socket);
    streams
        .iter()
        .filter_map(|stream| fstat(stream).ok())
        .any(|stat| leads_on(FileType::from_raw_mode(stat.st_mode)))
}
