//! A copy of the workspace to break, in `target/mutants`, with build output of its own beside it.
//!
//! Only files that differ are touched, so that Cargo builds little again.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::PathBuf;

use anyhow::{Context, bail};
use xshell::{Cmd, Shell, cmd};

use super::leftovers;
use super::patch::Mutant;
use crate::{alone, paths};

/// The copy.
pub struct Copy {
    pub root: PathBuf,
    pub build: PathBuf,
}

/// Where all that belongs to the mutants is.
pub fn dir() -> anyhow::Result<PathBuf> {
    let dir = paths::target().join("mutants");
    fs::create_dir_all(&dir).with_context(|| format!("failed to create {}", dir.display()))?;
    Ok(fs::canonicalize(dir)?)
}

/// Keeps others from breaking the same copy, until the file is dropped.
pub fn alone() -> anyhow::Result<File> {
    let dir = dir()?;
    let busy = format!("another run tries mutants in {}: wait until it has ended", dir.display());
    alone::lock(&dir.join("lock"), &busy)
}

impl Copy {
    /// Makes the copy what the workspace is now, whatever an earlier run has left of it.
    pub fn prepare(sh: &Shell) -> anyhow::Result<Self> {
        let dir = dir()?;
        let copy = Self { root: dir.join("copy"), build: dir.join("build") };
        let files = files_of_the_workspace(sh)?;
        for file in &files {
            copy.bring(file).with_context(|| format!("failed to copy {file}"))?;
        }
        copy.remove_all_but(&files).context("failed to clear the copy of what the workspace has not")?;
        Ok(copy)
    }

    fn bring(&self, file: &str) -> anyhow::Result<()> {
        let (from, to) = (paths::workspace().join(file), self.root.join(file));
        if fs::read(&to).ok().as_ref() != Some(&fs::read(&from)?) {
            fs::create_dir_all(to.parent().unwrap_or(&self.root))?;
            fs::copy(from, to)?;
        }
        Ok(())
    }

    fn remove_all_but(&self, files: &HashSet<String>) -> anyhow::Result<()> {
        let mut dirs = vec![self.root.clone()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir)? {
                let path = entry?.path();
                let relative = path.strip_prefix(&self.root)?.to_string_lossy().into_owned();
                match path.is_dir() {
                    // What nextest leaves.
                    true if relative == "target" => {}
                    true => dirs.push(path),
                    false if files.contains(&relative) => {}
                    false => fs::remove_file(path)?,
                }
            }
        }
        Ok(())
    }

    /// Breaks the copy with a mutant's patch while `body` runs.
    pub fn broken_by<T>(
        &self,
        sh: &Shell,
        mutant: &Mutant,
        body: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let files = mutant.files()?;
        let before = files.iter().map(|file| self.read(file)).collect::<anyhow::Result<Vec<Vec<u8>>>>()?;
        let applied = mutant.apply(sh).ignore_status().output()?;
        if !applied.status.success() {
            let why = String::from_utf8_lossy(&applied.stderr).trim().to_owned();
            bail!("{} does not apply to the tree any more: {why}", mutant.patch.display());
        }
        for (file, before) in files.iter().zip(&before) {
            if self.read(file)? == *before {
                bail!("{} was applied, and {file} is as it was", mutant.patch.display());
            }
        }
        let result = body();
        for (file, before) in files.iter().zip(before) {
            fs::write(self.root.join(file), before).with_context(|| format!("failed to mend {file}"))?;
        }
        result
    }

    fn read(&self, file: &str) -> anyhow::Result<Vec<u8>> {
        fs::read(self.root.join(file)).with_context(|| format!("failed to read {file} of the copy"))
    }

    /// Has `cmd` build in the copy's own build output, whatever may be left unused by a mistake.
    pub fn built<'a>(&self, cmd: Cmd<'a>) -> Cmd<'a> {
        cmd.env("CARGO_TARGET_DIR", &self.build)
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .env(leftovers::MARK, &self.build)
            .env("RUSTFLAGS", "--cap-lints warn")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
    }

    /// As [`built`](Self::built), and as quickly as can be: tests that mostly wait are none the slower.
    pub fn built_quickly<'a>(&self, cmd: Cmd<'a>) -> Cmd<'a> {
        self.built(cmd).env("CARGO_PROFILE_DEV_OPT_LEVEL", "0")
    }
}

/// What git tracks, or would if it were added.
fn files_of_the_workspace(sh: &Shell) -> anyhow::Result<HashSet<String>> {
    let workspace = paths::workspace();
    let _workspace = sh.push_dir(&workspace);
    let listed = cmd!(sh, "git ls-files -z --cached --others --exclude-standard")
        .quiet()
        .read()
        .context("failed to list the files of the workspace: it must be a git repository")?;
    let files = listed.split('\0').filter(|file| !file.is_empty() && workspace.join(file).is_file());
    Ok(files.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const PATCH: &str =
        "mistake: none\n\n--- a/src/x.rs\n+++ b/src/x.rs\n@@ -1,2 +1,2 @@\n good\n-good\n+bad\n";

    /// A copy of one file that says this, and a mutant of it.
    fn copy_of(dir: &Path, text: &str) -> anyhow::Result<(Copy, Mutant)> {
        let copy = Copy { root: dir.join("copy"), build: dir.join("build") };
        fs::create_dir_all(copy.root.join("src"))?;
        fs::write(copy.root.join("src/x.rs"), text)?;
        let patch = dir.join("x.patch");
        fs::write(&patch, PATCH)?;
        let (name, target) = ("x".to_owned(), "lib".to_owned());
        let (mistake, breaks) = <(String, String)>::default();
        Ok((copy, Mutant { name, patch, mistake, breaks, target, tests: Vec::new(), order: false }))
    }

    fn text(copy: &Copy) -> anyhow::Result<String> {
        Ok(fs::read_to_string(copy.root.join("src/x.rs"))?)
    }

    #[test]
    fn a_copy_is_broken_only_for_a_while_however_that_ends() -> anyhow::Result<()> {
        let (dir, sh) = (tempfile::tempdir()?, Shell::new()?);
        let (copy, mutant) = copy_of(dir.path(), "good\ngood\n")?;
        let _copy = sh.push_dir(&copy.root);
        let seen = copy.broken_by(&sh, &mutant, || text(&copy))?;
        assert_eq!((seen.as_str(), text(&copy)?.as_str()), ("good\nbad\n", "good\ngood\n"));
        let failed = copy.broken_by(&sh, &mutant, || -> anyhow::Result<()> { bail!("no build") });
        assert!(failed.is_err());
        assert_eq!(text(&copy)?, "good\ngood\n");
        Ok(())
    }

    #[test]
    fn a_patch_that_does_not_apply_is_named_and_nothing_is_tried() -> anyhow::Result<()> {
        let (dir, sh) = (tempfile::tempdir()?, Shell::new()?);
        let (copy, mutant) = copy_of(dir.path(), "other\n")?;
        let _copy = sh.push_dir(&copy.root);
        let error = copy.broken_by(&sh, &mutant, || Ok(())).err().map(|error| error.to_string());
        assert!(error.as_ref().is_some_and(|error| error.contains("x.patch does not apply")), "{error:?}");
        Ok(())
    }
}
