//! Lease arithmetic: when a lease lapses, when to renew it, when to give it up.
//!
//! A deadline is a reading of one machine's own clock, so it means something only to that clock; the wall
//! clock decides nothing but what the Go tool wrote.

use std::time::Duration;

use super::clock::Now;
use super::record::{Kind, Record};

/// The shortest TTL of a guard: with a beat every half second at most, a shorter lease has no room for one.
pub const MIN_GUARD_TTL: Duration = Duration::from_secs(1);

/// Beats are never closer than this.
const MIN_BEAT: Duration = Duration::from_millis(500);

/// What is left of a record's lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lapse {
    /// It has no TTL.
    Never,
    /// It lapses no sooner than after this, if nobody renews it.
    Left(Duration),
    /// It has lapsed.
    Lapsed,
}

impl Lapse {
    /// Whether the lease has lapsed.
    pub fn has_lapsed(self) -> bool {
        self == Self::Lapsed
    }

    /// What is left; `None` without a TTL, zero once it has lapsed.
    pub fn left(self) -> Option<Duration> {
        match self {
            Self::Never => None,
            Self::Left(left) => Some(left),
            Self::Lapsed => Some(Duration::ZERO),
        }
    }

    fn after(left: Duration) -> Self {
        if left.is_zero() { Self::Lapsed } else { Self::Left(left) }
    }
}

/// What is left of the lease in `record`, by the TTL that the record itself names.
///
/// * Same clock: by the record's deadline. A deadline further off than the TTL can't come from this clock
///   (a restored machine, say), and is treated as a foreign one.
/// * An earlier boot of this machine (`earlier_boot`): at least the time since boot has passed.
/// * Another machine's clock: `unchanged_for`, the time that the observer has seen the record unchanged,
///   on the observer's own clock (as client-go's leader election does).
pub fn lapse(record: &Record, now: &Now, unchanged_for: Duration, earlier_boot: bool) -> Lapse {
    if record.kind.is_none() {
        return go_lapse(record, now);
    }
    let Some(ttl) = record.ttl() else {
        return Lapse::Never;
    };
    let kind = record.kind.unwrap_or(Kind::Unknown);
    let same_clock = record.clock_id.as_deref() == Some(now.clock.as_str());
    if let (true, Some(deadline)) = (same_clock, record.deadline()) {
        let left = deadline.saturating_sub(kind.clock(now));
        if left <= ttl {
            return Lapse::after(left);
        }
    }
    let passed = if earlier_boot { now.boottime.max(unchanged_for) } else { unchanged_for };
    Lapse::after(ttl.saturating_sub(passed))
}

/// The Go tool's own rule: `expires_at` if there is one, else `acquired_ts` and a `ttl_sec` that is not 0, by
/// the wall clock.
fn go_lapse(record: &Record, now: &Now) -> Lapse {
    let expiry = record.expires().or_else(|| {
        let ttl = Duration::from_secs(record.ttl_sec.filter(|seconds| *seconds > 0)?);
        record.acquired()?.checked_add(ttl).ok()
    });
    match expiry {
        None => Lapse::Never,
        Some(expiry) => Lapse::after(Duration::try_from(expiry.duration_since(now.wall)).unwrap_or_default()),
    }
}

/// The rhythm of a heartbeat for one TTL.
///
/// The beat is due at half the TTL; a failed one is retried often; and with `margin` left, a holder that could
/// not renew ends its command, so that the command is gone *before* the lease is (Kubernetes' renew deadline).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// From one renewal to the next.
    pub interval: Duration,
    /// From a failed renewal to the next attempt.
    pub retry: Duration,
    /// What must be left of the lease for the command to go on.
    pub margin: Duration,
    /// Within the margin: how long the command has between SIGTERM and SIGKILL.
    pub grace: Duration,
}

impl Beat {
    /// The rhythm for `ttl`, when a command is given at most `kill_after` to end by itself.
    pub fn new(ttl: Duration, kill_after: Duration) -> Self {
        let margin = (ttl / 4)
            .min(kill_after.saturating_add(kill_after / 4).saturating_add(Duration::from_millis(100)));
        Self {
            interval: (ttl / 2).max(MIN_BEAT),
            retry: (ttl / 40).clamp(Duration::from_millis(20), Duration::from_millis(250)),
            margin,
            grace: kill_after.min(margin * 3 / 5),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told_apart_from_nothing_and_no_end() {
        let second = Duration::from_secs(1);
        assert_eq!(Lapse::Never.left(), None);
        assert_eq!(Lapse::Left(second).left(), Some(second));
        assert_eq!(Lapse::Lapsed.left(), Some(Duration::ZERO));
    }

    #[test]
    fn beats_at_half_the_ttl_but_not_faster_than_twice_a_second() {
        let kill_after = Duration::from_secs(5);
        assert_eq!(Beat::new(Duration::from_secs(2), kill_after).interval, Duration::from_secs(1));
        assert_eq!(Beat::new(Duration::from_secs(1), kill_after).interval, MIN_BEAT);
        assert_eq!(Beat::new(Duration::from_secs(300), kill_after).interval, Duration::from_secs(150));
    }

    #[test]
    fn the_command_is_killed_before_its_lease_lapses() {
        for ttl in [1, 2, 5, 60, 3600] {
            for kill_after in [0, 1, 5, 600] {
                let ttl = Duration::from_secs(ttl);
                let beat = Beat::new(ttl, Duration::from_secs(kill_after));
                assert!(beat.grace < beat.margin, "{beat:?}");
                assert!(beat.interval + beat.margin < ttl, "a beat is due before the margin: {beat:?}");
                assert!(
                    beat.retry * 2 < ttl - beat.interval - beat.margin,
                    "there is room to retry: {beat:?}"
                );
            }
        }
    }
}
