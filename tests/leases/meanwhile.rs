//! What others do meanwhile: inside a renewal, at the end of a session, by another clock, by force.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use lokt::protocol::{Authority, Liveness, Mode, Standing};
use lokt::{Error, Locks, Name, Patience, Session, Terms, Unobserved};
use lokt_tests::machine::{Clock, Machine, Point};

use super::{Duel, LONG, News, TICK, has_entries, strike};

/// What must happen without any clock moving has happened within this.
const SOON: Duration = Duration::from_secs(3);

type Taken = Result<Session, Error>;

/// Somebody who tries to take a lock over while another is at it.
struct Rival {
    early: Arc<AtomicBool>,
    thread: Arc<Mutex<Option<JoinHandle<Taken>>>>,
}

impl Rival {
    /// Begins the first time that `machine` passes between reading and writing a record, once `lapse` has come.
    fn inside_of(machine: &Machine, duel: &Duel, lapse: Duration) -> Self {
        let rival = Self { early: Arc::default(), thread: Arc::default() };
        let (early, thread) = (Arc::clone(&rival.early), Arc::clone(&rival.thread));
        let (clock, first) = (Arc::clone(&duel.clock), AtomicBool::new(true));
        let locks = Machine::in_time_of(&duel.clock, duel.dir.path()).locks("rival");
        let (name, terms) = (duel.name.clone(), duel.terms.clone());
        machine.at(Point::BeforeWrite, move || {
            if !first.swap(false, Ordering::SeqCst) {
                return;
            }
            clock.advance_to(lapse);
            let (done, is_done) = mpsc::channel();
            let (locks, name, terms) = (locks.clone(), name.clone(), terms.clone());
            let takes_over = thread::spawn(move || {
                let taken = locks.try_acquire(&name, &terms);
                let _ = done.send(());
                taken
            });
            // Nobody can tell that it will never come; unhindered, it takes a millisecond.
            early.store(is_done.recv_timeout(Duration::from_millis(300)).is_ok(), Ordering::SeqCst);
            *thread.lock().unwrap() = Some(takes_over);
        });
        rival
    }

    /// What it came to, after it had to wait.
    fn waited(&self) -> Taken {
        assert!(!self.early.load(Ordering::SeqCst), "the rival did not have to wait");
        self.thread.lock().unwrap().take().expect("there was a moment to strike at").join().unwrap()
    }
}

#[test]
fn a_take_over_inside_a_renewal_has_to_wait_for_it() {
    let duel = Duel::begin(60);
    // The lease lapses between the decision to renew it and its renewal.
    let rival = Rival::inside_of(&duel.machine, &duel, duel.deadline());
    duel.clock.advance_to(duel.due());
    assert!(matches!(duel.next_news(), News::Renewed { .. }));
    assert!(rival.waited().is_err_and(|error| error.is_held()), "then it finds a new lease");
    duel.unchanged("after the renewal");
}

/// A duel whose lease has lapsed, although its holder lives.
fn lapsed() -> Duel {
    let duel = Duel::begin(60);
    duel.machine.fail_writes(true);
    duel.clock.advance_to(duel.deadline());
    duel
}

#[test]
fn a_take_over_inside_a_break_has_to_wait_for_it() {
    let duel = lapsed();
    let breaker = Machine::in_time_of(&duel.clock, duel.dir.path());
    let rival = Rival::inside_of(&breaker, &duel, duel.deadline());
    breaker.locks("breaker").break_stale(&duel.name).expect("the lease has lapsed");
    rival.waited().expect("then the lock is free").renew().expect("its record is there");
}

#[test]
fn a_take_over_inside_a_take_over_has_to_wait_for_it() {
    let duel = lapsed();
    let breaker = Machine::in_time_of(&duel.clock, duel.dir.path());
    let rival = Rival::inside_of(&breaker, &duel, duel.deadline());
    let taken = breaker.locks("breaker").try_acquire(&duel.name, &duel.terms).expect("the lease has lapsed");
    assert!(rival.waited().is_err_and(|error| error.is_held()), "then it is held");
    taken.renew().expect("its record is there");
}

#[test]
fn whoever_comes_late_to_the_mutex_judges_anew() {
    type Strike = fn(&Locks, &Duel) -> Result<(), Error>;
    let breaks: Strike = |locks, duel| locks.break_stale(&duel.name).map(drop);
    let takes_over: Strike = |locks, duel| locks.try_acquire(&duel.name, &duel.terms).map(drop);
    for strike in [breaks, takes_over] {
        let duel = lapsed();
        let late = Machine::in_time_of(&duel.clock, duel.dir.path());
        let successor = Arc::new(Mutex::new(None));
        let (contender, name, terms) = (Arc::clone(&duel.contender), duel.name.clone(), duel.terms.clone());
        let takes = Arc::clone(&successor);
        late.at(Point::BeforeMutex, move || {
            let mut taken = takes.lock().unwrap();
            taken.get_or_insert_with(|| contender.try_acquire(&name, &terms).expect("the lease has lapsed"));
        });
        let struck = strike(&late.locks("late"), &duel);
        assert!(struck.is_err_and(|error| error.refusal().is_some()), "it is the successor's by now");
        let successor = successor.lock().unwrap().take().expect("the mutex was asked for");
        successor.renew().expect("its record is there");
    }
}

