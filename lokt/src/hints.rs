//! What to do next about what went wrong, in a line each.

use std::io;

use crate::host::{is_full, shortage_of};
use crate::protocol::{
    Abandoned, Freeze, Kind, Liveness, Name, Refusal, Shortage, Standing, UnknownFreeze, Unreadable,
};
use crate::words::which;

/// What to do about a full disk.
pub(crate) const MAKE_ROOM: &str = "make room there; what is held stays held, and can be released";

/// What to do about a root that can't be used.
pub(crate) const CHOOSE_ROOT: &str =
    "LOKT_ROOT chooses another lock directory; everybody who shares these locks needs the same";

/// What to do about what is not lokt's.
const LOOK_THERE: &str = "see what stands there; lokt removes nothing that is not its own";

/// What to do about what can't be read.
fn of_unreadable(what: &Unreadable) -> String {
    what.shortage.map_or(LOOK_THERE, of_shortage).to_owned()
}

fn of_shortage(shortage: Shortage) -> &'static str {
    match shortage {
        Shortage::OpenFiles => {
            "nothing is wrong with the lock: allow this process more open files (ulimit -n)"
        }
        Shortage::OpenFilesOfAll => {
            "nothing is wrong with the lock: the system has too many files open, try it again"
        }
        Shortage::Memory => "nothing is wrong with the lock: there is too little memory, try it again",
    }
}

/// What to do about a freeze of which nothing is known.
pub(crate) fn of_unknown(name: &Name, freeze: &UnknownFreeze) -> String {
    match freeze {
        UnknownFreeze::Newer(_) => {
            format!("upgrade lokt; if you are sure that it is over: lokt unfreeze {name} --force")
        }
        UnknownFreeze::Unreadable(what) => of_unreadable(what),
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
        Refusal::UnreadableFreeze(what) => vec![of_unreadable(what)],
        Refusal::Held { .. } | Refusal::Queued { .. } if waited => {
            vec![format!("see who holds it: lokt why {name}")]
        }
        Refusal::Frozen(_) => {
            let unfreeze = format!("its owner can end the freeze: lokt unfreeze {name}");
            [wait.to_owned()].into_iter().filter(|_| !waited).chain([unfreeze]).collect()
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
        Refusal::NotOwner { standing, .. } if standing.is_abandoned() => {
            vec![format!("remove it, as it binds nobody: lokt unlock {name} --break-stale")]
        }
        Refusal::NotOwner { standing: Standing::Lapsed { .. }, .. } => {
            vec![format!("its lease has lapsed; to end its command: lokt unlock {name} --break-stale")]
        }
        Refusal::NotOwner { record, .. } if record.kind == Some(Kind::Guard) => vec![end],
        Refusal::NotOwner { .. } => vec![format!("see who holds it: lokt why {name}"), force],
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
        Refusal::Unusable(Standing::Unreadable(what)) => vec![of_unreadable(what)],
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
    if let Some(shortage) = shortage_of(error) {
        return vec![of_shortage(shortage).to_owned()];
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
        io::ErrorKind::InvalidData | io::ErrorKind::IsADirectory => LOOK_THERE,
        io::ErrorKind::PermissionDenied | io::ErrorKind::NotADirectory | io::ErrorKind::NotFound => {
            CHOOSE_ROOT
        }
        _ => return Vec::new(),
    };
    vec![hint.to_owned(), look.to_owned()]
}
