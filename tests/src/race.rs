//! The race that the project was started from: what happens when contenders try `--break-stale` while the holder's
//! heartbeat is renewing?
//!
//! One run holds two locks. On `busy` a heartbeat lives, and contenders try to break it all the while, and exactly
//! at the narrow places of each renewal, until the holder ends normally. On `doomed` every renewal fails, so that
//! a break must succeed: once the lease has lapsed, and not before. All of it runs through the same session and
//! heartbeat as `lokt guard`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use lokt::audit::Query;
use lokt::protocol::{Standing, Stored};
use lokt::{Locks, Name, News, Patience, Session, Terms};

use crate::machine::Point;
use crate::scene::{Actor, Scene};
use crate::timeline::Timeline;

/// How many renewals a run sees: the first lease has lapsed twice over by then.
const RENEWALS: usize = 3;

/// A contender that is not told to strike does so by itself after this.
const PACE: Duration = Duration::from_millis(10);

/// Longer than anything that is waited for.
const LONG: Duration = Duration::from_secs(60);

/// One renewal.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Renewal {
    /// When it committed, from the start of the run.
    pub at_ms: f64,
    /// How long after it was due.
    pub late_ms: f64,
    /// What was left of the lease.
    pub left_ms: f64,
}

/// What one run measured.
#[derive(Debug, Default, serde::Serialize)]
pub struct Measured {
    /// The renewals of the busy lock.
    pub renewals: Vec<Renewal>,
    /// Breaks tried while the heartbeat lived.
    pub break_attempts: u64,
    /// How many of them were refused: all.
    pub break_refused: u64,
    /// From the lapse of the doomed lease to the admission of the waiter that took it over.
    pub takeover_ms: f64,
    /// From the release of the busy lock to the admission of the waiter.
    pub handover_ms: f64,
}

/// Runs the race once, where `scene` says.
///
/// # Errors
///
/// What went against a promise.
pub fn run(scene: &Scene, ttl: Duration, contenders: usize, timeline: &Timeline) -> Result<Measured, String> {
    let terms = Terms { ttl: Some(ttl), ..Terms::default() };
    thread::scope(|scope| {
        let doomed = scope.spawn(|| doomed(scene, &terms, timeline));
        let busy = busy(scene, &terms, contenders, timeline);
        let takeover_ms = doomed.join().map_err(|_| "the doomed half panicked".to_owned())??;
        Ok(Measured { takeover_ms, ..busy? })
    })
}

/// Everyone who strikes at the busy lock.
struct Contenders {
    all: Vec<Contender>,
    stop: Arc<AtomicBool>,
    score: Arc<Score>,
}

/// One of them, as those who give it orders see it.
#[derive(Clone)]
struct Contender {
    /// Orders to strike now; each is answered when the strike is over.
    orders: SyncSender<Sender<()>>,
    gate: Arc<Gate>,
}

/// Whether a contender has come up to the mutex in the strike that it is at.
///
/// A flag rather than a condition variable: the thread sanitizer sees through its own atomics, but not into those
/// of the standard library.
#[derive(Default)]
struct Gate(AtomicBool);

/// What the strikes came to.
#[derive(Default)]
struct Score {
    tried: AtomicU64,
    refused: AtomicU64,
    broken: Mutex<Vec<String>>,
}

impl Gate {
    fn set(&self, reached: bool) {
        self.0.store(reached, Ordering::SeqCst);
    }

    fn await_reached(&self) -> bool {
        for _ in 0..LONG.as_millis() * 10 {
            if self.0.load(Ordering::SeqCst) {
                return true;
            }
            thread::park_timeout(Duration::from_micros(100));
        }
        false
    }
}

