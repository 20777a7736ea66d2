//! `cargo xtask dist`: what a release consists of for this machine: an archive, a Debian package, their checksums.
//!
//! All of it depends on the source and the compiler alone: built twice, anywhere, it is the same, byte for byte.
//! `docs/releasing.md` says how to see for oneself.

mod archive;
pub mod build;
mod deb;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Args;
use sha2::{Digest, Sha256};
use xshell::{Shell, cmd};

use self::archive::Entry;
use self::build::Program;
use crate::source::Source;
use crate::{console, man, paths};

/// The program has to stay smaller than this: people put it in front of every build. Without the store on etcd
/// it has less than 2,000,000; TLS is most of the rest.
pub const LARGEST: u64 = 3_100_000;

/// The shells with a completion script, and how its file is named where that shell looks for it.
const SHELLS: [(&str, &str); 3] = [("bash", "lokt.bash"), ("zsh", "_lokt"), ("fish", "lokt.fish")];

/// What the archive takes from the repository as it is.
const PAPERS: [&str; 4] = ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE"];

#[derive(Args, Default)]
pub struct Dist {
    /// Where to put it [default: target/dist]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Leave the Debian package out
    #[arg(long)]
    no_deb: bool,

    /// Try it with changes that are in no commit
    #[arg(long)]
    dirty: bool,

    /// Fail unless this tag is the version's, and the changelog has something to say of it
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
}

impl Dist {
    /// Whether a release could be made of what is there now.
    pub fn trial() -> Self {
        Self { dirty: true, ..Self::default() }
    }

    pub fn run(self, sh: &Shell) -> anyhow::Result<()> {
        let out = std::path::absolute(self.out.clone().unwrap_or_else(|| paths::target().join("dist")))?;
        let _workspace = sh.push_dir(paths::workspace());
        if !self.dirty {
            Source::must_be_committed(sh)?;
        }
        let source = Source::of_workspace(sh)?;
        if let Some(tag) = &self.tag {
            check_tag(tag, &source.version, &fs::read_to_string(paths::workspace().join("CHANGELOG.md"))?)?;
        }
        fs::create_dir_all(&out).with_context(|| format!("failed to create {}", out.display()))?;

        console::heading("program");
        let program = Program::build(sh)?;
        check(sh, &program, &source)?;

        console::heading("packages");
        let pages = man::pages(&source)?;
        let scripts = completions(sh, &program.path)?;
        let mut made = vec![archived(&program, &source, &pages, &scripts, &out)?];
        if !self.no_deb && program.target.contains("linux") {
            made.push(deb::package(sh, &program, &source, &pages, &scripts, &out)?);
        }
        made.push(checksums(&made, &out, &program.target)?);
        made.iter().try_for_each(|file| tell(file))
    }
}

/// A tag that says something else than what it stands for would be noticed too late.
fn check_tag(tag: &str, version: &str, changelog: &str) -> anyhow::Result<()> {
    ensure!(tag == format!("v{version}"), "the tag {tag} is not v{version}, the version in Cargo.toml");
    let heading = format!("## {version}");
    let is_of_it =
        |line: &str| line.strip_prefix(&heading).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
    ensure!(changelog.lines().any(is_of_it), "CHANGELOG.md has no section \"{heading}\"");
    Ok(())
}

/// A program that is not what it should be must not be released.
fn check(sh: &Shell, program: &Program, source: &Source) -> anyhow::Result<()> {
    let path = &program.path;
    let version = cmd!(sh, "{path} --version").quiet().read().context("the program does not run here")?;
    let size = fs::metadata(path)?.len();
    // Whoever wants to build the same needs to know with what.
    let rustc = cmd!(sh, "rustc --version").quiet().read()?;
    console::note(&format!("{version}, {}, {size} bytes, by {rustc}", program.target));
    ensure!(version.starts_with(&format!("lokt {}", source.version)), "the program is another version");
    ensure!(size < LARGEST, "the program is larger than {LARGEST} bytes");
    program.must_be_static()
}

/// Each shell's script, under its file's name.
fn completions(sh: &Shell, program: &Path) -> anyhow::Result<Vec<(&'static str, Vec<u8>)>> {
    SHELLS
        .into_iter()
        .map(|(shell, file)| {
            let script = cmd!(sh, "{program} completions {shell}").quiet().output()?.stdout;
            Ok((file, script))
        })
        .collect()
}

fn archived(
    program: &Program,
    source: &Source,
    pages: &[man::Page],
    scripts: &[(&str, Vec<u8>)],
    out: &Path,
) -> anyhow::Result<PathBuf> {
    let name = format!("lokt-{}-{}", source.version, program.target);
    let mut entries = vec![Entry::program("lokt", fs::read(&program.path)?)];
    for paper in PAPERS {
        entries.push(Entry::text(paper, fs::read(paths::workspace().join(paper))?));
    }
    entries.extend(
        pages.iter().map(|page| Entry::text(format!("man/man1/{}", page.file), page.text.as_bytes())),
    );
    entries.extend(
        scripts.iter().map(|(file, script)| Entry::text(format!("completions/{file}"), script.as_slice())),
    );
    let path = out.join(format!("{name}.tar.gz"));
    fs::write(&path, archive::pack(&name, entries, source.seconds)?)
        .with_context(|| format!("failed to write {}", path.display()))?;
    Ok(path)
}

/// The checksums, in the form that `sha256sum --check` reads.
fn checksums(files: &[PathBuf], out: &Path, target: &str) -> anyhow::Result<PathBuf> {
    let mut text = String::new();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        text.push_str(&format!("{}  {name}\n", sha256(&fs::read(file)?)));
    }
    // Several targets' files come to lie beside each other.
    let path = out.join(format!("SHA256SUMS-{target}"));
    fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))?;
    Ok(path)
}

fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn tell(file: &Path) -> anyhow::Result<()> {
    console::line(&format!("{:>9}  {}", fs::metadata(file)?.len(), file.display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_that_of_sha256sum() {
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn a_tag_has_to_be_the_versions_and_in_the_changelog() {
        let wrong = |tag: &str, changelog: &str| {
            check_tag(tag, "1.2.0", changelog).err().map(|error| error.to_string())
        };
        assert_eq!(wrong("v1.2.0", "# Changelog\n\n## 1.2.0 (today)\n"), None);
        assert!(wrong("v1.2.1", "## 1.2.0\n").unwrap().contains("is not v1.2.0"));
        assert!(wrong("1.2.0", "## 1.2.0\n").is_some());
        assert!(wrong("v1.2.0", "## Unreleased\n## 1.2.01\n").unwrap().contains("no section"));
    }

    #[test]
    fn checksums_are_listed_as_sha256sum_reads_them() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("lokt.tar.gz");
        fs::write(&file, "abc").unwrap();
        let list = checksums(&[file], dir.path(), "here").unwrap();
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  lokt.tar.gz\n";
        assert_eq!(fs::read_to_string(list).unwrap(), expected);
    }
}