#[test]
fn a_renewal_that_comes_too_late_touches_nobody_elses_record() {
    let duel = lapsed();
    let next = duel.contender.try_acquire(&duel.name, &duel.terms).expect("the lease has lapsed");
    let record = || fs::read(duel.dir.path().join("locks/duel.json")).unwrap();
    let before = record();
    duel.machine.fail_writes(false);
    assert!(duel.session.renew().is_err_and(|error| error.is_lost()), "the record is another's");
    assert_eq!(record(), before);
    next.renew().expect("its record is there");
}

#[test]
fn a_session_that_ends_lives_until_its_record_is_gone() {
    let duel = Duel::begin(60);
    let seen = Arc::new(Mutex::new(None));
    let (contender, name, saw) = (Arc::clone(&duel.contender), duel.name.clone(), Arc::clone(&seen));
    duel.machine.at(Point::BeforeMutex, move || {
        *saw.lock().unwrap() = Some(contender.status(&name).unwrap().view.standing);
    });
    duel.session.release().unwrap();
    let seen = seen.lock().unwrap().take().expect("its record is removed under the mutex");
    assert!(matches!(seen, Standing::Held { liveness: Liveness::Alive, .. }), "{seen:?}");
}

#[test]
fn a_waiter_by_another_clock_does_not_take_a_lease_that_is_renewed() {
    let duel = Duel::begin(2);
    let elsewhere = Clock::in_another_namespace();
    let waiter = Machine::in_time_of(&elsewhere, duel.dir.path()).locks("waiter");
    let (name, terms) = (duel.name.clone(), duel.terms.clone());
    let waiter = thread::spawn(move || {
        let mut session = waiter.acquire(&name, &terms, Patience::Unlimited).unwrap();
        session.keep_alive(|_| {}).unwrap();
        session
    });
    elsewhere.await_sleeper();
    for _ in 0..6 {
        duel.clock.advance_to(duel.due());
        assert!(matches!(duel.next_news(), News::Renewed { .. }));
        elsewhere.advance_to(elsewhere.now().monotonic + Duration::from_secs(1));
        elsewhere.await_sleeper();
        duel.unchanged("renewed for as long as it was watched");
    }
    let token = duel.session.token();
    duel.session.release().unwrap();
    assert!(waiter.join().unwrap().token() > token);
}

#[test]
fn a_forced_removal_is_noticed_at_the_same_instant() {
    let duel = Duel::begin(3600);
    duel.contender.unlock(&duel.name, Authority::Force).unwrap();
    let news =
        duel.news.recv_timeout(SOON).expect("the heartbeat is rung, and does not only look now and then");
    assert!(matches!(news, News::Lost(_)), "{news:?}");
}

/// Somebody who waits behind a manual lock of `owner`, and asleep: the root, the owner, the name, and what the wait comes to.
pub fn waits_behind_a_manual_lock() -> (tempfile::TempDir, Locks, Name, mpsc::Receiver<Taken>) {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::new();
    let owner = Machine::in_time_of(&clock, dir.path()).locks("owner");
    let waiter = Machine::in_time_of(&clock, dir.path()).locks("waiter");
    let name: Name = "manual".parse().unwrap();
    owner.lock(&name, &Terms::default(), None, Patience::None, &mut Unobserved).unwrap();
    let (entered, has_entered) = mpsc::channel();
    let waits_for = name.clone();
    thread::spawn(move || {
        let session = waiter.acquire(&waits_for, &Terms::default(), Patience::Unlimited);
        let _ = entered.send(session);
    });
    clock.await_sleeper();
    (dir, owner, name, has_entered)
}

#[test]
fn a_waiter_behind_a_manual_lock_is_rung_when_it_is_released() {
    let (dir, owner, name, has_entered) = waits_behind_a_manual_lock();
    assert!(has_entries(&dir.path().join("lines/manual")), "it stands in line");
    owner.unlock(&name, Authority::Owner("owner".to_owned())).unwrap();
    let session =
        has_entered.recv_timeout(SOON).expect("the waiter is rung, and does not only look now and then");
    session.unwrap().release().unwrap();
}

