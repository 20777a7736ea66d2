//! The Debian package, by `cargo-deb`: what is in it is listed in `lokt/Cargo.toml`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use xshell::{Shell, cmd};

use super::build::Program;
use crate::man;
use crate::source::Source;
use crate::tools::Tool;

const CARGO_DEB: Tool = Tool {
    name: "cargo-deb",
    what: "which makes Debian packages",
    site: "https://github.com/kornelski/cargo-deb",
};

/// Makes it, and returns where it is.
pub fn package(
    sh: &Shell,
    program: &Program,
    source: &Source,
    pages: &[man::Page],
    scripts: &[(&str, Vec<u8>)],
    out: &Path,
) -> anyhow::Result<PathBuf> {
    let cargo_deb = CARGO_DEB.find_or_install(sh)?;
    // `target/release/deb` in the list of its files: cargo-deb looks for it beside the program.
    let staged = program.dir.join(&program.target).join("release/deb");
    if staged.exists() {
        fs::remove_dir_all(&staged)?;
    }
    fs::create_dir_all(&staged).with_context(|| format!("failed to create {}", staged.display()))?;
    for page in pages {
        page.write_to(&staged.join("man"))?;
    }
    for (file, script) in scripts {
        fs::write(staged.join(file), script)?;
    }
    let target = &program.target;
    let path = cmd!(
        sh,
        "{cargo_deb} --package lokt --no-build --no-strip --locked --target {target} --output {out}"
    )
    .env("CARGO_TARGET_DIR", &program.dir)
    .env("SOURCE_DATE_EPOCH", source.seconds.to_string())
    .quiet()
    .read()
    .context("failed to make the Debian package: see above")?;
    let path = path.lines().last().context("cargo-deb does not say what it has made")?;
    Ok(PathBuf::from(path.trim()))
}
