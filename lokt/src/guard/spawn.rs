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
use crate::host::{Program, birth, platform};
use crate::inside::{self, HELD, TOKENS};
use crate::session::Session;

/// Replaces this program by `command`: a guard inside a guard of the same lock.
pub(crate) fn exec(command: &[OsString]) -> io::Error {
    match Program::new(command) {
        Ok(mut program) => program.exec().into(),
        Err(error) => error,
    }
}

/// Why a command was not started.
pub(super) enum NotStarted {
    /// A lease was about to lapse.
    Late,
    /// This signal asked us to end.
    Asked(Signal),
    /// The system did not let us.
    Failed(io::Error),
}

impl From<io::Error> for NotStarted {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::TimedOut => Self::Late,
            _ => Self::Failed(error),
        }
    }
}

/// Starts a command with the descriptors and variables of what is held. If that takes long, what is held is kept alive
/// meanwhile.
pub(super) fn spawn(
    held: &mut Held,
    mut program: Program,
    setting: &Setting,
    signals: &Signals,
    tell: &(dyn Fn(&str) + Sync),
) -> Result<Pid, NotStarted> {
    program.set(&introduction(held))?;
    let foreground = setting.to_hand_over();
    let (death, give_up) = (death_signal(held), held.start_before());
    let files = held.files();
    let liveness: Vec<_> = files.iter().filter_map(|file| file.descriptor()).collect();
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
    let mut live = || match prepare() {
        Ok(()) => program.exec(),
        Err(error) => error.raw_os_error().map_or(Errno::EIO, Errno::from_raw),
    };
    // What comes before its exec is for the command too: it must not end in the handlers that it was born with.
    birth::start(&mut live, signals.hold_back()?, &mut || {
        if let Some(until) = held.quiet_until().filter(|until| monotonic() < *until) {
            return Ok(Some(until));
        }
        held.keep_alive(signals, tell);
        match (signals.end_asked(), held.start_before()) {
            (Some(signal), _) => Err(NotStarted::Asked(signal)),
            (None, Some(give_up)) if monotonic() >= give_up => Err(NotStarted::Late),
            (None, give_up) => Ok(give_up),
        }
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
