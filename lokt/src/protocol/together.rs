//! The table of those who hold a name together in `docs/protocol.md`, a test for each row.

use std::time::Duration;

use super::clock::tests::at;
use super::*;

const TTL: Duration = Duration::from_secs(60);

fn claim(number: u8, mode: Mode, ttl: Option<Duration>) -> Claim {
    let lock_id = LockId::from_random([number; 16]);
    Claim { lock_id, pid: 40 + i64::from(number), mode, ..request::tests::claim(Kind::Guard, ttl) }
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
            (self.0.stored, self.0.liveness) = (Stored::Record(record.clone()), Liveness::Alive);
            return *record;
        }
        if let Some(joint) = joint {
            self.0.stored = Stored::Record(joint);
        }
        let stored = Stored::Record(record.clone());
        let evidence = Evidence { stored, liveness: Liveness::Alive, ..Evidence::default() };
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
    let beside = |stored: Stored, survivors| {
        let mut held = Held::by(2, Mode::Slots(4));
        held.0.holders[1].evidence = Evidence { stored, survivors, ..Evidence::default() };
        let claim = claim(9, Mode::Slots(4), None);
        decide("x", &Request::Acquire(claim, Manner::BreakStale), &held.0, &at(1))
    };
    for stored in [Stored::Newer("2".into()), Stored::Unreadable("a directory".into())] {
        let decision = beside(stored, false);
        assert!(matches!(decision, Decision::Refuse(Refusal::Unusable(_))), "{decision:?}");
    }
    let decision = beside(Stored::Corrupt("nonsense".into()), true);
    assert!(matches!(decision, Decision::Refuse(Refusal::Held { record: None, .. })), "{decision:?}");
    let decision = beside(Stored::Corrupt("nonsense".into()), false);
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

fn id(number: u8) -> LockId {
    LockId::from_random([number; 16])
}

/// A group that those who held the name together have left behind.
fn left_behind(mode: Mode) -> Held {
    let mut left = Held::by(1, mode);
    left.0.holders.clear();
    left
}

#[test]
fn the_record_of_a_group_says_who_founded_it_and_names_no_process() {
    let Held(held) = Held::by(1, Mode::Slots(2));
    let (joint, first) = (held.record().unwrap(), held.holders[0].evidence.record().unwrap());
    let expected = Record {
        version: VERSION,
        name: "x".to_owned(),
        owner: "ada".to_owned(),
        host: "here".to_owned(),
        acquired_ts: at(0).wall.to_string(),
        kind: Some(Kind::Joint),
        joint: Some(id(1).to_string()),
        slots: Some(2),
        ..Record::default()
    };
    assert_eq!(*joint, expected);
    assert_eq!((joint.founder(), joint.group()), (Some(id(1)), first.joint.as_deref()));
}

