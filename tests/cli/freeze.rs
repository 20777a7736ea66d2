//! `lokt freeze` and `lokt unfreeze`.

use std::fs;

use super::transcript::{check, sandbox, sh};

#[test]
fn a_freeze_keeps_everybody_out_until_it_is_lifted() {
    let sandbox = sandbox();
    check(
        &sandbox,
        r#"
        $ lokt freeze deploy --ttl 30m --note 'incident 1432'
        frozen "deploy" for 30m0s
        $ lokt guard deploy -- true
        ! lokt: lock "deploy" is frozen by tester@HOST (agent agent-test), for 0s, 30m0s left, note: incident 1432
        ! lokt: hint: wait for it: --wait, or --wait --timeout 5m
        ! lokt: hint: its owner can end the freeze: lokt unfreeze deploy
        = 2
        $ lokt lock deploy
        ! lokt: lock "deploy" is frozen by tester@HOST (agent agent-test), for 0s, 30m0s left, note: incident 1432
        ! lokt: hint: wait for it: --wait, or --wait --timeout 5m
        ! lokt: hint: its owner can end the freeze: lokt unfreeze deploy
        = 2
        $ lokt lock deploy --json 2>/dev/null
        {
          "status": "blocked",
          "name": "deploy",
          "frozen": true,
          "freeze_owner": "tester",
          "freeze_host": "HOST",
          "freeze_agent_id": "agent-test",
          "freeze_ttl_sec": 1800,
          "freeze_remaining_sec": 1800,
          "freeze_note": "incident 1432"
        }
        = 2
        $ lokt guard other -- echo not in the way of another
        not in the way of another
        $ lokt unfreeze deploy
        unfrozen "deploy"
        $ lokt guard deploy -- echo in
        in
        "#,
    );
    let log = fs::read_to_string(sandbox.root().join("audit.log")).unwrap();
    let events: Vec<&str> = log
        .lines()
        .map(|line| line.split('"').nth(7).unwrap())
        .filter(|event| event.contains("freeze"))
        .collect();
    assert_eq!(events, ["freeze", "freeze-deny", "freeze-deny", "freeze-deny", "unfreeze"]);
    assert!(sandbox.leftovers().is_empty(), "{:?}", sandbox.leftovers());
}

#[test]
fn the_status_tells_of_a_freeze_what_it_tells_of_a_lock() {
    let sandbox = sandbox();
    check(
        &sandbox,
        r#"
        $ lokt freeze deploy --ttl 30m --note 'incident 1432'
        frozen "deploy" for 30m0s
        $ lokt status
        deploy                tester@HOST  0s [FROZEN]  incident 1432
        "#,
    );
    let list: serde_json::Value = serde_json::from_str(&sh(&sandbox, "lokt status --json").stdout).unwrap();
    let freeze = &list[0];
    assert_eq!(
        (&freeze["freeze"], &freeze["state"], &freeze["kind"], &freeze["note"]),
        (&true.into(), &"frozen".into(), &"freeze".into(), &"incident 1432".into()),
    );
    assert_eq!(freeze["lock_id"].as_str().map(str::len), Some(32), "{freeze}");
    assert!(matches!(freeze["remaining_sec"].as_u64(), Some(1700..=1800)), "{freeze}");
}

#[test]
fn a_freeze_is_its_owners() {
    check(
        &sandbox(),
        r#"
        $ LOKT_OWNER=ops lokt freeze deploy --ttl 1h
        frozen "deploy" for 1h0m0s
        $ lokt unfreeze deploy
        ! lokt: lock "deploy" was frozen by ops@HOST (agent agent-test), not by you
        ! lokt: hint: if you are sure that it is over: lokt unfreeze deploy --force
        = 4
        $ lokt freeze deploy --ttl 5m
        ! lokt: lock "deploy" is already frozen by ops@HOST (agent agent-test), for 0s, 1h0m0s left
        ! lokt: hint: to freeze it anew, its owner has to end that first: lokt unfreeze deploy
        = 2
        $ lokt unfreeze deploy --force
        unfrozen "deploy"
        $ lokt unfreeze deploy --force
        ! lokt: lock "deploy" is not frozen
        ! lokt: hint: see how it stands: lokt why deploy
        = 3
        "#,
    );
}

