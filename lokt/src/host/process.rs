//! Processes: does one run, when did it start, whose child is it.
//!
//! Process ids are reused, so a start time tells whether it is the same process. They mean something only in their own
//! namespace: that whoever asks means this one, is for the caller to know.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::OnceLock;

use rustix::fs::{Mode, OFlags, Stat as FileStat, major, minor, open};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use super::{ProcessState, filesystem};

/// A process as `/proc/PID/stat` shows it.
struct Stat {
    state: char,
    parent: i64,
    threads: i64,
    start: i64,
}

impl Stat {
    fn is_stopped(&self) -> bool {
        matches!(self.state, 'T' | 't')
    }

    /// Whether it has ended. A first thread that has ended before the others looks the same, but for their number.
    fn is_zombie(&self) -> bool {
        matches!(self.state, 'Z' | 'X') && self.threads <= 1
    }
}

/// Whether `/proc` shows the process ids of our own namespace. It may be mounted for another one.
fn is_ours() -> bool {
    static IS_OURS: OnceLock<bool> = OnceLock::new();
    let me = || fs::read_link("/proc/self").ok()?.to_str()?.parse().ok();
    *IS_OURS.get_or_init(|| me() == Some(std::process::id()))
}

/// What stands in `/proc/PID/stat` from the third field on. The command's name comes second, in parentheses, and may itself
/// contain any of `)`, spaces and newlines: what counts begins after the *last* parenthesis.
fn fields_of(pid: i64) -> Option<String> {
    let (mut text, _) = short_file(&format!("/proc/{pid}/stat"))?;
    text.drain(..text.rfind(") ")? + 2);
    Some(text)
}

fn stat(pid: i64) -> Option<Stat> {
    if !is_ours() {
        return None;
    }
    let fields = fields_of(pid)?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    // Fields 20 and 22 of the line, counted from 1.
    let threads = fields.nth(15)?.parse().ok()?;
    let start = fields.nth(1)?.parse().ok()?;
    Some(Stat { state, parent, threads, start })
}

/// A short file of `/proc`; and whether it is the kernel's own, and no other that is mounted there.
pub(super) fn kernels_file(path: &str) -> Option<(String, bool)> {
    let (text, file) = short_file(path)?;
    Some((text, filesystem::is_proc(file)))
}

/// A file of `/proc`, which tells no size, but gives all of a short text to one read.
fn short_file(path: &str) -> Option<(String, OwnedFd)> {
    let mut bytes = [0; 1024];
    let file = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let read = rustix::io::read(&file, &mut bytes).ok()?;
    Some((String::from_utf8_lossy(&bytes[..read]).into_owned(), file))
}

/// When a process started, in clock ticks since boot; `None` where the machine does not tell.
pub(super) fn start_of(pid: i64) -> Option<i64> {
    stat(pid).map(|stat| stat.start)
}

/// Whether a process runs that has this id, and since when.
pub(crate) fn state_of(pid: i64) -> ProcessState {
    let Some(id) = as_pid(pid) else {
        return ProcessState::Unknown;
    };
    match test_kill_process(id) {
        Err(Errno::SRCH) => ProcessState::Gone,
        // Everything else, EPERM included, means that it is there.
        _ => match stat(pid) {
            // It has ended, and only its parent has not noticed.
            Some(now) if now.is_zombie() => ProcessState::Gone,
            now => ProcessState::Running { start: now.map(|now| now.start) },
        },
    }
}

/// A process id as the system takes it; none of what would mean "every process" or "my group".
pub(crate) fn as_pid(pid: i64) -> Option<Pid> {
    i32::try_from(pid).ok().filter(|pid| *pid > 0).and_then(Pid::from_raw)
}

/// Whether a process is stopped (Ctrl-Z, SIGSTOP) and so can't take its turn.
pub(crate) fn is_stopped(pid: i64) -> bool {
    stat(pid).is_some_and(|stat| stat.is_stopped())
}

/// Whether a process runs for all that can be told; one of which nothing can be told does not.
pub(crate) fn is_seen_to_run(pid: i64) -> bool {
    stat(pid).is_some_and(|stat| !stat.is_stopped())
}

