//! Fuzz target with a planted panic behind seven bytes: only who sees which bytes lead further finds it in time.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let matched = b"PLANTED".iter().zip(bytes).take_while(|(wanted, found)| wanted == found).count();
    assert!(matched < 7, "the planted panic");
});
