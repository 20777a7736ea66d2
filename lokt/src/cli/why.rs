//! `lokt why`: what is in the way, and what to do about it.

use std::fmt::Write as _;

use anstyle::Style;
use serde_json::{Map, Value, json};

use super::exit::Exit;
use super::fields::{freeze_fields, holder_fields, own_fields};
use super::output::{Output, Report};
use super::screen::{BAD, DIM, FROZEN, GOOD, HELD, STRONG, Screen};
use super::values::name;
use crate::locks::Status;
use crate::protocol::{Abandoned, Freeze, Kind, Liveness, Name, Record, Refusal, Slot, Standing};
use crate::{Error, Locks, words};

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
    let view = &status.view;
    if matches!(view.standing, Standing::Newer(_) | Standing::Unreadable(_)) {
        let refusal = Refusal::Unusable(view.standing.clone());
        return Err(Error::refused(&args.name, refusal, view.now.clone()));
    }
    let mut reasons: Vec<Reason> = Vec::new();
    reasons.extend(view.freeze.as_ref().map(|freeze| frozen(freeze, &status)));
    reasons.extend(in_the_way(&status));
    let exit = if reasons.is_empty() { Exit::Ok } else { Exit::Held };
    let result = if args.json {
        Output::Json(object(&status, &reasons))
    } else {
        Output::Text(text(&reasons, &status, Screen::stdout()))
    };
    Ok(Report { exit, ..Report::ok(result) })
}

fn frozen(freeze: &Freeze, status: &Status) -> Reason {
    let (record, now, name) = (&freeze.record, &status.view.now, &status.name);
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

fn in_the_way(status: &Status) -> Option<Reason> {
    let name = &status.name;
    match (&status.view.slot, &status.view.standing) {
        (Slot::Record(record), standing) => Some(held(record, standing, status)),
        (_, Standing::Free) => None,
        (_, Standing::InProgress) => Some(Reason {
            kind: "held",
            message: "It is just being acquired".to_owned(),
            detail: vec!["HELD: it is just being acquired".to_owned()],
            fields: Map::new(),
            suggestions: vec![format!("lokt lock --wait {name}")],
        }),
        (Slot::Corrupt(why), standing) => Some(corrupt(why, standing, name)),
        _ => None,
    }
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

fn held(record: &Record, standing: &Standing, status: &Status) -> Reason {
    let (now, name) = (&status.view.now, &status.name);
    let (kind, head, state, stale) = match standing {
        Standing::Abandoned(Abandoned::HolderDead | Abandoned::PidGone) => {
            ("dead_pid", "STALE", "dead", "dead_pid")
        }
        Standing::Abandoned(_) => ("expired", "EXPIRED", "its time has passed", "expired"),
        Standing::Lapsed { liveness: Liveness::Alive } => {
            ("expired", "LAPSED", "alive, but its lease has lapsed", "expired")
        }
        Standing::Lapsed { .. } => ("expired", "LAPSED", "its lease has lapsed", "expired"),
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
        detail.push(format!("  TTL:  {} ({})", words::span(ttl), left.unwrap_or_default()));
    }
    detail.extend(record.note.as_ref().map(|note| format!("  Note: {}", words::printable(note))));
    Reason {
        kind,
        message: format!("Held by {} ({pid}) for {age}", words::person(record)),
        detail,
        fields,
        suggestions: suggestions(record, standing, name),
    }
}

fn suggestions(record: &Record, standing: &Standing, name: &Name) -> Vec<String> {
    let guard = record.kind == Some(Kind::Guard);
    match standing {
        Standing::Abandoned(_) => vec![
            format!("lokt guard {name} -- CMD  (takes it over)"),
            format!("lokt unlock {name} --break-stale"),
        ],
        Standing::Lapsed { .. } => vec![
            format!("lokt unlock {name} --break-stale"),
            format!("lokt guard {name} --wait -- CMD  (takes a lapsed lease over)"),
        ],
        _ if guard => vec![
            format!("lokt guard {name} --wait -- CMD"),
            format!("lokt unlock {name} --force  (break-glass: ends its command)"),
        ],
        _ => vec![
            format!("lokt guard {name} --wait -- CMD"),
            format!("lokt unlock {name}  (by its owner)"),
            format!("lokt unlock {name} --force  (break-glass)"),
        ],
    }
}

fn object(how: &Status, reasons: &[Reason]) -> Value {
    let status = if reasons.is_empty() { "free" } else { "blocked" };
    let suggestions: Vec<&String> = reasons.iter().flat_map(|reason| &reason.suggestions).collect();
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
    json!({
        "name": how.name.as_str(),
        "status": status,
        "reasons": reasons,
        "suggestions": suggestions,
        "waiters": how.waiters.len(),
    })
}

fn text(reasons: &[Reason], status: &Status, screen: Screen) -> String {
    let mut text = String::new();
    let left_behind = matches!(status.view.standing, Standing::Abandoned(_));
    let (heading, look) = match (reasons, status.waiters.len()) {
        ([], 0) => ("FREE — acquisition would succeed.", GOOD),
        ([], _) => ("FREE — those in line come first.", GOOD),
        ([_], _) if left_behind => ("left behind — the next one who wants it gets it:", GOOD),
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
        for suggestion in reasons.iter().flat_map(|reason| &reason.suggestions) {
            let _ = writeln!(text, "  - {}", advice(suggestion, screen));
        }
    }
    text
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
