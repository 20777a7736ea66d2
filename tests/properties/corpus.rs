//! The seeds of the fuzzer, and what it once found: each is as harmless as anything else.

use std::fs;
use std::path::{Path, PathBuf};

use lokt_tests::input::{check_record, check_text};

/// Every file of a target's corpus.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<PathBuf> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 10, "the corpus is there: {}", dir.display());
    files.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Runs `check` on each file, and names the one at which it fails.
fn replay(target: &str, check: fn(&[u8])) {
    for (path, content) in corpus(target) {
        let outcome = std::panic::catch_unwind(|| check(&content));
        assert!(outcome.is_ok(), "fails on {}", path.display());
    }
}

#[test]
fn every_record_of_the_corpus_is_harmless() {
    replay("record", check_record);
}

#[test]
fn every_text_of_the_corpus_is_harmless() {
    replay("text", |content| {
        if let Ok(text) = std::str::from_utf8(content) {
            check_text(text);
        }
    });
}
