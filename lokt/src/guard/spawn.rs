//! The start of the command: what has to be done between its birth and its exec.

use std::ffi::OsString;
use std::io;

use nix::errno::Errno;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, getpid, getppid, setpgid};

use super::held::Held;
use super::terminal::{Setting, take_foreground};
use crate::host::clock::monotonic;
use crate::host::signals::Signals;
use crate::host::{Program, platform};
use crate::inside::{self, HELD, TOKENS};
use crate::session::Session;

/// Replaces this program by `command`: a guard inside a guard of the same lock.
pub(crate) fn exec(command: &[OsString]) -> io::Error {
    match Program::new(command) {
        Ok(mut program) => program.exec().into(),
        Err(error) => error,
    }
}

/// Starts a command with the descriptors and variables of what is held.
pub(super) fn spawn(
    held: &Held,
    mut program: Program,
    setting: &Setting,
    signals: &Signals,
) -> io::Result<Pid> {
    program.set(&introduction(held))?;
    let foreground = setting.to_hand_over();
    let (death, give_up) = (death_signal(held), held.start_before());
    let liveness = held.descriptors();
    let guard = getpid();
    let prepare = || -> io::Result<()> {
        if setting.is_apart() {
            setpgid(None, None)?;
        }
        for liveness in &liveness {
            fcntl_setfd(liveness, FdFlags::empty())?;
        }
        if let Some(foreground) = &foreground {
            take_foreground(foreground, getpid());
        }
        platform::die_with_parent(death)?;
        // It may have died before it was asked to tell.
        if getppid() != Some(guard) {
            return Err(Errno::ESRCH.into());
        }
        if give_up.is_some_and(|give_up| monotonic() >= give_up) {
            return Err(Errno::ETIMEDOUT.into());
        }
        signals.at_birth().restore()
    };
    // What comes before its exec is for the command too: it must not end in the handlers that it was born with.
    let _held_back = signals.hold_back()?;
    platform::start(&mut || match prepare() {
        Ok(()) => program.exec(),
        Err(error) => error.raw_os_error().map_or(Errno::EIO, Errno::from_raw),
    })
}

/// Tells the command under which locks it runs.
fn introduction(held: &Held) -> Vec<(&'static str, Option<String>)> {
    let list = |entry: fn(&Session) -> String| -> Vec<_> {
        held.sessions().iter().map(|session| (session.name(), entry(session))).collect()
    };
    let ids = list(|session| session.lock_id().to_string());
    let tokens = list(|session| session.token().to_string());
    let mut variables =
        vec![(HELD, Some(inside::with(HELD, &ids))), (TOKENS, Some(inside::with(TOKENS, &tokens)))];
    if let Some(badge) = held.badge() {
        variables.extend([
            ("LOKT_NAME", Some(badge.name.clone())),
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
