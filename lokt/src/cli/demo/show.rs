//! A scene on a terminal, redrawn in place; elsewhere, lines of text.

use std::time::Duration;

use anstyle::Style;
use rustix::stdio::stdout;

use super::canvas::{Line, beside};
use super::scene::{Progress, Scene, Side};
use crate::cli::output;
use crate::cli::screen::{BAD, DIM, GOOD, STRONG, Screen, columns, is_able, rows};
use crate::host::environment;

/// The width of a side.
const WIDTH: usize = 38;

/// Between the sides.
const GAP: usize = 2;

/// The width of both.
const BOTH: usize = WIDTH + GAP + WIDTH;

/// How long a terminal may take for what must be shown.
const PATIENCE: Duration = Duration::from_secs(1);

const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";
/// All between these two is shown at once, by terminals that know them.
const BEGIN: &str = "\x1b[?2026h";
const END: &str = "\x1b[?2026l";

/// What has been shown.
pub(super) struct Show {
    screen: Screen,
    /// The size of the terminal on which the last frame was drawn, and that frame's height.
    drawn: Option<((usize, usize), usize)>,
    live: bool,
    /// Quarters that were told of each side.
    told: [usize; 2],
}

impl Show {
    /// Begins: on a terminal that has room for it, with pictures.
    pub(super) fn begin(scene: &dyn Scene) -> Self {
        let screen = Screen::stdout();
        let lines = frame(scene, &Default::default(), screen.columns.unwrap_or_default(), true);
        // The console of Linux has no hexagons.
        let has_hexagons = environment("TERM").is_some_and(|kind| kind != "linux");
        let live = is_able(stdout()) && has_hexagons && fits(&lines, size());
        if !live {
            output::out(&scene.title());
        }
        Self { screen, drawn: None, live, told: [0; 2] }
    }

    /// Shows how it stands; false if nobody can see it any more.
    pub(super) fn update(&mut self, scene: &dyn Scene, progress: &[Progress; 2]) -> bool {
        if self.live {
            return self.draw(scene, progress, false, Duration::ZERO);
        }
        for side in Side::BOTH {
            let progress = &progress[side.at()];
            let quarter = progress.count() * 4 / progress.done.len().max(1);
            if quarter > self.told[side.at()] {
                self.told[side.at()] = quarter;
                let (count, all) = (progress.count(), progress.done.len());
                output::out(&format!("{}: {count} of {all} done", side.title()));
            }
        }
        true
    }

    /// Shows how it ended.
    pub(super) fn end(&mut self, scene: &dyn Scene, progress: &[Progress; 2]) {
        if self.live {
            self.draw(scene, progress, true, PATIENCE);
            self.leave();
            return;
        }
        self.update(scene, progress);
        verdict(scene, progress, true).iter().for_each(|line| output::out(&line.render(self.screen)));
    }

    /// Gives the terminal back as it was.
    pub(super) fn leave(&mut self) {
        if self.drawn.take().is_some() {
            let _ = output::draw_soon(SHOW_CURSOR, PATIENCE);
        }
    }

    /// Gives the terminal back in the middle of the scene, below what a key has left there.
    pub(super) fn break_off(&mut self) {
        if self.drawn.is_some() {
            let _ = output::draw_soon("\r\n", PATIENCE);
        }
        self.leave();
    }

    fn draw(&mut self, scene: &dyn Scene, progress: &[Progress; 2], ended: bool, patience: Duration) -> bool {
        let size = size();
        let lines = frame(scene, progress, size.0, ended);
        if !fits(&lines, size) {
            return true;
        }
        let mut text = String::from(BEGIN);
        match self.drawn {
            None => text.push_str(HIDE_CURSOR),
            Some((before, height)) if before == size => text.push_str(&format!("\r\x1b[{height}A")),
            // What was drawn has been broken into other lines.
            Some(_) => text.push_str("\x1b[H\x1b[2J"),
        }
        for line in &lines {
            text.push_str(&line.render(self.screen));
            text.push_str("\x1b[K\r\n");
        }
        text.push_str(END);
        match output::draw_soon(&text, patience) {
            Ok(true) => self.drawn = Some((size, lines.len())),
            Ok(false) => {}
            // There is nobody any more who could see it.
            Err(_) => return false,
        }
        true
    }
}

/// Columns and rows of the terminal.
fn size() -> (usize, usize) {
    (columns(stdout()), rows(stdout()))
}

fn fits(lines: &[Line], (columns, rows): (usize, usize)) -> bool {
    lines.len() < rows && columns >= WIDTH
}

