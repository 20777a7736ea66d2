//! Where to begin reading: found from the end, so that a look at the last hour costs what happened in it.
//!
//! Times in the log are of wall clocks, which may be set back: older events can stand behind newer ones. So one that
//! is too old ends nothing; [`ENOUGH`] bytes of them in a row do.

use std::io;

use super::entry::{Entry, Query};
use crate::host::LogFile;

/// How much is read at a time.
const BLOCK: u64 = 64 << 10;

/// How many bytes of events that are too old end the search. Between an event that is older than its time says and
/// the end of the log there can be so much; further back it is not found.
const ENOUGH: u64 = 64 << 10;

/// The longest line that can be an event; a longer one is never held in memory.
pub(super) const LONGEST: usize = 1 << 20;

/// How much of one line is read before it is given up: somebody can make one without an end, of a file that takes no room.
pub(super) const ENDLESS: u64 = 16 << 20;

/// Where the events begin that a query wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Begins {
    /// In each file, oldest first; its end, if there are none in it.
    pub(super) offsets: Vec<u64>,
    /// On the way a line was given up: there may be events before it.
    pub(super) gave_up: bool,
}

/// Where the events begin that `query` wants, in each of the files, oldest first and looked at up to its `end`.
pub(super) fn begin(files: &[Box<dyn LogFile>], ends: &[u64], query: &Query) -> io::Result<Begins> {
    if query.since.is_none() && query.last.is_none() {
        return Ok(Begins { offsets: vec![0; files.len()], gave_up: false });
    }
    let mut begins = Begins { offsets: ends.to_vec(), gave_up: false };
    let mut search = Search { query, found: 0, too_old: 0 };
    for (at, file) in files.iter().enumerate().rev() {
        if search.is_over() {
            break;
        }
        let begin = &mut begins.offsets[at];
        let walk = walk_back(file.as_ref(), ends[at], &mut |offset, line| {
            if search.is_wanted(line) {
                *begin = offset;
            }
            !search.is_over()
        })?;
        begins.gave_up |= walk == Walk::GaveUp;
    }
    Ok(begins)
}

/// Where the line ends that is at `from`, and that is given up: at the earliest beginning of another that is found from the
/// end of the file; `None` if there is none.
pub(super) fn end_of_endless(file: &dyn LogFile, from: u64, end: u64) -> io::Result<Option<u64>> {
    let mut next = None;
    walk_back(file, end, &mut |offset, _| {
        let is_behind = offset > from;
        if is_behind {
            next = Some(offset);
        }
        is_behind
    })?;
    Ok(next)
}

struct Search<'a> {
    query: &'a Query,
    found: usize,
    /// How many bytes of events in a row were too old.
    too_old: u64,
}

impl Search<'_> {
    fn is_wanted(&mut self, line: &[u8]) -> bool {
        // What is no event says nothing of the time.
        let Some(entry) = Entry::parse(line) else { return false };
        if !self.query.is_new_enough(&entry) {
            self.too_old += line.len() as u64 + 1;
            return false;
        }
        self.too_old = 0;
        let wanted = self.query.wants(&entry);
        self.found += usize::from(wanted);
        wanted
    }

    fn is_over(&self) -> bool {
        self.too_old >= ENOUGH || self.query.last.is_some_and(|last| self.found >= last)
    }
}

/// How a walk back through a file has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Walk {
    /// At its beginning.
    Whole,
    /// It was told to stop.
    Stopped,
    /// At a line without an end.
    GaveUp,
}

