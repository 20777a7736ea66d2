//! Builds the fuzz targets with libFuzzer, on the stable toolchain.

use std::path::PathBuf;

use anyhow::Context;
use xshell::{Shell, cmd};

use crate::machine::host_target;
use crate::{console, paths};

/// What `cargo fuzz` sets, but for the address sanitizer: there is no unsafe code of ours for it to look at.
const RUSTFLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions";

/// Where the targets have been built.
pub struct Build {
    programs: PathBuf,
}

impl Build {
    /// Builds these targets. `RUSTC_BOOTSTRAP` lets a stable compiler take unstable flags.
    pub fn of(sh: &Shell, targets: &[&str]) -> anyhow::Result<Self> {
        need_compiler(sh)?;
        let host = host_target(sh)?;
        // Beside the ordinary build: other flags, other objects. With --target, build scripts are spared the flags.
        let dir = paths::target().join("fuzz/build");
        let bins = targets.iter().flat_map(|target| ["--bin".to_owned(), format!("fuzz-{target}")]);
        console::note("building the fuzz targets (the first time takes some minutes)");
        cmd!(
            sh,
            "cargo build --quiet --package lokt-tests --features fuzz --target {host} --target-dir {dir}"
        )
        .args(bins)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", RUSTFLAGS)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "3")
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .quiet()
        .run()
        .context("failed to build the fuzz targets: see above")?;
        Ok(Self { programs: dir.join(host).join("debug") })
    }

    pub fn program(&self, target: &str) -> PathBuf {
        self.programs.join(format!("fuzz-{target}"))
    }
}

/// libFuzzer is C++. Its build script would say so, too, but on a page.
fn need_compiler(sh: &Shell) -> anyhow::Result<()> {
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    cmd!(sh, "{compiler} --version").quiet().ignore_stdout().ignore_stderr().run().with_context(|| {
        format!(
            "libFuzzer needs a C++ compiler, and {compiler:?} does not start: install one \
             (Debian: apt-get install g++; macOS: xcode-select --install), or name it in CXX"
        )
    })
}
