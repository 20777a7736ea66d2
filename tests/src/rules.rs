//! The rules of safety that every decision must keep, whatever the evidence: an oracle for `decide`.
//!
//! Written anew from `docs/protocol.md`; it does not call `judge` or `lapse`. It says what must never happen, and so
//! knows less than `decide` does.

use std::time::Duration;

use lokt::protocol::{
    Authority, Claim, Decision, Evidence, Freeze, Kind, Liveness, LockId, Manner, Now, Record, Refusal,
    Request, Slot, decide,
};

use crate::input::without_lease;

/// From here on a token is none that was handed out.
const NO_TOKEN: u64 = 1 << 52;

/// The identity of the claims that [`check_all`] makes.
const NEW_ID: [u8; 16] = [0xab; 16];

/// Checks every kind of request against `evidence`.
pub fn check_all(evidence: &Evidence, now: &Now) {
    for request in requests(evidence) {
        check(&request, evidence, now);
    }
    check_breaking(evidence, now);
}

/// A request of each kind, by those who may and by those who may not.
fn requests(evidence: &Evidence) -> Vec<Request> {
    let mut authorities = vec![
        Authority::Stale,
        Authority::Force,
        Authority::Session(LockId::from_random([1; 16])),
        Authority::Owner("nobody".into()),
        Authority::Id("1".repeat(32)),
    ];
    if let Slot::Record(record) = &evidence.slot {
        authorities.extend(record.id().map(Authority::Session));
        authorities.push(Authority::Owner(record.owner.clone()));
        authorities.push(Authority::Id(record.lock_id.clone()));
    }
    let mut requests = vec![Request::Sweep];
    for manner in [Manner::Plain, Manner::BreakStale] {
        for (kind, ttl) in [(Kind::Guard, None), (Kind::Manual, Some(Duration::from_secs(60)))] {
            requests.push(Request::Acquire(claim(kind, ttl), manner));
        }
    }
    for authority in authorities {
        requests.push(Request::Renew(authority.clone(), None));
        requests.push(Request::Renew(authority.clone(), Some(Duration::from_secs(60))));
        requests.push(Request::Release(authority));
    }
    requests
}

fn claim(kind: Kind, ttl: Option<Duration>) -> Claim {
    Claim {
        lock_id: LockId::from_random(NEW_ID),
        kind,
        owner: "ada".into(),
        host: "here".into(),
        pid: 42,
        pid_start: None,
        pid_ns: None,
        agent_id: String::new(),
        ttl,
        note: None,
    }
}

/// Checks one decision against every rule that concerns it, and returns it.
pub fn check(request: &Request, evidence: &Evidence, now: &Now) -> Decision {
    let decision = decide("x", request, evidence, now);
    assert_eq!(decide("x", request, evidence, now), decision, "the same again");
    match (request, &decision) {
        (Request::Acquire(claim, _), Decision::Admit { record, displaced }) => {
            check_admission(claim, evidence, now, record);
            assert_eq!(displaced.is_none(), evidence.slot == Slot::Empty, "what is displaced is said");
            let gone = displaced.as_ref().and_then(|displaced| displaced.record.as_deref());
            assert_eq!(gone, record_of(evidence), "what is displaced is what stood there");
        }
        (Request::Renew(authority, ttl), Decision::Renew(renewed)) => {
            let record = record_of(evidence).expect("only a record is renewed");
            assert!(is_entitled(authority, record), "{authority:?} renewed {record:?}");
            assert_eq!(
                without_lease(renewed),
                without_lease(record),
                "a renewal changed more than the lease"
            );
            let asked = ttl.or(record.ttl()).filter(|ttl| !ttl.is_zero());
            assert_eq!(renewed.ttl(), asked.map(in_nanoseconds), "the lease's length");
        }
        (Request::Release(authority), Decision::Remove(gone)) => {
            check_removal(authority, evidence, now);
            assert_eq!(gone.record.as_deref(), record_of(evidence), "what goes is what stood there");
        }
        (Request::Sweep, Decision::Remove(_)) => {
            let record = record_of(evidence).expect("a sweep removes records only");
            assert!(!binds(record, evidence, now), "a sweep removed {record:?}");
            assert!(is_over(record, evidence, now), "a sweep removed what may live: {record:?}");
        }
        (_, Decision::Refuse(refusal)) => check_refusal(request, evidence, refusal),
        (request, decision) => panic!("no answer to {request:?}: {decision:?}"),
    }
    if !matches!(request, Request::Acquire(..)) {
        let mut thawed = evidence.clone();
        (thawed.freeze, thawed.ahead) = (None, 0);
        assert_eq!(
            decide("x", request, &thawed, now),
            decision,
            "a freeze and a line stop newcomers, nobody else"
        );
    }
    decision
}

