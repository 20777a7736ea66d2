//! `cargo xtask scale`: what locks on an etcd ask of it, for each that is held and for each who waits.
//!
//! An etcd of one member is started, and in front of it 1, 10, 100 and 1,000 guards: each with a lock of its own, and then all in
//! line for one. When they have settled, etcd's own counters say what they ask of it in a while; and what one
//! hand-over costs, whatever the length of the line.
//!
//! The figures are counts, and so independent of how fast this machine is; but for the processor time and the memory.

mod crowd;
mod metrics;

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use xshell::Shell;

use crate::etcd::Etcd;
use crate::section::{Figure, Section, Table};
use crate::{built, console, paths};
use crowd::{Crowd, Place, TTL_S};
use metrics::Metrics;

/// How long until all have come.
const ARRIVE_WITHIN: Duration = Duration::from_secs(180);

/// So long nobody writes anything when all have settled; and how long until then.
const QUIET: Duration = Duration::from_secs(5);
const SETTLE_WITHIN: Duration = Duration::from_secs(90);

#[derive(Args)]
pub struct Scale {
    /// How many sessions
    #[arg(long, value_delimiter = ',', value_name = "N", default_value = "1,10,100,1000")]
    sessions: Vec<usize>,

    /// For how long they are watched, in seconds
    #[arg(long, value_name = "S", default_value_t = 60)]
    seconds: u64,
}

/// What was seen of so many sessions in a second.
struct Seen {
    sessions: usize,
    /// In the whole time that they were watched.
    grown: Metrics,
    seconds: f64,
    /// What a guard has of this machine's memory.
    memory: u64,
}

impl Scale {
    pub fn run(self, sh: &Shell) -> anyhow::Result<()> {
        let began = Instant::now();
        let dir = paths::target().join("scale");
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).with_context(|| format!("failed to create {}", dir.display()))?;
        let runtime = tempfile::tempdir().context("failed to make a directory for the sessions")?;
        let lokt = built::lokt(sh)?;
        let etcd = Etcd::start(sh, &dir)?;
        let place = |prefix: &str| Place {
            lokt: lokt.clone(),
            root: etcd.address(prefix),
            runtime: runtime.path().to_owned(),
        };
        let (mut held, mut waiting, mut handed) = (Vec::new(), Vec::new(), Vec::new());
        for &sessions in &self.sessions {
            console::note(&format!("scale: {sessions} held"));
            let place = place(&format!("held-{sessions}"));
            let before = metrics(&etcd)?.watches;
            let crowd = place.holders(sessions)?;
            arrive(&etcd, before + sessions as f64)?;
            held.push(self.watch(&etcd, sessions, &crowd)?);
        }
        for &sessions in &self.sessions {
            console::note(&format!("scale: {sessions} in line"));
            let place = place(&format!("line-{sessions}"));
            let before = metrics(&etcd)?.watches;
            let mut holder = place.holder_of_line()?;
            arrive(&etcd, before + 1.0)?;
            let alone = self.watch(&etcd, 1, &holder)?;
            let mut line = place.line(sessions)?;
            arrive(&etcd, before + 1.0 + sessions as f64)?;
            let mut all = self.watch(&etcd, sessions, &line)?;
            // The one who holds it is not of the line.
            all.grown = all.grown - Metrics { watches: 0.0, leases: 0.0, memory: 0.0, ..alone.grown };
            all.grown.watches -= 1.0;
            waiting.push(all);
            handed.push(hand_over(&etcd, &mut holder)?);
            line.let_go();
        }
        let section = self.section(&held, &waiting, &handed, began.elapsed());
        section.conclude()
    }

    /// What a settled crowd asks of etcd.
    fn watch(&self, etcd: &Etcd, sessions: usize, crowd: &Crowd) -> anyhow::Result<Seen> {
        settle(etcd)?;
        let (began, before) = (Instant::now(), metrics(etcd)?);
        let until = began + Duration::from_secs(self.seconds);
        while Instant::now() < until {
            std::thread::park_timeout(until.saturating_duration_since(Instant::now()));
        }
        let grown = metrics(etcd)? - before;
        let memory = crowd.memory() / sessions.max(1) as u64;
        Ok(Seen { sessions, grown, seconds: began.elapsed().as_secs_f64(), memory })
    }

    fn section(&self, held: &[Seen], waiting: &[Seen], handed: &[Metrics], took: Duration) -> Section {
        let mut tables = vec![
            table(&format!("Held, each with a lease of {TTL_S} s: a second, for each lock"), held),
            table("Waiting in one line: a second, for each who waits", waiting),
        ];
        let mut costs =
            Table::new("One hand-over, whatever the length of the line", &["in line", "writes", "looks"]);
        for (seen, cost) in waiting.iter().zip(handed) {
            costs.rows.push(vec![
                seen.sessions.to_string(),
                format!("{:.0}", cost.writes),
                format!("{:.0}", cost.looks),
            ]);
        }
        tables.push(costs);
        let sessions: Vec<String> = self.sessions.iter().map(ToString::to_string).collect();
        let figures = held.last().map(|seen| {
            let writes = seen.grown.writes / seen.seconds / seen.sessions as f64;
            Figure::new(
                "writes_per_held_lock",
                "writes a second for each lock held",
                writes,
                format!("{writes:.4}"),
            )
        });
        Section {
            name: "scale",
            title: "What do locks on an etcd ask of it?".to_owned(),
            command: format!(
                "cargo xtask scale --sessions {} --seconds {}",
                sessions.join(","),
                self.seconds
            ),
            passed: true,
            verdict: format!("watched {} sessions for {} s each", sessions.join(", "), self.seconds),
            seconds: took.as_secs_f64(),
            figures: figures.into_iter().collect(),
            tables,
            plots: Vec::new(),
        }
    }
}

