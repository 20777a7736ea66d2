//! Painters fill a wall of hexagons. The wall is one file, and they share one brush.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use anstyle::{AnsiColor, Style};

use super::canvas::Line;
use super::paint::{BARE, Stroke, WALL};
use super::scene::{Pace, Progress, Scene, Side};
use crate::cli::screen::{BAD, DIM, GOOD, PLAIN, STRONG};
use crate::protocol::format_duration;

/// What the wall is to look like; each letter is a colour.
const PICTURE: [&str; 10] = [
    "bbbbbbbwwwwbbbbbbb",
    "bbbbbbwwbbwwbbbbbb",
    "bbbbbbwbbbbwbbbbbb",
    "bbbbbbwbbbbwbbbbbb",
    "bbbbyyyyyyyyyybbbb",
    "bbbbyyyyrryyyybbbb",
    "bbbbyyyyrryyyybbbb",
    "bbbbyyyyyryyyybbbb",
    "bbbbyyyyyyyyyybbbb",
    "bbbbbbbbbbbbbbbbbb",
];

/// Cells of a row.
const COLUMNS: usize = 18;

/// Cells of the wall.
const CELLS: usize = PICTURE.len() * COLUMNS;

/// Has no factor in common with the number of cells: so the picture comes out of the mist.
const STRIDE: usize = 113;

/// A painter rests this many times as long as a stroke takes.
const REST: u32 = 9;

/// A wall for each side.
pub(super) struct HexWall {
    painters: usize,
    pace: Pace,
    walls: [Vec<u8>; 2],
}

/// What became of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is still to be painted.
    Waits,
    /// It is as it should be.
    Right,
    /// It was painted, and somebody has undone that.
    Lost,
    /// It is of a colour that another painter had in the brush.
    Wrong,
}

impl HexWall {
    /// A bare wall for so many painters, a stroke of whom takes `pace`.
    pub(super) fn new(painters: usize, pace: Pace) -> Self {
        Self { painters, pace, walls: [vec![BARE; CELLS], vec![BARE; CELLS]] }
    }

    fn fate(&self, side: Side, piece: usize, progress: &Progress) -> Fate {
        let cell = cell_of(piece);
        let painted = progress.done.get(piece) == Some(&true);
        match self.walls[side.at()].get(cell) {
            Some(colour) if *colour == colour_of(cell) => Fate::Right,
            None | Some(&BARE) if painted => Fate::Lost,
            None | Some(&BARE) => Fate::Waits,
            Some(_) => Fate::Wrong,
        }
    }

    fn count(&self, side: Side, progress: &Progress, fate: Fate) -> usize {
        (0..CELLS).filter(|piece| self.fate(side, *piece, progress) == fate).count()
    }

    /// A row of cells; every other is moved by half a cell.
    fn row(&self, side: Side, row: usize, fates: &[Fate]) -> Line {
        let line = Line::plain(if row % 2 == 1 { " " } else { "" });
        (row * COLUMNS..(row + 1) * COLUMNS).fold(line, |line, cell| {
            let colour = self.walls[side.at()].get(cell).copied().unwrap_or(BARE);
            let (style, sign) = match fates[cell] {
                Fate::Waits => (DIM, "· "),
                Fate::Right => (style_of(colour), "⬢ "),
                Fate::Lost => (BAD, "⬡ "),
                Fate::Wrong => (style_of(colour).bold(), "◈ "),
            };
            line.with(style, sign)
        })
    }
}

/// The cell that is painted in the `piece`th place.
fn cell_of(piece: usize) -> usize {
    piece * STRIDE % CELLS
}

/// The colour that a cell should have.
fn colour_of(cell: usize) -> u8 {
    PICTURE[cell / COLUMNS].as_bytes().get(cell % COLUMNS).copied().unwrap_or(BARE)
}

fn style_of(colour: u8) -> Style {
    match colour {
        b'b' => AnsiColor::Blue.on_default(),
        b'w' => AnsiColor::Cyan.on_default(),
        b'y' => AnsiColor::Yellow.on_default(),
        b'r' => AnsiColor::Magenta.on_default(),
        _ => PLAIN,
    }
}

impl Scene for HexWall {
    fn title(&self) -> String {
        format!("{} painters, one wall. It is a file: read it, change a cell, write it back.", self.painters)
    }

    fn workers(&self) -> Vec<String> {
        (1..=self.painters).map(|number| format!("painter-{number}")).collect()
    }

