//! `--slots` and `--shared`, by hand: who gets in beside whom, what is said of it, and who is released.

use std::fs;

use super::transcript::{check, sandbox, sh};
use lokt_tests::sandbox::Sandbox;
use serde_json::Value;

/// How a lock stands, in JSON.
fn status(sandbox: &Sandbox, name: &str) -> Value {
    serde_json::from_str(&sandbox.run(["status", name, "--json"]).stdout).unwrap()
}

#[test]
fn at_most_so_many_hold_it_and_each_is_told_its_slot() {
    check(
        &sandbox(),
        r#"
        $ lokt lock gpu --slots 2
        acquired lock "gpu", slot 1 of 2
        $ lokt guard gpu --slots 2 -- sh -c 'echo "$LOKT_SLOT $LOKT_TOKEN"'
        2 2
        $ lokt lock gpu --slots 2 --ttl 1h --note 'epoch 7'
        acquired lock "gpu", slot 2 of 2
        $ lokt lock gpu --slots 2
        ! lokt: all 2 slots of lock "gpu" are held: by tester@HOST (agent agent-test), by hand, for 0s, 1h0m0s left of its lease, note: epoch 7, and one other
        ! lokt: hint: wait for it: --wait, or --wait --timeout 5m
        = 2
        $ lokt status
        gpu                   tester@HOST  0s [2/2]
        gpu                   tester@HOST  0s [2/2]  epoch 7
        "#,
    );
}

#[test]
fn another_number_of_slots_is_refused_at_once_even_by_one_who_would_wait() {
    check(
        &sandbox(),
        r#"
        $ lokt lock gpu --slots 2
        acquired lock "gpu", slot 1 of 2
        $ lokt guard gpu --slots 3 --wait -- true
        ! lokt: lock "gpu" has 2 slots, one held by tester@HOST (agent agent-test): --slots 3 does not agree with that
        ! lokt: hint: ask for it with --slots 2, or when nobody holds it: lokt status gpu
        = 2
        $ lokt guard gpu --wait -- true
        ! lokt: lock "gpu" has 2 slots, one held by tester@HOST (agent agent-test): without --slots it is not to be had
        ! lokt: hint: ask for it with --slots 2, or when nobody holds it: lokt status gpu
        = 2
        $ lokt unlock gpu
        released lock "gpu"
        $ lokt guard gpu --slots 3 -- true
        "#,
    );
}

#[test]
fn readers_come_together_and_a_writer_alone() {
    check(
        &sandbox(),
        r#"
        $ lokt lock site --shared
        acquired lock "site"
        $ lokt guard site --shared -- echo reads
        reads
        $ lokt lock site --shared
        acquired lock "site"
        $ lokt guard site -- echo writes
        ! lokt: lock "site" is shared by tester@HOST (agent agent-test), by hand, for 0s, and one other
        ! lokt: hint: wait for it: --wait, or --wait --timeout 5m
        = 2
        $ lokt guard site --slots 2 --wait -- true
        ! lokt: lock "site" is shared by tester@HOST (agent agent-test), and one other, not in slots: --slots 2 does not agree with that
        ! lokt: hint: ask for it with --shared, or when nobody holds it: lokt status site
        = 2
        $ lokt unlock site --force
        released 2 holders of lock "site"
        $ lokt lock site && lokt lock site --shared
        acquired lock "site"
        ! lokt: lock "site" is held by tester@HOST (agent agent-test), by hand, for 0s
        ! lokt: hint: wait for it: --wait, or --wait --timeout 5m
        = 2
        "#,
    );
}

#[test]
fn why_says_who_has_which_slot_and_when_one_is_free() {
    check(
        &sandbox(),
        r#"
        $ lokt lock gpu --slots 2
        acquired lock "gpu", slot 1 of 2
        $ lokt why gpu
        Lock "gpu" is FREE — 1/2 slots are held; one is to be had with --slots 2.
        $ lokt lock gpu --slots 2 --ttl 1h
        acquired lock "gpu", slot 2 of 2
        $ lokt why gpu
        Lock "gpu" is BLOCKED:

          HELD by tester@HOST (agent agent-test) (by hand)
            Age:  0s
            Slot: 1 of 2

          HELD by tester@HOST (agent agent-test) (by hand)
            Age:  0s
            TTL:  1h0m0s (1h0m0s remaining)
            Slot: 2 of 2

        Suggestions:
          - lokt guard gpu --slots 2 --wait -- CMD
          - lokt unlock gpu --lock-id ID  (by its owner)
          - lokt unlock gpu --force --lock-id ID  (break-glass)
          - lokt unlock gpu --lock-id ID  (by its owner)
          - lokt unlock gpu --force --lock-id ID  (break-glass)
        = 2
        "#,
    );
}

