//! Who may use the root: its user alone, or a group; and whether all that stands in it is theirs.

use rustix::fs::RawMode;

use super::check::{ACCESS, Check, count};
use super::{Patient, State};
use crate::hints::CHOOSE_ROOT;
use crate::host::{Dir, Place, basename, group_called, me_called, user_called};
use crate::words::{self, shell_word};

/// The mode of a directory that a group shares: set-group-id, and all for user and group.
const SHARED: RawMode = 0o2770;

pub(super) fn access(patient: &Patient) -> Check {
    match &patient.state {
        State::Unusable(ACCESS, why) => Check::fail(words::cause(why)).advise(CHOOSE_ROOT),
        State::Unusable(..) => Check::skipped(),
        State::ToBeMade { .. } => {
            Check::ok("it will be private, mode 0700; make it yourself to share it with a group")
        }
        State::There => match (patient.host.place_of(Dir::Root), patient.host.place_of_parent()) {
            (Ok(Some(root)), Ok(parent)) => judge(patient, root, parent),
            (Err(error), _) | (_, Err(error)) => Check::warn(format!("it can't be told: {error}")),
            (Ok(None), _) => Check::warn("it has just gone"),
        },
    }
}

/// The root itself: who may use it, and who else could get in.
fn judge(patient: &Patient, root: Place, parent: Place) -> Check {
    let (user, group) = (user_called(root.user), group_called(root.group));
    let mode = root.mode;
    let shared = mode & 0o2020 == 0o2020;
    let mut wrong = of_the_root(&shell_word(patient.root.path.display()), root, parent);
    if !patient.host.is_ours() {
        wrong.push((
            format!("it is for the user {user} alone, who can't use what you ({}) make in it", me_called()),
            format!(
                "sudo -u {} lokt doctor --fix; as another user it clears nothing away",
                shell_word(&user)
            ),
        ));
    }
    wrong.extend(of_its_directories(patient, shared.then_some(&group)));
    let mut wrong = wrong.into_iter();
    match wrong.next() {
        None if shared => Check::ok(format!("shared by the group {group} (owner {user}, mode {mode:04o})")),
        None if me_called() == user => Check::ok(format!("for the user {user} alone (mode {mode:04o})")),
        None => Check::ok(format!(
            "for the user {user} alone (mode {mode:04o}); what you ({}) make in it is made for that user",
            me_called()
        )),
        Some((message, advice)) => {
            let check = Check::warn(message).advise(advice);
            wrong.fold(check, |check, (message, advice)| check.naming([message]).advise(advice))
        }
    }
}

/// What is wrong, and what to do.
type Wrong = (String, String);

fn of_the_root(path: &str, root: Place, parent: Place) -> Vec<Wrong> {
    let (user, group, mode) = (user_called(root.user), group_called(root.group), root.mode);
    let mut wrong = Vec::new();
    if mode & 0o002 != 0 {
        wrong.push((
            format!("every user of this machine may remove and replace what stands in it (mode {mode:04o})"),
            format!("chmod o-w {path}"),
        ));
    }
    if mode & 0o2020 == 0o0020 {
        wrong.push((
            format!("the group {group} may write, but without setgid it is for the user {user} alone (mode {mode:04o})"),
            format!("chmod 2770 {path} to share it with {group}, or chmod g-w {path} to keep it for {user}"),
        ));
    }
    if parent.mode & 0o1002 == 0o0002 {
        wrong.push((
            "every user of this machine may put another in its place: the directory above is open to all"
                .into(),
            format!("chmod +t {path}/.., or set LOKT_ROOT to a directory in one that is yours"),
        ));
    }
    wrong
}

fn of_its_directories(patient: &Patient, group: Option<&String>) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    let users = patient.host.users().unwrap_or_default();
    for dir in Dir::OF_A_ROOT {
        let Ok(Some(place)) = patient.host.place_of(dir) else { continue };
        let (name, path, mode) = (basename(dir), shell_word(patient.host.path_of(dir).display()), place.mode);
        match group {
            Some(group) if mode & SHARED != SHARED => wrong.push((
                format!("{name}/ is not for the whole group {group} (mode {mode:04o})"),
                format!("chmod 2770 {path}"),
            )),
            None if mode & 0o022 != 0 => wrong.push((
                format!("others may remove and replace what stands in {name}/ (mode {mode:04o})"),
                format!("chmod go-w {path}"),
            )),
            // A directory's mode is judged above.
            _ => wrong.extend(foreign(&format!("{name}/"), Place { mode: SHARED, ..place }, users).map(
                |why| {
                    (why, format!("see whose they are: ls -la {}", shell_word(patient.root.path.display())))
                },
            )),
        }
    }
    wrong
}

/// What is odd about whose something is, if anything.
pub(super) fn foreign(what: &str, place: Place, (owner, group): (u32, Option<u32>)) -> Option<String> {
    match group {
        None if place.user != owner => {
            let (user, owner) = (user_called(place.user), user_called(owner));
            Some(format!("{what}: its user is {user}, and the root's is {owner}"))
        }
        Some(group) if place.group != group => Some(format!(
            "{what}: its group is {}, and the root's is {}",
            group_called(place.group),
            group_called(group)
        )),
        Some(group) if place.mode & 0o060 != 0o060 => Some(format!(
            "{what}: the group {} may not use it (mode {:04o})",
            group_called(group),
            place.mode
        )),
        _ => None,
    }
}

pub(super) fn files(patient: &Patient) -> Check {
    let contents = match patient.contents() {
        Ok(contents) => contents,
        Err(check) => return check,
    };
    let (foreign, strangers) = (&contents.foreign, &contents.strangers);
    if foreign.is_empty() && strangers.is_empty() {
        return Check::ok("what stands in its places is lokt's, and of the right users");
    }
    let path = shell_word(patient.root.path.display());
    let check = match (foreign.len(), strangers.len()) {
        (0, strange) => Check::warn(format!("{} that lokt did not put there", count(strange, "thing"))),
        (others, 0) => Check::warn(format!("{} of users who are not the root's", count(others, "file"))),
        (others, strange) => {
            let others = count(others, "file");
            Check::warn(format!(
                "{others} of other users, and {} that lokt did not put there",
                count(strange, "thing")
            ))
        }
    };
    let mut check = check.naming(foreign.iter().chain(strangers).cloned());
    if let (false, Ok((owner, group))) = (foreign.is_empty(), patient.host.users()) {
        let owner = shell_word(user_called(owner));
        check = check.advise(match group {
            None => format!("if they are from sudo lokt: sudo chown -hR {owner}: {path}"),
            Some(group) => {
                let group = group_called(group);
                format!("sudo chgrp -hR {group} {path} && sudo chmod -R g+rwX {path}")
            }
        });
    }
    if !strangers.is_empty() {
        check = check.advise("look at them; lokt follows, waits for and removes nothing that is not its own");
    }
    check
}
