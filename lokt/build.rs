//! Tells `lokt --version` which commit is built, as the variable `LOKT_VERSION`; the same source says the same. And
//! leaves out of the static program what it has no use for.
//!
//! Who builds without the repository says it with `LOKT_COMMIT` (empty: say nothing) and `SOURCE_DATE_EPOCH`. With
//! neither it is the version alone: nothing here fails a build.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a build script asks the environment and git, and answers Cargo"
)]

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// As many digits of the hash, whatever git would shorten it to in this repository.
const HASH: usize = 10;

/// What the program is made of, beside the registry's crates.
const SOURCES: [&str; 3] = ["lokt", "Cargo.toml", "Cargo.lock"];

fn main() {
    for variable in ["LOKT_COMMIT", "SOURCE_DATE_EPOCH"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let found = package.parent().and_then(Source::of_repository);
    let commit = match env::var("LOKT_COMMIT") {
        Ok(commit) => Some(commit).filter(|commit| !commit.is_empty()),
        Err(_) => found.as_ref().map(|found| found.commit.clone()),
    };
    let given = env::var("SOURCE_DATE_EPOCH").ok().and_then(|seconds| seconds.trim().parse().ok());
    let date = given.or(found.map(|found| found.seconds)).map(date_of);
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    println!("cargo:rustc-env=LOKT_VERSION={version}{}", words(commit, date));
    leave_out_unwinding(&package);
}

/// A release does not unwind; its tables would only make it larger. Who asks for debug information wants backtraces.
fn leave_out_unwinding(package: &Path) {
    let is = |variable, value: &str| env::var(variable).is_ok_and(|is| is == value);
    if is("CARGO_CFG_TARGET_ENV", "musl") && is("PROFILE", "release") && is("DEBUG", "false") {
        let script = package.join("static.ld");
        println!("cargo:rerun-if-changed={}", script.display());
        println!("cargo:rustc-link-arg-bins=-T{}", script.display());
    }
}

fn words(commit: Option<String>, date: Option<String>) -> String {
    match (commit, date) {
        (Some(commit), Some(date)) => format!(" (commit {commit}, {date})"),
        (Some(commit), None) => format!(" (commit {commit})"),
        (None, _) => String::new(),
    }
}

/// What git knows of the source.
struct Source {
    commit: String,
    /// When it was committed.
    seconds: i64,
}

impl Source {
    /// Nothing if `workspace` is no repository of its own: a copy of it may lie in somebody else's.
    fn of_repository(workspace: &Path) -> Option<Self> {
        let top = git(workspace, &["rev-parse", "--show-toplevel"])?;
        if Path::new(&top).canonicalize().ok()? != workspace.canonicalize().ok()? {
            return None;
        }
        watch(workspace);
        let head = git(workspace, &["log", "-1", "--format=%H %ct"])?;
        let (hash, seconds) = head.split_once(' ')?;
        let mut status = vec!["status", "--porcelain", "--"];
        status.extend(SOURCES);
        let is_clean = git(workspace, &status)?.is_empty();
        let mark = if is_clean { "" } else { "-dirty" };
        Some(Self { commit: format!("{}{mark}", hash.get(..HASH)?), seconds: seconds.parse().ok()? })
    }
}

/// Has Cargo ask again when there is another commit, or when the source is changed, and not before.
fn watch(workspace: &Path) {
    for source in SOURCES {
        println!("cargo:rerun-if-changed={}", workspace.join(source).display());
    }
    // Git writes a line into the log of HEAD for each commit and checkout. Where it keeps none, the branch tells.
    let branch = git(workspace, &["symbolic-ref", "-q", "HEAD"]);
    for file in ["HEAD", "logs/HEAD", "packed-refs"].into_iter().chain(branch.as_deref()) {
        let path = git(workspace, &["rev-parse", "--git-path", file]).map(|path| workspace.join(path));
        // Cargo would ask each time for what is not there.
        if let Some(path) = path.filter(|path| path.exists()) {
            println!("cargo:rerun-if-changed={}", path.display());
        }
    }
}

/// What git says, without its last line break; nothing if there is no git, or it fails.
fn git(dir: &Path, args: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    // A hook's variables name the repository that it runs for.
    for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        command.env_remove(variable);
    }
    let ran = command.arg("--no-optional-locks").args(args).current_dir(dir).output().ok()?;
    let said = ran.status.success().then(|| String::from_utf8(ran.stdout).ok()).flatten()?;
    Some(said.trim_end_matches('\n').to_owned())
}

/// The day of a time in seconds since 1970, in UTC (Howard Hinnant's `civil_from_days`).
fn date_of(seconds: i64) -> String {
    let days = seconds.div_euclid(86_400) + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months are counted from March, so that the leap day comes last.
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}
