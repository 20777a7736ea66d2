//! A program that is about to take a process over: all that execve(2) needs, made beforehand.

use std::ffi::{CStr, CString, OsStr, OsString, c_char};
use std::fs::File;
use std::io::{self, Read};
use std::mem;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::ptr;

use nix::errno::Errno;
use nix::sys::signal::{self, SigHandler};

use super::{identity, platform};

/// Where programs are looked for if there is no `PATH`, as by the C libraries.
const DEFAULT_PATH: &str = "/usr/local/bin:/bin:/usr/bin";

/// Runs what is executable and in no format that the kernel knows: a script without its first line, says POSIX.
const SHELL: &str = "/bin/sh";

/// A program, its arguments and its environment.
pub(crate) struct Program {
    /// Where it may be, in the order of the search.
    places: Vec<CString>,
    arguments: Vector,
    /// The arguments of a shell that runs it as a script; the place comes second.
    script: Vector,
    environment: Vector,
}

/// Strings as execve(2) takes them: pointers, and a null at the end.
struct Vector {
    /// What the pointers point to: it stays where it is, wherever this goes.
    strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl Program {
    /// `command` with its arguments, in this process's environment.
    ///
    /// # Errors
    ///
    /// There is no command, or a null byte in it.
    pub(crate) fn new(command: &[OsString]) -> io::Result<Self> {
        let name = command.first().filter(|name| !name.is_empty()).ok_or(io::ErrorKind::NotFound)?;
        let script = [OsStr::new(SHELL)].into_iter().chain(command.iter().map(OsString::as_os_str));
        let inherited = identity::variables().map(|(name, value)| pair(&name, &value));
        Ok(Self {
            places: places(name).into_iter().map(c_string).collect::<Result<_, _>>()?,
            arguments: Vector::new(command.iter().cloned())?,
            script: Vector::new(script.map(OsStr::to_owned))?,
            environment: Vector::new(inherited)?,
        })
    }

    /// Sets variables of its environment; `None` takes one away.
    ///
    /// # Errors
    ///
    /// There is a null byte in one.
    pub(crate) fn set(&mut self, variables: &[(&str, Option<String>)]) -> io::Result<()> {
        let set = |(name, value): &(&str, Option<String>)| {
            Some(c_string(pair(OsStr::new(name), OsStr::new(value.as_ref()?))))
        };
        let set = variables.iter().filter_map(set).collect::<Result<Vec<_>, _>>()?;
        let mut all = mem::take(&mut self.environment.strings);
        all.retain(|entry| variables.iter().all(|(name, _)| !is_of(entry, name)));
        all.extend(set);
        self.environment = Vector::of(all);
        Ok(())
    }

    /// Replaces the program of this process by it; returns why not, as execvp(3) does. Async-signal-safe.
    #[expect(
        unsafe_code,
        reason = "what takes pointers has no safe form, and one that makes them would allocate"
    )]
    pub(crate) fn exec(&mut self) -> Errno {
        // SAFETY: the default action runs no code of ours. Only for itself does the runtime ignore the signal.
        let _ = unsafe { signal::signal(signal::SIGPIPE, SigHandler::SigDfl) };
        let mut outcome = Errno::ENOENT;
        for place in &self.places {
            let execute = |program: &CStr, arguments: &Vector| {
                // SAFETY: all are strings that end in a null, in lists that do; they live in `self`.
                unsafe {
                    platform::execve(program, arguments.pointers.as_ptr(), self.environment.pointers.as_ptr())
                }
            };
            match execute(place, &self.arguments) {
                Errno::ENOENT | Errno::ENOTDIR | Errno::ESTALE | Errno::ENODEV | Errno::ETIMEDOUT => {}
                // One may be found that does let us.
                Errno::EACCES => outcome = Errno::EACCES,
                Errno::ENOEXEC => {
                    self.script.pointers[1] = place.as_ptr();
                    return execute(&self.script.strings[0], &self.script);
                }
                other => return other,
            }
        }
        outcome
    }
}

/// What the first line of a script says that is to run it, if that is what is missing; of a command that was found, and
/// that the kernel nevertheless says is not there. `None` if it can't be told.
pub(crate) fn missing_interpreter(command: &OsStr) -> Option<String> {
    let file = places(command).into_iter().find(|place| Path::new(place).is_file())?;
    let mut beginning = Vec::new();
    // The kernel looks no further.
    File::open(file).ok()?.take(256).read_to_end(&mut beginning).ok()?;
    let line = beginning.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let interpreter = line.trim_ascii_start().split(|byte| matches!(byte, b' ' | b'\t')).next()?;
    let missing = !interpreter.is_empty() && !Path::new(OsStr::from_bytes(interpreter)).exists();
    missing.then(|| String::from_utf8_lossy(interpreter).into_owned())
}

impl Vector {
    fn new(strings: impl Iterator<Item = OsString>) -> io::Result<Self> {
        Ok(Self::of(strings.map(c_string).collect::<Result<_, _>>()?))
    }

    fn of(strings: Vec<CString>) -> Self {
        let pointers = strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect();
        Self { strings, pointers }
    }
}

/// Whether an entry of an environment is that of a variable.
fn is_of(entry: &CString, name: &str) -> bool {
    entry.as_bytes().strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"="))
}

/// `NAME=VALUE`, with room for the null.
fn pair(name: &OsStr, value: &OsStr) -> OsString {
    let mut pair = OsString::with_capacity(name.len() + value.len() + 2);
    pair.push(name);
    pair.push("=");
    pair.push(value);
    pair
}

fn c_string(string: OsString) -> io::Result<CString> {
    Ok(CString::new(string.into_vec())?)
}

/// Where a command may be: what names a place is there; anything else is in one of the directories of `PATH`.
fn places(name: &OsStr) -> Vec<OsString> {
    if name.as_bytes().contains(&b'/') {
        return vec![name.to_owned()];
    }
    // One that is set to nothing is the working directory.
    let path = identity::variables().find(|(variable, _)| variable == "PATH");
    let path = path.map_or_else(|| DEFAULT_PATH.into(), |(_, path)| path);
    let in_dir = |dir: &[u8]| {
        // An empty one is the working directory.
        let mut place = OsStr::from_bytes(if dir.is_empty() { b"." } else { dir }).to_owned();
        place.push("/");
        place.push(name);
        place
    };
    path.as_bytes().split(|byte| *byte == b':').map(in_dir).collect()
}
