//! How the content of a record's file is read: whatever stands there, it is a record, or there is a word for what it is
//! not.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::record::{Record, VERSION};
use super::stored::Stored;

/// An empty or half record younger than this is an acquisition of the Go tool in progress: it creates the
/// file first and fills it afterwards.
const TORN_FOR: Duration = Duration::from_secs(2);

impl Record {
    /// Reads the content of a record file that was last written `age` ago.
    pub fn read(content: &[u8], age: Duration) -> Stored {
        if content.is_empty() && age >= TORN_FOR {
            return Stored::Corrupt("it is empty".to_owned());
        }
        let value: Value = match serde_json::from_slice(content) {
            Ok(value) => value,
            Err(error) if error.is_eof() && age < TORN_FOR => return Stored::Torn,
            Err(error) => {
                return Head::newer(content)
                    .map_or_else(|| Stored::Corrupt(error.to_string()), Stored::Newer);
            }
        };
        if let Some(version) = value.get("version").and_then(newer_version) {
            return Stored::Newer(version);
        }
        match serde_json::from_value::<Self>(value) {
            Ok(record) if record.has_proper_times() => Stored::Record(Box::new(record)),
            Ok(_) => Stored::Corrupt("it has a time that is not RFC 3339".to_owned()),
            Err(error) => Stored::Corrupt(error.to_string()),
        }
    }

    /// Reads the beginning of a record file that is larger than any of this version's.
    pub fn read_beginning(content: &[u8]) -> Stored {
        let too_large = || Stored::Corrupt("it is larger than 64 KiB".to_owned());
        Head::newer(content).map_or_else(too_large, Stored::Newer)
    }

    fn has_proper_times(&self) -> bool {
        (self.acquired_ts.is_empty() || self.acquired().is_some())
            && (self.expires_at.is_none() || self.expires().is_some())
    }
}

/// Looks for the version alone, in what this code can't take in or has not read to its end: a later one may nest deeper,
/// or be longer.
struct Head<'a>(&'a mut Option<Value>);

impl Head<'_> {
    fn newer(content: &[u8]) -> Option<String> {
        let mut version = None;
        // Whatever comes after it is of no interest.
        let _ = serde_json::Deserializer::from_slice(content).deserialize_map(Head(&mut version));
        version.as_ref().and_then(newer_version)
    }
}

impl<'de> Visitor<'de> for Head<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "version" => *self.0 = Some(map.next_value()?),
                _ => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(())
    }
}

