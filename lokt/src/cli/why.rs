//! `lokt why`: what is in the way, and what to do about it.

use std::fmt::Write as _;

use anstyle::Style;
use serde_json::{Map, Value, json};

use super::exit::Exit;
use super::fields::{freeze_fields, holder_fields, mode_fields, own_fields};
use super::output::{Output, Report};
use super::screen::{BAD, DIM, FROZEN, GOOD, HELD, STRONG, Screen};
use super::values::name;
use crate::host::ProcessState;
use crate::locks::Status;
use crate::protocol::{
    Abandoned, Freeze, Kind, Liveness, Mode, Name, Now, Record, Refusal, Standing, Stored,
};
use crate::store::View;
use crate::{Error, Locks, hints, words};

/// Explain who holds a lock, and what to do next
///
/// Exit code 0 if the name is free; 2 if it is held or frozen, or was left behind by a holder that is gone.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  lokt why deploy\n  lokt why deploy --json")]
pub(super) struct Args {
    /// The lock's name
    #[arg(value_parser = name)]
    name: Name,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One thing that is in the way.
struct Reason {
    kind: &'static str,
    message: String,
    detail: Vec<String>,
    fields: Map<String, Value>,
    suggestions: Vec<String>,
}

impl Reason {
    fn look(&self) -> Style {
        match self.kind {
            "held" => HELD,
            "frozen" => FROZEN,
            _ => BAD,
        }
    }
}

pub(super) fn run(locks: &Locks, args: &Args) -> Result<Report, Error> {
    let status = locks.status(&args.name)?;
    if let Some(kind) = beyond_us(&status.view.standing) {
        return Ok(unusable(kind, &status, args.json));
    }
    let view = &status.view;
    let mut reasons: Vec<Reason> = Vec::new();
    reasons.extend(view.freeze.as_ref().map(|freeze| frozen(freeze, &status)));
    reasons.extend(in_the_way(locks, &status));
    if reasons.is_empty() || is_left_behind(&status) {
        // Who is told that it can be had should get it.
        locks.is_usable(&args.name)?;
    }
    let exit = if reasons.is_empty() { Exit::Ok } else { Exit::Held };
    let result = if args.json {
        Output::Json(object(&status, &reasons))
    } else {
        Output::Text(text(&reasons, &status, Screen::stdout()))
    };
    Ok(Report { exit, ..Report::ok(result) })
}

/// What kind of thing stands in the record's place, if it is one that counts as held, but tells nothing.
fn beyond_us(standing: &Standing) -> Option<&'static str> {
    match standing {
        Standing::Newer(_) => Some("newer"),
        Standing::Unreadable(_) => Some("unreadable"),
        _ => None,
    }
}

fn unusable(kind: &'static str, status: &Status, json: bool) -> Report {
    let refusal = Refusal::Unusable(status.view.standing.clone());
    let error = Error::refused(&status.name, refusal, status.view.now.clone());
    let reason = || Reason {
        kind,
        message: error.to_string(),
        detail: Vec::new(),
        fields: Map::new(),
        suggestions: error.hints(),
    };
    let result = json.then(|| Output::Json(object(status, &[reason()])));
    Report { result, ..Report::failed(&error) }
}

fn frozen(freeze: &Freeze, status: &Status) -> Reason {
    let (record, now, name) = (&freeze.record, &status.view.now, &status.name);
    if let Some(unknown) = &freeze.unknown {
        let said = words::frozen(freeze, now);
        return Reason {
            kind: "frozen",
            message: said.replacen('f', "F", 1),
            detail: vec![said.replacen("frozen", "FROZEN", 1)],
            fields: freeze_fields(freeze, now),
            suggestions: vec![hints::of_unknown(name, unknown)],
        };
    }
    let age = words::span(record.age(now));
    let left = freeze.left.map(words::span);
    let remaining = left.as_ref().map(|left| format!(" ({left} remaining)")).unwrap_or_default();
    let mut detail = vec![format!("FROZEN by {}", words::person(record)), format!("  Age:       {age}")];
    detail.extend(left.as_ref().map(|left| format!("  Remaining: {left}")));
    detail.extend(record.note.as_ref().map(|note| format!("  Note:      {}", words::printable(note))));
    let wait = left.map_or_else(
        || "Wait for the freeze to end".to_owned(),
        |left| format!("Wait for freeze to expire ({left} remaining)"),
    );
    Reason {
        kind: "frozen",
        message: format!("Frozen by {} for {age}{remaining}", words::person(record)),
        detail,
        fields: freeze_fields(freeze, now),
        suggestions: vec![
            wait,
            format!("lokt unfreeze {name}  (by its owner)"),
            format!("lokt unfreeze {name} --force  (break-glass)"),
        ],
    }
}

