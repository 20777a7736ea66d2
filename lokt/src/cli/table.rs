//! A table that fits its terminal: columns as wide as they need to be, and where there is no room for that, what a person
//! needs least gives way first.

use anstyle::Style;
use unicode_width::UnicodeWidthStr;

use super::screen::{DIM, PLAIN, Screen, cut};

/// Between two columns.
const GAP: usize = 2;

/// How a column, by its title, makes room for the others.
#[derive(Debug, Clone, Copy)]
pub(super) enum Give {
    /// It is cut, to no less than that.
    Cut(&'static str, usize),
    /// It is left out.
    Leave(&'static str),
}

/// What stands in one place.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// Text in a style. It must be printable: see [`crate::words::printable`].
    pub(super) fn new(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, PLAIN)
    }
}

/// Columns, and rows of as many cells. A column that is empty in every row is left out.
pub(super) struct Table {
    titles: &'static [&'static str],
    rows: Vec<Vec<Cell>>,
    /// What is done where there is too little room, one thing after the other, until it fits.
    gives: &'static [Give],
}

impl Table {
    /// A table without rows.
    pub(super) fn new(titles: &'static [&'static str], gives: &'static [Give]) -> Self {
        Self { titles, rows: Vec::new(), gives }
    }

    /// Adds a row.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The lines, headings first.
    pub(super) fn render(&self, screen: Screen) -> String {
        let titles = self.titles.iter().map(|title| Cell::new(*title, DIM)).collect();
        let widths = self.widths(screen);
        let mut text = String::new();
        for row in std::iter::once(&titles).chain(&self.rows) {
            text.push_str(&line(row, &widths, screen));
            text.push('\n');
        }
        text
    }

    /// How wide each column is shown; 0 for one that is left out.
    fn widths(&self, screen: Screen) -> Vec<usize> {
        let content = |at: usize| self.rows.iter().filter_map(move |row| row.get(at)).map(|c| c.text.width());
        let full: Vec<usize> = (0..self.titles.len())
            .map(|at| content(at).max().filter(|width| *width > 0).unwrap_or(0))
            .zip(self.titles)
            .map(|(width, title)| if width == 0 { 0 } else { width.max(title.width()) })
            .collect();
        let Some(room) = screen.columns else { return full };
        // One that was cut has its room back once another is left out.
        let mut tries = (0..=self.gives.len()).map(|gives| self.narrowed(&full, &self.gives[..gives], room));
        tries.find(|widths| all_of(widths) <= room).unwrap_or_else(|| self.narrowed(&full, self.gives, room))
    }

    /// The widths, after the columns have given way so, and cut no further than necessary.
    fn narrowed(&self, full: &[usize], gives: &[Give], room: usize) -> Vec<usize> {
        let left_out =
            |title: &str| gives.iter().any(|give| matches!(give, Give::Leave(one) if *one == title));
        let kept = |(width, title): (&usize, &&str)| if left_out(title) { 0 } else { *width };
        let mut widths: Vec<usize> = full.iter().zip(self.titles).map(kept).collect();
        for give in gives {
            let Give::Cut(title, least) = give else { continue };
            let excess = all_of(&widths).saturating_sub(room);
            let of_title = widths.iter_mut().zip(self.titles).filter(|(_, one)| *one == title);
            of_title.for_each(|(width, _)| *width = width.saturating_sub(excess).max(*least.min(width)));
        }
        widths
    }
}

/// How wide a line is of columns of these widths.
fn all_of(widths: &[usize]) -> usize {
    let shown = widths.iter().filter(|width| **width > 0).count();
    widths.iter().sum::<usize>() + GAP * shown.saturating_sub(1)
}

fn line(row: &[Cell], widths: &[usize], screen: Screen) -> String {
    let shown: Vec<(&Cell, usize)> =
        row.iter().zip(widths.iter().copied()).filter(|(_, width)| *width > 0).collect();
    let Some(last) = shown.iter().rposition(|(cell, _)| !cell.text.is_empty()) else {
        return String::new();
    };
    let cells = shown[..=last].iter().enumerate().map(|(at, (cell, width))| {
        let text = cut(&cell.text, *width);
        // Nothing follows the last.
        let space = if at == last { 0 } else { width + GAP - text.width() };
        format!("{}{}", screen.paint(cell.style, &text), " ".repeat(space))
    });
    cells.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TITLES: &[&str] = &["NAME", "NOTE", "STATE"];
    const GIVES: &[Give] =
        &[Give::Cut("NOTE", 4), Give::Leave("NOTE"), Give::Cut("NAME", 4), Give::Leave("NAME")];

    fn table(rows: &[[&str; 3]]) -> Table {
        let mut table = Table::new(TITLES, GIVES);
        rows.iter().for_each(|row| table.row(row.map(Cell::from)));
        table
    }

    fn on(columns: usize) -> Screen {
        Screen { columns: Some(columns), colour: false }
    }

    #[test]
    fn columns_are_as_wide_as_they_need_to_be() {
        let table = table(&[["deploy", "by hand", "held"], ["x", "", "free"]]);
        assert_eq!(
            table.render(Screen::NONE),
            "NAME    NOTE     STATE\ndeploy  by hand  held\nx                free\n"
        );
    }

    #[test]
    fn what_is_needed_least_gives_way_first() {
        let table = table(&[["deploy", "a note that goes on", "held"]]);
        for (columns, rendered) in [
            (25, "NAME    NOTE        STATE\ndeploy  a note th…  held\n"),
            (19, "NAME    NOTE  STATE\ndeploy  a n…  held\n"),
            (18, "NAME    STATE\ndeploy  held\n"),
            (12, "NAME   STATE\ndepl…  held\n"),
            (10, "STATE\nheld\n"),
        ] {
            assert_eq!(table.render(on(columns)), rendered, "{columns}");
        }
        assert_eq!(table.render(on(2)), "STATE\nheld\n", "no narrower than can be read");
    }

    #[test]
    fn an_empty_column_is_left_out() {
        assert_eq!(table(&[["a", "", "held"]]).render(Screen::NONE), "NAME  STATE\na     held\n");
    }

    #[test]
    fn colour_takes_no_room() {
        let mut coloured = Table::new(&TITLES[..2], &[]);
        coloured.row([Cell::new("a", super::super::screen::BAD), Cell::from("b")]);
        let text = coloured.render(Screen { columns: Some(80), colour: true });
        assert_eq!(text, "\u{1b}[2mNAME\u{1b}[0m  \u{1b}[2mNOTE\u{1b}[0m\n\u{1b}[31ma\u{1b}[0m     b\n");
    }
}
