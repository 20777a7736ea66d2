//! The first in line, if it is hung: when those behind may pass it over.
//!
//! Whoever is dead or stopped can be seen to be. Whoever is hung (frozen, swapped out, of a container whose processes
//! can't be seen, held up in a write to its terminal) is known by what it does not do: take a lock that lies free; or,
//! if there is room for those behind but none for it, hear its bell.

use std::time::Duration;

use crate::protocol::LockId;
use crate::store::Silent;

/// How long a waiter may be silent before the next passes it over.
const SILENCE: Duration = Duration::from_secs(2);

/// How much later each of those behind passes over than the one before it.
const STAGGER: Duration = Duration::from_millis(100);

/// How long the others have to take their turn, or to hear, once they were rung because of it.
const OTHERS: Duration = Duration::from_millis(500);

/// A waiter that looks so much later than it meant to has been stopped itself, and has seen no silence.
const LATE: Duration = Duration::from_millis(500);

/// The silence of the first in line.
pub(super) struct Silence {
    first: LockId,
    kind: Kind,
    /// What tells the bell that is rung by this watcher, for this, from all others.
    mark: u64,
    ring: Option<Ring>,
    /// How many stand before the watcher.
    ahead: usize,
    /// When it may be passed over.
    until: Duration,
}

/// What the first in line does not do.
#[derive(PartialEq)]
enum Kind {
    /// Take the lock, which lies free.
    Take,
    /// Hear.
    Hear,
    /// It has not heard, and the others were rung.
    Unheard,
}

/// Who is to be rung, and when.
pub(super) struct Ring {
    at: Duration,
    /// The first so many in line.
    pub(super) count: usize,
    /// See [`Silence`].
    pub(super) mark: u64,
}

/// What a watcher sees of the line.
pub(super) struct Sight<'a> {
    /// The first in line.
    pub(super) first: &'a LockId,
    /// Whether it could take the lock.
    pub(super) free: bool,
    /// How many stand before the watcher. The nearer it stands to the front, the sooner it passes over.
    pub(super) ahead: usize,
    /// How often it looks at a lock that is not free.
    pub(super) rare: Duration,
    /// Whether it was rung itself: whoever did that rings the others, too.
    pub(super) rung: bool,
    /// A number that no silence has had.
    pub(super) mark: u64,
    /// When that was.
    pub(super) now: Duration,
}

impl Silence {
    /// The silence of the first in line as it stands now, after what was seen of it `before`.
    pub(super) fn seen(before: Option<Self>, sight: &Sight<'_>) -> Self {
        let now = sight.now;
        match before.filter(|silence| (silence.kind == Kind::Take) == sight.free) {
            Some(silence) if silence.first == *sight.first && !silence.is_missed(now) => {
                Self { ahead: sight.ahead, ..silence }
            }
            // Another was passed over.
            Some(silence) if sight.free && silence.is_over(now) => {
                let ring = Some(Ring { at: now, count: sight.ahead, mark: sight.mark });
                Self { ring, until: now + OTHERS, ..Self::since(sight) }
            }
            _ => Self::since(sight),
        }
    }

    fn since(sight: &Sight<'_>) -> Self {
        let &Sight { free, ahead, mark, now, .. } = sight;
        let stagger = STAGGER.saturating_mul(u32::try_from(ahead).unwrap_or(u32::MAX)).min(SILENCE);
        let within = SILENCE + stagger;
        let (kind, ring, within) = match free {
            // Half way: it may only sleep too long.
            true => (Kind::Take, Ring { at: now + SILENCE / 2, count: ahead, mark }, within),
            false => (Kind::Hear, Ring { at: now, count: 1, mark }, within.max(sight.rare)),
        };
        let ring = (!free || !sight.rung).then_some(ring);
        Self { first: sight.first.clone(), kind, mark, ring, ahead, until: now + within }
    }

    /// When there is something to do.
    pub(super) fn due(&self) -> Duration {
        self.ring.as_ref().map_or(self.until, |ring| ring.at)
    }

    /// Who is to be rung now, once.
    pub(super) fn rings(&mut self, now: Duration) -> Option<Ring> {
        let ring = self.ring.take_if(|ring| now >= ring.at);
        if ring.is_some() {
            // The store may have kept us waiting.
            self.until = self.until.max(now + OTHERS);
        }
        ring
    }

