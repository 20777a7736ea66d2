//! Leases of any length, on a clock that the test moves: the narrow instants to the nanosecond, in milliseconds.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

#[path = "leases/afar.rs"]
mod afar;
#[path = "leases/freezes.rs"]
mod freezes;
#[path = "leases/hung.rs"]
mod hung;
#[path = "leases/meanwhile.rs"]
mod meanwhile;
#[path = "leases/tied.rs"]
mod tied;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use lokt::protocol::{Standing, Stored};
use lokt::{Locks, Name, News, Patience, Session, Terms};
use lokt_tests::machine::{Clock, Machine, Point};

const TICK: Duration = Duration::from_nanos(1);
const LONG: Duration = Duration::from_secs(30);
const TTLS: [u64; 3] = [1, 60, 3600];

/// A lease with a heartbeat, and somebody who wants to break it.
struct Duel {
    clock: Arc<Clock>,
    machine: Arc<Machine>,
    session: Session,
    news: Receiver<News>,
    contender: Arc<Locks>,
    name: Name,
    terms: Terms,
    dir: tempfile::TempDir,
}

impl Duel {
    fn begin(ttl_sec: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::new();
        let machine = Machine::in_time_of(&clock, dir.path());
        let name: Name = "duel".parse().unwrap();
        let ttl = Duration::from_secs(ttl_sec);
        let terms = Terms { ttl: Some(ttl), break_stale: true, ..Terms::default() };
        let mut session = machine.locks("holder").try_acquire(&name, &terms).unwrap();
        let (tell, news) = mpsc::channel();
        session.keep_alive(move |what| drop(tell.send(what))).unwrap();
        clock.await_sleeper();
        let contender = Arc::new(Machine::in_time_of(&clock, dir.path()).locks("contender"));
        Self { clock, machine, session, news, contender, name, terms, dir }
    }

    fn deadline(&self) -> Duration {
        self.session.deadline().unwrap()
    }

    fn due(&self) -> Duration {
        self.deadline() - self.terms.ttl.unwrap() + self.session.beat().unwrap().interval
    }

    /// Strikes in both ways, and expects to be refused.
    fn refused(&self, when: &str) {
        strike(&self.contender, &self.name, &self.terms, when);
        self.unchanged(when);
    }

    fn unchanged(&self, when: &str) {
        let view = self.contender.status(&self.name).unwrap().view;
        let Stored::Record(record) = &view.stored else { panic!("{when}: {:?}", view.stored) };
        assert_eq!(record.lock_id, self.session.lock_id().as_str(), "{when}: the holder is the same");
        assert_eq!(record.owner, "holder", "{when}: its owner is the same");
        assert!(matches!(view.standing, Standing::Held { .. }), "{when}: {:?}", view.standing);
    }

    fn next_news(&self) -> News {
        self.news.recv_timeout(LONG).expect("the heartbeat tells")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("audit.log")).unwrap()
    }
}

fn strike(contender: &Locks, name: &Name, terms: &Terms, when: &str) {
    let taken = contender.try_acquire(name, terms);
    assert!(
        taken.as_ref().is_err_and(lokt::Error::is_held),
        "{when}: lock --break-stale is refused: {taken:?}"
    );
    let broken = contender.break_stale(name);
    assert!(broken.is_err_and(|error| !error.is_not_found()), "{when}: unlock --break-stale is refused");
}

#[test]
fn no_break_at_any_instant_while_the_heartbeat_lives() {
    for ttl in TTLS {
        let duel = Duel::begin(ttl);
        for beat in 0..20 {
            let due = duel.due();
            duel.clock.advance_to(due - TICK);
            duel.refused(&format!("ttl {ttl}s, beat {beat}, the instant before it"));
            duel.clock.advance_to(due);
            match duel.next_news() {
                News::Renewed { late, left } => {
                    assert_eq!(late, Duration::ZERO);
                    assert!(left * 2 >= duel.terms.ttl.unwrap() || ttl == 1, "{left:?} left");
                }
                other => panic!("ttl {ttl}s: {other:?}"),
            }
            duel.refused(&format!("ttl {ttl}s, beat {beat}, the instant after it"));
        }
        assert!(!duel.log().contains("stale-break"));
    }
}

