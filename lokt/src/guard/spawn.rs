//! The start of the command: what has to be done between its fork and its exec.

use std::ffi::OsString;
use std::io;

use nix::errno::Errno;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Signal, getpid, getppid, setpgid};
use rustix::termios::tcgetpgrp;

use super::acquire::Wanted;
use super::held::{Badge, Held};
use super::terminal::{Setting, our_group, take_foreground};
use crate::host::clock::monotonic;
use crate::host::fork::Forked;
use crate::host::signals::Signals;
use crate::host::{Program, mask, platform};
use crate::inside::{self, HELD, TOKENS};

/// Replaces this program by `command`: a guard inside guards that hold all that is `wanted`.
pub(crate) fn exec(wanted: &Wanted, command: &[OsString]) -> io::Error {
    let introduced = Program::new(command).and_then(|mut program| {
        program.set(&introduction(wanted.held()))?;
        Ok(program)
    });
    mask::give_back();
    introduced.map_or_else(|error| error, |mut program| program.exec().into())
}

/// What a child returns whose lease was about to lapse: no exec says that.
const LATE: Errno = Errno::ECANCELED;

/// Whether a command was not started because the lease was about to lapse.
pub(super) fn was_late(error: &io::Error) -> bool {
    error.raw_os_error() == Some(LATE as i32)
}

/// Begins a command with the descriptors and variables of what is held.
pub(super) fn spawn(
    held: &Held,
    mut program: Program,
    setting: &Setting,
    signals: &Signals,
) -> io::Result<Forked> {
    program.set(&introduction(held))?;
    let (apart, foreground) = (setting.is_apart(), setting.to_hand_over());
    let (death, give_up) = (death_signal(held), held.start_before());
    let (files, inherited) = (held.files(), signals.inherited());
    let (guard, job) = (getpid(), our_group());
    let prepare = move || -> Result<(), Errno> {
        if apart {
            setpgid(None, None).map_err(code)?;
        }
        for liveness in files.iter().filter_map(|file| file.descriptor()) {
            fcntl_setfd(liveness, FdFlags::empty()).map_err(code)?;
        }
        // The guard may have been stopped by now, and its shell have the terminal.
        if let Some(foreground) = foreground.as_ref().filter(|terminal| tcgetpgrp(terminal).ok() == job) {
            take_foreground(foreground, getpid());
        }
        platform::die_with_parent(death).map_err(code)?;
        // It may have died before it was asked to tell; the first of a new namespace of processes (unshare -p) sees no parent.
        if getppid().is_some_and(|parent| parent != guard) {
            return Err(Errno::ESRCH);
        }
        if give_up.is_some_and(|give_up| monotonic() >= give_up) {
            return Err(LATE);
        }
        mask::give_back();
        inherited.restore()
    };
    let until_exec = move || prepare().map_or_else(|error| error, |()| program.exec());
    let child = Forked::begin(Box::new(until_exec))?;
    if apart {
        // Whichever comes first: nobody must find it in our group.
        let _ = setpgid(Some(child.pid()), Some(child.pid()));
    }
    Ok(child)
}

fn code(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}

/// Tells the command under which locks it runs.
fn introduction(held: &Held) -> Vec<(&'static str, Option<String>)> {
    let badges = held.badges();
    let list = |entry: fn(&Badge) -> String| -> Vec<_> {
        badges.iter().map(|badge| (&badge.name, entry(badge))).collect()
    };
    let ids = list(|badge| badge.lock_id.clone());
    let tokens = list(|badge| badge.token.to_string());
    let mut variables =
        vec![(HELD, Some(inside::held_with(&ids))), (TOKENS, Some(inside::tokens_with(&tokens)))];
    if let Some(badge) = badges.iter().find(|badge| held.leads(badge)) {
        variables.extend([
            ("LOKT_NAME", Some(badge.name.to_string())),
            ("LOKT_LOCK_ID", Some(badge.lock_id.clone())),
            ("LOKT_TOKEN", Some(badge.token.to_string())),
            // One that a guard around this one has set is of another name.
            ("LOKT_SLOT", badge.slot.map(|slot| slot.to_string())),
        ]);
    }
    variables
}

/// What the command gets if this guard is killed: with a lease nobody would be left to follow up before it lapses.
fn death_signal(held: &Held) -> Signal {
    match held.beat() {
        Some(_) => Signal::KILL,
        None => Signal::TERM,
    }
}
