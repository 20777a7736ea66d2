//! Small cases, in which every schedule with a few deviations can be tried.

use std::time::Duration;

use lokt::Patience;
use lokt::protocol::{Mode, Name};

use super::actors::{Actor, Guard, Lock, Script};
use super::faults::Faults;

/// A small case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// Two guards without a TTL; one of them may be killed.
    TwoGuards,
    /// A guard whose lease is renewed while another breaks what is stale.
    RenewalAndBreak,
    /// Three guards that wait; the holder may be killed.
    Line,
    /// A lease that is not renewed lapses while two wait for it.
    Lapse,
    /// A waiter's time is over when the lock is released, and another waits behind it.
    Leaving,
    /// A manual lock and a waiter.
    Manual,
    /// A lock tied to a process that ends or is killed, one who waits, and one who only tries.
    Tied,
    /// A shared lock, tied to a process that waits for it and may be killed as it takes it.
    TiedInLine,
    /// A freeze comes while one waits.
    Freeze,
    /// Three guards want two slots; one of them may be killed.
    Slots,
    /// One shares it, one waits to have it alone, and another wants to share it meanwhile.
    Shared,
    /// The power is lost under a manual lock with a TTL, and two others come when it is back.
    PowerLoss,
}

impl Case {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::TwoGuards,
        Self::RenewalAndBreak,
        Self::Line,
        Self::Lapse,
        Self::Leaving,
        Self::Manual,
        Self::Tied,
        Self::TiedInLine,
        Self::Freeze,
        Self::Slots,
        Self::Shared,
        Self::PowerLoss,
    ];

    /// What it is called.
    pub fn title(self) -> &'static str {
        match self {
            Self::TwoGuards => "two guards, one of which may be killed",
            Self::RenewalAndBreak => "a renewal while another breaks what is stale",
            Self::Line => "three in line, one of which may be killed",
            Self::Lapse => "a lease lapses while two wait",
            Self::Leaving => "a waiter gives up when its turn comes",
            Self::Manual => "a manual lock and a waiter",
            Self::Tied => "a lock tied to a process, which may be killed",
            Self::TiedInLine => "a shared lock tied to a process that waits for it and may be killed",
            Self::Freeze => "a freeze while one waits",
            Self::Slots => "three guards and two slots, one of which may be killed",
            Self::Shared => "two who share it, and one between who wants it alone",
            Self::PowerLoss => "a power loss under a manual lock with a TTL",
        }
    }

    /// Who takes part, and what may befall them.
    pub(super) fn actors(self, name: &Name) -> (Vec<Actor>, Faults) {
        let actor = |script: &Script| at_once(script.clone(), name);
        let strict = Script::Guard(guard(None, 0, true));
        let beating = Script::Guard(guard(Some(1_000), 600, true));
        let holding = Script::Guard(guard(None, 300, true));
        let leaving = Script::Guard(Guard {
            patience: Patience::AtMost(Duration::from_millis(300)),
            ..guard(None, 0, true)
        });
        let lapsing = Script::Guard(guard(Some(1_000), 700, false));
        let manual = Lock {
            mode: Mode::Exclusive,
            ttl: None,
            patience: Patience::Unlimited,
            hold: Duration::ZERO,
            renews: false,
            tied: false,
        };
        let tied = Lock { tied: true, hold: Duration::from_millis(200), ..manual.clone() };
        let leased = Script::Lock(Lock {
            ttl: Some(LEASE),
            patience: Patience::None,
            hold: LEASE * 2,
            ..manual.clone()
        });
        let trying = Script::Guard(trying());
        let slot = Script::Guard(Guard { mode: Mode::Slots(2), ..guard(None, 0, true) });
        let sharing = Script::Guard(Guard { mode: Mode::Shared, ..guard(None, 0, true) });
        let scripts = match self {
            Self::TwoGuards => vec![strict.clone(), strict],
            Self::RenewalAndBreak => vec![beating, Script::Break { times: 2 }],
            Self::Line => vec![strict.clone(), strict.clone(), strict],
            Self::Lapse => vec![lapsing, strict.clone(), strict],
            Self::Leaving => vec![holding, leaving, strict],
            Self::Manual => vec![Script::Lock(manual), strict],
            Self::Tied => vec![Script::Lock(tied), strict, trying],
            Self::TiedInLine => vec![holding, Script::Lock(Lock { mode: Mode::Shared, ..tied })],
            Self::PowerLoss => vec![leased],
            Self::Slots => vec![slot.clone(), slot.clone(), slot],
            Self::Shared => vec![sharing.clone(), strict, sharing],
            Self::Freeze => vec![
                strict.clone(),
                strict,
                Script::Freeze { ttl: Duration::from_secs(3_600), hold: Duration::ZERO },
            ],
        };
        let may_be_killed =
            [Self::TwoGuards, Self::Line, Self::Slots, Self::Tied, Self::TiedInLine].contains(&self);
        let power = u8::from(self == Self::PowerLoss);
        let mut actors: Vec<Actor> = scripts.iter().map(actor).collect();
        if let (Self::Leaving | Self::Tied, Some(last)) = (self, actors.last_mut()) {
            last.after = Duration::from_millis(300);
        }
        (actors, Faults { kills: may_be_killed.into(), power, ..Faults::default() })
    }

    /// Who comes when the power is back: one who tries at once, and one who waits.
    pub(super) fn after_power_loss(self, name: &Name) -> Vec<Actor> {
        let trying = Script::Guard(trying());
        let waiting = Script::Guard(guard(None, 0, true));
        if self == Self::PowerLoss { vec![at_once(trying, name), at_once(waiting, name)] } else { Vec::new() }
    }
}

/// The TTL of a manual lock: the machine is up again long before it has passed.
const LEASE: Duration = Duration::from_millis(400);

fn at_once(script: Script, name: &Name) -> Actor {
    Actor { script, name: name.clone(), after: Duration::ZERO }
}

fn guard(ttl: Option<u64>, section: u64, beats: bool) -> Guard {
    Guard {
        mode: Mode::Exclusive,
        ttl: ttl.map(Duration::from_millis),
        patience: Patience::Unlimited,
        break_stale: false,
        section: Duration::from_millis(section),
        beats,
        survivor: None,
        times: 1,
    }
}

/// One who does not wait.
fn trying() -> Guard {
    Guard { patience: Patience::None, ..guard(None, 0, true) }
}
