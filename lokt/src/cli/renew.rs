//! `lokt renew`: starts the lease of a manual lock anew.

use std::time::Duration;

use serde_json::json;

use super::fields::whole_seconds;
use super::output::{Output, Report, another};
use super::values::{duration, lock_id, name};
use crate::protocol::{Authority, Name};
use crate::{Error, Locks, words};

/// Start the lease of a manual lock anew
///
/// A guard renews its own lock. Without --ttl the lease is as long as it was.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  lokt renew deploy\n  lokt renew deploy --ttl 1h")]
pub(super) struct Args {
    /// The lock's name
    #[arg(value_parser = name)]
    name: Name,
    /// The new length of the lease
    #[arg(long, value_name = "DURATION", value_parser = duration, allow_hyphen_values = true)]
    ttl: Option<Duration>,
    /// Renew it by its identity, whoever owns it
    #[arg(long, value_name = "ID", value_parser = lock_id, allow_hyphen_values = true)]
    lock_id: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(locks: &Locks, args: &Args) -> Result<Report, Error> {
    let by = match &args.lock_id {
        Some(id) => Authority::Id(id.clone()),
        None => Authority::Owner(locks.identity().owner.clone()),
    };
    let record = match (locks.renew(&args.name, by, args.ttl), &args.lock_id) {
        (Err(error), Some(id)) => return Ok(another(&args.name, id, &error)),
        (renewed, _) => renewed?,
    };
    let expires_at = record.expires_at.as_deref().map(whole_seconds);
    Ok(Report::ok(if args.json {
        Output::Json(json!({
            "status": "renewed",
            "name": args.name.as_str(),
            "lock_id": record.lock_id,
            "ttl_sec": record.ttl_sec,
            "expires_at": expires_at,
        }))
    } else {
        let ttl = words::exactly(record.ttl().unwrap_or_default());
        Output::Text(format!("renewed lock \"{}\" for {ttl}", args.name))
    }))
}
