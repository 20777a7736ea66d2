//! `report.html`: what it says of a race.

use std::fs;

use anyhow::Context;

use super::figures;
use super::outdir::OutDir;
use super::plan::Plan;
use super::report::{Report, Summary};
use super::results::{Moment, Renewal, Run};
use super::table::MEASURES;
use super::timeline;
use crate::page::{self, COLORS, escape};
use crate::stats::{Spread, thousands, time};

/// Failed runs that are unfolded from the start.
const UNFOLDED: usize = 3;

pub fn write(report: &Report, plan: &Plan, out: &OutDir) -> anyhow::Result<()> {
    let path = out.report_html();
    fs::write(&path, document(report, plan)).with_context(|| format!("failed to write {}", path.display()))
}

fn document(report: &Report, plan: &Plan) -> String {
    let body = [
        header(report),
        tiles(report),
        failures(report, plan),
        table(report),
        figures::section(report),
        footer(report),
    ];
    page::document(&format!("lokt race: {}", report.verdict()), &body)
}

fn header(report: &Report) -> String {
    let (class, sign) = if report.failed == 0 { ("good", "✓") } else { ("bad", "✗") };
    let headline = match report.failed {
        0 => format!("{} of {} passed", report.passed, report.runs.len()),
        failed => format!("{failed} of {} failed", report.runs.len()),
    };
    format!(
        "<header>\n<p class=\"brand\">lokt race{}</p>\n\
         <h1><span class=\"sign {class}\" aria-hidden=\"true\">{sign}</span> {headline}</h1>\n\
         <p class=\"lead\">{}</p>\n<p class=\"facts\">{}</p>\n</header>\n",
        if report.sanitized { " · ThreadSanitizer" } else { "" },
        escape(&lead(report)),
        escape(&facts(report)),
    )
}

