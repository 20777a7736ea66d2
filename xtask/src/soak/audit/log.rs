//! The audit log, read: which admissions there were, in which order, and how each ended.

use std::collections::HashMap;

use anyhow::{Context, anyhow};
use serde::Deserialize;

use super::{Admission, Ending, SLACK, violation};
use crate::soak::checker::Findings;

/// How far the wall clock is ahead of the monotonic one, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub struct Clock(pub i128);

impl Clock {
    /// Now.
    pub fn read() -> Self {
        use rustix::time::{ClockId, clock_gettime};
        let nanoseconds = |clock| {
            let now = clock_gettime(clock);
            i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)
        };
        Self(nanoseconds(ClockId::Realtime) - nanoseconds(ClockId::Monotonic))
    }

    /// By how much the wall clock was set or slewed between two readings, in nanoseconds.
    pub fn moved_by(self, later: Self) -> u64 {
        u64::try_from((later.0 - self.0).abs()).unwrap_or(u64::MAX)
    }

    fn monotonic(self, ts: &str) -> anyhow::Result<u64> {
        let wall: jiff::Timestamp = ts.parse().with_context(|| format!("{ts:?} is no time"))?;
        u64::try_from(wall.as_nanosecond() - self.0)
            .map_err(|_| anyhow!("{ts:?} was before the machine started"))
    }
}

#[derive(Deserialize)]
struct Event {
    ts: String,
    event: String,
    name: String,
    lock_id: Option<String>,
    pid: u32,
    ttl_sec: Option<u64>,
    token: Option<u64>,
    #[serde(default)]
    extra: Extra,
}

#[derive(Deserialize, Default)]
struct Extra {
    /// Whose record was removed; 0 for a manual lock.
    pruned_pid: Option<u32>,
}

/// Something that a process did and that is no admission.
#[derive(Debug, Clone)]
pub struct Act {
    pub name: String,
    pub lock_id: Option<String>,
    pub pid: u32,
    pub line: usize,
    pub at: u64,
}

/// What does not fit in the log by itself. A process that was killed between what it did and its line explains it;
/// whether one was is the history's to tell.
#[derive(Debug, Clone)]
pub enum Odd {
    /// An admission, by its place among the admissions, whose end is not there, although others follow or none do.
    NotEnded(usize),
    /// The end of an admission that is not there, while that of this place was held.
    NotAdmitted { act: Act, holder_pid: u32, over: Option<usize> },
}

/// A whole log.
#[derive(Debug, Default)]
pub struct Log {
    /// In their order.
    pub admissions: Vec<Admission>,
    pub waits: Vec<Act>,
    pub denials: Vec<Act>,
    pub odds: Vec<Odd>,
}

impl Log {
    /// Reads a log, and checks what it says by itself: that tokens rise, and renewals are of holders.
    pub fn read(text: &str, clock: Clock, findings: &mut Findings) -> anyhow::Result<Self> {
        let mut log = Self::default();
        let mut held: HashMap<String, usize> = HashMap::new();
        for (index, line) in text.lines().enumerate() {
            let bad = || format!("line {} of the audit log, {line:?}", index + 1);
            let event: Event = serde_json::from_str(line).with_context(bad)?;
            let at = clock.monotonic(&event.ts).with_context(bad)?;
            log.take(index + 1, &event, at, &mut held, findings);
        }
        log.odds.extend(held.into_values().map(Odd::NotEnded));
        Ok(log)
    }

    fn take(
        &mut self,
        line: usize,
        event: &Event,
        at: u64,
        held: &mut HashMap<String, usize>,
        findings: &mut Findings,
    ) {
        let (name, lock_id) = (event.name.clone(), event.lock_id.clone());
        let act = Act { name, lock_id, pid: event.pid, line, at };
        let ending = match event.event.as_str() {
            "acquire" => return self.admit(event, act, held, findings),
            "wait" => return self.waits.push(act),
            "deny" => return self.denials.push(act),
            "lost" => return,
            "renew" => return self.renew(&act, held, findings),
            "release" => Ending::Release,
            "auto-prune" => Ending::AutoPrune,
            "stale-break" => Ending::StaleBreak,
            "force-break" => Ending::ForceBreak,
            "corrupt-break" => Ending::CorruptBreak,
            other => {
                return violation(
                    format!("line {line} of the audit log: a surprising {other:?}"),
                    &[],
                    findings,
                );
            }
        };
        let index = held.remove(&act.name);
        match index.map(|index| &mut self.admissions[index]) {
            Some(open) if Some(&open.lock_id) == act.lock_id.as_ref() => open.ending = Some((ending, at)),
            _ => {
                let holder_pid = event.extra.pruned_pid.unwrap_or(0);
                self.odds.push(Odd::NotAdmitted { act, holder_pid, over: index });
            }
        }
    }

    fn admit(&mut self, event: &Event, act: Act, held: &mut HashMap<String, usize>, findings: &mut Findings) {
        let line = act.line;
        self.odds.extend(held.insert(act.name.clone(), self.admissions.len()).map(Odd::NotEnded));
        let before = self.admissions.iter().rev().find(|before| before.name == act.name);
        if let Some(before) = before.filter(|before| before.token >= event.token) {
            let text = format!(
                "line {line} of the audit log: token {:?} after {:?}",
                event.token.unwrap_or(0),
                before.token.unwrap_or(0)
            );
            violation(text, &[], findings);
        }
        self.admissions.push(Admission {
            name: act.name,
            lock_id: act.lock_id.unwrap_or_default(),
            token: event.token,
            pid: event.pid,
            line,
            at: act.at,
            ttl: event.ttl_sec.map(|seconds| seconds.saturating_mul(1_000_000_000)),
            renewed_at: act.at,
            ending: None,
        });
    }

    fn renew(&mut self, act: &Act, held: &HashMap<String, usize>, findings: &mut Findings) {
        let open = held.get(&act.name).map(|index| &mut self.admissions[*index]);
        match open {
            Some(open) if Some(&open.lock_id) == act.lock_id.as_ref() => {
                open.renewed_at = act.at;
            }
            _ => {
                let text = format!("line {} of the audit log: renewed, and was not held", act.line);
                violation(text, &[], findings);
            }
        }
    }

    /// Whether its lock was broken as stale before a lease had lapsed: right only if its holder was dead.
    pub fn taken_early(admission: &Admission) -> bool {
        match (admission.ending, admission.lapse()) {
            (Some((Ending::StaleBreak, at)), Some(lapse)) => at.saturating_add(SLACK) < lapse,
            (Some((Ending::StaleBreak, _)), None) => true,
            _ => false,
        }
    }
}
