//! `lokt audit`: what happened to the locks, by their log.

use std::io;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags};
use rustix::process::Signal;
use serde_json::{Map, Value, json};

use super::events::{Lines, length};
use super::exit::Exit;
use super::output::{Output, Report, Stream, element, say, unwritten};
use super::screen::{BAD, PLAIN, Screen};
use super::table::{Cell, Give, Table};
use super::values::name;
use crate::audit::{EVENTS, Entry, Query, Reading, Summary, summarize};
use crate::host::clock::monotonic;
use crate::host::signals::{Signals, asks_to_end};
use crate::protocol::{Name, Now, parse_duration};
use crate::{Error, Locks, words};

/// How many events are shown, if nothing else is said.
const SHOWN: usize = 20;

/// How often the log is looked at while it is followed. The kernel could tell of changes (inotify), but to few at a
/// time only: 128 of a user on a stock system. A look is a few system calls.
const INTERVAL: Duration = Duration::from_millis(200);

/// What is said of a line that does not end.
const GAVE_UP: [&str; 2] = [
    "gave up a line of the audit log that does not end: events beside it may be missing",
    "hint: move the file away that has it, in the lock directory (audit.log, audit.log.1 and so on)",
];

/// The columns of a summary.
const SUMMED: [&str; 9] =
    ["LOCK", "TAKEN", "DENIED", "HELD P50", "P99", "WAITED P50", "P99", "BROKEN", "LOST"];

/// What gives way on a narrow terminal.
const GIVES: [Give; 9] = [
    Give::Cut("BROKEN", 8),
    Give::Leave("P99"),
    Give::Cut("LOCK", 16),
    Give::Leave("WAITED P50"),
    Give::Leave("DENIED"),
    Give::Leave("HELD P50"),
    Give::Cut("LOCK", 8),
    Give::Leave("BROKEN"),
    Give::Leave("LOST"),
];

/// By how many events the columns of the list are measured, before it is printed.
const MEASURED: usize = 500;

/// Show what happened to which lock, when, and who did it
///
/// The last 20 events, or all --since then. On a terminal a table; into a file or a pipe the lines of the log as
/// they are stored, one JSON object each. The log keeps 64 MiB of the past (LOKT_AUDIT_MAX_BYTES chooses another
/// size; 0 keeps everything).
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    lokt audit                               the last 20 events\n  \
    lokt audit --since 1h --name deploy      the last hour of one lock\n  \
    lokt audit --since 2026-11-24T09:00:00Z --event deny --event lost\n  \
    lokt audit --tail                        follow what happens, until Ctrl-C\n  \
    lokt audit --since 24h --summary         how often and how long each was held\n  \
    lokt audit --since 24h --json            one JSON array")]
pub(super) struct Args {
    /// Events since then: for so long (90s, 1h30m), or from a time on, with its zone (2026-11-24T09:00:00Z)
    #[arg(long, value_name = "WHEN", value_parser = since, allow_hyphen_values = true)]
    since: Option<Since>,
    /// Only the last N of them
    #[arg(long, value_name = "N", value_parser = count, allow_hyphen_values = true)]
    limit: Option<usize>,
    /// Only events of this lock; may be given several times
    #[arg(long, value_name = "NAME", value_parser = name)]
    name: Vec<Name>,
    /// Only events of this kind (acquire, deny, release, …); may be given several times
    #[arg(long, value_name = "EVENT", value_parser = PossibleValuesParser::new(EVENTS), hide_possible_values = true)]
    event: Vec<String>,
    /// Only what this owner did; may be given several times
    #[arg(long, value_name = "OWNER")]
    owner: Vec<String>,
    /// Go on with what happens, until a signal comes: from now on, or after --since or --limit
    #[arg(long)]
    tail: bool,
    /// Print one JSON array
    #[arg(long, conflicts_with = "tail")]
    json: bool,
    /// Add up for each lock: how often taken, refused and broken, how long held and waited for
    #[arg(long, conflicts_with_all = ["tail", "limit", "event"])]
    summary: bool,
}

/// Since when.
#[derive(Debug, Clone, Copy)]
enum Since {
    Ago(Duration),
    At(Timestamp),
}

fn since(text: &str) -> Result<Since, String> {
    let bad = match (parse_duration(text), text.parse()) {
        (Ok(ago), _) => return Ok(Since::Ago(ago)),
        (_, Ok(at)) => return Ok(Since::At(at)),
        (Err(bad), _) => bad,
    };
    let shown = words::printable(text);
    // It would be another time on another machine; the log is in UTC.
    let in_utc = ["Z", "T00:00Z"].iter().find_map(|end| format!("{text}{end}").parse::<Timestamp>().ok());
    if let Some(time) = in_utc {
        return Err(format!("\"{shown}\" has no time zone: write {time} for UTC"));
    }
    let number = text.trim_start_matches(|c: char| c.is_ascii_digit() || "+-.".contains(c)).len();
    match text.len() - number {
        1..=6 if !text[text.len() - number..].contains(['-', ':', '/']) => Err(bad.to_string()),
        _ => Err(format!("\"{shown}\" is neither a duration (90s, 1h30m) nor a time (2026-11-24T09:00:00Z)")),
    }
}

