//! `lokt unlock`: removes locks.

use serde_json::json;

use super::output::{Output, Report, another};
use super::values::{lock_id, name};
use super::why::has_lost_its_guard;
use crate::protocol::{Authority, Displaced, Kind, Name, Stored};
use crate::{Error, Locks};

/// Release a lock
///
/// Plain, it releases a manual lock of the same owner. A guard's lock is its own: it is released when its command
/// ends, and taken from it only by --force (which ends the command) or, when its lease has lapsed, --break-stale.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    lokt unlock deploy\n  \
    lokt unlock deploy --break-stale   only if its holder is dead, or lapsed\n  \
    lokt unlock --all                  all that you took with lokt lock")]
pub(super) struct Args {
    /// The lock's name; needed unless --owner or --all is given
    #[arg(value_parser = name, required_unless_present_any = ["owner", "all"], conflicts_with_all = ["owner", "all"])]
    name: Option<Name>,
    /// Remove it whoever holds it, all of them if they are several, and end a guard's command
    #[arg(long, conflicts_with_all = ["owner", "all"])]
    force: bool,
    /// Remove it only if it is stale
    #[arg(long, conflicts_with_all = ["owner", "all", "force"])]
    break_stale: bool,
    /// Of those that hold NAME, release the one with this id, whoever owns it; with --force a guard's, too
    #[arg(long, value_name = "ID", value_parser = lock_id, allow_hyphen_values = true, conflicts_with_all = ["owner", "all", "break_stale"])]
    lock_id: Option<String>,
    /// Release every manual lock of this owner
    #[arg(long, value_name = "OWNER", value_parser = owner, conflicts_with = "all")]
    owner: Option<String>,
    /// Release every manual lock of yours
    #[arg(long)]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(locks: &Locks, args: &Args) -> Result<Report, Error> {
    let report = match &args.name {
        Some(name) => one(locks, name, args)?,
        None => many(locks, args)?,
    };
    super::tidy(locks);
    Ok(report)
}

fn one(locks: &Locks, name: &Name, args: &Args) -> Result<Report, Error> {
    let by = match (&args.lock_id, args.force, args.break_stale) {
        (Some(id), true, _) => Authority::ForceId(id.clone()),
        (Some(id), ..) => Authority::Id(id.clone()),
        (None, true, _) => Authority::Force,
        (None, _, true) => Authority::Stale,
        (None, ..) => Authority::Owner(locks.identity().owner.clone()),
    };
    let released = match (locks.unlock(name, by), &args.lock_id) {
        (Err(error), Some(id)) => return Ok(another(name, id, &error)),
        (released, _) => released?,
    };
    // What is left of several who are gone counts as one.
    let count = released.iter().filter(|gone| gone.is_admission()).count().max(1);
    let result = match args.json {
        true => Output::Json(json!({ "released": vec![name.as_str(); count], "count": count })),
        false if count > 1 => Output::Text(format!("released {count} holders of lock \"{name}\"")),
        false => Output::Text(format!("released lock \"{name}\"")),
    };
    let messages = released.iter().filter_map(|gone| runs_on(locks, name, gone)).collect();
    Ok(Report { messages, ..Report::ok(result) })
}

/// That nobody ends the command of a lock that was removed.
fn runs_on(locks: &Locks, name: &Name, gone: &Displaced) -> Option<String> {
    let record = gone.record.as_ref()?;
    has_lost_its_guard(locks, name, record, &gone.standing, &locks.now()).then(|| {
        format!(
            "warning: the guard of lock \"{name}\" (pid {}) is gone, but its command runs on, and nobody ends it",
            record.pid
        )
    })
}

fn owner(text: &str) -> Result<String, String> {
    match text {
        "" => Err("an owner is missing".to_owned()),
        owner => Ok(owner.to_owned()),
    }
}

fn many(locks: &Locks, args: &Args) -> Result<Report, Error> {
    let owner = args.owner.clone().unwrap_or_else(|| locks.identity().owner.clone());
    let mut released = Vec::new();
    let mut messages = Vec::new();
    for status in locks.list()? {
        let name = status.name;
        let unread = !matches!(status.view.stored, Stored::Empty | Stored::Record(_));
        if unread || status.view.holders.iter().any(|holding| holding.record().is_none()) {
            messages.push(format!("left lock \"{name}\": its record can't be read"));
        }
        for (record, _) in status.view.held_by().filter(|(record, _)| record.owner == owner) {
            if record.kind == Some(Kind::Guard) {
                messages.push(format!("left lock \"{name}\": it is a guard's own (pid {})", record.pid));
                continue;
            }
            // Of several that hold it together, this one.
            let by = match &record.joint {
                Some(_) => Authority::Id(record.lock_id.clone()),
                None => Authority::Owner(owner.clone()),
            };
            match locks.unlock(&name, by) {
                Ok(_) => released.push(name.to_string()),
                // Somebody else was quicker, or has it now.
                Err(error) if error.is_not_found() || error.is_not_owner() => {}
                Err(error) => messages.push(error.to_string()),
            }
        }
    }
    let count = released.len();
    let result = match (args.json, count) {
        (true, _) => Output::Json(json!({ "released": released, "count": count })),
        (false, 0) => Output::Text("no locks matched".to_owned()),
        (false, _) => Output::Text(format!("released {count} lock(s)")),
    };
    Ok(Report { messages, ..Report::ok(result) })
}