/// Everything: side by side, or, where there is no room for that, one below the other.
fn frame(scene: &dyn Scene, progress: &[Progress; 2], columns: usize, ended: bool) -> Vec<Line> {
    let [left, right] = Side::BOTH.map(|side| panel(scene, side, &progress[side.at()]));
    let mut lines = vec![Line::styled(STRONG, scene.title()), Line::default()];
    if columns >= BOTH {
        lines.extend(beside(left, right, WIDTH, GAP));
    } else {
        lines.extend(left.into_iter().chain([Line::default()]).chain(right));
    }
    lines.push(Line::default());
    lines.extend(scene.legend());
    lines.push(Line::default());
    lines.extend(verdict(scene, progress, ended));
    let margin = columns.saturating_sub(BOTH) / 2;
    let placed = lines.into_iter().map(|line| Line::plain(" ".repeat(margin)).followed_by(line));
    placed.map(|line| if line.width() > columns { line.fitted(columns) } else { line }).collect()
}

/// A side, under its title.
fn panel(scene: &dyn Scene, side: Side, progress: &Progress) -> Vec<Line> {
    let (count, all) = (progress.count(), progress.done.len());
    let title = match side {
        Side::Bare => "WITHOUT A LOCK",
        Side::Guarded => "WITH lokt guard",
    };
    let tenths = progress.took.as_millis() / 100;
    let took = format!("{}.{}s", tenths / 10, tenths % 10);
    let title = Line::styled(style_of(side), title).with(DIM, format!("  {count} of {all}, {took}"));
    std::iter::once(title).chain(scene.panel(side, progress, WIDTH)).collect()
}

/// What came of it, a line for each side; and at the end, what there is to see next.
fn verdict(scene: &dyn Scene, progress: &[Progress; 2], ended: bool) -> Vec<Line> {
    let line = |side: Side| {
        let title = Line::styled(style_of(side), format!("{:<17}", side.title()));
        title.followed_by(scene.sum(side, &progress[side.at()]))
    };
    let next = ended.then(|| Line::styled(DIM, format!("Next: lokt demo {}", scene.next())));
    Side::BOTH.map(line).into_iter().chain(next).collect()
}

fn style_of(side: Side) -> Style {
    match side {
        Side::Bare => BAD.bold(),
        Side::Guarded => GOOD.bold(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::hexwall::HexWall;
    use super::super::scene::Pace;
    use super::super::trunk::Trunk;
    use super::*;

    fn shown(scene: &dyn Scene, columns: usize) -> Vec<String> {
        let workers = scene.workers().len();
        let begun = Progress {
            done: (0..scene.pieces()).map(|piece| piece < workers).collect(),
            at: vec![None; workers],
            took: Duration::from_millis(2340),
        };
        let lines = frame(scene, &[begun.clone(), begun], columns, true);
        lines.iter().map(|line| line.render(Screen::NONE)).collect()
    }

    #[test]
    fn both_sides_fit_an_old_terminal_whole() {
        let wall = HexWall::new(8, Pace(Duration::from_millis(12)));
        let trunk = Trunk::new(8, Pace(Duration::from_millis(200)));
        for scene in [&wall as &dyn Scene, &trunk] {
            let lines = shown(scene, 80);
            assert!(lines.len() < 24, "{lines:#?}");
            for line in &lines {
                assert!(line.chars().count() <= 80 && !line.contains('…'), "{line}");
            }
        }
    }

    #[test]
    fn a_frame_has_titles_pictures_signs_and_a_verdict() {
        let lines = shown(&Trunk::new(2, Pace(Duration::from_millis(200))), 78);
        assert_eq!(
            lines,
            [
                "2 agents bring 3 changes each to one trunk: pull, test, commit, push",
                "",
                "WITHOUT A LOCK  2 of 6, 2.3s            WITH lokt guard  2 of 6, 2.3s",
                "pull, test, commit, push                lokt guard trunk --wait -- the same",
                "",
                "ada  ● thinking  ■□□                    ada  ● thinking  ■□□",
                "bob  ● thinking  ■□□                    bob  ● thinking  ■□□",
                "",
                "",
                "",
                "",
                "",
                "",
                "",
                "",
                "",
                "",
                "",
                "Real git, real pushes. The tests are a pause of 200ms, on both sides.",
                "",
                "without a lock   0 landed, 0 test runs, 0 pushes rejected, 0 merges",
                "with lokt guard  0 landed, 0 test runs, 0 pushes rejected, 0 merges",
                "Next: lokt demo hexwall",
            ][..]
        );
    }

    #[test]
    fn a_narrow_terminal_has_one_side_below_the_other_and_a_wide_one_both_in_its_middle() {
        let wall = HexWall::new(2, Pace(Duration::from_millis(12)));
        let narrow = shown(&wall, 50);
        let at = |title: &str| narrow.iter().position(|line| line.starts_with(title));
        assert!(at("WITHOUT A LOCK") < at("WITH lokt guard"));
        assert!(narrow.iter().all(|line| line.chars().count() <= 50));
        let wide = shown(&wall, 120);
        assert!(wide[2].starts_with(&format!("{}WITHOUT A LOCK", " ".repeat(21))), "{}", wide[2]);
    }
}
