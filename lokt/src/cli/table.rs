//! A table that fits its terminal: columns as wide as they need to be, and the longest ones cut where there is no room.

use anstyle::Style;
use unicode_width::UnicodeWidthStr;

use super::screen::{DIM, PLAIN, Screen, cut};

/// Between two columns.
const GAP: usize = 2;

/// A column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    /// Its heading.
    pub(super) title: &'static str,
    /// How narrow it may become.
    pub(super) least: usize,
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
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
    /// Titles of columns that a narrow terminal can do without, the least important first.
    expendable: Vec<&'static str>,
}

impl Table {
    /// A table without rows.
    pub(super) fn new(columns: &[Column]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new(), expendable: Vec::new() }
    }

    /// Lets these columns be left out, the first one first, where cutting the others is not enough.
    pub(super) fn expendable(mut self, titles: &[&'static str]) -> Self {
        self.expendable = titles.to_vec();
        self
    }

    /// Adds a row.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The lines, headings first.
    pub(super) fn render(&self, screen: Screen) -> String {
        let titles = self.columns.iter().map(|column| Cell::new(column.title, DIM)).collect();
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
        let mut widths: Vec<usize> = (0..self.columns.len())
            .map(|at| content(at).max().filter(|width| *width > 0).unwrap_or(0))
            .zip(&self.columns)
            .map(|(width, column)| if width == 0 { 0 } else { width.max(column.title.width()) })
            .collect();
        if let Some(room) = screen.columns {
            self.fit(&mut widths, room);
        }
        widths
    }

    /// Narrows the columns until they fit, as far as they can be read.
    fn fit(&self, widths: &mut [usize], room: usize) {
        let full = widths.to_vec();
        let mut expendable = self.expendable.iter();
        while !self.shrink(widths, room) {
            let Some(title) = expendable.next() else { return };
            let without = |at: &usize| self.columns[*at].title == *title;
            let gone: Vec<usize> = (0..full.len()).filter(without).collect();
            let kept = |at: usize| if widths[at] == 0 || gone.contains(&at) { 0 } else { full[at] };
            let kept: Vec<usize> = (0..full.len()).map(kept).collect();
            widths.copy_from_slice(&kept);
        }
    }

    /// Takes from the widest, column by column; false if none may become any narrower.
    fn shrink(&self, widths: &mut [usize], room: usize) -> bool {
        let gaps = GAP * widths.iter().filter(|width| **width > 0).count().saturating_sub(1);
        let mut excess = (widths.iter().sum::<usize>() + gaps).saturating_sub(room);
        while excess > 0 {
            let least = |at: usize| self.columns[at].least.max(1);
            let widest = (0..widths.len()).filter(|at| widths[*at] > least(*at)).max_by_key(|at| widths[*at]);
            let Some(at) = widest else { return false };
            widths[at] -= 1;
            excess -= 1;
        }
        true
    }
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

    const COLUMNS: [Column; 3] = [
        Column { title: "NAME", least: 4 },
        Column { title: "NOTE", least: 4 },
        Column { title: "STATE", least: 5 },
    ];

    fn table(rows: &[[&str; 3]]) -> Table {
        let mut table = Table::new(&COLUMNS);
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
    fn the_longest_is_cut_first_where_there_is_no_room() {
        let table = table(&[["deploy", "a note that goes on", "held"]]);
        assert_eq!(table.render(on(25)), "NAME    NOTE        STATE\ndeploy  a note th…  held\n");
        let narrow = table.render(on(10));
        assert_eq!(narrow, "NAME  NOTE  STATE\ndep…  a n…  held\n", "no narrower than can be read");
    }

    #[test]
    fn what_can_be_done_without_goes_where_cutting_is_not_enough() {
        let mut table = Table::new(&COLUMNS).expendable(&["NOTE", "NAME"]);
        table.row(["deploy", "a note", "held"].map(Cell::from));
        assert_eq!(table.render(on(17)), "NAME  NOTE  STATE\ndep…  a n…  held\n");
        assert_eq!(table.render(on(16)), "NAME    STATE\ndeploy  held\n");
        assert_eq!(table.render(on(9)), "STATE\nheld\n");
        assert_eq!(table.render(on(2)), "STATE\nheld\n", "no narrower than can be read");
    }

    #[test]
    fn an_empty_column_is_left_out() {
        assert_eq!(table(&[["a", "", "held"]]).render(Screen::NONE), "NAME  STATE\na     held\n");
    }

    #[test]
    fn colour_takes_no_room() {
        let mut coloured = Table::new(&COLUMNS[..2]);
        coloured.row([Cell::new("a", super::super::screen::BAD), Cell::from("b")]);
        let text = coloured.render(Screen { columns: Some(80), colour: true });
        assert_eq!(text, "\u{1b}[2mNAME\u{1b}[0m  \u{1b}[2mNOTE\u{1b}[0m\n\u{1b}[31ma\u{1b}[0m     b\n");
    }
}
