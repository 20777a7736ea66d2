//! Fuzz target: any text as a name, a duration and a lock's id.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| lokt_tests::input::check_text(text));
