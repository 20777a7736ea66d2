//! Every small change that cargo-mutants can think of to the pure protocol, each against its unit tests.
//!
//! `lokt/src/protocol` uses nothing of the rest of lokt, so a copy of it makes a crate of its own, which builds in a
//! second. That keeps hundreds of mutants within minutes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::Value;
use xshell::{Shell, cmd};

use super::copy;
use crate::section::{Figure, Table};
use crate::tools::Tool;
use crate::{console, paths, stats};

const CARGO_MUTANTS: Tool = Tool {
    name: "cargo-mutants",
    what: "which makes the mutants",
    site: "https://mutants.rs/installation.html",
};

/// What cargo-mutants exits with when it has tried them all: none survived, some did, some ran into the time limit.
const EXIT_TRIED: [i32; 3] = [0, 2, 3];

/// How long the tests of a mutant may take; unbroken, they take a fraction of a second.
const TIMEOUT: &str = "20";

/// What became of the mutants of the protocol.
pub struct Protocol {
    files: BTreeMap<String, Count>,
    survivors: Vec<String>,
}

/// The mutants of one file.
#[derive(Default, Clone, Copy)]
struct Count {
    caught: u64,
    timed_out: u64,
    unviable: u64,
    missed: u64,
}

/// `outcomes.json`, as far as it matters here.
#[derive(Deserialize)]
struct Outcomes {
    outcomes: Vec<Outcome>,
}

#[derive(Deserialize)]
struct Outcome {
    scenario: Value,
    summary: String,
}

/// Tries every mutant of the protocol, `jobs` at a time.
pub fn measure(sh: &Shell, jobs: usize) -> anyhow::Result<Protocol> {
    let program = CARGO_MUTANTS.find_or_install(sh)?;
    let root = copy::dir()?.join("protocol");
    make_crate(sh, &root)?;
    let _crate = sh.push_dir(&root);
    console::note("mutants: those of the protocol; a minute or two");
    let jobs = jobs.to_string();
    // No configuration: there is nothing that it might leave out.
    let tried = cmd!(sh, "{program} mutants --jobs {jobs} --no-config --output {root}")
        // The copy lies in a directory that git ignores. Its documentation speaks of what it was cut out of.
        .args(["--gitignore=false", "--cap-lints=true", "--minimum-test-timeout", TIMEOUT])
        .args(["--no-times", "--colors", "never", "--", "--lib"])
        .env_remove("CARGO_TARGET_DIR")
        .quiet()
        .ignore_status()
        .output()?;
    if !tried.status.code().is_some_and(|code| EXIT_TRIED.contains(&code)) {
        console::note(&String::from_utf8_lossy(&[tried.stdout, tried.stderr].concat()));
        bail!("the mutants of the protocol were not tried: see above for why");
    }
    let outcomes = root.join("mutants.out/outcomes.json");
    let text =
        fs::read_to_string(&outcomes).with_context(|| format!("failed to read {}", outcomes.display()))?;
    Protocol::count(&text).with_context(|| format!("failed to understand {}", outcomes.display()))
}

/// A crate of the protocol alone, with the dependencies that it uses, in the versions of the workspace.
fn make_crate(sh: &Shell, root: &Path) -> anyhow::Result<()> {
    let source = paths::workspace().join("lokt/src/protocol");
    if root.exists() {
        fs::remove_dir_all(root).with_context(|| format!("failed to remove {}", root.display()))?;
    }
    let target = root.join("src");
    fs::create_dir_all(&target)?;
    let mut code = String::new();
    for entry in fs::read_dir(&source).with_context(|| format!("failed to read {}", source.display()))? {
        let file = entry?.path();
        let text = fs::read_to_string(&file)?;
        let name = file.file_name().map(PathBuf::from).unwrap_or_default();
        let name = if name == Path::new("mod.rs") { PathBuf::from("lib.rs") } else { name };
        fs::write(target.join(name), &text)?;
        code += &text;
    }
    fs::write(root.join("Cargo.toml"), manifest(sh, &code)?)?;
    fs::copy(paths::workspace().join("Cargo.lock"), root.join("Cargo.lock"))?;
    Ok(())
}

fn manifest(sh: &Shell, code: &str) -> anyhow::Result<String> {
    let _workspace = sh.push_dir(paths::workspace());
    let metadata = cmd!(sh, "cargo metadata --no-deps --format-version 1").quiet().read()?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let lokt = packages.iter().find(|package| package["name"] == "lokt").context("no package lokt")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut dependencies = String::new();
    for dependency in lokt["dependencies"].as_array().into_iter().flatten() {
        let name = text(&dependency["name"]);
        if !code.contains(&format!("{}::", name.replace('-', "_"))) {
            continue;
        }
        // Also those that only tests use: one kind will do here.
        dependencies += &format!(
            "{name} = {{ version = \"{}\", default-features = {}, features = {} }}\n",
            text(&dependency["req"]),
            dependency["uses_default_features"],
            dependency["features"],
        );
    }
    Ok(format!(
        "[package]\nname = \"lokt-protocol\"\nversion = \"0.0.0\"\nedition = \"{}\"\npublish = false\n\n\
         [dependencies]\n{dependencies}\n[profile.dev]\ndebug = 0\n\n\
         # Not a member of the workspace around it.\n[workspace]\n",
        text(&lokt["edition"])
    ))
}

