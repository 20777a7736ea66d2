//! The state table of `docs/protocol.md`, a test for each row, and the rules around it.

use std::time::Duration;

use super::clock::tests::{BOOT, at};
use super::request::tests::claim;
use super::*;

const TTL: Duration = Duration::from_secs(60);

fn evidence(stored: Stored, liveness: Liveness) -> Evidence {
    Evidence { stored, liveness, next_token: 10, ..Evidence::default() }
}

/// The record of a claim that was admitted at second 0.
fn admitted(kind: Kind, ttl: Option<Duration>) -> Record {
    let request = Request::Acquire(claim(kind, ttl), Manner::Plain);
    match decide("x", &request, &evidence(Stored::Empty, Liveness::Unknown), &at(0)) {
        Decision::Admit { record, joint: None, displaced } if displaced.is_empty() => *record,
        other => panic!("a free lock is to be had: {other:?}"),
    }
}

fn stored(record: Record) -> Stored {
    Stored::Record(Box::new(record))
}

fn go_record(expires_in: Option<i64>) -> Stored {
    let expiry = expires_in.map(|s| {
        format!(r#","ttl_sec":60,"expires_at":"{}""#, at(0).wall + jiff::SignedDuration::from_secs(s))
    });
    let text = format!(
        r#"{{"version":1,"name":"x","owner":"bob","host":"here","pid":7,"acquired_ts":"2027-01-15T08:00:00Z"{}}}"#,
        expiry.unwrap_or_default()
    );
    Record::read(text.as_bytes(), Duration::from_secs(60))
}

use Outcome::{Denied, Refused, Removes, TakesOver, Unusable};

/// What each of the three columns of the table comes to.
#[derive(Debug, PartialEq)]
enum Outcome {
    TakesOver,
    Removes,
    Denied,
    Refused,
    Unusable,
}

fn outcome(request: &Request, evidence: &Evidence, now: &Now) -> Outcome {
    match decide("x", request, evidence, now) {
        Decision::Admit { record, displaced, .. } if !displaced.is_empty() => {
            assert!(record.token > Some(9), "a take-over gets a new token");
            TakesOver
        }
        Decision::Remove(_) => Removes,
        Decision::Refuse(Refusal::Held { .. }) => Denied,
        Decision::Refuse(Refusal::NotStale { .. }) => Refused,
        Decision::Refuse(Refusal::Unusable(_)) => Unusable,
        other => panic!("not in the table: {other:?}"),
    }
}

/// Checks one row: plain, `--break-stale` or `--wait`, `unlock --break-stale`.
fn row(evidence: &Evidence, now: &Now, plain: Outcome, breaking: Outcome, unlock: Outcome) {
    for kind in [Kind::Guard, Kind::Manual] {
        let acquire = |manner| Request::Acquire(claim(kind, None), manner);
        assert_eq!(outcome(&acquire(Manner::Plain), evidence, now), plain, "plain");
        assert_eq!(outcome(&acquire(Manner::BreakStale), evidence, now), breaking, "--break-stale");
    }
    let released = outcome(&Request::Release(Authority::Stale), evidence, now);
    assert_eq!(released, unlock, "unlock --break-stale");
}

#[test]
fn row_guard_alive_not_lapsed() {
    for ttl in [None, Some(TTL)] {
        let known = evidence(stored(admitted(Kind::Guard, ttl)), Liveness::Alive);
        row(&known, &at(59), Denied, Denied, Refused);
    }
    let strict = evidence(stored(admitted(Kind::Guard, None)), Liveness::Alive);
    row(&strict, &at(1_000_000), Denied, Denied, Refused);
}

#[test]
fn row_guard_alive_lapsed() {
    for liveness in [Liveness::Alive, Liveness::Unknown] {
        let known = evidence(stored(admitted(Kind::Guard, Some(TTL))), liveness);
        row(&known, &at(60), Denied, TakesOver, Removes);
    }
}

#[test]
fn row_guard_dead() {
    for ttl in [None, Some(TTL)] {
        let known = evidence(stored(admitted(Kind::Guard, ttl)), Liveness::Dead);
        row(&known, &at(1), TakesOver, TakesOver, Removes);
    }
}

#[test]
fn row_manual_no_lapse() {
    for (ttl, second) in [(None, 1_000_000), (Some(TTL), 59)] {
        let known = evidence(stored(admitted(Kind::Manual, ttl)), Liveness::Unknown);
        row(&known, &at(second), Denied, Denied, Refused);
    }
}

#[test]
fn row_manual_lapsed_or_its_pid_gone() {
    let lapsed = evidence(stored(admitted(Kind::Manual, Some(TTL))), Liveness::Unknown);
    row(&lapsed, &at(60), TakesOver, TakesOver, Removes);
    let gone = evidence(stored(admitted(Kind::Manual, None)), Liveness::Dead);
    row(&gone, &at(1), TakesOver, TakesOver, Removes);
}

#[test]
fn row_corrupt() {
    let corrupt = evidence(Stored::Corrupt("not JSON".into()), Liveness::Unknown);
    row(&corrupt, &at(1), TakesOver, TakesOver, Removes);
}

#[test]
fn row_corrupt_while_a_session_lives() {
    let mut corrupt = evidence(Stored::Corrupt("not JSON".into()), Liveness::Unknown);
    corrupt.survivors = true;
    row(&corrupt, &at(1), Denied, Denied, Refused);
}

#[test]
fn row_half_written() {
    row(&evidence(Stored::Torn, Liveness::Unknown), &at(1), Denied, Denied, Refused);
}

#[test]
fn row_newer_version() {
    let newer = evidence(Stored::Newer("99".into()), Liveness::Unknown);
    row(&newer, &at(1), Unusable, Unusable, Unusable);
    let forced = decide("x", &Request::Release(Authority::Force), &newer, &at(1));
    assert!(matches!(forced, Decision::Remove(_)), "--force removes it");
}

#[test]
fn row_not_to_be_read() {
    let planted = evidence(Stored::Unreadable("a symbolic link".into()), Liveness::Unknown);
    row(&planted, &at(1), Unusable, Unusable, Unusable);
    let forced = decide("x", &Request::Release(Authority::Force), &planted, &at(1));
    assert!(matches!(forced, Decision::Refuse(_)), "not even --force touches it");
}

#[test]
fn row_of_the_go_tool() {
    let alive = evidence(go_record(None), Liveness::Alive);
    row(&alive, &at(1_000_000), Denied, Denied, Refused);
    let dead = evidence(go_record(None), Liveness::Dead);
    row(&dead, &at(1), TakesOver, TakesOver, Removes);
    let lapsed = evidence(go_record(Some(60)), Liveness::Alive);
    row(&lapsed, &at(59), Denied, Denied, Refused);
    row(&lapsed, &at(61), Denied, TakesOver, Removes);
    let elsewhere = evidence(go_record(Some(60)), Liveness::Unknown);
    row(&elsewhere, &at(59), Denied, Denied, Refused);
    row(&elsewhere, &at(61), TakesOver, TakesOver, Removes);
}

#[test]
fn a_record_says_all_that_its_claim_does() {
    let claim = Claim { note: Some("ask Ada".into()), ..claim(Kind::Guard, Some(TTL)) };
    let free = evidence(Stored::Empty, Liveness::Unknown);
    let admitted = match decide("x", &Request::Acquire(claim.clone(), Manner::Plain), &free, &at(0)) {
        Decision::Admit { record, .. } => *record,
        other => panic!("a free lock is to be had: {other:?}"),
    };
    let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).ok();
    let expected = Record {
        version: VERSION,
        name: "x".into(),
        lock_id: claim.lock_id.to_string(),
        owner: claim.owner,
        host: claim.host,
        pid: claim.pid,
        pid_start_ns: claim.pid_start,
        agent_id: claim.agent_id,
        acquired_ts: at(0).wall.to_string(),
        ttl_sec: Some(60),
        expires_at: Some(at(60).wall.to_string()),
        kind: Some(Kind::Guard),
        token: Some(10),
        note: claim.note,
        ttl_ns: nanos(TTL),
        deadline_ns: nanos(at(60).monotonic),
        clock_id: Some(BOOT.into()),
        pid_ns: claim.pid_ns,
        ..Record::default()
    };
    assert_eq!(admitted, expected);
}