#[test]
fn one_of_several_whose_record_tells_nothing_is_shown_too() {
    let sandbox = sandbox();
    let script = "export LOKT_NO_SWEEP=1; lokt lock gpu --slots 3; cd $LOKT_ROOT/holders/gpu; first=$(ls)
        lokt lock gpu --slots 3; echo nonsense >$first; touch -d '1 hour ago' $first; lokt status gpu";
    let shown = sh(&sandbox, script).stdout;
    let shown: Vec<&str> = shown.lines().skip_while(|line| !line.starts_with("holders:")).collect();
    let place = |text: &str| shown.iter().position(|line| line.contains(text));
    assert_eq!(shown.len(), 5, "{shown:#?}");
    assert_eq!((place("holders:  1/3"), place("slot 2:")), (Some(0), Some(1)), "{shown:#?}");
    assert_eq!(place("holder:   has a corrupt record, and its session is dead"), Some(3), "{shown:#?}");
}

#[test]
fn whoever_is_told_to_use_force_is_told_against_whom() {
    check(
        &sandbox(),
        r#"
        $ lokt lock gpu --slots 2 && lokt lock gpu --slots 2
        acquired lock "gpu", slot 1 of 2
        acquired lock "gpu", slot 2 of 2
        $ lokt unlock gpu --break-stale
        ! lokt: lock "gpu" is not stale: held by tester@HOST (agent agent-test), by hand, for 0s
        ! lokt: hint: see who holds it: lokt why gpu
        ! lokt: hint: if you are sure that it is abandoned: lokt unlock gpu --force --lock-id ID
        = 1
        "#,
    );
}

#[test]
fn whoever_has_several_of_them_says_which_to_release() {
    check(
        &sandbox(),
        r#"
        $ lokt lock site --shared && lokt lock site --shared
        acquired lock "site"
        acquired lock "site"
        $ lokt unlock site
        ! lokt: 2 of those who hold lock "site" are yours: which one is meant?
        ! lokt: hint: say which: --lock-id ID
        ! lokt: hint: say which: --lock-id ID
        = 64
        $ lokt unlock site --lock-id $(lokt status site | sed -n 's/.*lock-id //p' | head -1)
        released lock "site"
        $ LOKT_OWNER=ada lokt lock site --shared
        acquired lock "site"
        $ lokt unlock site
        released lock "site"
        $ lokt unlock site
        ! lokt: lock "site" is owned by ada@HOST (agent agent-test), not by you
        ! lokt: hint: see who holds it: lokt why site
        ! lokt: hint: if you are sure that it is abandoned: lokt unlock site --force --lock-id ID
        = 4
        $ lokt unlock --owner ada
        released 1 lock(s)
        $ lokt lock site --shared && lokt lock site --shared && lokt unlock site --force --json
        acquired lock "site"
        acquired lock "site"
        {
          "released": [
            "site",
            "site"
          ],
          "count": 2
        }
        $ lokt status
        no locks
        "#,
    );
}

#[test]
fn force_ends_the_guard_that_is_named_and_no_other() {
    let sandbox = sandbox();
    let mut guards = [0, 1].map(|_| sandbox.hold(["guard", "gpu", "--slots", "2"]));
    let both = status(&sandbox, "gpu");
    let id = both["others"][0]["lock_id"].as_str().unwrap();
    assert_eq!(sandbox.run(["unlock", "gpu", "--lock-id", id]).code, 4, "it is a guard's own");
    assert_eq!(sandbox.run(["unlock", "gpu", "--force", "--lock-id", id]).code, 0);
    let second = guards.last_mut().unwrap();
    assert_eq!(second.await_end(), 5, "it has lost its lock");
    let left = status(&sandbox, "gpu");
    assert_eq!((&left["holders"], &left["lock_id"]), (&1.into(), &both["lock_id"]), "{left:#}");
}

