//! The command line: arguments and words. It holds no rule.
//!
//! A file per command: its arguments, whose doc comments are its `--help`, and what it does with [`Locks`]. A
//! command returns a `Report`; text and JSON are made from it, and printed, in `output`.

mod audit;
mod commands;
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
mod live;
mod lock;
mod output;
mod prime;
mod renew;
mod screen;
mod similar;
mod status;
mod table;
mod unfreeze;
mod unlock;
mod usage;
mod values;
mod version;
mod waiting;
mod why;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

pub use self::help::GROUPS;

use self::commands::{Beside, Command, OnLocks};
use self::exit::Exit;
use crate::host::signals::outlive_limits;
use crate::host::{Root, environment, mask};
use crate::{Error, Locks};

/// The arguments of the program, for whoever describes them: its help, man pages.
pub fn command() -> clap::Command {
    help::grouped(commands::all())
}

/// Runs the program with this process's arguments.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if arguments.get(1).is_some_and(|command| command == completions::HELPER) {
        output::out(&completions::answer(commands::all(), arguments[2..].to_vec()));
        return Exit::Ok.into();
    }
    let arguments = usage::go_style(arguments);
    let Some(command) = arguments.get(1) else {
        return match output::page(&help::grouped(commands::all()).render_help()) {
            Err(Exit::Failed) => Exit::Failed.into(),
            _ => Exit::Usage.into(),
        };
    };
    match commands::parse(&command.to_string_lossy(), &arguments) {
        Ok(command) => run(command).into(),
        Err(error) => {
            let typed: Vec<OsString> = std::env::args_os().collect();
            usage::explain(&error, &arguments, &typed).into()
        }
    }
}

fn run(command: Command) -> Exit {
    mask::spare_the_owner();
    // Without it a write that is too long ends us: what was done by then would not be told.
    let _ = outlive_limits();
    match command {
        Command::Locks(command) => match open() {
            Ok(locks) => ask(&locks, command),
            Err(error) => output::fail(&error),
        },
        Command::Beside(Beside::Doctor(args)) => output::print(&doctor::run(&args)),
        Command::Beside(Beside::Demo(args)) => demo::run(&args),
        Command::Beside(Beside::Completions(args)) => output::print(&completions::run(&args)),
        Command::Beside(Beside::Version(_)) => output::print(&version::run()),
    }
}

fn ask(locks: &Locks, command: OnLocks) -> Exit {
    // What looking has found is to be seen before anything is cleared away.
    let tidies = matches!(command, OnLocks::Status(_));
    let outcome = match command {
        OnLocks::Guard(args) => guard::run(locks, &args),
        OnLocks::Lock(args) => lock::run(locks, &args),
        OnLocks::Unlock(args) => unlock::run(locks, &args),
        OnLocks::Renew(args) => renew::run(locks, &args),
        OnLocks::Status(args) => status::run(locks, &args),
        OnLocks::Why(args) => why::run(locks, &args),
        OnLocks::Exists(args) => exists::run(locks, &args),
        OnLocks::Freeze(args) => freeze::run(locks, &args),
        OnLocks::Unfreeze(args) => unfreeze::run(locks, &args),
        OnLocks::Audit(args) => audit::run(locks, &args),
        OnLocks::Prime(args) => prime::run(locks, &args),
    };
    match outcome {
        Ok(report) => {
            let exit = output::conclude(&report);
            if tidies {
                tidy(locks);
            }
            exit
        }
        Err(error) => output::fail(&error),
    }
}

fn open() -> Result<Locks, Error> {
    at(&Root::discover().map_err(Error::root)?)
}

fn at(root: &Root) -> Result<Locks, Error> {
    Locks::at(root, Arc::new(|warning: &str| output::say_soon(&format!("warning: {warning}"))))
}

/// After a command's own work, if that has succeeded: clears dead locks away, if it is time for it and nobody has turned
/// it off. Where a command has failed, a sweep would, too, and take its time for it.
fn tidy(locks: &Locks) {
    if environment("LOKT_NO_SWEEP").is_none() {
        locks.tidy();
    }
}
