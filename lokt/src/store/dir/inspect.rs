//! What nobody alive uses any more, one thing at a time, for whoever looks a root over and clears it up.
//!
//! Whether something is left over is judged under the mutex of its name, and it is removed in the same step: what was
//! seen before may have come to life since.

use std::io;
use std::time::Duration;

use super::{Asked, DirStore, Stripe, stripe_of};
use crate::Error;
use crate::host::{Dir, ProcessState, SessionState, StripeError, hidden_by, stripe_file};
use crate::protocol::{
    Abandoned, Authority, Decision, Evidence, Freeze, FreezeDecision, FreezeEvidence, FreezeRequest, LiftBy,
    Name, Now, Request, Standing, Stored, decide, decide_freeze, judge,
};
use crate::store::Store;
use crate::store::sessions::{STRIPES, split_session};

/// How long a mutex is waited for. What is busy is not left over.
const PATIENCE: Duration = Duration::from_millis(500);

/// A hidden file is in use for a moment only; after this it is left over, if its process is gone.
const HIDDEN_FOR: Duration = Duration::from_secs(60);

/// Something in the root that nobody alive uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Leftover {
    /// A record that binds nobody any more.
    Record(Name),
    /// Something in a record's place that is no record, with no session alive that could be its holder's.
    Corrupt(Name),
    /// A freeze that has lapsed, or is none.
    Freeze(Name),
    /// Tickets of waiters that are gone, or a line without any.
    Line(Name),
    /// Records of some who held a name together, until that ended.
    Holders(Name),
    /// A dead session's file, by its name.
    Session(String),
    /// What a process left that died while it wrote, by its name in `stripes/`.
    Temporary(String),
    /// A file that was never ready to be seen.
    Hidden(Dir<'static>, String, Duration),
}

/// What is to be done about it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    Look,
    /// And so long the mutex is waited for.
    Remove(Duration),
}

impl Act {
    fn patience(self) -> Duration {
        match self {
            Self::Look => PATIENCE,
            Self::Remove(patience) => patience,
        }
    }
}

impl DirStore {
    /// Whether it is left over. What is busy, or can't be told, is not.
    pub(crate) fn is_left(&self, thing: &Leftover) -> bool {
        self.settle(thing, Act::Look).unwrap_or(false)
    }

    /// Removes it, if it is left over; `false` if it is not, or has gone.
    pub(crate) fn clear(&self, thing: &Leftover) -> Result<bool, Error> {
        self.clear_within(thing, PATIENCE)
    }

    /// As [`clear`](Self::clear); the mutex is waited for so long.
    pub(super) fn clear_within(&self, thing: &Leftover, patience: Duration) -> Result<bool, Error> {
        self.settle(thing, Act::Remove(patience))
    }

    /// What is known of a freeze: `None` if it binds nobody (any more).
    pub(crate) fn freeze_at(&self, dir: Dir<'_>, file: &str) -> (Stored, Option<Freeze>) {
        let stored = self.read_stored(dir, file);
        let now = self.host.now();
        let earlier_boot = matches!(&stored, Stored::Record(record) if self.is_of_earlier_boot(record, &now));
        let evidence = FreezeEvidence { stored, earlier_boot, ..FreezeEvidence::default() };
        let in_force = evidence.in_force(&now);
        (evidence.stored, in_force)
    }

    fn settle(&self, thing: &Leftover, act: Act) -> Result<bool, Error> {
        match thing {
            Leftover::Record(name) => self.settle_record(name, act),
            Leftover::Corrupt(name) => self.settle_corrupt(name, act),
            Leftover::Freeze(name) => self.settle_freeze(name, act),
            Leftover::Line(name) => self.settle_line(name, act),
            Leftover::Holders(name) => self.settle_holders(name, act),
            Leftover::Session(file) => self.settle_session(file, act),
            Leftover::Temporary(file) => self.settle_temporary(file, act),
            Leftover::Hidden(dir, file, age) => self.settle_hidden(*dir, file, *age, act),
        }
    }

