//! What stands in a root, looked at once and within bounds; and its records.

use std::time::Duration;

use super::check::{CORRUPT, Check, FREEZES, LEGACY, LINES, SESSIONS, STALE, TEMPORARY, count};
use crate::host::{Dir, Entry, Host, ROTATOR, Survey, TRIALS, UnixHost, What, basename, hidden_by};
use crate::protocol::{Abandoned, Freeze, Kind, Name, Now, Standing, Stored};
use crate::store::{DirStore, Leftover, Store, View, split_session};
use crate::store::{stripe_of_file, stripe_of_temporary};
use crate::words;

/// How much of each directory is looked at: a root may be huge, or made so.
const MOST: usize = 20_000;

/// How long all of it may take.
const BUDGET: Duration = Duration::from_secs(10);

/// Something left over, and which check tells of it.
pub(super) struct Found {
    pub(super) check: &'static str,
    pub(super) thing: Leftover,
    /// What it is, for people.
    pub(super) what: String,
}

/// What stands in a root.
#[derive(Default)]
pub(super) struct Contents {
    /// The files of the mutexes, and what stands between them.
    pub(super) stripes: Survey,
    /// Every record, and how it stands.
    pub(super) records: Vec<(Name, View)>,
    /// Every freeze in its own place.
    pub(super) freezes: Vec<(Name, Stored, Option<Freeze>)>,
    /// Every freeze where the Go tool once had it: which name it freezes.
    pub(super) legacy: Vec<(String, Option<Freeze>)>,
    /// What nobody alive uses.
    pub(super) found: Vec<Found>,
    /// What lokt did not make, or not so: where it stands, and what is odd about it.
    pub(super) strangers: Vec<String>,
    /// Files of users that are not the root's: where, and whose.
    pub(super) foreign: Vec<String>,
    /// There was too much of it to look at all.
    pub(super) cut: bool,
    /// What could not be looked at.
    pub(super) failed: Vec<String>,
}

/// A look at a root.
struct Look<'a> {
    host: &'a UnixHost,
    store: &'a DirStore,
    until: Duration,
    users: (u32, Option<u32>),
    contents: Contents,
}

impl Contents {
    pub(super) fn of(host: &UnixHost, store: &DirStore) -> Self {
        let until = host.now().monotonic + BUDGET;
        let users = host.users().unwrap_or_default();
        let mut look = Look { host, store, until, users, contents: Self::default() };
        look.at_root();
        look.at_stripes();
        look.at(Dir::Locks, Look::at_lock);
        look.at(Dir::Freezes, Look::at_freeze);
        look.at(Dir::Lines, Look::at_line);
        look.at(Dir::Holders, Look::at_holders);
        look.at(Dir::Sessions, Look::at_session);
        look.contents
    }

    /// Says that all is fine, as far as was looked.
    pub(super) fn fine(&self, message: &str) -> Check {
        let more =
            if self.cut { ", as far as was looked: there is too much to look at all of it" } else { "" };
        Check::ok(format!("{message}{more}"))
    }

    /// The names whose records the Go tool wrote.
    pub(super) fn of_the_go_tool(&self) -> impl Iterator<Item = &Name> {
        self.records.iter().filter_map(|(name, view)| match &view.stored {
            Stored::Record(record) if record.kind.is_none() => Some(name),
            _ => None,
        })
    }
}

