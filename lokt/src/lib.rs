//! A lock for risky commands, shared by the people, scripts, CI jobs and agents of one machine.
//!
//! [`Locks`] is an opened root. A [`Session`] is one admission to a [`Name`]: while it lives nobody else is
//! admitted, and dropping it releases the lock. A lock without a TTL is *strict*: it is never taken from
//! anything alive. With a TTL it is a *lease*: it must be renewed, and one that has lapsed may be taken over.
//!
//! ```
//! use std::time::Duration;
//! use lokt::{Locks, Name, Patience, Terms};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! let locks = Locks::open(dir.path());
//! let name: Name = "deploy".parse()?;
//!
//! // Try: a lease of five minutes, kept alive in the background.
//! let terms = Terms { ttl: Some(Duration::from_secs(300)), note: Some("v2".into()), ..Terms::default() };
//! let mut session = locks.try_acquire(&name, &terms)?;
//! session.keep_alive(|news| eprintln!("{news:?}"))?;
//!
//! // Nobody else gets in, not even under the same owner's name, and a live holder can't be broken.
//! let late = locks.acquire(&name, &terms, Patience::AtMost(Duration::from_millis(10)));
//! assert!(late.is_err_and(|error| error.is_timed_out()));
//! assert!(locks.break_stale(&name).is_err());
//! assert_eq!(locks.status(&name)?.waiters.len(), 0);
//!
//! // Renew by hand, if there is no heartbeat; and release (or drop).
//! session.renew()?;
//! let token = session.token();
//! session.release()?;
//! assert!(locks.try_acquire(&name, &terms)?.token() > token);
//! # Ok(())
//! # }
//! ```
//!
//! # Where to look
//!
//! [`protocol`] holds every rule, as data and one pure function; [`store`] carries its decisions out
//! atomically; [`host`] is this machine, and the only room with effects but for a guard's command and the
//! connections to an etcd cluster. Between them, [`Session`] is an admission with its heartbeat, and waiting is
//! one loop for whoever stands in line; what has happened is in the [`audit`] log. The command line is in [`cli`]
//! and holds no rule; `guard`, `doctor` and `prime` do the work of its commands that are more than a question to
//! [`Locks`].

pub mod audit;
pub mod cli;
pub mod host;
pub mod protocol;
pub mod store;

mod doctor;
mod error;
mod guard;
mod hash;
mod hints;
mod inside;
mod locks;
mod prime;
mod session;
mod wait;
mod words;

pub use error::Error;
pub use locks::{KILL_AFTER, Locks, Patience, Status, Terms};
pub use protocol::{LockId, Name, Record};
pub use session::{News, Session};
pub use wait::{Observer, Progress, Unobserved, WaitControl};