#[test]
fn no_break_before_inside_or_after_a_renewal() {
    for ttl in TTLS {
        let duel = Duel::begin(ttl);
        let struck = Arc::new(AtomicUsize::new(0));
        let threads = Arc::new(Mutex::new(Vec::new()));
        for point in [Point::BeforeMutex, Point::BeforeWrite, Point::AfterMutex] {
            let (contender, struck) = (Arc::clone(&duel.contender), Arc::clone(&struck));
            let (name, terms, threads) = (duel.name.clone(), duel.terms.clone(), Arc::clone(&threads));
            let rival = Machine::in_time_of(&duel.clock, duel.dir.path());
            duel.machine.at(point, move || {
                struck.fetch_add(1, Ordering::SeqCst);
                if point != Point::BeforeWrite {
                    return strike(&contender, &name, &terms, &format!("{point:?}"));
                }
                // The mutex is the renewal's: the rival comes up to it, and goes on when it is released.
                let (entered, has_entered) = mpsc::channel();
                rival.at(Point::BeforeMutex, move || {
                    // Only the first time is somebody waiting.
                    let _ = entered.send(());
                });
                let (rival, name, terms) = (rival.locks("rival"), name.clone(), terms.clone());
                let thread = thread::spawn(move || strike(&rival, &name, &terms, "inside a renewal"));
                threads.lock().unwrap().push(thread);
                has_entered.recv_timeout(LONG).expect("the rival is at the mutex");
            });
        }
        duel.clock.advance_to(duel.due());
        assert!(matches!(duel.next_news(), News::Renewed { .. }));
        threads.lock().unwrap().drain(..).for_each(|thread| thread.join().expect("the rival was refused"));
        duel.machine.unhook();
        assert_eq!(struck.load(Ordering::SeqCst), 3, "each place was passed once");
        duel.unchanged("after the renewal");
    }
}

#[test]
fn a_renewal_in_the_last_instant_saves_the_lease() {
    for ttl in TTLS {
        let duel = Duel::begin(ttl);
        let (clock, contender) = (Arc::clone(&duel.clock), Arc::clone(&duel.contender));
        let (name, terms, lapse) = (duel.name.clone(), duel.terms.clone(), duel.deadline());
        duel.machine.at(Point::BeforeMutex, move || {
            clock.advance_to(lapse - TICK);
            strike(&contender, &name, &terms, "the last instant of the old lease");
        });
        duel.clock.advance_to(duel.due());
        match duel.next_news() {
            News::Renewed { left, .. } => assert_eq!(left, TICK),
            other => panic!("{other:?}"),
        }
        duel.machine.unhook();
        duel.clock.advance_to(lapse);
        duel.refused("the old lease would have lapsed");
    }
}

#[test]
fn a_break_succeeds_once_renewals_have_failed_for_a_lease_and_not_before() {
    for ttl in TTLS {
        let duel = Duel::begin(ttl);
        let lapse = duel.deadline();
        duel.machine.fail_writes(true);
        duel.clock.advance_to(duel.due());
        assert!(matches!(duel.next_news(), News::RenewalFailed { .. }));
        duel.clock.advance_to(lapse - TICK);
        duel.refused("the last instant of the lease");
        duel.clock.advance_to(lapse);
        let plain = duel.contender.try_acquire(&duel.name, &Terms::default());
        assert!(plain.is_err_and(|error| error.is_held()), "a plain try takes nothing from the living");
        let next = duel.contender.try_acquire(&duel.name, &duel.terms).expect("the lease has lapsed");
        assert!(next.token() > duel.session.token(), "its token is larger");
        assert!(duel.log().contains("stale-break"), "the log tells a break from an end");
        duel.machine.fail_writes(false);
        duel.clock.advance_to(lapse + Duration::from_secs(1));
        let lost = std::iter::repeat_with(|| duel.next_news()).find(|news| matches!(news, News::Lost(_)));
        assert!(lost.is_some(), "the loser finds out");
        assert!(duel.session.release().is_err_and(|error| error.is_lost()), "its end changes nothing");
        next.renew().expect("the winner's record is untouched");
    }
}

