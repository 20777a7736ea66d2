//! `lokt freeze`: keeps everybody out of a name for a while.

use std::time::Duration;

use super::output::{Output, Report};
use super::values::{duration, name};
use crate::protocol::{Name, Standing};
use crate::{Error, Locks, words};

/// Keep everybody out of a lock for a while
///
/// Until the TTL has passed or `lokt unfreeze` ends it, nobody gets the lock: guard and lock are refused, and who
/// waits in line goes on waiting. Whoever holds the lock keeps it until they are done.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    lokt freeze deploy --ttl 30m --note 'incident 1432'\n  \
    lokt freeze migrate --ttl 1h")]
pub(super) struct Args {
    /// The lock's name
    #[arg(value_parser = name)]
    name: Name,
    /// When it ends by itself (15m, 1h): a forgotten freeze must not block for ever
    #[arg(long, value_name = "DURATION", value_parser = span, required = true, allow_hyphen_values = true)]
    ttl: Duration,
    /// What to tell those who find it frozen
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

/// A duration that is some time.
fn span(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("a freeze needs some time: give 15m, 1h".to_owned()),
        time => Ok(time),
    }
}

pub(super) fn run(locks: &Locks, args: &Args) -> Result<Report, Error> {
    let name = &args.name;
    let note = args.note.clone().filter(|note| !note.is_empty());
    locks.freeze(name, args.ttl, note)?;
    let text = format!("frozen \"{name}\" for {}", words::exactly(args.ttl));
    let mut report = Report::ok(Output::Text(text));
    report.messages.extend(still_held(locks, name));
    super::tidy(locks);
    Ok(report)
}

/// Whoever freezes a name wants to know that somebody is still at it.
fn still_held(locks: &Locks, name: &Name) -> Option<String> {
    let view = locks.status(name).ok()?.view;
    let lives = |standing: &Standing| matches!(standing, Standing::Held { .. } | Standing::Lapsed { .. });
    let (record, standing) = view.held_by().find(|(_, standing)| lives(standing))?;
    let holder = words::holder(record, standing, &view.now);
    let others = words::and_others(view.count().saturating_sub(1));
    Some(format!(
        "note: lock \"{name}\" is still held by {holder}{others}; a freeze keeps out only those who come"
    ))
}
