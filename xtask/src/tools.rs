//! Programs that the tasks need: found where people have them, or installed beside the build output.

use std::path::PathBuf;

use anyhow::Context;
use xshell::{Shell, cmd};

use crate::{console, paths};

/// A program that Cargo can install.
pub struct Tool {
    /// Its package in the crate registry, and its name.
    pub name: &'static str,
    /// What it is, for people.
    pub what: &'static str,
    /// Where it is described how to get it prebuilt.
    pub site: &'static str,
}

impl Tool {
    /// Where the program is; installs it if it is nowhere.
    pub fn find_or_install(&self, sh: &Shell) -> anyhow::Result<PathBuf> {
        match self.find() {
            Some(program) => Ok(program),
            None => self.install(sh),
        }
    }

    fn find(&self) -> Option<PathBuf> {
        in_dirs(self.name, search_path().chain(paths::cargo_home_bin()).chain([paths::tools().join("bin")]))
    }

    fn install(&self, sh: &Shell) -> anyhow::Result<PathBuf> {
        let (name, root) = (self.name, paths::tools());
        console::note(&format!(
            "{name}, {}, is not installed: building it into {} (once; takes some minutes)",
            self.what,
            root.display()
        ));
        cmd!(sh, "cargo install {name} --locked --root {root}").quiet().run().with_context(|| {
            format!("failed to install {name}: see {} for a prebuilt one, then try again", self.site)
        })?;
        Ok(root.join("bin").join(name))
    }
}

/// A program of this name in the search path.
pub fn find(name: &str) -> Option<PathBuf> {
    in_dirs(name, search_path())
}

fn search_path() -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).collect::<Vec<_>>().into_iter()
}

fn in_dirs(name: &str, mut dirs: impl Iterator<Item = PathBuf>) -> Option<PathBuf> {
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    dirs.find_map(|dir| Some(dir.join(&file)).filter(|program| program.is_file()))
}
