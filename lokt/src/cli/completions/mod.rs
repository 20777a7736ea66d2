//! `lokt completions`: a script that teaches a shell to complete lokt's arguments.
//!
//! The scripts know nothing of lokt's arguments: at each Tab they ask `lokt __complete`, see [`answer`], so what they
//! offer fits the installed version and the locks that are held now. They run the `lokt` of the search path, never a
//! program of the working directory.

mod answer;

pub(super) use answer::answer;

use super::output::{Output, Report};

/// What the scripts ask with, in the place of a command: `lokt __complete lokt unlock de`.
pub(super) const HELPER: &str = "__complete";

/// Print a script that completes commands, options and lock names
///
/// Lock names come from the locks that are held or frozen at that moment; after `lokt guard NAME --`, the guarded
/// command and its arguments are completed as they would be without lokt. For zsh, the directory must be in $fpath
/// before compinit runs. Start a new shell afterwards.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    lokt completions bash > ~/.local/share/bash-completion/completions/lokt\n  \
    lokt completions zsh > ~/.zfunc/_lokt\n  \
    lokt completions fish > ~/.config/fish/completions/lokt.fish")]
pub(super) struct Args {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

pub(super) fn run(args: &Args) -> Report {
    let script = match args.shell {
        Shell::Bash => include_str!("lokt.bash"),
        Shell::Zsh => include_str!("lokt.zsh"),
        Shell::Fish => include_str!("lokt.fish"),
    };
    Report::ok(Output::Text(script.to_owned()))
}