#[test]
fn where_nothing_stands_nothing_is_renewed_or_released() {
    let free = evidence(Stored::Empty, Liveness::Unknown);
    for by in [Authority::Owner("ada".into()), Authority::Id("1".into()), Authority::Stale, Authority::Force]
    {
        for request in [Request::Renew(by.clone(), Some(TTL)), Request::Release(by.clone())] {
            assert_eq!(
                decide("x", &request, &free, &at(0)),
                Decision::Refuse(Refusal::NotFound),
                "{request:?}"
            );
        }
    }
}

#[test]
fn an_unknown_kind_counts_as_held() {
    let mut record = admitted(Kind::Guard, Some(TTL));
    record.kind = Some(Kind::Unknown);
    for liveness in [Liveness::Dead, Liveness::Unknown] {
        row(&evidence(stored(record.clone()), liveness), &at(1_000_000), Denied, Denied, Refused);
    }
}

#[test]
fn another_machines_lease_lapses_when_it_was_seen_unchanged_for_all_of_it() {
    let mut record = admitted(Kind::Guard, Some(TTL));
    record.clock_id = Some("boot-2/1".into());
    let mut known = evidence(stored(record), Liveness::Unknown);
    row(&known, &at(1_000_000), Denied, Denied, Refused);
    known.unchanged_for = TTL - Duration::from_nanos(1);
    row(&known, &at(0), Denied, Denied, Refused);
    known.unchanged_for = TTL;
    row(&known, &at(0), Denied, TakesOver, Removes);
}

