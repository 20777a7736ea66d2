//! `lokt status --watch`: in place on a terminal; elsewhere, what has changed, whenever something has.

use rustix::process::Signal;
use rustix::stdio::stdout;
use serde_json::Value;
use unicode_width::UnicodeWidthStr;

use super::{Args, array, json, list, table, text};
use crate::cli::live::Live;
use crate::cli::output::{Output, Report, show_or_end};
use crate::cli::screen::{DIM, Screen, cut, rows};
use crate::host::Root;
use crate::host::signals::Signals;
use crate::locks::Status;
use crate::protocol::{Now, Refusal, Stored};
use crate::{Error, Locks, words};

/// Above what is seen: what this is, and an empty line.
const ABOVE: usize = 2;

/// What differs at each look, though nothing has happened.
const PASSING: [&str; 2] = ["age_sec", "remaining_sec"];

pub(super) fn run(locks: &Locks, args: &Args) -> Result<Report, Error> {
    let signals = Signals::catch_also(&[Signal::WINCH]).map_err(Error::root)?;
    let root = Root::discover().map_err(Error::root)?;
    let mut live = Live::new(&signals);
    let in_place = live.in_place && !args.json;
    let mut last = None;
    loop {
        // A directory may have been removed, and made anew; a cluster is the same one.
        let again = if root.address().is_none() { Some(crate::cli::at(&root)?) } else { None };
        let locks = again.as_ref().unwrap_or(locks);
        let seen = look(locks, args)?;
        let shown = if in_place {
            live.draw(&frame(&seen, &root.path.display().to_string(), &locks.now(), args))
        } else {
            changed(&seen, args, &mut last).map_or(Ok(()), |change| show_or_end(&change))
        };
        crate::cli::tidy(locks);
        if let Err(exit) = shown.and_then(|()| live.pause(args.interval)) {
            return Ok(Report::silent(exit));
        }
    }
}

fn look(locks: &Locks, args: &Args) -> Result<Vec<Status>, Error> {
    match &args.name {
        Some(name) => Ok(vec![locks.status(name)?]),
        None => locks.list(),
    }
}

/// What is to be said, unless it has been said already.
fn changed(seen: &[Status], args: &Args, last: &mut Option<Value>) -> Option<Output> {
    let value = match (&args.name, seen) {
        (Some(_), [status]) => json::one(status),
        _ => array(seen),
    };
    let lasting = Some(without(PASSING, &value));
    if *last == lasting {
        return None;
    }
    let first = std::mem::replace(last, lasting).is_none();
    if args.json {
        return Some(Output::JsonLine(value));
    }
    let gap = if first { "" } else { "\n" };
    let text = match (&args.name, seen) {
        (Some(_), [status]) => in_full(status, Screen::stdout().wrapping()),
        _ => list(seen, Screen::stdout()),
    };
    Some(Output::Text(format!("{gap}{}", if text.is_empty() { "no locks" } else { &text })))
}

fn without(keys: [&str; 2], value: &Value) -> Value {
    match value {
        Value::Array(all) => all.iter().map(|one| without(keys, one)).collect(),
        Value::Object(fields) => {
            let mut fields = fields.clone();
            fields.retain(|key, _| !keys.contains(&key.as_str()));
            Value::Object(fields)
        }
        other => other.clone(),
    }
}

/// The lines that fill the terminal; what has no room there is counted.
fn frame(seen: &[Status], root: &str, now: &Now, args: &Args) -> String {
    let screen = Screen::stdout();
    let all = table::rows(seen);
    let body = match (&args.name, seen) {
        (Some(_), [status]) => in_full(status, screen),
        _ if all.is_empty() => String::new(),
        _ => table::render(&all, screen),
    };
    let body: Vec<&str> = body.lines().collect();
    let height = rows(stdout());
    let room = height.saturating_sub(ABOVE).max(2);
    let shown = if body.len() > room { room - 1 } else { body.len() };
    let mut lines = vec![heading(seen, &all, root, now, screen), String::new()];
    lines.extend(body[..shown].iter().map(|line| (*line).to_owned()));
    if shown < body.len() {
        lines.push(screen.paint(DIM, &format!("… and {} more", body.len() - shown)));
    }
    lines.truncate(height);
    lines.join("\n")
}

/// How many locks there are, of which root, and when.
fn heading(seen: &[Status], all: &[table::Row], root: &str, now: &Now, screen: Screen) -> String {
    let waiting: usize = seen.iter().map(|status| status.waiters.len()).sum();
    let waiting = if waiting > 0 { format!(", {waiting} waiting") } else { String::new() };
    let time = now.wall.to_string();
    let time = time.get(11..19).unwrap_or_default();
    let beside = format!("  {time}Z  q ends  {}", words::printable(root));
    let plain = table::counts(all, Screen::NONE) + &waiting;
    let columns = screen.columns.unwrap_or(usize::MAX);
    let Some(left) = columns.checked_sub(plain.width()) else { return cut(&plain, columns) };
    format!("{}{waiting}{}", table::counts(all, screen), screen.paint(DIM, &cut(&beside, left)))
}

/// One lock in full, whatever stands in its place; each line cut to the screen's width.
fn in_full(status: &Status, screen: Screen) -> String {
    let (name, view) = (&status.name, &status.view);
    match &view.stored {
        Stored::Record(_) => text::details(status, screen),
        _ => {
            let columns = screen.columns.unwrap_or(usize::MAX);
            let refusal = Refusal::Unusable(view.standing.clone());
            let mut text = cut(&words::refusal(name, &refusal, &view.now), columns);
            if let Some(freeze) = &view.freeze {
                let frozen = format!("lock \"{name}\" is {}", words::frozen(freeze, &view.now));
                text.push_str(&format!("\n{}", cut(&frozen, columns)));
            }
            text
        }
    }
}