#[test]
fn whoever_holds_the_lock_keeps_it() {
    let sandbox = sandbox();
    check(
        &sandbox,
        r#"
        $ lokt lock deploy
        acquired lock "deploy"
        $ lokt freeze deploy --ttl 5m
        frozen "deploy" for 5m0s
        ! lokt: note: lock "deploy" is still held by tester@HOST (agent agent-test), by hand, for 0s; a freeze keeps out only those who come
        $ lokt renew deploy --ttl 1m > /dev/null
        $ lokt unlock deploy
        released lock "deploy"
        $ lokt exists deploy
        = 3
        "#,
    );
}

#[test]
fn a_freeze_needs_a_name_and_some_time() {
    check(
        &sandbox(),
        r#"
        $ lokt freeze deploy
        ! lokt: --ttl is missing
        ! lokt: hint: lokt freeze NAME --ttl 30m
        = 64
        $ lokt freeze --ttl 5m
        ! lokt: the lock's name is missing
        ! lokt: hint: lokt freeze NAME --ttl 30m
        = 64
        $ lokt freeze deploy --ttl 0s
        ! lokt: --ttl: a freeze needs some time: give 15m, 1h
        ! lokt: hint: see lokt freeze --help
        = 64
        $ lokt freeze ../x --ttl 5m 2>&1 | head -1
        lokt: invalid lock name "../x": '..' is not allowed in a name
        $ lokt unfreeze
        ! lokt: the lock's name is missing
        ! lokt: hint: lokt unfreeze NAME
        = 64
        "#,
    );
}

#[test]
fn a_lapsed_freeze_is_none_and_is_cleared_away() {
    let sandbox = sandbox();
    // A sweep that came before the lapse, or ran out of time, is followed by another within seconds.
    check(
        &sandbox,
        r#"
        $ LOKT_NO_SWEEP=1 lokt freeze deploy --ttl 1ms
        frozen "deploy" for 0s
        $ lokt guard deploy --wait -- echo in
        in
        $ lokt unfreeze deploy
        ! lokt: lock "deploy" is not frozen
        ! lokt: hint: see how it stands: lokt why deploy
        = 3
        $ until [ -z "$(ls $LOKT_ROOT/freezes)" ]; do lokt guard other -- true; done
        $ lokt audit --event auto-prune | grep -c '"freeze_owner":'
        1
        $ lokt audit --summary --json --name deploy | grep prunes
            "prunes": 0,
        "#,
    );
    assert!(sandbox.leftovers().is_empty(), "{:?}", sandbox.leftovers());
}

#[test]
fn the_old_place_of_the_go_tool_is_honoured() {
    let sandbox = sandbox();
    let locks = sandbox.root().join("locks");
    fs::create_dir_all(&locks).unwrap();
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    let freeze = format!(
        r#"{{"version":1,"name":"freeze-deploy","owner":"ops","host":"h","pid":1,"ttl_sec":3600,"expires_at":"{soon}"}}"#
    );
    fs::write(locks.join("freeze-deploy.json"), freeze).unwrap();
    check(
        &sandbox,
        r#"
        $ lokt guard deploy -- true 2>&1 | cut -d, -f1
        lokt: lock "deploy" is frozen by ops@h
        lokt: hint: wait for it: --wait
        lokt: hint: its owner can end the freeze: lokt unfreeze deploy
        $ lokt freeze deploy --ttl 5m 2>&1 | head -1 | cut -d, -f1
        lokt: lock "deploy" is already frozen by ops@h
        $ lokt unfreeze deploy
        ! lokt: lock "deploy" was frozen by ops@h, not by you
        ! lokt: hint: if you are sure that it is over: lokt unfreeze deploy --force
        = 4
        $ LOKT_OWNER=ops lokt unfreeze deploy
        unfrozen "deploy"
        $ lokt guard deploy -- echo in
        in
        "#,
    );
    assert!(!locks.join("freeze-deploy.json").exists());
}