#[test]
fn an_earlier_boots_lease_lapses_by_the_time_since_boot() {
    let mut record = admitted(Kind::Manual, Some(TTL));
    record.clock_id = Some("boot-0/1".into());
    let mut known = evidence(stored(record), Liveness::Unknown);
    known.earlier_boot = true;
    let mut now = at(0);
    now.boottime = TTL - Duration::from_nanos(1);
    row(&known, &now, Denied, Denied, Refused);
    now.boottime = TTL;
    row(&known, &now, TakesOver, TakesOver, Removes);
}

#[test]
fn a_deadline_further_off_than_the_ttl_is_not_believed() {
    let mut record = admitted(Kind::Guard, Some(TTL));
    record.deadline_ns = Some(u64::MAX);
    let mut known = evidence(stored(record), Liveness::Unknown);
    row(&known, &at(0), Denied, Denied, Refused);
    known.unchanged_for = TTL;
    row(&known, &at(0), Denied, TakesOver, Removes);
}

#[test]
fn the_wall_clock_decides_nothing() {
    let known = evidence(stored(admitted(Kind::Guard, Some(TTL))), Liveness::Alive);
    for wall in [0, 4_000_000_000] {
        let mut now = at(59);
        now.wall = jiff::Timestamp::from_second(wall).unwrap();
        row(&known, &now, Denied, Denied, Refused);
        let mut now = at(60);
        now.wall = jiff::Timestamp::from_second(wall).unwrap();
        row(&known, &now, Denied, TakesOver, Removes);
    }
}

#[test]
fn nobody_overtakes_the_line_and_a_freeze_admits_nobody() {
    let acquire = Request::Acquire(claim(Kind::Guard, None), Manner::BreakStale);
    let mut free = evidence(Stored::Empty, Liveness::Unknown);
    free.ahead = 2;
    let refused = decide("x", &acquire, &free, &at(0));
    assert_eq!(refused, Decision::Refuse(Refusal::Queued { ahead: 2, free: true }));
    let record = Box::new(admitted(Kind::Freeze, Some(TTL)));
    free.freeze = Some(Freeze { record, left: Some(TTL), unknown: None });
    assert!(matches!(decide("x", &acquire, &free, &at(59)), Decision::Refuse(Refusal::Frozen(_))));
    let mut held = evidence(stored(admitted(Kind::Guard, None)), Liveness::Alive);
    held.freeze = free.freeze.clone();
    let refused = decide("x", &acquire, &held, &at(59));
    assert!(
        matches!(refused, Decision::Refuse(Refusal::Frozen(_))),
        "when the holder ends, it is frozen still"
    );
    held.stored = Stored::Newer("2".into());
    let refused = decide("x", &acquire, &held, &at(59));
    assert!(matches!(refused, Decision::Refuse(Refusal::Unusable(_))), "waiting would not help: {refused:?}");
}

