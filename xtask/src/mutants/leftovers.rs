//! Processes that a mutant has left behind.
//!
//! A broken guard may let its command run for ever, and commands of tests are stubborn on purpose: they would take the
//! processor from the next mutant, and from everybody else. They are known by their environment, which says whose
//! program they test, so none but the copy's own are ended. Where there is no `/proc`, they stay.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use xshell::{Shell, cmd};

/// What the test runner is told, and all that it starts, but for what has its environment cleared.
pub const MARK: &str = "LOKT_MUTANTS_BUILD";

/// What the sandbox of a test tells all that it starts: the program under test.
const PROGRAM: &str = "LOKT";

/// Ends all processes that test the program in `build`.
pub fn end(sh: &Shell, build: &Path) {
    // Again, as one may just be starting another.
    for _ in 0..20 {
        let left = all(build);
        if left.is_empty() {
            return;
        }
        // It may just have ended by itself.
        let _ = cmd!(sh, "kill -KILL {left...}").quiet().ignore_stderr().run();
        thread::sleep(Duration::from_millis(10));
    }
}

fn all(build: &Path) -> Vec<String> {
    let build = build.display();
    let (mark, program) = (format!("{MARK}={build}"), format!("{PROGRAM}={build}/"));
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().into_string().ok());
    pids.filter(|pid| pid.bytes().all(|byte| byte.is_ascii_digit()))
        .filter(|pid| {
            // Empty for one that has ended and whom nobody has told.
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let mut entries = environment.split(|byte| *byte == 0);
            entries.any(|entry| entry == mark.as_bytes() || entry.starts_with(program.as_bytes()))
        })
        .collect()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Command};

    use super::*;

    fn sleeper(variable: &str, value: &str) -> std::io::Result<Child> {
        Command::new("sleep").arg("1000").env_clear().env(variable, value).spawn()
    }

    #[test]
    fn only_those_of_the_build_are_ended() -> anyhow::Result<()> {
        let (dir, sh) = (tempfile::tempdir()?, Shell::new()?);
        let build = dir.path().join("build");
        let path = build.display().to_string();
        let mut marked = sleeper(MARK, &path)?;
        let mut under_test = sleeper(PROGRAM, &format!("{path}/debug/lokt-under-test"))?;
        let mut anothers = sleeper(PROGRAM, &format!("{path}-of-another/debug/lokt-under-test"))?;
        // They have the environment once they have been exec'd.
        while all(&build).len() < 2 {
            thread::yield_now();
        }
        end(&sh, &build);
        assert_eq!((marked.wait()?.signal(), under_test.wait()?.signal()), (Some(9), Some(9)));
        assert!(anothers.try_wait()?.is_none(), "another's process is left alone");
        anothers.kill()?;
        anothers.wait()?;
        Ok(())
    }
}
