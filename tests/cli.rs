//! The command line: a contract for each command, over the real program.
//!
//! Most of it is transcripts: what is typed, and the whole of what is said. See [`cli::transcript`].

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests start programs and end at the first surprise"
)]

mod schema;

mod cli {
    mod audit;
    mod clearing;
    mod completions;
    mod demo;
    mod doctor;
    mod examples;
    mod exists;
    mod freeze;
    mod guard;
    mod lock;
    mod prime;
    mod renew;
    mod roots;
    mod schemas;
    mod status;
    mod streams;
    mod together;
    mod transcript;
    mod unlock;
    mod usage;
    mod watch;
    mod why;
}
