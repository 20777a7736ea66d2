//! `lokt status`: what is held, by whom, since when.

mod json;
mod table;
mod text;
mod watch;

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::fields::is_expired;
use super::output::{Output, Report};
use super::screen::Screen;
use super::values::{interval, name};
use crate::locks::Status;
use crate::protocol::{Authority, Name, Refusal, Stored};
use crate::{Error, Locks, words};

/// Show what is held, by whom, since when
///
/// On a terminal it is a table; for files and programs it is a line for each lock, or JSON. With --watch it is shown
/// anew at each interval until q or Ctrl-C; for files and programs, whenever something has changed.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    lokt status\n  \
    lokt status deploy\n  \
    lokt status --watch\n  \
    lokt status --json\n  \
    lokt status --prune-expired")]
pub(super) struct Args {
    /// Only this lock, in full
    #[arg(value_parser = name)]
    name: Option<Name>,
    /// Print JSON; with --watch, a line of it for each change
    #[arg(long)]
    json: bool,
    /// Show it again and again, until q or Ctrl-C
    #[arg(long, short)]
    watch: bool,
    /// How often to look; needs --watch
    #[arg(long, value_name = "DURATION", value_parser = interval, default_value = "1s", requires = "watch", allow_hyphen_values = true)]
    interval: Duration,
    /// Remove locks whose lease has lapsed; that of a guard that is only stopped, too: it ends its command once it goes on
    #[arg(long, conflicts_with = "watch")]
    prune_expired: bool,
}

pub(super) fn run(locks: &Locks, args: &Args) -> Result<Report, Error> {
    match &args.name {
        _ if args.watch => watch::run(locks, args),
        Some(name) => one(locks, name, args),
        None => all(locks, args),
    }
}

fn one(locks: &Locks, name: &Name, args: &Args) -> Result<Report, Error> {
    let status = locks.status(name)?;
    let view = &status.view;
    if args.prune_expired && has_expired(&status) && locks.break_stale(name).is_ok() {
        return Ok(Report::ok(if args.json {
            Output::Json(json!({ "status": "pruned", "name": name.as_str() }))
        } else {
            Output::Text(format!("pruned expired lock \"{name}\""))
        }));
    }
    match &view.stored {
        Stored::Record(_) => Ok(Report::ok(if args.json {
            Output::Json(json::one(&status))
        } else {
            Output::Text(text::details(&status, Screen::stdout().wrapping()))
        })),
        Stored::Empty => {
            let mut report = Report::failed(&Error::refused(name, Refusal::NotFound, view.now.clone()));
            if let Some(freeze) = &view.freeze {
                let frozen = words::frozen(freeze, &view.now);
                report.messages[0] = format!("lock \"{name}\" is held by nobody, and {frozen}");
            }
            Ok(report)
        }
        _ => {
            let refusal = Refusal::Unusable(view.standing.clone());
            let error = Error::refused(name, refusal, view.now.clone());
            let result = args.json.then(|| Output::Json(json::one(&status)));
            Ok(Report { result, ..Report::failed(&error) })
        }
    }
}

fn all(locks: &Locks, args: &Args) -> Result<Report, Error> {
    let mut pruned = Vec::new();
    let mut shown = Vec::new();
    for status in locks.list()? {
        let expired = args.prune_expired && has_expired(&status);
        if !expired || locks.unlock(&status.name, Authority::Stale).is_err() {
            shown.push(status);
            continue;
        }
        if !status.view.holders.is_empty() {
            // Others may hold it still.
            let left = locks.status(&status.name)?;
            shown.extend((left.view.stored != Stored::Empty).then_some(left));
        }
        pruned.push(status.name);
    }
    if args.json {
        return Ok(Report::ok(Output::Json(array(&shown))));
    }
    let mut text = String::new();
    for name in &pruned {
        let _ = writeln!(text, "pruned: {name} (expired)");
    }
    let list = list(&shown, Screen::stdout());
    text.push_str(&list);
    if !pruned.is_empty() {
        let _ = writeln!(text, "\npruned {} expired lock(s)", pruned.len());
    } else if list.is_empty() {
        text.push_str("no locks");
    }
    Ok(Report::ok(Output::Text(text)))
}

/// Whether the lease of anybody who holds it has lapsed.
fn has_expired(status: &Status) -> bool {
    status.view.held_by().any(|(_, standing)| is_expired(standing))
}

/// A table on a terminal, and elsewhere what programs read; empty without locks.
fn list(statuses: &[Status], screen: Screen) -> String {
    let rows = table::rows(statuses);
    if screen.columns.is_none() || rows.is_empty() {
        return text::lines(statuses);
    }
    table::render(&rows, screen)
}

fn array(statuses: &[Status]) -> Value {
    Value::Array(statuses.iter().flat_map(json::objects).collect())
}
