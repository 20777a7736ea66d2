//! The machine that figures come from.

use anyhow::Context;
use serde::Serialize;
use xshell::{Shell, cmd};

/// What the timings depend on.
#[derive(Serialize)]
pub struct Machine {
    pub os: &'static str,
    pub arch: &'static str,
    pub cores: usize,
    /// The commit that was tested; with `-dirty` if there were changes; absent outside a repository.
    pub commit: Option<String>,
    pub rustc: Option<String>,
}

impl Machine {
    pub fn this(sh: &Shell) -> Self {
        Self {
            os: std::env::consts::OS,
            arch: std::env::consts::ARCH,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            commit: cmd!(sh, "git describe --always --dirty --abbrev=12").quiet().ignore_stderr().read().ok(),
            rustc: cmd!(sh, "rustc --version").quiet().ignore_stderr().read().ok(),
        }
    }
}

/// The target triple for which rustc builds here.
pub fn host_target(sh: &Shell) -> anyhow::Result<String> {
    let version = cmd!(sh, "rustc -vV").quiet().read().context("failed to ask rustc for its target")?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}
