//! The processes of a command: its group, and whatever else of its session descends from it.
//!
//! # Gotchas
//!
//! * `timeout`, `make` under a shell with job control, a whole interactive shell: what a command starts need not
//!   stay in its group. What has left the *session* (setsid) is a daemon, and none of ours; but for the command itself.
//! * A process whose parent has ended is adopted: by this guard, where the kernel knows such a thing (Linux), so that
//!   it is still found as a descendant, and its end is told by SIGCHLD.
//! * A guard that was exec'd by a shell may have older children, and adopts their orphans as well: [`Adopts::All`] says how
//!   they are told apart. They are nobody else's to wait for, so whoever of them ends is reaped; that is all.
//! * What forks and ends, over and over, is gone before it can be told by its id, and may not be seen at all. Its group stays, and is
//!   killed as a whole; that it ends again and again says that it is there. One in our own group can't be: it keeps the lock.
//! * Where `/proc` is missing, or another namespace's, or can't be read, only the command and its group are found.
//! * A zombie is still in its group, for ever if its parent does not care; it counts as gone.

use std::cell::Cell;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, getpid, kill_process, kill_process_group,
    test_kill_process_group, wait, waitid,
};

use super::held::Held;
use crate::host::clock::monotonic as now;
use crate::host::signals::{Came, asks_to_end, job_of};
use crate::host::{platform, process};
use crate::inside;

/// For so long it may be waited until it can be told of a process what it is: it is amid an exec, which takes less.
const EXEC: Duration = Duration::from_millis(50);

/// So often it is looked for what is left, if meanwhile something has ended each time.
const LOOKS: usize = 16;

/// The processes of the command.
pub(super) struct Group {
    child: Pid,
    /// It has a process group of its own.
    apart: bool,
    adopts: Adopts,
    told_to_end: Cell<bool>,
    /// When a hangup was last sent on, or came to all from the terminal.
    hung_up: Cell<Option<Duration>>,
    /// The command itself has ended, and its process id is anybody's.
    child_ended: Cell<bool>,
    /// We have stopped its job, which a shell does not know of.
    paused: Cell<bool>,
}

/// Whose orphans this process adopts.
pub(super) enum Adopts {
    Nobodys,
    /// The command's, and there are no others.
    Its,
    /// Those of older children, too. The command's are in its group, if it has one of its own, or were started under one of these admissions, as their
    /// environments tell: nobody could know of those before. An orphan elsewhere whose environment is cleared or overwritten, or
    /// that of another user, counts as an older child's: whatever we don't know to be the command's is not ours to end.
    All(Vec<String>),
}

impl Group {
    pub(super) fn new(child: Pid, apart: bool, adopts: Adopts) -> Self {
        let (told_to_end, child_ended, paused) = <(Cell<bool>, Cell<bool>, Cell<bool>)>::default();
        Self { child, apart, adopts, told_to_end, hung_up: Cell::default(), child_ended, paused }
    }

    /// The command's own process id, which is that of its group if it has one.
    pub(super) fn child(&self) -> Pid {
        self.child
    }

    /// Takes note that the command itself has ended.
    pub(super) fn child_has_ended(&self) {
        self.child_ended.set(true);
    }

    /// Whether SIGCHLD tells of the end of each of them.
    pub(super) fn is_told_of_ends(&self) -> bool {
        !matches!(self.adopts, Adopts::Nobodys)
    }

    /// Whether a signal that ends things was sent on, or typed. To a command that runs on for longer than its `grace`, a hangup
    /// meant what it means to a daemon: to read its settings anew.
    pub(super) fn was_told_to_end(&self, grace: Duration) -> bool {
        self.told_to_end.get() || self.hung_up.get().is_some_and(|at| now().saturating_sub(at) < grace)
    }

    /// Sends on what the guard has received; returns whether it asks for an end. If the command may go on, it hears of that
    /// although it is stopped.
    pub(super) fn forward(&self, came: Came, may_go_on: bool) -> bool {
        let signal = came.signal;
        let user = [Signal::USR1, Signal::USR2].contains(&signal);
        let ends = asks_to_end(signal) && !user;
        match signal {
            Signal::HUP => self.hung_up.set(Some(now())),
            _ => self.told_to_end.set(self.told_to_end.get() || ends),
        }
        // A hangup is told to the session's leader only.
        let everywhere = came.typed && signal != Signal::HUP && !self.apart;
        match (everywhere, ends) {
            (true, _) => {}
            (false, true) if may_go_on => self.send_each(&[signal, Signal::CONT]),
            (false, true) => self.send(signal),
            (false, false) => self.send_to_job(signal),
        }
        ends
    }

