//! The table of those who hold a name together in `docs/protocol.md`, a test for each row.

use std::time::Duration;

use super::*;

const TTL: Duration = Duration::from_secs(60);

fn at(seconds: u64) -> Now {
    Now {
        monotonic: Duration::from_secs(1000 + seconds),
        boottime: Duration::from_secs(5000 + seconds),
        wall: jiff::Timestamp::from_second(1_800_000_000 + seconds as i64).unwrap(),
        clock: ClockId::new("boot-1/4026531834"),
    }
}

fn claim(number: u8, mode: Mode, ttl: Option<Duration>) -> Claim {
    Claim {
        lock_id: LockId::from_random([number; 16]),
        kind: Kind::Guard,
        owner: "ada".into(),
        host: "here".into(),
        pid: 40 + i64::from(number),
        pid_start: Some(1),
        pid_ns: Some(1),
        agent_id: String::new(),
        ttl,
        mode,
        note: None,
    }
}

/// A name, and what the decisions about it have made of it.
struct Held(Evidence);

impl Held {
    /// By so many, in one mode, each with a lease; all of them alive.
    fn by(holders: u8, mode: Mode) -> Self {
        let mut held = Self(Evidence { next_token: 10, ..Evidence::default() });
        for number in 1..=holders {
            held.admit(&claim(number, mode, Some(TTL)), Manner::Plain, &at(0));
        }
        held
    }

    /// As it is, but for the life of one of them.
    fn with(mut self, holder: usize, liveness: Liveness) -> Self {
        self.0.holders[holder].evidence.liveness = liveness;
        self
    }

    /// As it is, but for somebody who stands in line before the asker.
    fn behind(mut self, wants: Mode) -> Self {
        (self.0.ahead, self.0.first_wants) = (1, wants);
        self
    }

    fn admit(&mut self, claim: &Claim, manner: Manner, now: &Now) -> Record {
        let decision = decide("x", &Request::Acquire(claim.clone(), manner), &self.0, now);
        let Decision::Admit { record, joint, displaced } = decision else {
            panic!("{claim:?} is not admitted: {decision:?}")
        };
        self.0.next_token = record.token.unwrap() + 1;
        let gone = |id: &LockId| displaced.iter().any(|gone| gone.holder.as_ref() == Some(id));
        self.0.holders.retain(|holder| joint.is_none() && !gone(&holder.id));
        if record.group().is_none() && record.joint.is_none() {
            (self.0.slot, self.0.liveness) = (Slot::Record(record.clone()), Liveness::Alive);
            return *record;
        }
        if let Some(joint) = joint {
            self.0.slot = Slot::Record(joint);
        }
        let slot = Slot::Record(record.clone());
        let evidence = Evidence { slot, liveness: Liveness::Alive, ..Evidence::default() };
        self.0.holders.push(Holder { id: claim.lock_id.clone(), evidence });
        *record
    }

    /// What comes of a claim in `mode`: who is displaced by it, or how it is refused.
    fn asked(&self, mode: Mode, manner: Manner, now: &Now) -> Outcome {
        match decide("x", &Request::Acquire(claim(9, mode, None), manner), &self.0, now) {
            Decision::Admit { joint: None, displaced, record } if record.joint.is_some() => {
                Joins(displaced.len())
            }
            Decision::Admit { displaced, .. } => TakesOver(displaced.len()),
            Decision::Refuse(Refusal::Held { .. }) => Waits,
            Decision::Refuse(Refusal::Queued { free, .. }) => Behind { free },
            Decision::Refuse(Refusal::OtherMode { .. }) => Refused,
            other => panic!("not in the table: {other:?}"),
        }
    }

    /// Checks one row: of those who want it alone, `--shared`, `--slots 2`, `--slots 3`.
    fn row(&self, now: &Now, plain: [Outcome; 4]) {
        self.row_as(Manner::Plain, now, plain);
    }

