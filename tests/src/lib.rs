//! What the tests share: sandboxes for the real program, a machine whose instants can be chosen, and the race itself.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "tests start programs, read clocks, and end at the first surprise"
)]

pub mod machine;
pub mod race;
pub mod sandbox;
pub mod sim;
pub mod timeline;
