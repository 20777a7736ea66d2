//! A view that is drawn again and again in the same place, until a key or a signal ends it.
//!
//! On a terminal it has the alternate screen, so that what stood there before stands there afterwards, however the view
//! ends. Elsewhere it is one text after the other.

use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::process::Signal;
use rustix::stdio::{stdin, stdout};
use rustix::termios::{LocalModes, OptionalActions, Termios, isatty, tcgetattr, tcsetattr};

use super::exit::Exit;
use super::output::draw_soon;
use super::screen::{in_foreground, is_able};
use crate::host::clock::monotonic;
use crate::host::signals::{Signals, asks_to_end};

/// The alternate screen, empty, without a cursor, and nothing wraps.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[H\x1b[2J";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// How long a terminal may take nothing that was told to hold (Ctrl-S): signals are to be attended to meanwhile.
const PATIENCE: Duration = Duration::from_millis(100);

/// The view, and what it has to put back.
pub(super) struct Live<'a> {
    signals: &'a Signals,
    /// It is drawn in place.
    pub(super) in_place: bool,
    /// The terminal is ours.
    entered: bool,
    /// How keys were read before.
    keys: Option<Termios>,
}

impl<'a> Live<'a> {
    pub(super) fn new(signals: &'a Signals) -> Self {
        Self { signals, in_place: is_able(stdout()), entered: false, keys: None }
    }

    /// Draws the lines in place of what was drawn before; not in the background, where the screen is somebody else's.
    pub(super) fn draw(&mut self, lines: &str) -> Result<(), Exit> {
        if in_foreground(stdout()) == Some(false) {
            self.leave();
            return Ok(());
        }
        if self.enter()? {
            draw_soon(&instead(lines), PATIENCE)?;
        }
        Ok(())
    }

    /// Sleeps until it is time to draw again.
    ///
    /// # Errors
    ///
    /// How the view ends: by `q`, by a signal, or because nobody sees it any more.
    pub(super) fn pause(&mut self, interval: Duration) -> Result<(), Exit> {
        let until = monotonic().saturating_add(interval);
        while monotonic() < until {
            let (out, keys) = (stdout(), stdin());
            // An error of the other end comes unasked.
            let mut others = vec![PollFd::new(&out, PollFlags::empty())];
            others.extend(self.keys.as_ref().map(|_| PollFd::new(&keys, PollFlags::IN)));
            let came = self.signals.wait_or(Some(until), &others);
            if self.obey_signals()? {
                break;
            }
            if came[0].intersects(PollFlags::ERR | PollFlags::HUP) {
                return Err(Exit::Ok);
            }
            if came.get(1).is_some_and(|came| !came.is_empty()) {
                self.obey_key()?;
            }
        }
        Ok(())
    }

    /// Whether it is to be drawn anew at once.
    fn obey_signals(&mut self) -> Result<bool, Exit> {
        let came = self.signals.take();
        if let Some(end) = came.iter().find(|came| asks_to_end(came.signal)) {
            return Err(Exit::Signal(end.signal.as_raw()));
        }
        let has = |signal| came.iter().any(|came| came.signal == signal);
        if has(Signal::TSTP) {
            self.leave();
            self.signals.stop();
        }
        Ok(has(Signal::TSTP) || has(Signal::CONT) || has(Signal::WINCH))
    }

    fn obey_key(&mut self) -> Result<(), Exit> {
        // One at a time: what was typed beyond the end is for the shell.
        let mut key = [0];
        match rustix::io::read(stdin(), &mut key) {
            Ok(1..) if b"qQ".contains(&key[0]) => Err(Exit::Ok),
            Ok(1..) | Err(rustix::io::Errno::INTR) => Ok(()),
            // No keys will come from there any more.
            _ => {
                self.keys = None;
                Ok(())
            }
        }
    }

    /// Takes the terminal; `false` if that takes nothing at the moment.
    fn enter(&mut self) -> Result<bool, Exit> {
        if !self.entered {
            self.entered = draw_soon(ENTER, PATIENCE)?;
            let has_keys = self.entered && isatty(stdin()) && in_foreground(stdin()) != Some(false);
            self.keys = has_keys.then(key_by_key).flatten();
        }
        Ok(self.entered)
    }

    fn leave(&mut self) {
        if !std::mem::take(&mut self.entered) {
            return;
        }
        if let Some(modes) = self.keys.take() {
            let _ = tcsetattr(stdin(), OptionalActions::Now, &modes);
        }
        // Whoever took the terminal away does not need it put back.
        let _ = draw_soon(LEAVE, PATIENCE);
    }
}

impl Drop for Live<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

/// The lines in place of what the terminal shows. What stood there goes before a line comes and not after it: behind one
/// as wide as the terminal the cursor still stands on its last character.
fn instead(lines: &str) -> String {
    let lines: Vec<&str> = lines.lines().collect();
    let (last, above) = lines.split_last().map_or(("", [].as_slice()), |(last, above)| (*last, above));
    let above: String = above.iter().map(|line| format!("\x1b[K{line}\r\n")).collect();
    format!("\x1b[H{above}\x1b[J{last}")
}

/// Lets keys be read as they are typed, and not shown; returns how it was before.
fn key_by_key() -> Option<Termios> {
    let before = tcgetattr(stdin()).ok()?;
    let mut modes = before.clone();
    modes.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
    tcsetattr(stdin(), OptionalActions::Now, &modes).ok()?;
    Some(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_erased_behind_what_was_drawn() {
        assert_eq!(instead("one\ntwo\nthree"), "\x1b[H\x1b[Kone\r\n\x1b[Ktwo\r\n\x1b[Jthree");
        assert_eq!(instead(""), "\x1b[H\x1b[J");
    }
}
