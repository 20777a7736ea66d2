//! The test runner: find or install it, build its command lines, read the JUnit file that it leaves.

use std::path::{Path, PathBuf};

use anyhow::Context;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus};
use xshell::{Cmd, Shell, cmd};

use crate::tools::Tool;

/// The exit codes of nextest that mean "the tests ran": all passed, or some failed.
/// Any other: they did not even start (<https://docs.rs/nextest-metadata>, `NextestExitCode`).
pub const EXIT_RAN: [i32; 2] = [0, 100];

const NEXTEST: Tool =
    Tool { name: "cargo-nextest", what: "the test runner", site: "https://nexte.st/docs/installation" };

/// nextest, found on this machine.
pub struct Nextest {
    program: PathBuf,
}

impl Nextest {
    /// Finds nextest where people have it, or installs it beside the build output.
    pub fn find_or_install(sh: &Shell) -> anyhow::Result<Self> {
        Ok(Self { program: NEXTEST.find_or_install(sh)? })
    }

    /// `cargo nextest run --profile PROFILE`, to be completed.
    pub fn run<'a>(&self, sh: &'a Shell, profile: &str) -> Cmd<'a> {
        let program = &self.program;
        cmd!(sh, "{program} nextest run --profile {profile}").quiet().ignore_status()
    }
}

/// Where nextest leaves the JUnit file of a profile: below the workspace, whatever the target directory.
pub fn junit_path(workspace: &Path, profile: &str) -> PathBuf {
    workspace.join("target/nextest").join(profile).join("junit.xml")
}

/// Removes the JUnit file of an earlier run, so that it can't be taken for the one to come.
pub fn forget_junit(path: &Path) -> anyhow::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("failed to remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// What nextest has to say about one test.
pub struct Case {
    /// The test's name, without its binary.
    pub name: String,
    pub seconds: f64,
    /// Why the test failed, if it did.
    pub failure: Option<String>,
    /// The output of a test that failed, stdout before stderr.
    pub output: String,
}

/// Reads a JUnit file as nextest writes it.
pub fn read_junit(path: &Path) -> anyhow::Result<Vec<Case>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))?;
    let report = Report::deserialize_from_str(&text).with_context(|| {
        format!("failed to understand {}: is it from another version of nextest?", path.display())
    })?;
    Ok(report.test_suites.into_iter().flat_map(|suite| suite.test_cases).map(Case::from).collect())
}

impl From<TestCase> for Case {
    fn from(case: TestCase) -> Self {
        let output = [&case.system_out, &case.system_err].into_iter().flatten();
        Self {
            name: case.name.to_string(),
            seconds: case.time.unwrap_or_default().as_secs_f64(),
            output: output.map(|text| text.as_str().trim()).collect::<Vec<_>>().join("\n").trim().to_owned(),
            failure: failure(case.status),
        }
    }
}

fn failure(status: TestCaseStatus) -> Option<String> {
    let TestCaseStatus::NonSuccess { kind, message, ty, .. } = status else {
        return None;
    };
    let said = message.or(ty).map(|text| text.to_string());
    Some(said.unwrap_or_else(|| match kind {
        NonSuccessKind::Failure => "failed".to_owned(),
        NonSuccessKind::Error => "could not be run".to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const JUNIT: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="nextest-run" tests="3" skipped="0" failures="2" errors="0" time="1.367">
  <testsuite name="lokt-tests::contention" tests="3" skipped="0" errors="0" failures="2">
    <testcase name="one" classname="lokt-tests::contention" time="0.913">
      <failure message="process aborted with signal 6 (SIGABRT)" type="test abort">again</failure>
      <system-out>running 1 test
</system-out>
      <system-err>it&apos;s gone
</system-err>
    </testcase>
    <testcase name="two" classname="lokt-tests::contention" time="0.920"/>
    <testcase name="three" classname="lokt-tests::contention" time="1.366">
      <failure type="test failure with exit code 101"/>
    </testcase>
  </testsuite>
</testsuites>"#;

    #[test]
    fn a_junit_file_tells_who_failed_and_why() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("junit.xml");
        std::fs::write(&path, JUNIT)?;
        let cases = read_junit(&path)?;

        let failures: Vec<_> = cases.iter().map(|case| case.failure.as_deref()).collect();
        let abort = Some("process aborted with signal 6 (SIGABRT)");
        assert_eq!(failures, [abort, None, Some("test failure with exit code 101")]);
        assert_eq!(cases[0].output, "running 1 test\nit's gone");
        Ok(())
    }
}
