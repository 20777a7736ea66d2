//! What a shell's script is told at a Tab: `lokt __complete WORD…`, the last word being the one to complete.
//!
//! The first line of the answer is `words`, and each of the others a word that fits, with a description after a tab;
//! or it is `command N`: the words from the N-th on (counted from 0) are another program's, to be completed as such.
//! Whatever goes wrong, nothing is offered: a shell's prompt is no place for messages. Nothing is created or changed.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;

use clap::{Arg, Command};
use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter, CompletionCandidate, complete};

use crate::cli::usage::go_style;
use crate::locks::Status;
use crate::protocol::Stored;
use crate::{Locks, words};

/// The answer for these words of the command line, the program's name first.
pub(in crate::cli) fn answer(command: Command, words: Vec<OsString>) -> String {
    if let Some(begin) = guarded_command(&command, &words) {
        return format!("command {begin}");
    }
    let mut answer = "words".to_owned();
    for candidate in candidates(command, words) {
        let _ = write!(answer, "\n{}", candidate.get_value().to_string_lossy());
        // Of a long description the first sentence.
        let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
        if let Some(help) = help.lines().next() {
            let _ = write!(answer, "\t{}", words::printable(help));
        }
    }
    answer
}

/// Where the command begins that the words before the last hand over to: behind `--`, where one is taken.
fn guarded_command(command: &Command, words: &[OsString]) -> Option<usize> {
    let called = command.find_subcommand(words.get(1)?)?;
    let begin = words.iter().position(|word| word == "--")? + 1;
    (called.get_positionals().any(Arg::is_last_set) && begin < words.len()).then_some(begin)
}

fn candidates(command: Command, mut words: Vec<OsString>) -> Vec<CompletionCandidate> {
    let Some(current) = words.pop() else {
        return Vec::new();
    };
    let mut words = go_style(words);
    words.push(current.clone());
    let index = words.len() - 1;
    let mut found = complete(&mut with_live_values(command), words, index, None).unwrap_or_default();
    // Options are offered to who has begun one, or has nothing else to write.
    let is_option =
        |candidate: &CompletionCandidate| candidate.get_value().as_encoded_bytes().starts_with(b"-");
    if current.is_empty() && !found.iter().all(is_option) {
        found.retain(|candidate| !is_option(candidate));
    }
    found
}

/// The arguments, with values from the root that is in use here, whichever command they belong to.
fn with_live_values(command: Command) -> Command {
    command.mut_subcommands(|called| {
        let which = Which::of(called.get_name());
        called.mut_args(move |arg| match arg.get_id().as_str() {
            "name" => arg.add(ArgValueCandidates::new(move || names(which))),
            "names" | "with" => arg.add(ArgValueCompleter::new(one_more_name)),
            "owner" => arg.add(ArgValueCandidates::new(owners)),
            _ => arg,
        })
    })
}

/// Which names make sense for a command.
#[derive(Clone, Copy)]
enum Which {
    All,
    Held,
    Frozen,
}

impl Which {
    fn of(command: &str) -> Self {
        match command {
            "unlock" | "renew" => Self::Held,
            "unfreeze" => Self::Frozen,
            _ => Self::All,
        }
    }

    fn takes(self, status: &Status) -> bool {
        match self {
            Self::All => true,
            Self::Held => !matches!(status.view.stored, Stored::Empty),
            Self::Frozen => status.view.freeze.is_some(),
        }
    }
}

fn names(which: Which) -> Vec<CompletionCandidate> {
    let fits = listed().into_iter().filter(|status| which.takes(status));
    fits.map(|status| CompletionCandidate::new(status.name.as_str()).help(Some(about(&status).into())))
        .collect()
}

/// One of the names behind those that stand before the last comma.
fn one_more_name(begun: &OsStr) -> Vec<CompletionCandidate> {
    let begun = begun.to_string_lossy();
    let (before, last) = begun.split_at(begun.rfind(',').map_or(0, |comma| comma + 1));
    let is_new = |name: &str| name.starts_with(last) && before.split(',').all(|other| other != name);
    let fits = names(Which::All).into_iter().filter(|found| is_new(&found.get_value().to_string_lossy()));
    fits.map(|found| found.add_prefix(before)).collect()
}

/// A lock in a few words.
fn about(status: &Status) -> String {
    let view = &status.view;
    let state = words::state(&view.standing, view.freeze.is_some());
    let record = match (view.held_by().next(), &view.freeze) {
        (Some((record, _)), _) => record,
        (_, Some(freeze)) => &*freeze.record,
        _ => return state.to_owned(),
    };
    format!("{state}, {}, {}", words::person(record), words::ago(record.age(&view.now)))
}

/// Who holds anything. An owner can be any text, and a shell puts a completion on its line as it is: only what means
/// nothing to a shell is offered.
fn owners() -> Vec<CompletionCandidate> {
    let is_plain = |owner: &String| {
        !owner.starts_with('-') && owner.chars().all(|c| c.is_alphanumeric() || "._-+".contains(c))
    };
    let owners: BTreeSet<String> = listed()
        .iter()
        .flat_map(|status| status.view.held_by().map(|(record, _)| record.owner.clone()))
        .filter(|owner| !owner.is_empty() && is_plain(owner))
        .collect();
    owners.into_iter().map(CompletionCandidate::new).collect()
}

fn listed() -> Vec<Status> {
    Locks::discover().and_then(|locks| locks.list()).unwrap_or_default()
}
