//! What a section found: tables and a plot for people, values for the targets, and every time that was measured.

use std::collections::BTreeMap;

use serde::Serialize;

use super::rounds::{Quartiles, Row, outliers};
use crate::page::plot::Series;
use crate::section::{Section, Table};
use crate::stats::{percentile, time};

/// So many outliers in a hundred are said.
const FEW_PERCENT: usize = 5;

/// Microseconds that a file may take to be created; usual are 5 to 15.
const SLOW_CREATION: f64 = 30.0;

#[derive(Serialize)]
pub struct Found {
    #[serde(flatten)]
    pub section: Section,
    /// Ratios and counts by name, as they are; some of them have a target.
    pub values: BTreeMap<String, f64>,
    /// Every time, in milliseconds, in the order in which they were measured.
    pub samples: BTreeMap<String, Vec<f64>>,
    /// What a reader has to know.
    pub warnings: Vec<String>,
    /// Whether it could not be measured though it should.
    pub failed: bool,
}

impl Found {
    pub fn new(name: &'static str, title: &str) -> Self {
        let section = Section {
            name,
            title: title.to_owned(),
            command: format!("cargo xtask bench --only {name}"),
            passed: true,
            verdict: String::new(),
            seconds: 0.0,
            figures: Vec::new(),
            tables: Vec::new(),
            plots: Vec::new(),
        };
        Self {
            section,
            values: BTreeMap::new(),
            samples: BTreeMap::new(),
            warnings: Vec::new(),
            failed: false,
        }
    }

    /// A section that could not be measured though it should.
    pub fn failed(name: &'static str, error: &anyhow::Error) -> Self {
        let mut found = Self::new(name, &format!("{name} could not be measured"));
        found.section.verdict = format!("{error:#}");
        found.failed = true;
        found
    }

    /// Takes down how many microseconds it took to create a file before anything was measured.
    pub fn began_where_a_file_takes(&mut self, creation: f64) {
        self.value("microseconds to create a file, before", creation);
        if creation > SLOW_CREATION {
            self.warnings.push(format!(
                "it took {creation:.0} µs to create a file: ext4 does that for minutes after many were deleted, and a \
                 lock pays for it there; wait, or use another file system (TMPDIR=/dev/shm)"
            ));
        }
    }

    pub fn value(&mut self, name: impl Into<String>, value: f64) {
        self.values.insert(name.into(), value);
    }

    /// The ratio of a row to what it was compared with, as a value, if it was measured.
    pub fn ratio(&mut self, rows: &[Row], of: &str, name: &str) {
        let row = rows.iter().find(|row| row.key == of);
        let ratio = row.and_then(|row| percentile(&row.ratios(), 50));
        self.values.extend(ratio.map(|ratio| (name.to_owned(), ratio)));
    }

    /// The times of some rows as a table, beside those of what they were compared with. Rows under a title that was
    /// there already are added to it.
    pub fn rows(&mut self, title: &str, base: &Row, rows: &[Row]) {
        let ratio = format!("ratio to {}", base.key);
        let columns = ["command", &ratio, "median", "10 % to 90 %", "least", "outliers"];
        let before = self.section.tables.pop_if(|table| table.title == title);
        let mut table = before.unwrap_or_else(|| Table::new(title, &columns));
        for row in rows.iter().chain([base]) {
            let at = |percent| percentile(&row.ms, percent).map_or("-".to_owned(), time);
            let ratio = Quartiles::of(&row.ratios());
            table.rows.push(vec![
                row.label.clone(),
                ratio.map_or("1".to_owned(), |ratio| ratio.to_string()),
                at(50),
                format!("{}–{}", at(10), at(90)),
                at(0),
                outliers(&row.ms).to_string(),
            ]);
            self.samples.insert(format!("{title}: {}", row.label), row.ms.clone());
        }
        self.section.tables.push(table);
        self.warnings.extend(disturbed(title, rows));
    }
}

/// Says so if the times of some commands have more than a few outliers.
fn disturbed(title: &str, rows: &[Row]) -> Option<String> {
    let far = rows.iter().map(|row| (outliers(&row.ms), row));
    let many: Vec<(usize, &Row)> = far.filter(|(far, row)| far * 100 > row.ms.len() * FEW_PERCENT).collect();
    let (far, worst) = many.iter().max_by_key(|(far, _)| far)?;
    Some(format!(
        "{title}: {} of {} commands have more than {FEW_PERCENT} % outliers, {} {far} in {}: something else ran",
        many.len(),
        rows.len(),
        worst.label,
        worst.ms.len()
    ))
}

/// Colours that mean the same in every plot.
pub fn color(label: &str) -> usize {
    let known = ["lokt", "flock", "setlock"].iter().position(|name| label.starts_with(name));
    known.unwrap_or(5)
}

/// The rounds' ratios of rows, for a plot.
pub fn ratio_series(rows: &[Row]) -> Vec<Series> {
    let series =
        |row: &Row| Series { label: row.label.clone(), color: color(&row.label), values: row.ratios() };
    rows.iter().map(series).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ms: &[f64]) -> Row {
        let mut row = Row::new("key", "command", std::process::Command::new("true"));
        row.ms = ms.to_vec();
        row
    }

    #[test]
    fn a_few_outliers_are_nobodys_business() {
        let mut ms: Vec<f64> = (0..100).map(|n| 1.0 + f64::from(n % 7) / 100.0).collect();
        ms[..5].fill(50.0);
        assert_eq!(disturbed("title", &[row(&ms)]), None);
        ms[5] = 50.0;
        let said = disturbed("title", &[row(&[1.0]), row(&ms)]).unwrap_or_default();
        assert!(said.contains("1 of 2 commands") && said.contains("command 6 in 100"), "{said}");
    }

    #[test]
    fn a_file_system_that_is_slow_just_now_is_told() {
        let mut found = Found::new("names", "");
        found.began_where_a_file_takes(9.3);
        assert_eq!(found.warnings, Vec::<String>::new());
        found.began_where_a_file_takes(79.0);
        assert!(found.warnings[0].contains("79 µs"), "{:?}", found.warnings);
    }

    #[test]
    fn rows_of_one_title_make_one_table() {
        let mut found = Found::new("names", "");
        for title in ["a", "a", "b"] {
            found.rows(title, &row(&[1.0]), &[row(&[2.0])]);
        }
        let sizes: Vec<usize> = found.section.tables.iter().map(|table| table.rows.len()).collect();
        assert_eq!(sizes, [4, 2]);
        assert_eq!(found.section.tables[0].columns[1], "ratio to key");
    }
}