    fn lock(&self) -> &'static str {
        "wall"
    }

    fn pieces(&self) -> usize {
        CELLS
    }

    fn pause(&self, piece: usize) -> Duration {
        // No two rests are alike, as in life.
        self.pace.0 * REST * (50 + (piece * 37 % 100) as u32) / 100
    }

    fn set_up(&self, dir: &Path) -> io::Result<Option<Vec<OsString>>> {
        fs::write(dir.join(WALL), [BARE; CELLS])?;
        Ok(None)
    }

    fn piece(&self, piece: usize, program: &Path) -> Vec<OsString> {
        let cell = cell_of(piece);
        let stroke = Stroke { cell, colour: char::from(colour_of(cell)), takes: self.pace.0 };
        vec![program.into(), "demo".into(), stroke.to_argument().into()]
    }

    fn look(&mut self, side: Side, dir: &Path, _: &Progress) {
        // Whoever looks while it is being written sees what was there before.
        if let Ok(wall) = fs::read(dir.join(WALL))
            && wall.len() == CELLS
        {
            self.walls[side.at()] = wall;
        }
    }

    fn panel(&self, side: Side, progress: &Progress, _: usize) -> Vec<Line> {
        let mut fates = vec![Fate::Waits; CELLS];
        (0..CELLS).for_each(|piece| fates[cell_of(piece)] = self.fate(side, piece, progress));
        let command = match side {
            Side::Bare => Line::plain("paint CELL"),
            Side::Guarded => Line::styled(STRONG, "lokt guard wall --wait --").with(PLAIN, " paint CELL"),
        };
        let mut lines = vec![command, Line::default()];
        lines.extend((0..PICTURE.len()).map(|row| self.row(side, row, &fates)));
        lines
    }

    fn legend(&self) -> Vec<Line> {
        let takes = format_duration(self.pace.0);
        vec![
            Line::plain("⬢ painted   ")
                .with(BAD, "⬡")
                .with(PLAIN, " painted and lost   ◈ in another's colour   ")
                .with(DIM, "·")
                .with(PLAIN, " to be painted"),
            Line::styled(
                DIM,
                format!("A stroke is a process. From reading to writing it takes {takes}: on both sides"),
            ),
        ]
    }

    fn sum(&self, side: Side, progress: &Progress) -> Line {
        let (lost, wrong) = (self.count(side, progress, Fate::Lost), self.count(side, progress, Fate::Wrong));
        let painted = progress.count();
        if lost + wrong == 0 {
            return Line::styled(GOOD, format!("0 of {painted} cells lost"));
        }
        Line::styled(BAD, format!("{} of {painted} cells lost", lost + wrong))
            .with(PLAIN, format!(": {lost} bare, {wrong} wrong"))
    }

    fn next(&self) -> &'static str {
        "trunk"
    }

    fn kept_its_promise(&self) -> bool {
        (0..CELLS).all(|cell| self.walls[Side::Guarded.at()].get(cell) == Some(&colour_of(cell)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::screen::Screen;

    fn all_done() -> Progress {
        Progress { done: vec![true; CELLS], ..Progress::default() }
    }

    fn shown(lines: &[Line]) -> String {
        lines.iter().map(|line| line.render(Screen::NONE) + "\n").collect()
    }

    #[test]
    fn every_cell_is_painted_once() {
        let mut cells: Vec<usize> = (0..CELLS).map(cell_of).collect();
        cells.sort_unstable();
        assert!(cells.iter().copied().eq(0..CELLS));
        assert!(PICTURE.iter().all(|row| row.len() == COLUMNS));
    }

    #[test]
    fn a_cell_shows_its_fate() {
        let mut wall = HexWall::new(2, Pace(Duration::from_millis(12)));
        wall.walls[0] = PICTURE.concat().into_bytes();
        wall.walls[0][0] = BARE;
        wall.walls[0][1] = b'y';
        let lines = wall.panel(Side::Bare, &all_done(), 38);
        assert_eq!(
            shown(&lines[..4]),
            "paint CELL\n\n⬡ ◈ ⬢ ⬢ ⬢ ⬢ ⬢ ⬢ ⬢ ⬢ ⬢ ⬢ ⬢ ⬢ ⬢ ⬢ ⬢ ⬢\n ⬢ ⬢ ⬢ ⬢ ⬢ ⬢ ⬢ ⬢ ⬢ ⬢ ⬢ ⬢ ⬢ ⬢ ⬢ ⬢ ⬢ ⬢\n"
        );
        assert!(lines.iter().all(|line| line.width() <= 38));
        assert_eq!(shown(&[wall.sum(Side::Bare, &all_done())]), "2 of 180 cells lost: 1 bare, 1 wrong\n");
    }

    #[test]
    fn what_nobody_has_painted_yet_is_not_lost() {
        let wall = HexWall::new(2, Pace(Duration::from_millis(12)));
        let mut progress = Progress { done: vec![false; CELLS], ..Progress::default() };
        assert_eq!(shown(&[wall.sum(Side::Bare, &progress)]), "0 of 0 cells lost\n");
        progress.done[0] = true;
        let lines = wall.panel(Side::Bare, &progress, 38);
        assert!(shown(&lines[2..3]).starts_with("⬡ · ·"), "{}", shown(&lines));
    }

    #[test]
    fn a_promise_is_kept_by_a_whole_wall_only() {
        let mut wall = HexWall::new(2, Pace(Duration::ZERO));
        assert!(!wall.kept_its_promise());
        wall.walls[1] = PICTURE.concat().into_bytes();
        assert!(wall.kept_its_promise());
        wall.walls[1][9] = b'y';
        assert!(!wall.kept_its_promise());
    }
}