/// The half of the run in which the heartbeat lives.
fn busy(scene: &Scene, terms: &Terms, contenders: usize, timeline: &Timeline) -> Result<Measured, String> {
    let name: Name = "busy".parse().expect("a name");
    let machine = scene.actor();
    let locks = machine.locks("holder");
    let mut session = locks.try_acquire(&name, terms).map_err(|error| error.to_string())?;
    timeline.note("holder", format!("acquired, token {}", session.token()));
    let (identity, token) = (session.lock_id().to_string(), session.token());

    let contenders = Contenders::start(scene, &name, terms, contenders.max(1));
    contenders.strike_in_renewals_of(scene, &machine, timeline);
    let watching = Arc::clone(&contenders.stop);
    thread::scope(|scope| {
        let observer = scope.spawn(|| observe(scene, &name, &identity, &watching));
        let waiter = scope.spawn(|| wait_in_line(scene, &name, terms));
        let renewals = watch_renewals(&mut session, &locks, &contenders, timeline);
        contenders.stop();
        machine.unhook();
        let observed = observer.join().map_err(|_| "the observer panicked".to_owned())?;
        let released = locks.now().monotonic;
        session.release().map_err(|error| format!("the holder's end: {error}"))?;
        timeline.note("holder", "released".to_owned());
        let (admitted, next) = waiter.join().map_err(|_| "the waiter panicked".to_owned())??;
        timeline.note("waiter", format!("got it, token {}", next.token()));
        let renewals = renewals?;
        timeline.note("observer", format!("saw the same holder {} times", observed?));
        contenders.verdict()?;
        ended_normally(&locks, token, &next)?;
        Ok(Measured {
            renewals,
            break_attempts: contenders.score.tried.load(Ordering::SeqCst),
            break_refused: contenders.score.refused.load(Ordering::SeqCst),
            handover_ms: ms(admitted.saturating_sub(released)),
            takeover_ms: 0.0,
        })
    })
}

impl Contenders {
    /// Starts `count` contenders; each has a machine of its own.
    fn start(scene: &Scene, name: &Name, terms: &Terms, count: usize) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let score = Arc::<Score>::default();
        let all = (0..count).map(|number| {
            let (orders, received) = mpsc::sync_channel(1);
            let gate = Arc::<Gate>::default();
            let contender = Contender { orders, gate: Arc::clone(&gate) };
            let (scene, name, terms) = (scene.clone(), name.clone(), terms.clone());
            let (stop, score) = (Arc::clone(&stop), Arc::clone(&score));
            thread::spawn(move || contend(number, &scene, &name, &terms, &gate, &score, &received, &stop));
            contender
        });
        Self { all: all.collect(), stop, score }
    }

    /// Makes every contender strike right before each renewal, inside it, and right after it.
    fn strike_in_renewals_of(&self, scene: &Scene, holder: &Actor, timeline: &Timeline) {
        let (all, timeline, has_mutex) = (self.all.clone(), timeline.clone(), scene.has_mutex());
        holder.at_renewals(move |point| {
            let missed = match point {
                // The mutex is the renewal's: a strike can only come up to it.
                Point::BeforeWrite if has_mutex => {
                    all.iter().filter(|one| !one.come_up_to_the_mutex()).count()
                }
                _ => all.iter().filter(|one| !one.strike()).count(),
            };
            timeline.note("contenders", format!("struck at {point:?} of a renewal, but for {missed}"));
        });
    }

    /// Makes every contender strike now, one after the other.
    fn strike_now(&self) {
        self.all.iter().for_each(|one| {
            one.strike();
        });
    }

    /// Ends the contenders, after each has been refused once more; none is in the middle of a strike then.
    fn stop(&self) {
        self.strike_now();
        self.stop.store(true, Ordering::SeqCst);
        self.strike_now();
    }

    fn verdict(&self) -> Result<(), String> {
        let broken = self.score.broken.lock().unwrap();
        if broken.is_empty() {
            Ok(())
        } else {
            Err(format!("while the heartbeat lived: {}", broken.join("; ")))
        }
    }
}

impl Contender {
    /// Makes it strike, and waits until it has been refused (or has not).
    fn strike(&self) -> bool {
        let (done, is_done) = mpsc::channel();
        self.orders.send(done).is_ok() && is_done.recv_timeout(LONG).is_ok()
    }

    /// Makes it strike, and waits until it is at the mutex, which is taken.
    fn come_up_to_the_mutex(&self) -> bool {
        let (done, _) = mpsc::channel();
        // With an order before it, it strikes anyway.
        let _ = self.orders.try_send(done);
        self.gate.await_reached()
    }
}

