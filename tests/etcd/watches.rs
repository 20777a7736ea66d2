//! Watches: from which revision, through which losses, until when.

use std::net::TcpListener;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use lokt::store::etcd::{Access, Address, Client, News, Op, Range, Span, Txn, Watch};
use lokt_tests::etcd::{Etcd, Setup, endpoint, network};

use super::{SOON, client, put};

fn watch(client: &Client, span: &Span, from: i64) -> (Watch, Receiver<News>) {
    let (sender, news) = mpsc::channel();
    let watch = client.watch(span, from, move |news| drop(sender.send(news))).unwrap();
    (watch, news)
}

/// The next event: what happened to which key.
fn event(news: &Receiver<News>) -> String {
    loop {
        match news.recv_timeout(SOON).expect("an event") {
            News::Put(kv) => return format!("{}={}", text(&kv.key), text(&kv.value)),
            News::Deleted { key, .. } => return format!("{} gone", text(&key)),
            News::Began { .. } | News::Interrupted(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn began(news: &Receiver<News>) {
    while !matches!(news.recv_timeout(SOON).expect("it begins"), News::Began { .. }) {}
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_watch_tells_what_happened_from_its_revision_on() {
    let Some(etcd) = Etcd::single() else { return };
    let client = client(&etcd);
    let first = client.txn(&put("w/a", "1"), SOON).unwrap().revision;
    client.txn(&put("w/a", "2"), SOON).unwrap();
    client.txn(&put("other", ""), SOON).unwrap();
    let (_all, all) = watch(&client, &Span::prefix("w/"), first);
    let (_rest, rest) = watch(&client, &Span::key("w/a"), first + 1);
    let (_new, new) = watch(&client, &Span::prefix("w/"), 0);
    began(&new);
    let lease = client.grant(60, SOON).unwrap().id;
    let both = vec![Op::put_leased("w/b", "", lease), Op::Delete(Span::key("w/a"))];
    client.txn(&Txn { then: both, ..Txn::default() }, SOON).unwrap();
    client.revoke(lease, SOON).unwrap();
    let events = |news: &Receiver<News>, count| Vec::from_iter((0..count).map(|_| event(news))).join(", ");
    assert_eq!(events(&all, 5), "w/a=1, w/a=2, w/b=, w/a gone, w/b gone");
    assert_eq!(events(&rest, 2), "w/a=2, w/a gone");
    assert_eq!(events(&new, 3), "w/b=, w/a gone, w/b gone");
}

#[test]
fn a_watch_from_what_is_forgotten_says_so_and_ends() {
    let Some(etcd) = Etcd::single() else { return };
    let client = client(&etcd);
    for value in ["1", "2", "3"] {
        client.txn(&put("k", value), SOON).unwrap();
    }
    let now = client.range(&Range::of(Span::key("k")), SOON).unwrap().revision;
    etcd.post(0, "/v3/kv/compaction", &format!(r#"{{"revision":"{now}"}}"#)).unwrap();
    let (_watch, news) = watch(&client, &Span::key("k"), 1);
    loop {
        match news.recv_timeout(SOON).expect("the end") {
            News::Compacted { revision } => break assert_eq!(revision, now),
            News::Began { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(news.recv_timeout(SOON).is_err_and(|error| error == mpsc::RecvTimeoutError::Disconnected));
}

#[test]
fn a_watch_goes_on_elsewhere_when_its_member_dies_and_misses_nothing() {
    let Some(mut etcd) = Etcd::cluster(3) else { return };
    let client = client(&etcd);
    let (_watch, news) = watch(&client, &Span::prefix("w/"), 0);
    began(&news);
    client.txn(&put("w/a", "1"), SOON).unwrap();
    assert_eq!(event(&news), "w/a=1");
    // It is at the first: no other was tried.
    etcd.stop(0);
    etcd.leader();
    client.txn(&put("w/a", "2"), SOON).unwrap();
    client.txn(&put("w/a", "3"), SOON).unwrap();
    assert_eq!(event(&news), "w/a=2");
    assert_eq!(event(&news), "w/a=3");
}

#[test]
fn a_watch_leaves_a_member_that_hangs() {
    let Some(mut etcd) = Etcd::cluster(3) else { return };
    let client = client(&etcd);
    let (_watch, news) = watch(&client, &Span::prefix("w/"), 0);
    began(&news);
    etcd.pause(0);
    etcd.leader();
    let others = Address { endpoints: etcd.endpoints()[1..].to_vec(), ..etcd.address() };
    let others = Client::new(&others, &etcd.access()).unwrap();
    others.txn(&put("w/a", "1"), SOON).unwrap();
    assert_eq!(event(&news), "w/a=1");
}

#[test]
fn a_watch_leaves_a_member_that_is_cut_off_from_the_others() {
    if !network::alone("watches::a_watch_leaves_a_member_that_is_cut_off_from_the_others") {
        return;
    }
    let Some(etcd) = Etcd::with(Setup { members: 3, apart: true, ..Setup::default() }) else { return };
    let client = client(&etcd);
    let (_watch, news) = watch(&client, &Span::prefix("w/"), 0);
    began(&news);
    etcd.cut_off(0);
    etcd.leader();
    client.txn(&put("w/a", "1"), SOON).unwrap();
    assert_eq!(event(&news), "w/a=1");
    etcd.reconnect(0);
    client.txn(&put("w/a", "2"), SOON).unwrap();
    assert_eq!(event(&news), "w/a=2");
}

#[test]
fn a_cancelled_watch_ends_at_once() {
    let Some(etcd) = Etcd::single() else { return };
    let client = client(&etcd);
    let (watched, news) = watch(&client, &Span::key("k"), 0);
    began(&news);
    let begun = Instant::now();
    watched.join();
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    client.txn(&put("k", ""), SOON).unwrap();
    assert!(news.recv().is_err(), "nothing is told any more");
}

#[test]
fn a_watch_that_nobody_answers_can_be_cancelled() {
    // It takes connections, and says nothing.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = mute.local_addr().unwrap();
    let address = Address {
        endpoints: vec![endpoint(address.ip(), address.port())],
        prefix: "/lokt".into(),
        tls: false,
    };
    let client = Client::new(&address, &Access::default()).unwrap();
    let (watched, news) = watch(&client, &Span::key("k"), 0);
    let connection = mute.accept().unwrap();
    let begun = Instant::now();
    watched.join();
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
    assert!(news.recv().is_err(), "it has told of nothing");
    drop(connection);
}

#[test]
fn a_watch_from_a_revision_that_the_cluster_has_not_reached_says_so_and_ends() {
    let Some(etcd) = Etcd::single() else { return };
    let client = client(&etcd);
    let now = client.txn(&put("k", "1"), SOON).unwrap().revision;
    let (_next, next) = watch(&client, &Span::key("k"), now + 1);
    began(&next);
    let (_watch, news) = watch(&client, &Span::key("k"), now + 2);
    match news.recv_timeout(SOON).expect("the end") {
        News::Compacted { revision } => assert_eq!(revision, now),
        other => panic!("{other:?}"),
    }
    client.txn(&put("k", "2"), SOON).unwrap();
    assert_eq!(event(&next), "k=2", "the next one is no such revision");
}
