//! A line of the log as it is read: by whomever it was written, and whatever has become of it.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value};

use super::{FREEZE_DENY, ends_an_admission};

/// How each event begins. Inside of a JSON text it stands nowhere else, as quotes are escaped there.
const BEGINNING: &[u8] = b"{\"ts\":";

/// An event as it stands in the log. A field that is not there is empty.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The line itself, without its end: JSON, of which the fields are the known part.
    pub line: String,
    /// The known fields.
    pub fields: Fields,
}

/// What is known of an event.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct Fields {
    /// When, by the wall clock of who wrote it.
    #[serde(deserialize_with = "timestamp")]
    pub ts: Timestamp,
    /// What happened: one of [`super::EVENTS`], or something newer.
    #[serde(default)]
    pub event: String,
    /// To which lock.
    #[serde(default)]
    pub name: String,
    /// The admission that it belongs to.
    #[serde(default)]
    pub lock_id: Option<String>,
    /// Who did it.
    #[serde(default)]
    pub owner: String,
    /// On which machine.
    #[serde(default)]
    pub host: String,
    /// In which process.
    #[serde(default)]
    pub pid: i64,
    /// For which agent.
    #[serde(default)]
    pub agent_id: String,
    /// The length of the lease.
    #[serde(default)]
    pub ttl_sec: Option<f64>,
    /// What belongs to this kind of event only.
    #[serde(default)]
    pub extra: Map<String, Value>,
    /// The fencing token of the admission.
    #[serde(default)]
    pub token: Option<u64>,
}

fn timestamp<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
}

impl Entry {
    /// Reads a line; `None` if it is no event. One that stands behind half a line (the Go tool writes it there when a
    /// disk was full) is found.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        Self::whole(line).or_else(|| {
            let at = line.windows(BEGINNING.len()).rposition(|window| window == BEGINNING)?;
            Self::whole(&line[at..]).filter(|_| at > 0)
        })
    }

    fn whole(line: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(line).ok()?;
        // From bytes, as records are: another way to read JSON would make the program larger.
        Some(Self { fields: serde_json::from_slice(line).ok()?, line: text.to_owned() })
    }

    /// Whether a claim was refused.
    pub(super) fn is_denial(&self) -> bool {
        [super::DENY, FREEZE_DENY].contains(&self.fields.event.as_str())
    }

    /// Whether it tells of a freeze that was swept away, and of no lock.
    pub(super) fn is_of_freeze(&self) -> bool {
        self.fields.extra.contains_key("freeze_owner")
    }

    /// Whether an admission, or the wait for one, begins with it.
    pub(crate) fn is_beginning(&self) -> bool {
        [super::ACQUIRE, super::WAIT].contains(&self.fields.event.as_str())
    }

    /// Whether it ends the admission of its `lock_id`.
    pub(crate) fn is_end(&self) -> bool {
        ends_an_admission(&self.fields.event)
    }

    /// How long before `self` the other was; nothing, if the clock was set back.
    pub(crate) fn since(&self, earlier: Timestamp) -> Duration {
        self.fields.ts.duration_since(earlier).try_into().unwrap_or_default()
    }
}

/// Which events are wanted.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Only those that are no older.
    pub since: Option<Timestamp>,
    /// Of those that are wanted otherwise, only so many, the newest.
    pub last: Option<usize>,
    /// Only of these locks; of all, if there is none.
    pub names: Vec<String>,
    /// Only of these kinds; of all, if there is none.
    pub events: Vec<String>,
    /// Only what these owners did; all of them, if there is none.
    pub owners: Vec<String>,
}

impl Query {
    pub(super) fn is_new_enough(&self, entry: &Entry) -> bool {
        self.since.is_none_or(|since| entry.fields.ts >= since)
    }

    pub(crate) fn wants(&self, entry: &Entry) -> bool {
        let is_of = |all: &[String], one: &String| all.is_empty() || all.contains(one);
        let fields = &entry.fields;
        self.is_new_enough(entry)
            && is_of(&self.names, &fields.name)
            && is_of(&self.events, &fields.event)
            && is_of(&self.owners, &fields.owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str =
        r#"{"ts":"2026-11-24T12:00:00.5+09:00","event":"acquire","name":"x","owner":"ada {\"ts\":"}"#;

    #[test]
    fn a_line_of_anybody_is_read() {
        let entry = Entry::parse(LINE.as_bytes()).unwrap();
        assert_eq!(entry.fields.ts, "2026-11-24T03:00:00.5Z".parse().unwrap());
        assert_eq!((entry.fields.name.as_str(), entry.fields.owner.as_str()), ("x", "ada {\"ts\":"));
        assert_eq!(entry.line, LINE, "as it is stored");
    }

    #[test]
    fn an_event_behind_half_a_line_is_found() {
        for half in ["{\"ts\":\"2026-11-2", "\0\0\0", "{\"ts\":\"2026-11-24T12:00:00Z\",\"name\":\"y\"} "] {
            let glued = format!("{half}{LINE}");
            assert_eq!(Entry::parse(glued.as_bytes()).unwrap().line, LINE, "{half}");
        }
    }

    #[test]
    fn what_is_no_event_is_none() {
        let deep = format!("{{\"ts\":\"2026-11-24T12:00:00Z\",\"extra\":{}", "[".repeat(100_000));
        for line in
            ["", "{}", "null", "[]", "{\"ts\":1}", "{\"ts\":\"noon\"}", &LINE[..LINE.len() - 1], &deep]
        {
            assert!(Entry::parse(line.as_bytes()).is_none(), "{line:.50}");
        }
        assert!(Entry::parse(b"{\"ts\":\"2026-11-24T12:00:00Z\",\"name\":\"\xff\"}").is_none());
    }
}