impl Look<'_> {
    fn survey(&mut self, dir: Dir<'_>) -> Survey {
        match self.host.survey(dir, MOST) {
            Ok(survey) => {
                self.contents.cut |= survey.cut;
                survey
            }
            Err(error) => {
                // Of one that is no directory it is said already.
                let name = basename(dir);
                if !self.contents.failed.iter().any(|failed| failed.starts_with(name)) {
                    self.contents.failed.push(format!("{name}: {}", words::cause(&error)));
                }
                Survey::default()
            }
        }
    }

    /// Looks at each of what stands in a directory, as long as there is time.
    fn at(&mut self, dir: Dir<'static>, each: fn(&mut Self, &Entry)) {
        for entry in self.survey(dir).entries {
            if self.host.now().monotonic > self.until {
                self.contents.cut = true;
                return;
            }
            if !self.is_hidden(dir, &entry) {
                self.whose(dir, &entry);
                each(self, &entry);
            }
        }
    }

    fn at_root(&mut self) {
        let survey = self.survey(Dir::Root);
        for entry in &survey.entries {
            let known = Dir::OF_A_ROOT.iter().any(|dir| basename(*dir) == entry.name);
            let log = entry.name == crate::audit::FILE;
            if !known && !log {
                // What else stands there is not lokt's business, whatever it is called.
                let made = hidden_by(&entry.name).map(|(name, _)| name);
                if made.is_some_and(|name| name == crate::audit::FILE || TRIALS.contains(&name)) {
                    self.is_hidden(Dir::Root, entry);
                }
                continue;
            }
            if log {
                self.whose(Dir::Root, entry);
            }
            if known && entry.what != What::Directory {
                self.contents.failed.push(format!(
                    "{} is {}, not a directory",
                    entry.name,
                    called(entry.what)
                ));
            }
        }
    }

    fn at_stripes(&mut self) {
        let survey = self.survey(Dir::Stripes);
        for entry in &survey.entries {
            if self.is_hidden(Dir::Stripes, entry) {
                continue;
            }
            self.whose(Dir::Stripes, entry);
            match entry.what {
                What::File if stripe_of_file(&entry.name).is_some() || entry.name == ROTATOR => {}
                What::File | What::Fifo if stripe_of_temporary(&entry.name).is_some() => {
                    let thing = Leftover::Temporary(entry.name.clone());
                    self.consider(TEMPORARY, thing, format!("stripes/{}", entry.name));
                }
                _ => self.strange(Dir::Stripes, entry),
            }
        }
        self.contents.stripes = survey;
    }

    fn at_lock(&mut self, entry: &Entry) {
        let Some(name) = entry.name.strip_suffix(".json").and_then(|name| name.parse::<Name>().ok()) else {
            return self.strange(Dir::Locks, entry);
        };
        let Ok(view) = self.store.look(&name) else {
            return;
        };
        if let (Some(frozen), Stored::Record(record)) = (name.as_str().strip_prefix("freeze-"), &view.stored)
            && record.kind.is_none()
        {
            let (_, in_force) = self.store.freeze_at(Dir::Locks, &entry.name);
            let (frozen, lapsed) = (frozen.to_owned(), in_force.is_none());
            if lapsed {
                self.consider(LEGACY, Leftover::Record(name), format!("\"{frozen}\", which has lapsed"));
            }
            return self.contents.legacy.push((frozen, in_force));
        }
        match &view.standing {
            Standing::Free => return,
            Standing::Abandoned(Abandoned::Corrupt) => {
                let what = said(&name, (&view.stored, &view.standing), &view.now);
                self.consider(CORRUPT, Leftover::Corrupt(name.clone()), what);
            }
            _ => {
                let places = view.places().into_iter();
                let dead = places.filter(|(_, standing)| standing.is_abandoned());
                let dead: Vec<String> = dead.map(|place| said(&name, place, &view.now)).collect();
                if !dead.is_empty() {
                    self.consider(STALE, Leftover::Record(name.clone()), dead.join("; "));
                }
            }
        }
        self.contents.records.push((name, view));
    }

    fn at_freeze(&mut self, entry: &Entry) {
        let Some(name) = entry.name.strip_suffix(".json").and_then(|name| name.parse::<Name>().ok()) else {
            return self.strange(Dir::Freezes, entry);
        };
        let (stored, in_force) = self.store.freeze_at(Dir::Freezes, &entry.name);
        if in_force.is_none() {
            let what = match &stored {
                Stored::Corrupt(why) => format!("\"{name}\", which is corrupt and binds nobody: {why}"),
                Stored::Record(record) => {
                    format!("\"{name}\" by {}, which has lapsed", words::person(record))
                }
                _ => format!("\"{name}\""),
            };
            self.consider(FREEZES, Leftover::Freeze(name.clone()), what);
        }
        self.contents.freezes.push((name, stored, in_force));
    }

    fn at_line(&mut self, entry: &Entry) {
        match (entry.what, entry.name.parse::<Name>()) {
            (What::Directory, Ok(name)) => {
                self.consider(LINES, Leftover::Line(name), format!("lines/{}", entry.name));
            }
            _ => self.strange(Dir::Lines, entry),
        }
    }

    fn at_holders(&mut self, entry: &Entry) {
        match (entry.what, entry.name.parse::<Name>()) {
            (What::Directory, Ok(name)) => {
                let what = format!("holders/{}, of some who held it together", entry.name);
                self.consider(STALE, Leftover::Holders(name), what);
            }
            _ => self.strange(Dir::Holders, entry),
        }
    }

    fn at_session(&mut self, entry: &Entry) {
        let name = split_session(&entry.name).and_then(|(name, _)| name.parse::<Name>().ok());
        match (entry.what, name) {
            (What::Fifo, Some(_)) => {
                let thing = Leftover::Session(entry.name.clone());
                self.consider(SESSIONS, thing, format!("sessions/{}", entry.name));
            }
            _ => self.strange(Dir::Sessions, entry),
        }
    }

    /// A file that is not ready to be seen, or never came to be.
    fn is_hidden(&mut self, dir: Dir<'static>, entry: &Entry) -> bool {
        let hidden = hidden_by(&entry.name).is_some() && matches!(entry.what, What::File | What::Fifo);
        if hidden {
            let thing = Leftover::Hidden(dir, entry.name.clone(), entry.age);
            self.consider(TEMPORARY, thing, place(dir, &entry.name));
        }
        hidden
    }

    fn consider(&mut self, check: &'static str, thing: Leftover, what: String) {
        if self.store.is_left(&thing) {
            self.contents.found.push(Found { check, thing, what });
        }
    }

    fn strange(&mut self, dir: Dir<'_>, entry: &Entry) {
        let what = called(entry.what);
        self.contents
            .strangers
            .push(format!("{}: {what} that lokt did not put there", place(dir, &entry.name)));
    }

    /// Notes what is not of the root's users.
    fn whose(&mut self, dir: Dir<'_>, entry: &Entry) {
        let place = place(dir, &entry.name);
        self.contents.foreign.extend(super::access::foreign(&place, entry.place, self.users));
    }
}

