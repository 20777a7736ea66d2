//! The rules of safety that every decision must keep, whatever the evidence: an oracle for `decide`.
//!
//! Written anew from `docs/protocol.md`; it does not call `judge` or `lapse`. It says what must never happen, and so
//! knows less than `decide` does.

use std::time::Duration;

use lokt::protocol::{
    Authority, Claim, Decision, Displaced, Evidence, Freeze, Holder, Kind, Liveness, LockId, Manner, Mode,
    Now, Record, Refusal, Request, Stored, decide,
};

use crate::input::without_lease;

/// From here on a token is none that was handed out.
const MOST_TOKEN: u64 = (1 << 52) - (1 << 40);

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
    for record in held_by(evidence).into_iter().filter_map(record_of) {
        authorities.extend(record.id().map(Authority::Session));
        authorities.push(Authority::Owner(record.owner.clone()));
        authorities.push(Authority::Id(record.lock_id.clone()));
    }
    let mut requests = vec![Request::Sweep];
    for manner in [Manner::Plain, Manner::BreakStale] {
        for (kind, ttl) in [(Kind::Guard, None), (Kind::Manual, Some(Duration::from_secs(60)))] {
            for mode in [Mode::Exclusive, Mode::Shared, Mode::Slots(1), Mode::Slots(3)] {
                requests.push(Request::Acquire(Claim { mode, ..claim(kind, ttl) }, manner));
            }
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
        mode: Mode::Exclusive,
        note: None,
    }
}

/// Checks one decision against every rule that concerns it, and returns it.
pub fn check(request: &Request, evidence: &Evidence, now: &Now) -> Decision {
    let decision = decide("x", request, evidence, now);
    assert_eq!(decide("x", request, evidence, now), decision, "the same again");
    match (request, &decision) {
        (Request::Acquire(claim, _), Decision::Admit { record, joint, displaced }) => {
            check_admission(claim, evidence, now, record);
            check_displaced(claim, evidence, displaced);
            check_group(evidence, record, joint.as_deref(), displaced);
        }
        (Request::Renew(authority, ttl), Decision::Renew(renewed)) => {
            let own = |one: &&Evidence| record_of(one).is_some_and(|old| old.lock_id == renewed.lock_id);
            let record = held_by(evidence).into_iter().find(own).and_then(record_of);
            let record = record.expect("only a record is renewed");
            assert!(is_entitled(authority, record), "{authority:?} renewed {record:?}");
            assert_eq!(
                without_lease(renewed),
                without_lease(record),
                "a renewal changed more than the lease"
            );
            if let Some(acquired) = record.acquired_clock() {
                assert_eq!(renewed.acquired_clock(), Some(acquired), "its process is of another clock now");
            }
            let asked = ttl.or(record.ttl()).filter(|ttl| !ttl.is_zero());
            assert_eq!(renewed.ttl(), asked.map(in_nanoseconds), "the lease's length");
        }
        (Request::Release(authority), Decision::Remove(gone)) => {
            assert!(!gone.is_empty(), "to remove nothing is no answer");
            for gone in gone {
                let one = stood_for(evidence, gone);
                check_removal(authority, one, now);
                assert_eq!(gone.record.as_deref(), record_of(one), "what goes is what stood there");
            }
        }
        (Request::Sweep, Decision::Remove(gone)) => {
            assert!(!gone.is_empty(), "to remove nothing is no answer");
            for one in gone.iter().map(|gone| stood_for(evidence, gone)) {
                if is_group(evidence) && matches!(one.stored, Stored::Corrupt(_)) {
                    assert!(!one.survivors, "a session still lives");
                    continue;
                }
                let record = record_of(one).expect("a sweep removes records only");
                assert!(!binds(record, one, now), "a sweep removed {record:?}");
                assert!(is_over(record, one, now), "a sweep removed what may live: {record:?}");
            }
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
    let held_by = held_by(evidence);
    let tokens = held_by.iter().filter_map(|one| record_of(one)?.token);
    let last = tokens.filter(|token| *token < MOST_TOKEN).max();
    let next = evidence.next_token.max(last.map_or(0, |last| last + 1));
    assert_eq!(record.token, Some(next), "the tokens of a name rise: {last:?}");
    let beside = held_by.iter().filter(|one| is_in_the_way(one, now)).count();
    let alike = record_of(evidence).is_some_and(|group| {
        is_group(evidence) && (group.shared, group.slots) == (record.shared, record.slots)
    });
    let room = record.slots.is_none_or(|slots| beside < slots as usize);
    assert!(beside == 0 || alike && room, "admitted beside {beside} who hold it: {evidence:?}");
}

/// Whether what stands in a record's place keeps out those who want the name alone.
fn is_in_the_way(evidence: &Evidence, now: &Now) -> bool {
    match &evidence.stored {
        Stored::Empty => false,
        Stored::Record(record) => binds(record, evidence, now),
        Stored::Corrupt(_) => evidence.survivors,
        Stored::Torn | Stored::Newer(_) | Stored::Unreadable(_) => true,
    }
}

/// Whether the record says that several hold the name.
fn is_group(evidence: &Evidence) -> bool {
    record_of(evidence).is_some_and(|record| {
        record.kind == Some(Kind::Joint)
            && record.joint.is_some()
            && (record.shared || record.slots.is_some())
    })
}

/// What is known of each who holds the name, or of what stands in its place.
fn held_by(evidence: &Evidence) -> Vec<&Evidence> {
    match is_group(evidence) {
        true => evidence.holders.iter().map(|holder| &holder.evidence).collect(),
        false => vec![evidence],
    }
}

/// What was known of that which goes.
fn stood_for<'a>(evidence: &'a Evidence, gone: &Displaced) -> &'a Evidence {
    let Some(id) = &gone.holder else {
        assert!(!is_group(evidence) || evidence.holders.is_empty(), "a group ends with its last holder");
        return evidence;
    };
    &evidence.holders.iter().find(|holder| holder.id == *id).expect("only who is there goes").evidence
}