fn count(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("\"{}\" is not a number of events", words::printable(text)))
}

impl Args {
    fn query(&self, now: &Now) -> Query {
        let since = self.since.map(|since| match since {
            Since::Ago(ago) => now.wall.saturating_sub(ago).unwrap_or(Timestamp::MIN),
            Since::At(at) => at,
        });
        let all = since.is_some() || self.summary;
        let last = match self.limit {
            None if all => None,
            None if self.tail => Some(0),
            limit => Some(limit.unwrap_or(SHOWN)),
        };
        Query {
            since,
            last,
            names: self.name.iter().map(Name::to_string).collect(),
            events: self.event.clone(),
            owners: self.owner.clone(),
        }
    }
}

/// Why a list ended early.
enum Broken {
    Log(Error),
    Stdout(io::Error),
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self::Log(error)
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Stdout(error)
    }
}

pub(super) fn run(locks: &Locks, args: &Args) -> Result<Report, Error> {
    let mut reading = locks.audit(args.query(&locks.now()))?;
    let outcome = if args.summary {
        let summaries = summarize(&mut reading)?;
        Ok(Report::ok(if args.json {
            Output::Json(summaries.iter().map(object).collect())
        } else {
            Output::Text(table(&summaries))
        }))
    } else if args.tail {
        follow(locks, &mut reading).map(Report::silent)
    } else if args.json {
        array(&mut reading).map(|()| Report::silent(Exit::Ok))
    } else {
        list(locks, &mut reading).map(|()| Report::silent(Exit::Ok))
    };
    let mut report = match outcome {
        Ok(report) => report,
        Err(Broken::Stdout(error)) => return Ok(unwritten(&error, Exit::Ok)),
        Err(Broken::Log(error)) => return Err(error),
    };
    report.messages.extend(left_out(reading.malformed()));
    if reading.gave_up() {
        report.messages.extend(GAVE_UP.map(str::to_owned));
    }
    Ok(report)
}

fn left_out(malformed: u64) -> Option<String> {
    match malformed {
        0 => None,
        1 => Some("left out a line of the audit log that is no event".to_owned()),
        many => Some(format!("left out {many} lines of the audit log that are no events")),
    }
}

/// Events as they are stored, or for people.
fn list(locks: &Locks, reading: &mut Reading) -> Result<(), Broken> {
    let mut out = Stream::stdout();
    let screen = Screen::stdout();
    if !screen.is_terminal() {
        for entry in reading {
            out.line(&entry?.line)?;
        }
        return Ok(out.flush()?);
    }
    let mut lines = Lines::ago(screen, locks.now().wall);
    let first = reading.by_ref().take(MEASURED).collect::<Result<Vec<Entry>, Error>>()?;
    first.iter().for_each(|entry| lines.measure(entry));
    if first.is_empty() {
        out.line("no events")?;
    }
    for entry in first.into_iter().map(Ok).chain(reading) {
        out.line(&lines.line(&entry?))?;
    }
    Ok(out.flush()?)
}

/// The events in one array. It is printed piece by piece: it may be long.
fn array(reading: &mut Reading) -> Result<(), Broken> {
    let mut out = Stream::stdout();
    let mut before = "[\n";
    for entry in reading {
        let Ok(value) = serde_json::from_slice(entry?.line.as_bytes()) else { continue };
        out.text(before)?;
        out.text(&element(&value))?;
        before = ",\n";
    }
    out.line(if before == "[\n" { "[]" } else { "\n]" })?;
    Ok(out.flush()?)
}

/// What there is, and what comes, until somebody ends it.
fn follow(locks: &Locks, reading: &mut Reading) -> Result<Exit, Broken> {
    let signals = Signals::catch().map_err(Error::root)?;
    let screen = Screen::stdout();
    let mut lines = screen.is_terminal().then(|| Lines::clock(screen, locks.now().wall));
    if lines.is_some() {
        say("following the audit log until Ctrl-C");
    }
    let mut out = Stream::stdout();
    loop {
        for entry in &mut *reading {
            // A reader who takes nothing for a while must not keep a signal from us.
            if let Some(exit) = await_room(&signals) {
                return Ok(exit);
            }
            let entry = entry?;
            match &mut lines {
                Some(lines) => out.line(&lines.line(&entry))?,
                None => out.line(&entry.line)?,
            }
            out.flush()?;
        }
        let until = Some(monotonic() + INTERVAL);
        if came_of_stdout(&signals, PollFlags::empty(), until).intersects(PollFlags::ERR | PollFlags::HUP) {
            // Nobody reads it any more.
            return Ok(Exit::Ok);
        }
        if let Some(exit) = asked_to_end(&signals) {
            return Ok(exit);
        }
        reading.look_again()?;
    }
}

