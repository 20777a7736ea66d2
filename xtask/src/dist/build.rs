//! Builds the program of a release: static where the system allows it, and without a trace of where it was built.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use xshell::{Shell, cmd};

use crate::machine::host_target;
use crate::{console, paths};

/// A program that was built.
pub struct Program {
    pub path: PathBuf,
    /// The target triple that it was built for.
    pub target: String,
    /// The directory of build output that is its own.
    pub dir: PathBuf,
}

impl Program {
    /// Builds it for this machine.
    pub fn build(sh: &Shell) -> anyhow::Result<Self> {
        let (target, mut flags) = target_of(sh, &host_target(sh)?);
        flags.extend(remaps(sh)?);
        // Beside the ordinary build: other flags, other objects.
        let dir = paths::target().join("dist/build");
        cmd!(sh, "cargo build --release --locked --package lokt --target {target} --target-dir {dir}")
            // What somebody's own flags add would be in the program.
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
            .env("CARGO_INCREMENTAL", "0")
            .quiet()
            .run()
            .context("failed to build the program: see above")?;
        Ok(Self { path: dir.join(&target).join("release/lokt"), target, dir })
    }

    /// On Linux it must need nothing but the kernel: no loader, no library of the system.
    pub fn must_be_static(&self) -> anyhow::Result<()> {
        let loader = interpreter(&fs::read(&self.path)?);
        ensure!(!(self.target.contains("linux") && loader), "the program is not static");
        Ok(())
    }
}

/// The static target of a host, if there is one, and the flags that it needs.
fn target_of(sh: &Shell, host: &str) -> (String, Vec<String>) {
    let Some((arch, _)) = host.split_once("-unknown-linux") else {
        // macOS has no static programs.
        return (host.to_owned(), Vec::new());
    };
    let musl = format!("{arch}-unknown-linux-musl");
    // At a fixed address there is nothing to relocate at the start, as `.cargo/config.toml` has it for whoever builds it
    // by hand.
    let fixed = "-Crelocation-model=static".to_owned();
    if can_build(sh, &musl) || add(sh, &musl) {
        return (musl, vec![fixed]);
    }
    console::note(&format!("{musl} is not to be had: building with this system's C library, statically"));
    (host.to_owned(), vec![fixed, "-Ctarget-feature=+crt-static".to_owned()])
}

/// Whether the standard library of a target is installed, by whatever means.
fn can_build(sh: &Shell, target: &str) -> bool {
    let libraries = cmd!(sh, "rustc --print target-libdir --target {target}").quiet().ignore_stderr().read();
    libraries.is_ok_and(|dir| fs::read_dir(dir).is_ok_and(|mut files| files.next().is_some()))
}

fn add(sh: &Shell, target: &str) -> bool {
    console::note(&format!("installing the standard library of {target}"));
    cmd!(sh, "rustup target add {target}").quiet().run().is_ok()
}

/// Paths of this machine get into a program with the places of its panics: these say what stands there instead.
fn remaps(sh: &Shell) -> anyhow::Result<Vec<String>> {
    let sysroot = cmd!(sh, "rustc --print sysroot").quiet().read()?;
    let cargo_home = paths::cargo_home_bin().and_then(|bin| Some(bin.parent()?.to_owned()));
    let places = [
        (Some(paths::workspace()), "/lokt"),
        (cargo_home, "/cargo"),
        (Some(PathBuf::from(sysroot).join("lib/rustlib/src/rust")), "/rust"),
    ];
    let known = places.into_iter().filter_map(|(dir, name)| Some((dir?.display().to_string(), name)));
    Ok(known.map(|(dir, name)| format!("--remap-path-prefix={dir}={name}")).collect())
}

/// Whether a 64-bit little-endian ELF file names a loader (a program header of the type `PT_INTERP`).
fn interpreter(elf: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    let number = |at: usize, size: usize| {
        let bytes = elf.get(at..at + size)?;
        Some(bytes.iter().rev().fold(0_usize, |number, byte| number << 8 | usize::from(*byte)))
    };
    let (Some(start), Some(size), Some(count)) = (number(32, 8), number(54, 2), number(56, 2)) else {
        return false;
    };
    (0..count).any(|index| number(start + index * size, 4) == Some(PT_INTERP as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test itself is linked as programs usually are.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[test]
    fn a_program_that_needs_a_loader_is_told() {
        assert!(interpreter(&fs::read(std::env::current_exe().unwrap()).unwrap()));
        assert!(!interpreter(b"\x7fELF"));
    }
}
