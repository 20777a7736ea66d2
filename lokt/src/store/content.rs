//! A record as it is written.

use std::io;

use crate::protocol::Record;

/// The largest record that is read, and so that is written: a hundred times what one needs.
pub(super) const LARGEST: usize = 64 * 1024;

/// What is written of a record.
pub(super) fn content_of(record: &Record) -> io::Result<Vec<u8>> {
    let content = record.write();
    if content.len() > LARGEST {
        // It would be read as corrupt, and bind nobody.
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "its record would be larger than 64 KiB"));
    }
    Ok(content)
}
