//! Values of arguments, and arguments that several commands share.

use std::time::Duration;

use crate::protocol::{LockId, Mode, Name, parse_duration};
use crate::{Patience, Terms, words};

/// A waiter that names no limit gives up after this.
const DEFAULT_WAIT: Duration = Duration::from_secs(600);

/// Whoever wants a slot looks at all who have one.
const MOST_SLOTS: u32 = 10_000;

/// Between two looks of `--watch`.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

pub(super) fn name(text: &str) -> Result<Name, String> {
    text.parse::<Name>().map_err(|bad| bad.to_string())
}

/// Names of locks in one argument, separated by commas.
#[derive(Debug, Clone)]
pub(super) struct Names(pub(super) Vec<Name>);

pub(super) fn names(text: &str) -> Result<Names, String> {
    let parts: Vec<&str> = text.split(',').collect();
    let parse = |(at, part): (usize, &&str)| {
        name(part).map_err(|bad| match parts.len() {
            1 => bad,
            _ => format!("{bad} (number {} of \"{}\")", at + 1, words::printable(text)),
        })
    };
    parts.iter().enumerate().map(parse).collect::<Result<_, _>>().map(Names)
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|bad| bad.to_string())
}

/// How often to look: not so often that looking is all that is done.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        interval if interval < SHORTEST_INTERVAL => {
            Err("under 100ms there is time for nothing else: use 100ms or more".to_owned())
        }
        interval => Ok(interval),
    }
}

pub(super) fn lock_id(text: &str) -> Result<String, String> {
    // Its digits may come from a tool that writes them large.
    match LockId::parse(&text.to_ascii_lowercase()) {
        Some(id) => Ok(id.to_string()),
        None => Err(format!(
            "\"{}\" is not a lock's id: 32 hexadecimal digits, as lokt status NAME shows them",
            words::printable(text)
        )),
    }
}

pub(super) fn exit_code(text: &str) -> Result<u8, String> {
    text.parse()
        .map_err(|_| format!("\"{}\" is not an exit code: a number from 0 to 255", words::printable(text)))
}

pub(super) fn pid(text: &str) -> Result<i64, String> {
    match text.parse() {
        Ok(pid) if pid > 0 => Ok(pid),
        _ => {
            Err(format!("\"{}\" is not a process id: give a number, as in --pid $$", words::printable(text)))
        }
    }
}

fn slots(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(slots @ 1..=MOST_SLOTS) => Ok(slots),
        _ => Err(format!(
            "\"{}\" is no number of slots: give one from 1 to {MOST_SLOTS}",
            words::printable(text)
        )),
    }
}

/// Which lock is wanted, and how.
#[derive(clap::Args)]
pub(super) struct Wanted {
    /// The lock's name
    #[arg(value_parser = name)]
    pub(super) name: Name,
    #[command(flatten)]
    how: How,
}

/// How a lock is wanted; shared by `lock` and `guard`.
#[derive(clap::Args)]
pub(super) struct How {
    /// Let others take it over when it has not been renewed for this long (5m, 1h30m)
    #[arg(long, value_name = "DURATION", value_parser = duration, allow_hyphen_values = true)]
    ttl: Option<Duration>,
    /// Wait in line until it is our turn, for 10 minutes unless --timeout says otherwise
    #[arg(long)]
    wait: bool,
    /// How long to wait; needs --wait
    #[arg(long, value_name = "DURATION", value_parser = duration, allow_hyphen_values = true, requires = "wait")]
    timeout: Option<Duration>,
    /// Take over a lease that has lapsed, although its holder may still be alive
    #[arg(long)]
    break_stale: bool,
    /// Let so many hold it at once; a guard's command sees which slot it has as LOKT_SLOT, from 1
    #[arg(long, value_name = "N", value_parser = slots, allow_hyphen_values = true, conflicts_with = "shared")]
    slots: Option<u32>,
    /// Share it with all who ask for it so, and with nobody who does not: many readers or one writer
    #[arg(long)]
    shared: bool,
    /// What to tell those who find it held
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

impl Wanted {
    pub(super) fn terms(&self) -> Terms {
        self.how.terms()
    }

    pub(super) fn patience(&self) -> Patience {
        self.how.patience()
    }
}

impl How {
    pub(super) fn terms(&self) -> Terms {
        Terms {
            ttl: self.ttl.filter(|ttl| !ttl.is_zero()),
            note: self.note.clone().filter(|note| !note.is_empty()),
            break_stale: self.break_stale,
            mode: match self.slots {
                Some(slots) => Mode::Slots(slots),
                None if self.shared => Mode::Shared,
                None => Mode::Exclusive,
            },
            kill_after: None,
        }
    }

    pub(super) fn patience(&self) -> Patience {
        if !self.wait {
            return Patience::None;
        }
        Patience::AtMost(self.timeout.unwrap_or(DEFAULT_WAIT))
    }
}
