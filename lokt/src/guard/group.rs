//! The processes of a command: its group, and whatever else of its session descends from it.
//!
//! # Gotchas
//!
//! * `timeout`, `make` under a shell with job control, a whole interactive shell: what a command starts need not
//!   stay in its group. What has left the *session* (setsid) is a daemon, and none of ours.
//! * A process whose parent has ended is adopted: by this guard, where the kernel knows such a thing (Linux), so that
//!   it is still found as a descendant, and its end is told by SIGCHLD. If the guard has older children (it was
//!   exec'd by a shell that had some), they could not be told apart, and it adopts nobody.
//! * A zombie is still in its group, for ever if its parent does not care; it counts as gone.

use std::cell::Cell;

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitIdOptions, getpgid, getpgrp, getpid, getsid, kill_process, kill_process_group,
    test_kill_process_group,
};

use crate::host::process;
use crate::host::signals::{Came, asks_to_end};

/// The processes of the command.
pub(super) struct Group {
    child: Pid,
    /// It has a process group of its own.
    apart: bool,
    adopts: bool,
    told_to_end: Cell<bool>,
}

impl Group {
    pub(super) fn new(child: Pid, apart: bool, adopts: bool) -> Self {
        let told_to_end = Cell::default();
        Self {
            child,
            apart,
            adopts,
            told_to_end,
        }
    }

    /// The command's own process id, which is that of its group if it has one.
    pub(super) fn child(&self) -> Pid {
        self.child
    }

    /// Whether SIGCHLD tells of the end of each of them.
    pub(super) fn is_told_of_ends(&self) -> bool {
        self.adopts
    }

    /// Whether a signal that ends things was sent on, or typed.
    pub(super) fn was_told_to_end(&self) -> bool {
        self.told_to_end.get()
    }

    /// Sends on what the guard has received.
    pub(super) fn forward(&self, came: Came) {
        let signal = came.signal;
        let user = [Signal::USR1, Signal::USR2].contains(&signal);
        let ends = asks_to_end(signal) && !user;
        self.told_to_end.set(self.told_to_end.get() || ends);
        // A hangup is told to the session's leader only.
        let everywhere = came.typed && signal != Signal::HUP && !self.apart;
        match (everywhere, ends) {
            (true, _) => {}
            (false, true) => self.send(signal),
            (false, false) => self.send_to_job(signal),
        }
    }

    /// Sends `signal` to every process of the command.
    pub(super) fn send(&self, signal: Signal) {
        if self.apart {
            signal_group(self.child, signal);
        }
        let group = self.apart.then_some(self.child);
        for pid in self.members() {
            if group.is_none() || getpgid(Some(pid)).ok() != group {
                let _ = kill_process(pid, signal);
            }
        }
    }

    /// Sends `signal` to those that share the command's job: not to jobs that it has made itself.
    pub(super) fn send_to_job(&self, signal: Signal) {
        if self.apart {
            return signal_group(self.child, signal);
        }
        let ours = getpgrp();
        for pid in self.members() {
            let raw = i64::from(pid.as_raw_nonzero().get());
            // The shell has continued the job already: once is enough.
            let heard = signal == Signal::CONT && !process::is_stopped(raw);
            if !heard && getpgid(Some(pid)) == Ok(ours) {
                let _ = kill_process(pid, signal);
            }
        }
    }

    /// Whether any process of the command is left.
    pub(super) fn lives(&self) -> bool {
        let unseen = self.apart && !self.adopts && group_lives(self.child);
        unseen || !self.members().is_empty()
    }

    fn members(&self) -> Vec<Pid> {
        let mut pids = process::descendants(raw(getpid()));
        if !self.adopts {
            pids.retain(|pid| *pid == raw(self.child));
            pids.extend(pids.first().into_iter().flat_map(|pid| process::descendants(*pid)));
        }
        let session = getsid(None);
        pids.retain(|pid| !process::is_zombie(*pid));
        let pids = pids.into_iter().filter_map(process::as_pid);
        pids.filter(|pid| getsid(Some(*pid)) == session).collect()
    }
}

/// Whether a process group has any member.
pub(super) fn group_lives(group: Pid) -> bool {
    test_kill_process_group(group) != Err(Errno::SRCH)
}

/// Makes this process the one that adopts the command's orphans, if all of its children are the command's.
pub(super) fn adopt_orphans() -> bool {
    let any = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let childless = rustix::process::waitid(rustix::process::WaitId::All, any).err();
    childless == Some(Errno::CHILD)
        && rustix::process::set_child_subreaper(Some(getpid())).is_ok()
}

fn signal_group(group: Pid, signal: Signal) {
    // It may just have ended.
    let _ = kill_process_group(group, signal);
}

fn raw(pid: Pid) -> i64 {
    i64::from(pid.as_raw_nonzero().get())
}
