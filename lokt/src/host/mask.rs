//! The mask of this process for the modes of new files (umask(2)).

use std::sync::OnceLock;

use rustix::fs::Mode;
use rustix::process::umask;

/// The mask that most processes have.
const USUAL: Mode = Mode::WGRP.union(Mode::WOTH);

/// The mask that this process was started with, if it took anything from the owner of a file.
static INHERITED: OnceLock<Mode> = OnceLock::new();

/// Leaves this process all that the owner of a file may: a lock whose record its own owner can't read would be nobody's
/// for ever. What it starts has the old one when it was [given back](give_back).
pub(crate) fn spare_the_owner() {
    let mask = umask(USUAL);
    if mask != USUAL {
        umask(mask.difference(Mode::RWXU));
    }
    if mask.intersects(Mode::RWXU) {
        let _ = INHERITED.set(mask);
    }
}

/// Takes the mask that this process was started with. Async-signal-safe.
pub(crate) fn give_back() {
    if let Some(mask) = INHERITED.get() {
        umask(*mask);
    }
}
