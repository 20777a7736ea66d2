//! The lock protocol as data and one pure step.
//!
//! Nothing here does I/O, reads a clock or asks the environment: whoever runs the protocol gathers the
//! [`Evidence`], calls [`decide`] and carries out the [`Decision`]. The embedded store, the simulated
//! machine of the tests and every later store run this same code.
//!
//! # The nouns
//!
//! * A **session** is one admission to a name, known by its [`LockId`]; it is not its owner's name.
//! * A **record** is what is written of the holder. It says who and why; it never proves that anyone lives.
//! * A **lease** is a record with a TTL: an upper bound on how long a *hung* holder can block others.
//! * A **waiter** stands in line for a name; a **contender** is anyone who wants what another has.
//! * A **fencing token** grows with each admission to a name (Kleppmann, *How to do distributed locking*,
//!   2016), so that a resource can refuse the late writes of an earlier holder.
//! * **Stale** is a record whose holder is dead, or whose lease has lapsed.
//! * A **freeze** keeps everybody out of a name for a while; it takes nothing from whoever holds it.
//!
//! # The invariants
//!
//! 1. At most one session is admitted to a name; if it is held in slots, at most so many; if it is shared, nobody
//!    who wants it alone. Only a [`Decision::Admit`] admits, and it is only ever made from evidence that there is
//!    room ([`Mode::has_room`]).
//! 2. A renewal commits only on the renewer's own record, by `lock_id`.
//! 3. A record is displaced only when it was judged stale by evidence gathered in the same atomic step.
//! 4. The tokens of a name strictly rise.
//! 5. Doubt counts as *held*: an unknown kind, a newer version, an unreadable file, another machine's
//!    clock, a liveness file that has gone missing.
//! 6. Nobody overtakes a waiter that is ready, and the line is joined in the same step as the refusal.

mod admit;
mod clock;
mod decide;
mod decision;
mod duration;
mod evidence;
mod freeze;
mod lease;
mod liveness;
mod mode;
mod name;
mod reading;
mod record;
mod refusal;
mod request;
mod standing;
mod stored;

#[cfg(test)]
mod table;
#[cfg(test)]
mod together;

#[cfg(test)]
pub(crate) use admit::LEFT_TO_COUNT;
pub(crate) use admit::NO_TOKEN;
pub use clock::{ClockId, Now};
pub use decide::decide;
pub use decision::{Decision, Displaced};
pub use duration::{BadDuration, format_duration, parse_duration};
pub use evidence::{Evidence, Freeze, Holder, UnknownFreeze};
pub use freeze::{FreezeDecision, FreezeEvidence, FreezeRequest, LiftBy, decide_freeze};
pub use lease::{Beat, Lapse, MIN_GUARD_TTL, lapse};
pub use liveness::{Here, Liveness, ProcessState, SessionFiles, SessionState, Witness, liveness, process_of};
pub use mode::Mode;
pub use name::{BadName, Name};
pub use record::{Kind, LockId, Record, VERSION};
pub use refusal::Refusal;
pub use request::{Authority, Claim, Manner, Request, Whom};
pub use standing::{Abandoned, Standing, judge};
pub use stored::{Shortage, Stored, Unreadable};
