//! Keeps a ticket alive: a waiter that is stopped or cut off loses its place by itself.

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::super::etcd::Client;
use crate::host::{Host, SessionFile};

/// The lease of a ticket.
pub(super) const TICKET_TTL_S: i64 = 10;

/// How often it is renewed, and how long that may take.
const BEAT: Duration = Duration::from_secs(3);

/// Who keeps a ticket's lease alive, until told to end it.
pub(super) struct Keeper(Arc<State>);

#[derive(Default)]
struct State {
    ended: Mutex<bool>,
    news: Condvar,
}

impl Keeper {
    /// Keeps `lease` alive in a thread of its own, which ends the lease when it is told to. If the lease is gone, it
    /// rings `bell`.
    pub(super) fn start(
        host: &dyn Host,
        client: Client,
        lease: i64,
        bell: &Arc<dyn SessionFile>,
    ) -> std::io::Result<Self> {
        let state: Arc<State> = Arc::default();
        let (own, bell) = (Arc::clone(&state), Arc::downgrade(bell));
        host.spawn("ticket", Box::new(move || own.keep(&client, lease, &bell)))?;
        Ok(Self(state))
    }

    /// Ends the lease, soon; nobody waits for it.
    pub(super) fn end(&self) {
        *self.0.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.news.notify_all();
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.end();
    }
}

impl State {
    fn keep(&self, client: &Client, lease: i64, bell: &Weak<dyn SessionFile>) {
        while !self.has_ended_within(BEAT) {
            if let Ok(None) = client.keep_alive(lease, BEAT) {
                if let Some(bell) = bell.upgrade() {
                    bell.ring();
                }
                return;
            }
        }
        let _ = client.revoke(lease, BEAT);
    }

    fn has_ended_within(&self, time: Duration) -> bool {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.news.wait_timeout_while(ended, time, |ended| !*ended);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}
