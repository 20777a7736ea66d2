//! What a demonstration is made of.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use super::canvas::Line;

/// How long something takes that a real program would take longer for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace(pub(super) Duration);

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Everybody for himself.
    Bare,
    /// One at a time.
    Guarded,
}

impl Side {
    /// Both, left first.
    pub(super) const BOTH: [Self; 2] = [Self::Bare, Self::Guarded];

    /// Its place among the two.
    pub(super) fn at(self) -> usize {
        usize::from(self == Self::Guarded)
    }

    /// What it is called.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Bare => "without a lock",
            Self::Guarded => "with lokt guard",
        }
    }
}

/// How far a side is.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    /// Which pieces of the work are done.
    pub(super) done: Vec<bool>,
    /// The piece that each worker is at.
    pub(super) at: Vec<Option<usize>>,
    /// How long it took, or takes so far.
    pub(super) took: Duration,
}

impl Progress {
    /// How many pieces are done.
    pub(super) fn count(&self) -> usize {
        self.done.iter().filter(|done| **done).count()
    }

    /// Whether all are.
    pub(super) fn is_complete(&self) -> bool {
        self.count() == self.done.len()
    }
}

/// Work that is to be seen twice. Piece `p` is the business of worker `p % workers`, in this order.
pub(super) trait Scene {
    /// What is being done, in a line.
    fn title(&self) -> String;

    /// Names of the workers.
    fn workers(&self) -> Vec<String>;

    /// The lock.
    fn lock(&self) -> &'static str;

    /// How many pieces of work there are on each side.
    fn pieces(&self) -> usize;

    /// A worker's pause before a piece.
    fn pause(&self, piece: usize) -> Duration;

    /// Makes a side's directory ready; the command that is to be run there before all others, if any.
    ///
    /// # Errors
    ///
    /// Whatever the file system says.
    fn set_up(&self, dir: &Path) -> std::io::Result<Option<Vec<OsString>>>;

    /// A piece of work: a command, run in the side's directory.
    fn piece(&self, piece: usize, program: &Path) -> Vec<OsString>;

    /// Looks at what there is on a side.
    fn look(&mut self, side: Side, dir: &Path, progress: &Progress);

    /// A side's picture: for both sides as many lines, none wider than `width`.
    fn panel(&self, side: Side, progress: &Progress, width: usize) -> Vec<Line>;

    /// What the signs mean, and what must be said about the work.
    fn legend(&self) -> Vec<Line>;

    /// What came of a side so far, in a few words.
    fn sum(&self, side: Side, progress: &Progress) -> Line;

    /// Another scene.
    fn next(&self) -> &'static str;

    /// Whether the guarded side is as it should be: if not, this program is broken.
    fn kept_its_promise(&self) -> bool;
}
