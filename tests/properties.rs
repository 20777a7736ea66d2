//! Properties of the protocol, over input that nobody thought of: records, names, durations, decisions.
//!
//! `PROPTEST_CASES` sets how many cases each is tried on (256). A failing case is shrunk and printed; it is not
//! kept in a file: what is worth keeping becomes a test of its own, or a seed in `tests/fuzz/corpus`.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends at the first surprise"
)]

mod properties {
    mod corpus;
    mod decisions;
    mod made;
    mod records;
    mod texts;

    use proptest::test_runner::Config;

    fn config() -> Config {
        Config { failure_persistence: None, max_shrink_time: 20_000, ..Config::default() }
    }

    /// For what is quick, and where much must come together by chance.
    fn many() -> Config {
        Config { cases: config().cases.saturating_mul(4), ..config() }
    }
}
