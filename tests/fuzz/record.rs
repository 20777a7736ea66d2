//! Fuzz target: any bytes in the place of a record.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    lokt_tests::input::check_parsing(bytes);
});