/// What is displaced is what stood there, all of it unless the claim joins those who stay.
fn check_displaced(claim: &Claim, evidence: &Evidence, displaced: &[Displaced]) {
    for gone in displaced {
        let one = stood_for(evidence, gone);
        assert_eq!(gone.record.as_deref(), record_of(one), "what is displaced is what stood there");
    }
    let there = match is_group(evidence) {
        // Of a group of nobody, what says that there is one.
        true => evidence.holders.len().max(1),
        false => usize::from(evidence.stored != Stored::Empty),
    };
    if claim.mode == Mode::Exclusive {
        assert_eq!(displaced.len(), there, "who is alone displaces all");
    }
}

/// One who holds the name together with others is of their group, and has a slot of its own if there are slots.
fn check_group(evidence: &Evidence, record: &Record, joint: Option<&Record>, displaced: &[Displaced]) {
    let group = joint.or(record_of(evidence).filter(|_| is_group(evidence)));
    if !record.shared && record.slots.is_none() {
        assert_eq!((&record.joint, &record.slot, joint), (&None, &None, None));
        return;
    }
    let group = group.expect("there is a group");
    assert_eq!((group.shared, group.slots), (record.shared, record.slots), "one group, one way to hold it");
    assert_eq!((group.kind, group.pid, group.ttl()), (Some(Kind::Joint), 0, None), "held, to the Go tool");
    assert!(group.joint.is_some() && group.joint == record.joint, "of that group");
    let slots = record.slots.unwrap_or(0);
    assert_eq!(record.slot.is_some(), slots > 0);
    let stays = evidence.holders.iter().filter(|holder| {
        joint.is_none() && !displaced.iter().any(|gone| gone.holder.as_ref() == Some(&holder.id))
    });
    let untold = |holder: &Holder| record_of(&holder.evidence).is_none();
    assert!(slots == 0 || !stays.clone().any(untold), "a slot beside one that nobody can tell");
    for holder in stays.filter_map(|holder| record_of(&holder.evidence)) {
        assert!(holder.slot.is_none() || holder.slot != record.slot, "two in one slot");
    }
    assert!(record.slot.is_none_or(|slot| (1..=slots).contains(&slot)), "a slot that there is");
}

/// A record counts nanoseconds in 64 bits: some 584 years.
fn in_nanoseconds(duration: Duration) -> Duration {
    duration.min(Duration::from_nanos(u64::MAX))
}

fn check_removal(authority: &Authority, evidence: &Evidence, now: &Now) {
    match (authority, &evidence.stored) {
        (_, Stored::Empty | Stored::Unreadable(_)) => panic!("there is nothing that could be removed"),
        (Authority::Force, _) => {}
        (Authority::ForceId(id), Stored::Record(record)) => assert_eq!(record.lock_id, *id, "that one only"),
        (Authority::Stale, Stored::Record(record)) => {
            assert!(!binds(record, evidence, now), "removed as stale: {record:?}");
        }
        (Authority::Stale, Stored::Corrupt(_)) => assert!(!evidence.survivors, "a session still lives"),
        (authority, Stored::Record(record)) => assert!(is_entitled(authority, record), "not {authority:?}'s"),
        (authority, stored) => panic!("{authority:?} removed {stored:?}"),
    }
}