    /// Sends `signal` to every process of the command. What asks for an end is passed on by a guard inside of it to its own
    /// command, which must not get it twice: for many programs the second one means at once, whatever is lost.
    pub(super) fn send(&self, signal: Signal) {
        self.send_each(&[signal]);
    }

    /// Sends one after the other, each to whom the first is sent.
    fn send_each(&self, signals: &[Signal]) {
        // Before any is sent: who ends leaves his children to us.
        let mut others = self.members(false).unwrap_or_default();
        if signals.iter().any(|signal| asks_to_end(*signal)) {
            let passed_on = below_guards(&others);
            others.retain(|(pid, _)| !passed_on.contains(&raw(*pid)));
        }
        let told = |group: i32| self.apart && group == self.child.as_raw_nonzero().get();
        others.retain(|(pid, group)| *pid != self.child && !told(*group));
        for signal in signals {
            if self.apart {
                signal_group(self.child, *signal);
            }
            self.send_to_child(*signal, told);
            for (pid, _) in &others {
                let _ = kill_process(*pid, *signal);
            }
        }
    }

    /// Asks every process of the command to end, the stopped ones too.
    pub(super) fn ask_to_end(&self) {
        self.send_each(&[Signal::TERM, Signal::CONT]);
    }

    /// Kills every process of the command. Its jobs as a whole, too: one that forks and ends, over and over, is gone before it can be
    /// told by its id.
    pub(super) fn kill(&self) {
        if self.apart {
            signal_group(self.child, Signal::KILL);
        }
        self.send_to_child(Signal::KILL, |_| false);
        let ours = job_of(0).map(|(group, _)| group);
        for (pid, group) in self.known(false).unwrap_or_default() {
            match Pid::from_raw(group) {
                Some(job) if Some(group) != ours => signal_group(job, Signal::KILL),
                _ => {
                    let _ = kill_process(pid, Signal::KILL);
                }
            }
        }
    }

    /// The command itself is found wherever it has gone (another session, a `/proc` that does not show it), unless it is
    /// `told` with its group.
    fn send_to_child(&self, signal: Signal, told: impl Fn(i32) -> bool) {
        let group = || job_of(raw(self.child)).map(|(group, _)| group);
        if !self.child_ended.get() && !group().is_some_and(told) {
            let _ = kill_process(self.child, signal);
        }
    }

    /// Sends `signal` to those that share the command's job: not to jobs that it has made itself.
    pub(super) fn send_to_job(&self, signal: Signal) {
        if self.apart {
            return signal_group(self.child, signal);
        }
        self.paused.set(self.paused.get() || signal == Signal::TSTP);
        self.send_to_child(signal, |_| false);
        let ours = job_of(0).map(|(group, _)| group);
        for (pid, _) in self.others().filter(|(_, group)| Some(*group) == ours) {
            let _ = kill_process(pid, signal);
        }
    }

    /// Lets the command's job go on. Where it is also ours, whoever has continued us has done so, and by now it may
    /// have been stopped again.
    pub(super) fn resume(&self) {
        if self.apart || self.paused.take() {
            self.send_to_job(Signal::CONT);
        }
    }

    /// Whether any process is left of a command that has itself been waited for, as far as so many looks can tell. Who has ended
    /// meanwhile may have left another, which was not there yet when we looked; or it was none of the command's.
    pub(super) fn lives(&self) -> bool {
        for _ in 0..LOOKS {
            if self.is_seen_to_live() {
                return true;
            }
            if !(self.is_told_of_ends() && reap()) {
                return false;
            }
        }
        false
    }

    fn is_seen_to_live(&self) -> bool {
        let members = self.members(true);
        let sees_all = self.is_told_of_ends() && members.is_some();
        let unseen = self.apart && !sees_all && group_lives(self.child);
        unseen || members.is_some_and(|members| !members.is_empty())
    }

