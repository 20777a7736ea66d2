//! This machine: files, clocks, processes, signals. Elsewhere only a guard has effects, on its command and its terminal,
//! and the store on an etcd cluster, by its connections.
//!
//! [`Host`] is everything that the lock asks of the machine it runs on, as few and as small operations as will
//! do. The real one is [`UnixHost`]; tests put another in its place, to choose the instant at which something
//! happens, or the time. Nothing here knows a rule of the protocol.

pub(crate) mod clock;
mod dirs;
mod failure;
mod files;
mod filesystem;
mod flock;
pub(crate) mod fork;
mod identity;
mod log;
pub(crate) mod mask;
pub(crate) mod platform;
mod probe;
pub(crate) mod process;
mod program;
mod project;
pub(crate) mod rival;
mod root;
#[cfg(feature = "etcd")]
mod runtime;
mod session_file;
pub(crate) mod signals;
mod stream;
mod survey;
mod unix;

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

pub(crate) use dirs::basename;
pub(crate) use failure::{is_full, shortage_of};
pub(crate) use files::{hidden_by, stripe_file};
pub(crate) use filesystem::{FileSystem, Reach};
pub use identity::Identity;
#[cfg(feature = "etcd")]
pub(crate) use identity::environment_path;
pub(crate) use identity::{environment, group_called, me_called, user_called};
pub(crate) use log::{ROTATED, ROTATOR};
pub(crate) use probe::{Scratch, TRIALS};
pub(crate) use program::{Program, missing_interpreter};
pub(crate) use project::{Project, ScriptFile};
pub(crate) use rival::Fault;
pub use root::{Root, RootSource};
#[cfg(feature = "etcd")]
pub(crate) use runtime::runtime_dir;
pub(crate) use stream::{have_room, write_soon};
pub(crate) use survey::{Entry, Place, Survey, What};
pub use unix::UnixHost;

use crate::protocol::{Name, Now};
pub use crate::protocol::{ProcessState, SessionState};

/// A directory of the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dir<'a> {
    /// The root itself.
    Root,
    /// Records: `<name>.json`.
    Locks,
    /// Freezes: `<name>.json`.
    Freezes,
    /// Liveness and doorbell of each session: `<name>.<lock_id>`.
    Sessions,
    /// The mutexes, which are never removed.
    Stripes,
    /// The lines: a directory for each name that is waited for.
    Lines,
    /// The tickets of those who wait for one name: `<number>.<lock_id>`.
    Line(&'a Name),
    /// Those who hold a name together: a directory for each such name.
    Holders,
    /// The records of those who hold one name together: `<lock_id>.json`.
    HoldersOf(&'a Name),
}

impl Dir<'static> {
    /// Those that stand in the root itself.
    pub(crate) const OF_A_ROOT: [Self; 6] =
        [Self::Locks, Self::Freezes, Self::Sessions, Self::Stripes, Self::Lines, Self::Holders];
}

/// A file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// At most as many bytes as were asked for.
    pub bytes: Vec<u8>,
    /// Whether there is more.
    pub truncated: bool,
    /// Time since it was last written, by the wall clock; zero if that lies in the (near) future.
    pub age: Duration,
}

/// How [`Host::publish`] puts a file in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publish {
    /// Fails with [`io::ErrorKind::AlreadyExists`] if something stands there.
    New,
    /// Replaces what stands there.
    Replace,
}

/// In what [`Host::publish`] writes a file before it puts it in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Draft<'a> {
    /// A new file beside the mutex of this number, which the caller holds.
    New(usize),
    /// A file of the caller's own that is of no use any more where it is: it need not be removed there, and another
    /// made.
    Used(Dir<'a>, &'a str),
}

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// The bell was rung.
    Rung,
    /// The time came.
    Timeout,
    /// The other descriptor became readable.
    Interrupted,
}

/// A mutex could not be had in time.
#[derive(Debug)]
pub struct MutexBusy {
    /// Who has it, as far as can be told.
    pub holder: Option<String>,
}

impl fmt::Display for MutexBusy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the lock directory's mutex is busy")?;
        match &self.holder {
            Some(holder) => write!(f, ": {holder} has it"),
            None => Ok(()),
        }
    }
}