fn check_admission(claim: &Claim, evidence: &Evidence, now: &Now, record: &Record) {
    assert_eq!(evidence.freeze, None, "a freeze admits nobody");
    assert_eq!(evidence.ahead, 0, "nobody overtakes");
    assert_eq!((record.version, &*record.name), (1, "x"));
    assert_eq!(record.lock_id, claim.lock_id.as_str(), "who is admitted");
    assert_eq!(record.kind, Some(claim.kind));
    assert_eq!(record.ttl(), claim.ttl.filter(|ttl| !ttl.is_zero()).map(in_nanoseconds), "on what terms");
    assert!(record.token >= Some(evidence.next_token), "a token is not below the counter");
    match &evidence.slot {
        Slot::Empty => {}
        Slot::Record(old) => {
            assert!(!binds(old, evidence, now), "admitted beside {old:?}");
            let last = old.token.filter(|token| *token < NO_TOKEN);
            let next = evidence.next_token.max(last.map_or(0, |last| last + 1));
            assert_eq!(record.token, Some(next), "the tokens of a name rise: {last:?}");
        }
        Slot::Corrupt(_) => assert!(!evidence.survivors, "admitted beside a session that lives"),
        slot => panic!("admitted in the place of {slot:?}"),
    }
}

/// A record counts nanoseconds in 64 bits: some 584 years.
fn in_nanoseconds(duration: Duration) -> Duration {
    duration.min(Duration::from_nanos(u64::MAX))
}

fn check_removal(authority: &Authority, evidence: &Evidence, now: &Now) {
    match (authority, &evidence.slot) {
        (_, Slot::Empty | Slot::Unreadable(_)) => panic!("there is nothing that could be removed"),
        (Authority::Force, _) => {}
        (Authority::Stale, Slot::Record(record)) => {
            assert!(!binds(record, evidence, now), "removed as stale: {record:?}");
        }
        (Authority::Stale, Slot::Corrupt(_)) => assert!(!evidence.survivors, "a session still lives"),
        (authority, Slot::Record(record)) => assert!(is_entitled(authority, record), "not {authority:?}'s"),
        (authority, slot) => panic!("{authority:?} removed {slot:?}"),
    }
}

fn check_refusal(request: &Request, evidence: &Evidence, refusal: &Refusal) {
    let own = match (request, record_of(evidence)) {
        (Request::Renew(by, _) | Request::Release(by), Some(record)) => {
            matches!(by, Authority::Session(_)) && is_entitled(by, record)
        }
        _ => false,
    };
    let explained = matches!(refusal, Refusal::NoLease(_)) && record_of(evidence).is_some();
    assert!(!own || explained, "its own record is refused to a session: {refusal:?}");
    if let Refusal::Lost(found) = refusal {
        assert_eq!(found.as_deref(), record_of(evidence), "lost to whom");
        let gone = matches!(evidence.slot, Slot::Empty | Slot::Record(_));
        assert!(gone, "what can't be read is not lost: {:?}", evidence.slot);
    }
    if matches!(request, Request::Release(Authority::Force)) {
        let removable = !matches!(evidence.slot, Slot::Empty | Slot::Unreadable(_));
        assert!(!removable, "--force removes whatever can be removed: {refusal:?}");
    }
}

/// With no freeze and no line: who gets what stands there, and who may remove it, is exactly what the table says.
fn check_breaking(evidence: &Evidence, now: &Now) {
    let mut alone = evidence.clone();
    (alone.freeze, alone.ahead) = (None, 0);
    let admitted = |manner| {
        let request = Request::Acquire(claim(Kind::Guard, None), manner);
        matches!(decide("x", &request, &alone, now), Decision::Admit { .. })
    };
    let removed =
        matches!(decide("x", &Request::Release(Authority::Stale), &alone, now), Decision::Remove(_));
    let (abandoned, stale) = match &alone.slot {
        Slot::Empty => (true, true),
        Slot::Record(record) => (is_abandoned(record, &alone, now), !binds(record, &alone, now)),
        Slot::Corrupt(_) => (!alone.survivors, !alone.survivors),
        Slot::Torn | Slot::Newer(_) | Slot::Unreadable(_) => (false, false),
    };
    assert!(stale || !abandoned, "whoever asks for more gets no less");
    assert_eq!(admitted(Manner::Plain), abandoned, "a plain try takes what is abandoned: {alone:?}");
    assert_eq!(admitted(Manner::BreakStale), stale, "--break-stale takes what is stale: {alone:?}");
    let there = alone.slot != Slot::Empty;
    assert_eq!(removed, stale && there, "taken over and removed on the same grounds: {alone:?}");
}

