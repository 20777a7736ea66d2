//! Those who strike at the lock whose heartbeat lives: at its renewals, when they are told to, and at their own pace.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use lokt::{Locks, Name, Terms};

use super::{LONG, Strikes};
use crate::machine::Point;
use crate::scene::{Actor, Scene};
use crate::timeline::Timeline;

/// A contender that is not told to strike does so by itself after this.
const PACE: Duration = Duration::from_millis(10);

/// Everyone who strikes at the busy lock.
pub(super) struct Contenders {
    pub(super) all: Vec<Contender>,
    threads: Vec<JoinHandle<()>>,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) score: Arc<Score>,
}

/// One of them, as those who give it orders see it.
#[derive(Clone)]
pub(super) struct Contender {
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
pub(super) struct Score {
    pub(super) tried: AtomicU64,
    pub(super) refused: AtomicU64,
    broken: Mutex<Vec<String>>,
    pub(super) strikes: Mutex<Strikes>,
}

impl Score {
    /// Some strikes at one kind of instant, by all contenders.
    pub(super) fn struck(&self, missed: usize, of: usize, kind: impl FnOnce(&mut Strikes) -> &mut u64) {
        let mut strikes = self.strikes.lock().unwrap();
        strikes.missed += missed as u64;
        *kind(&mut strikes) += (of - missed) as u64;
    }
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

impl Contenders {
    /// Starts `count` contenders; each has a machine of its own.
    pub(super) fn start(scene: &Scene, name: &Name, terms: &Terms, count: usize) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let score = Arc::<Score>::default();
        let (all, threads) = (0..count)
            .map(|number| {
                let (orders, received) = mpsc::sync_channel(1);
                let gate = Arc::<Gate>::default();
                let contender = Contender { orders, gate: Arc::clone(&gate) };
                let (scene, name, terms) = (scene.clone(), name.clone(), terms.clone());
                let (stop, score) = (Arc::clone(&stop), Arc::clone(&score));
                let life = move || contend(number, &scene, &name, &terms, &gate, &score, &received, &stop);
                (contender, thread::spawn(life))
            })
            .unzip();
        Self { all, threads, stop, score }
    }

    /// Makes every contender strike right before each renewal, inside it, and right after it.
    pub(super) fn strike_in_renewals_of(&self, scene: &Scene, holder: &Actor, timeline: &Timeline) {
        let (all, timeline, has_mutex) = (self.all.clone(), timeline.clone(), scene.has_mutex());
        let score = Arc::clone(&self.score);
        holder.at_renewals(move |point| {
            let missed = match point {
                // The mutex is the renewal's: a strike can only come up to it.
                Point::BeforeWrite if has_mutex => {
                    all.iter().filter(|one| !one.come_up_to_the_mutex()).count()
                }
                _ => all.iter().filter(|one| !one.strike()).count(),
            };
            score.struck(missed, all.len(), |strikes| match point {
                Point::BeforeMutex => &mut strikes.before,
                Point::BeforeWrite | Point::BeforeProbe => &mut strikes.inside,
                Point::AfterMutex => &mut strikes.after,
            });
            timeline.note("contenders", format!("struck at {point:?} of a renewal, but for {missed}"));
        });
    }

    /// Makes every contender strike now, one after the other; how many did not.
    pub(super) fn strike_now(&self) -> usize {
        self.all.iter().filter(|one| !one.strike()).count()
    }

    /// Ends the contenders, after each has been refused once more. One that had died before has not done its part.
    pub(super) fn stop(&mut self) -> Result<(), String> {
        self.strike_now();
        self.stop.store(true, Ordering::SeqCst);
        self.strike_now();
        let ends = self.threads.drain(..).map(JoinHandle::join);
        match ends.filter(Result::is_err).count() {
            0 => Ok(()),
            dead => Err(format!("{dead} of {} contenders panicked", self.all.len())),
        }
    }

    pub(super) fn verdict(&self) -> Result<(), String> {
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
        // With an order before it, it strikes anyway; but not if it is dead.
        let ordered = self.orders.try_send(done);
        !matches!(ordered, Err(TrySendError::Disconnected(_))) && self.gate.await_reached()
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
pub(super) fn break_open(locks: &Locks, name: &Name, _: &Terms) -> Option<String> {
    match locks.break_stale(name) {
        Ok(_) => Some("removed the record".to_owned()),
        Err(error) if error.refusal().is_some() && !error.is_not_found() => None,
        Err(error) => Some(format!("failed otherwise than refused: {error}")),
    }
}
