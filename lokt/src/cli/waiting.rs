//! What a person sees of a wait, and how signals end it.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::process::Signal;
use rustix::termios::isatty;
use unicode_width::UnicodeWidthStr;

use super::output::{rewrite, say_soon};
use super::screen::{columns, cut, in_foreground};
use crate::host::signals::{Came, Signals, asks_to_end};
use crate::protocol::Name;
use crate::wait::{Observer, Progress, WaitControl};
use crate::words;

/// So many looks in a row must have failed, after a second each, before that is said.
const DELAYS: u32 = 3;

/// Tells a person, and listens to signals, while a claim waits.
pub(super) struct Watcher<'a> {
    signals: &'a Signals,
    /// A line is shown, and is to be taken away.
    shown: bool,
    /// For what the wait was said for good, so that its end is worth a word.
    said: Option<Name>,
    /// How often in a row there was something in the way of a look.
    delays: u32,
    /// The signal that ended the wait.
    pub(super) ended_by: Option<Signal>,
}

impl<'a> Watcher<'a> {
    pub(super) fn new(signals: &'a Signals) -> Self {
        Self { signals, shown: false, said: None, delays: 0, ended_by: None }
    }

    /// All that was waited for was got.
    pub(super) fn done(&mut self) {
        self.clear();
        self.got();
    }

    /// What it was said to wait for was got.
    fn got(&mut self) {
        if let Some(name) = self.said.take() {
            say_soon(&format!("got lock \"{name}\""));
        }
    }

    /// The wait is over, or interrupted: its line goes.
    pub(super) fn clear(&mut self) {
        if self.shown {
            self.shown = false;
            rewrite("");
        }
    }

    /// Shows a line in the place of the one before.
    fn draw(&mut self, line: &str) {
        rewrite(&cut(&words::printable(line), room()));
        self.shown = true;
    }

    /// Whether there is a line of the screen that is ours: not in the background, where it is somebody else's.
    fn may_draw(&self) -> bool {
        in_foreground(rustix::stdio::stderr()).unwrap_or_else(|| isatty(rustix::stdio::stderr()))
    }
}

impl Observer for Watcher<'_> {
    fn progress(&mut self, progress: &Progress<'_>) {
        self.delays = 0;
        // A plain try that lets the line go first has nothing to report yet.
        if progress.refusal.is_free() && progress.waited < Duration::from_millis(500) {
            return;
        }
        // One is waited for after the other.
        if self.said.as_ref().is_some_and(|said| said != progress.name) {
            self.got();
        }
        let why = words::refusal(progress.name, progress.refusal, progress.now);
        let place = progress.ahead + 1;
        if self.may_draw() {
            self.draw(&line(progress, &why, room()));
        } else if self.said.is_none() {
            say_soon(&format!("waiting, place {place} in line: {why}"));
            self.said = Some(progress.name.clone());
        }
    }

    fn delayed(&mut self, name: &Name, why: &str, waited: Duration) {
        self.delays += 1;
        // A crowd that comes at once is soon over.
        if self.delays >= DELAYS && self.may_draw() {
            self.draw(&format!("lokt: waiting {} for \"{name}\": {why}", words::elapsed(waited)));
        } else if self.delays == DELAYS {
            say_soon(&format!("waiting for \"{name}\": {why}"));
        }
    }

    fn interrupt(&self) -> Option<BorrowedFd<'_>> {
        Some(self.signals.descriptor())
    }

    fn interval(&self) -> Option<Duration> {
        self.may_draw().then_some(Duration::from_secs(1))
    }

    fn control(&mut self) -> WaitControl {
        let came = self.signals.take();
        let asks = |came: &&Came| asks_to_end(came.signal);
        self.ended_by = came.iter().find(asks).map(|came| came.signal);
        let stop = came.iter().any(|came| came.signal == Signal::TSTP);
        match (self.ended_by, stop) {
            (Some(_), _) => WaitControl::GiveUp,
            (None, true) => WaitControl::StepAside,
            (None, false) => WaitControl::GoOn,
        }
    }

    fn step_aside(&mut self) {
        self.clear();
        self.signals.stop();
    }
}

/// How long a line may be: one that reached the last column would wrap, and could not be rewritten.
fn room() -> usize {
    columns(rustix::stdio::stderr()).saturating_sub(1)
}

/// The line of a wait, in full if there is room for it. What is cut comes last in it: first the note, then who holds the
/// lock, and its name at the very last.
fn line(progress: &Progress<'_>, why: &str, room: usize) -> String {
    let (name, place) = (progress.name, progress.ahead + 1);
    let waited = words::elapsed(progress.waited);
    let whole = format!("lokt: waiting {waited}, place {place} in line: {why}");
    let Some((who, note)) = words::in_brief(progress.refusal, progress.now) else { return whole };
    if whole.width() <= room {
        return whole;
    }
    let place = if place > 1 { format!(", place {place}") } else { String::new() };
    let brief = format!("lokt: waiting {waited} for \"{name}\"{place}: {who}");
    if brief.width() <= room { brief + &note } else { format!("{name}: {who}") }
}