fn check_refusal(request: &Request, evidence: &Evidence, refusal: &Refusal) {
    let is_own = |by: &Authority, one: &Evidence| {
        matches!(by, Authority::Session(_)) && record_of(one).is_some_and(|record| is_entitled(by, record))
    };
    let own = match request {
        Request::Renew(by, _) | Request::Release(by) => {
            held_by(evidence).into_iter().any(|one| is_own(by, one))
        }
        _ => false,
    };
    let explained = matches!(refusal, Refusal::NoLease(_)) && record_of(evidence).is_some();
    assert!(!own || explained, "its own record is refused to a session: {refusal:?}");
    if let Refusal::Lost(found) = refusal {
        let alone = record_of(evidence).filter(|_| !is_group(evidence));
        assert_eq!(found.as_deref(), alone, "lost to whom");
        let gone = matches!(evidence.stored, Stored::Empty | Stored::Record(_));
        assert!(gone, "what can't be read is not lost: {:?}", evidence.stored);
    }
    if matches!(request, Request::Release(Authority::Force)) {
        let removable = |one: &&Evidence| !matches!(one.stored, Stored::Empty | Stored::Unreadable(_));
        let removable =
            held_by(evidence).iter().any(removable) || is_group(evidence) && evidence.holders.is_empty();
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
    if is_group(&alone) {
        let bound = held_by(&alone).into_iter().any(|one| is_in_the_way(one, now));
        assert_eq!(admitted(Manner::BreakStale), !bound, "who wants it alone has to wait for all: {alone:?}");
        return;
    }
    let (abandoned, stale) = match &alone.stored {
        Stored::Empty => (true, true),
        Stored::Record(record) => (is_abandoned(record, &alone, now), !binds(record, &alone, now)),
        Stored::Corrupt(_) => (!alone.survivors, !alone.survivors),
        Stored::Torn | Stored::Newer(_) | Stored::Unreadable(_) => (false, false),
    };
    assert!(stale || !abandoned, "whoever asks for more gets no less");
    assert_eq!(admitted(Manner::Plain), abandoned, "a plain try takes what is abandoned: {alone:?}");
    assert_eq!(admitted(Manner::BreakStale), stale, "--break-stale takes what is stale: {alone:?}");
    let there = alone.stored != Stored::Empty;
    assert_eq!(removed, stale && there, "taken over and removed on the same grounds: {alone:?}");
}

/// By name and by id only manual locks are to be had; a session has its own; nobody renews or releases another's.
fn is_entitled(authority: &Authority, record: &Record) -> bool {
    let manual = matches!(record.kind, None | Some(Kind::Manual));
    match authority {
        Authority::Session(id) => record.lock_id == id.as_str(),
        Authority::Owner(owner) => manual && record.owner == *owner,
        Authority::Id(id) => manual && record.lock_id == *id,
        Authority::Stale | Authority::Force | Authority::ForceId(_) => false,
    }
}

/// Whether a record keeps everybody out, even those who break what is stale.
fn binds(record: &Record, evidence: &Evidence, now: &Now) -> bool {
    let lapsed = has_lapsed(record, evidence, now);
    match record.kind {
        Some(Kind::Guard | Kind::Manual) | None => evidence.liveness != Liveness::Dead && !lapsed,
        // Without anybody who holds it, a group is none.
        Some(Kind::Joint) => !is_group(evidence),
        // Whatever it is, it is not for us to judge.
        Some(Kind::Freeze | Kind::Unknown) => true,
    }
}

/// Whether a record is to be had by anybody: its holder is proved dead, or it was held by nobody and has lapsed.
fn is_abandoned(record: &Record, evidence: &Evidence, now: &Now) -> bool {
    let lapsed = has_lapsed(record, evidence, now);
    match (record.kind, evidence.liveness) {
        (Some(Kind::Freeze | Kind::Joint | Kind::Unknown), _) => false,
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
        Some(Kind::Joint) => is_group(evidence),
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
        // What lives is of this boot.
        _ if evidence.earlier_boot && evidence.liveness != Liveness::Alive => {
            evidence.unchanged_for >= ttl || now.boottime >= ttl
        }
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
    match &evidence.stored {
        Stored::Record(record) => Some(record),
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
        Decision::Admit { record, joint, displaced } => {
            Decision::Admit { record: blank(record), joint: joint.map(blank), displaced }
        }
        Decision::Renew(record) => Decision::Renew(blank(record)),
        other => other,
    }
}

/// A freeze that does not end by itself.
pub fn freeze() -> Freeze {
    let record = Box::new(Record { kind: Some(Kind::Freeze), ..Record::default() });
    Freeze { record, left: None, unknown: None }
}
