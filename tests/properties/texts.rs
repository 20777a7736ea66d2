//! Names and durations: the documented ones are accepted, with the documented meaning, and no others.

use std::fmt::Write;
use std::time::Duration;

use lokt::protocol::{format_duration, parse_duration};
use lokt_tests::input::{check_duration, check_id, check_name, check_shown, check_text};
use proptest::collection::vec;
use proptest::prelude::*;

use super::{config, made};

const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_text_is_taken_for_what_the_documents_say(text in made::text()) {
        check_text(&text);
    }

    #[test]
    fn names_are_what_the_documents_say(name in "[A-Za-z0-9._-]{0,205}", at in any::<proptest::sample::Index>()) {
        check_name(&name);
        for odd in ["/", "..", "-", "\0", "\n", "é", "\\", " ", "\u{202e}"] {
            let mut name = name.clone();
            name.insert_str(at.index(name.len() + 1), odd);
            check_name(&name);
        }
    }

    #[test]
    fn long_names_are_what_the_documents_say(name in "[A-Za-z][A-Za-z0-9_-]{195,204}") {
        check_name(&name);
    }

    #[test]
    fn short_names_are_what_the_documents_say(name in "[aZ9._/-]{0,4}") {
        check_name(&name);
    }

    #[test]
    fn what_looks_like_a_duration_is_one_if_go_says_so(
        text in "[+-]?([0-9]{0,22}(\\.[0-9]{0,22})?(ns|us|µs|μs|ms|s|m|h|d|M|)){0,4}",
    ) {
        check_duration(&text);
    }

    #[test]
    fn a_duration_that_is_put_together_has_the_length_of_its_parts(
        parts in vec((0..1000_u64, proptest::sample::select(&UNITS[..])), 1..6),
    ) {
        let (mut text, mut nanos) = (String::new(), 0);
        for (number, (unit, length)) in parts {
            write!(text, "{number}{unit}").unwrap();
            nanos += number * length;
        }
        prop_assert_eq!(parse_duration(&text), Ok(Duration::from_nanos(nanos)));
    }

    #[test]
    fn a_fraction_of_a_unit_is_rounded_down_to_the_nanosecond(
        fraction in 0..1_000_000_000_000_000_000_u64,
        (unit, length) in proptest::sample::select(&UNITS[..]),
    ) {
        let text = format!("0.{fraction:018}{unit}");
        let nanos = u128::from(fraction) * u128::from(length) / 1_000_000_000_000_000_000;
        prop_assert_eq!(parse_duration(&text).map(|duration| duration.as_nanos()), Ok(nanos));
        check_duration(&text);
    }

    #[test]
    fn a_duration_is_read_again_as_it_is_shown(seconds in any::<u64>(), shift in 0..64_u32, nanos in 0..1_000_000_000_u32) {
        check_shown(Duration::new(seconds >> shift, nanos));
    }

    #[test]
    fn seconds_and_milliseconds_are_shown_in_full(nanos in 0..i64::MAX as u64) {
        for unit in [1_000_000_000, 1_000_000] {
            let duration = Duration::from_nanos(nanos / unit * unit);
            if unit == 1_000_000_000 || duration < Duration::from_secs(1) {
                prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
            }
        }
        let below = Duration::from_millis(nanos % 1000);
        prop_assert_eq!(parse_duration(&format_duration(below)), Ok(below));
    }

    #[test]
    fn an_id_is_32_digits(id in "[0-9a-fA-F]{31,33}|[0-9a-f]{32}|[0-9a-g]{32}") {
        check_id(&id);
    }
}
