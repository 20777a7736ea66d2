//! Where the locks are: `LOKT_ROOT`, else the repository's common git directory, else `./.lokt`.
//!
//! The repository is found as git finds it, but no `git` is started: it would cost more than the lock.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::identity::environment;

/// The lock directory and how it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// The directory; it need not exist yet.
    pub path: PathBuf,
    /// How it was found.
    pub source: RootSource,
}

/// How a root was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootSource {
    /// `LOKT_ROOT` names it.
    Environment,
    /// It belongs to the git repository around the working directory, and all its worktrees share it.
    Git,
    /// There is no repository: it is `.lokt` in the working directory.
    WorkingDirectory,
}

impl Root {
    /// Finds the root for the working directory.
    ///
    /// # Errors
    ///
    /// No working directory, or a `.git` file that leads nowhere: taking another root then would let in a
    /// second holder.
    pub fn discover() -> io::Result<Self> {
        if let Some(path) = environment("LOKT_ROOT") {
            let path = PathBuf::from(path);
            return Ok(Self { path, source: RootSource::Environment });
        }
        let here = std::env::current_dir()?;
        Ok(match git_common_dir(&here)? {
            Some(git) => Self { path: git.join("lokt"), source: RootSource::Git },
            None => Self { path: here.join(".lokt"), source: RootSource::WorkingDirectory },
        })
    }
}

/// The common directory of the repository around `start` (gitrepository-layout(5)).
fn git_common_dir(start: &Path) -> io::Result<Option<PathBuf>> {
    if let Some(common) = environment("GIT_COMMON_DIR") {
        return Ok(Some(start.join(common)));
    }
    if let Some(git) = environment("GIT_DIR") {
        return common_of(&start.join(git)).map(Some);
    }
    for dir in start.ancestors() {
        let dot_git = dir.join(".git");
        match fs::metadata(&dot_git) {
            Ok(meta) if meta.is_file() => return linked(dir, &dot_git).map(Some),
            Ok(_) if is_git_dir(&dot_git) => return common_of(&dot_git).map(Some),
            _ if is_git_dir(dir) => return common_of(dir).map(Some),
            _ => {}
        }
    }
    Ok(None)
}

/// The common directory that a `.git` file leads to: that of a worktree, or of a submodule.
fn linked(dir: &Path, dot_git: &Path) -> io::Result<PathBuf> {
    let text = fs::read_to_string(dot_git)?;
    let target = text.strip_prefix("gitdir:").map(|path| dir.join(path.trim_matches([' ', '\n', '\r'])));
    match target {
        Some(git) if git.is_dir() => common_of(&git),
        _ => Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!(
                "{} does not lead to a git directory, so the lock directory is unknown: mend it, or set LOKT_ROOT",
                dot_git.display()
            ),
        )),
    }
}

fn common_of(git: &Path) -> io::Result<PathBuf> {
    match fs::read_to_string(git.join("commondir")) {
        Ok(text) => Ok(normal(&git.join(text.trim_end_matches(['\n', '\r'])))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(git.to_owned()),
        Err(error) => Err(error),
    }
}

fn is_git_dir(dir: &Path) -> bool {
    dir.join("HEAD").is_file() && dir.join("objects").is_dir() && dir.join("refs").is_dir()
}

/// Without `..` where that can be had: `/r/.git/worktrees/w/../..` reads better as `/r/.git`.
fn normal(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}
