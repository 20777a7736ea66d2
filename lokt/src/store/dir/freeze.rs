//! Freezes, each in its own place: `freezes/NAME.json`, or where early versions of the Go tool had them,
//! `locks/freeze-NAME.json`. What stands in the second place is also the record of a lock of that name, so it is
//! removed under the mutex of *that* name.

use std::io;
use std::time::Duration;

use super::list::Listing;
use super::{DirStore, Error, Name, Now, Publish, Record, Seen, Stored, Stripe, stripe_of};
use crate::audit;
use crate::host::{Dir, Draft};
use crate::protocol::{Freeze, FreezeDecision, FreezeEvidence, FreezeRequest, Kind, LiftBy, decide_freeze};
use crate::store::Store;
use crate::store::content::content_of;

/// Where the freeze of a name stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spot {
    Own,
    /// Of the Go tool; nothing is ever written there.
    Legacy,
}

impl Spot {
    fn dir(self) -> Dir<'static> {
        match self {
            Self::Own => Dir::Freezes,
            Self::Legacy => Dir::Locks,
        }
    }

    /// The name whose mutex guards the file, which is called after it.
    fn key(self, name: &Name) -> String {
        match self {
            Self::Own => name.to_string(),
            Self::Legacy => format!("freeze-{name}"),
        }
    }

    fn file(self, name: &Name) -> String {
        format!("{}.json", self.key(name))
    }
}

