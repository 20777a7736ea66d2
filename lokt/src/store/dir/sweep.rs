//! The sweep: removes what is dead, each thing in a transition of its own, and never on the way of an admission.
//!
//! Whoever is done with its own work, or has none for a moment, looks whether a sweep is due. The next is due after a thousand times what the
//! last one cost, so that sweeping takes a thousandth of the time, whether the root has ten locks or a million.

use std::time::Duration;

use super::{DirStore, Leftover, Name};
use crate::host::Dir;
use crate::store::Store;
use crate::store::sweeper::Sweeper;

/// How long a sweep waits for a mutex: not at all to speak of. What is busy is not stale.
const PATIENCE: Duration = Duration::from_millis(5);

/// How much rarer than its cost a sweep is.
const RARITY: u32 = 1000;

impl DirStore {
    /// Sweeps if it is due, as far as it gets in `budget`.
    pub(super) fn sweep_if_due(&self, budget: Duration) {
        let Some(mut sweeper) = Sweeper::due(self.host.as_ref()) else {
            return;
        };
        let began = self.host.now().monotonic;
        self.sweep_within(budget);
        let now = self.host.now();
        let cost = now.monotonic.saturating_sub(began);
        sweeper.put_off(now.monotonic + cost * RARITY, &now);
    }

    /// Removes dead tickets, what is left of groups that have ended, dead sessions, lapsed freezes and stale records.
    /// Returns the names whose records went.
    ///
    /// Records come last, as they may be many; each kind has its share of the time.
    pub(super) fn sweep_within(&self, budget: Duration) -> Vec<Name> {
        let began = self.host.now().monotonic;
        let in_share = |thirds: u32| self.host.now().monotonic < began.saturating_add(budget / 3 * thirds);
        let lines = self.host.list(Dir::Lines).unwrap_or_default();
        let looked = self.somewhere_in(&lines).take_while(|_| in_share(1));
        for name in looked.filter_map(|name| name.parse().ok()).filter(|name| self.seems_left(name)) {
            self.sweep_away(Leftover::Line(name));
        }
        let groups = self.host.list(Dir::Holders).unwrap_or_default();
        let looked = self.somewhere_in(&groups).take_while(|_| in_share(1));
        for name in looked.filter_map(|name| name.parse().ok()).filter(|name| self.has_old_holders(name)) {
            self.sweep_away(Leftover::Holders(name));
        }
        let sessions = self.host.list(Dir::Sessions).unwrap_or_default();
        for file in self.somewhere_in(&sessions).take_while(|_| in_share(2)) {
            self.sweep_away(Leftover::Session(file.clone()));
        }
        let freezes = self.host.list(Dir::Freezes).unwrap_or_default();
        let looked = self.somewhere_in(&freezes).take_while(|_| in_share(2));
        let named = looked.filter_map(|file| file.strip_suffix(".json")?.parse::<Name>().ok());
        for name in named.filter(|name| self.freeze(name, &[], &self.host.now(), None).is_none()) {
            self.sweep_away(Leftover::Freeze(name));
        }
        let records = self.host.list(Dir::Locks).unwrap_or_default();
        let looked = self.somewhere_in(&records).take_while(|_| in_share(3));
        let named = looked.filter_map(|file| file.strip_suffix(".json")?.parse::<Name>().ok());
        named.filter(|name| self.sweep_record(name)).collect()
    }

    /// All of `items`, beginning anywhere: a sweep that ran out of time goes on elsewhere the next time.
    fn somewhere_in<'a, T>(&self, items: &'a [T]) -> impl Iterator<Item = &'a T> {
        let start = if items.len() < 2 { 0 } else { self.anywhere() % items.len() };
        items.iter().cycle().skip(start).take(items.len())
    }

    fn anywhere(&self) -> usize {
        let random = self.host.random();
        usize::from(u16::from_le_bytes([random[0], random[1]]))
    }

    fn sweep_record(&self, name: &Name) -> bool {
        // Most are not, and a look costs less than a mutex.
        let abandoned = self
            .look(name)
            .is_ok_and(|view| view.places().iter().any(|(_, standing)| standing.is_abandoned()));
        abandoned && self.sweep_away(Leftover::Record(name.clone()))
    }

    /// Whether a line has nobody in it, or one who is gone: most have not, and a look costs less than a mutex.
    fn seems_left(&self, line: &Name) -> bool {
        let tickets = self.tickets(line).unwrap_or_default();
        tickets.is_empty() || tickets.iter().any(|(_, id)| !self.lives(line, id))
    }

    /// What can't be cleared away now, another sweep clears away.
    fn sweep_away(&self, thing: Leftover) -> bool {
        self.clear_within(&thing, PATIENCE).unwrap_or(false)
    }
}
