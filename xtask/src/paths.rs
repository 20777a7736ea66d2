//! Where the workspace, its build output and its tools are.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where this package is, handed on by [`without_cargos_own`].
const PACKAGE: &str = "LOKT_XTASK_PACKAGE";

/// What `cargo run` tells the program that it runs of itself, and nobody else should hear: a cargo that a task starts would
/// build anew what looks at it, each time (`ring` does, and all that stands on it).
pub fn without_cargos_own() -> io::Result<()> {
    let Some(package) = std::env::var_os("CARGO_MANIFEST_DIR") else {
        return Ok(());
    };
    let mut anew = Command::new(std::env::current_exe()?);
    anew.args(std::env::args_os().skip(1)).env(PACKAGE, package);
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_cargos_own(name)) {
        anew.env_remove(name);
    }
    Err(anew.exec())
}

fn is_cargos_own(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
}

/// The root of the workspace. Cargo says where this package is when it runs it; a copy of the binary that is
/// started by hand falls back on the place where it was built.
pub fn workspace() -> PathBuf {
    let package = std::env::var_os(PACKAGE).unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&package).parent().unwrap_or(Path::new(".")).to_owned()
}

/// Cargo's target directory, wherever the environment moves it.
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => workspace().join(dir),
        None => workspace().join("target"),
    }
}

/// The root of `cargo install` for tools that the tasks fetch themselves.
pub fn tools() -> PathBuf {
    target().join("tools")
}

/// The user's own installed tools.
pub fn cargo_home_bin() -> Option<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    home.map(|home| home.join("bin"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cargo_says_of_xtask_alone_is_told_from_what_is_for_all() {
        for own in ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_PKG_NAME"] {
            assert!(is_cargos_own(own.as_ref()), "{own}");
        }
        for of_all in ["CARGO", "CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_TERM_COLOR", "PATH"] {
            assert!(!is_cargos_own(of_all.as_ref()), "{of_all}");
        }
    }
}
