//! What an actor does next, drawn at random from a seed: how it claims, how long it stays, what is done to it.

use std::time::Duration;

use fastrand::Rng;

/// How the names begin that have one slot: for everybody who claims them. They exclude like others, in another way.
const ONE_SLOT: &str = "slot-";

/// So many names; of every three, one has a slot.
pub fn names(number: u32) -> Vec<String> {
    (0..number).map(|n| if n % 3 == 2 { format!("{ONE_SLOT}{n}") } else { format!("name-{n}") }).collect()
}

/// By which command of lokt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Guard,
    /// A manual lock, with what becomes of it.
    Lock {
        renew: bool,
        forget: bool,
    },
    /// `unlock --break-stale`.
    Break,
}

/// What is done to a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    Nothing,
    /// SIGKILL for the process that claims.
    KillGuard,
    /// SIGKILL for the section.
    KillSection,
    /// SIGKILL for both, the section first.
    KillBoth,
    /// SIGTERM for the process that claims.
    Terminate,
    /// SIGSTOP for the process that claims, and for its section too, then SIGCONT.
    Stop {
        lasts: Duration,
        section_too: bool,
    },
    /// `unlock --force`.
    Force,
}

/// From when on the deed's delay counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    Start,
    Entry,
}

/// One claim to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub name: String,
    pub how: How,
    pub ttl: Option<Duration>,
    /// How long to wait for the lock; `None`: not at all.
    pub timeout: Option<Duration>,
    pub break_stale: bool,
    pub hold: Duration,
    pub deed: Deed,
    pub from: From,
    pub after: Duration,
}

/// What can be drawn.
#[derive(Debug, Clone, Copy)]
pub struct Range<'a> {
    pub names: &'a [String],
    /// Only plain claims of a guard-like tool: a peer has no other commands, and its own idea of waiting.
    pub peer: bool,
    /// Without signals.
    pub calm: bool,
}

impl Plan {
    pub fn draw(rng: &mut Rng, range: &Range<'_>) -> Self {
        let name = rng.choice(range.names).cloned().unwrap_or_default();
        let mut plan = Self::guard(&name, hold(rng));
        if !range.peer {
            plan.draw_terms(rng);
        }
        if !range.calm && plan.how != How::Break {
            plan.draw_deed(rng, range.peer);
        }
        plan
    }

    /// A guard that waits and to which nothing is done.
    pub fn guard(name: &str, hold: Duration) -> Self {
        Self {
            name: name.to_owned(),
            how: How::Guard,
            ttl: None,
            timeout: Some(Duration::from_secs(20)),
            break_stale: false,
            hold,
            deed: Deed::Nothing,
            from: From::Start,
            after: Duration::ZERO,
        }
    }

    fn draw_terms(&mut self, rng: &mut Rng) {
        self.how = match rng.u32(0..100) {
            0..83 => How::Guard,
            83..97 => How::Lock { renew: rng.u32(0..4) == 0, forget: false },
            _ => How::Break,
        };
        self.timeout = match rng.u32(0..100) {
            0..25 => None,
            25..45 => Some(millis(rng, 20, 300)),
            45..70 => Some(millis(rng, 1_000, 5_000)),
            _ => Some(Duration::from_secs(20)),
        };
        self.break_stale = self.how != How::Break && rng.u32(0..10) == 0;
        if rng.u32(0..100) < 40 {
            self.ttl = Some(Duration::from_secs(rng.u64(2..4)));
        }
        if let How::Lock { renew, .. } = self.how {
            // One that is renewed has something to renew. One in ten is left to lapse.
            let forget = !renew && rng.u32(0..10) == 0;
            self.how = How::Lock { renew, forget };
            self.ttl = (renew || forget || self.ttl.is_some()).then(|| Duration::from_secs(rng.u64(1..3)));
        }
    }

