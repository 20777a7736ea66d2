//! Where a session's file is when its lock is not on this machine: a directory of the user's own, gone after a boot.

use std::fs::{DirBuilder, symlink_metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::failure::{named, strange};
use super::identity::environment_path;
use crate::hash::fnv1a;

/// The user's directory for what belongs to `place`: below `$XDG_RUNTIME_DIR`, else in `/tmp`.
///
/// # Errors
///
/// It can't be made, or what stands there is not this user's own alone.
pub(crate) fn runtime_dir(place: &str) -> io::Result<PathBuf> {
    let me = rustix::process::geteuid().as_raw();
    let own = match environment_path("XDG_RUNTIME_DIR").filter(|dir| dir.is_absolute() && dir.is_dir()) {
        Some(dir) => dir.join("lokt"),
        None => PathBuf::from(format!("/tmp/lokt-{me}")),
    };
    match DirBuilder::new().mode(0o700).create(&own) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(named(&error, "create", &own));
        }
        _ => check(&own, me)?,
    }
    Ok(own.join(format!("{:016x}", fnv1a(place.bytes()))))
}

/// In `/tmp` anybody may have made it before us.
fn check(dir: &Path, me: u32) -> io::Result<()> {
    let found = symlink_metadata(dir).map_err(|error| named(&error, "open", dir))?;
    if !found.is_dir() || found.uid() != me || found.mode() & 0o077 != 0 {
        return Err(strange(dir, "not a directory of yours alone (0700)"));
    }
    Ok(())
}