fn in_the_way(locks: &Locks, status: &Status) -> Vec<Reason> {
    let (name, view) = (&status.name, &status.view);
    let held: Vec<Reason> =
        view.held_by().map(|(record, standing)| held(locks, record, standing, status)).collect();
    if !held.is_empty() && !has_a_slot_left(view) {
        return held;
    }
    let other = match (&view.stored, &view.standing) {
        (_, Standing::InProgress) => Some(Reason {
            kind: "held",
            message: "It is just being acquired".to_owned(),
            detail: vec!["HELD: it is just being acquired".to_owned()],
            fields: Map::new(),
            suggestions: vec![format!("lokt lock --wait {name}")],
        }),
        (Stored::Corrupt(why), standing) => Some(corrupt(why, standing, name)),
        _ => None,
    };
    other.into_iter().collect()
}

/// Whether what stands there binds nobody any more.
fn is_left_behind(status: &Status) -> bool {
    status.view.standing.is_abandoned()
}

/// Whether one who asks for a slot gets one.
fn has_a_slot_left(view: &View) -> bool {
    let mode = view.mode();
    // Where all are gone, any number of slots is to be had.
    mode.slots().is_some() && view.count() > 0 && mode.has_room(mode, view.count())
}

fn corrupt(why: &str, standing: &Standing, name: &Name) -> Reason {
    let mut why = words::printable(why);
    let mut way = "--break-stale";
    if matches!(standing, Standing::CorruptButAlive(_)) {
        why.push_str("; and a session of it still lives");
        way = "--force";
    }
    Reason {
        kind: "corrupted",
        message: format!("Its record is corrupt: {why}"),
        detail: vec![format!("CORRUPT record: {why}")],
        fields: Map::new(),
        suggestions: vec![format!("lokt unlock {name} {way}")],
    }
}

/// Whether a guard is gone, and only its command, or what that started, holds the lock.
pub(super) fn has_lost_its_guard(
    locks: &Locks,
    name: &Name,
    record: &Record,
    standing: &Standing,
    now: &Now,
) -> bool {
    let lives = matches!(
        standing,
        Standing::Held { liveness: Liveness::Alive, .. } | Standing::Lapsed { liveness: Liveness::Alive }
    );
    // Looked at last: a guard that ends releases its session, and then is gone.
    let runs_on = || record.id().is_some_and(|id| locks.is_alive(name, &id));
    let is_guard = record.kind == Some(Kind::Guard);
    lives && is_guard && locks.process_of(record, now) == ProcessState::Gone && runs_on()
}

fn held(locks: &Locks, record: &Record, standing: &Standing, status: &Status) -> Reason {
    let (now, name) = (&status.view.now, &status.name);
    let alone = has_lost_its_guard(locks, name, record, standing, now);
    let (kind, head, state, stale) = match standing {
        Standing::Abandoned(Abandoned::HolderDead | Abandoned::PidGone) => {
            ("dead_pid", "STALE", "dead", "dead_pid")
        }
        Standing::Abandoned(_) => ("expired", "EXPIRED", "its time has passed", "expired"),
        Standing::Lapsed { liveness: Liveness::Alive } if alone => {
            ("expired", "LAPSED", "gone, but its command runs on; its lease has lapsed", "expired")
        }
        Standing::Lapsed { liveness: Liveness::Alive } => {
            ("expired", "LAPSED", "alive, but its lease has lapsed", "expired")
        }
        Standing::Lapsed { .. } => ("expired", "LAPSED", "its lease has lapsed", "expired"),
        Standing::Held { .. } if alone => ("held", "HELD", "gone, but its command runs on", ""),
        Standing::Held { liveness: Liveness::Alive, .. } => ("held", "HELD", "alive", ""),
        _ if record.pid == 0 => ("held", "HELD", "by hand", ""),
        _ => ("held", "HELD", "its process can't be seen from here", "unknown"),
    };
    let mut fields = holder_fields("holder", record, standing, now);
    if !stale.is_empty() {
        fields.insert("holder_stale_reason".into(), json!(stale));
    }
    own_fields(&mut fields, record);
    let age = words::span(record.age(now));
    let pid = if record.pid == 0 { state.to_owned() } else { format!("PID {}, {state}", record.pid) };
    let mut detail = vec![format!("{head} by {} ({pid})", words::person(record)), format!("  Age:  {age}")];
    if let Some(ttl) = record.ttl() {
        let left = match standing {
            Standing::Held { lapse, .. } => {
                lapse.left().map(|left| format!("{} remaining", words::span(left)))
            }
            _ => Some("expired".to_owned()),
        };
        detail.push(format!("  TTL:  {} ({})", words::exactly(ttl), left.unwrap_or_default()));
    }
    detail.extend(record.slot.zip(record.slots).map(|(slot, slots)| format!("  Slot: {slot} of {slots}")));
    detail.extend(record.note.as_ref().map(|note| format!("  Note: {}", words::printable(note))));
    Reason {
        kind,
        message: format!("Held by {} ({pid}) for {age}", words::person(record)),
        detail,
        fields,
        suggestions: match alone {
            true => without_its_guard(locks, record, standing, name),
            false => suggestions(record, standing, name),
        },
    }
}