impl DirStore {
    /// The freeze of a name that is in force.
    pub(super) fn freeze(
        &self,
        name: &Name,
        seen: &[Seen<'_>],
        now: &Now,
        all: Option<&Listing>,
    ) -> Option<Freeze> {
        self.freeze_evidence(name, seen, now, all).1.in_force(now)
    }

    pub(super) fn freeze_evidence(
        &self,
        name: &Name,
        seen: &[Seen<'_>],
        now: &Now,
        all: Option<&Listing>,
    ) -> (Spot, FreezeEvidence) {
        let at = |spot| self.freeze_evidence_at(spot, name, seen, now, all);
        let own = at(Spot::Own);
        if own.in_force(now).is_some() {
            return (Spot::Own, own);
        }
        // What binds nobody (any more) hides no other that does.
        let legacy = at(Spot::Legacy);
        let counts = own.stored == Stored::Empty || legacy.in_force(now).is_some();
        if counts && legacy.stored != Stored::Empty { (Spot::Legacy, legacy) } else { (Spot::Own, own) }
    }

    fn freeze_evidence_at(
        &self,
        spot: Spot,
        name: &Name,
        seen: &[Seen<'_>],
        now: &Now,
        all: Option<&Listing>,
    ) -> FreezeEvidence {
        let stored = self.read_freeze(spot, name, all);
        let record = stored.record();
        FreezeEvidence {
            unchanged_for: record.map_or(Duration::ZERO, |record| unchanged_for(record, seen, now)),
            earlier_boot: record.is_some_and(|record| self.is_of_earlier_boot(record, now)),
            lapse: None,
            stored,
        }
    }

    fn read_freeze(&self, spot: Spot, name: &Name, all: Option<&Listing>) -> Stored {
        let (dir, file) = (spot.dir(), spot.file(name));
        if all.is_some_and(|all| !all.has(dir, &file)) {
            return Stored::Empty;
        }
        match self.read_stored(dir, &file) {
            // A lock of ours may bear such a name.
            Stored::Record(record) if spot == Spot::Legacy && record.kind.is_some() => Stored::Empty,
            stored => stored,
        }
    }

    /// See [`super::Store::change_freeze`].
    pub(super) fn change_freeze_of(
        &self,
        name: &Name,
        request: &FreezeRequest,
        patience: Duration,
    ) -> Result<FreezeDecision, Error> {
        let verb = request.verb();
        if matches!(request, FreezeRequest::Place(_)) {
            self.host.prepare().map_err(|error| Error::io(verb, name, error))?;
        }
        loop {
            let spot = match request {
                FreezeRequest::Place(_) => Spot::Own,
                FreezeRequest::Lift(_) => self.freeze_evidence(name, &[], &self.host.now(), None).0,
            };
            let stripe = match self.locked_to(verb, name, &spot.key(name), patience) {
                // No root, no freeze.
                Err(error) if error.is_not_there() => {
                    let now = self.host.now();
                    return Ok(decide_freeze(name.as_str(), request, &FreezeEvidence::default(), &now));
                }
                other => other?,
            };
            let now = self.host.now();
            let (stands, evidence) = self.freeze_evidence(name, &[], &now, None);
            if matches!(request, FreezeRequest::Lift(_)) && stands != spot {
                // It was placed or lifted between our look and our mutex.
                continue;
            }
            let decision = decide_freeze(name.as_str(), request, &evidence, &now);
            return self.carry_out(name, spot, request, decision, stripe, &now);
        }
    }

    fn carry_out(
        &self,
        name: &Name,
        spot: Spot,
        request: &FreezeRequest,
        decision: FreezeDecision,
        stripe: Box<dyn Stripe>,
        now: &Now,
    ) -> Result<FreezeDecision, Error> {
        match &decision {
            FreezeDecision::Place(record) => {
                self.place(name, record).map_err(|error| Error::io("freeze", name, error))?;
                self.log(&self.event(audit::FREEZE, name, now).record(record));
            }
            FreezeDecision::Lift(record) => {
                self.lift(name, spot, request, record.as_deref(), now)?;
                if spot == Spot::Legacy {
                    drop(stripe);
                    self.wake_line(name, 1);
                } else {
                    // As after a release: it is the first's turn.
                    self.call_next(name, stripe);
                }
            }
            FreezeDecision::Refuse(_) => {}
        }
        Ok(decision)
    }

    /// Takes away a freeze that the one who is admitted has seen lapse, under the mutex of the name: of another clock (another
    /// machine's, a container's), nobody else could tell that it has.
    pub(super) fn lift_outwaited(&self, name: &Name, seen: &[Seen<'_>], now: &Now) {
        if !seen.iter().any(|seen| seen.record.kind == Some(Kind::Freeze)) {
            return;
        }
        let request = FreezeRequest::Lift(LiftBy::Sweep);
        let evidence = self.freeze_evidence_at(Spot::Own, name, seen, now, None);
        if let FreezeDecision::Lift(record) = decide_freeze(name.as_str(), &request, &evidence, now) {
            // If it can't be, the next who waits for it does.
            let _ = self.lift(name, Spot::Own, &request, record.as_deref(), now);
        }
    }

    fn place(&self, name: &Name, record: &Record) -> io::Result<()> {
        let (dir, file) = (Spot::Own.dir(), Spot::Own.file(name));
        let (content, draft) = (content_of(record)?, Draft::New(stripe_of(name.as_str())));
        let placed = self.host.publish(dir, &file, &content, Publish::Replace, true, draft);
        // A write that failed leaves nothing behind: it may have been placed, and only not synced.
        if placed.is_err()
            && matches!(self.read_stored(dir, &file), Stored::Record(stands) if stands.lock_id == record.lock_id)
        {
            let _ = self.host.remove(dir, &file, false);
        }
        placed
    }

    /// Takes a freeze away, and says so in the log.
    fn lift(
        &self,
        name: &Name,
        spot: Spot,
        request: &FreezeRequest,
        record: Option<&Record>,
        now: &Now,
    ) -> Result<(), Error> {
        match self.host.remove(spot.dir(), &spot.file(name), true) {
            Ok(_) => {}
            // It is gone, for all who live: they must be told.
            Err(error) if self.read_stored(spot.dir(), &spot.file(name)) == Stored::Empty => {
                (self.warn)(&format!("the freeze of \"{name}\" may be back after a power cut: {error}"));
            }
            Err(error) => return Err(Error::io("unfreeze", name, error)),
        }
        self.log(&self.event(audit::UNFREEZE, name, now).lifted(request, record));
        Ok(())
    }
}

/// For how long the asker has seen this very record.
pub(super) fn unchanged_for(record: &Record, seen: &[Seen<'_>], now: &Now) -> Duration {
    let unchanged = seen.iter().find(|seen| seen.record == record);
    unchanged.map_or(Duration::ZERO, |seen| now.monotonic.saturating_sub(seen.since))
}
