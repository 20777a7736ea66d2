//! The acquisition of what a guard wants: all of it, or nothing.
//!
//! # Gotchas
//!
//! * Names are taken in one order, that of their bytes, whoever asks for them in whichever: so no two guards can each
//!   hold what the other waits for. What a guard around this one holds was taken before, in no such order.
//! * Whoever waits for a name holds the earlier ones. Their leases are renewed meanwhile; if one is lost, nothing is
//!   left to wait for.
//! * A waiter that is stopped (Ctrl-Z) leaves the line, and keeps what it holds, as any holder that is stopped: a lease
//!   lapses, a strict lock does not. When it runs again, it first proves that it has lost nothing.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::held::{Badge, Held};
use crate::host::clock::monotonic as now;
use crate::host::signals::Signals;
use crate::protocol::{Mode, Name};
use crate::wait::{Observer, Progress, WaitControl};
use crate::{Error, Locks, Patience, Terms, inside};

/// The names of a guard.
pub(crate) struct Wanted {
    /// Nothing yet, but for what a guard around this one holds.
    held: Held,
    /// Those that are to be taken, in the order in which they are.
    names: Vec<Name>,
}

impl Wanted {
    /// The names that were `given`, without those that a guard around this process holds already.
    ///
    /// # Errors
    ///
    /// Such a guard holds one of them in another way than in this `mode`: whoever asked would wait for itself.
    pub(crate) fn new(locks: &Locks, mut given: Vec<Name>, mode: Mode) -> Result<Self, Error> {
        let first = given.first().cloned();
        given.sort_unstable();
        given.dedup();
        let (mut around, mut names) = (Vec::new(), Vec::new());
        for name in given {
            match inside::admission(locks, &name) {
                None => names.push(name),
                Some(record) if !record.mode().includes(mode) => {
                    return Err(contradicts(&name, record.mode()));
                }
                Some(record) => around.push(Badge::of_record(name, record)),
            }
        }
        Ok(Self { held: Held::nothing(around, first), names })
    }

    /// Whether there is nothing to be taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// What is held before anything is taken.
    pub(super) fn held(&self) -> &Held {
        &self.held
    }
}

fn contradicts(name: &Name, held: Mode) -> Error {
    let error = Error::invalid(format!(
        "the guard around this one holds lock \"{name}\" with {held}, not as asked for here"
    ));
    error.with_hint("ask for it in the outer guard as it is needed within")
}

/// Takes every name, on the same terms; `patience` is for all of them together.
///
/// # Errors
///
/// Why one of the names was not to be had, as [`Locks::acquire_watched`] tells; or [`Error::is_lost`] if one was lost
/// while another was waited for. Then none is held.
pub(crate) fn acquire(
    locks: &Locks,
    wanted: Wanted,
    terms: &Terms,
    patience: Patience,
    observer: &mut dyn Observer,
    signals: &Signals,
    tell: &(dyn Fn(&str) + Sync),
) -> Result<Held, Error> {
    let began = now();
    let Wanted { mut held, names } = wanted;
    for name in &names {
        if held.beat().is_some() {
            held.keep_alive(signals, tell);
        }
        let left = match patience {
            Patience::AtMost(time) if !held.is_empty() => {
                Patience::AtMost(time.saturating_sub(now().saturating_sub(began)))
            }
            all => all,
        };
        let mut meanwhile = Meanwhile { held: &mut held, observer, signals, tell };
        let taken = locks.acquire_watched(name, terms, left, &mut meanwhile);
        let lost = held.take_losses().pop();
        match (taken, lost) {
            (Ok(session), None) => held.add(session),
            (Ok(session), Some(lost)) => {
                held.add(session);
                held.release(true, tell);
                return Err(lost);
            }
            (Err(error), lost) => {
                let several = !held.is_empty();
                held.release(true, tell);
                return Err(match lost {
                    Some(lost) if error.is_interrupted() => lost,
                    _ if several => error.having_waited(now().saturating_sub(began)),
                    _ => error,
                });
            }
        }
    }
    Ok(held)
}

/// Nobody looks after what is held more often.
const SOONEST: Duration = Duration::from_millis(20);

/// Looks after what is held while something else is waited for.
struct Meanwhile<'a> {
    held: &'a mut Held,
    observer: &'a mut dyn Observer,
    signals: &'a Signals,
    tell: &'a (dyn Fn(&str) + Sync),
}

impl Observer for Meanwhile<'_> {
    fn progress(&mut self, progress: &Progress<'_>) {
        self.observer.progress(progress);
    }

    fn delayed(&mut self, name: &Name, why: &str, waited: Duration) {
        self.observer.delayed(name, why, waited);
    }

    /// Heartbeats wake whoever sleeps on the signals.
    fn interrupt(&self) -> Option<BorrowedFd<'_>> {
        Some(self.signals.descriptor())
    }

    fn interval(&self) -> Option<Duration> {
        let own = self.held.quiet_until().map(|until| until.saturating_sub(now()).max(SOONEST));
        self.observer.interval().into_iter().chain(own).min()
    }

    fn control(&mut self) -> WaitControl {
        match self.observer.control() {
            WaitControl::GoOn => {
                self.held.keep_alive(self.signals, self.tell);
                if self.held.has_losses() { WaitControl::GiveUp } else { WaitControl::GoOn }
            }
            other => other,
        }
    }

    fn step_aside(&mut self) {
        self.observer.step_aside();
        self.held.renew();
    }
}
