//! A pty, the program on it, and the screen that it makes.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::reel::{Run, Screen, Style};

pub struct Terminal {
    pub owner: String,
    pub rows: u16,
    /// What was typed since the prompt.
    pub line: String,
    columns: u16,
    parser: vt100::Parser,
    person: File,
    program: OwnedFd,
    child: Option<Child>,
}

impl Terminal {
    pub fn open(owner: &str, rows: u16, columns: u16) -> anyhow::Result<Self> {
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&person)?;
        unlockpt(&person)?;
        let name = ptsname(&person, Vec::new())?;
        let program = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
        tcsetwinsize(&program, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })?;
        let mut terminal = Self {
            owner: owner.to_owned(),
            rows,
            line: String::new(),
            columns,
            parser: vt100::Parser::new(rows, columns, 0),
            person: person.into(),
            program,
            child: None,
        };
        terminal.prompts();
        Ok(terminal)
    }

    fn prompts(&mut self) {
        self.line.clear();
        self.parser.process(format!("\x1b[1;34m{}$\x1b[0m ", self.owner).as_bytes());
    }

    pub fn types(&mut self, key: char) {
        self.line.push(key);
        self.parser.process(key.to_string().as_bytes());
    }

    /// Starts the command on this terminal. It controls no jobs: the program draws on it all the same.
    pub fn runs(&mut self, mut command: Command) -> anyhow::Result<()> {
        self.parser.process(b"\r\n");
        let stream = || self.program.try_clone().map(Stdio::from);
        command.stdin(stream()?).stdout(stream()?).stderr(stream()?);
        self.child = Some(command.spawn().context("failed to run a line")?);
        Ok(())
    }

    /// Shows what comes within this time.
    pub fn listens(&mut self, time: Duration) {
        let began = Instant::now();
        loop {
            let left = Timespec::try_from(time.saturating_sub(began.elapsed())).ok();
            let ready = poll(&mut [PollFd::new(&self.person, PollFlags::IN)], left.as_ref());
            let mut said = [0; 4096];
            match ready.map(|_| ()).ok().filter(|()| ready != Ok(0)).map(|()| self.person.read(&mut said)) {
                Some(Ok(count)) if count > 0 => self.parser.process(&said[..count]),
                _ => return,
            }
        }
    }

    pub fn shows(&self, text: &str) -> bool {
        self.parser.screen().contents().contains(text)
    }

    /// Whether the command has ended, and the prompt is there again.
    pub fn is_back(&mut self) -> anyhow::Result<bool> {
        let Some(child) = &mut self.child else {
            return Ok(true);
        };
        if child.try_wait()?.is_none() {
            return Ok(false);
        }
        self.child = None;
        self.listens(Duration::from_millis(50));
        self.prompts();
        Ok(true)
    }

    /// What is on the screen now.
    pub fn screen(&self) -> Screen {
        let screen = self.parser.screen();
        let rows = (0..self.rows).map(|row| runs(screen, row, self.columns)).collect();
        let (row, column) = screen.cursor_position();
        let cursor = (!screen.hide_cursor()).then_some((row, column.min(self.columns - 1)));
        Screen { rows, cursor }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The text of a row, in runs of one style each. Blanks at its end are left out.
fn runs(screen: &vt100::Screen, row: u16, columns: u16) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for column in 0..columns {
        let Some(cell) = screen.cell(row, column).filter(|cell| !cell.is_wide_continuation()) else {
            continue;
        };
        let style = style(cell);
        let text = if cell.has_contents() { cell.contents() } else { " " };
        let width = 1 + u16::from(cell.is_wide());
        match runs.last_mut() {
            Some(run) if run.style == style => {
                run.text.push_str(text);
                run.width += width;
            }
            _ => runs.push(Run { column, width, text: text.to_owned(), style }),
        }
    }
    runs.iter_mut().for_each(trim);
    runs.retain(|run| run.width > 0);
    runs
}

fn trim(run: &mut Run) {
    let before = run.text.len();
    run.text.truncate(run.text.trim_end_matches(' ').len());
    run.width -= u16::try_from(before - run.text.len()).unwrap_or(0);
    let blanks = run.text.len() - run.text.trim_start_matches(' ').len();
    run.text.drain(..blanks);
    let blanks = u16::try_from(blanks).unwrap_or(0);
    run.column += blanks;
    run.width -= blanks;
}

fn style(cell: &vt100::Cell) -> Style {
    let color = match cell.fgcolor() {
        vt100::Color::Idx(color) if color < 16 => Some(color),
        _ => None,
    };
    Style { color, bold: cell.bold(), dim: cell.dim(), underline: cell.underline() }
}
