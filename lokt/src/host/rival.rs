//! Two processes that contend for a flock: does it exclude here, and does a kill free it?
//!
//! The second is this same program, started with a hidden argument. It does as it is told: for each byte on its stdin
//! it tries to take the lock, and answers with a byte. Neither waits for the other for ever.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, openat};

use super::clock::{monotonic, time_left};
use super::files::FILE;
use super::flock;

/// What makes this program the second process: a command, and an option whose value is the path.
const COMMAND: &str = "doctor";
const OPTION: &str = "--rival=";

/// How long the second process may take to start, to answer, and to end when it is killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// How soon the kernel must have freed the lock of a killed process.
const FREED_WITHIN: Duration = Duration::from_secs(2);

/// What the second process says.
mod says {
    pub(super) const READY: u8 = b'r';
    pub(super) const TAKEN: u8 = b't';
    pub(super) const REFUSED: u8 = b'n';
    pub(super) const FAILED: u8 = b'f';
}

/// What is wrong with flock(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It could not be tried.
    Untried(String),
    /// It does not do what it must.
    Broken(String),
}

/// Contends for the lock of the file at `path`, of which `mine` and `other` are two opens.
pub(super) fn contend(mine: &File, other: File, path: &Path) -> Result<(), Fault> {
    let mut rival = Rival::start(path)?;
    expect(take(mine)?, "a lock that nobody holds is refused")?;
    expect(!rival.tries()?, "what one process holds, another gets too")?;
    flock::unlock(mine);
    expect(rival.tries()?, "what was released is refused to another process")?;
    expect(!take(mine)?, "what another process holds, this one gets too")?;
    let seen = flock::is_locked(&other).map_err(broken)?;
    expect(seen, "that another process holds it can't be seen")?;
    rival.kill()?;
    let freed = flock::Queues::default().exclusive_within("", other, FREED_WITHIN).map_err(broken)?;
    expect(freed.is_some(), "what a killed process held stays locked")
}

fn take(file: &File) -> Result<bool, Fault> {
    flock::try_exclusive(file).map_err(broken)
}

fn broken(error: io::Error) -> Fault {
    Fault::Broken(format!("it fails: {error}"))
}

fn expect(met: bool, otherwise: &str) -> Result<(), Fault> {
    if met { Ok(()) } else { Err(Fault::Broken(otherwise.to_owned())) }
}

/// The second process; killed when it is dropped.
struct Rival {
    child: Child,
    orders: ChildStdin,
    answers: ChildStdout,
}

impl Rival {
    fn start(path: &Path) -> Result<Self, Fault> {
        let untried = |error: io::Error| Fault::Untried(format!("no second process can be started: {error}"));
        let mut child = spawn(path).map_err(untried)?;
        let (Some(orders), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Fault::Untried("the second process can't be spoken to".to_owned()));
        };
        let mut rival = Self { child, orders, answers };
        match rival.hear() {
            Some(says::READY) => Ok(rival),
            _ => Err(Fault::Untried("the second process does not start".to_owned())),
        }
    }

    /// Whether it gets the lock.
    fn tries(&mut self) -> Result<bool, Fault> {
        // If it is gone, it does not answer either.
        let _ = self.orders.write_all(b"?");
        match self.hear() {
            Some(says::TAKEN) => Ok(true),
            Some(says::REFUSED) => Ok(false),
            Some(_) => Err(Fault::Broken("it fails in another process".to_owned())),
            None => Err(Fault::Broken("a process that tries to take it gets no answer".to_owned())),
        }
    }

    fn hear(&mut self) -> Option<u8> {
        let mut byte = [0];
        let heard =
            is_readable(&self.answers, PATIENCE) && self.answers.read(&mut byte).is_ok_and(|n| n == 1);
        heard.then_some(byte[0])
    }

    /// Kills it, and waits for its end.
    fn kill(mut self) -> Result<(), Fault> {
        let _ = self.child.kill();
        // Its end of the pipe is closed when it ends; without that, waiting for it could take for ever.
        if !is_readable(&self.answers, PATIENCE) {
            return Err(Fault::Broken("a process that uses it can't be killed".to_owned()));
        }
        let _ = self.child.wait();
        Ok(())
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        let _ = self.child.kill();
        if is_readable(&self.answers, Duration::from_secs(1)) {
            let _ = self.child.wait();
        }
    }
}

/// Starts this program again, whatever has become of its file since.
#[expect(clippy::disallowed_methods, reason = "the second process is this program itself")]
fn spawn(path: &Path) -> io::Result<Child> {
    let mut option = OsString::from(OPTION);
    option.push(path);
    let start = |program: &Path| {
        Command::new(program)
            .arg(COMMAND)
            .arg(&option)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
    };
    match start(Path::new("/proc/self/exe")) {
        Ok(child) => Ok(child),
        Err(_) => start(&std::env::current_exe()?),
    }
}

fn is_readable(stream: impl AsFd, patience: Duration) -> bool {
    let until = monotonic().saturating_add(patience);
    loop {
        let left: Timespec = time_left(until);
        match poll(&mut [PollFd::new(&stream, PollFlags::IN)], Some(&left)) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(_) => {}
        }
    }
}

/// Is the second process: tries to take the lock of the file at `path` whenever it is told to, until nobody tells any
/// more.
///
/// # Errors
///
/// The file can't be opened.
pub(crate) fn serve(path: &Path) -> io::Result<()> {
    let file = File::from(openat(CWD, path, OFlags::RDWR | FILE, Mode::empty())?);
    answer(says::READY)?;
    let mut order = [0];
    while rustix::io::read(rustix::stdio::stdin(), &mut order)? == 1 {
        answer(match flock::try_exclusive(&file) {
            Ok(true) => says::TAKEN,
            Ok(false) => says::REFUSED,
            Err(_) => says::FAILED,
        })?;
    }
    Ok(())
}

fn answer(byte: u8) -> io::Result<()> {
    rustix::io::write(rustix::stdio::stdout(), &[byte])?;
    Ok(())
}
