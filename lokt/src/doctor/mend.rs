//! Clears up what nobody alive uses: each thing under the mutex of its name, and only if it is still left over there.

use std::iter;
use std::sync::mpsc::Sender;
use std::time::Duration;

use super::contents::{Contents, Found};
use super::{Diagnosis, News, PATIENCE, Patient, State, apart, examine};
use crate::host::{Host, Identity};
use crate::store::{DirStore, Leftover};

/// How often a root is looked over, and how late one more round may begin.
const ROUNDS: usize = 4;
const BUDGET: Duration = Duration::from_secs(15);

/// What was done about something, or why it was not.
pub(super) struct Cleared {
    check: &'static str,
    what: String,
    failed: Option<String>,
}

/// Clears up, and examines the root again: the checks say what was done, and how things stand now.
pub(crate) fn mend(identity: &Identity) -> Diagnosis {
    #[cfg(feature = "etcd")]
    if let Some(diagnosis) = super::of_cluster(identity, true) {
        return diagnosis;
    }
    let patient = identity.clone();
    // What hangs is told by the examination that follows.
    let news = apart(move |sender| clear_up(patient, sender));
    let cleared = iter::from_fn(|| news.recv_timeout(PATIENCE).ok());
    let cleared: Vec<Cleared> = cleared
        .filter_map(|news| match news {
            News::Cleared(cleared) => Some(cleared),
            _ => None,
        })
        .collect();
    let mut diagnosis = examine(identity);
    for Cleared { check, what, failed } in cleared {
        let Some(check) = diagnosis.checks.iter_mut().find(|one| one.name == check) else {
            continue;
        };
        match failed {
            None => check.fixed.push(format!("removed {what}")),
            Some(why) => check.items.push(format!("not removed: {what}: {why}")),
        }
    }
    diagnosis
}

/// Some of what is left over comes to light when something else is gone.
fn clear_up(identity: Identity, sender: &Sender<News>) {
    let patient = Patient::new(identity);
    // What root makes on the way as root, mutexes say, would shut the root's own users out.
    let usable = matches!(patient.state, State::There) && patient.host.is_ours();
    let until = patient.host.now().monotonic + BUDGET;
    for _ in 0..ROUNDS {
        let late = patient.host.now().monotonic > until;
        if late || !usable || !clear_once(&patient, sender) {
            return;
        }
    }
}

/// Whether anything was removed. What has come to life since it was looked at is left alone.
fn clear_once(patient: &Patient, sender: &Sender<News>) -> bool {
    let mut contents = Contents::of(&patient.host, &patient.store);
    // A dead waiter's session goes with its ticket.
    contents.found.sort_by_key(|found| order(&found.thing));
    let cleared = contents.found.into_iter().filter_map(|found| clear(&patient.store, found));
    let mut any = false;
    for one in cleared {
        any |= one.failed.is_none();
        if sender.send(News::Cleared(one)).is_err() {
            return false;
        }
    }
    any
}

fn order(thing: &Leftover) -> u8 {
    match thing {
        Leftover::Record(_) | Leftover::Corrupt(_) => 0,
        Leftover::Line(_) | Leftover::Holders(_) => 1,
        _ => 2,
    }
}

fn clear(store: &DirStore, found: Found) -> Option<Cleared> {
    let Found { check, thing, what } = found;
    match store.clear(&thing) {
        Ok(true) => Some(Cleared { check, what, failed: None }),
        // It has come to life, or somebody else was quicker.
        Ok(false) => None,
        Err(error) => Some(Cleared { check, what, failed: Some(error.to_string()) }),
    }
}