/// Shows the lines of a file up to `end`, the last one first, each with its place; until it is told to stop. Lines longer
/// than [`LONGEST`] are left out, and one that is longer than [`ENDLESS`] with all before it.
fn walk_back(file: &dyn LogFile, mut end: u64, show: &mut dyn FnMut(u64, &[u8]) -> bool) -> io::Result<Walk> {
    // The end of a line that begins further back; and where that line ends.
    let (mut rest, mut line_end) = (Some(Vec::new()), end);
    while end > 0 {
        if line_end - end > ENDLESS {
            return Ok(Walk::GaveUp);
        }
        let start = end.saturating_sub(BLOCK);
        let mut block = vec![0; (end - start) as usize];
        let read = read_full(file, &mut block, start)?;
        // It may have been cut off meanwhile.
        block.truncate(read);
        let mut upto = block.len();
        while let Some(newline) = block[..upto].iter().rposition(|byte| *byte == b'\n') {
            let line = joined(&block[newline + 1..upto], rest.replace(Vec::new()));
            if line.is_some_and(|line| !show(start + newline as u64 + 1, &line)) {
                return Ok(Walk::Stopped);
            }
            (upto, line_end) = (newline, start + newline as u64);
        }
        rest = joined(&block[..upto], rest);
        end = start;
    }
    Ok(if rest.is_none_or(|line| show(0, &line)) { Walk::Whole } else { Walk::Stopped })
}

/// A line's beginning and its rest; `None` if that is too long, or was already.
fn joined(beginning: &[u8], rest: Option<Vec<u8>>) -> Option<Vec<u8>> {
    let rest = rest?;
    (beginning.len() + rest.len() <= LONGEST).then(|| [beginning, &rest].concat())
}

