//! Agents push to one trunk, a git repository: what they do is in `agent.sh`.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anstyle::{AnsiColor, Style};

use super::canvas::Line;
use super::command::clean;
use super::scene::{Pace, Progress, Scene, Side};
use crate::cli::screen::{BAD, DIM, GOOD, HELD, PLAIN, STRONG};
use crate::protocol::format_duration;

/// The agents; as many of them as are wanted.
const NAMES: [&str; 8] = ["ada", "bob", "cyd", "dan", "eve", "fay", "gus", "hal"];

/// Changes that each agent brings.
const CHANGES: usize = 3;

/// Lines of a side's picture for agents and for the trunk.
const HEIGHT: usize = 11;

/// A trunk for each side.
pub(super) struct Trunk {
    agents: usize,
    pace: Pace,
    seen: [Seen; 2],
}

/// What there is to see on a side.
#[derive(Debug, Clone, Default)]
struct Seen {
    /// What each agent says: the change, and what is being done about it.
    states: Vec<String>,
    /// The trunk's newest commits, as git draws them.
    log: Vec<String>,
    tests: usize,
    rejected: usize,
    merges: usize,
    landed: usize,
    /// How many pieces were done when git was last asked.
    asked: Option<(usize, usize)>,
}

impl Trunk {
    /// A trunk for so many agents, whose tests take `pace`.
    pub(super) fn new(agents: usize, pace: Pace) -> Self {
        Self { agents: agents.min(NAMES.len()), pace, seen: Default::default() }
    }

    fn agent(&self, side: Side, number: usize, progress: &Progress) -> Line {
        let done = (0..CHANGES).filter(|change| {
            let piece = change * self.agents + number;
            progress.done.get(piece) == Some(&true)
        });
        let done = done.count();
        let at = progress.at.get(number).copied().flatten();
        let said = self.seen[side.at()].states.get(number).map_or("", String::as_str);
        let (change, state) = said.split_once(' ').unwrap_or_default();
        let state = match at {
            None if done == CHANGES => "done",
            None => "thinking",
            Some(piece) if change == (piece / self.agents + 1).to_string() => state,
            Some(_) if side == Side::Guarded => "waiting",
            Some(_) => "starting",
        };
        let style = style_of(state);
        Line::styled(STRONG, format!("{:<5}", NAMES[number]))
            .with(style, format!("{} {state:<10}", if state == "done" { "✔" } else { "●" }))
            .with(GOOD, "■".repeat(done))
            .with(DIM, "□".repeat(CHANGES - done))
    }
}

fn style_of(state: &str) -> Style {
    match state {
        "waiting" => HELD,
        "rejected" => BAD.bold(),
        "testing" => AnsiColor::Cyan.on_default(),
        "pushing" => AnsiColor::Magenta.on_default(),
        "done" => GOOD,
        _ => DIM,
    }
}

/// A line of `git log --graph`, drawn more finely.
fn drawn(line: &str) -> Line {
    let end = line.find(|c: char| !"*|\\/_ ".contains(c)).unwrap_or(line.len());
    let (graph, subject) = line.split_at(end);
    let merge = subject.starts_with("Merge");
    let mark = if merge { BAD } else { GOOD };
    let line = graph.chars().fold(Line::default(), |line, c| match c {
        '*' => line.with(mark, "●"),
        '|' => line.with(DIM, "│"),
        '\\' => line.with(DIM, "╲"),
        '/' => line.with(DIM, "╱"),
        other => line.with(DIM, other.to_string()),
    });
    if merge { line.with(BAD, "merge") } else { line.with(PLAIN, subject) }
}

