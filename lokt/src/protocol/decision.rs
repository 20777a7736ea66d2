//! What happens to a name.

use super::evidence::Evidence;
use super::record::{Kind, LockId, Record};
use super::refusal::Refusal;
use super::request::Authority;
use super::standing::{Seat, Standing};

/// What happens. The store carries it out.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Write this record: its claimant is admitted.
    Admit {
        /// The new record, with its token.
        record: Box<Record>,
        /// What stands in the name's place if several hold it together from now on: written first.
        joint: Option<Box<Record>>,
        /// What it takes the place of.
        displaced: Vec<Displaced>,
    },
    /// Write this record: its lease starts anew.
    Renew(Box<Record>),
    /// Remove this; it is never nothing.
    Remove(Vec<Displaced>),
    /// Change nothing.
    Refuse(Refusal),
}

/// What a decision removes, and on what grounds.
#[derive(Debug, Clone, PartialEq)]
pub struct Displaced {
    /// Which of those who hold the name together; `None` for what stands in the name's own place.
    pub holder: Option<LockId>,
    /// The record, if it was one.
    pub record: Option<Box<Record>>,
    /// How it stood.
    pub standing: Standing,
    /// By what right, for a release.
    pub authority: Option<Authority>,
}

impl Displaced {
    /// One of those who hold the name, and by what right he goes.
    pub(super) fn of_seat(seat: &Seat<'_>, authority: Option<&Authority>) -> Self {
        Self {
            holder: seat.id.cloned(),
            record: seat.record().cloned().map(Box::new),
            standing: seat.standing.clone(),
            authority: authority.cloned(),
        }
    }

    /// What is removed with a group that nobody belongs to any more.
    pub(super) fn of_nobody(evidence: &Evidence, standing: Standing, authority: Option<&Authority>) -> Self {
        Self {
            holder: None,
            record: evidence.record().cloned().map(Box::new),
            standing,
            authority: authority.cloned(),
        }
    }

    /// Which admission it was, or that founded a group of which nobody is left.
    pub fn id(&self) -> Option<LockId> {
        let recorded = || self.record.as_ref().and_then(|record| record.id().or_else(|| record.founder()));
        self.holder.clone().or_else(recorded)
    }

    /// Whether it is the business of its own session, which needs no telling.
    pub fn is_given_up(&self) -> bool {
        matches!(self.authority, Some(Authority::Session(_)))
    }

    /// Whether somebody was admitted by it: what only says that several hold the name is no admission.
    pub fn is_admission(&self) -> bool {
        self.record.as_ref().is_none_or(|record| record.kind != Some(Kind::Joint))
    }
}
