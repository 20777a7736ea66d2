//! The log, read: what there is, and then what comes, wherever it is.

use std::collections::VecDeque;
use std::io;

use super::entry::{Entry, Query};
use crate::Error;

/// Where the lines of a log come from.
pub trait Source: Send {
    /// Looks what has come since the last look.
    fn look_again(&mut self) -> io::Result<()>;

    /// Reads on and shows some lines, `None` for one that is too long; `false` if there is nothing more.
    fn read_on(&mut self, show: &mut dyn FnMut(Option<&[u8]>)) -> io::Result<bool>;

    /// Whether a line was given up as it did not end, so that events beside it may be missing.
    fn gave_up(&self) -> bool {
        false
    }
}

/// The events that a [`Query`] wants, in the order of the log: an iterator over what there is now; after
/// [`look_again`](Self::look_again), over what has come since.
///
/// A line that is no event is left out, and counted.
pub struct Reading {
    /// `None` after it has failed.
    source: Option<Box<dyn Source>>,
    query: Query,
    ready: VecDeque<Entry>,
    malformed: u64,
}

impl Reading {
    /// Reads what comes from `source`.
    pub(crate) fn of(source: Box<dyn Source>, query: Query) -> Self {
        Self { source: Some(source), query, ready: VecDeque::new(), malformed: 0 }
    }

    /// How many lines were read so far that are no events.
    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    /// Whether a line was given up that did not end: events beside it may be missing.
    pub fn gave_up(&self) -> bool {
        self.source.as_ref().is_some_and(|source| source.gave_up())
    }

    /// Looks what has come since the last look: the iterator goes on with it. A look costs a few system calls.
    ///
    /// # Errors
    ///
    /// The log can't be read.
    pub fn look_again(&mut self) -> Result<(), Error> {
        self.source.as_mut().map_or(Ok(()), |source| source.look_again()).map_err(Error::log)
    }

    /// Reads on; `false` if there is nothing more.
    fn fill(&mut self) -> io::Result<bool> {
        let (query, ready, malformed) = (&self.query, &mut self.ready, &mut self.malformed);
        let Some(source) = &mut self.source else {
            return Ok(false);
        };
        source.read_on(&mut |line| match line.map(Entry::parse) {
            Some(Some(entry)) if query.wants(&entry) => ready.push_back(entry),
            Some(Some(_)) => {}
            Some(None) | None => *malformed += 1,
        })
    }
}

