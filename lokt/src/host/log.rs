//! The log: appended to a whole line at a time, rotated by size, read by position.
//!
//! `audit.log` becomes `audit.log.1`, and so on, up to [`ROTATED`]; the last one falls away. So the log has a largest
//! size. No event is lost or torn by it, whoever writes meanwhile:
//!
//! * A writer that had opened the file before it was renamed writes into it under its new name, where readers read it.
//! * One that finds its file without any name after its write (it slept through all the rotations) writes again.
//! * Two who rotate exclude each other by a mutex that is only ever tried: under the mutex of a name nothing waits.
//! * One that dies halfway leaves a number free, up to which the next one renames.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::thread;

use rustix::fs::{AtFlags, OFlags, fstat, renameat, statat};
use rustix::io::Errno;

use super::dirs::RootDir;
use super::failure::named;
use super::files::{BETWEEN_LOOKS, LOOKS};
use super::{Dir, LogFile, environment};

/// How many files are kept beside the one that is appended to.
pub(crate) const ROTATED: usize = 3;

/// How large the log may become, over all its files.
const LARGEST: u64 = 64 << 20;

/// The name of the mutex of those who rotate.
pub(crate) const ROTATOR: &str = "log";

/// When to rotate, and how many files to keep.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rotation {
    /// A file that is at least so large is rotated.
    pub(super) size: u64,
    /// How many rotated files there may be.
    pub(super) kept: usize,
}

impl Rotation {
    /// A log of at most `total` bytes or so; 0 for one that only grows.
    pub(super) fn within(total: u64) -> Self {
        let size = if total == 0 { u64::MAX } else { (total / (ROTATED as u64 + 1)).max(1) };
        Self { size, kept: ROTATED }
    }

    /// As `LOKT_AUDIT_MAX_BYTES` says; or what is wrong with that.
    pub(super) fn from_environment() -> Result<Self, String> {
        let Some(given) = environment("LOKT_AUDIT_MAX_BYTES") else { return Ok(Self::default()) };
        let total = given.parse().map_err(|_| {
            format!("LOKT_AUDIT_MAX_BYTES is {given:?}, and has to be a number of bytes, or 0 for a log that only grows")
        })?;
        Ok(Self::within(total))
    }
}

impl Default for Rotation {
    fn default() -> Self {
        Self::within(LARGEST)
    }
}

impl RootDir {
    /// Appends a line, in one write. Returns whether the file is now so large that it is to be rotated.
    pub(super) fn append(&self, file: &str, line: &[u8], rotation: Rotation) -> io::Result<bool> {
        for _ in 0..16 {
            let (opened, stat) = self.open_lasting(Dir::Root, file, OFlags::RDWR | OFlags::APPEND)?;
            let size = stat.st_size.max(0) as u64;
            write_line(&opened, size, line)
                .map_err(|error| named(&error, "write", &self.path_of(Dir::Root, file)))?;
            if !is_nameless(&opened) {
                return Ok(size + line.len() as u64 >= rotation.size);
            }
        }
        Err(io::Error::other("it is rotated faster than it can be written"))
    }

    /// Makes way for a new file, if this one is still too large. The caller has the mutex [`ROTATOR`].
    pub(super) fn rotate(&self, file: &str, rotation: Rotation) -> io::Result<()> {
        // Another may just have done it.
        match self.open_regular(Dir::Root, file, OFlags::RDONLY) {
            Ok((_, stat)) if stat.st_size.max(0) as u64 >= rotation.size => {}
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        }
        let root = self.open_dir(Dir::Root)?;
        let is_free = |age: &usize| {
            statat(&root, rotated(file, *age), AtFlags::SYMLINK_NOFOLLOW).is_err_and(|e| e == Errno::NOENT)
        };
        let last = (1..=rotation.kept).find(is_free).unwrap_or(rotation.kept);
        for age in (0..last).rev() {
            renameat(&root, rotated(file, age), &root, rotated(file, age + 1))?;
        }
        Ok(())
    }

