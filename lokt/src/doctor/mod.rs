//! Examines a root and what stands in it, and clears up what nobody alive uses.
//!
//! An examination is a list of checks, always the same ones in the same order. It makes no root, and leaves nothing
//! behind; it bounds its work, and waits for nothing for ever. What it says is for people: the words of a check are
//! raw, and whoever shows them makes them printable.

mod access;
mod check;
#[cfg(feature = "etcd")]
mod cluster;
mod contents;
mod leftovers;
mod machine;
mod mend;
mod place;

use std::cell::{Cell, OnceCell};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

pub(crate) use check::{Check, Status};
pub(crate) use mend::mend;

use self::check::{ACCESS, CORRUPT, FREEZES, LEGACY, LINES, ROOT, SESSIONS, STALE, TEMPORARY, WRITABLE};
use self::contents::Contents;
use self::mend::Cleared;
use crate::host::{Identity, Root, RootSource, Scratch, UnixHost};
use crate::store::DirStore;

/// How long one check may take: what takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// What makes one check.
enum Examine {
    /// By a look at the root, and at the machine.
    Patient(fn(&Patient) -> Check),
    /// By what stands in the root, if anything does.
    Contents(fn(&Contents) -> Check),
}

impl Examine {
    fn make(&self, name: &'static str, patient: &Patient) -> Check {
        let check = match self {
            Self::Patient(examine) => examine(patient),
            Self::Contents(examine) => patient.contents().map_or_else(|check| check, examine),
        };
        Check { name, ..check }
    }
}

/// The checks, in their order. `writable`, `clock` and `legacy_freezes` are named as in the Go tool.
const CHECKS: [(&str, Examine); 19] = [
    (ROOT, Examine::Patient(place::root)),
    (WRITABLE, Examine::Patient(place::writable)),
    ("filesystem", Examine::Patient(place::filesystem)),
    ("flock", Examine::Patient(place::flock)),
    (ACCESS, Examine::Patient(access::access)),
    ("files", Examine::Patient(access::files)),
    ("space", Examine::Patient(place::space)),
    ("audit_log", Examine::Patient(place::audit_log)),
    ("clock", Examine::Patient(machine::clock)),
    ("mutexes", Examine::Patient(machine::mutexes)),
    ("versions", Examine::Patient(machine::versions)),
    ("records", Examine::Contents(contents::records)),
    (STALE, Examine::Contents(leftovers::stale_records)),
    (CORRUPT, Examine::Contents(leftovers::corrupt_records)),
    (FREEZES, Examine::Contents(leftovers::freezes)),
    (LEGACY, Examine::Contents(leftovers::legacy_freezes)),
    (SESSIONS, Examine::Contents(leftovers::sessions)),
    (LINES, Examine::Contents(leftovers::lines)),
    (TEMPORARY, Examine::Contents(leftovers::temporary_files)),
];

/// What was found.
pub(crate) struct Diagnosis {
    /// The lock directory; empty if it can't be known.
    pub(crate) path: PathBuf,
    /// How it was found; `None` if it was not.
    pub(crate) source: Option<RootSource>,
    /// Every check, in order.
    pub(crate) checks: Vec<Check>,
}

impl Diagnosis {
    /// The worst of what was found.
    pub(crate) fn overall(&self) -> Status {
        self.checks.iter().map(|check| check.status).max().unwrap_or(Status::Ok)
    }
}

/// A root under examination.
struct Patient {
    root: Root,
    source: Option<RootSource>,
    host: Arc<UnixHost>,
    store: DirStore,
    state: State,
    contents: OnceCell<Contents>,
    /// How far the file system's clock is from this machine's, once something was written there.
    skew: Cell<Duration>,
}

/// What can be done with the root.
enum State {
    /// It is there.
    There,
    /// The first lock makes it; until then there is one for trials, which goes when this does.
    ToBeMade { trial: Box<UnixHost>, _scratch: Scratch },
    /// It can't be used; which check says so, and why.
    Unusable(&'static str, io::Error),
}

impl Patient {
    fn new(identity: Identity) -> Self {
        let (root, source, unknown) = match Root::discover() {
            Ok(root) => (root.clone(), Some(root.source), None),
            Err(error) => {
                let root = Root { path: "".into(), source: RootSource::WorkingDirectory };
                (root, None, Some(error))
            }
        };
        let host = Arc::new(UnixHost::new(root.path.clone()));
        let state = match unknown {
            Some(why) => State::Unusable(ROOT, why),
            None => state_of(&host),
        };
        let store = DirStore::new(Arc::clone(&host) as Arc<_>, identity, Arc::new(|_| {}));
        Self { root, source, host, store, state, contents: OnceCell::new(), skew: Cell::default() }
    }

    /// Where something can be tried: the root, or one like it.
    fn ground(&self) -> Result<&UnixHost, Check> {
        match &self.state {
            State::There => Ok(&self.host),
            State::ToBeMade { trial, .. } => Ok(trial),
            State::Unusable(..) => Err(Check::skipped()),
        }
    }

