//! Whether a holder lives: what its session's file, its process and its boot prove. Every rule of that stands here; a
//! store only says from where it looks, and what it sees.

use super::clock::ClockId;
use super::record::{Kind, LockId, Record};

/// What this machine can say of a holder's life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Liveness {
    /// It lives: its flock is held, or its process runs.
    Alive,
    /// It is proved dead: its flock is free, its process gone or another's.
    Dead,
    /// It can't be told from here. Counts as alive.
    #[default]
    Unknown,
}

/// What a look at a session's file tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    /// Some process holds its flock.
    Locked,
    /// No process does.
    Unlocked,
    /// There is no such file, or it is not one of ours.
    Missing,
}

/// What can be told of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessState {
    /// It runs, or may not be asked. One that has ended, and whose parent has not noticed, does not.
    Running {
        /// When it started, in the unit of [`Record::pid_start_ns`]; `None` where the machine does not tell.
        start: Option<i64>,
    },
    /// It is gone.
    Gone,
    /// It can't be told.
    Unknown,
}

/// Where the files of the sessions are, seen from the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionFiles {
    /// Beside them, in one directory: whoever finds a record finds the session's file.
    Beside,
    /// On each machine those of its own sessions: the records are on a cluster.
    Apart,
}

/// From where a holder is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Here<'a> {
    /// The machine's name.
    pub host: &'a str,
    /// The process-id namespace.
    pub pid_ns: Option<u64>,
    /// The clock.
    pub clock: &'a ClockId,
    /// Only this machine's kernel can have the files of sessions open.
    pub is_local: bool,
    /// Where those are.
    pub files: SessionFiles,
}

/// What can be seen from here of one holder, when it is asked for.
pub trait Witness {
    /// The file of the session with this id; if it has this inode, should that be known.
    fn session(&self, id: &LockId, inode: Option<u64>) -> SessionState;

    /// The process that has this id now.
    fn process(&self, pid: i64) -> ProcessState;
}

impl Here<'_> {
    /// Whether a clock that a record names is of an earlier boot of this machine. Only certain if no other machine can
    /// have written the record (a local file system, and this machine's name), and no container that is told another
    /// boot.
    pub fn is_earlier_boot(&self, clock: Option<ClockId>, record: &Record) -> bool {
        clock.is_some_and(|then| then.tells_kernels() && then.boot() != self.clock.boot())
            && self.clock.tells_kernels()
            && record.host == self.host
            && self.is_local
            && self.files == SessionFiles::Beside
    }

    /// Whether a record was acquired on this machine, in this boot.
    fn is_of_here(&self, record: &Record) -> bool {
        self.clock.is_known() && record.is_of_boot(self.clock) && record.host == self.host
    }
}

/// Whether the holder of `record` lives. Every doubt is [`Liveness::Unknown`].
pub fn liveness(record: &Record, here: &Here<'_>, witness: &dyn Witness) -> Liveness {
    // The files and the processes here say nothing of another machine's.
    if here.files == SessionFiles::Apart && !here.is_of_here(record) {
        return Liveness::Unknown;
    }
    let earlier_boot = here.is_earlier_boot(record.acquired_clock(), record);
    match record.kind {
        Some(Kind::Guard) => of_guard(record, earlier_boot, here, witness),
        _ if earlier_boot && record.pid != 0 => Liveness::Dead,
        Some(Kind::Manual) if record.pid != 0 => by_process(record, here, witness),
        None if record.host == here.host => {
            match same_process(record.pid_start_ns, witness.process(record.pid)) {
                ProcessState::Gone => Liveness::Dead,
                ProcessState::Running { .. } | ProcessState::Unknown => Liveness::Alive,
            }
        }
        Some(Kind::Manual | Kind::Freeze | Kind::Joint | Kind::Unknown) | None => Liveness::Unknown,
    }
}

fn of_guard(record: &Record, earlier_boot: bool, here: &Here<'_>, witness: &dyn Witness) -> Liveness {
    let session = match record.id() {
        Some(id) => witness.session(&id, record.session_ino),
        None => SessionState::Missing,
    };
    // A file that is apart is this machine's own, as the record is.
    let is_local = here.is_local && (record.session_local || here.files == SessionFiles::Apart);
    match session {
        SessionState::Locked => Liveness::Alive,
        _ if earlier_boot => Liveness::Dead,
        SessionState::Unlocked if is_local => Liveness::Dead,
        // Another kernel's flock need not be visible here; nor one through another mount of a network's.
        SessionState::Unlocked => by_process(record, here, witness),
        SessionState::Missing => Liveness::Unknown,
    }
}

fn by_process(record: &Record, here: &Here<'_>, witness: &dyn Witness) -> Liveness {
    process_of(record, here.pid_ns, here.clock, |pid| witness.process(pid)).into()
}

