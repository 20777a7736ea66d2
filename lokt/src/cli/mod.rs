//! The command line: arguments and words. It holds no rule.
//!
//! A file per command: its arguments, whose doc comments are its `--help`, and what it does with [`Locks`]. A
//! command returns a [`Report`]; text and JSON are made from it, and printed, in [`output`].

mod exists;
mod exit;
mod guard;
mod lock;
mod output;
mod renew;
mod status;
mod unlock;
mod values;
mod waiting;
mod why;

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, Parser, Subcommand};

use self::exit::Exit;
use crate::host::{Identity, Root, UnixHost, environment};
use crate::{Error, Locks};

/// Serialise risky commands (builds, deploys, migrations, pushes) between everybody who shares this machine
///
/// The locks are in $LOKT_ROOT, else in the git repository around the working directory (all its worktrees share
/// them), else in ./.lokt.
#[derive(Parser)]
#[command(
    name = "lokt",
    version,
    about,
    max_term_width = 100,
    after_help = "Examples:\n  \
        lokt guard deploy --ttl 5m -- ./deploy.sh    run it, unless somebody else does\n  \
        lokt guard build --wait -- make              run it when it is our turn\n  \
        lokt why deploy                              who is in the way, and what to do\n\n\
        Exit codes: 0 ok, 1 error, 2 held, frozen or timed out, 3 not found, 4 not owner, 64 usage.\n\
        guard: the command's own code; 128+n when a signal ended it; 126/127 not executable / not found;\n\
        5 when the lock was lost and the command was ended."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Guard(guard::Args),
    Lock(lock::Args),
    Unlock(unlock::Args),
    Renew(renew::Args),
    Status(status::Args),
    Why(why::Args),
    Exists(exists::Args),
}

/// Runs the program with this process's arguments.
pub fn main() -> ExitCode {
    let arguments = go_style(std::env::args_os().collect());
    if arguments.len() < 2 {
        output::out(&Cli::command().render_help().to_string());
        return Exit::Usage.into();
    }
    match Cli::try_parse_from(arguments) {
        Ok(cli) => run(cli.command).into(),
        Err(error) => usage(&error).into(),
    }
}

fn run(command: Command) -> Exit {
    let locks = match open() {
        Ok(locks) => locks,
        Err(error) => return output::fail(&error),
    };
    let outcome = match command {
        Command::Guard(args) => guard::run(&locks, &args),
        Command::Lock(args) => lock::run(&locks, &args),
        Command::Unlock(args) => unlock::run(&locks, &args),
        Command::Renew(args) => renew::run(&locks, &args),
        Command::Status(args) => status::run(&locks, &args),
        Command::Why(args) => why::run(&locks, &args),
        Command::Exists(args) => exists::run(&locks, &args),
    };
    match outcome {
        Ok(report) => output::print(&report),
        Err(error) => output::fail(&error),
    }
}

fn open() -> Result<Locks, Error> {
    let root = Root::discover().map_err(Error::root)?;
    let host = Arc::new(UnixHost::new(root.path));
    let warn = Arc::new(|warning: &str| output::say(&format!("warning: {warning}")));
    Ok(Locks::with_host(host, Identity::current(), warn))
}

/// After a command's own work: clears dead locks away, if it is time for it and nobody has turned it off.
fn tidy(locks: &Locks) {
    if environment("LOKT_NO_SWEEP").is_none() {
        locks.tidy();
    }
}

/// The Go tool also takes `-ttl` for `--ttl`.
fn go_style(arguments: Vec<OsString>) -> Vec<OsString> {
    let mut own = true;
    arguments
        .into_iter()
        .map(|argument| {
            own &= argument != "--";
            if own && is_go_flag(&argument) {
                let mut long = OsString::from("-");
                long.push(argument);
                return long;
            }
            argument
        })
        .collect()
}

fn is_go_flag(argument: &OsStr) -> bool {
    let bytes = argument.as_encoded_bytes();
    bytes.len() > 2 && bytes[0] == b'-' && bytes[1].is_ascii_lowercase()
}

/// One clear line for bad usage; help and version as they are.
fn usage(error: &clap::Error) -> Exit {
    use clap::error::ErrorKind;
    let text = error.render().to_string();
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        output::out(&text);
        return Exit::Ok;
    }
    let paragraphs = text
        .split("\n\n")
        .map(|p| p.split_whitespace().collect::<Vec<_>>().join(" "));
    let kept: Vec<String> = paragraphs
        .filter(|p| {
            !p.is_empty() && !p.starts_with("Usage:") && !p.starts_with("For more information")
        })
        .map(|p| p.trim_start_matches("error: ").to_owned())
        .collect();
    output::say(&kept.join("; "));
    Exit::Usage
}
