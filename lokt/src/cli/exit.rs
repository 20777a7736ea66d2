//! Exit codes, each with its sentence.

use std::process::ExitCode;

use crate::Error;
use crate::guard::Ended;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// It did what it was asked.
    Ok,
    /// Something went wrong.
    Failed,
    /// Somebody holds the lock, it is frozen, or the wait took too long.
    Held,
    /// There is no such lock.
    NotFound,
    /// The lock is another's.
    NotOwner,
    /// The guard's lock was lost, and its command ended.
    Lost,
    /// The arguments make no sense.
    Usage,
    /// The guarded command is not executable.
    NotExecutable,
    /// The guarded command does not exist.
    NoCommand,
    /// The guarded command's own code, or one that the user chose.
    Code(u8),
    /// A signal ended the command, or the wait for the lock: 128 and its number.
    Signal(i32),
}

impl Exit {
    fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Held => 2,
            Self::NotFound => 3,
            Self::NotOwner => 4,
            Self::Lost => 5,
            Self::Usage => 64,
            Self::NotExecutable => 126,
            Self::NoCommand => 127,
            Self::Code(code) => code,
            Self::Signal(number) => 128 | (number & 0x7f) as u8,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

impl From<&Error> for Exit {
    fn from(error: &Error) -> Self {
        match error {
            e if e.is_held() || e.is_timed_out() => Self::Held,
            e if e.is_not_found() => Self::NotFound,
            e if e.is_not_owner() => Self::NotOwner,
            e if e.is_lost() => Self::Lost,
            e if e.is_invalid() => Self::Usage,
            _ => Self::Failed,
        }
    }
}

impl From<Ended> for Exit {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Exited(code) => Self::Code((code & 0xff) as u8),
            Ended::Signalled(number) => Self::Signal(number),
            Ended::Lost => Self::Lost,
        }
    }
}