#[test]
fn whoever_has_waited_for_a_freeze_is_told_whose_it_is_to_end() {
    check(
        &sandbox(),
        r#"
        $ lokt freeze deploy --ttl 1h
        frozen "deploy" for 1h0m0s
        $ lokt guard deploy --wait --timeout 0s -- true 2>&1 | sed 's/after .*is frozen.*/after …/'
        lokt: timed out after …
        lokt: hint: its owner can end the freeze: lokt unfreeze deploy
        "#,
    );
}

#[test]
fn a_freeze_that_has_lapsed_does_not_hide_one_in_the_old_place() {
    let sandbox = sandbox();
    let freeze = |name: &str, seconds: i64| {
        let end = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
        format!(
            r#"{{"version":1,"name":"{name}","owner":"ops","host":"h","pid":1,"ttl_sec":3600,"expires_at":"{end}"}}"#
        )
    };
    for (file, text) in
        [("freezes/x.json", freeze("x", -60)), ("locks/freeze-x.json", freeze("freeze-x", 3600))]
    {
        let file = sandbox.root().join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    check(
        &sandbox,
        r#"
        $ lokt guard x -- echo in 2>&1 | head -1 | cut -d, -f1
        lokt: lock "x" is frozen by ops@h
        $ LOKT_OWNER=ops lokt unfreeze x
        unfrozen "x"
        $ lokt guard x -- echo in
        in
        "#,
    );
}

#[test]
fn a_lock_that_is_named_like_an_old_freeze_is_no_freeze() {
    let sandbox = sandbox();
    check(
        &sandbox,
        r#"
        $ lokt lock freeze-deploy
        acquired lock "freeze-deploy"
        $ lokt guard deploy -- echo in
        in
        $ lokt unfreeze deploy --force
        ! lokt: lock "deploy" is not frozen
        ! lokt: hint: see how it stands: lokt why deploy
        = 3
        $ lokt unlock freeze-deploy
        released lock "freeze-deploy"
        "#,
    );
}

#[test]
fn a_freeze_that_can_not_be_read_is_lifted_by_force_only() {
    let sandbox = sandbox();
    fs::create_dir_all(sandbox.root().join("freezes")).unwrap();
    let file = sandbox.root().join("freezes/deploy.json");
    fs::write(&file, r#"{"version":2}"#).unwrap();
    let refused = sh(&sandbox, "lokt unfreeze deploy");
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.stderr.contains("is frozen by a freeze of version 2, newer than"), "{refused:?}");
    assert!(file.exists());
    assert_eq!(sh(&sandbox, "lokt unfreeze deploy --force").code, 0);
    assert!(!file.exists());
    fs::create_dir(&file).unwrap();
    let refused = sh(&sandbox, "lokt unfreeze deploy --force");
    assert_eq!(refused.code, 1, "it is none of lokt's: {refused:?}");
    assert!(refused.stderr.contains("is a directory, not a file of lokt's"), "{refused:?}");
    assert!(
        refused.stderr.contains("the freeze of \"deploy\" can't be read, so it counts as frozen: "),
        "{refused:?}"
    );
}

#[test]
fn of_a_freeze_that_can_not_be_read_only_what_is_possible_is_advised() {
    let sandbox = sandbox();
    let file = sandbox.root().join("freezes/deploy.json");
    fs::create_dir_all(&file).unwrap();
    for (command, code) in [
        ("guard deploy -- echo ran", 2),
        ("guard deploy --wait --timeout 1ms -- echo ran", 2),
        ("freeze deploy --ttl 1m", 2),
        ("unfreeze deploy", 1),
        ("unfreeze deploy --force", 1),
        ("why deploy", 2),
    ] {
        let output = sh(&sandbox, &format!("lokt {command}"));
        assert_eq!(output.code, code, "{command}: {output:?}");
        let said = format!("{}{}", output.stdout, output.stderr);
        assert!(said.contains("freezes/deploy.json is a directory"), "{command}: {said}");
        assert!(said.contains("see what stands there; lokt removes nothing that"), "{command}: {said}");
        for impossible in ["unknown@", "wait for", "Wait for", "unfreeze", "its owner"] {
            assert!(!said.contains(impossible), "{command}: {impossible}: {said}");
        }
    }
}
