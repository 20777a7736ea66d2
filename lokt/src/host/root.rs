//! Where the locks are: `LOKT_ROOT`, else the repository's common git directory, else `./.lokt`.
//!
//! The repository is found as git finds it, but no `git` is started: it would cost more than the lock.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::failure::named;
use super::identity::environment_path;

/// The lock directory and how it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// The directory, which need not exist yet; or the address of a cluster: see [`address`](Self::address).
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
        if let Some(path) = environment_path("LOKT_ROOT") {
            return Ok(Self { path, source: RootSource::Environment });
        }
        let here = working_directory()?;
        Ok(match git_common_dir(&here)? {
            Some(git) => Self { path: git.join("lokt"), source: RootSource::Git },
            None => Self { path: here.join(".lokt"), source: RootSource::WorkingDirectory },
        })
    }
}

impl Root {
    /// The address of the cluster that it is on, right or wrong, if it is on one: `etcd://…` or `etcds://…`. So is meant
    /// whatever begins with a scheme (RFC 3986): `etcd:host` as a directory here would exclude nobody elsewhere.
    pub fn address(&self) -> Option<&str> {
        let text = self.path.to_str()?;
        let (scheme, rest) = text.split_once(':')?;
        let is_scheme = scheme.len() > 1
            && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        let is_of_etcd = ["etcd", "etcds"].iter().any(|ours| scheme.eq_ignore_ascii_case(ours));
        (is_scheme && (is_of_etcd || rest.starts_with('/'))).then_some(text)
    }
}

/// Where this process is.
///
/// # Errors
///
/// It can't be told; if that is so because it was removed, the error says so.
pub(super) fn working_directory() -> io::Result<PathBuf> {
    std::env::current_dir().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            io::Error::new(error.kind(), "the working directory is gone: change to one that is there (cd)")
        }
        _ => error,
    })
}

/// The common directory of the repository around `start` (gitrepository-layout(5)).
fn git_common_dir(start: &Path) -> io::Result<Option<PathBuf>> {
    if let Some(common) = environment_path("GIT_COMMON_DIR") {
        let source = format!("GIT_COMMON_DIR={}", common.display());
        return checked(start.join(common), &source).map(Some);
    }
    if let Some(git) = environment_path("GIT_DIR") {
        let source = format!("GIT_DIR={}", start.join(&git).display());
        return checked(common_of(&start.join(git))?, &source).map(Some);
    }
    for dir in start.ancestors() {
        let dot_git = dir.join(".git");
        match fs::metadata(&dot_git) {
            Ok(meta) if !meta.is_dir() => return linked(dir, &dot_git).map(Some),
            Ok(_) if is_git_dir(&dot_git) => return common_of(&dot_git).map(Some),
            _ if is_git_dir(dir) => return common_of(dir).map(Some),
            _ => {}
        }
    }
    Ok(None)
}

/// The common directory that a `.git` file leads to: that of a worktree, or of a submodule.
fn linked(dir: &Path, dot_git: &Path) -> io::Result<PathBuf> {
    let source = dot_git.display().to_string();
    let content = read_small(dot_git)?;
    match content.strip_prefix(b"gitdir:") {
        Some(target) if !target.contains(&0) => checked(common_of(&dir.join(as_path(target)))?, &source),
        _ => Err(leads_nowhere(&source)),
    }
}

/// `git`, if it is a git directory: another root would let in a second holder.
fn checked(git: PathBuf, source: &str) -> io::Result<PathBuf> {
    if is_git_dir(&git) { Ok(git) } else { Err(leads_nowhere(source)) }
}

fn leads_nowhere(source: &str) -> io::Error {
    let advice = "so the lock directory is unknown: mend it, or set LOKT_ROOT";
    io::Error::new(io::ErrorKind::NotFound, format!("{source} does not lead to a git directory, {advice}"))
}

fn common_of(git: &Path) -> io::Result<PathBuf> {
    match read_small(&git.join("commondir")) {
        Ok(content) => Ok(normal(&git.join(as_path(&content)))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(git.to_owned()),
        Err(error) => Err(error),
    }
}

/// A path as git writes it: what stands on the line.
fn as_path(line: &[u8]) -> &Path {
    let text = line.trim_ascii();
    Path::new(OsStr::from_bytes(text))
}

/// Reads one of git's small files; anything but a regular one must not be waited for.
fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    let named = |error: io::Error| named(&error, "read", path);
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(nonblocking).open(path).map_err(named)?;
    if !file.metadata().map_err(named)?.is_file() {
        return Err(named(io::Error::other("it is not a regular file")));
    }
    let mut content = Vec::new();
    file.take(64 * 1024).read_to_end(&mut content).map_err(named)?;
    Ok(content)
}

fn is_git_dir(dir: &Path) -> bool {
    dir.join("HEAD").is_file() && dir.join("objects").is_dir() && dir.join("refs").is_dir()
}

/// Without `..` where that can be had: `/r/.git/worktrees/w/../..` reads better as `/r/.git`.
fn normal(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}