#[test]
fn a_contenders_own_ttl_means_nothing() {
    let duel = Duel::begin(60);
    let lapse = duel.deadline();
    let hasty = Terms { ttl: Some(Duration::from_secs(1)), ..duel.terms.clone() };
    let leisurely = Terms { ttl: Some(Duration::from_secs(3600)), ..duel.terms.clone() };
    duel.clock.advance_to(lapse - Duration::from_secs(31));
    strike(&duel.contender, &duel.name, &hasty, "after the contender's TTL, but not the holder's");
    duel.machine.fail_writes(true);
    duel.clock.advance_to(lapse - TICK);
    strike(&duel.contender, &duel.name, &hasty, "the last instant of the lease");
    duel.clock.advance_to(lapse);
    let taken = duel.contender.try_acquire(&duel.name, &leisurely);
    drop(taken.expect("the holder's lease has lapsed, if not the contender's TTL"));
    assert!(fs::read_to_string(duel.dir.path().join("audit.log")).unwrap().contains("stale-break"));
}

#[test]
fn nobody_overtakes_a_waiter_that_is_on_its_way() {
    for patience in [Patience::None, Patience::Unlimited] {
        let duel = Duel::begin(60);
        let plain = Terms { break_stale: false, ..duel.terms.clone() };
        let machine = Machine::in_time_of(&duel.clock, duel.dir.path());
        let (waiter, name, terms) = (machine.locks("waiter"), duel.name.clone(), plain.clone());
        let waiter = thread::spawn(move || waiter.acquire(&name, &terms, Patience::Unlimited).unwrap());
        while !has_entries(&duel.dir.path().join("lines/duel")) {
            thread::yield_now();
        }
        // From now on it comes up to the mutex and no further.
        let (gate, opened) = mpsc::channel::<()>();
        let opened = Mutex::new(opened);
        machine.at(Point::BeforeMutex, move || {
            // An error: the gate is open.
            let _ = opened.lock().unwrap().recv();
        });
        duel.session.release().unwrap();

        let (done, is_done) = mpsc::channel();
        let (newcomer, name) = (Arc::clone(&duel.contender), duel.name.clone());
        let newcomer = thread::spawn(move || {
            let taken = newcomer.acquire(&name, &plain, patience);
            let _ = done.send(());
            taken
        });
        let early = is_done.recv_timeout(Duration::from_millis(300));
        assert!(early.is_err(), "{patience:?}: the newcomer did not have to wait");
        drop(gate);
        let first = waiter.join().unwrap();
        match patience {
            // It learns how it ended when it looks the next time.
            Patience::None => duel.clock.advance_to(duel.clock.now().monotonic + Duration::from_secs(1)),
            _ => first.release().unwrap(),
        }
        let second = newcomer.join().unwrap();
        assert_eq!(second.is_ok(), patience != Patience::None, "{second:?}");
    }
}

/// Looks at a lock whose holder lets go of it as soon as its record has been read.
fn look_at_one_who_lets_go(look: fn(&Locks, &Name) -> Standing) -> Standing {
    let dir = tempfile::tempdir().unwrap();
    let name: Name = "x".parse().unwrap();
    let holder = Machine::new(dir.path()).locks("holder").try_acquire(&name, &Terms::default()).unwrap();
    let (holder, sessions) = (Mutex::new(Some(holder)), dir.path().join("sessions"));
    let viewer = Machine::new(dir.path());
    viewer.at(Point::BeforeProbe, move || {
        if let Some(holder) = holder.lock().unwrap().take() {
            // Whoever has opened the file before that went still has it.
            let file = sessions.join(format!("x.{}", holder.lock_id()));
            let open = sessions.join("open");
            fs::hard_link(&file, &open).unwrap();
            holder.release().unwrap();
            fs::rename(&open, &file).unwrap();
        }
    });
    look(&viewer.locks("viewer"), &name)
}

#[test]
fn who_lets_go_while_somebody_looks_is_not_taken_for_dead() {
    let one = look_at_one_who_lets_go(|locks, name| locks.status(name).unwrap().view.standing);
    assert_eq!(one, Standing::Free);
    let listed = look_at_one_who_lets_go(|locks, _| locks.list().unwrap().remove(0).view.standing);
    assert_eq!(listed, Standing::Free);
}

/// What a power cut brings back of a reader, whose group has ended, binds nobody.
#[test]
fn a_sweep_removes_the_session_of_a_group_that_has_ended_while_another_holds_the_name() {
    let dir = tempfile::tempdir().unwrap();
    let locks = Machine::new(dir.path()).locks("reader");
    let (name, terms) = ("read".parse::<Name>().unwrap(), Terms { mode: Mode::Shared, ..Terms::default() });
    let first = locks.try_acquire(&name, &terms).unwrap();
    let old = ["holders/read/{}.json", "sessions/read.{}"]
        .map(|path| dir.path().join(path.replace("{}", first.lock_id().as_str())));
    let kept = ["record", "session"].map(|file| dir.path().join(file));
    std::iter::zip(&old, &kept).for_each(|(old, kept)| fs::hard_link(old, kept).unwrap());
    first.release().unwrap();

    let second = locks.try_acquire(&name, &terms).unwrap();
    std::iter::zip(&kept, &old).for_each(|(kept, old)| fs::rename(kept, old).unwrap());
    locks.sweep(LONG);
    assert!(!old[1].exists(), "the first reader's session");
    second.renew().expect("the second's is there");
}
