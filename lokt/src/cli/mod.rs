//! The command line: arguments and words. It holds no rule.
//!
//! A file per command: its arguments, whose doc comments are its `--help`, and what it does with [`Locks`]. A
//! command returns a [`Report`]; text and JSON are made from it, and printed, in [`output`].

mod audit;
mod demo;
mod doctor;
mod events;
mod exists;
mod exit;
mod freeze;
mod guard;
mod live;
mod lock;
mod output;
mod prime;
mod renew;
mod screen;
mod status;
mod table;
mod unfreeze;
mod unlock;
mod usage;
mod values;
mod waiting;
mod why;

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
    version = env!("LOKT_VERSION"),
    about,
    max_term_width = 100,
    args_override_self = true,
    after_help = "Examples:\n  \
        lokt guard deploy --ttl 5m -- ./deploy.sh    run it, unless somebody else does\n  \
        lokt guard build --wait -- make              run it when it is our turn\n  \
        lokt why deploy                              who is in the way, and what to do\n\n\
        Exit codes:\n  \
        0  ok             2  held, frozen or timed out    4  not owner\n  \
        1  error          3  not found                   64  usage\n  \
        guard: the command's own code; 128+n when a signal ended it; 126 not\n  \
        executable; 127 not found; 5 when the lock was lost and the command ended"
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
    Freeze(freeze::Args),
    Unfreeze(unfreeze::Args),
    Audit(audit::Args),
    Doctor(doctor::Args),
    Prime(prime::Args),
    Demo(demo::Args),
}

/// The arguments of the program, for whoever describes them: man pages, completions.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the program with this process's arguments.
pub fn main() -> ExitCode {
    let arguments = usage::go_style(std::env::args_os().collect());
    if arguments.len() < 2 {
        output::page(&Cli::command().render_help());
        return Exit::Usage.into();
    }
    match Cli::try_parse_from(&arguments) {
        Ok(cli) => run(cli.command).into(),
        Err(error) => usage::explain(&error, &arguments).into(),
    }
}

fn run(command: Command) -> Exit {
    match &command {
        // Before the root is opened: that may be what is wrong.
        Command::Doctor(args) => return output::print(&doctor::run(args)),
        // It has a root of its own.
        Command::Demo(args) => return demo::run(args),
        _ => {}
    }
    let locks = match open() {
        Ok(locks) => locks,
        Err(error) => return output::fail(&error),
    };
    // It costs nothing to look; what looking has found is to be seen first.
    let tidies = matches!(command, Command::Status(_));
    let outcome = match command {
        Command::Guard(args) => guard::run(&locks, &args),
        Command::Lock(args) => lock::run(&locks, &args),
        Command::Unlock(args) => unlock::run(&locks, &args),
        Command::Renew(args) => renew::run(&locks, &args),
        Command::Status(args) => status::run(&locks, &args),
        Command::Why(args) => why::run(&locks, &args),
        Command::Exists(args) => exists::run(&locks, &args),
        Command::Freeze(args) => freeze::run(&locks, &args),
        Command::Unfreeze(args) => unfreeze::run(&locks, &args),
        Command::Audit(args) => audit::run(&locks, &args),
        Command::Doctor(args) => Ok(doctor::run(&args)),
        Command::Prime(args) => prime::run(&locks, &args),
        Command::Demo(args) => return demo::run(&args),
    };
    let exit = match outcome {
        Ok(report) => output::print(&report),
        Err(error) => output::fail(&error),
    };
    if tidies {
        tidy(&locks);
    }
    exit
}

fn open() -> Result<Locks, Error> {
    let root = Root::discover().map_err(Error::root)?;
    let host = Arc::new(UnixHost::new(root.path));
    let warn = Arc::new(|warning: &str| output::say_soon(&format!("warning: {warning}")));
    Ok(Locks::with_host(host, Identity::current(), warn))
}

/// After a command's own work: clears dead locks away, if it is time for it and nobody has turned it off.
fn tidy(locks: &Locks) {
    if environment("LOKT_NO_SWEEP").is_none() {
        locks.tidy();
    }
}
