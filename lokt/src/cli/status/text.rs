//! A status as text for files and programs: one lock in full, and the list in the lines of the Go tool, which scripts
//! take apart.

use std::fmt::Write as _;
use std::time::Duration;

use anstyle::Style;
use unicode_width::UnicodeWidthStr;

use super::table::style;
use crate::cli::fields::{is_expired, pid_status, whole_seconds};
use crate::cli::screen::{DIM, FROZEN, PLAIN, STRONG, Screen, cut, padded};
use crate::locks::Status;
use crate::protocol::{Kind, Mode, Now, Record, Standing, Stored, format_duration};
use crate::words;

/// How wide the labels are.
const LABEL: usize = 10;

/// One lock in full, each line cut to the screen's width.
pub(super) fn details(status: &Status, screen: Screen) -> String {
    let view = &status.view;
    let alone = view.held_by().next().filter(|_| view.mode() == Mode::Exclusive).map(|(record, _)| record);
    let mut text = String::new();
    let mut put = |label: &str, value: String, look| {
        let label = if label.is_empty() { String::new() } else { format!("{label}:") };
        let label = screen.paint(DIM, &format!("{label:<LABEL$}"));
        let room = screen.columns.map_or(usize::MAX, |columns| columns.saturating_sub(LABEL));
        let _ = writeln!(text, "{label}{}", screen.paint(look, &cut(&value, room)));
    };
    put("name", status.name.to_string(), STRONG);
    let state = words::state(&view.standing, view.freeze.is_some());
    put("state", state.to_owned(), style(state));
    match alone {
        Some(record) => holder(record, status, &mut put),
        None => holders(status, &mut put),
    }
    if let Some(freeze) = &view.freeze {
        put("frozen", words::frozen(freeze, &view.now), FROZEN);
    }
    for (place, waiter) in waiters(status).into_iter().enumerate() {
        put(if place == 0 { "waiting" } else { "" }, waiter, PLAIN);
    }
    text
}

/// Puts a line with a label.
type Put<'a> = &'a mut dyn FnMut(&str, String, Style);

/// One who holds it alone.
fn holder(record: &Record, status: &Status, put: Put<'_>) {
    let view = &status.view;
    put("owner", words::printable(&record.owner), PLAIN);
    if !record.agent_id.is_empty() {
        put("agent", words::printable(&record.agent_id), PLAIN);
    }
    put("host", words::printable(&record.host), PLAIN);
    put("pid", process(record, &view.standing), PLAIN);
    put("age", words::span(record.age(&view.now)), PLAIN);
    if let Some(note) = &record.note {
        put("note", words::printable(note), PLAIN);
    }
    if let Some(ttl) = record.ttl() {
        put("ttl", words::exactly(ttl), PLAIN);
    }
    if let Some(expiry) = &record.expires_at {
        let look = if is_expired(&view.standing) { style("expired") } else { PLAIN };
        put("expires", expires(expiry, &view.standing), look);
    }
    if let Some(token) = record.token {
        put("token", token.to_string(), PLAIN);
    }
    if !record.lock_id.is_empty() {
        put("lock-id", words::printable(&record.lock_id), PLAIN);
    }
}

/// Those who hold it together: who, then what tells them apart.
fn holders(status: &Status, put: Put<'_>) {
    let view = &status.view;
    if let Some(together) = words::together(view.mode(), view.count()) {
        put("holders", together, PLAIN);
    }
    for (record, standing) in view.held_by() {
        let label = record.slot.map_or_else(|| "holder".to_owned(), |slot| format!("slot {slot}"));
        let state = words::state(standing, false);
        let mut who = words::holder(record, standing, &view.now);
        if standing.is_abandoned() {
            who += &format!(", {state}");
        }
        put(&label, who, style(state));
        let token = record.token.map(|token| format!("token {token}, ")).unwrap_or_default();
        put("", format!("{token}lock-id {}", words::printable(&record.lock_id)), PLAIN);
    }
    for untold in view.holders.iter().filter(|one| one.record().is_none()) {
        put("holder", words::untold(&untold.standing), style(words::state(&untold.standing, false)));
        put("", format!("lock-id {}", untold.id), PLAIN);
    }
}

