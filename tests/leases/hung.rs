//! Waiters that are alive and do nothing: frozen, swapped out, in a container, at a terminal that takes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use lokt::protocol::Mode;
use lokt::{Error, Name, Observer, Patience, Progress, Session, Terms, WaitControl};
use lokt_tests::machine::{Clock, Machine};

/// A waiter is passed over after this, by the one behind it.
const SILENCE: Duration = Duration::from_millis(2_600);

struct Line {
    dir: tempfile::TempDir,
    clock: Arc<Clock>,
    name: Name,
}

/// One who stands in line, and does not come back from being told so, until it is let go.
struct Hung {
    thread: JoinHandle<Result<Session, Error>>,
    let_go: Sender<()>,
}

struct Stuck {
    told: Sender<()>,
    until: Receiver<()>,
    then: WaitControl,
}

impl Observer for Stuck {
    fn progress(&mut self, _: &Progress<'_>) {
        let _ = self.told.send(());
        let _ = self.until.recv();
    }

    fn control(&mut self) -> WaitControl {
        self.then
    }
}

impl Line {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), clock: Clock::new(), name: "x".parse().unwrap() }
    }

    fn take(&self, mode: Mode) -> Session {
        let locks = Machine::in_time_of(&self.clock, self.dir.path()).locks("holder");
        locks.try_acquire(&self.name, &in_mode(mode)).expect("it is free")
    }

    fn hang(&self, mode: Mode) -> Hung {
        self.hang_and(mode, WaitControl::GiveUp)
    }

    fn hang_and(&self, mode: Mode, then: WaitControl) -> Hung {
        let locks = Machine::in_time_of(&self.clock, self.dir.path()).locks("hung");
        let (name, (told, stands), (let_go, until)) = (self.name.clone(), mpsc::channel(), mpsc::channel());
        let thread = thread::spawn(move || {
            let mut stuck = Stuck { told, until, then };
            locks.acquire_watched(&name, &in_mode(mode), Patience::Unlimited, &mut stuck)
        });
        stands.recv().expect("it stands in line");
        Hung { thread, let_go }
    }

    /// How long it takes one who comes now; `once_it_waits` something happens.
    fn admitted_after(&self, mode: Mode, patience: Patience, once_it_waits: impl FnOnce()) -> Duration {
        let locks = Machine::in_time_of(&self.clock, self.dir.path()).locks("ready");
        let (name, clock) = (self.name.clone(), Arc::clone(&self.clock));
        let (began, done) = (clock.now().monotonic, Arc::new(AtomicBool::new(false)));
        let end = Arc::clone(&done);
        let ready = thread::spawn(move || {
            let taken = locks.acquire(&name, &in_mode(mode), patience);
            end.store(true, Ordering::SeqCst);
            clock.advance_to(Duration::ZERO);
            taken
        });
        self.clock.await_sleeper();
        once_it_waits();
        self.clock.run_until(|| done.load(Ordering::SeqCst));
        let waited = self.clock.now().monotonic - began;
        let taken = ready.join().unwrap().expect("nobody who is ready stands before it");
        taken.release().unwrap();
        waited
    }
}

impl Hung {
    fn end(self) {
        drop(self.let_go);
        self.thread.join().unwrap().expect_err("it has given up");
    }
}

fn in_mode(mode: Mode) -> Terms {
    Terms { mode, ..Terms::default() }
}

#[test]
fn one_that_wants_the_name_alone_and_is_hung_does_not_keep_out_those_who_share_it() {
    let line = Line::new();
    let _reader = line.take(Mode::Shared);
    let writer = line.hang(Mode::Exclusive);
    let waited = line.admitted_after(Mode::Shared, Patience::Unlimited, || {});
    assert!(waited <= SILENCE, "{waited:?}");
    writer.end();
}

#[test]
fn nor_do_several_of_them() {
    let line = Line::new();
    let _reader = line.take(Mode::Shared);
    let hung: Vec<_> = (0..10).map(|_| line.hang(Mode::Exclusive)).collect();
    let waited = line.admitted_after(Mode::Shared, Patience::Unlimited, || {});
    // They are rung once the first is seen not to hear.
    assert!(waited < Duration::from_secs(4), "{waited:?}");
    hung.into_iter().for_each(Hung::end);
}

#[test]
fn however_many_are_hung_they_delay_a_plain_try_by_four_seconds_at_most() {
    for (hung, at_most) in [(1, SILENCE), (40, Duration::from_secs(4))] {
        let line = Line::new();
        let holder = line.take(Mode::Exclusive);
        let hung: Vec<_> = (0..hung).map(|_| line.hang(Mode::Exclusive)).collect();
        holder.release().unwrap();
        let waited = line.admitted_after(Mode::Exclusive, Patience::None, || {});
        assert!(waited <= at_most, "{waited:?}");
        hung.into_iter().for_each(Hung::end);
    }
}

#[test]
fn however_many_are_hung_the_next_in_line_sees_it_when_it_looks() {
    let line = Line::new();
    let holder = line.take(Mode::Exclusive);
    let hung: Vec<_> = (0..40).map(|_| line.hang(Mode::Exclusive)).collect();
    let waited = line.admitted_after(Mode::Exclusive, Patience::Unlimited, || holder.release().unwrap());
    // It looks every six seconds, √40.
    assert!(waited <= Duration::from_secs(6 + 4), "{waited:?}");
    hung.into_iter().for_each(Hung::end);
}

#[test]
fn one_that_was_passed_over_is_not_kept_out_by_its_own_session_beside_a_corrupt_record() {
    let line = Line::new();
    let holder = line.take(Mode::Exclusive);
    let waiter = line.hang_and(Mode::Exclusive, WaitControl::GoOn);
    std::fs::remove_dir_all(line.dir.path().join("lines/x")).unwrap();
    std::fs::write(line.dir.path().join("locks/x.json"), "nonsense").unwrap();
    drop((holder, waiter.let_go));
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || done.send(waiter.thread.join()));
    let taken = is_done.recv_timeout(Duration::from_secs(3)).expect("no time passes meanwhile");
    taken.unwrap().expect("nobody else lives").release().unwrap();
}

#[test]
fn nor_does_it_matter_how_the_next_in_line_was_woken() {
    let line = Line::new();
    let holder = line.take(Mode::Exclusive);
    let hung: Vec<_> = (0..40).map(|_| line.hang(Mode::Exclusive)).collect();
    let before = line.hang(Mode::Exclusive);
    holder.release().unwrap();
    let waited = line.admitted_after(Mode::Exclusive, Patience::Unlimited, || before.end());
    assert!(waited <= Duration::from_secs(5), "{waited:?}");
    hung.into_iter().for_each(Hung::end);
}

/// Was asked to give up while its time ran out.
struct Asked;

impl Observer for Asked {
    fn progress(&mut self, progress: &Progress<'_>) {
        panic!("its time is over: {progress:?}");
    }

    fn control(&mut self) -> WaitControl {
        WaitControl::GiveUp
    }
}

#[test]
fn one_that_is_asked_to_give_up_at_its_deadline_hears_of_that_first() {
    let line = Line::new();
    let _holder = line.take(Mode::Exclusive);
    let locks = Machine::in_time_of(&line.clock, line.dir.path()).locks("asked");
    let patience = Patience::AtMost(Duration::ZERO);
    let error =
        locks.acquire_watched(&line.name, &in_mode(Mode::Exclusive), patience, &mut Asked).unwrap_err();
    assert!(error.is_interrupted(), "{error}");
}
