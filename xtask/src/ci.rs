//! `cargo xtask ci`: the jobs of `ci/matrix.json`, on this machine as the CI runs them.
//!
//! The workflow in `.github/workflows/ci.yml` reads the same file and calls this task, so what a job does is
//! written here and nowhere else.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Args;
use serde::Deserialize;
use xshell::{Shell, cmd};

use crate::bench::Bench;
use crate::dist::Dist;
use crate::proof::Part;
use crate::race::{Race, Store, Ttl};
use crate::test::Test;
use crate::{UsageError, console, paths};

#[derive(Args)]
pub struct Ci {
    /// Only the job of this name [default: all that are for this operating system]
    #[arg(long, value_name = "NAME")]
    job: Option<String>,

    /// Show the jobs instead of running them
    #[arg(long, conflicts_with = "job")]
    list: bool,
}

/// `ci/matrix.json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Matrix {
    jobs: Vec<Job>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Job {
    name: String,
    os: Os,
    kind: Kind,
    /// For `race` and `sanitize`: the TTLs, and how many runs for each.
    #[serde(default)]
    ttl: Vec<Ttl>,
    runs: Option<u32>,
    /// For `race` and `soak`: where the locks are.
    #[serde(default)]
    store: Store,
    /// Run for what it tells: the workflow does not fail with it.
    #[serde(default)]
    #[expect(dead_code, reason = "read by the workflow; here it only has to be known")]
    may_fail: bool,
}

/// The runners of the CI, by their names there.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
enum Os {
    #[serde(rename = "ubuntu-latest")]
    Ubuntu,
    #[serde(rename = "macos-latest")]
    Macos,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Fmt,
    Clippy,
    Doc,
    Oldest,
    Test,
    Race,
    Sanitize,
    Sim,
    Faults,
    Soak,
    Fuzz,
    Mutants,
    Dist,
    Bench,
}

impl Ci {
    pub fn run(self, sh: &Shell) -> anyhow::Result<()> {
        let matrix = Matrix::read(&paths::workspace().join("ci/matrix.json"))?;
        if self.list {
            matrix.list();
            return Ok(());
        }
        let _workspace = sh.push_dir(paths::workspace());
        let _ci = sh.push_env("CI", "true");
        match self.job {
            Some(name) => matrix.find(&name)?.run(sh),
            None => matrix.run_ours(sh),
        }
    }
}

impl Matrix {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("failed to understand {}", path.display()))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let matrix: Self = serde_json::from_str(text)?;
        let mut names = HashSet::new();
        for job in &matrix.jobs {
            if !names.insert(&job.name) {
                bail!("two jobs are named {:?}", job.name);
            }
            job.check().with_context(|| format!("job {:?}", job.name))?;
        }
        Ok(matrix)
    }

    fn find(self, name: &str) -> anyhow::Result<Job> {
        let names: Vec<String> = self.jobs.iter().map(|job| job.name.clone()).collect();
        let job = self.jobs.into_iter().find(|job| job.name == name);
        job.ok_or_else(|| {
            UsageError(format!("no job is named {name:?}: there are {}", names.join(", "))).into()
        })
    }

    fn list(&self) {
        let width = self.jobs.iter().map(|job| job.name.len()).max().unwrap_or(0);
        for job in &self.jobs {
            console::line(&format!("{:width$}  {}", job.name, job.words()));
        }
    }

    /// All jobs for this operating system, and at the end how each went.
    fn run_ours(self, sh: &Shell) -> anyhow::Result<()> {
        let mut failed = Vec::new();
        for job in self.jobs.into_iter().filter(|job| job.os.is_this()) {
            let name = job.name.clone();
            if let Err(error) = job.run(sh) {
                console::error(&format!("{name}: {error:#}"));
                failed.push(name);
            }
        }
        if !failed.is_empty() {
            bail!("failed jobs: {}", failed.join(", "));
        }
        Ok(())
    }
}

impl Job {
    fn check(&self) -> anyhow::Result<()> {
        let races = matches!(self.kind, Kind::Race | Kind::Sanitize);
        if races && self.ttl.is_empty() {
            bail!("\"ttl\" is missing: say which TTLs it races, such as [\"2s\"]");
        }
        if !races && (!self.ttl.is_empty() || self.runs.is_some()) {
            bail!("\"ttl\" and \"runs\" are for the kinds race and sanitize");
        }
        if self.store == Store::Etcd && !matches!(self.kind, Kind::Race | Kind::Soak) {
            bail!("\"store\" is for the kinds race and soak");
        }
        if self.runs == Some(0) {
            bail!("\"runs\" must be 1 or more");
        }
        Ok(())
    }

    fn run(self, sh: &Shell) -> anyhow::Result<()> {
        console::heading(&format!("{}: {}", self.name, self.words()));
        if !self.os.is_this() {
            console::note(&format!("this job is for {:?}; running it here all the same", self.os));
        }
        let started = Instant::now();
        match self.kind {
            Kind::Fmt => cmd!(sh, "cargo fmt --all --check").run()?,
            Kind::Clippy => clippy(sh)?,
            Kind::Doc => cmd!(sh, "cargo doc --workspace --no-deps --locked")
                .env("RUSTDOCFLAGS", "-D warnings")
                .run()?,
            Kind::Oldest => oldest(sh)?,
            Kind::Test => Test::default().run(sh)?,
            Kind::Race => Race::of(self.ttl, self.runs, self.store, false).run(sh)?,
            Kind::Sim => prove(Part::Sim, sh)?,
            Kind::Faults => prove(Part::Faults, sh)?,
            Kind::Soak if self.store == Store::Etcd => prove(Part::SoakEtcd, sh)?,
            Kind::Soak => prove(Part::Soak, sh)?,
            Kind::Fuzz => prove(Part::Fuzz, sh)?,
            Kind::Mutants => prove(Part::Mutants, sh)?,
            Kind::Dist => Dist::trial().run(sh)?,
            Kind::Bench => Bench::small().run(sh)?,
            Kind::Sanitize => Race::of(self.ttl, self.runs, Store::Dir, true).run(sh)?,
        }
        console::note(&format!("{}: passed in {:.0} s", self.name, started.elapsed().as_secs_f64()));
        Ok(())
    }