fn process(record: &Record, standing: &Standing) -> String {
    match (record.pid, record.kind) {
        (0, Some(Kind::Manual)) => "none (locked by hand)".to_owned(),
        (pid, _) => format!("{pid} ({})", pid_status(standing)),
    }
}

fn expires(expiry: &str, standing: &Standing) -> String {
    let left = standing.left().unwrap_or_default();
    let when = if is_expired(standing) { "EXPIRED".to_owned() } else { format!("in {}", words::span(left)) };
    format!("{} ({when})", words::printable(&whole_seconds(expiry)))
}

/// Those in line, by their places.
fn waiters(status: &Status) -> Vec<String> {
    let one = |(place, waiter): (usize, &crate::store::Waiter)| {
        let person = words::owner_at_host(&waiter.owner, &waiter.host);
        let waited = waited(&waiter.since_ts, &status.view.now);
        format!("{}. {person}, pid {}, for {waited}", place + 1, waiter.pid)
    };
    status.waiters.iter().enumerate().map(one).collect()
}

fn waited(since: &str, now: &Now) -> String {
    let waited = since.parse::<jiff::Timestamp>().ok().map(|since| now.wall.duration_since(since));
    words::span(waited.and_then(|waited| Duration::try_from(waited).ok()).unwrap_or_default())
}

/// A line of the list: a lock, or a freeze.
struct Line {
    name: String,
    person: String,
    rest: String,
}

/// The list; empty without locks.
pub(super) fn lines(statuses: &[Status]) -> String {
    let lines: Vec<Line> = statuses.iter().flat_map(lines_of).collect();
    // As wide as the Go tool has it, if that will do.
    let name = lines.iter().map(|line| line.name.width()).fold(20, usize::max);
    let person = lines.iter().map(|line| line.person.width()).fold(0, usize::max);
    let mut text = String::new();
    for line in lines {
        let row = format!("{}  {}  {}", padded(&line.name, name), padded(&line.person, person), line.rest);
        let _ = writeln!(text, "{}", row.trim_end());
    }
    text
}

/// A name's lines in the list: its lock, its freeze.
fn lines_of(status: &Status) -> Vec<Line> {
    let view = &status.view;
    let mut lines = Vec::new();
    let together = words::together(view.mode(), view.count()).map(|how| format!(" [{how}]"));
    for (record, standing) in view.held_by() {
        let mark = match standing {
            standing if is_expired(standing) => " [EXPIRED]",
            Standing::Abandoned(_) => " [DEAD]",
            _ => "",
        };
        let mut line = line(status, record, mark);
        line.rest.push_str(together.as_deref().unwrap_or_default());
        if !status.waiters.is_empty() {
            let _ = write!(line.rest, " ({} waiting)", status.waiters.len());
        }
        line.rest.push_str(&note(record));
        lines.push(line);
    }
    if lines.is_empty() && view.stored != Stored::Empty {
        lines.push(Line {
            name: status.name.to_string(),
            person: "-".to_owned(),
            rest: format!("[{}]", words::state(&view.standing, false).to_uppercase()),
        });
    }
    if let Some(freeze) = &view.freeze {
        let mut line = line(status, &freeze.record, " [FROZEN]");
        line.rest.push_str(&note(&freeze.record));
        lines.push(line);
    }
    lines
}

/// What its holder says about it, at the end of the line.
fn note(record: &Record) -> String {
    record.note.as_ref().map(|note| format!("  {}", words::printable(note))).unwrap_or_default()
}

fn line(status: &Status, record: &Record, mark: &str) -> Line {
    let age = format_duration(record.age(&status.view.now));
    Line {
        name: status.name.to_string(),
        person: words::owner_at_host(&record.owner, &record.host),
        rest: format!("{age}{mark}"),
    }
}
