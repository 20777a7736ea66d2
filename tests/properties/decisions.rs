//! `decide`, over whatever evidence, instants and requests: the rules of `lokt_tests::rules`, and what one decision
//! says of another.

use std::time::Duration;

use lokt::protocol::{
    Authority, Decision, Displaced, Evidence, Kind, Liveness, LockId, Now, Record, Refusal, Request,
    Standing, Stored, Whom, decide,
};
use lokt_tests::rules::{check, check_all, is_believed, without_wall_times};
use proptest::prelude::*;

use super::{config, made, many};

proptest! {
    #![proptest_config(many())]

    #[test]
    fn no_decision_breaks_a_rule(
        request in made::request(),
        evidence in made::evidence(),
        now in made::now(),
    ) {
        check(&request, &evidence, &now);
        check_all(&evidence, &now);
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_session_is_admitted_to_what_is_free_and_to_no_more_than_that(
        request in made::request(),
        mut evidence in made::evidence(),
        now in made::now(),
    ) {
        evidence.stored = Stored::Empty;
        evidence.holders.clear();
        let decision = check(&request, &evidence, &now);
        if let Request::Acquire(..) = request {
            let open = evidence.freeze.is_none() && evidence.ahead == 0;
            let admitted =
                matches!(&decision, Decision::Admit { displaced, .. } if displaced.is_empty());
            prop_assert_eq!(admitted, open);
        } else {
            prop_assert!(matches!(decision, Decision::Refuse(_)), "there is nothing: {:?}", decision);
        }
    }

    /// The store does not even look for them.
    #[test]
    fn what_a_session_does_with_its_own_record_depends_on_nothing_else(
        request in made::request(),
        evidence in made::evidence(),
        other in made::evidence(),
        now in made::now(),
    ) {
        if request.is_of_ones_own() {
            let decided = |evidence: &Evidence| match decide("name", &request, evidence, &now) {
                Decision::Remove(gone) => {
                    let blank = |one| Displaced { standing: Standing::Free, ..one };
                    Decision::Remove(gone.into_iter().map(blank).collect())
                }
                Decision::Refuse(Refusal::Unusable(_)) => Decision::Refuse(Refusal::Unusable(Standing::Free)),
                decision => decision,
            };
            let mut own = evidence.holders.clone();
            own.retain(|holder| request.concerns(evidence.mode()) == Whom::One(&holder.id));
            for holder in &mut own {
                holder.evidence = Evidence { stored: holder.evidence.stored.clone(), ..other.clone() };
            }
            let other = Evidence { stored: evidence.stored.clone(), holders: own, ..other };
            prop_assert_eq!(decided(&evidence), decided(&other));
        }
    }

    #[test]
    fn a_strict_lock_is_never_taken_from_what_may_live(
        request in made::request(),
        mut evidence in made::evidence(),
        mut record in made::record(),
        kind in proptest::sample::select(&[Kind::Guard, Kind::Manual, Kind::Unknown, Kind::Freeze][..]),
        alive in any::<bool>(),
        now in made::now(),
    ) {
        (record.kind, record.ttl_ns, record.ttl_sec) = (Some(kind), None, None);
        evidence.liveness = if alive { Liveness::Alive } else { Liveness::Unknown };
        evidence.stored = Stored::Record(Box::new(record.clone()));
        let decision = check(&request, &evidence, &now);
        match (&request, decision) {
            (Request::Acquire(..) | Request::Sweep, decision) => {
                prop_assert!(matches!(decision, Decision::Refuse(_)), "{:?}", decision);
            }
            (Request::Release(by), Decision::Remove(_)) => prop_assert!(*by != Authority::Stale),
            _ => {}
        }
    }

    #[test]
    fn what_is_newer_goes_only_by_force_and_what_can_not_be_read_not_at_all(
        request in made::request(),
        mut evidence in made::evidence(),
        newer in any::<bool>(),
        now in made::now(),
    ) {
        evidence.stored = if newer { Stored::Newer("2".into()) } else { Stored::Unreadable("?".into()) };
        let forced = newer && request == Request::Release(Authority::Force);
        let decision = check(&request, &evidence, &now);
        prop_assert_eq!(matches!(decision, Decision::Remove(_)), forced);
        let said = matches!(
            decision,
            Decision::Remove(_) | Decision::Refuse(Refusal::Unusable(_) | Refusal::NotStale { .. })
        );
        prop_assert!(said, "{:?}", decision);
    }

    #[test]
    fn the_wall_clock_decides_nothing_about_our_own_records(
        request in made::request(),
        mut evidence in made::evidence(),
        now in made::now(),
        other in made::now(),
    ) {
        if let Stored::Record(record) = &mut evidence.stored {
            record.kind = record.kind.or(Some(Kind::Guard));
        }
        let elsewhen = Now { wall: other.wall, ..now.clone() };
        let (then, now) = (decide("x", &request, &evidence, &elsewhen), decide("x", &request, &evidence, &now));
        prop_assert_eq!(without_wall_times(then), without_wall_times(now));
    }

    #[test]
    fn what_has_lapsed_stays_lapsed(
        evidence in made::of_one(),
        now in made::now(),
        passes in prop_oneof![0..20_000_000_000_u64, 0..u64::MAX / 2].prop_map(Duration::from_nanos),
    ) {
        // A deadline that is not believed is judged by watching; it may come into reach, and then counts.
        let watched = matches!(
            &evidence.stored,
            Stored::Record(record) if record.kind.is_some() && record.deadline().is_some() && !is_believed(record, &now)
        );
        if watched {
            return Ok(());
        }
        let (late, later) = later(&evidence, &now, passes);
        for request in [Request::Release(Authority::Stale), Request::Sweep] {
            if let Decision::Remove(_) = decide("x", &request, &evidence, &now) {
                let decision = decide("x", &request, &late, &later);
                prop_assert!(matches!(decision, Decision::Remove(_)), "{:?}", decision);
            }
        }
    }

    #[test]
    fn a_renewed_lease_binds_for_all_of_its_length_and_no_longer(
        mut record in made::record(),
        now in made::now(),
        ttl in (1..u64::MAX / 8).prop_map(Duration::from_nanos),
    ) {
        // A clock's reading is of 64 bits in nanoseconds: what is beyond has no end.
        let most = Duration::from_nanos(u64::MAX / 2);
        let now = Now { monotonic: now.monotonic.min(most), boottime: now.boottime.min(most), ..now };
        record.kind = record.kind.or(Some(Kind::Guard));
        let id = LockId::from_random([1; 16]);
        record.lock_id = id.to_string();
        let known = |record: Box<Record>| Evidence { stored: Stored::Record(record), ..alive() };
        let renewal = Request::Renew(Authority::Session(id), Some(ttl));
        let Decision::Renew(renewed) = check(&renewal, &known(Box::new(record.clone())), &now) else {
            panic!("a session renews its own");
        };
        let stale = |passes| {
            let (mut evidence, later) = later(&known(renewed.clone()), &now, passes);
            evidence.unchanged_for = Duration::ZERO;
            matches!(check(&Request::Release(Authority::Stale), &evidence, &later), Decision::Remove(_))
        };
        let ends = matches!(record.kind, Some(Kind::Guard | Kind::Manual));
        prop_assert!(!stale(Duration::ZERO));
        prop_assert!(!stale(ttl - Duration::from_nanos(1)));
        prop_assert_eq!(stale(ttl), ends);
    }
}

/// A holder that lives, and nothing else.
fn alive() -> Evidence {
    Evidence { liveness: Liveness::Alive, next_token: 1, ..Evidence::default() }
}

/// The same, seen by the same observer after a while.
fn later(evidence: &Evidence, now: &Now, passes: Duration) -> (Evidence, Now) {
    let evidence =
        Evidence { unchanged_for: evidence.unchanged_for.saturating_add(passes), ..evidence.clone() };
    let now = Now {
        monotonic: now.monotonic.saturating_add(passes),
        boottime: now.boottime.saturating_add(passes),
        wall: now.wall.saturating_add(passes).unwrap_or(jiff::Timestamp::MAX),
        clock: now.clock.clone(),
    };
    (evidence, now)
}
