//! The store on etcd, and its client, against real clusters.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test ends at the first surprise, and reads clocks"
)]

#[path = "etcd/calls.rs"]
mod calls;
#[path = "etcd/doors.rs"]
mod doors;
#[path = "etcd/failures.rs"]
mod failures;
#[path = "etcd/foreign.rs"]
mod foreign;
#[path = "etcd/locks.rs"]
mod locks;
#[path = "etcd/outages.rs"]
mod outages;
mod schema;
#[path = "etcd/site.rs"]
mod site;
#[path = "etcd/tied.rs"]
mod tied;
#[path = "etcd/told.rs"]
mod told;
#[path = "etcd/watches.rs"]
mod watches;

use std::time::Duration;

use lokt::store::etcd::{Client, Compare, Is, Op, Txn};
use lokt_tests::etcd::Etcd;

/// The deadline of a call that is to succeed.
const SOON: Duration = Duration::from_secs(10);

fn client(etcd: &Etcd) -> Client {
    Client::new(&etcd.address(), &etcd.access()).unwrap()
}

/// Puts a key that is not there yet.
fn create(key: &str, value: &str) -> Txn {
    Txn {
        when: vec![Compare::create_revision(key, Is::Equal, 0)],
        then: vec![Op::put(key, value)],
        or_else: vec![],
    }
}

/// Puts a key in any case.
fn put(key: &str, value: &str) -> Txn {
    Txn { then: vec![Op::put(key, value)], ..Txn::default() }
}
