//! How a lock's state is said to people. Everything that a record says is made printable first.

use std::fmt::{Display, Write as _};
use std::time::Duration;

use crate::protocol::{
    Abandoned, Freeze, Kind, Liveness, Mode, Name, Now, Record, Refusal, Standing, UnknownFreeze, Unreadable,
    format_duration,
};

/// `text` without anything that a terminal would obey: control and formatting characters are escaped.
pub(crate) fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if is_obeyed(c) {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    safe
}

/// Whether a terminal would obey `c` rather than show it: control characters, and those that reorder or hide
/// text (bidirectional controls, zero width, tags) or separate lines.
pub(crate) fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// `owner@host`, with the agent if it has a name of its own.
pub(crate) fn person(record: &Record) -> String {
    let mut text = owner_at_host(&record.owner, &record.host);
    if let Some(agent) = agent(record) {
        let _ = write!(text, " (agent {agent})");
    }
    text
}

/// The agent, if it has a name of its own.
pub(crate) fn agent(record: &Record) -> Option<String> {
    let named = !record.agent_id.is_empty() && !is_made_up(&record.agent_id);
    named.then(|| printable(&record.agent_id))
}

/// `agent-` and four digits, made anew for each process that was given no agent's name: it tells people nothing.
fn is_made_up(agent_id: &str) -> bool {
    agent_id
        .strip_prefix("agent-")
        .is_some_and(|digits| digits.len() == 4 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

/// `owner@host`.
pub(crate) fn owner_at_host(owner: &str, host: &str) -> String {
    format!("{}@{}", or_unknown(owner), or_unknown(host))
}

fn or_unknown(text: &str) -> String {
    if text.is_empty() { "unknown".to_owned() } else { printable(text) }
}

/// Who holds it and how: owner, host, pid, note, age, what is left of the lease.
pub(crate) fn holder(record: &Record, standing: &Standing, now: &Now) -> String {
    let mut text = person(record);
    match (record.pid, record.kind) {
        (0, Some(Kind::Manual)) => text.push_str(", by hand"),
        (pid, _) => drop(write!(text, ", pid {pid}")),
    }
    let _ = write!(text, ", for {}", span(record.age(now)));
    if let Some(lease) = lease(standing) {
        let _ = write!(text, ", {lease}");
    }
    if let Some(note) = &record.note {
        let _ = write!(text, ", note: {}", printable(note));
    }
    text
}

/// Who is in the way and for how long, and what they say about it, for a line of little room.
pub(crate) fn in_brief(refusal: &Refusal, now: &Now) -> Option<(String, String)> {
    let person = |record: &Record| owner_at_host(&record.owner, &record.host);
    let (record, who) = match refusal {
        Refusal::Held { record: Some(record), others, .. } => {
            let age = short(record.age(now));
            (record, format!("held by {} for {age}{}", person(record), and_others(others.len())))
        }
        Refusal::Frozen(freeze) if freeze.unknown.is_none() => {
            let left = freeze.left.map(|left| format!(", {} left", short(left))).unwrap_or_default();
            (&freeze.record, format!("frozen by {}{left}", person(&freeze.record)))
        }
        _ => return None,
    };
    let note = record.note.as_ref().map(|note| format!(": {}", printable(note)));
    Some((who, note.unwrap_or_default()))
}

fn lease(standing: &Standing) -> Option<String> {
    match standing {
        Standing::Held { lapse, .. } => lapse.left().map(|left| format!("{} left of its lease", span(left))),
        Standing::Lapsed { liveness: Liveness::Alive } => Some("alive but its lease has lapsed".to_owned()),
        Standing::Lapsed { .. } => Some("its lease has lapsed".to_owned()),
        _ => None,
    }
}

/// How a name stands, in one word.
pub(crate) fn state(standing: &Standing, frozen: bool) -> &'static str {
    match standing {
        Standing::Free if frozen => "frozen",
        Standing::Free => "free",
        Standing::Held { .. } => "held",
        Standing::Lapsed { .. } => "lapsed",
        Standing::Abandoned(Abandoned::HolderDead | Abandoned::PidGone) => "dead",
        Standing::Abandoned(Abandoned::TtlPassed) => "expired",
        Standing::Abandoned(Abandoned::Corrupt) | Standing::CorruptButAlive(_) => "corrupt",
        Standing::InProgress => "starting",
        Standing::Newer(_) => "newer",
        Standing::Unreadable(_) => "unreadable",
    }
}

/// Why something was refused, in one line.
pub(crate) fn refusal(name: &Name, refusal: &Refusal, now: &Now) -> String {
    match refusal {
        Refusal::Held { record: Some(record), standing, mode, others } => {
            format!("{}{}", held(name, *mode, &holder(record, standing, now)), and_others(others.len()))
        }
        Refusal::Held { record: None, standing, .. } => unusable(name, standing),
        Refusal::OtherMode { held: Mode::Slots(slots), asked, holders, record } => {
            let asked = match asked {
                Mode::Exclusive => "without --slots it is not to be had".to_owned(),
                asked => format!("{asked} does not agree with that"),
            };
            let by = person(record);
            let held = if *holders == 1 { "one held".to_owned() } else { format!("{holders} held, one") };
            let slots = if *slots == 1 { "one slot".to_owned() } else { format!("{slots} slots") };
            format!("lock \"{name}\" has {slots}, {held} by {by}: {asked}")
        }
        Refusal::OtherMode { held: mode, asked, holders, record } => {
            let holders = and_others(holders.saturating_sub(1));
            let by = person(record);
            format!("{}{holders}, not in slots: {asked} does not agree with that", held(name, *mode, &by))
        }
        Refusal::Queued { free: false, .. } => {
            format!("lock \"{name}\" is shared, but somebody who wants it alone is waiting for it")
        }
        Refusal::Queued { ahead: 1, .. } => {
            format!("lock \"{name}\" is free, but somebody is waiting for it")
        }
        Refusal::Queued { ahead, .. } => {
            format!("lock \"{name}\" is free, but {ahead} others are waiting for it")
        }
        Refusal::Frozen(freeze) => format!("lock \"{name}\" is {}", frozen(freeze, now)),
        Refusal::FrozenAlready(freeze) => format!("lock \"{name}\" is already {}", frozen(freeze, now)),
        Refusal::NotFrozen => format!("lock \"{name}\" is not frozen"),
        Refusal::AnothersFreeze(freeze @ Freeze { unknown: Some(_), .. }) => {
            format!("lock \"{name}\" is {}", frozen(freeze, now))
        }
        Refusal::UnreadableFreeze(Unreadable { why, shortage: Some(_) }) => {
            format!("it can't be told whether lock \"{name}\" is frozen: {}", printable(why))
        }
        Refusal::UnreadableFreeze(what) => {
            format!(
                "the freeze of \"{name}\" can't be read, so it counts as frozen: {}",
                printable(&what.why)
            )
        }
        Refusal::AnothersFreeze(freeze) => {
            format!("lock \"{name}\" was frozen by {}, not by you", person(&freeze.record))
        }
        Refusal::NotFound => format!("lock \"{name}\" not found"),
        Refusal::NotOwner { record, .. } if record.kind == Some(Kind::Guard) => {
            let by = person(record);
            format!("lock \"{name}\" is a guard's own ({by}, pid {}): it ends with its command", record.pid)
        }
        Refusal::NotOwner { record, .. } if record.kind == Some(Kind::Unknown) => {
            format!("lock \"{name}\" is of a kind that only a later version knows ({})", person(record))
        }
        Refusal::NotOwner { record, .. } => {
            format!("lock \"{name}\" is owned by {}, not by you", person(record))
        }
        Refusal::Several(ids) => {
            format!("{} of those who hold lock \"{name}\" are yours: which one is meant?", ids.len())
        }
        Refusal::SeveralOfOthers(holders) => {
            format!(
                "{holders} hold lock \"{name}\", and none of them is yours to release: which one is meant?"
            )
        }
        Refusal::NotStale { record: Some(record), standing } => {
            format!("lock \"{name}\" is not stale: held by {}", holder(record, standing, now))
        }
        Refusal::NotStale { record: None, standing } => unusable(name, standing),
        Refusal::Lost(Some(record)) => {
            format!("lock \"{name}\" is lost: it is now held by {}", person(record))
        }
        Refusal::Lost(None) => format!("lock \"{name}\" is lost: its record is gone"),
        Refusal::PidGone(record) => {
            format!("lock \"{name}\" was tied to process {}, which has ended", record.pid)
        }
        Refusal::NoLease(_) => format!("lock \"{name}\" has no TTL that could be renewed"),
        Refusal::Unusable(standing) => unusable(name, standing),
    }
}

/// That a name is held, how, and by whom.
fn held(name: &Name, mode: Mode, by: &str) -> String {
    match mode {
        Mode::Exclusive => format!("lock \"{name}\" is held by {by}"),
        Mode::Shared => format!("lock \"{name}\" is shared by {by}"),
        Mode::Slots(1) => format!("the one slot of lock \"{name}\" is held by {by}"),
        Mode::Slots(slots) => format!("all {slots} slots of lock \"{name}\" are held: by {by}"),
    }
}

/// How many there are beside one who is named.
pub(crate) fn and_others(others: usize) -> String {
    match others {
        0 => String::new(),
        1 => ", and one other".to_owned(),
        others => format!(", and {others} others"),
    }
}

/// How a name is held, for a glance: `2/3`, or `shared by 2`; nothing of one who holds it alone.
pub(crate) fn together(mode: Mode, holders: usize) -> Option<String> {
    match mode {
        Mode::Exclusive => None,
        Mode::Shared => Some(format!("shared by {holders}")),
        Mode::Slots(slots) => Some(format!("{holders}/{slots}")),
    }
}

/// A freeze: by whom, for how long.
pub(crate) fn frozen(freeze: &Freeze, now: &Now) -> String {
    match &freeze.unknown {
        Some(UnknownFreeze::Newer(version)) => {
            let version = printable(version);
            return format!("frozen by a freeze of version {version}, newer than this lokt knows: it counts");
        }
        Some(UnknownFreeze::Unreadable(what)) => {
            return format!("frozen by a freeze that can't be read, so it counts: {}", printable(&what.why));
        }
        None => {}
    }
    let mut text = format!("frozen by {}", person(&freeze.record));
    let _ = write!(text, ", for {}", span(freeze.record.age(now)));
    if let Some(left) = freeze.left {
        let _ = write!(text, ", {} left", span(left));
    }
    if let Some(note) = &freeze.record.note {
        let _ = write!(text, ", note: {}", printable(note));
    }
    text
}

fn unusable(name: &Name, standing: &Standing) -> String {
    match standing {
        Standing::Newer(version) => format!(
            "lock \"{name}\" is of version {}, newer than this lokt knows: it counts as held; upgrade lokt",
            printable(version)
        ),
        Standing::Unreadable(what) => {
            format!("lock \"{name}\" can't be read, so it counts as held: {}", printable(&what.why))
        }
        Standing::Abandoned(Abandoned::Corrupt) => format!("lock \"{name}\" has a corrupt record"),
        Standing::CorruptButAlive(why) => format!(
            "lock \"{name}\" has a corrupt record ({}), and a session of it still lives",
            printable(why)
        ),
        Standing::InProgress => format!("lock \"{name}\" is just being acquired"),
        Standing::Free => format!("lock \"{name}\" is free"),
        _ => format!("lock \"{name}\" is held"),
    }
}

/// What is known of one of several whose record tells nothing.
pub(crate) fn untold(standing: &Standing) -> String {
    match standing {
        Standing::Newer(version) => format!("of version {}, newer than this lokt knows", printable(version)),
        Standing::Unreadable(what) => format!("can't be read, so it counts: {}", printable(&what.why)),
        Standing::CorruptButAlive(why) => {
            format!("has a corrupt record ({}), and its session lives", printable(why))
        }
        Standing::InProgress => "is just being admitted".to_owned(),
        _ => "has a corrupt record, and its session is dead".to_owned(),
    }
}

/// Which of several is meant, as the command line is told it; nothing of one who holds the name alone.
pub(crate) fn which(record: &Record) -> String {
    record.joint.as_ref().and(record.id()).map(|id| format!(" --lock-id {id}")).unwrap_or_default()
}

/// `text` as one word of a shell's command.
pub(crate) fn shell_word(text: impl Display) -> String {
    let text = text.to_string();
    let is_plain = |c: char| c.is_alphanumeric() || "_-./:+@%,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Why the system refused, without the number that means nothing to people.
pub(crate) fn cause(error: &std::io::Error) -> String {
    let text = printable(&error.to_string());
    match text.rsplit_once(" (os error ") {
        Some((words, number)) if number.ends_with(')') => words.to_owned(),
        _ => text,
    }
}

/// A length of time that somebody has chosen: to the last digit, and as `--ttl` takes it.
pub(crate) fn exactly(duration: Duration) -> String {
    const UNITS: [(u32, &str); 4] = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us"), (1, "ns")];
    let (seconds, nanos) = (duration.as_secs(), duration.subsec_nanos());
    let fits = |size: u32| seconds == 0 && size <= nanos;
    let (size, unit) = UNITS.into_iter().find(|(size, _)| fits(*size)).unwrap_or(UNITS[0]);
    let digits = size.ilog10() as usize;
    let fraction = format!("{:0digits$}", nanos % size);
    let whole = match seconds {
        0 => (nanos / size).to_string(),
        _ => format_duration(Duration::from_secs(seconds)).trim_end_matches('s').to_owned(),
    };
    match fraction.trim_end_matches('0') {
        "" => format!("{whole}{unit}"),
        fraction => format!("{whole}.{fraction}{unit}"),
    }
}

/// How long something has taken, for a line that a person watches.
pub(crate) fn elapsed(duration: Duration) -> String {
    format_duration(Duration::from_secs(duration.as_secs()))
}

/// A length of time in a sentence: exact, but nobody counts days in hours.
pub(crate) fn span(duration: Duration) -> String {
    const DAY: Duration = Duration::from_secs(86_400);
    if duration < DAY { format_duration(duration) } else { short(duration) }
}

/// A length of time for a glance: its two largest units, `12s`, `4m10s`, `1h5m`, `3d4h`.
pub(crate) fn short(duration: Duration) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let seconds = duration.as_secs();
    let largest = UNITS.iter().position(|(size, _)| seconds >= *size).unwrap_or(UNITS.len() - 1);
    let (size, unit) = UNITS[largest];
    let mut text = format!("{}{unit}", seconds / size);
    if let Some((next, unit)) = UNITS.get(largest + 1)
        && seconds % size >= *next
    {
        let _ = write!(text, "{}{unit}", seconds % size / next);
    }
    text
}

/// How long ago something was: `12s ago`.
pub(crate) fn ago(duration: Duration) -> String {
    format!("{} ago", short(duration))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        assert_eq!(printable("ada \u{1b}[31m\u{7}\n\u{9b}"), "ada \\u{1b}[31m\\u{7}\\n\\u{9b}");
        assert_eq!(printable("\u{202e}evil\u{2066}"), "\\u{202e}evil\\u{2066}");
        assert_eq!(printable("Zoë, 東京 🔒"), "Zoë, 東京 🔒");
    }

    #[test]
    fn whatever_it_is_it_is_one_word_to_a_shell() {
        for plain in ["/srv/locks", "./build.sh", "test:unit", "Zoë"] {
            assert_eq!(shell_word(plain), plain);
        }
        for (text, word) in [("/a b/it's", r"'/a b/it'\''s'"), ("", "''"), ("$(id)", "'$(id)'"), ("~", "'~'")]
        {
            assert_eq!(shell_word(text), word);
        }
    }

    #[test]
    fn an_agent_is_named_if_somebody_gave_it_a_name() {
        let by = |agent_id: &str| {
            person(&Record {
                owner: "ada".to_owned(),
                host: "h".to_owned(),
                agent_id: agent_id.to_owned(),
                ..Record::default()
            })
        };
        assert_eq!(by("claude-7"), "ada@h (agent claude-7)");
        assert_eq!(by("agent-12ef"), "ada@h");
        assert_eq!(by(""), "ada@h");
        assert_eq!(person(&Record::default()), "unknown@unknown");
    }

    #[test]
    fn a_glance_takes_two_units() {
        for (seconds, text) in [
            (0, "0s"),
            (12, "12s"),
            (60, "1m"),
            (250, "4m10s"),
            (3_600, "1h"),
            (3_659, "1h"),
            (3_900, "1h5m"),
            (86_400 + 59, "1d"),
            (86_400 * 3 + 3_600 * 4, "3d4h"),
        ] {
            assert_eq!(short(Duration::from_secs(seconds)), text, "{seconds}");
        }
        assert_eq!(ago(Duration::from_millis(12_900)), "12s ago");
    }

    #[test]
    fn a_sentence_is_exact_up_to_a_day() {
        assert_eq!(span(Duration::from_millis(1_800_000)), "30m0s");
        assert_eq!(span(Duration::from_secs(86_399)), "23h59m59s");
        assert_eq!(span(Duration::from_secs(86_400 * 3 + 3_605)), "3d1h");
    }

    #[test]
    fn a_length_that_was_chosen_is_told_to_the_last_digit() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (500_000, "500us"),
            (1_000_000, "1ms"),
            (1_500_000, "1.5ms"),
            (1_500_000_000, "1.5s"),
            (61_000_000_001, "1m1.000000001s"),
            (172_800_000_000_000, "48h0m0s"),
        ] {
            assert_eq!(exactly(Duration::from_nanos(nanos)), text);
            assert_eq!(crate::protocol::parse_duration(text), Ok(Duration::from_nanos(nanos)));
        }
    }

    #[test]
    fn the_number_of_an_error_is_left_out() {
        let full = std::io::Error::from_raw_os_error(28);
        assert_eq!(cause(&full), "No space left on device");
        assert_eq!(cause(&std::io::Error::other("a\u{1b}b")), "a\\u{1b}b");
    }
}
