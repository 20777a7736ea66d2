//! The Debian package, by `cargo-deb`: what is in it is listed in `lokt/Cargo.toml`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use xshell::{Shell, cmd};

use super::archive;
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
    stage(&program.dir.join(&program.target).join("release/deb"), pages, scripts)
        .context("failed to bring together what goes into the Debian package")?;
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

/// Puts the files that are made where the list in `lokt/Cargo.toml` has them, beside the program. cargo-deb takes what it
/// finds there as it is: pages must be compressed already, as Debian wants them.
fn stage(dir: &Path, pages: &[man::Page], scripts: &[(&str, Vec<u8>)]) -> io::Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    fs::create_dir_all(dir.join("man"))?;
    for page in pages {
        fs::write(dir.join("man").join(format!("{}.gz", page.file)), archive::gzip(page.text.as_bytes())?)?;
    }
    scripts.iter().try_for_each(|(file, script)| fs::write(dir.join(file), script))
}
