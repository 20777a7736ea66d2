//! The named mutants: patches in `tests/mutants`, each with a header that says what the mistake is.
//!
//! A header has a field a line, and lines that go on are indented:
//!
//! | field | what it says |
//! | --- | --- |
//! | `mistake` | what is wrong |
//! | `why` | why somebody would write it |
//! | `breaks` | the promise that it breaks |
//! | `target` | where its tests are: a test target of `tests`, or `lib` for the unit tests of lokt |
//! | `tests` | the tests that must notice it, by commas |
//! | `order` | `yes` if it is a matter of interleaving, which the simulator must find |

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use xshell::{Shell, cmd};

use crate::paths;

/// A broken version of lokt.
#[derive(Debug, Clone, PartialEq)]
pub struct Mutant {
    /// The file's name without its ending.
    pub name: String,
    pub patch: PathBuf,
    pub mistake: String,
    pub breaks: String,
    /// Where its tests are.
    pub target: String,
    pub tests: Vec<String>,
    /// Whether it is a matter of interleaving.
    pub order: bool,
}

impl Mutant {
    /// All of them, by name.
    pub fn all() -> anyhow::Result<Vec<Self>> {
        let dir = paths::workspace().join("tests/mutants");
        let entries = fs::read_dir(&dir).with_context(|| format!("failed to read {}", dir.display()))?;
        let files = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<PathBuf>>>()?;
        let patches = files.iter().filter(|file| file.extension().is_some_and(|end| end == "patch"));
        let mut all = patches.map(|file| Self::read(file)).collect::<anyhow::Result<Vec<Self>>>()?;
        all.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(all)
    }

    fn read(patch: &Path) -> anyhow::Result<Self> {
        let text =
            fs::read_to_string(patch).with_context(|| format!("failed to read {}", patch.display()))?;
        Self::parse(patch, &text).with_context(|| format!("the header of {}", patch.display()))
    }

    fn parse(patch: &Path, text: &str) -> anyhow::Result<Self> {
        let mut header = Header(fields(text)?);
        let mutant = Self {
            name: patch.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            patch: patch.to_owned(),
            mistake: header.take("mistake")?,
            breaks: header.take("breaks")?,
            target: header.take("target")?,
            tests: header.take("tests")?.split(',').map(|test| test.trim().to_owned()).collect(),
            order: match header.take("order").ok().as_deref() {
                None => false,
                Some("yes") => true,
                Some(other) => bail!("order is \"yes\" or left out, not {other:?}"),
            },
        };
        header.take("why")?;
        match header.0.first() {
            Some((unknown, _)) => bail!("an unknown field, {unknown:?}"),
            None => Ok(mutant),
        }
    }

    /// `git apply`, to be completed and run in the tree that is to be broken, which need not be a repository.
    pub fn apply<'a>(&self, sh: &'a Shell) -> xshell::Cmd<'a> {
        let patch = &self.patch;
        // In a directory of a larger repository, git would look for the files from that one's top, and skip them.
        let ceiling = sh.current_dir().parent().map(Path::to_owned).unwrap_or_default();
        cmd!(sh, "git apply {patch}")
            .env("GIT_CEILING_DIRECTORIES", ceiling)
            .env_remove("GIT_DIR")
            .env_remove("GIT_WORK_TREE")
            .quiet()
    }

    /// The files that it changes.
    pub fn files(&self) -> anyhow::Result<Vec<String>> {
        let text = fs::read_to_string(&self.patch)?;
        let files: Vec<String> =
            text.lines().filter_map(|line| line.strip_prefix("+++ b/")).map(str::to_owned).collect();
        if files.is_empty() {
            bail!("{} changes no file", self.patch.display());
        }
        Ok(files)
    }
}

struct Header(Vec<(String, String)>);

impl Header {
    fn take(&mut self, field: &str) -> anyhow::Result<String> {
        let at = self.0.iter().position(|(name, text)| name == field && !text.is_empty());
        let at = at.with_context(|| format!("\"{field}: …\" is missing"))?;
        Ok(self.0.remove(at).1)
    }
}

/// The fields before the diff, in their order.
fn fields(text: &str) -> anyhow::Result<Vec<(String, String)>> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in text.lines().take_while(|line| !line.starts_with("--- ")).filter(|line| !line.is_empty()) {
        match (line.strip_prefix(' '), line.split_once(':'), fields.last_mut()) {
            (Some(more), _, Some((_, text))) => *text = format!("{text} {}", more.trim()),
            (None, Some((name, text)), _) => fields.push((name.to_owned(), text.trim().to_owned())),
            _ => bail!("neither a field nor a line that goes on: {line:?}"),
        }
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str = "mistake: It forgets\n    the mutex.\nwhy: It is late.\nbreaks: 1: exclusion\n\
        target: leases\ntests: one, two::three\norder: yes\n\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-tests: a\n+b\n";

    fn parse(text: &str) -> anyhow::Result<Mutant> {
        Mutant::parse(Path::new("tests/mutants/late.patch"), text)
    }

    #[test]
    fn a_header_is_read_up_to_the_diff() -> anyhow::Result<()> {
        let mutant = parse(PATCH)?;
        assert_eq!(mutant.name, "late");
        assert_eq!(mutant.mistake, "It forgets the mutex.");
        assert_eq!((mutant.target.as_str(), mutant.order), ("leases", true));
        assert_eq!(mutant.tests, ["one", "two::three"]);
        assert!(!parse(&PATCH.replace("order: yes\n", ""))?.order);
        Ok(())
    }

    #[test]
    fn a_header_with_a_mistake_is_refused() {
        for (from, to, why) in [
            ("why: It is late.\n", "", "\"why: …\" is missing"),
            ("tests: one, two::three\n", "", "\"tests: …\" is missing"),
            ("order: yes", "order: no", "not \"no\""),
            ("order", "ordered", "unknown field, \"ordered\""),
            ("why: It is late.", "It is late", "neither a field"),
        ] {
            let error = parse(&PATCH.replacen(from, to, 1)).err().map(|error| format!("{error:#}"));
            assert!(error.as_ref().is_some_and(|error| error.contains(why)), "{why}: {error:?}");
        }
    }

    /// Patches rot when the code moves on, and a test may get another name.
    #[test]
    fn every_patch_applies_to_the_tree_and_names_tests_that_exist() -> anyhow::Result<()> {
        let sh = Shell::new()?;
        sh.change_dir(paths::workspace());
        let mutants = Mutant::all()?;
        assert!(mutants.len() >= 17, "the patches were found");
        for mutant in mutants {
            let checked = mutant.apply(&sh).arg("--check").ignore_status().output()?;
            let said = String::from_utf8_lossy(&checked.stderr);
            assert!(checked.status.success(), "{} does not apply any more: {said}", mutant.name);
            let dir = if mutant.target == "lib" { "lokt/src" } else { "tests" };
            for test in &mutant.tests {
                let function = format!("fn {}()", test.rsplit("::").next().unwrap_or(test));
                let found = cmd!(sh, "grep -rqF --include=*.rs {function} {dir}").quiet().run();
                assert!(found.is_ok(), "{}: there is no test {test} in {dir}", mutant.name);
            }
        }
        Ok(())
    }
}
