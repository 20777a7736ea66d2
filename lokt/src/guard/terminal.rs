//! The command's process group, and the terminal.
//!
//! Away from a terminal the command gets a group of its own. With all three standard streams on a terminal it
//! gets one too, and the foreground with it, and the guard does for it what a shell does for a job (tcsetpgrp(3)):
//! then Ctrl-C reaches it once, and Ctrl-Z stops it and the guard. When the guard is a part of a pipeline on a
//! terminal, the others may need the terminal as much as the command does; then it stays in the group of its
//! job, and what it has started is found as its descendants.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::signal::{SigSet, Signal as Masked};
use rustix::fs::{Mode, OFlags};
use rustix::process::{
    Pid, Signal, getpgid, getpgrp, getpid, getsid, kill_current_process_group, kill_process,
};
use rustix::termios::{isatty, tcgetpgrp, tcsetpgrp};

use super::{group_lives, signal_group};
use crate::host::process;

/// Where the guard was started.
pub(super) enum Terminal {
    /// Not on a terminal.
    None,
    /// All of it on this one.
    All(File),
    /// In a pipeline on one.
    Partly,
}

/// The processes of the command.
pub(super) struct Group {
    child: Pid,
    terminal: Terminal,
    told_to_end: Cell<bool>,
    /// In a pipeline: whom a signal was sent on to, and when they started.
    followers: RefCell<Vec<(i64, Option<i64>)>>,
}

impl Terminal {
    pub(super) fn find() -> Self {
        let on = [
            isatty(rustix::stdio::stdin()),
            isatty(rustix::stdio::stdout()),
            isatty(rustix::stdio::stderr()),
        ];
        if on == [false; 3] {
            return Self::None;
        }
        let Ok(terminal) = rustix::fs::open("/dev/tty", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) else {
            return Self::None;
        };
        if on == [true; 3] {
            return Self::All(terminal.into());
        }
        // A pipeline in the background has no use for the terminal.
        match tcgetpgrp(&terminal) {
            Ok(foreground) if foreground == getpgrp() => Self::Partly,
            _ => Self::None,
        }
    }

    pub(super) fn wants_own_group(&self) -> bool {
        !matches!(self, Self::Partly)
    }

    /// The terminal, if it is ours to hand over: we are in its foreground.
    pub(super) fn to_hand_over(&self) -> io::Result<Option<OwnedFd>> {
        match self {
            Self::All(terminal) if is_foreground(terminal) => {
                Ok(Some(terminal.as_fd().try_clone_to_owned()?))
            }
            _ => Ok(None),
        }
    }

    pub(super) fn group_of(self, child: Pid) -> Group {
        Group { child, terminal: self, told_to_end: Cell::new(false), followers: RefCell::default() }
    }
}

impl Group {
    pub(super) fn has_terminal(&self) -> bool {
        matches!(self.terminal, Terminal::All(_))
    }

    /// Whether a signal that ends things was sent on.
    pub(super) fn was_told_to_end(&self) -> bool {
        self.told_to_end.get()
    }

    /// Sends on what the guard has received.
    pub(super) fn forward(&self, signal: Signal) {
        let ends = [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT].contains(&signal);
        self.told_to_end.set(self.told_to_end.get() || ends);
        let typed = [Signal::INT, Signal::QUIT, Signal::TSTP, Signal::CONT].contains(&signal);
        if matches!(self.terminal, Terminal::Partly) && typed {
            // The terminal has sent it to the whole job already.
            return;
        }
        self.signal(signal);
    }

    /// Sends `signal` to every process of the command.
    pub(super) fn signal(&self, signal: Signal) {
        if !matches!(self.terminal, Terminal::Partly) {
            return signal_group(self.child, signal);
        }
        let child = i64::from(self.child.as_raw_nonzero().get());
        let mut followers = self.followers.borrow_mut();
        for pid in std::iter::once(child).chain(process::descendants(child)) {
            if !followers.iter().any(|(known, _)| *known == pid) {
                followers.push((pid, process::start_of(pid)));
            }
        }
        for (pid, start) in followers.iter().filter(|(pid, start)| runs(*pid, *start)) {
            let _ = (start, process::as_pid(*pid).map(|pid| kill_process(pid, signal)));
        }
    }

    /// Whether any process of the command is left.
    pub(super) fn lives(&self) -> bool {
        if !matches!(self.terminal, Terminal::Partly) {
            return group_lives(self.child);
        }
        self.followers.borrow().iter().any(|(pid, start)| runs(*pid, *start))
    }

    /// Makes the command's group the terminal's foreground, if ours is it now.
    pub(super) fn hand_terminal_over(&self) {
        if let Terminal::All(terminal) = &self.terminal
            && is_foreground(terminal)
        {
            take_foreground(terminal, self.child);
        }
    }

    /// Makes our group the terminal's foreground again, if the command's is it now.
    pub(super) fn give_terminal_back(&self) {
        if let Terminal::All(terminal) = &self.terminal
            && tcgetpgrp(terminal).is_ok_and(|foreground| foreground == self.child)
        {
            take_foreground(terminal, getpgrp());
        }
    }

    /// Stops this process, and the rest of its job, until somebody continues it.
    pub(super) fn stop_with(&self) {
        if is_orphaned() {
            // Nobody could continue us. The kernel does not stop such a job either.
            return;
        }
        self.give_terminal_back();
        if self.has_terminal() {
            let _ = kill_current_process_group(Signal::TSTP);
        }
        let _ = kill_process(getpid(), Signal::STOP);
    }
}

/// Makes `group` the foreground of `terminal`, from the background too, where the kernel would stop us with
/// SIGTTOU for it. Async-signal-safe.
pub(super) fn take_foreground(terminal: impl AsFd, group: Pid) {
    let mut background = SigSet::empty();
    background.add(Masked::SIGTTOU);
    let blocked = background.thread_block();
    // The terminal may have gone away, and the command need not know.
    let _ = tcsetpgrp(terminal, group);
    if blocked.is_ok() {
        let _ = background.thread_unblock();
    }
}

fn is_foreground(terminal: &File) -> bool {
    tcgetpgrp(terminal).is_ok_and(|foreground| foreground == getpgrp())
}

/// Whether nobody of our session, outside of our group, watches over our job.
fn is_orphaned() -> bool {
    let (group, session) = (getpgrp(), getsid(None).ok());
    let outside = process::ancestors().into_iter().find(|pid| group_of(*pid) != Some(group));
    !outside.is_some_and(|pid| session.is_some() && session_of(pid) == session)
}

fn group_of(pid: i64) -> Option<Pid> {
    getpgid(Some(process::as_pid(pid)?)).ok()
}

fn session_of(pid: i64) -> Option<Pid> {
    getsid(Some(process::as_pid(pid)?)).ok()
}

fn runs(pid: i64, start: Option<i64>) -> bool {
    start.is_some() && process::start_of(pid) == start && !process::is_zombie(pid)
}
