//! A simulator of the machine that lokt runs on: the production protocol, store, waiting and heartbeat, on a
//! virtual file system, clock and process table, under a scheduler that picks every step.
//!
//! One run is decided by a list of [`choices`]. `world` has the time, the processes and who runs next, `boot` the
//! clocks, `sessions` their files, `faults` what befalls them; `fibers` are their threads; `disk` is the file system and what a power loss leaves of it; `host` is
//! all that the lock sees of this. `actors` use the lock, at random or in one of the small `cases`; `truth` knows what
//! really holds, and checks the promises at each step that a `witness` tells it of. [`explore`] runs schedules by the million, and makes one that
//! broke a promise short.
//!
//! What it can't show: anything below `trait Host`. That the real machine does what this one does is for the fault
//! injection on the real binary to show.

pub mod choices;
pub mod explore;
mod truth;

mod actors;
mod boot;
mod cases;
mod disk;
mod faults;
mod fibers;
mod host;
mod open;
mod sessions;
mod witness;
mod world;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lokt::protocol::{Mode, Name, Record};
use lokt::{Patience, Terms};

use self::actors::{Actor, open};
use self::boot::Boot;
pub use self::cases::Case;
use self::choices::{Choices, Deviation};
use self::disk::Place;
use self::faults::Faults;
use self::fibers::Fibers;
use self::host::SimHost;
use self::truth::Admission;
pub use self::truth::Violation;
use self::world::{LONGEST, Pid, Shared, World};

/// What kind of runs there are to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any number of actors up to this one, doing anything, with any faults.
    Any {
        /// The largest number of actors.
        actors: usize,
    },
    /// One of the fixed cases: for trying out every schedule.
    Small(Case),
}

/// How a run went.
pub struct Run {
    /// The promise that was broken, if one was.
    pub violation: Option<Violation>,
    /// What was chosen.
    pub schedule: Vec<Deviation>,
    /// The same choices, for the next run of an exhaustive search.
    pub choices: Choices,
    /// How many steps there were.
    pub steps: u64,
    /// What happened, if it was to be told.
    pub story: Vec<String>,
}

/// A machine to run schedules on.
#[derive(Default)]
pub struct Simulator {
    fibers: Fibers,
}

impl Simulator {
    /// Runs one schedule.
    pub fn run(&mut self, kind: Kind, choices: Choices, told: bool) -> Run {
        let mut world = World::new(choices, told);
        let plan = Plan::draw(kind, &mut world);
        let world: Shared = Arc::new(Mutex::new(world));
        self.play(&world, &plan.actors, plan.calm);
        if locked(&world).has_to_go_on() {
            self.play(&world, &plan.after_power_loss, false);
        }
        self.close(&world, &plan.names);

        let mut world = locked(&world);
        let (choices, story) =
            (std::mem::replace(&mut world.choices, Choices::replay(&[])), world.story.take());
        Run {
            violation: world.truth.violation.take(),
            schedule: choices.schedule().to_vec(),
            choices,
            steps: world.steps,
            story: story.unwrap_or_default(),
        }
    }

    fn play(&mut self, world: &Shared, actors: &[Actor], calm: bool) {
        locked(world).begin();
        for actor in actors {
            let pid = locked(world).start_next();
            locked(world).tell(pid, || format!("is to {actor}"));
            let (host, actor) = (SimHost::new(world, pid), actor.clone());
            locked(world).spawn(pid, Box::new(move || actor.run(&host, calm)));
        }
        self.drive(world);
    }

    /// Afterwards, whatever happened, each lock can be had again, and nothing is left.
    fn close(&mut self, world: &Shared, names: &[Name]) {
        let mut last = locked(world);
        if last.truth.violation.is_some() {
            return;
        }
        last.check_promised();
        last.faults = Faults::default();
        let pid = last.start("a latecomer");
        for name in names {
            last.disk.remove(&Place::Freezes, &format!("{name}.json"));
        }
        last.begin();
        let (host, names) = (SimHost::new(world, pid), names.to_vec());
        last.spawn(pid, Box::new(move || latecomer(&host, &names)));
        drop(last);
        self.drive(world);
        locked(world).check_end();
    }

    /// Runs all fibers to their end.
    fn drive(&mut self, world: &Shared) {
        while !locked(world).over {
            let (n, job) = locked(world).take_current();
            match self.fibers.resume(n, job) {
                None => {}
                Some(Ok(())) => locked(world).ended(n),
                Some(Err(why)) => locked(world).violate("no panic", why),
            }
        }
        // What was killed, or stands still because the run is over, is cleared away.
        let (begun, jobs) = locked(world).unfinished();
        drop(jobs);
        for n in begun {
            self.fibers.resume(n, None);
        }
    }
}

fn locked(world: &Shared) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The names that there may be.
const NAMES: [&str; 2] = ["deploy", "build"];

/// How the actors of a run want a name.
const MODES: [&[Mode]; 6] = [
    &[Mode::Exclusive],
    &[Mode::Exclusive],
    &[Mode::Exclusive, Mode::Shared],
    &[Mode::Shared, Mode::Shared, Mode::Exclusive],
    &[Mode::Slots(2)],
    &[Mode::Slots(2), Mode::Slots(2), Mode::Slots(3), Mode::Shared, Mode::Exclusive],
];

/// What a run is about.
struct Plan {
    names: Vec<Name>,
    actors: Vec<Actor>,
    /// Who comes when the power is back, if it is lost.
    after_power_loss: Vec<Actor>,
    calm: bool,
}

