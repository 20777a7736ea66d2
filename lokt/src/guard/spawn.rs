//! The start of the command: what has to be done between its birth and its exec.

use std::ffi::OsString;
use std::io;

use nix::errno::Errno;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, getpid, getppid, setpgid};

use super::terminal::{Setting, take_foreground};
use crate::host::clock::monotonic;
use crate::host::signals::Signals;
use crate::host::{Program, platform};
use crate::inside;
use crate::session::Session;

/// Replaces this program by `command`: a guard inside a guard of the same lock.
pub(crate) fn exec(command: &[OsString]) -> io::Error {
    match Program::new(command, &[]) {
        Ok(mut program) => program.exec().into(),
        Err(error) => error,
    }
}

/// Starts `command` with the session's descriptor and variables.
pub(super) fn spawn(
    session: &Session,
    command: &[OsString],
    setting: &Setting,
    signals: &Signals,
) -> io::Result<Pid> {
    let mut program = Program::new(command, &introduction(session))?;
    let foreground = setting.to_hand_over();
    let (death, give_up) = (death_signal(session), session.give_up_at());
    let guard = getpid();
    let prepare = || -> io::Result<()> {
        if setting.is_apart() {
            setpgid(None, None)?;
        }
        if let Some(liveness) = session.file().descriptor() {
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

/// Tells the command under which lock it runs.
fn introduction(session: &Session) -> Vec<(&'static str, String)> {
    let (name, lock_id) = (session.name(), session.lock_id());
    let mut variables = vec![
        ("LOKT_NAME", name.to_string()),
        ("LOKT_LOCK_ID", lock_id.to_string()),
        ("LOKT_TOKEN", session.token().to_string()),
        (inside::HELD, inside::held_with(name, lock_id)),
    ];
    variables.extend(session.slot().map(|slot| ("LOKT_SLOT", slot.to_string())));
    variables
}

/// What the command gets if this guard is killed: with a lease nobody would be left to follow up before it lapses.
fn death_signal(session: &Session) -> Signal {
    match session.deadline() {
        Some(_) => Signal::KILL,
        None => Signal::TERM,
    }
}
