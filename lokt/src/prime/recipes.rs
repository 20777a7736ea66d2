//! The recipes of Makefiles, justfiles and `package.json`: how each is run, and its text.

use serde_json::Value;

use crate::words::shell_word;

/// The rules of a Makefile.
pub(super) fn make(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (targets, body) in rules(text, |line| line.starts_with('\t')) {
        for target in targets.split_ascii_whitespace() {
            // A special target, a pattern or a variable is nothing to type.
            if !target.starts_with('.') && !target.contains(['%', '$', '=']) {
                found.push((format!("make {}", shell_word(target)), expanded(&body, target)));
            }
        }
    }
    found
}

/// What make puts into a recipe of `target`, as far as it is known without make.
fn expanded(body: &str, target: &str) -> String {
    let parts: Vec<String> = body.split("$$").map(|part| part.replace("$@", target)).collect();
    parts.join("$")
}

/// The recipes of a justfile.
pub(super) fn just(text: &str) -> Vec<(String, String)> {
    let recipes = rules(text, |line| line.starts_with([' ', '\t']));
    let named = recipes.into_iter().filter_map(|(head, body)| {
        let name = head.split_ascii_whitespace().next()?.trim_start_matches('@').to_owned();
        let shown = name.starts_with(|c: char| c.is_ascii_alphabetic());
        // just's own brackets stand for something that the shell does not see.
        shown.then(|| (format!("just {}", shell_word(&name)), body.replace("{{", "${")))
    });
    named.collect()
}

/// What stands before a colon, and the lines of the recipe under it, without their marks.
fn rules(text: &str, is_body: impl Fn(&str) -> bool) -> Vec<(&str, String)> {
    let mut rules: Vec<(&str, String)> = Vec::new();
    let mut in_rule = false;
    let mut goes_on = false;
    for line in text.lines() {
        if in_rule && (is_body(line) || goes_on) {
            let command = line.trim_start();
            let command = if goes_on { command } else { command.trim_start_matches(['@', '-', '+']) };
            if let Some((_, body)) = rules.last_mut() {
                body.push_str(command);
                body.push('\n');
            }
            goes_on = line.ends_with('\\');
        } else if !line.trim().is_empty() && !line.starts_with('#') {
            let head =
                line.split_once(':').filter(|(_, rest)| !rest.starts_with('=') && !rest.starts_with(":="));
            in_rule = head.is_some() && !is_body(line);
            rules.extend(head.filter(|_| in_rule).map(|(head, _)| (head, String::new())));
        }
    }
    rules
}

/// The scripts of a `package.json`.
pub(super) fn package(text: &str, manager: &str) -> Vec<(String, String)> {
    let Ok(Value::Object(package)) = serde_json::from_slice(text.as_bytes()) else {
        return Vec::new();
    };
    let scripts = package.get("scripts").and_then(Value::as_object);
    let named = scripts.into_iter().flatten().filter_map(|(name, script)| {
        let text = script.as_str()?.to_owned();
        Some((format!("{manager} run {}", shell_word(name)), text))
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(found: &[(String, String)]) -> Vec<(&str, &str)> {
        found.iter().map(|(run, text)| (run.as_str(), text.as_str())).collect()
    }

    #[test]
    fn a_rule_of_make_is_its_recipe() {
        let text = "X := lokt guard no -- x\n.PHONY: all\nall deploy: dep\n\n# said\n\t@lokt guard $@ -- \\\n  \
                    make \"$$X\"\n\t-rm x\n%.o: %.c\n\tcc\nY = 1\n";
        assert_eq!(
            pairs(&make(text)),
            [
                ("make all", "lokt guard all -- \\\nmake \"$X\"\nrm x\n"),
                ("make deploy", "lokt guard deploy -- \\\nmake \"$X\"\nrm x\n"),
            ]
        );
    }

    #[test]
    fn a_recipe_of_just_is_named_by_its_first_word() {
        let text = "x := 'a'\nset shell := ['sh']\n[group: 'a']\n@deploy env='x': build\n    @lokt guard {{x}} -- a\n\
                    _hidden:\n    b\n";
        assert_eq!(pairs(&just(text)), [("just deploy", "lokt guard ${x}} -- a\n")]);
    }

    #[test]
    fn scripts_of_a_package_are_run_by_its_manager() {
        let text = r#"{"scripts": {"db:up": "lokt guard db -- up", "bad": 1, "a b": "c"}}"#;
        let found = package(text, "pnpm");
        assert_eq!(pairs(&found), [("pnpm run db:up", "lokt guard db -- up"), ("pnpm run 'a b'", "c")]);
        assert_eq!(package("[[[", "npm"), []);
        assert_eq!(package(&"[".repeat(100_000), "npm"), []);
    }
}