    fn row_as(&self, manner: Manner, now: &Now, expected: [Outcome; 4]) {
        let modes = [Mode::Exclusive, Mode::Shared, Mode::Slots(2), Mode::Slots(3)];
        assert_eq!(modes.map(|mode| self.asked(mode, manner, now)), expected, "{manner:?}");
    }
}

use Outcome::{Behind, Joins, Refused, TakesOver, Waits};

/// What comes of a claim; the number is how many it displaces.
#[derive(Debug, PartialEq)]
enum Outcome {
    Joins(usize),
    TakesOver(usize),
    Waits,
    Behind { free: bool },
    Refused,
}

#[test]
fn row_nobody() {
    Held::by(0, Mode::Shared).row(&at(0), [TakesOver(0), TakesOver(0), TakesOver(0), TakesOver(0)]);
}

#[test]
fn row_one_alone() {
    Held::by(1, Mode::Exclusive).row(&at(1), [Waits, Waits, Refused, Refused]);
}

#[test]
fn row_some_shared() {
    Held::by(1, Mode::Shared).row(&at(1), [Waits, Joins(0), Refused, Refused]);
    Held::by(5, Mode::Shared).row(&at(1), [Waits, Joins(0), Refused, Refused]);
}

#[test]
fn row_a_slot_left() {
    Held::by(1, Mode::Slots(2)).row(&at(1), [Refused, Refused, Joins(0), Refused]);
}

#[test]
fn row_no_slot_left() {
    Held::by(2, Mode::Slots(2)).row(&at(1), [Refused, Refused, Waits, Refused]);
}

#[test]
fn row_behind_a_writer() {
    let held = Held::by(1, Mode::Shared).behind(Mode::Exclusive);
    held.row(&at(1), [Waits, Behind { free: false }, Refused, Refused]);
}

#[test]
fn row_one_of_several_dead() {
    let shared = Held::by(2, Mode::Shared).with(0, Liveness::Dead);
    shared.row(&at(1), [Waits, Joins(1), Refused, Refused]);
    let full = Held::by(2, Mode::Slots(2)).with(0, Liveness::Dead);
    full.row(&at(1), [Refused, Refused, Joins(1), Refused]);
}

#[test]
fn row_all_of_several_dead() {
    for mode in [Mode::Shared, Mode::Slots(2)] {
        let dead = Held::by(2, mode).with(0, Liveness::Dead).with(1, Liveness::Dead);
        let expected = [Mode::Exclusive, Mode::Shared, Mode::Slots(2), Mode::Slots(3)]
            .map(|asked| if asked == mode { Joins(2) } else { TakesOver(2) });
        dead.row(&at(1), expected);
    }
}

#[test]
fn row_a_group_of_nobody() {
    for mode in [Mode::Shared, Mode::Slots(2)] {
        let mut left = Held::by(1, mode);
        left.0.holders.clear();
        let expected =
            [Mode::Exclusive, Mode::Shared, Mode::Slots(2), Mode::Slots(3)].map(|asked| match asked {
                Mode::Shared if mode == Mode::Shared => Joins(0),
                _ => TakesOver(1),
            });
        left.row(&at(1), expected);
    }
}

#[test]
fn row_one_of_several_lapsed() {
    let mut shared = Held::by(1, Mode::Shared);
    shared.admit(&claim(2, Mode::Shared, Some(TTL)), Manner::Plain, &at(30));
    shared.row(&at(61), [Waits, Joins(0), Refused, Refused]);
    shared.row_as(Manner::BreakStale, &at(61), [Waits, Joins(0), Refused, Refused]);
    let mut full = Held::by(1, Mode::Slots(2));
    full.admit(&claim(2, Mode::Slots(2), Some(TTL)), Manner::Plain, &at(30));
    full.row(&at(61), [Refused, Refused, Waits, Refused]);
    full.row_as(Manner::BreakStale, &at(61), [Refused, Refused, Joins(1), Refused]);
}

