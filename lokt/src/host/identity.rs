//! Who we are: owner, agent, machine, process. The environment is read here and nowhere else.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags, open};

use super::process;
use crate::protocol::{ClockId, Here, SessionFiles};

/// Who asks, as it stands in records. Owner and agent are names for people; they prove nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `LOKT_OWNER`, else the user's name.
    pub owner: String,
    /// `LOKT_AGENT_ID`, else one made for this process.
    pub agent_id: String,
    /// The machine's name.
    pub host: String,
    /// This process.
    pub pid: i64,
    /// When it started; see [`crate::Record::pid_start_ns`].
    pub pid_start: Option<i64>,
    /// The process-id namespace in which `pid` means something.
    pub pid_ns: Option<u64>,
}

impl Identity {
    /// This process's identity.
    pub fn current() -> Self {
        let pid = i64::from(std::process::id());
        let pid_start = process::start_of(pid);
        Self {
            owner: called_by("LOKT_OWNER").or_else(user_name).unwrap_or_else(|| "unknown".into()),
            agent_id: called_by("LOKT_AGENT_ID").unwrap_or_else(|| agent_of(pid, pid_start)),
            host: host_name(),
            pid,
            pid_start,
            pid_ns: process::pid_namespace(),
        }
    }

    /// From where it looks at holders whose sessions' files are so.
    pub(crate) fn here<'a>(&'a self, clock: &'a ClockId, is_local: bool, files: SessionFiles) -> Here<'a> {
        Here { host: &self.host, pid_ns: self.pid_ns, clock, is_local, files }
    }
}

/// The name that a variable gives; one of blanks alone is none, as nobody could see it.
fn called_by(variable: &str) -> Option<String> {
    environment(variable).filter(|name| !name.trim().is_empty())
}

/// A variable of the environment, for people: what is not Unicode is shown as well as it can be.
pub(crate) fn environment(variable: &str) -> Option<String> {
    environment_path(variable).map(|value| value.to_string_lossy().into_owned())
}

/// A variable of the environment as it is; empty counts as unset.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub(crate) fn environment_path(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// All variables of the environment, as they are: what a command is to inherit.
pub(super) fn variables() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os()
}

/// The name of this machine (uname's nodename).
pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The user's name from `/etc/passwd`, else from the environment, else the number.
///
/// Not `getpwuid`: in a static program it loads the C library's name service modules at run time.
fn user_name() -> Option<String> {
    let uid = rustix::process::geteuid().as_raw();
    let listed = list_in("/etc/passwd").and_then(|users| name_of(uid, &users));
    listed
        .or_else(|| environment("USER"))
        .or_else(|| environment("LOGNAME"))
        .or_else(|| Some(uid.to_string()))
}

/// The user that this process acts as, as people call it.
pub(crate) fn me_called() -> String {
    user_called(rustix::process::geteuid().as_raw())
}

/// A user as people and commands call it: by name, if there is one for the number.
pub(crate) fn user_called(uid: u32) -> String {
    called(uid, "/etc/passwd")
}

/// A group as people and commands call it.
pub(crate) fn group_called(gid: u32) -> String {
    called(gid, "/etc/group")
}

fn called(id: u32, list: &str) -> String {
    list_in(list).and_then(|list| name_of(id, &list)).unwrap_or_else(|| id.to_string())
}

/// A regular file, with no more system calls than that takes: it is read for each lock.
fn list_in(path: &str) -> Option<Vec<u8>> {
    let file = File::from(open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?);
    // One of no size may be of a file system that does not tell.
    let size = Some(file.metadata().ok()?.len()).filter(|size| *size > 0);
    let mut list = Vec::with_capacity(usize::try_from(size.unwrap_or_default()).ok()?);
    file.take(size.unwrap_or(u64::MAX)).read_to_end(&mut list).ok()?;
    Some(list)
}

/// The name that stands before `id` in a list like `/etc/passwd` or `/etc/group`.
fn name_of(id: u32, list: &[u8]) -> Option<String> {
    let id = id.to_string();
    list.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let name = fields.next()?;
        (fields.nth(1)? == id.as_bytes()).then(|| String::from_utf8_lossy(name).into_owned())
    })
}

/// An agent's id for this process, as the Go tool makes it: 16 bits of FNV-1a over process id and start.
fn agent_of(pid: i64, start: Option<i64>) -> String {
    let text = match start {
        Some(start) => format!("{pid}-{start}"),
        None => pid.to_string(),
    };
    let hash =
        text.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("agent-{:04x}", hash & 0xffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_user_by_number() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\n";
        assert_eq!(name_of(1000, passwd).as_deref(), Some("ada"));
        assert_eq!(name_of(7, passwd), None);
    }
}
