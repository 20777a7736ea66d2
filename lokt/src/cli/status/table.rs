//! The list as a table for people.

use anstyle::Style;

use crate::cli::screen::{BAD, DIM, FROZEN, GOOD, HELD, STRONG, Screen};
use crate::cli::table::{Cell, Give, Table};
use crate::locks::Status;
use crate::protocol::{Freeze, Record, Standing, Stored};
use crate::words;

const TITLES: [&str; 9] = ["NAME", "STATE", "HOLDER", "AGENT", "PID", "AGE", "LEFT", "WAITING", "NOTE"];

/// What gives way on a narrow terminal. A person asks what is held, by whom, and for how long; then how it is meant. So the
/// note is cut first, and names last: but none so long that it takes the place of all else.
const GIVES: [Give; 18] = [
    Give::Cut("NOTE", 30),
    Give::Leave("PID"),
    Give::Cut("AGENT", 8),
    Give::Cut("NOTE", 12),
    Give::Leave("AGENT"),
    Give::Cut("HOLDER", 32),
    Give::Cut("NAME", 48),
    Give::Leave("NOTE"),
    Give::Leave("LEFT"),
    Give::Cut("HOLDER", 12),
    Give::Cut("NAME", 24),
    Give::Leave("WAITING"),
    Give::Cut("HOLDER", 8),
    Give::Cut("NAME", 16),
    Give::Leave("AGE"),
    Give::Cut("NAME", 8),
    Give::Leave("HOLDER"),
    Give::Cut("STATE", 4),
];

/// A row: a lock, or a freeze.
pub(super) struct Row {
    state: &'static str,
    cells: [Cell; 9],
}

/// The rows, in the order of the names.
pub(super) fn rows(statuses: &[Status]) -> Vec<Row> {
    statuses.iter().flat_map(rows_of).collect()
}

/// The rows below their headings.
pub(super) fn render<'a>(rows: impl IntoIterator<Item = &'a Row>, screen: Screen) -> String {
    let mut table = Table::new(&TITLES, &GIVES);
    rows.into_iter().for_each(|row| table.row(row.cells.clone()));
    table.render(screen)
}

/// How many there are of each state: `3 held, 1 frozen`.
pub(super) fn counts(rows: &[Row], screen: Screen) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for row in rows {
        match counts.iter_mut().find(|(state, _)| *state == row.state) {
            Some((_, count)) => *count += 1,
            None => counts.push((row.state, 1)),
        }
    }
    let said: Vec<String> =
        counts.iter().map(|(state, count)| screen.paint(style(state), &format!("{count} {state}"))).collect();
    if said.is_empty() { "no locks".to_owned() } else { said.join(", ") }
}

/// The colour of a state.
pub(super) fn style(state: &str) -> Style {
    match state {
        "held" => HELD,
        "frozen" => FROZEN,
        "free" | "starting" => GOOD,
        _ => BAD,
    }
}

/// A name's rows: its lock, its freeze.
fn rows_of(status: &Status) -> Vec<Row> {
    let view = &status.view;
    let mut rows = Vec::new();
    rows.extend(view.held_by().map(|(record, standing)| lock(status, record, standing)));
    if rows.is_empty() && view.stored != Stored::Empty {
        rows.push(row(status, words::state(&view.standing, false), None, String::new()));
    }
    rows.extend(view.freeze.as_ref().map(|freeze| frozen(status, freeze)));
    rows
}

fn lock(status: &Status, record: &Record, standing: &Standing) -> Row {
    let left = standing.left().map(words::short);
    row(status, words::state(standing, false), Some(record), left.unwrap_or_default())
}

fn frozen(status: &Status, freeze: &Freeze) -> Row {
    let left = freeze.left.map(words::short).unwrap_or_default();
    row(status, words::state(&Standing::Free, true), Some(&freeze.record), left)
}

fn row(status: &Status, state: &'static str, record: Option<&Record>, left: String) -> Row {
    let text = |of: &dyn Fn(&Record) -> String| record.map(of).unwrap_or_default();
    let holder = text(&|record| words::owner_at_host(&record.owner, &record.host));
    let agent = text(&|record| words::agent(record).unwrap_or_default());
    let pid = text(&|record| if record.pid == 0 { String::new() } else { record.pid.to_string() });
    let age = text(&|record| words::short(record.age(&status.view.now)));
    let note = text(&|record| words::printable(record.note.as_deref().unwrap_or_default()));
    let waiting = match status.waiters.len() {
        count @ 1.. if state != "frozen" => count.to_string(),
        _ => String::new(),
    };
    let together = words::together(status.view.mode(), status.view.count());
    let shown = match together.filter(|_| state != "frozen") {
        Some(together) => format!("{state} {together}"),
        None => state.to_owned(),
    };
    let cells = [
        Cell::new(status.name.as_str(), STRONG),
        Cell::new(shown, style(state)),
        Cell::from(holder),
        Cell::from(agent),
        Cell::new(pid, DIM),
        Cell::from(age),
        Cell::from(left),
        Cell::from(waiting),
        Cell::new(note, DIM),
    ];
    Row { state, cells }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_long_name_and_holder_leave_room_for_what_a_waiter_needs() {
        let (name, holder) = ("n".repeat(60), format!("{}@host", "o".repeat(112)));
        let texts = [&*name, "held", &holder, "", "4711", "4m10s", "12m3s", "2", "release 2.1"];
        let row = Row { state: "held", cells: texts.map(Cell::from) };
        let text = render([&row], Screen { columns: Some(200), colour: false });
        for shown in [&*name, "12m3s", "release 2.1", "ooooo…"] {
            assert!(text.contains(shown), "{shown}:\n{text}");
        }
    }
}
