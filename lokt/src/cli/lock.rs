//! `lokt lock`: a lock that no process holds.

use serde_json::{Value, json};

use super::exit::Exit;
use super::fields::{denial, whole_seconds};
use super::output::{Output, Report};
use super::values::{Wanted, pid};
use super::waiting::Watcher;
use crate::host::signals::Signals;
use crate::protocol::Name;
use crate::{Error, Locks, Patience, Record, inside};

/// What to do about a lock that one has already.
const UNDER_IT: &str = "whatever is done here is done under it";

/// Take a lock and keep it after this program has ended
///
/// It lives until `lokt unlock`, until its TTL has passed, or, with --pid, until that process has ended. To hold a
/// lock just for a command, use `lokt guard`.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    lokt lock deploy --ttl 30m --note 'by hand, ask Ada'\n  \
    lokt lock build --pid $$          held until this shell ends\n  \
    lokt lock db --wait --timeout 1m")]
pub(super) struct Args {
    #[command(flatten)]
    wanted: Wanted,
    /// Tie the lock to this process: it ends with it
    #[arg(long, value_name = "PID", value_parser = pid, allow_hyphen_values = true)]
    pid: Option<i64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(locks: &Locks, args: &Args) -> Result<Report, Error> {
    let name = &args.wanted.name;
    let signals = Signals::catch().map_err(Error::root)?;
    let mut watcher = Watcher::new(&signals);
    let patience = args.wanted.patience();
    if patience != Patience::None && is_in_its_own_way(locks, args) {
        return Err(Error::invalid(format!("{}: it would wait for itself", of_the_guard_around(name)))
            .with_hint(UNDER_IT));
    }
    let locked = locks.lock(name, &args.wanted.terms(), args.pid, patience, &mut watcher);
    watcher.clear();
    match locked {
        Ok(record) => {
            super::tidy(locks);
            let (name, id) = (&record.name, &record.lock_id);
            let unsaid = vec![
                format!("lock \"{name}\" was taken all the same"),
                format!("hint: to release it: lokt unlock {name} --lock-id {id}"),
            ];
            Ok(Report { unsaid, ..Report::ok(acquired(&record, args.json)) })
        }
        Err(error) => Ok(denied(locks, args, &watcher, &error)),
    }
}

fn denied(locks: &Locks, args: &Args, watcher: &Watcher<'_>, error: &Error) -> Report {
    let mut report = Report::failed(error);
    if let Some(signal) = watcher.ended_by.filter(|_| error.is_interrupted()) {
        report.exit = Exit::Signal(signal.as_raw());
    }
    if report.exit == Exit::Held && is_in_its_own_way(locks, args) {
        report.messages = vec![of_the_guard_around(&args.wanted.name), format!("hint: {UNDER_IT}")];
    }
    if args.json && report.exit == Exit::Held {
        report.result = Some(Output::Json(denial(&args.wanted.name, error)));
    }
    report
}

/// Whether the guard around this command has the lock in a way that leaves no room beside it.
fn is_in_its_own_way(locks: &Locks, args: &Args) -> bool {
    let asked = args.wanted.terms().mode;
    let held = inside::admission(locks, &args.wanted.name).map(|record| record.mode());
    held.is_some_and(|held| !asked.has_room(held, 1))
}

/// Why somebody does not get what he has already.
fn of_the_guard_around(name: &Name) -> String {
    format!("lock \"{name}\" is held by the guard around this command")
}

fn acquired(record: &Record, as_json: bool) -> Output {
    if !as_json {
        let slot = record.slot.zip(record.slots).map(|(slot, slots)| format!(", slot {slot} of {slots}"));
        return Output::Text(format!("acquired lock \"{}\"{}", record.name, slot.unwrap_or_default()));
    }
    let mut object = json!({
        "status": "acquired",
        "name": record.name,
        "lock_id": record.lock_id,
        "token": record.token,
    });
    let Value::Object(fields) = &mut object else {
        return Output::Json(object);
    };
    if let Some(expiry) = &record.expires_at {
        fields.insert("expires_at".into(), json!(whole_seconds(expiry)));
    }
    if let (Some(slot), Some(slots)) = (record.slot, record.slots) {
        fields.insert("slot".into(), json!(slot));
        fields.insert("slots".into(), json!(slots));
    }
    if record.shared {
        fields.insert("shared".into(), json!(true));
    }
    Output::Json(object)
}
