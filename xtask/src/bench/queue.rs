//! Holders and waiters of one lock that are watched and let go: lokt's or a peer's, with the same critical section.

use std::fs::{self, File};
use std::io::PipeReader;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use super::ground::{Ground, Peer, find};

/// Nothing that is waited for takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked whether something has come about.
const LOOK: Duration = Duration::from_micros(500);

/// A program that lets one process after the other run a command.
#[derive(Clone)]
pub enum Lock {
    /// `lokt guard x --wait -- CMD`
    Lokt,
    /// `flock FILE CMD` or `setlock FILE CMD`: both sleep in a system call on the file.
    File(&'static str, PathBuf),
}

impl Lock {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Lokt => "lokt",
            Self::File(name, _) => name,
        }
    }

    /// lokt, flock, and setlock if it is installed.
    pub fn all(ground: &Ground, missing: &mut Vec<String>) -> Vec<Self> {
        let setlock = find(&Peer("setlock", "daemontools"), missing);
        let flock = Self::File("flock", ground.flock.clone());
        [Self::Lokt, flock].into_iter().chain(setlock.map(|program| Self::File("setlock", program))).collect()
    }
}

/// When somebody entered and left, in nanoseconds of the monotonic clock.
pub struct Stamp {
    pub who: usize,
    pub entered: u64,
    pub left: u64,
}

/// One lock, and all who want it. Whoever still runs when this is dropped is killed; a section ends with its guard.
pub struct Queue<'a> {
    ground: &'a Ground,
    lock: Lock,
    dir: PathBuf,
    pub members: Vec<Child>,
}

impl<'a> Queue<'a> {
    /// A lock of its own, in a directory that nobody used before.
    pub fn new(ground: &'a Ground, lock: &Lock, dir: &str) -> anyhow::Result<Self> {
        let dir = ground.path(&format!("{}-{dir}", lock.name()));
        fs::create_dir(&dir).with_context(|| format!("failed to create {}", dir.display()))?;
        for file in ["lock", "stamps"] {
            File::create(dir.join(file))?;
        }
        Ok(Self { ground, lock: lock.clone(), dir, members: Vec::new() })
    }

    /// Starts the next, whose section lasts until there is a byte for it at `gate`, or the end of it.
    pub fn join(&mut self, gate: &PipeReader) -> anyhow::Result<()> {
        let ground = self.ground;
        let mut command = match &self.lock {
            Lock::Lokt => ground.lokt(&self.dir.join("root"), &["guard", "x", "--wait", "--"]),
            Lock::File(_, program) => {
                let mut command = ground.command(program);
                command.arg(self.dir.join("lock"));
                command
            }
        };
        command.arg(&ground.stamp).arg(self.dir.join("stamps")).arg(self.members.len().to_string());
        command.stdin(gate.try_clone()?).stdout(Stdio::null()).stderr(Stdio::null());
        self.members.push(command.spawn().with_context(|| format!("failed to start {}", self.lock.name()))?);
        Ok(())
    }

    /// Starts the one who holds the lock at first, and waits until it does.
    pub fn hold(&mut self, gate: &PipeReader) -> anyhow::Result<()> {
        self.join(gate)?;
        until("nobody took the lock", || match &self.lock {
            Lock::Lokt => Ok(self.dir.join("root/locks/x.json").exists()),
            Lock::File(..) => Ok(self.in_kernel()?.any(|waits| !waits)),
        })
    }

    /// Starts one who waits, and waits until it does.
    pub fn wait_in_line(&mut self, gate: &PipeReader) -> anyhow::Result<()> {
        let before = self.parked()?;
        self.join(gate)?;
        until("nobody waits", || Ok(self.parked()? > before))
    }

    /// How many wait: by their tickets, or by the kernel's list of locks.
    pub fn parked(&self) -> anyhow::Result<usize> {
        match &self.lock {
            Lock::Lokt => Ok(fs::read_dir(self.dir.join("root/lines/x")).map_or(0, Iterator::count)),
            Lock::File(..) => Ok(self.in_kernel()?.filter(|waits| *waits).count()),
        }
    }

