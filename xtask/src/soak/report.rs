//! What a soak found, as a section of a report; and a violation as a timeline that can be read.

use std::collections::{BTreeMap, HashSet};

use super::checker::{Findings, Rule, Violation, ms};
use super::claim::Claim;
use super::history::{Cause, History, Kind, Line};
use super::latency::Handover;
use crate::page::plot::{self, Dot, Rows, Series};
use crate::page::{COLORS, Scale};
use crate::section::{Figure, Plot, Table};
use crate::stats::{Spread, thousands, time};

/// How many violations are shown with their timelines.
const SHOWN: usize = 5;

/// How many lines of a timeline are shown.
const LONGEST_TIMELINE: usize = 60;

pub fn figures(history: &History, findings: &Findings, handovers: &[Handover]) -> Vec<Figure> {
    let sections = history.sections();
    let enters = || history.claims.iter().filter_map(|claim| Some(claim.enter?.at));
    let span = enters().max().unwrap_or(0).saturating_sub(enters().min().unwrap_or(0));
    let rate = sections as f64 / (span.max(1) as f64 / 1e9);
    let killed = history.claims.iter().filter(|claim| !claim.kills.is_empty()).count();
    let stopped = history.claims.iter().filter(|claim| !claim.stops.is_empty()).count();
    let mut figures = vec![
        Figure::count("claims", "claims", history.claims.len() as u64),
        Figure::count("sections", "critical sections", sections as u64),
        Figure::new("sections_per_second", "sections per second", rate, format!("{rate:.0}/s")),
        Figure::count("killed", "claims killed", killed as u64),
        Figure::count("stopped", "claims stopped and continued", stopped as u64),
    ];
    let release = of_cause(handovers, Cause::Release);
    if let Some(spread) = Spread::of(release) {
        figures.push(Figure::new("handover_p50_ms", "hand-over, median", spread.p50, time(spread.p50)));
        figures.push(Figure::new("handover_p99_ms", "hand-over, p99", spread.p99, time(spread.p99)));
    }
    figures.push(Figure::count("overtakings", "overtaken in line", findings.overtakings));
    figures.push(Figure::count("violations", "violations", findings.violations.len() as u64));
    figures
}

pub fn tables(history: &History, findings: &Findings, handovers: &[Handover]) -> Vec<Table> {
    let mut tables = vec![claims(history), deeds(history), hand_over_table(handovers), rules(findings)];
    if !findings.violations.is_empty() {
        let mut table = Table::new("Violations", &["rule", "what"]);
        let row = |violation: &Violation| vec![violation.rule.to_string(), violation.text.clone()];
        table.rows = findings.violations.iter().take(SHOWN).map(row).collect();
        tables.push(table);
    }
    tables
}

/// Each kind of claim, and what became of it.
fn claims(history: &History) -> Table {
    let columns = ["claims", "begun", "entered", "denied", "timed out", "killed or ended", "lost"];
    let mut rows: BTreeMap<String, [u64; 6]> = BTreeMap::new();
    for claim in &history.claims {
        let waits = claim.how.contains("--wait");
        let row = rows.entry(kind_of(claim)).or_default();
        row[0] += 1;
        row[1] += u64::from(claim.enter.is_some());
        match claim.code {
            Some(2) if waits => row[3] += 1,
            Some(2) => row[2] += 1,
            Some(5) => row[5] += 1,
            Some(code) if code > 128 => row[4] += 1,
            _ => {}
        }
    }
    let mut table = Table::new("What was claimed, and what became of it", &columns);
    let row = |(kind, counts): (String, [u64; 6])| {
        [kind].into_iter().chain(counts.into_iter().map(thousands)).collect::<Vec<_>>()
    };
    table.rows = rows.into_iter().map(row).collect();
    table
}

fn kind_of(claim: &Claim) -> String {
    let mut words: Vec<&str> = claim.how.split_whitespace().take(1).collect();
    let flags = ["--break-stale", "--ttl", "--wait"];
    words.extend(flags.into_iter().filter(|flag| claim.how.contains(flag)));
    if words.is_empty() { "section".to_owned() } else { words.join(" ") }
}

