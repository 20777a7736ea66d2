//! The files of the root, and how a whole one gets into its place.
//!
//! Files are opened with `O_NOFOLLOW` and `O_NONBLOCK` (a FIFO must not make us wait) and must be regular, and of
//! the root's users.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::Duration;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RenameFlags, Stat, fchmod, fstat, fstatvfs, fsync, linkat, openat,
    renameat, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;

use super::clock::monotonic;
use super::dirs::{DIRECTORY, Handle, RootDir};
use super::failure::{named, strange};
use super::{Content, Dir, Draft, Publish};

pub(super) const FILE: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// The smallest page of memory that there is.
const PAGE: usize = 4096;

/// How often to look before what is in the making is something else, and how far apart.
pub(super) const LOOKS: u32 = 20;
pub(super) const BETWEEN_LOOKS: Duration = Duration::from_micros(500);

/// How far in the future a file's time may lie and still count as now: a clock that was just set back.
const AHEAD: Duration = Duration::from_secs(2);

impl RootDir {
    /// Creates an empty file that stays, if it is missing; in a shared root like [`Self::make_shared`].
    fn make_file(&self, dir: Dir<'_>, file: &str) -> io::Result<()> {
        let handle = self.open_or_make(dir)?;
        let (shared, _owner) = (self.is_shared()?, self.as_owner_of(&handle)?);
        let made_as = if shared { hidden(file) } else { file.to_owned() };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | FILE;
        let made = openat(&handle, made_as.as_str(), flags, self.file_mode()?).map_err(io::Error::from);
        let placed = made.and_then(|made| {
            if !shared {
                return Ok(());
            }
            // Never in two places, or it would be taken for a link that somebody has planted.
            let placed = fchmod(&made, Mode::from_raw_mode(0o660))
                .map_err(io::Error::from)
                .and_then(|()| place(&handle, &made_as, &handle, file, Publish::New));
            if placed.is_err() {
                let _ = unlinkat(&handle, made_as.as_str(), AtFlags::empty());
            }
            placed
        });
        match placed {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(named(&error, "create", &self.path_of(dir, file)))
            }
            _ => Ok(()),
        }
    }

    /// Opens a file that must be regular and of the root's users.
    pub(super) fn open_regular(&self, dir: Dir<'_>, file: &str, flags: OFlags) -> io::Result<(File, Stat)> {
        let path = || self.path_of(dir, file);
        let handle = self.open_dir(dir)?;
        let fd = match openat(&handle, file, flags | FILE, self.file_mode()?) {
            Ok(fd) => fd,
            // Most often that is as good as any other answer: no words are made for it.
            Err(Errno::NOENT) => return Err(Errno::NOENT.into()),
            Err(Errno::LOOP) => return Err(strange(&path(), "a symbolic link")),
            Err(Errno::ISDIR) => return Err(strange(&path(), "a directory")),
            Err(Errno::NXIO) => return Err(strange(&path(), "a FIFO or a socket")),
            // That nothing stands there can be seen without a descriptor: whoever has none left must see it too.
            Err(Errno::MFILE | Errno::NFILE) if is_nothing(&handle, file) => return Err(Errno::NOENT.into()),
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

    /// The mode of a new file; the mask of the process may take from it, see [`Self::share`].
    pub(super) fn file_mode(&self) -> io::Result<Mode> {
        Ok(Mode::from_raw_mode(if self.is_shared()? { 0o660 } else { 0o600 }))
    }

    /// Gives a new file of a shared root the mode that the group needs, whatever the mask of the process.
    pub(super) fn share(&self, file: impl AsFd) -> io::Result<()> {
        if self.is_shared()? {
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
        // Files are replaced as a whole: what was its size is all of it, and the end need not be looked for. (One that is
        // overwritten in this instant may have become longer. Under the mutex that can't be.)
        // (One of no size may be of a file system that does not tell.)
        let size = stat.st_size as usize;
        let room = if size == 0 { at_most + 1 } else { size.min(at_most + 1) };
        let mut bytes = Vec::with_capacity(size.min(room));
        opened
            .take(room as u64)
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
        draft: Draft<'_>,
    ) -> io::Result<()> {
        let (beside, draft_file) = match draft {
            Draft::New(stripe) => (Dir::Stripes, Cow::Owned(stripe_file(stripe) + ".tmp")),
            Draft::Used(dir, file) => (dir, Cow::Borrowed(file)),
        };
        let from = self.open_dir(beside)?;
        let target = self.open_or_make(dir)?;
        let written = match draft {
            Draft::New(_) => self.write_temporary(&from, &draft_file, content, sync),
            Draft::Used(..) => self.write_anew(beside, &draft_file, content, sync),
        };
        let placed = written.and_then(|()| place(&from, &draft_file, &target, file, how));
        if let Err(error) = placed {
            let _ = unlinkat(&from, &*draft_file, AtFlags::empty());
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

    pub(super) fn write_temporary(
        &self,
        stripes: &Handle<'_>,
        name: &str,
        content: &[u8],
        sync: bool,
    ) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | FILE;
        let _owner = self.as_owner_of(stripes)?;
        let fd = match openat(stripes, name, flags, self.file_mode()?) {
            // Left by a process that died between writing and placing it; we hold its mutex.
            Err(Errno::EXIST) => {
                unlinkat(stripes, name, AtFlags::empty())
                    .map_err(|error| named(&error.into(), "remove", &self.path_of(Dir::Stripes, name)))?;
                openat(stripes, name, flags, self.file_mode()?)?
            }
            other => other?,
        };
        self.share(&fd)?;
        let mut file = File::from(fd);
        file.write_all(content)?;
        if sync { file.sync_all() } else { Ok(()) }
    }

    /// Gives a file of ours another content.
    fn write_anew(&self, dir: Dir<'_>, file: &str, content: &[u8], sync: bool) -> io::Result<()> {
        let (opened, _) = self.open_own(dir, file)?;
        opened.write_all_at(content, 0)?;
        opened.set_len(content.len() as u64)?;
        if sync { opened.sync_all() } else { Ok(()) }
    }

    /// See [`super::Host::overwrite`].
    pub(super) fn overwrite(&self, dir: Dir<'_>, file: &str, content: &[u8]) -> io::Result<()> {
        let (opened, stat) = self.open_own(dir, file)?;
        let size = stat.st_size as usize;
        // It can't be made shorter in the same step.
        let length = size.max(content.len());
        // As far as its last block goes; and only within a page is a write one that nothing interrupts.
        let block = (fstatvfs(&opened)?.f_frsize as usize).clamp(1, PAGE);
        if length > size.next_multiple_of(block).min(PAGE) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut whole = content.to_vec();
        whole.resize(length, b'\n');
        opened.write_all_at(&whole, 0)
    }

    /// Opens a file to write to it.
    fn open_own(&self, dir: Dir<'_>, file: &str) -> io::Result<(File, Stat)> {
        self.only_here(dir, file, self.open_regular(dir, file, OFlags::WRONLY)?)
    }

    pub(super) fn sync(&self, dir: Dir<'_>, file: &str) -> io::Result<()> {
        let (opened, _) = self.open_regular(dir, file, OFlags::RDONLY)?;
        opened.sync_all().and_then(|()| Ok(fsync(&self.open_dir(dir)?)?))
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
        let anew = match handle {
            Handle::Own(fd) => fd,
            // One that others read as well has one position for all of them.
            Handle::Kept(fd) => openat(fd, ".", DIRECTORY, Mode::empty())?,
        };
        for entry in rustix::fs::Dir::new(anew)? {
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

    /// Opens (creating it first, if need be) the file of a mutex.
    pub(super) fn open_stripe(&self, file: &str) -> io::Result<(File, Stat)> {
        self.open_lasting(Dir::Stripes, file, OFlags::RDWR)
    }

    /// Opens a file that is there for good, creating it the first time. The log's may be renamed just then.
    pub(super) fn open_lasting(&self, dir: Dir<'_>, file: &str, flags: OFlags) -> io::Result<(File, Stat)> {
        let mut opened = self.open_regular(dir, file, flags);
        for _ in 0..16 {
            match opened {
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.make_file(dir, file)?,
                other => return self.only_here(dir, file, other?),
            }
            opened = self.open_regular(dir, file, flags);
        }
        self.only_here(dir, file, opened?)
    }

    /// Refuses to write to what is elsewhere, too: somebody may have planted a link to it. One that was just removed is
    /// nowhere; one that was just made is in two places for an instant, where a file system can't move it.
    fn only_here(&self, dir: Dir<'_>, file: &str, (opened, stat): (File, Stat)) -> io::Result<(File, Stat)> {
        let mut links = stat.st_nlink;
        for _ in 0..LOOKS {
            if links <= 1 {
                return Ok((opened, stat));
            }
            thread::park_timeout(BETWEEN_LOOKS);
            links = fstat(&opened)?.st_nlink;
        }
        Err(strange(&self.path_of(dir, file), "in more than one place"))
    }
}

/// A name of its own, for something that is not ready to be seen.
pub(super) fn hidden(name: &str) -> String {
    format!(".{name}.{}.{}", std::process::id(), monotonic().as_nanos())
}

/// The name under which something was [`hidden`], and the process that did it.
pub(crate) fn hidden_by(file: &str) -> Option<(&str, i64)> {
    let (named, nanoseconds) = file.strip_prefix('.')?.rsplit_once('.')?;
    let (name, pid) = named.rsplit_once('.')?;
    let (pid, nanoseconds): (i64, u128) = (pid.parse().ok()?, nanoseconds.parse().ok()?);
    let is_ours = pid > 0 && !name.is_empty() && file == format!(".{name}.{pid}.{nanoseconds}");
    is_ours.then_some((name, pid))
}

/// The file of a mutex.
pub(crate) fn stripe_file(stripe: usize) -> String {
    format!("{stripe:02x}")
}

/// Whether a file system (bindfs, NFS) has failed to rename only because it does not know `RENAME_NOREPLACE`.
pub(super) fn lacks_noreplace(error: Errno) -> bool {
    matches!(error, Errno::INVAL | Errno::NOSYS | Errno::NOTSUP)
}

/// Moves a draft into its place.
pub(super) fn place(
    from: &Handle<'_>,
    draft: &str,
    target: &Handle<'_>,
    file: &str,
    how: Publish,
) -> io::Result<()> {
    if how == Publish::Replace {
        return Ok(renameat(from, draft, target, file)?);
    }
    match renameat_with(from, draft, target, file, RenameFlags::NOREPLACE) {
        // A link does not replace either.
        Err(error) if lacks_noreplace(error) => {
            linkat(from, draft, target, file, AtFlags::empty())?;
            Ok(unlinkat(from, draft, AtFlags::empty())?)
        }
        other => Ok(other?),
    }
}

/// Since when the file has its content, by the wall clock; far in the future counts as long ago.
pub(super) fn age(stat: &Stat) -> Duration {
    let modified = Duration::new(stat.st_mtime as u64, stat.st_mtime_nsec as u32);
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let now = Duration::new(now.tv_sec as u64, now.tv_nsec as u32);
    if modified > now + AHEAD { Duration::MAX } else { now.saturating_sub(modified) }
}

fn is_nothing(dir: &Handle<'_>, file: &str) -> bool {
    statat(dir, file, AtFlags::SYMLINK_NOFOLLOW).is_err_and(|error| error == Errno::NOENT)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn root(content: &[u8]) -> (tempfile::TempDir, RootDir) {
        let dir = tempfile::tempdir().unwrap();
        let root = RootDir::new(dir.path().join("root"));
        root.prepare().unwrap();
        fs::write(dir.path().join("root/locks/x.json"), content).unwrap();
        (dir, root)
    }

    fn read(root: &RootDir) -> Vec<u8> {
        root.read(Dir::Locks, "x.json", 64 * 1024).unwrap().unwrap().bytes
    }

    #[test]
    fn a_hidden_file_says_what_it_is_and_whose() {
        assert_eq!(hidden_by(&hidden("audit.log")), Some(("audit.log", std::process::id().into())));
        let others = ["audit.log.4711.1", ".4711.1", "..4711.1", ".x.-1.1", ".x.+1.1", ".x.0.1", ".x.1.y"];
        for other in others.into_iter().chain([".gitignore"]) {
            assert_eq!(hidden_by(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_overwritten_is_all_there_and_nothing_of_the_old() {
        let (_dir, root) = root(b"0123456789");
        for (content, stands) in [("abc", "abc\n\n\n\n\n\n\n"), ("abcdefghijkl", "abcdefghijkl")] {
            root.overwrite(Dir::Locks, "x.json", content.as_bytes()).unwrap();
            assert_eq!(read(&root), stands.as_bytes());
        }
    }

    /// Between two pages a process can be killed.
    #[test]
    fn what_is_larger_than_a_page_or_is_so_afterwards_is_not_overwritten() {
        let small = vec![b'a'; 100];
        let large = vec![b'b'; PAGE + 1];
        for (stands, content) in [(&small, &large), (&large, &small)] {
            let (_dir, root) = root(stands);
            let refused = root.overwrite(Dir::Locks, "x.json", content).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
            assert_eq!(read(&root), *stands);
        }
    }

    #[test]
    fn a_file_that_is_elsewhere_too_is_not_overwritten() {
        let (dir, root) = root(b"0123456789");
        fs::hard_link(dir.path().join("root/locks/x.json"), dir.path().join("elsewhere")).unwrap();
        assert!(root.overwrite(Dir::Locks, "x.json", b"abc").is_err());
        assert_eq!(read(&root), b"0123456789");
    }
}
