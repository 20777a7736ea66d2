//! The signals of this process, as something that a loop can sleep on.
//!
//! # Gotchas
//!
//! * A handler only sets flags and writes a byte into a pipe.
//! * A signal that was ignored when the program started (nohup; a background job of a plain shell) stays ignored; all
//!   but SIGPIPE, which Rust ignores itself before `main`, and lets end the command by default.
//! * What is typed on a terminal (Ctrl-C) goes to everybody in the foreground; what a process sends, to us. Only
//!   the latter is ours to pass on, so it is remembered which it was.
//! * A child inherits our handlers, and would swallow what comes before its exec: [`HeldBack`], [`Inherited`].

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::{c_int, c_void, siginfo_t};
use nix::sys::signal::{self, SaFlags, SigAction, SigHandler, SigSet, SigmaskHow};
use nix::unistd::{getpgid, getsid};
use rustix::event::{PollFd, PollFlags};
use rustix::process::Signal;

use super::clock::poll_until;
use super::platform;

/// What is caught: what a person or a supervisor sends, and the news of the command.
const CAUGHT: [Signal; 10] = [
    Signal::INT,
    Signal::TERM,
    Signal::HUP,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::ALARM,
    Signal::TSTP,
    Signal::CONT,
    Signal::CHILD,
];

/// These tell and ask for nothing: caught even where they were ignored.
const NEWS: [Signal; 2] = [Signal::CONT, Signal::CHILD];

/// The signals that came, and a place to sleep until one does.
pub(crate) struct Signals {
    pipe: &'static Pipe,
    inherited: Arc<Inherited>,
}

/// What a handler writes to, and a sleeper reads from. It stays for good: a handler may run at any time.
struct Pipe {
    readable: File,
    writable: OwnedFd,
}

static PIPE: OnceLock<Pipe> = OnceLock::new();

/// What is known of each signal, by its number: 0 if it has not come; else twice its place in the order of all that came,
/// and 1 more if a process has sent it. In one number, as the next may come at any time.
static NOTED: [AtomicUsize; 32] = [const { AtomicUsize::new(0) }; 32];

/// That a process has sent it.
const SENT: usize = 1;

/// Which signals have our handler: a bit each.
static HANDLED: AtomicU32 = AtomicU32::new(0);

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
///
/// Its handler does nothing to the point: the error of the write tells.
pub(crate) fn outlive_limits() -> io::Result<()> {
    let held_back = HeldBack::all()?;
    catch(Signal::XFSZ)?;
    drop(held_back);
    Ok(())
}