fn deeds(history: &History) -> Table {
    let mut rows: BTreeMap<String, u64> = BTreeMap::new();
    for line in &history.lines {
        let whom = line.what.as_deref().unwrap_or("somebody");
        let deed = match line.event {
            Kind::Kill => format!("killed: {whom}"),
            Kind::Stop => format!("stopped: {whom}"),
            Kind::Unprotected => format!("unprotected: {whom}"),
            Kind::Freed => "lapsed, and taken over".to_owned(),
            _ => continue,
        };
        *rows.entry(deed).or_default() += 1;
    }
    let mut table = Table::new("What was done to them", &["deed", "times"]);
    table.rows = rows.into_iter().map(|(deed, count)| vec![deed, thousands(count)]).collect();
    table
}

/// What a hand-over came after: a word for the plot, and words for the table.
type Class = (&'static str, &'static str);

const CAUSES: [(Cause, Class); 4] = [
    (Cause::Release, ("release", "release")),
    (Cause::Death, ("death", "death")),
    (Cause::Lapse, ("lapse", "lapse of a lease")),
    (Cause::Unlock, ("unlock", "before an unlock command")),
];

const PAST_STOPPED: Class = ("passing", "any, passing over one who is stopped");

fn of_cause(handovers: &[Handover], cause: Cause) -> Vec<f64> {
    let of = |one: &&Handover| one.cause == cause && !one.past_stopped;
    handovers.iter().filter(of).map(|one| one.ms).collect()
}

/// The hand-overs by what they came after.
fn classes(handovers: &[Handover]) -> Vec<(Class, Vec<f64>)> {
    let of = |(cause, class): &(Cause, Class)| (*class, of_cause(handovers, *cause));
    let past = handovers.iter().filter(|one| one.past_stopped).map(|one| one.ms).collect();
    CAUSES.iter().map(of).chain([(PAST_STOPPED, past)]).collect()
}

fn hand_over_table(handovers: &[Handover]) -> Table {
    let mut table = Table::new(
        "Hand-over: from the end of one section to the entry of the next who was waiting",
        &["after", "count", "p50", "p95", "p99", "max"],
    );
    for ((_, label), values) in classes(handovers) {
        if let Some(spread) = Spread::of(values) {
            let times = [spread.p50, spread.p95, spread.p99, spread.max].map(time);
            let count = thousands(spread.count as u64);
            table.rows.push([label.to_owned(), count].into_iter().chain(times).collect());
        }
    }
    table
}

fn rules(findings: &Findings) -> Table {
    let mut table = Table::new("Rules", &["rule", "looked at", "violations"]);
    let row = |(rule, count): (&Rule, &u64)| {
        vec![rule.to_string(), thousands(*count), thousands(findings.of(*rule) as u64)]
    };
    table.rows = findings.looked_at.iter().map(row).collect();
    table
}

pub fn plots(history: &History, findings: &Findings, handovers: &[Handover]) -> Vec<Plot> {
    let series: Vec<Series> = classes(handovers)
        .into_iter()
        .enumerate()
        .filter(|(_, (_, values))| !values.is_empty())
        .map(|(color, ((label, _), values))| Series {
            label: label.to_owned(),
            color: color % COLORS,
            values,
        })
        .collect();
    let scale = Scale::log_time(series.iter().flat_map(|series| series.values.iter().copied()));
    let rows = Rows {
        series: &series,
        scale: &scale,
        axis: "hand-over latency (logarithmic)",
        things: "hand-overs",
        worst_is_min: false,
        words: time,
    };
    vec![
        Plot {
            title: "Hand-over latency".to_owned(),
            caption: "From the last sign of one section, the signal that killed it, or the lapse of its lease, to the \
                      entry of the next who was waiting then. It includes the start of the next section's process."
                .to_owned(),
            drawing: rows.draw(),
        },
        Plot {
            title: "How long each section's claim took".to_owned(),
            caption: "From the start of the claim's process to its entry; a colour for each name, a cross for each \
                      that a violation concerns."
                .to_owned(),
            drawing: waits(history, findings),
        },
    ]
}

