//! What to do next about what went wrong, in a line each.

use std::io;

use crate::host::is_full;
use crate::protocol::{Abandoned, Freeze, Kind, Name, Refusal, Standing, UnknownFreeze};
use crate::words::which;

/// What to do about what can't be read.
const LOOK_THERE: &str = "see what stands there; lokt removes nothing that is not its own";

/// What to do about a freeze of which nothing is known.
pub(crate) fn of_unknown(name: &Name, freeze: &UnknownFreeze) -> String {
    match freeze {
        UnknownFreeze::Newer(_) => {
            format!("upgrade lokt; if you are sure that it is over: lokt unfreeze {name} --force")
        }
        UnknownFreeze::Unreadable(_) => LOOK_THERE.to_owned(),
    }
}

/// What to do about a refusal.
pub(crate) fn of_refusal(name: &Name, refusal: &Refusal, waited: bool) -> Vec<String> {
    let wait = "wait for it: --wait, or --wait --timeout 5m";
    let which = refusal.record().map(which).unwrap_or_default();
    let force = format!("if you are sure that it is abandoned: lokt unlock {name} --force{which}");
    match refusal {
        Refusal::Held { standing: Standing::Lapsed { .. }, .. } => {
            vec!["take it over: --break-stale, or --wait".to_owned()]
        }
        Refusal::Held { standing: Standing::CorruptButAlive(_), .. } => vec![force],
        Refusal::Frozen(Freeze { unknown: Some(unknown), .. })
        | Refusal::FrozenAlready(Freeze { unknown: Some(unknown), .. })
        | Refusal::AnothersFreeze(Freeze { unknown: Some(unknown), .. }) => vec![of_unknown(name, unknown)],
        Refusal::UnreadableFreeze(_) => vec![LOOK_THERE.to_owned()],
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
        Refusal::FrozenAlready(_) => vec![format!("to freeze it anew, end that first: lokt unfreeze {name}")],
        Refusal::AnothersFreeze(_) => {
            vec![format!("if you are sure that it is over: lokt unfreeze {name} --force")]
        }
        Refusal::NotOwner(record) if record.kind == Some(Kind::Guard) => {
            vec![format!("if its command must end: lokt unlock {name} --force{which}")]
        }
        Refusal::NotOwner(_) => vec![force],
        Refusal::NotStale { .. } => vec![format!("see who holds it: lokt why {name}"), force],
        Refusal::NoLease(_) => vec![format!("give it one: lokt renew {name} --ttl 5m")],
        Refusal::Unusable(Standing::Abandoned(Abandoned::Corrupt)) => {
            vec![format!("remove it: lokt unlock {name} --break-stale")]
        }
        Refusal::Unusable(Standing::Newer(_) | Standing::CorruptButAlive(_)) => vec![force],
        Refusal::Unusable(Standing::Unreadable(_)) => vec![LOOK_THERE.to_owned()],
        Refusal::NotFound => vec!["see what is held: lokt status".to_owned()],
        Refusal::NotFrozen => vec![format!("see how it stands: lokt why {name}")],
        Refusal::Unusable(_) | Refusal::Lost(_) => Vec::new(),
    }
}

/// What to do about a file system that would not.
pub(crate) fn of_io(error: &io::Error) -> Vec<String> {
    let look = "see what is wrong with the lock directory: lokt doctor";
    let hint = match error.kind() {
        _ if error.to_string().contains("LOKT_ROOT") => return Vec::new(),
        kind if is_full(kind) => {
            return vec!["make room there; what is held stays held, and can be released".to_owned()];
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "everybody who shares these locks needs the same LOKT_ROOT, on a file system that can be written"
        }
        io::ErrorKind::InvalidData => "see what stands there; lokt removes nothing that is not its own",
        io::ErrorKind::PermissionDenied | io::ErrorKind::NotADirectory | io::ErrorKind::NotFound => {
            "LOKT_ROOT chooses another lock directory; everybody who shares these locks needs the same"
        }
        _ => return Vec::new(),
    };
    vec![hint.to_owned(), look.to_owned()]
}
