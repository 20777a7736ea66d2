//! An admission, a renewal and a look, each beside its floor: the file work that it can't do without, by bare system
//! calls.
//!
//! A floor has the calls that the design asks for, and no checks: it trusts every file that it opens, finds what it
//! expects, and knows the bytes to write before. It writes as many of them as lokt does, in the same directories.
//!
//! All of it happens in the machine's temporary directory, and the file system there makes most of the time: on a disk's,
//! to create a file or to replace one costs many times what it does on a tmpfs, to both sides, and what lokt adds counts
//! for less. So only ratios can be compared, of runs on one kind of file system; `TMPDIR` chooses another. Nothing is
//! synced, but for the end of a block of tokens, at each thousandth admission.

#![allow(clippy::expect_used, reason = "a measurement ends at the first surprise")]

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use criterion::Criterion;
use lokt::{LockId, Locks, Name, Session, Terms};
use rustix::fs::{
    AtFlags, CWD, FlockOperation, Mode, OFlags, RenameFlags, flock, fstat, openat, renameat, renameat_with,
    unlinkat,
};
use rustix::io::{Errno, pread, pwrite, read, write};
use tempfile::TempDir;

const NAME: &str = "deploy";
const RECORD: &str = "deploy.json";
const SESSION: &str = "deploy.00112233445566778899aabbccddeeff";

/// As lokt opens every file of its root: nothing planted there may lead elsewhere, make it wait, or be inherited.
const FILE: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);
const NEW: OFlags = FILE.union(OFlags::WRONLY).union(OFlags::CREATE).union(OFlags::EXCL);
const OWN: Mode = Mode::RUSR.union(Mode::WUSR);

/// The counter of tokens has so many bytes.
const COUNTER: usize = 128;

/// A root that lokt has made and used, and how its name is taken.
struct Root {
    dir: TempDir,
    locks: Locks,
    name: Name,
    terms: Terms,
}

impl Root {
    fn new(ttl: Option<Duration>) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let locks = Locks::open(dir.path());
        let root = Self {
            dir,
            locks,
            name: NAME.parse().expect("a name"),
            terms: Terms { ttl, note: Some("release 2.1".into()), ..Terms::default() },
        };
        // What is done once per process or per root is done.
        root.admit().release().expect("a release");
        root
    }

    fn admit(&self) -> Session {
        self.locks.try_acquire(&self.name, &self.terms).expect("an admission")
    }

    /// The floor under it, while `session` holds the name.
    fn floor(&self, session: &Session) -> Floor {
        Floor::of(self.dir.path(), session.lock_id())
    }
}

/// The same root without lokt: its directories, and what lokt has written there.
struct Floor {
    root: OwnedFd,
    locks: OwnedFd,
    sessions: OwnedFd,
    stripes: OwnedFd,
    mutex: String,
    record: Vec<u8>,
    /// The session's file while lokt holds the name.
    session: String,
    /// A line of the log.
    line: Vec<u8>,
}