impl Protocol {
    fn count(outcomes: &str) -> anyhow::Result<Self> {
        let outcomes: Outcomes = serde_json::from_str(outcomes)?;
        let mut counted = Self { files: BTreeMap::new(), survivors: Vec::new() };
        for outcome in outcomes.outcomes {
            // Beside the mutants there is the unbroken crate, the "Baseline".
            let mutant = &outcome.scenario["Mutant"];
            let (Some(file), Some(name)) = (mutant["file"].as_str(), mutant["name"].as_str()) else {
                continue;
            };
            let file = file.trim_start_matches("src/").replace("lib.rs", "mod.rs");
            let count = counted.files.entry(file).or_default();
            match outcome.summary.as_str() {
                "CaughtMutant" => count.caught += 1,
                "Timeout" => count.timed_out += 1,
                "Unviable" => count.unviable += 1,
                "MissedMutant" => {
                    count.missed += 1;
                    counted.survivors.push(name.to_owned());
                }
                other => bail!("{name} is {other}, whatever that means"),
            }
        }
        match counted.sum().tried() {
            0 => bail!("there is no mutant in it"),
            _ => Ok(counted),
        }
    }

    fn sum(&self) -> Count {
        self.files.values().fold(Count::default(), |sum, file| Count {
            caught: sum.caught + file.caught,
            timed_out: sum.timed_out + file.timed_out,
            unviable: sum.unviable + file.unviable,
            missed: sum.missed + file.missed,
        })
    }

    pub fn passed(&self) -> bool {
        self.survivors.is_empty()
    }

    pub fn verdict(&self) -> String {
        let tried = self.sum().tried();
        match self.survivors.len() {
            0 => format!("its unit tests noticed each of {tried} mutants of the protocol"),
            n => format!("{n} of {tried} mutants of the protocol SURVIVED its unit tests"),
        }
    }

    pub fn figures(&self) -> Vec<Figure> {
        let sum = self.sum();
        vec![
            Figure::count("protocol_mutants", "mutants of the protocol", sum.tried()),
            Figure::count("protocol_caught", "noticed by its unit tests", sum.tried() - sum.missed),
        ]
    }

    pub fn tables(&self) -> Vec<Table> {
        let columns = ["file", "mutants", "noticed", "ran too long", "SURVIVED", "did not build"];
        let mut table = Table::new("Mutants of the protocol", &columns);
        let row = |name: &str, count: Count| {
            let numbers = [count.tried(), count.caught, count.timed_out, count.missed, count.unviable];
            [vec![name.to_owned()], numbers.map(stats::thousands).to_vec()].concat()
        };
        table.rows = self.files.iter().map(|(file, count)| row(file, *count)).collect();
        table.rows.push(row("all", self.sum()));
        let mut tables = vec![table];
        if !self.passed() {
            let mut survivors = Table::new("Survivors", &["what was changed"]);
            survivors.rows = self.survivors.iter().map(|name| vec![name.clone()]).collect();
            tables.push(survivors);
        }
        tables
    }
}

impl Count {
    /// How many there are that build; the others are no mistakes that anybody could ship.
    fn tried(self) -> u64 {
        self.caught + self.timed_out + self.missed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(mutants: &[(&str, &str)]) -> String {
        let mutants = mutants.iter().map(|(name, summary)| {
            format!(
                r#"{{"scenario": {{"Mutant": {{"file": "src/lib.rs", "name": "{name}"}}}}, "summary": "{summary}"}}"#
            )
        });
        let baseline = r#"{"scenario": "Baseline", "summary": "Success"}"#.to_owned();
        let all: Vec<String> = [baseline].into_iter().chain(mutants).collect();
        format!(r#"{{"outcomes": [{}], "missed": 1}}"#, all.join(", "))
    }

    #[test]
    fn survivors_are_counted_and_named() -> anyhow::Result<()> {
        let all = [("a", "CaughtMutant"), ("b", "MissedMutant"), ("c", "Unviable"), ("d", "Timeout")];
        let counted = Protocol::count(&outcomes(&all))?;
        assert!(!counted.passed());
        assert_eq!(counted.survivors, ["b"]);
        assert_eq!(counted.verdict(), "1 of 3 mutants of the protocol SURVIVED its unit tests");
        assert_eq!(counted.tables()[0].rows[0], ["mod.rs", "3", "1", "1", "1", "1"]);
        assert!(Protocol::count(&outcomes(&all[..1]))?.passed());
        Ok(())
    }

    #[test]
    fn nothing_that_was_tried_is_no_success() {
        assert!(Protocol::count(&outcomes(&[])).is_err());
        assert!(Protocol::count(&outcomes(&[("a", "Failure")])).is_err());
    }
}
