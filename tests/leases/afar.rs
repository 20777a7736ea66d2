//! A machine to which the root is another's sees no flock of those there: whoever may live is left alone.

use std::fs;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use lokt::protocol::Authority;
use lokt::{Name, Patience, Terms, Unobserved};
use lokt_tests::machine::{Clock, Machine};

use super::LONG;

#[test]
fn a_sweep_from_afar_leaves_living_waiters_in_line() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::new();
    let owner = Machine::in_time_of(&clock, dir.path()).locks("owner");
    let waiter = Machine::in_time_of(&clock, dir.path()).locks("waiter");
    let name: Name = "x".parse().unwrap();
    owner.lock(&name, &Terms::default(), None, Patience::None, &mut Unobserved).unwrap();
    let (entered, has_entered) = mpsc::channel();
    let waits_for = name.clone();
    thread::spawn(move || {
        let session = waiter.acquire(&waits_for, &Terms::default(), Patience::Unlimited);
        let _ = entered.send(session);
    });
    clock.await_sleeper();
    let sessions = || fs::read_dir(dir.path().join("sessions")).unwrap().count();
    assert_eq!(sessions(), 1, "the waiter's");

    Machine::afar(dir.path()).locks("other").sweep(LONG);
    assert_eq!(sessions(), 1);
    owner.unlock(&name, Authority::Owner("owner".to_owned())).unwrap();
    let session = has_entered.recv_timeout(Duration::from_secs(3)).expect("the waiter is rung").unwrap();
    session.release().unwrap();
}
