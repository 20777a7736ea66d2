//! The signals of this process, as something that a loop can sleep on.
//!
//! # Gotchas
//!
//! * A handler only sets flags and writes a byte into a pipe.
//! * A signal that was ignored when the program started (nohup; a background job of a plain shell) stays ignored.
//! * What is typed on a terminal (Ctrl-C) goes to everybody in the foreground; what a process sends, to us. Only
//!   the latter is ours to pass on, so it is remembered which it was.
//! * A child is born with our handlers, and would swallow what comes before its exec: [`HeldBack`], [`AtBirth`].

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::{self, SigHandler, SigSet, SigmaskHow};
use nix::unistd::{getpgid, getsid};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Signal, getpid, kill_process};

use super::clock::time_left;
use super::{platform, process};

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

/// These tell and ask for nothing: caught even where they were ignored.
const NEWS: [Signal; 2] = [Signal::CONT, Signal::CHILD];

/// The signals that came, and a place to sleep until one does.
pub(crate) struct Signals {
    readable: File,
    writable: OwnedFd,
    caught: Vec<Caught>,
    at_birth: AtBirth,
}

struct Caught {
    signal: Signal,
    /// Its place in the order of all that came; 0 if it has not.
    came: Arc<AtomicUsize>,
    sent: Arc<AtomicBool>,
}

/// How many signals have come: who stops us and then continues us means another thing than one who stops us again.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// A signal that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Came {
    pub(crate) signal: Signal,
    /// By the kernel, as for a key: not by a process.
    pub(crate) typed: bool,
}

/// Wakes whoever sleeps on the signals, from another thread.
pub(crate) struct Waker(File);

/// Makes writing beyond a limit (ulimit -f) an error to report, not an end without a word in the middle of a transition.
pub(crate) fn outlive_limits() -> io::Result<()> {
    if ignored() & (1 << (Signal::XFSZ.as_raw() - 1)) == 0 {
        // Its handler does nothing, and a command that is started does not inherit it; the error of the write tells.
        signal_hook::flag::register(Signal::XFSZ.as_raw(), Arc::default())?;
    }
    Ok(())
}

/// How signals were treated when this program was started.
pub(crate) struct AtBirth {
    caught: Vec<signal::Signal>,
    mask: SigSet,
}

/// Holds back every signal of this thread until it is dropped.
pub(crate) struct HeldBack(SigSet);

impl Signals {
    /// Begins to catch signals. Call it before there are other threads.
    pub(crate) fn catch() -> io::Result<Self> {
        Self::catch_also(&[])
    }

    /// Begins to catch signals, and these beside.
    pub(crate) fn catch_also(more: &[Signal]) -> io::Result<Self> {
        let (readable, writable) = platform::pipe()?;
        // A word to a terminal (stty tostop), and the care for it, from the background: it must not stop us.
        let mut background = SigSet::empty();
        background.add(signal::SIGTTOU);
        let mask = background.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let ignored = ignored();
        let mut caught = Vec::new();
        for signal in CAUGHT.iter().chain(more).copied() {
            if ignored & (1 << (signal.as_raw() - 1)) == 0 || NEWS.contains(&signal) {
                caught.push(catch(signal, &writable)?);
            }
        }
        let numbers = caught.iter().map(|caught| caught.signal.as_raw());
        let at_birth = AtBirth { caught: numbers.map(TryInto::try_into).collect::<Result<_, _>>()?, mask };
        Ok(Self { readable: readable.into(), writable, caught, at_birth })
    }

    /// The signals that came since the last time.
    pub(crate) fn take(&self) -> Vec<Came> {
        let mut bytes = [0; 64];
        while (&self.readable).read(&mut bytes).is_ok_and(|read| read == bytes.len()) {}
        let mut came: Vec<(usize, Came)> = self.caught.iter().filter_map(Caught::take).collect();
        came.sort_unstable_by_key(|(order, _)| *order);
        let mut came: Vec<Came> = came.into_iter().map(|(_, came)| came).collect();
        // A stop that has been followed by its continuation is over.
        if let Some(at) = came.iter().position(|came| came.signal == Signal::TSTP)
            && came[at..].iter().any(|came| came.signal == Signal::CONT)
        {
            came.remove(at);
        }
        came
    }

    /// A signal that came and asks us to end; the others stay to be taken.
    pub(crate) fn end_asked(&self) -> Option<Signal> {
        let asks = |caught: &&Caught| asks_to_end(caught.signal) && caught.take().is_some();
        self.caught.iter().find(asks).map(|caught| caught.signal)
    }

    /// Sleeps until a signal comes, somebody wakes us, or the monotonic clock reaches `until`.
    pub(crate) fn wait(&self, until: Option<Duration>) {
        self.wait_or(until, &[]);
    }

