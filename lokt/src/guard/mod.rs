//! A command under a session.
//!
//! # Gotchas
//!
//! * The command inherits the descriptor whose flock is the session's life, so a guard that is killed leaves no
//!   lock that looks free while its command runs. A normal end unlocks it explicitly, so a daemon that keeps
//!   the descriptor keeps nothing locked.
//! * `PR_SET_PDEATHSIG` fires when the *thread* that forked ends: the command is started from the main thread.
//!   With a lease it is SIGKILL, as nobody would be left to follow up before the lease lapses.
//! * To end a command is to end its process group, so it needs one of its own; and then, on a terminal, it needs
//!   the foreground too, and somebody who does what a shell does for its jobs: [`terminal`].
//! * A stopped group gets SIGCONT after SIGTERM, or it would never hear of it.
//! * The guard itself may have been stopped. When it runs again it first proves that the lock is still its own;
//!   only then does its command go on.

mod terminal;

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, getppid, kill_process_group,
    set_parent_process_death_signal, test_kill_process_group, waitpid,
};

use self::terminal::{Group, Terminal};
use crate::Error;
use crate::host::signals::Signals;
use crate::host::{clock, process};
use crate::protocol::format_duration;
use crate::session::{News, Session};

/// How often to look whether the last of a group has ended, which the kernel tells nobody but its parents.
const GROUP_POLL: Duration = Duration::from_millis(5);

/// How long a group that was killed may take to disappear.
const AFTER_KILL: Duration = Duration::from_secs(2);

/// How long a heartbeat that was asleep has to prove that the lease can still be renewed.
const LAST_CHANCE: Duration = Duration::from_millis(100);

/// What to do when the lock is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnLost {
    /// End the command.
    Kill,
    /// Say so, and let it go on.
    Warn,
}

/// How a guarded command is treated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    pub(crate) on_lost: OnLost,
    pub(crate) kill_after: Duration,
}

/// How a guarded command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By itself, with this code.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
    /// The lock was lost, and the command was ended for it.
    Lost,
}

/// Runs `command` under `session`, and releases the session when it has ended.
pub(crate) fn run(
    session: Session,
    command: &[OsString],
    policy: Policy,
    signals: &Signals,
    tell: &(dyn Fn(&str) + Sync),
) -> io::Result<Ended> {
    let terminal = Terminal::find();
    let child = spawn(&session, command, &terminal)?;
    let group = terminal.group_of(child);
    let mut guard = Guard {
        session,
        child,
        group,
        policy,
        signals,
        tell,
        lost: Arc::default(),
        ending: None,
        told: false,
    };
    guard.keep_alive();
    let status = guard.attend();
    guard.await_group(status);
    guard.group.give_terminal_back();
    Ok(guard.finish(status))
}

/// Replaces this program by `command`: a guard inside a guard of the same lock.
#[expect(clippy::disallowed_methods, reason = "the guard starts commands")]
pub(crate) fn exec(command: &[OsString]) -> io::Error {
    match command.split_first() {
        Some((program, arguments)) => Command::new(program).args(arguments).exec(),
        None => io::ErrorKind::InvalidInput.into(),
    }
}

#[expect(clippy::disallowed_methods, reason = "the guard starts commands")]
#[expect(unsafe_code, reason = "there is no other way to do something between fork and exec")]
fn spawn(session: &Session, command: &[OsString], terminal: &Terminal) -> io::Result<Pid> {
    let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("LOKT_NAME", session.name().as_str())
        .env("LOKT_LOCK_ID", session.lock_id().as_str())
        .env("LOKT_TOKEN", session.token().to_string())
        .env(crate::inside::HELD, crate::inside::held_with(session.name(), session.lock_id()));
    if terminal.wants_own_group() {
        command.process_group(0);
    }
    let liveness = session.file().descriptor().map(|fd| fd.try_clone_to_owned()).transpose()?;
    let foreground = terminal.to_hand_over()?;
    let guard = getpid();
    let death = if session.deadline().is_some() { Signal::KILL } else { Signal::TERM };
    // SAFETY: between fork and exec only async-signal-safe calls are allowed, as another thread may have held any
    // lock at the fork. These are system calls on descriptors that were opened before; none allocates or locks.
    unsafe {
        command.pre_exec(move || {
            if let Some(liveness) = &liveness {
                fcntl_setfd(liveness, FdFlags::empty())?;
            }
            if let Some(foreground) = &foreground {
                terminal::take_foreground(foreground, getpid());
            }
            set_parent_process_death_signal(Some(death))?;
            // It may have died before it was asked to tell.
            if getppid() != Some(guard) {
                return Err(rustix::io::Errno::SRCH.into());
            }
            Ok(())
        });
    }
    let child = command.spawn()?;
    process::as_pid(i64::from(child.id())).ok_or_else(|| io::Error::other("a child without an id"))
}

