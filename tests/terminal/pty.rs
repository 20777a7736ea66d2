//! A terminal of the test's own, and whoever is at work on it.
//!
//! Commands are scripts in files, so that what they print can't be taken for the echo of what was typed. They use
//! builtins only: a shell that is just forking can be stopped halfway (vfork), guarded or not.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lokt_tests::sandbox::{Output, Sandbox, eventually};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, ioctl_tiocsctty, kill_process, setsid};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// How long anything may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

pub const CTRL_C: &str = "\x03";
pub const CTRL_D: &str = "\x04";
pub const CTRL_Z: &str = "\x1a";
pub const CTRL_BACKSLASH: &str = "\x1c";

/// Waits for a line; a trap runs meanwhile. (Bash may overlook a signal that comes just before it sleeps in `read`.)
pub const AWAIT: &str = "while :; do read -r -t 0.1 line && break; done";

/// Counts interrupts until SIGUSR1 comes, which its guard passes on after whatever came before. Always awake, or two
/// signals could count as one.
pub const COUNT: &str = "n=0; trap 'n=$((n+1))' INT; trap 'told=1' USR1; echo $PPID > guard.pid; echo ready
    while [ ! $told ]; do :; done; echo total-$n.";

const PROMPT: &str = "PROMPT> ";

/// A terminal, with a program that it controls.
pub struct Pty {
    pub sandbox: Sandbox,
    master: Option<File>,
    leader: Child,
    /// All that was ever shown.
    shown: String,
    /// How much of it has been waited for.
    read: usize,
}

pub fn sandbox() -> Sandbox {
    Sandbox::new(env!("CARGO_BIN_EXE_lokt-under-test"))
}

/// Makes a script in the sandbox's working directory.
pub fn script(sandbox: &Sandbox, name: &str, text: &str) {
    fs::write(sandbox.work().join(name), text).expect("a script");
}

/// A new terminal: the end of the person, and that of the programs.
fn terminal(columns: u16) -> (File, OwnedFd) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let slave = rustix::fs::open(name, flags, Mode::empty()).unwrap();
    let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&slave, size).unwrap();
    (master.into(), slave)
}

impl Pty {
    /// An interactive shell with job control.
    pub fn shell() -> Self {
        Self::shell_in(sandbox(), 80)
    }

    pub fn shell_in(sandbox: Sandbox, columns: u16) -> Self {
        let mut bash = sandbox.command("bash");
        bash.args(["--norc", "--noprofile", "-i"]);
        let mut pty = Self::start(sandbox, bash, columns, true);
        pty.prompt();
        // Whoever is quit leaves no core, and the end of a job is told at once.
        pty.line("ulimit -c 0; set -b");
        pty.prompt();
        pty
    }

    /// The program itself, with nobody between it and the terminal.
    pub fn guard(args: &[&str], command: &str) -> Self {
        let sandbox = sandbox();
        script(&sandbox, "cmd", command);
        let mut guard = sandbox.lokt(args);
        guard.args(["--", "bash", "cmd"]);
        Self::start(sandbox, guard, 80, true)
    }

    /// Starts `command` in a session of its own; the terminal is its controlling one if it is to `control`.
    #[expect(unsafe_code, reason = "the standard library can't make a session")]
    pub fn start(sandbox: Sandbox, mut command: Command, columns: u16, control: bool) -> Self {
        let (master, slave) = terminal(columns);
        let stream = || Stdio::from(slave.try_clone().unwrap());
        command.env("PS1", PROMPT).env("TERM", "dumb");
        command.stdin(stream()).stdout(stream()).stderr(stream());
        // SAFETY: two system calls, which neither allocate nor lock.
        unsafe {
            command.pre_exec(move || {
                setsid()?;
                if control {
                    ioctl_tiocsctty(rustix::stdio::stdin())?;
                }
                Ok(())
            });
        }
        let leader = command.spawn().expect("the program starts");
        Self { sandbox, master: Some(master), leader, shown: String::new(), read: 0 }
    }

    /// Types text as it is.
    pub fn send(&mut self, keys: &str) {
        self.master.as_mut().unwrap().write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Types a line.
    pub fn line(&mut self, line: &str) {
        self.send(&format!("{line}\n"));
    }

    /// Types a line that runs `command` (a script) under the lock `x`, with what the shell adds behind.
    pub fn guarded(&mut self, command: &str, behind: &str) {
        script(&self.sandbox, "cmd", command);
        self.line(&format!("$LOKT guard x -- bash cmd {behind}"));
    }

    /// As [`guarded`](Self::guarded), under a strace(1) that is nobody's parent and holds each first `call` up for two
    /// seconds; until that of the command has begun.
    pub fn guarded_slowly(&mut self, command: &str, call: &str) {
        script(&self.sandbox, "cmd", command);
        let hold_up = format!("inject={call}:delay_enter=2000000:when=1");
        self.line(&format!("strace -DDD -f -qq -o calls -e {hold_up} $LOKT guard x -- /bin/bash cmd"));
        self.await_call(call);
    }

    /// Whether the leader's group is in the foreground.
    pub fn is_the_leaders(&self) -> bool {
        let leader = Pid::from_child(&self.leader);
        stat(leader, 5) == stat(leader, 2)
    }

    /// Waits for what strace says to have happened to the command.
    pub fn await_call(&self, what: &str) {
        eventually(what, || {
            let calls = fs::read_to_string(self.sandbox.work().join("calls")).unwrap_or_default();
            let guard = calls.split(' ').next().unwrap_or_default();
            calls.lines().any(|line| line.contains(what) && !line.starts_with(guard))
        });
    }

    /// Waits until `text` is shown, and returns what was shown up to its end since the last wait.
    pub fn expect(&mut self, text: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.shown[self.read..].find(text) {
                let from = self.read;
                self.read += at + text.len();
                return self.shown[from..self.read].to_owned();
            }
            let more = self.more(end.saturating_duration_since(Instant::now()));
            assert!(more, "{text:?} was not shown: {:?}", &self.shown[self.read..]);
        }
    }

