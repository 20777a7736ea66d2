//! All names at once: each directory is listed once, and nothing is looked for where the listing shows nothing.

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap, HashSet};

use super::{DirStore, LockId, Name};
use crate::Error;
use crate::host::Dir;
use crate::store::sessions::split_session;
use crate::store::{Status, View, confirmed};

/// What the root's directories hold.
pub(super) struct Listing {
    locks: HashSet<String>,
    freezes: HashSet<String>,
    lines: HashSet<String>,
    /// Only asked for when a record is corrupt.
    sessions: OnceCell<HashMap<String, Vec<LockId>>>,
}

impl Listing {
    /// Whether there may be such a record or freeze.
    pub(super) fn has(&self, dir: Dir<'_>, file: &str) -> bool {
        match dir {
            Dir::Locks => self.locks.contains(file),
            Dir::Freezes => self.freezes.contains(file),
            _ => true,
        }
    }

    fn names(&self) -> BTreeSet<Name> {
        // Early versions of the Go tool had the freeze of a name among the locks.
        let old_freezes = self.locks.iter().filter_map(|file| file.strip_prefix("freeze-"));
        let files = self.locks.iter().chain(&self.freezes).map(String::as_str).chain(old_freezes);
        files.filter_map(|file| file.strip_suffix(".json")?.parse().ok()).collect()
    }
}

impl DirStore {
    pub(super) fn list_all(&self) -> Result<Vec<Status>, Error> {
        let all = self.listing()?;
        all.names().into_iter().map(|name| self.status_of(name, &all)).collect()
    }

    fn listing(&self) -> Result<Listing, Error> {
        let list = |dir| self.host.list(dir).map(HashSet::from_iter).map_err(Error::root);
        Ok(Listing {
            locks: list(Dir::Locks)?,
            freezes: list(Dir::Freezes)?,
            lines: list(Dir::Lines)?,
            sessions: OnceCell::new(),
        })
    }

    fn status_of(&self, name: Name, all: &Listing) -> Result<Status, Error> {
        let view = self.view(&name, Some(all));
        let waiters =
            if all.lines.contains(name.as_str()) { self.living_waiters(&name)? } else { Vec::new() };
        Ok(Status { name, view, waiters })
    }

    /// A name as it stands, without any lock.
    pub(super) fn view(&self, name: &Name, all: Option<&Listing>) -> View {
        let look = || {
            let now = self.host.now();
            View::of(self.gather_from(name, None, &[], &now, all), now)
        };
        confirmed(look(), |view| view.dead().collect(), || Some(look()))
    }

    /// The sessions of a name; `None` if they can't be listed.
    pub(super) fn sessions_of(&self, name: &Name, all: Option<&Listing>) -> Option<Vec<LockId>> {
        let by_name = || self.host.list(Dir::Sessions).ok().map(|files| by_name(&files));
        match all {
            None => by_name()?.remove(name.as_str()).or(Some(Vec::new())),
            Some(all) => {
                if all.sessions.get().is_none() {
                    let _ = all.sessions.set(by_name()?);
                }
                Some(all.sessions.get()?.get(name.as_str()).cloned().unwrap_or_default())
            }
        }
    }
}

fn by_name(files: &[String]) -> HashMap<String, Vec<LockId>> {
    let mut sessions: HashMap<String, Vec<LockId>> = HashMap::new();
    for (name, id) in files.iter().filter_map(|file| split_session(file)) {
        sessions.entry(name.to_owned()).or_default().push(id);
    }
    sessions
}
