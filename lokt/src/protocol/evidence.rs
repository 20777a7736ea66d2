//! What is known of a name at the instant of a decision.

use std::time::Duration;

use super::freeze::Freeze;
use super::record::Slot;

/// What a store knows of a name at the instant of a decision, gathered under its atomicity.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// What stands in the record's place.
    pub slot: Slot,
    /// Whether the record's holder lives.
    pub liveness: Liveness,
    /// How long the asker has seen this very record, unchanged, on its own clock; zero if it never looked before.
    pub unchanged_for: Duration,
    /// The record is from an earlier boot of this machine.
    pub earlier_boot: bool,
    /// Some session of this name still lives (asked only when the record is corrupt).
    pub survivors: bool,
    /// A freeze in force.
    pub freeze: Option<Freeze>,
    /// How many waiters that are ready stand before the asker.
    pub ahead: usize,
    /// A token larger than any that the store has handed out for this name.
    pub next_token: u64,
}

/// What this machine can say of a holder's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// It lives: its flock is held, or its process runs.
    Alive,
    /// It is proved dead: its flock is free, its process gone or another's.
    Dead,
    /// It can't be told from here. Counts as alive.
    Unknown,
}
