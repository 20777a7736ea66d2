//! Clusters that don't let everybody in: TLS, certificates, users.

use std::time::{Duration, Instant};

use lokt::store::etcd::{Access, Address, Client, Outcome, Range, Span, User};
use lokt_tests::etcd::{Etcd, Setup, USER};

use super::{SOON, client, put};

fn tls() -> Option<Etcd> {
    Etcd::with(Setup { members: 1, tls: true, users: true, ..Setup::default() })
}

fn complaint(address: &Address, access: &Access) -> String {
    let client = match Client::new(address, access) {
        Ok(client) => client,
        Err(error) => return error.to_string(),
    };
    let begun = Instant::now();
    let error = client.txn(&put("/lokt/k", "no"), SOON).expect_err("it is kept out");
    assert_ne!(error.outcome(), Outcome::Unknown, "{error}");
    assert!(begun.elapsed() < SOON / 2, "it is told at once");
    let text = error.to_string();
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

#[test]
fn a_user_comes_in_over_tls_to_what_is_the_users() {
    let Some(etcd) = tls() else { return };
    let client = client(&etcd);
    client.txn(&put("/lokt/k", "1"), SOON).unwrap();
    assert_eq!(client.range(&Range::of(Span::prefix("/lokt/")), SOON).unwrap().count, 1);
    let error = client.txn(&put("/other", "1"), SOON).unwrap_err();
    assert!(error.is_denied() && error.outcome() == Outcome::Refused);
    assert!(error.to_string().contains("refused: permission denied; the user in ETCDCTL_USER"), "{error}");
}

#[test]
fn a_token_that_is_no_longer_known_is_renewed() {
    let Some(etcd) = tls() else { return };
    let client = client(&etcd);
    client.txn(&put("/lokt/k", "1"), SOON).unwrap();
    etcd.forget_tokens();
    client.txn(&put("/lokt/k", "2"), SOON).unwrap();
    etcd.forget_tokens();
    let (sender, news) = std::sync::mpsc::channel();
    let _watch =
        client.watch(&Span::key("/lokt/k"), 1, move |one| drop(sender.send(format!("{one:?}")))).unwrap();
    let told = news.recv_timeout(SOON).unwrap();
    assert!(told.starts_with("Began"), "{told}");
}

#[test]
fn a_watch_is_refused_what_is_not_the_users() {
    let Some(etcd) = tls() else { return };
    let (sender, news) = std::sync::mpsc::channel();
    let _watch = client(&etcd)
        .watch(&Span::key("/other"), 0, move |one| drop(sender.send(format!("{one:?}"))))
        .unwrap();
    let told = news.recv_timeout(SOON).unwrap();
    assert!(told.starts_with("Refused") && told.contains("permission denied"), "{told}");
}

#[test]
fn who_is_kept_out_is_told_why() {
    let Some(etcd) = tls() else { return };
    let (address, access) = (etcd.address(), etcd.access());
    let endpoint = &address.endpoints[0];
    let user = |name: &str, password: &str| Some(User { name: name.into(), password: password.into() });

    let wrong = Access { user: user(USER.0, "guess"), ..access.clone() };
    assert_eq!(
        complaint(&address, &wrong),
        format!(
            "etcd at {endpoint} refused: authentication failed, invalid user ID or password; see ETCDCTL_USER and \
             ETCDCTL_PASSWORD"
        )
    );
    let nobody = Access { user: None, ..access.clone() };
    let words = complaint(&address, &nobody);
    assert!(
        words.contains("refused: user name is empty; it wants a user: ETCDCTL_USER=name:password"),
        "{words}"
    );

    let strange = Access { ca: Some(etcd.strange_ca()), ..access.clone() };
    let words = complaint(&address, &strange);
    assert!(
        words.contains("its certificate is not accepted (") && words.contains("ETCDCTL_CACERT"),
        "{words}"
    );

    // A member that shuts down does the same, and so it is tried again.
    let plain = Client::new(&Address { tls: false, ..address.clone() }, &access).unwrap();
    let error = plain.txn(&put("/lokt/k", "no"), Duration::from_millis(300)).unwrap_err().to_string();
    assert!(
        error.contains("closed the connection without an answer; if it speaks TLS, it is etcds://"),
        "{error}"
    );

    let none = Access { ca: None, ..access.clone() };
    assert!(complaint(&address, &none).contains("set ETCDCTL_CACERT"));
    let missing = Access { ca: Some("/nowhere/ca.pem".into()), ..access };
    assert!(complaint(&address, &missing).contains("ETCDCTL_CACERT: /nowhere/ca.pem can't be used"));
}

#[test]
fn tls_to_a_member_without_it_is_told() {
    let Some(etcd) = Etcd::single() else { return };
    let ca = Some(etcd.strange_ca());
    let address = Address { tls: true, ..etcd.address() };
    let words = complaint(&address, &Access { ca, ..Access::default() });
    assert!(words.contains("it does not speak TLS: etcd:// instead of etcds://?"), "{words}");
}

#[test]
fn a_user_is_no_matter_where_there_are_none() {
    let Some(etcd) = Etcd::single() else { return };
    let user = Some(User { name: "ada".into(), password: "x".into() });
    let client = Client::new(&etcd.address(), &Access { user, ..Access::default() }).unwrap();
    client.txn(&put("k", "1"), SOON).unwrap();
    client.range(&Range::of(Span::key("k")), Duration::from_secs(2)).unwrap();
}

#[test]
fn a_certificate_is_shown_to_who_asks_for_one() {
    let Some(etcd) =
        Etcd::with(Setup { members: 1, tls: true, client_certificates: true, ..Setup::default() })
    else {
        return;
    };
    client(&etcd).txn(&put("k", "1"), SOON).unwrap();
    let without = Access { cert: None, key: None, ..etcd.access() };
    let words = complaint(&etcd.address(), &without);
    assert!(
        words.contains("it does not accept our certificate (") && words.contains("ETCDCTL_CERT"),
        "{words}"
    );
    let half = Access { key: None, ..etcd.access() };
    assert_eq!(complaint(&etcd.address(), &half), "ETCDCTL_CERT is set without ETCDCTL_KEY");
}
