//! Many processes at once: one enters, all get their turn, and nothing grows with the past.
//!
//! nextest runs what is called `crowd_…` one at a time: two crowds on a small machine would measure each
//! other.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests start programs, read clocks, and end at the first surprise"
)]

#[path = "crowds/admission.rs"]
mod admission;
#[path = "crowds/helpers.rs"]
mod helpers;
#[path = "crowds/judge.rs"]
mod judge;
#[path = "crowds/killed.rs"]
mod killed;
#[path = "crowds/masses.rs"]
mod masses;
#[path = "crowds/past.rs"]
mod past;
