//! Fuzz target: any bytes in the place of a record, and what is decided of them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lokt_tests::input::check_record(bytes));
