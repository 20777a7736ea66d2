//! Keys below a root's prefix that are not of the store's making, or that nobody needs any more.

use lokt::store::etcd::{Op, Range, Span, Txn};
use lokt_tests::sandbox::output;

use super::site::{Site, in_line};
use super::{SOON, client, put};

/// Puts so many keys that begin so.
fn litter(site: &Site, prefix: &str, count: usize) {
    let keys: Vec<String> = (0..count).map(|number| format!("{prefix}{number:032x}")).collect();
    for some in keys.chunks(100) {
        let then = some.iter().map(|key| Op::put(key.as_str(), "junk")).collect();
        client(&site.etcd).txn(&Txn { then, ..Txn::default() }, SOON).unwrap();
    }
}

fn count(site: &Site, prefix: &str) -> i64 {
    client(&site.etcd).range(&Range::of(Span::prefix(prefix)).keys_only(), SOON).unwrap().count
}

#[test]
fn a_key_in_a_line_that_is_no_ticket_keeps_nobody_out() {
    let Some(site) = Site::new(1) else { return };
    client(&site.etcd).txn(&put("/lokt/line/x/README", "junk"), SOON).unwrap();
    for args in [&["guard", "x", "--", "true"][..], &["guard", "x", "--wait", "--", "true"], &["lock", "x"]] {
        let said = site.machine(0).run(args);
        assert_eq!(said.code, 0, "{said:?}");
    }
}

#[test]
fn waiters_stand_in_their_order_behind_many_keys_that_are_no_tickets() {
    let Some(site) = Site::new(1) else { return };
    let (here, there) = site.machines();
    litter(&site, "/lokt/line/x/README-", 20);
    let mut holder = here.hold(&["x"]);
    let waiters = in_line(&[there, here, there]);
    holder.let_go();
    for waiter in waiters {
        let said = waiter.output();
        assert_eq!(said.code, 0, "{said:?}");
    }
    assert_eq!(site.file("order"), "0\n1\n2\n");
    assert_eq!(count(&site, "/lokt/line/x/README-"), 20, "they are not ours to remove");
}

#[test]
fn tokens_go_on_above_one_that_came_from_elsewhere() {
    let Some(site) = Site::new(1) else { return };
    let here = site.machine(0);
    let admitted = || -> u64 {
        let said = output(here.lokt(&["guard", "x", "--", "sh", "-c"]).arg("echo $LOKT_TOKEN"));
        said.stdout.trim().parse().unwrap_or_else(|error| panic!("{error}: {said:?}"))
    };
    let mut last = admitted();
    for foreign in [1_u64 << 40, (1 << 52) - (1 << 40) - 1] {
        let record = format!(
            r#"{{"version":1,"name":"x","kind":"manual","pid":0,"token":{foreign},"ttl_ns":1,"deadline_ns":0}}"#
        );
        client(&site.etcd).txn(&put("/lokt/state/x/record", &record), SOON).unwrap();
        assert!(admitted() > foreign);
        last = last.max(foreign);
        // Neither what is no admission, nor one by another kind, lets them fall back.
        for change in
            [&["freeze", "x", "--ttl", "1m"][..], &["unfreeze", "x"], &["lock", "x"], &["unlock", "x"]]
        {
            assert_eq!(here.run(change).code, 0, "{change:?}");
        }
        for _ in 0..2 {
            let token = admitted();
            assert!(token > last, "{token} after {last}");
            last = token;
        }
    }
}

#[test]
fn the_sweep_of_old_events_takes_nothing_else() {
    let Some(site) = Site::new(1) else { return };
    let mut inner = site.machine(1).lokt(&["lock", "x"]);
    let locked = output(inner.env("LOKT_ROOT", format!("{}/audit/0", site.etcd.address())));
    assert_eq!(locked.code, 0, "{locked:?}");
    // More than one look shows, before the event.
    litter(&site, "/lokt/audit/0/other/", 150);
    let others = count(&site, "/lokt/audit/0/");
    let event = format!("/lokt/audit/{:020}.{:032x}", 1, 1);
    client(&site.etcd).txn(&put(&event, ""), SOON).unwrap();
    let swept = site.machine(0).run(&["doctor", "--fix"]);
    assert_eq!(count(&site, &event), 0, "the event is old: {swept:?}");
    assert_eq!(count(&site, "/lokt/audit/0/"), others, "{swept:?}");
}

#[test]
fn however_many_sessions_are_left_over_a_name_is_taken() {
    let Some(site) = Site::new(1) else { return };
    let (here, there) = site.machines();
    for (name, mode) in [("x", &[][..]), ("y", &["--shared"])] {
        litter(&site, &format!("/lokt/state/{name}/session/"), 300);
        litter(&site, &format!("/lokt/state/{name}/holder/"), 60);
        let mut holder = here.hold(&[&[name], mode].concat());
        let refused = there.run(&["guard", name, "--", "true"]);
        assert_eq!(refused.code, 2, "{refused:?}");
        holder.let_go();
        assert_eq!(holder.output().code, 0);
        let next = there.run(&["guard", name, "--", "true"]);
        assert_eq!(next.code, 0, "{next:?}");
        assert_eq!(count(&site, &format!("/lokt/state/{name}/")), 1, "only its gate is left");
    }
}
