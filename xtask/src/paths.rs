//! Where the workspace, its build output and its tools are.

use std::path::{Path, PathBuf};

/// The root of the workspace. Cargo says where this package is when it runs it; a copy of the binary that is
/// started by hand falls back on the place where it was built.
pub fn workspace() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
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