/// Fills the buffer as far as the file goes.
pub(super) fn read_full(file: &dyn LogFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// A file in memory, which counts what is read of it.
    struct Counted(Vec<u8>, Arc<AtomicU64>);

    impl LogFile for Counted {
        fn inode(&self) -> u64 {
            0
        }

        fn size(&self) -> io::Result<u64> {
            Ok(self.0.len() as u64)
        }

        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            let rest = self.0.get(offset as usize..).unwrap_or_default();
            let read = rest.len().min(buffer.len());
            buffer[..read].copy_from_slice(&rest[..read]);
            self.1.fetch_add(read as u64, Ordering::Relaxed);
            Ok(read)
        }
    }

    /// An event `second` seconds after the first.
    fn line(second: i64) -> String {
        let ts = "2026-11-24T00:00:00Z".parse::<jiff::Timestamp>().unwrap();
        let ts = ts + jiff::SignedDuration::from_secs(second);
        format!("{{\"ts\":\"{ts}\",\"event\":\"acquire\",\"name\":\"n{}\",\"owner\":\"ada\"}}\n", second % 7)
    }

    fn since(second: i64) -> Query {
        Query {
            since: Some(Entry::parse(line(second).trim().as_bytes()).unwrap().fields.ts),
            ..Query::default()
        }
    }

    /// Files with this content, oldest first; and what is read of them.
    fn files(contents: &[&str]) -> (Vec<Box<dyn LogFile>>, Arc<AtomicU64>) {
        let read = Arc::<AtomicU64>::default();
        let file =
            |text: &&str| Box::new(Counted(text.as_bytes().to_vec(), Arc::clone(&read))) as Box<dyn LogFile>;
        (contents.iter().map(file).collect(), read)
    }

    fn begin(files: &[Box<dyn LogFile>], query: &Query) -> Vec<u64> {
        let ends: Vec<u64> = files.iter().map(|file| file.size().unwrap()).collect();
        super::begin(files, &ends, query).unwrap().offsets
    }

    fn lines(seconds: impl IntoIterator<Item = i64>) -> String {
        seconds.into_iter().map(line).collect()
    }

    #[test]
    fn the_last_hour_of_a_million_events_is_read_from_the_end() {
        let log = lines(0..1_000_000);
        let (files, read) = files(&[&log]);
        let begins = begin(&files, &since(999_960));
        assert_eq!(&log[begins[0] as usize..], lines(999_960..1_000_000));
        let read = read.load(Ordering::Relaxed);
        assert!(read <= BLOCK + ENOUGH + BLOCK, "{read} bytes of {} were read", log.len());
    }

    #[test]
    fn the_last_events_of_a_million_are_read_from_the_end() {
        let log = lines(0..1_000_000);
        let (files, read) = files(&[&log]);
        let query = Query { last: Some(20), names: vec!["n3".to_owned()], ..Query::default() };
        let found = &log[begin(&files, &query)[0] as usize..];
        assert_eq!(found.matches("\"n3\"").count(), 20);
        assert!(
            found.starts_with(&line(999_862)[..40]),
            "it begins with the first that is wanted: {found:.90}"
        );
        assert!(read.load(Ordering::Relaxed) <= BLOCK);
    }

    #[test]
    fn a_clock_that_was_set_back_hides_nothing_within_a_block() {
        // Between the two, less than a block of events that are too old.
        let log = lines((0..100).chain(5_000..5_010).chain(200..600).chain(5_010..5_020));
        assert!(lines(200..600).len() < ENOUGH as usize);
        let (files, _) = files(&[&log]);
        let begins = begin(&files, &since(5_000));
        assert!(log[begins[0] as usize..].starts_with(&line(5_000)));
    }

    #[test]
    fn what_is_no_event_does_not_end_the_search() {
        let garbage = format!("{}\n{}\n", "x".repeat(3 * LONGEST), "\0\n".repeat(100_000));
        let log = lines(0..10) + &garbage + &lines(10..20);
        let (files, _) = files(&[&log]);
        assert_eq!(begin(&files, &since(5)), [lines(0..5).len() as u64]);
    }

    #[test]
    fn a_line_without_an_end_is_given_up_soon() {
        let endless = "x".repeat(ENDLESS as usize * 3);
        let log = format!("{}{endless}\n{}{endless}\n{}", lines(0..10), lines(10..20), lines(20..30));
        let (files, read) = files(&[&lines(0..1), &log]);
        let ends: Vec<u64> = files.iter().map(|file| file.size().unwrap()).collect();
        let begins = super::begin(&files, &ends, &since(0)).unwrap();
        let last = (log.len() - lines(20..30).len()) as u64;
        assert_eq!(begins, Begins { offsets: vec![0, last], gave_up: true });
        assert!(read.swap(0, Ordering::Relaxed) <= ENDLESS + 3 * BLOCK);
        let first = lines(0..10).len() as u64;
        assert_eq!(end_of_endless(files[1].as_ref(), first + 5, ends[1]).unwrap(), Some(last));
        assert!(read.load(Ordering::Relaxed) <= ENDLESS + 3 * BLOCK);
        let within = first + endless.len() as u64 - 5;
        let second = last - lines(10..20).len() as u64 - 1 - endless.len() as u64;
        let end = second + lines(10..20).len() as u64;
        assert_eq!(end_of_endless(files[1].as_ref(), within, end).unwrap(), Some(second), "it does end");
        assert_eq!(end_of_endless(files[1].as_ref(), 5, first + ENDLESS + 2 * BLOCK).unwrap(), None);
    }

    #[test]
    fn a_search_goes_on_in_the_file_before() {
        let (old, middle, new) = (lines(0..100), lines(100..120), lines(120..130));
        let (files, _) = files(&[&old, &middle, &new]);
        let at = |second| begin(&files, &since(second));
        assert_eq!(at(90), [lines(0..90).len() as u64, 0, 0]);
        assert_eq!(at(100), [old.len() as u64, 0, 0]);
        assert_eq!(at(125), [old.len() as u64, middle.len() as u64, lines(120..125).len() as u64]);
        assert_eq!(at(999), [old.len() as u64, middle.len() as u64, new.len() as u64]);
        assert_eq!(begin(&files, &Query::default()), [0, 0, 0]);
    }

    #[test]
    fn every_line_is_shown_wherever_the_blocks_end() {
        for pad in [0, 1, 37, BLOCK as usize - 1, BLOCK as usize, BLOCK as usize + 1] {
            let text = format!("{}\na\n\nbc\n{}\nunended", "y".repeat(pad), "z".repeat(2 * BLOCK as usize));
            let (files, _) = files(&[&text]);
            let mut shown = Vec::new();
            walk_back(files[0].as_ref(), text.len() as u64, &mut |offset, line| {
                assert!(text.as_bytes()[offset as usize..].starts_with(line));
                shown.push(String::from_utf8(line.to_vec()).unwrap());
                true
            })
            .unwrap();
            shown.reverse();
            assert_eq!(shown, text.split('\n').collect::<Vec<_>>());
        }
    }
}
