//! The root and its directories.
//!
//! Every directory is opened once, without following a symlink, and every file is reached from there by its
//! last name alone, so that nothing planted in the root can lead out of it.

use std::fs::DirBuilder;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RenameFlags, Stat, fchmod, fstat, fsync, lstat, mkdirat, openat,
    renameat_with, statat, unlinkat,
};
use rustix::io::Errno;

use super::failure::{named, strange};
use super::files::{hidden, lacks_noreplace};
use super::identity::{group_called, user_called};
use super::platform::FilesAs;
use super::{Dir, filesystem};
use crate::protocol::Name;

pub(super) const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What stands for a user whom a user namespace does not know: nobody can act as that one.
const UNKNOWN: u32 = 65_534;

/// The root, once it is open.
struct Opened {
    fd: OwnedFd,
    /// This process's user.
    me: u32,
    owner: u32,
    /// The group that shares the root, if an administrator made it so.
    group: Option<u32>,
    /// Whether no other machine can have it open, once that was asked.
    local: OnceLock<bool>,
}

/// The root's files.
pub(super) struct RootDir {
    path: PathBuf,
    root: OnceLock<Opened>,
    locks: OnceLock<OwnedFd>,
    freezes: OnceLock<OwnedFd>,
    sessions: OnceLock<OwnedFd>,
    stripes: OnceLock<OwnedFd>,
    lines: OnceLock<OwnedFd>,
    holders: OnceLock<OwnedFd>,
}

/// A directory that is open: the root's own, or one that was opened for this call.
pub(super) enum Handle<'a> {
    Kept(&'a OwnedFd),
    Own(OwnedFd),
}

impl AsFd for Handle<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Handle::Kept(fd) => fd.as_fd(),
            Handle::Own(fd) => fd.as_fd(),
        }
    }
}

impl RootDir {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            root: OnceLock::new(),
            locks: OnceLock::new(),
            freezes: OnceLock::new(),
            sessions: OnceLock::new(),
            stripes: OnceLock::new(),
            lines: OnceLock::new(),
            holders: OnceLock::new(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Creates what is missing of the root and its directories.
    pub(super) fn prepare(&self) -> io::Result<()> {
        if self.root().is_err() && !self.path.is_dir() {
            let made = make_in_users_directory(&self.path)
                .unwrap_or_else(|| DirBuilder::new().recursive(true).mode(0o700).create(&self.path));
            match made {
                // Another may have made it at the same moment; that is as good.
                Err(_) if self.path.is_dir() => {}
                Err(_) if self.path.symlink_metadata().is_ok() => return Err(no_directory(&self.path)),
                other => other.map_err(|error| named(&error, "create", &self.path))?,
            }
        }
        for dir in [Dir::Locks, Dir::Sessions, Dir::Stripes] {
            self.open_or_make(dir)?;
        }
        Ok(())
    }

    pub(super) fn open_or_make(&self, dir: Dir<'_>) -> io::Result<Handle<'_>> {
        match self.open_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make(dir)?;
                self.open_dir(dir)
            }
            other => other,
        }
    }

    fn root(&self) -> io::Result<&Opened> {
        if let Some(root) = self.root.get() {
            return Ok(root);
        }
        // Without a slash at its end, behind which a link would be followed.
        let path = self.path.components().as_path();
        let open = |flags| rustix::fs::open(path, flags, Mode::empty());
        let (found, is_link) = match open(DIRECTORY) {
            Err(Errno::LOOP | Errno::NOTDIR) => (open(OFlags::DIRECTORY | OFlags::CLOEXEC), true),
            found => (found, false),
        };
        let fd = found.map_err(|error| closed_to_me(error, path))?;
        let opened = admit(fd, &self.path)?;
        if is_link {
            may_follow(&opened, path)?;
        }
        Ok(self.root.get_or_init(|| opened))
    }

