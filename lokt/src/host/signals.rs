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
//! * To stop as by default, one has to raise SIGTSTP, and that discards a SIGCONT that is on its way to its handler. So none
//!   is known by its handler alone: it leaves a trace that no stop takes away, [`MARK`].

use std::fs::File;
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::{self, c_int, c_void, siginfo_t};
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

/// Raised when signals are caught, and held back for good: SIGCONT discards it, as any stop signal, and nobody else does. While it
/// is there, nobody has continued us since it was raised.
const MARK: signal::Signal = signal::SIGTTOU;

/// Whether the mark stays where it was raised. Elsewhere than on Linux it does not where SIGTTOU is ignored.
static MARK_STAYS: AtomicBool = AtomicBool::new(cfg!(target_os = "linux"));

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
    // If it is to be ignored and yet caught for a moment: nobody asks whether it came.
    catch(Signal::XFSZ)?;
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
        held_back.0.add(MARK);
        // Before any stop comes.
        signal::raise(MARK)?;
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
        if came.iter().any(|(_, came)| [Signal::TSTP, Signal::CONT].contains(&came.signal)) {
            // It can't fail: the sets are valid.
            let _ = settle(&mut came);
        }
        came.sort_unstable_by_key(|(order, _)| *order);
        came.into_iter().map(|(_, came)| came).collect()
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
        // It can't fail: the signals and the actions are valid.
        stop_by_default().unwrap_or(false)
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

/// Starts a thread that leaves stops and continuations to the one that acts upon them: two threads may note the later first.
///
/// # Errors
///
/// There can't be one more.
pub(crate) fn start_beside<T: Send + 'static>(
    thread: thread::Builder,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    thread.spawn(|| {
        let stops = SigSet::from_iter([signal::SIGTSTP, signal::SIGCONT]);
        // It can't fail: the set is valid.
        let _ = stops.thread_block();
        work()
    })
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
    // All are held back while one is noted: a handler that interrupts another would note the later first.
    let ours = SigAction::new(SigHandler::SigAction(note), flags, SigSet::all());
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
    // SAFETY: with SA_SIGINFO the kernel hands over a valid one. POSIX: a code of at most 0 means that a process has
    // sent it.
    #[expect(unsafe_code, reason = "the kernel's pointer")]
    let sent = unsafe { (*info).si_code } <= 0;
    note_down(&NOTED[signal as usize % NOTED.len()], sent);
    Errno::set_raw(errno);
}

/// Notes that a signal came now, and wakes whoever sleeps on the signals. Async-signal-safe.
fn note_down(noted: &AtomicUsize, sent: bool) {
    let order = COUNT.fetch_add(1, Ordering::SeqCst) + 1;
    let _ = noted.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |before| {
        Some((order * 2) | (before & SENT) | (usize::from(sent) * SENT))
    });
    // First the flags, then the byte: whoever wakes up finds the flags set. A full pipe wakes as well.
    if let Some(pipe) = PIPE.get() {
        let _ = rustix::io::write(&pipe.writable, b"!");
    }
}

/// The process group and the session of a process; of this one for 0. Those of another namespace are 0, which the
/// types of rustix do not allow for.
pub(crate) fn job_of(pid: i64) -> Option<(i32, i32)> {
    let pid = Some(nix::unistd::Pid::from_raw(pid.try_into().ok()?));
    Some((getpgid(pid).ok()?.as_raw(), getsid(pid).ok()?.as_raw()))
}

/// Takes a stop back that has been followed by its continuation: it is over. And sets the mark again.
fn settle(came: &mut Vec<(usize, Came)>) -> nix::Result<()> {
    // A stop that is noted later than this comes after the new mark, or SIGCONT discards it before.
    let _held_back = HeldBack(SigSet::from(signal::SIGTSTP).thread_swap_mask(SigmaskHow::SIG_BLOCK)?);
    for signal in [Signal::TSTP, Signal::CONT] {
        if let Some(newer) = taken(signal) {
            came.retain(|(_, came)| came.signal != signal);
            came.push(newer);
        }
    }
    let order = |signal| came.iter().find(|(_, came)| came.signal == signal).map(|(order, _)| *order);
    let (stop, continuation) = (order(Signal::TSTP), order(Signal::CONT));
    let waiting = pending()?;
    // One that waits came after every stop that is noted, or that one would have discarded it.
    let is_over = continuation > stop || waiting.contains(signal::SIGCONT);
    if is_over {
        came.retain(|(_, came)| came.signal != Signal::TSTP);
    }
    if waiting.contains(MARK) {
        MARK_STAYS.store(true, Ordering::SeqCst);
        return Ok(());
    }
    // It came, whoever has discarded it; and this may do so.
    if continuation.is_none() && (is_over || MARK_STAYS.load(Ordering::SeqCst)) {
        came.push((0, Came { signal: Signal::CONT, typed: false }));
    }
    signal::raise(MARK)
}

/// What has come and is held back, or on its way to a handler.
#[expect(unsafe_code, reason = "nix has no call for it")]
fn pending() -> nix::Result<SigSet> {
    let mut set = MaybeUninit::uninit();
    // SAFETY: it writes one set of signals to where there is room for one.
    Errno::result(unsafe { libc::sigpending(set.as_mut_ptr()) })?;
    // SAFETY: it has written it, as it has not failed.
    Ok(unsafe { SigSet::from_sigset_t_unchecked(set.assume_init()) })
}

/// Does what Ctrl-Z does by default, unless we were continued since the signals were last taken: who has done so won't do it
/// again. Returns whether somebody has, before or after.
#[expect(unsafe_code, reason = "safe functions only ever add handlers")]
fn stop_by_default() -> nix::Result<bool> {
    let is_noted = |signal| noted(signal).load(Ordering::SeqCst) > 0;
    let tstp = SigSet::from(signal::SIGTSTP);
    let by = |handler| SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    let _held_back = HeldBack(tstp.thread_swap_mask(SigmaskHow::SIG_BLOCK)?);
    // SAFETY: the default action runs no code of ours.
    let before = unsafe { signal::sigaction(signal::SIGTSTP, &by(SigHandler::SigDfl)) }?;
    // It is on its way to this thread from here on, and the kernel takes it back if SIGCONT comes. If that came before, and is
    // discarded now, the mark has gone with it.
    signal::raise(signal::SIGTSTP)?;
    let is_marked = pending()?.contains(MARK);
    let came_before = !is_marked && MARK_STAYS.load(Ordering::SeqCst) || is_noted(Signal::CONT);
    if came_before {
        // SAFETY: no code of ours; to ignore it takes it back, too.
        unsafe { signal::sigaction(signal::SIGTSTP, &by(SigHandler::SigIgn)) }?;
    } else {
        tstp.thread_unblock()?;
        tstp.thread_block()?;
    }
    // SAFETY: it was in force.
    unsafe { signal::sigaction(signal::SIGTSTP, &before) }?;
    let is_continued = came_before || is_noted(Signal::CONT);
    if is_continued && !came_before {
        // It came after every stop that was noted before; for the next one there is a mark already.
        noted(Signal::TSTP).store(0, Ordering::SeqCst);
        signal::raise(MARK)?;
    } else if came_before && !is_noted(Signal::CONT) && !is_noted(Signal::TSTP) {
        // Of one that was discarded nobody else tells.
        note_down(noted(Signal::CONT), true);
    }
    Ok(is_continued)
}
