//! The history of a soak: its format, written and read. `docs/history.md` describes it.
//!
//! What stands here knows neither a lock nor a rule.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::claim::Claim;

/// Longer lines than this are not a history's.
const LONGEST_LINE: usize = 64 * 1024;

/// Larger files than this are not read: what is checked has to fit into memory.
const LARGEST_FILE: u64 = 2 << 30;

/// What a line tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Begin,
    Waits,
    Enter,
    Alive,
    Exit,
    Kill,
    Stop,
    Cont,
    Unprotected,
    Freed,
    Failed,
    End,
}

/// What frees a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    Release,
    Death,
    Lapse,
    Unlock,
}

/// One line. Times are nanoseconds of CLOCK_MONOTONIC.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Line {
    pub event: Kind,
    pub at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alone: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// Words for people: how it was claimed, whom a signal hit, what failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
}

impl Line {
    pub fn new(event: Kind, at: u64, who: &str) -> Self {
        Self { who: Some(who.to_owned()), ..Self::bare(event, at) }
    }

    /// A line about a name rather than a claim.
    pub fn of_name(event: Kind, at: u64, name: &str) -> Self {
        Self { name: Some(name.to_owned()), ..Self::bare(event, at) }
    }

    fn bare(event: Kind, at: u64) -> Self {
        Self {
            event,
            at,
            who: None,
            name: None,
            pid: None,
            alone: None,
            lock_id: None,
            token: None,
            until: None,
            code: None,
            cause: None,
            what: None,
        }
    }

    pub fn what(self, what: impl Into<String>) -> Self {
        Self { what: Some(what.into()), ..self }
    }
}

/// A time during which nobody of a name was protected by its lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// From when on.
    pub at: u64,
    /// Who entered after this is protected again.
    pub until: u64,
    pub line: usize,
}

/// A whole history: each claim, put together from its lines.
#[derive(Debug, Default)]
pub struct History {
    /// As they stand in the file; line 1 is the first.
    pub lines: Vec<Line>,
    /// In the order in which their first lines stand in the file.
    pub claims: Vec<Claim>,
    /// By name.
    pub gaps: HashMap<String, Vec<Gap>>,
    /// The last line was cut off and left out.
    pub torn: bool,
}

/// A line that is none, or contradicts another.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Counted from 1.
    pub line: usize,
    pub why: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} of the history: {}", self.line, self.why)
    }
}

impl std::error::Error for Malformed {}

/// CLOCK_MONOTONIC, in nanoseconds.
pub fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let now = Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0));
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

impl History {
    /// Reads a file in the documented format.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let what = || format!("failed to read {}", path.display());
        let meta = fs::metadata(path).with_context(what)?;
        if !meta.is_file() {
            bail!("{} is not a regular file", path.display());
        }
        if meta.len() > LARGEST_FILE {
            bail!("{} is larger than {} GiB", path.display(), LARGEST_FILE >> 30);
        }
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(LARGEST_FILE).read_to_end(&mut bytes))
            .with_context(what)?;
        Ok(Self::parse(&bytes)?)
    }

    /// Puts the lines together; they may stand in any order.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut history = Self::default();
        let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
        // Nothing, if the file ends with a whole line.
        history.torn = lines.pop().is_some_and(|rest| !rest.is_empty());
        for (index, bytes) in lines.into_iter().enumerate() {
            let line = parse_line(bytes).map_err(|why| Malformed { line: index + 1, why })?;
            history.lines.push(line);
        }
        history.assemble()?;
        Ok(history)
    }

    fn assemble(&mut self) -> Result<(), Malformed> {
        let mut index_of: HashMap<&str, usize> = HashMap::new();
        let mut claims: Vec<Claim> = Vec::new();
        for (index, line) in self.lines.iter().enumerate() {
            let number = index + 1;
            let wrong = |why: String| Malformed { line: number, why };
            match (&line.who, &line.name) {
                (Some(who), _) => {
                    let index = *index_of.entry(who).or_insert_with(|| {
                        claims.push(Claim::new(who));
                        claims.len() - 1
                    });
                    claims[index].add(number, line).map_err(wrong)?;
                }
                (None, Some(name)) if line.event == Kind::Unprotected => {
                    let until = line.until.unwrap_or(u64::MAX);
                    let gap = Gap { at: line.at, until, line: number };
                    self.gaps.entry(name.clone()).or_default().push(gap);
                }
                _ => return Err(wrong("\"who\" is missing".to_owned())),
            }
        }
        for claim in &claims {
            claim.check().map_err(|(line, why)| Malformed { line, why })?;
        }
        self.claims = claims;
        Ok(())
    }

    /// How many critical sections it has.
    pub fn sections(&self) -> usize {
        self.claims.iter().filter(|claim| claim.enter.is_some()).count()
    }
}

