//! Keys, transactions and leases on one member.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use lokt::store::etcd::{Compare, Is, Op, OpAnswer, Outcome, Range, Span, Txn};
use lokt_tests::etcd::Etcd;
use lokt_tests::sandbox::{eventually, throughout};

use super::{SOON, client, create, put};

#[test]
fn of_those_who_create_a_key_at_once_one_succeeds_and_the_others_see_it() {
    let Some(etcd) = Etcd::single() else { return };
    let client = client(&etcd);
    let barrier = Arc::new(Barrier::new(8));
    let threads: Vec<_> = (0..8)
        .map(|number| {
            let (client, barrier) = (client.clone(), Arc::clone(&barrier));
            thread::spawn(move || {
                let txn = Txn {
                    or_else: vec![Op::Range(Range::of(Span::key("/lokt/a")))],
                    ..create("/lokt/a", &number.to_string())
                };
                barrier.wait();
                (number.to_string(), client.txn(&txn, SOON).unwrap())
            })
        })
        .collect();
    let tries: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let (winner, won) = tries.iter().find(|(_, done)| done.succeeded).expect("one creates it");
    assert_eq!(won.answers, [OpAnswer::Put]);
    for (_, done) in tries.iter().filter(|(number, _)| number != winner) {
        assert!(!done.succeeded, "only one creates it");
        let [OpAnswer::Range(found)] = done.answers.as_slice() else { panic!("{done:?}") };
        assert_eq!(found.kvs[0].value, winner.as_bytes());
        assert_eq!(found.kvs[0].mod_revision, won.revision);
    }
}

#[test]
fn every_kind_of_condition_is_compared() {
    let Some(etcd) = Etcd::single() else { return };
    let client = client(&etcd);
    let lease = client.grant(60, SOON).unwrap().id;
    let made = client
        .txn(&Txn { then: vec![Op::put_leased("k", "1", lease)], ..Txn::default() }, SOON)
        .unwrap()
        .revision;
    let changed = client
        .txn(&Txn { then: vec![Op::put_leased("k", "2", lease)], ..Txn::default() }, SOON)
        .unwrap()
        .revision;
    let holds =
        |when: Compare| client.txn(&Txn { when: vec![when], ..Txn::default() }, SOON).unwrap().succeeded;
    assert!(holds(Compare::mod_revision("k", Is::Equal, changed)));
    assert!(!holds(Compare::mod_revision("k", Is::Less, changed)));
    assert!(holds(Compare::create_revision("k", Is::Equal, made)));
    assert!(holds(Compare::version("k", Is::Greater, 1)));
    assert!(!holds(Compare::version("k", Is::Equal, 1)));
    assert!(holds(Compare::lease("k", Is::Equal, lease)));
    assert!(holds(Compare::lease("k", Is::NotEqual, lease + 1)));
    assert!(holds(Compare::version("absent", Is::Equal, 0)));
}

#[test]
fn a_prefix_is_found_in_the_order_asked_for_and_deleted_as_one() {
    let Some(etcd) = Etcd::single() else { return };
    let client = client(&etcd);
    for key in ["p/b", "p/a", "q", "p/c"] {
        client.txn(&put(key, key), SOON).unwrap();
    }
    let keys = |range: Range| {
        let found = client.range(&range, SOON).unwrap();
        let keys: Vec<_> = found.kvs.iter().map(|kv| String::from_utf8(kv.key.clone()).unwrap()).collect();
        (keys.join(" "), found.count)
    };
    let all = || Range::of(Span::prefix("p/"));
    assert_eq!(keys(all()), ("p/a p/b p/c".into(), 3));
    assert_eq!(keys(all().oldest_first()), ("p/b p/a p/c".into(), 3));
    assert_eq!(keys(all().oldest_first().at_most(1).keys_only()), ("p/b".into(), 3));
    assert_eq!(keys(all().serializable()).1, 3);
    let gone =
        client.txn(&Txn { then: vec![Op::Delete(Span::prefix("p/"))], ..Txn::default() }, SOON).unwrap();
    assert_eq!(gone.answers, [OpAnswer::Deleted(3)]);
    assert_eq!(keys(Range::of(Span::prefix(""))), ("q".into(), 1));
}