    fn settle_record(&self, name: &Name, act: Act) -> Result<bool, Error> {
        let decision = match act {
            Act::Remove(patience) => self.change(name, &Request::Sweep, Asked::now(patience))?,
            Act::Look => {
                let _stripe = self.guarded(name, act)?;
                let now = self.host.now();
                decide(name.as_str(), &Request::Sweep, &self.gather(name, &[], &now), &now)
            }
        };
        Ok(matches!(decision, Decision::Remove(_)))
    }

    /// The mutex of a name. Who only looks makes none: where there is none yet, or none can be, nobody writes.
    fn guarded(&self, name: &Name, act: Act) -> Result<Option<Box<dyn Stripe>>, Error> {
        if act == Act::Look && self.is_unused(stripe_of(name.as_str())) {
            return Ok(None);
        }
        match self.locked(name, act.patience()) {
            Err(error) if act == Act::Look && error.is_read_only() => Ok(None),
            other => other.map(Some),
        }
    }

    fn is_unused(&self, stripe: usize) -> bool {
        matches!(self.host.read(Dir::Stripes, &stripe_file(stripe), 0), Ok(None))
    }

    fn settle_corrupt(&self, name: &Name, act: Act) -> Result<bool, Error> {
        let _stripe = self.guarded(name, act)?;
        let now = self.host.now();
        let evidence = self.gather(name, &[], &now);
        let corrupt = judge(&evidence, &now) == Standing::Abandoned(Abandoned::Corrupt);
        if act != Act::Look && corrupt {
            return self.break_corrupt(name, &evidence, &now);
        }
        Ok(corrupt)
    }

    /// As a release of what is stale does, but of nothing else that has come to stand there.
    fn break_corrupt(&self, name: &Name, evidence: &Evidence, now: &Now) -> Result<bool, Error> {
        let request = Request::Release(Authority::Stale);
        let Decision::Remove(gone) = decide(name.as_str(), &request, evidence, now) else {
            return Ok(false);
        };
        self.take_away(name, evidence, &gone, now)?;
        self.ring_first(name);
        Ok(true)
    }

    fn settle_freeze(&self, name: &Name, act: Act) -> Result<bool, Error> {
        let request = FreezeRequest::Lift(LiftBy::Sweep);
        let decision = match act {
            Act::Remove(patience) => self.change_freeze(name, &request, patience)?,
            Act::Look => {
                let now = self.host.now();
                let (_, evidence) = self.freeze_evidence(name, &[], &now, None);
                decide_freeze(name.as_str(), &request, &evidence, &now)
            }
        };
        Ok(matches!(decision, FreezeDecision::Lift(_)))
    }

    fn settle_line(&self, name: &Name, act: Act) -> Result<bool, Error> {
        let _stripe = self.guarded(name, act)?;
        let tickets = self.tickets(name).map_err(Error::root)?;
        let dead: Vec<_> = tickets.iter().filter(|(_, id)| !self.lives(name, id)).collect();
        // Whoever came to the lock through the line takes the empty one away when it is done.
        let held = self.read_record(name) != Stored::Empty;
        if dead.is_empty() && (held || !tickets.is_empty() || !self.is_empty_line(name)?) {
            return Ok(false);
        }
        if act != Act::Look {
            let put_out = dead.iter().map(|(number, id)| self.put_out_of_line(name, *number, id));
            let done = put_out.fold(Ok(()), io::Result::and);
            let is_gone = self.host.remove_dir(Dir::Line(name));
            done.map_err(Error::root)?;
            return Ok(is_gone || !dead.is_empty());
        }
        Ok(true)
    }

    fn settle_holders(&self, name: &Name, act: Act) -> Result<bool, Error> {
        let _stripe = self.guarded(name, act)?;
        let old = self.has_old_holders(name);
        if old && act != Act::Look {
            self.clear_holders(name);
            return Ok(!self.has_old_holders(name));
        }
        Ok(old)
    }

