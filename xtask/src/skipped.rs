//! The tests that were not made on this machine, as `tests/src/skipped.rs` writes them down.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use serde::Deserialize;

use crate::paths;

/// Names the file to the tests.
pub const VARIABLE: &str = "LOKT_SKIPPED";

/// Programs that a CI system need not have. On Linux all others that a test asks for can be had; elsewhere some exist for
/// Linux only.
const NEED_NOT_BE: &[&str] = if cfg!(target_os = "linux") {
    &["zsh", "fish"]
} else {
    &["zsh", "fish", "strace", "unshare", "setpriv", "ip", "etcd"]
};

/// One test, or a part of it, that was not made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Skipped {
    pub test: String,
    /// The program that was not there; without one, the machine does not have or does not allow something.
    pub program: Option<String>,
    pub why: String,
}

impl Skipped {
    /// Whether it may be, where all is to be tried that can be.
    fn may_be(&self) -> bool {
        self.program.as_ref().is_none_or(|program| NEED_NOT_BE.contains(&program.as_str()))
    }
}

pub fn file() -> PathBuf {
    paths::target().join("skipped.jsonl")
}

/// Forgets what an earlier run has left.
pub fn forget() -> anyhow::Result<()> {
    fs::create_dir_all(paths::target())?;
    let file = file();
    fs::write(&file, "").with_context(|| format!("failed to write {}", file.display()))
}

/// Each once.
pub fn read() -> anyhow::Result<BTreeSet<Skipped>> {
    let file = file();
    let text = fs::read_to_string(&file).with_context(|| format!("failed to read {}", file.display()))?;
    parse(&text).with_context(|| format!("failed to understand {}", file.display()))
}

fn parse(text: &str) -> anyhow::Result<BTreeSet<Skipped>> {
    Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// A line for each reason, with the tests that it kept.
pub fn lines(skipped: &BTreeSet<Skipped>) -> Vec<String> {
    let mut reasons: BTreeMap<(bool, &str), Vec<&str>> = BTreeMap::new();
    for one in skipped {
        reasons.entry((one.may_be(), &one.why)).or_default().push(&one.test);
    }
    let line = |((may_be, why), tests): (&(bool, &str), &Vec<&str>)| {
        let needless = if *may_be { "" } else { ", which could be installed" };
        format!("{why}{needless}: {}", tests.join(", "))
    };
    reasons.iter().map(line).collect()
}

/// Of how many tests it was only for want of a program that can be had.
pub fn needless(skipped: &BTreeSet<Skipped>) -> usize {
    let tests: BTreeSet<&str> =
        skipped.iter().filter(|one| !one.may_be()).map(|one| one.test.as_str()).collect();
    tests.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"test":"a","program":null,"why":"no namespaces"}
{"test":"b","program":"zsh","why":"there is no zsh here"}
{"test":"b","program":null,"why":"no namespaces"}
{"test":"b","program":null,"why":"no namespaces"}
"#;

    #[test]
    fn what_the_machine_forbids_is_told_once_and_may_be() -> anyhow::Result<()> {
        let skipped = parse(TEXT)?;
        assert_eq!(needless(&skipped), 0);
        assert_eq!(lines(&skipped), ["no namespaces: a, b", "there is no zsh here: b"]);
        Ok(())
    }

    #[test]
    fn what_could_have_been_installed_may_not_be() -> anyhow::Result<()> {
        let line = r#"{"test":"c","program":"git","why":"there is no git here"}"#;
        let skipped = parse(&format!("{TEXT}{line}\n"))?;
        assert_eq!(needless(&skipped), 1);
        assert_eq!(lines(&skipped)[0], "there is no git here, which could be installed: c");
        Ok(())
    }

    #[test]
    fn half_a_line_is_an_error() {
        assert!(parse(&TEXT[..TEXT.len() - 9]).is_err());
    }
}
