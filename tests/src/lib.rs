//! What the tests share: sandboxes for the real program, a machine whose instants can be chosen,
//! the race itself, and the rules that hold whatever is put in.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "tests start programs, read clocks, and end at the first surprise"
)]

pub mod etcd;
pub mod input;
pub mod link;
pub mod machine;
pub mod race;
pub mod rules;
pub mod sandbox;
pub mod scene;
pub mod sim;
pub mod skipped;
pub mod timeline;
