//! Critical sections: the program that stands in one, the log that it writes, and the judge of that log.
//!
//! A section appends lines of one write each to a file that all sections of a case share: `NANOS PID WHO TOKEN WORD`,
//! with the time on `CLOCK_MONOTONIC` and the word `enter`, `tick` or `exit`. It ticks every other millisecond, so
//! that of a section that was killed it is known until when it stood there. The judge knows nothing of locks: two
//! sections overlap if each had begun before the other was last seen.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use rustix::time::{ClockId, clock_gettime};

/// From one tick to the next.
const TICK: Duration = Duration::from_millis(2);

/// The critical section itself, as the task starts it under a guard; not for people.
#[derive(Args, Clone, Debug)]
pub struct SectionArgs {
    /// The log
    #[arg(long = "section", value_name = "LOG", hide = true)]
    log: Option<PathBuf>,
    /// Whose section it is
    #[arg(long, value_name = "WHO", hide = true, requires = "log")]
    who: Option<String>,
    /// How long it lasts, in milliseconds
    #[arg(long, value_name = "MS", hide = true, requires = "log", default_value_t = 0)]
    lasts_ms: u64,
    /// It ends when there is such a file
    #[arg(long, value_name = "FILE", hide = true, requires = "log")]
    until: Option<PathBuf>,
}

impl SectionArgs {
    /// None: what a task is made with.
    pub const fn none() -> Self {
        Self { log: None, who: None, lasts_ms: 0, until: None }
    }

    /// Stands in the section, if that is what was asked for. Returns whether it was.
    pub fn stand(&self) -> anyhow::Result<bool> {
        let Some(log) = &self.log else { return Ok(false) };
        let mut file = OpenOptions::new().append(true).open(log)?;
        let pid = std::process::id();
        let who = self.who.as_deref().unwrap_or("-");
        let token = std::env::var("LOKT_TOKEN").unwrap_or_else(|_| "0".to_owned());
        let mut say = |word: &str| -> anyhow::Result<()> {
            let line = format!("{} {pid} {who} {token} {word}\n", monotonic().as_nanos());
            file.write_all(line.as_bytes())?;
            Ok(())
        };
        say("enter")?;
        let end = monotonic() + Duration::from_millis(self.lasts_ms);
        let over = || monotonic() >= end && self.until.as_ref().is_none_or(|until| until.exists());
        while !over() {
            thread::sleep(TICK);
            say("tick")?;
        }
        say("exit")?;
        Ok(true)
    }
}

/// `CLOCK_MONOTONIC`, which all processes of a machine share.
pub fn monotonic() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    Duration::new(time.tv_sec.max(0) as u64, time.tv_nsec.max(0) as u32)
}

/// What the log tells of one section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stay {
    pub who: String,
    pub pid: i32,
    pub token: u64,
    pub first: Duration,
    pub last: Duration,
    /// It came to its own end.
    pub left: bool,
}

impl Stay {
    fn overlaps(&self, other: &Self) -> bool {
        self.first < other.last && other.first < self.last
    }
}

/// The sections of a log, in the order in which they were entered.
pub fn read(log: &Path) -> anyhow::Result<Vec<Stay>> {
    let text = fs::read_to_string(log).with_context(|| format!("failed to read {}", log.display()))?;
    stays(&text).with_context(|| format!("{} is not a log of sections", log.display()))
}

fn stays(text: &str) -> Option<Vec<Stay>> {
    let mut stays: BTreeMap<(String, i32), Stay> = BTreeMap::new();
    for line in text.lines() {
        let mut fields = line.split(' ');
        let mut field = || fields.next();
        let at = Duration::from_nanos(field()?.parse().ok()?);
        let (pid, who) = (field()?.parse().ok()?, field()?.to_owned());
        let (token, word) = (field()?.parse().ok()?, field()?);
        let stay = stays.entry((who.clone(), pid)).or_insert(Stay {
            who,
            pid,
            token,
            first: at,
            last: at,
            left: false,
        });
        stay.last = at;
        stay.left = word == "exit";
    }
    let mut stays: Vec<Stay> = stays.into_values().collect();
    stays.sort_by_key(|stay| stay.first);
    Some(stays)
}

/// What is wrong with a history: sections that overlap, tokens that do not rise.
pub fn judge(stays: &[Stay]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (n, one) in stays.iter().enumerate() {
        for other in stays[n + 1..].iter().filter(|other| one.overlaps(other)) {
            let together = one.last.min(other.last).saturating_sub(one.first.max(other.first));
            let ms = together.as_secs_f64() * 1e3;
            wrong.push(format!("{} and {} were inside at once for {ms:.1} ms", one.who, other.who));
        }
    }
    for pair in stays.windows(2).filter(|pair| pair[1].token <= pair[0].token) {
        let [before, after] = pair else { continue };
        wrong.push(format!(
            "{} had token {}, and {} after it {}",
            before.who, before.token, after.who, after.token
        ));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(text: &str) -> Vec<String> {
        judge(&stays(text).unwrap_or_default())
    }

    #[test]
    fn sections_one_after_another_are_right() {
        let text = "1 10 a 1 enter\n3 10 a 1 tick\n5 10 a 1 exit\n5 11 b 2 enter\n9 11 b 2 exit\n";
        assert_eq!(history(text), [""; 0]);
    }

    #[test]
    fn a_section_that_was_killed_is_inside_until_its_last_tick() {
        let text = "1 10 a 1 enter\n3000000 11 b 2 enter\n5000000 10 a 1 tick\n9000000 11 b 2 exit\n";
        assert_eq!(history(text), ["a and b were inside at once for 2.0 ms"]);
        let text = "1 10 a 1 enter\n5 10 a 1 tick\n6 11 b 2 enter\n9 11 b 2 exit\n";
        assert_eq!(history(text), [""; 0]);
    }

    #[test]
    fn tokens_must_rise() {
        let text = "1 10 a 7 enter\n2 10 a 7 exit\n3 11 b 7 enter\n4 11 b 7 exit\n";
        assert_eq!(history(text), ["a had token 7, and b after it 7"]);
    }

    #[test]
    fn a_log_of_something_else_is_no_log() {
        assert_eq!(stays("hello\n"), None);
    }
}