    /// Whether the line is there, with nothing in it: not another's file either.
    fn is_empty_line(&self, name: &Name) -> Result<bool, Error> {
        let empty = self.host.list(Dir::Line(name)).map_err(Error::root)?.is_empty();
        Ok(empty && self.host.list(Dir::Lines).map_err(Error::root)?.iter().any(|line| line == name.as_str()))
    }

    fn settle_session(&self, file: &str, act: Act) -> Result<bool, Error> {
        let Some((name, id)) = split_session(file) else {
            return Ok(false);
        };
        let name: Name = name.parse()?;
        // Most live, and a look costs less than a mutex. Another machine's flock can't be seen from here.
        let dead = || self.host.probe_session(file, None) == SessionState::Unlocked;
        if !self.host.is_local() || !dead() {
            return Ok(false);
        }
        let _stripe = self.guarded(&name, act)?;
        if !dead() || self.may_be_recorded(&name, &id) {
            return Ok(false);
        }
        match act {
            Act::Look => Ok(true),
            Act::Remove(_) => self.removed(Dir::Sessions, file),
        }
    }

    /// Only who has the mutex writes such a file: if we have it, whoever wrote it is dead.
    fn settle_temporary(&self, file: &str, act: Act) -> Result<bool, Error> {
        let Some(stripe) = stripe_of_temporary(file) else {
            return Ok(false);
        };
        if act == Act::Look && self.is_unused(stripe) {
            return Ok(true);
        }
        let _stripe = match self.host.lock_stripe(stripe, act.patience()) {
            Ok(stripe) => stripe,
            Err(StripeError::Busy(_)) => return Ok(false),
            Err(StripeError::Io(error)) => return Err(Error::root(error)),
        };
        match act {
            Act::Look => Ok(self.host.list(Dir::Stripes).is_ok_and(|all| all.iter().any(|one| one == file))),
            Act::Remove(_) => self.removed(Dir::Stripes, file),
        }
    }

    fn settle_hidden(&self, dir: Dir<'_>, file: &str, age: Duration, act: Act) -> Result<bool, Error> {
        // A process of another machine can't be seen from here.
        let gone = self.host.is_local()
            && hidden_by(file).is_some_and(|(_, pid)| self.host.process(pid) == ProcessState::Gone);
        if !gone || age < HIDDEN_FOR {
            return Ok(false);
        }
        match act {
            Act::Look => Ok(true),
            Act::Remove(_) => self.removed(dir, file),
        }
    }

    fn removed(&self, dir: Dir<'_>, file: &str) -> Result<bool, Error> {
        self.host.remove(dir, file, false).map_err(|error: io::Error| Error::root(error))
    }
}

/// The mutex under which a temporary file is written: `NN.tmp`, `NN.new`.
pub(crate) fn stripe_of_temporary(file: &str) -> Option<usize> {
    let stripe = file.strip_suffix(".tmp").or_else(|| file.strip_suffix(".new"))?;
    stripe_of_file(stripe)
}

/// The number of a mutex, by the name of its file.
pub(crate) fn stripe_of_file(file: &str) -> Option<usize> {
    let stripe = usize::from_str_radix(file, 16).ok()?;
    (stripe_file(stripe) == file && stripe <= STRIPES).then_some(stripe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lokt_names_so_is_a_temporary_file() {
        assert_eq!(stripe_of_temporary("00.tmp"), Some(0));
        assert_eq!(stripe_of_temporary("3f.new"), Some(63));
        assert_eq!(stripe_of_temporary("40.tmp"), Some(64), "the sweep's own");
        for other in ["41.tmp", "0.tmp", "3F.new", "+1.tmp", "00", "00.old", "x.tmp", ".tmp"] {
            assert_eq!(stripe_of_temporary(other), None, "{other}");
        }
    }
}
