//! The table at the end of a race: a column per TTL, so that it fits on any terminal.

use super::report::{Report, Summary};
use crate::section::Table;
use crate::stats::{Spread, thousands, time};

/// One row: its name, and its value for a TTL. Also the columns of the table in `report.html`.
pub struct Measure {
    pub group: &'static str,
    pub name: &'static str,
    pub of: fn(&Summary) -> String,
}

/// All that is measured, in the order in which it is shown. Rows of one group stand together.
pub const MEASURES: [Measure; 19] = [
    measure("runs", "all", |s| s.runs.to_string()),
    measure("runs", "passed", |s| s.passed.to_string()),
    measure("runs", "failed", |s| s.failed.to_string()),
    measure("wall time", "p50", |s| show(&s.wall_ms, |t| t.p50)),
    measure("wall time", "p95", |s| show(&s.wall_ms, |t| t.p95)),
    measure("wall time", "max", |s| show(&s.wall_ms, |t| t.max)),
    measure("renewals", "all", |s| thousands(s.renewals as u64)),
    measure("renewals", "least left", |s| show(&s.left_ms, |t| t.min)),
    measure("late by", "p50", |s| show(&s.late_ms, |t| t.p50)),
    measure("late by", "p99", |s| show(&s.late_ms, |t| t.p99)),
    measure("late by", "max", |s| show(&s.late_ms, |t| t.max)),
    measure("breaks", "tried", |s| thousands(s.break_attempts)),
    measure("breaks", "refused", |s| thousands(s.break_refused)),
    measure("breaks", "not made", |s| thousands(s.strikes_missed)),
    measure("breaks", "early", |s| thousands(s.early_breaks)),
    measure("take-over", "p50", |s| show(&s.takeover_ms, |t| t.p50)),
    measure("take-over", "max", |s| show(&s.takeover_ms, |t| t.max)),
    measure("hand-over", "p50", |s| show(&s.handover_ms, |t| t.p50)),
    measure("hand-over", "max", |s| show(&s.handover_ms, |t| t.max)),
];

const fn measure(group: &'static str, name: &'static str, of: fn(&Summary) -> String) -> Measure {
    Measure { group, name, of }
}

fn show(spread: &Option<Spread>, pick: fn(&Spread) -> f64) -> String {
    spread.as_ref().map_or("-".to_owned(), |spread| time(pick(spread)))
}

pub fn of(report: &Report) -> String {
    let header = report.ttls.iter().map(|summary| format!("TTL {}", summary.ttl.label)).collect();
    let mut rows: Vec<(String, Vec<String>)> = vec![(String::new(), header)];
    let mut group = "";
    for measure in &MEASURES {
        let first_of_group = measure.group != group;
        group = measure.group;
        let values = report.ttls.iter().map(measure.of).collect();
        rows.push((format!("{:<9}  {}", if first_of_group { group } else { "" }, measure.name), values));
    }
    aligned(&rows)
}

/// The same for a larger report.
pub fn by_ttl(report: &Report) -> Table {
    let mut table = Table::new("By TTL", &["measure"]);
    table.columns.extend(report.ttls.iter().map(|summary| format!("TTL {}", summary.ttl.label)));
    let row = |measure: &Measure| {
        let name = format!("{}, {}", measure.group, measure.name);
        std::iter::once(name).chain(report.ttls.iter().map(measure.of)).collect()
    };
    table.rows = MEASURES.iter().map(row).collect();
    table
}

/// Names to the left, values to the right of their columns.
fn aligned(rows: &[(String, Vec<String>)]) -> String {
    let width = |text: &String| text.chars().count();
    let name_width = rows.iter().map(|(name, _)| width(name)).max().unwrap_or(0);
    let value_width = rows.iter().flat_map(|(_, values)| values).map(width).max().unwrap_or(0);
    let mut text = String::new();
    for (name, values) in rows {
        let values: String = values.iter().map(|value| format!("  {value:>value_width$}")).collect();
        text += &format!("{name:<name_width$}{values}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_whatever_their_script() {
        let row = |name: &str, values: [&str; 2]| (name.to_owned(), values.map(str::to_owned).to_vec());
        let text = aligned(&[row("", ["TTL 2s", "TTL 3s"]), row("late", ["90 µs", "1.20 ms"])]);
        assert_eq!(text, "       TTL 2s   TTL 3s\nlate    90 µs  1.20 ms\n");
    }
}