impl Iterator for Reading {
    type Item = Result<Entry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                return Some(Ok(entry));
            }
            match self.fill() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    // Not for ever the same error.
                    self.source = None;
                    return Some(Err(Error::log(error)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::FILE;
    use super::super::back::LONGEST;
    use super::*;
    use crate::Locks;
    use crate::host::{Host, Identity, ROTATED, UnixHost};
    use std::fs;
    use std::path::PathBuf;
    use std::sync::Arc;

    const NONE: [usize; 0] = [];

    struct Root(tempfile::TempDir, Arc<UnixHost>);

    impl Root {
        /// A root whose log is rotated at `size` bytes.
        fn new(size: u64) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let host = UnixHost::new(dir.path().to_owned()).with_log_limit(size * (ROTATED as u64 + 1));
            Self(dir, Arc::new(host))
        }

        fn file(&self, age: usize) -> PathBuf {
            self.0.path().join(if age == 0 { FILE.to_owned() } else { format!("{FILE}.{age}") })
        }

        fn write(&self, numbers: impl IntoIterator<Item = usize>) {
            numbers.into_iter().for_each(|number| self.1.append(FILE, line(number).as_bytes()).unwrap());
        }

        fn read(&self, query: Query) -> Reading {
            let host = Arc::clone(&self.1) as Arc<dyn Host>;
            Locks::with_host(host, Identity::current(), Arc::new(|_| {})).audit(query).unwrap()
        }
    }

    /// An event of 64 bytes, its line break included.
    fn line(number: usize) -> String {
        format!("{{\"ts\":\"2026-11-24T12:00:00Z\",\"name\":\"{number:06}\",\"pad\":\"123456789\"}}\n")
    }

    fn numbers(reading: &mut Reading) -> Vec<usize> {
        reading.map(|entry| entry.unwrap().fields.name.parse().unwrap()).collect()
    }

    fn from_now_on() -> Query {
        Query { last: Some(0), ..Query::default() }
    }

    #[test]
    fn what_is_there_is_read_across_the_files_and_then_what_comes() {
        let root = Root::new(4 * 64);
        let mut reading = root.read(Query::default());
        assert_eq!(numbers(&mut reading), NONE, "there is no log yet");
        root.write(0..10);
        assert_eq!(numbers(&mut root.read(Query::default())), (0..10).collect::<Vec<_>>());
        assert_eq!(
            numbers(&mut root.read(Query { last: Some(7), ..Query::default() })),
            [3, 4, 5, 6, 7, 8, 9]
        );
        reading.look_again().unwrap();
        assert_eq!(numbers(&mut reading), (0..10).collect::<Vec<_>>(), "and it was followed");
        reading.look_again().unwrap();
        assert_eq!(numbers(&mut reading), NONE, "nothing twice");
    }

    #[test]
    fn several_rotations_between_two_looks_are_followed() {
        let root = Root::new(4 * 64);
        root.write(0..3);
        let mut reading = root.read(from_now_on());
        assert_eq!(numbers(&mut reading), NONE);
        // 3, 4..8, 8..12, 12..14: three rotations.
        root.write(3..14);
        assert!(root.file(3).exists());
        reading.look_again().unwrap();
        assert_eq!(numbers(&mut reading), (3..14).collect::<Vec<_>>());
        for next in 14..100 {
            root.write([next]);
            reading.look_again().unwrap();
            assert_eq!(numbers(&mut reading), [next]);
        }
    }

    #[test]
    fn more_rotations_than_files_are_kept_leave_what_is_kept() {
        let root = Root::new(4 * 64);
        root.write(0..2);
        let mut reading = root.read(from_now_on());
        root.write(2..101);
        reading.look_again().unwrap();
        // The rest of the file that it had open, and the four that there are now.
        let expected: Vec<usize> = (2..4).chain(88..101).collect();
        assert_eq!(numbers(&mut reading), expected);
        root.write([101]);
        reading.look_again().unwrap();
        assert_eq!(numbers(&mut reading), [101]);
    }

    #[test]
    fn a_line_that_comes_late_into_a_rotated_file_is_not_missed() {
        let root = Root::new(4 * 64);
        let mut reading = root.read(from_now_on());
        root.write(0..6);
        reading.look_again().unwrap();
        assert_eq!(numbers(&mut reading), [0, 1, 2, 3, 4, 5]);
        let mut late = fs::OpenOptions::new().append(true).open(root.file(1)).unwrap();
        io::Write::write_all(&mut late, line(77).as_bytes()).unwrap();
        root.write([6]);
        reading.look_again().unwrap();
        assert_eq!(numbers(&mut reading), [77, 6]);
    }

    #[test]
    fn a_line_is_read_once_it_is_whole() {
        let root = Root::new(1 << 20);
        root.write([0]);
        let mut reading = root.read(from_now_on());
        let text = line(1);
        let mut file = fs::OpenOptions::new().append(true).open(root.file(0)).unwrap();
        for (piece, read) in
            [(&text[..30], vec![]), (&text[30..63], vec![1]), ("\n", vec![]), (&line(2), vec![2])]
        {
            io::Write::write_all(&mut file, piece.as_bytes()).unwrap();
            reading.look_again().unwrap();
            assert_eq!(numbers(&mut reading), read, "{piece:?}");
        }
        assert_eq!(reading.malformed(), 0);
    }

    #[test]
    fn what_is_no_event_is_left_out_and_counted() {
        let root = Root::new(u64::MAX / 8);
        let long = "x".repeat(3 * LONGEST);
        let text = [&line(0), "\n", "no event\n", &long, "\n", &line(1), "\0\0\n", &line(2), "half"].concat();
        fs::write(root.file(0), text).unwrap();
        let mut reading = root.read(Query::default());
        assert_eq!(numbers(&mut reading), [0, 1, 2]);
        assert_eq!(reading.malformed(), 3);
    }

    #[test]
    fn a_line_without_an_end_is_given_up_and_what_stands_beside_it_is_read() {
        let root = Root::new(u64::MAX / 8);
        fs::write(root.file(1), line(0)).unwrap();
        fs::write(root.file(0), line(1)).unwrap();
        let mut file = fs::OpenOptions::new().append(true).open(root.file(0)).unwrap();
        // It takes no room, but hours to be read.
        file.set_len(100 << 40).or_else(|_| file.set_len(100 << 30)).unwrap();
        let mut endless = root.read(Query::default());
        assert_eq!(numbers(&mut endless), [0, 1]);
        io::Write::write_all(&mut file, format!("\n{}{}", line(2), line(3)).as_bytes()).unwrap();
        endless.look_again().unwrap();
        assert_eq!(numbers(&mut endless), [2, 3], "it was followed");
        assert!(endless.gave_up());
        for (last, found, gave_up) in
            [(None, &[0, 1, 2, 3][..], true), (Some(9), &[0, 2, 3], true), (Some(2), &[2, 3], false)]
        {
            let mut reading = root.read(Query { last, ..Query::default() });
            assert_eq!(numbers(&mut reading), found, "{last:?}");
            assert_eq!((reading.gave_up(), reading.malformed()), (gave_up, 0), "{last:?}");
        }
    }

    #[test]
    fn a_log_that_was_emptied_or_removed_goes_on() {
        let root = Root::new(1 << 20);
        root.write(0..5);
        let mut reading = root.read(from_now_on());
        fs::write(root.file(0), "").unwrap();
        root.write([5]);
        reading.look_again().unwrap();
        assert_eq!(numbers(&mut reading), [5]);
        fs::remove_file(root.file(0)).unwrap();
        reading.look_again().unwrap();
        assert_eq!(numbers(&mut reading), NONE);
        root.write([6, 7]);
        reading.look_again().unwrap();
        assert_eq!(numbers(&mut reading), [6, 7]);
    }

    #[test]
    fn a_follower_of_many_writers_misses_nothing_and_has_nothing_twice() {
        // Rotated often; but never so often between two looks that a file falls away unseen, or while a writer sleeps
        // between opening the file and writing into it.
        const WRITERS: usize = 4;
        const EACH: usize = 500;
        const BURST: usize = 25;
        let root = Root::new(20 * 64);
        let mut reading = root.read(from_now_on());
        let mut found = Vec::new();
        let (may, go) = std::sync::mpsc::sync_channel::<()>(0);
        let (written, all_written) = std::sync::mpsc::channel();
        let go = std::sync::Mutex::new(go);
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (root, go, written) = (&root, &go, written.clone());
                scope.spawn(move || {
                    for number in 0..EACH {
                        go.lock().unwrap().recv().unwrap();
                        root.write([writer * EACH + number]);
                        written.send(()).unwrap();
                    }
                });
            }
            for turn in 0..WRITERS * EACH {
                may.send(()).unwrap();
                if turn % BURST == BURST - 1 {
                    all_written.iter().take(BURST).for_each(drop);
                }
                if turn % 5 == 0 {
                    reading.look_again().unwrap();
                    found.extend(numbers(&mut reading));
                }
            }
        });
        reading.look_again().unwrap();
        found.extend(numbers(&mut reading));
        found.sort_unstable();
        assert_eq!(found, (0..WRITERS * EACH).collect::<Vec<_>>());
        assert!(root.file(3).exists(), "it was rotated");
    }
}
