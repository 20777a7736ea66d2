//! The file system under the root: its name, whether other machines may have it open, and the room on it.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::fstatvfs;

/// Who can have the files of a file system open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Only this machine's kernel.
    Local,
    /// Other machines too.
    Network,
    /// It can't be told; treated as a network's.
    #[cfg_attr(target_vendor = "apple", allow(dead_code, reason = "there it can always be told"))]
    Unknown,
}

/// A file system, by its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileSystem {
    /// What it is called: `ext4`, `nfs`, `fuse.sshfs`.
    pub(crate) kind: String,
    /// Who can have its files open.
    pub(crate) reach: Reach,
}

/// The room that is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    /// In bytes.
    pub(crate) bytes: u64,
    /// In files; `None` where they are not counted.
    pub(crate) files: Option<u64>,
}

/// How much room is left for this user.
pub(super) fn room(fd: impl AsFd) -> io::Result<Room> {
    let stat = fstatvfs(fd)?;
    let counted = stat.f_files > 0;
    Ok(Room { bytes: stat.f_bavail.saturating_mul(stat.f_frsize), files: counted.then_some(stat.f_favail) })
}

/// Whether only this machine's kernel can have the files open; doubt falls on "no".
pub(super) fn is_local(fd: impl AsFd) -> bool {
    reach_of(fd).is_ok_and(|reach| reach == Reach::Local)
}

#[cfg(target_os = "linux")]
pub(super) use linux::{is_proc, of, reach_of};

#[cfg(not(target_os = "linux"))]
pub(super) fn is_proc(_: impl AsFd) -> bool {
    false
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::io;
    use std::os::fd::AsFd;

    use rustix::fs::{fstat, fstatfs, major, minor};

    use super::{FileSystem, Reach};

    const FUSE: u32 = 0x6573_5546;
    const EXT: u32 = 0xef53;

    /// By the number of their kind (statfs(2), `f_type`).
    const PROC: u32 = 0x9fa0;

    const KNOWN: [(u32, &str, Reach); 35] = [
        (EXT, "ext4", Reach::Local),
        (0x5846_5342, "xfs", Reach::Local),
        (0x9123_683e, "btrfs", Reach::Local),
        (0x0102_1994, "tmpfs", Reach::Local),
        (0x8584_58f6, "ramfs", Reach::Local),
        (0x794c_7630, "overlayfs", Reach::Local),
        (0x2fc1_2fc1, "zfs", Reach::Local),
        (0xf2f5_2010, "f2fs", Reach::Local),
        (0xca45_1a4e, "bcachefs", Reach::Local),
        (0x3153_464a, "jfs", Reach::Local),
        (0x6969, "nfs", Reach::Network),
        (0x517b, "smb", Reach::Network),
        (0xff53_4d42, "cifs", Reach::Network),
        (0xfe53_4d42, "smb2", Reach::Network),
        (0x0102_1997, "9p", Reach::Network),
        (0x00c3_6400, "ceph", Reach::Network),
        (0x5346_414f, "afs", Reach::Network),
        (0x6b41_4653, "afs", Reach::Network),
        (0x7375_7245, "coda", Reach::Network),
        (0x564c, "ncp", Reach::Network),
        (0x0bd0_0bd0, "lustre", Reach::Network),
        (0x4750_4653, "gpfs", Reach::Network),
        (0x1983_0326, "beegfs", Reach::Network),
        (0x2003_0528, "orangefs", Reach::Network),
        (0x0116_1970, "gfs2", Reach::Network),
        (0x7461_636f, "ocfs2", Reach::Network),
        (0x786f_4256, "vboxsf", Reach::Network),
        (0xbacb_acbc, "vmhgfs", Reach::Network),
        (FUSE, "fuse", Reach::Unknown),
        (0x4d44, "vfat", Reach::Unknown),
        (0x2011_bab0, "exfat", Reach::Unknown),
        (0x5346_544e, "ntfs", Reach::Unknown),
        (0x7366_746e, "ntfs3", Reach::Unknown),
        (0xf15f, "ecryptfs", Reach::Unknown),
        (0x5265_4973, "reiserfs", Reach::Unknown),
    ];

    /// What kind of file system an open file is on.
    pub(in crate::host) fn of(fd: impl AsFd) -> io::Result<FileSystem> {
        let number = fstatfs(&fd)?.f_type as u32;
        let (kind, reach) = match known(number) {
            Some((kind, reach)) => (kind.to_owned(), reach),
            None => (format!("of an unknown kind (0x{number:x})"), Reach::Unknown),
        };
        // Many are behind one number: the table of mounts has the name of each.
        let shared = [FUSE, EXT].contains(&number);
        let kind = if shared { mounted_as(&fd).unwrap_or(kind) } else { kind };
        Ok(FileSystem { kind, reach })
    }

    /// Whether a file is the kernel's own, of `/proc`.
    pub(in crate::host) fn is_proc(fd: impl AsFd) -> bool {
        fstatfs(fd).is_ok_and(|stat| stat.f_type as u32 == PROC)
    }

    /// Who can have the files of the file system open on which this one is.
    pub(in crate::host) fn reach_of(fd: impl AsFd) -> io::Result<Reach> {
        Ok(known(fstatfs(&fd)?.f_type as u32).map_or(Reach::Unknown, |(_, reach)| reach))
    }

    fn known(number: u32) -> Option<(&'static str, Reach)> {
        KNOWN.iter().find(|(known, ..)| *known == number).map(|(_, kind, reach)| (*kind, *reach))
    }

    /// The kind of the mount with this file's device, as `/proc/self/mountinfo` has it (proc(5)).
    fn mounted_as(fd: impl AsFd) -> Option<String> {
        let device = fstat(fd).ok()?.st_dev;
        let device = format!("{}:{}", major(device), minor(device));
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        kind_of(&device, &mounts)
    }

    fn kind_of(device: &str, mounts: &str) -> Option<String> {
        mounts.lines().find_map(|line| {
            let (mount, source) = line.split_once(" - ")?;
            (mount.split(' ').nth(2) == Some(device)).then(|| source.split(' ').next())?.map(str::to_owned)
        })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_kind_of_a_mount_is_found_by_its_device() {
            let mounts = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw\n\
                          40 22 0:41 / /mnt rw - fuse.sshfs ada@h: rw,user_id=0\n";
            assert_eq!(kind_of("0:41", mounts).as_deref(), Some("fuse.sshfs"));
            assert_eq!(kind_of("8:1", mounts).as_deref(), Some("ext4"));
            assert_eq!(kind_of("0:4", mounts), None);
        }

        #[test]
        fn no_number_is_known_twice() {
            let mut numbers: Vec<u32> = KNOWN.iter().map(|(number, ..)| *number).collect();
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), KNOWN.len());
        }
    }
}