/// Whether a process has ended and only waits for its parent to notice.
pub(crate) fn is_zombie(pid: i64) -> bool {
    stat(pid).is_some_and(|stat| stat.is_zombie())
}

/// The process-id namespace of this process.
pub(crate) fn pid_namespace() -> Option<u64> {
    namespace("pid")
}

/// The time namespace of this process, which shifts its monotonic clock.
pub(crate) fn time_namespace() -> Option<u64> {
    namespace("time")
}

/// Whether the children of this process are in its own time namespace.
pub(crate) fn gives_its_time_to_children() -> bool {
    let of = |what: &str| fs::read_link(format!("/proc/self/ns/{what}")).ok();
    of("time").is_some() && of("time") == of("time_for_children")
}

fn namespace(kind: &str) -> Option<u64> {
    let link = fs::read_link(format!("/proc/self/ns/{kind}")).ok()?;
    let text = link.to_str()?;
    text.strip_prefix(kind)?.strip_prefix(":[")?.strip_suffix(']')?.parse().ok()
}

/// The ancestors of this process, nearest first, as far as this namespace shows them.
pub(crate) fn ancestors() -> Vec<i64> {
    let mut found = Vec::new();
    let mut current = i64::from(std::process::id());
    while let Some(stat) = stat(current)
        && stat.parent > 0
        && !found.contains(&stat.parent)
    {
        found.push(stat.parent);
        current = stat.parent;
    }
    found
}

/// Every process that descends from `pid`, nearest first; `None` if nobody can be [seen](family).
pub(crate) fn descendants(pid: i64) -> Option<Vec<i64>> {
    Some(family(pid)?.into_iter().map(|(pid, _)| pid).collect())
}

/// The same, each with its parent; `None` if nobody can be seen: `/proc` is missing, or another namespace's, or there is no
/// descriptor left to read it by.
pub(crate) fn family(pid: i64) -> Option<Vec<(i64, i64)>> {
    let entries = fs::read_dir("/proc").ok()?;
    let parents: Vec<(i64, i64)> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid: i64| Some((pid, stat(pid)?.parent)))
        .collect();
    let me = i64::from(std::process::id());
    parents.iter().find(|(pid, _)| *pid == me)?;
    let mut found = vec![(pid, 0)];
    let mut next = 0;
    while let Some(&(parent, _)) = found.get(next) {
        found.extend(parents.iter().filter(|(_, of)| *of == parent));
        next += 1;
    }
    Some(found.split_off(1))
}

/// The variables that a process got at its last exec, as far as it has left them alone; none if they may not be read. `None`
/// if that can't be told at the moment: there is no descriptor left to read them by, or it is amid an exec, and has none.
pub(crate) fn variables_of(pid: i64) -> Option<Vec<String>> {
    let file = match open(format!("/proc/{pid}/environ"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::INTR) => return None,
        Err(_) => return Some(Vec::new()),
        Ok(file) => file,
    };
    let size = size_of_variables(pid)?;
    let mut bytes = vec![0; if size > MOST_VARIABLES { 0 } else { size }];
    // In one read: an exec ends what was opened, and a second one would find nothing.
    if rustix::io::read(&file, &mut bytes).ok()? < bytes.len() {
        return None;
    }
    Some(bytes.split(|byte| *byte == 0).map(|entry| String::from_utf8_lossy(entry).into_owned()).collect())
}

/// More an exec does not take: a program that says so of itself has none.
const MOST_VARIABLES: usize = 8 << 20;

/// How many bytes they have; `None` if they have no place yet, nor any more.
fn size_of_variables(pid: i64) -> Option<usize> {
    let fields = fields_of(pid)?;
    // Fields 26, 50 and 51 of the line, counted from 1: where the code begins, which an exec sets after the others (it begins
    // with an end that is the beginning); and where the variables begin and end.
    let mut fields = fields.split_ascii_whitespace().map(|field| field.parse().unwrap_or_default());
    let (code, begin, end): (usize, usize, usize) = (fields.nth(23)?, fields.nth(23)?, fields.next()?);
    end.checked_sub(begin).filter(|_| code > 0 && begin > 0)
}