#[test]
fn renewal_and_release_are_for_the_very_admission() {
    let mut record = admitted(Kind::Guard, Some(TTL));
    let own = Authority::Session(LockId::from_random([7; 16]));
    let known = evidence(stored(record.clone()), Liveness::Alive);
    let Decision::Renew(renewed) = decide("x", &Request::Renew(own.clone(), None), &known, &at(90)) else {
        panic!("its own record is renewed, even after a pause");
    };
    assert_eq!(renewed.deadline(), Some(at(90).monotonic + TTL));
    assert_eq!((renewed.renewals, renewed.token), (Some(1), record.token));
    record.lock_id = "0".repeat(32);
    let taken = evidence(stored(record), Liveness::Alive);
    for gone in [taken, evidence(Stored::Empty, Liveness::Unknown)] {
        for request in [Request::Renew(own.clone(), None), Request::Release(own.clone())] {
            assert!(matches!(decide("x", &request, &gone, &at(1)), Decision::Refuse(Refusal::Lost(_))));
        }
    }
}

#[test]
fn whoever_renews_by_another_clock_leaves_word_of_the_first() {
    let mut record = admitted(Kind::Manual, Some(TTL));
    let other = Now { clock: ClockId::new("boot-1/other"), ..at(1) };
    for (now, first) in [(&other, Some(BOOT)), (&other, Some(BOOT)), (&at(2), None)] {
        let known = evidence(stored(record), Liveness::Alive);
        let request = Request::Renew(Authority::Owner("ada".into()), None);
        let Decision::Renew(renewed) = decide("x", &request, &known, now) else {
            panic!("it is its owner's")
        };
        assert_eq!(renewed.clock().as_ref(), Some(&now.clock));
        assert_eq!(renewed.acquired_clock_id.as_deref(), first);
        record = *renewed;
    }
}

#[test]
fn what_can_not_be_read_is_not_lost() {
    let own = Authority::Session(LockId::from_random([7; 16]));
    for stored in [
        Stored::Corrupt("?".into()),
        Stored::Torn,
        Stored::Unreadable("EIO".into()),
        Stored::Newer("2".into()),
    ] {
        let unread = evidence(stored, Liveness::Unknown);
        let renewed = decide("x", &Request::Renew(own.clone(), None), &unread, &at(1));
        assert!(matches!(renewed, Decision::Refuse(Refusal::Unusable(_))), "{renewed:?}");
    }
}

#[test]
fn names_and_ids_are_enough_for_manual_locks_only() {
    let id = LockId::from_random([7; 16]).to_string();
    for (kind, may) in [(Kind::Manual, true), (Kind::Guard, false)] {
        let known = evidence(stored(admitted(kind, Some(TTL))), Liveness::Unknown);
        for by in [Authority::Owner("ada".into()), Authority::Id(id.clone())] {
            for request in [Request::Release(by.clone()), Request::Renew(by.clone(), None)] {
                let refused = matches!(
                    decide("x", &request, &known, &at(1)),
                    Decision::Refuse(Refusal::NotOwner { .. })
                );
                assert_eq!(refused, !may, "{kind:?} {request:?}");
            }
        }
        for by in [Authority::Owner("eve".into()), Authority::Id("1".into())] {
            let decided = decide("x", &Request::Release(by), &known, &at(1));
            assert!(matches!(decided, Decision::Refuse(Refusal::NotOwner { .. })), "{kind:?}: {decided:?}");
        }
    }
}

#[test]
fn one_who_is_not_the_owner_is_told_how_it_stands() {
    for (kind, liveness) in [(Kind::Manual, Liveness::Unknown), (Kind::Guard, Liveness::Alive)] {
        let known = evidence(stored(admitted(kind, Some(TTL))), liveness);
        let eve = || Authority::Owner("eve".into());
        for request in [Request::Release(eve()), Request::Renew(eve(), None)] {
            let told = |second| match decide("x", &request, &known, &at(second)) {
                Decision::Refuse(Refusal::NotOwner { standing, .. }) => standing.is_stale(),
                other => panic!("{other:?}"),
            };
            assert_eq!([1, 61].map(told), [false, true], "{kind:?} {request:?}");
        }
    }
}