impl Floor {
    /// Of the root at `path`, while a session of this id holds the name.
    fn of(path: &Path, id: &LockId) -> Self {
        let open = |dir: &str| {
            openat(CWD, path.join(dir), OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                .expect("a directory")
        };
        let mutex = fs::read_dir(path.join("stripes")).expect("mutexes").next().expect("one mutex");
        let log = fs::read(path.join("audit.log")).expect("a log");
        Self {
            root: open("."),
            locks: open("locks"),
            sessions: open("sessions"),
            stripes: open("stripes"),
            mutex: mutex.expect("a mutex").file_name().into_string().expect("a number"),
            record: fs::read(path.join("locks").join(RECORD)).expect("a record"),
            session: format!("{NAME}.{id}"),
            line: log.split_inclusive(|byte| *byte == b'\n').next_back().expect("a line").to_owned(),
        }
    }

    /// From nothing to nothing. Whether the name is free need not be looked at: that is told when the record is placed.
    fn acquire_release(&self) {
        // To decide and to write are one step, for all processes.
        let mutex = self.lock_mutex();
        // A freeze keeps everybody out.
        assert!(is_absent(&self.root, "freezes/deploy.json"));
        // Nobody overtakes who waits.
        assert!(is_absent(&self.root, "lines/deploy"));
        // The token is larger than the last one.
        let mut counter = [0; COUNTER];
        pread(&mutex, &mut counter, 0).expect("a counter");
        pwrite(&mutex, &counter, 0).expect("a counter");
        // The session lives before a record says so.
        let session = self.make_session();
        self.write_temporary();
        renameat_with(&self.stripes, "tmp", &self.locks, RECORD, RenameFlags::NOREPLACE)
            .expect("a free name");
        self.append();
        drop(mutex);

        // Nobody replaces the record between the look at it and its end.
        let mutex = self.lock_mutex();
        // It may be another's by now.
        self.read_record();
        unlinkat(&self.locks, RECORD, AtFlags::empty()).expect("a record");
        self.append();
        drop(mutex);
        unlinkat(&self.sessions, SESSION, AtFlags::empty()).expect("a session");
        // A command that has inherited the descriptor may still have it: to close it would not end the session.
        flock(&session, FlockOperation::Unlock).expect("an end");
    }

    fn renew(&self) {
        // Nobody replaces the record between the look at it and the next one.
        let mutex = self.lock_mutex();
        // It may be another's by now; and what a later version has written into it is kept.
        self.read_record();
        self.write_temporary();
        renameat(&self.stripes, "tmp", &self.locks, RECORD).expect("a place");
        self.append();
        drop(mutex);
    }

    fn read(&self) {
        self.read_record();
        // Only the flock tells whether its holder lives.
        let session = openat(&self.sessions, &self.session, FILE, Mode::empty()).expect("a session");
        assert_eq!(flock(&session, FlockOperation::NonBlockingLockShared), Err(Errno::WOULDBLOCK));
        assert!(is_absent(&self.root, "freezes/deploy.json"));
        assert!(is_absent(&self.root, "lines/deploy"));
    }

    /// Held until it is closed. It is opened each time, as a flock belongs to what one open call has opened: another
    /// thread, or a child, would share it.
    fn lock_mutex(&self) -> OwnedFd {
        let mutex = openat(&self.stripes, &self.mutex, OFlags::RDWR | FILE, Mode::empty()).expect("a mutex");
        flock(&mutex, FlockOperation::NonBlockingLockExclusive).expect("nobody else");
        mutex
    }

    /// It is hidden until its flock is held: who looked at it before would take it for dead, and be in its way.
    fn make_session(&self) -> OwnedFd {
        make_fifo(&self.stripes, "new");
        let session = openat(&self.stripes, "new", OFlags::RDWR | FILE, Mode::empty()).expect("a FIFO");
        flock(&session, FlockOperation::NonBlockingLockExclusive).expect("nobody else");
        renameat_with(&self.stripes, "new", &self.sessions, SESSION, RenameFlags::NOREPLACE)
            .expect("a place");
        session
    }

    /// Records are replaced as a whole: they are read without the mutex.
    fn write_temporary(&self) {
        let file = openat(&self.stripes, "tmp", NEW, OWN).expect("a file");
        assert_eq!(write(&file, &self.record), Ok(self.record.len()));
    }

    /// Its size says how much there is to read, its time whether half a record is still being written.
    fn read_record(&self) {
        let file = openat(&self.locks, RECORD, FILE, Mode::empty()).expect("a record");
        let mut content = vec![0; fstat(&file).expect("a size").st_size as usize];
        assert_eq!(read(&file, &mut content), Ok(content.len()));
    }

    /// Opened each time, as another process may have rotated it.
    fn append(&self) {
        let log = openat(&self.root, "audit.log", OFlags::WRONLY | OFlags::APPEND | FILE, Mode::empty());
        assert_eq!(write(log.expect("a log"), &self.line), Ok(self.line.len()));
    }
}

fn is_absent(root: &OwnedFd, file: &str) -> bool {
    openat(root, file, FILE, Mode::empty()).is_err_and(|error| error == Errno::NOENT)
}

#[cfg(target_os = "linux")]
fn make_fifo(dir: &OwnedFd, file: &str) {
    rustix::fs::mknodat(dir, file, rustix::fs::FileType::Fifo, OWN, 0).expect("a FIFO");
}

/// There it is made by its path.
#[cfg(not(target_os = "linux"))]
fn make_fifo(dir: &OwnedFd, file: &str) {
    let path = rustix::fs::getpath(dir).expect("a path").into_string().expect("a path in Unicode");
    let mode = nix::sys::stat::Mode::S_IRUSR | nix::sys::stat::Mode::S_IWUSR;
    nix::unistd::mkfifo(&Path::new(&path).join(file), mode).expect("a FIFO");
}

/// A strict lock, uncontended and without a heartbeat, taken and released.
fn admissions(criterion: &mut Criterion) {
    let root = Root::new(None);
    let mut group = criterion.benchmark_group("lock");
    group.bench_function("acquire_release", |bencher| {
        bencher.iter(|| root.admit().release().expect("a release"));
    });
    let floor = root.floor(&root.admit());
    group.bench_function("floor", |bencher| bencher.iter(|| floor.acquire_release()));
}

/// A lease renewed.
fn renewals(criterion: &mut Criterion) {
    let root = Root::new(Some(Duration::from_secs(300)));
    let session = root.admit();
    let floor = root.floor(&session);
    let mut group = criterion.benchmark_group("lock");
    group.bench_function("renew", |bencher| bencher.iter(|| session.renew().expect("a renewal")));
    // The record as it is now is replaced by that of the admission, which is the same session's.
    group.bench_function("renew_floor", |bencher| bencher.iter(|| floor.renew()));
}

/// A name that is held, looked at.
fn looks(criterion: &mut Criterion) {
    let root = Root::new(None);
    let session = root.admit();
    let floor = root.floor(&session);
    let mut group = criterion.benchmark_group("lock");
    group.bench_function("read", |bencher| {
        bencher.iter(|| root.locks.status(&root.name).expect("a standing"));
    });
    group.bench_function("read_floor", |bencher| bencher.iter(|| floor.read()));
}

/// Enough for medians that repeat within a few per cent on a quiet machine.
fn quick() -> Criterion {
    Criterion::default()
        .sample_size(50)
        .nresamples(20_000)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
}

fn main() {
    let mut criterion = quick().configure_from_args();
    admissions(&mut criterion);
    renewals(&mut criterion);
    looks(&mut criterion);
    criterion.final_summary();
}