#[test]
fn a_record_of_a_group_that_has_ended_binds_nobody() {
    let sandbox = sandbox();
    let script = "export LOKT_NO_SWEEP=1; h=$LOKT_ROOT/holders/gpu
        lokt lock gpu --slots 2 && cp $h/*.json . && lokt unlock gpu && lokt lock gpu --slots 2 && cp *.json $h";
    let planted = sh(&sandbox, script);
    assert_eq!(planted.code, 0, "{planted:?}");
    let files = fs::read_dir(sandbox.root().join("holders/gpu")).unwrap().count();
    assert_eq!((files, &status(&sandbox, "gpu")["holders"]), (2, &1.into()));
    let beside = sandbox.run(["lock", "gpu", "--slots", "2", "--json"]);
    let beside: Value = serde_json::from_str(&beside.stdout).unwrap();
    assert_eq!(beside["slot"], 2, "{beside:#}");
}

#[test]
fn with_the_last_of_a_group_goes_what_an_earlier_one_left() {
    let sandbox = sandbox();
    let script = "export LOKT_NO_SWEEP=1; h=$LOKT_ROOT/holders/gpu
        lokt lock gpu --slots 2 && cp $h/*.json . && lokt unlock gpu && lokt lock gpu --slots 2 && cp *.json $h
        lokt unlock gpu --force";
    let ended = sh(&sandbox, script);
    assert_eq!(ended.code, 0, "{ended:?}");
    let left = fs::read_dir(sandbox.root().join("holders")).unwrap().count();
    assert_eq!(left, 0, "the directory of its holders is gone");
}

#[test]
fn one_who_can_not_join_leaves_the_name_as_it_was() {
    let sandbox = sandbox();
    let _ = sandbox.run(["guard", "other", "--shared", "--", "true"]);
    fs::write(sandbox.root().join("holders/gpu"), "").unwrap();
    for command in ["lock gpu --slots 2", "guard gpu --shared -- true"] {
        let failed = sandbox.run(command.split(' '));
        assert_eq!(failed.code, 1, "{failed:?}");
    }
    let alone = sandbox.run(["guard", "gpu", "--", "true"]);
    assert_eq!(alone.code, 0, "{alone:?}");
}

#[test]
fn a_holder_of_a_kind_that_a_later_version_made_is_not_touched_but_by_force() {
    let sandbox = sandbox();
    let script = "lokt lock gpu --slots 2 && cd $LOKT_ROOT/holders/gpu && id=$(basename *.json .json) &&
        sed -i 's/\"manual\"/\"later\"/' $id.json && lokt lock gpu --slots 2 && lokt renew gpu --lock-id $id --ttl 5m";
    let refused = sh(&sandbox, script);
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.stderr.contains("a kind that only a later version knows"), "{refused:?}");
    assert_eq!(status(&sandbox, "gpu")["holders"], 2, "both have their slots still");
    let by_force = "id=$(grep -l later $LOKT_ROOT/holders/gpu/*); lokt unlock gpu --force --lock-id $(basename $id .json)";
    assert_eq!(sh(&sandbox, by_force).code, 0);
    assert_eq!(status(&sandbox, "gpu")["holders"], 1);
}

#[test]
fn there_may_be_more_slots_than_a_waiter_has_descriptors() {
    let sandbox = sandbox();
    let _guards: Vec<_> = (0..100).map(|_| sandbox.hold(["guard", "gpu", "--slots", "100"])).collect();
    let script = "ulimit -n 90; lokt guard gpu --slots 100 --wait --timeout 2s -- true";
    let waited = sh(&sandbox, script);
    assert_eq!(waited.code, 2, "its time is up, no more: {waited:?}");
}

#[test]
fn whoever_joins_a_group_leaves_the_record_of_it_as_it_is() {
    let sandbox = sandbox();
    let inode = || std::os::unix::fs::MetadataExt::ino(&fs::metadata(sandbox.record("gpu")).unwrap());
    assert_eq!(sandbox.run(["guard", "gpu", "--slots", "2", "--", "true"]).code, 0);
    let _founder = sandbox.hold(["guard", "gpu", "--slots", "3"]);
    let founded = inode();
    for join in [["lock", "gpu", "--slots", "3"], ["guard", "gpu", "--slots", "3"]] {
        let lasting = join[0] == "lock";
        let _beside = (!lasting).then(|| sandbox.hold(join));
        assert!(!lasting || sandbox.run(join).code == 0, "{join:?}");
        assert_eq!(inode(), founded, "it may be of a user who could not read another's: {join:?}");
    }
}
