//! Records: what is written is read back, and what is damaged is never another's.

use std::time::{Duration, Instant};

use lokt::protocol::{Record, Stored};
use lokt_tests::input::{check_record, check_round_trip};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

use super::{config, made};

const OLD: Duration = Duration::from_secs(3600);
const YOUNG: Duration = Duration::ZERO;

/// As many bytes of a record as are read.
const LARGEST: usize = 64 * 1024;

/// Pieces of JSON: chained at random they come nearer to a record than random bytes do.
const PIECES: [&str; 30] = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\\",
    "\"version\"",
    "\"lock_id\"",
    "\"kind\"",
    "\"ttl_ns\"",
    "\"pid\"",
    "\"guard\"",
    "\"acquired_ts\"",
    "\"2027-01-15T08:00:00Z\"",
    "1",
    "2",
    "-1",
    "1e999",
    "18446744073709551616",
    "null",
    "true",
    "\\ud800",
    "\\u0000",
    "\0",
    "\u{feff}",
    " ",
    "\n",
    "\u{1f512}",
];

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_is_written_is_read_back_with_what_a_later_version_wrote_beside(record in made::record()) {
        check_round_trip(&record);
        check_record(&record.write());
    }

    #[test]
    fn any_bytes_are_exactly_one_thing(bytes in vec(any::<u8>(), 0..300)) {
        check_record(&bytes);
    }

    #[test]
    fn anything_like_json_is_exactly_one_thing(
        pieces in vec(proptest::sample::select(&PIECES[..]), 0..40),
        record in made::record(),
        at in any::<proptest::sample::Index>(),
    ) {
        check_record(pieces.concat().as_bytes());
        let mut content = record.write();
        let at = at.index(content.len());
        content.splice(at..at, pieces.concat().bytes());
        check_record(&content);
    }

    #[test]
    fn what_the_go_tool_writes_is_read_as_it_means_it(
        name in "[a-z]{1,8}",
        owner in any::<String>(),
        pid in 1..4_194_304_i64,
        second in 0..4_000_000_000_i64,
        zone in "Z|[+-](0[0-9]|1[0-3]):[0-5][0-9]",
        ttl in proptest::option::of(1..1_000_000_u64),
        spread in any::<bool>(),
    ) {
        let acquired = jiff::Timestamp::from_second(second).unwrap().to_string().replace('Z', &zone);
        let mut go = json!({
            "version": 1, "name": name, "lock_id": "00112233445566778899aabbccddeeff", "owner": owner, "host": "h",
            "pid": pid, "pid_start_ns": 64013, "agent_id": "agent-1", "acquired_ts": acquired,
        });
        if let Some(ttl) = ttl {
            go["ttl_sec"] = ttl.into();
        }
        // Go writes `<`, `>` and `&` as escapes.
        let text = if spread { serde_json::to_string_pretty(&go) } else { serde_json::to_string(&go) };
        let text = text.unwrap().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
        let Stored::Record(record) = Record::read(text.as_bytes(), OLD) else {
            panic!("not read: {text}");
        };
        prop_assert_eq!((&record.name, &record.owner, record.pid), (&name, &owner, pid));
        prop_assert_eq!(record.ttl(), ttl.map(Duration::from_secs));
        prop_assert_eq!(record.acquired(), acquired.parse().ok());
        prop_assert!(record.kind.is_none() && record.unknown.is_empty());
        check_record(text.as_bytes());
    }

    #[test]
    fn a_record_that_breaks_off_is_no_record(record in made::record(), at in any::<proptest::sample::Index>()) {
        let content = record.write();
        // Without its last byte, a line's end, it is whole.
        let half = &content[..at.index(content.len() - 1)];
        prop_assert_eq!(Record::read(half, YOUNG), Stored::Torn);
        prop_assert!(matches!(Record::read(half, OLD), Stored::Corrupt(_)));
        // What a power cut leaves: the length, and blocks of zeros.
        let mut zeros = half.to_vec();
        zeros.resize(content.len(), 0);
        prop_assert!(matches!(Record::read(&zeros, OLD), Stored::Corrupt(_)));
        prop_assert!(matches!(Record::read(&zeros, YOUNG), Stored::Corrupt(_)), "nobody is writing zeros");
    }

    #[test]
    fn a_byte_that_flips_makes_nobody_else_the_holder(
        record in made::record(),
        at in any::<proptest::sample::Index>(),
        bits in 1..=255_u8,
    ) {
        let mut content = record.write();
        let at = at.index(content.len());
        content[at] ^= bits;
        check_record(&content);
        let own = position(&record.write(), format!("\"lock_id\": {}", json!(record.lock_id)).as_bytes());
        let in_id = own.is_some_and(|own| (own..own + 13 + json!(record.lock_id).to_string().len()).contains(&at));
        if let (false, Stored::Record(read)) = (in_id, Record::read(&content, OLD)) {
            prop_assert!(read.lock_id == record.lock_id || read.lock_id.is_empty(), "{:?}", read);
        }
    }

    #[test]
    fn newer_is_newer_whatever_else_it_says(
        version in prop_oneof![
            (2..u64::MAX).prop_map(|version| json!(version)),
            (2.0..1e300).prop_map(|version| json!(version)),
        ],
        fields in vec((field(), odd_value()), 0..6),
        at in any::<proptest::sample::Index>(),
        age in any::<bool>(),
    ) {
        let mut fields: Vec<String> = fields.iter().map(|(field, value)| format!("{field}:{value}")).collect();
        fields.insert(at.index(fields.len() + 1), format!("\"version\":{version}"));
        let content = format!("{{{}}}", fields.join(","));
        let stored = Record::read(content.as_bytes(), if age { OLD } else { YOUNG });
        prop_assert!(matches!(stored, Stored::Newer(_)), "{:?}: {:.300}", stored, content);
    }
}

