//! Many waiters of one name: what they cost while they wait, who is woken when, and in which order they enter.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::thread;
use std::time::Duration;

use super::found::{Found, color};
use super::ground::Ground;
use super::queue::{Lock, Queue, Stamp, handovers, until};
use crate::console;
use crate::page::compare::{Curve, curves};
use crate::section::{Plot, Table};
use crate::stats::{percentile, thousands, time};

/// How many wait, and up to how many of a quick run and of the peer do.
const CROWDS: [usize; 4] = [2, 10, 100, 1000];
const MOST_OF_QUICK: usize = 100;
const MOST_OF_FLOCK: usize = 100;

/// So many hand-overs there are at least, in as many crowds as that takes.
const HANDOVERS: usize = 200;
const QUICK_HANDOVERS: usize = 40;

/// How long parked waiters are watched, and how long they have to come to rest before.
const WATCHED: Duration = Duration::from_secs(3);
const REST: Duration = Duration::from_millis(50);

/// Who is woken is looked at over so many hand-overs at most: the first half of the crowd's.
const LOOKED_AT: usize = 50;

/// What crowds of one size came to.
#[derive(Default)]
struct Seen {
    handover_ms: Vec<f64>,
    out_of_order: usize,
    /// Of all waiters together, in the time in which they were watched.
    ticks: u64,
    /// Different waiters that woke, for each hand-over.
    woken: f64,
}

pub fn measure(ground: &Ground) -> anyhow::Result<Found> {
    let mut found = Found::new("crowd", "Many who wait for one lock");
    let columns = [
        "lock",
        "waiters",
        "hand-over, median",
        "slowest 1 %",
        "out of order",
        "woken by a hand-over",
        "CPU ticks in 3 s",
    ];
    let mut table = Table::new("A line that is let go", &columns);
    let mut plotted: BTreeMap<(usize, &str), Vec<(f64, f64)>> = BTreeMap::new();
    let flock = Lock::File("flock", ground.flock.clone());
    for (lock, most) in [(Lock::Lokt, usize::MAX), (flock, MOST_OF_FLOCK)] {
        let most = if ground.quick { most.min(MOST_OF_QUICK) } else { most };
        let mut p99 = Vec::new();
        for waiters in CROWDS.into_iter().filter(|waiters| *waiters <= most) {
            console::note(&format!("bench: {waiters} waiters of {}", lock.name()));
            let seen = crowds(ground, &lock, waiters)?;
            let at = |percent| percentile(&seen.handover_ms, percent).unwrap_or(f64::NAN);
            table.rows.push(vec![
                lock.name().to_owned(),
                thousands(waiters as u64),
                time(at(50)),
                time(at(99)),
                seen.out_of_order.to_string(),
                format!("{:.2}", seen.woken),
                seen.ticks.to_string(),
            ]);
            p99.push(at(99));
            for (percent, name) in [(50, "median"), (99, "slowest 1 %")] {
                let line = plotted.entry((percent, lock.name())).or_default();
                line.push((waiters as f64, at(percent)));
                found
                    .value(format!("{}, {waiters} waiters: hand-over, {name}, ms", lock.name()), at(percent));
            }
            if matches!(lock, Lock::Lokt) {
                targets(&mut found, &seen, p99.first().copied());
            }
            found.samples.insert(format!("{}, {waiters} waiters", lock.name()), seen.handover_ms);
        }
    }
    found.section.tables.push(table);
    found.section.plots.push(plot(plotted));
    Ok(found)
}

/// The values that have a target: of the largest crowd, of the crowd with the worst, or of all of them.
fn targets(found: &mut Found, seen: &Seen, p99_of_two: Option<f64>) {
    let ratio = percentile(&seen.handover_ms, 99).zip(p99_of_two).map(|(most, two)| most / two);
    found.value("slowest 1 % of hand-overs, most / 2 waiters", ratio.unwrap_or(f64::NAN));
    found.value("CPU ticks of all waiters in 3 s", seen.ticks as f64);
    let so_far = |found: &Found, name: &str| found.values.get(name).copied().unwrap_or(0.0);
    let woken = so_far(found, "waiters woken by a hand-over").max(seen.woken);
    found.value("waiters woken by a hand-over", woken);
    let name = "pairs that entered out of order";
    let out_of_order = so_far(found, name) + seen.out_of_order as f64;
    found.value(name, out_of_order);
}

fn crowds(ground: &Ground, lock: &Lock, waiters: usize) -> anyhow::Result<Seen> {
    let times = if ground.quick { QUICK_HANDOVERS } else { HANDOVERS }.div_ceil(waiters);
    let mut all = Seen::default();
    for time in 0..times {
        let seen = crowd(ground, lock, waiters, time, time + 1 == times)?;
        all.handover_ms.extend(seen.handover_ms);
        all.out_of_order += seen.out_of_order;
        all.ticks = seen.ticks;
        all.woken += seen.woken / times as f64;
    }
    Ok(all)
}

