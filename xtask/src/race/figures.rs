//! The plots of `report.html`: what each of them shows, and of which numbers.

use super::page::share_left;
use super::report::{Report, Summary};
use super::results::Run;
use crate::page::plot::{self, Dot, Rows, Series};
use crate::page::{COLORS, Scale, escape, figure};
use crate::section::Plot;
use crate::stats::time;

pub fn section(report: &Report) -> String {
    let plots: String =
        plots(report).iter().map(|plot| figure(&plot.title, &plot.caption, &plot.drawing)).collect();
    format!(
        "<section>\n<h2>Timings</h2>\n{}<div class=\"plots\">\n{plots}</div>\n</section>\n",
        legend(report)
    )
}

pub fn plots(report: &Report) -> Vec<Plot> {
    let late = series(report, |run| run.renewals.iter().map(|renewal| renewal.late_ms).collect());
    let left = series(report, |run| run.renewals.iter().map(|renewal| share_left(run, renewal)).collect());
    let takeover = series(report, |run| run.takeover_ms.into_iter().collect());
    let handover = series(report, |run| run.handover_ms.into_iter().collect());
    vec![
        Plot::new(
            "How late renewals were",
            "From the instant at which a beat was due to its commit.",
            times(&late, "lateness of a renewal (logarithmic)", "renewals"),
        ),
        Plot::new(
            "Lease left at a renewal",
            "A heartbeat is due at half the TTL: 50 % left. At 0 % the lock could be taken.",
            shares(&left),
        ),
        Plot::new(
            "Take-over latency",
            "The heartbeat was stopped: from the lapse to a contender's admission.",
            times(&takeover, "take-over latency (logarithmic)", "take-overs"),
        ),
        Plot::new(
            "Hand-over latency",
            "A normal end: from the release to the waiting contender's admission.",
            times(&handover, "hand-over latency (logarithmic)", "hand-overs"),
        ),
        Plot::new("Wall time of each run", "Failed runs are crosses.", walls(report)),
    ]
}

fn legend(report: &Report) -> String {
    let key = |(index, summary): (usize, &Summary)| {
        format!("<li><i class=\"c{}\"></i>TTL {}</li>", index % COLORS, escape(&summary.ttl.label))
    };
    let ttls: String = report.ttls.iter().enumerate().map(key).collect();
    let marks = "<li><i class=\"median\"></i>median</li><li><i class=\"worst\"></i>worst</li>";
    format!("<ul class=\"legend\">{ttls}{marks}</ul>\n")
}

fn series(report: &Report, values: fn(&Run) -> Vec<f64>) -> Vec<Series> {
    let of = |(index, summary): (usize, &Summary)| Series {
        label: summary.ttl.label.clone(),
        color: index % COLORS,
        values: report.runs.iter().filter(|run| run.ttl == summary.ttl.label).flat_map(values).collect(),
    };
    report.ttls.iter().enumerate().map(of).collect()
}

fn times(series: &[Series], axis: &str, things: &str) -> String {
    let scale = Scale::log_time(series.iter().flat_map(|series| series.values.iter().copied()));
    Rows { series, scale: &scale, axis, things, worst_is_min: false, words: time }.draw()
}

fn shares(series: &[Series]) -> String {
    let scale = Scale::percent(series.iter().flat_map(|series| series.values.iter().copied()));
    let axis = "lease left, in percent of the TTL";
    Rows {
        series,
        scale: &scale,
        axis,
        things: "renewals",
        worst_is_min: true,
        words: |v| format!("{v:.1} %"),
    }
    .draw()
}

fn walls(report: &Report) -> String {
    let color =
        |run: &Run| report.ttls.iter().position(|summary| summary.ttl.label == run.ttl).unwrap_or(0) % COLORS;
    let dot = |run: &Run| Dot {
        series: color(run),
        x: f64::from(run.run),
        y: run.wall_ms / 1_000.0,
        title: format!(
            "TTL {}, run {}: {}{}",
            run.ttl,
            run.run,
            time(run.wall_ms),
            if run.passed { "" } else { ", failed" }
        ),
        failed: !run.passed,
    };
    let dots: Vec<Dot> = report.runs.iter().map(dot).collect();
    plot::scatter(&dots, "run", "wall time of each run, in seconds")
}