    fn draw_deed(&mut self, rng: &mut Rng, peer: bool) {
        let die = rng.u32(0..1000);
        let early = |rng: &mut Rng| (From::Start, millis(rng, 0, 60));
        if self.how != How::Guard {
            // Killed, it may have left a lock: only one that lapses.
            if self.ttl.is_some() && die < 60 {
                self.deed = Deed::KillGuard;
                (self.from, self.after) = early(rng);
            }
            return;
        }
        let stop =
            |rng: &mut Rng, from, to| Deed::Stop { lasts: millis(rng, from, to), section_too: rng.bool() };
        (self.deed, (self.from, self.after)) = match die {
            0..70 => (Deed::KillGuard, early(rng)),
            70..120 => (Deed::KillGuard, self.inside(rng)),
            120..155 => (Deed::KillSection, self.inside(rng)),
            155..185 => (Deed::KillBoth, self.inside(rng)),
            185..205 => (Deed::Terminate, early(rng)),
            205..225 => (Deed::Terminate, self.inside(rng)),
            225..260 => (stop(rng, 10, 300), early(rng)),
            260..270 => (stop(rng, 1_000, 4_000), early(rng)),
            270..285 => (stop(rng, 20, 400), self.inside(rng)),
            285..289 if self.ttl.is_some() => return self.stop_past_lease(rng),
            289..292 if !peer => (Deed::Force, self.inside(rng)),
            _ => return,
        };
    }

    /// Somewhere in the middle of a section that is long enough for it.
    fn inside(&mut self, rng: &mut Rng) -> (From, Duration) {
        self.hold = self.hold.max(millis(rng, 30, 120));
        (From::Entry, millis(rng, 0, u64::try_from(self.hold.as_millis()).unwrap_or(30) - 15))
    }

    /// Stopped until its lease has long lapsed; the section is longer still, so that somebody has to end it.
    fn stop_past_lease(&mut self, rng: &mut Rng) {
        let ttl = self.ttl.unwrap_or_default();
        let lasts = ttl + millis(rng, 300, 1_500);
        self.deed = Deed::Stop { lasts, section_too: rng.bool() };
        self.hold = lasts + Duration::from_secs(5);
        (self.from, self.after) = (From::Entry, millis(rng, 0, 1_500));
    }

    /// The arguments of lokt, up to the command.
    pub fn flags(&self) -> Vec<String> {
        let verb = match self.how {
            How::Guard => "guard",
            How::Lock { .. } => "lock",
            How::Break => "unlock",
        };
        let mut flags = vec![verb.to_owned(), self.name.clone()];
        let mut flag = |words: &[&str]| flags.extend(words.iter().map(|word| (*word).to_owned()));
        if self.how == How::Break {
            flag(&["--break-stale"]);
            return flags;
        }
        if self.name.starts_with(ONE_SLOT) {
            flag(&["--slots", "1"]);
        }
        if matches!(self.how, How::Lock { .. }) {
            flag(&["--json"]);
        }
        if self.break_stale {
            flag(&["--break-stale"]);
        }
        if let Some(ttl) = self.ttl {
            flag(&["--ttl", &format!("{}s", ttl.as_secs())]);
        }
        if let Some(timeout) = self.timeout {
            flag(&["--wait", "--timeout", &format!("{}ms", timeout.as_millis())]);
        }
        flags
    }
}

fn hold(rng: &mut Rng) -> Duration {
    match rng.u32(0..100) {
        0..75 => millis(rng, 0, 8),
        75..97 => millis(rng, 8, 50),
        _ => millis(rng, 50, 250),
    }
}

fn millis(rng: &mut Rng, from: u64, to: u64) -> Duration {
    Duration::from_millis(rng.u64(from..=to.max(from)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_plans_again() {
        let names = ["a".to_owned(), "b".to_owned()];
        let range = Range { names: &names, peer: false, calm: false };
        let draw = |seed| {
            let mut rng = Rng::with_seed(seed);
            (0..200).map(|_| Plan::draw(&mut rng, &range)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn nothing_is_drawn_that_would_block_a_name_for_ever() {
        let names = ["a".to_owned()];
        let range = Range { names: &names, peer: false, calm: false };
        let mut rng = Rng::with_seed(1);
        for plan in (0..20_000).map(|_| Plan::draw(&mut rng, &range)) {
            let lapses = plan.ttl.is_some();
            if let How::Lock { forget, .. } = plan.how {
                assert!(lapses || !forget && plan.deed == Deed::Nothing, "{plan:?}");
            }
        }
    }
}