/// One crowd: it gathers behind a holder, rests, is let go some turns, and then altogether.
fn crowd(ground: &Ground, lock: &Lock, waiters: usize, time: usize, watched: bool) -> anyhow::Result<Seen> {
    let (gate, mut key) = std::io::pipe()?;
    let mut queue = Queue::new(ground, lock, &format!("crowd-{waiters}-{time}"))?;
    queue.hold(&gate)?;
    for _ in 0..waiters {
        queue.wait_in_line(&gate)?;
    }
    drop(gate);
    thread::sleep(REST);
    let pids: Vec<u32> = queue.members.iter().skip(1).map(std::process::Child::id).collect();
    let ticks = if watched { ticks_while_watched(&pids)? } else { 0 };

    let turns = waiters.div_ceil(2).min(LOOKED_AT);
    let before: Vec<u64> = pids.iter().map(|pid| sleeps(*pid)).collect();
    key.write_all(&vec![b'\n'; turns])?;
    until("not all had their turn", || {
        Ok(queue.stamps()?.len() == turns && queue.parked()? == waiters - turns)
    })?;
    thread::sleep(REST);
    let woken = pids.iter().zip(before).filter(|(pid, before)| sleeps(**pid) != *before).count();
    drop(key);

    let stamps = queue.end()?;
    Ok(Seen {
        handover_ms: handovers(&stamps),
        out_of_order: out_of_order(&stamps),
        ticks,
        woken: woken as f64 / turns as f64,
    })
}

/// How many pairs entered the other way round than they joined.
fn out_of_order(stamps: &[Stamp]) -> usize {
    let later = |(index, stamp): (usize, &Stamp)| {
        stamps[index + 1..].iter().filter(|after| after.who < stamp.who).count()
    };
    stamps.iter().enumerate().map(later).sum()
}

fn ticks_while_watched(pids: &[u32]) -> anyhow::Result<u64> {
    let used = || pids.iter().map(|pid| ticks(&fs::read_to_string(format!("/proc/{pid}/stat"))?)).sum();
    let before: anyhow::Result<u64> = used();
    thread::sleep(WATCHED);
    let after: anyhow::Result<u64> = used();
    Ok(after?.saturating_sub(before?))
}

/// The ticks that a process has used in user and in kernel mode, from its line in `/proc`.
fn ticks(stat: &str) -> anyhow::Result<u64> {
    // The command's name, in parentheses, may contain anything. After it comes the third field; these are 14 and 15.
    let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ').skip(11).take(2);
    Ok(fields.map(str::parse::<u64>).sum::<Result<u64, _>>()?)
}

/// How often the threads of a process have gone to sleep so far; of one that has ended, a number that it never had.
fn sleeps(pid: u32) -> u64 {
    let of = |thread: fs::DirEntry| {
        let status = fs::read_to_string(thread.path().join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        line.trim().parse::<u64>().ok()
    };
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok();
    let all = threads.and_then(|threads| threads.flatten().map(of).sum::<Option<u64>>());
    all.unwrap_or(u64::MAX)
}

fn plot(lines: BTreeMap<(usize, &str), Vec<(f64, f64)>>) -> Plot {
    let curve = |((percent, lock), points): ((usize, &str), _)| match percent {
        50 => Curve { label: format!("{lock}, median"), color: color(lock), points },
        _ => Curve { label: format!("{lock}, slowest 1 %"), color: color(lock) + 3, points },
    };
    let lines: Vec<Curve> = lines.into_iter().map(curve).collect();
    Plot::new(
        "Hand-over in a crowd",
        "From one section's end to the next one's beginning, over the number of those who wait.",
        curves(&lines, "waiters (logarithmic)", time),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_overtaken_counts_once_for_each_that_overtook() {
        let order = |who: &[usize]| {
            let stamps: Vec<Stamp> = who.iter().map(|who| Stamp { who: *who, entered: 0, left: 0 }).collect();
            out_of_order(&stamps)
        };
        assert_eq!(order(&[0, 1, 2, 3]), 0);
        assert_eq!(order(&[0, 2, 3, 1]), 2);
        assert_eq!(order(&[3, 2, 1, 0]), 6);
    }

    #[test]
    fn a_process_is_counted_whatever_it_is_called() -> anyhow::Result<()> {
        let stat = "12 (a) b) S 1 12 12 0 -1 4194560 95 0 0 0 7 5 0 0 20 0 1 0";
        assert_eq!(ticks(stat)?, 12);
        Ok(())
    }

    #[test]
    fn one_who_has_ended_is_told_from_one_who_sleeps_on() -> anyhow::Result<()> {
        let mut sleeper = std::process::Command::new("sleep").arg("60").spawn()?;
        let before = sleeps(sleeper.id());
        sleeper.kill()?;
        sleeper.wait()?;
        assert!(before < u64::MAX);
        assert_eq!(sleeps(sleeper.id()), u64::MAX);
        Ok(())
    }
}