impl Plan {
    fn draw(kind: Kind, world: &mut World) -> Self {
        let names: Vec<Name> = NAMES.iter().filter_map(|name| name.parse().ok()).collect();
        match kind {
            Kind::Any { actors } => Self::any(actors, &names, world),
            Kind::Small(case) => {
                let (actors, faults) = case.actors(&names[0]);
                let after_power_loss = case.after_power_loss(&names[0]);
                world.faults = Faults { odds: 0.01, ..faults };
                world.switch_odds = 0.3;
                let calm = faults.are_harmless();
                Self { names: names[..1].to_vec(), actors, after_power_loss, calm }
            }
        }
    }

    fn any(most: usize, names: &[Name], world: &mut World) -> Self {
        let choices = &mut world.choices;
        let names = names[..1 + usize::from(choices.any(4) == 3)].to_vec();
        let count = 2 + choices.any(most.max(2) - 1);
        let modes = MODES[choices.any(MODES.len())];
        let mut actors = vec![Actor::guard(choices, &names[0], modes)];
        actors.extend((1..count).map(|_| Actor::any(choices, &names, modes)));
        let faults = Faults {
            kills: [0, 1, 2][choices.any(3)],
            pauses: [0, 1, 2][choices.any(3)],
            errors: [0, 0, 0, 1, 3][choices.any(5)],
            wall_steps: [0, 1, 2][choices.any(3)],
            power: [0, 0, 0, 0, 0, 0, 0, 1][choices.any(8)],
            odds: [0.01, 0.03][choices.any(2)],
        };
        let later = if faults.power > 0 { 1 + choices.any(3) } else { 0 };
        if faults.power > 0 && choices.any(2) == 1 {
            world.boot = Boot::young(world.now);
        }
        let after_power_loss = (0..later).map(|_| Actor::any(choices, &names, modes)).collect();
        world.switch_odds = [0.5, 0.2, 0.06, 0.02][world.choices.any(4)];
        world.faults = faults;
        let calm = faults.are_harmless() && !actors.iter().any(Actor::forces);
        Self { names, actors, after_power_loss, calm }
    }
}

/// Comes when all is over, takes every lock, and clears up.
fn latecomer(host: &SimHost, names: &[Name]) {
    let locks = open(host);
    for name in names {
        let by_hand = |record: &Record| record.kind != Some(lokt::protocol::Kind::Guard) && record.pid == 0;
        let lasts = host.world().records(name.as_str()).iter().any(by_hand);
        if lasts {
            host.world().processes[host.pid].forces = true;
            let _ = locks.unlock(name, lokt::protocol::Authority::Force);
            host.world().processes[host.pid].forces = false;
        }
        // Whoever holds it still, it is to be had so.
        let mode = host.world().records(name.as_str()).first().map_or(Mode::Exclusive, Record::mode);
        let terms = Terms { break_stale: true, mode, ..Terms::default() };
        let admitted = locks.acquire(name, &terms, Patience::AtMost(Duration::from_secs(30)));
        let released = admitted.and_then(|session| session.release());
        if let Err(error) = released {
            let what = format!("nobody is left, and {:?} can't be had: {error}", name.as_str());
            host.world().violate("the lock can be acquired again", what);
        }
    }
    // Commands that have outlived their guards end in the meantime.
    host.sleep_until(host.elapsed() + Duration::from_secs(3));
    locks.sweep(Duration::from_secs(10));
}

impl World {
    /// Whether the power was lost, and came back to a machine on which nothing had gone wrong.
    fn has_to_go_on(&self) -> bool {
        self.truth.power_lost && self.truth.violation.is_none()
    }

    /// Others are to come, the next fiber first.
    fn begin(&mut self) {
        self.over = false;
        self.current = self.fibers.len();
        self.ends_by = self.now + LONGEST;
    }

    /// A process with the next letter.
    fn start_next(&mut self) -> Pid {
        let actors = self.processes.iter().filter(|process| process.name.len() == 1).count();
        let letter = char::from(b'a' + actors as u8);
        self.start(&letter.to_string())
    }

    /// What a manual lock promised outlasts a power loss.
    fn check_promised(&mut self) {
        for (lock_id, name) in self.truth.take_promised() {
            if self.record_of(&name, &lock_id).is_none() {
                self.violate("a manual lock lasts", format!("the manual lock {name:?} is gone"));
            }
        }
    }

    /// Nothing is left of what is past, and the log tells the truth.
    fn check_end(&mut self) {
        if self.truth.violation.is_some() {
            return;
        }
        let left = self.disk.leftovers();
        if !left.is_empty() {
            self.violate("nothing grows with the past", format!("left behind: {}", left.join(", ")));
        }
        if self.truth.troubled || self.truth.power_lost {
            return;
        }
        if let Some(what) = self.log_differs() {
            self.violate("the audit log tells what happened", what);
        }
    }

    /// How the admissions in the audit log differ from those that there were, name by name.
    fn log_differs(&self) -> Option<String> {
        let log = String::from_utf8_lossy(&self.disk.log);
        let logged: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("\"event\":\"acquire\""))
            .filter_map(|line| line.split("\"lock_id\":\"").nth(1)?.split('"').next())
            .collect();
        // Who is killed right after its record was placed does not come to write it down.
        let forgotten =
            |one: &&Admission| self.processes[one.pid].was_killed && !logged.contains(&one.lock_id.as_str());
        let happened: Vec<&Admission> = self.truth.admissions.iter().filter(|one| !forgotten(one)).collect();
        NAMES.into_iter().find_map(|name| {
            let mine: Vec<&str> =
                happened.iter().filter(|one| one.name == name).map(|one| one.lock_id.as_str()).collect();
            let of_name = |id: &&&str| happened.iter().any(|one| one.lock_id == **id && one.name == name);
            let written: Vec<&str> = logged.iter().filter(of_name).copied().collect();
            (written != mine)
                .then(|| format!("admissions to {name:?} were {mine:?}, the log has {written:?}"))
        })
    }
}
