//! The race of contenders against a heartbeat, in real time: see [`lokt_tests::race`].
//!
//! In an ordinary test run it is listed once for each TTL. `cargo xtask race` sets `LOKT_RACE_*` and gets as many
//! runs as it asks for, each a test of its own, which leaves what it measured in a file.

#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "a test's harness")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use lokt::Locks;
use lokt::protocol::parse_duration;
use lokt::store::etcd::Address;
use lokt_tests::race::{self, Measured};
use lokt_tests::scene::Scene;
use lokt_tests::timeline::{Moment, Timeline};

/// How many contenders strike if nothing else is asked for.
const CONTENDERS: usize = 3;

fn main() -> ExitCode {
    let trials = match (setting("LOKT_RACE_PLANTED"), setting("LOKT_RACE_OUT")) {
        (Some(_), _) => vec![Trial::test("planted::data_race", planted::data_race)],
        (None, Some(out)) => requested(Path::new(&out)),
        (None, None) => ordinary(),
    };
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// What is run with all other tests.
fn ordinary() -> Vec<Trial> {
    ["2s", "3s", "5s"]
        .into_iter()
        .map(|ttl| {
            Trial::test(format!("no_break_while_the_heartbeat_lives::ttl_{ttl}"), move || {
                let dir = tempfile::tempdir()?;
                let timeline = begin();
                race::run(&Scene::Directory(dir.path().to_owned()), duration(ttl), CONTENDERS, &timeline)?;
                Ok(())
            })
        })
        .collect()
}

/// What `cargo xtask race` asks for.
fn requested(out: &Path) -> Vec<Trial> {
    let runs: usize = setting("LOKT_RACE_RUNS").map_or(1, |runs| runs.parse().expect("a number of runs"));
    let contenders =
        setting("LOKT_RACE_CONTENDERS").map_or(CONTENDERS, |n| n.parse().expect("a number of contenders"));
    let ttls = setting("LOKT_RACE_TTLS").unwrap_or_else(|| "2s".to_owned());
    let mut trials = Vec::new();
    for ttl in ttls.split(',').map(str::to_owned) {
        for run in 1..=runs {
            let (ttl, out) = (ttl.clone(), out.to_owned());
            let name = format!("race::ttl_{ttl}::run_{run:04}");
            trials.push(Trial::test(name, move || one(&out, &ttl, run, contenders)));
        }
    }
    trials
}

/// One run, in a sandbox that stays only if it fails.
fn one(out: &Path, ttl: &str, run: usize, contenders: usize) -> Result<(), Failed> {
    let label = format!("{ttl}-{run:04}");
    let sandbox = out.join("sandbox").join(&label);
    fs::create_dir_all(&sandbox)?;
    let timeline = begin();
    let scene = match setting("LOKT_RACE_ETCD") {
        Some(address) => on_cluster(&address, &label),
        None => Scene::Directory(sandbox.clone()),
    };
    let result = race::run(&scene, duration(ttl), contenders, &timeline);
    if let Err(failure) = &result {
        timeline.note("checker", failure.clone());
    }
    let kept = result.is_err() || setting("LOKT_RACE_KEEP").is_some();
    let report = Report {
        ttl,
        ttl_ms: u64::try_from(duration(ttl).as_millis())?,
        run,
        passed: result.is_ok(),
        wall_ms: timeline.elapsed_ms(),
        measured: result.as_ref().ok(),
        failure: result.as_ref().err(),
        sandbox: &sandbox,
        timeline: timeline.moments(),
    };
    fs::create_dir_all(out.join("runs"))?;
    fs::write(out.join("runs").join(format!("{label}.json")), serde_json::to_vec_pretty(&report)?)?;
    if !kept {
        fs::remove_dir_all(&sandbox)?;
    }
    result.map(drop).map_err(Failed::from)
}

/// A scene on a cluster, below a prefix of the run's own.
fn on_cluster(address: &str, label: &str) -> Scene {
    let address: Address = address.parse().expect("an address");
    Scene::Cluster { member: address.endpoints[0].clone(), prefix: format!("{}/{label}", address.prefix) }
}

/// A run as `cargo xtask race` reads it.
#[derive(serde::Serialize)]
struct Report<'a> {
    ttl: &'a str,
    ttl_ms: u64,
    run: usize,
    passed: bool,
    wall_ms: f64,
    #[serde(flatten)]
    measured: Option<&'a Measured>,
    failure: Option<&'a String>,
    sandbox: &'a PathBuf,
    timeline: Vec<Moment>,
}

fn begin() -> Timeline {
    Timeline::begin(Locks::open("unused").now().monotonic)
}

fn duration(text: &str) -> Duration {
    parse_duration(text).expect("a TTL")
}

fn setting(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|value| !value.is_empty())
}

/// A data race that was put here on purpose: a detector that does not report it is blind.
mod planted {
    use std::thread;

    use libtest_mimic::Failed;

    /// Shared without any synchronisation.
    struct Unguarded(std::cell::UnsafeCell<u64>);

    #[expect(unsafe_code, reason = "the race is the point")]
    // SAFETY: none. It runs only under a detector, whose report is what the test is about.
    unsafe impl Sync for Unguarded {}

    static COUNTER: Unguarded = Unguarded(std::cell::UnsafeCell::new(0));

    /// Two threads write the same memory.
    pub(super) fn data_race() -> Result<(), Failed> {
        let threads: Vec<_> =
            (0..2).map(|_| thread::spawn(|| (0..1000).for_each(|_| planted_write()))).collect();
        for thread in threads {
            thread.join().map_err(|_| "a racing thread panicked")?;
        }
        Ok(())
    }

    #[inline(never)]
    #[expect(unsafe_code, reason = "the race is the point")]
    fn planted_write() {
        // SAFETY: none, see above.
        unsafe {
            let counter = COUNTER.0.get();
            counter.write_volatile(counter.read_volatile() + 1);
        }
    }
}
