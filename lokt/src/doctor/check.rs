//! A check: what was looked at, how it stands, and what to do about it.

// Names of checks that are spoken of elsewhere: by what makes another impossible, by what was found for one.
pub(super) const ROOT: &str = "root";
pub(super) const WRITABLE: &str = "writable";
pub(super) const ACCESS: &str = "access";
pub(super) const STALE: &str = "stale_records";
pub(super) const CORRUPT: &str = "corrupt_records";
pub(super) const FREEZES: &str = "freezes";
pub(super) const LEGACY: &str = "legacy_freezes";
pub(super) const SESSIONS: &str = "sessions";
pub(super) const LINES: &str = "lines";
pub(super) const TEMPORARY: &str = "temporary_files";

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Status {
    /// As it should be.
    Ok,
    /// Locks work, but somebody should know.
    Warn,
    /// Locks do not work, or do not exclude.
    Fail,
}

impl Status {
    /// In a word, as the Go tool says it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// How many things of a kind are named, each in a line.
const NAMED: usize = 8;

/// One thing that was looked at.
#[derive(Debug, Clone)]
pub(crate) struct Check {
    /// Its name, for programs.
    pub(crate) name: &'static str,
    /// How it stands.
    pub(crate) status: Status,
    /// What was found, in a line.
    pub(crate) message: String,
    /// What exactly, a line each.
    pub(crate) items: Vec<String>,
    /// What to do, a line each.
    pub(crate) advice: Vec<String>,
    /// Whether `--fix` mends something of it.
    pub(crate) fixable: bool,
    /// What `--fix` has done about it, a line each.
    pub(crate) fixed: Vec<String>,
    /// It could not be looked at, because of what another check found.
    pub(crate) skipped: bool,
}

impl Check {
    fn new(status: Status, message: impl Into<String>) -> Self {
        Self {
            name: "",
            status,
            message: message.into(),
            items: Vec::new(),
            advice: Vec::new(),
            fixable: false,
            fixed: Vec::new(),
            skipped: false,
        }
    }

    pub(crate) fn ok(message: impl Into<String>) -> Self {
        Self::new(Status::Ok, message)
    }

    pub(crate) fn warn(message: impl Into<String>) -> Self {
        Self::new(Status::Warn, message)
    }

    pub(crate) fn fail(message: impl Into<String>) -> Self {
        Self::new(Status::Fail, message)
    }

    /// It could not be looked at, and another check says why.
    pub(crate) fn skipped() -> Self {
        Self { skipped: true, ..Self::warn("not looked at") }
    }

    /// Says what to do.
    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice.push(advice.into());
        self
    }

    /// Names what was found: the first few of them, and how many more there are.
    pub(crate) fn naming(mut self, items: impl IntoIterator<Item = String>) -> Self {
        let mut items: Vec<String> = items.into_iter().collect();
        let more = items.len().saturating_sub(NAMED);
        if more > 1 {
            items.truncate(NAMED);
            items.push(format!("and {more} more"));
        }
        self.items.extend(items);
        self
    }

    /// Notes that `--fix` mends it.
    pub(super) fn mendable(mut self, fixable: bool) -> Self {
        self.fixable = fixable;
        if fixable { self.advise("lokt doctor --fix clears that away") } else { self }
    }
}

/// How many of something, in words: `1 record`, `3 records`.
pub(super) fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_things_are_named_by_the_first_few() {
        let named = |number: usize| Check::ok("").naming((0..number).map(|n| n.to_string())).items;
        assert_eq!(named(3), ["0", "1", "2"]);
        assert_eq!(named(9).len(), 9, "one more is no longer than saying so");
        assert_eq!(named(100).last().unwrap(), "and 92 more");
    }
}