#[test]
fn whoever_is_refused_is_told_of_each_holder_once() {
    let held = Held::by(2, Mode::Shared);
    let asked = Request::Acquire(claim(9, Mode::Exclusive, None), Manner::Plain);
    match decide("x", &asked, &held.0, &at(1)) {
        Decision::Refuse(Refusal::Held { record: Some(record), others, .. }) => {
            assert_eq!(record.id(), Some(id(1)));
            assert_eq!(others.iter().map(Record::id).collect::<Vec<_>>(), [Some(id(2))]);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_who_holds_it_for_certain_is_more_in_the_way_than_one_who_may_be_gone() {
    let now = at(61);
    let mut held = Held::by(2, Mode::Shared).with(0, Liveness::Dead);
    assert!(matches!(judge(&held.0, &now), Standing::Lapsed { .. }), "{:?}", judge(&held.0, &now));
    let stored = Stored::Corrupt("nonsense".to_owned());
    held.0.holders[0].evidence = Evidence { stored, survivors: true, ..Evidence::default() };
    held.0.holders.reverse();
    assert!(matches!(judge(&held.0, &now), Standing::CorruptButAlive(_)), "{:?}", judge(&held.0, &now));
    let dead = Held::by(1, Mode::Shared).with(0, Liveness::Dead);
    assert_eq!(judge(&dead.0, &at(1)), Standing::Abandoned(Abandoned::HolderDead));
}

#[test]
fn a_session_asks_of_itself_and_whoever_shares_of_nobody() {
    let by = Authority::Session(id(1));
    for own in [Request::Renew(by.clone(), None), Request::Release(by)] {
        assert!(own.is_of_ones_own());
        assert_eq!(own.concerns(Mode::Shared), Whom::One(&id(1)));
    }
    let acquire = |mode| Request::Acquire(claim(2, mode, None), Manner::Plain);
    assert_eq!(acquire(Mode::Shared).concerns(Mode::Shared), Whom::Nobody);
    for (asked, held) in [
        (Mode::Shared, Mode::Slots(2)),
        (Mode::Exclusive, Mode::Shared),
        (Mode::Slots(2), Mode::Slots(2)),
        (Mode::Exclusive, Mode::Exclusive),
    ] {
        assert_eq!(acquire(asked).concerns(held), Whom::All, "{asked:?} beside {held:?}");
        assert!(!acquire(asked).is_of_ones_own());
    }
    let forced = Request::Release(Authority::Force);
    assert!(!forced.is_of_ones_own() && forced.concerns(Mode::Shared) == Whom::All);
}

#[test]
fn what_is_left_of_a_group_is_nobodys_to_release_and_everybodys_to_clear() {
    for mode in [Mode::Shared, Mode::Slots(2)] {
        let left = left_behind(mode);
        let asked = |request| decide("x", &request, &left.0, &at(1));
        for request in
            [Request::Release(Authority::Stale), Request::Release(Authority::Force), Request::Sweep]
        {
            match asked(request) {
                Decision::Remove(gone) => {
                    assert_eq!(gone.len(), 1);
                    assert_eq!((gone[0].id(), &gone[0].holder), (Some(id(1)), &None), "the founder's");
                    assert!(!gone[0].is_admission() && !gone[0].is_given_up());
                }
                other => panic!("{other:?}"),
            }
        }
        let owned = asked(Request::Release(Authority::Owner("ada".to_owned())));
        assert!(matches!(owned, Decision::Refuse(Refusal::NotFound)), "{owned:?}");
    }
}

#[test]
fn a_sweep_leaves_those_who_live() {
    for held in [Held::by(2, Mode::Shared), Held::by(1, Mode::Exclusive), Held::by(0, Mode::Shared)] {
        let record = held.0.record().filter(|_| held.0.holders.is_empty()).cloned().map(Box::new);
        match decide("x", &Request::Sweep, &held.0, &at(1)) {
            Decision::Refuse(Refusal::NotStale { record: told, .. }) if held.0.holders.is_empty() => {
                assert_eq!(told, record);
            }
            Decision::Refuse(Refusal::NotStale { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn one_who_holds_it_alone_releases_what_it_was_admitted_by() {
    let alone = Held::by(1, Mode::Exclusive);
    match decide("x", &Request::Release(Authority::Session(id(1))), &alone.0, &at(1)) {
        Decision::Remove(gone) => {
            assert_eq!((gone[0].id(), &gone[0].holder, gone.len()), (Some(id(1)), &None, 1));
            assert_eq!(gone[0].record.as_deref(), alone.0.record());
            assert!(gone[0].is_given_up() && gone[0].is_admission());
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn of_several_one_is_released_by_whoever_has_a_right_to_it() {
    let release = |held: &Held, by: Authority| match decide("x", &Request::Release(by), &held.0, &at(1)) {
        Decision::Refuse(refusal) => refusal,
        other => panic!("{other:?}"),
    };
    let ada = || Authority::Owner("ada".to_owned());
    let (one, two) = (Held::by(1, Mode::Shared), Held::by(2, Mode::Shared));
    assert!(matches!(release(&two, ada()), Refusal::SeveralOfOthers(2)), "guards are their own");
    assert!(matches!(release(&one, ada()), Refusal::NotOwner { .. }), "of one it is told whose it is");
    assert!(matches!(release(&two, Authority::Stale), Refusal::NotStale { record: Some(_), .. }));
    let mut untold = Held::by(1, Mode::Shared);
    untold.0.holders[0].evidence.stored = Stored::Unreadable("a directory".into());
    assert!(matches!(release(&untold, Authority::Force), Refusal::Unusable(_)));
    assert!(matches!(release(&untold, Authority::Session(id(1))), Refusal::Unusable(_)), "it may be its own");
}

#[test]
fn what_can_not_be_read_and_is_removed_was_somebodys_admission() {
    let standing = Standing::Abandoned(Abandoned::Corrupt);
    let gone = Displaced { holder: Some(id(3)), record: None, standing, authority: None };
    assert!(gone.is_admission() && !gone.is_given_up());
    assert_eq!(gone.id(), Some(id(3)));
}
