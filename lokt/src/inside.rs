//! A guard inside a guard of the same lock.
//!
//! It runs straight through instead of waiting for itself. That it is inside must be proved: the environment
//! names the admission, the record confirms it, *and* this process holds the descriptor that the guarded command
//! inherited, or has that guard among its ancestors. A variable can be copied, and a process can outlive its
//! guard.

use std::collections::BTreeMap;

use crate::Locks;
use crate::host::{ProcessState, environment, process};
use crate::protocol::{Kind, Name, Record};

/// The variable that lists every lock that the guards around a command hold: `name:lock_id`, by spaces.
pub(crate) const HELD: &str = "LOKT_HELD";

/// The variable that lists their tokens, in the same way: `name:token`.
pub(crate) const TOKENS: &str = "LOKT_TOKENS";

/// How many of one name are told of. There are several if guards in different roots hold it; or if the guard around an
/// earlier one has ended, and that can go on for ever.
const OF_A_NAME: usize = 8;

/// What [`HELD`] is for a command that gets `entries` beside those of the guards around it.
pub(crate) fn held_with(entries: &[(&Name, String)]) -> String {
    with(HELD, entries, OF_A_NAME)
}

/// What [`TOKENS`] is for a command that gets `entries`. Of each name it has the innermost: that is the one that is asked for.
pub(crate) fn tokens_with(entries: &[(&Name, String)]) -> String {
    with(TOKENS, entries, 1)
}

/// Of each name, the last so many, each once.
fn with(list: &str, entries: &[(&Name, String)], of_a_name: usize) -> String {
    let outer = environment(list).unwrap_or_default();
    let own = entries.iter().map(|(name, what)| entry(name, what));
    let all: Vec<String> = outer.split(' ').map(str::to_owned).chain(own).collect();
    let mut told = BTreeMap::<&str, Vec<&str>>::new();
    let mut last = Vec::new();
    for pair in all.iter().rev() {
        let Some((name, _)) = pair.split_once(':').filter(|(name, _)| !name.is_empty()) else { continue };
        let of_it = told.entry(name).or_default();
        if of_it.len() < of_a_name && !of_it.contains(&pair.as_str()) {
            of_it.push(pair);
            last.push(pair.as_str());
        }
    }
    last.reverse();
    last.join(" ")
}

/// How a list has `what` of a name.
pub(crate) fn entry(name: &Name, what: &str) -> String {
    format!("{name}:{what}")
}

/// Whether another process, or one that it descends from, was started under one of these [entries](entry) of [`HELD`], as its
/// environment tells; `None` if that can't be told at the moment.
pub(crate) fn is_under(pid: i64, entries: &[String]) -> Option<bool> {
    let variables = process::variables_of(pid)?;
    let held = variables.iter().find_map(|variable| variable.strip_prefix(HELD)?.strip_prefix('='));
    Some(held.is_some_and(|held| held.split(' ').any(|entry| entries.iter().any(|ours| ours == entry))))
}

/// The record of `name` that admits the guard around this process, if there is one.
pub(crate) fn admission(locks: &Locks, name: &Name) -> Option<Record> {
    let claimed = claimed(name);
    if claimed.is_empty() {
        return None;
    }
    let view = locks.status(name).ok()?.view;
    let mut guards =
        view.held_by().map(|(record, _)| record).filter(|record| record.kind == Some(Kind::Guard));
    guards.find(|record| claimed.contains(&record.lock_id) && is_of_guard(locks, name, record)).cloned()
}

/// The admissions of `name` that the environment claims.
fn claimed(name: &Name) -> Vec<String> {
    let held = environment(HELD).unwrap_or_default();
    let mut ids: Vec<String> = held
        .split(' ')
        .filter_map(|pair| pair.split_once(':'))
        .filter(|(of, _)| *of == name.as_str())
        .map(|(_, id)| id.to_owned())
        .collect();
    if environment("LOKT_NAME").as_deref() == Some(name.as_str()) {
        ids.extend(environment("LOKT_LOCK_ID"));
    }
    ids
}

fn is_of_guard(locks: &Locks, name: &Name, record: &Record) -> bool {
    match locks.process_of(record, &locks.now()) {
        // Its guard can be seen from here, and must run.
        ProcessState::Running { .. } => {
            process::ancestors().contains(&record.pid) || holds_descriptor(locks, name, record)
        }
        ProcessState::Gone => false,
        ProcessState::Unknown => holds_descriptor(locks, name, record),
    }
}

/// Whether this process has inherited the session's file.
fn holds_descriptor(locks: &Locks, name: &Name, record: &Record) -> bool {
    let file = record.id().and_then(|id| locks.session_path(name, &id));
    file.is_some_and(|file| process::has_open(&file))
}
