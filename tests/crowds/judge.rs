//! The judge: one at a time and each once, from nothing but what the sections themselves have written.
//!
//! A section appends `enter WHO NUMBER` to the log, and `exit WHO NUMBER` as the last thing it does. The number
//! rises from section to section.

/// Who entered, in order. An error if two were in at once, if anybody was in twice, or if a number did not rise.
///
/// Those who `may_die` need not exit; but one that does, exits before the next enters.
pub fn order(log: &str, may_die: impl Fn(usize) -> bool) -> Result<Vec<usize>, String> {
    let mut order = Vec::new();
    let mut last = None;
    let mut inside = None;
    for (index, line) in log.lines().enumerate() {
        let wrong = |why: &str| Err(format!("line {}, {line:?}: {why}\n{log}", index + 1));
        let Some((event, who, number)) = parse(line) else {
            return wrong("no line of a section");
        };
        match (event, inside) {
            ("enter", Some((before, _))) if !may_die(before) => return wrong("two are in"),
            ("enter", _) if last.is_some_and(|last| number <= last) => {
                return wrong("the number does not rise");
            }
            ("enter", _) if order.contains(&who) => return wrong("it was in before"),
            ("enter", _) => {
                order.push(who);
                last = Some(number);
                inside = Some((who, number));
            }
            ("exit", Some(entered)) if entered == (who, number) => inside = None,
            _ => return wrong("it exits and was not in"),
        }
    }
    match inside {
        Some((who, _)) if !may_die(who) => Err(format!("{who} never left\n{log}")),
        _ => Ok(order),
    }
}

fn parse(line: &str) -> Option<(&str, usize, u64)> {
    let mut words = line.split(' ');
    let parsed = (words.next()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    words.next().is_none().then_some(parsed)
}

fn nobody_dies(log: &[&str]) -> Result<Vec<usize>, String> {
    order(&log.join("\n"), |_| false)
}

#[test]
fn the_judge_sees_who_entered_and_in_which_order() {
    assert_eq!(nobody_dies(&["enter 2 1", "exit 2 1", "enter 0 5", "exit 0 5"]), Ok(vec![2, 0]));
    assert_eq!(nobody_dies(&[]), Ok(vec![]));
}

#[test]
fn the_judge_sees_an_overlap() {
    let overlaps: [&[&str]; 4] = [
        &["enter 0 0", "enter 1 1", "exit 0 0", "exit 1 1"],
        &["enter 0 0", "enter 1 1", "exit 1 1", "exit 0 0"],
        // Both have read the same number, although what they wrote stands well apart.
        &["enter 0 7", "exit 0 7", "enter 1 7", "exit 1 7"],
        &["enter 0 0", "exit 0 0", "overlap 1", "enter 1 1", "exit 1 1"],
    ];
    for log in overlaps {
        assert!(nobody_dies(log).is_err(), "{log:?}");
    }
}

#[test]
fn the_judge_sees_a_second_turn_and_a_missing_end() {
    assert!(nobody_dies(&["enter 0 0", "exit 0 0", "enter 0 1", "exit 0 1"]).is_err());
    assert!(nobody_dies(&["enter 0 0"]).is_err());
    assert!(nobody_dies(&["exit 0 0"]).is_err());
}

#[test]
fn the_judge_excuses_the_dead_and_nobody_else() {
    let of_two = |log: &[&str], dead: usize| order(&log.join("\n"), |who| who == dead);
    assert_eq!(of_two(&["enter 0 0", "enter 1 1", "exit 1 1"], 0), Ok(vec![0, 1]));
    assert!(of_two(&["enter 0 0", "enter 1 1", "exit 1 1"], 1).is_err());
    assert!(of_two(&["enter 0 0", "enter 1 1", "exit 0 0"], 0).is_err(), "it lived on beside the next");
}
