//! What a lock costs that nobody contends for: whole processes, from start to end.

use std::path::Path;
use std::process::Command;

use super::found::{Found, ratio_series};
use super::ground::{Ground, Peer, find};
use super::rounds::{self, Row, WARM_UP};
use crate::page::Scale;
use crate::page::compare::Boxes;
use crate::page::plot::Series;
use crate::section::{Figure, Plot};

/// How many other records a crowded root has.
const CROWD: usize = 100_000;

/// A program in Perl takes a hundred times as long, and is run so much more rarely.
const RARELY: usize = 15;

pub fn measure(ground: &Ground) -> anyhow::Result<Found> {
    let mut found = Found::new("admission", "Lock, run nothing, unlock");
    let mut rows = rows(ground, &mut found);
    let mut flock = Row::new("flock", "flock FILE true", under(ground, &ground.flock));
    rounds::run(&mut flock, &mut rows, WARM_UP, ground.rounds)?;
    found.rows("Whole processes, without contention", &flock, &rows);
    found.ratio(&rows, "guard", "guard / flock");
    found.ratio(&rows, "guard --ttl", "guard --ttl / flock");
    found.ratio(&rows, "guard in memory", "guard, root in memory / flock");
    versions(ground, &mut found)?;
    slow_peers(ground, &mut found)?;
    crowded(ground, &mut found)?;
    let size = std::fs::metadata(&ground.lokt)?.len();
    found.value("bytes of the program", size as f64);
    found.section.figures.push(Figure::count("program_bytes", "bytes of the static program", size));
    found.section.plots.push(plot(&ratio_series(&rows)));
    Ok(found)
}

fn rows(ground: &Ground, found: &mut Found) -> Vec<Row> {
    let root = ground.path("root");
    let mut rows = vec![
        Row::new("guard", "lokt guard x -- true", ground.guard(&ground.lokt, &root, &[])),
        Row::new(
            "guard --ttl",
            "lokt guard x --ttl 5m -- true",
            ground.guard(&ground.lokt, &root, &["--ttl", "5m"]),
        ),
        Row::new("plain guard", "lokt guard x -- true, dynamic", ground.guard(&ground.plain, &root, &[])),
    ];
    rows.extend(ground.path_in_memory("root").map(|root| {
        let label = "lokt guard x -- true, root in memory";
        Row::new("guard in memory", label, ground.guard(&ground.lokt, &root, &[]))
    }));
    let peers = [
        (Peer("setlock", "daemontools"), "setlock FILE true"),
        (Peer("lckdo", "moreutils"), "lckdo FILE true"),
    ];
    for (peer, label) in peers {
        rows.extend(
            find(&peer, &mut found.warnings).map(|program| Row::new(peer.0, label, under(ground, &program))),
        );
    }
    rows.extend([Row::new("true", "true", ground.command(&ground.nothing))]);
    rows
}

/// `PROGRAM FILE true`
fn under(ground: &Ground, program: &Path) -> Command {
    let mut command = ground.command(program);
    command.arg(ground.path("lock")).arg(&ground.nothing);
    command
}

/// From the start to the end of a process that does nothing else.
fn versions(ground: &Ground, found: &mut Found) -> anyhow::Result<()> {
    let version = |program: &Path| {
        let mut command = ground.command(program);
        command.arg("--version");
        command
    };
    let mut flock = Row::new("flock --version", "flock --version", version(&ground.flock));
    let mut rows = [Row::new("version", "lokt --version", version(&ground.lokt))];
    rounds::run(&mut flock, &mut rows, WARM_UP, ground.rounds)?;
    found.rows("Started for nothing", &flock, &rows);
    found.ratio(&rows, "version", "lokt --version / flock --version");
    Ok(())
}

fn slow_peers(ground: &Ground, found: &mut Found) -> anyhow::Result<()> {
    let Some(sem) = find(&Peer("sem", "parallel"), &mut found.warnings) else { return Ok(()) };
    let mut command = ground.command(&sem);
    command.args(["--will-cite", "--id", "x", "--fg"]).arg(&ground.nothing);
    let mut flock = Row::new("flock", "flock FILE true", under(ground, &ground.flock));
    let mut rows = [Row::new("sem", "sem --id x --fg true (GNU parallel)", command)];
    rounds::run(&mut flock, &mut rows, 1, ground.rounds.div_ceil(RARELY))?;
    found.rows("A peer in Perl", &flock, &rows);
    Ok(())
}

/// What others hold is nobody's business: neither an admission nor a release looks at it.
fn crowded(ground: &Ground, found: &mut Found) -> anyhow::Result<()> {
    let guard = |root: &Path| ground.guard(&ground.lokt, root, &[]);
    let mut empty = Row::new("empty root", "lokt guard x -- true", guard(&ground.path_of_many("empty")));
    let mut rows = [Row::new(
        "crowded root",
        "lokt guard x -- true, 100,000 others held",
        guard(&ground.root_with(CROWD)?),
    )];
    rounds::run(&mut empty, &mut rows, WARM_UP, ground.rounds)?;
    found.rows("In a crowded root", &empty, &rows);
    found.ratio(&rows, "crowded root", "crowded root / empty root");
    Ok(())
}

fn plot(series: &[Series]) -> Plot {
    let most =
        series.iter().flat_map(|series| crate::stats::percentile(&series.values, 90)).fold(1.0, f64::max);
    let scale = Scale::from_zero(most, 8, |value| format!("{value:.1}"));
    let words = |value| format!("{value:.2}");
    let axis = "times the duration of flock in the same round";
    Plot::new(
        "In relation to flock",
        "Whisker: 80 % of the rounds; box: their middle half; dashed: flock. To the left is faster.",
        Boxes { series, scale: &scale, axis, mark: Some(1.0), words }.draw(),
    )
}