/// How a record that binds nobody stands, in a line.
pub(super) fn said(name: &Name, (stored, standing): (&Stored, &Standing), now: &Now) -> String {
    match stored {
        Stored::Record(record) if record.kind == Some(Kind::Joint) => {
            format!("\"{name}\", of which all are gone who held it together")
        }
        Stored::Record(record) => format!(
            "\"{name}\" by {}{}",
            words::holder(record, standing, now),
            match standing {
                Standing::Abandoned(Abandoned::TtlPassed) => ": its TTL has passed",
                Standing::Abandoned(Abandoned::PidGone) => ": its process is gone",
                Standing::Abandoned(_) => ": it is dead",
                // It is said already.
                _ => "",
            }
        ),
        Stored::Corrupt(why) => format!("\"{name}\": {}", words::printable(why)),
        _ => format!("\"{name}\""),
    }
}

fn place(dir: Dir<'_>, file: &str) -> String {
    match dir {
        Dir::Root => file.to_owned(),
        dir => format!("{}/{file}", basename(dir)),
    }
}

fn called(what: What) -> &'static str {
    match what {
        What::File => "a file",
        What::Directory => "a directory",
        What::Symlink => "a symbolic link",
        What::Fifo => "a FIFO",
        What::Other => "a socket or a device",
    }
}

/// The records: what they hold, and which can't be dealt with.
pub(super) fn records(contents: &Contents) -> Check {
    if let Some(check) = unusable(contents) {
        return check;
    }
    let held = contents.records.iter().filter(|(_, view)| matches!(view.standing, Standing::Held { .. }));
    let guards =
        held.clone().filter(|(_, view)| view.places().iter().any(|(stored, _)| is_guard(stored))).count();
    match held.count() {
        0 => contents.fine("nothing is held"),
        held => contents.fine(&format!("{held} held, {guards} of them by a guard")),
    }
}

/// What can't be dealt with, the worst of it.
fn unusable(contents: &Contents) -> Option<Check> {
    let (mut unreadable, mut newer) = (Vec::new(), Vec::new());
    for (name, view) in &contents.records {
        match &view.standing {
            Standing::Unreadable(what) => unreadable.push(format!("\"{name}\": {}", what.why)),
            Standing::Newer(version) => newer.push(format!("\"{name}\": version {version}")),
            _ => {}
        }
    }
    let number = |of: &[String]| count(of.len(), "record");
    if !contents.failed.is_empty() {
        let check = Check::fail("a part of the lock directory can't be used").naming(contents.failed.clone());
        return Some(check.advise(
            "lokt follows no symbolic link there, and removes nothing that is not its own: look, and move it away",
        ));
    }
    if !unreadable.is_empty() {
        let advice = match newer.is_empty() {
            true => "see what stands there and whose it is; lokt removes nothing that is not its own",
            false => "see what stands there and whose it is; upgrade lokt for what is newer",
        };
        unreadable.append(&mut newer);
        let message = format!("{} can't be read, and what can't be read counts as held", number(&unreadable));
        return Some(Check::fail(message).naming(unreadable).advise(advice));
    }
    let message = format!("{} of a newer version, and what is newer counts as held", number(&newer));
    let advice = "upgrade lokt, or, if nobody uses it: lokt unlock NAME --force";
    (!newer.is_empty()).then(|| Check::warn(message).naming(newer).advise(advice))
}

fn is_guard(stored: &Stored) -> bool {
    matches!(stored, Stored::Record(record) if record.kind == Some(Kind::Guard))
}
