//! This machine's clocks. The wall clock is read for people; the others decide.

use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, Timespec, poll};
use rustix::io::Errno;
use rustix::time::{ClockId as Clock, clock_gettime};

use super::process;
use crate::protocol::ClockId;

/// How often to ask again what can't be asked.
const BETWEEN_POLLS: Duration = Duration::from_millis(10);

/// `CLOCK_MONOTONIC`.
pub(crate) fn monotonic() -> Duration {
    read(Clock::Monotonic)
}

/// What is left until an instant of the monotonic clock, as poll(2) takes it.
pub(super) fn time_left(until: Duration) -> Timespec {
    let left = until.saturating_sub(monotonic());
    Timespec { tv_sec: left.as_secs().min(i32::MAX as u64) as i64, tv_nsec: left.subsec_nanos().into() }
}

/// Sleeps until something comes of `asked`, a signal comes, or the monotonic clock reaches `until`: poll(2). Where that does
/// not work (the limit of descriptors was lowered below what we have: prlimit(1)), nobody spins meanwhile.
pub(super) fn poll_until(asked: &mut [PollFd<'_>], until: Option<Duration>) -> rustix::io::Result<usize> {
    let polled = poll(asked, until.map(time_left).as_ref());
    if polled.is_err_and(|error| error != Errno::INTR) {
        let left = until.map_or(BETWEEN_POLLS, |until| until.saturating_sub(monotonic()));
        thread::park_timeout(left.min(BETWEEN_POLLS));
    }
    polled
}

/// `CLOCK_BOOTTIME`; elsewhere than on Linux, the monotonic clock must do.
pub(super) fn boottime() -> Duration {
    #[cfg(target_os = "linux")]
    return read(Clock::Boottime);
    #[cfg(not(target_os = "linux"))]
    return read(Clock::Monotonic);
}

fn read(clock: Clock) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.max(0) as u64, time.tv_nsec.max(0) as u32)
}

/// The id of the clock that this process reads: the boot, and how far the time namespace shifts it, if it is not the first.
pub(super) fn clock_id() -> ClockId {
    let Some((boot, is_kernels)) = process::kernels_file("/proc/sys/kernel/random/boot_id") else {
        return unknown();
    };
    let boot = boot.trim();
    // Whatever a container mounts there: it stands in records, and between blanks.
    if boot.len() > 64 || !boot.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return unknown();
    }
    let boot = if is_kernels { ClockId::new(boot) } else { ClockId::told(boot) };
    match process::time_namespace() {
        None => boot,
        Some(FIRST) => ClockId::new(format!("{boot}/{FIRST}")),
        // The number of another one is used again when it has ended.
        // The offsets are those of the namespace that children get, which need not be this one.
        Some(_) if !process::gives_its_time_to_children() => unknown(),
        Some(_) => match process::kernels_file("/proc/self/timens_offsets") {
            Some((offsets, true)) => ClockId::new(format!("{boot}/{}", in_short(&offsets))),
            _ => unknown(),
        },
    }
}

/// The number of the first time namespace (`PROC_TIME_INIT_INO` of Linux).
const FIRST: u64 = 0xefff_fffa;

fn unknown() -> ClockId {
    ClockId::unknown(monotonic().as_nanos() ^ (u128::from(std::process::id()) << 96))
}

/// `monotonic 1000 0` and `boottime 1000 0`, by lines (time_namespaces(7)): `monotonic,1000,0,boottime,1000,0`.
fn in_short(offsets: &str) -> String {
    offsets.split_ascii_whitespace().collect::<Vec<_>>().join(",")
}
