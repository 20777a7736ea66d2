//! Which commands of a project run under a lock: found in the text of its scripts. Pure; the files are read by
//! [`crate::host`].

mod recipes;
mod shell;

use crate::host::ScriptFile;
use crate::words;

/// What is run by one of these may be anything.
const SHELLS: [&str; 8] = ["sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "fish"];

/// A command that must be typed is no longer than this.
const LONGEST: usize = 160;

/// A command of the project that runs under a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Guarded {
    /// Under which lock.
    pub(crate) lock: String,
    /// What to type, in the project's directory.
    pub(crate) run: String,
    /// The bare command, which is not to be typed; `None` if it guards whatever command it is given.
    pub(crate) instead_of: Option<String>,
}

/// What there is to know beside the scripts.
pub(crate) struct Setting<'a> {
    /// The options of `lokt guard` that take a value, without dashes.
    pub(crate) valued: &'a [String],
    /// What runs the scripts of a `package.json`.
    pub(crate) package_manager: &'a str,
}

/// The commands under locks, each once.
pub(crate) fn find(files: &[ScriptFile], setting: &Setting<'_>) -> Vec<Guarded> {
    let mut found: Vec<Guarded> = Vec::new();
    for guarded in files.iter().flat_map(|file| in_file(file, setting)) {
        let fits = guarded.run.len() <= LONGEST && !guarded.run.chars().any(words::is_obeyed);
        if fits && !found.contains(&guarded) {
            found.push(guarded);
        }
    }
    found
}

fn in_file(file: &ScriptFile, setting: &Setting<'_>) -> Vec<Guarded> {
    let sources = match file.path.as_str() {
        "GNUmakefile" | "makefile" | "Makefile" => recipes::make(&file.text),
        "justfile" | "Justfile" | ".justfile" => recipes::just(&file.text),
        "package.json" => recipes::package(&file.text, setting.package_manager),
        path => script(path, file).into_iter().collect(),
    };
    let guarded = |(run, text): (String, String)| {
        let guards = shell::guards(&text, setting.valued);
        guards.into_iter().map(move |guard| match guard.command {
            Some(_) => Guarded { lock: guard.lock, run: run.clone(), instead_of: guard.command },
            None => Guarded { lock: guard.lock, run: format!("{run} CMD"), instead_of: None },
        })
    };
    sources.into_iter().flat_map(guarded).collect()
}

/// How a script is run, and its text; `None` if it is no shell's.
fn script(path: &str, file: &ScriptFile) -> Option<(String, String)> {
    let interpreter =
        file.text.strip_prefix("#!").map(|rest| interpreter(rest.lines().next().unwrap_or_default()));
    if interpreter.is_some_and(|program| !SHELLS.contains(&program)) {
        return None;
    }
    let run = match interpreter {
        Some(_) if file.executable => words::shell_word(format!("./{path}")),
        other => format!("{} {}", other.unwrap_or("sh"), words::shell_word(format!("./{path}"))),
    };
    Some((run, file.text.clone()))
}

/// The program of a first line, without `#!`: `bash` of `/usr/bin/env -S bash -e`.
fn interpreter(line: &str) -> &str {
    let mut programs = line
        .split_ascii_whitespace()
        .filter_map(|word| word.rsplit('/').next())
        .filter(|word| !word.starts_with('-') && !word.contains('='));
    match programs.next() {
        Some("env" | "busybox") => programs.next().unwrap_or_default(),
        other => other.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str, executable: bool) -> ScriptFile {
        ScriptFile { path: path.to_owned(), text: text.to_owned(), executable }
    }

    fn found(files: &[ScriptFile]) -> Vec<(String, String, Option<String>)> {
        let valued = ["ttl", "timeout", "note"].map(str::to_owned);
        let found = find(files, &Setting { valued: &valued, package_manager: "npm" });
        found.into_iter().map(|guarded| (guarded.lock, guarded.run, guarded.instead_of)).collect()
    }

    fn row(lock: &str, run: &str, instead_of: &str) -> (String, String, Option<String>) {
        (lock.to_owned(), run.to_owned(), Some(instead_of.to_owned()))
    }

    #[test]
    fn a_script_is_shown_as_it_is_run() {
        let guard = "lokt guard build -- make";
        let files = [
            file("scripts/a.sh", &format!("#!/bin/sh\n{guard} a\n"), true),
            file("scripts/b.sh", &format!("#!/usr/bin/env -S bash -eu\n{guard} b\n"), false),
            file("scripts/c.sh", &format!("{guard} c\n"), true),
            file("bin/it's d", &format!("#!/bin/dash\n{guard} d\n"), true),
            file("bin/e", &format!("#!/usr/bin/python3\n{guard} e\n"), true),
        ];
        assert_eq!(
            found(&files),
            [
                row("build", "./scripts/a.sh", "make a"),
                row("build", "bash ./scripts/b.sh", "make b"),
                row("build", "sh ./scripts/c.sh", "make c"),
                row("build", r"'./bin/it'\''s d'", "make d"),
            ]
        );
    }

    #[test]
    fn the_same_is_shown_once() {
        let twice = "#!/bin/sh\nlokt guard x -- a\nlokt guard -ttl 5m x -- a\nlokt guard x -- b\n";
        let rows = found(&[file("x.sh", twice, true)]);
        assert_eq!(rows, [row("x", "./x.sh", "a"), row("x", "./x.sh", "b")]);
    }

    #[test]
    fn a_script_for_any_command_says_where_it_goes() {
        let rows = found(&[file("bin/locked", "#!/bin/sh\nexec lokt guard db --wait -- \"$@\"\n", true)]);
        assert_eq!(rows, [("db".to_owned(), "./bin/locked CMD".to_owned(), None)]);
    }

    #[test]
    fn a_name_that_a_terminal_would_obey_is_passed_over() {
        assert_eq!(found(&[file("\u{1b}[2J.sh", "#!/bin/sh\nlokt guard x -- a\n", true)]), []);
        assert_eq!(found(&[file(&"x".repeat(200), "#!/bin/sh\nlokt guard x -- a\n", true)]), []);
    }
}
