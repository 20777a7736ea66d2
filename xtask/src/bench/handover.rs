//! Hand-over: from the last act of the holder's command to the first of the waiter's.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use super::found::{Found, color};
use super::ground::Ground;
use super::queue::{Lock, Queue, handovers};
use super::rounds::{Quartiles, ratios};
use crate::page::Scale;
use crate::page::compare::Boxes;
use crate::page::plot::Series;
use crate::section::{Plot, Table};
use crate::stats::{percentile, time};

/// How long a waiter has been parked, and how many pairs there are: in a full run and in a quick one.
const PARKED: [(&str, Duration, usize, usize); 3] = [
    ("100 ms", Duration::from_millis(100), 60, 8),
    ("1 s", Duration::from_secs(1), 20, 3),
    ("5 s", Duration::from_secs(5), 10, 1),
];

/// So long the machine is left alone before each hand-over, that none is disturbed by the end of the one before.
const SETTLED: Duration = Duration::from_millis(20);

pub fn measure(ground: &Ground) -> anyhow::Result<Found> {
    let mut found = Found::new("handover", "From a release to the waiter's command");
    let locks = Lock::all(ground, &mut found.warnings);
    let mut table = Table::new(
        "Hand-over to one who waits",
        &["lock", "parked for", "ratio to flock", "median", "10 % to 90 %", "most", "pairs"],
    );
    let mut series = Vec::new();
    for (label, parked, full, quick) in PARKED {
        let pairs = if ground.quick { quick } else { full };
        let mut all: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for number in 0..pairs {
            for (name, ms) in one_of_each(ground, &locks, parked, &format!("{label} {number}"), number)? {
                all.entry(name).or_default().push(ms);
            }
        }
        for lock in &locks {
            let ms = &all[lock.name()];
            let compared = ratios(ms, &all["flock"]);
            let at = |percent| percentile(ms, percent).map_or("-".to_owned(), time);
            let ratio = Quartiles::of(&compared);
            table.rows.push(vec![
                lock.name().to_owned(),
                label.to_owned(),
                ratio.map_or("-".to_owned(), |ratio| ratio.to_string()),
                at(50),
                format!("{}–{}", at(10), at(90)),
                at(100),
                ms.len().to_string(),
            ]);
            let name = format!("{} / flock, parked for {label}", lock.name());
            found.values.extend(ratio.map(|ratio| (name, ratio.p50)));
            found.samples.insert(format!("{}, parked for {label}", lock.name()), ms.clone());
            let name = format!("{}, parked for {label}", lock.name());
            series.push(Series { color: color(lock.name()), label: name, values: ms.clone() });
        }
    }
    found.section.tables.push(table);
    found.section.plots.push(plot(&series));
    Ok(found)
}

/// A pair of holder and waiter for each lock. All waiters are parked together; then one holder after the other is let go,
/// in any order, and each pair has ended before the next begins.
fn one_of_each(
    ground: &Ground,
    locks: &[Lock],
    parked: Duration,
    dir: &str,
    number: usize,
) -> anyhow::Result<Vec<(&'static str, f64)>> {
    let mut pairs = Vec::new();
    for lock in locks {
        let (gate, key) = std::io::pipe()?;
        let mut queue = Queue::new(ground, lock, dir)?;
        queue.hold(&gate)?;
        queue.wait_in_line(&gate)?;
        drop(gate);
        pairs.push((lock.name(), queue, key));
    }
    // One that always came after the same other would bear what that one leaves behind in the machine.
    fastrand::Rng::with_seed(number as u64).shuffle(&mut pairs);
    thread::sleep(parked);
    let one = |(name, queue, key): (&'static str, Queue<'_>, std::io::PipeWriter)| {
        thread::sleep(SETTLED);
        drop(key);
        let ms = handovers(&queue.end()?).into_iter().next();
        Ok((name, ms.unwrap_or(f64::NAN)))
    };
    pairs.into_iter().map(one).collect()
}

fn plot(series: &[Series]) -> Plot {
    let scale = Scale::log_time(series.iter().flat_map(|series| series.values.iter().copied()));
    let axis = "latency of a hand-over (logarithmic)";
    Plot::new(
        "Latency of a hand-over",
        "From the last act of the holder's command to the first of the waiter's. Whisker: 80 %; box: the middle half.",
        Boxes { series, scale: &scale, axis, mark: None, words: time }.draw(),
    )
}
