//! What can go wrong, in words for the person who reads them: what happened, to which lock, who holds it, what
//! to do next. Knows no exit codes.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::host::MutexBusy;
use crate::protocol::{BadDuration, BadName, Name, Now, Refusal, format_duration};
use crate::{hints, words};

/// What whoever changes nothing was about to do.
pub(crate) const LOOK_AT: &str = "look at";

/// Why a lock could not be taken, kept, changed or looked at.
#[derive(Debug)]
pub struct Error(Box<Kind>);

#[derive(Debug)]
enum Kind {
    Refused {
        name: Name,
        refusal: Refusal,
        now: Now,
    },
    TimedOut {
        name: Name,
        after: Duration,
        refusal: Refusal,
        now: Now,
    },
    Busy {
        name: Name,
        busy: MutexBusy,
    },
    Interrupted {
        name: Name,
    },
    Io {
        verb: &'static str,
        name: Option<Name>,
        error: io::Error,
    },
    #[cfg_attr(not(feature = "etcd"), expect(dead_code, reason = "only a cluster fails so"))]
    Cluster {
        verb: &'static str,
        name: Option<Name>,
        why: String,
        passes: bool,
        /// Whoever asked had no more time for it.
        waited: bool,
    },
    Invalid {
        message: String,
        hint: Option<String>,
    },
}

impl Error {
    pub(crate) fn refused(name: &Name, refusal: Refusal, now: Now) -> Self {
        Self(Box::new(Kind::Refused { name: name.clone(), refusal, now }))
    }

    pub(crate) fn timed_out(name: &Name, after: Duration, refusal: Refusal, now: Now) -> Self {
        Self(Box::new(Kind::TimedOut { name: name.clone(), after, refusal, now }))
    }

    pub(crate) fn busy(name: &Name, busy: MutexBusy) -> Self {
        Self(Box::new(Kind::Busy { name: name.clone(), busy }))
    }

    pub(crate) fn interrupted(name: &Name) -> Self {
        Self(Box::new(Kind::Interrupted { name: name.clone() }))
    }

    pub(crate) fn io(verb: &'static str, name: &Name, error: io::Error) -> Self {
        Self(Box::new(Kind::Io { verb, name: Some(name.clone()), error }))
    }

    pub(crate) fn root(error: io::Error) -> Self {
        Self(Box::new(Kind::Io { verb: "use the lock directory", name: None, error }))
    }

    pub(crate) fn log(error: io::Error) -> Self {
        Self(Box::new(Kind::Io { verb: "read the audit log", name: None, error }))
    }

    /// A cluster could not be used; `passes` says whether it may be of use a moment later.
    #[cfg(feature = "etcd")]
    pub(crate) fn cluster(verb: &'static str, name: Option<&Name>, why: String, passes: bool) -> Self {
        Self(Box::new(Kind::Cluster { verb, name: name.cloned(), why, passes, waited: false }))
    }

    /// The directory of this machine's sessions can't be used.
    #[cfg(feature = "etcd")]
    pub(crate) fn runtime(error: io::Error) -> Self {
        Self(Box::new(Kind::Io { verb: "use the directory of this machine's sessions", name: None, error }))
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self(Box::new(Kind::Invalid { message: message.into(), hint: None }))
    }

    pub(crate) fn with_hint(mut self, advice: impl Into<String>) -> Self {
        if let Kind::Invalid { hint, .. } = &mut *self.0 {
            *hint = Some(advice.into());
        }
        self
    }

    /// The same, of a wait that was the last of several, which took so long together.
    pub(crate) fn having_waited(mut self, all: Duration) -> Self {
        if let Kind::TimedOut { after, .. } = &mut *self.0 {
            *after = all;
        }
        self
    }

    /// The same, of one who had only so much time, and has waited for so long.
    pub(crate) fn out_of_time(mut self) -> Self {
        if let Kind::Cluster { waited, .. } = &mut *self.0 {
            *waited = true;
        }
        self
    }

    /// Why the protocol refused, if it did.
    pub fn refusal(&self) -> Option<&Refusal> {
        match &*self.0 {
            Kind::Refused { refusal, .. } | Kind::TimedOut { refusal, .. } => Some(refusal),
            _ => None,
        }
    }

    /// Somebody else holds it, it is frozen, or others wait for it.
    pub fn is_held(&self) -> bool {
        matches!(
            self.refusal(),
            Some(
                Refusal::Held { .. }
                    | Refusal::OtherMode { .. }
                    | Refusal::Queued { .. }
                    | Refusal::Frozen(_)
                    | Refusal::FrozenAlready(_)
            )
        )
    }

    /// The wait, or the wait for the lock directory's own mutex, took too long.
    pub fn is_timed_out(&self) -> bool {
        matches!(*self.0, Kind::TimedOut { .. } | Kind::Busy { .. } | Kind::Cluster { waited: true, .. })
    }

