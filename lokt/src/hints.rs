//! What to do next about what went wrong, in a line each.

use std::io;

use rustix::io::Errno;

use crate::host::is_full;
use crate::protocol::{Abandoned, Freeze, Kind, Liveness, Name, Refusal, Standing, UnknownFreeze};
use crate::words::which;

/// What to do about a full disk.
pub(crate) const MAKE_ROOM: &str = "make room there; what is held stays held, and can be released";

/// What to do about a root that can't be used.
pub(crate) const CHOOSE_ROOT: &str =
    "LOKT_ROOT chooses another lock directory; everybody who shares these locks needs the same";

/// What to do about what is not lokt's.
const LOOK_THERE: &str = "see what stands there; lokt removes nothing that is not its own";

/// What to do about what can't be read.
fn of_unreadable(why: &str) -> String {
    of_shortage(why).unwrap_or(LOOK_THERE).to_owned()
}

/// What to do if the system had too little of something for this process, which says nothing of any lock.
fn of_shortage(why: &str) -> Option<&'static str> {
    let (_, number) = why.strip_suffix(')')?.rsplit_once(" (os error ")?;
    match Errno::from_raw_os_error(number.parse().ok()?) {
        Errno::MFILE => {
            Some("nothing is wrong with the lock: allow this process more open files (ulimit -n)")
        }
        Errno::NFILE => {
            Some("nothing is wrong with the lock: the system has too many files open, try it again")
        }
        Errno::NOMEM => Some("nothing is wrong with the lock: there is too little memory, try it again"),
        _ => None,
    }
}

/// What to do about a freeze of which nothing is known.
pub(crate) fn of_unknown(name: &Name, freeze: &UnknownFreeze) -> String {
    match freeze {
        UnknownFreeze::Newer(_) => {
            format!("upgrade lokt; if you are sure that it is over: lokt unfreeze {name} --force")
        }
        UnknownFreeze::Unreadable(why) => of_unreadable(why),
    }
}

/// What to do about a refusal.
pub(crate) fn of_refusal(name: &Name, refusal: &Refusal, waited: bool) -> Vec<String> {
    let wait = "wait for it: --wait, or --wait --timeout 5m";
    let which = refusal.record().map(which).unwrap_or_default();
    let force = format!("if you are sure that it is abandoned: lokt unlock {name} --force{which}");
    let end = format!("if its command must end: lokt unlock {name} --force{which}");
    match refusal {
        Refusal::Held { standing: Standing::Lapsed { .. }, .. } => {
            vec!["take it over: --break-stale, or --wait".to_owned()]
        }
        Refusal::Held { standing: Standing::CorruptButAlive(_), .. } => vec![force],
        Refusal::Frozen(Freeze { unknown: Some(unknown), .. })
        | Refusal::FrozenAlready(Freeze { unknown: Some(unknown), .. })
        | Refusal::AnothersFreeze(Freeze { unknown: Some(unknown), .. }) => vec![of_unknown(name, unknown)],
        Refusal::UnreadableFreeze(why) => vec![of_unreadable(why)],
        Refusal::Held { .. } | Refusal::Queued { .. } | Refusal::Frozen(_) if waited => {
            vec![format!("see who holds it: lokt why {name}")]
        }
        Refusal::Frozen(_) => {
            vec![wait.to_owned(), format!("its owner can end the freeze: lokt unfreeze {name}")]
        }
        Refusal::Held { .. } | Refusal::Queued { .. } => vec![wait.to_owned()],
        Refusal::OtherMode { held, .. } => {
            let ask = match held.to_string() {
                none if none.is_empty() => "without --slots".to_owned(),
                flag => format!("with {flag}"),
            };
            vec![format!("ask for it {ask}, or when nobody holds it: lokt status {name}")]
        }
        Refusal::Several(ids) => ids.iter().map(|id| format!("say which: --lock-id {id}")).collect(),
        Refusal::SeveralOfOthers(_) => vec![
            format!("see who they are: lokt status {name}"),
            format!("if one of them must end: lokt unlock {name} --force --lock-id ID"),
        ],
        Refusal::FrozenAlready(_) => {
            vec![format!("to freeze it anew, its owner has to end that first: lokt unfreeze {name}")]
        }
        Refusal::AnothersFreeze(_) => {
            vec![format!("if you are sure that it is over: lokt unfreeze {name} --force")]
        }
        Refusal::NotOwner(record) if record.kind == Some(Kind::Guard) => vec![end],
        Refusal::NotOwner(_) => vec![force],
        Refusal::NotStale { standing, record } => vec![
            format!("see who holds it: lokt why {name}"),
            match record.as_ref().and_then(|record| record.kind) {
                Some(Kind::Guard) if is_alive(standing) => end,
                _ => force,
            },
        ],
        Refusal::PidGone(_) => vec![format!("take it anew: lokt lock {name}")],
        Refusal::NoLease(_) => vec![format!("give it one: lokt renew {name} --ttl 5m")],
        Refusal::Unusable(Standing::Abandoned(Abandoned::Corrupt)) => {
            vec![format!("remove it: lokt unlock {name} --break-stale")]
        }
        Refusal::Unusable(Standing::Newer(_) | Standing::CorruptButAlive(_)) => vec![force],
        Refusal::Unusable(Standing::Unreadable(why)) => vec![of_unreadable(why)],
        Refusal::NotFound => vec!["see what is held: lokt status".to_owned()],
        Refusal::NotFrozen => vec![format!("see how it stands: lokt why {name}")],
        Refusal::Unusable(_) | Refusal::Lost(_) => Vec::new(),
    }
}

fn is_alive(standing: &Standing) -> bool {
    matches!(standing, Standing::Held { liveness: Liveness::Alive, .. })
}

/// What to do about a file system that would not.
pub(crate) fn of_io(error: &io::Error) -> Vec<String> {
    if let Some(hint) = of_shortage(&error.to_string()) {
        return vec![hint.to_owned()];
    }
    let look = "see what is wrong with the lock directory: lokt doctor";
    let hint = match error.kind() {
        _ if error.to_string().contains("LOKT_ROOT") => return Vec::new(),
        kind if is_full(kind) => {
            return vec![MAKE_ROOM.to_owned()];
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "everybody who shares these locks needs the same LOKT_ROOT, on a file system that can be written"
        }
        io::ErrorKind::CrossesDevices => {
            "all of the lock directory has to be in one place: something is mounted in it"
        }
        io::ErrorKind::InvalidData => LOOK_THERE,
        io::ErrorKind::PermissionDenied | io::ErrorKind::NotADirectory | io::ErrorKind::NotFound => {
            CHOOSE_ROOT
        }
        _ => return Vec::new(),
    };
    vec![hint.to_owned(), look.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_is_no_fault_of_the_locks() {
        for (errno, what) in
            [(Errno::MFILE, "ulimit"), (Errno::NFILE, "the system"), (Errno::NOMEM, "memory")]
        {
            let error = io::Error::from(errno);
            let hint = of_shortage(&format!("failed to open /x: {error}"));
            assert!(hint.is_some_and(|hint| hint.contains(what)), "{error}: {hint:?}");
        }
        let missing = io::Error::from(Errno::NOENT).to_string();
        for other in [&*missing, "x is a FIFO", "(os error 24)"] {
            assert_eq!(of_shortage(other), None, "{other}");
        }
    }
}