/// Whether another process runs the program that this one runs.
pub(crate) fn is_another_of_us(pid: i64) -> bool {
    let program = |process: &str| fs::metadata(format!("/proc/{process}/exe")).ok();
    let same =
        |(own, other): (fs::Metadata, fs::Metadata)| (own.dev(), own.ino()) == (other.dev(), other.ino());
    program("self").zip(program(&pid.to_string())).is_some_and(same) && pid != i64::from(std::process::id())
}

/// Who holds a flock on this file, as far as `/proc/locks` tells.
pub(crate) fn flock_holder(file: &FileStat) -> Option<String> {
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let pid = holder_among(&locks, file)?;
    let command = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let stopped = if is_stopped(pid) { ", which is stopped," } else { "" };
    match command.trim_end() {
        "" => Some(format!("process {pid}{stopped}")),
        command => Some(format!("process {pid} ({command}){stopped}")),
    }
}

/// Whether one of this process's descriptors is the file at this path, as far as `/proc` tells.
pub(crate) fn has_open(path: &Path) -> bool {
    let (Ok(file), Ok(descriptors)) = (fs::symlink_metadata(path), fs::read_dir("/proc/self/fd")) else {
        return false;
    };
    let is_it = |open: fs::Metadata| open.dev() == file.dev() && open.ino() == file.ino();
    descriptors.flatten().any(|descriptor| fs::metadata(descriptor.path()).is_ok_and(is_it))
}

/// The process behind `1: FLOCK  ADVISORY  WRITE 4711 00:1a:6 0 EOF`: the file is named by device and inode. (One that
/// waits has an arrow before the word.) Some file systems (Btrfs) tell another device here than with the file: there the
/// inode will do, if it is only one's.
fn holder_among(locks: &str, file: &FileStat) -> Option<i64> {
    let all: Vec<(&str, &str)> = locks
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            (fields.get(1) == Some(&"FLOCK")).then_some((*fields.get(5)?, *fields.get(4)?))
        })
        .collect();
    let exact = format!("{:02x}:{:02x}:{}", major(file.st_dev), minor(file.st_dev), file.st_ino);
    let inode = format!(":{}", file.st_ino);
    let is_exact = |(of, _): &&(&str, &str)| *of == exact;
    let mut alike = all.iter().filter(|(of, _)| of.ends_with(&inode));
    let found = all.iter().find(is_exact).or_else(|| alike.next().filter(|_| alike.next().is_none()))?;
    found.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_flock_is_found_by_device_and_inode() {
        let locks = "1: POSIX  ADVISORY  WRITE 1 00:1a:6 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 2 00:1b:6 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 3 00:1a:6 0 EOF\n\
                     3: -> FLOCK  ADVISORY  WRITE 4 00:1a:6 0 EOF\n\
                     4: -> FLOCK  ADVISORY  WRITE 5 00:1a:7 0 EOF\n\
                     5: FLOCK  ADVISORY  WRITE 6 00:1c:8 0 EOF\n";
        let mut file = rustix::fs::stat("/proc/self").unwrap();
        file.st_dev = rustix::fs::makedev(0, 0x1a);
        for (inode, holder) in [(6, Some(3)), (7, None), (8, Some(6)), (66, None)] {
            file.st_ino = inode;
            assert_eq!(holder_among(locks, &file), holder, "{inode}");
        }
    }

    #[test]
    fn knows_itself_and_its_parent() {
        let me = i64::from(std::process::id());
        let start = start_of(me);
        assert!(start.is_some());
        assert_eq!(state_of(me), ProcessState::Running { start });
        let parent = i64::from(std::os::unix::process::parent_id());
        assert!(ancestors().contains(&parent));
        assert!(!ancestors().contains(&me), "nobody is their own ancestor");
        assert!(descendants(parent).is_some_and(|all| all.contains(&me)));
    }

    #[test]
    fn a_pid_that_is_none_is_unknown() {
        for pid in [0, -1, i64::MAX, i64::from(i32::MIN)] {
            assert_eq!(state_of(pid), ProcessState::Unknown, "{pid}");
        }
    }
}