    /// What stands in the root, looked at once.
    fn contents(&self) -> Result<&Contents, Check> {
        match &self.state {
            State::There => Ok(self.contents.get_or_init(|| Contents::of(&self.host, &self.store))),
            State::ToBeMade { .. } => Err(Check::ok("nothing is there yet")),
            State::Unusable(..) => Err(Check::skipped()),
        }
    }
}

fn state_of(host: &UnixHost) -> State {
    match host.exists() {
        Err(error) => State::Unusable(ROOT, error),
        Ok(true) => match host.users() {
            Ok(_) => State::There,
            Err(error) => State::Unusable(ACCESS, error),
        },
        Ok(false) => match Scratch::above(host.root()) {
            Ok(scratch) => {
                let trial = Box::new(UnixHost::new(scratch.path().to_owned()));
                State::ToBeMade { trial, _scratch: scratch }
            }
            Err(error) => State::Unusable(WRITABLE, error),
        },
    }
}

/// What the thread that examines has to say.
enum News {
    /// Which root it is, and how it was found.
    Root(PathBuf, Option<RootSource>),
    /// A check is made.
    Check(Check),
    /// Something was cleared away, or could not be.
    Cleared(Cleared),
}

/// Starts `work` in a thread of its own: a file system that does not answer holds up that, and not us.
fn apart(work: impl FnOnce(&Sender<News>) + Send + 'static) -> Receiver<News> {
    let (sender, news) = mpsc::channel();
    // If there can't be one more thread, there is no news.
    let _ = thread::Builder::new().name("doctor".into()).spawn(move || work(&sender));
    news
}

/// Examines the root that the environment and the working directory name.
pub(crate) fn examine(identity: &Identity) -> Diagnosis {
    #[cfg(feature = "etcd")]
    if let Some(diagnosis) = of_cluster(identity, false) {
        return diagnosis;
    }
    let identity = identity.clone();
    gather(&apart(move |sender| {
        let patient = Patient::new(identity);
        let root = News::Root(patient.root.path.clone(), patient.source);
        let mut heard = sender.send(root).is_ok();
        for (name, examine) in CHECKS {
            let mut check = examine.make(name, &patient);
            if name == TEMPORARY {
                // What a doctor has left a doctor removes, although it only looks: it is nobody else's.
                let gone = Scratch::clear_left(&patient.root.path);
                check.fixed.extend(gone.iter().map(|path| format!("removed {}", path.display())));
            }
            heard = heard && sender.send(News::Check(check)).is_ok();
        }
    }))
}

/// What is found of a root that is on a cluster; `None` for any other.
#[cfg(feature = "etcd")]
fn of_cluster(identity: &Identity, fixes: bool) -> Option<Diagnosis> {
    let root = Root::discover().ok()?;
    Some(cluster::examine(root.address()?, identity, fixes))
}

/// The checks as they come; what does not answer fails, and what would come after it is left out.
fn gather(news: &Receiver<News>) -> Diagnosis {
    let mut hangs = false;
    let mut diagnosis = Diagnosis { path: PathBuf::new(), source: None, checks: Vec::new() };
    while let Some((name, _)) = CHECKS.get(diagnosis.checks.len()) {
        let check = match news.recv_timeout(if hangs { Duration::ZERO } else { PATIENCE }) {
            Ok(News::Check(check)) => check,
            Ok(News::Root(path, source)) => {
                (diagnosis.path, diagnosis.source) = (path, source);
                continue;
            }
            Ok(News::Cleared(_)) => continue,
            Err(_) if hangs => Check { name, ..Check::skipped() },
            Err(_) => {
                hangs = true;
                Check { name, ..Check::fail("no answer within a minute: the file system hangs") }
                    .advise("see whether its server can be reached, or set LOKT_ROOT to a local directory")
            }
        };
        diagnosis.checks.push(check);
    }
    // The end of the other thread: by then all that it made is gone again.
    let _ = news.recv_timeout(if hangs { Duration::ZERO } else { PATIENCE });
    diagnosis
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_check_that_hangs_fails_and_those_after_it_are_left_out() {
        let (sender, news) = mpsc::channel();
        sender.send(News::Root("/srv".into(), Some(RootSource::Environment))).unwrap();
        sender.send(News::Check(Check { name: ROOT, ..Check::ok("fine") })).unwrap();
        // Gone without a word: as good as a hang, and sooner.
        drop(sender);
        let Diagnosis { path, checks, .. } = gather(&news);
        assert_eq!(path, Path::new("/srv"));
        let stati: Vec<Status> = checks.iter().map(|check| check.status).collect();
        assert_eq!(stati[..2], [Status::Ok, Status::Fail]);
        assert!(checks[2..].iter().all(|check| check.skipped));
        assert_eq!(checks.len(), CHECKS.len());
    }
}
