//! Tries out what the locks need of a place: that a file can be put there whole, and that flock(2) excludes.
//!
//! Each trial has files of its own, whose names nobody else uses, and leaves none behind.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, Mode, OFlags, fstat, fsync, openat, unlinkat};
use rustix::process::geteuid;

use super::dirs::{DIRECTORY, Handle};
use super::failure::named;
use super::files::{FILE, age, hidden, hidden_by, place};
use super::process::state_of;
use super::rival::{self, Fault};
use super::survey::{What, at};
use super::{Dir, ProcessState, Publish, UnixHost, filesystem, platform};

/// A root for trials, among the files of others.
const SCRATCH: &str = "lokt-doctor";

/// What trials make.
pub(crate) const TRIALS: [&str; 2] = ["doctor", "doctor-made"];

/// Where files are moved to, beside [`Dir::Locks`].
const MOVED_TO: [Dir<'static>; 4] = [Dir::Lines, Dir::Holders, Dir::Freezes, Dir::Sessions];

/// A trial takes a moment only; after this, what it has made is left over, if its process is gone.
const LEFT_FOR: Duration = Duration::from_secs(60);

/// So much of a directory is looked at for what was left.
const MOST: usize = 20_000;

/// What stands in a probe's file.
const CONTENT: &[u8] = b"lokt doctor\n";

/// Something of ours that must go, whatever happens.
struct Removed<'a>(&'a Handle<'a>, &'a str);

impl Drop for Removed<'_> {
    fn drop(&mut self) {
        let _ = unlinkat(self.0, self.1, AtFlags::empty());
    }
}

impl UnixHost {
    /// Writes a file as records are written, reads it back and removes it; meanwhile it has been wherever else files are
    /// moved to. Returns by how much the time that the file system gave it differs from this machine's wall clock.
    pub(crate) fn probe_writing(&self) -> io::Result<Duration> {
        let [moved, made] = TRIALS.map(hidden);
        let (stripes, locks) = (self.existing(Dir::Stripes)?, self.existing(Dir::Locks)?);
        let (from, to) = (self.files.open_dir(stripes)?, self.files.open_dir(locks)?);
        let path = self.files.path_of(locks, &moved);
        let _removed = (Removed(&from, &made), Removed(&to, &moved));
        let failed = |error: io::Error| named(&error, "write", &path);
        self.files.write_temporary(&from, &made, CONTENT, true).map_err(failed)?;
        for dir in MOVED_TO {
            self.probe_moving(&from, &made, dir, &moved)?;
        }
        place(&from, &made, &to, &moved, Publish::New).and_then(|()| Ok(fsync(&to)?)).map_err(failed)?;
        let (_, stat) = self.files.open_regular(locks, &moved, OFlags::RDONLY)?;
        let read = self.files.read(locks, &moved, 1024)?.map(|content| content.bytes);
        if read.as_deref() != Some(CONTENT) {
            return Err(named(&io::Error::other("what was written is not what is read"), "use", &path));
        }
        self.files.remove(locks, &moved, true)?;
        Ok(skew(stat.st_mtime as u64))
    }

