//! A command under a session, or under several: [`Held`].
//!
//! # Gotchas
//!
//! * The command inherits the descriptors whose flocks are the sessions' lives, so a guard that is killed leaves no
//!   lock that looks free while its command runs. A normal end unlocks them explicitly, so a daemon that keeps
//!   a descriptor keeps nothing locked.
//! * `PR_SET_PDEATHSIG` fires when the *thread* that forked ends: the command is started from the main thread.
//!   With a lease it is SIGKILL, as nobody would be left to follow up before the lease lapses.
//! * To end a command is to end all that it has started: [`group`]. How it shares the terminal: [`terminal`].
//! * A stopped process gets SIGCONT after SIGTERM, or it would never hear of it; and after whatever else asks it to end.
//! * The guard itself may have been stopped. When it runs again it first has it looked whether the lock is still its own;
//!   only then does its command go on. A look that fails proves nothing.
//! * A file system can hang, and whoever asks it anything hangs with it. While the command runs under a lease, only the
//!   heartbeats ask, if threads could be started for them.
//! * A message can block for ever (a full pipe, Ctrl-S): first what has to be done, then what there is to say.

mod acquire;
mod group;
mod held;
mod spawn;
mod terminal;

use std::io;
use std::mem;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Signal, WaitOptions, WaitStatus, wait};

pub(crate) use self::acquire::{Wanted, acquire};
use self::group::Group;
pub(crate) use self::held::Held;
pub(crate) use self::spawn::exec;
use self::terminal::Setting;
use crate::host::Program;
use crate::host::clock::monotonic as now;
use crate::host::fork::Forked;
use crate::host::process::is_seen_to_run;
use crate::host::signals::{Came, Signals};
use crate::protocol::format_duration;

/// How often to look whether the last of a group has ended, where the kernel tells nobody but its parents.
const GROUP_POLL: Duration = Duration::from_millis(5);

/// How often to look where the kernel does tell, in case it told a parent that does not care.
const RARE_POLL: Duration = Duration::from_millis(100);

/// How long a group that was killed may take to disappear.
const AFTER_KILL: Duration = Duration::from_secs(2);

/// How long a guard that goes on may look for its lock before it says that this takes time.
const DOUBT: Duration = Duration::from_secs(1);

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

/// Runs `program`, the command, under what is held, and releases that when it has ended. What is short, and for which nobody
/// should wait, is done `meanwhile`; but not under a lease, which waits for nothing.
pub(crate) fn run(
    held: Held,
    program: Program,
    policy: Policy,
    signals: &Signals,
    tell: &(dyn Fn(&str) + Sync),
    meanwhile: impl FnOnce(),
) -> io::Result<Ended> {
    if let Some(signal) = signals.end_asked() {
        return Ok(Ended::Signalled(signal.as_raw()));
    }
    // We may have been stopped since the admission.
    if let Err(error) = held.still_ours() {
        tell(&format!("{error}; the command was not started"));
        return Ok(Ended::Lost);
    }
    let setting = Setting::find();
    let adopts = group::adopt_orphans(&held);
    let child = spawn::spawn(&held, program, &setting, signals)?;
    if held.beat().is_none() {
        meanwhile();
    }
    let guard = Guard {
        held,
        group: Group::new(child.pid(), setting.is_apart(), adopts),
        starting: Some(child),
        setting,
        resumed: None,
        in_doubt: false,
        end_unheard: false,
        policy,
        signals,
        tell,
        status: None,
        ending: None,
        told: false,
        left_behind: false,
    };
    guard.attend_to_the_end()
}

/// The command is being ended.
#[derive(Clone, Copy)]
struct Ending {
    kill_at: Duration,
    killed: bool,
    for_loss: bool,
}

struct Guard<'a> {
    held: Held,
    group: Group,
    /// The command, until its exec is done.
    starting: Option<Forked>,
    setting: Setting,
    /// When it was continued, until its command is.
    resumed: Option<Duration>,
    /// It has been said that its command does not go on yet.
    in_doubt: bool,
    /// The command was told to end meanwhile, and may not hear of it before it goes on.
    end_unheard: bool,
    policy: Policy,
    signals: &'a Signals,
    tell: &'a (dyn Fn(&str) + Sync),
    /// How the command itself ended; others of its group may still run.
    status: Option<WaitStatus>,
    ending: Option<Ending>,
    /// The loss of the lock has been dealt with.
    told: bool,
    /// A process of the command could not be ended.
    left_behind: bool,
}

