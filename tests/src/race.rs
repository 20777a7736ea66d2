//! The race that the project was started from: what happens when contenders try `--break-stale` while the holder's
//! heartbeat is renewing?
//!
//! One run holds two locks. On `busy` a heartbeat lives, and contenders try to break it all the while, and exactly
//! at the narrow places of each renewal, until the holder ends normally. On `doomed` every renewal fails, so that
//! a break must succeed: once the lease has lapsed, and not before. All of it runs through the same session and
//! heartbeat as `lokt guard`.

mod contenders;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use lokt::audit::Query;
use lokt::protocol::{Standing, Stored};
use lokt::{Locks, Name, News, Patience, Session, Terms};

use self::contenders::{Contenders, break_open};
use crate::scene::Scene;
use crate::timeline::Timeline;

/// How many renewals a run sees: the first lease has lapsed twice over by then.
const RENEWALS: usize = 3;

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
    /// When the contenders were made to strike.
    pub strikes: Strikes,
    /// Breaks of the doomed lock that were refused, and were over before its lease had lapsed.
    pub early_breaks: u64,
    /// From the lapse of the doomed lease to the admission of the waiter that took it over.
    pub takeover_ms: f64,
    /// From the release of the busy lock to the admission of the waiter.
    pub handover_ms: f64,
}

/// How many strikes there were at each of the instants that matter.
#[derive(Debug, Default, Clone, Copy, serde::Serialize)]
pub struct Strikes {
    /// Right before a renewal.
    pub before: u64,
    /// In the middle of it.
    pub inside: u64,
    /// Right after it.
    pub after: u64,
    /// About the instant at which the lease would have lapsed without the last renewal.
    pub at_expiry: u64,
    /// Those of all these that did not come about.
    pub missed: u64,
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
        let (takeover_ms, early_breaks) =
            doomed.join().map_err(|_| "the doomed half panicked".to_owned())??;
        Ok(Measured { takeover_ms, early_breaks, ..busy? })
    })
}

/// The half of the run in which the heartbeat lives.
fn busy(scene: &Scene, terms: &Terms, contenders: usize, timeline: &Timeline) -> Result<Measured, String> {
    let name: Name = "busy".parse().expect("a name");
    let machine = scene.actor();
    let locks = machine.locks("holder");
    let mut session = locks.try_acquire(&name, terms).map_err(|error| error.to_string())?;
    timeline.note("holder", format!("acquired, token {}", session.token()));
    let (identity, token) = (session.lock_id().to_string(), session.token());

    let mut contenders = Contenders::start(scene, &name, terms, contenders.max(1));
    contenders.strike_in_renewals_of(scene, &machine, timeline);
    let watching = Arc::clone(&contenders.stop);
    thread::scope(|scope| {
        let observer = scope.spawn(|| observe(scene, &name, &identity, &watching));
        let waiter = scope.spawn(|| wait_in_line(scene, &name, terms));
        let renewals = watch_renewals(&mut session, &locks, &contenders, timeline);
        machine.unhook();
        let stopped = contenders.stop();
        let observed = observer.join().map_err(|_| "the observer panicked".to_owned())?;
        let released = locks.now().monotonic;
        session.release().map_err(|error| format!("the holder's end: {error}"))?;
        timeline.note("holder", "released".to_owned());
        let (admitted, next) = waiter.join().map_err(|_| "the waiter panicked".to_owned())??;
        timeline.note("waiter", format!("got it, token {}", next.token()));
        stopped?;
        let renewals = renewals?;
        timeline.note("observer", format!("saw the same holder {} times", observed?));
        contenders.verdict()?;
        ended_normally(&locks, token, &next)?;
        Ok(Measured {
            renewals,
            break_attempts: contenders.score.tried.load(Ordering::SeqCst),
            break_refused: contenders.score.refused.load(Ordering::SeqCst),
            strikes: *contenders.score.strikes.lock().unwrap(),
            handover_ms: ms(admitted.saturating_sub(released)),
            ..Measured::default()
        })
    })
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
                let missed = contenders.strike_now();
                contenders.score.struck(missed, contenders.all.len(), |strikes| &mut strikes.at_expiry);
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

/// The half of the run in which no renewal succeeds: a break must, but not before the lease has lapsed. How long after
/// that it did, and how many were refused before.
fn doomed(scene: &Scene, terms: &Terms, timeline: &Timeline) -> Result<(f64, u64), String> {
    let name: Name = "doomed".parse().expect("a name");
    let machine = scene.actor();
    let mut session = machine.locks("doomed").try_acquire(&name, terms).map_err(|error| error.to_string())?;
    machine.fail_writes(true);
    let (news, heard) = mpsc::channel();
    session.keep_alive(move |what| drop(news.send(what))).map_err(|error| error.to_string())?;
    let lapse = session.deadline().ok_or("a lease without a deadline")?;
    let ttl = terms.ttl.unwrap_or_default();
    let breaker = scene.locks("breaker");
    thread::scope(|scope| {
        let waiter = scope.spawn(|| wait_in_line(scene, &name, terms));
        let mut early_breaks = 0;
        // The first at once: one that comes late shows nothing, and on a busy machine the others may.
        for early in [ttl, Duration::from_millis(500), Duration::from_millis(20), Duration::from_millis(1)] {
            await_instant(&breaker, lapse.saturating_sub(early));
            let broken = break_open(&breaker, &name, terms);
            match broken {
                _ if breaker.now().monotonic >= lapse => {}
                Some(what) => return Err(format!("before the lease had lapsed, the breaker {what}")),
                None => early_breaks += 1,
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
        let took_over = (ms(admitted - lapse), early_breaks);
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
