//! The checker against histories at random: what a right lock can have written passes, and one change that breaks
//! exclusion, the tokens or the order is caught.

use proptest::prelude::*;

use super::{Rule, check};
use crate::soak::history::{Cause, History, Kind, Line};

/// One turn at a simulated lock, which is right by construction: all of it goes by one clock that never goes back.
#[derive(Debug, Clone)]
struct Turn {
    name: usize,
    /// Nanoseconds before the entry, in the section, and after it.
    gap: u64,
    hold: u64,
    fate: Fate,
    waits: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Leaves,
    /// Said for the last time that it is alive this share of its time, in percent, before it was killed.
    Killed(u64),
    /// Stopped under a lease, which is taken over, and ended later.
    Lapses,
}

const NAMES: usize = 3;

fn turn() -> impl Strategy<Value = Turn> {
    let fate = prop_oneof![
        6 => Just(Fate::Leaves),
        2 => (0..=100_u64).prop_map(Fate::Killed),
        1 => Just(Fate::Lapses),
    ];
    (0..NAMES, 0..50_u64, 0..1_000_u64, fate, any::<bool>()).prop_map(|(name, gap, hold, fate, waits)| Turn {
        name,
        gap,
        hold,
        fate,
        waits,
    })
}

/// What the sections of a right lock write, with those in line first come, first served.
fn written(turns: &[Turn]) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut free_at = [1_000_u64; NAMES];
    let mut began = [0_u64; NAMES];
    for (number, turn) in turns.iter().enumerate() {
        let who = format!("w{number}");
        let name = format!("name-{}", turn.name);
        let mut line = |event, at| {
            lines.push(Line { name: Some(name.clone()), ..Line::new(event, at, &who) });
            lines.len() - 1
        };
        // Each begins after the one before in line has joined it.
        began[turn.name] += 10;
        line(Kind::Begin, began[turn.name]);
        if turn.waits {
            line(Kind::Waits, began[turn.name] + 5);
        }
        let enter = free_at[turn.name].max(began[turn.name] + 5) + turn.gap;
        let left = enter + turn.hold;
        let entry = line(Kind::Enter, enter);
        match turn.fate {
            Fate::Leaves => drop(line(Kind::Exit, left)),
            Fate::Killed(percent) => {
                line(Kind::Alive, enter + turn.hold * percent / 100);
                line(Kind::Kill, left);
            }
            Fate::Lapses => {
                for event in [Kind::Stop, Kind::Unprotected] {
                    line(event, left);
                }
                let freed = line(Kind::Freed, left + 10);
                let last = line(Kind::Alive, left + 500);
                lines[freed].cause = Some(Cause::Lapse);
                lines[last].name = None;
            }
        }
        lines[entry].token = Some(number as u64 + 1);
        free_at[turn.name] = left;
        began[turn.name] = began[turn.name].max(enter.saturating_sub(400));
    }
    lines
}

fn parsed(lines: &[Line]) -> History {
    let text: String = lines.iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect();
    History::parse(text.as_bytes()).unwrap()
}

/// Two sections of one name, one right after the other, of which the first left and both took their time.
fn neighbours(turns: &[Turn]) -> Vec<(usize, usize)> {
    let later = |first: usize| (first + 1..turns.len()).find(|next| turns[*next].name == turns[first].name);
    (0..turns.len())
        .filter(|first| turns[*first].fate == Fate::Leaves)
        .filter_map(|first| Some((first, later(first)?)))
        .filter(|(_, next)| turns[*next].hold > 1 && turns[*next].fate == Fate::Leaves)
        .collect()
}

fn position(lines: &[Line], event: Kind, who: usize) -> usize {
    let who = format!("w{who}");
    lines.iter().position(|line| line.event == event && line.who.as_deref() == Some(&who)).unwrap()
}

fn broken(lines: &[Line]) -> Vec<Rule> {
    check(&parsed(lines), true).violations.iter().map(|violation| violation.rule).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn what_a_right_lock_writes_passes_in_any_order_of_lines(
        turns in prop::collection::vec(turn(), 1..40), seed in any::<u64>()
    ) {
        let mut lines = written(&turns);
        prop_assert_eq!(broken(&lines), vec![]);
        fastrand::Rng::with_seed(seed).shuffle(&mut lines);
        prop_assert_eq!(broken(&lines), vec![]);
    }

    #[test]
    fn one_section_that_stays_too_long_is_caught(
        turns in prop::collection::vec(turn(), 2..40), pick in any::<prop::sample::Index>()
    ) {
        let pairs = neighbours(&turns);
        prop_assume!(!pairs.is_empty());
        let (first, next) = pairs[pick.index(pairs.len())];
        let mut lines = written(&turns);
        let entered = lines[position(&lines, Kind::Enter, next)].at;
        let exit = position(&lines, Kind::Exit, first);
        lines[exit].at = entered + 1;
        prop_assert!(broken(&lines).contains(&Rule::Overlap));
    }

    #[test]
    fn one_section_that_comes_too_early_is_caught(
        turns in prop::collection::vec(turn(), 2..40), pick in any::<prop::sample::Index>()
    ) {
        let pairs: Vec<_> = neighbours(&turns).into_iter().filter(|(first, _)| turns[*first].hold > 1).collect();
        prop_assume!(!pairs.is_empty());
        let (first, next) = pairs[pick.index(pairs.len())];
        let mut lines = written(&turns);
        let left = lines[position(&lines, Kind::Exit, first)].at;
        let enter = position(&lines, Kind::Enter, next);
        lines[enter].at = left - 1;
        prop_assert!(broken(&lines).contains(&Rule::Overlap));
    }

    #[test]
    fn two_tokens_that_change_places_are_caught(
        turns in prop::collection::vec(turn(), 2..40), pick in any::<prop::sample::Index>()
    ) {
        // Two that entered at one instant may stand in either order.
        let pairs: Vec<_> = neighbours(&turns).into_iter().filter(|(first, _)| turns[*first].hold > 0).collect();
        prop_assume!(!pairs.is_empty());
        let (first, next) = pairs[pick.index(pairs.len())];
        let mut lines = written(&turns);
        let (one, other) = (position(&lines, Kind::Enter, first), position(&lines, Kind::Enter, next));
        let token = lines[one].token;
        lines[one].token = lines[other].token;
        lines[other].token = token;
        prop_assert!(broken(&lines).contains(&Rule::Token));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = History::parse(&bytes);
    }
}