    /// The kernel's locks and claims on the file, and whether each of them waits.
    fn in_kernel(&self) -> anyhow::Result<impl Iterator<Item = bool>> {
        let inode = fs::metadata(self.dir.join("lock"))?.ino();
        Ok(claims(&fs::read_to_string("/proc/locks")?, inode).into_iter())
    }

    /// Who has been in, in the order in which they entered.
    pub fn stamps(&self) -> anyhow::Result<Vec<Stamp>> {
        let mut stamps = parse(&fs::read_to_string(self.dir.join("stamps"))?)?;
        stamps.sort_by_key(|stamp| stamp.entered);
        Ok(stamps)
    }

    /// Waits until all have ended, and returns who was in when.
    pub fn end(mut self) -> anyhow::Result<Vec<Stamp>> {
        let members = &mut self.members;
        until("not all came to an end", || {
            for member in members.iter_mut() {
                match member.try_wait()? {
                    Some(status) => ensure!(status.success(), "{}: {status}", self.lock.name()),
                    None => return Ok(false),
                }
            }
            Ok(true)
        })?;
        let stamps = self.stamps()?;
        ensure!(stamps.len() == self.members.len(), "{} of {} were in", stamps.len(), self.members.len());
        ensure!(stamps.windows(2).all(|pair| pair[0].left <= pair[1].entered), "two were in at once");
        Ok(stamps)
    }
}

impl Drop for Queue<'_> {
    fn drop(&mut self) {
        for member in &mut self.members {
            let _ = member.kill();
        }
        for member in &mut self.members {
            let _ = member.wait();
        }
    }
}

/// From a release to the next who was in, in milliseconds.
pub fn handovers(stamps: &[Stamp]) -> Vec<f64> {
    stamps.windows(2).map(|pair| pair[1].entered.saturating_sub(pair[0].left) as f64 / 1e6).collect()
}

/// Waits for something that has to come about.
pub fn until(never: &str, mut done: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let began = Instant::now();
    while !done()? {
        if began.elapsed() > PATIENCE {
            bail!("{never} for {} s", PATIENCE.as_secs());
        }
        thread::sleep(LOOK);
    }
    Ok(())
}

/// Of the lines of `/proc/locks` those on a file, and whether each is a claim that waits.
fn claims(locks: &str, inode: u64) -> Vec<bool> {
    let of_file = format!(":{inode}");
    let on_file = |line: &&str| line.split_whitespace().any(|field| field.ends_with(&of_file));
    locks.lines().filter(on_file).map(|line| line.contains(" -> ")).collect()
}

fn parse(text: &str) -> anyhow::Result<Vec<Stamp>> {
    let stamp = |line: &str| {
        let mut fields = line.split(' ');
        let who = fields.next()?.parse().ok()?;
        let mut time = || fields.next()?.parse().ok();
        Some(Stamp { who, entered: time()?, left: time()? })
    };
    text.lines().map(|line| stamp(line).with_context(|| format!("no stamp: {line}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_list_tells_who_holds_a_file_and_who_waits() {
        let locks = "1: FLOCK  ADVISORY  WRITE 928 fe:00:103 0 EOF\n\
                     1: -> FLOCK  ADVISORY  WRITE 929 fe:00:103 0 EOF\n\
                     2: POSIX  ADVISORY  READ 928 fe:00:1034 0 EOF\n";
        assert_eq!(claims(locks, 103), [false, true]);
        assert_eq!(claims(locks, 1034), [false]);
        assert_eq!(claims(locks, 34), Vec::<bool>::new());
    }

    #[test]
    fn a_hand_over_lasts_from_a_leave_to_the_next_entry() -> anyhow::Result<()> {
        let stamps = parse("0 1000000 2000000\n2 2500000 2600000\n1 5600000 5700000\n")?;
        assert_eq!(handovers(&stamps), [0.5, 3.0]);
        assert_eq!(stamps[1].who, 2);
        assert!(parse("0 12\n").is_err());
        Ok(())
    }
}
