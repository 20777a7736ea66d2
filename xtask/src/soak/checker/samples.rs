//! Small histories by hand: each rule has one that breaks it, and near misses that do not.

use super::{Rule, check};
use crate::soak::history::History;

/// Lines in the documented format from short ones: `EVENT WHO AT [FIELD…]`, with times in milliseconds.
fn history(text: &str) -> History {
    let line = |text: &str| {
        let words: Vec<&str> = text.split_whitespace().collect();
        let at = words[2].parse::<f64>().unwrap() * 1e6;
        let mut line = format!(r#"{{"event":"{}","at":{at:.0}"#, words[0]);
        if words[1] != "-" {
            line += &format!(r#","who":"{}""#, words[1]);
        }
        let named = words[0] == "enter" || words[1] == "-";
        if named && !text.contains("name=") {
            line += r#","name":"n""#;
        }
        for word in &words[3..] {
            let (field, value) = word.split_once('=').unwrap();
            let value = match field {
                "until" => format!("{:.0}", value.parse::<f64>().unwrap() * 1e6),
                "token" | "pid" | "code" | "alone" => value.to_owned(),
                _ => format!("{value:?}"),
            };
            line += &format!(r#","{field}":{value}"#);
        }
        line + "}\n"
    };
    let lines: String = text.lines().map(str::trim).filter(|text| !text.is_empty()).map(line).collect();
    History::parse(lines.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{lines}"))
}

#[track_caller]
fn breaks(rule: Rule, text: &str) {
    let findings = check(&history(text), true);
    let rules: Vec<Rule> = findings.violations.iter().map(|violation| violation.rule).collect();
    assert_eq!(rules, [rule], "{:?}", findings.violations);
    assert!(!findings.violations[0].claims.is_empty());
}

#[track_caller]
fn is_fine(text: &str) {
    let findings = check(&history(text), true);
    assert_eq!(findings.violations, [], "{text}");
    assert!(findings.looked_at.values().sum::<u64>() > 0, "it looked at something");
}

#[test]
fn two_sections_at_once_overlap() {
    breaks(Rule::Overlap, "enter a 1 \n enter b 2 \n exit a 3 \n exit b 4");
    breaks(Rule::Overlap, "enter a 1 \n enter b 2 \n exit b 3 \n exit a 4");
    breaks(Rule::Overlap, "exit b 3 \n exit a 4 \n enter b 2 \n enter a 1");
    breaks(Rule::Overlap, "enter a 1 \n enter b 1 \n exit a 2 \n exit b 2");
}

#[test]
fn an_overlap_is_found_behind_a_section_that_lies_between() {
    let text =
        "enter a 1 \n exit a 9 \n unprotected b 1.5 \n enter b 2 \n exit b 3 \n enter c 8 \n exit c 10";
    breaks(Rule::Overlap, text);
}

#[test]
fn sections_that_touch_do_not_overlap() {
    is_fine("enter a 1 \n exit a 2 \n enter b 2 \n exit b 3");
    is_fine("enter a 1 \n exit a 1 \n enter b 1 \n exit b 1");
}

#[test]
fn sections_of_different_names_have_nothing_to_do_with_each_other() {
    is_fine("enter a 1 \n enter b 2 name=m \n exit a 3 \n exit b 4");
}

#[test]
fn a_killed_section_lasts_as_long_as_it_said_that_it_was_alive() {
    is_fine("enter a 1 \n alive a 5 \n kill a 6 \n enter b 5 \n exit b 9");
    breaks(Rule::Overlap, "enter a 1 \n alive a 5 \n kill a 6 \n enter b 4.9 \n exit b 9");
    // It said nothing more: nobody knows how long it ran.
    is_fine("enter a 1 \n kill a 9 \n enter b 2 \n exit b 3");
    // But it was there when it entered.
    breaks(Rule::Overlap, "enter a 1 \n exit a 3 \n enter b 2 \n kill b 2.5");
    breaks(Rule::Overlap, "enter a 1 \n alive a 3 \n enter b 2 \n alive b 2.5 \n exit b 4");
}

#[test]
fn a_witness_sees_a_section_that_could_not_say_when_it_ended() {
    breaks(Rule::Alone, "enter a 1 alone=true \n kill a 2 \n enter b 3 alone=false \n exit b 4");
    is_fine("enter a 1 alone=true \n kill a 2 \n enter b 3 alone=true \n exit b 4");
    // The other may be one that nothing protects any more, as long as it may exist.
    let stopped = "enter a 1 \n unprotected a 2 until=9 \n stop a 2 \n enter b 3 alone=false \n exit b 4";
    is_fine(stopped);
    is_fine(&format!("{stopped} \n end a 2.5"));
    breaks(
        Rule::Alone,
        &format!("{} \n end a 2.5", stopped.replace("b 3", "b 2000").replace("b 4", "b 2001")),
    );
}

#[test]
fn who_is_not_protected_may_overlap_from_then_on() {
    is_fine(
        "enter a 1 \n stop a 2 \n unprotected a 2 until=8 \n enter b 3 \n exit b 4 \n cont a 8 \n alive a 8.1",
    );
    breaks(
        Rule::Overlap,
        "enter a 1 \n stop a 2 \n unprotected a 2 until=8 \n enter b 1.9 \n exit b 4 \n alive a 8.1",
    );
    // Others on the name are protected from each other all the same.
    breaks(
        Rule::Overlap,
        "enter a 1 \n unprotected a 2 \n enter b 3 \n enter c 4 \n exit b 5 \n exit c 6 \n exit a 9",
    );
    // Who entered after the time had proved its lock anew.
    breaks(Rule::Overlap, "unprotected a 1 until=2 \n enter a 3 \n exit a 9 \n enter b 4 \n exit b 5");
}

#[test]
fn a_forced_removal_leaves_nobody_of_the_name_protected() {
    is_fine("enter a 1 \n unprotected - 2 until=4 \n enter b 3 \n exit b 5 \n alive a 6");
    breaks(
        Rule::Overlap,
        "enter a 1 \n unprotected - 2 until=4 name=m \n enter b 3 \n exit b 5 \n alive a 6",
    );
    breaks(Rule::Overlap, "unprotected - 2 until=4 \n enter a 5 \n enter b 6 \n exit b 7 \n exit a 8");
}

#[test]
fn tokens_rise_in_the_order_of_entry() {
    let sections = |tokens: [u64; 3]| {
        let line =
            |(at, token): (usize, u64)| format!("enter w{at} {at} token={token} \n exit w{at} {at}.5 \n");
        tokens.into_iter().enumerate().map(line).collect::<String>()
    };
    is_fine(&sections([1, 2, 7]));
    breaks(Rule::Token, &sections([1, 1, 2]));
    breaks(Rule::Token, &sections([5, 1, 6]));
    // Not only against the one before.
    breaks(
        Rule::Token,
        "enter a 1 token=5 \n exit a 2 \n enter b 3 \n exit b 4 \n enter c 5 token=4 \n exit c 6",
    );
    // Of two that entered at one instant nobody knows which was the first.
    is_fine("enter a 1 token=2 \n exit a 1 \n enter b 1 token=1 \n exit b 1");
    breaks(Rule::Token, "enter a 1 token=1 \n exit a 1 \n enter b 1 token=1 \n exit b 1");
    // Another tool has none, and another name its own.
    is_fine("enter a 1 token=9 \n exit a 2 \n enter b 3 \n exit b 4");
    is_fine("enter a 1 token=9 \n exit a 2 \n enter b 3 token=1 name=m \n exit b 4");
}

#[test]
fn nobody_overtakes_one_who_stood_in_line_before_he_began() {
    let line =
        "begin a 1 name=n \n waits a 2 \n begin b 3 name=n \n enter b 5 \n exit b 6 \n enter a 7 \n exit a 8";
    breaks(Rule::Order, line);
    // He may have joined before it.
    is_fine(&line.replace("b 3", "b 1.9"));
    is_fine(&line.replace("a 7", "a 4").replace("exit a 8", "exit a 4.5"));
    // It was stopped, or killed, and passed over.
    is_fine(&format!("{line} \n stop a 4 \n cont a 6.5"));
    breaks(Rule::Order, &format!("{line} \n stop a 5.5 \n cont a 6.5"));
    // Nobody knows when one that never entered left the line.
    is_fine(&line.replace("enter a 7", "end a 7").replace("exit a 8", ""));
}

#[test]
fn where_nobody_is_seen_to_wait_overtaking_is_only_presumed() {
    let text =
        "begin a 0 name=n \n begin b 200 name=n \n enter b 300 \n exit b 301 \n enter a 302 \n exit a 303";
    let findings = check(&history(text), false);
    assert_eq!((findings.violations.len(), findings.overtakings), (0, 1));
    breaks(Rule::Order, text);
    is_fine(&text.replace("b 200", "b 90"));
}

#[test]
fn who_lost_its_lock_is_ended() {
    let text = "enter a 1 \n stop a 2 \n unprotected a 2 until=900 \n freed a 500 cause=lapse \n cont a 900";
    is_fine(&format!("{text} \n alive a 905"));
    breaks(Rule::Outlived, &format!("{text} \n exit a 4000"));
    is_fine("enter a 1 \n stop a 2 \n unprotected a 2 until=900 \n cont a 900 \n exit a 4000");
}

#[test]
fn what_the_driver_saw_fail_fails() {
    breaks(Rule::Failed, "enter a 1 \n exit a 2 \n failed a 3 what=hangs");
}
