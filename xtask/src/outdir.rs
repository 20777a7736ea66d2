//! The output directory of a task. It is cleared before the task fills it, so it must be known to be one.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::{UsageError, alone};

/// A directory that is ours alone until this value is dropped.
pub struct OutDir {
    root: PathBuf,
    _alone: File,
}

impl OutDir {
    /// Makes the directory ready: created, or cleared of what the same task put there before, and locked against a
    /// second one. `contents` is all that the task puts into it, and all that is ever removed.
    pub fn prepare(root: &Path, task: &str, contents: &[&str]) -> anyhow::Result<Self> {
        // Names the directory as the task's.
        let marker = root.join(format!(".lokt-{task}"));
        if !marker.is_file() && !is_missing_or_empty(root)? {
            return Err(UsageError(format!(
                "{} has other files in it and is not the output of an earlier {task}: \
                 name a new or an empty directory with --out",
                root.display()
            ))
            .into());
        }
        fs::create_dir_all(root).with_context(|| format!("failed to create {}", root.display()))?;
        let alone = lock(&marker, task)?;
        let text =
            format!("Results of `cargo xtask {task}`; the next {task} into this directory replaces them.\n");
        fs::write(&marker, text).with_context(|| format!("failed to write {}", marker.display()))?;
        for path in contents.iter().map(|name| root.join(name)) {
            remove(&path).with_context(|| {
                format!(
                    "failed to remove {} of an earlier {task}: remove it yourself and try again",
                    path.display()
                )
            })?;
        }
        Ok(Self { root: root.to_owned(), _alone: alone })
    }

    /// Where a thing of that name is, or is to be.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}

fn is_missing_or_empty(dir: &Path) -> anyhow::Result<bool> {
    match fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(UsageError(format!("{} can't hold the results: {error}", dir.display())).into()),
    }
}

/// Two of a kind into one directory would clear each other's results.
fn lock(marker: &Path, task: &str) -> anyhow::Result<File> {
    let dir = marker.with_file_name("");
    let busy = format!("another {task} is writing to {}: give this one its own --out", dir.display());
    alone::lock(marker, &busy)
}

/// Removes whatever is there; a symbolic link itself, not what it points to.
fn remove(path: &Path) -> std::io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepare(root: &Path) -> anyhow::Result<OutDir> {
        OutDir::prepare(root, "race", &["runs", "report.json"])
    }

    #[test]
    fn results_of_an_earlier_race_are_replaced() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let root = dir.path().join("race");
        drop(prepare(&root)?);
        fs::create_dir(root.join("runs"))?;
        fs::write(root.join("runs/2s-0001.json"), "{}")?;
        fs::write(root.join("my-notes.txt"), "mine")?;

        let out = prepare(&root)?;
        assert!(!out.path("runs/2s-0001.json").exists(), "an old result would count for the new race");
        assert!(root.join("my-notes.txt").exists(), "only what a race writes may be removed");
        Ok(())
    }

    #[test]
    fn a_directory_of_something_else_is_left_alone() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        fs::create_dir(dir.path().join("runs"))?;
        let error = prepare(dir.path()).err();
        assert!(error.is_some_and(|error| error.is::<UsageError>()));
        assert!(dir.path().join("runs").exists());
        Ok(())
    }

    #[test]
    fn a_second_race_into_the_same_directory_is_refused() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let _first = prepare(dir.path())?;
        let error = prepare(dir.path()).err().map(|error| error.to_string());
        assert!(error.is_some_and(|error| error.contains("another race")));
        Ok(())
    }
}
