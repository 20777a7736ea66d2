//! Input that is made up: records, evidence, instants, requests.
//!
//! The choices are few where rules compare two things, so that they often meet; and wide where anything goes. What is
//! large is boxed: a few of them by value don't fit on the stack of a thread, in a build that does not optimise.

use std::time::Duration;

use jiff::Timestamp;
use lokt::protocol::{
    Authority, Claim, ClockId, Evidence, Holder, Kind, Liveness, LockId, Manner, Mode, Now, Record, Request,
    Stored,
};
use lokt_tests::rules::freeze;
use proptest::collection::{hash_map, vec};
use proptest::option::{of, weighted};
use proptest::prelude::*;
use serde_json::{Map, Value};

/// The boot of the observer, an earlier one or another machine's, and ids that are none.
const CLOCKS: [&str; 5] = ["boot-1/1", "boot-1/2", "boot-0/1", "", "////"];

/// Any text, control characters and all.
pub fn text() -> impl Strategy<Value = String> {
    let raw = vec(any::<char>(), 0..20).prop_map(|chars| chars.into_iter().collect());
    prop_oneof![3 => any::<String>(), 1 => raw, 1 => "[\\x00-\\x7f]{0,20}"]
}

pub fn lock_id() -> impl Strategy<Value = LockId> {
    prop_oneof![
        (1..4_u8).prop_map(|byte| LockId::from_random([byte; 16])),
        any::<[u8; 16]>().prop_map(LockId::from_random),
    ]
}

/// What may stand where a `lock_id` belongs.
fn recorded_id() -> impl Strategy<Value = String> {
    prop_oneof![8 => lock_id().prop_map(|id| id.to_string()), 1 => Just(String::new()), 1 => text()]
}

fn owner() -> impl Strategy<Value = String> {
    prop_oneof![4 => Just("ada".to_owned()), 2 => Just("bob".to_owned()), 1 => text()]
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![4 => Just(Kind::Guard), 4 => Just(Kind::Manual), 1 => Just(Kind::Freeze), 1 => Just(Kind::Unknown)]
}

/// Lengths of leases, and times around them.
fn ttl() -> impl Strategy<Value = Duration> {
    prop_oneof![
        6 => (0..5_u64).prop_map(Duration::from_secs),
        2 => any::<u64>().prop_map(Duration::from_nanos),
        1 => any::<u64>().prop_map(Duration::from_secs),
        1 => Just(Duration::MAX),
    ]
}

/// Nanoseconds on a clock: near the seconds that leases are made of, or anywhere.
fn reading() -> impl Strategy<Value = u64> {
    let near = (0..12_u64, -1..2_i64).prop_map(|(s, off)| (s * 1_000_000_000).saturating_add_signed(off));
    prop_oneof![8 => near, 1 => any::<u64>()]
}

fn wall() -> impl Strategy<Value = Timestamp> {
    let anywhere = Timestamp::MIN.as_second()..=Timestamp::MAX.as_second();
    let near = (0..12_i64).prop_map(|second| Timestamp::from_second(1_800_000_000 + second).unwrap());
    prop_oneof![4 => near, 1 => anywhere.prop_map(|second| Timestamp::from_second(second).unwrap())]
}

fn clock() -> impl Strategy<Value = String> {
    prop_oneof![8 => Just(CLOCKS[0]), 4 => proptest::sample::select(&CLOCKS[..])].prop_map(str::to_owned)
}

pub fn now() -> impl Strategy<Value = Now> {
    (reading(), reading(), wall()).prop_map(|(monotonic, boottime, wall)| Now {
        monotonic: Duration::from_nanos(monotonic),
        boottime: Duration::from_nanos(boottime),
        wall,
        clock: ClockId::new(CLOCKS[0]),
    })
}

/// Values that a later version may have written. No integers beyond 64 bits: a JSON reader makes floats of them.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no others", |float| float.is_finite()).prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            hash_map(text(), inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A whole record of this version, of ours or with the Go tool's fields alone.
pub fn record() -> impl Strategy<Value = Record> {
    let unknown = hash_map("later_[a-z]{1,4}", value(), 0..3)
        .prop_map(|map| map.into_iter().collect::<Map<String, Value>>());
    let people = (text(), recorded_id(), owner(), text(), text(), of(text()));
    let process = (prop_oneof![Just(0), Just(42), any::<i64>()], of(any::<i64>()), of(any::<u64>()));
    let times = (wall(), of(0..5_u64), of(wall()));
    let token = prop_oneof![4 => 0..100_u64, 1 => any::<u64>()];
    let lease = (
        weighted(0.7, ttl()),
        weighted(0.8, reading()),
        weighted(0.9, clock()),
        weighted(0.8, token),
        of(any::<u64>()),
        of(clock()),
    );
    (people, process, times, weighted(0.8, kind()), lease, unknown)
        .prop_map(|(people, process, times, kind, lease, unknown)| {
            let (name, lock_id, owner, host, agent_id, note) = people;
            let go = Record {
                version: 1,
                name,
                lock_id,
                owner,
                host,
                pid: process.0,
                pid_start_ns: process.1,
                agent_id,
                acquired_ts: times.0.to_string(),
                ttl_sec: times.1,
                expires_at: times.2.map(|expiry| expiry.to_string()),
                ..Record::default()
            };
            let Some(kind) = kind else {
                return go;
            };
            Record {
                kind: Some(kind),
                token: lease.3,
                note,
                ttl_ns: lease.0.map(|ttl| u64::try_from(ttl.as_nanos()).unwrap_or(u64::MAX)),
                deadline_ns: lease.1,
                clock_id: lease.2,
                acquired_clock_id: lease.5,
                pid_ns: process.2,
                renewals: lease.4,
                unknown,
                ..go
            }
        })
        .boxed()
}

