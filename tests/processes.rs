//! Real processes: what happened to the Go tool, and what else goes wrong between processes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests start programs, read clocks, and end at the first surprise"
)]

#[path = "processes/admissions.rs"]
mod admissions;
#[path = "processes/breakers.rs"]
mod breakers;
#[path = "processes/commands.rs"]
mod commands;
#[path = "processes/forced.rs"]
mod forced;
#[path = "processes/freezes.rs"]
mod freezes;
#[path = "processes/go_failures.rs"]
mod go_failures;
#[path = "processes/go_records.rs"]
mod go_records;
#[path = "processes/helpers.rs"]
mod helpers;
#[path = "processes/lapses.rs"]
mod lapses;
#[path = "processes/manual.rs"]
mod manual;
#[path = "processes/mutex.rs"]
mod mutex;
#[path = "processes/namespaces.rs"]
mod namespaces;
#[path = "processes/nested.rs"]
mod nested;
#[path = "processes/older.rs"]
mod older;
#[path = "processes/several.rs"]
mod several;
#[path = "processes/shared.rs"]
mod shared;
#[path = "processes/slots.rs"]
mod slots;
#[path = "processes/starts.rs"]
mod starts;
#[path = "processes/starved.rs"]
mod starved;
#[path = "processes/waiters.rs"]
mod waiters;