    pub fn prompt(&mut self) -> String {
        self.expect(PROMPT)
    }

    /// The exit code of the last command of a shell, asked for at its prompt.
    pub fn code(&mut self) -> String {
        self.answer("echo code-$?-", "code-")
    }

    /// What the shell's `question` prints, between `before` and a dash.
    pub fn answer(&mut self, question: &str, before: &str) -> String {
        self.line(question);
        self.expect(&format!("\n{before}"));
        let answer = self.expect("-").trim_end_matches('-').to_owned();
        self.prompt();
        answer
    }

    /// Ctrl-Z, until the shell is back and the whole job is stopped: one that is still on its way to its stop can
    /// take the next line from the shell.
    pub fn suspend(&mut self) {
        self.send(CTRL_Z);
        self.expect("Stopped");
        self.prompt();
        let running = |pid: &Pid| !matches!(stat(*pid, 0).as_deref(), None | Some("T" | "t" | "Z" | "X"));
        eventually("all of the job stops", || !self.session().iter().any(running));
    }

    /// `fg`, until the shell has said whom it has continued.
    pub fn foreground(&mut self) {
        self.line("fg");
        self.expect("fg");
        self.expect("bash");
    }

    /// All that was shown so far.
    pub fn all(&self) -> &str {
        &self.shown
    }

    /// Reads what there is; false if nothing came, or the terminal is closed.
    fn more(&mut self, patience: Duration) -> bool {
        let mut master = self.master.as_ref().unwrap();
        let timeout = Timespec::try_from(patience).unwrap();
        let fd = master.as_fd();
        let ready = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout));
        let mut bytes = [0; 4096];
        // The last program has closed it: an error on Linux.
        let read = if ready == Ok(0) { 0 } else { master.read(&mut bytes).unwrap_or(0) };
        self.shown.push_str(&String::from_utf8_lossy(&bytes[..read]));
        read > 0
    }

    /// Makes the terminal another size.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(self.master.as_ref().unwrap(), size).unwrap();
    }

    /// Hangs up: the terminal is gone.
    pub fn hang_up(&mut self) {
        self.master = None;
    }

    /// Runs the program beside the terminal.
    pub fn beside(&self, args: &[&str]) -> Output {
        self.sandbox.run(args)
    }

    /// Waits for the end of the program that the terminal controls; its code, or 128 and the signal.
    pub fn end(&mut self) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        if self.master.is_some() {
            while self.more(PATIENCE) {}
        }
        let mut ended = None;
        eventually("the leader ends", || {
            ended = self.leader.try_wait().unwrap();
            ended.is_some()
        });
        let status = ended.unwrap();
        status.code().unwrap_or_else(|| 128 + status.signal().unwrap())
    }

    /// Ctrl-C at a command that does [`COUNT`]; it has had it, once, when this returns.
    pub fn interrupt_counting(&mut self) {
        self.expect("ready");
        self.send(CTRL_C);
        self.expect("^C");
        kill_process(self.pid("guard.pid"), Signal::USR1).unwrap();
        self.expect("total-1.");
    }

    /// Sends SIGTERM to the one of this terminal that has `argument` among its arguments.
    pub fn terminate(&self, argument: &str) -> Pid {
        let has = |pid: &Pid| {
            let arguments = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
            arguments.split(|byte| *byte == 0).any(|one| one == argument.as_bytes())
        };
        let pid = self.session().into_iter().find(has).expect("it runs");
        kill_process(pid, Signal::TERM).unwrap();
        pid
    }

    /// The process whose id a script has written to `file`.
    pub fn pid(&self, file: &str) -> Pid {
        let text = fs::read_to_string(self.sandbox.work().join(file)).expect("a process id");
        Pid::from_raw(text.trim().parse().unwrap()).unwrap()
    }
}

impl Pty {
    /// Whoever else is of the leader's session.
    fn session(&self) -> Vec<Pid> {
        let leader = self.leader.id().to_string();
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok());
        let pids = pids.filter_map(Pid::from_raw).filter(|pid| *pid != Pid::from_child(&self.leader));
        pids.filter(|pid| stat(*pid, 3).as_deref() == Some(&leader)).collect()
    }
}

/// The `n`th field of `/proc/PID/stat` behind the name: 0 is the state, 2 the group, 3 the session, and 5 the group in the
/// foreground of its terminal.
fn stat(pid: Pid, n: usize) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(n).map(str::to_owned)
}

/// Whether this process is stopped.
pub fn is_stopped(pid: Pid) -> bool {
    stat(pid, 0).is_some_and(|state| state == "T" || state == "t")
}

/// Whether a signal has come to this process and has not been taken.
pub fn is_pending(pid: Pid, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).unwrap_or_default();
    let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:"));
    let pending = pending.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    pending >> (signal.as_raw() - 1) & 1 == 1
}

/// Whether this process runs: a zombie does not.
pub fn runs(pid: Pid) -> bool {
    stat(pid, 0).is_some_and(|state| state != "Z" && state != "X")
}

impl Drop for Pty {
    fn drop(&mut self) {
        // Hangs up, so that all that is left on the terminal ends; what is stopped or deaf too.
        self.master = None;
        for pid in self.session() {
            let _ = kill_process(pid, Signal::KILL);
        }
        let _ = self.leader.kill();
        let _ = self.leader.wait();
    }
}
