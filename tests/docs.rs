//! The documentation, checked: its commands run, what it shows is what they say, its links lead somewhere.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test ends at the first surprise"
)]

#[path = "docs/blocks.rs"]
mod blocks;
#[path = "docs/links.rs"]
mod links;
#[path = "docs/page.rs"]
mod page;
#[path = "docs/patterns.rs"]
mod patterns;
#[path = "docs/places.rs"]
mod places;
#[allow(dead_code, reason = "the transcripts of the command line need more of it")]
#[path = "cli/transcript.rs"]
mod transcript;
