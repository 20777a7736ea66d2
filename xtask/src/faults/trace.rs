//! strace(1): what it needs to be there, how a fault is asked of it, and what its trace tells.
//!
//! How it counts (strace 6.1; tried): `when=K` is the K-th invocation *of each system call's name, by each tracee*. So
//! "the N-th call of the program" can't be asked for, but "the K-th `openat` of this thread" can, and the two name the
//! same instants as long as one thread is traced. Without `-f` strace traces the main thread alone, and with `-p TID`
//! any one thread, counted from when it was attached to; helpers, and the guarded command, run untraced.
//!
//! `signal=KILL` ends the process *before* the call is made (a fatal signal skips it); `signal=STOP` stops it right
//! after; `delay_enter` holds the one thread before it; `error=` skips the call and returns the error. A delay before
//! a call is the same instant as one after the call before it, so `delay_exit` would try nothing new.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::str::FromStr;

use anyhow::{Context, bail};
use xshell::{Shell, cmd};

use super::errors::Errno;
use crate::console;

/// An instant of an operation: right before (or after, or in) the K-th call of a name by the thread.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Point {
    pub call: String,
    pub count: u32,
}

/// A point of a clean run.
#[derive(Clone, Debug)]
pub struct Position {
    pub point: Point,
    /// The call as strace wrote it.
    pub text: String,
    /// The root had been touched, or is by this call.
    pub in_root: bool,
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.call, self.count)
    }
}

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once(':').and_then(|(call, count)| {
            let count = count.parse().ok().filter(|count| *count > 0)?;
            Some(Self { call: call.to_owned(), count })
        });
        parsed.ok_or_else(|| "a position is a system call and its count, such as openat:3".to_owned())
    }
}

impl Point {
    /// The first call of its name.
    pub fn first(&self) -> Self {
        Self { call: self.call.clone(), count: 1 }
    }
}

/// What strace is to do at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Injection {
    Kill,
    Stop,
    /// For so many milliseconds.
    Delay(u64),
    /// This call and the next two of its name do not return for so many milliseconds; nor does the main thread from one in
    /// the root.
    Hang(u64),
    Error(Errno),
}

impl Injection {
    /// strace's arguments for it.
    pub fn arguments(self, point: &Point) -> Vec<String> {
        let what = match self {
            Self::Kill => "signal=KILL".to_owned(),
            Self::Stop => "signal=STOP".to_owned(),
            Self::Delay(ms) | Self::Hang(ms) => format!("delay_enter={}", ms * 1000),
            Self::Error(errno) => format!("error={}", errno.name()),
        };
        let Point { call, count } = point;
        // Not all later ones too: in the end the program is to come to its own.
        let later = if matches!(self, Self::Hang(_)) { format!("..{}", count + 2) } else { String::new() };
        ["-e", &format!("trace={call}"), "-e", &format!("inject={call}:{what}:when={count}{later}")]
            .map(str::to_owned)
            .to_vec()
    }

    /// Whether the trace shows that it has come about; for a delay, that it has begun.
    pub fn has_struck(self, trace: &str, point: &Point) -> bool {
        match self {
            Self::Kill => trace.contains("+++ killed by SIGKILL +++"),
            Self::Stop => trace.contains("--- stopped by SIGSTOP ---"),
            Self::Error(_) => trace.contains("(INJECTED)"),
            Self::Delay(_) | Self::Hang(_) => {
                calls(trace).filter(|(call, _)| *call == point.call).count() >= point.count as usize
            }
        }
    }
}

/// The calls of a trace of one thread, each with its line. One that has not returned yet is there too.
fn calls(trace: &str) -> impl Iterator<Item = (&str, &str)> {
    trace.lines().filter_map(|line| {
        let (call, _) = line.split_once('(')?;
        // Of several threads, each line begins with whose it is.
        let call = call.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        (!call.is_empty() && call.chars().all(is_name)).then_some((call, line))
    })
}

/// How many calls a trace of one thread has.
pub fn count(trace: &str) -> usize {
    calls(trace).count()
}

