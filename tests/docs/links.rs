//! Links between pages lead to files that are there, and to headings that are there.

use std::fs;
use std::path::{Component, Path, PathBuf};

use super::page::{Page, pages, repository};

#[test]
fn links_lead_somewhere() {
    let mut seen = 0;
    for page in pages() {
        for target in targets(&page) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            seen += 1;
            follow(&page, &target).unwrap_or_else(|why| panic!("{}: {target}: {why}", page.name));
        }
    }
    assert!(seen > 20, "the pages have links: {seen}");
}

fn follow(page: &Page, target: &str) -> Result<(), String> {
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let here = Path::new(&page.name);
    let file = if path.is_empty() { here.to_owned() } else { tidied(&here.parent().unwrap().join(path)) };
    if !repository().join(&file).exists() {
        return Err(format!("there is no {}", file.display()));
    }
    if anchor.is_empty() {
        return Ok(());
    }
    let text = fs::read_to_string(repository().join(&file)).map_err(|error| error.to_string())?;
    match headings(&text).any(|heading| heading == anchor) {
        true => Ok(()),
        false => Err(format!("{} has no heading #{anchor}", file.display())),
    }
}

/// A path without `..` and `.`.
fn tidied(path: &Path) -> PathBuf {
    let mut tidied = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(tidied.pop()),
            Component::CurDir => {}
            part => tidied.push(part),
        }
    }
    tidied
}

/// Where the links and pictures of a page lead to.
fn targets(page: &Page) -> Vec<String> {
    let text = without_code(&page.text);
    let after = |text: &str, mark: &str, end: char| -> Vec<String> {
        text.split(mark).skip(1).filter_map(|rest| rest.split(end).next()).map(str::to_owned).collect()
    };
    let mut targets = after(&text, "](", ')');
    for attribute in ["href=\"", "src=\"", "srcset=\""] {
        targets.extend(after(&text, attribute, '"'));
    }
    targets
}

/// The text without blocks of code.
fn without_code(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

/// The anchors that a code host makes of the headings.
fn headings(text: &str) -> impl Iterator<Item = String> {
    let text = without_code(text);
    let titles: Vec<String> = text
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| line.trim_start_matches('#').trim().to_owned())
        .collect();
    titles.into_iter().map(|title| {
        let kept = title.to_lowercase();
        let kept = kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}

#[test]
fn a_link_that_leads_nowhere_is_noticed() {
    let page = |text: &str| Page { name: "docs/page.md".to_owned(), text: text.to_owned() };
    let follow = |text: &str| {
        let page = page(text);
        targets(&page).iter().try_for_each(|target| follow(&page, target))
    };
    assert_eq!(follow("[a](protocol.md) [b](../README.md) [c](protocol.md#the-record)"), Ok(()));
    assert!(follow("[a](nowhere.md)").is_err());
    assert!(follow("[a](protocol.md#nothing)").is_err());
    assert!(follow("<img src=\"images/none.svg\">").is_err());
    assert_eq!(follow("```text\n[a](nowhere.md)\n```"), Ok(()));
}

/// The README's picture: `cargo xtask film` draws it.
#[test]
fn the_picture_is_small_moves_by_itself_and_needs_nothing_else() {
    let picture = fs::read_to_string(repository().join("docs/images/guard.svg")).unwrap();
    assert!(picture.len() < 200_000, "{} bytes", picture.len());
    assert!(picture.contains("@keyframes"), "it moves");
    for outside in ["<script", "href", "url(", "@import"] {
        assert!(!picture.contains(outside), "it has {outside}");
    }
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    assert!(picture.contains("ada@build-1") && !picture.contains(&format!("ada@{host},")), "whose machine?");
}
