//! The programs that the tasks try, built from this workspace.

use std::path::PathBuf;

use anyhow::Context;
use xshell::{Shell, cmd};

use crate::paths;

/// What `cargo build --release` makes of lokt.
pub fn lokt(sh: &Shell) -> anyhow::Result<PathBuf> {
    let _workspace = sh.push_dir(paths::workspace());
    cmd!(sh, "cargo build --quiet --release --package lokt").run().context("failed to build lokt")?;
    Ok(paths::target().join("release/lokt"))
}

/// A program that the tests have for their own use.
pub fn helper(sh: &Shell, name: &str) -> anyhow::Result<PathBuf> {
    let _workspace = sh.push_dir(paths::workspace());
    cmd!(sh, "cargo build --quiet --package lokt-tests --bin {name}")
        .run()
        .with_context(|| format!("failed to build {name}"))?;
    Ok(paths::target().join("debug").join(name))
}
