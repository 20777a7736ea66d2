//! The record of a holder: one JSON file, readable by and from the Go tool.
//!
//! Reads anything, writes one thing: the Go tool's fields in its order, then ours, then whatever else stood
//! there, so that a renewal by this version loses nothing that a later one wrote.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::temporal::Pieces;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::clock::{ClockId, Now};
use super::mode::Mode;

/// The record version that this code reads and writes.
pub const VERSION: u64 = 1;

/// The identity of one admission: 32 hexadecimal digits, random, never used twice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockId(String);

impl LockId {
    /// An id from 16 random bytes.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The id in `text`, if it is one.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 32 && text.bytes().all(hex)).then(|| Self(text.to_owned()))
    }

    /// The 32 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What keeps a record of ours alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A process that holds the liveness flock of its `lock_id`, and renews.
    Guard,
    /// No process: until `unlock`, its TTL, or the end of the process that `--pid` named.
    Manual,
    /// A freeze: keeps others out, admits nobody.
    Freeze,
    /// Several who hold the name together; each has a record of its own.
    Joint,
    /// Written by a later version: counts as held.
    #[serde(other)]
    Unknown,
}

impl Kind {
    /// The clock on which a record of this kind has its deadline: one that stands still while the machine is
    /// suspended, as its holder does; but what nobody renews goes on.
    pub fn clock(self, now: &Now) -> Duration {
        match self {
            Self::Manual | Self::Freeze => now.boottime,
            Self::Guard | Self::Joint | Self::Unknown => now.monotonic,
        }
    }
}

/// The record of a holder, as it stands in `<root>/locks/<name>.json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The record's version: [`VERSION`].
    #[serde(default)]
    pub version: u64,
    /// The lock's name. The file's name counts; this one is for people.
    #[serde(default)]
    pub name: String,
    /// The admission's identity.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub lock_id: String,
    /// Who holds it, for people.
    #[serde(default)]
    pub owner: String,
    /// The machine's name, for people and for the Go tool.
    #[serde(default)]
    pub host: String,
    /// The holder's process; 0 where no process holds it, which the Go tool takes for alive.
    #[serde(default)]
    pub pid: i64,
    /// When that process started (Linux: field 22 of `/proc/PID/stat`, in clock ticks, as the Go tool has it).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid_start_ns: Option<i64>,
    /// The agent that acts for the owner.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub agent_id: String,
    /// When the lock was acquired: RFC 3339, with nanoseconds.
    #[serde(default)]
    pub acquired_ts: String,
    /// The TTL in whole seconds, rounded up; absent when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_sec: Option<u64>,
    /// When the lease lapses by the wall clock, for people and for the Go tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,

    /// What keeps it alive; absent from the records of the Go tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// The admission's fencing token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<u64>,
    /// What the holder says about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The exact TTL, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ns: Option<u64>,
    /// When the lease lapses, in nanoseconds on the clock `clock_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ns: Option<u64>,
    /// Whose clock `deadline_ns` was read from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_id: Option<String>,
    /// On whose clock it was acquired, if it was renewed on another since: `pid` and its start are of this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acquired_clock_id: Option<String>,
    /// The process-id namespace in which `pid` means something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid_ns: Option<u64>,
    /// The inode of the session's file: another file in its place says nothing of the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_ino: Option<u64>,
    /// The session's file is on a file system of this machine's own: whoever finds the same sees its flock, in whichever
    /// container, and whatever that one says of its boot and its name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub session_local: bool,
    /// How often the lease has been renewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewals: Option<u64>,
    /// Those who hold the name together have one identity in common, and so has the record that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joint: Option<String>,
    /// It is shared: among any number.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
    /// How many may hold it at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slots: Option<u32>,
    /// Which of those slots is this holder's, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<u32>,

    /// What a later version wrote beside.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

impl Record {
    /// The record as a file's content.
    pub fn write(&self) -> Vec<u8> {
        let mut content = serde_json::to_vec_pretty(self).unwrap_or_default();
        content.push(b'\n');
        content
    }

