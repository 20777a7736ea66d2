//! What is known of a terminal: how wide it is, whether it takes colour; and text that fits it.

use std::os::fd::AsFd;

use anstyle::{AnsiColor, Style};
use rustix::termios::{isatty, tcgetpgrp, tcgetwinsize};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::host::environment;
use crate::host::signals::job_of;

/// Somebody holds it.
pub(super) const HELD: Style = AnsiColor::Yellow.on_default();
/// It is to be had; all is well.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
/// Something is wrong, or was broken.
pub(super) const BAD: Style = AnsiColor::Red.on_default();
/// It is frozen.
pub(super) const FROZEN: Style = AnsiColor::Cyan.on_default();
/// Beside the point.
pub(super) const DIM: Style = Style::new().dimmed();
/// To be seen first.
pub(super) const STRONG: Style = Style::new().bold();
/// As it is.
pub(super) const PLAIN: Style = Style::new();

/// What text is written for: a terminal of some width, or a file or a program, for which nothing is cut or coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Screen {
    /// The terminal's columns.
    pub(super) columns: Option<usize>,
    /// Whether it takes colour.
    pub(super) colour: bool,
}

impl Screen {
    /// No terminal.
    pub(super) const NONE: Self = Self { columns: None, colour: false };

    /// What stdout is.
    pub(super) fn stdout() -> Self {
        Self::of(rustix::stdio::stdout())
    }

    /// What stderr is.
    pub(super) fn stderr() -> Self {
        Self::of(rustix::stdio::stderr())
    }

    /// Whether it is a terminal.
    pub(super) fn is_terminal(self) -> bool {
        self.columns.is_some()
    }

    /// The same for text that the terminal may wrap: nothing is cut.
    pub(super) fn wrapping(self) -> Self {
        Self { columns: None, ..self }
    }

    /// Colour on a terminal only, and not where `NO_COLOR` asks for none (<https://no-color.org>).
    fn of(stream: impl AsFd) -> Self {
        if !isatty(&stream) {
            return Self::NONE;
        }
        let colour = is_able(&stream) && environment("NO_COLOR").is_none();
        Self { columns: Some(columns(stream)), colour }
    }

    /// `text` in a style, if there is colour.
    pub(super) fn paint(self, style: Style, text: &str) -> String {
        if !self.colour || style == PLAIN || text.is_empty() {
            return text.to_owned();
        }
        format!("{style}{text}{style:#}")
    }
}

/// How wide the terminal is.
pub(super) fn columns(terminal: impl AsFd) -> usize {
    let size = tcgetwinsize(terminal);
    let columns = size.map_or(0, |size| usize::from(size.ws_col));
    // A terminal that does not know has 0.
    if columns == 0 { 80 } else { columns }
}

/// How high the terminal is.
pub(super) fn rows(terminal: impl AsFd) -> usize {
    match tcgetwinsize(terminal).map_or(0, |size| usize::from(size.ws_row)) {
        0 => 24,
        rows => rows,
    }
}

/// Whether we are in the foreground of the terminal; `None` where jobs are not controlled from it.
pub(super) fn in_foreground(terminal: impl AsFd) -> Option<bool> {
    let foreground = tcgetpgrp(terminal).ok()?;
    Some(job_of(0).is_some_and(|(group, _)| group == foreground.as_raw_nonzero().get()))
}

/// Whether the terminal understands more than text: colours, and that its cursor is moved.
pub(super) fn is_able(terminal: impl AsFd) -> bool {
    isatty(terminal) && environment("TERM").is_none_or(|kind| kind != "dumb")
}

/// `text`, cut with an ellipsis to at most `room` columns.
pub(super) fn cut(text: &str, room: usize) -> String {
    let width = |c: char| c.width().unwrap_or(0);
    if text.chars().map(width).sum::<usize>() <= room {
        return text.to_owned();
    }
    let mut used = 1;
    let fits = |c: &char| {
        used += width(*c);
        used <= room
    };
    let kept: String = text.chars().take_while(fits).collect();
    if room == 0 { String::new() } else { kept + "…" }
}

/// `text` and as many spaces as make it `width` columns wide.
pub(super) fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_to_the_room_there_is() {
        assert_eq!(cut("waiting", 7), "waiting");
        assert_eq!(cut("waiting", 6), "waiti…");
        assert_eq!(cut("waiting", 1), "…");
        assert_eq!(cut("waiting", 0), "");
    }

    #[test]
    fn a_wide_character_takes_two_columns_and_is_not_halved() {
        assert_eq!(cut("東京東京", 8), "東京東京");
        assert_eq!(cut("東京東京", 7), "東京東…");
        assert_eq!(cut("東京東京", 6), "東京…");
        assert_eq!(cut("e\u{301}e\u{301}e\u{301}", 3), "e\u{301}e\u{301}e\u{301}");
        assert_eq!(padded("東", 4), "東  ");
    }

    #[test]
    fn there_is_colour_only_where_it_is_taken() {
        let screen = Screen { columns: Some(80), colour: true };
        assert_eq!(screen.paint(BAD, "no"), "\u{1b}[31mno\u{1b}[0m");
        assert_eq!(screen.paint(PLAIN, "no"), "no");
        assert_eq!(Screen::NONE.paint(BAD, "no"), "no");
    }
}
