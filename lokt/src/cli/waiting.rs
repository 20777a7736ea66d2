//! What a person sees of a wait, and how signals end it.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};
use rustix::termios::{isatty, tcgetwinsize};

use super::output::{rewrite, say};
use crate::host::signals::Signals;
use crate::protocol::{Name, Refusal};
use crate::wait::{Nod, Onlooker, Progress};
use crate::words;

/// Tells a person, and listens to signals, while a claim waits.
pub(super) struct Watcher<'a> {
    signals: &'a Signals,
    on_terminal: bool,
    /// Something was said, so that the end of the wait is worth a word.
    said: bool,
    /// The signal that ended the wait.
    pub(super) ended_by: Option<Signal>,
}

impl<'a> Watcher<'a> {
    pub(super) fn new(signals: &'a Signals) -> Self {
        let on_terminal = isatty(rustix::stdio::stderr());
        Self { signals, on_terminal, said: false, ended_by: None }
    }

    /// The lock was got.
    pub(super) fn done(&mut self, name: &Name) {
        self.clear();
        if self.said {
            say(&format!("got lock \"{name}\""));
        }
    }

    /// The wait is over: its line goes.
    pub(super) fn clear(&mut self) {
        if self.said && self.on_terminal {
            rewrite("");
        }
    }
}

impl Onlooker for Watcher<'_> {
    fn progress(&mut self, progress: &Progress<'_>) {
        // A plain try that lets the line go first has nothing to report yet.
        if matches!(progress.refusal, Refusal::Queued { .. }) && progress.waited < Duration::from_millis(500)
        {
            return;
        }
        let why = words::refusal(progress.name, progress.refusal, progress.now);
        if self.on_terminal {
            let waited = words::elapsed(progress.waited);
            let place = progress.ahead + 1;
            rewrite(&fitted(&format!("lokt: waiting {waited}, place {place} in line: {why}")));
        } else if !self.said {
            say(&format!("waiting, place {} in line: {why}", progress.ahead + 1));
        }
        self.said = true;
    }

    fn interrupt(&self) -> Option<BorrowedFd<'_>> {
        Some(self.signals.descriptor())
    }

    fn interval(&self) -> Option<Duration> {
        self.on_terminal.then_some(Duration::from_secs(1))
    }

    fn nod(&mut self) -> Nod {
        let came = self.signals.take();
        if came.contains(&Signal::TSTP) {
            return Nod::StepAside;
        }
        self.ended_by = came.into_iter().find(|signal| ends(*signal));
        if self.ended_by.is_some() { Nod::GiveUp } else { Nod::GoOn }
    }

    fn step_aside(&mut self) {
        self.clear();
        // Until somebody continues us.
        let _ = kill_process(getpid(), Signal::STOP);
    }
}

fn ends(signal: Signal) -> bool {
    ![Signal::CHILD, Signal::CONT, Signal::TSTP].contains(&signal)
}

/// The line cut to the terminal's width: a longer one would wrap, and could not be rewritten.
fn fitted(line: &str) -> String {
    let columns = tcgetwinsize(rustix::stdio::stderr()).map_or(80, |size| usize::from(size.ws_col).max(20));
    if line.chars().count() < columns {
        return line.to_owned();
    }
    let mut cut: String = line.chars().take(columns - 2).collect();
    cut.push('…');
    cut
}
