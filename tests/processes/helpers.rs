//! What these tests share beside the sandbox: waiters, signals, and system calls that are delayed or fail.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use lokt_tests::sandbox::{Running, Sandbox, eventually, start};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;

/// Within this a hand-over has happened, on a loaded machine too. What it really takes is a benchmark's business.
pub const SOON: Duration = Duration::from_secs(2);

/// Holds the lock until its input ends.
pub const HOLD: &str = "echo in; read line; exit 0";

pub fn sandbox() -> Sandbox {
    Sandbox::new(env!("CARGO_BIN_EXE_lokt-under-test"))
}

/// Starts `args -- sh -c script` with an input that ends when the test says so ([`Running::let_go`]).
pub fn run_script(sandbox: &Sandbox, args: &[&str], script: &str) -> Running {
    start(with_script(&mut sandbox.lokt(args), script))
}

/// As [`run_script`], and returns once the script has said `in`.
pub fn hold_with(sandbox: &Sandbox, args: &[&str], script: &str) -> Running {
    let mut running = run_script(sandbox, args, script);
    running.await_line("in");
    running
}

/// Adds a script to a command that ends in lokt's own arguments.
pub fn with_script<'a>(command: &'a mut Command, script: &str) -> &'a mut Command {
    command.args(["--", "sh", "-c", script]).stdin(Stdio::piped())
}

/// Starts a guard that waits, and returns once it stands in line. When it gets in, it holds until it is let go.
pub fn queue(sandbox: &Sandbox, args: &[&str]) -> Running {
    queue_with(sandbox, args, HOLD)
}

/// As [`queue`], with another script.
pub fn queue_with(sandbox: &Sandbox, args: &[&str], script: &str) -> Running {
    let mut waiter = run_script(sandbox, args, script);
    waiter.await_stderr("lokt: waiting");
    waiter
}

/// As [`hold_with`], and stops the guard and its command, whose script has written its process id into `pid`.
pub fn hold_paused(sandbox: &Sandbox, args: &[&str], script: &str) -> Running {
    let guard = hold_with(sandbox, args, script);
    stop(guard.pid());
    let command = work_pid(sandbox, "pid");
    signal_group(command, Signal::STOP);
    await_state(command, "T");
    guard
}

/// The records of those who hold a name together, by their slots.
pub fn holders(sandbox: &Sandbox, name: &str) -> Vec<Value> {
    let files = fs::read_dir(sandbox.root().join("holders").join(name)).into_iter().flatten().flatten();
    // One may be gone by now.
    let records = files.filter_map(|file| fs::read(file.path()).ok());
    let mut records: Vec<Value> = records.map(|record| serde_json::from_slice(&record).unwrap()).collect();
    records.sort_by_key(|record| (record["slot"].as_u64(), record["token"].as_u64()));
    records
}

/// The record of a process among those who hold a name together.
pub fn holder(sandbox: &Sandbox, name: &str, of: &Running) -> Value {
    let all = holders(sandbox, name);
    all.iter().find(|record| record["pid"] == of.pid()).unwrap_or_else(|| panic!("{all:#?}")).clone()
}

/// Nobody holds a lock, nobody waits, and not even a directory tells that somebody did.
pub fn nothing_is_left(sandbox: &Sandbox) {
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
    for dir in ["holders", "lines"] {
        let left: Vec<_> = fs::read_dir(sandbox.root().join(dir)).into_iter().flatten().flatten().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// How many stand in line, as `status` sees it.
pub fn waiters(sandbox: &Sandbox, name: &str) -> usize {
    let status = sandbox.run(["status", name, "--json"]);
    let status: Value = serde_json::from_str(&status.stdout).unwrap_or_default();
    status["waiters"].as_array().map_or(0, Vec::len)
}

/// The record of a lock.
pub fn record(sandbox: &Sandbox, name: &str) -> Value {
    serde_json::from_slice(&fs::read(sandbox.record(name)).unwrap()).unwrap()
}

/// The process that the record names.
pub fn holder_pid(sandbox: &Sandbox, name: &str) -> i32 {
    i32::try_from(record(sandbox, name)["pid"].as_i64().unwrap()).unwrap()
}

/// A file that a script wrote into the working directory; empty if there is none.
pub fn work_file(sandbox: &Sandbox, file: &str) -> String {
    fs::read_to_string(sandbox.work().join(file)).unwrap_or_default()
}

/// The process id that a script wrote into a file.
pub fn work_pid(sandbox: &Sandbox, file: &str) -> i32 {
    work_file(sandbox, file).trim().parse().unwrap()
}

pub fn signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

pub fn signal_group(pid: i32, signal: Signal) {
    kill_process_group(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

/// Stops a process, and returns once it stands still.
pub fn stop(pid: i32) {
    signal(pid, Signal::STOP);
    await_state(pid, "Tt");
}

/// Waits until a process is in one of these states of `/proc/PID/stat`; `-` is gone.
pub fn await_state(pid: i32, states: &str) {
    eventually(&format!("process {pid} in state {states}"), || states.contains(state(pid)));
}

/// Waits until the lease of `x` has lapsed, which a plain try says when it is denied.
pub fn await_lapse(sandbox: &Sandbox) {
    eventually("the lease lapses", || {
        let denied = sandbox.run(["lock", "x"]);
        assert_eq!(denied.code, 2, "a plain try never takes it over: {denied:?}");
        denied.stderr.contains("lapsed")
    });
}

/// Whether a process has ended, whoever has noticed.
pub fn is_gone(pid: i32) -> bool {
    "-ZX".contains(state(pid))
}

fn state(pid: i32) -> char {
    stat_field(pid, 3).chars().next().unwrap_or('-')
}

/// A field of `/proc/PID/stat` behind the name, counted as proc(5) does; `-` if it is gone.
pub fn stat_field(pid: i32, field: usize) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    fields.split_ascii_whitespace().nth(field - 3).unwrap_or("-").to_owned()
}

/// A FIFO in the working directory: a script that opens it waits for [`open_gate`].
pub fn make_gate(sandbox: &Sandbox, gate: &str) {
    let made = Command::new("mkfifo").arg(sandbox.work().join(gate)).status();
    assert!(made.unwrap().success());
}

/// Lets a script go on that waits at a gate.
pub fn open_gate(sandbox: &Sandbox, gate: &str) {
    fs::write(sandbox.work().join(gate), "go\n").unwrap();
}

/// lokt under strace(1), which makes system calls slow or fail as the `injections` say, and writes the calls they
/// name into the file `calls` of the sandbox.
pub fn traced(sandbox: &Sandbox, injections: &[&str], args: &[&str]) -> Command {
    let mut command = sandbox.command("strace");
    command.args(["-f", "-qq", "-o"]).arg(sandbox.path().join("calls"));
    for injection in injections {
        command.args(["-e", &format!("inject={injection}")]);
    }
    command.arg(env!("CARGO_BIN_EXE_lokt-under-test")).args(args);
    command
}

/// What strace has written so far.
pub fn calls(sandbox: &Sandbox) -> String {
    fs::read_to_string(sandbox.path().join("calls")).unwrap_or_default()
}

/// The lines of a log that scripts have appended to.
pub fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}
