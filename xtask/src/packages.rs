//! Programs of Debian packages: found, or unpacked below `target/`, where nothing of the system changes and nobody has
//! to be root.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use xshell::{Shell, cmd};

use crate::{console, paths};

/// What of the tests' programs is no part of every system, and the Debian package that it is in.
const TOOLS: [(&str, &str); 3] = [("strace", "strace"), ("ip", "iproute2"), ("bindfs", "bindfs")];

/// The package of an etcd server, and its program.
const ETCD: (&str, &str) = ("etcd-server", "etcd");

/// A search path on which an etcd server is found; `None` if there is none to be had here, which is said.
pub fn path_with_etcd(sh: &Shell) -> anyhow::Result<Option<OsString>> {
    let path = env::var_os("PATH").unwrap_or_default();
    let (package, program) = ETCD;
    if env::split_paths(&path).any(|dir| dir.join(program).is_file()) {
        return Ok(Some(path));
    }
    let dir = match unpack(sh, package) {
        Ok(dir) => dir.join("usr/bin"),
        Err(error) => {
            console::note(&format!("what needs {program} is skipped: {error:#}"));
            return Ok(None);
        }
    };
    let all = env::split_paths(&path).chain([dir]);
    env::join_paths(all).map(Some).context("a directory of the search path has a colon in its name")
}

/// Installs the programs that tests need, where that can be done: strace, which forces an instant, ip, which makes a network,
/// and bindfs, a file system in a program. `false` if one is not to be had.
pub fn install_tools(sh: &Shell) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let is_there = |tool: &str| env::split_paths(&path).any(|dir| dir.join(tool).is_file());
    let missing = TOOLS.into_iter().filter(|(tool, _)| !is_there(tool));
    let packages: Vec<&str> = missing.map(|(_, package)| package).collect();
    if packages.is_empty() {
        return true;
    }
    if !cfg!(target_os = "linux") {
        return false;
    }
    console::note(&format!("installing with apt-get: {}", packages.join(", ")));
    let install = || {
        let packages = &packages;
        let install = cmd!(sh, "apt-get install --yes --no-install-recommends {packages...}");
        install.quiet().ignore_stdout().ignore_stderr().run()
    };
    if install().is_ok() {
        return true;
    }
    let _ = cmd!(sh, "apt-get update").quiet().ignore_stdout().ignore_stderr().run();
    let installed = install();
    if let Err(error) = &installed {
        console::note(&format!("what needs them is skipped: {error}"));
    }
    installed.is_ok()
}

/// Unpacks a package, if that was not done before: the directory that stands for the system's root.
fn unpack(sh: &Shell, package: &str) -> anyhow::Result<PathBuf> {
    let dir = paths::target().join("packages").join(package);
    if dir.join("usr").is_dir() {
        return Ok(dir);
    }
    console::note(&format!("{package} is not installed: unpacking its Debian package in {}", dir.display()));
    let parent = dir.with_extension("unpacking");
    let _ = fs::remove_dir_all(&parent);
    fs::create_dir_all(&parent).with_context(|| format!("failed to create {}", parent.display()))?;
    let unpacked = download(sh, package, &parent).and_then(|file| {
        let root = parent.join("root");
        cmd!(sh, "dpkg-deb --extract {file} {root}").quiet().run().context("failed to unpack it")?;
        fs::rename(&root, &dir).with_context(|| format!("failed to create {}", dir.display()))
    });
    let _ = fs::remove_dir_all(&parent);
    unpacked.map(|()| dir)
}

/// Gets the package's file.
fn download(sh: &Shell, package: &str, into: &Path) -> anyhow::Result<PathBuf> {
    let _dir = sh.push_dir(into);
    let get = || cmd!(sh, "apt-get download {package}").quiet().ignore_stdout().ignore_stderr().run();
    if get().is_err() {
        // A new system may not know yet which packages there are.
        let _ = cmd!(sh, "apt-get update").quiet().ignore_stdout().ignore_stderr().run();
        get().with_context(|| {
            format!("{package} can't be had by apt-get: install it (Debian, Ubuntu: sudo apt-get install {package})")
        })?;
    }
    let files = fs::read_dir(into).with_context(|| format!("failed to read {}", into.display()))?.flatten();
    let deb = files.map(|file| file.path()).find(|file| file.extension().is_some_and(|end| end == "deb"));
    deb.with_context(|| format!("apt-get has left no package in {}", into.display()))
}
