//! The output directory of a race. It is cleared before each race, so it must be known to be one.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::{UsageError, alone};

/// Names a directory as ours. Only what a race itself puts beside it is ever removed.
const MARKER: &str = ".lokt-race";
const MARKER_TEXT: &str = "Results of `cargo xtask race`; the next race into this directory replaces them.\n";

/// All that a race puts into its directory.
const CONTENTS: [&str; 9] = [
    "runs",
    "sandbox",
    "tsan",
    "nextest",
    "nextest.toml",
    "nextest.log",
    "junit.xml",
    "report.json",
    "report.html",
];

/// A directory that is ours alone until this value is dropped.
pub struct OutDir {
    root: PathBuf,
    _alone: File,
}

impl OutDir {
    /// Makes the directory ready: created, or cleared of an earlier race, and locked against a second one.
    pub fn prepare(root: &Path) -> anyhow::Result<Self> {
        let marker = root.join(MARKER);
        if !marker.is_file() && !is_missing_or_empty(root)? {
            return Err(UsageError(format!(
                "{} has other files in it and is not the output of an earlier race: \
                 name a new or an empty directory with --out",
                root.display()
            ))
            .into());
        }
        fs::create_dir_all(root).with_context(|| format!("failed to create {}", root.display()))?;
        let alone = lock(&marker)?;
        fs::write(&marker, MARKER_TEXT).with_context(|| format!("failed to write {}", marker.display()))?;
        let out = Self { root: root.to_owned(), _alone: alone };
        out.clear()?;
        Ok(out)
    }

    fn clear(&self) -> anyhow::Result<()> {
        for name in CONTENTS {
            let path = self.root.join(name);
            remove(&path).with_context(|| {
                format!(
                    "failed to remove {} of an earlier race: remove it yourself and try again",
                    path.display()
                )
            })?;
        }
        fs::create_dir(self.runs())?;
        fs::create_dir(self.sandboxes())?;
        fs::create_dir(self.tsan())?;
        Ok(())
    }

    /// One file per run, written by the run.
    pub fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    /// One directory per run, removed by the run if it passed.
    pub fn sandboxes(&self) -> PathBuf {
        self.root.join("sandbox")
    }

    /// All that nextest and Cargo said.
    pub fn log(&self) -> PathBuf {
        self.root.join("nextest.log")
    }

    pub fn nextest_config(&self) -> PathBuf {
        self.root.join("nextest.toml")
    }

    /// Where nextest puts its files, told so by its configuration: a directory per profile.
    pub fn nextest_store(&self) -> PathBuf {
        self.root.join("nextest")
    }

    pub fn junit(&self) -> PathBuf {
        self.root.join("junit.xml")
    }

    pub fn report_json(&self) -> PathBuf {
        self.root.join("report.json")
    }

    pub fn report_html(&self) -> PathBuf {
        self.root.join("report.html")
    }

    /// The sanitizer's reports.
    pub fn tsan(&self) -> PathBuf {
        self.root.join("tsan")
    }
}

fn is_missing_or_empty(dir: &Path) -> anyhow::Result<bool> {
    match fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(UsageError(format!("{} can't hold the results: {error}", dir.display())).into()),
    }
}

/// Two races into one directory would clear each other's results.
fn lock(marker: &Path) -> anyhow::Result<File> {
    let dir = marker.with_file_name("");
    alone::lock(marker, &format!("another race is writing to {}: give this one its own --out", dir.display()))
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

    #[test]
    fn results_of_an_earlier_race_are_replaced() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let root = dir.path().join("race");
        drop(OutDir::prepare(&root)?);
        fs::write(root.join("runs/2s-0001.json"), "{}")?;
        fs::write(root.join("my-notes.txt"), "mine")?;

        let out = OutDir::prepare(&root)?;
        assert!(!out.runs().join("2s-0001.json").exists(), "an old result would count for the new race");
        assert!(root.join("my-notes.txt").exists(), "only what a race writes may be removed");
        Ok(())
    }

    #[test]
    fn a_directory_of_something_else_is_left_alone() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        fs::create_dir(dir.path().join("runs"))?;
        let error = OutDir::prepare(dir.path()).err();
        assert!(error.is_some_and(|error| error.is::<UsageError>()));
        assert!(dir.path().join("runs").exists());
        Ok(())
    }

    #[test]
    fn a_second_race_into_the_same_directory_is_refused() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let _first = OutDir::prepare(dir.path())?;
        let error = OutDir::prepare(dir.path()).err().map(|error| error.to_string());
        assert!(error.is_some_and(|error| error.contains("another race")));
        Ok(())
    }
}