fn parse_line(bytes: &[u8]) -> Result<Line, String> {
    if bytes.len() > LONGEST_LINE {
        return Err(format!("it is longer than {LONGEST_LINE} bytes"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    // serde_json counts lines of its own; here each text is one.
    serde_json::from_str(text).map_err(|error| error.to_string().replace(" at line 1 column ", " at column "))
}

/// A history that is being written, by many at once: one write per line.
pub struct Writer {
    file: File,
    path: PathBuf,
}

impl Writer {
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        let file = File::options().create_new(true).append(true).open(path);
        let file = file.with_context(|| format!("failed to create {}", path.display()))?;
        Ok(Self { file, path: path.to_owned() })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn write(&self, line: &Line) -> anyhow::Result<()> {
        let text = serde_json::to_string(line)? + "\n";
        (&self.file)
            .write_all(text.as_bytes())
            .with_context(|| format!("failed to write {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        match History::parse(text.as_bytes()) {
            Ok(history) => panic!("{text}: {history:?}"),
            Err(error) => error.to_string(),
        }
    }

    const ENTER: &str = r#"{"event":"enter","at":5,"who":"a","name":"n"}"#;

    #[test]
    fn lines_of_a_claim_are_put_together_in_any_order() {
        let exit = r#"{"event":"exit","at":9,"who":"a","of a later version":[1,{"x":null}]}"#;
        let history = History::parse(format!("{exit}\n{ENTER}\n").as_bytes()).unwrap();
        assert_eq!(history.sections(), 1);
        assert_eq!(history.claims[0].exit.map(|exit| (exit.at, exit.line)), Some((9, 1)));
        assert!(!history.torn);
    }

    #[test]
    fn a_torn_last_line_is_left_out() {
        let torn = History::parse(format!("{ENTER}\n{{\"event\":\"ex").as_bytes()).unwrap();
        assert!(torn.torn);
        assert_eq!((torn.lines.len(), torn.sections()), (1, 1));
    }

    #[test]
    fn a_bad_line_is_named_by_its_number() {
        let cases = [
            ("{", "line 2 of the history: EOF while parsing"),
            ("", "line 2 of the history: EOF while parsing"),
            ("\u{0}\u{0}", "line 2 of the history: expected value"),
            ("[1]", "line 2 of the history: "),
            (r#"{"event":"exti","at":9,"who":"a"}"#, "line 2 of the history: unknown variant `exti`"),
            (r#"{"event":"exit","who":"a"}"#, "line 2 of the history: missing field `at`"),
            (r#"{"event":"exit","at":-1,"who":"a"}"#, "line 2 of the history: invalid value: integer `-1`"),
            (
                r#"{"event":"exit","at":1e99,"who":"a"}"#,
                "line 2 of the history: invalid type: floating point",
            ),
            (
                r#"{"event":"exit","at":18446744073709551616,"who":"a"}"#,
                "line 2 of the history: invalid type",
            ),
            (r#"{"event":"exit","at":9}"#, "line 2 of the history: \"who\" is missing"),
            (r#"{"event":"enter","at":9,"who":"b"}"#, "line 2 of the history: an \"enter\" needs a \"name\""),
            (ENTER, "line 2 of the history: a second \"enter\"; the first is in line 1"),
            (r#"{"event":"exit","at":4,"who":"a"}"#, "line 2 of the history: \"a\" left before it entered"),
            (
                r#"{"event":"alive","at":4,"who":"a"}"#,
                "line 2 of the history: \"a\" was alive before it entered",
            ),
            (r#"{"event":"exit","at":4,"who":"b"}"#, "line 2 of the history: \"b\" never entered"),
            (
                r#"{"event":"begin","at":1,"who":"a","name":"m"}"#,
                "line 2 of the history: \"a\" claims \"m\" here and \"n\" elsewhere",
            ),
        ];
        for (line, expected) in cases {
            let said = error(&format!("{ENTER}\n{line}\n"));
            assert!(said.starts_with(expected), "{line}: {said}");
        }
    }

    #[test]
    fn hostile_lines_are_refused_and_not_worked_on() {
        let long = format!("{ENTER}\n{}\n", "x".repeat(LONGEST_LINE + 1));
        assert!(error(&long).starts_with("line 2 of the history: it is longer than"));
        let deep = format!("{ENTER}\n{{\"event\":{}\n", "[".repeat(60_000));
        assert!(error(&deep).starts_with("line 2 of the history: "));
        let bytes = [ENTER.as_bytes(), b"\n\xff\xfe\n"].concat();
        let said = History::parse(&bytes).map(drop).unwrap_err().to_string();
        assert_eq!(said, "line 2 of the history: it is not UTF-8");
    }

    #[test]
    fn a_written_line_reads_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let writer = Writer::create(&dir.path().join("history")).unwrap();
        let line = Line { name: Some("n \"\u{7f}\n".to_owned()), ..Line::new(Kind::Enter, now(), "a b") };
        writer.write(&line).unwrap();
        let history = History::read(writer.path()).unwrap();
        assert_eq!(
            (history.claims[0].name.as_str(), history.claims[0].who.as_str()),
            ("n \"\u{7f}\n", "a b")
        );
    }
}
