//! A guard inside a guard of the same lock.
//!
//! It runs straight through instead of waiting for itself. That it is inside must be proved: the environment
//! names the admission, the record confirms it, *and* this process holds the descriptor that the guarded command
//! inherited, or has that guard among its ancestors. A variable can be copied, and a process can outlive its
//! guard.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::Locks;
use crate::host::{ProcessState, environment, process};
use crate::protocol::{Kind, LockId, Mode, Name, Record};

/// The variable that lists every lock that the guards around a command hold: `name:lock_id`, by spaces.
pub(crate) const HELD: &str = "LOKT_HELD";

/// The value of [`HELD`] for a command that gets one more lock.
pub(crate) fn held_with(name: &Name, lock_id: &LockId) -> String {
    let outer = environment(HELD).unwrap_or_default();
    format!("{outer} {name}:{lock_id}").trim_start().to_owned()
}

/// How the guard around this process holds `name`, if one does.
pub(crate) fn held_around(locks: &Locks, name: &Name) -> Option<Mode> {
    let claimed = claimed(name);
    if claimed.is_empty() {
        return None;
    }
    let view = locks.status(name).ok()?.view;
    let mut guards = view.held_by().filter(|(record, _)| record.kind == Some(Kind::Guard));
    let around =
        guards.find(|(record, _)| claimed.contains(&record.lock_id) && is_of_guard(locks, name, record));
    around.map(|(record, _)| record.mode())
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
    let me = locks.identity();
    if record.pid_ns == me.pid_ns && record.host == me.host {
        // Its guard can be seen from here, and must run.
        let runs = process::state_of(record.pid, record.pid_start_ns) == ProcessState::Running;
        return runs && (process::ancestors().contains(&record.pid) || holds_descriptor(locks, name, record));
    }
    holds_descriptor(locks, name, record)
}

/// Whether one of this process's descriptors is the session's file.
fn holds_descriptor(locks: &Locks, name: &Name, record: &Record) -> bool {
    let Some(file) = record.id().and_then(|id| locks.session_path(name, &id)) else {
        return false;
    };
    let Ok(session) = fs::symlink_metadata(file) else {
        return false;
    };
    let Ok(descriptors) = fs::read_dir("/proc/self/fd") else {
        return false;
    };
    descriptors.flatten().any(|entry| {
        fs::metadata(entry.path())
            .is_ok_and(|open| open.dev() == session.dev() && open.ino() == session.ino())
    })
}
