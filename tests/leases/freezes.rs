//! Freezes in virtual time: those in line go on waiting, and enter the moment that the freeze ends.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use lokt::protocol::{LiftBy, Refusal};
use lokt::{Error, Locks, Name, Observer, Patience, Progress, Session, Terms};
use lokt_tests::machine::{Clock, Machine};

use super::TICK;

/// What must happen without any clock moving has happened within this.
const SOON: Duration = Duration::from_secs(3);
/// No multiple of a waiter's looks: none of them comes at the lapse by chance.
const TTL: Duration = Duration::from_millis(20_500);

/// A frozen name, and somebody who waits for it.
struct Frozen {
    clock: Arc<Clock>,
    ops: Locks,
    name: Name,
    entered: Receiver<Result<Session, Error>>,
    reasons: Receiver<Refusal>,
    dir: tempfile::TempDir,
}

/// Passes on what a waiter is told.
struct Reasons(mpsc::Sender<Refusal>);

impl Observer for Reasons {
    fn progress(&mut self, progress: &Progress<'_>) {
        let _ = self.0.send(progress.refusal.clone());
    }
}

fn frozen() -> Frozen {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::new();
    let ops = Machine::in_time_of(&clock, dir.path()).locks("ops");
    let name: Name = "deploy".parse().unwrap();
    ops.freeze(&name, TTL, None).unwrap();
    let waiter = Machine::in_time_of(&clock, dir.path()).locks("waiter");
    let (entered, reasons) = wait_for(waiter, &name);
    clock.await_sleeper();
    Frozen { clock, ops, name, entered, reasons, dir }
}

fn wait_for(waiter: Locks, name: &Name) -> (Receiver<Result<Session, Error>>, Receiver<Refusal>) {
    let (enter, entered) = mpsc::channel();
    let (tell, reasons) = mpsc::channel();
    let name = name.clone();
    thread::spawn(move || {
        let terms = Terms::default();
        let taken = waiter.acquire_watched(&name, &terms, Patience::Unlimited, &mut Reasons(tell));
        let _ = enter.send(taken);
    });
    (entered, reasons)
}

#[test]
fn a_waiter_enters_the_moment_that_a_freeze_is_lifted() {
    let frozen = frozen();
    assert!(matches!(frozen.reasons.recv_timeout(SOON), Ok(Refusal::Frozen(_))), "it says what it waits for");
    frozen.ops.unfreeze(&frozen.name, LiftBy::Owner("ops".to_owned())).unwrap();
    let session =
        frozen.entered.recv_timeout(SOON).expect("the waiter is rung, and does not only look now and then");
    session.unwrap().release().unwrap();
}

#[test]
fn a_waiter_enters_the_moment_that_a_freeze_lapses() {
    let frozen = frozen();
    let lapse = frozen.clock.now().monotonic + TTL;
    // It looks up each second; the last look is at the lapse itself.
    while frozen.clock.now().monotonic + Duration::from_secs(1) < lapse {
        frozen.clock.advance_to(frozen.clock.now().monotonic + Duration::from_secs(1));
        frozen.clock.await_sleeper();
    }
    frozen.clock.advance_to(lapse - TICK);
    frozen.clock.await_sleeper();
    assert!(frozen.entered.try_recv().is_err(), "it is frozen still");
    frozen.clock.advance_to(lapse);
    let session = frozen.entered.recv_timeout(SOON).expect("the waiter knows when the freeze ends");
    session.unwrap().release().unwrap();
}

#[test]
fn a_waiter_by_another_clock_times_the_freeze_itself() {
    let frozen = frozen();
    let elsewhere = Clock::in_another_namespace();
    let stranger = Machine::in_time_of(&elsewhere, frozen.dir.path()).locks("stranger");
    let refused = stranger.try_acquire(&frozen.name, &Terms::default());
    assert!(refused.is_err_and(|error| error.is_held()), "a stranger's clock says nothing");
    drop(frozen.ops.unfreeze(&frozen.name, LiftBy::Force));
    drop(frozen.entered.recv_timeout(SOON).unwrap());
    frozen.ops.freeze(&frozen.name, Duration::from_secs(5), None).unwrap();
    let (entered, _reasons) = wait_for(stranger, &frozen.name);
    for _ in 0..5 {
        elsewhere.await_sleeper();
        assert!(entered.try_recv().is_err(), "it has not watched for long enough");
        elsewhere.advance_to(elsewhere.now().monotonic + Duration::from_secs(1));
    }
    let session = entered.recv_timeout(SOON).expect("unchanged for its whole time");
    session.unwrap().release().unwrap();
    let next = frozen.ops.try_acquire(&frozen.name, &Terms::default());
    next.expect("who has seen it lapse has taken it away, for all").release().unwrap();
}
