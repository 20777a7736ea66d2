//! Events for people: a line each, in columns that are as wide as they have had to be so far.

use std::collections::HashMap;
use std::time::Duration;

use anstyle::Style;
use jiff::Timestamp;
use serde_json::Value;
use unicode_width::UnicodeWidthStr;

use super::screen::{BAD, DIM, FROZEN, GOOD, HELD, PLAIN, Screen, cut, padded};
use crate::audit::{Entry, Fields};
use crate::protocol::Record;
use crate::words;

const TITLES: [&str; 5] = ["WHEN", "EVENT", "LOCK", "WHO", "DETAILS"];

/// Between two columns.
const GAP: usize = 2;

/// How wide the columns but the last are while nothing is known of what comes.
const USUAL: [usize; 4] = [9, 12, 12, 16];

/// How many admissions and waits are remembered until they end.
const MOST_OPEN: usize = 10_000;

/// After so long, a date says more than an age.
const LONG_AGO: Duration = Duration::from_secs(24 * 3600);

/// Turns events into lines.
pub(super) struct Lines {
    screen: Screen,
    now: Timestamp,
    /// Whether times are ages, and not times of the day.
    in_ages: bool,
    widths: [usize; 4],
    titled: bool,
    /// When what has not ended yet began, by its lock's id.
    begun: HashMap<String, Timestamp>,
}

impl Lines {
    /// With times before `now`.
    pub(super) fn ago(screen: Screen, now: Timestamp) -> Self {
        let widths = [0, 1, 2, 3].map(|at| TITLES[at].len());
        Self { screen, now, in_ages: true, widths, titled: false, begun: HashMap::new() }
    }

    /// With the time of day, for what goes on from `now`.
    pub(super) fn clock(screen: Screen, now: Timestamp) -> Self {
        let mut lines =
            Self { screen, now, in_ages: false, widths: USUAL, titled: false, begun: HashMap::new() };
        let share = lines.share(5);
        lines.widths[2..].iter_mut().for_each(|width| *width = share.min(*width));
        lines
    }

    /// Makes the columns wide enough for an event.
    pub(super) fn measure(&mut self, entry: &Entry) {
        let widest = [20, 14, self.share(4), self.share(4)];
        for (at, cell) in self.cells(&entry.fields).iter().enumerate() {
            self.widths[at] = self.widths[at].max(cell.width().min(widest[at]));
        }
    }

    /// An event's line; before the first, the headings.
    pub(super) fn line(&mut self, entry: &Entry) -> String {
        self.measure(entry);
        let mut details = details(&entry.fields);
        details.extend(self.lasted(entry));
        let [when, event, name, who] = self.cells(&entry.fields);
        let style = style(&entry.fields.event);
        let cells = [(when, DIM), (event, style), (name, PLAIN), (who, PLAIN), (details.join(", "), DIM)];
        let line = self.row(&cells);
        if std::mem::replace(&mut self.titled, true) {
            return line;
        }
        format!("{}\n{line}", self.row(&TITLES.map(|title| (title.to_owned(), DIM))))
    }

    /// That part of the terminal's width.
    fn share(&self, of: usize) -> usize {
        (self.screen.columns.unwrap_or(80) / of).max(8)
    }

    fn cells(&self, fields: &Fields) -> [String; 4] {
        [
            self.when(fields.ts),
            words::printable(&fields.event),
            words::printable(&fields.name),
            words::person(&Record {
                owner: fields.owner.clone(),
                host: fields.host.clone(),
                agent_id: fields.agent_id.clone(),
                ..Record::default()
            }),
        ]
    }

    fn when(&self, ts: Timestamp) -> String {
        let text = ts.to_string();
        let part = |from, to| text.get(from..to).unwrap_or_default();
        match Duration::try_from(self.now.duration_since(ts)).unwrap_or_default() {
            age if age >= LONG_AGO => format!("{} {}Z", part(0, 10), part(11, 16)),
            age if self.in_ages => words::ago(age),
            _ => format!("{}Z", part(11, 19)),
        }
    }

    /// How long what ends with this event has lasted.
    fn lasted(&mut self, entry: &Entry) -> Option<String> {
        let fields = &entry.fields;
        let id = fields.lock_id.clone().filter(|id| !id.is_empty())?;
        let lasted = self.begun.get(&id).map(|begun| length(entry.since(*begun)));
        if entry.is_beginning() {
            if self.begun.len() < MOST_OPEN {
                self.begun.insert(id, fields.ts);
            }
            return lasted.map(|waited| format!("waited {waited}"));
        }
        if !entry.is_end() {
            return None;
        }
        self.begun.remove(&id);
        lasted.map(|held| format!("held {held}"))
    }

    fn row(&self, cells: &[(String, Style); 5]) -> String {
        let mut line = String::new();
        let mut room = self.screen.columns.unwrap_or(usize::MAX);
        for (at, (text, style)) in cells.iter().enumerate() {
            let width = self.widths.get(at).copied().unwrap_or(room).min(room);
            let text = cut(text, width);
            let space = if at + 1 < cells.len() {
                padded("", width.saturating_sub(text.width()) + GAP)
            } else {
                String::new()
            };
            line.push_str(&self.screen.paint(*style, &text));
            line.push_str(&space);
            room = room.saturating_sub(width + GAP);
        }
        line.trim_end().to_owned()
    }
}