    /// Moves what was `made` to another directory of the root, if there is one, and back again: none of them may be mounted
    /// from elsewhere.
    fn probe_moving(&self, from: &Handle<'_>, made: &str, dir: Dir<'_>, moved: &str) -> io::Result<()> {
        let to = match self.files.open_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened?,
        };
        let _removed = Removed(&to, moved);
        place(from, made, &to, moved, Publish::New)
            .and_then(|()| place(&to, moved, from, made, Publish::New))
            .map_err(|error| named(&error, "write", &self.files.path_of(dir, moved)))
    }

    /// Whether flock(2) excludes there, tried with another process: on a file as the mutexes are, and on a FIFO as
    /// the sessions are.
    pub(crate) fn probe_flock(&self) -> Result<(), Fault> {
        for what in [What::File, What::Fifo] {
            self.probe_flock_on(what)?;
        }
        Ok(())
    }

    fn probe_flock_on(&self, what: What) -> Result<(), Fault> {
        let untried = |error: io::Error| Fault::Untried(error.to_string());
        let name = hidden(TRIALS[0]);
        let dir = self.existing(Dir::Stripes).map_err(untried)?;
        let handle = self.files.open_dir(dir).map_err(untried)?;
        let path = self.files.path_of(dir, &name);
        let _removed = Removed(&handle, &name);
        let made = match what {
            What::Fifo => platform::make_fifo(&handle, &name, &path),
            _ => self.new_file(&handle, &name),
        };
        made.map_err(|error| untried(named(&error.into(), "create", &path)))?;
        let open = || {
            let opened = openat(&handle, name.as_str(), OFlags::RDWR | FILE, Mode::empty());
            opened.map(File::from).map_err(|error| untried(named(&error.into(), "open", &path)))
        };
        rival::contend(&open()?, open()?, &path)
    }

    fn new_file(&self, dir: &Handle<'_>, name: &str) -> rustix::io::Result<()> {
        openat(dir, name, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | FILE, Mode::from_raw_mode(0o600))?;
        Ok(())
    }

    /// The directory, or the root, if it is still to be made: a trial makes none.
    fn existing<'a>(&self, dir: Dir<'a>) -> io::Result<Dir<'a>> {
        match self.files.open_dir(dir) {
            Ok(_) => Ok(dir),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Dir::Root),
            Err(error) => Err(error),
        }
    }
}

/// A root for a moment, where one would be made: for trials. It goes when it is dropped.
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// One in the nearest directory above `root` that exists.
    ///
    /// # Errors
    ///
    /// Nothing can be made there, and so no root could.
    pub(crate) fn above(root: &Path) -> io::Result<Self> {
        let path = nearest(root)?.join(hidden(SCRATCH));
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => Ok(Self { path }),
            Err(error) => Err(named(&error, "create", &std::path::absolute(root)?)),
        }
    }

    /// Removes those there whose doctor was ended before it could; returns what went.
    pub(crate) fn clear_left(root: &Path) -> Vec<PathBuf> {
        nearest(root).and_then(|above| clear_left(&above)).unwrap_or_default()
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// The nearest directory above `root` that exists.
fn nearest(root: &Path) -> io::Result<PathBuf> {
    for above in std::path::absolute(root)?.ancestors().skip(1) {
        if at(above)?.is_some() {
            return Ok(above.to_owned());
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

fn clear_left(above: &Path) -> io::Result<Vec<PathBuf>> {
    let dir = rustix::fs::open(above, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut gone = Vec::new();
    // A process of another machine can't be seen from here.
    if !filesystem::is_local(&dir) {
        return Ok(gone);
    }
    for name in names_in(&dir)? {
        let made = hidden_by(&name).filter(|(name, _)| *name == SCRATCH);
        let dead = made.map(|(_, pid)| pid).filter(|pid| state_of(*pid) == ProcessState::Gone);
        if let Some(pid) = dead
            && clear(&dir, &name, pid).is_ok()
        {
            gone.push(above.join(name));
        }
    }
    Ok(gone)
}

/// Removes a root for trials that was left, unless it is another user's, has been used just now, or has something in it that
/// no trial has made.
fn clear(above: &OwnedFd, name: &str, pid: i64) -> io::Result<()> {
    let scratch = openat(above, name, DIRECTORY, Mode::empty())?;
    let stat = fstat(&scratch)?;
    let names = names_in(&scratch)?;
    let is_ours = stat.st_uid == geteuid().as_raw() && age(&stat) >= LEFT_FOR;
    let is_trial = |file: &String| TRIALS.iter().any(|name| hidden_by(file) == Some((name, pid)));
    if !is_ours || !names.iter().all(is_trial) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    names.iter().try_for_each(|name| unlinkat(&scratch, name.as_str(), AtFlags::empty()))?;
    Ok(unlinkat(above, name, AtFlags::REMOVEDIR)?)
}

/// What stands in a directory, as far as its names can be ours, and not more than so much of it.
fn names_in(dir: &OwnedFd) -> io::Result<Vec<String>> {
    let names = rustix::fs::Dir::read_from(dir)?
        .take(MOST)
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let names: io::Result<Vec<String>> = names.collect();
    Ok(names?.into_iter().filter(|name| !matches!(&**name, "." | "..")).collect())
}

/// How far a file's time is from the wall clock.
fn skew(modified: u64) -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec as u64;
    Duration::from_secs(now.abs_diff(modified))
}