/// The version in words, if it is a number beyond [`VERSION`], or says so.
fn newer_version(version: &Value) -> Option<String> {
    let newer = match (version.as_u64(), version.as_f64()) {
        (Some(number), _) => number > VERSION,
        (None, Some(number)) => number > VERSION as f64,
        (None, None) => version.as_str()?.parse::<f64>().is_ok_and(|number| number > VERSION as f64),
    };
    newer.then(|| version.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Duration = Duration::from_secs(3600);

    fn read(text: &str) -> Stored {
        Record::read(text.as_bytes(), OLD)
    }

    #[test]
    fn reads_what_the_go_tool_wrote() {
        let stored = read(
            r#"{"version":1,"name":"x","lock_id":"00112233445566778899aabbccddeeff","owner":"o","host":"h",
            "pid":7,"pid_start_ns":64013,"agent_id":"agent-1","acquired_ts":"2026-02-08T19:00:00.5+09:00",
            "ttl_sec":300,"expires_at":"2026-02-08T19:05:00.5+09:00"}"#,
        );
        let Stored::Record(record) = stored else {
            panic!("not read: {stored:?}");
        };
        assert_eq!(record.kind, None);
        assert_eq!(record.ttl(), Some(Duration::from_secs(300)));
        assert_eq!(record.acquired(), "2026-02-08T10:00:00.5Z".parse().ok());
    }

    #[test]
    fn a_newer_version_is_known_by_its_beginning() {
        let note = "n".repeat(100);
        for version in ["2", "1e3", "\"2\"", "\"1.1\""] {
            let record = format!(r#"{{"name":"x","version":{version},"note":"{note}"#);
            assert!(matches!(Record::read_beginning(record.as_bytes()), Stored::Newer(_)), "{version}");
            let whole = format!(r#"{{"version":{version}}}"#);
            assert!(matches!(read(&whole), Stored::Newer(_)), "{version}");
        }
        for version in ["1", "null", "[2]", "0", "\"1\""] {
            let record = format!(r#"{{"version":{version},"note":"{note}"#);
            assert!(matches!(Record::read_beginning(record.as_bytes()), Stored::Corrupt(_)), "{version}");
        }
    }

    #[test]
    fn what_is_no_object_is_no_beginning_of_a_record() {
        let mut version = None;
        let read = serde_json::Deserializer::from_slice(b"[1]").deserialize_map(Head(&mut version));
        assert!(read.is_err_and(|error| error.to_string().contains("expected a record")));
    }

    #[test]
    fn never_is_a_time_too() {
        for never in ["9999-12-31T00:00:00Z", "9999-12-31T23:59:59.999+14:00", "9999-12-30T22:00:00Z"] {
            let Stored::Record(record) = read(&format!(r#"{{"version":1,"expires_at":"{never}"}}"#)) else {
                panic!("{never}");
            };
            assert!(record.expires() > "9999-12-30T20:00:00Z".parse().ok(), "{never}");
        }
        for none in [
            "9999-12-31",
            "9999-12-32T00:00:00Z",
            "10000-01-01T00:00:00Z",
            "9999-12-31T00:00:00",
            "-009999-01-01T00:00:00Z",
        ] {
            let stored = read(&format!(r#"{{"version":1,"expires_at":"{none}"}}"#));
            assert!(matches!(stored, Stored::Corrupt(_)), "{none}: {stored:?}");
        }
    }

    #[test]
    fn keeps_unknown_fields_and_the_order_of_its_own() {
        let Stored::Record(record) = read(r#"{"later":{"a":[1]},"version":1,"name":"x","pid":1}"#) else {
            panic!("not read");
        };
        let text = String::from_utf8(record.write()).unwrap();
        assert!(text.starts_with("{\n  \"version\": 1,\n  \"name\": \"x\","), "{text}");
        assert!(text.contains("\"later\": {"), "{text}");
    }

    #[test]
    fn tells_newer_from_corrupt() {
        let deep = format!("{{\"version\":2,\"x\":{}1{}}}", "[".repeat(5000), "]".repeat(5000));
        for newer in [
            r#"{"version":99}"#,
            r#"{"version":2,"pid":"?"}"#,
            r#"{"version":1.5}"#,
            r#"{"version":1e30}"#,
            r#"{"version":2,"owner":"\ud800"}"#,
            r#"{"x":1e999,"version":2}"#,
            deep.as_str(),
        ] {
            assert!(matches!(read(newer), Stored::Newer(_)), "{newer:.40}");
        }
        let deep = "[".repeat(100_000);
        let nested = format!("{{\"version\":1,\"x\":{}1{}}}", "[".repeat(5000), "]".repeat(5000));
        for corrupt in [
            "nonsense",
            "[]",
            "null",
            "7",
            r#"{"version":-1}"#,
            r#"{"version":"1"}"#,
            r#"{"version":1.0}"#,
            r#"{"pid":"x"}"#,
            r#"{"version":1} trailing"#,
            r#"{"acquired_ts":"yesterday"}"#,
            r#"{"expires_at":"x"}"#,
            deep.as_str(),
            nested.as_str(),
            r#"{"version":1,"owner":"\ud800"}"#,
        ] {
            assert!(matches!(read(corrupt), Stored::Corrupt(_)), "{:.40}", corrupt);
        }
        assert!(matches!(Record::read(b"{\"owner\":\"\xff\"}", OLD), Stored::Corrupt(_)));
    }

    #[test]
    fn a_young_half_record_is_an_acquisition_in_progress() {
        for half in ["", "{", r#"{"version":1,"na"#] {
            let young = Record::read(half.as_bytes(), Duration::from_millis(1999));
            assert_eq!(young, Stored::Torn, "{half}");
            let old = Record::read(half.as_bytes(), Duration::from_secs(2));
            assert!(matches!(old, Stored::Corrupt(_)), "{half}");
        }
        let nonsense = Record::read(b"nonsense", Duration::ZERO);
        assert!(matches!(nonsense, Stored::Corrupt(_)), "no more writing makes a record of it: {nonsense:?}");
    }
}
