//! Fuzz target with a planted panic behind five bytes: only who sees which byte leads further finds it in time.
#![no_main]

use std::hint::black_box;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // A branch for each, and something between them that keeps the compiler from making them one comparison.
    if bytes.first() == Some(&b'L') {
        black_box(1);
        if bytes.get(1) == Some(&b'O') {
            black_box(2);
            if bytes.get(2) == Some(&b'K') {
                black_box(3);
                if bytes.get(3) == Some(&b'T') {
                    black_box(4);
                    assert_ne!(bytes.get(4), Some(&b'!'), "the planted panic");
                }
            }
        }
    }
});
