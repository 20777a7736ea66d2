//! The first in line, if it is hung: when those behind may pass it over.
//!
//! Whoever is dead or stopped can be seen to be. Whoever is hung (frozen, swapped out, of a container whose processes
//! can't be seen, held up in a write to its terminal) is known by what it does not do: take a lock that lies free; or,
//! if there is room for those behind but none for it, hear its bell.

use std::time::Duration;

use crate::protocol::LockId;

/// How long a waiter may be silent before the next passes it over.
const SILENCE: Duration = Duration::from_secs(2);

/// How much later each of those behind passes over than the one before it.
const STAGGER: Duration = Duration::from_millis(100);

/// How long the next has to take its turn, after one was passed over and it was rung.
const NEXT: Duration = Duration::from_millis(300);

/// A waiter that looks so much later than it meant to has been stopped itself, and has seen no silence.
const LATE: Duration = Duration::from_millis(500);

/// How often in a row it must not have heard: it may have been rung a moment ago, by somebody else.
const UNHEARD: u32 = 3;

/// The time between two of these looks.
const AGAIN: Duration = Duration::from_millis(200);

/// The silence of the first in line.
pub(super) struct Silence {
    first: LockId,
    kind: Kind,
    /// When to ring all who stand before the watcher: it may only sleep too long, and of the others it is to be seen
    /// as well whether they hear.
    ring_at: Option<Duration>,
    /// When it may be passed over.
    until: Duration,
}

/// What the first in line does not do.
enum Kind {
    /// Take the lock, which lies free.
    Take,
    /// Hear. It was rung when this began.
    Hear {
        /// How long it has for that.
        within: Duration,
        /// How often in a row it had not.
        unheard: u32,
    },
}

impl Silence {
    /// The silence of `first` as it stands `now`, after what was seen of it `before`. `free` is whether it could take
    /// the lock; if not, it is looked at no more often than every `rare`. The nearer the watcher stands to the front,
    /// the fewer are `ahead` of it, and the sooner it passes over.
    pub(super) fn seen(
        before: Option<Self>,
        first: &LockId,
        free: bool,
        ahead: usize,
        rare: Duration,
        now: Duration,
    ) -> Self {
        let same = |silence: &Self| matches!(silence.kind, Kind::Take) == free;
        match before.filter(same) {
            Some(silence) if silence.first == *first && !silence.is_missed(now) => silence,
            // Another was passed over, and it was rung.
            Some(silence) if free && silence.is_over(now) => {
                Self { first: first.clone(), kind: Kind::Take, ring_at: None, until: now + NEXT }
            }
            _ => {
                let stagger = STAGGER.saturating_mul(u32::try_from(ahead).unwrap_or(u32::MAX)).min(SILENCE);
                let (within, kind) = match SILENCE + stagger {
                    within if free => (within, Kind::Take),
                    within => (within.max(rare), Kind::Hear { within: within.max(rare), unheard: 0 }),
                };
                let ring_at = free.then(|| now + SILENCE / 2);
                Self { first: first.clone(), kind, ring_at, until: now + within }
            }
        }
    }

    /// When there is something to do.
    pub(super) fn due(&self) -> Duration {
        self.ring_at.unwrap_or(self.until)
    }

    /// Whether the line is to be rung, once.
    pub(super) fn wants_ring(&mut self, now: Duration) -> bool {
        self.ring_at.take_if(|at| now >= *at).is_some()
    }

    /// The first in line, if it may be passed over now.
    pub(super) fn over(&mut self, now: Duration, hears: impl FnOnce(&LockId) -> bool) -> Option<&LockId> {
        if !self.is_over(now) {
            return None;
        }
        if let Kind::Hear { within, unheard } = &mut self.kind {
            *unheard = if hears(&self.first) { 0 } else { *unheard + 1 };
            match *unheard {
                0 => self.until = now + *within,
                UNHEARD => return Some(&self.first),
                looks => {
                    self.ring_at = (looks == 1).then_some(now);
                    self.until = now + AGAIN;
                }
            }
            return None;
        }
        Some(&self.first)
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
