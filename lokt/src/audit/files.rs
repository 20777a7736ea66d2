//! The log as files: one that is appended to, and those that were rotated before it.
//!
//! Nothing is locked for it. Whoever writes may have opened a file before it was renamed, so each file is followed for
//! as long as it is kept, by its identity, and never by its name alone.

use std::io;
use std::sync::Arc;

use super::FILE;
use super::back::{ENDLESS, LONGEST, begin, end_of_endless, read_full};
use super::entry::{Entry, Query};
use super::read::Source;
use crate::host::{Host, LogFile, ROTATED};

/// How much is read at a time.
const CHUNK: u64 = 64 << 10;

/// The files of the log.
pub(crate) struct Files {
    host: Arc<dyn Host>,
    /// The oldest first.
    tails: Vec<Tail>,
    /// A line was given up.
    gave_up: bool,
}

/// A file, and how far it has been read.
struct Tail {
    file: Box<dyn LogFile>,
    offset: u64,
    /// How far it is to be read.
    upto: u64,
    /// The beginning of a line whose end is not there yet; `None` if it is too long to be an event.
    pending: Option<Vec<u8>>,
    /// How much has been read of a line that is too long.
    passed: u64,
    /// A line was given up.
    gave_up: bool,
    /// It has no name any more: what it had was for the last time.
    is_gone: bool,
}

impl Files {
    /// The log from where the events begin that `query` wants.
    pub(crate) fn begin(host: Arc<dyn Host>, query: &Query) -> io::Result<Self> {
        let files = open_all(host.as_ref())?;
        let ends: Vec<u64> = files.iter().map(|file| file.size()).collect::<io::Result<_>>()?;
        let begins = begin(&files, &ends, query)?;
        let tails = files.into_iter().zip(begins.offsets).zip(ends);
        let tails = tails.map(|((file, offset), upto)| Tail { upto, ..Tail::new(file, offset) }).collect();
        Ok(Self { host, tails, gave_up: begins.gave_up })
    }

    /// Goes on with these files: known ones from where they were left, new ones from their beginning.
    fn take_up(&mut self, files: Vec<Box<dyn LogFile>>) {
        let mut known = std::mem::take(&mut self.tails);
        let mut kept = Vec::new();
        for file in files {
            let at = known.iter().position(|tail| tail.file.inode() == file.inode());
            kept.push(at.map_or_else(|| Tail::new(file, 0), |at| known.remove(at)));
        }
        known.iter_mut().for_each(|tail| tail.is_gone = true);
        self.tails = known;
        self.tails.append(&mut kept);
    }
}

impl Source for Files {
    fn look_again(&mut self) -> io::Result<()> {
        self.tails.retain(|tail| !tail.is_gone);
        let current = self.host.open_log(FILE, 0)?.map(|file| file.inode());
        let newest = self.tails.last().map(|tail| tail.file.inode());
        // Without a newest one there may still be others: it was just rotated.
        if current.is_none() || current != newest {
            self.take_up(open_all(self.host.as_ref())?);
        }
        self.tails.iter_mut().try_for_each(Tail::catch_up)
    }

    fn read_on(&mut self, show: &mut dyn FnMut(Option<&[u8]>)) -> io::Result<bool> {
        let Some(tail) = self.tails.iter_mut().find(|tail| tail.offset < tail.upto) else {
            return Ok(false);
        };
        tail.read_on(show)?;
        self.gave_up |= tail.gave_up;
        Ok(true)
    }

    fn gave_up(&self) -> bool {
        self.gave_up
    }
}

impl Tail {
    fn new(file: Box<dyn LogFile>, offset: u64) -> Self {
        let pending = Some(Vec::new());
        Self { file, offset, upto: offset, pending, passed: 0, gave_up: false, is_gone: false }
    }

    fn catch_up(&mut self) -> io::Result<()> {
        self.upto = self.file.size()?;
        if self.upto < self.offset {
            // Somebody has emptied it.
            self.offset = 0;
            self.pending = Some(Vec::new());
        }
        Ok(())
    }

    /// Reads a chunk and shows its lines; `None` for one that is too long.
    fn read_on(&mut self, show: &mut dyn FnMut(Option<&[u8]>)) -> io::Result<()> {
        let mut chunk = vec![0; (self.upto - self.offset).min(CHUNK) as usize];
        let read = read_full(self.file.as_ref(), &mut chunk, self.offset)?;
        self.offset = if read == 0 { self.upto } else { self.offset + read as u64 };
        for piece in chunk[..read].split_inclusive(|byte| *byte == b'\n') {
            let is_whole = piece.ends_with(b"\n");
            self.add(piece.strip_suffix(b"\n").unwrap_or(piece));
            if is_whole {
                self.show_pending(show);
            }
        }
        if self.passed > ENDLESS {
            self.give_up()?;
        }
        // A last line that only lacks its end.
        if self.offset >= self.upto && self.pending.as_ref().is_some_and(|line| Entry::parse(line).is_some())
        {
            self.show_pending(show);
        }
        Ok(())
    }

    fn add(&mut self, piece: &[u8]) {
        match &mut self.pending {
            Some(line) if line.len() + piece.len() <= LONGEST => line.extend_from_slice(piece),
            pending => {
                *pending = None;
                self.passed += piece.len() as u64;
            }
        }
    }

    /// Goes on behind a line that does not end; if no other begins there, at the end of the file, with what may come.
    fn give_up(&mut self) -> io::Result<()> {
        (self.gave_up, self.passed) = (true, 0);
        match end_of_endless(self.file.as_ref(), self.offset, self.upto)? {
            Some(next) => (self.offset, self.pending) = (next, Some(Vec::new())),
            None => self.offset = self.upto,
        }
        Ok(())
    }

    fn show_pending(&mut self, show: &mut dyn FnMut(Option<&[u8]>)) {
        self.passed = 0;
        let line = self.pending.replace(Vec::new());
        if line.as_ref().is_none_or(|line| !line.is_empty()) {
            show(line.as_deref());
        }
    }
}

/// All files of the log, the oldest first.
fn open_all(host: &dyn Host) -> io::Result<Vec<Box<dyn LogFile>>> {
    let mut files = Vec::new();
    for _ in 0..16 {
        let before = host.open_log(FILE, 0)?;
        files = open_from_the_newest(host)?;
        let after = host.open_log(FILE, 0)?;
        // Then nothing was rotated meanwhile, and the order is right. (Both are open: their numbers are their own.)
        if before.as_ref().map(|file| file.inode()) == after.as_ref().map(|file| file.inode()) {
            break;
        }
    }
    files.reverse();
    Ok(files)
}

/// Files only ever move towards higher numbers, so that none is missed; one may be met twice.
fn open_from_the_newest(host: &dyn Host) -> io::Result<Vec<Box<dyn LogFile>>> {
    let mut files: Vec<Box<dyn LogFile>> = Vec::new();
    for age in 0..=ROTATED {
        if let Some(file) = host.open_log(FILE, age)?
            && files.iter().all(|other| other.inode() != file.inode())
        {
            files.push(file);
        }
    }
    Ok(files)
}
