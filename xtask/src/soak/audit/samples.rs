//! Small logs beside small histories: where they agree, and one change each that they don't survive.

use super::{Clock, Log, check, lapses};
use crate::soak::checker::{Findings, Rule};
use crate::soak::claim::{Claim, Mark};
use crate::soak::history::History;

const MS: u64 = 1_000_000;

/// A line of a log: `EVENT ID PID MILLISECONDS [FIELD=NUMBER…]`; an id of `-` is none.
fn log(text: &str) -> String {
    let line = |text: &str| {
        let words: Vec<&str> = text.split_whitespace().collect();
        let at =
            jiff::Timestamp::from_nanosecond(words[3].parse::<i128>().unwrap() * i128::from(MS)).unwrap();
        let id = if words[1] == "-" { String::new() } else { format!(r#""lock_id":"{}","#, words[1]) };
        let mut line = format!(r#"{{"ts":"{at}","event":"{}","name":"n",{id}"pid":{}"#, words[0], words[2]);
        for word in &words[4..] {
            let (field, value) = word.split_once('=').unwrap();
            line += &match field {
                "pruned_pid" => format!(r#","extra":{{"pruned_pid":{value}}}"#),
                field => format!(r#","{field}":{value}"#),
            };
        }
        line + "}\n"
    };
    text.lines().map(str::trim).filter(|text| !text.is_empty()).map(line).collect()
}

fn mark(at: u64) -> Mark {
    Mark { at: at * MS, line: 1 }
}

/// A claim by process `pid` that began at `begin` and was in from `enter` to `exit`, in milliseconds.
fn section(who: &str, pid: u32, begin: u64, enter: u64, exit: u64) -> Claim {
    Claim {
        who: who.to_owned(),
        name: "n".to_owned(),
        how: "guard n".to_owned(),
        pid: Some(pid),
        begin: Some(mark(begin)),
        enter: Some(mark(enter)),
        exit: Some(mark(exit)),
        end: Some(mark(exit + 2)),
        code: Some(0),
        lock_id: Some(who.to_owned()),
        token: Some(enter),
        ..Claim::default()
    }
}

/// One that did not enter.
fn refused(who: &str, pid: u32, begin: u64, end: u64, code: i32) -> Claim {
    let claim = section(who, pid, begin, begin, end);
    Claim { enter: None, exit: None, token: None, lock_id: None, code: Some(code), ..claim }
}

fn broken(text: &str, claims: Vec<Claim>) -> Vec<Rule> {
    let mut findings = Findings::default();
    let history = History { claims, ..History::default() };
    let log = Log::read(&log(text), Clock(0), &mut findings).unwrap();
    check(&log, &history, &mut findings);
    assert!(findings.looked_at.values().sum::<u64>() > 0);
    findings.violations.iter().map(|violation| violation.rule).collect()
}

/// Two sections, a denial, and a waiter.
const LOG: &str = "acquire a 1 1000 token=1001
    deny - 3 1003
    wait b 2 1004
    release a 1 1011 token=1001
    acquire b 2 1012 token=1013
    release b 2 1021 token=1013";

fn claims() -> Vec<Claim> {
    let waits = Some(mark(1005));
    let b = Claim { waits, ..section("b", 2, 1002, 1013, 1020) };
    vec![section("a", 1, 999, 1001, 1010), b, refused("c", 3, 1001, 1004, 2)]
}

fn without(line: &str) -> String {
    assert!(LOG.contains(line), "{line}");
    LOG.replace(line, "")
}

#[test]
fn a_log_and_a_history_of_the_same_things_agree() {
    assert_eq!(broken(LOG, claims()), []);
}

#[test]
fn a_line_that_is_missing_in_the_log_is_missed() {
    for line in [
        "acquire a 1 1000 token=1001",
        "deny - 3 1003",
        "wait b 2 1004",
        "release a 1 1011 token=1001",
        "acquire b 2 1012 token=1013",
        "release b 2 1021 token=1013",
    ] {
        assert!(broken(&without(line), claims()).contains(&Rule::Audit), "{line}");
    }
}

#[test]
fn a_claim_that_is_missing_in_the_history_is_missed() {
    for index in 0..3 {
        let mut rest = claims();
        rest.remove(index);
        assert!(broken(LOG, rest).contains(&Rule::Audit), "{index}");
    }
}

#[test]
fn tokens_and_ids_are_compared() {
    for (from, to) in [
        ("acquire b 2 1012 token=1013", "acquire b 2 1012 token=1014"),
        ("acquire b 2 1012 token=1013", "acquire b 2 1012 token=1001"),
        ("acquire b 2 1012", "acquire x 2 1012"),
        ("release b 2 1021", "release x 2 1021"),
        ("release b 2 1021", "auto-prune b 2 1021"),
        ("release b 2 1021", "stale-break b 2 1021"),
        ("release b 2 1021", "force-break b 2 1021"),
        ("release b 2 1021", "corrupt-break b 2 1021"),
        ("release b 2 1021", "thaw b 2 1021"),
    ] {
        assert!(LOG.contains(from));
        assert!(broken(&LOG.replace(from, to), claims()).contains(&Rule::Audit), "{to}");
    }
}

#[test]
fn a_lock_that_is_free_while_its_section_runs_is_seen() {
    let mut claims = claims();
    claims[1].exit = Some(mark(1080));
    claims[1].end = Some(mark(1090));
    assert_eq!(broken(LOG, claims), [Rule::Audit]);
}

#[test]
fn a_killed_process_may_have_left_its_line_out_and_nobody_else() {
    // Admitted, and killed before it wrote that it was.
    let silent = "acquire a 1 1000 token=1001
        release a 1 1011 token=1001
        auto-prune k 5 1030 token=1020 pruned_pid=4
        acquire b 5 1030 token=1031
        release b 5 1041 token=1031";
    let claims =
        |killed: Claim| vec![section("a", 1, 999, 1001, 1010), killed, section("b", 5, 1029, 1031, 1040)];
    let unharmed = refused("k", 4, 1015, 1022, 2);
    let killed = Claim { kills: vec![mark(1020)], code: Some(137), ..unharmed.clone() };
    assert_eq!(broken(silent, claims(killed.clone())), []);
    assert!(broken(silent, claims(unharmed)).contains(&Rule::Audit));
    let another = Claim { pid: Some(77), ..killed };
    assert!(broken(silent, claims(another)).contains(&Rule::Audit));
    // Released, and killed before it wrote that it was.
    let mut rest = self::claims();
    rest[0].kills = vec![mark(1011)];
    assert_eq!(broken(&without("release a 1 1011 token=1001"), rest), []);
}

#[test]
fn an_admission_without_a_section_needs_a_reason() {
    let text = format!("{LOG}\nacquire k 4 1030 token=1030\nauto-prune k 5 1040 token=1030");
    let with = |claim: Claim| claims().into_iter().chain([claim]).collect::<Vec<_>>();
    let unharmed = refused("k", 4, 1025, 1035, 0);
    assert!(broken(&text, with(unharmed.clone())).contains(&Rule::Audit));
    assert_eq!(broken(&text, with(Claim { kills: vec![mark(1031)], code: Some(137), ..unharmed })), []);
}

#[test]
fn a_lease_is_not_taken_before_it_has_lapsed() {
    let text = |taken: u64| {
        format!(
            "acquire a 1 1000 token=1001 ttl_sec=1
            renew a 1 1500 ttl_sec=1 token=1001
            stale-break a 2 {taken} token=1001
            acquire b 2 {taken} token=2600
            release b 2 2700 token=2600"
        )
    };
    let stopped = Claim {
        stops: vec![mark(1505)],
        gaps: vec![crate::soak::history::Gap { at: 1505 * MS, until: u64::MAX, line: 1 }],
        ..section("a", 1, 999, 1001, 2800)
    };
    let claims = || vec![stopped.clone(), section("b", 2, 1400, 2600, 2690)];
    assert_eq!(broken(&text(2501), claims()), []);
    assert!(broken(&text(2300), claims()).contains(&Rule::Audit));

    let history = History { claims: claims(), ..History::default() };
    let log = Log::read(&log(&text(2501)), Clock(0), &mut Findings::default()).unwrap();
    let freed: Vec<u64> = lapses(&log, &history).iter().map(|line| line.at).collect();
    assert_eq!(freed, [2500 * MS], "its last renewal, and its TTL");
}

#[test]
fn the_order_of_the_line_is_that_of_the_log() {
    let text = "acquire a 1 1000 token=1001
        wait b 2 1004
        wait d 4 1005
        release a 1 1011 token=1001
        acquire d 4 1012 token=1013
        release d 4 1021 token=1013
        acquire b 2 1022 token=1023
        release b 2 1031 token=1023";
    let d = section("d", 4, 1003, 1013, 1020);
    let b = section("b", 2, 1002, 1023, 1030);
    let with = |b: Claim| vec![section("a", 1, 999, 1001, 1010), d.clone(), b];
    assert_eq!(broken(text, with(b.clone())), [Rule::Order]);
    assert_eq!(broken(text, with(Claim { stops: vec![mark(1010)], ..b })), []);
    // One whose time was out was in line until then, too.
    let gave_up = text
        .replace("acquire b 2 1022 token=1023", "deny - 2 1022")
        .replace("release b 2 1031 token=1023", "");
    assert_eq!(broken(&gave_up, with(refused("b", 2, 1002, 1024, 2))), [Rule::Order]);
    let in_time = gave_up.replace("deny - 2 1022", "").replace("release a 1", "deny - 2 1010\nrelease a 1");
    assert_eq!(broken(&in_time, with(refused("b", 2, 1002, 1011, 2))), []);
}

#[test]
fn an_exit_code_needs_a_reason() {
    for code in [5, 137, 143, 1] {
        let mut claims = claims();
        claims[1].code = Some(code);
        assert_eq!(broken(LOG, claims.clone()), [Rule::Outcome], "{code}");
        claims[1].kills = vec![mark(1019)];
        let explained = if code == 1 { vec![Rule::Outcome] } else { vec![] };
        assert_eq!(broken(LOG, claims), explained, "{code}");
    }
}

#[test]
fn a_log_that_is_none_is_an_error_with_its_line() {
    let error = Log::read("{\"ts\":1}\n", Clock(0), &mut Findings::default()).map(drop).unwrap_err();
    assert!(error.to_string().starts_with("line 1 of the audit log"), "{error}");
}
