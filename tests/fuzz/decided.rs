//! Fuzz target: what is decided of any bytes in the place of a record. Slower than the parser alone.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lokt_tests::input::check_record(bytes));