#[cfg(target_vendor = "apple")]
pub(super) use apple::{of, reach_of};

#[cfg(target_vendor = "apple")]
mod apple {
    use std::io;
    use std::os::fd::AsFd;

    use rustix::fs::{StatFs, fstatfs};

    use super::{FileSystem, Reach};

    /// `MNT_LOCAL` of `<sys/mount.h>`.
    const LOCAL: u32 = 0x1000;

    /// What kind of file system an open file is on.
    pub(in crate::host) fn of(fd: impl AsFd) -> io::Result<FileSystem> {
        let stat = fstatfs(fd)?;
        let kind: Vec<u8> =
            stat.f_fstypename.iter().map(|byte| *byte as u8).take_while(|byte| *byte != 0).collect();
        Ok(FileSystem { kind: String::from_utf8_lossy(&kind).into_owned(), reach: reach(&stat) })
    }

    /// Who can have the files of the file system open on which this one is.
    pub(in crate::host) fn reach_of(fd: impl AsFd) -> io::Result<Reach> {
        Ok(reach(&fstatfs(fd)?))
    }

    fn reach(stat: &StatFs) -> Reach {
        if stat.f_flags & LOCAL == 0 { Reach::Network } else { Reach::Local }
    }
}

/// Elsewhere nothing is known of them.
#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
pub(super) fn of(_: impl AsFd) -> io::Result<FileSystem> {
    Ok(FileSystem { kind: "of a kind that can't be told here".to_owned(), reach: Reach::Unknown })
}

/// See [`of`].
#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
pub(super) fn reach_of(_: impl AsFd) -> io::Result<Reach> {
    Ok(Reach::Unknown)
}
