//! The files of the root, through descriptors of its directories.
//!
//! Every directory is opened once, without following a symlink, and every file is reached from there by its
//! last name alone, so that nothing planted in the root can lead out of it. Files are opened with `O_NOFOLLOW`
//! and `O_NONBLOCK` (a FIFO must not make us wait) and must be regular, and of the root's users.

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RenameFlags, Stat, fchmod, fstat, fsync, mkdirat, openat, renameat,
    renameat_with, unlinkat,
};
use rustix::io::Errno;

use super::{Content, Dir, Publish};
use crate::protocol::Name;

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const FILE: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// How far in the future a file's time may lie and still count as now: a clock that was just set back.
const AHEAD: Duration = Duration::from_secs(2);

/// The root, once it is open.
struct Opened {
    fd: OwnedFd,
    owner: u32,
    /// The group that shares the root, if an administrator made it so.
    group: Option<u32>,
}

/// The root's files.
pub(super) struct Files {
    path: PathBuf,
    root: OnceLock<Opened>,
    locks: OnceLock<OwnedFd>,
    freezes: OnceLock<OwnedFd>,
    sessions: OnceLock<OwnedFd>,
    stripes: OnceLock<OwnedFd>,
    lines: OnceLock<OwnedFd>,
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

impl Files {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            root: OnceLock::new(),
            locks: OnceLock::new(),
            freezes: OnceLock::new(),
            sessions: OnceLock::new(),
            stripes: OnceLock::new(),
            lines: OnceLock::new(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Creates what is missing of the root and its directories.
    pub(super) fn prepare(&self) -> io::Result<()> {
        if self.root.get().is_none() && !self.path.is_dir() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&self.path)
                .map_err(|error| named(&error, "create", &self.path))?;
        }
        for dir in [Dir::Locks, Dir::Sessions, Dir::Stripes] {
            self.open_or_make(dir)?;
        }
        Ok(())
    }

    fn open_or_make(&self, dir: Dir<'_>) -> io::Result<Handle<'_>> {
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
        let fd = rustix::fs::open(&self.path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|error| named(&error.into(), "open", &self.path))?;
        let opened = admit(fd, &self.path)?;
        Ok(self.root.get_or_init(|| opened))
    }

    /// The descriptor of a directory.
    pub(super) fn open_dir(&self, dir: Dir<'_>) -> io::Result<Handle<'_>> {
        let kept = match dir {
            Dir::Root => return Ok(Handle::Kept(&self.root()?.fd)),
            Dir::Line(name) => {
                let lines = self.open_dir(Dir::Lines)?;
                return Ok(Handle::Own(self.open_sub(lines.as_fd(), name.as_str(), dir)?));
            }
            Dir::Locks => &self.locks,
            Dir::Freezes => &self.freezes,
            Dir::Sessions => &self.sessions,
            Dir::Stripes => &self.stripes,
            Dir::Lines => &self.lines,
        };
        if let Some(fd) = kept.get() {
            return Ok(Handle::Kept(fd));
        }
        let fd = self.open_sub(self.root()?.fd.as_fd(), basename(dir), dir)?;
        Ok(Handle::Kept(kept.get_or_init(|| fd)))
    }

    fn open_sub(&self, parent: BorrowedFd<'_>, name: &str, dir: Dir<'_>) -> io::Result<OwnedFd> {
        openat(parent, name, DIRECTORY, Mode::empty())
            .map_err(|error| named(&error.into(), "open", &self.path_of(dir, "")))
    }

    /// Creates one directory; it may be there already.
    pub(super) fn make(&self, dir: Dir<'_>) -> io::Result<()> {
        let (parent, name) = match dir {
            Dir::Line(name) => (self.open_or_make(Dir::Lines)?, name.as_str()),
            other => (self.open_dir(Dir::Root)?, basename(other)),
        };
        match mkdirat(&parent, name, Mode::from_raw_mode(0o700)) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Ok(()),
            Err(error) => return Err(named(&error.into(), "create", &self.path_of(dir, ""))),
        }
        if self.root()?.group.is_some() {
            let made = self.open_sub(parent.as_fd(), name, dir)?;
            fchmod(&made, Mode::from_raw_mode(0o2770))?;
        }
        Ok(())
    }

    pub(super) fn remove_line(&self, name: &Name) {
        if let Ok(lines) = self.open_dir(Dir::Lines) {
            // Not empty means that somebody waits.
            let _ = unlinkat(&lines, name.as_str(), AtFlags::REMOVEDIR);
        }
    }

    /// Opens a file that must be regular and of the root's users.
    fn open_regular(&self, dir: Dir<'_>, file: &str, flags: OFlags) -> io::Result<(File, Stat)> {
        let path = || self.path_of(dir, file);
        let handle = self.open_dir(dir)?;
        let fd = match openat(&handle, file, flags | FILE, self.file_mode()?) {
            Ok(fd) => fd,
            Err(Errno::LOOP) => return Err(strange(&path(), "a symbolic link")),
            Err(Errno::ISDIR) => return Err(strange(&path(), "a directory")),
            Err(Errno::NXIO) => return Err(strange(&path(), "a FIFO or a socket")),
            Err(error) => return Err(named(&error.into(), "open", &path())),
        };
        let stat = fstat(&fd)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Directory => return Err(strange(&path(), "a directory")),
            FileType::Fifo => return Err(strange(&path(), "a FIFO")),
            _ => return Err(strange(&path(), "not a regular file")),
        }
        self.check_owner(&stat, &path())?;
        Ok((File::from(fd), stat))
    }

