//! A scene on a terminal, redrawn in place; elsewhere, lines of text.

use std::time::Duration;

use anstyle::Style;
use rustix::termios::tcgetwinsize;

use super::canvas::{Line, beside};
use super::scene::{Progress, Scene, Side};
use crate::cli::output;
use crate::cli::screen::{BAD, DIM, GOOD, STRONG, Screen};
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
        let able = environment("TERM").is_some_and(|kind| kind != "dumb" && kind != "linux");
        let live = screen.columns.is_some() && able && fits(&lines, size());
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
            output::draw_soon(SHOW_CURSOR, PATIENCE);
        }
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
            output::Drawn::Yes => self.drawn = Some((size, lines.len())),
            output::Drawn::NotNow => {}
            output::Drawn::Gone => return false,
        }
        true
    }
}

/// Columns and rows of the terminal.
fn size() -> (usize, usize) {
    let size = tcgetwinsize(rustix::stdio::stdout());
    size.map_or((80, 24), |size| (usize::from(size.ws_col), usize::from(size.ws_row)))
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
    let seconds = progress.took.as_secs_f64();
    let title = Line::styled(style_of(side), title).with(DIM, format!("  {count} of {all}, {seconds:.1}s"));
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
