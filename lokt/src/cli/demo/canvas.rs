//! Lines of styled text, whose width is known.

use anstyle::Style;
use unicode_width::UnicodeWidthStr;

use super::super::screen::{PLAIN, Screen, cut};

/// A line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Line(Vec<(Style, String)>);

impl Line {
    /// A line of text as it is.
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self::default().with(PLAIN, text)
    }

    /// A line of text in a style.
    pub(super) fn styled(style: Style, text: impl Into<String>) -> Self {
        Self::default().with(style, text)
    }

    /// With more text.
    pub(super) fn with(mut self, style: Style, text: impl Into<String>) -> Self {
        let text = text.into();
        match self.0.last_mut() {
            Some((last, before)) if *last == style => before.push_str(&text),
            _ => self.0.push((style, text)),
        }
        self
    }

    /// With the text of another line.
    pub(super) fn followed_by(self, other: Self) -> Self {
        other.0.into_iter().fold(self, |line, (style, text)| line.with(style, text))
    }

    /// Its columns.
    pub(super) fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| text.width()).sum()
    }

    /// Cut, or filled with spaces, to be `width` columns wide.
    pub(super) fn fitted(self, width: usize) -> Self {
        let mut line = Self::default();
        for (style, text) in self.0 {
            let room = width - line.width();
            line = line.with(style, cut(&text, room));
        }
        let space = " ".repeat(width - line.width());
        line.with(PLAIN, space)
    }

    /// As it is written to a terminal, or, without one, to a file.
    pub(super) fn render(&self, screen: Screen) -> String {
        let text: String = self.0.iter().map(|(style, text)| screen.paint(*style, text)).collect();
        text.trim_end().to_owned()
    }
}

/// Two pictures side by side.
pub(super) fn beside(left: Vec<Line>, right: Vec<Line>, width: usize, gap: usize) -> Vec<Line> {
    let height = left.len().max(right.len());
    let (mut left, mut right) = (left.into_iter(), right.into_iter());
    let rows = (0..height).map(|_| {
        let row = left.next().unwrap_or_default().fitted(width).with(PLAIN, " ".repeat(gap));
        row.followed_by(right.next().unwrap_or_default())
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::screen::BAD;
    use super::*;

    #[test]
    fn pictures_stand_side_by_side_whatever_their_height() {
        let left = vec![Line::plain("ab"), Line::styled(BAD, "cdefgh")];
        let right = vec![Line::plain("x"), Line::plain("y"), Line::plain("z")];
        let rows: Vec<String> =
            beside(left, right, 4, 2).iter().map(|line| line.render(Screen::NONE)).collect();
        assert_eq!(rows, ["ab    x", "cde…  y", "      z"]);
    }

    #[test]
    fn colour_takes_no_room() {
        let line = Line::styled(BAD, "no").with(PLAIN, "!");
        assert_eq!(line.width(), 3);
        assert_eq!(line.render(Screen { columns: Some(9), colour: true }), "\u{1b}[31mno\u{1b}[0m!");
    }
}
