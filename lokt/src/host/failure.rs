//! Errors of the file system that say where, and what of them is the machine's state rather than the file's.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;

use rustix::io::Errno;

use crate::protocol::{Shortage, Unreadable};

/// What the system said, and of which path; it lives on as an [`io::Error`] of the same kind.
#[derive(Debug)]
struct Named {
    what: String,
    errno: Option<i32>,
}

impl Error for Named {}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// An error that names the path and what was to be done with it; one that names a path already keeps it.
pub(super) fn named(error: &io::Error, verb: &str, path: &Path) -> io::Error {
    let what = match name_of(error) {
        Some(named) => named.what.clone(),
        None => format!("failed to {verb} {}: {error}", path.display()),
    };
    io::Error::new(error.kind(), Named { what, errno: errno_of(error) })
}

fn name_of(error: &io::Error) -> Option<&Named> {
    error.get_ref()?.downcast_ref()
}

pub(super) fn strange(path: &Path, what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{} is {what}, not a file of lokt's: it is left alone", path.display()),
    )
}

fn errno_of(error: &io::Error) -> Option<i32> {
    error.raw_os_error().or_else(|| name_of(error)?.errno)
}

/// Whether something could not be written for want of room: of the file system's, or of this user's quota on it.
pub(crate) fn is_full(error: io::ErrorKind) -> bool {
    matches!(error, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// What there was too little of, if that is what was wrong.
pub(crate) fn shortage_of(error: &io::Error) -> Option<Shortage> {
    match Errno::from_raw_os_error(errno_of(error)?) {
        Errno::MFILE => Some(Shortage::OpenFiles),
        Errno::NFILE => Some(Shortage::OpenFilesOfAll),
        Errno::NOMEM => Some(Shortage::Memory),
        _ => None,
    }
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        Self { why: error.to_string(), shortage: shortage_of(&error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_is_told_from_what_is_wrong_with_a_file() {
        let short = [
            (Errno::MFILE, Shortage::OpenFiles),
            (Errno::NFILE, Shortage::OpenFilesOfAll),
            (Errno::NOMEM, Shortage::Memory),
        ];
        for (errno, shortage) in short {
            let error = named(&errno.into(), "open", Path::new("/x"));
            assert_eq!(shortage_of(&error), Some(shortage), "{error}");
            let again = named(&error, "read", Path::new("/y"));
            assert_eq!((shortage_of(&again), again.to_string()), (Some(shortage), error.to_string()));
        }
        for other in
            [Errno::NOENT.into(), strange(Path::new("/x"), "a FIFO"), io::Error::other("os error 24")]
        {
            assert_eq!(shortage_of(&named(&other, "open", Path::new("/x"))), None, "{other}");
        }
    }
}