    /// Who may be passed over now.
    pub(super) fn over(
        &mut self,
        now: Duration,
        has_heard: impl FnOnce(&LockId, u64) -> bool,
    ) -> Option<Silent<'_>> {
        if !self.is_over(now) {
            return None;
        }
        if self.kind != Kind::Take && has_heard(&self.first, self.mark) {
            // That was no silence; the next one begins when it is seen again.
            self.until = Duration::ZERO;
            return None;
        }
        if self.kind == Kind::Hear {
            self.kind = Kind::Unheard;
            self.ring = Some(Ring { at: now, count: self.ahead, mark: self.mark });
            self.until = now + OTHERS;
            return None;
        }
        Some(Silent { first: &self.first, mark: self.mark })
    }

    /// Whether it has been watched to the end.
    fn is_over(&self, now: Duration) -> bool {
        self.until <= now && !self.is_missed(now)
    }

    /// Whether the watcher was not there when it ended.
    fn is_missed(&self, now: Duration) -> bool {
        now > self.until + LATE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// What the one sees who stands behind three others, the first of whom is `first`.
    fn sight(first: &LockId, free: bool, now: Duration) -> Sight<'_> {
        Sight { first, free, ahead: 3, rare: SECOND, rung: false, mark: 7, now }
    }

    fn first() -> LockId {
        LockId::from_random([1; 16])
    }

    /// Whom it rings and whom it passes over, at each instant of ten seconds at which there is something to do.
    fn watched(free: bool, rung: bool, hears: bool) -> (Vec<(Duration, usize)>, Option<Duration>) {
        let first = first();
        let (mut now, mut rings, mut silence) = (Duration::ZERO, Vec::new(), None);
        while now < 10 * SECOND {
            let seen = Silence::seen(silence.take(), &Sight { rung, ..sight(&first, free, now) });
            let seen = silence.insert(seen);
            rings.extend(seen.rings(now).map(|ring| (now, ring.count)));
            now = seen.due();
            if let Some(silent) = seen.over(now, |_, mark| mark != 7 || hears) {
                assert_eq!(silent, Silent { first: &first, mark: 7 });
                return (rings, Some(now));
            }
        }
        (rings, None)
    }

    #[test]
    fn who_leaves_the_lock_lying_free_is_passed_over_though_it_hears() {
        let over = Some(SILENCE + 3 * STAGGER);
        for hears in [false, true] {
            assert_eq!(watched(true, false, hears), (vec![(SECOND, 3)], over), "all are rung half way");
            assert_eq!(
                watched(true, true, hears),
                (vec![], over),
                "whoever rang the watcher rings all others"
            );
        }
    }

    #[test]
    fn who_can_not_have_the_lock_is_passed_over_only_if_it_does_not_hear() {
        let unheard = SILENCE + 3 * STAGGER;
        let rings = vec![(Duration::ZERO, 1), (unheard, 3)];
        assert_eq!(watched(false, true, false), (rings, Some(unheard + OTHERS)));
        let (rings, over) = watched(false, true, true);
        assert_eq!((rings.len(), over), (5, None), "it is rung again for each silence");
        assert!(rings.iter().all(|(_, count)| *count == 1), "and it alone: {rings:?}");
    }

    #[test]
    fn whoever_is_rung_late_has_its_time_all_the_same() {
        let first = first();
        for free in [false, true] {
            let mut silence = Silence::seen(None, &sight(&first, free, Duration::ZERO));
            let late = silence.until + LATE;
            if !free {
                assert!(silence.rings(Duration::ZERO).is_some());
                assert_eq!(silence.over(silence.until, |_, _| false), None);
            }
            assert!(silence.rings(late).is_some());
            assert_eq!(silence.over(late + OTHERS - Duration::from_nanos(1), |_, _| false), None);
            assert!(silence.over(late + OTHERS, |_, _| false).is_some());
        }
    }

    #[test]
    fn whoever_was_not_there_has_seen_no_silence() {
        let first = first();
        let late = SILENCE + 3 * STAGGER + LATE + Duration::from_nanos(1);
        let mut silence = Silence::seen(None, &sight(&first, true, Duration::ZERO));
        assert_eq!(silence.over(late, |_, _| false), None);
        let again = Silence::seen(Some(silence), &sight(&first, true, late));
        assert_eq!(again.due(), late + SILENCE / 2);
    }
}