/// How signals were treated when this program was started.
pub(crate) struct Inherited {
    caught: Vec<Signal>,
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
        let pipe = match PIPE.get() {
            Some(pipe) => pipe,
            None => {
                let (readable, writable) = platform::pipe()?;
                PIPE.get_or_init(|| Pipe { readable: readable.into(), writable })
            }
        };
        let mut held_back = HeldBack::all()?;
        let mut caught = Vec::new();
        for signal in CAUGHT.iter().chain(more).copied() {
            if catch(signal)? {
                caught.push(signal);
            }
        }
        let inherited = Arc::new(Inherited { caught, mask: held_back.0 });
        // A word to a terminal (stty tostop), and the care for it, from the background: it must not stop us.
        held_back.0.add(signal::SIGTTOU);
        // Whoever started us may have held back what we live by.
        for signal in NEWS {
            held_back.0.remove(signal.as_raw().try_into()?);
        }
        Ok(Self { pipe, inherited })
    }

    /// The signals that came since the last time.
    pub(crate) fn take(&self) -> Vec<Came> {
        let mut bytes = [0; 64];
        while (&self.pipe.readable).read(&mut bytes).is_ok_and(|read| read == bytes.len()) {}
        let mut came: Vec<(usize, Came)> = self.inherited.caught.iter().copied().filter_map(taken).collect();
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
        let mut caught = self.inherited.caught.iter().copied();
        caught.find(|signal| asks_to_end(*signal) && taken(*signal).is_some())
    }

    /// Sleeps until a signal comes, somebody wakes us, or the monotonic clock reaches `until`.
    pub(crate) fn wait(&self, until: Option<Duration>) {
        self.wait_or(until, &[]);
    }

    /// As [`wait`](Self::wait), or until something comes of `others`: what came of each of them.
    pub(crate) fn wait_or(&self, until: Option<Duration>, others: &[PollFd<'_>]) -> Vec<PollFlags> {
        let mut all = vec![PollFd::new(&self.pipe.readable, PollFlags::IN)];
        all.extend(others.iter().cloned());
        match poll_until(&mut all, until) {
            Ok(_) => all[1..].iter().map(PollFd::revents).collect(),
            // Interrupted is as good as woken.
            Err(_) => vec![PollFlags::empty(); others.len()],
        }
    }

    /// Stops this process until somebody continues it; returns false at once where nobody could.
    ///
    /// Whether somebody could, the kernel knows best: it stops no job by SIGTSTP that is orphaned.
    pub(crate) fn stop(&self) -> bool {
        let is_continued = || noted(Signal::CONT).load(Ordering::SeqCst) > 0;
        // Whoever has continued us already won't do it again.
        let _ = stop_by_default(is_continued);
        is_continued()
    }

    /// The descriptor that becomes readable when a signal comes.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.pipe.readable.as_fd()
    }

    /// Something that wakes whoever sleeps here.
    pub(crate) fn waker(&self) -> io::Result<Waker> {
        Ok(Waker(self.pipe.writable.try_clone()?.into()))
    }

    /// For a child: what to go back to before its exec.
    pub(crate) fn inherited(&self) -> Arc<Inherited> {
        Arc::clone(&self.inherited)
    }
}

impl Waker {
    pub(crate) fn wake(&self) {
        // A full pipe wakes as well.
        let _ = (&self.0).write(b"!");
    }
}

impl Inherited {
    /// Treats signals as they were treated then, between fork and exec. Async-signal-safe.
    #[expect(unsafe_code, reason = "safe functions only ever add handlers")]
    pub(crate) fn restore(&self) -> Result<(), Errno> {
        for signal in &self.caught {
            let number = signal.as_raw().try_into()?;
            // SAFETY: the default action runs no code of ours, and nobody asks for the handler that was there.
            unsafe { signal::signal(number, SigHandler::SigDfl) }?;
        }
        // Only now what was held back: it is for the command.
        self.mask.thread_set_mask()
    }
}

impl HeldBack {
    pub(super) fn all() -> io::Result<Self> {
        Ok(Self(SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?))
    }
}

impl Drop for HeldBack {
    fn drop(&mut self) {
        // It can't fail: the mask is one that was in force.
        let _ = self.0.thread_set_mask();
    }
}

/// Lets those signals end this process again that ask for it: all that is left to do is to print, and that may wait for
/// ever. Whatever was ignored stays ignored.
#[expect(unsafe_code, reason = "safe functions only ever add handlers")]
pub(crate) fn end_by_signals() {
    let is_handled = |signal: &Signal| HANDLED.load(Ordering::SeqCst) >> signal.as_raw() & 1 == 1;
    for signal in CAUGHT.into_iter().filter(|signal| asks_to_end(*signal)).filter(is_handled) {
        if let Ok(number) = signal.as_raw().try_into() {
            // SAFETY: the default action runs no code of ours.
            let _ = unsafe { signal::signal(number, SigHandler::SigDfl) };
        }
    }
}

/// Whether this signal asks a program to end.
pub(crate) fn asks_to_end(signal: Signal) -> bool {
    ![Signal::CHILD, Signal::CONT, Signal::TSTP, Signal::WINCH].contains(&signal)
}

