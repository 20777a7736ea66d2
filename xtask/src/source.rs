//! What is released: which version, of which commit, and from when. Nothing that is made of it depends on today.

use anyhow::{Context, bail};
use jiff::Timestamp;
use xshell::{Shell, cmd};

/// The source of a release.
#[derive(Debug, Clone)]
pub struct Source {
    /// As in `Cargo.toml`.
    pub version: String,
    /// When it was committed, in seconds since 1970.
    pub seconds: i64,
}

impl Source {
    /// The source in the workspace. Without its repository, `SOURCE_DATE_EPOCH` says from when it is.
    pub fn of_workspace(sh: &Shell) -> anyhow::Result<Self> {
        let given = std::env::var("SOURCE_DATE_EPOCH").ok();
        let seconds = match given {
            Some(seconds) => seconds,
            None => cmd!(sh, "git log -1 --format=%ct").quiet().ignore_stderr().read().context(
                "git does not say when this source was committed: say it in SOURCE_DATE_EPOCH, in seconds since 1970",
            )?,
        };
        let seconds = seconds.trim().parse().context("SOURCE_DATE_EPOCH is no number of seconds")?;
        // All packages of the workspace have one version.
        Ok(Self { version: env!("CARGO_PKG_VERSION").to_owned(), seconds })
    }

    /// Its day, in UTC.
    pub fn date(&self) -> anyhow::Result<String> {
        Ok(Timestamp::from_second(self.seconds)?.strftime("%Y-%m-%d").to_string())
    }

    /// Fails if the workspace has changes that are in no commit.
    pub fn must_be_committed(sh: &Shell) -> anyhow::Result<()> {
        let changes = cmd!(sh, "git status --porcelain").quiet().ignore_stderr().ignore_status().read()?;
        if !changes.is_empty() {
            bail!(
                "there are changes that are in no commit: commit them, or look at a trial with --dirty\n{changes}"
            );
        }
        Ok(())
    }
}
