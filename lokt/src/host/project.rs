//! The project around the working directory, and the files in which it says how its commands are run.
//!
//! Nothing here may hang or grow: files that are large, binary, no regular files, or outside of the project (through a
//! symbolic link) are passed over, and so is what comes after a fixed number of them.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::identity::environment_path;
use super::root::working_directory;

/// Where scripts are looked for, in this order; the last is the project itself.
const DIRECTORIES: [&str; 4] = ["scripts", "bin", ".github/scripts", ""];

/// Files of the project itself that name commands.
const RECIPES: [&str; 7] =
    ["GNUmakefile", "makefile", "Makefile", "justfile", "Justfile", ".justfile", "package.json"];

/// A script is smaller than this.
const LARGEST: u64 = 256 * 1024;

/// As many entries of a directory are looked at.
const MOST_ENTRIES: usize = 1000;

/// As many bytes are read in all.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// A directory whose commands are to be guarded.
pub(crate) struct Project {
    dir: PathBuf,
}

/// A file that may run commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScriptFile {
    /// Its path in the project, with `/`.
    pub(crate) path: String,
    /// Its content.
    pub(crate) text: String,
    /// Whether it may be run as it is.
    pub(crate) executable: bool,
}

impl Project {
    /// The project: the repository or worktree around the working directory, else the directory that has the locks in
    /// `.lokt`, else the working directory itself.
    pub(crate) fn discover() -> io::Result<Self> {
        let here = working_directory()?;
        let repository = here.ancestors().find(|dir| dir.join(".git").symlink_metadata().is_ok());
        let root = environment_path("LOKT_ROOT").filter(|root| root.ends_with(".lokt"));
        let beside = root.as_deref().and_then(Path::parent).filter(|dir| here.starts_with(dir));
        let dir = repository.or(beside).unwrap_or(&here);
        Ok(Self { dir: fs::canonicalize(dir)? })
    }

    /// Where it is, if that is not the working directory.
    pub(crate) fn elsewhere(&self) -> Option<&Path> {
        let here = std::env::current_dir().and_then(fs::canonicalize);
        (here.ok().as_ref() != Some(&self.dir)).then_some(&self.dir)
    }

    /// Whether it has a file of this name at its top.
    pub(crate) fn has(&self, file: &str) -> bool {
        self.dir.join(file).symlink_metadata().is_ok()
    }

    /// Every file that may run commands, in order.
    pub(crate) fn scripts(&self) -> Vec<ScriptFile> {
        let mut found = Vec::new();
        let mut left = MOST_BYTES;
        for directory in DIRECTORIES {
            for name in names(&self.dir.join(directory)) {
                let path = if directory.is_empty() { name } else { format!("{directory}/{name}") };
                if let Some(file) = self.read(path).filter(|file| file.text.len() <= left) {
                    left -= file.text.len();
                    found.push(file);
                }
            }
        }
        found
    }

    /// Reads a script; `None` if it is none.
    fn read(&self, path: String) -> Option<ScriptFile> {
        let place =
            fs::canonicalize(self.dir.join(&path)).ok().filter(|place| place.starts_with(&self.dir))?;
        // A FIFO must not make us wait.
        let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let file = File::options().read(true).custom_flags(nonblocking).open(place).ok()?;
        let meta = file.metadata().ok().filter(|meta| meta.is_file() && meta.len() <= LARGEST)?;
        let executable = meta.permissions().mode() & 0o111 != 0;
        let named = path.ends_with(".sh") || path.ends_with(".bash") || RECIPES.contains(&path.as_str());
        if !named && !executable {
            return None;
        }
        let mut content = Vec::new();
        file.take(LARGEST).read_to_end(&mut content).ok()?;
        let is_script = named || content.starts_with(b"#!");
        let text = String::from_utf8(content).ok().filter(|text| is_script && !text.contains('\0'))?;
        Some(ScriptFile { path, text, executable })
    }
}

/// The names in a directory, in order.
fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().take(MOST_ENTRIES);
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names
}
