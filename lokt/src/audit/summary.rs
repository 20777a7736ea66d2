//! The log, added up: how often each lock was taken, refused and broken, how long it was held and waited for.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use jiff::Timestamp;

use super::entry::Entry;
use super::{ACQUIRE, AUTO_PRUNE, CORRUPT_BREAK, FORCE_BREAK, LOST, STALE_BREAK, WAIT};

/// How many beginnings are remembered whose end has not come; who writes what never ends can't have all the memory.
const MOST_OPEN: usize = 1 << 20;

/// What happened to one lock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Which.
    pub name: String,
    /// How many claims were admitted.
    pub acquisitions: u64,
    /// How many were refused in the end, for a holder or for a freeze.
    pub denials: u64,
    /// How long it was held, each time of which both ends are known; the shortest first.
    pub held: Vec<Duration>,
    /// How long those waited who got it in the end; the shortest first.
    pub waited: Vec<Duration>,
    /// How often a record was removed by another than its holder.
    pub breaks: Breaks,
    /// How many guards found their lock lost.
    pub lost: u64,
}

/// Records that were removed by another than their holder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Breaks {
    /// Stale ones, on demand; and lapsed leases that were taken over.
    pub stale: u64,
    /// Any, by force.
    pub force: u64,
    /// Corrupt ones.
    pub corrupt: u64,
    /// Dead ones, on the way of another.
    pub prune: u64,
}

impl Breaks {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.stale + self.force + self.corrupt + self.prune
    }
}

impl Summary {
    /// The time that so many percent of `times` (the shortest first) do not exceed: the nearest rank.
    pub fn percentile(times: &[Duration], percent: usize) -> Option<Duration> {
        let rank = (times.len() * percent).div_ceil(100).max(1);
        times.get(rank - 1).copied()
    }
}

/// Adds events up, in the order of the log; a summary for each lock, by name.
///
/// # Errors
///
/// The first error that `entries` has.
pub fn summarize<E>(entries: impl IntoIterator<Item = Result<Entry, E>>) -> Result<Vec<Summary>, E> {
    let mut sums = Sums::default();
    for entry in entries {
        sums.add(&entry?);
    }
    let mut all: Vec<Summary> = sums.names.into_values().collect();
    for summary in &mut all {
        summary.held.sort_unstable();
        summary.waited.sort_unstable();
    }
    Ok(all)
}

#[derive(Default)]
struct Sums {
    names: BTreeMap<String, Summary>,
    /// When an admission, by its `lock_id`, began; and when a claim, by the id of its later admission, began to wait.
    admitted: HashMap<String, Timestamp>,
    waits: HashMap<String, Timestamp>,
}

impl Sums {
    fn add(&mut self, entry: &Entry) {
        let fields = &entry.fields;
        let id = fields.lock_id.as_deref().unwrap_or_default();
        let new = || Summary { name: fields.name.clone(), ..Summary::default() };
        let summary = self.names.entry(fields.name.clone()).or_insert_with(new);
        match fields.event.as_str() {
            ACQUIRE => {
                summary.acquisitions += 1;
                summary.waited.extend(self.waits.remove(id).map(|since| entry.since(since)));
                remember(&mut self.admitted, id, fields.ts);
            }
            // One that was put out of line, or that stepped aside, waits since it first came.
            WAIT if self.waits.contains_key(id) => {}
            WAIT => remember(&mut self.waits, id, fields.ts),
            STALE_BREAK => summary.breaks.stale += 1,
            FORCE_BREAK => summary.breaks.force += 1,
            CORRUPT_BREAK => summary.breaks.corrupt += 1,
            // A freeze that has lapsed was nobody's lock.
            AUTO_PRUNE => summary.breaks.prune += u64::from(!entry.is_of_freeze()),
            LOST => summary.lost += 1,
            _ => summary.denials += u64::from(entry.is_denial()),
        }
        if entry.is_end() {
            summary.held.extend(self.admitted.remove(id).map(|since| entry.since(since)));
        }
    }
}

fn remember(times: &mut HashMap<String, Timestamp>, id: &str, ts: Timestamp) {
    if !id.is_empty() && times.len() < MOST_OPEN {
        times.insert(id.to_owned(), ts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(second: u64, event: &str, name: &str, id: &str) -> Result<Entry, ()> {
        let line = format!(
            r#"{{"ts":"2026-11-24T12:{:02}:{:02}Z","event":"{event}","name":"{name}","lock_id":"{id}"}}"#,
            second / 60,
            second % 60
        );
        Entry::parse(line.as_bytes()).ok_or(())
    }

    fn seconds(times: &[u64]) -> Vec<Duration> {
        times.iter().copied().map(Duration::from_secs).collect()
    }

    #[test]
    fn events_of_one_admission_are_joined_by_its_id() {
        let all = summarize([
            entry(0, "acquire", "b", "1"),
            entry(1, "wait", "b", "2"),
            entry(4, "wait", "b", "2"),
            entry(2, "wait", "b", "3"),
            entry(10, "release", "b", "1"),
            entry(10, "acquire", "b", "2"),
            entry(11, "renew", "b", "2"),
            entry(13, "stale-break", "b", "2"),
            entry(13, "acquire", "b", "3"),
            entry(14, "lost", "b", "2"),
            entry(15, "deny", "b", ""),
            entry(15, "freeze-deny", "b", "f"),
            entry(15, "something-newer", "b", ""),
            entry(16, "auto-prune", "a", "unknown"),
            entry(17, "corrupt-break", "a", ""),
            entry(18, "acquire", "a", "4"),
            entry(17, "force-break", "a", "4"),
        ])
        .unwrap();
        let b = Summary {
            name: "b".to_owned(),
            acquisitions: 3,
            denials: 2,
            held: seconds(&[3, 10]),
            waited: seconds(&[9, 11]),
            breaks: Breaks { stale: 1, ..Breaks::default() },
            lost: 1,
        };
        let a = Summary {
            name: "a".to_owned(),
            acquisitions: 1,
            // The clock was set back.
            held: seconds(&[0]),
            breaks: Breaks { prune: 1, corrupt: 1, force: 1, stale: 0 },
            ..Summary::default()
        };
        assert_eq!(all, [a, b]);
    }

    #[test]
    fn a_freeze_that_was_swept_is_no_broken_lock() {
        let swept =
            r#"{"ts":"2026-11-24T12:00:00Z","event":"auto-prune","name":"a","extra":{"freeze_owner":"ada"}}"#;
        let all = summarize([Entry::parse(swept.as_bytes()).ok_or(())]).unwrap();
        assert_eq!(all, [Summary { name: "a".to_owned(), ..Summary::default() }]);
    }

    #[test]
    fn a_percentile_is_a_time_that_was_measured() {
        let hundred = seconds(&(1..=100).collect::<Vec<_>>());
        let of = |times: &[Duration], percent| Summary::percentile(times, percent).map(|time| time.as_secs());
        assert_eq!((of(&hundred, 50), of(&hundred, 99)), (Some(50), Some(99)));
        assert_eq!((of(&hundred[..1], 50), of(&hundred[..1], 99)), (Some(1), Some(1)));
        assert_eq!((of(&hundred[..3], 50), of(&hundred[..3], 99)), (Some(2), Some(3)));
        assert_eq!(of(&[], 50), None);
    }
}