#[test]
fn what_was_tied_to_a_process_that_has_ended_is_not_renewed() {
    let known = evidence(stored(admitted(Kind::Manual, Some(TTL))), Liveness::Dead);
    let request = Request::Renew(Authority::Owner("ada".into()), None);
    let renewed = decide("x", &request, &known, &at(1));
    assert!(matches!(renewed, Decision::Refuse(Refusal::PidGone(_))), "{renewed:?}");
}

#[test]
fn nobody_renews_by_force() {
    for kind in [Kind::Guard, Kind::Manual] {
        let known = evidence(stored(admitted(kind, Some(TTL))), Liveness::Unknown);
        for by in [Authority::Stale, Authority::Force] {
            let decided = decide("x", &Request::Renew(by, None), &known, &at(61));
            assert!(matches!(decided, Decision::Refuse(Refusal::NotOwner { .. })), "{kind:?}: {decided:?}");
        }
    }
}

#[test]
fn a_lease_without_a_length_is_none_and_the_longest_has_no_end() {
    let strict = admitted(Kind::Manual, Some(Duration::ZERO));
    assert_eq!((strict.ttl(), strict.ttl_sec, strict.expires_at), (None, None, None));
    let longest = admitted(Kind::Manual, Some(Duration::MAX));
    assert_eq!((longest.ttl_sec, longest.deadline_ns), (Some(u64::MAX), Some(u64::MAX)));
}

/// What the Go tool wrote before it wrote when a lease ends.
fn old_go_record(ttl_sec: u64) -> Evidence {
    let text = format!(
        r#"{{"version":1,"name":"x","owner":"bob","host":"here","pid":7,"ttl_sec":{ttl_sec},"acquired_ts":"2027-01-15T08:00:00Z"}}"#
    );
    evidence(Record::read(text.as_bytes(), TTL), Liveness::Alive)
}

#[test]
fn a_ttl_of_zero_seconds_is_none_to_the_go_tool() {
    row(&old_go_record(0), &at(1_000_000), Denied, Denied, Refused);
    row(&old_go_record(60), &at(59), Denied, Denied, Refused);
    row(&old_go_record(60), &at(61), Denied, TakesOver, Removes);
}

#[test]
fn tokens_rise_above_what_the_record_and_the_counter_know() {
    let token_after = |token: u64| {
        let mut record = admitted(Kind::Guard, None);
        record.token = Some(token);
        let known = evidence(stored(record), Liveness::Dead);
        let acquire = Request::Acquire(claim(Kind::Guard, None), Manner::Plain);
        match decide("x", &acquire, &known, &at(1)) {
            Decision::Admit { record, .. } => (record.token, known.next_token),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(token_after(500).0, Some(501));
    let most = (1 << 52) - (1 << 40);
    assert_eq!(token_after(most - 1).0, Some(most));
    let (token, counted) = token_after(most);
    assert_eq!(token, Some(counted), "no counter has come to what that record claims");
}

#[test]
fn a_sweep_removes_what_binds_nobody_and_nothing_else() {
    let swept = |evidence: &Evidence, second| {
        matches!(decide("x", &Request::Sweep, evidence, &at(second)), Decision::Remove(_))
    };
    assert!(swept(&evidence(stored(admitted(Kind::Guard, None)), Liveness::Dead), 1));
    assert!(swept(&evidence(stored(admitted(Kind::Manual, Some(TTL))), Liveness::Unknown), 60));
    assert!(swept(&evidence(go_record(Some(60)), Liveness::Dead), 61));
    assert!(!swept(&evidence(stored(admitted(Kind::Guard, Some(TTL))), Liveness::Alive), 60), "it lives");
    assert!(!swept(&evidence(stored(admitted(Kind::Manual, None)), Liveness::Unknown), 1_000_000));
    assert!(!swept(&evidence(Stored::Corrupt("?".into()), Liveness::Unknown), 1), "it can be looked at");
    assert!(!swept(&evidence(Stored::Newer("2".into()), Liveness::Unknown), 1));
    assert!(!swept(&evidence(go_record(Some(60)), Liveness::Dead), 59), "the Go tool keeps it as well");
}