/// Why [`Host::lock_stripe`] failed.
#[derive(Debug)]
pub enum StripeError {
    /// Somebody else has it, for longer than was to be waited.
    Busy(MutexBusy),
    /// The file can't be had.
    Io(io::Error),
}

/// A mutex that is held: no other process runs a transition of its names. Dropping it releases it.
///
/// Its file also holds a few bytes of state (the token counter of its names).
pub trait Stripe {
    /// The file's content.
    ///
    /// # Errors
    ///
    /// Whatever the file system says.
    fn read(&self) -> io::Result<Vec<u8>>;

    /// Overwrites the content in place; with `sync`, returns once it would survive a power cut.
    ///
    /// # Errors
    ///
    /// Whatever the file system says.
    fn write(&mut self, content: &[u8], sync: bool) -> io::Result<()>;
}

/// A session's own file: its flock says that the session lives, and whoever has news for it rings it.
///
/// The flock belongs to the open file description: a command that inherits the descriptor keeps the session
/// alive when its guard is killed, and [`release`](Self::release) ends it for all who inherited it.
pub trait SessionFile: Send + Sync {
    /// Sleeps until somebody rings, the monotonic clock reaches `until`, or `also` is readable.
    fn wait(&self, until: Option<Duration>, also: Option<BorrowedFd<'_>>) -> Wake;

    /// Wakes whoever sleeps in [`wait`](Self::wait), now or next.
    fn ring(&self);

    /// Ends the session's liveness, whoever else still holds the descriptor.
    fn release(&self);

    /// Its inode number: what tells it from any other file that may come to stand in its place.
    fn inode(&self) -> u64;

    /// The descriptor that the command inherits.
    fn descriptor(&self) -> Option<BorrowedFd<'_>>;
}

/// A file of the log, open to be read at any place: it stays this one, whatever it is renamed to.
pub trait LogFile: Send {
    /// Its inode number: what tells it from any other that exists meanwhile.
    fn inode(&self) -> u64;

    /// How many bytes it has now.
    ///
    /// # Errors
    ///
    /// Whatever the file system says.
    fn size(&self) -> io::Result<u64>;

    /// Reads what there is at `offset`, as far as it fits.
    ///
    /// # Errors
    ///
    /// Whatever the file system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

/// A thread that [`Host::spawn`] started.
pub trait Running: Send + Sync {
    /// Waits for its end, however it comes.
    fn join(self: Box<Self>);

    /// Whether it is the one that asks.
    fn is_current(&self) -> bool;
}

/// What the lock asks of its machine.
pub trait Host: Send + Sync + 'static {
    /// All clocks, read together.
    fn now(&self) -> Now;

    /// Whether only this machine's kernel can have the root's files open: `false` for network file systems,
    /// and whenever in doubt.
    fn is_local(&self) -> bool;

    /// Creates the directories of the root that are missing.
    ///
    /// # Errors
    ///
    /// Whatever the file system says, with the path.
    fn prepare(&self) -> io::Result<()>;