/// What git prints about the trunk.
fn git(dir: &Path, arguments: &[&str]) -> String {
    let mut git = clean("git", dir, "lokt");
    git.arg("--git-dir=trunk.git").args(arguments).stdout(Stdio::piped());
    git.output().map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

fn lines_of(path: &Path) -> usize {
    fs::read(path).map_or(0, |text| text.iter().filter(|byte| **byte == b'\n').count())
}

impl Scene for Trunk {
    fn title(&self) -> String {
        format!("{} agents bring {CHANGES} changes each to one trunk: pull, test, commit, push", self.agents)
    }

    fn workers(&self) -> Vec<String> {
        NAMES.iter().take(self.agents).map(|name| (*name).to_owned()).collect()
    }

    fn lock(&self) -> &'static str {
        "trunk"
    }

    fn pieces(&self) -> usize {
        self.agents * CHANGES
    }

    fn pause(&self, piece: usize) -> Duration {
        self.pace.0 * (20 + (piece * 37 % 100) as u32) / 100
    }

    fn set_up(&self, _: &Path) -> io::Result<Option<Vec<OsString>>> {
        let mut command: Vec<OsString> =
            vec!["sh".into(), "-c".into(), include_str!("trunk.sh").into(), "sh".into()];
        command.extend(self.workers().into_iter().map(OsString::from));
        Ok(Some(command))
    }

    fn piece(&self, piece: usize, _: &Path) -> Vec<OsString> {
        let change = (piece / self.agents + 1).to_string();
        let takes = format!("{}.{:03}", self.pace.0.as_secs(), self.pace.0.subsec_millis());
        ["sh", "-c", include_str!("agent.sh"), "sh", &change, &takes].map(OsString::from).into()
    }

    fn look(&mut self, side: Side, dir: &Path, progress: &Progress) {
        let states = self.workers().into_iter().map(|name| {
            let state = fs::read_to_string(dir.join(format!("state.{name}"))).unwrap_or_default();
            state.trim_end().to_owned()
        });
        let states = states.collect();
        let seen = &mut self.seen[side.at()];
        seen.states = states;
        seen.tests = lines_of(&dir.join("tests"));
        seen.rejected = lines_of(&dir.join("rejected"));
        // Git is asked when something may have come to the trunk.
        let asked = Some((progress.count(), seen.tests));
        if seen.asked != asked {
            seen.asked = asked;
            let count =
                |how: &str| git(dir, &["rev-list", "--count", how, "trunk"]).trim().parse().unwrap_or(0);
            seen.merges = count("--merges");
            seen.landed = count("--no-merges").saturating_sub(1);
            let log = git(dir, &["log", "--graph", "--format=%s", "-n", "12", "trunk"]);
            seen.log = log.lines().map(str::to_owned).collect();
        }
    }

    fn panel(&self, side: Side, progress: &Progress, width: usize) -> Vec<Line> {
        let command = match side {
            Side::Bare => Line::plain("pull, test, commit, push"),
            Side::Guarded => Line::styled(STRONG, "lokt guard trunk --wait --").with(PLAIN, " the same"),
        };
        let mut lines = vec![command, Line::default()];
        lines.extend((0..self.agents).map(|number| self.agent(side, number, progress)));
        lines.push(Line::default());
        let room = HEIGHT - self.agents;
        let log = self.seen[side.at()].log.iter().map(|line| drawn(line).fitted(width));
        lines.extend(log.chain(std::iter::repeat_with(Line::default)).take(room));
        lines
    }

    fn legend(&self) -> Vec<Line> {
        let takes = format_duration(self.pace.0);
        vec![Line::styled(
            DIM,
            format!("Real git, real pushes. The tests are a pause of {takes}, on both sides."),
        )]
    }

    fn sum(&self, side: Side, _: &Progress) -> Line {
        let seen = &self.seen[side.at()];
        let style = if seen.rejected + seen.merges == 0 { GOOD } else { BAD };
        Line::plain(format!("{} landed, {} test runs, ", seen.landed, seen.tests))
            .with(style, format!("{} pushes rejected, {} merges", seen.rejected, seen.merges))
    }

    fn next(&self) -> &'static str {
        "hexwall"
    }

    fn kept_its_promise(&self) -> bool {
        let seen = &self.seen[Side::Guarded.at()];
        let all = self.pieces();
        (seen.landed, seen.tests, seen.rejected, seen.merges) == (all, all, 0, 0)
    }
}
