//! The place: where the root is, what it is on, and whether locks work there.

use std::io;
use std::path::Path;

use super::check::{Check, ROOT, WRITABLE};
use super::{Patient, State};
use crate::audit;
use crate::hints::{CHOOSE_ROOT, MAKE_ROOM};
use crate::host::{Dir, Fault, FileSystem, Host, ROTATED, Reach, RootSource, UnixHost, is_full, me_called};
use crate::words::{self, shell_word};

/// Less room than this, and the next lock may fail.
const LITTLE_ROOM: u64 = 1024 * 1024;

/// Fewer files than this, and the next lock may fail.
const FEW_FILES: u64 = 256;

pub(super) fn root(patient: &Patient) -> Check {
    let path = &patient.root.path;
    if let State::Unusable(ROOT, why) = &patient.state {
        return Check::fail(words::cause(why)).advise(CHOOSE_ROOT);
    }
    if path.is_relative()
        && let Ok(now) = std::path::absolute(path)
    {
        return Check::warn("LOKT_ROOT is relative: it is another directory in each working directory")
            .advise(format!("export LOKT_ROOT={}", shell_word(now.display())));
    }
    let found = match patient.source {
        Some(RootSource::Environment) => "LOKT_ROOT names it",
        Some(RootSource::Git) => "all worktrees of this git repository share it",
        _ => "in the working directory, as there is no git repository around it",
    };
    Check::ok(match patient.state {
        State::ToBeMade { .. } => format!("{found}; the first lock makes it"),
        _ => found.to_owned(),
    })
}

pub(super) fn writable(patient: &Patient) -> Check {
    let path = &patient.root.path;
    let tried = match &patient.state {
        State::Unusable(WRITABLE, why) => return refused(why, path, true),
        State::Unusable(..) => return Check::fail("nothing can be written: the root can't be used"),
        State::There => patient.host.probe_writing(),
        State::ToBeMade { trial, .. } => trial.probe_writing(),
    };
    match tried {
        Ok(skew) => {
            patient.skew.set(skew);
            Check::ok(match patient.state {
                State::ToBeMade { .. } => "it can be made: tried in the directory above",
                _ => "a file was written, synced, moved into its place and removed",
            })
        }
        Err(error) => refused(&error, path, false),
    }
}

/// What could not be written, and what to do about it.
fn refused(error: &io::Error, path: &Path, to_be_made: bool) -> Check {
    let check = Check::fail(words::cause(error));
    let (me, path) = (shell_word(me_called()), shell_word(path.display()));
    match error.kind() {
        kind if is_full(kind) => check.advise(MAKE_ROOM),
        io::ErrorKind::CrossesDevices => check.advise(format!(
            "all of it has to be in one place; see what is mounted in it: mount | grep {path}"
        )),
        io::ErrorKind::PermissionDenied if to_be_made => {
            check.advise(format!("have it made: sudo install -d -o {me} -m 700 {path}")).advise(CHOOSE_ROOT)
        }
        io::ErrorKind::PermissionDenied => {
            check.advise(format!("see whose it is: ls -la {path}")).advise(CHOOSE_ROOT)
        }
        _ => check.advise(CHOOSE_ROOT),
    }
}

pub(super) fn filesystem(patient: &Patient) -> Check {
    match patient.ground() {
        Ok(host) => on(host.filesystem()),
        Err(skipped) => skipped,
    }
}

fn on(found: io::Result<FileSystem>) -> Check {
    match found {
        Ok(FileSystem { kind, reach: Reach::Local }) => Check::ok(format!("{kind}, local")),
        Ok(FileSystem { kind, reach: Reach::Network }) => {
            careful(format!("{kind}, a network file system: other machines may have the locks open too"))
        }
        Ok(FileSystem { kind, reach: Reach::Unknown }) => {
            careful(format!("{kind}: whether other machines have the locks open too can't be told"))
        }
        Err(error) => Check::warn(format!("it can't be told: {}", words::cause(&error))),
    }
}

fn careful(message: String) -> Check {
    Check::warn(message)
        .advise("what can't be told from here counts as held, and waiters look now and then, as nothing wakes them")
        .advise("if all who share these locks are on this machine, set LOKT_ROOT to a directory on a local disk")
        .advise("if not, an etcd cluster is the store for several machines: LOKT_ROOT=etcd://… (docs/several-hosts.md)")
        .advise("where it must be this one, give every lock a --ttl, and see that its flock reaches all machines")
}

