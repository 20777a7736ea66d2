//! What the dead have left behind, and what has lapsed: a check for each kind.

use super::check::{CORRUPT, Check, FREEZES, LEGACY, LINES, SESSIONS, STALE, TEMPORARY, count};
use super::contents::{Contents, said};
use crate::protocol::{Abandoned, Freeze, Standing, Stored};
use crate::store::Leftover;
use crate::words;

/// What was found for a check, in words.
fn found<'a>(contents: &'a Contents, check: &str) -> Vec<&'a str> {
    contents.found.iter().filter(|found| found.check == check).map(|found| found.what.as_str()).collect()
}

/// A check of which all that is found can be cleared away.
fn plain(contents: &Contents, name: &'static str, fine: &str, what: &str, left: &str) -> Check {
    let found = found(contents, name);
    if found.is_empty() {
        return contents.fine(fine);
    }
    Check::warn(format!("{} {left}", count(found.len(), what)))
        .naming(found.into_iter().map(str::to_owned))
        .mendable(true)
}

pub(super) fn sessions(contents: &Contents) -> Check {
    plain(contents, SESSIONS, "none is left of one that has ended", "file", "left by sessions that are dead")
}

pub(super) fn lines(contents: &Contents) -> Check {
    plain(contents, LINES, "nobody in line is dead", "line", "with waiters that are dead")
}

pub(super) fn temporary_files(contents: &Contents) -> Check {
    plain(contents, TEMPORARY, "none is left", "file", "left by processes that died while they wrote")
}

pub(super) fn stale_records(contents: &Contents) -> Check {
    let dead = found(contents, STALE);
    let (mut spared, mut lapsed) = (Vec::new(), Vec::new());
    for (name, view) in &contents.records {
        let record = Leftover::Record(name.clone());
        let removable = contents.found.iter().any(|found| found.check == STALE && found.thing == record);
        for place in view.places() {
            match place.1 {
                Standing::Lapsed { .. } => lapsed.push(said(name, place, &view.now)),
                Standing::Abandoned(why) if *why != Abandoned::Corrupt => {
                    spared.extend((!removable).then(|| said(name, place, &view.now)));
                }
                _ => {}
            }
        }
    }
    if dead.is_empty() && spared.is_empty() && lapsed.is_empty() {
        return contents.fine("none: every holder lives, as far as can be told");
    }
    let (removable, left) = (!dead.is_empty(), !spared.is_empty() || !lapsed.is_empty());
    let behind = dead.len() + spared.len();
    let mut parts = Vec::new();
    parts.extend((behind > 0).then(|| format!("{behind} left behind")));
    parts.extend((!lapsed.is_empty()).then(|| format!("{} held past the end of the lease", lapsed.len())));
    let all = dead.into_iter().map(str::to_owned).chain(spared).chain(lapsed);
    let check = Check::warn(parts.join(", ")).naming(all).mendable(removable);
    match left {
        true => check.advise(
            "whoever wants a lapsed one takes it: --break-stale or --wait; or lokt unlock NAME --break-stale",
        ),
        false => check,
    }
}

pub(super) fn corrupt_records(contents: &Contents) -> Check {
    let alive: Vec<String> = contents
        .records
        .iter()
        .filter_map(|(name, view)| match &view.standing {
            Standing::CorruptButAlive(why) => {
                Some(format!("\"{name}\", of which a session still lives: {}", words::printable(why)))
            }
            _ => None,
        })
        .collect();
    let dead = found(contents, CORRUPT);
    if dead.is_empty() && alive.is_empty() {
        return contents.fine("none");
    }
    let (removable, in_use) = (!dead.is_empty(), !alive.is_empty());
    let check = Check::warn(count(dead.len() + alive.len(), "corrupt record"))
        .naming(dead.into_iter().map(str::to_owned).chain(alive))
        .mendable(removable);
    match in_use {
        true => check.advise("let the one that lives end; or, which ends it: lokt unlock NAME --force"),
        false => check,
    }
}

pub(super) fn freezes(contents: &Contents) -> Check {
    let odd: Vec<String> = contents
        .freezes
        .iter()
        .filter_map(|(name, stored, _)| match stored {
            Stored::Unreadable(what) => {
                Some(format!("\"{name}\" can't be read, and so is frozen: {}", what.why))
            }
            Stored::Newer(version) => Some(format!("\"{name}\" is frozen by a newer version, {version}")),
            _ => None,
        })
        .collect();
    let lapsed = found(contents, FREEZES);
    let in_force = contents.freezes.iter().filter(|(.., in_force)| in_force.is_some()).count();
    if odd.is_empty() && lapsed.is_empty() {
        return match in_force {
            0 => contents.fine("nothing is frozen"),
            number => contents.fine(&format!("{} in force", count(number, "freeze"))),
        };
    }
    let (removable, strange) = (!lapsed.is_empty(), !odd.is_empty());
    let mut parts = Vec::new();
    parts.extend(removable.then(|| format!("{} lapsed or corrupt", lapsed.len())));
    parts.extend(strange.then(|| format!("{} that can't be read, and so in force", odd.len())));
    let check = Check::warn(parts.join(", "))
        .naming(lapsed.into_iter().map(str::to_owned).chain(odd))
        .mendable(removable);
    match strange {
        true => check.advise("see what stands in freezes/; lokt removes nothing that is not its own"),
        false => check,
    }
}

pub(super) fn legacy_freezes(contents: &Contents) -> Check {
    if contents.legacy.is_empty() {
        return contents.fine("none");
    }
    let text = |(name, freeze): &(String, Option<Freeze>)| match freeze {
        None => format!("\"{name}\": it has lapsed"),
        Some(Freeze { left: Some(left), .. }) => format!("\"{name}\": {} left", words::short(*left)),
        Some(_) => format!("\"{name}\": it does not end by itself"),
    };
    let removable = found(contents, LEGACY).len();
    let lapsed = contents.legacy.iter().filter(|(_, freeze)| freeze.is_none()).count();
    let number = count(contents.legacy.len(), "freeze");
    let mut check = Check::warn(format!("{number} in the Go tool's old place, locks/freeze-NAME.json"))
        .naming(contents.legacy.iter().map(text))
        .mendable(removable > 0);
    if lapsed > removable {
        check = check.advise("one whose process lives: lokt unlock freeze-NAME --break-stale");
    }
    if contents.legacy.len() > lapsed {
        check = check.advise("they are honoured until they lapse; new ones are in freezes/");
    }
    check
}