    /// Reads a regular file, following no symlink, blocking on nothing; `None` if there is none.
    ///
    /// # Errors
    ///
    /// Something other than a regular file of the root's users, or whatever the file system says.
    fn read(&self, dir: Dir<'_>, file: &str, at_most: usize) -> io::Result<Option<Content>>;

    /// Puts a file with this content in its place, as a whole or not at all. With `sync`, it survives a power cut.
    ///
    /// # Errors
    ///
    /// Whatever the file system says; then what stood there stands there still, and a draft that was begun is gone.
    /// [`NotFound`](io::ErrorKind::NotFound) if there is no such draft, [`InvalidData`](io::ErrorKind::InvalidData) if
    /// what stands there is not to be written to.
    fn publish(
        &self,
        dir: Dir<'_>,
        file: &str,
        content: &[u8],
        how: Publish,
        sync: bool,
        draft: Draft<'_>,
    ) -> io::Result<()>;

    /// Gives a small file that stands there another content, with no more room on the disk than it has: all of it in one
    /// step, as far as processes can die, be killed or stopped. It may end in line breaks, and it is not synced. Whoever
    /// reads it in this very instant may get some of the old and some of the new.
    ///
    /// # Errors
    ///
    /// Whatever the file system says, and [`StorageFull`](io::ErrorKind::StorageFull) for more than there is room for;
    /// then what stood there stands there still.
    fn overwrite(&self, dir: Dir<'_>, file: &str, content: &[u8]) -> io::Result<()>;

    /// Has a file that stands there outlive a power cut.
    ///
    /// # Errors
    ///
    /// Whatever the file system says; [`NotFound`](io::ErrorKind::NotFound) if there is none.
    fn sync(&self, dir: Dir<'_>, file: &str) -> io::Result<()>;

    /// Removes a file; `false` if there was none. With `sync`, it stays removed after a power cut.
    ///
    /// # Errors
    ///
    /// Whatever the file system says.
    fn remove(&self, dir: Dir<'_>, file: &str, sync: bool) -> io::Result<bool>;

    /// The names in a directory, in no order; none if there is no such directory.
    ///
    /// # Errors
    ///
    /// Whatever the file system says.
    fn list(&self, dir: Dir<'_>) -> io::Result<Vec<String>>;

    /// Creates a directory that belongs to one name; it may be there already. With `sync`, it survives a power cut.
    ///
    /// # Errors
    ///
    /// Whatever the file system says.
    fn make_dir(&self, dir: Dir<'_>, sync: bool) -> io::Result<()>;

    /// Removes a directory that belongs to one name, if it is empty; whether it is gone.
    fn remove_dir(&self, dir: Dir<'_>) -> bool;

    /// Appends one line to a log in the root, in one write; and rotates the log when it has become too large.
    ///
    /// # Errors
    ///
    /// Whatever the file system says; then the line is not in the log, or not all of it.
    fn append(&self, file: &str, line: &[u8]) -> io::Result<()>;

    /// Opens a file of a log: the one that is appended to, or the one that was rotated `age` times; `None` if there
    /// is none.
    ///
    /// # Errors
    ///
    /// Something other than a regular file of the root's users, or whatever the file system says.
    fn open_log(&self, file: &str, age: usize) -> io::Result<Option<Box<dyn LogFile>>>;

    /// Takes a mutex, waiting at most `patience`.
    ///
    /// # Errors
    ///
    /// [`StripeError`].
    fn lock_stripe(&self, stripe: usize, patience: Duration) -> Result<Box<dyn Stripe>, StripeError>;

    /// Creates a session's file, whose flock is held from the first moment at which it can be seen. The caller
    /// holds the mutex `stripe`.
    ///
    /// # Errors
    ///
    /// Whatever the file system says.
    fn create_session(&self, file: &str, stripe: usize) -> io::Result<Box<dyn SessionFile>>;

    /// Looks whether a session lives; if the inode of its file is known, no other counts. Missing is not dead.
    fn probe_session(&self, file: &str, inode: Option<u64>) -> SessionState;

    /// Rings a session's bell, if it listens.
    fn ring_session(&self, file: &str);

    /// Rings a session's bell in a way that can be told from all others.
    fn mark_session(&self, file: &str, mark: u64);

    /// Whether a session has heard that mark, as far as can be told.
    fn has_heard(&self, file: &str, mark: u64) -> bool;

    /// Lets whoever was rung run first, if they share a processor. Linux takes the writer of a pipe for one that is
    /// about to sleep, and has the reader wait for the writer's processor, even if another is idle.
    fn give_way(&self) {}

    /// Rings `bell` once the session `file` is no longer alive. `false` if that can't be told.
    fn watch_session(&self, file: &str, bell: &std::sync::Arc<dyn SessionFile>) -> bool;

    /// Whether a process runs that has this id, and since when.
    fn process(&self, pid: i64) -> ProcessState;

    /// Whether a process is stopped, and so can't take its turn.
    fn is_stopped(&self, pid: i64) -> bool;

    /// Rings `bell` once the process is gone. `false` if that can't be told.
    fn watch_process(&self, pid: i64, bell: &std::sync::Arc<dyn SessionFile>) -> bool;

    /// Where a session's file is, on a machine whose files can be looked at by path.
    fn session_path(&self, file: &str) -> Option<std::path::PathBuf>;

    /// Starts `work` in a thread of its own.
    ///
    /// # Errors
    ///
    /// There can't be one more thread.
    fn spawn(&self, name: &str, work: Box<dyn FnOnce() + Send>) -> io::Result<Box<dyn Running>>;

    /// 16 random bytes.
    fn random(&self) -> [u8; 16];
}
