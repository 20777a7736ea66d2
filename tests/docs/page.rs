//! A page of the documentation, taken apart: its blocks of code, and what an invisible comment before one says of it.
//!
//! ```text
//! <!-- test: exit 2 -->        the block ends with this code, and not with 0
//! <!-- test: background -->    it is started, goes on while the next ones run, and has what it wants when they do
//! <!-- test: waits -->         it is started, and what is in the background is let go once it waits
//! <!-- test: elsewhere -->     another test runs it
//! <!-- test: set-up -->        it builds the project: a job of the CI does that
//! <!-- test: output -->        a block that shows what the one before it says
//! <!-- file: patterns/a.sh --> a block that shows this file, which other tests run
//! ```

use std::fs;
use std::path::{Path, PathBuf};

/// A page and its name in the repository.
pub struct Page {
    pub name: String,
    pub text: String,
}

/// A block of code.
pub struct Block {
    pub line: usize,
    pub language: String,
    pub text: String,
    /// What the comment says: `test` and `exit 2`, `file` and its path.
    pub note: Option<(String, String)>,
}

pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The README and every page of `docs/`.
pub fn pages() -> Vec<Page> {
    let mut names = vec!["README.md".to_owned()];
    for entry in fs::read_dir(repository().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".md") {
            names.push(format!("docs/{name}"));
        }
    }
    names.sort();
    assert!(names.len() > 6, "the pages were found");
    names.into_iter().map(|name| Page::read(&name)).collect()
}

impl Page {
    pub fn read(name: &str) -> Self {
        let text = fs::read_to_string(repository().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        Self { name: name.to_owned(), text }
    }

    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        let mut open: Option<Block> = None;
        let mut note = None;
        for (number, line) in self.text.lines().enumerate() {
            match (line.strip_prefix("```"), &mut open) {
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (Some(language), None) => {
                    let (language, note) = (language.to_owned(), note.take());
                    open = Some(Block { line: number + 1, language, text: String::new(), note });
                }
                (None, Some(block)) => block.text.push_str(&format!("{line}\n")),
                (None, None) if line.trim().is_empty() => {}
                (None, None) => note = comment(line),
            }
        }
        assert!(open.is_none(), "{}: a block does not end", self.name);
        blocks
    }
}

impl Block {
    /// What a `test` comment says.
    pub fn test(&self) -> &str {
        self.says("test").unwrap_or_default()
    }

    /// The file that it shows.
    pub fn file(&self) -> Option<&str> {
        self.says("file")
    }

    fn says(&self, kind: &str) -> Option<&str> {
        self.note.as_ref().filter(|(known, _)| known == kind).map(|(_, text)| text.as_str())
    }
}

fn comment(line: &str) -> Option<(String, String)> {
    let (kind, text) = line.strip_prefix("<!-- ")?.strip_suffix(" -->")?.split_once(": ")?;
    Some((kind.to_owned(), text.to_owned()))
}

#[test]
fn a_comment_goes_with_the_block_behind_it() {
    let text = "<!-- test: exit 2 -->\n\n```sh\na\nb\n```\nwords\n```text\nc\n```\n".to_owned();
    let blocks = Page { name: "page".to_owned(), text }.blocks();
    let said: Vec<_> = blocks.iter().map(|b| (b.line, &*b.language, &*b.text, b.test())).collect();
    assert_eq!(said, [(3, "sh", "a\nb\n", "exit 2"), (8, "text", "c\n", "")]);
}