/// A contender's life: it strikes when it is told to, and at its own pace.
#[expect(clippy::too_many_arguments, reason = "a thread's whole world")]
fn contend(
    number: usize,
    scene: &Scene,
    name: &Name,
    terms: &Terms,
    gate: &Arc<Gate>,
    score: &Score,
    orders: &Receiver<Sender<()>>,
    stop: &AtomicBool,
) {
    let machine = scene.actor();
    let at_mutex = Arc::clone(gate);
    machine.at_mutex(move || at_mutex.set(true));
    let locks = machine.locks(&format!("contender {number}"));
    let terms = Terms { break_stale: true, ..terms.clone() };
    while let Some(order) = next_order(orders, stop) {
        for strike in [break_in, break_open] {
            score.tried.fetch_add(1, Ordering::SeqCst);
            match strike(&locks, name, &terms) {
                None => {
                    score.refused.fetch_add(1, Ordering::SeqCst);
                }
                Some(what) => score.broken.lock().unwrap().push(format!("contender {number} {what}")),
            }
            gate.set(false);
        }
        // Whoever gave the order may have stopped waiting for it.
        order.iter().for_each(|done| {
            let _ = done.send(());
        });
    }
}

/// The next order; `None` inside means that the contender strikes by itself. Outer `None`: the race is over.
fn next_order(orders: &Receiver<Sender<()>>, stop: &AtomicBool) -> Option<Option<Sender<()>>> {
    match orders.recv_timeout(PACE) {
        Ok(order) => Some(Some(order)),
        Err(_) if stop.load(Ordering::SeqCst) => None,
        Err(RecvTimeoutError::Timeout) => Some(None),
        Err(RecvTimeoutError::Disconnected) => None,
    }
}

/// Tries to take the lock with `--break-stale`; says what it did if it got it.
fn break_in(locks: &Locks, name: &Name, terms: &Terms) -> Option<String> {
    match locks.try_acquire(name, terms) {
        Ok(session) => Some(format!("took the lock over with token {}", session.token())),
        Err(error) if error.is_held() => None,
        Err(error) => Some(format!("failed otherwise than refused: {error}")),
    }
}

/// Tries to remove the lock with `unlock --break-stale`; says what it did if it could.
fn break_open(locks: &Locks, name: &Name, _: &Terms) -> Option<String> {
    match locks.break_stale(name) {
        Ok(_) => Some("removed the record".to_owned()),
        Err(error) if error.refusal().is_some() && !error.is_not_found() => None,
        Err(error) => Some(format!("failed otherwise than refused: {error}")),
    }
}

/// Follows the heartbeat, and strikes at the instants at which the old lease would have lapsed.
fn watch_renewals(
    session: &mut Session,
    locks: &Locks,
    contenders: &Contenders,
    timeline: &Timeline,
) -> Result<Vec<Renewal>, String> {
    let (news, heard) = mpsc::channel();
    let clock = locks.clone();
    let mut old_expiry = session.deadline().ok_or("a lease without a deadline")?;
    session
        .keep_alive(move |what| drop(news.send((clock.now().monotonic, what))))
        .map_err(|error| error.to_string())?;
    let mut renewals = Vec::new();
    while renewals.len() < RENEWALS {
        match heard.recv_timeout(LONG) {
            Ok((at, News::Renewed { late, left })) => {
                timeline.note("holder", format!("renewed {late:.1?} late with {left:.1?} left"));
                renewals.push(Renewal { at_ms: timeline.ms(at), late_ms: ms(late), left_ms: ms(left) });
            }
            Ok((_, other)) => return Err(format!("the heartbeat says {other:?}")),
            Err(_) => return Err("the heartbeat is silent".to_owned()),
        }
        if renewals.len() < RENEWALS {
            // Without the renewal, the lease would lapse just now.
            for early in [Duration::from_millis(1), Duration::from_micros(300), Duration::ZERO] {
                await_instant(locks, old_expiry.saturating_sub(early));
                contenders.strike_now();
            }
            timeline.note(
                "contenders",
                "struck in the last instants before the old expiry, and on it".to_owned(),
            );
            old_expiry += session.beat().map_or(Duration::ZERO, |beat| beat.interval);
        }
    }
    Ok(renewals)
}

/// Waits for an instant of the clock: not for anybody.
fn await_instant(locks: &Locks, instant: Duration) {
    loop {
        let now = locks.now().monotonic;
        if now >= instant {
            return;
        }
        thread::park_timeout(instant - now);
    }
}

