//! The start of the command: what has to be done between fork and exec.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, getpid, getppid};

use super::terminal::{Setting, take_foreground};
use crate::host::clock::monotonic;
use crate::host::signals::Signals;
use crate::host::{platform, process};
use crate::inside;
use crate::session::Session;

/// Replaces this program by `command`: a guard inside a guard of the same lock.
pub(crate) fn exec(command: &[OsString]) -> io::Error {
    match prepared(command) {
        Ok(mut command) => command.exec(),
        Err(error) => error,
    }
}

/// Starts `command` with the session's descriptor and variables.
#[expect(unsafe_code, reason = "there is no other way to do something between fork and exec")]
pub(super) fn spawn(
    session: &Session,
    command: &[OsString],
    setting: &Setting,
    signals: &Signals,
) -> io::Result<Pid> {
    let mut command = prepared(command)?;
    introduce(&mut command, session);
    if setting.is_apart() {
        command.process_group(0);
    }
    let liveness = session.file().descriptor();
    let liveness = liveness.map(|fd| fd.try_clone_to_owned()).transpose()?;
    let foreground = setting.to_hand_over();
    let (death, give_up) = (death_signal(session), session.give_up_at());
    let (guard, at_birth) = (getpid(), signals.at_birth());
    // SAFETY: between fork and exec only async-signal-safe calls are allowed, as another thread may have held any
    // lock at the fork. These are system calls on what was made before; none allocates or locks.
    unsafe {
        command.pre_exec(move || {
            if let Some(liveness) = &liveness {
                fcntl_setfd(liveness, FdFlags::empty())?;
            }
            if let Some(foreground) = &foreground {
                take_foreground(foreground, getpid());
            }
            platform::die_with_parent(death)?;
            // It may have died before it was asked to tell.
            if getppid() != Some(guard) {
                return Err(Errno::SRCH.into());
            }
            if give_up.is_some_and(|give_up| monotonic() >= give_up) {
                return Err(Errno::TIMEDOUT.into());
            }
            at_birth.restore()
        });
    }
    // What comes before its exec is for the command too: it must not end in the handlers that it was born with.
    let held_back = signals.hold_back()?;
    let child = command.spawn();
    drop(held_back);
    process::as_pid(i64::from(child?.id())).ok_or_else(|| io::Error::other("a child without an id"))
}

#[expect(clippy::disallowed_methods, reason = "the guard starts commands")]
fn prepared(command: &[OsString]) -> io::Result<Command> {
    let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command.args(arguments);
    Ok(command)
}

/// Tells the command under which lock it runs.
fn introduce(command: &mut Command, session: &Session) {
    let (name, lock_id) = (session.name(), session.lock_id());
    command
        .env("LOKT_NAME", name.as_str())
        .env("LOKT_LOCK_ID", lock_id.as_str())
        .env("LOKT_TOKEN", session.token().to_string())
        .env(inside::HELD, inside::held_with(name, lock_id));
}

/// What the command gets if this guard is killed: with a lease nobody would be left to follow up before it lapses.
fn death_signal(session: &Session) -> Signal {
    match session.deadline() {
        Some(_) => Signal::KILL,
        None => Signal::TERM,
    }
}
