//! `lokt lock`: a lock that no process holds.

use serde_json::{Value, json};

use super::exit::Exit;
use super::fields::{denial, whole_seconds};
use super::output::{Output, Report};
use super::values::{Wanted, pid};
use super::waiting::Watcher;
use crate::host::signals::Signals;
use crate::{Error, Locks, Record};

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
        Err(error) => Ok(denied(args, &watcher, &error)),
    }
}

fn denied(args: &Args, watcher: &Watcher<'_>, error: &Error) -> Report {
    let mut report = Report::failed(error);
    if let Some(signal) = watcher.ended_by.filter(|_| error.is_interrupted()) {
        report.exit = Exit::Signal(signal.as_raw());
    }
    if args.json && report.exit == Exit::Held {
        report.result = Some(Output::Json(denial(&args.wanted.name, error)));
    }
    report
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