    /// As [`wait`](Self::wait), or until something comes of `others`: what came of each of them.
    pub(crate) fn wait_or(&self, until: Option<Duration>, others: &[PollFd<'_>]) -> Vec<PollFlags> {
        let timeout = until.map(time_left);
        let mut all = vec![PollFd::new(&self.readable, PollFlags::IN)];
        all.extend(others.iter().cloned());
        match poll(&mut all, timeout.as_ref()) {
            Ok(_) => all[1..].iter().map(PollFd::revents).collect(),
            // Interrupted is as good as woken.
            Err(_) => vec![PollFlags::empty(); others.len()],
        }
    }

    /// Stops this process until somebody continues it; returns false at once where nobody could.
    ///
    /// That is what the kernel does by default about Ctrl-Z, orphaned jobs included.
    pub(crate) fn stop(&self) -> bool {
        if is_orphaned() {
            return false;
        }
        // Whoever has continued us already won't do it again.
        if !self.has_come(Signal::CONT) {
            let _ = kill_process(getpid(), Signal::STOP);
        }
        true
    }

    fn has_come(&self, signal: Signal) -> bool {
        let mut caught = self.caught.iter();
        caught.any(|caught| caught.signal == signal && caught.came.load(Ordering::SeqCst) > 0)
    }

    /// The descriptor that becomes readable when a signal comes.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.readable.as_fd()
    }

    /// Something that wakes whoever sleeps here.
    pub(crate) fn waker(&self) -> io::Result<Waker> {
        Ok(Waker(self.writable.try_clone()?.into()))
    }

    /// For a child: what to go back to before its exec.
    pub(crate) fn at_birth(&self) -> &AtBirth {
        &self.at_birth
    }

    /// Holds back what comes, in this thread, until the result is dropped.
    pub(crate) fn hold_back(&self) -> io::Result<HeldBack> {
        Ok(HeldBack(SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?))
    }
}

impl Caught {
    fn take(&self) -> Option<(usize, Came)> {
        let order = self.came.swap(0, Ordering::SeqCst);
        let typed = || !self.sent.swap(false, Ordering::SeqCst);
        (order > 0).then(|| (order, Came { signal: self.signal, typed: typed() }))
    }
}

impl Waker {
    pub(crate) fn wake(&self) {
        // A full pipe wakes as well.
        let _ = (&self.0).write(b"!");
    }
}

impl AtBirth {
    /// Treats signals as they were treated then, between fork and exec. Async-signal-safe.
    #[expect(unsafe_code, reason = "safe functions only ever add handlers")]
    pub(crate) fn restore(&self) -> io::Result<()> {
        for signal in &self.caught {
            // SAFETY: the default action runs no code of ours, and nobody asks for the handler that was there.
            unsafe { signal::signal(*signal, SigHandler::SigDfl) }?;
        }
        // Only now what was held back: it is for the command.
        Ok(self.mask.thread_set_mask()?)
    }
}

impl Drop for HeldBack {
    fn drop(&mut self) {
        // It can't fail: the mask is one that was in force.
        let _ = self.0.thread_set_mask();
    }
}

/// Whether this signal asks a program to end.
pub(crate) fn asks_to_end(signal: Signal) -> bool {
    ![Signal::CHILD, Signal::CONT, Signal::TSTP, Signal::WINCH].contains(&signal)
}

#[expect(unsafe_code, reason = "who sent a signal is told to no safe handler")]
fn catch(signal: Signal, writable: &OwnedFd) -> io::Result<Caught> {
    let (came, sent) = <(Arc<AtomicUsize>, Arc<AtomicBool>)>::default();
    let flags = (Arc::clone(&came), Arc::clone(&sent));
    // SAFETY: the action is async-signal-safe: it only stores to atomics. POSIX: a code of at most 0 means that a
    // process has sent it.
    unsafe {
        signal_hook_registry::register_sigaction(signal.as_raw(), move |info| {
            flags.1.fetch_or(info.si_code <= 0, Ordering::SeqCst);
            flags.0.store(COUNT.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        })
    }?;
    // First the flags, then the byte: whoever wakes up finds the flags set.
    signal_hook::low_level::pipe::register(signal.as_raw(), writable.try_clone()?)?;
    Ok(Caught { signal, came, sent })
}

/// The process group and the session of a process; of this one for 0. Those of another namespace are 0, which the
/// types of rustix do not allow for.
pub(crate) fn job_of(pid: i64) -> Option<(i32, i32)> {
    let pid = Some(nix::unistd::Pid::from_raw(pid.try_into().ok()?));
    Some((getpgid(pid).ok()?.as_raw(), getsid(pid).ok()?.as_raw()))
}

/// Whether nobody of our session, outside of our group, watches over our job.
fn is_orphaned() -> bool {
    let Some((group, session)) = job_of(0) else { return true };
    let mut outside = process::ancestors().into_iter().filter_map(job_of);
    let watcher = outside.find(|(other, _)| *other != group);
    watcher.is_none_or(|(_, other)| other != session)
}

/// The signals (1 to 31, from the lowest bit on) that this process ignores: field 33 of `/proc/self/stat`.
fn ignored() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    fields.split_ascii_whitespace().nth(30).and_then(|mask| mask.parse().ok()).unwrap_or(0)
}
