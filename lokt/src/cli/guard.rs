//! `lokt guard`: a command under a lock.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::exit::Exit;
use super::output::{Report, say_soon};
use super::values::{How, Names, duration, exit_code, names};
use super::waiting::Watcher;
use crate::guard::{self, OnLost, Policy, Wanted};
use crate::host::signals::Signals;
use crate::host::{Program, environment, missing_interpreter};
use crate::protocol::Name;
use crate::{Error, KILL_AFTER, Locks, words};

/// What a name has beside it in `LOKT_HELD`: a `lock_id`, and what parts them.
const BESIDE_A_NAME: usize = 34;

/// So long may not be what a command is told of its locks: Linux takes no variable that is twice that long.
const MUCH_TOLD: usize = 64 << 10;

/// Run a command under a lock, or under several
///
/// The lock is released when the command ends, whatever it leaves in the background; if guard itself is killed, when
/// the command and what it started are gone, too. Signals sent to guard reach the command.
/// With --ttl the lock is renewed all the while; if it is lost nevertheless, the command is ended (exit code 5).
/// Without --ttl it is never taken from a command that runs (on an etcd cluster there is always a TTL, 60s if none is
/// given). A guard inside a guard of the same name just runs
/// its command. The command sees LOKT_NAME, LOKT_LOCK_ID and LOKT_TOKEN (a number that rises with each holder); with
/// --slots, which slot it has as LOKT_SLOT (from 1).
///
/// Several names (a,b,c, or --with) are held all or none, each with --slots or --shared as it is asked for. They are
/// taken in one order, whichever they are given in, so two guards never wait for each other. The loss of one is the
/// loss of all. LOKT_NAME, LOKT_SLOT and their like are those of the first name given; LOKT_TOKENS lists them all, as
/// name:token.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    lokt guard deploy --ttl 5m -- ./deploy.sh\n  \
    lokt guard build --wait --timeout 2m -- make -j4\n  \
    lokt guard gpu --slots 2 --wait -- ./train.sh\n  \
    lokt guard db,cache --wait -- make migrate      both, or neither\n  \
    lokt guard migrate --note 'release 2.1' -- sh -c 'make migrate && make check'")]