/// What the numbers come to, in two sentences.
fn lead(report: &Report) -> String {
    let total = |count: fn(&Summary) -> u64| report.ttls.iter().map(count).sum::<u64>();
    let renewals = thousands(total(|summary| summary.renewals as u64));
    let (attempts, refused) =
        (total(|summary| summary.break_attempts), total(|summary| summary.break_refused));
    let (tried, stopped) = (thousands(attempts), thousands(refused));
    match report.failed {
        0 => format!(
            "{}: across {renewals} renewals, {tried} attempts to take or remove the lock, all of them refused.",
            capitalised(report.claim())
        ),
        _ => format!(
            "{} passed. Across {renewals} renewals, {stopped} of {tried} attempts to take or remove the lock were refused. \
             What went wrong is told below, run by run.",
            report.passed
        ),
    }
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn facts(report: &Report) -> String {
    let machine = &report.machine;
    let ended_at = report.ended_at.replace('T', " ").replace('Z', " UTC");
    let facts = [
        Some(ended_at),
        machine.commit.as_ref().map(|commit| format!("commit {commit}")),
        Some(format!("{} {}, {} cores", machine.os, machine.arch, machine.cores)),
        machine.rustc.as_ref().map(|rustc| rustc.split(" (").next().unwrap_or(rustc).to_owned()),
        Some(format!("{} runs at once, {} in all", report.jobs, time(report.total_ms))),
    ];
    facts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

fn tiles(report: &Report) -> String {
    let all = |values: fn(&Run) -> Vec<f64>| Spread::of(report.runs.iter().flat_map(values));
    let late = all(|run| run.renewals.iter().map(|renewal| renewal.late_ms).collect());
    let left = all(|run| run.renewals.iter().map(|renewal| share_left(run, renewal)).collect());
    let takeover = all(|run| run.takeover_ms.into_iter().collect());
    let handover = all(|run| run.handover_ms.into_iter().collect());
    let median = |spread: &Spread| time(spread.p50);
    let max = |spread: &Spread| format!("median · max {}", time(spread.max));
    let tiles = [
        tile("Renewals late by", &late, median, |s| {
            format!("median · p99 {} · max {}", time(s.p99), time(s.max))
        }),
        tile(
            "Least lease left",
            &left,
            |s| format!("{:.1} %", s.min),
            |_| "of the TTL, at a renewal".to_owned(),
        ),
        tile("Take-over after a lapse", &takeover, median, max),
        tile("Hand-over at a normal end", &handover, median, max),
    ];
    format!("<dl class=\"tiles\">\n{}</dl>\n", tiles.concat())
}

fn tile(
    name: &str,
    spread: &Option<Spread>,
    value: fn(&Spread) -> String,
    more: fn(&Spread) -> String,
) -> String {
    let words = |of: fn(&Spread) -> String| spread.as_ref().map_or("–".to_owned(), of);
    format!(
        "<div><dt>{name}</dt><dd>{}</dd><dd class=\"more\">{}</dd></div>\n",
        escape(&words(value)),
        escape(&words(more))
    )
}

/// What was left of the lease at a renewal, in percent of the TTL.
pub fn share_left(run: &Run, renewal: &Renewal) -> f64 {
    renewal.left_ms / run.ttl_ms.max(1) as f64 * 100.0
}

fn failures(report: &Report, plan: &Plan) -> String {
    let failed: Vec<&Run> = report.runs.iter().filter(|run| !run.passed).collect();
    if failed.is_empty() {
        return String::new();
    }
    let runs = failed.iter().enumerate().map(|(index, run)| failure(run, plan, index < UNFOLDED));
    format!("<section>\n<h2>Failed runs</h2>\n{}</section>\n", runs.collect::<String>())
}

fn failure(run: &Run, plan: &Plan, unfolded: bool) -> String {
    let fact = |name: &str, value: &str| format!("<dt>{name}</dt><dd><code>{}</code></dd>", escape(value));
    let kept = run.sandbox.as_ref().map(|sandbox| fact("kept", sandbox)).unwrap_or_default();
    let output =
        run.output.as_ref().map(|output| format!("<pre>{}</pre>\n", escape(output))).unwrap_or_default();
    format!(
        "<details class=\"card\"{}>\n<summary><b>TTL {}, run {}</b> {}</summary>\n<dl class=\"run\">{kept}{}</dl>\n{}{output}</details>\n",
        if unfolded { " open" } else { "" },
        escape(&run.ttl),
        run.run,
        escape(run.failure.as_deref().unwrap_or("it did not say why")),
        fact("again", &plan.again(&run.id())),
        moments(run),
    )
}

fn moments(run: &Run) -> String {
    if run.timeline.is_empty() {
        return String::new();
    }
    let row = |moment: &Moment| {
        let at = timeline::at(moment);
        format!("<tr><td>{at}</td><td>{}</td><td>{}</td></tr>\n", escape(&moment.who), escape(&moment.what))
    };
    format!(
        "<div class=\"scroll\" tabindex=\"0\"><table class=\"moments\">\n\
         <thead><tr><th>when</th><th>who</th><th>what</th></tr></thead>\n<tbody>\n{}</tbody></table></div>\n",
        run.timeline.iter().map(row).collect::<String>()
    )
}

fn table(report: &Report) -> String {
    let mut groups: Vec<(&str, usize)> = Vec::new();
    for measure in &MEASURES {
        match groups.last_mut() {
            Some((group, columns)) if *group == measure.group => *columns += 1,
            _ => groups.push((measure.group, 1)),
        }
    }
    let group =
        |(name, columns): &(&str, usize)| format!("<th colspan=\"{columns}\" scope=\"colgroup\">{name}</th>");
    let names: String =
        MEASURES.iter().map(|measure| format!("<th scope=\"col\">{}</th>", measure.name)).collect();
    format!(
        "<section>\n<h2>By TTL</h2>\n<div class=\"scroll card\" tabindex=\"0\" role=\"region\" aria-label=\"Results by TTL\">\n\
         <table class=\"results\">\n<thead><tr><th rowspan=\"2\" scope=\"col\">TTL</th>{}</tr>\n<tr>{names}</tr></thead>\n\
         <tbody>\n{}</tbody>\n</table></div>\n</section>\n",
        groups.iter().map(group).collect::<String>(),
        report.ttls.iter().enumerate().map(row).collect::<String>(),
    )
}

fn row((index, summary): (usize, &Summary)) -> String {
    let cells: String =
        MEASURES.iter().map(|measure| format!("<td>{}</td>", escape(&(measure.of)(summary)))).collect();
    format!(
        "<tr><th scope=\"row\" class=\"c{}\">{}</th>{cells}</tr>\n",
        index % COLORS,
        escape(&summary.ttl.label)
    )
}

fn footer(report: &Report) -> String {
    format!(
        "<footer><p>Made by <code>cargo xtask race</code> from {} runs. Every number is in <code>report.json</code> beside this \
         file. Percentiles are by nearest rank; failed runs count with what they measured.</p></footer>\n",
        report.runs.len()
    )
}
