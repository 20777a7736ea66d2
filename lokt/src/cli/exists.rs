//! `lokt exists`: for `if` in scripts.

use super::exit::Exit;
use super::output::Report;
use super::values::name;
use crate::protocol::{Name, Standing};
use crate::{Error, Locks};

/// Tell by the exit code whether a lock is held (0) or not (3)
#[derive(clap::Args)]
#[command(after_help = "Example:\n  if lokt exists deploy; then echo 'somebody deploys'; fi")]
pub(super) struct Args {
    /// The lock's name
    #[arg(value_parser = name)]
    name: Name,
}

pub(super) fn run(locks: &Locks, args: &Args) -> Result<Report, Error> {
    let exit = match locks.status(&args.name)?.view.standing {
        Standing::Free => Exit::NotFound,
        // The next one who wants it gets it.
        Standing::Abandoned(_) => Exit::NotFound,
        // What can't be read is in the way.
        _ => Exit::Ok,
    };
    Ok(Report::silent(exit))
}
