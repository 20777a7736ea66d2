//! Records that are none, or not ours, or absurd.

use super::attack::Attack;
use std::fs;
use std::time::Instant;

/// Contents that are no record, however long they have been there.
fn corrupt() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = [
        "nonsense",
        "[]",
        "null",
        "7",
        "\"text\"",
        "\0\0\0\0",
        r#"{"version":"1"}"#,
        r#"{"version":-1}"#,
        r#"{"version":1,"pid":"x"}"#,
        r#"{"version":1,"pid":99999999999999999999}"#,
        r#"{"version":1,"owner":7}"#,
        r#"{"version":1,"owner":"\ud800"}"#,
        r#"{"version":1,"acquired_ts":"yesterday"}"#,
        r#"{"version":1,"expires_at":7}"#,
        r#"{"version":1,"ttl_sec":1e99}"#,
        r#"{"version":1,"token":-1}"#,
        r#"{"version":1} trailing"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    all.push(b"{\"version\":1,\"owner\":\"\xff\xfe\"}".to_vec());
    all.push("[".repeat(60_000).into_bytes());
    all.push(format!("{{\"version\":1,\"x\":{}{}}}", "[".repeat(20_000), "]".repeat(20_000)).into_bytes());
    all.push(format!("{{\"version\":1,\"note\":\"{}\"}}", "x".repeat(70_000)).into_bytes());
    all
}

fn shown(content: &[u8]) -> String {
    String::from_utf8_lossy(&content[..content.len().min(60)]).into_owned()
}

#[test]
fn a_corrupt_record_is_said_kept_by_unlock_and_taken_over_by_lock() {
    let attack = Attack::new();
    for content in corrupt() {
        attack.plant_old("x", &content);
        let said = shown(&content);
        assert_eq!(attack.code("status x"), 1, "{said}");
        assert_eq!(attack.code("why x"), 2, "{said}");
        assert_eq!(attack.code("unlock x"), 1, "{said}");
        assert_eq!(attack.code("renew x"), 1, "{said}");
        assert_eq!(fs::read(attack.sandbox.record("x")).unwrap(), content, "{said}");
        assert_eq!(attack.code("unlock x --break-stale"), 0, "{said}");
        attack.plant_old("x", &content);
        assert_eq!(attack.code("guard x -- true"), 0, "{said}");
        attack.plant_old("x", &content);
        assert_eq!(attack.code("lock x"), 0, "{said}");
        assert_eq!(attack.code("lock x"), 2, "{said}: one holder and no second");
        assert_eq!(attack.code("unlock x"), 0, "{said}");
    }
    let log = fs::read_to_string(attack.sandbox.root().join("audit.log")).unwrap();
    assert!(log.contains("corrupt-break"), "{log:.400}");
    attack.expect_untouched();
}

#[test]
fn an_empty_or_half_record_is_held_while_it_is_young_and_taken_over_when_it_is_old() {
    let attack = Attack::new();
    let whole = r#"{"version":1,"name":"x","owner":"ada","host":"h","pid":1}"#;
    for half in ["", "{", &whole[..20], &whole[..whole.len() - 1]] {
        attack.sandbox.plant("x", half);
        assert_eq!(attack.code("lock x"), 2, "{half:?}");
        attack.sandbox.plant("x", half);
        assert_eq!(attack.code("guard x -- true"), 2, "{half:?}");
        attack.make_old("x");
        assert_eq!(attack.code("lock x"), 0, "{half:?}");
        assert_eq!(attack.code("unlock x"), 0, "{half:?}");
    }
}

#[test]
fn whoever_waits_for_a_half_record_gets_it_when_it_has_grown_old() {
    let attack = Attack::new();
    attack.sandbox.plant("x", "{");
    assert_eq!(attack.code("guard x --wait --timeout 15s -- true"), 0);
}

#[test]
fn a_record_of_a_gigabyte_costs_neither_time_nor_memory() {
    let attack = Attack::new();
    let record = attack.sandbox.record("x");
    for _ in 0..2 {
        attack.sandbox.plant("x", "{");
        fs::File::options().write(true).open(&record).unwrap().set_len(1 << 30).unwrap();
        attack.make_old("x");
        let began = Instant::now();
        for command in ["status", "status x", "why x --json", "exists x", "unlock x"] {
            let limited = format!("ulimit -v 400000; timeout 20 \"$LOKT\" {command}");
            let output = attack.sandbox.sh(&limited);
            assert!(output.code <= 3, "{command}: {output:?}");
        }
        assert!(began.elapsed().as_secs() < 5);
        assert_eq!(attack.code("lock x"), 0);
        assert_eq!(attack.code("unlock x"), 0);
    }
}