fn noted(signal: Signal) -> &'static AtomicUsize {
    &NOTED[signal.as_raw() as usize % NOTED.len()]
}

fn taken(signal: Signal) -> Option<(usize, Came)> {
    let noted = noted(signal).swap(0, Ordering::SeqCst);
    (noted > 0).then_some((noted / 2, Came { signal, typed: noted & SENT == 0 }))
}

/// Catches a signal, unless it was ignored; whether it does. Every signal is held back meanwhile, so that none of those
/// that are to be ignored is caught.
#[expect(unsafe_code, reason = "who sent a signal is told to no safe handler")]
fn catch(signal: Signal) -> io::Result<bool> {
    let number = signal.as_raw().try_into()?;
    let flags = SaFlags::SA_RESTART | SaFlags::SA_SIGINFO;
    let ours = SigAction::new(SigHandler::SigAction(note), flags, SigSet::empty());
    // SAFETY: the handler is async-signal-safe: it stores to atomics and writes to a descriptor that is never closed.
    let before = unsafe { signal::sigaction(number, &ours) }?;
    if before.handler() != SigHandler::SigIgn || NEWS.contains(&signal) {
        HANDLED.fetch_or(1 << signal.as_raw(), Ordering::SeqCst);
        return Ok(true);
    }
    // SAFETY: to ignore a signal runs no code.
    unsafe { signal::sigaction(number, &before) }?;
    Ok(false)
}

/// The handler of all that is caught.
extern "C" fn note(signal: c_int, info: *mut siginfo_t, _: *mut c_void) {
    let errno = Errno::last_raw();
    let noted = &NOTED[signal as usize % NOTED.len()];
    // SAFETY: with SA_SIGINFO the kernel hands over a valid one. POSIX: a code of at most 0 means that a process has
    // sent it.
    #[expect(unsafe_code, reason = "the kernel's pointer")]
    let sent = unsafe { (*info).si_code } <= 0;
    let order = COUNT.fetch_add(1, Ordering::SeqCst) + 1;
    let _ = noted.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |before| {
        Some((order * 2) | (before & SENT) | (usize::from(sent) * SENT))
    });
    // First the flags, then the byte: whoever wakes up finds the flags set. A full pipe wakes as well.
    if let Some(pipe) = PIPE.get() {
        let _ = rustix::io::write(&pipe.writable, b"!");
    }
    Errno::set_raw(errno);
}

/// The process group and the session of a process; of this one for 0. Those of another namespace are 0, which the
/// types of rustix do not allow for.
pub(crate) fn job_of(pid: i64) -> Option<(i32, i32)> {
    let pid = Some(nix::unistd::Pid::from_raw(pid.try_into().ok()?));
    Some((getpgid(pid).ok()?.as_raw(), getsid(pid).ok()?.as_raw()))
}

/// Does what Ctrl-Z does by default, unless we are continued before.
#[expect(unsafe_code, reason = "safe functions only ever add handlers")]
fn stop_by_default(is_continued: impl Fn() -> bool) -> nix::Result<()> {
    let tstp = SigSet::from(signal::SIGTSTP);
    let by = |handler| SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    let mask = HeldBack(tstp.thread_swap_mask(SigmaskHow::SIG_BLOCK)?);
    // SAFETY: the default action runs no code of ours.
    let before = unsafe { signal::sigaction(signal::SIGTSTP, &by(SigHandler::SigDfl)) }?;
    // It is on its way to this thread from here on, and the kernel takes it back if SIGCONT comes.
    let raised = signal::raise(signal::SIGTSTP);
    if is_continued() {
        // SAFETY: no code of ours; to ignore it takes it back, too.
        unsafe { signal::sigaction(signal::SIGTSTP, &by(SigHandler::SigIgn)) }?;
    } else {
        tstp.thread_unblock()?;
    }
    // SAFETY: it was in force.
    unsafe { signal::sigaction(signal::SIGTSTP, &before) }?;
    drop(mask);
    raised
}
