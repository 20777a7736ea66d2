//! House rules: what a reader relies on, checked.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test ends at the first surprise"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// The files that are tests as a whole: of the tables in `docs/protocol.md`.
const TABLES: [&str; 2] = ["lokt/src/protocol/table.rs", "lokt/src/protocol/together.rs"];

/// Where to ask whether a file is two rooms.
const LONG_FILE: usize = 460;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: impl AsRef<Path>) -> String {
    let path = repository().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every Rust file of the workspace, by its path in the repository.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut dirs: Vec<PathBuf> = ["lokt", "tests", "xtask"].map(|dir| repository().join(dir)).into();
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(repository()).unwrap().display().to_string();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(found.len() > 40, "the sources were found");
    found
}

#[test]
fn every_file_says_first_what_it_is() {
    let silent: Vec<_> =
        sources().into_iter().filter(|(_, text)| !text.starts_with("//! ")).map(|(name, _)| name).collect();
    assert!(silent.is_empty(), "no first line that says what the file is: {silent:?}");
}

#[test]
fn no_file_needs_a_map() {
    let long: Vec<_> = sources()
        .into_iter()
        .map(|(name, text)| (name, text.lines().count()))
        .filter(|(_, lines)| *lines > LONG_FILE)
        .collect();
    assert!(long.is_empty(), "is it two rooms? {long:?}");
}

#[test]
fn the_program_does_not_panic_on_purpose() {
    let ways = [".unwrap()", ".expect(", "panic!(", "unreachable!(", "todo!(", "unimplemented!("];
    let shipped = |name: &str| name.starts_with("lokt/src") && !TABLES.contains(&name);
    for (name, text) in sources().iter().filter(|(name, _)| shipped(name)) {
        let shipped = text.split("#[cfg(test)]").next().unwrap();
        for (number, line) in
            shipped.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"))
        {
            let way = ways.iter().find(|way| line.contains(**way));
            assert!(way.is_none(), "{name}:{}: {line}", number + 1);
        }
    }
}

#[test]
fn the_protocol_knows_no_effects() {
    for (name, text) in sources().iter().filter(|(name, _)| name.starts_with("lokt/src/protocol")) {
        for effect in [
            "std::fs",
            "std::env",
            "std::io",
            "std::process",
            "std::thread",
            "rustix",
            "fs2",
            "clap",
            "crate::",
        ] {
            let used = text.lines().any(|line| !line.trim_start().starts_with("//") && line.contains(effect));
            assert!(!used, "{name} uses {effect}");
        }
    }
}

/// The words of a page that are set as code, but for whole blocks.
fn in_code(page: &str) -> Vec<String> {
    let text: String = read(page).split("```").step_by(2).collect();
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_architecture_is_that_of_the_sources() {
    let page = read("docs/architecture.md");
    for entry in fs::read_dir(repository().join("lokt/src")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let room =
            if entry.path().is_dir() { format!("lokt/src/{name}/") } else { format!("lokt/src/{name}") };
        assert!(page.contains(&room), "{room} is not in docs/architecture.md");
    }
    let code = in_code("docs/architecture.md");
    let places: Vec<_> = code.iter().filter(|word| word.contains('/') && !word.contains(' ')).collect();
    assert!(places.len() > 20, "the page says where things are");
    for place in places {
        let mut rooms = ["", "lokt/src", "lokt/src/cli"].iter().map(|room| repository().join(room));
        assert!(rooms.any(|room| room.join(place).exists()), "there is no {place}");
    }
}

#[test]
fn every_variable_that_is_read_is_in_the_man_pages() {
    let facts = read("xtask/src/man/facts.rs");
    let mut seen = 0;
    for (name, text) in sources().iter().filter(|(name, _)| name.starts_with("lokt/src")) {
        for call in ["environment(\"LOKT_", "environment_path(\"LOKT_"] {
            for rest in text.split(call).skip(1) {
                let variable = format!("LOKT_{}", rest.split('"').next().unwrap());
                assert!(facts.contains(&format!("\"{variable}\"")), "{name} reads {variable}");
                seen += 1;
            }
        }
    }
    assert!(seen > 5, "they are read");
}

#[test]
fn every_row_of_the_protocols_table_has_its_test() {
    let tests = TABLES.map(read).concat();
    let page = read("docs/protocol.md");
    let rows: Vec<&str> = page.split('`').filter(|word| word.starts_with("row_")).collect();
    assert!(rows.len() > 8, "the rows name their tests");
    for row in rows {
        assert!(tests.contains(&format!("fn {row}()")), "{row} is missing");
    }
}

#[test]
fn the_changelog_has_something_to_say_of_this_version() {
    let text = read("CHANGELOG.md");
    let (title, section) = text.split_once("\n## ").and_then(|(_, rest)| rest.split_once('\n')).unwrap();
    assert!(["Unreleased", env!("CARGO_PKG_VERSION")].contains(&title.split(' ').next().unwrap()), "{title}");
    let own = section.split("\n## ").next().unwrap();
    assert!(own.lines().any(|line| line.starts_with("- ")), "nothing under {title}");
}