    /// Who the root belongs to: its user, and the group that shares it, if one does.
    pub(super) fn users(&self) -> io::Result<(u32, Option<u32>)> {
        self.root().map(|root| (root.owner, root.group))
    }

    /// The descriptor of a directory.
    pub(super) fn open_dir(&self, dir: Dir<'_>) -> io::Result<Handle<'_>> {
        let kept = match dir {
            Dir::Root => return Ok(Handle::Kept(&self.root()?.fd)),
            Dir::Line(name) => return self.open_within(Dir::Lines, name, dir),
            Dir::HoldersOf(name) => return self.open_within(Dir::Holders, name, dir),
            Dir::Locks => &self.locks,
            Dir::Freezes => &self.freezes,
            Dir::Sessions => &self.sessions,
            Dir::Stripes => &self.stripes,
            Dir::Lines => &self.lines,
            Dir::Holders => &self.holders,
        };
        if let Some(fd) = kept.get() {
            return Ok(Handle::Kept(fd));
        }
        let fd = self.open_sub(self.root()?.fd.as_fd(), basename(dir), dir)?;
        Ok(Handle::Kept(kept.get_or_init(|| fd)))
    }

    fn open_within(&self, parent: Dir<'_>, name: &Name, dir: Dir<'_>) -> io::Result<Handle<'_>> {
        let parent = self.open_dir(parent)?;
        Ok(Handle::Own(self.open_sub(parent.as_fd(), name.as_str(), dir)?))
    }

