//! The signals of this process, as something that a loop can sleep on.
//!
//! A handler only sets a flag and writes a byte into a pipe. A signal that was ignored when the program started
//! (nohup; a background job of a plain shell) stays ignored.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Signal;

use super::unix::monotonic;

/// What is caught: what a person or a supervisor sends, and the news of the command.
const CAUGHT: [Signal; 9] = [
    Signal::INT,
    Signal::TERM,
    Signal::HUP,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::TSTP,
    Signal::CONT,
    Signal::CHILD,
];

/// The signals that came, and a place to sleep until one does.
pub(crate) struct Signals {
    readable: File,
    writable: OwnedFd,
    came: Vec<(Signal, Arc<AtomicBool>)>,
}

/// Wakes whoever sleeps on the signals, from another thread.
pub(crate) struct Waker(File);

impl Signals {
    /// Begins to catch signals.
    pub(crate) fn catch() -> io::Result<Self> {
        let (readable, writable) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let ignored = ignored();
        let mut came = Vec::new();
        for signal in CAUGHT {
            let number = signal.as_raw();
            if ignored & (1 << (number - 1)) != 0 && signal != Signal::CHILD {
                continue;
            }
            let flag = Arc::new(AtomicBool::new(false));
            // First the flag, then the byte: whoever wakes up finds the flag set.
            signal_hook::flag::register(number, Arc::clone(&flag))?;
            signal_hook::low_level::pipe::register(number, writable.try_clone()?)?;
            came.push((signal, flag));
        }
        Ok(Self { readable: readable.into(), writable, came })
    }

    /// The signals that came since the last time.
    pub(crate) fn take(&self) -> Vec<Signal> {
        let mut bytes = [0; 64];
        while (&self.readable).read(&mut bytes).is_ok_and(|read| read == bytes.len()) {}
        let came = self.came.iter().filter(|(_, flag)| flag.swap(false, Ordering::SeqCst));
        came.map(|(signal, _)| *signal).collect()
    }

    /// Sleeps until a signal comes, somebody wakes us, or the monotonic clock reaches `until`.
    pub(crate) fn wait(&self, until: Option<Duration>) {
        let left = until.map(|until| until.saturating_sub(monotonic()));
        let timeout = left.map(|left| Timespec {
            tv_sec: left.as_secs().min(i32::MAX as u64) as i64,
            tv_nsec: left.subsec_nanos().into(),
        });
        // Interrupted is as good as woken.
        let _ = poll(&mut [PollFd::new(&self.readable, PollFlags::IN)], timeout.as_ref());
    }

    /// The descriptor that becomes readable when a signal comes.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.readable.as_fd()
    }

    /// Something that wakes whoever sleeps here.
    pub(crate) fn waker(&self) -> io::Result<Waker> {
        Ok(Waker(self.writable.try_clone()?.into()))
    }
}

impl Waker {
    pub(crate) fn wake(&self) {
        // A full pipe wakes as well.
        let _ = (&self.0).write(b"!");
    }
}

/// The signals (1 to 31, from the lowest bit on) that this process ignores: field 33 of `/proc/self/stat`.
fn ignored() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    fields.split_ascii_whitespace().nth(30).and_then(|mask| mask.parse().ok()).unwrap_or(0)
}
