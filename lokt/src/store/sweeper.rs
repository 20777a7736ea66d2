//! Whose turn it is on this machine to sweep, and when.

use std::time::Duration;

use super::sessions::STRIPES;
use crate::host::{Dir, Host, Stripe, stripe_file};
use crate::protocol::Now;

/// The mutex of the sweep itself, beyond those of the names. Its file says when the next one is due.
const SWEEPER: usize = STRIPES;

/// Whether a sweep seems to be due: without the mutex, and so without a claim to the truth.
pub(super) fn seems_due(host: &dyn Host) -> bool {
    let sweeper = host.read(Dir::Stripes, &stripe_file(SWEEPER), 256).ok().flatten();
    let now = host.now();
    sweeper.is_none_or(|sweeper| now.monotonic >= due(&sweeper.bytes, &now))
}

/// Whose turn it is to sweep, until it is dropped.
pub(super) struct Sweeper(Box<dyn Stripe>);

impl Sweeper {
    /// Takes the turn, if a sweep is due and nobody else is at it.
    pub(super) fn due(host: &dyn Host) -> Option<Self> {
        let sweeper = host.lock_stripe(SWEEPER, Duration::ZERO).ok()?;
        let now = host.now();
        (now.monotonic >= due(&sweeper.read().unwrap_or_default(), &now)).then_some(Self(sweeper))
    }

    /// Says when the next sweep is due.
    pub(super) fn put_off(&mut self, until: Duration, now: &Now) {
        // If it can't be written, the next sweep comes too soon; no harm is done.
        let _ = self.0.write(format!("{} {:020}\n", now.clock, until.as_nanos()).as_bytes(), false);
    }
}

/// When the next sweep is due; at once after another boot.
fn due(sweeper: &[u8], now: &Now) -> Duration {
    let text = String::from_utf8_lossy(sweeper);
    let mut fields = text.split_ascii_whitespace();
    match (fields.next(), fields.next().and_then(|nanos| nanos.parse().ok())) {
        (Some(clock), Some(nanos)) if clock == now.clock.as_str() => Duration::from_nanos(nanos),
        _ => Duration::ZERO,
    }
}
