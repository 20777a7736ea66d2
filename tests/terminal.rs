//! A guard on a terminal: what a person types, and what a shell with job control does, reaches its command as if it
//! ran bare.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "tests start programs, read clocks, and end at the first surprise"
)]

#[path = "terminal/audit.rs"]
mod audit;
#[path = "terminal/demo.rs"]
mod demo;
#[path = "terminal/jobs.rs"]
mod jobs;
#[path = "terminal/loss.rs"]
mod loss;
#[path = "terminal/modes.rs"]
mod modes;
#[path = "terminal/pty.rs"]
mod pty;
#[path = "terminal/shared.rs"]
mod shared;
#[path = "terminal/status.rs"]
mod status;
#[path = "terminal/unwatched.rs"]
mod unwatched;
#[path = "terminal/waiting.rs"]
mod waiting;
