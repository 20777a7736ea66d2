//! Which keys ring whose bell. A waiter watches one key, or if it is the first in line, the name's state; a holder its
//! record. A watch goes on until its bell has no use for it, so that nothing is missed between two sleeps.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::etcd::{self, Client, News, Span};
use super::EtcdStore;
use super::keys::Keys;
use crate::host::SessionFile;
use crate::protocol::{LockId, Name};
use crate::store::Watch;

/// What every bell of this process is rung by.
#[derive(Default)]
pub(super) struct Watching(Mutex<HashMap<u64, Bell>>);

/// What a bell is rung by, and what its owner saw last.
#[derive(Default)]
struct Bell {
    revision: i64,
    before: Option<LockId>,
    watch: Option<Active>,
}

struct Active {
    key: String,
    is_over: Arc<AtomicBool>,
    _watch: etcd::Watch,
}

impl Watching {
    fn bells(&self) -> MutexGuard<'_, HashMap<u64, Bell>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a waiter saw: who is before it, at which revision.
    pub(super) fn note(&self, bell: u64, revision: i64, before: Option<LockId>) {
        let mut bells = self.bells();
        let known = bells.entry(bell).or_default();
        known.revision = revision;
        known.before = before;
    }

    /// Has a bell rung by any change of one key from a revision on, and by nothing else any more.
    pub(super) fn only(&self, client: &Client, bell: &Arc<dyn SessionFile>, key: Option<(String, i64)>) {
        let mut bells = self.bells();
        let known = bells.entry(bell.inode()).or_default();
        known.watch = None;
        if let Some((key, from)) = key {
            known.watch = Active::start(client, Span::key(key.as_str()), key, from, true, bell);
        }
    }

    /// Nothing rings that bell any more.
    pub(super) fn end(&self, bell: u64) {
        let ended = self.bells().remove(&bell);
        drop(ended);
    }

    /// Has a waiter's bell rung by what it waits for: the end of who is before it, or what goes of the name's state.
    fn wait_for(&self, client: &Client, keys: &Keys, name: &Name, bell: &Arc<dyn SessionFile>) -> bool {
        let mut bells = self.bells();
        let known = bells.entry(bell.inode()).or_default();
        let (key, span) = match &known.before {
            Some(before) => {
                let key = keys.ticket(name, before);
                (key.clone(), Span::key(key))
            }
            None => {
                let key = keys.state(name);
                (key.clone(), Span::prefix(key))
            }
        };
        if known.watch.as_ref().is_some_and(|active| active.key == key && !active.is_over()) {
            return true;
        }
        // The old one first: it may be the last thread that there can be.
        known.watch = None;
        known.watch = Active::start(client, span, key, known.revision + 1, false, bell);
        known.watch.is_some()
    }
}

impl Active {
    fn start(
        client: &Client,
        span: Span,
        key: String,
        from: i64,
        puts: bool,
        bell: &Arc<dyn SessionFile>,
    ) -> Option<Self> {
        let is_over: Arc<AtomicBool> = Arc::default();
        let (over, bell) = (Arc::clone(&is_over), Arc::downgrade(bell));
        let watch = client.watch(&span, from, move |news| {
            let rings = match news {
                News::Deleted { .. } => true,
                News::Put(_) => puts,
                News::Began { .. } | News::Interrupted(_) => false,
                News::Compacted { .. } | News::Refused(_) => {
                    over.store(true, Ordering::Release);
                    true
                }
            };
            if let (true, Some(bell)) = (rings, bell.upgrade()) {
                bell.ring();
            }
        });
        Some(Self { key, is_over, _watch: watch.ok()? })
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }
}

impl EtcdStore {
    /// See [`Store::watch`](crate::store::Store::watch): who is before in line, or who holds the name. If that one is
    /// on this machine, its death is heard of before its lease ends.
    pub(super) fn watch_for(&self, name: &Name, watch: &Watch, bell: &Arc<dyn SessionFile>) -> bool {
        match watch {
            Watch::Session(id) => {
                if self.probe(name, id) == Some(true) {
                    self.sessions.watch(name, id, bell);
                }
            }
            Watch::Process(pid) => drop(self.local.watch_process(*pid, bell)),
            Watch::Doorbell => {}
            Watch::Poll => return false,
        }
        self.watching.wait_for(&self.client, &self.keys, name, bell)
    }
}
