//! What may befall the processes of a run.

use std::time::Duration;

use super::world::{Pid, World};

/// What may befall the processes of one run: how often, and how likely each is at any one step.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Faults {
    /// Processes killed.
    pub kills: u8,
    /// Processes stopped (visibly) or threads that hang (invisibly), for up to some seconds.
    pub pauses: u8,
    /// Operations that fail: EIO, ENOSPC.
    pub errors: u8,
    /// Steps of the wall clock, by hours.
    pub wall_steps: u8,
    /// Power losses.
    pub power: u8,
    /// How likely any of these is at a step.
    pub odds: f32,
}

impl Faults {
    /// Whether every lease that is renewed must live.
    pub fn are_harmless(&self) -> bool {
        self.pauses == 0 && self.errors == 0 && self.power == 0
    }
}

/// What can befall a process.
#[derive(Clone, Copy)]
enum Blow {
    Kill,
    Stop,
    Hang,
    WallStep,
    PowerLoss,
}

impl World {
    /// What befalls the running process, or all of them.
    pub fn befall(&mut self) {
        let Faults { kills, pauses, wall_steps, power, odds, .. } = self.faults;
        let blows = [
            (kills, Blow::Kill),
            (pauses, Blow::Stop),
            (pauses, Blow::Hang),
            (wall_steps, Blow::WallStep),
            (power, Blow::PowerLoss),
        ];
        let possible = || blows.iter().filter(|(left, _)| *left > 0).map(|(_, blow)| *blow);
        let chosen = self.choices.pick(1 + possible().count(), odds);
        let Some(blow) = chosen.checked_sub(1).and_then(|n| possible().nth(n)) else {
            return;
        };
        let pid = self.fibers[self.current].pid;
        match blow {
            Blow::Kill => {
                self.faults.kills -= 1;
                self.tell(pid, || "is killed".to_owned());
                self.processes[pid].was_killed = true;
                self.kill(pid);
            }
            Blow::Stop => {
                let until = self.pause_end();
                self.tell(pid, || "is stopped".to_owned());
                self.processes[pid].stopped = Some(until);
            }
            Blow::Hang => {
                let until = self.pause_end();
                self.tell(pid, || "hangs: one of its threads".to_owned());
                self.fibers[self.current].hangs = Some(until);
            }
            Blow::WallStep => {
                self.faults.wall_steps -= 1;
                let hours = [5, -5, 240, -240][self.choices.any(4)];
                self.tell(pid, || format!("sees the wall clock set by {hours} hours"));
                self.wall_set += hours * 3600;
            }
            Blow::PowerLoss => self.lose_power(pid),
        }
    }

    fn pause_end(&mut self) -> Duration {
        self.faults.pauses -= 1;
        let length = [1_300, 300, 2_700, 6_000][self.choices.any(4)];
        let pid = self.fibers[self.current].pid;
        self.processes[pid].absent = true;
        self.now + Duration::from_millis(length)
    }

    fn lose_power(&mut self, pid: Pid) {
        self.faults.power -= 1;
        self.tell(pid, || "and all others: the power goes off".to_owned());
        for pid in 0..self.processes.len() {
            self.processes[pid].survivor = None;
            self.kill(pid);
        }
        self.disk.lose_power(&mut self.choices);
        self.boot_again();
        self.truth.power_was_lost();
    }

    /// Whether the operation that comes now fails.
    pub fn fails(&mut self, pid: Pid) -> bool {
        let fails = self.faults.errors > 0 && self.choices.pick(2, (self.faults.odds * 3.0).min(0.2)) > 0;
        if fails {
            self.faults.errors -= 1;
            self.processes[pid].absent = true;
            self.truth.troubled = true;
            self.tell(pid, || "gets an I/O error".to_owned());
        }
        fails
    }
}