/// The command is being ended.
struct Ending {
    kill_at: Duration,
    killed: bool,
    for_loss: bool,
}

struct Guard<'a> {
    session: Session,
    child: Pid,
    group: Group,
    policy: Policy,
    signals: &'a Signals,
    tell: &'a (dyn Fn(&str) + Sync),
    /// What the heartbeat found, until it has been dealt with.
    lost: Arc<Mutex<Option<Error>>>,
    ending: Option<Ending>,
    told: bool,
}

impl Guard<'_> {
    fn keep_alive(&mut self) {
        let lost = Arc::clone(&self.lost);
        let started = self.signals.waker().map_err(Error::root).and_then(|waker| {
            self.session.keep_alive(move |news| {
                if let News::Lost(error) = news {
                    *lost.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    waker.wake();
                }
            })
        });
        if let Err(error) = started {
            // Without a heartbeat a lease is given up in time; a strict lock only misses a removal by force.
            (self.tell)(&format!("warning: {error}"));
        }
    }

    /// Attends to the command until it has ended.
    fn attend(&mut self) -> WaitStatus {
        loop {
            match waitpid(Some(self.child), WaitOptions::NOHANG | WaitOptions::UNTRACED) {
                Ok(Some((_, status))) if status.stopped() => self.command_stopped(),
                Ok(Some((_, status))) => return status,
                Ok(None) | Err(_) => {}
            }
            for signal in self.signals.take() {
                self.received(signal);
            }
            self.look_at_lock();
            self.kill_in_time();
            self.signals.wait(self.next_deadline());
        }
    }

    fn received(&mut self, signal: Signal) {
        match signal {
            Signal::CHILD => {}
            Signal::TSTP => {
                self.group.forward(signal);
                self.stop();
            }
            Signal::CONT => {
                self.group.hand_terminal_over();
                self.group.forward(signal);
            }
            _ => self.group.forward(signal),
        }
    }

    /// The command was stopped, from the terminal: whoever started the guard must see it stopped too.
    fn command_stopped(&mut self) {
        if self.ending.is_some() {
            self.group.signal(Signal::CONT);
        } else if self.group.has_terminal() {
            self.stop();
        }
    }

    /// Stops this process as the command is stopped; and goes on with it, if the lock is still there.
    fn stop(&mut self) {
        self.group.stop_with();
        if let Err(error) = self.session.renew()
            && error.is_lost()
        {
            return self.lost_lock(&error);
        }
        self.group.hand_terminal_over();
        self.group.signal(Signal::CONT);
    }

    /// Ends the command if the lock is lost, or can't be renewed and is about to lapse.
    fn look_at_lock(&mut self) {
        let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(error) = lost {
            return self.lost_lock(&error);
        }
        let Some(give_up) = self.give_up_at() else {
            return;
        };
        if self.told || now() < give_up {
            return;
        }
        // We may have been paused, and the heartbeat with us: it has a last chance.
        self.session.nudge();
        let slack = self.session.beat().map_or(LAST_CHANCE, |beat| (beat.margin / 5).min(LAST_CHANCE));
        let last = now() + slack;
        while now() < last && self.give_up_at().is_some_and(|give_up| now() >= give_up) {
            if self.session.is_lost() {
                return;
            }
            self.signals.wait(Some(now() + GROUP_POLL));
        }
        if self.give_up_at().is_some_and(|give_up| now() >= give_up) && !self.session.is_lost() {
            let left = self.session.deadline().unwrap_or_default().saturating_sub(now());
            let left = format_duration(left);
            self.end_for_loss(&format!(
                "lock \"{}\" could not be renewed, and {left} is left of its lease",
                self.session.name()
            ));
        }
    }

    fn give_up_at(&self) -> Option<Duration> {
        Some(self.session.deadline()?.saturating_sub(self.session.beat()?.margin))
    }

    fn lost_lock(&mut self, error: &Error) {
        self.end_for_loss(&error.to_string());
    }

    fn end_for_loss(&mut self, why: &str) {
        if self.told {
            return;
        }
        self.told = true;
        if self.policy.on_lost == OnLost::Warn {
            (self.tell)(&format!("warning: {why}; the command goes on without it"));
            return;
        }
        (self.tell)(&format!("{why}; ending the command"));
        let grace = self.session.beat().map_or(self.policy.kill_after, |beat| {
            let left = self.session.deadline().unwrap_or_default().saturating_sub(now());
            // Before the lease lapses, if it has not; and what was taken away is not to be used for long.
            if left.is_zero() || self.session.is_lost() { self.policy.kill_after } else { beat.grace }
        });
        self.end(grace, true);
    }

    fn end(&mut self, grace: Duration, for_loss: bool) {
        self.group.signal(Signal::TERM);
        self.group.signal(Signal::CONT);
        self.ending = Some(Ending { kill_at: now() + grace, killed: false, for_loss });
    }

    fn kill_in_time(&mut self) {
        if let Some(ending) = &mut self.ending
            && !ending.killed
            && now() >= ending.kill_at
        {
            ending.killed = true;
            self.group.signal(Signal::KILL);
        }
    }

    fn next_deadline(&self) -> Option<Duration> {
        match &self.ending {
            Some(ending) if !ending.killed => Some(ending.kill_at),
            Some(_) => None,
            None if self.told => None,
            None => self.give_up_at(),
        }
    }

    /// What the command started, and what a signal ended with it, holds the lock until it is gone.
    ///
    /// A command that came to its own end may leave a daemon behind on purpose: that one keeps nothing.
    fn await_group(&mut self, status: WaitStatus) {
        if !status.signaled() && self.ending.is_none() && !self.group.was_told_to_end() {
            return;
        }
        if self.ending.is_none() {
            let kill_at = now() + self.policy.kill_after;
            self.ending = Some(Ending { kill_at, killed: false, for_loss: false });
        }
        while self.group.lives() {
            for signal in self.signals.take() {
                if signal != Signal::CHILD {
                    self.group.forward(signal);
                }
            }
            self.kill_in_time();
            let gone_by = self.ending.as_ref().map_or(Duration::ZERO, |ending| ending.kill_at + AFTER_KILL);
            if now() >= gone_by {
                (self.tell)("warning: a process of the command can't be ended");
                return;
            }
            self.signals.wait(Some(now() + GROUP_POLL));
        }
    }

    fn finish(self, status: WaitStatus) -> Ended {
        let ended_for_loss = self.ending.as_ref().is_some_and(|ending| ending.for_loss);
        match self.session.release() {
            Err(error) if error.is_lost() && !self.told => {
                (self.tell)(&format!("warning: {error}: its command had just ended"));
            }
            Err(error) if !error.is_lost() => (self.tell)(&format!("warning: {error}")),
            _ => {}
        }
        match (status.exit_status(), status.terminating_signal()) {
            _ if ended_for_loss => Ended::Lost,
            (Some(code), _) => Ended::Exited(code),
            (None, Some(signal)) => Ended::Signalled(signal),
            (None, None) => Ended::Exited(1),
        }
    }
}

/// The monotonic clock: a command runs in real time.
fn now() -> Duration {
    clock::monotonic()
}

fn group_lives(group: Pid) -> bool {
    test_kill_process_group(group) != Err(rustix::io::Errno::SRCH)
}

fn signal_group(group: Pid, signal: Signal) {
    // It may just have ended.
    let _ = kill_process_group(group, signal);
}
