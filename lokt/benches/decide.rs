//! What a decision costs, and the record on both sides of it: no file is touched, and no clock is read.

#![allow(clippy::expect_used, reason = "a measurement ends at the first surprise")]

use std::hint::black_box;
use std::time::Duration;

use criterion::Criterion;
use jiff::Timestamp;
use lokt::protocol::{
    Authority, Claim, ClockId, Decision, Evidence, Kind, Liveness, LockId, Manner, Mode, Now, Record,
    Refusal, Request, Stored, decide,
};

const NAME: &str = "deploy";
const TTL: Duration = Duration::from_secs(300);

fn now() -> Now {
    Now {
        monotonic: Duration::from_secs(100_000),
        boottime: Duration::from_secs(100_000),
        wall: Timestamp::UNIX_EPOCH + Duration::from_nanos(1_800_000_000_123_456_789),
        clock: ClockId::new("0f9c6c0e-6b1c-4a57-9d0e-8f1d2f6f0a11/4026531834"),
    }
}

/// As `Locks` claims a lease.
fn claim(id: u8) -> Claim {
    Claim {
        lock_id: LockId::from_random([id; 16]),
        kind: Kind::Guard,
        owner: "ada".into(),
        host: "build-1".into(),
        pid: 4711,
        pid_start: Some(64013),
        pid_ns: Some(4_026_531_836),
        agent_id: "agent-1a2b".into(),
        ttl: Some(TTL),
        mode: Mode::Exclusive,
        note: Some("release 2.1".into()),
    }
}

/// What is known of a name that nobody holds.
fn free() -> Evidence {
    Evidence { next_token: 42, ..Evidence::default() }
}

/// The record of a lease that begins now.
fn record() -> Box<Record> {
    match decide(NAME, &Request::Acquire(claim(1), Manner::Plain), &free(), &now()) {
        Decision::Admit { mut record, .. } => {
            record.session_ino = Some(271_828);
            record
        }
        other => panic!("what is free is to be had: {other:?}"),
    }
}

/// One question, whose answer must be the one that is meant to be measured.
fn measure(
    criterion: &mut Criterion,
    function: &str,
    (request, evidence, now): (Request, &Evidence, &Now),
    is_meant: fn(&Decision) -> bool,
) {
    let answer = decide(NAME, &request, evidence, now);
    assert!(is_meant(&answer), "{function}: {answer:?}");
    criterion.benchmark_group("decide").bench_function(function, |bencher| {
        bencher.iter(|| decide(NAME, black_box(&request), black_box(evidence), black_box(now)));
    });
}

fn decisions(criterion: &mut Criterion) {
    let (now, free) = (now(), free());
    let held = Evidence { stored: Stored::Record(record()), liveness: Liveness::Alive, ..free.clone() };
    let later = Now { monotonic: now.monotonic + 2 * TTL, boottime: now.boottime + 2 * TTL, ..now.clone() };
    let acquire = |manner| Request::Acquire(claim(2), manner);
    let holder = || Authority::Session(LockId::from_random([1; 16]));

    measure(
        criterion,
        "claim_free",
        (acquire(Manner::Plain), &free, &now),
        |answer| matches!(answer, Decision::Admit { displaced, .. } if displaced.is_empty()),
    );
    measure(criterion, "claim_held", (acquire(Manner::Plain), &held, &now), |answer| {
        matches!(answer, Decision::Refuse(Refusal::Held { .. }))
    });
    measure(criterion, "renew", (Request::Renew(holder(), Some(TTL)), &held, &now), |answer| {
        matches!(answer, Decision::Renew(_))
    });
    measure(criterion, "release", (Request::Release(holder()), &held, &now), |answer| {
        matches!(answer, Decision::Remove(_))
    });
    measure(
        criterion,
        "take_over_lapsed",
        (acquire(Manner::BreakStale), &held, &later),
        |answer| matches!(answer, Decision::Admit { displaced, .. } if !displaced.is_empty()),
    );
}

fn records(criterion: &mut Criterion) {
    let record = record();
    let content = record.write();
    assert_eq!(Record::read(&content, Duration::ZERO), Stored::Record(record.clone()));
    let mut group = criterion.benchmark_group("decide");
    group.bench_function("record_read", |bencher| {
        bencher.iter(|| Record::read(black_box(&content), Duration::ZERO));
    });
    group.bench_function("record_write", |bencher| bencher.iter(|| black_box(&record).write()));
}

/// Pure and steady: a second is plenty.
fn quick() -> Criterion {
    Criterion::default()
        .sample_size(50)
        .nresamples(20_000)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

fn main() {
    let mut criterion = quick().configure_from_args();
    decisions(&mut criterion);
    records(&mut criterion);
    criterion.final_summary();
}
