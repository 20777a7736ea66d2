//! What can be counted instead of timed: user-space instructions by valgrind's callgrind, and system calls by strace.
//!
//! Both of the process itself, without the command that it runs. Counted again, they are the same, but for what
//! depends on process ids, times and the randomness of hash tables. Valgrind can't run a guard, as it knows no child that
//! shares the memory while its parent goes on: what a guard does before and after its command, `lokt lock` does as well.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use super::found::Found;
use super::ground::{Ground, Peer, find};
use crate::faults::trace;
use crate::section::Table;
use crate::stats::{percentile, thousands};

/// How often each is counted; the median counts.
const TIMES: usize = 5;
const QUICK_TIMES: usize = 3;

pub fn measure(ground: &Ground) -> anyhow::Result<Found> {
    let mut found = Found::new("instructions", "What can be counted");
    let valgrind = find(&Peer("valgrind", "valgrind"), &mut found.warnings);
    let strace = find(&Peer("strace", "strace"), &mut found.warnings);
    let mut table = Table::new("Of one process", &["command", "user-space instructions", "system calls"]);
    for Counted { name, label, arguments, starts_another } in commands(ground) {
        // What others hold is swept through now and then, and would be counted with a guard's own.
        let root = if name == "status" { ground.root_with(10)? } else { ground.path("counted") };
        let given_back = |count: f64| {
            let _ = ground.lokt(&root, &["unlock", "x"]).output();
            count
        };
        let mut both = [None, None];
        if let (false, Some(strace), Some(valgrind)) = (starts_another, &strace, &valgrind) {
            let count =
                || instructions(ground.lokt(&root, &[]), strace, valgrind, &arguments).map(given_back);
            both[0] = Some(median(ground, count).with_context(|| format!("failed to count in {label}"))?);
        }
        if let Some(strace) = &strace {
            let dir = ground.path("strace");
            let count = || system_calls(ground.lokt(&root, &[]), strace, &dir, &arguments).map(given_back);
            both[1] = Some(median(ground, count).with_context(|| format!("failed to trace {label}"))?);
        }
        let shown = both.map(|count| count.map_or("-".to_owned(), |count| thousands(count as u64)));
        table.rows.push([vec![label.to_owned()], shown.to_vec()].concat());
        for (what, count) in ["instructions", "system calls"].into_iter().zip(both) {
            found.values.extend(count.map(|count| (format!("{what} of {name}"), count)));
        }
    }
    found.section.tables.push(table);
    Ok(found)
}

/// A command whose process is counted.
struct Counted {
    name: &'static str,
    label: &'static str,
    arguments: Vec<String>,
    starts_another: bool,
}

fn commands(ground: &Ground) -> [Counted; 5] {
    let nothing = ground.nothing.display();
    let counted = |name, label, line: String, starts_another| {
        let words = line.split(' ').map(str::to_owned);
        let arguments = std::iter::once(ground.lokt.display().to_string()).chain(words).collect();
        Counted { name, label, arguments, starts_another }
    };
    [
        counted("a guard", "lokt guard x -- true", format!("guard x -- {nothing}"), true),
        counted(
            "a guard --ttl",
            "lokt guard x --ttl 5m -- true",
            format!("guard x --ttl 5m -- {nothing}"),
            true,
        ),
        counted("a lock", "lokt lock x", "lock x".to_owned(), false),
        counted("status", "lokt status, 10 records", "status".to_owned(), false),
        counted("--version", "lokt --version", "--version".to_owned(), false),
    ]
}

fn median(ground: &Ground, count: impl Fn() -> anyhow::Result<f64>) -> anyhow::Result<f64> {
    let times = if ground.quick { QUICK_TIMES } else { TIMES };
    let counts: Vec<f64> = (0..times).map(|_| count()).collect::<anyhow::Result<_>>()?;
    Ok(percentile(&counts, 50).unwrap_or(f64::NAN))
}

/// Another program, for the root of `command`, in an environment that is the same everywhere: every variable that is
/// passed on takes instructions.
fn under(command: &Command, program: &Path) -> Command {
    let root = command.get_envs().filter(|(name, _)| *name == "LOKT_ROOT");
    let mut under = Command::new(program);
    under
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .envs(root.filter_map(|(name, value)| Some((name, value?))));
    under
}

/// rustix asks the kernel for the auxiliary vector (`prctl(PR_GET_AUXV)`), and so finds the vDSO, which valgrind has
/// unmapped. strace lets this one call fail as it does in an older kernel; the next best is `/proc/self/auxv`, as valgrind
/// shows it.
fn instructions(lokt: Command, strace: &Path, valgrind: &Path, arguments: &[String]) -> anyhow::Result<f64> {
    let mut command = under(&lokt, strace);
    command.args(["-qq", "-o", "/dev/null", "-e", "trace=prctl", "-e", "inject=prctl:error=EINVAL:when=1"]);
    command.arg(valgrind).args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).args(arguments);
    let ran = command.output().context("failed to run valgrind")?;
    let said = String::from_utf8_lossy(&ran.stderr);
    ensure!(ran.status.success(), "{}: {said}", ran.status);
    collected(&said).with_context(|| format!("valgrind counted nothing: {said}"))
}

/// `==123== Collected : 304600`
fn collected(said: &str) -> Option<f64> {
    let line = said.lines().find(|line| line.contains("Collected :"))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// A trace for each thread. One that starts another program is the command's; all others are lokt's own.
fn system_calls(lokt: Command, strace: &Path, dir: &Path, arguments: &[String]) -> anyhow::Result<f64> {
    let _ = fs::remove_dir_all(dir);
    fs::create_dir(dir).context("no directory for the traces")?;
    let mut command = under(&lokt, strace);
    command.args(["-ff", "-qq", "-o"]).arg(dir.join("trace")).args(arguments);
    let ran = command.output().context("failed to run strace")?;
    ensure!(ran.status.success(), "{}: {}", ran.status, String::from_utf8_lossy(&ran.stderr));
    let traces: Vec<PathBuf> = fs::read_dir(dir)?.flatten().map(|entry| entry.path()).collect();
    let traces: Vec<String> = traces.iter().map(|path| trace::read(path)).collect();
    Ok(own_calls(&traces, &arguments[0]) as f64)
}

fn own_calls(traces: &[String], program: &str) -> usize {
    let starts_another = |text: &&String| {
        text.lines()
            .any(|line| line.starts_with("execve(") && !line.starts_with(&format!("execve(\"{program}\"")))
    };
    traces.iter().filter(|text| !starts_another(text)).map(|text| trace::count(text)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_between_fork_and_exec_is_not_counted() {
        let own = "execve(\"/lokt\", [\"lokt\"]) = 0\nfork() = 2\nexit_group(0) = ?\n+++ exited with 0 +++\n";
        let thread = "gettid() = 3\nexit(0) = ?\n";
        let command = "setpgid(0, 0) = 0\nexecve(\"/bin/true\", [\"true\"]) = 0\nexit_group(0) = ?\n";
        let traces = [own, thread, command].map(str::to_owned);
        assert_eq!(own_calls(&traces, "/lokt"), 5);
    }

    #[test]
    fn what_callgrind_counted_is_read() {
        assert_eq!(collected("==1== Events    : Ir\n==1== Collected : 304600\n==1==\n"), Some(304_600.0));
        assert_eq!(collected("valgrind: failed to start tool"), None);
    }
}
