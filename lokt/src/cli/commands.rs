//! Which commands there are, and what they take.

use std::ffi::OsString;
use std::mem::ManuallyDrop;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use super::{
    audit, completions, demo, doctor, exists, freeze, guard, help, lock, prime, renew, status, unfreeze,
    unlock, version, why,
};

/// Serialise risky commands (builds, deploys, migrations, pushes) between all who share this machine
///
/// The locks are in $LOKT_ROOT, else in the git repository around the working directory (all its worktrees share
/// them), else in ./.lokt. LOKT_ROOT=etcd://HOST/PREFIX has them on an etcd cluster, for several machines.
#[derive(Parser)]
#[command(
    name = "lokt",
    version = env!("LOKT_VERSION"),
    max_term_width = 100,
    args_override_self = true,
    subcommand_required = true,
    arg_required_else_help = true,
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
struct Program {}

/// Describes the arguments of a command.
type Describe = fn(clap::Command) -> clap::Command;

/// A set of commands, each called as the module that it is in. A doc comment on the set would be taken for what the
/// program says of itself.
macro_rules! commands {
    ($set:ident { $($variant:ident: $module:ident,)* }) => {
        #[derive(Subcommand)]
        pub(super) enum $set { $($variant($module::Args),)* }

        impl $set {
            const DESCRIBED: &[(&str, Describe)] = &[$((stringify!($module), $module::Args::augment_args),)*];
        }
    };
}

commands! {
    // What is asked of the locks of a root.
    OnLocks {
        Guard: guard,
        Lock: lock,
        Unlock: unlock,
        Renew: renew,
        Status: status,
        Why: why,
        Exists: exists,
        Freeze: freeze,
        Unfreeze: unfreeze,
        Audit: audit,
        Prime: prime,
    }
}

commands! {
    // The others.
    Beside {
        Doctor: doctor,
        Demo: demo,
        Completions: completions,
        Version: version,
    }
}

// What is asked for.
#[derive(Subcommand)]
pub(super) enum Command {
    #[command(flatten)]
    Locks(OnLocks),
    #[command(flatten)]
    Beside(Beside),
}

/// The program with all that it takes.
pub(super) fn all() -> clap::Command {
    Command::augment_subcommands(Program::command())
}

/// What these arguments ask for; the second of them is the command's name.
pub(super) fn parse(name: &str, arguments: &[OsString]) -> Result<Command, clap::Error> {
    let program = match (alone(name), name) {
        (Some(program), _) => program,
        // Only who asks for the overview waits until it is put together.
        (None, "help" | "--help" | "-h") => help::grouped(all()),
        (None, _) => all(),
    };
    // To take it apart again would only keep a command waiting.
    let mut program = ManuallyDrop::new(program);
    let mut matches = program.try_get_matches_from_mut(arguments)?;
    Command::from_arg_matches_mut(&mut matches)
}

/// The program with this command only: to describe all the others takes longer than to take a lock.
fn alone(name: &str) -> Option<clap::Command> {
    let mut described = OnLocks::DESCRIBED.iter().chain(Beside::DESCRIBED);
    let (name, describe) = described.find(|(known, _)| *known == name)?;
    let called = describe(clap::Command::new(*name));
    Some(Program::command().disable_help_subcommand(true).subcommand(called))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_the_same_alone_as_among_the_others() {
        let mut all = all();
        all.build();
        let names: Vec<String> = all.get_subcommands().map(|one| one.get_name().to_owned()).collect();
        assert!(names.len() > 10, "{names:?}");
        for name in names.iter().filter(|name| *name != "help") {
            let mut alone = alone(name).unwrap_or_else(|| panic!("{name} can't be called alone"));
            alone.build();
            let help = |program: &mut clap::Command| {
                program.find_subcommand_mut(name).map(|one| one.render_long_help().ansi().to_string())
            };
            assert_eq!(help(&mut alone), help(&mut all));
        }
    }
}
