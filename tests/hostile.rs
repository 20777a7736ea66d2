//! Bad input: arguments, the environment, names, durations, records, files in the place of others, full disks, users.
//!
//! Whatever is planted in the root, no command hangs, panics, writes outside of it, sends a control sequence to a
//! terminal, or lets a second holder in.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "tests start programs, end at the first surprise, and say what they skip"
)]

mod hostile {
    mod arguments;
    mod attack;
    mod controls;
    mod disks;
    mod doctor;
    mod input;
    mod places;
    mod records;
    mod survivors;
    mod users;
}