#[test]
fn those_who_look_without_the_mutex_see_whole_records() {
    let duel = Duel::begin(60);
    thread::scope(|scope| {
        let renewals = scope.spawn(|| (0..300).for_each(|_| duel.session.renew().unwrap()));
        while !renewals.is_finished() {
            duel.unchanged("between or inside renewals");
        }
    });
}

#[test]
fn a_wall_clock_that_is_set_means_nothing() {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    for ttl in TTLS {
        let duel = Duel::begin(ttl);
        duel.clock.set_wall(YEAR, Duration::ZERO);
        duel.refused("a year forward");
        duel.clock.advance_to(duel.due());
        assert!(matches!(duel.next_news(), News::Renewed { .. }));
        duel.refused("renewed in that year");
        duel.clock.set_wall(Duration::ZERO, YEAR);
        duel.refused("a year back");
        let lapse = duel.deadline();
        duel.machine.fail_writes(true);
        duel.clock.advance_to(lapse - TICK);
        duel.refused("the last instant of the lease");
        duel.clock.advance_to(lapse);
        let next = duel.contender.try_acquire(&duel.name, &duel.terms);
        drop(next.expect("the lease has lapsed, whatever the date"));
    }
}

#[test]
fn a_paused_holder_whose_record_is_still_its_own_goes_on() {
    for ttl in TTLS {
        let duel = Duel::begin(ttl);
        duel.clock.advance_to(duel.deadline() + Duration::from_secs(3 * ttl));
        assert!(matches!(duel.next_news(), News::Renewed { .. }), "nobody has taken it meanwhile");
        duel.refused("after the pause");
    }
}

#[test]
fn a_normal_end_is_a_hand_over_and_no_break() {
    let duel = Duel::begin(60);
    let token = duel.session.token();
    let (name, terms, contender) = (duel.name.clone(), duel.terms.clone(), Arc::clone(&duel.contender));
    let waiter = thread::spawn(move || contender.acquire(&name, &terms, Patience::Unlimited).unwrap());
    let line = duel.dir.path().join("lines/duel");
    while !has_entries(&line) {
        thread::yield_now();
    }
    let log = duel.dir.path().join("audit.log");
    duel.session.release().unwrap();
    assert!(waiter.join().unwrap().token() > token);
    let log = std::fs::read_to_string(log).unwrap();
    let events: Vec<&str> =
        log.lines().filter_map(|line| line.split("\"event\":\"").nth(1)?.split('"').next()).collect();
    assert_eq!(events, ["acquire", "wait", "release", "acquire", "release"]);
}

fn has_entries(dir: &Path) -> bool {
    std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some())
}

#[test]
fn a_waiter_takes_a_lapsed_lease_over_at_the_instant_it_lapses() {
    let duel = Duel::begin(60);
    duel.machine.fail_writes(true);
    let lapse = duel.deadline();
    let (name, terms, contender) = (duel.name.clone(), duel.terms.clone(), Arc::clone(&duel.contender));
    let waiter = thread::spawn(move || {
        let session = contender.acquire(&name, &terms, Patience::Unlimited).unwrap();
        (session.deadline().unwrap() - terms.ttl.unwrap(), session)
    });
    // However the clock is moved on towards the lapse, nothing happens before it.
    let mut now = duel.clock.now().monotonic;
    while now < lapse {
        assert!(!waiter.is_finished(), "admitted {:?} early", lapse - now);
        now = (now + Duration::from_millis(700)).min(lapse);
        duel.clock.advance_to(now);
        thread::yield_now();
    }
    let (admitted, _session) = waiter.join().unwrap();
    assert_eq!(admitted, lapse);
}
