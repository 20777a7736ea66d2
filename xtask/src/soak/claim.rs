//! A claim: one attempt at a name, from its beginning to the end of its process, with at most one critical section.

use super::history::{Cause, Gap, Kind, Line};

/// When something happened, and which line says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    pub at: u64,
    pub line: usize,
}

/// One claim, put together from its lines.
#[derive(Debug, Default, Clone)]
pub struct Claim {
    pub who: String,
    /// Empty until a line tells it; no claim of a whole history is without one, if it entered.
    pub name: String,
    /// How it was claimed, for people.
    pub how: String,
    pub lock_id: Option<String>,
    pub token: Option<u64>,
    /// The process that claims, as it was started.
    pub pid: Option<u32>,
    pub begin: Option<Mark>,
    /// When it was first seen to stand in line.
    pub waits: Option<Mark>,
    pub enter: Option<Mark>,
    /// A witness in the section itself saw no other section.
    pub alone: Option<bool>,
    pub last_alive: Option<Mark>,
    pub exit: Option<Mark>,
    pub exit_cause: Option<Cause>,
    pub kills: Vec<Mark>,
    pub stops: Vec<Mark>,
    pub conts: Vec<Mark>,
    pub gaps: Vec<Gap>,
    /// The lock says that it was free from then on, although its holder had not ended.
    pub freed: Option<(Mark, Cause)>,
    pub failed: Vec<(Mark, String)>,
    pub end: Option<Mark>,
    /// The exit code with which it ended.
    pub code: Option<i32>,
    /// All its lines.
    pub lines: Vec<usize>,
}

impl Claim {
    pub fn new(who: &str) -> Self {
        Self { who: who.to_owned(), ..Self::default() }
    }

    /// Takes note of a line of its own.
    pub fn add(&mut self, number: usize, line: &Line) -> Result<(), String> {
        let mark = Mark { at: line.at, line: number };
        self.lines.push(number);
        self.agree_on_name(line)?;
        match line.event {
            Kind::Begin => {
                once(&mut self.begin, mark, "begin")?;
                self.how = line.what.clone().unwrap_or_default();
            }
            Kind::Waits => {
                self.waits = Some(self.waits.filter(|seen| seen.at <= mark.at).unwrap_or(mark));
            }
            Kind::Enter => {
                once(&mut self.enter, mark, "enter")?;
                if line.name.is_none() {
                    return Err("an \"enter\" needs a \"name\"".to_owned());
                }
                self.alone = line.alone;
                self.lock_id = line.lock_id.clone();
                self.token = line.token;
            }
            Kind::Alive => {
                self.last_alive = Some(self.last_alive.filter(|seen| seen.at >= mark.at).unwrap_or(mark));
            }
            Kind::Exit => {
                once(&mut self.exit, mark, "exit")?;
                self.exit_cause = line.cause;
            }
            Kind::Kill => self.kills.push(mark),
            Kind::Stop => self.stops.push(mark),
            Kind::Cont => self.conts.push(mark),
            Kind::Unprotected => {
                let until = line.until.unwrap_or(u64::MAX);
                self.gaps.push(Gap { at: line.at, until, line: number });
            }
            Kind::Freed => {
                let cause = line.cause.unwrap_or(Cause::Lapse);
                self.freed = Some((mark, cause));
            }
            Kind::Failed => self.failed.push((mark, line.what.clone().unwrap_or_default())),
            Kind::End => {
                once(&mut self.end, mark, "end")?;
                self.code = line.code;
                self.pid = line.pid;
            }
        }
        Ok(())
    }

    fn agree_on_name(&mut self, line: &Line) -> Result<(), String> {
        match &line.name {
            Some(name) if self.name.is_empty() => self.name = name.clone(),
            Some(name) if *name != self.name => {
                return Err(format!("{:?} claims {name:?} here and {:?} elsewhere", self.who, self.name));
            }
            _ => {}
        }
        Ok(())
    }

    /// What its lines, all together, must not say. The error names the line.
    pub fn check(&self) -> Result<(), (usize, String)> {
        let who = &self.who;
        let Some(enter) = self.enter else {
            return match self.exit.or(self.last_alive) {
                Some(mark) => Err((mark.line, format!("{who:?} never entered"))),
                None => Ok(()),
            };
        };
        for (mark, what) in [(self.exit, "left"), (self.last_alive, "was alive")] {
            if let Some(mark) = mark.filter(|mark| mark.at < enter.at) {
                return Err((mark.line, format!("{who:?} {what} before it entered")));
            }
        }
        match (self.exit, self.last_alive) {
            (Some(exit), Some(alive)) if alive.at > exit.at => {
                Err((alive.line, format!("{who:?} was alive after it had left")))
            }
            _ => Ok(()),
        }
    }

    /// The last instant at which the section certainly ran; it may have run on, if nobody could say so.
    pub fn last_seen(&self) -> Option<Mark> {
        self.exit.or(self.last_alive).or(self.enter)
    }

    /// From when on the lock owes this section nothing; `gaps` are those of its name.
    pub fn protected_until(&self, gaps: &[Gap]) -> u64 {
        let Some(enter) = self.enter else {
            return u64::MAX;
        };
        let covers = |gap: &&Gap| enter.at <= gap.until;
        self.gaps.iter().chain(gaps).filter(covers).map(|gap| gap.at).min().unwrap_or(u64::MAX)
    }

    /// Whether a signal hit it or its section, or its protection was taken away.
    pub fn is_disturbed(&self) -> bool {
        !self.kills.is_empty() || !self.stops.is_empty() || !self.gaps.is_empty()
    }
}

fn once(place: &mut Option<Mark>, mark: Mark, what: &str) -> Result<(), String> {
    match place {
        Some(first) => Err(format!("a second {what:?}; the first is in line {}", first.line)),
        None => {
            *place = Some(mark);
            Ok(())
        }
    }
}
