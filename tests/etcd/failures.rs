//! Members that are lost, hang, or lose an answer.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use lokt::store::etcd::{Access, Address, Client, Endpoint, Outcome, Range, Span};
use lokt_tests::etcd::{Etcd, Setup, closed_port, endpoint, network};
use lokt_tests::sandbox::eventually;

use super::{SOON, client, create, put};

/// A deadline of which a member that hangs takes a quarter, where there are three.
const WITHIN: Duration = Duration::from_secs(4);

fn value(client: &Client, key: &str) -> String {
    let found = client.range(&Range::of(Span::key(key)), WITHIN).unwrap();
    found.kvs.first().map_or_else(String::new, |kv| String::from_utf8_lossy(&kv.value).into_owned())
}

fn client_of(endpoints: Vec<Endpoint>) -> Client {
    let address = Address { endpoints, prefix: "/lokt".into(), tls: false };
    Client::new(&address, &Access::default()).unwrap()
}

#[test]
fn every_call_succeeds_in_time_while_one_member_hangs() {
    let Some(mut etcd) = Etcd::cluster(3) else { return };
    let client = client(&etcd);
    client.txn(&put("k", "0"), SOON).unwrap();
    for paused in 0..3 {
        etcd.pause(paused);
        // What was sent to a leader that hangs may be lost on its way, whatever member has taken it.
        etcd.leader();
        // A new client tries the first first; this one has a connection to the one that was of use.
        let new = Client::new(&etcd.address(), &etcd.access()).unwrap();
        let begun = Instant::now();
        new.txn(&put("k", &paused.to_string()), WITHIN).unwrap();
        assert_eq!(value(&client, "k"), paused.to_string());
        client.txn(&put("k", "again"), WITHIN).unwrap();
        let lease = client.grant(5, WITHIN).unwrap();
        assert_eq!(client.keep_alive(lease.id, WITHIN).unwrap(), Some(5));
        assert!(begun.elapsed() < WITHIN, "{:?}", begun.elapsed());
        etcd.resume(paused);
    }
}

#[test]
fn a_member_that_comes_back_is_found_again() {
    let Some(mut etcd) = Etcd::single() else { return };
    let client = client(&etcd);
    client.txn(&put("k", "1"), SOON).unwrap();
    etcd.stop(0);
    let error = client.txn(&put("k", "2"), Duration::from_millis(300)).unwrap_err();
    assert_eq!(error.outcome(), Outcome::NotSent);
    assert_eq!(
        error.to_string(),
        format!("etcd can't be reached: {}: connection refused", client.endpoints()[0])
    );
    etcd.start(0);
    assert_eq!(value(&client, "k"), "1");
    client.txn(&put("k", "2"), SOON).unwrap();
}

#[test]
fn a_call_waits_out_an_election() {
    let Some(mut etcd) = Etcd::cluster(3) else { return };
    let client = client(&etcd);
    client.txn(&put("k", "1"), SOON).unwrap();
    let leader = etcd.leader();
    etcd.stop(leader);
    assert_eq!(value(&client, "k"), "1");
    etcd.start(leader);
    assert_eq!(etcd.endpoints().len(), 3);
}

#[test]
fn a_transaction_whose_answer_is_lost_is_told_as_unknown_and_not_made_again() {
    let Some(mut etcd) = Etcd::single() else { return };
    let client = client(&etcd);
    // It has just shown that it is of use, and so gets the transaction.
    client.txn(&put("k", "1"), SOON).unwrap();
    etcd.pause(0);
    let begun = Instant::now();
    let error = client.txn(&create("new", "x"), Duration::from_millis(500)).unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(error.outcome(), Outcome::Unknown);
    let endpoint = &client.endpoints()[0];
    assert_eq!(
        error.to_string(),
        format!("etcd at {endpoint} may or may not have done it: no answer in time")
    );
    etcd.resume(0);
    client.txn(&put("k", "2"), SOON).unwrap();
}

#[test]
fn a_transaction_is_not_sent_to_a_member_that_does_not_show_itself() {
    let Some(mut etcd) = Etcd::single() else { return };
    etcd.pause(0);
    let error = client(&etcd).txn(&put("k", "1"), Duration::from_millis(500)).unwrap_err();
    assert_eq!(error.outcome(), Outcome::NotSent, "{error}");
    etcd.resume(0);
    assert_eq!(value(&client(&etcd), "k"), "", "it was not made");
}

