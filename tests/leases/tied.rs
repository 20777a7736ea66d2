//! Locks that are tied to a process, on a machine whose processes the test makes up.

use std::sync::Arc;

use lokt::host::ProcessState;
use lokt::{Error, Name, Patience, Record, Terms, Unobserved};
use lokt_tests::machine::{Machine, Point};

/// No real process has such an id.
const PID: i64 = 1 << 30;

const fn running(start: i64) -> ProcessState {
    ProcessState::Running { start: Some(start) }
}

/// A machine on which the process started at 7.
fn machine(dir: &tempfile::TempDir) -> Arc<Machine> {
    let machine = Machine::new(dir.path());
    machine.show_process(PID, running(7));
    machine
}

fn name() -> Name {
    "x".parse().unwrap()
}

fn lock(machine: &Arc<Machine>) -> Result<Record, Error> {
    let locks = machine.locks("ada");
    locks.lock(&name(), &Terms::default(), Some(PID), Patience::None, &mut Unobserved)
}

#[test]
fn a_lock_is_tied_to_the_process_that_its_machine_tells_of() {
    let dir = tempfile::tempdir().unwrap();
    let machine = machine(&dir);
    let record = lock(&machine).unwrap();
    assert_eq!((record.pid, record.pid_start_ns), (PID, Some(7)));
    let try_it = || machine.locks("bob").try_acquire(&name(), &Terms::default());
    assert!(try_it().unwrap_err().is_held());
    machine.show_process(PID, ProcessState::Unknown);
    assert!(try_it().unwrap_err().is_held(), "in doubt it runs");
    machine.show_process(PID, running(8));
    try_it().unwrap().release().unwrap();
    machine.show_process(PID, ProcessState::Gone);
    assert!(lock(&machine).unwrap_err().is_invalid());
}

#[test]
fn a_lock_is_not_tied_to_a_process_whose_id_is_used_again_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let machine = machine(&dir);
    let later = Arc::clone(&machine);
    machine.at(Point::BeforeWrite, move || later.show_process(PID, running(8)));
    assert!(lock(&machine).unwrap_err().is_invalid());
    machine.unhook();
    assert!(machine.locks("bob").try_acquire(&name(), &Terms::default()).is_ok(), "nobody holds it");
}