fn table(title: &str, seen: &[Seen]) -> Table {
    let columns = [
        "sessions",
        "watches",
        "leases",
        "renewals",
        "looks",
        "status",
        "writes",
        "etcd's CPU",
        "etcd has",
        "a guard has",
    ];
    let mut table = Table::new(title, &columns);
    for seen in seen {
        let (number, grown) = (seen.sessions as f64, &seen.grown);
        let rate = |count: f64| format!("{:.3}", count / seen.seconds / number);
        let mebibytes = |bytes: f64| format!("{:.1} MiB", bytes / 1024.0 / 1024.0);
        table.rows.push(vec![
            seen.sessions.to_string(),
            format!("{:.2}", grown.watches / number),
            format!("{:.2}", grown.leases / number),
            rate(grown.renewals),
            rate(grown.looks),
            rate(grown.asked),
            rate(grown.writes),
            format!("{:.2} % in all", grown.cpu / seen.seconds * 100.0),
            mebibytes(grown.memory),
            mebibytes(seen.memory as f64),
        ]);
    }
    table
}

/// What it costs that the holder ends and the first in line gets the lock.
fn hand_over(etcd: &Etcd, holder: &mut Crowd) -> anyhow::Result<Metrics> {
    let before = metrics(etcd)?;
    holder.let_go();
    let patience = Instant::now() + Duration::from_secs(30);
    while holder.ended() == 0 && Instant::now() < patience {
        std::thread::park_timeout(Duration::from_millis(5));
    }
    ensure!(holder.ended() == 1, "the holder does not end");
    // The next one has it some milliseconds later.
    std::thread::park_timeout(Duration::from_millis(500));
    Ok(metrics(etcd)? - before)
}

/// Waits until they have done what they do once, when they begin: whoever lost its ticket while a thousand programs
/// began at once takes a new one.
fn settle(etcd: &Etcd) -> anyhow::Result<()> {
    let patience = Instant::now() + SETTLE_WITHIN;
    loop {
        let before = metrics(etcd)?.writes;
        std::thread::park_timeout(QUIET);
        let wrote = metrics(etcd)?.writes - before;
        if wrote == 0.0 {
            return Ok(());
        }
        if Instant::now() > patience {
            console::note(&format!("scale: they have not settled: {wrote} writes in {} s", QUIET.as_secs()));
            return Ok(());
        }
    }
}

fn metrics(etcd: &Etcd) -> anyhow::Result<Metrics> {
    etcd.get("/metrics").map(|text| Metrics::read(&text)).context("etcd does not tell what it counts")
}

/// Waits until so many watch: each session has one.
fn arrive(etcd: &Etcd, watches: f64) -> anyhow::Result<()> {
    let patience = Instant::now() + ARRIVE_WITHIN;
    loop {
        let seen = metrics(etcd)?.watches;
        if seen >= watches {
            return Ok(());
        }
        ensure!(Instant::now() < patience, "only {seen} of {watches} have come");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}
