//! Many names at once: how many guards come through that have nothing to do with each other.

use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use anyhow::{anyhow, ensure};

use super::found::Found;
use super::ground::Ground;
use super::rounds::{Quartiles, ratios};
use crate::page::compare::{Curve, curves};
use crate::section::{Plot, Table};
use crate::stats::{percentile, time};

const WORKERS: [usize; 4] = [1, 4, 16, 64];

/// What each worker does, one after the other.
const GUARDS: usize = 20;

/// How often all of it is done.
const TIMES: usize = 5;
const QUICK_TIMES: usize = 2;

pub fn measure(ground: &Ground) -> anyhow::Result<Found> {
    let mut found = Found::new("names", "Many names at once");
    let columns = ["names at once", "lokt, guards per second", "flock", "ratio of lokt to flock, time"];
    let mut table =
        Table::new("Each worker has a name of its own, and twenty guards after each other", &columns);
    let mut lines = [Curve::new("lokt", 0), Curve::new("flock", 1)];
    for workers in WORKERS {
        let mut each = [Vec::new(), Vec::new()];
        for number in 0..if ground.quick { QUICK_TIMES } else { TIMES } {
            // Whoever is first has a colder machine.
            for which in [number % 2, (number + 1) % 2] {
                each[which].push(all(workers, |worker| command(ground, which, worker))?);
            }
        }
        let [lokt, flock] = each.each_ref().map(|ms| percentile(ms, 50).unwrap_or(f64::NAN));
        let guards = (workers * GUARDS) as f64;
        let per_second = |ms: f64| format!("{:.0}", guards / ms * 1_000.0);
        let ratio = Quartiles::of(&ratios(&each[0], &each[1]));
        table.rows.push(vec![
            workers.to_string(),
            per_second(lokt),
            per_second(flock),
            ratio.map_or("-".to_owned(), |ratio| ratio.to_string()),
        ]);
        found.values.extend(ratio.map(|ratio| (format!("lokt / flock, {workers} names"), ratio.p50)));
        for ((line, ms), samples) in lines.iter_mut().zip([lokt, flock]).zip(each) {
            line.points.push((workers as f64, ms / guards));
            found.samples.insert(format!("{}, {workers} names", line.label), samples);
        }
    }
    found.section.tables.push(table);
    let caption = "All the time that the workers took together, divided by the number of guards.";
    let drawing = curves(&lines, "names at once (logarithmic)", time);
    found.section.plots.push(Plot::new("Time per guard", caption, drawing));
    Ok(found)
}

fn command(ground: &Ground, which: usize, worker: usize) -> Command {
    let name = format!("name-{worker}");
    let mut command = match which {
        0 => ground.lokt(&ground.path("names"), &["guard", &name, "--"]),
        _ => {
            let mut command = ground.command(&ground.flock);
            command.arg(ground.path(&name));
            command
        }
    };
    command.arg(&ground.nothing).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// How long all workers take together, in milliseconds.
fn all(workers: usize, command: impl Fn(usize) -> Command) -> anyhow::Result<f64> {
    let commands: Vec<Command> = (0..workers).map(command).collect();
    let began = Instant::now();
    thread::scope(|scope| {
        let work = |mut command: Command| {
            (0..GUARDS).try_for_each(|_| {
                let status = command.spawn()?.wait()?;
                ensure!(status.success(), "{command:?}: {status}");
                Ok(())
            })
        };
        let running: Vec<_> =
            commands.into_iter().map(|command| scope.spawn(move || work(command))).collect();
        running.into_iter().try_for_each(|one| one.join().map_err(|_| anyhow!("a worker panicked"))?)
    })?;
    Ok(began.elapsed().as_secs_f64() * 1_000.0)
}