impl Guard<'_> {
    fn attend_to_the_end(mut self) -> io::Result<Ended> {
        match self.attend() {
            Ok(status) => Ok(self.finish(status)),
            Err(error) => {
                self.setting.take_back(self.group.child(), false);
                if !spawn::was_late(&error) {
                    return Err(error);
                }
                (self.tell)("the lease was about to lapse; the command was not started");
                Ok(Ended::Lost)
            }
        }
    }

    /// Attends to the command until it has ended, and with it what has to.
    ///
    /// # Errors
    ///
    /// It could not be started.
    fn attend(&mut self) -> io::Result<WaitStatus> {
        loop {
            // First the signals, then what they tell of: a SIGCHLD between the two must not be lost.
            let came = self.signals.take();
            // First: whatever else there is, the command may not go on yet.
            if came.iter().any(|came| came.signal == Signal::CONT) {
                self.resume();
            }
            for came in came {
                self.received(came);
            }
            self.reap();
            if let Some(started) = self.starting.as_mut().and_then(Forked::outcome) {
                self.starting = None;
                started?;
            }
            self.look_at_lock();
            self.go_on();
            self.kill_in_time();
            if let Some(status) = self.status.filter(|status| self.is_over(*status)) {
                return Ok(status);
            }
            self.sleep();
        }
    }

    /// Sleeps until there is something to attend to.
    fn sleep(&mut self) {
        let deadline = self.next_deadline();
        let quiet_until = self.held.quiet_until();
        let bells = quiet_until.map(|_| self.held.bells()).unwrap_or_default();
        let all: Vec<_> = bells.iter().map(|bell| PollFd::new(bell, PollFlags::IN)).collect();
        let rung = self.signals.wait_or(deadline, &all).iter().any(|came| !came.is_empty());
        if quiet_until.is_some_and(|until| rung || now() >= until) {
            self.held.keep_alive(self.signals, self.tell);
        }
    }

    /// Takes note of whatever has become of the command, and of those that were adopted.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
            match status.stopping_signal() {
                // Of one that is gone the id may be another's.
                _ if pid != self.group.child() || self.status.is_some() => {}
                Some(signal) => self.command_stopped(signal),
                None => {
                    self.status = Some(status);
                    self.group.child_has_ended();
                }
            }
        }
    }

    fn received(&mut self, came: Came) {
        match came.signal {
            Signal::CHILD | Signal::CONT => {}
            Signal::TSTP => {
                self.group.forward(came, true);
                self.stop();
            }
            _ => {
                let may_go_on = self.resumed.is_none();
                self.end_unheard |= self.group.forward(came, may_go_on) && !may_go_on;
                self.end_in_doubt();
            }
        }
    }

    /// The command was stopped: whoever started the guard must see it stopped too, if he can make it go on.
    fn command_stopped(&mut self, signal: i32) {
        let wants_terminal = [Signal::TTIN.as_raw(), Signal::TTOU.as_raw()].contains(&signal);
        match self.setting {
            _ if self.ending.is_some() => self.group.send(Signal::CONT),
            // It goes on in a moment, or is ended.
            _ if self.resumed.is_some() => {}
            // A shell that makes a running job the foreground tells nobody.
            Setting::Alone(_) if wants_terminal && self.setting.hand_over(self.group.child()) => {
                self.group.resume();
            }
            Setting::Alone(_) | Setting::Among { watched: true, .. } => self.stop(),
            Setting::NoTerminal | Setting::Among { .. } => {}
        }
    }

    /// Stops this process as the command is stopped; SIGCONT says when to [`resume`](Self::resume).
    fn stop(&mut self) {
        self.resumed = None;
        self.setting.take_back(self.group.child(), false);
        if !self.signals.stop() {
            self.resume();
        }
    }

    /// Lets the command [go on](Self::go_on) as soon as it is known whether the lock is still there.
    fn resume(&mut self) {
        self.resumed = Some(now());
        self.in_doubt = false;
        self.held.look(self.signals, self.tell, None);
    }

    fn go_on(&mut self) {
        let Some(since) = self.resumed else { return };
        // Nobody waits for a lock that the command is to do without.
        if !self.told && !self.held.is_proved_since(since) {
            return self.tell_of_doubt(since);
        }
        self.resumed = None;
        self.look_at_lock();
        if self.ending.is_none() {
            self.setting.hand_over(self.group.child());
            self.group.resume();
            if mem::take(&mut self.end_unheard) {
                self.group.send(Signal::CONT);
            }
        }
    }

    fn tell_of_doubt(&mut self, since: Duration) {
        if !self.in_doubt && now() >= since + DOUBT {
            self.in_doubt = true;
            (self.tell)(
                "whether the lock is still held can't be told now; a command that was stopped goes on once it can",
            );
            self.end_in_doubt();
        }
    }

    /// Lets a command that is stopped hear that it was told to end, although it can't be told whether its lock is still
    /// held: as one whose lock is lost, it has only so much time.
    fn end_in_doubt(&mut self) {
        let runs = || is_seen_to_run(self.group.child().as_raw_nonzero().get().into());
        if !(self.in_doubt && self.resumed.is_some() && self.end_unheard) || runs() {
            return;
        }
        self.end_unheard = false;
        if self.policy.on_lost != OnLost::Warn {
            self.kill_at(self.last_moment(), false);
        }
        self.setting.hand_over(self.group.child());
        self.group.send(Signal::CONT);
    }

    /// Ends the command if the lock is lost, or can't be renewed and is about to lapse.
    fn look_at_lock(&mut self) {
        for lost in self.held.take_losses() {
            self.end_for_loss(&lost.to_string());
        }
        if self.told || !self.must_give_up() {
            return;
        }
        self.last_chance();
        // A lock that is lost is news of its own.
        if let Some((session, _)) = self.held.next_to_lapse().filter(|(_, give_up)| now() >= *give_up) {
            self.end_for_loss(&format!(
                "lock \"{}\" could not be renewed, and {} is left of its lease",
                session.name(),
                format_duration(held::left(session))
            ));
        }
    }

    /// We may have been paused, and the heartbeats with us: one more try.
    fn last_chance(&mut self) {
        let margin = self.held.beat().map(|beat| beat.margin / 5);
        let chance = margin.unwrap_or(LAST_CHANCE).min(LAST_CHANCE);
        let last = now() + chance;
        self.held.look(self.signals, self.tell, Some(last));
        while now() < last && self.must_give_up() {
            self.signals.wait(Some(now() + GROUP_POLL));
        }
    }

    fn must_give_up(&self) -> bool {
        self.held.give_up_at().is_some_and(|give_up| now() >= give_up)
    }

    fn end_for_loss(&mut self, why: &str) {
        let told = mem::replace(&mut self.told, true);
        if self.policy.on_lost == OnLost::Warn {
            return (self.tell)(&format!("warning: {why}; the command goes on without it"));
        }
        if told {
            return;
        }
        self.kill_at(self.last_moment(), true);
        // To end it needs the terminal too: an editor sets the modes back.
        self.setting.hand_over(self.group.child());
        self.group.ask_to_end();
        (self.tell)(&format!("{why}; ending the command"));
    }

    /// Until when a command may take to end: before a lease lapses, if it has not.
    fn last_moment(&self) -> Duration {
        let latest = now() + self.policy.kill_after;
        self.held.last_moment().map_or(latest, |lapse| lapse.min(latest))
    }

    fn kill_at(&mut self, kill_at: Duration, for_loss: bool) {
        self.ending = Some(Ending {
            kill_at: self.ending.map_or(kill_at, |begun| begun.kill_at.min(kill_at)),
            killed: self.ending.is_some_and(|begun| begun.killed),
            for_loss,
        });
    }

    fn kill_in_time(&mut self) {
        if let Some(ending) = &mut self.ending
            && now() >= ending.kill_at
        {
            // Again and again: one may have been born meanwhile.
            ending.killed = true;
            self.group.kill();
        }
    }

    fn next_deadline(&self) -> Option<Duration> {
        let renewal = self.held.give_up_at().filter(|_| !self.told);
        let kill = self.ending.filter(|ending| !ending.killed).map(|ending| ending.kill_at);
        let poll = match self.group.is_told_of_ends() {
            true => RARE_POLL,
            false => GROUP_POLL,
        };
        let waits = self.status.is_some() || self.ending.is_some_and(|ending| ending.killed);
        let look = waits.then(|| now() + poll);
        let resumes = self.resumed.map(|_| now() + if self.in_doubt { RARE_POLL } else { GROUP_POLL });
        [renewal, kill, look, resumes, self.held.quiet_until()].into_iter().flatten().min()
    }

    /// Whether nothing is left that keeps the lock, now that the command itself has ended.
    ///
    /// What it started, and what a signal ended with it, keeps the lock until it is gone. A command that came to
    /// its own end may leave a daemon behind on purpose: that one keeps nothing.
    fn is_over(&mut self, status: WaitStatus) -> bool {
        let told_to_end = self.group.was_told_to_end(self.policy.kill_after);
        let by_itself = !status.signaled() && !told_to_end;
        if by_itself && self.ending.is_none() || !self.group.lives() {
            return true;
        }
        let Some(ending) = self.ending else {
            self.kill_at(now() + self.policy.kill_after, false);
            if !told_to_end {
                self.group.ask_to_end();
            }
            return false;
        };
        self.left_behind = now() >= ending.kill_at + AFTER_KILL;
        self.left_behind
    }

    fn finish(self, status: WaitStatus) -> Ended {
        let for_loss = self.ending.is_some_and(|ending| ending.for_loss);
        let broken = status.signaled() || for_loss;
        self.setting.take_back(self.group.child(), broken);
        if self.left_behind {
            (self.tell)(
                "warning: a process of the command can't be ended; it keeps the lock until it is gone",
            );
            self.held.abandon();
        } else {
            self.held.release(self.told, self.tell);
        }
        match (status.exit_status(), status.terminating_signal()) {
            _ if for_loss => Ended::Lost,
            (Some(code), _) => Ended::Exited(code),
            (None, Some(signal)) => Ended::Signalled(signal),
            (None, None) => Ended::Exited(1),
        }
    }
}