    fn open_sub(&self, parent: BorrowedFd<'_>, name: &str, dir: Dir<'_>) -> io::Result<OwnedFd> {
        openat(parent, name, DIRECTORY, Mode::empty()).map_err(|error| match error {
            Errno::NOENT => error.into(),
            // Which of the two a symbolic link is depends on the system.
            Errno::NOTDIR | Errno::LOOP => {
                let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW);
                let link = stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink);
                let what = if link { "a symbolic link" } else { "not a directory" };
                let path = self.path_of(dir, "");
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!(
                        "{} is {what}, where a directory of lokt's belongs: it is left alone",
                        path.display()
                    ),
                )
            }
            _ => named(&error.into(), "open", &self.path_of(dir, "")),
        })
    }

    /// Creates one directory; it may be there already.
    pub(super) fn make(&self, dir: Dir<'_>) -> io::Result<()> {
        let (parent, name) = match dir {
            Dir::Line(name) => (self.open_or_make(Dir::Lines)?, name.as_str()),
            Dir::HoldersOf(name) => (self.open_or_make(Dir::Holders)?, name.as_str()),
            other => (self.open_dir(Dir::Root)?, basename(other)),
        };
        let _owner = self.as_owner_of(&parent)?;
        let made = if self.is_shared()? {
            self.make_shared(&parent, name)
        } else {
            mkdirat(&parent, name, Mode::from_raw_mode(0o700))
        };
        match made {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(named(&error.into(), "create", &self.path_of(dir, ""))),
        }
    }

    /// Creates a directory of a shared root: it is there for others only once it has the mode that they need.
    fn make_shared(&self, parent: &Handle<'_>, name: &str) -> rustix::io::Result<()> {
        for _ in 0..8 {
            // A sweep may have taken the hidden one for what is left of a name.
            match self.make_hidden(parent, name) {
                Err(Errno::NOENT) => {}
                made => return made,
            }
        }
        self.make_hidden(parent, name)
    }

    fn make_hidden(&self, parent: &Handle<'_>, name: &str) -> rustix::io::Result<()> {
        let hidden = hidden(name);
        let make = |name: &str| {
            mkdirat(parent, name, Mode::from_raw_mode(0o700))?;
            let made = openat(parent, name, DIRECTORY, Mode::empty())?;
            fchmod(&made, Mode::from_raw_mode(0o2770))
        };
        let moved = make(&hidden)
            .and_then(|()| renameat_with(parent, hidden.as_str(), parent, name, RenameFlags::NOREPLACE));
        if moved.is_err() {
            let _ = unlinkat(parent, hidden.as_str(), AtFlags::REMOVEDIR);
        }
        match moved {
            // For a moment it is there, and not for all.
            Err(error) if lacks_noreplace(error) => make(name),
            other => other,
        }
    }

    /// Returns once a directory of a name would survive a power cut.
    pub(super) fn sync_parents(&self, dir: Dir<'_>) -> io::Result<()> {
        let parent = match dir {
            Dir::Line(_) => Dir::Lines,
            _ => Dir::Holders,
        };
        for parent in [parent, Dir::Root] {
            fsync(&self.open_dir(parent)?)
                .map_err(|error| named(&error.into(), "sync", &self.path_of(parent, "")))?;
        }
        Ok(())
    }

    /// Removes the directory of a name, if it is empty: otherwise somebody waits, or holds it.
    pub(super) fn remove_dir(&self, dir: Dir<'_>) -> bool {
        let (parent, name) = match dir {
            Dir::Line(name) => (Dir::Lines, name),
            Dir::HoldersOf(name) => (Dir::Holders, name),
            _ => return false,
        };
        match self.open_dir(parent) {
            Ok(parent) => {
                let removed = unlinkat(&parent, name.as_str(), AtFlags::REMOVEDIR);
                matches!(removed, Ok(()) | Err(Errno::NOENT))
            }
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }

    /// As long as it lives, what this thread makes in a directory of the root is that directory's owner's, if this process
    /// is the superuser's and the root a user's (`sudo lokt`): that user could not use what is root's.
    ///
    /// It is made so, not given to him afterwards: by then he could have put another file of root's in its place.
    pub(super) fn as_owner_of(&self, dir: &Handle<'_>) -> io::Result<Option<FilesAs>> {
        let root = self.root()?;
        if root.me != 0 || root.owner == 0 || root.group.is_some() {
            return Ok(None);
        }
        Ok(as_owner_by(&fstat(dir)?))
    }

    pub(super) fn is_shared(&self) -> io::Result<bool> {
        Ok(self.root()?.group.is_some())
    }

    pub(super) fn check_owner(&self, stat: &Stat, path: &Path) -> io::Result<()> {
        let root = self.root()?;
        let me = root.me;
        let ours = [me, root.owner, 0].contains(&stat.st_uid) || root.group == Some(stat.st_gid);
        if ours || me == 0 {
            return Ok(());
        }
        Err(strange(path, &format!("another user's (uid {})", stat.st_uid)))
    }

    pub(super) fn is_local(&self) -> bool {
        self.root().is_ok_and(|root| *root.local.get_or_init(|| filesystem::is_local(&root.fd)))
    }

    pub(super) fn path_of(&self, dir: Dir<'_>, file: &str) -> PathBuf {
        let dir = match dir {
            Dir::Root => self.path.clone(),
            Dir::Line(name) => self.path.join(basename(Dir::Lines)).join(name.as_str()),
            Dir::HoldersOf(name) => self.path.join(basename(Dir::Holders)).join(name.as_str()),
            other => self.path.join(basename(other)),
        };
        if file.is_empty() { dir } else { dir.join(file) }
    }
}

