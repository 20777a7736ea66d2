//! The simulator as a program; `cargo xtask sim` builds it and shows what it finds.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a tool of the tests: it reads clocks and prints its findings"
)]

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use lokt_tests::sim::explore::{self, Finding, Search};
use lokt_tests::sim::{Case, Kind};
use serde_json::{Value, json};

/// Run the lock on a simulated machine, under schedules chosen at random or all that there are
#[derive(Parser)]
struct Sim {
    /// How many schedules to choose at random
    #[arg(long, default_value_t = 1_000_000)]
    schedules: u64,

    /// The seed of the first of them; the others follow
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// The largest number of actors
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(2..=12))]
    actors: u8,

    /// Also run every schedule of the small cases with at most so many deviations
    #[arg(long, default_value_t = 0)]
    deviations: usize,

    /// How many threads
    #[arg(long, default_value_t = 1)]
    jobs: usize,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let sim = Sim::parse();
    let began = Instant::now();
    let random = explore::random(Kind::Any { actors: sim.actors.into() }, sim.seed, sim.schedules, sim.jobs);
    let seconds = began.elapsed().as_secs_f64();
    let cases = if random.finding.is_none() { sim.cases() } else { Vec::new() };
    let finding = random.finding.as_ref().or(cases.iter().find_map(|(_, case)| case.finding.as_ref()));
    if sim.json {
        let case =
            |(case, search): &(Case, Search)| json!({ "case": case.title(), "schedules": search.schedules });
        let report = json!({
            "schedules": random.schedules,
            "steps": random.steps,
            "seconds": seconds,
            "jobs": sim.jobs,
            "cases": cases.iter().map(case).collect::<Vec<Value>>(),
            "violation": finding.map(violation),
        });
        println!("{report}");
    } else {
        println!("{} schedules in {seconds:.1} s", random.schedules);
        cases.iter().for_each(|(case, search)| println!("{}: all {}", case.title(), search.schedules));
        if let Some(finding) = finding {
            println!("{}: {}\n{}", finding.promise, finding.what, finding.story.join("\n"));
        }
    }
    if finding.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

impl Sim {
    fn cases(&self) -> Vec<(Case, Search)> {
        if self.deviations == 0 {
            return Vec::new();
        }
        let searches = explore::side_by_side(&Case::ALL, self.deviations, self.jobs);
        Case::ALL.into_iter().zip(searches).collect()
    }
}

fn violation(finding: &Finding) -> Value {
    let shortest: Vec<String> = finding.shortest.iter().map(ToString::to_string).collect();
    json!({
        "promise": finding.promise,
        "what": finding.what,
        "schedule": finding.schedules,
        "seed": finding.seed,
        "shortest": shortest.join(" "),
        "timeline": finding.story,
    })
}