fn waits(history: &History, findings: &Findings) -> String {
    let began = history.lines.iter().map(|line| line.at).min().unwrap_or(0);
    let concerned: HashSet<&str> =
        findings.violations.iter().flat_map(|violation| &violation.claims).map(String::as_str).collect();
    let mut names: Vec<&str> = history.claims.iter().map(|claim| claim.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let dot = |claim: &Claim| {
        let (begin, enter) = (claim.begin?.at, claim.enter?.at);
        let waited = ms(enter.saturating_sub(begin));
        Some(Dot {
            series: names.binary_search(&claim.name.as_str()).unwrap_or(0) % COLORS,
            x: ms(enter - began) / 1e3,
            y: waited / 1e3,
            title: format!("{} into {} after {}", claim.who, claim.name, time(waited)),
            failed: concerned.contains(claim.who.as_str()),
        })
    };
    let dots: Vec<Dot> = history.claims.iter().filter_map(dot).collect();
    plot::scatter(&dots, "seconds into the soak", "from claim to entry, in seconds")
}

/// The first violations, each with the lines of the history that concern it.
pub fn timelines(history: &History, findings: &Findings) -> String {
    let mut text = String::new();
    for violation in findings.violations.iter().take(SHOWN) {
        text += &format!("FAILED  {}: {}\n", violation.rule, violation.text);
        text += &timeline(history, violation);
        text.push('\n');
    }
    let more = findings.violations.len().saturating_sub(SHOWN);
    if more > 0 {
        text += &format!("and {more} more\n");
    }
    text
}

/// All lines of the claims concerned, in the order of their times; those that show the violation are marked.
fn timeline(history: &History, violation: &Violation) -> String {
    let of_claims = history
        .claims
        .iter()
        .filter(|claim| violation.claims.contains(&claim.who))
        .flat_map(|claim| claim.lines.iter().copied());
    let mut numbers: Vec<usize> = of_claims.chain(violation.lines.iter().copied()).collect();
    let line = |number: usize| number.checked_sub(1).and_then(|index| history.lines.get(index));
    numbers.sort_by_key(|number| (line(*number).map(|line| line.at), *number));
    numbers.dedup();
    let is_dull = |number: &usize| line(*number).is_some_and(|line| line.event == Kind::Alive);
    numbers.retain(|number| violation.lines.contains(number) || !is_dull(number));
    let start = numbers.first().and_then(|number| line(*number)).map_or(0, |line| line.at);
    let row = |number: &usize| {
        let mark = if violation.lines.contains(number) { '>' } else { ' ' };
        line(*number).map(|line| format!("{mark} {:>7}  {}\n", number, words(line, start)))
    };
    let mut text: String = numbers.iter().take(LONGEST_TIMELINE).filter_map(row).collect();
    if numbers.len() > LONGEST_TIMELINE {
        text += &format!("  and {} lines more\n", numbers.len() - LONGEST_TIMELINE);
    }
    text
}

fn words(line: &Line, start: u64) -> String {
    let who = line.who.as_deref().unwrap_or("everybody");
    let event = format!("{:?}", line.event).to_lowercase();
    let mut text = format!("{:>12.3} ms  {who:<10}  {event}", ms(line.at.saturating_sub(start)));
    let mut add = |label: &str, value: Option<String>| {
        if let Some(value) = value {
            text += &format!("  {label}{value}");
        }
    };
    add("", line.name.clone());
    add("", line.what.clone());
    add("token ", line.token.map(|token| token.to_string()));
    add("lock_id ", line.lock_id.clone());
    add("pid ", line.pid.map(|pid| pid.to_string()));
    add("not alone", line.alone.filter(|alone| !alone).map(|_| String::new()));
    add("code ", line.code.map(|code| code.to_string()));
    add("until ", line.until.map(|until| format!("{:.3} ms", ms(until.saturating_sub(start)))));
    text
}