/// The name of a directory in the root.
pub(crate) fn basename(dir: Dir<'_>) -> &'static str {
    match dir {
        Dir::Root | Dir::Line(_) | Dir::HoldersOf(_) => ".",
        Dir::Locks => "locks",
        Dir::Freezes => "freezes",
        Dir::Sessions => "sessions",
        Dir::Stripes => "stripes",
        Dir::Lines => "lines",
        Dir::Holders => "holders",
    }
}

/// Of the superuser only: as the user of a directory, if it is one who can make something there.
fn as_owner_by(stat: &Stat) -> Option<FilesAs> {
    let can = stat.st_mode & 0o300 == 0o300;
    (can && ![0, UNKNOWN].contains(&stat.st_uid)).then(|| FilesAs::of(stat.st_uid, stat.st_gid))
}

/// A root that the superuser makes in a user's directory is that user's; `None` if that is not the case. No symlink is followed
/// to where it is made.
fn make_in_users_directory(path: &Path) -> Option<io::Result<()>> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let path = std::path::absolute(path).ok()?;
    let open =
        |above: &Path| rustix::fs::open(above, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok();
    let (above, mut parent) = path.ancestors().skip(1).find_map(|above| Some((above, open(above)?)))?;
    let _owner = as_owner_by(&fstat(&parent).ok()?)?;
    let mut make = |name| {
        match mkdirat(&parent, name, Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(io::Error::from(error)),
        }
        parent = openat(&parent, name, DIRECTORY, Mode::empty())?;
        Ok(())
    };
    let missing = path.strip_prefix(above).ok()?;
    Some(missing.components().try_for_each(|component| make(component.as_os_str())))
}

fn no_directory(path: &Path) -> io::Error {
    let why = format!("{} is not a directory: no locks can be there", path.display());
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Why the root can't be opened: if that is because it is another's, whose.
fn closed_to_me(error: Errno, path: &Path) -> io::Error {
    let me = rustix::process::geteuid().as_raw();
    match rustix::fs::stat(path) {
        Ok(stat) if error == Errno::ACCESS && !is_for(&stat, me) => anothers(&stat, path),
        Ok(_) if error == Errno::NOTDIR => no_directory(path),
        _ => named(&error.into(), "open", path),
    }
}

/// Accepts a root that is this user's own, or that an administrator made for one of this user's groups.
fn admit(fd: OwnedFd, path: &Path) -> io::Result<Opened> {
    let stat = fstat(&fd)?;
    let me = rustix::process::geteuid().as_raw();
    if me != 0 && !is_for(&stat, me) {
        return Err(anothers(&stat, path));
    }
    Ok(Opened { fd, me, owner: stat.st_uid, group: group_of(&stat), local: OnceLock::new() })
}

/// Whether a root is this user's own, or that of one of his groups.
fn is_for(stat: &Stat, me: u32) -> bool {
    stat.st_uid == me || group_of(stat).is_some_and(is_my_group)
}

/// The group that shares a root, if an administrator made it so.
fn group_of(stat: &Stat) -> Option<u32> {
    (stat.st_mode & 0o2020 == 0o2020).then_some(stat.st_gid)
}

/// A root is another user's, or another group's: whose, and what to do.
fn anothers(stat: &Stat, path: &Path) -> io::Error {
    let owner = user_called(stat.st_uid);
    let (shared, share) = match group_of(stat).map(group_called) {
        Some(group) => (
            format!("is shared with the group {group}, which you are not in"),
            "have yourself added to that group".to_owned(),
        ),
        None => (
            "is not shared with a group of yours".to_owned(),
            format!("have {owner} share it (chgrp GROUP, chmod 2770)"),
        ),
    };
    let path = path.display();
    let why = format!("{path} belongs to another user ({owner}) and {shared}: set LOKT_ROOT, or {share}");
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

/// The superuser follows no link to what is another's that stands in the place of the root itself.
fn may_follow(opened: &Opened, path: &Path) -> io::Result<()> {
    let link = lstat(path).map_err(|error| named(&error.into(), "open", path))?;
    if opened.me == 0 && ![0, opened.owner].contains(&link.st_uid) {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!(
                "{} is a link of the user {}'s to a directory of another's (uid {}): set LOKT_ROOT",
                path.display(),
                link.st_uid,
                opened.owner
            ),
        ));
    }
    Ok(())
}

fn is_my_group(gid: u32) -> bool {
    rustix::process::getegid().as_raw() == gid
        || rustix::process::getgroups().is_ok_and(|all| all.iter().any(|one| one.as_raw() == gid))
}