#[test]
fn values_of_any_bytes_come_back_as_they_were() {
    let Some(etcd) = Etcd::single() else { return };
    let client = client(&etcd);
    // More than one read's worth, in every byte.
    let value: Vec<u8> = (0..200_000_u32).map(|number| (number * 7 % 256) as u8).collect();
    let key = vec![0xff, 0, b'"', 0xc3];
    client.txn(&Txn { then: vec![Op::put(key.clone(), value.clone())], ..Txn::default() }, SOON).unwrap();
    let found = client.range(&Range::of(Span::key(key)), SOON).unwrap();
    assert!(found.kvs[0].value == value, "the value is another");
}

#[test]
fn the_keys_of_a_lease_go_when_it_lapses() {
    let Some(etcd) = Etcd::single() else { return };
    let client = client(&etcd);
    let lease = client.grant(1, SOON).unwrap();
    assert_eq!(lease.ttl_s, 1);
    client.txn(&Txn { then: vec![Op::put_leased("k", "", lease.id)], ..Txn::default() }, SOON).unwrap();
    eventually("it lapses", || client.range(&Range::of(Span::key("k")), SOON).unwrap().count == 0);
    assert_eq!(client.keep_alive(lease.id, SOON).unwrap(), None, "it is not renewed");
    assert_eq!(client.time_to_live(lease.id, SOON).unwrap(), None);
    assert!(!client.revoke(lease.id, SOON).unwrap());
    let late = Txn { then: vec![Op::put_leased("k", "", lease.id)], ..Txn::default() };
    let error = client.txn(&late, SOON).unwrap_err();
    assert!(error.is_lease_gone() && error.outcome() == Outcome::Refused, "{error}");
}

#[test]
fn a_lease_that_is_renewed_outlives_its_term_and_ends_when_revoked() {
    let Some(etcd) = Etcd::single() else { return };
    let client = client(&etcd);
    let lease = client.grant(1, SOON).unwrap();
    client.txn(&Txn { then: vec![Op::put_leased("k", "", lease.id)], ..Txn::default() }, SOON).unwrap();
    throughout(Duration::from_millis(2200), "it is renewed", || {
        client.keep_alive(lease.id, SOON).unwrap() == Some(1)
    });
    let left = client.time_to_live(lease.id, SOON).unwrap().expect("it is there");
    assert_eq!(left.granted_s, 1);
    assert_eq!(client.range(&Range::of(Span::key("k")), SOON).unwrap().kvs[0].lease, lease.id);
    assert!(client.revoke(lease.id, SOON).unwrap());
    assert_eq!(client.range(&Range::of(Span::key("k")), SOON).unwrap().count, 0);
}

#[test]
fn what_etcd_refuses_is_told_in_its_words_and_has_changed_nothing() {
    let Some(etcd) = Etcd::single() else { return };
    let client = client(&etcd);
    let twice = Txn { then: vec![Op::put("k", "1"), Op::put("k", "2")], ..Txn::default() };
    let error = client.txn(&twice, SOON).unwrap_err();
    assert_eq!(error.outcome(), Outcome::Refused);
    let endpoint = &client.endpoints()[0];
    assert_eq!(error.to_string(), format!("etcd at {endpoint} refused: duplicate key given in txn request"));
    let many = (0..129).map(|number| Op::put(format!("k{number}"), "")).collect();
    let error = client.txn(&Txn { then: many, ..Txn::default() }, SOON).unwrap_err();
    assert_eq!(error.refusal(), Some("etcdserver: too many operations in txn request"));
    assert_eq!(client.range(&Range::of(Span::prefix("")), SOON).unwrap().count, 0);
}