pub(super) struct Args {
    /// The lock's name; several are separated by commas
    #[arg(value_name = "NAME", value_parser = names)]
    names: Names,
    /// Another lock beside it; may be repeated
    #[arg(long, value_name = "NAME", value_parser = names)]
    with: Vec<Names>,
    #[command(flatten)]
    how: How,
    /// What to do with the command when the lock is lost
    #[arg(long, value_name = "ACTION", default_value = "kill")]
    on_lost: Lost,
    /// How long the command may take to end before it is killed [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = duration, allow_hyphen_values = true)]
    kill_after: Option<Duration>,
    /// Exit with this code, instead of 2, when the lock is held
    #[arg(long, value_name = "N", value_parser = exit_code, allow_hyphen_values = true)]
    conflict_exit_code: Option<u8>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Lost {
    /// End it
    Kill,
    /// Say so and let it go on
    Warn,
}

impl Args {
    /// All names, as they were given.
    fn names(&self) -> Vec<Name> {
        [&self.names].into_iter().chain(&self.with).flat_map(|names| names.0.clone()).collect()
    }
}

pub(super) fn run(locks: &Locks, args: &Args) -> Result<Report, Error> {
    let mut terms = args.how.terms();
    let wanted = Wanted::new(locks, args.names(), terms.mode)?;
    if wanted.is_empty() {
        return Ok(not_started(args, &guard::exec(&wanted, &args.command)));
    }
    // Before the wait: once the lock is there, nothing should keep the command.
    let program = match Program::new(&args.command) {
        Ok(program) => program,
        Err(error) => return Ok(not_started(args, &error)),
    };
    let signals = Signals::catch().map_err(Error::root)?;
    let kill_after = args.kill_after.unwrap_or(KILL_AFTER);
    terms.kill_after = Some(kill_after);
    let mut watcher = Watcher::new(&signals);
    let patience = args.how.patience();
    let held = match guard::acquire(locks, wanted, &terms, patience, &mut watcher, &signals, &say_soon) {
        Ok(held) => held,
        Err(error) => {
            watcher.clear();
            return Ok(denied(args, &watcher, &error));
        }
    };
    watcher.done();
    let on_lost = match args.on_lost {
        Lost::Kill => OnLost::Kill,
        Lost::Warn => OnLost::Warn,
    };
    let policy = Policy { on_lost, kill_after };
    let mut untidy = None;
    let ended = guard::run(held, program, policy, &signals, &say_soon, || untidy = Some(locks.is_untidy()));
    let ran = matches!(ended, Ok(guard::Ended::Exited(_) | guard::Ended::Signalled(_)));
    if ran && untidy.unwrap_or_else(|| locks.is_untidy()) {
        super::tidy(locks);
    }
    Ok(match ended {
        Ok(ended) => Report::silent(ended.into()),
        Err(error) => not_started(args, &error),
    })
}

fn denied(args: &Args, watcher: &Watcher<'_>, error: &Error) -> Report {
    let mut report = Report::failed(error);
    if let Some(signal) = watcher.ended_by.filter(|_| error.is_interrupted()) {
        report.exit = Exit::Signal(signal.as_raw());
    } else if let (Exit::Held, Some(code)) = (report.exit, args.conflict_exit_code) {
        report.exit = Exit::Code(code);
    }
    if error.is_lost() {
        report.messages = vec![format!("{error}; the command was not started")];
    }
    report
}

/// The command could not be started: the codes of a shell.
fn not_started(args: &Args, error: &io::Error) -> Report {
    let command = &args.command;
    let name = command.first().map(OsString::as_os_str).unwrap_or_default();
    let program = name.to_string_lossy();
    let not_found = match error.kind() {
        io::ErrorKind::NotFound => true,
        // The search went through a directory that may not be searched.
        io::ErrorKind::PermissionDenied => !is_anywhere(command),
        _ => false,
    };
    let exit = if not_found { Exit::NoCommand } else { Exit::NotExecutable };
    let (why, hint) = match missing_interpreter(name).filter(|_| not_found) {
        _ if name.is_empty() => {
            ("the command is empty".to_owned(), Some("lokt guard NAME -- CMD".to_owned()))
        }
        Some(interpreter) => without_interpreter(&program, &interpreter),
        None if not_found && program.starts_with('-') => {
            let hint = "options of lokt guard go before the --, as in lokt guard NAME --ttl 5m -- CMD";
            ("command not found".to_owned(), Some(hint.to_owned()))
        }
        None if not_found => {
            let hint = (!program.contains('/')).then(|| "is it installed, and in the PATH?".to_owned());
            ("command not found".to_owned(), hint)
        }
        None if error.kind() == io::ErrorKind::ArgumentListTooLong => (words::cause(error), too_long(args)),
        None => {
            let may_not = error.kind() == io::ErrorKind::PermissionDenied && Path::new(name).is_file();
            let hint = format!("if it is a program, make it one: chmod +x {program}");
            (words::cause(error), may_not.then_some(hint))
        }
    };
    let program = if program.is_empty() { "\"\"".into() } else { program };
    let mut messages = vec![format!("failed to run {program}: {why}")];
    messages.extend(hint.map(|hint| format!("hint: {hint}")));
    Report { messages, ..Report::silent(exit) }
}

/// What to do if it is what the command is told of its locks that is too long.
fn too_long(args: &Args) -> Option<String> {
    let names = args.names();
    let told: usize = names.iter().map(|name| name.as_str().len() + BESIDE_A_NAME).sum();
    (told > MUCH_TOLD).then(|| {
        format!(
            "what it is told of its {} locks (LOKT_HELD, LOKT_TOKENS) is too long: take fewer",
            names.len()
        )
    })
}

/// What is wrong with a script, whose first line names a program that is not there, and what to do.
fn without_interpreter(program: &str, interpreter: &str) -> (String, Option<String>) {
    match interpreter.ends_with('\r') {
        true => (
            format!("its first line ends as on Windows: there is no interpreter \"{interpreter}\""),
            Some(format!("give it the line ends of Unix: dos2unix {program}")),
        ),
        false => (
            format!("there is no interpreter \"{interpreter}\", which its first line names"),
            Some(format!("install that, or mend the first line of {program}")),
        ),
    }
}

/// Whether there is a file of the command's name where it names one, or anywhere in the search path.
fn is_anywhere(command: &[OsString]) -> bool {
    let Some(program) = command.first().map(Path::new) else {
        return false;
    };
    let path = environment("PATH").unwrap_or_default();
    let named = program.components().count() > 1 || program.is_absolute();
    named || path.split(':').any(|dir| Path::new(dir).join(program).symlink_metadata().is_ok())
}
