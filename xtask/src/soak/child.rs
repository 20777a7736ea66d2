//! A process of a soak: what it says and when it ends, waited for without spinning.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Of what a process says, no more than this is kept.
const KEPT: usize = 4096;

/// What a process did.
#[derive(Debug)]
pub enum News {
    /// A line on its stdout.
    Said(String),
    /// A line on its stderr.
    Complained(String),
    /// It has ended, with this code; 128 and the signal's number if a signal ended it.
    Ended(i32),
    /// Nothing, until the time was up.
    Nothing,
}

/// A process that is watched. Killed when it is dropped.
pub struct Watched {
    child: Child,
    handle: OwnedFd,
    out: Option<(ChildStdout, Vec<u8>)>,
    err: Option<(ChildStderr, Vec<u8>)>,
    /// The end of all that it said on stderr.
    pub complaints: String,
}

impl Watched {
    pub fn start(command: &mut Command) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let handle = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
        let out = child.stdout.take().map(|pipe| (pipe, Vec::new()));
        let err = child.stderr.take().map(|pipe| (pipe, Vec::new()));
        Ok(Self { child, handle, out, err, complaints: String::new() })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal. It has not been reaped, so its id is its own.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.handle, signal)?)
    }

    /// The next that it does, by `until`. What it said comes before its end.
    pub fn next(&mut self, until: Instant) -> io::Result<News> {
        loop {
            if let Some(line) = self.out.as_mut().and_then(|(_, text)| take_line(text)) {
                return Ok(News::Said(line));
            }
            if let Some(line) = self.err.as_mut().and_then(|(_, text)| take_line(text)) {
                self.remember(&line);
                return Ok(News::Complained(line));
            }
            let left = until.saturating_duration_since(Instant::now());
            let (out, err, ended) = self.poll(left)?;
            if out {
                read_some(&mut self.out)?;
            }
            if err {
                read_some(&mut self.err)?;
            }
            if !out && !err && ended {
                let status = self.child.wait()?;
                let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
                return Ok(News::Ended(code));
            }
            if !out && !err && left.is_zero() {
                return Ok(News::Nothing);
            }
        }
    }

    fn poll(&self, left: Duration) -> io::Result<(bool, bool, bool)> {
        let mut fds = vec![PollFd::new(&self.handle, PollFlags::IN)];
        let readable = PollFlags::IN | PollFlags::HUP;
        fds.extend(self.out.iter().map(|(pipe, _)| PollFd::new(pipe, readable)));
        fds.extend(self.err.iter().map(|(pipe, _)| PollFd::new(pipe, readable)));
        let left = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        match poll(&mut fds, Some(&left)) {
            Err(rustix::io::Errno::INTR) => return Ok((false, false, false)),
            other => other?,
        };
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        let ended = ready.next() == Some(true);
        let out = self.out.is_some() && ready.next() == Some(true);
        let err = self.err.is_some() && ready.next() == Some(true);
        Ok((out, err, ended))
    }

    fn remember(&mut self, line: &str) {
        if self.complaints.len() + line.len() < KEPT {
            self.complaints += line;
            self.complaints.push('\n');
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads what there is; at its end, the stream is closed.
fn read_some<R: Read>(stream: &mut Option<(R, Vec<u8>)>) -> io::Result<()> {
    let Some((pipe, text)) = stream else {
        return Ok(());
    };
    let mut buffer = [0; 4096];
    match pipe.read(&mut buffer) {
        Ok(0) => *stream = None,
        Ok(read) => text.extend_from_slice(&buffer[..read]),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

fn take_line(text: &mut Vec<u8>) -> Option<String> {
    let end = text.iter().position(|byte| *byte == b'\n')?;
    let line: Vec<u8> = text.drain(..=end).collect();
    Some(String::from_utf8_lossy(&line[..end]).into_owned())
}

/// The process inside a guard: not our child, so it is held by a handle that no reused id can deceive.
pub struct Inside(OwnedFd);

impl Inside {
    /// The process `pid`, if it still is a child of `parent`.
    pub fn find(pid: u32, parent: u32) -> Option<Self> {
        let pid_of = |pid: u32| Pid::from_raw(i32::try_from(pid).ok()?);
        let handle = pidfd_open(pid_of(pid)?, PidfdFlags::empty()).ok()?;
        // After the handle was opened: what it is now, the handle is.
        (pid == parent || parent_of(pid)? == parent).then_some(Self(handle))
    }

    pub fn signal(&self, signal: Signal) {
        // It may have ended by itself.
        let _ = pidfd_send_signal(self.0.as_fd(), signal);
    }
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name, in parentheses, may contain anything.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