/// Looks at the record all the while: owner and identity must be the same at every look.
fn observe(scene: &Scene, name: &Name, identity: &str, stop: &AtomicBool) -> Result<u64, String> {
    let locks = scene.locks("observer");
    let mut looks = 0;
    while !stop.load(Ordering::SeqCst) {
        let view = locks.status(name).map_err(|error| error.to_string())?.view;
        match (&view.stored, &view.standing) {
            (Stored::Record(record), Standing::Held { .. })
                if record.lock_id == identity && record.owner == "holder" => {}
            (stored, standing) => {
                return Err(format!("seen while the heartbeat lived: {standing:?}, {stored:?}"));
            }
        }
        looks += 1;
        thread::park_timeout(Duration::from_millis(2));
    }
    Ok(looks)
}

/// Stands in line until the holder has ended.
fn wait_in_line(scene: &Scene, name: &Name, terms: &Terms) -> Result<(Duration, Session), String> {
    let locks = scene.locks("waiter");
    let session = locks.acquire(name, terms, Patience::AtMost(LONG)).map_err(|error| error.to_string())?;
    Ok((locks.now().monotonic, session))
}

/// The end of the busy half was a hand-over, not a break: the log tells the difference.
fn ended_normally(locks: &Locks, token: u64, next: &Session) -> Result<(), String> {
    if next.token() <= token {
        return Err(format!("token {} came after {token}", next.token()));
    }
    let query = Query { names: vec!["busy".to_owned()], ..Query::default() };
    let log = locks.audit(query).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let log = log.map_err(|error| error.to_string())?;
    let of_busy = |event: &str| log.iter().filter(|entry| entry.fields.event == event).count();
    let counts = (of_busy("acquire"), of_busy("release"), of_busy("stale-break"), of_busy("auto-prune"));
    if counts == (2, 1, 0, 0) {
        return Ok(());
    }
    Err(format!("acquired, released, broken, pruned: {counts:?} times in the log"))
}

/// The half of the run in which no renewal succeeds: a break must, but not before the lease has lapsed.
fn doomed(scene: &Scene, terms: &Terms, timeline: &Timeline) -> Result<f64, String> {
    let name: Name = "doomed".parse().expect("a name");
    let machine = scene.actor();
    let mut session = machine.locks("doomed").try_acquire(&name, terms).map_err(|error| error.to_string())?;
    machine.fail_writes(true);
    let (news, heard) = mpsc::channel();
    session.keep_alive(move |what| drop(news.send(what))).map_err(|error| error.to_string())?;
    let lapse = session.deadline().ok_or("a lease without a deadline")?;
    let breaker = scene.locks("breaker");
    thread::scope(|scope| {
        let waiter = scope.spawn(|| wait_in_line(scene, &name, terms));
        for early in [Duration::from_millis(500), Duration::from_millis(20), Duration::from_millis(1)] {
            await_instant(&breaker, lapse.saturating_sub(early));
            let broken = break_open(&breaker, &name, terms);
            if let Some(what) = broken.filter(|_| breaker.now().monotonic < lapse) {
                return Err(format!("before the lease had lapsed, the breaker {what}"));
            }
        }
        let (admitted, next) = waiter.join().map_err(|_| "the doomed waiter panicked".to_owned())??;
        if admitted < lapse {
            return Err(format!("taken over {:?} before the lease had lapsed", lapse - admitted));
        }
        timeline.note("waiter", format!("took the lapsed lock over, token {}", next.token()));
        machine.fail_writes(false);
        finds_out(&heard)?;
        timeline.note("doomed", "found its lock lost".to_owned());
        let took_over = ms(admitted - lapse);
        if session.release().is_ok() || next.renew().is_err() {
            return Err("the loser's end touched its successor's record".to_owned());
        }
        Ok(took_over)
    })
}

/// The heartbeat whose renewals failed says that the lock is lost.
fn finds_out(heard: &Receiver<News>) -> Result<(), String> {
    let mut failed = 0;
    loop {
        match heard.recv_timeout(LONG) {
            Ok(News::RenewalFailed { .. }) => failed += 1,
            Ok(News::Lost(_)) if failed > 0 => return Ok(()),
            Ok(other) => return Err(format!("the doomed heartbeat says {other:?}")),
            Err(_) => return Err("the doomed heartbeat is silent".to_owned()),
        }
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