    /// Each of them but the command itself, and its process group.
    fn others(&self) -> impl Iterator<Item = (Pid, i32)> {
        self.members(false).unwrap_or_default().into_iter().filter(|(pid, _)| *pid != self.child)
    }

    /// Each of them, and its process group; `None` if nobody can be seen. Those are among them of whom it can't be told at
    /// the moment, if they are to be `doubtful`; else that moment is waited for.
    fn members(&self, doubtful: bool) -> Option<Vec<(Pid, i32)>> {
        let mut known = self.known(doubtful)?;
        known.retain(|(pid, _)| !process::is_zombie(raw(*pid)));
        Some(known)
    }

    /// The same, with those that have ended and were not waited for yet.
    fn known(&self, doubtful: bool) -> Option<Vec<(Pid, i32)>> {
        let (_, session) = job_of(0)?;
        let all = self.descendants(doubtful)?.into_iter();
        let known = all.filter_map(|pid| Some((process::as_pid(pid)?, job_of(pid)?)));
        Some(known.filter(|(_, (_, of))| *of == session).map(|(pid, (group, _))| (pid, group)).collect())
    }

    fn descendants(&self, doubtful: bool) -> Option<Vec<i64>> {
        let ours = process::family(raw(getpid()))?;
        if let Adopts::Its = self.adopts {
            return Some(ours.into_iter().map(|(pid, _)| pid).collect());
        }
        let mut found = Vec::new();
        let patience = now() + if doubtful { Duration::ZERO } else { EXEC };
        // A parent comes before its children. They are asked, too, as it may end meanwhile.
        for (pid, parent) in ours {
            if found.contains(&parent) || self.is_found_to_have(pid, patience).unwrap_or(doubtful) {
                found.push(pid);
            }
        }
        Some(found)
    }

    /// [Whether](Self::is_known_to_have) one of our descendants is the command's, as soon as that can be told.
    fn is_found_to_have(&self, pid: i64, patience: Duration) -> Option<bool> {
        loop {
            match self.is_known_to_have(pid) {
                None if now() < patience && !process::is_zombie(pid) => thread::yield_now(),
                known => return known,
            }
        }
    }

    /// Whether one of our descendants is the command's, whoever its parent is; `None` if that can't be told at the moment.
    fn is_known_to_have(&self, pid: i64) -> Option<bool> {
        // Once the command has ended, its id may be another's.
        let is_child = pid == raw(self.child) && !self.child_ended.get();
        let in_group =
            || self.apart && job_of(pid).is_some_and(|(group, _)| i64::from(group) == raw(self.child));
        match &self.adopts {
            Adopts::All(under) if !is_child && !in_group() => inside::is_under(pid, under),
            Adopts::All(_) | Adopts::Its => Some(true),
            Adopts::Nobodys => Some(is_child),
        }
    }
}

/// Whether a process group has any member.
pub(super) fn group_lives(group: Pid) -> bool {
    test_kill_process_group(group) != Err(Errno::SRCH)
}

/// Waits for those that have ended; whether any has.
fn reap() -> bool {
    let mut any = false;
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {
        any = true;
    }
    any
}

/// Those among these to whom a guard inside of the command passes on what asks for an end.
fn below_guards(members: &[(Pid, i32)]) -> Vec<i64> {
    let guards = members.iter().map(|(pid, _)| raw(*pid)).filter(|pid| process::is_another_of_us(*pid));
    guards.filter_map(process::descendants).flatten().collect()
}

/// Makes this process the one that adopts the orphans of the command that is to run under what is held.
pub(super) fn adopt_orphans(held: &Held) -> Adopts {
    let any = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    // Those that have ended leave nobody to be told apart.
    let older = loop {
        match waitid(WaitId::All, any) {
            Ok(Some(_)) => {}
            other => break other.err() != Some(Errno::CHILD),
        }
    };
    match platform::adopt_orphans() {
        false => Adopts::Nobodys,
        true if older => Adopts::All(held.admissions()),
        true => Adopts::Its,
    }
}

fn signal_group(group: Pid, signal: Signal) {
    // It may just have ended.
    let _ = kill_process_group(group, signal);
}

fn raw(pid: Pid) -> i64 {
    i64::from(pid.as_raw_nonzero().get())
}
