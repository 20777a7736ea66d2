//! A critical section that writes down when it ran: the command that `cargo xtask soak` guards.
//!
//! `section HISTORY WITNESS WHO NAME MILLISECONDS` appends to HISTORY, in the format of `docs/history.md`: when it
//! entered, every few milliseconds that it still runs, and when it left. It knows nothing of the lock.

#![allow(
    clippy::disallowed_methods,
    reason = "it is no part of the lock: it may ask the clock and the environment"
)]

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use serde_json::{Map, Value};

/// How often it says that it still runs. Of a section that is killed, no more than this is unknown.
const BEAT: Duration = Duration::from_millis(10);

/// Beyond any descriptor that a lock can have handed down.
const ABOVE: i32 = 250;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [history, witness, who, name, milliseconds] = arguments.as_slice() else {
        return ExitCode::from(64);
    };
    match milliseconds.parse().map(Duration::from_millis) {
        Ok(hold) if run(history, witness, who, name, hold).is_ok() => ExitCode::SUCCESS,
        _ => ExitCode::from(70),
    }
}

fn run(history: &str, witness: &str, who: &str, name: &str, hold: Duration) -> io::Result<()> {
    let entered = now();
    let witnesses = Witnesses::call(witness)?;
    let mut history = History { file: File::options().append(true).open(history)?, who };
    history.enter(entered, name, witnesses.alone)?;
    // For whoever started it and waits for news. Nobody need listen.
    let _ = rustix::io::write(rustix::stdio::stdout(), format!("in {}\n", std::process::id()).as_bytes());
    let end = entered + hold;
    loop {
        let left = end.saturating_sub(now());
        if left.is_zero() {
            return history.append("exit", now(), Map::new());
        }
        std::thread::sleep(left.min(BEAT));
        if left > BEAT {
            history.append("alive", now(), Map::new())?;
        }
    }
}

/// CLOCK_MONOTONIC.
fn now() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

struct History<'a> {
    file: File,
    who: &'a str,
}

impl History<'_> {
    fn enter(&mut self, at: Duration, name: &str, alone: bool) -> io::Result<()> {
        let mut fields = Map::new();
        fields.insert("name".to_owned(), name.into());
        fields.insert("pid".to_owned(), std::process::id().into());
        fields.insert("alone".to_owned(), alone.into());
        if let Ok(id) = std::env::var("LOKT_LOCK_ID") {
            fields.insert("lock_id".to_owned(), id.into());
        }
        if let Some(token) = std::env::var("LOKT_TOKEN").ok().and_then(|token| token.parse::<u64>().ok()) {
            fields.insert("token".to_owned(), token.into());
        }
        self.append("enter", at, fields)
    }

    /// One line in one write, so that lines of different processes don't mix.
    fn append(&mut self, event: &str, at: Duration, fields: Map<String, Value>) -> io::Result<()> {
        let mut line = Map::new();
        line.insert("event".to_owned(), event.into());
        line.insert("at".to_owned(), u64::try_from(at.as_nanos()).unwrap_or(u64::MAX).into());
        line.insert("who".to_owned(), self.who.into());
        line.extend(fields);
        self.file.write_all((Value::Object(line).to_string() + "\n").as_bytes())
    }
}

/// Two flocks of its own, by which a section knows whether another of its name still exists, even one that was
/// killed and could not say when it ended.
///
/// One descriptor is below, one above all that a lock can have handed down. As a process dies, the kernel frees its
/// descriptors from one end to the other, and may pause between any two. So when the lock is free, one of the
/// witnesses is, and a section that finds both taken is not alone.
struct Witnesses {
    alone: bool,
    /// Held as long as the process lives.
    _above: OwnedFd,
}

impl Witnesses {
    fn call(path: &str) -> io::Result<Self> {
        let open = |end: &str| File::options().create(true).append(true).open(format!("{path}.{end}"));
        let below = open("below")?;
        rustix::stdio::dup2_stdin(&below)?;
        drop(below);
        let above = fcntl_dupfd_cloexec(open("above")?, ABOVE)?;
        let below_is_free = take(rustix::stdio::stdin())?;
        let above_is_free = take(above.as_fd())?;
        Ok(Self { alone: below_is_free || above_is_free, _above: above })
    }
}

fn take(file: impl AsFd) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