    /// The lock directory's own mutex was not to be had in time.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(*self.0, Kind::Busy { .. })
    }

    /// The store was not to be had just now: its mutex is busy, or its cluster has no leader.
    pub(crate) fn is_passing(&self) -> bool {
        self.delay().is_some()
    }

    /// For what the store was not to be had just now, if that was all.
    pub(crate) fn delay(&self) -> Option<String> {
        match &*self.0 {
            Kind::Busy { busy, .. } => Some(busy.to_string()),
            Kind::Cluster { why, passes: true, .. } => Some(why.clone()),
            _ => None,
        }
    }

    /// There is no such lock, or freeze.
    pub fn is_not_found(&self) -> bool {
        matches!(self.refusal(), Some(Refusal::NotFound | Refusal::NotFrozen))
    }

    /// It is not the asker's to release, renew or lift.
    pub fn is_not_owner(&self) -> bool {
        matches!(self.refusal(), Some(Refusal::NotOwner { .. } | Refusal::AnothersFreeze(_)))
    }

    /// The session's record is gone, or another's.
    pub fn is_lost(&self) -> bool {
        matches!(self.refusal(), Some(Refusal::Lost(_)))
    }

    /// The wait was interrupted by its caller.
    pub fn is_interrupted(&self) -> bool {
        matches!(*self.0, Kind::Interrupted { .. })
    }

    /// What was asked makes no sense.
    pub fn is_invalid(&self) -> bool {
        let which_one = matches!(self.refusal(), Some(Refusal::Several(_) | Refusal::SeveralOfOthers(_)));
        which_one || matches!(*self.0, Kind::Invalid { .. })
    }

    /// The lock directory, or a part of it, is not there.
    pub(crate) fn is_not_there(&self) -> bool {
        matches!(&*self.0, Kind::Io { error, .. } if error.kind() == io::ErrorKind::NotFound)
    }

    /// Nobody can write there.
    pub(crate) fn is_read_only(&self) -> bool {
        matches!(&*self.0, Kind::Io { error, .. } if error.kind() == io::ErrorKind::ReadOnlyFilesystem)
    }

    /// When the protocol refused.
    pub(crate) fn refused_at(&self) -> Option<&Now> {
        match &*self.0 {
            Kind::Refused { now, .. } | Kind::TimedOut { now, .. } => Some(now),
            _ => None,
        }
    }

    /// What to do next, a line each.
    pub fn hints(&self) -> Vec<String> {
        match &*self.0 {
            Kind::Refused { name, refusal, .. } => hints::of_refusal(name, refusal, false),
            Kind::TimedOut { name, refusal, .. } => hints::of_refusal(name, refusal, true),
            Kind::Busy { busy, .. } if busy.holder.is_some() => {
                vec!["let that process go on (kill -CONT) or end it".to_owned()]
            }
            Kind::Io { error, .. } => hints::of_io(error),
            Kind::Cluster { verb, .. } => {
                let unchanged =
                    "as far as is known nothing has changed; what is held stays held until its lease ends";
                let well = "see whether the cluster is well, and the address in LOKT_ROOT right: lokt doctor";
                let looked = *verb == LOOK_AT;
                let hints = if looked { vec![well] } else { vec![unchanged, well] };
                hints.into_iter().map(str::to_owned).collect()
            }
            Kind::Invalid { hint, .. } => hint.iter().cloned().collect(),
            _ => Vec::new(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Kind::Refused { name, refusal, now } => f.write_str(&words::refusal(name, refusal, now)),
            Kind::TimedOut { name, after, refusal, now } => {
                let after = format_duration(*after);
                write!(f, "timed out after {after}: {}", words::refusal(name, refusal, now))
            }
            Kind::Busy { name, busy } => write!(f, "timed out on lock \"{name}\": {busy}"),
            Kind::Interrupted { name } => {
                write!(f, "interrupted while waiting for lock \"{name}\"")
            }
            Kind::Io { verb, name: Some(name), error } => {
                write!(f, "failed to {verb} \"{name}\": {}", words::cause(error))
            }
            Kind::Cluster { name: Some(name), why, waited: true, .. } => {
                write!(f, "timed out on lock \"{name}\": {why}")
            }
            Kind::Cluster { verb, name: Some(name), why, .. } => {
                write!(f, "failed to {verb} \"{name}\": {why}")
            }
            Kind::Cluster { verb, name: None, why, .. } => write!(f, "failed to {verb} the locks: {why}"),
            Kind::Io { verb, name: None, error } => write!(f, "failed to {verb}: {}", words::cause(error)),
            Kind::Invalid { message, .. } => f.write_str(message),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &*self.0 {
            Kind::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl From<BadName> for Error {
    fn from(bad: BadName) -> Self {
        Self::invalid(bad.to_string())
    }
}

impl From<BadDuration> for Error {
    fn from(bad: BadDuration) -> Self {
        Self::invalid(bad.to_string())
    }
}
