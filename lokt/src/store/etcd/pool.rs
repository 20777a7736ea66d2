//! The connections to all members, kept open between calls, and the member that last was of use.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::address::{Address, Endpoint};
use super::http::Connection;
use super::tls::Tls;

/// How many connections are kept to one member: as many calls as a process is likely to make at once.
const KEPT: usize = 4;

/// All of them.
pub(super) struct Pool {
    endpoints: Vec<Endpoint>,
    tls: Option<Tls>,
    idle: Mutex<Vec<(usize, Connection)>>,
    current: AtomicUsize,
    token: Mutex<Option<Arc<str>>>,
}

impl Pool {
    pub fn new(address: &Address, tls: Option<Tls>) -> Self {
        Self {
            endpoints: address.endpoints.clone(),
            tls,
            idle: Mutex::new(Vec::new()),
            current: AtomicUsize::new(0),
            token: Mutex::new(None),
        }
    }

    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// All members in the order in which to try them: the one that last was of use comes first.
    pub fn order(&self) -> impl Iterator<Item = (usize, &Endpoint)> + use<'_> {
        let first = self.current.load(Ordering::Relaxed);
        let indexed = || self.endpoints.iter().enumerate();
        indexed().skip(first).chain(indexed().take(first))
    }

    /// This member is of use.
    pub fn prefer(&self, index: usize) {
        self.current.store(index, Ordering::Relaxed);
    }

    /// A connection to a member: one that is open already, if there is one.
    pub fn connect(&self, index: usize, by: Duration) -> io::Result<Connection> {
        while let Some(connection) = self.kept(index) {
            if connection.is_quiet() {
                return Ok(connection);
            }
        }
        self.open(index, by)
    }

    /// A new connection to a member.
    pub fn open(&self, index: usize, by: Duration) -> io::Result<Connection> {
        let endpoint = self.endpoints.get(index).ok_or(io::ErrorKind::NotFound)?;
        Connection::open(endpoint, self.tls.as_ref(), by)
    }

    fn kept(&self, index: usize) -> Option<Connection> {
        let mut idle = self.idle();
        let place = idle.iter().rposition(|(of, _)| *of == index)?;
        Some(idle.swap_remove(place).1)
    }

    /// Keeps a connection for the next call.
    pub fn keep(&self, index: usize, connection: Connection) {
        let mut idle = self.idle();
        if idle.iter().filter(|(of, _)| *of == index).count() < KEPT {
            idle.push((index, connection));
        }
    }

    /// Closes what was kept to a member.
    pub fn forget(&self, index: usize) {
        self.idle().retain(|(of, _)| *of != index);
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(usize, Connection)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The token that every member takes, if there is one.
    pub fn token(&self) -> Option<Arc<str>> {
        self.tokens().clone()
    }

    /// Notes the token.
    pub fn set_token(&self, token: Arc<str>) {
        *self.tokens() = Some(token);
    }

    /// Forgets a token, unless there is another by now.
    pub fn forget_token(&self, refused: &str) {
        let mut token = self.tokens();
        if token.as_deref() == Some(refused) {
            *token = None;
        }
    }

    fn tokens(&self) -> MutexGuard<'_, Option<Arc<str>>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