#[test]
fn a_connection_that_breaks_after_the_request_leaves_the_outcome_unknown() {
    // A member that shows itself, and breaks off instead of answering the next.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let member = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let status = r#"{"leader":"1","version":"3.4.23"}"#;
        read_request(&mut stream);
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{status}", status.len()).unwrap();
        let sent = read_request(&mut stream);
        drop(stream);
        (sent, listener)
    });
    let error = client_of(vec![endpoint([127, 0, 0, 1], port)]).txn(&put("k", "1"), SOON).unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown);
    assert!(error.to_string().ends_with("it has closed the connection"), "{error}");
    let (sent, listener) = member.join().unwrap();
    assert!(sent.contains("/v3/kv/txn"), "it was sent");
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "it was sent again");
}

fn read_request(stream: &mut impl Read) -> String {
    let mut request = Vec::new();
    let mut byte = [0];
    loop {
        let text = String::from_utf8_lossy(&request);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
            if body.len() == length.parse::<usize>().unwrap() {
                return text.into_owned();
            }
        }
        stream.read_exact(&mut byte).unwrap();
        request.push(byte[0]);
    }
}

#[test]
fn one_wrong_endpoint_does_not_matter_and_only_wrong_ones_are_all_named() {
    let Some(etcd) = Etcd::single() else { return };
    let [nobody, another] = [closed_port(), closed_port()].map(|port| endpoint([127, 0, 0, 1], port));
    let good = client_of(vec![nobody.clone(), etcd.endpoints()[0].clone()]);
    good.txn(&put("k", "1"), SOON).unwrap();
    let bad = client_of(vec![nobody.clone(), another.clone()]);
    let error = bad.range(&Range::of(Span::key("k")), Duration::from_millis(200)).unwrap_err();
    let words = format!("etcd can't be reached: {nobody}: connection refused; {another}: connection refused");
    assert_eq!(error.to_string(), words);
}

#[test]
fn a_name_that_is_none_and_a_server_that_is_no_etcd_are_told_at_once() {
    let begun = Instant::now();
    let unknown = client_of(vec![Endpoint { host: "no-such-host.invalid".into(), port: 2379 }]);
    let error = unknown.range(&Range::of(Span::key("k")), SOON).unwrap_err();
    assert!(error.to_string().contains("no-such-host.invalid:2379: its name can't be resolved"), "{error}");

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            read_request(&mut stream);
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope");
        }
    });
    let other = client_of(vec![endpoint([127, 0, 0, 1], port)]);
    let error = other.txn(&put("k", "1"), SOON).unwrap_err();
    assert_eq!(error.outcome(), Outcome::NotSent);
    assert!(error.to_string().contains("there is no JSON gateway"), "{error}");
    assert!(begun.elapsed() < SOON, "neither waits for its deadline");
}

#[test]
fn a_member_without_a_leader_gets_no_transaction() {
    if !network::alone("failures::a_member_without_a_leader_gets_no_transaction") {
        return;
    }
    let Some(etcd) = Etcd::with(Setup { members: 3, apart: true, ..Setup::default() }) else { return };
    let client = client(&etcd);
    client.txn(&put("k", "1"), SOON).unwrap();
    // Whether it leads or not.
    for cut in 0..3 {
        etcd.cut_off(cut);
        etcd.leader();
        let begun = Instant::now();
        let new = Client::new(&etcd.address(), &etcd.access()).unwrap();
        new.txn(&put("k", &cut.to_string()), WITHIN).unwrap();
        assert_eq!(value(&new, "k"), cut.to_string());
        assert!(begun.elapsed() < WITHIN, "{:?}", begun.elapsed());
        etcd.reconnect(cut);
    }
    // The others gone, the first is there and has no leader.
    etcd.cut_off(1);
    etcd.cut_off(2);
    let first = client_of(vec![etcd.endpoints()[0].clone()]);
    eventually("it has lost the others", || {
        first.status(&first.endpoints()[0], SOON).unwrap().leader_id == 0
    });
    let error = first.txn(&put("k", "x"), Duration::from_secs(1)).unwrap_err();
    assert_eq!(error.outcome(), Outcome::NotSent, "{error}");
    assert!(error.to_string().ends_with(": no leader"), "{error}");
    let old = first.range(&Range::of(Span::key("k")).serializable(), SOON).unwrap();
    assert_eq!(old.kvs[0].value, b"2", "what it knows, it still tells");
}
