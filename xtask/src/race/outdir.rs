//! What is where in the output directory of a race.

use std::fs;
use std::path::{Path, PathBuf};

use crate::outdir;

/// All that a race puts into its directory.
const CONTENTS: [&str; 11] = [
    "runs",
    "sandbox",
    "tsan",
    "nextest",
    "nextest.toml",
    "nextest.log",
    "junit.xml",
    "report.json",
    "report.html",
    "etcd.log",
    "runtime",
];

/// A directory that is ours alone until this value is dropped.
pub struct OutDir(outdir::OutDir);

impl OutDir {
    /// Makes the directory ready: created, or cleared of an earlier race, and locked against a second one.
    pub fn prepare(root: &Path) -> anyhow::Result<Self> {
        let out = Self(outdir::OutDir::prepare(root, "race", &CONTENTS)?);
        for dir in [out.runs(), out.sandboxes(), out.tsan()] {
            fs::create_dir(dir)?;
        }
        Ok(out)
    }

    /// One file per run, written by the run.
    pub fn runs(&self) -> PathBuf {
        self.0.path("runs")
    }

    /// One directory per run, removed by the run if it passed.
    pub fn sandboxes(&self) -> PathBuf {
        self.0.path("sandbox")
    }

    /// All that nextest and Cargo said.
    pub fn log(&self) -> PathBuf {
        self.0.path("nextest.log")
    }

    pub fn nextest_config(&self) -> PathBuf {
        self.0.path("nextest.toml")
    }

    /// Where nextest puts its files, told so by its configuration: a directory per profile.
    pub fn nextest_store(&self) -> PathBuf {
        self.0.path("nextest")
    }

    pub fn junit(&self) -> PathBuf {
        self.0.path("junit.xml")
    }

    pub fn report_json(&self) -> PathBuf {
        self.0.path("report.json")
    }

    pub fn report_html(&self) -> PathBuf {
        self.0.path("report.html")
    }

    /// Where an etcd's log goes.
    pub fn path(&self) -> PathBuf {
        self.0.path("")
    }

    /// Where the sessions' files of locks on a cluster are.
    pub fn runtime_dir(&self) -> anyhow::Result<PathBuf> {
        let dir = self.0.path("runtime");
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    /// The sanitizer's reports.
    pub fn tsan(&self) -> PathBuf {
        self.0.path("tsan")
    }
}