/// The positions of a clean run's trace. `root` as it appears there is how the root is told from the rest; a thread
/// that is attached to later has the root open already.
pub fn positions(trace: &str, root: Option<&Path>) -> Vec<Position> {
    let mut counts: HashMap<&str, u32> = HashMap::new();
    let quoted = root.map(|root| format!("\"{}", root.display()));
    // execve names it too, in what it hands over; the first call is strace's own start of the program.
    let mut in_root = quoted.is_none();
    calls(trace)
        .map(|(call, line)| {
            let count = counts.entry(call).or_default();
            *count += 1;
            in_root |= call != "execve" && quoted.as_ref().is_some_and(|quoted| line.contains(quoted));
            Position { point: Point { call: call.to_owned(), count: *count }, text: line.to_owned(), in_root }
        })
        .collect()
}

/// Finds strace, or installs it where that can be done; and fails where tracing is not permitted.
pub fn find_or_install(sh: &Shell) -> anyhow::Result<()> {
    if !cfg!(target_os = "linux") {
        bail!("faults are injected with strace, which there is on Linux only");
    }
    if quiet("strace", &["-V"]).is_err() {
        console::note("strace is not installed: installing it with apt-get");
        cmd!(sh, "apt-get install --yes --no-install-recommends strace").quiet().ignore_stdout().run().context(
            "failed to install strace: install it (Debian, Ubuntu: sudo apt-get install strace), then try again",
        )?;
    }
    let denied = "strace may not trace here (ptrace is not permitted: a container without CAP_SYS_PTRACE, a seccomp \
                  filter, or kernel.yama.ptrace_scope above 1): nothing was tried";
    quiet("strace", &["-qq", "-o", "/dev/null", "true"]).context(denied)?;
    attach_to_child().context(denied)?;
    let version = cmd!(sh, "strace -V").quiet().read().context("failed to ask strace for its version")?;
    let injects =
        quiet("strace", &["-qq", "-o", "/dev/null", "-e", "inject=getuid:delay_enter=1:when=1", "true"]);
    injects.with_context(|| format!("{} can't inject faults: 5.0 or later is needed", first_line(&version)))
}

/// Attaching needs more permission than starting under a tracer does.
fn attach_to_child() -> anyhow::Result<()> {
    let mut child =
        Command::new("sleep").arg("1").stdin(Stdio::null()).spawn().context("failed to run sleep")?;
    let attached = quiet("strace", &["-qq", "-o", "/dev/null", "-p", &child.id().to_string()]);
    child.wait()?;
    attached
}

fn quiet(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let ran = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let ran = ran.with_context(|| format!("failed to run {program}"))?;
    if !ran.status.success() {
        bail!("{program} says: {}", first_line(&String::from_utf8_lossy(&ran.stderr)));
    }
    Ok(())
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// What strace has written so far; nothing if it has not begun.
pub fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "\
execve(\"/lokt\", [\"lokt\", \"--root\", \"/r\"], 0x7ffd /* 40 vars */) = 0
openat(AT_FDCWD, \"/lib/libc.so.6\", O_RDONLY|O_CLOEXEC) = 3
statx(AT_FDCWD, \"/r\", AT_STATX_SYNC_AS_STAT, STATX_ALL, {...}) = 0
--- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=1} ---
openat(15, \"locks\", O_RDONLY) = 16
+++ exited with 0 +++
";

    #[test]
    fn positions_are_counted_by_name_and_begin_in_the_root_where_it_is_first_touched() {
        let positions = positions(TRACE, Some(Path::new("/r")));
        let shown: Vec<_> = positions.iter().map(|p| (p.point.to_string(), p.in_root)).collect();
        let expected = [("execve:1", false), ("openat:1", false), ("statx:1", true), ("openat:2", true)];
        assert_eq!(shown, expected.map(|(point, in_root)| (point.to_owned(), in_root)));
    }

    #[test]
    fn a_delay_has_struck_when_its_call_has_begun() {
        let point = Point { call: "openat".to_owned(), count: 3 };
        assert!(!Injection::Delay(1).has_struck(TRACE, &point));
        assert!(Injection::Delay(1).has_struck(&format!("{TRACE}openat(16, \"x"), &point));
    }

    #[test]
    fn a_position_is_read_as_it_is_written() {
        let point = Point { call: "renameat2".to_owned(), count: 2 };
        assert_eq!(point.to_string().parse(), Ok(point));
        assert!("renameat2".parse::<Point>().is_err());
        assert!("renameat2:0".parse::<Point>().is_err());
    }
}
