//! The clocks of the simulated machine: they start anew whenever it does.

use std::time::Duration;

use jiff::Timestamp;
use lokt::protocol::{ClockId, Now};

use super::world::World;

/// One life of the machine, from power to power loss.
pub struct Boot {
    /// Which, from 1.
    pub number: u32,
    /// When it began, by the world's own time.
    at: Duration,
    /// For how long it was suspended, which only one of its clocks has counted.
    suspended: Duration,
    clock: ClockId,
}

impl Boot {
    /// That in which a run begins: the machine has been up for long, and was suspended.
    pub fn first() -> Self {
        Self::new(1, Duration::ZERO, Duration::from_secs(50))
    }

    /// One in which the machine has been up for so short a time that the next boot's clocks come to show the same.
    pub fn young(now: Duration) -> Self {
        Self::new(1, now.saturating_sub(Duration::from_millis(300)), Duration::ZERO)
    }

    fn new(number: u32, at: Duration, suspended: Duration) -> Self {
        Self { number, at, suspended, clock: ClockId::new(format!("boot-{number}/0")) }
    }
}

impl World {
    /// The power is back: what counts from here is told by no deadline of the boot before.
    pub fn boot_again(&mut self) {
        self.boot = Boot::new(self.boot.number + 1, self.now, Duration::ZERO);
    }

    /// For how long the machine has been up.
    pub fn uptime(&self) -> Duration {
        self.monotonic() + self.boot.suspended
    }

    /// For how long it has run.
    pub fn monotonic(&self) -> Duration {
        self.now.saturating_sub(self.boot.at)
    }

    /// The world's own time when the monotonic clock shows this.
    pub fn instant(&self, monotonic: Duration) -> Duration {
        self.boot.at.saturating_add(monotonic)
    }

    /// What its clocks show.
    pub fn clocks(&self) -> Now {
        let passed = self.passed();
        let second = 1_800_000_000 + passed.as_secs() as i64 + self.wall_set;
        Now {
            monotonic: self.monotonic(),
            boottime: self.uptime(),
            wall: Timestamp::new(second, passed.subsec_nanos() as i32).unwrap_or(Timestamp::UNIX_EPOCH),
            clock: self.boot.clock.clone(),
        }
    }
}
