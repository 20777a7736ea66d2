//! Which error is possible for which system call: only those are tried.
//!
//! Left out, and why:
//!
//! * `close`: Linux releases the descriptor whatever it returns; an injected error would skip that, and leak a lock
//!   that no kernel leaks. `flock(LOCK_UN)` and `munmap` likewise: for a descriptor that is one they do not fail.
//! * EMFILE for calls that make no descriptor; ENOSPC for those that make nothing on a disk.
//! * EACCES for calls on what is open already; EIO for calls that touch no device (`getpid`, `futex`, `fcntl`).
//! * EINTR for calls that never sleep (`fstat`, `getrandom` of a few bytes), and for a poll, `wait4` or `flock` that was
//!   told not to. A local file system does not interrupt `renameat2` and its like.
//! * Calls that create processes and threads (`clone`, `clone3`, `execve`): their errors are others (EAGAIN, ENOMEM).

/// An error that is injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Errno {
    Eio,
    Enospc,
    Eacces,
    Emfile,
    Eintr,
}

impl Errno {
    pub fn name(self) -> &'static str {
        match self {
            Self::Eio => "EIO",
            Self::Enospc => "ENOSPC",
            Self::Eacces => "EACCES",
            Self::Emfile => "EMFILE",
            Self::Eintr => "EINTR",
        }
    }

    /// Whether a call, as strace wrote it, can fail so.
    pub fn is_possible(self, call: &str, text: &str) -> bool {
        let creates = text.contains("O_CREAT") || ["mknodat", "mkdirat", "mkdir", "linkat"].contains(&call);
        let opens = ["open", "openat"].contains(&call);
        let by_path = opens || creates || PATHS.contains(&call) && !text.contains("AT_EMPTY_PATH");
        match self {
            Self::Eio => by_path || DATA.contains(&call) && !is_pipe(text),
            Self::Enospc => creates || ON_DISK.contains(&call) && !is_pipe(text),
            Self::Eacces => by_path,
            Self::Emfile => opens || ["pipe2", "socketpair"].contains(&call) || text.contains("F_DUPFD"),
            Self::Eintr => match call {
                "read" | "write" | "openat" | "open" => true,
                "poll" | "ppoll" => !text.contains("tv_nsec=0}") || !text.contains("tv_sec=0"),
                "wait4" | "waitid" => !text.contains("WNOHANG"),
                "flock" => !text.contains("LOCK_UN") && !text.contains("LOCK_NB"),
                _ => false,
            },
        }
    }
}

/// Whether a call is about a pipe: no device is behind it. strace shows what a descriptor is (`-y`).
fn is_pipe(text: &str) -> bool {
    let descriptor = text.split(['<', '>']).nth(1).unwrap_or_default();
    ["pipe:", "socket:", "/dev/", "UNIX"].iter().any(|start| descriptor.starts_with(start))
        || descriptor.contains("/sessions/")
}

/// Calls that need room on a disk, beside those that create.
const ON_DISK: [&str; 5] = ["write", "pwrite64", "fsync", "renameat", "renameat2"];

/// Calls that look a path up, beside those that open or create.
const PATHS: [&str; 9] =
    ["statx", "newfstatat", "stat", "lstat", "unlinkat", "renameat", "renameat2", "readlink", "access"];

/// Calls that read or write what is open.
const DATA: [&str; 9] =
    ["read", "pread64", "write", "pwrite64", "ftruncate", "fsync", "fdatasync", "getdents64", "fchmod"];

#[cfg(test)]
mod tests {
    use super::*;

    fn possible(call: &str, text: &str) -> Vec<&'static str> {
        let all = [Errno::Eio, Errno::Enospc, Errno::Eacces, Errno::Emfile, Errno::Eintr];
        all.into_iter().filter(|errno| errno.is_possible(call, text)).map(Errno::name).collect()
    }

    #[test]
    fn each_call_fails_only_as_it_can() {
        assert_eq!(possible("close", "close(3)"), [""; 0]);
        assert_eq!(possible("flock", "flock(3, LOCK_UN)"), [""; 0]);
        assert_eq!(possible("flock", "flock(3, LOCK_EX)"), ["EINTR"]);
        assert_eq!(possible("openat", "openat(3, \"x\", O_RDONLY)"), ["EIO", "EACCES", "EMFILE", "EINTR"]);
        assert_eq!(possible("renameat2", "renameat2(3, \"x\", 4, \"y\", 0)"), ["EIO", "ENOSPC", "EACCES"]);
        assert_eq!(possible("fcntl", "fcntl(4, F_DUPFD_CLOEXEC, 3)"), ["EMFILE"]);
        assert_eq!(possible("read", "read(3<pipe:[7]>, \"X\", 64)"), ["EINTR"]);
        assert_eq!(possible("getpid", "getpid()"), [""; 0]);
    }
}
