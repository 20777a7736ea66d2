//! A critical section that says when it was: the command that `cargo xtask bench` runs under every lock alike.
//!
//! `stamp FILE WHO` stays until there is a byte to read on its stdin, or its end, and appends a line to FILE: WHO, when it
//! entered, and when it left, in nanoseconds of CLOCK_MONOTONIC. It knows nothing of the lock.

#![allow(
    clippy::disallowed_methods,
    reason = "it is no part of the lock: it may ask the clock and the environment"
)]

use std::fs::File;
use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let entered = now();
    let mut arguments = std::env::args().skip(1);
    let (Some(file), Some(who)) = (arguments.next(), arguments.next()) else {
        return ExitCode::from(64);
    };
    match stay(&file, &who, entered) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(70),
    }
}

fn stay(file: &str, who: &str, entered: u64) -> io::Result<()> {
    let mut file = File::options().append(true).open(file)?;
    // Unbuffered: the next byte is for the next.
    rustix::io::read(rustix::stdio::stdin(), &mut [0; 1])?;
    // One line in one write, so that lines of different processes don't mix.
    file.write_all(format!("{who} {entered} {}\n", now()).as_bytes())
}

fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}
