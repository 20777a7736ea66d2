//! A file system in memory, which forgets at a power loss what was not synced.
//!
//! What a file system may do with unsynced changes is more than one could list. Here each of them, by itself, may
//! have come through or not, and the content of a new file may have been lost although its name was not. A file that
//! was synced keeps its name too, as on ext4, XFS, Btrfs and APFS; but with a directory that was not, all is lost.

use lokt::host::Dir;

use super::choices::Choices;

/// A directory, without the lifetime of its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Root,
    Locks,
    Freezes,
    Sessions,
    Stripes,
    Lines,
    Line(String),
    Holders,
    HoldersOf(String),
}

impl From<Dir<'_>> for Place {
    fn from(dir: Dir<'_>) -> Self {
        match dir {
            Dir::Root => Self::Root,
            Dir::Locks => Self::Locks,
            Dir::Freezes => Self::Freezes,
            Dir::Sessions => Self::Sessions,
            Dir::Stripes => Self::Stripes,
            Dir::Lines => Self::Lines,
            Dir::Line(name) => Self::Line(name.as_str().to_owned()),
            Dir::Holders => Self::Holders,
            Dir::HoldersOf(name) => Self::HoldersOf(name.as_str().to_owned()),
        }
    }
}

/// A file: a record, a ticket, a mutex with its counter; or a session's, whose content is its number.
#[derive(Debug, Clone)]
struct File {
    dir: Place,
    name: String,
    now: Option<Vec<u8>>,
    synced: Option<Vec<u8>>,
}

/// A directory that belongs to one name.
#[derive(Debug, Clone)]
struct Directory {
    place: Place,
    now: bool,
    synced: bool,
}

/// The files of a root.
#[derive(Debug, Default)]
pub struct Disk {
    files: Vec<File>,
    dirs: Vec<Directory>,
    /// The audit log.
    pub log: Vec<u8>,
}

impl Disk {
    fn find(&self, dir: &Place, name: &str) -> Option<usize> {
        self.files.iter().position(|file| file.name == name && file.dir == *dir)
    }

    /// A file's content.
    pub fn read(&self, dir: &Place, name: &str) -> Option<&Vec<u8>> {
        self.files[self.find(dir, name)?].now.as_ref()
    }

    /// Puts a file there, or changes it.
    pub fn write(&mut self, dir: &Place, name: &str, content: Vec<u8>) {
        match self.find(dir, name) {
            Some(at) => self.files[at].now = Some(content),
            None => {
                let (dir, name) = (dir.clone(), name.to_owned());
                self.files.push(File { dir, name, now: Some(content), synced: None });
            }
        }
    }

    /// Removes a file; whether there was one.
    pub fn remove(&mut self, dir: &Place, name: &str) -> bool {
        self.find(dir, name).is_some_and(|at| self.files[at].now.take().is_some())
    }

    /// Makes what there is of a file last.
    pub fn sync(&mut self, dir: &Place, name: &str) {
        if let Some(at) = self.find(dir, name) {
            let file = &mut self.files[at];
            file.synced.clone_from(&file.now);
        }
    }

    /// The names in a directory.
    pub fn list(&self, dir: &Place) -> Vec<String> {
        let within = |place: &Place| match (dir, place) {
            (Place::Lines, Place::Line(name)) | (Place::Holders, Place::HoldersOf(name)) => {
                Some(name.clone())
            }
            _ => None,
        };
        if matches!(dir, Place::Lines | Place::Holders) {
            return self.there().filter_map(within).collect();
        }
        let there = self.files.iter().filter(|file| file.dir == *dir && file.now.is_some());
        there.map(|file| file.name.clone()).collect()
    }

    /// Makes a directory that belongs to one name.
    pub fn make_dir(&mut self, dir: Place) {
        match self.dirs.iter_mut().find(|other| other.place == dir) {
            // Another one than that which stood there before.
            Some(known) if !known.now => (known.now, known.synced) = (true, false),
            Some(_) => {}
            None => self.dirs.push(Directory { place: dir, now: true, synced: false }),
        }
    }

    /// Makes such a directory last; what is in it is synced by itself.
    pub fn sync_dir(&mut self, dir: &Place) {
        if let Some(known) = self.dirs.iter_mut().find(|other| other.place == *dir) {
            known.synced = known.now;
        }
    }

    fn there(&self) -> impl Iterator<Item = &Place> {
        self.dirs.iter().filter(|dir| dir.now).map(|dir| &dir.place)
    }

    /// Whether there is such a directory; those of the root itself are always there.
    pub fn has_dir(&self, dir: &Place) -> bool {
        !matches!(dir, Place::Line(_) | Place::HoldersOf(_)) || self.there().any(|other| other == dir)
    }

    /// Removes a directory that belongs to one name, if it is empty; whether it is gone.
    pub fn remove_dir(&mut self, dir: &Place) -> bool {
        let empty = !self.files.iter().any(|file| file.now.is_some() && file.dir == *dir);
        if empty {
            self.dirs.iter_mut().filter(|other| other.place == *dir).for_each(|other| other.now = false);
        }
        empty
    }

    /// The power goes off and comes back.
    pub fn lose_power(&mut self, choices: &mut Choices) {
        for file in &mut self.files {
            if file.now == file.synced {
                continue;
            }
            let torn = !matches!(file.dir, Place::Stripes | Place::Sessions) && file.now.is_some();
            match choices.any(if torn { 4 } else { 2 }) {
                0 => {}
                1 => file.now.clone_from(&file.synced),
                2 => file.now = Some(Vec::new()),
                _ => file.now.iter_mut().for_each(|content| content.truncate(content.len() / 2)),
            }
            file.synced.clone_from(&file.now);
        }
        for dir in self.dirs.iter_mut().filter(|dir| dir.now != dir.synced) {
            let made = dir.now;
            dir.now = made == (choices.any(2) == 0);
            if made && !dir.now {
                // What was in it has no place to be.
                let within = self.files.iter_mut().filter(|file| file.dir == dir.place);
                within.for_each(|file| (file.now, file.synced) = (None, None));
            }
        }
        // What is back is back in its directory.
        let there = self.files.iter().filter(|file| file.now.is_some()).map(|file| file.dir.clone());
        for dir in there.filter(|dir| !self.has_dir(dir)).collect::<Vec<_>>() {
            self.make_dir(dir);
        }
        self.dirs.iter_mut().for_each(|dir| dir.synced = dir.now);
    }

    /// All files but those that stay for good, as paths.
    pub fn leftovers(&self) -> Vec<String> {
        let mut left: Vec<String> = self
            .files
            .iter()
            .filter(|file| file.now.is_some() && file.dir != Place::Stripes)
            .map(|file| format!("{:?}/{}", file.dir, file.name))
            .collect();
        left.extend(self.there().map(|dir| format!("{dir:?}")));
        left
    }
}