/// By name and by id only manual locks are to be had; a session has its own; nobody renews or releases another's.
fn is_entitled(authority: &Authority, record: &Record) -> bool {
    let guarded = record.kind == Some(Kind::Guard);
    match authority {
        Authority::Session(id) => record.lock_id == id.as_str(),
        Authority::Owner(owner) => !guarded && record.owner == *owner,
        Authority::Id(id) => !guarded && record.lock_id == *id,
        Authority::Stale | Authority::Force => false,
    }
}

/// Whether a record keeps everybody out, even those who break what is stale.
fn binds(record: &Record, evidence: &Evidence, now: &Now) -> bool {
    let lapsed = has_lapsed(record, evidence, now);
    match record.kind {
        Some(Kind::Guard | Kind::Manual) | None => evidence.liveness != Liveness::Dead && !lapsed,
        // Whatever it is, it is not for us to judge.
        Some(Kind::Freeze | Kind::Unknown) => true,
    }
}

/// Whether a record is to be had by anybody: its holder is proved dead, or it was held by nobody and has lapsed.
fn is_abandoned(record: &Record, evidence: &Evidence, now: &Now) -> bool {
    let lapsed = has_lapsed(record, evidence, now);
    match (record.kind, evidence.liveness) {
        (Some(Kind::Freeze | Kind::Unknown), _) => false,
        (_, Liveness::Dead) => true,
        (Some(Kind::Manual), _) | (None, Liveness::Unknown) => lapsed,
        (Some(Kind::Guard), _) | (None, Liveness::Alive) => false,
    }
}

/// Whether a record binds nobody, and whoever held it is gone; for the Go tool's, as that tool sees it.
fn is_over(record: &Record, evidence: &Evidence, now: &Now) -> bool {
    let dead = evidence.liveness == Liveness::Dead;
    let lapsed = has_lapsed(record, evidence, now);
    match record.kind {
        Some(Kind::Guard) => dead,
        Some(Kind::Manual) => dead || lapsed,
        None => lapsed && evidence.liveness != Liveness::Alive,
        Some(Kind::Freeze | Kind::Unknown) => false,
    }
}

/// Whether the lease has lapsed, by the table of clocks in `docs/protocol.md`.
fn has_lapsed(record: &Record, evidence: &Evidence, now: &Now) -> bool {
    let Some(kind) = record.kind else {
        return go_expiry(record).is_some_and(|expiry| now.wall >= expiry);
    };
    let Some(ttl) = record.ttl() else {
        return false;
    };
    let clock = if kind == Kind::Manual { now.boottime } else { now.monotonic };
    match record.deadline() {
        Some(deadline) if is_believed(record, now) => deadline <= clock,
        _ if evidence.earlier_boot => evidence.unchanged_for >= ttl || now.boottime >= ttl,
        _ => evidence.unchanged_for >= ttl,
    }
}

/// A deadline counts only on its own clock, and only if it is no further off than the lease is long.
pub fn is_believed(record: &Record, now: &Now) -> bool {
    let clock = match record.kind {
        Some(Kind::Manual | Kind::Freeze) => now.boottime,
        _ => now.monotonic,
    };
    record.clock_id.as_deref() == Some(now.clock.as_str())
        && record
            .deadline()
            .is_some_and(|deadline| record.ttl().is_some_and(|ttl| deadline.saturating_sub(clock) <= ttl))
}

/// The Go tool's: `expires_at`, else `acquired_ts` and a `ttl_sec` above zero.
fn go_expiry(record: &Record) -> Option<jiff::Timestamp> {
    record.expires().or_else(|| {
        let ttl = record.ttl_sec.filter(|ttl| *ttl > 0)?;
        record.acquired()?.checked_add(Duration::from_secs(ttl)).ok()
    })
}

fn record_of(evidence: &Evidence) -> Option<&Record> {
    match &evidence.slot {
        Slot::Record(record) => Some(record),
        _ => None,
    }
}

/// What is left of a decision when the wall-clock times that it writes for people are taken out.
pub fn without_wall_times(decision: Decision) -> Decision {
    let blank = |mut record: Box<Record>| {
        record.acquired_ts.clear();
        record.expires_at = None;
        record
    };
    match decision {
        Decision::Admit { record, displaced } => Decision::Admit { record: blank(record), displaced },
        Decision::Renew(record) => Decision::Renew(blank(record)),
        other => other,
    }
}

/// A freeze that does not end by itself.
pub fn freeze() -> Freeze {
    Freeze { record: Box::new(Record { kind: Some(Kind::Freeze), ..Record::default() }), left: None }
}