    fn check_owner(&self, stat: &Stat, path: &Path) -> io::Result<()> {
        let root = self.root()?;
        let me = rustix::process::geteuid().as_raw();
        let ours = [me, root.owner, 0].contains(&stat.st_uid) || root.group == Some(stat.st_gid);
        if ours || me == 0 {
            return Ok(());
        }
        Err(strange(path, &format!("another user's (uid {})", stat.st_uid)))
    }

    /// The mode of a new file; the mask of the process may take from it, see [`Self::share`].
    fn file_mode(&self) -> io::Result<Mode> {
        let group = self.root()?.group.is_some();
        Ok(Mode::from_raw_mode(if group { 0o660 } else { 0o600 }))
    }

    /// Gives a new file of a shared root the mode that the group needs, whatever the mask of the process.
    pub(super) fn share(&self, file: impl AsFd) -> io::Result<()> {
        if self.root()?.group.is_some() {
            fchmod(file, Mode::from_raw_mode(0o660))?;
        }
        Ok(())
    }

    pub(super) fn read(&self, dir: Dir<'_>, file: &str, at_most: usize) -> io::Result<Option<Content>> {
        let (opened, stat) = match self.open_regular(dir, file, OFlags::RDONLY) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::with_capacity((stat.st_size as usize).min(at_most) + 1);
        opened
            .take(at_most as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| named(&error, "read", &self.path_of(dir, file)))?;
        let truncated = bytes.len() > at_most;
        bytes.truncate(at_most);
        Ok(Some(Content { bytes, truncated, age: age(&stat) }))
    }

    /// See [`super::Host::publish`].
    pub(super) fn publish(
        &self,
        dir: Dir<'_>,
        file: &str,
        content: &[u8],
        how: Publish,
        sync: bool,
        stripe: usize,
    ) -> io::Result<()> {
        let temporary = format!("{stripe:02x}.tmp");
        let stripes = self.open_dir(Dir::Stripes)?;
        let target = self.open_dir(dir)?;
        let placed = self
            .write_temporary(&stripes, &temporary, content, sync)
            .and_then(|()| place(&stripes, &temporary, &target, file, how));
        if let Err(error) = placed {
            let _ = unlinkat(&stripes, temporary.as_str(), AtFlags::empty());
            return Err(match error.kind() {
                io::ErrorKind::AlreadyExists => error,
                _ => named(&error, "write", &self.path_of(dir, file)),
            });
        }
        if sync {
            fsync(&target)?;
        }
        Ok(())
    }

    fn write_temporary(
        &self,
        stripes: &Handle<'_>,
        name: &str,
        content: &[u8],
        sync: bool,
    ) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | FILE;
        let fd = match openat(stripes, name, flags, self.file_mode()?) {
            // Left by a process that died between writing and placing it; we hold its mutex.
            Err(Errno::EXIST) => {
                unlinkat(stripes, name, AtFlags::empty())?;
                openat(stripes, name, flags, self.file_mode()?)?
            }
            other => other?,
        };
        self.share(&fd)?;
        let mut file = File::from(fd);
        file.write_all(content)?;
        if sync { file.sync_all() } else { Ok(()) }
    }

    pub(super) fn remove(&self, dir: Dir<'_>, file: &str, sync: bool) -> io::Result<bool> {
        let handle = match self.open_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other?,
        };
        match unlinkat(&handle, file, AtFlags::empty()) {
            Ok(()) if sync => fsync(&handle).map(|()| true).map_err(Into::into),
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(named(&error.into(), "remove", &self.path_of(dir, file))),
        }
    }

    pub(super) fn list(&self, dir: Dir<'_>) -> io::Result<Vec<String>> {
        let handle = match self.open_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&handle)? {
            let entry = entry?;
            // Ours are ASCII; what is not Unicode is not ours.
            if let Ok(name) = entry.file_name().to_str()
                && !matches!(name, "." | "..")
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    pub(super) fn append(&self, file: &str, line: &[u8]) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE;
        let (mut opened, stat) = self.open_regular(Dir::Root, file, flags)?;
        if stat.st_size == 0 {
            self.share(&opened)?;
        }
        // One write: with O_APPEND no other line gets between its bytes.
        let written = opened.write(line)?;
        if written < line.len() {
            return Err(io::Error::other("no room for the whole line"));
        }
        Ok(())
    }

    /// Opens (creating it first, if need be) the file of a mutex.
    pub(super) fn open_stripe(&self, file: &str) -> io::Result<File> {
        let (opened, stat) = match self.open_regular(Dir::Stripes, file, OFlags::RDWR) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.open_or_make(Dir::Stripes)?;
                self.open_regular(Dir::Stripes, file, OFlags::RDWR | OFlags::CREATE)?
            }
            other => other?,
        };
        if stat.st_size == 0 {
            self.share(&opened)?;
        }
        Ok(opened)
    }

    pub(super) fn is_local(&self) -> bool {
        self.root().is_ok_and(|root| is_local(&root.fd))
    }

    pub(super) fn path_of(&self, dir: Dir<'_>, file: &str) -> PathBuf {
        let dir = match dir {
            Dir::Root => self.path.clone(),
            Dir::Line(name) => self.path.join(basename(Dir::Lines)).join(name.as_str()),
            other => self.path.join(basename(other)),
        };
        if file.is_empty() { dir } else { dir.join(file) }
    }
}