fn field() -> impl Strategy<Value = String> {
    const KNOWN: [&str; 9] =
        ["name", "lock_id", "owner", "pid", "acquired_ts", "expires_at", "ttl_sec", "kind", "token"];
    prop_oneof![
        proptest::sample::select(&KNOWN[..]).prop_map(|known| json!(known).to_string()),
        "later_[a-z]{1,8}".prop_map(|later| json!(later).to_string()),
    ]
}

/// JSON that is well-formed, and more than this version can take in.
fn odd_value() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("null".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<String>().prop_map(|text| json!(text).to_string()),
        Just(r#""\ud800""#.to_owned()),
        Just("1e999".to_owned()),
        Just("9".repeat(400)),
        (1..400_usize).prop_map(|depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth))),
        (1..400_usize).prop_map(|depth| format!("{}0{}", r#"{"a":"#.repeat(depth), "}".repeat(depth))),
    ]
}

fn position(content: &[u8], wanted: &[u8]) -> Option<usize> {
    content.windows(wanted.len()).position(|window| window == wanted)
}

#[test]
fn the_largest_record_takes_no_time_whatever_is_in_it() {
    let fill = |piece: &str| piece.repeat(LARGEST / piece.len());
    let keys: String = (0..LARGEST / 9).map(|key| format!("\"{key}\":0,")).collect();
    for content in [
        fill("["),
        fill("{\"a\":"),
        fill("9"),
        format!("{{\"version\":{}}}", fill("9")),
        format!("{{\"version\":1e{}}}", fill("9")),
        format!("{{\"version\":0.{}1}}", fill("0")),
        format!("{{\"owner\":\"{}\"}}", fill("\\u0000")),
        format!("{{{}\"version\":1}}", fill("\"version\":1,")),
        format!("{{{keys}\"version\":1}}"),
        format!("{{\"version\":2,\"x\":{}", fill("[")),
        format!("{{\"acquired_ts\":\"{}\"}}", fill("2027-01-15T")),
        fill("\0"),
        fill(" "),
    ] {
        let began = Instant::now();
        check_record(content.as_bytes());
        let took = began.elapsed();
        assert!(took < Duration::from_secs(5), "{took:?} for {:.40}", content);
    }
}
