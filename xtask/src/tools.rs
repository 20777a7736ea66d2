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
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .chain(paths::cargo_home_bin())
            .chain([paths::tools().join("bin")])
            .map(|dir| dir.join(format!("{}{}", self.name, std::env::consts::EXE_SUFFIX)))
            .find(|program| program.is_file())
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