fn basename(dir: Dir<'_>) -> &'static str {
    match dir {
        Dir::Root | Dir::Line(_) => ".",
        Dir::Locks => "locks",
        Dir::Freezes => "freezes",
        Dir::Sessions => "sessions",
        Dir::Stripes => "stripes",
        Dir::Lines => "lines",
    }
}

/// Accepts a root that is this user's own, or that an administrator made for one of this user's groups.
fn admit(fd: OwnedFd, path: &Path) -> io::Result<Opened> {
    let stat = fstat(&fd)?;
    let shared = stat.st_mode & 0o2020 == 0o2020;
    let me = rustix::process::geteuid().as_raw();
    let group = shared.then_some(stat.st_gid);
    if stat.st_uid != me && me != 0 && !group.is_some_and(is_my_group) {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!(
                "{} belongs to another user (uid {}) and is not shared with a group of yours: set LOKT_ROOT, or \
                 have it shared (chgrp GROUP, chmod 2770)",
                path.display(),
                stat.st_uid
            ),
        ));
    }
    Ok(Opened { fd, owner: stat.st_uid, group })
}

fn is_my_group(gid: u32) -> bool {
    rustix::process::getegid().as_raw() == gid
        || rustix::process::getgroups().is_ok_and(|all| all.iter().any(|one| one.as_raw() == gid))
}

/// Moves the temporary file into its place.
fn place(
    stripes: &Handle<'_>,
    temporary: &str,
    target: &Handle<'_>,
    file: &str,
    how: Publish,
) -> io::Result<()> {
    if how == Publish::Replace {
        return Ok(renameat(stripes, temporary, target, file)?);
    }
    match renameat_with(stripes, temporary, target, file, RenameFlags::NOREPLACE) {
        // A file system without that flag: a link does not replace either.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            rustix::fs::linkat(stripes, temporary, target, file, AtFlags::empty())?;
            Ok(unlinkat(stripes, temporary, AtFlags::empty())?)
        }
        other => Ok(other?),
    }
}

/// Since when the file has its content, by the wall clock; far in the future counts as long ago.
fn age(stat: &Stat) -> Duration {
    let modified = Duration::new(stat.st_mtime as u64, stat.st_mtime_nsec as u32);
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let now = Duration::new(now.tv_sec as u64, now.tv_nsec as u32);
    if modified > now + AHEAD { Duration::MAX } else { now.saturating_sub(modified) }
}

/// File systems whose files no other machine can have open (statfs(2), `f_type`). Others may be, too; doubt
/// falls on "network".
#[cfg(target_os = "linux")]
fn is_local(fd: &OwnedFd) -> bool {
    const LOCAL: [u32; 10] = [
        0xef53,      // ext2, ext3, ext4
        0x5846_5342, // xfs
        0x9123_683e, // btrfs
        0x0102_1994, // tmpfs
        0x8584_58f6, // ramfs
        0x794c_7630, // overlayfs
        0x2fc1_2fc1, // zfs
        0xf2f5_2010, // f2fs
        0xca45_1a4e, // bcachefs
        0x3153_464a, // jfs
    ];
    rustix::fs::fstatfs(fd).is_ok_and(|stat| LOCAL.contains(&(stat.f_type as u32)))
}

#[cfg(not(target_os = "linux"))]
fn is_local(_: &OwnedFd) -> bool {
    false
}

/// An error that names the path and what was to be done with it.
fn named(error: &io::Error, verb: &str, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("failed to {verb} {}: {error}", path.display()))
}

fn strange(path: &Path, what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{} is {what}, not a file of lokt's: it is left alone", path.display()),
    )
}
