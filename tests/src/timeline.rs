//! Who did what when: printed as it happens, and kept for the report of a run.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// One moment of a run.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Moment {
    /// When, from the start of the run.
    pub at_ms: f64,
    /// Who.
    pub who: &'static str,
    /// Did what.
    pub what: String,
}

/// The moments of a run.
#[derive(Clone)]
pub struct Timeline {
    began: Instant,
    /// The same instant on the monotonic clock of the locks.
    origin: Duration,
    moments: Arc<Mutex<Vec<Moment>>>,
}

impl Timeline {
    /// Begins now; `origin` is now on the clock of the locks.
    pub fn begin(origin: Duration) -> Self {
        Self { began: Instant::now(), origin, moments: Arc::default() }
    }

    /// Notes what has just happened.
    pub fn note(&self, who: &'static str, what: String) {
        let at_ms = self.began.elapsed().as_secs_f64() * 1000.0;
        eprintln!("{at_ms:9.1} ms  {who:<10}  {what}");
        self.moments.lock().unwrap().push(Moment { at_ms, who, what });
    }

    /// An instant of the locks' clock, from the start of the run.
    pub fn ms(&self, instant: Duration) -> f64 {
        instant.saturating_sub(self.origin).as_secs_f64() * 1000.0
    }

    /// How long it has taken.
    pub fn elapsed_ms(&self) -> f64 {
        self.began.elapsed().as_secs_f64() * 1000.0
    }

    /// All moments, in order.
    pub fn moments(&self) -> Vec<Moment> {
        self.moments.lock().unwrap().clone()
    }
}
