//! A `.tar.gz` that is the same whenever and by whomever it is made: sorted, of one time, owned by nobody in particular.

use std::io::{self, Write};

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

/// A file of the archive.
pub struct Entry {
    path: String,
    mode: u32,
    content: Vec<u8>,
}

impl Entry {
    /// A file to be read.
    pub fn text(path: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), mode: 0o644, content: content.into() }
    }

    /// A file to be run.
    pub fn program(path: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), mode: 0o755, content: content.into() }
    }
}

/// Compressed, with neither a time nor a file's name in the header.
pub fn gzip(content: &[u8]) -> io::Result<Vec<u8>> {
    let mut gzip = compressor();
    gzip.write_all(content)?;
    gzip.finish()
}

fn compressor() -> GzEncoder<Vec<u8>> {
    GzBuilder::new().mtime(0).write(Vec::new(), Compression::best())
}

/// The archive of these files below the directory `top`, all of them from `seconds` after 1970.
pub fn pack(top: &str, mut entries: Vec<Entry>, seconds: i64) -> io::Result<Vec<u8>> {
    entries.sort_by(|one, other| one.path.cmp(&other.path));
    let mut tar = Builder::new(compressor());
    for entry in entries {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(entry.mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(u64::try_from(seconds).unwrap_or(0));
        header.set_size(entry.content.len() as u64);
        tar.append_data(&mut header, format!("{top}/{}", entry.path), entry.content.as_slice())?;
    }
    tar.into_inner()?.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn entries() -> Vec<Entry> {
        vec![Entry::text("b/two", "2"), Entry::program("lokt", "#!"), Entry::text("a", "1")]
    }

    #[test]
    fn the_same_files_make_the_same_archive_in_any_order() {
        let mut turned = entries();
        turned.reverse();
        let packed = pack("top", entries(), 1_000).unwrap();
        assert_eq!(packed, pack("top", turned, 1_000).unwrap());
        assert_ne!(packed, pack("top", entries(), 1_001).unwrap());
        assert_eq!(packed[4..8], [0; 4], "no time in gzip's own header");
    }

    #[test]
    fn the_archive_says_nothing_of_who_made_it_when() {
        let packed = pack("top", entries(), 1_000).unwrap();
        let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(packed.as_slice()));
        let mut seen = Vec::new();
        for entry in tar.entries().unwrap() {
            let mut entry = entry.unwrap();
            let header = entry.header().clone();
            assert_eq!(
                (header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()),
                (0, 0, 1_000)
            );
            assert_eq!((header.username().unwrap(), header.groupname().unwrap()), (Some(""), Some("")));
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            let path = entry.path().unwrap().display().to_string();
            seen.push(format!("{path} {:o} {text}", header.mode().unwrap()));
        }
        assert_eq!(seen, ["top/a 644 1", "top/b/two 644 2", "top/lokt 755 #!"]);
    }
}
