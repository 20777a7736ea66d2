//! A directory that only one task at a time may work in.

use std::fs::{File, TryLockError};
use std::path::Path;

use anyhow::{Context, anyhow, bail};

/// Locks `marker`, creating it if need be, until the file is dropped; `busy` says what to do if another task has it.
pub fn lock(marker: &Path, busy: &str) -> anyhow::Result<File> {
    let file = File::options().create(true).append(true).open(marker);
    let file = file.with_context(|| format!("failed to write {}", marker.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!("{busy}"),
        Err(TryLockError::Error(error)) => {
            Err(anyhow!(error).context(format!("failed to lock {}", marker.display())))
        }
    }
}
