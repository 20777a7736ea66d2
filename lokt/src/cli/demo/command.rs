//! The programs of a demonstration, started with nothing of the user's around them.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::host::environment;

/// A program without the user's settings, locks or terminal: at home in `dir`, as `who`.
#[expect(clippy::disallowed_methods, reason = "a demonstration starts programs")]
pub(super) fn clean(program: impl AsRef<std::ffi::OsStr>, dir: &Path, who: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .envs(environment("PATH").map(|path| ("PATH", path)))
        .env("HOME", dir)
        .env("LOKT_OWNER", who)
        .env("LOKT_AGENT_ID", who)
        .env("WHO", who)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}
