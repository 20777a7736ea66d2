//! `lokt unfreeze`: ends a freeze before its time.

use super::output::{Output, Report};
use super::values::name;
use crate::protocol::{LiftBy, Name};
use crate::{Error, Locks};

/// End a freeze before its time
///
/// It is for the owner who placed it; --force is for everybody else. Whoever waits for the lock enters at once.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    lokt unfreeze deploy\n  \
    lokt unfreeze deploy --force      whoever placed it")]
pub(super) struct Args {
    /// The lock's name
    #[arg(value_parser = name)]
    name: Name,
    /// End it whoever placed it
    #[arg(long)]
    force: bool,
}

pub(super) fn run(locks: &Locks, args: &Args) -> Result<Report, Error> {
    let by = if args.force { LiftBy::Force } else { LiftBy::Owner(locks.identity().owner.clone()) };
    locks.unfreeze(&args.name, by)?;
    super::tidy(locks);
    Ok(Report::ok(Output::Text(format!("unfrozen \"{}\"", args.name))))
}