/// A length of time for a glance, also a short one.
pub(super) fn length(time: Duration) -> String {
    match time.as_millis() {
        millis @ 0..1_000 => format!("{millis}ms"),
        millis @ 1_000..10_000 => format!("{}.{}s", millis / 1_000, millis % 1_000 / 100),
        _ => words::short(time),
    }
}

fn style(event: &str) -> Style {
    match event {
        "acquire" => GOOD,
        "deny" | "wait" => HELD,
        "freeze" | "unfreeze" | "freeze-deny" => FROZEN,
        "force-break" | "stale-break" | "corrupt-break" | "auto-prune" | "lost" | "force-unfreeze" => BAD,
        _ => PLAIN,
    }
}

/// What else is known of an event.
fn details(fields: &Fields) -> Vec<String> {
    let text = |key: &str| fields.extra.get(key).and_then(Value::as_str).unwrap_or_default();
    let mut details = Vec::new();
    for (role, verb) in [("holder", "held by"), ("freeze", "frozen by"), ("pruned", "of")] {
        let of = |what: &str| format!("{role}_{what}");
        if fields.extra.contains_key(&of("owner")) {
            let person = words::owner_at_host(text(&of("owner")), text(&of("host")));
            details.push(format!("{verb} {person}"));
            let pid = fields.extra.get(&of("pid")).and_then(Value::as_i64).filter(|pid| *pid > 0);
            details.extend(pid.map(|pid| format!("pid {pid}")));
        }
    }
    for key in ["sweep_reason", "reason"] {
        details.extend(Some(words::printable(text(key))).filter(|text| !text.is_empty()));
    }
    let ahead = fields.extra.get("waiters_ahead").and_then(Value::as_u64);
    details.extend(ahead.map(|ahead| format!("{ahead} waiting before it")));
    details.extend(fields.token.map(|token| format!("token {token}")));
    let ttl = fields.ttl_sec.and_then(|ttl| Duration::try_from_secs_f64(ttl).ok());
    details.extend(ttl.map(|ttl| format!("ttl {}", words::short(ttl))));
    details
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(lines: &mut Lines, events: &[&str]) -> String {
        let entries = events.iter().map(|line| Entry::parse(line.as_bytes()).unwrap());
        entries.map(|entry| lines.line(&entry) + "\n").collect()
    }

    const EVENTS: [&str; 5] = [
        r#"{"ts":"2026-11-23T08:00:00Z","event":"freeze","name":"deploy","owner":"eve","host":"h","ttl_sec":600}"#,
        r#"{"ts":"2026-11-24T11:59:00Z","event":"wait","name":"deploy","lock_id":"1","owner":"ada","host":"h"}"#,
        r#"{"ts":"2026-11-24T11:59:30Z","event":"acquire","name":"deploy","lock_id":"1","owner":"ada","host":"h","ttl_sec":300,"token":7}"#,
        r#"{"ts":"2026-11-24T11:59:40Z","event":"deny","name":"deploy","owner":"bob","host":"h","agent_id":"claude","extra":{"holder_owner":"ada","holder_host":"h","holder_pid":7}}"#,
        r#"{"ts":"2026-11-24T11:59:50Z","event":"release","name":"deploy","lock_id":"1","owner":"ada\u001b[2J","host":"h"}"#,
    ];

    #[test]
    fn an_event_is_a_line_with_what_a_person_wants_to_know_of_it() {
        let screen = Screen { columns: Some(120), colour: false };
        let mut lines = Lines::ago(screen, "2026-11-24T12:00:00Z".parse().unwrap());
        EVENTS.iter().for_each(|line| lines.measure(&Entry::parse(line.as_bytes()).unwrap()));
        assert_eq!(
            shown(&mut lines, &EVENTS),
            "\
WHEN               EVENT    LOCK    WHO                   DETAILS
2026-11-23 08:00Z  freeze   deploy  eve@h                 ttl 10m
1m ago             wait     deploy  ada@h
30s ago            acquire  deploy  ada@h                 token 7, ttl 5m, waited 30s
20s ago            deny     deploy  bob@h (agent claude)  held by ada@h, pid 7
10s ago            release  deploy  ada\\u{1b}[2J@h        held 20s
"
        );
    }

    #[test]
    fn a_line_fits_its_terminal() {
        let mut lines = Lines::clock(
            Screen { columns: Some(60), colour: false },
            "2026-11-24T11:59:30Z".parse().unwrap(),
        );
        let text = shown(&mut lines, &EVENTS[1..]);
        assert!(text.lines().all(|line| line.width() <= 60), "{text}");
        assert!(text.contains("\n11:59:40Z  deny          deploy        bob@h (agent c"), "{text}");
    }

    #[test]
    fn nothing_from_the_log_is_obeyed_by_the_terminal() {
        let evil = r#"{"ts":"2026-11-24T12:00:00Z","event":"E","name":"E","owner":"E","host":"E","agent_id":"E","lock_id":"E","extra":{"holder_owner":"E","holder_host":"E","freeze_owner":"E","pruned_owner":"E","reason":"E","sweep_reason":"E"}}"#;
        let mut lines = Lines::clock(Screen { columns: Some(400), colour: false }, Timestamp::MIN);
        let text = shown(&mut lines, &[&evil.replace("\"E\"", "\"\\u001b[2J\\u202e\\n\"")]);
        assert_eq!(text.lines().count(), 2, "{text:?}");
        assert!(!text.chars().any(|c| c != '\n' && words::is_obeyed(c)), "{text:?}");
        assert_eq!(text.matches("\\u{1b}").count(), 11, "{text}");
    }
}