/// Sleeps until a signal comes, the time is `until`, or stdout is ready for what is `wanted` or has come to its end.
fn came_of_stdout(signals: &Signals, wanted: PollFlags, until: Option<Duration>) -> PollFlags {
    let stdout = rustix::stdio::stdout();
    let came = signals.wait_or(until, &[PollFd::new(&stdout, wanted)]);
    came.first().copied().unwrap_or(PollFlags::empty())
}

fn await_room(signals: &Signals) -> Option<Exit> {
    while came_of_stdout(signals, PollFlags::OUT, None).is_empty() {
        if let Some(exit) = asked_to_end(signals) {
            return Some(exit);
        }
    }
    None
}

/// How to end, if a signal asks for it: Ctrl-C is the usual way.
fn asked_to_end(signals: &Signals) -> Option<Exit> {
    let came = signals.take();
    if came.iter().any(|came| came.signal == Signal::TSTP) {
        signals.stop();
    }
    let signal = came.iter().find(|came| asks_to_end(came.signal))?.signal;
    Some(match signal {
        Signal::INT | Signal::TERM => Exit::Ok,
        other => Exit::Signal(other.as_raw()),
    })
}

/// The summaries for people.
fn table(summaries: &[Summary]) -> String {
    if summaries.is_empty() {
        return "no events".to_owned();
    }
    let mut table = Table::new(&SUMMED, &GIVES);
    for summary in summaries {
        let time = |times: &[Duration], percent| {
            Cell::from(Summary::percentile(times, percent).map(length).unwrap_or_default())
        };
        let lost = if summary.lost == 0 { String::new() } else { summary.lost.to_string() };
        table.row([
            Cell::new(words::printable(&summary.name), PLAIN),
            Cell::from(summary.acquisitions.to_string()),
            Cell::from(summary.denials.to_string()),
            time(&summary.held, 50),
            time(&summary.held, 99),
            time(&summary.waited, 50),
            time(&summary.waited, 99),
            Cell::new(broken(summary), BAD),
            Cell::new(lost, BAD),
        ]);
    }
    table.render(Screen::stdout())
}

/// `1 stale, 2 force`; nothing if none was broken.
fn broken(summary: &Summary) -> String {
    let breaks = summary.breaks;
    let kinds = [
        (breaks.stale, "stale"),
        (breaks.force, "force"),
        (breaks.corrupt, "corrupt"),
        (breaks.prune, "pruned"),
    ];
    let kinds: Vec<String> =
        kinds.iter().filter(|kind| kind.0 > 0).map(|kind| format!("{} {}", kind.0, kind.1)).collect();
    kinds.join(", ")
}

/// A summary as JSON; times in seconds, left out where nothing was measured.
fn object(summary: &Summary) -> Value {
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| drop(object.insert(key.to_owned(), value));
    put("name", json!(summary.name));
    put("acquisitions", json!(summary.acquisitions));
    put("denials", json!(summary.denials));
    for (kind, times) in [("hold", &summary.held), ("wait", &summary.waited)] {
        put(&format!("{kind}_count"), json!(times.len()));
        for percent in [50, 99] {
            if let Some(time) = Summary::percentile(times, percent) {
                put(&format!("{kind}_p{percent}_sec"), json!(time.as_millis() as f64 / 1000.0));
            }
        }
    }
    put("stale_breaks", json!(summary.breaks.stale));
    put("force_breaks", json!(summary.breaks.force));
    put("corrupt_breaks", json!(summary.breaks.corrupt));
    put("prunes", json!(summary.breaks.prune));
    put("lost", json!(summary.lost));
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_without_its_zone_is_told_how_to_have_one() {
        for (typed, meant) in [
            ("2026-12-01", "2026-12-01T00:00:00Z"),
            ("20261201", "2026-12-01T00:00:00Z"),
            ("2026-12-01T03:20", "2026-12-01T03:20:00Z"),
            ("2026-12-01 03:20:00", "2026-12-01T03:20:00Z"),
            ("2026-12-01T03:20:00", "2026-12-01T03:20:00Z"),
        ] {
            let said = since(typed).unwrap_err();
            assert_eq!(said, format!("\"{typed}\" has no time zone: write {meant} for UTC"));
            assert!(since(meant).is_ok());
        }
    }

    #[test]
    fn what_begins_as_a_duration_is_told_what_it_lacks() {
        for (typed, lacks) in [
            ("1", "a number without a unit: write 1s for seconds"),
            ("-1h", "is negative"),
            ("+7d", "is not a duration"),
            (".", "a number without a unit"),
            ("3600", "write 3600s for seconds"),
            ("2026/12/01", "neither a duration"),
            ("20261301", "neither a duration"),
            ("2026-13-01", "neither a duration (90s, 1h30m) nor a time"),
            ("12:30", "neither a duration"),
            ("2026-12-01T03:20:00[Asia/Tokyo]", "neither a duration"),
            ("yesterday", "neither a duration"),
            ("", "neither a duration"),
        ] {
            let said = since(typed).unwrap_err();
            assert!(said.contains(lacks), "{said}");
        }
        assert!(matches!(since("+1h"), Ok(Since::Ago(ago)) if ago.as_secs() == 3600));
    }
}
