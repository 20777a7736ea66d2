//! The library's own benches, beside the bare system calls that each operation can't do without.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use serde::Deserialize;
use xshell::{Shell, cmd};

use super::found::Found;
use crate::paths;
use crate::section::Table;
use crate::stats::time;

/// Where criterion says which bench it was.
#[derive(Deserialize)]
struct Benchmark {
    group_id: String,
    function_id: Option<String>,
}

/// Where it says what came of it; times are in nanoseconds.
#[derive(Deserialize)]
struct Estimates {
    median: Estimate,
}

#[derive(Deserialize)]
struct Estimate {
    point_estimate: f64,
    confidence_interval: Interval,
}

#[derive(Deserialize)]
struct Interval {
    lower_bound: f64,
    upper_bound: f64,
}

struct Measured {
    group: String,
    function: String,
    median: Estimate,
}

pub fn measure(sh: &Shell) -> anyhow::Result<Found> {
    let mut found = Found::new("library", "The library, without processes");
    if !paths::workspace().join("lokt/benches").is_dir() {
        found.section.verdict = "there are no benches in lokt/benches: nothing was measured".to_owned();
        found.warnings.push(found.section.verdict.clone());
        return Ok(found);
    }
    let results = paths::target().join("criterion");
    // What an older version measured is no result of this one.
    sh.remove_path(&results)?;
    // It tells of every step; what counts is in its files.
    let ran = cmd!(sh, "cargo bench --quiet --package lokt").quiet().ignore_status().output()?;
    ensure!(ran.status.success(), "cargo bench: {}", String::from_utf8_lossy(&ran.stderr).trim());
    let measured = read(&results)?;
    found.section.tables.push(table(&measured, &mut found.values));
    Ok(found)
}

/// All results, sorted by group and function.
fn read(dir: &Path) -> anyhow::Result<Vec<Measured>> {
    let below = |dir: &Path| -> Vec<_> {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    };
    let benches = below(dir).into_iter().flat_map(|group| below(&group)).map(|bench| bench.join("new"));
    let mut all = Vec::new();
    for bench in benches.filter(|bench| bench.is_dir()) {
        let text = |file: &str| {
            let path = bench.join(file);
            fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))
        };
        let which: Benchmark = serde_json::from_str(&text("benchmark.json")?)?;
        let came_of_it: Estimates = serde_json::from_str(&text("estimates.json")?)?;
        all.push(Measured {
            group: which.group_id,
            function: which.function_id.unwrap_or_default(),
            median: came_of_it.median,
        });
    }
    all.sort_by(|a, b| (&a.group, &a.function).cmp(&(&b.group, &b.function)));
    Ok(all)
}

/// The bare system calls that a function is compared with.
fn floor_of(function: &str) -> String {
    if function == "acquire_release" { "floor".to_owned() } else { format!("{function}_floor") }
}

fn table(all: &[Measured], values: &mut std::collections::BTreeMap<String, f64>) -> Table {
    let mut table = Table::new("By criterion", &["bench", "median", "95 % confidence", "ratio to its floor"]);
    for one in all {
        let floor_name = floor_of(&one.function);
        let floor = all.iter().find(|other| other.group == one.group && other.function == floor_name);
        let ratio = floor.map(|floor| one.median.point_estimate / floor.median.point_estimate);
        values.extend(ratio.map(|ratio| (format!("{} / {floor_name}", one.function), ratio)));
        let ns = |ns: f64| if ns < 1_000.0 { format!("{ns:.1} ns") } else { time(ns / 1e6) };
        let Interval { lower_bound, upper_bound } = one.median.confidence_interval;
        table.rows.push(vec![
            format!("{} {}", one.group, one.function),
            ns(one.median.point_estimate),
            format!("{}–{}", ns(lower_bound), ns(upper_bound)),
            ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}")),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plant(dir: &Path, group: &str, function: &str, median: f64) -> anyhow::Result<()> {
        let new = dir.join(group).join(function).join("new");
        fs::create_dir_all(&new)?;
        let which = format!(r#"{{"group_id":"{group}","function_id":"{function}","value_str":null}}"#);
        fs::write(new.join("benchmark.json"), which)?;
        let interval = r#"{"confidence_level":0.95,"lower_bound":1.0,"upper_bound":2000.0}"#;
        let median = format!(r#"{{"confidence_interval":{interval},"point_estimate":{median:.1}}}"#);
        fs::write(new.join("estimates.json"), format!(r#"{{"mean":{median},"median":{median}}}"#))?;
        Ok(())
    }

    #[test]
    fn results_of_criterion_are_compared_with_their_floors() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        plant(dir.path(), "lock", "acquire_release", 90_000.0)?;
        plant(dir.path(), "lock", "floor", 45_000.0)?;
        plant(dir.path(), "lock", "read", 30.0)?;
        plant(dir.path(), "lock", "read_floor", 20.0)?;
        fs::create_dir_all(dir.path().join("lock/report"))?;
        let mut values = std::collections::BTreeMap::new();
        let table = table(&read(dir.path())?, &mut values);
        assert_eq!(values.get("acquire_release / floor"), Some(&2.0));
        assert_eq!(values.get("read / read_floor"), Some(&1.5));
        assert_eq!(table.rows[0], ["lock acquire_release", "90.0 µs", "1.0 ns–2.00 µs", "2.00"]);
        assert_eq!(table.rows.len(), 4);
        Ok(())
    }
}
