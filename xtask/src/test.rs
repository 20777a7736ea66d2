//! `cargo xtask test`: every test of the workspace once, then the doc tests, which nextest does not run. It tells which
//! could not be made here; where `CI=true`, it fails if they could have been, with a program installed.

use std::time::Instant;

use anyhow::bail;
use clap::Args;
use xshell::{Shell, cmd};

use crate::nextest::{self, Nextest};
use crate::{console, packages, paths, skipped};

/// The profile in `.config/nextest.toml`.
const PROFILE: &str = "ci";

#[derive(Args, Default)]
pub struct Test {
    /// Handed on to `cargo nextest run`, such as `-E 'test(renewal)'`
    #[arg(last = true, value_name = "NEXTEST ARGS")]
    nextest_args: Vec<String>,
}

impl Test {
    pub fn run(self, sh: &Shell) -> anyhow::Result<()> {
        let _workspace = sh.push_dir(paths::workspace());
        let started = Instant::now();
        let tests = self.tests(sh)?;
        let doc_tests = doc_tests(sh)?;

        console::heading("summary");
        console::line(&format!("tests      {}", tests.words));
        console::line(&format!("doc tests  {}", doc_tests.words));
        tests.skipped.iter().for_each(|why| console::line(&format!("skipped    {why}")));
        console::line(&format!("took       {:.0} s", started.elapsed().as_secs_f64()));
        if !(tests.passed && doc_tests.passed) {
            bail!("there are failed tests: see above");
        }
        if tests.needless > 0 {
            bail!("{} tests were skipped that need not have been: see above", tests.needless);
        }
        Ok(())
    }

    fn tests(&self, sh: &Shell) -> anyhow::Result<Outcome> {
        let nextest = Nextest::find_or_install(sh)?;
        let path = packages::path_with_etcd(sh)?;
        // What can't be installed here is told, and no failure.
        let complete = is_ci() && packages::install_tools(sh) && path.is_some();
        console::heading("tests");
        let junit = nextest::junit_path(&paths::workspace(), PROFILE);
        nextest::forget_junit(&junit)?;
        skipped::forget()?;
        let cmd =
            nextest.run(sh, PROFILE).arg("--workspace").args(["--no-input-handler"]).args(&self.nextest_args);
        let mut command = std::process::Command::from(cmd);
        command.envs(path.map(|path| ("PATH", path))).env(skipped::VARIABLE, skipped::file());
        let status = command.status()?;
        if !status.code().is_some_and(|code| nextest::EXIT_RAN.contains(&code)) {
            bail!("the tests did not run: see above for why");
        }
        let cases = nextest::read_junit(&junit)?;
        let skipped = skipped::read()?;
        let failed = cases.iter().filter(|case| case.failure.is_some()).count();
        Ok(Outcome {
            passed: status.success(),
            words: format!("{} passed, {failed} failed", cases.len() - failed),
            skipped: skipped::lines(&skipped),
            needless: if complete { skipped::needless(&skipped) } else { 0 },
        })
    }
}

struct Outcome {
    passed: bool,
    words: String,
    /// What was not made here, and why.
    skipped: Vec<String>,
    /// How many tests of that could have been, where that is a failure.
    needless: usize,
}

/// CI systems say so. Nobody looks there at what was skipped.
fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|ci| ci == "true")
}

fn doc_tests(sh: &Shell) -> anyhow::Result<Outcome> {
    console::heading("doc tests");
    let cmd = cmd!(sh, "cargo test --doc --workspace").quiet().ignore_status();
    let passed = std::process::Command::from(cmd).status()?.success();
    let words = if passed { "passed" } else { "failed" }.to_owned();
    Ok(Outcome { passed, words, skipped: Vec::new(), needless: 0 })
}
