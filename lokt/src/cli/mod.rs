//! The command line: arguments and words. It holds no rule.
//!
//! A file per command: its arguments, whose doc comments are its `--help`, and what it does with [`Locks`]. A
//! command returns a `Report`; text and JSON are made from it, and printed, in `output`.

mod audit;
mod completions;
mod demo;
mod doctor;
mod events;
mod exists;
mod exit;
mod fields;
mod freeze;
mod guard;
mod help;
mod lazy;
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

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub use self::help::GROUPS;

use self::exit::Exit;
use self::lazy::Lazy;
use crate::host::signals::outlive_limits;
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
    #[command(flatten)]
    Locks(OnLocks),
    Doctor(Lazy<doctor::Args>),
    Demo(Lazy<demo::Args>),
    Completions(Lazy<completions::Args>),
}

/// What is asked of the locks of a root.
#[derive(Subcommand)]
enum OnLocks {
    Guard(Lazy<guard::Args>),
    Lock(Lazy<lock::Args>),
    Unlock(Lazy<unlock::Args>),
    Renew(Lazy<renew::Args>),
    Status(Lazy<status::Args>),
    Why(Lazy<why::Args>),
    Exists(Lazy<exists::Args>),
    Freeze(Lazy<freeze::Args>),
    Unfreeze(Lazy<unfreeze::Args>),
    Audit(Lazy<audit::Args>),
    Prime(Lazy<prime::Args>),
}

/// The arguments of the program, for whoever describes them: its help, man pages.
pub fn command() -> clap::Command {
    help::grouped(Cli::command())
}

/// Runs the program with this process's arguments.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if arguments.get(1).is_some_and(|command| command == completions::HELPER) {
        output::out(&completions::answer(Cli::command(), arguments[2..].to_vec()));
        return Exit::Ok.into();
    }
    let arguments = usage::go_style(arguments);
    let Some(command) = arguments.get(1) else {
        output::page(&help::grouped(Cli::command()).render_help());
        return Exit::Usage.into();
    };
    match parse(&command.to_string_lossy(), &arguments) {
        Ok(cli) => run(cli.command).into(),
        Err(error) => usage::explain(&error, &arguments).into(),
    }
}

fn parse(command: &str, arguments: &[OsString]) -> Result<Cli, clap::Error> {
    // Only who asks for the overview waits until it is put together.
    if ["help", "--help", "-h"].contains(&command) {
        let overview = help::grouped(Cli::command());
        overview.try_get_matches_from(arguments).and_then(|matches| Cli::from_arg_matches(&matches))
    } else {
        Cli::try_parse_from(arguments)
    }
}

fn run(command: Command) -> Exit {
    // Without it a write that is too long ends us: what was done by then would not be told.
    let _ = outlive_limits();
    match command {
        Command::Locks(command) => match open() {
            Ok(locks) => ask(&locks, command),
            Err(error) => output::fail(&error),
        },
        Command::Doctor(Lazy(args)) => output::print(&doctor::run(&args)),
        Command::Demo(Lazy(args)) => demo::run(&args),
        Command::Completions(Lazy(args)) => output::print(&completions::run(&args)),
    }
}

fn ask(locks: &Locks, command: OnLocks) -> Exit {
    // What looking has found is to be seen before anything is cleared away.
    let tidies = matches!(command, OnLocks::Status(_));
    let outcome = match command {
        OnLocks::Guard(Lazy(args)) => guard::run(locks, &args),
        OnLocks::Lock(Lazy(args)) => lock::run(locks, &args),
        OnLocks::Unlock(Lazy(args)) => unlock::run(locks, &args),
        OnLocks::Renew(Lazy(args)) => renew::run(locks, &args),
        OnLocks::Status(Lazy(args)) => status::run(locks, &args),
        OnLocks::Why(Lazy(args)) => why::run(locks, &args),
        OnLocks::Exists(Lazy(args)) => exists::run(locks, &args),
        OnLocks::Freeze(Lazy(args)) => freeze::run(locks, &args),
        OnLocks::Unfreeze(Lazy(args)) => unfreeze::run(locks, &args),
        OnLocks::Audit(Lazy(args)) => audit::run(locks, &args),
        OnLocks::Prime(Lazy(args)) => prime::run(locks, &args),
    };
    let exit = match outcome {
        Ok(report) => output::print(&report),
        Err(error) => output::fail(&error),
    };
    if tidies {
        tidy(locks);
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