pub(super) fn flock(patient: &Patient) -> Check {
    let tried = match patient.ground() {
        Ok(host) => host.probe_flock(),
        Err(skipped) => return skipped,
    };
    match tried {
        Ok(()) => Check::ok("two processes exclude each other, and a kill frees the lock"),
        Err(Fault::Untried(why)) => Check::warn(format!("it could not be tried: {}", plain(why))),
        Err(Fault::Broken(why)) => Check::fail(format!("locks do not exclude here: {}", plain(why)))
            .advise("do not keep locks here: set LOKT_ROOT to a directory on a local disk"),
    }
}

/// Without the number that means nothing to people.
pub(super) fn plain(why: String) -> String {
    words::cause(&io::Error::other(why))
}

pub(super) fn space(patient: &Patient) -> Check {
    let room = match patient.ground().map(UnixHost::room) {
        Ok(Ok(room)) => room,
        Ok(Err(error)) => return Check::warn(format!("it can't be told: {}", words::cause(&error))),
        Err(skipped) => return skipped,
    };
    let files = room.files.map(|files| format!(", and for {files} files")).unwrap_or_default();
    let message = format!("room for {}{files}", size(room.bytes));
    if room.bytes >= LITTLE_ROOM && room.files.is_none_or(|files| files >= FEW_FILES) {
        return Check::ok(message);
    }
    Check::warn(format!("only {message}: the next lock may fail")).advise(MAKE_ROOM)
}

/// Nothing can be written, which `writable` says.
pub(super) fn is_read_only(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ReadOnlyFilesystem
}

/// A size for a glance: three digits at most, and a decimal where there is but one.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let (mut whole, mut tenths, mut unit) = (bytes / 1024, bytes % 1024 * 10 / 1024, 0);
    while whole >= 1024 && unit + 1 < UNITS.len() {
        (tenths, whole, unit) = (whole % 1024 * 10 / 1024, whole / 1024, unit + 1);
    }
    if whole < 10 { format!("{whole}.{tenths} {}", UNITS[unit]) } else { format!("{whole} {}", UNITS[unit]) }
}

pub(super) fn audit_log(patient: &Patient) -> Check {
    if let Err(skipped) = patient.ground() {
        return skipped;
    }
    if matches!(patient.state, State::ToBeMade { .. }) {
        return Check::ok("nothing is logged yet");
    }
    match patient.host.appendable(audit::FILE) {
        Ok(bytes) => {
            match (0..=ROTATED).try_for_each(|age| patient.host.open_log(audit::FILE, age).map(drop)) {
                Err(error) => {
                    Check::warn(format!("it can't be read, or not be rotated: {}", words::cause(&error)))
                        .advise("move that out of the way: until then the log only grows")
                }
                Ok(()) => Check::ok(match bytes {
                    None => "nothing is logged yet".to_owned(),
                    Some(bytes) => format!("lines can be appended; it has {}", size(bytes)),
                }),
            }
        }
        Err(error) if is_read_only(&error) => Check::skipped(),
        Err(error) => {
            Check::warn(format!("what happens is not logged: {}", words::cause(&error))).advise(format!(
                "see what stands there: ls -l {}",
                shell_word(patient.host.path_of(Dir::Root).join(audit::FILE).display())
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    #[test]
    fn a_network_file_system_is_warned_of_by_name() {
        let on = |kind: &str, reach| on(Ok(FileSystem { kind: kind.to_owned(), reach }));
        assert_eq!(on("ext4", Reach::Local).status, Status::Ok);
        for (kind, reach) in [("nfs", Reach::Network), ("fuse.sshfs", Reach::Unknown)] {
            let check = on(kind, reach);
            assert_eq!(check.status, Status::Warn, "{kind}");
            assert!(check.message.starts_with(kind), "{}", check.message);
            assert!(check.advice.iter().any(|advice| advice.contains("LOKT_ROOT")), "{kind}");
        }
    }

    #[test]
    fn a_size_takes_a_glance() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1024, "1.0 KiB"),
            (64 * 1024, "64 KiB"),
            (1_500_000, "1.4 MiB"),
            (u64::MAX, "16383 PiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