    /// The admission's identity, if the record names a proper one.
    pub fn id(&self) -> Option<LockId> {
        LockId::parse(&self.lock_id)
    }

    /// How the name is held.
    pub fn mode(&self) -> Mode {
        match self.slots {
            Some(slots) => Mode::Slots(slots),
            None if self.shared => Mode::Shared,
            None => Mode::Exclusive,
        }
    }

    pub(super) fn set_mode(&mut self, mode: Mode) {
        self.shared = mode == Mode::Shared;
        self.slots = mode.slots();
    }

    /// Whether it must outlive a power cut: a guard's would bind nobody afterwards, as its session is gone.
    pub fn is_lasting(&self) -> bool {
        self.kind != Some(Kind::Guard)
    }

    /// What those have in common who hold the name together, if this is the record that says that they do.
    pub fn group(&self) -> Option<&str> {
        let together = self.kind == Some(Kind::Joint) && self.mode() != Mode::Exclusive;
        self.joint.as_deref().filter(|_| together)
    }

    /// Who founded the group that it says there is: whose admission it was.
    pub fn founder(&self) -> Option<LockId> {
        LockId::parse(self.group()?)
    }

    /// The TTL; `None` if the lock is strict.
    pub fn ttl(&self) -> Option<Duration> {
        self.ttl_ns
            .map(Duration::from_nanos)
            .or_else(|| self.ttl_sec.map(Duration::from_secs))
            .filter(|ttl| !ttl.is_zero())
    }

    /// The deadline on the record's own clock.
    pub fn deadline(&self) -> Option<Duration> {
        self.deadline_ns.map(Duration::from_nanos)
    }

    /// Whose clock the deadline is on.
    pub fn clock(&self) -> Option<ClockId> {
        self.clock_id.as_deref().map(ClockId::new)
    }

    /// On whose clock it was acquired.
    pub fn acquired_clock(&self) -> Option<ClockId> {
        self.acquired_clock_id.as_deref().map(ClockId::new).or_else(|| self.clock())
    }

    /// Whether it was acquired in the boot of this clock.
    pub fn is_of_boot(&self, clock: &ClockId) -> bool {
        self.acquired_clock().is_some_and(|then| then.boot() == clock.boot())
    }

    /// When its process started, as it is told to those who read this clock: another time namespace shifts it.
    pub fn pid_start_on(&self, clock: &ClockId) -> Option<i64> {
        self.pid_start_ns.filter(|_| self.acquired_clock().as_ref() == Some(clock))
    }

    /// When it was acquired, by the wall clock of then.
    pub fn acquired(&self) -> Option<Timestamp> {
        time_of(&self.acquired_ts)
    }

    /// When it lapses, by the wall clock.
    pub fn expires(&self) -> Option<Timestamp> {
        time_of(self.expires_at.as_deref()?)
    }

    /// How long ago it was acquired, as far as the wall clock can tell.
    pub fn age(&self, now: &Now) -> Duration {
        self.acquired()
            .and_then(|then| Duration::try_from(now.wall.duration_since(then)).ok())
            .unwrap_or_default()
    }

    /// Starts a new lease of `ttl` at `now`; without a length there is none.
    pub fn start_lease(&mut self, ttl: Option<Duration>, now: &Now) {
        let ttl = ttl.filter(|ttl| !ttl.is_zero());
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let clock = self.kind.unwrap_or(Kind::Unknown).clock(now);
        self.ttl_ns = ttl.map(nanos);
        self.ttl_sec = ttl.map(|ttl| ttl.as_secs().saturating_add(u64::from(ttl.subsec_nanos() > 0)));
        self.deadline_ns = ttl.map(|ttl| nanos(clock.saturating_add(ttl)));
        self.clock_id = ttl.map(|_| now.clock.as_str().to_owned());
        self.expires_at = ttl.map(|ttl| {
            let expiry = now.wall.saturating_add(ttl);
            expiry.unwrap_or(Timestamp::MAX).to_string()
        });
    }
}

