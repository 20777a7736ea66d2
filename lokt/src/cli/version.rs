//! `lokt version`: which lokt this is.

use super::output::{Output, Report};

/// Print the version, as --version does
///
/// With the commit that it was built from, and its day, as far as they are known.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  lokt version")]
pub(super) struct Args {}

pub(super) fn run() -> Report {
    Report::ok(Output::Text(format!("lokt {}", env!("LOKT_VERSION"))))
}