#[test]
fn a_newer_record_is_left_alone_by_everybody_but_force() {
    let attack = Attack::new();
    for newer in [
        r#"{"version":99}"#,
        r#"{"version":2,"pid":"not a number","owner":[1]}"#,
        r#"{"version":1.5e300,"name":"x"}"#,
        r#"{"version":18446744073709551615}"#,
    ] {
        attack.plant_old("x", newer);
        for command in [
            "lock x",
            "guard x -- true",
            "lock x --break-stale",
            "lock x --wait --timeout 5s",
            "unlock x",
            "unlock x --break-stale",
            "renew x --ttl 5m",
            "status x",
            "why x",
        ] {
            let output = attack.run(command);
            assert_eq!(output.code, 1, "{newer}: {command}: {output:?}");
            assert!(output.stderr.contains("newer than this lokt knows"), "{command}: {output:?}");
        }
        assert_eq!(attack.code("unlock --all"), 0);
        assert_eq!(attack.code("status --prune-expired"), 0);
        assert_eq!(fs::read_to_string(attack.sandbox.record("x")).unwrap(), newer);
        assert_eq!(attack.code("unlock x --force"), 0, "{newer}");
    }
}

#[test]
fn absurd_numbers_and_dates_are_no_trouble() {
    let attack = Attack::new();
    let clock = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let kinds =
        ["", r#","kind":"guard""#, r#","kind":"manual""#, r#","kind":"freeze""#, r#","kind":"of later""#];
    let absurd = [
        r#","ttl_sec":18446744073709551615"#.to_owned(),
        r#","ttl_sec":18446744073709551615,"acquired_ts":"9999-12-30T22:00:00Z""#.to_owned(),
        r#","ttl_sec":1,"acquired_ts":"-009999-01-02T01:59:59Z""#.to_owned(),
        r#","ttl_sec":1,"acquired_ts":"0001-01-01T00:00:00Z","expires_at":"0001-01-01T00:00:00Z""#.to_owned(),
        r#","acquired_ts":"9999-12-30T22:00:00Z","expires_at":"9999-12-30T22:00:00Z""#.to_owned(),
        format!(
            r#","clock_id":"{}","ttl_ns":18446744073709551615,"deadline_ns":18446744073709551615"#,
            clock.trim()
        ),
        format!(r#","clock_id":"{}","ttl_ns":1,"deadline_ns":0"#, clock.trim()),
        r#","clock_id":"////","ttl_ns":0,"ttl_sec":0"#.to_owned(),
        r#","pid_start_ns":-9223372036854775808,"pid_ns":18446744073709551615"#.to_owned(),
        r#","token":18446744073709551614,"renewals":18446744073709551615"#.to_owned(),
    ];
    let long = "h".repeat(1000);
    for kind in kinds {
        for (number, more) in absurd.iter().enumerate() {
            let pid = [0, -1, 1, i64::MAX, i64::MIN, 4_294_967_297][number % 6];
            let host = ["h", "", long.as_str()][number % 3];
            attack.plant_old(
                "x",
                format!(
                    r#"{{"version":1,"name":"y","owner":"tester","host":"{host}","pid":{pid}{more}{kind}}}"#
                ),
            );
            attack.run_all();
        }
    }
}

#[test]
fn an_id_that_is_a_path_leads_nowhere() {
    let attack = Attack::new();
    attack.fresh_root();
    // A FIFO that nobody has locked is what a dead session leaves; this one is outside, and there is a way to it.
    fs::create_dir(attack.sandbox.root().join("sessions/x.")).unwrap();
    let clock = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    for id in [
        "/../../../canary/fifo",
        "../../x",
        "../../canary/file",
        "/etc/passwd",
        "..",
        "",
        "x",
        "\\u0000",
        "00112233445566778899AABBCCDDEEFF",
    ] {
        for kind in ["guard", "manual"] {
            let record = format!(
                r#"{{"version":1,"name":"../../x","lock_id":"{id}","owner":"ada","host":"h","kind":"{kind}","clock_id":"{}"}}"#,
                clock.trim()
            );
            attack.plant_old("x", &record);
            for command in
                ["lock x", "guard x -- true", "lock x --break-stale", "lock x --wait --timeout 20ms"]
            {
                assert_eq!(attack.code(command), 2, "{id} {kind}: {command}");
            }
            assert_eq!(attack.code("unlock x"), 4, "{id} {kind}");
            assert_eq!(attack.code("unlock x --break-stale"), 1, "{id} {kind}");
            assert_eq!(fs::read_to_string(attack.sandbox.record("x")).unwrap(), record, "{id} {kind}");
            assert_eq!(attack.code("unlock x --force"), 0, "{id} {kind}");
            attack.expect_untouched();
        }
    }
}

#[test]
fn what_else_lies_in_the_root_is_neither_shown_nor_removed() {
    let attack = Attack::new();
    attack.fresh_root();
    let locks = attack.sandbox.root().join("locks");
    for file in [
        "..json",
        "a b.json",
        "x.txt",
        ".json",
        "-x.json",
        "x.json.bak",
        &format!("{}.json", "x".repeat(240)),
    ] {
        fs::write(locks.join(file), "theirs").unwrap();
    }
    fs::write(attack.sandbox.root().join("sessions/notes"), "theirs").unwrap();
    assert_eq!(attack.run("status").stdout, "no locks\n");
    attack.run_all();
    assert_eq!(fs::read_dir(&locks).unwrap().count(), 7);
    assert!(attack.sandbox.root().join("sessions/notes").exists());
}

#[test]
fn damaged_counters_and_tickets_of_any_size_are_no_trouble() {
    let attack = Attack::new();
    attack.fresh_root();
    let root = attack.sandbox.root();
    let clock = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let counters = [
        b"junk \xff\xff -1 99999999999999999999999".to_vec(),
        vec![0; 4096],
        format!("{} 18446744073709551615 18446744073709551615", clock.trim()).into_bytes(),
    ];
    for (size, counter) in counters.iter().enumerate() {
        for number in 0..65 {
            let stripe = root.join(format!("stripes/{number:02x}"));
            fs::write(&stripe, counter).unwrap();
            fs::File::options().write(true).open(&stripe).unwrap().set_len(4096 << (9 * size)).unwrap();
        }
        attack.run_all();
    }
    for name in ["0.00112233445566778899aabbccddeeff", "5.00112233445566778899aabbccddeeff", "junk", "-1.x"] {
        assert_eq!(attack.code("lock x"), 0);
        fs::create_dir_all(root.join("lines/x")).unwrap();
        fs::File::create(root.join("lines/x").join(name)).unwrap().set_len(1 << 30).unwrap();
        assert_eq!(attack.code("lock x --wait --timeout 30ms"), 2, "{name}");
        attack.run_all();
    }
}

#[test]
fn the_largest_ticket_number_is_no_trouble() {
    let attack = Attack::new();
    assert_eq!(attack.code("lock x"), 0);
    let line = attack.sandbox.root().join("lines/x");
    fs::create_dir_all(&line).unwrap();
    fs::write(line.join("18446744073709551615.00112233445566778899aabbccddeeff"), "").unwrap();
    assert_eq!(attack.code("lock x --wait --timeout 30ms"), 2);
    attack.run_all();
}

#[test]
fn a_token_that_nobody_handed_out_does_not_turn_the_others_back() {
    let attack = Attack::new();
    let mut last = 0;
    for planted in [1_u64 << 52, 1 << 60, u64::MAX - 1, u64::MAX] {
        attack.plant_old(
            "x",
            format!(r#"{{"version":1,"name":"x","kind":"manual","pid":0,"token":{planted},"ttl_ns":1,"deadline_ns":0}}"#),
        );
        for _ in 0..3 {
            let taken = attack.run("lock x --wait --timeout 20s --json").stdout;
            let token = serde_json::from_str::<serde_json::Value>(&taken).unwrap()["token"].as_u64().unwrap();
            assert!(token > last, "{token} after {last}, when {planted} was planted");
            last = token;
            assert_eq!(attack.code("unlock x"), 0);
        }
    }
}