#[test]
fn row_all_of_several_lapsed() {
    let shared = Held::by(2, Mode::Shared);
    shared.row(&at(61), [Waits, Joins(0), Refused, Refused]);
    shared.row_as(Manner::BreakStale, &at(61), [TakesOver(2), Joins(0), TakesOver(2), TakesOver(2)]);
    let full = Held::by(2, Mode::Slots(2));
    full.row(&at(61), [Refused, Refused, Waits, Refused]);
    full.row_as(Manner::BreakStale, &at(61), [TakesOver(2), TakesOver(2), Joins(1), TakesOver(2)]);
}

#[test]
fn each_has_a_slot_of_its_own_the_lowest_that_is_free() {
    let mode = Mode::Slots(3);
    let mut held = Held::by(0, mode);
    let slot = |held: &mut Held, number| held.admit(&claim(number, mode, None), Manner::Plain, &at(1)).slot;
    assert_eq!([slot(&mut held, 1), slot(&mut held, 2), slot(&mut held, 3)], [Some(1), Some(2), Some(3)]);
    held.0.holders.remove(1);
    assert_eq!(slot(&mut held, 4), Some(2));
    let mut held = held.with(0, Liveness::Dead);
    assert_eq!(slot(&mut held, 5), Some(1), "a dead one's is free");
}

#[test]
fn no_slot_is_handed_out_beside_one_that_nobody_can_tell() {
    let beside = |slot: Slot, survivors| {
        let mut held = Held::by(2, Mode::Slots(4));
        held.0.holders[1].evidence = Evidence { slot, survivors, ..Evidence::default() };
        let claim = claim(9, Mode::Slots(4), None);
        decide("x", &Request::Acquire(claim, Manner::BreakStale), &held.0, &at(1))
    };
    for slot in [Slot::Newer("2".into()), Slot::Unreadable("a directory".into())] {
        let decision = beside(slot, false);
        assert!(matches!(decision, Decision::Refuse(Refusal::Unusable(_))), "{decision:?}");
    }
    let decision = beside(Slot::Corrupt("nonsense".into()), true);
    assert!(matches!(decision, Decision::Refuse(Refusal::Held { record: None, .. })), "{decision:?}");
    let decision = beside(Slot::Corrupt("nonsense".into()), false);
    assert!(matches!(decision, Decision::Admit { .. }), "whose session is dead has none: {decision:?}");
}

#[test]
fn each_has_a_token_of_its_own_larger_than_any_before() {
    let mut held = Held::by(3, Mode::Shared);
    held.0.next_token = 1;
    let token = held.admit(&claim(8, Mode::Shared, None), Manner::Plain, &at(1)).token;
    assert_eq!(token, Some(13), "a counter that was lost begins after those who hold it");
}

#[test]
fn each_is_renewed_released_and_broken_for_itself() {
    let held = Held::by(2, Mode::Shared).with(0, Liveness::Dead);
    let id = |number| LockId::from_random([number; 16]);
    let asked = |request| decide("x", &request, &held.0, &at(1));
    match asked(Request::Renew(Authority::Session(id(2)), Some(TTL))) {
        Decision::Renew(record) => assert_eq!(record.id(), Some(id(2))),
        other => panic!("{other:?}"),
    }
    for (authority, gone) in [
        (Authority::Session(id(2)), vec![id(2)]),
        (Authority::Stale, vec![id(1)]),
        (Authority::ForceId(id(2).as_str().to_owned()), vec![id(2)]),
        (Authority::Force, vec![id(1), id(2)]),
    ] {
        match asked(Request::Release(authority.clone())) {
            Decision::Remove(removed) => {
                let removed: Vec<LockId> = removed.into_iter().filter_map(|one| one.holder).collect();
                assert_eq!(removed, gone, "{authority:?}");
            }
            other => panic!("{authority:?}: {other:?}"),
        }
    }
    let lost = asked(Request::Renew(Authority::Session(id(3)), Some(TTL)));
    assert!(matches!(lost, Decision::Refuse(Refusal::Lost(None))), "{lost:?}");
}