    /// Opens a file of the log for reading; `None` if there is none. The root is opened anew for it: one who follows the log
    /// goes on where a root was removed and made anew.
    pub(super) fn open_log(&self, file: &str, age: usize) -> io::Result<Option<Box<dyn LogFile>>> {
        let root = RootDir::new(self.path().to_owned());
        match root.open_regular(Dir::Root, &rotated(file, age), OFlags::RDONLY) {
            Ok((file, stat)) => Ok(Some(Box::new(Opened { file, inode: stat.st_ino }))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A file of the log, which stays this one whatever it is renamed to.
struct Opened {
    file: File,
    inode: u64,
}

impl LogFile for Opened {
    fn inode(&self) -> u64 {
        self.inode
    }

    fn size(&self) -> io::Result<u64> {
        Ok(fstat(&self.file)?.st_size.max(0) as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }
}

/// The name of a file of the log that was rotated `age` times.
fn rotated(file: &str, age: usize) -> String {
    if age == 0 { file.to_owned() } else { format!("{file}.{age}") }
}

fn is_nameless(file: &File) -> bool {
    fstat(file).is_ok_and(|stat| stat.st_nlink == 0)
}

/// One write: with `O_APPEND` no other line gets between its bytes.
fn write_line(mut file: &File, size: u64, line: &[u8]) -> io::Result<()> {
    let written = if ends_torn(file, size) {
        file.write(&[b"\n", line].concat())?.saturating_sub(1)
    } else {
        file.write(line)?
    };
    if written < line.len() {
        return Err(io::Error::new(io::ErrorKind::StorageFull, "no room for the whole line"));
    }
    Ok(())
}

/// Whether the file ends in half a line, as a full disk leaves it: ours must begin on a line of its own.
///
/// A line that is just being written can be seen in part where it goes over a page's end, so what looks torn is looked at
/// again: its writer may have been put to sleep in the middle of it.
fn ends_torn(file: &File, mut size: u64) -> bool {
    let mut last = [0];
    for _ in 0..LOOKS {
        if size == 0 || file.read_at(&mut last, size - 1).ok() != Some(1) || last == *b"\n" {
            return false;
        }
        thread::park_timeout(BETWEEN_LOOKS);
        size = fstat(file).map_or(0, |stat| stat.st_size.max(0) as u64);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fs;

    const FILE: &str = "audit.log";

    /// What [`super::super::UnixHost`] does, with files enough to keep everything.
    fn append(dir: &RootDir, line: &str, rotation: Rotation) {
        if dir.append(FILE, line.as_bytes(), rotation).unwrap() {
            let mutex = dir.open_stripe(ROTATOR).unwrap().0;
            if super::super::flock::try_exclusive(&mutex).unwrap() {
                dir.rotate(FILE, rotation).unwrap();
            }
        }
    }

    fn root() -> (tempfile::TempDir, RootDir) {
        let temp = tempfile::tempdir().unwrap();
        let dir = RootDir::new(temp.path().join("root"));
        dir.prepare().unwrap();
        (temp, dir)
    }

    fn read(dir: &RootDir, age: usize) -> Option<String> {
        fs::read_to_string(dir.path().join(rotated(FILE, age))).ok()
    }

    #[test]
    fn no_line_is_lost_or_torn_by_many_rotations_under_many_writers() {
        let (_temp, dir) = root();
        let rotation = Rotation { size: 300, kept: 10_000 };
        thread::scope(|scope| {
            for writer in 0..8 {
                // A root of its own each, as another process has it.
                let path = dir.path().to_owned();
                scope.spawn(move || {
                    let dir = RootDir::new(path);
                    for number in 0..250 {
                        append(&dir, &format!("{writer} {number} {}\n", "x".repeat(number % 50)), rotation);
                    }
                });
            }
        });
        let mut found = BTreeSet::new();
        let mut files = 0;
        for text in (0..)
            .map_while(|age| if age == 0 { Some(read(&dir, 0).unwrap_or_default()) } else { read(&dir, age) })
        {
            files += 1;
            assert!(text.is_empty() || text.ends_with('\n'), "{text:?}");
            for line in text.lines() {
                let fields: Vec<&str> = line.split(' ').collect();
                let [writer, number, tail] = fields[..] else { panic!("torn: {line:?}") };
                let number: usize = number.parse().unwrap();
                assert_eq!(tail.len(), number % 50, "torn: {line:?}");
                assert!(found.insert((writer.to_owned(), number)), "twice: {line:?}");
            }
        }
        assert_eq!(found.len(), 8 * 250, "every line is in one of the files");
        assert!(files > 10, "it was rotated often: {files}");
    }

    #[test]
    fn the_log_has_a_largest_size() {
        let (_temp, dir) = root();
        let rotation = Rotation { size: 100, kept: 3 };
        for number in 0..1000 {
            append(&dir, &format!("{number:09}\n"), rotation);
        }
        let sizes: Vec<usize> = (0..9).filter_map(|age| read(&dir, age)).map(|text| text.len()).collect();
        // A file is made again only by the next line.
        assert_eq!(sizes, [100, 100, 100]);
        append(&dir, "000001000\n", rotation);
        // One who comes too late finds that another has done it.
        dir.rotate(FILE, rotation).unwrap();
        assert_eq!(read(&dir, 0).unwrap(), "000001000\n");
        assert!(read(&dir, 1).unwrap().ends_with("000000999\n"), "the newest is the first");
        assert!(read(&dir, 3).unwrap().starts_with("000000970\n"), "the oldest is the last");
        assert_eq!(read(&dir, 4), None);
    }

    #[test]
    fn a_number_that_was_left_free_is_taken_before_the_oldest_falls_away() {
        let (_temp, dir) = root();
        for (age, text) in [(0, "d\n"), (2, "b\n"), (3, "a\n")] {
            fs::write(dir.path().join(rotated(FILE, age)), text).unwrap();
        }
        dir.rotate(FILE, Rotation { size: 1, kept: 3 }).unwrap();
        let texts: Vec<_> = (0..5).map(|age| read(&dir, age)).collect();
        assert_eq!(texts, [None, Some("d\n".into()), Some("b\n".into()), Some("a\n".into()), None]);
    }

    #[test]
    fn a_line_begins_on_its_own_behind_half_a_line() {
        let (_temp, dir) = root();
        fs::write(dir.path().join(FILE), "whole\nhal").unwrap();
        append(&dir, "next\n", Rotation::within(0));
        assert_eq!(read(&dir, 0).unwrap(), "whole\nhal\nnext\n");
    }

    #[test]
    fn a_writer_that_slept_through_all_rotations_sees_it() {
        let (_temp, dir) = root();
        append(&dir, "old\n", Rotation::within(0));
        let (slow, _) = dir.open_regular(Dir::Root, FILE, OFlags::RDWR | OFlags::APPEND).unwrap();
        let rotation = Rotation { size: 1, kept: 1 };
        dir.rotate(FILE, rotation).unwrap();
        assert!(!is_nameless(&slow), "rotated once, it is still read");
        append(&dir, "new\n", Rotation::within(0));
        dir.rotate(FILE, rotation).unwrap();
        assert!(is_nameless(&slow), "it would write where nobody reads");
    }
}
