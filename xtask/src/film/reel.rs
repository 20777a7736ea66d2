//! Screens over time, and which part of them is shown from when to when.

use std::time::Duration;

/// A film: terminals, one above the other.
pub struct Reel {
    pub columns: u16,
    pub panes: Vec<Pane>,
    pub frames: Vec<Frame>,
    pub length: Duration,
    /// What is shown where nothing can move.
    pub poster: Duration,
}

pub struct Pane {
    pub title: String,
    pub rows: u16,
}

/// All screens, from a time on.
pub struct Frame {
    pub at: Duration,
    pub screens: Vec<Screen>,
}

#[derive(Clone, PartialEq, Eq)]
pub struct Screen {
    pub rows: Vec<Vec<Run>>,
    /// Row and column.
    pub cursor: Option<(u16, u16)>,
}

/// Text of one style in one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub column: u16,
    pub width: u16,
    pub text: String,
    pub style: Style,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Style {
    /// One of the sixteen colours of a terminal.
    pub color: Option<u8>,
    pub bold: bool,
    pub dim: bool,
    pub underline: bool,
}

/// From when to when something is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub from: Duration,
    pub to: Duration,
}

impl Span {
    pub fn covers(&self, at: Duration) -> bool {
        self.from <= at && at < self.to
    }
}

impl Reel {
    /// What `part` sees of the frames, one after the other, and from when to when; frames that look the same are
    /// one, and nothing is shown before the first.
    pub fn spans<'a, T: PartialEq>(&'a self, part: impl Fn(&'a Frame) -> T) -> Vec<(Span, T)> {
        let mut spans: Vec<(Span, T)> = Vec::new();
        for (number, frame) in self.frames.iter().enumerate() {
            let from = if number == 0 { Duration::ZERO } else { frame.at };
            let seen = part(frame);
            match spans.last_mut() {
                // Of what happened at one time, the last is what is shown.
                Some((span, last)) if span.from == from => *last = seen,
                Some((_, last)) if *last == seen => {}
                Some((span, _)) => {
                    span.to = from;
                    spans.push((Span { from, to: self.length }, seen));
                }
                None => spans.push((Span { from, to: self.length }, seen)),
            }
        }
        spans
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reel(frames: &[(u64, u16)]) -> Reel {
        let frame = |&(at, column): &(u64, u16)| Frame {
            at: Duration::from_millis(at),
            screens: vec![Screen { rows: Vec::new(), cursor: Some((0, column)) }],
        };
        Reel {
            columns: 80,
            panes: Vec::new(),
            frames: frames.iter().map(frame).collect(),
            length: Duration::from_secs(9),
            poster: Duration::ZERO,
        }
    }

    fn seen(frames: &[(u64, u16)]) -> Vec<(u128, u128, u16)> {
        let column = |frame: &Frame| frame.screens[0].cursor.map_or(0, |(_, column)| column);
        let spans = reel(frames).spans(column);
        spans.into_iter().map(|(span, seen)| (span.from.as_millis(), span.to.as_millis(), seen)).collect()
    }

    #[test]
    fn each_picture_is_shown_until_the_next() {
        assert_eq!(seen(&[(5, 1), (100, 2)]), [(0, 100, 1), (100, 9000, 2)]);
    }

    #[test]
    fn pictures_that_look_the_same_are_one() {
        assert_eq!(seen(&[(0, 1), (50, 1), (100, 2), (200, 2)]), [(0, 100, 1), (100, 9000, 2)]);
    }

    #[test]
    fn of_two_pictures_of_one_time_the_last_is_shown() {
        assert_eq!(seen(&[(0, 1), (100, 2), (100, 3)]), [(0, 100, 1), (100, 9000, 3)]);
    }

    #[test]
    fn a_span_ends_before_the_next_begins() {
        let span = Span { from: Duration::from_secs(1), to: Duration::from_secs(2) };
        let at = |millis| span.covers(Duration::from_millis(millis));
        assert!(!at(999) && at(1000) && at(1999) && !at(2000));
    }
}
