//! Fibers: the threads of simulated processes, of which one runs at a time and stops only where it says so.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use generator::{Generator, Gn};

/// What a fiber does.
pub type Job = Box<dyn FnOnce() + Send>;

/// In words (8 bytes); only what is used is ever mapped.
const STACK: usize = 0x8000;

/// What unwinds the stack of a fiber whose process was killed.
struct Killed;

/// Fibers, reused from run to run: the n-th runs the n-th thread of a run.
#[derive(Default)]
pub struct Fibers(Vec<Fiber>);

struct Fiber {
    stack: Generator<'static, (), ()>,
    slot: Arc<Mutex<Slot>>,
}

#[derive(Default)]
struct Slot {
    job: Option<Job>,
    ended: Option<Result<(), String>>,
}

impl Fibers {
    /// Lets the n-th fiber run until it pauses or ends, with `job` if it has not begun. How it ended, if it has;
    /// the error is what it panicked with.
    pub fn resume(&mut self, n: usize, job: Option<Job>) -> Option<Result<(), String>> {
        while self.0.len() <= n {
            self.0.push(Fiber::new());
        }
        let fiber = &mut self.0[n];
        if job.is_some() {
            locked(&fiber.slot).job = job;
        }
        fiber.stack.resume();
        locked(&fiber.slot).ended.take()
    }
}

impl Drop for Fibers {
    fn drop(&mut self) {
        for fiber in &mut self.0 {
            // Without a job, it ends.
            fiber.stack.resume();
        }
    }
}

impl Fiber {
    fn new() -> Self {
        let slot = Arc::<Mutex<Slot>>::default();
        let own = Arc::clone(&slot);
        let stack = Gn::new_opt(STACK, move || {
            loop {
                let job = locked(&own).job.take();
                let Some(job) = job else { return };
                let ended = catch_unwind(AssertUnwindSafe(job));
                locked(&own).ended = Some(ended.or_else(|payload| why(payload.as_ref())));
                pause();
            }
        });
        Self { stack, slot }
    }
}

fn locked(slot: &Mutex<Slot>) -> MutexGuard<'_, Slot> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

fn why(payload: &(dyn std::any::Any + Send)) -> Result<(), String> {
    if payload.is::<Killed>() {
        return Ok(());
    }
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    Err(text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned()))
}

/// Stops the running fiber until it is resumed.
pub fn pause() {
    #[expect(deprecated, reason = "the scope would have to be handed through the code under test")]
    generator::yield_with(());
}

/// Ends the running fiber, as the kernel ends the threads of a process that is killed: its code does no more.
pub fn die() -> ! {
    resume_unwind(Box::new(Killed))
}
