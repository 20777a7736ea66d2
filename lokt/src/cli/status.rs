//! `lokt status`: what is held, by whom, since when.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Map, Value, json};
use unicode_width::UnicodeWidthStr;

use super::output::{Output, Report, is_expired, left_sec, pid_status, whole_seconds};
use super::screen::padded;
use super::values::name;
use crate::locks::Status;
use crate::protocol::{Authority, Freeze, Kind, Name, Now, Record, Refusal, Slot, Standing, format_duration};
use crate::{Error, Locks, words};

/// Show what is held, by whom, since when
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  lokt status\n  lokt status deploy --json\n  lokt status --prune-expired"
)]
pub(super) struct Args {
    /// Only this lock
    #[arg(value_parser = name)]
    name: Option<Name>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Remove locks whose lease has lapsed
    #[arg(long)]
    prune_expired: bool,
}

pub(super) fn run(locks: &Locks, args: &Args) -> Result<Report, Error> {
    super::tidy(locks);
    match &args.name {
        Some(name) => one(locks, name, args),
        None => all(locks, args),
    }
}

fn one(locks: &Locks, name: &Name, args: &Args) -> Result<Report, Error> {
    let status = locks.status(name)?;
    let view = &status.view;
    if args.prune_expired && is_expired(&view.standing) && locks.break_stale(name).is_ok() {
        return Ok(Report::ok(if args.json {
            Output::Json(json!({ "status": "pruned", "name": name.as_str() }))
        } else {
            Output::Text(format!("pruned expired lock \"{name}\""))
        }));
    }
    match &view.slot {
        Slot::Record(record) => Ok(Report::ok(if args.json {
            Output::Json(object(record, &status))
        } else {
            Output::Text(details(record, &status))
        })),
        Slot::Empty => {
            let mut report = Report::failed(&Error::refused(name, Refusal::NotFound, view.now.clone()));
            if let Some(freeze) = &view.freeze {
                report.messages.push(format!("lock \"{name}\" is {}", words::frozen(freeze, &view.now)));
            }
            Ok(report)
        }
        _ => Err(Error::refused(name, Refusal::Unusable(view.standing.clone()), view.now.clone())),
    }
}

fn all(locks: &Locks, args: &Args) -> Result<Report, Error> {
    let mut pruned = Vec::new();
    let mut shown = Vec::new();
    for status in locks.list()? {
        let expired = args.prune_expired && is_expired(&status.view.standing);
        if expired && locks.unlock(&status.name, Authority::Stale).is_ok() {
            pruned.push(status.name);
        } else {
            shown.push(status);
        }
    }
    if args.json {
        let objects: Vec<Value> = shown.iter().flat_map(objects).collect();
        return Ok(Report::ok(Output::Json(Value::Array(objects))));
    }
    let mut text = String::new();
    for name in &pruned {
        let _ = writeln!(text, "pruned: {name} (expired)");
    }
    let lines: Vec<Line> = shown.iter().flat_map(lines).collect();
    text.push_str(&table(&lines));
    if !pruned.is_empty() {
        let _ = writeln!(text, "\npruned {} expired lock(s)", pruned.len());
    } else if lines.is_empty() {
        text.push_str("no locks");
    }
    Ok(Report::ok(Output::Text(text)))
}

/// One lock in full.
fn details(record: &Record, status: &Status) -> String {
    let view = &status.view;
    let mut text = String::new();
    let mut put = |label: &str, value: String| {
        let label = if label.is_empty() { String::new() } else { format!("{label}:") };
        text.push_str(&format!("{label:<10}{value}\n"));
    };
    put("name", status.name.to_string());
    put("state", words::state(&view.standing, view.freeze.is_some()).to_owned());
    put("owner", words::printable(&record.owner));
    if !record.agent_id.is_empty() {
        put("agent", words::printable(&record.agent_id));
    }
    put("host", words::printable(&record.host));
    put(
        "pid",
        match (record.pid, record.kind) {
            (0, Some(Kind::Manual)) => "none (locked by hand)".to_owned(),
            (pid, _) => format!("{pid} ({})", pid_status(&view.standing)),
        },
    );
    put("age", format_duration(record.age(&view.now)));
    if let Some(note) = &record.note {
        put("note", words::printable(note));
    }
    if let Some(ttl) = record.ttl() {
        put("ttl", format_duration(ttl));
    }
    if let Some(expiry) = &record.expires_at {
        let left = match &view.standing {
            Standing::Held { lapse, .. } => lapse.left().unwrap_or_default(),
            _ => Duration::ZERO,
        };
        let when = if is_expired(&view.standing) {
            "EXPIRED".to_owned()
        } else {
            format!("in {}", format_duration(left))
        };
        put("expires", format!("{} ({when})", words::printable(&whole_seconds(expiry))));
    }
    if let Some(token) = record.token {
        put("token", token.to_string());
    }
    if !record.lock_id.is_empty() {
        put("lock-id", words::printable(&record.lock_id));
    }
    if let Some(freeze) = &view.freeze {
        put("frozen", words::frozen(freeze, &view.now));
    }
    for (place, waiter) in status.waiters.iter().enumerate() {
        let label = if place == 0 { "waiting" } else { "" };
        let person = words::owner_at_host(&waiter.owner, &waiter.host);
        let value = format!(
            "{}. {person}, pid {}, for {}",
            place + 1,
            waiter.pid,
            waited(&waiter.since_ts, &view.now)
        );
        put(label, value);
    }
    text
}

