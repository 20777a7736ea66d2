//! A machine to which the root is another's sees no flock of those there: whoever may live is left alone.

use std::fs;
use std::time::Duration;

use lokt::protocol::Authority;
use lokt_tests::machine::Machine;

use super::LONG;
use super::meanwhile::waits_behind_a_manual_lock;

#[test]
fn a_sweep_from_afar_leaves_living_waiters_in_line() {
    let (dir, owner, name, has_entered) = waits_behind_a_manual_lock();
    let sessions = || fs::read_dir(dir.path().join("sessions")).unwrap().count();
    assert_eq!(sessions(), 1, "the waiter's");

    Machine::afar(dir.path()).locks("other").sweep(LONG);
    assert_eq!(sessions(), 1);
    owner.unlock(&name, Authority::Owner("owner".to_owned())).unwrap();
    let session = has_entered.recv_timeout(Duration::from_secs(3)).expect("the waiter is rung").unwrap();
    session.release().unwrap();
}