/// A time of RFC 3339. What comes within a day of the year 10000 ("never", as people write it) is the last one that there
/// is here.
fn time_of(text: &str) -> Option<Timestamp> {
    let beyond = || {
        let pieces = Pieces::parse(text).ok()?;
        pieces.offset()?;
        (pieces.time().is_some() && pieces.date().year() == 9999).then_some(Timestamp::MAX)
    };
    text.parse().ok().or_else(beyond)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_32_hexadecimal_digits() {
        let id = LockId::from_random([0xa7; 16]);
        assert_eq!(id.as_str(), "a7".repeat(16));
        assert_eq!(LockId::parse(id.as_str()), Some(id.clone()));
        let digits = "0123456789abcdef".repeat(2);
        for none in
            ["", &digits[1..], &format!("{digits}0"), &digits.replace('f', "g"), &digits.to_uppercase()]
        {
            assert_eq!(LockId::parse(none), None, "{none}");
        }
        assert_eq!(Record { lock_id: id.to_string(), ..Record::default() }.id(), Some(id));
        assert_eq!(Record { lock_id: "../x".to_owned(), ..Record::default() }.id(), None);
    }

    #[test]
    fn a_record_tells_its_boot_and_its_process_to_who_reads_the_same_clock() {
        let of = |clock: &str| Record {
            clock_id: Some(clock.to_owned()),
            pid_start_ns: Some(7),
            ..Record::default()
        };
        let (record, here) = (of("boot-1/0"), ClockId::new("boot-1/0"));
        assert_eq!(record.clock().as_ref(), Some(&here));
        assert!(record.is_of_boot(&here) && !of("boot-2/0").is_of_boot(&here));
        assert!(of("boot-1/9").is_of_boot(&here), "another time namespace of the same boot");
        assert_eq!(
            [record, of("boot-1/9"), of("boot-2/0")].map(|one| one.pid_start_on(&here)),
            [Some(7), None, None]
        );
        let untold = Record::default();
        assert!(
            untold.clock().is_none() && !untold.is_of_boot(&here) && untold.pid_start_on(&here).is_none()
        );
    }

    #[test]
    fn a_guards_record_need_not_outlive_a_power_cut() {
        let lasts = |kind| Record { kind, ..Record::default() }.is_lasting();
        let kinds = [Kind::Guard, Kind::Manual, Kind::Freeze, Kind::Joint, Kind::Unknown].map(Some);
        assert_eq!(kinds.map(lasts), [false, true, true, true, true]);
        assert!(lasts(None), "nobody knows what it is");
    }

    #[test]
    fn a_record_says_how_the_name_is_held() {
        let alone = Record::default();
        let (shared, slots) =
            (Record { shared: true, ..alone.clone() }, Record { slots: Some(2), ..alone.clone() });
        assert_eq!(
            [alone, shared, slots].map(|one| one.mode()),
            [Mode::Exclusive, Mode::Shared, Mode::Slots(2)]
        );
    }

    #[test]
    fn a_lease_and_an_age_are_told_in_seconds_too() {
        let at = |second| Now {
            monotonic: Duration::ZERO,
            boottime: Duration::ZERO,
            wall: Timestamp::from_second(second).unwrap(),
            clock: ClockId::new("boot"),
        };
        let mut record = Record { acquired_ts: at(100).wall.to_string(), ..Record::default() };
        for (millis, seconds) in [(1_000, 1), (1_500, 2), (2_000, 2), (2_001, 3)] {
            record.start_lease(Some(Duration::from_millis(millis)), &at(100));
            assert_eq!(record.ttl_sec, Some(seconds), "{millis} ms, rounded up");
        }
        assert_eq!(record.age(&at(107)), Duration::from_secs(7));
        assert_eq!(record.age(&at(93)), Duration::ZERO, "the wall clock was set back");
    }
}