/// What can be told here of the process that a record names: by its id only in its own namespace and its own boot, and by
/// its start only on its own clock.
pub fn process_of(
    record: &Record,
    pid_ns: Option<u64>,
    clock: &ClockId,
    look: impl FnOnce(i64) -> ProcessState,
) -> ProcessState {
    if !record.is_of_boot(clock) || record.pid_ns != pid_ns {
        return ProcessState::Unknown;
    }
    same_process(record.pid_start_on(clock), look(record.pid))
}

/// Ids are used again: one that started at another time is a later process.
fn same_process(start: Option<i64>, seen: ProcessState) -> ProcessState {
    match (start, seen) {
        (Some(then), ProcessState::Running { start: Some(now) }) if then != now => ProcessState::Gone,
        _ => seen,
    }
}

impl From<ProcessState> for Liveness {
    fn from(process: ProcessState) -> Self {
        match process {
            ProcessState::Running { .. } => Self::Alive,
            ProcessState::Gone => Self::Dead,
            ProcessState::Unknown => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 7;

    /// What is to be seen: a session's file, a process.
    struct Seen(SessionState, ProcessState);

    impl Witness for Seen {
        fn session(&self, _: &LockId, _: Option<u64>) -> SessionState {
            self.0
        }

        fn process(&self, _: i64) -> ProcessState {
            self.1
        }
    }

    fn running(start: i64) -> ProcessState {
        ProcessState::Running { start: Some(start) }
    }

    fn record(kind: impl Into<Option<Kind>>) -> Record {
        Record {
            kind: kind.into(),
            lock_id: "a7".repeat(16),
            host: "here".to_owned(),
            pid: 4711,
            pid_ns: Some(1),
            pid_start_ns: Some(START),
            clock_id: Some("boot-1/0".to_owned()),
            session_local: true,
            ..Record::default()
        }
    }

    /// Looks from this machine, `otherwise` than usual.
    fn judge(
        record: &Record,
        (session, process): (SessionState, ProcessState),
        otherwise: impl FnOnce(&mut Here<'_>),
    ) -> Liveness {
        let clock = ClockId::new("boot-1/0");
        let mut here = Here {
            host: "here",
            pid_ns: Some(1),
            clock: &clock,
            is_local: true,
            files: SessionFiles::Beside,
        };
        otherwise(&mut here);
        liveness(record, &here, &Seen(session, process))
    }

    fn as_usual(_: &mut Here<'_>) {}

    use Liveness::{Alive, Dead, Unknown};
    use ProcessState::Gone;
    use SessionState::{Locked, Missing, Unlocked};

    #[test]
    fn a_guard_lives_as_long_as_its_flock_is_held() {
        let guard = record(Kind::Guard);
        for (session, says) in [(Locked, Alive), (Unlocked, Dead), (Missing, Unknown)] {
            for process in [running(START), Gone, ProcessState::Unknown] {
                assert_eq!(judge(&guard, (session, process), as_usual), says, "{session:?}, {process:?}");
            }
        }
        let nameless = Record { lock_id: "x".to_owned(), ..guard };
        assert_eq!(judge(&nameless, (Locked, Gone), as_usual), Unknown, "no file is its own");
    }

    #[test]
    fn a_flock_that_may_be_another_kernels_leaves_it_to_the_process() {
        let elsewhere = Record { session_local: false, ..record(Kind::Guard) };
        let remote: fn(&mut Here<'_>) = |here| here.is_local = false;
        for (guard, otherwise) in
            [(&elsewhere, as_usual as fn(&mut Here<'_>)), (&record(Kind::Guard), remote)]
        {
            for (process, says) in [
                (running(START), Alive),
                (running(START + 1), Dead),
                (Gone, Dead),
                (ProcessState::Unknown, Unknown),
            ] {
                assert_eq!(judge(guard, (Unlocked, process), otherwise), says, "{process:?}");
            }
            assert_eq!(judge(guard, (Locked, Gone), otherwise), Alive);
        }
    }

    #[test]
    fn a_manual_lock_lives_as_long_as_the_process_that_it_is_tied_to() {
        let manual = record(Kind::Manual);
        for (process, says) in [
            (running(START), Alive),
            (running(START - 1), Dead),
            (ProcessState::Running { start: None }, Alive),
            (Gone, Dead),
            (ProcessState::Unknown, Unknown),
        ] {
            assert_eq!(judge(&manual, (Missing, process), as_usual), says, "{process:?}");
        }
        let untied = Record { pid: 0, ..manual.clone() };
        assert_eq!(judge(&untied, (Missing, Gone), as_usual), Unknown);
        assert_eq!(judge(&manual, (Missing, Gone), |here| here.pid_ns = Some(2)), Unknown);
    }

    #[test]
    fn of_a_process_on_another_clock_of_this_boot_the_id_counts_and_not_the_start() {
        let other = ClockId::new("boot-1/100000");
        for files in [SessionFiles::Beside, SessionFiles::Apart] {
            let judge = |record: &Record, process, clock| {
                let here = Here { host: "here", pid_ns: Some(1), clock, is_local: true, files };
                liveness(record, &here, &Seen(Missing, process))
            };
            let manual = record(Kind::Manual);
            assert_eq!(judge(&manual, running(START + 100_000), &other), Alive, "{files:?}");
            assert_eq!(judge(&manual, Gone, &other), Dead, "{files:?}");
            // Whoever renews it there does not make the process another.
            let renewed = Record {
                clock_id: Some(other.to_string()),
                acquired_clock_id: Some("boot-1/0".to_owned()),
                ..manual
            };
            assert_eq!(judge(&renewed, running(START + 100_000), &other), Alive, "{files:?}");
            let home = ClockId::new("boot-1/0");
            assert_eq!(judge(&renewed, running(START), &home), Alive, "{files:?}");
            assert_eq!(judge(&renewed, running(START + 1), &home), Dead, "{files:?}");
        }
    }

    #[test]
    fn what_is_of_an_earlier_boot_is_dead_unless_its_flock_is_held() {
        let clock = ClockId::new("boot-2/0");
        let judge = |record: &Record, session, is_local, host| {
            let here = Here { host, pid_ns: Some(1), clock: &clock, is_local, files: SessionFiles::Beside };
            liveness(record, &here, &Seen(session, running(START)))
        };
        for kind in [Kind::Guard, Kind::Manual] {
            let record = record(kind);
            assert_eq!(judge(&record, Missing, true, "here"), Dead, "{kind:?}");
            assert_eq!(
                judge(&record, Missing, false, "here"),
                Unknown,
                "{kind:?}: of another machine, maybe"
            );
            assert_eq!(judge(&record, Missing, true, "there"), Unknown, "{kind:?}: another machine's");
            let told = Record { clock_id: Some(ClockId::told("boot-1").to_string()), ..record };
            assert_eq!(judge(&told, Missing, true, "here"), Unknown, "{kind:?}: of a container");
        }
        assert_eq!(judge(&record(Kind::Guard), Locked, true, "here"), Alive);
        let untied = Record { pid: 0, ..record(Kind::Manual) };
        assert_eq!(judge(&untied, Missing, true, "here"), Unknown, "only its TTL can end it");
        let renewed = Record {
            clock_id: Some(clock.to_string()),
            acquired_clock_id: Some("boot-1/0".to_owned()),
            ..record(Kind::Manual)
        };
        assert_eq!(judge(&renewed, Missing, true, "here"), Dead, "its process ended with its boot");
    }

    #[test]
    fn where_the_files_are_apart_only_this_machines_own_records_are_judged_by_them() {
        let apart: fn(&mut Here<'_>) = |here| here.files = SessionFiles::Apart;
        // That the file is local is not for the record to say.
        let guard = Record { session_local: false, ..record(Kind::Guard) };
        for (session, says) in [(Locked, Alive), (Unlocked, Dead), (Missing, Unknown)] {
            assert_eq!(judge(&guard, (session, Gone), apart), says, "{session:?}");
        }
        let remote: fn(&mut Here<'_>) = |here| (here.files, here.is_local) = (SessionFiles::Apart, false);
        assert_eq!(judge(&guard, (Unlocked, running(START)), remote), Alive);
        for kind in [Some(Kind::Guard), Some(Kind::Manual), None] {
            let here = record(kind);
            for other in [
                Record { host: "there".to_owned(), ..here.clone() },
                Record { clock_id: Some("boot-2/0".to_owned()), ..here.clone() },
                Record { clock_id: None, ..here },
            ] {
                assert_eq!(judge(&other, (Unlocked, Gone), apart), Unknown, "{other:?}");
            }
        }
    }

    #[test]
    fn the_go_tools_records_are_judged_as_it_does() {
        let go = Record { clock_id: None, pid_ns: None, ..record(None) };
        for (process, says) in [
            (running(START), Alive),
            (running(START + 1), Dead),
            (ProcessState::Unknown, Alive),
            (Gone, Dead),
        ] {
            assert_eq!(judge(&go, (Missing, process), as_usual), says, "{process:?}");
        }
        assert_eq!(judge(&go, (Missing, Gone), |here| here.host = "there"), Unknown);
    }

    #[test]
    fn what_no_process_holds_is_not_judged() {
        for kind in [Kind::Freeze, Kind::Joint, Kind::Unknown] {
            let record = Record { pid: 0, ..record(kind) };
            assert_eq!(judge(&record, (Unlocked, Gone), as_usual), Unknown, "{kind:?}");
        }
    }
}
