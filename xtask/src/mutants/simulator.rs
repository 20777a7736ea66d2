//! The simulator, asked how many schedules it takes to find a mutant.

use std::process::Command;

use anyhow::{Context, bail};
use serde::Deserialize;
use xshell::{Shell, cmd};

use super::copy::Copy;

/// The seed of every search, so that one that found something can be repeated.
const SEED: u64 = 1;

/// What the simulator says.
#[derive(Debug, PartialEq, Deserialize)]
pub struct Answer {
    /// How many schedules it ran.
    pub schedules: u64,
    pub violation: Option<Violation>,
}

/// A promise that a schedule broke.
#[derive(Debug, PartialEq, Deserialize)]
pub struct Violation {
    pub promise: String,
    /// Which schedule it was, from 1.
    pub schedule: u64,
}

/// Whether the copy has a simulator at all.
pub fn exists(sh: &Shell) -> anyhow::Result<bool> {
    let metadata = cmd!(sh, "cargo metadata --no-deps --offline --format-version 1").quiet().read()?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let mut targets = packages.flat_map(|package| package["targets"].as_array().into_iter().flatten());
    Ok(targets.any(|target| target["name"] == "sim" && target["kind"][0] == "bin"))
}

/// Runs the copy's simulator, as it stands: so many schedules at random, then all of the small cases.
pub fn search(sh: &Shell, copy: &Copy, schedules: u64) -> anyhow::Result<Answer> {
    let (schedules, seed) = (schedules.to_string(), SEED.to_string());
    let cmd = cmd!(sh, "cargo run -q -p lokt-tests --bin sim --");
    let cmd = copy
        .built(cmd)
        .args(["--schedules", &schedules, "--seed", &seed, "--deviations", "2", "--json"])
        .quiet();
    ask(cmd.into())
}

/// Its answer, if it is one: the exit code must agree with it.
fn ask(mut simulator: Command) -> anyhow::Result<Answer> {
    let output = simulator.output().context("failed to start the simulator")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let answer = serde_json::from_str::<Answer>(&said);
    match (output.status.code(), answer) {
        (Some(0), Ok(answer)) if answer.violation.is_none() => Ok(answer),
        (Some(1), Ok(answer)) if answer.violation.is_some() => Ok(answer),
        (_, answer) => {
            let why = answer.err().map_or_else(String::new, |error| format!(" ({error})"));
            let stderr = String::from_utf8_lossy(&output.stderr);
            bail!("the simulator gave no proper answer, {}{why}: {said}{stderr}", output.status)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a simulator comes to that says this and ends with that code.
    fn answer(said: &str, code: u8) -> anyhow::Result<Answer> {
        let mut simulator = Command::new("sh");
        simulator.args(["-c", &format!("printf '%s' \"$0\"; exit {code}"), said]);
        ask(simulator)
    }

    #[test]
    fn a_violation_is_told_with_its_schedule() -> anyhow::Result<()> {
        let found = answer(
            r#"{"schedules": 412, "seconds": 0.5, "violation": {"promise": "exclusion", "schedule": 411,
                "seed": 1, "timeline": ["a enters", "b enters"]}}"#,
            1,
        )?;
        let violation = Violation { promise: "exclusion".to_owned(), schedule: 411 };
        assert_eq!(found, Answer { schedules: 412, violation: Some(violation) });
        let none = answer(r#"{"schedules": 2000, "seconds": 1.5, "violation": null}"#, 0)?;
        assert_eq!(none, Answer { schedules: 2000, violation: None });
        Ok(())
    }

    #[test]
    fn an_answer_that_is_none_or_disagrees_with_its_exit_code_is_an_error() {
        let none = r#"{"schedules": 2000, "seconds": 1.5, "violation": null}"#;
        for (said, code) in [(none, 1), (none, 101), ("", 0), ("error: could not compile", 101)] {
            assert!(answer(said, code).is_err(), "{said:?} {code}");
        }
    }
}
