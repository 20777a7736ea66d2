//! What any store has on this machine, wherever its records are: the files of its sessions, under their mutexes.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::hash::fnv1a;
use crate::host::{Dir, Host, ProcessState, SessionFile, SessionState};
use crate::protocol::{Displaced, LockId, Name, Standing, Witness};

/// How many mutexes there are. More than the cores that could contend for them, few enough to leave lying.
pub(super) const STRIPES: usize = 64;

/// The mutex of a name. Two names that are one file where case does not count have the same.
pub(super) fn stripe_of(name: &str) -> usize {
    let hash = fnv1a(name.bytes().map(|byte| byte.to_ascii_lowercase()));
    (hash % STRIPES as u64) as usize
}

/// The name and the `lock_id` in the name of a session's file.
pub(crate) fn split_session(file: &str) -> Option<(&str, LockId)> {
    let (name, id) = file.rsplit_once('.')?;
    Some((name, LockId::parse(id)?))
}

/// The name of a session's file.
fn session_file(name: &Name, lock_id: &LockId) -> String {
    format!("{name}.{lock_id}")
}

/// What can be seen on this machine of the holders of a name.
pub(super) struct Holders<'a>(&'a dyn Host, &'a Name);

impl Witness for Holders<'_> {
    fn session(&self, id: &LockId, inode: Option<u64>) -> SessionState {
        self.0.probe_session(&session_file(self.1, id), inode)
    }

    fn process(&self, pid: i64) -> ProcessState {
        self.0.process(pid)
    }
}

/// The sessions of this machine, by name and admission.
pub(super) struct Sessions(Arc<dyn Host>);

impl Sessions {
    pub(super) fn on(host: &Arc<dyn Host>) -> Self {
        Self(Arc::clone(host))
    }

    /// Makes a session's file, whose flock is held from then on. The caller holds the name's mutex.
    pub(super) fn create(&self, name: &Name, lock_id: &LockId) -> io::Result<Arc<dyn SessionFile>> {
        let file = session_file(name, lock_id);
        Ok(self.0.create_session(&file, stripe_of(name.as_str()))?.into())
    }

    /// What can be seen here of the holders of a name.
    pub(super) fn of<'a>(&'a self, name: &'a Name) -> Holders<'a> {
        Holders(self.0.as_ref(), name)
    }

    /// Looks whether a session lives, by this very file if its `inode` is known.
    pub(super) fn probe(&self, name: &Name, lock_id: &LockId, inode: Option<u64>) -> SessionState {
        self.0.probe_session(&session_file(name, lock_id), inode)
    }

    /// Rings `bell` once a session has ended; `false` if that can't be told.
    pub(super) fn watch(&self, name: &Name, lock_id: &LockId, bell: &Arc<dyn SessionFile>) -> bool {
        self.0.watch_session(&session_file(name, lock_id), bell)
    }

    /// Tells a session that something has changed.
    pub(super) fn ring(&self, name: &Name, lock_id: &LockId) {
        self.0.ring_session(&session_file(name, lock_id));
    }

    /// Rings a session's bell in a way that can be told from all others.
    pub(super) fn mark(&self, name: &Name, lock_id: &LockId, mark: u64) {
        self.0.mark_session(&session_file(name, lock_id), mark);
    }

    /// Whether a session has heard that mark, as far as can be told.
    pub(super) fn has_heard(&self, name: &Name, lock_id: &LockId, mark: u64) -> bool {
        self.0.has_heard(&session_file(name, lock_id), mark)
    }

    /// Removes a session's file.
    pub(super) fn remove(&self, name: &Name, lock_id: &LockId) {
        // What can't be removed now, a sweep removes.
        let _ = self.0.remove(Dir::Sessions, &session_file(name, lock_id), false);
    }

    /// What becomes of the session whose record was removed or replaced.
    pub(super) fn settle(&self, name: &Name, gone: &Displaced) {
        let Some(id) = gone.id() else {
            return;
        };
        // That of a manual lock is over since it was admitted, and still there if its process was killed just then.
        if let Standing::Abandoned(_) = gone.standing {
            self.remove(name, &id);
        } else if !gone.is_given_up() {
            self.ring(name, &id);
        }
    }

    /// Where a session's file is.
    pub(super) fn path(&self, name: &Name, lock_id: &LockId) -> Option<PathBuf> {
        self.0.session_path(&session_file(name, lock_id))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_name_of_a_sessions_file_is_split_as_it_was_made(text in "[A-Za-z0-9._-]{1,200}", id: [u8; 16]) {
            let Ok(name) = text.parse::<Name>() else { return Ok(()) };
            let id = LockId::from_random(id);
            let file = session_file(&name, &id);
            prop_assert_eq!(split_session(&file), Some((name.as_str(), id)));
        }

        #[test]
        fn what_is_split_is_what_would_be_made(file in "[0-9+-]{0,14}[.]?[0-9a-f]{31,33}|[0-9a-z.]{0,50}") {
            if let Some((name, id)) = split_session(&file) {
                prop_assert_eq!(format!("{name}.{id}"), file);
            }
        }

        /// On some file systems they are one file, and so they must be under one mutex.
        #[test]
        fn names_that_differ_in_case_share_a_stripe(text in "[A-Za-z0-9._-]{1,20}") {
            let stripe = |text: String| text.parse().as_ref().map(|name: &Name| stripe_of(name.as_str())).ok();
            prop_assert_eq!(stripe(text.to_ascii_lowercase()), stripe(text.to_ascii_uppercase()));
        }
    }
}
