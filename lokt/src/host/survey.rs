//! What stands in the root, as it is: nothing is opened, followed or waited for.
//!
//! For whoever examines a root: everybody else meets only the files that are lokt's.

use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, FileType, OFlags, RawMode, Stat, statat};
use rustix::io::Errno;

use super::failure::named;
use super::filesystem::{self, FileSystem, Room};
use super::{Dir, UnixHost, files};

/// What something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A FIFO.
    Fifo,
    /// A socket, a device.
    Other,
}

/// Something that stands in a directory.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Its name; what is not Unicode is shown as well as it can be.
    pub(crate) name: String,
    /// What it is.
    pub(crate) what: What,
    /// Whose it is.
    pub(crate) place: Place,
    /// Time since it was last changed, by the wall clock.
    pub(crate) age: Duration,
}

/// Whose something is, and who may do what with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its user.
    pub(crate) user: u32,
    /// Its group.
    pub(crate) group: u32,
    /// Its mode, without its type.
    pub(crate) mode: RawMode,
}

/// What stands in a directory, as far as it was looked at.
#[derive(Debug, Clone, Default)]
pub(crate) struct Survey {
    /// What there is, in the order of the names.
    pub(crate) entries: Vec<Entry>,
    /// There is more.
    pub(crate) cut: bool,
}

impl UnixHost {
    /// Whether there is a root; `false` if it is still to be made.
    ///
    /// # Errors
    ///
    /// Something else stands there, or it can't be told.
    pub(crate) fn exists(&self) -> io::Result<bool> {
        match at(self.root())? {
            Some(What::Directory) => Ok(true),
            None if self.root().symlink_metadata().is_ok() => {
                Err(io::Error::other(format!("{} is a symbolic link to nowhere", self.root().display())))
            }
            None => Ok(false),
            Some(_) => {
                let why = format!("{} is not a directory", self.root().display());
                Err(io::Error::new(io::ErrorKind::NotADirectory, why))
            }
        }
    }

    /// Opens the root; who it belongs to: its user, and the group that shares it.
    pub(crate) fn users(&self) -> io::Result<(u32, Option<u32>)> {
        self.files.users()
    }

    /// Whether what this user makes in the root is of use to its users.
    pub(crate) fn is_ours(&self) -> bool {
        let me = rustix::process::geteuid().as_raw();
        let is_made_for_them = || {
            let stripes = self.files.open_dir(Dir::Stripes).or_else(|_| self.files.open_dir(Dir::Root));
            let owner = stripes.and_then(|stripes| self.files.as_owner_of(&stripes));
            owner.is_ok_and(|owner| owner.is_some_and(|owner| owner.is_in_force()))
        };
        self.users().is_ok_and(|(owner, group)| owner == me || group.is_some() || is_made_for_them())
    }

    /// At most `most` of what stands in a directory; nothing if there is none.
    pub(crate) fn survey(&self, dir: Dir<'_>, most: usize) -> io::Result<Survey> {
        let handle = match self.files.open_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Survey::default()),
            other => other?,
        };
        let mut survey = Survey::default();
        for entry in rustix::fs::Dir::read_from(&handle)? {
            let entry = entry?;
            if matches!(entry.file_name().to_bytes(), b"." | b"..") {
                continue;
            }
            if survey.entries.len() == most {
                survey.cut = true;
                break;
            }
            // What has gone meanwhile is not there.
            if let Ok(stat) = statat(&handle, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                survey.entries.push(Entry {
                    name: entry.file_name().to_string_lossy().into_owned(),
                    what: what(&stat),
                    place: place(&stat),
                    age: files::age(&stat),
                });
            }
        }
        survey.entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(survey)
    }

    /// Whose a directory of the root is; `None` if there is none.
    pub(crate) fn place_of(&self, dir: Dir<'_>) -> io::Result<Option<Place>> {
        match self.files.open_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
            Ok(handle) => Ok(Some(place(&rustix::fs::fstat(&handle)?))),
        }
    }

    /// Whose the directory is in which the root stands: who may put another in its place.
    pub(crate) fn place_of_parent(&self) -> io::Result<Place> {
        let root = self.files.open_dir(Dir::Root)?;
        Ok(place(&statat(&root, "..", AtFlags::empty())?))
    }

    /// The file system under the root.
    pub(crate) fn filesystem(&self) -> io::Result<FileSystem> {
        filesystem::of(self.files.open_dir(Dir::Root)?)
    }

    /// The room that is left there.
    pub(crate) fn room(&self) -> io::Result<Room> {
        filesystem::room(self.files.open_dir(Dir::Root)?)
    }

    /// The size of a file that lines are appended to; `None` if there is none yet.
    ///
    /// # Errors
    ///
    /// Nothing can be appended.
    pub(crate) fn appendable(&self, file: &str) -> io::Result<Option<u64>> {
        match self.files.open_regular(Dir::Root, file, OFlags::WRONLY | OFlags::APPEND) {
            Ok((_, stat)) => Ok(Some(stat.st_size as u64)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The file of a directory of the root, as a path.
    pub(crate) fn path_of(&self, dir: Dir<'_>) -> std::path::PathBuf {
        self.files.path_of(dir, "")
    }
}

/// What stands at a path, symlinks followed; `None` if nothing does.
pub(super) fn at(path: &Path) -> io::Result<Option<What>> {
    match statat(CWD, path, AtFlags::empty()) {
        Ok(stat) => Ok(Some(what(&stat))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(named(&error.into(), "look at", path)),
    }
}

fn what(stat: &Stat) -> What {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => What::File,
        FileType::Directory => What::Directory,
        FileType::Symlink => What::Symlink,
        FileType::Fifo => What::Fifo,
        _ => What::Other,
    }
}

fn place(stat: &Stat) -> Place {
    Place { user: stat.st_uid, group: stat.st_gid, mode: stat.st_mode & 0o7777 }
}
