//! Many records and many events: what it costs to list them, beside `ls -l`, and to find the last few.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};

use super::found::Found;
use super::ground::Ground;
use super::rounds::{self, Row};
use crate::page::compare::{Curve, curves};
use crate::section::Plot;
use crate::stats::{percentile, thousands, time};
use crate::tools;

/// How many locks are held; the last not in a quick run.
const RECORDS: [usize; 4] = [10, 1_000, 10_000, 100_000];

/// How many events a log has that is read as a whole.
const EVENTS: [usize; 3] = [10, 1_000, 100_000];

/// How many one has of which the last few are asked for: few, many, and many of a quick run.
const FEW: usize = 1_000;
const MANY: usize = 1_000_000;
const MANY_OF_QUICK: usize = 100_000;

/// The last few.
const RECENT: usize = 6;

/// How much older all others are.
const LONG_AGO: SignedDuration = SignedDuration::from_hours(1);

pub fn measure(ground: &Ground) -> anyhow::Result<Found> {
    let mut found = Found::new("listing", "Many records, many events");
    let (mut status, mut ls) = (Curve::new("lokt status", 0), Curve::new("ls -l of the records", 5));
    let (mut audit, mut since) = (Curve::new("lokt audit, all", 3), Curve::new("lokt audit --since 1m", 2));
    for records in RECORDS.into_iter().filter(|records| !ground.quick || *records <= 10_000) {
        let rows = records_listed(ground, records, &mut found)?;
        status.points.push((records as f64, median(&rows[0])));
        ls.points.push((records as f64, median(&rows[1])));
    }
    growth(&mut found, "status", &status);
    audit.points = logs_read(ground, &mut found)?;
    growth(&mut found, "audit", &audit);
    since.points = recent_found(ground, &mut found)?;
    let caption = "From start to end, with all output read.";
    let drawing = curves(&[status, ls, audit, since], "records or events (logarithmic)", time);
    found.section.plots.push(Plot::new("Time over size", caption, drawing));
    Ok(found)
}

fn median(row: &Row) -> f64 {
    percentile(&row.ms, 50).unwrap_or(f64::NAN)
}

/// The most in relation to the fewest.
fn growth(found: &mut Found, what: &str, curve: &Curve) {
    if let (Some(few), Some(many)) = (curve.points.first(), curve.points.last()) {
        found.value(format!("{what}, {} / {} of them", many.0, few.0), many.1 / few.1);
    }
}

/// What takes longer is run less often.
fn rounds_for(ground: &Ground, size: usize) -> usize {
    let rounds = (200_000 / size).clamp(5, 30);
    if ground.quick { rounds.div_ceil(3) } else { rounds }
}

fn records_listed(ground: &Ground, records: usize, found: &mut Found) -> anyhow::Result<[Row; 2]> {
    let root = ground.root_with(records)?;
    let mut ls = ground.command(&tools::find("ls").context("there is no ls")?);
    ls.arg("-l").arg(root.join("locks"));
    let size = thousands(records as u64);
    let status = ground.lokt(&root, &["status"]);
    // It says first how many blocks they have.
    let mut ls = Row::printing("ls -l", format!("ls -l, {size} records"), ls, records + 1);
    let mut rows = [Row::printing("status", format!("lokt status, {size} records"), status, records)];
    rounds::run(&mut ls, &mut rows, 1, rounds_for(ground, records))?;
    found.rows("Records, listed", &ls, &rows);
    found.ratio(&rows, "status", &format!("status / ls -l, {size} records"));
    let [status] = rows;
    Ok([status, ls])
}

fn logs_read(ground: &Ground, found: &mut Found) -> anyhow::Result<Vec<(f64, f64)>> {
    let row = |(index, events): (usize, &usize)| {
        let root = root_with_log(ground, &format!("log-{events}"), *events)?;
        let command = ground.lokt(&root, &["audit", "--since", "24h"]);
        let label = format!("lokt audit --since 24h, {} events", thousands(*events as u64));
        let key = if index == 0 { "the least" } else { "more" };
        Ok(Row::printing(key, label, command, *events))
    };
    let mut rows: Vec<Row> = EVENTS.iter().enumerate().map(row).collect::<anyhow::Result<_>>()?;
    let (least, more) = rows.split_first_mut().context("there are no logs")?;
    rounds::run(least, more, 1, rounds_for(ground, 10_000))?;
    found.rows("Logs, read as a whole", least, more);
    Ok(EVENTS.iter().zip(&rows).map(|(events, row)| (*events as f64, median(row))).collect())
}

fn recent_found(ground: &Ground, found: &mut Found) -> anyhow::Result<Vec<(f64, f64)>> {
    let many = if ground.quick { MANY_OF_QUICK } else { MANY };
    let root = |key: &'static str, events| {
        anyhow::Ok((key, events, root_with_log(ground, &format!("{key}-events"), events)?))
    };
    let roots = [root("few", FEW)?, root("many", many)?];
    let row = |(key, events, root): &(&'static str, usize, PathBuf)| {
        let label = format!("lokt audit --since 1m, {} events", thousands(*events as u64));
        Row::printing(key, label, ground.lokt(root, &["audit", "--since", "1m"]), RECENT)
    };
    let [mut few, most] = roots.each_ref().map(row);
    let mut most = [most];
    rounds::run(&mut few, &mut most, 2, rounds_for(ground, FEW))?;
    found.rows(&format!("The last {RECENT} events of few and of many"), &few, &most);
    found.ratio(&most, "many", "audit --since, most events / 1,000 events");
    Ok(vec![(FEW as f64, median(&few)), (many as f64, median(&most[0]))])
}

/// A root with a log of so many events, of which the last few are of this moment. They are copies of one that lokt wrote.
fn root_with_log(ground: &Ground, name: &str, events: usize) -> anyhow::Result<PathBuf> {
    let root = ground.path(name);
    ground.run(ground.guard(&ground.lokt, &root, &[]))?;
    let path = root.join("audit.log");
    let written = fs::read_to_string(&path).context("no log was written")?;
    let (head, rest) = written.lines().next().and_then(split).context("the log has an unknown form")?;
    let now = Timestamp::now();
    let begin = now - LONG_AGO - SignedDuration::from_millis(i64::try_from(events)?);
    let mut log = BufWriter::new(File::create(&path).context("failed to write a log")?);
    for number in 0..events {
        let ts = match events - number {
            left if left <= RECENT => now,
            _ => begin + SignedDuration::from_millis(i64::try_from(number)?),
        };
        writeln!(log, "{head}{ts}{rest}")?;
    }
    log.flush()?;
    Ok(root)
}

/// What stands before and after the time of an event.
fn split(line: &str) -> Option<(&str, &str)> {
    let start = line.strip_prefix("{\"ts\":\"")?;
    let end = start.find('"')?;
    Some((&line[..line.len() - start.len()], &start[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_copied_with_another_time() {
        let line = "{\"ts\":\"2026-01-02T03:04:05Z\",\"event\":\"acquire\"}";
        assert_eq!(split(line), Some(("{\"ts\":\"", "\",\"event\":\"acquire\"}")));
        assert_eq!(split("{\"event\":\"acquire\"}"), None);
    }
}