/// What to do about a command whose guard is gone: nothing of lokt's is left that could end it.
fn without_its_guard(locks: &Locks, record: &Record, standing: &Standing, name: &Name) -> Vec<String> {
    let (mode, which) = (asked_as(record), words::which(record));
    let held = matches!(standing, Standing::Held { .. });
    let mut all = match held {
        true => vec![format!("lokt guard {name}{mode} --wait -- CMD  (enters when that command has ended)")],
        false => suggestions(record, standing, name),
    };
    if let Some(session) = record.id().and_then(|id| locks.session_path(name, &id)) {
        let session = words::shell_word(session.display());
        all.push(format!("fuser -v {session}  (shows what still runs of it)"));
    }
    if held {
        all.push(format!("lokt unlock {name} --force{which}  (break-glass: does not end its command)"));
    }
    all
}

/// How a lock is asked for that is held so, as the command line is told it.
fn asked_as(record: &Record) -> String {
    match record.mode() {
        Mode::Exclusive => String::new(),
        mode => format!(" {mode}"),
    }
}

fn suggestions(record: &Record, standing: &Standing, name: &Name) -> Vec<String> {
    let guard = record.kind == Some(Kind::Guard);
    let (mode, which) = (asked_as(record), words::which(record));
    match standing {
        Standing::Abandoned(_) => vec![
            format!("lokt guard {name}{mode} -- CMD  (takes it over)"),
            format!("lokt unlock {name} --break-stale"),
        ],
        Standing::Lapsed { .. } => vec![
            format!("lokt unlock {name} --break-stale"),
            format!("lokt guard {name}{mode} --wait -- CMD  (takes a lapsed lease over)"),
        ],
        _ if guard => vec![
            format!("lokt guard {name}{mode} --wait -- CMD"),
            format!("lokt unlock {name} --force{which}  (break-glass: ends its command)"),
        ],
        _ => vec![
            format!("lokt guard {name}{mode} --wait -- CMD"),
            format!("lokt unlock {name}{which}  (by its owner)"),
            format!("lokt unlock {name} --force{which}  (break-glass)"),
        ],
    }
}

fn object(how: &Status, reasons: &[Reason]) -> Value {
    let status = if reasons.is_empty() { "free" } else { "blocked" };
    let suggestions = all_suggestions(reasons);
    let reasons: Vec<Value> = reasons
        .iter()
        .map(|reason| {
            let mut object = Map::new();
            object.insert("type".into(), json!(reason.kind));
            object.insert("message".into(), json!(reason.message));
            object.extend(reason.fields.clone());
            Value::Object(object)
        })
        .collect();
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| drop(object.insert(key.to_owned(), value));
    put("name", json!(how.name.as_str()));
    put("status", json!(status));
    put("reasons", json!(reasons));
    put("suggestions", json!(suggestions));
    put("waiters", json!(how.waiters.len()));
    mode_fields(&mut object, how.view.mode(), how.view.count());
    Value::Object(object)
}

fn text(reasons: &[Reason], status: &Status, screen: Screen) -> String {
    let mut text = String::new();
    let slot_left = has_a_slot_left(&status.view).then(|| {
        let mode = status.view.mode();
        let held = words::together(mode, status.view.count()).unwrap_or_default();
        format!("FREE — {held} slots are held; one is to be had with {mode}.")
    });
    let (heading, look) = match (reasons, status.waiters.len(), &slot_left) {
        ([], 0, Some(slot_left)) => (slot_left.as_str(), GOOD),
        ([], 0, None) => ("FREE — acquisition would succeed.", GOOD),
        ([], ..) => ("FREE — those in line come first.", GOOD),
        ([_, ..], ..) if is_left_behind(status) => ("left behind — the next one who wants it gets it:", GOOD),
        _ => ("BLOCKED:", BAD),
    };
    let name = screen.paint(STRONG, &format!("\"{}\"", status.name));
    let _ = writeln!(text, "Lock {name} is {}", screen.paint(look, heading));
    for reason in reasons {
        text.push('\n');
        for (at, line) in reason.detail.iter().enumerate() {
            let line = if at == 0 { screen.paint(reason.look(), line) } else { line.clone() };
            let _ = writeln!(text, "  {line}");
        }
    }
    if !status.waiters.is_empty() {
        let _ = writeln!(text, "\n  {} waiting in line", status.waiters.len());
    }
    if !reasons.is_empty() {
        text.push_str("\nSuggestions:\n");
        for suggestion in all_suggestions(reasons) {
            let _ = writeln!(text, "  - {}", advice(suggestion, screen));
        }
    }
    text
}

/// What to do about all of it, each thing said once.
fn all_suggestions(reasons: &[Reason]) -> Vec<&String> {
    let mut all: Vec<&String> = Vec::new();
    for suggestion in reasons.iter().flat_map(|reason| &reason.suggestions) {
        if !all.contains(&suggestion) {
            all.push(suggestion);
        }
    }
    all
}

/// A suggestion: what is to be typed stands out from what it means.
fn advice(suggestion: &str, screen: Screen) -> String {
    match suggestion.split_once("  (") {
        Some((command, meaning)) => {
            format!("{}{}", screen.paint(STRONG, command), screen.paint(DIM, &format!("  ({meaning}")))
        }
        None if suggestion.starts_with("lokt ") => screen.paint(STRONG, suggestion),
        None => suggestion.to_owned(),
    }
}