    fn words(&self) -> String {
        let ttls: Vec<&str> = self.ttl.iter().map(|ttl| ttl.label.as_str()).collect();
        let mut words = format!("{:?} on {:?}", self.kind, self.os).to_lowercase();
        if self.store == Store::Etcd {
            words += ", locks on an etcd";
        }
        if !ttls.is_empty() {
            words += &format!(", TTL {}", ttls.join(","));
        }
        if let Some(runs) = self.runs {
            words += &format!(", {runs} runs");
        }
        words
    }
}

/// The lints, also of what is built without the store on an etcd, or without TLS to it.
fn clippy(sh: &Shell) -> anyhow::Result<()> {
    cmd!(sh, "cargo clippy --workspace --all-targets --locked -- -D warnings").run()?;
    for features in ["", "etcd"] {
        cmd!(sh, "cargo clippy --package lokt --all-targets --locked --no-default-features --features={features} -- -D warnings")
            .run()?;
    }
    Ok(())
}

/// Whether the oldest Rust that `Cargo.toml` promises still understands everything that people build themselves.
fn oldest(sh: &Shell) -> anyhow::Result<()> {
    let version = env!("CARGO_PKG_RUST_VERSION");
    // Another compiler, other objects.
    let dir = paths::target().join("oldest");
    let found =
        cmd!(sh, "rustup run {version} rustc --version").quiet().ignore_stdout().ignore_stderr().run();
    if found.is_err() {
        cmd!(sh, "rustup toolchain install {version} --profile minimal --no-self-update").run()?;
    }
    cmd!(sh, "rustup run {version} cargo check --workspace --locked --target-dir {dir}")
        // A toolchain that was chosen for this program would go before.
        .env_remove("RUSTUP_TOOLCHAIN")
        .run()
        .with_context(|| format!("it does not build with Rust {version}, the rust-version in Cargo.toml"))
}

/// One part of the proof, at the size of CI.
fn prove(part: Part, sh: &Shell) -> anyhow::Result<()> {
    part.measure(sh)?.conclude()
}

impl Os {
    fn is_this(self) -> bool {
        match self {
            Self::Ubuntu => cfg!(target_os = "linux"),
            Self::Macos => cfg!(target_os = "macos"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(jobs: &str) -> Result<Matrix, String> {
        Matrix::parse(&format!("{{\"jobs\": [{jobs}]}}")).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn the_matrix_of_this_repository_is_valid() -> anyhow::Result<()> {
        let matrix = Matrix::read(&paths::workspace().join("ci/matrix.json"))?;
        let has = |os, kind| matrix.jobs.iter().any(|job| job.os == os && job.kind == kind);
        for os in [Os::Ubuntu, Os::Macos] {
            assert!(has(os, Kind::Test) && has(os, Kind::Race), "{os:?} is not tested");
        }
        for kind in [Kind::Race, Kind::Soak] {
            let on_etcd = |job: &Job| job.kind == kind && job.store == Store::Etcd;
            assert!(matrix.jobs.iter().any(on_etcd), "no job for {kind:?} on an etcd");
        }
        for kind in [
            Kind::Oldest,
            Kind::Sim,
            Kind::Faults,
            Kind::Soak,
            Kind::Fuzz,
            Kind::Mutants,
            Kind::Dist,
            Kind::Bench,
        ] {
            assert!(has(Os::Ubuntu, kind), "no job for {kind:?}");
        }
        Ok(())
    }

    #[test]
    fn mistakes_in_the_matrix_are_named() {
        let fmt = r#"{"name": "fmt", "os": "ubuntu-latest", "kind": "fmt"}"#;
        let mistakes = [
            (fmt.replace("\"fmt\"}", "\"fnt\"}"), "unknown variant `fnt`, expected one of `fmt`"),
            (fmt.replace("ubuntu", "beos"), "unknown variant `beos-latest`"),
            (format!("{fmt}, {fmt}"), "two jobs are named \"fmt\""),
            (fmt.replace("\"kind\": \"fmt\"", "\"kind\": \"race\""), "job \"fmt\": \"ttl\" is missing"),
            (fmt.replace('}', ", \"ttl\": [\"2s\"]}"), "are for the kinds race and sanitize"),
            (fmt.replace('}', ", \"store\": \"etcd\"}"), "\"store\" is for the kinds race and soak"),
            (fmt.replace('}', ", \"store\": \"disk\"}"), "unknown variant `disk`"),
            (fmt.replace('}', ", \"ttl\": [\"2\"]}"), "write a whole number with a unit"),
            (fmt.replace('}', ", \"tll\": [\"2s\"]}"), "unknown field `tll`"),
        ];
        for (jobs, words) in mistakes {
            let error = parse(&jobs).err().unwrap_or_default();
            assert!(error.contains(words), "{jobs}: {error:?} does not say {words:?}");
        }
    }
}