fn stored() -> impl Strategy<Value = Stored> {
    prop_oneof![
        1 => Just(Stored::Empty),
        8 => record().prop_map(|record| Stored::Record(Box::new(record))),
        1 => Just(Stored::Torn),
        1 => text().prop_map(Stored::Corrupt),
        1 => text().prop_map(Stored::Newer),
        1 => text().prop_map(|why| Stored::Unreadable(why.as_str().into())),
    ]
    .boxed()
}

/// How a name is held, or wanted.
fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![
        3 => Just(Mode::Exclusive),
        2 => Just(Mode::Shared),
        3 => (1..5_u32).prop_map(Mode::Slots),
        1 => any::<u32>().prop_map(Mode::Slots)
    ]
}

/// Held by one or by nobody; or by several together.
pub fn evidence() -> impl Strategy<Value = Evidence> {
    prop_oneof![3 => of_one(), 1 => of_several().boxed()]
}

/// Several who hold a name together, each with what is known of it.
fn of_several() -> impl Strategy<Value = Evidence> {
    let together = mode().prop_filter("together", |mode| *mode != Mode::Exclusive);
    let slots = vec(of(1..6_u32), 4);
    (of_one(), together, vec(of_one(), 0..4), slots).prop_map(|(of_one, mode, mut holders, slots)| {
        let (shared, slots_there) = (mode == Mode::Shared, mode.slots());
        let group = |record: Record| Record {
            joint: Some("a group".to_owned()),
            shared,
            slots: slots_there,
            ..record
        };
        for (at, holder) in holders.iter_mut().enumerate() {
            let id = LockId::from_random([at as u8 + 1; 16]);
            if let Stored::Record(record) = &mut holder.stored {
                let kind = record.kind.or(Some(Kind::Guard));
                let slot = slots[at].filter(|_| !shared);
                **record =
                    group(Record { lock_id: id.to_string(), kind, slot, ..std::mem::take(&mut **record) });
            }
        }
        let holders = holders.into_iter().enumerate().filter(|(_, holder)| holder.stored != Stored::Empty);
        let holders = holders
            .map(|(at, evidence)| Holder { id: LockId::from_random([at as u8 + 1; 16]), evidence })
            .collect();
        let joint = group(Record { version: 1, kind: Some(Kind::Joint), ..Record::default() });
        Evidence { stored: Stored::Record(Box::new(joint)), liveness: Liveness::Unknown, holders, ..of_one }
    })
}

/// Held by one, or by nobody.
pub fn of_one() -> impl Strategy<Value = Evidence> {
    let liveness = proptest::sample::select(&[Liveness::Alive, Liveness::Dead, Liveness::Unknown][..]);
    let unchanged = prop_oneof![1 => Just(Duration::ZERO), 1 => ttl()];
    let frozen = proptest::bool::weighted(0.1);
    let ahead = prop_oneof![9 => Just(0), 1 => any::<usize>()];
    let token = prop_oneof![4 => 0..100_u64, 1 => any::<u64>()];
    (stored(), liveness, unchanged, any::<[bool; 2]>(), frozen, ahead, token)
        .prop_map(
            |(stored, liveness, unchanged_for, [earlier_boot, survivors], frozen, ahead, next_token)| {
                Evidence {
                    stored,
                    liveness,
                    unchanged_for,
                    earlier_boot,
                    survivors,
                    freeze: frozen.then(freeze),
                    ahead,
                    next_token,
                    ..Evidence::default()
                }
            },
        )
        .boxed()
}

pub fn request() -> impl Strategy<Value = Request> {
    let manner = proptest::sample::select(&[Manner::Plain, Manner::BreakStale][..]);
    prop_oneof![
        4 => (claim(), manner).prop_map(|(claim, manner)| Request::Acquire(claim, manner)),
        3 => (authority(), of(ttl())).prop_map(|(by, ttl)| Request::Renew(by, ttl)),
        3 => authority().prop_map(Request::Release),
        1 => Just(Request::Sweep),
    ]
}

fn authority() -> impl Strategy<Value = Authority> {
    prop_oneof![
        4 => lock_id().prop_map(Authority::Session),
        2 => owner().prop_map(Authority::Owner),
        2 => recorded_id().prop_map(Authority::Id),
        1 => Just(Authority::Stale),
        1 => Just(Authority::Force),
        1 => recorded_id().prop_map(Authority::ForceId),
    ]
}

fn claim() -> impl Strategy<Value = Claim> {
    let kind = proptest::sample::select(&[Kind::Guard, Kind::Manual][..]);
    let who = (owner(), text(), text(), of(text()));
    let process = (any::<i64>(), of(any::<i64>()), of(any::<u64>()));
    (lock_id(), kind, who, process, (of(ttl()), mode()))
        .prop_map(|(lock_id, kind, who, process, terms)| Claim {
            lock_id,
            kind,
            owner: who.0,
            host: who.1,
            pid: process.0,
            pid_start: process.1,
            pid_ns: process.2,
            agent_id: who.2,
            ttl: terms.0,
            mode: terms.1,
            note: who.3,
        })
        .boxed()
}
