//! The doctor among hostile things: it neither hangs nor follows, and clears away nothing but what is lokt's.

use super::attack::{Attack, THINGS, Thing};
use std::fs;
use std::path::Path;

const PLACES: [&str; 12] = [
    "locks/x.json",
    "freezes/x.json",
    "sessions/x.0123456789abcdef0123456789abcdef",
    "stripes/05",
    "stripes/05.tmp",
    "lines/x",
    "audit.log",
    "locks",
    "freezes",
    "sessions",
    "stripes",
    "lines",
];

/// Whether lokt itself could have left it there.
fn is_like_ours(place: &str, thing: Thing) -> bool {
    match thing {
        Thing::Fifo => place.starts_with("sessions/") || place.ends_with(".tmp"),
        Thing::Directory => place.starts_with("lines/"),
        _ => false,
    }
}

fn clear(path: &Path) {
    if fs::remove_file(path).is_err() {
        let _ = fs::remove_dir_all(path);
    }
}

#[test]
fn nothing_that_is_not_lokts_is_followed_waited_for_or_cleared_away() {
    let attack = Attack::new();
    for place in PLACES {
        for thing in THINGS {
            attack.fresh_root();
            let path = attack.sandbox.root().join(place);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            clear(&path);
            if !thing.put(&attack, &path) {
                continue;
            }
            let said = attack.run("doctor --fix --json");
            assert!(said.code <= 1, "{thing:?} at {place}: {said:?}");
            assert!(thing.is_at(&path) || is_like_ours(place, thing), "{thing:?} at {place}: {said:?}");
            let found: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
            let odd = thing != Thing::Directory || place.contains('.');
            assert!(
                !odd || found["overall"] != "ok" || is_like_ours(place, thing),
                "{thing:?} at {place}: {said:?}"
            );
        }
    }
    attack.expect_untouched();
}

#[test]
fn a_huge_root_is_looked_at_within_bounds_and_that_is_said() {
    let attack = Attack::new();
    attack.fresh_root();
    let sessions = attack.sandbox.root().join("sessions");
    for number in 0..20_001 {
        fs::write(sessions.join(number.to_string()), "").unwrap();
    }
    let said = attack.run("doctor");
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.stdout.contains("20000 things that lokt did not put there"), "{said:?}");
    assert!(said.stdout.contains("and 19992 more"), "{said:?}");
    assert!(said.stdout.contains("there is too much to look at all of it"), "{said:?}");
}