fn waited(since: &str, now: &Now) -> String {
    let waited = since.parse::<jiff::Timestamp>().ok().map(|since| now.wall.duration_since(since));
    format_duration(waited.and_then(|waited| Duration::try_from(waited).ok()).unwrap_or_default())
}

/// A line of the list: a lock, or a freeze.
struct Line {
    name: String,
    person: String,
    rest: String,
}

/// The lines, in columns as wide as they need to be.
fn table(lines: &[Line]) -> String {
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
fn lines(status: &Status) -> Vec<Line> {
    let view = &status.view;
    let mut lines = Vec::new();
    match &view.slot {
        Slot::Record(record) => {
            let mark = match &view.standing {
                standing if is_expired(standing) => " [EXPIRED]",
                Standing::Abandoned(_) => " [DEAD]",
                _ => "",
            };
            let mut line = line(status, record, mark);
            if !status.waiters.is_empty() {
                let _ = write!(line.rest, " ({} waiting)", status.waiters.len());
            }
            if let Some(note) = &record.note {
                let _ = write!(line.rest, "  {}", words::printable(note));
            }
            lines.push(line);
        }
        Slot::Empty => {}
        _ => lines.push(Line {
            name: status.name.to_string(),
            person: "-".to_owned(),
            rest: format!("[{}]", words::state(&view.standing, false).to_uppercase()),
        }),
    }
    if let Some(freeze) = &view.freeze {
        lines.push(line(status, &freeze.record, " [FROZEN]"));
    }
    lines
}

fn line(status: &Status, record: &Record, mark: &str) -> Line {
    let age = format_duration(record.age(&status.view.now));
    Line {
        name: status.name.to_string(),
        person: words::owner_at_host(&record.owner, &record.host),
        rest: format!("{age}{mark}"),
    }
}

/// A name's objects in the list: its lock, its freeze.
fn objects(status: &Status) -> Vec<Value> {
    let mut objects = Vec::new();
    match &status.view.slot {
        Slot::Record(record) => objects.push(object(record, status)),
        Slot::Empty => {}
        _ => {
            let state = words::state(&status.view.standing, false);
            objects.push(json!({ "name": status.name.as_str(), "state": state }));
        }
    }
    objects.extend(status.view.freeze.as_ref().map(|freeze| frozen(freeze, status)));
    objects
}

/// The Go tool's fields, then ours.
fn object(record: &Record, status: &Status) -> Value {
    let view = &status.view;
    let mut fields = common(record, status, &view.standing);
    let mut put = |key: &str, value: Value| drop(fields.insert(key.to_owned(), value));
    put("state", json!(words::state(&view.standing, view.freeze.is_some())));
    if let Some(kind) = record.kind {
        put("kind", json!(kind));
    }
    if !record.lock_id.is_empty() {
        put("lock_id", json!(record.lock_id));
    }
    if let Some(token) = record.token {
        put("token", json!(token));
    }
    if let Some(note) = &record.note {
        put("note", json!(note));
    }
    if let Some(left) = left_sec(&view.standing) {
        put("remaining_sec", json!(left));
    }
    let waiters: Vec<Value> = status
        .waiters
        .iter()
        .map(|waiter| {
            json!({
                "owner": waiter.owner,
                "host": waiter.host,
                "pid": waiter.pid,
                "agent_id": waiter.agent_id,
                "since_ts": whole_seconds(&waiter.since_ts),
            })
        })
        .collect();
    put("waiters", json!(waiters));
    Value::Object(fields)
}

fn common(record: &Record, status: &Status, standing: &Standing) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut put = |key: &str, value: Value, shown: bool| {
        if shown {
            fields.insert(key.to_owned(), value);
        }
    };
    put("version", json!(record.version), true);
    put("name", json!(status.name.as_str()), true);
    put("owner", json!(record.owner), true);
    put("host", json!(record.host), true);
    put("pid", json!(record.pid), true);
    put("pid_start_ns", json!(record.pid_start_ns), record.pid_start_ns.is_some());
    put("agent_id", json!(record.agent_id), !record.agent_id.is_empty());
    put("acquired_ts", json!(whole_seconds(&record.acquired_ts)), true);
    put("ttl_sec", json!(record.ttl_sec), record.ttl_sec.is_some());
    put("expires_at", json!(record.expires_at.as_deref().map(whole_seconds)), record.expires_at.is_some());
    put("age_sec", json!(record.age(&status.view.now).as_secs()), true);
    put("expired", json!(is_expired(standing)), true);
    put("pid_status", json!(pid_status(standing)), true);
    fields
}

fn frozen(freeze: &Freeze, status: &Status) -> Value {
    let mut fields = common(&freeze.record, status, &Standing::Free);
    fields.insert("freeze".into(), json!(true));
    Value::Object(fields)
}
