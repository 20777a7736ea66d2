//! The files of sessions: who has them open, and whose bells their ends ring; those of processes too.

use super::world::{On, Pid, World};

/// A session's file.
#[derive(Default)]
pub struct SessionNode {
    /// Who has it open.
    pub holders: Vec<Pid>,
    pub locked: bool,
    pub rung: bool,
    /// By whom, where that can be told, and not yet heard.
    marks: Vec<u64>,
    /// Whose bells its end rings, and for which process.
    pub watchers: Vec<(usize, Pid)>,
}

impl World {
    /// A new session's file, open and locked by `pid`.
    pub fn new_session(&mut self, pid: Pid) -> usize {
        self.sessions.push(SessionNode { holders: vec![pid], locked: true, ..SessionNode::default() });
        self.sessions.len() - 1
    }

    /// The flock of a session is released: the kernel tells those who wait for it.
    pub fn end_session(&mut self, ino: usize) {
        self.sessions[ino].locked = false;
        let watchers = std::mem::take(&mut self.sessions[ino].watchers);
        self.ring_all(watchers);
    }

    pub fn ring_all(&mut self, watchers: Vec<(usize, Pid)>) {
        for (bell, pid) in watchers {
            if self.processes[pid].alive {
                self.ring(bell);
            }
        }
    }

    /// A process closes a session's file; the last one that had it open ends its flock.
    pub fn close_session(&mut self, ino: usize, pid: Pid) {
        let session = &mut self.sessions[ino];
        session.holders.retain(|holder| *holder != pid);
        if session.locked && session.holders.is_empty() {
            self.end_session(ino);
        }
    }

    pub fn mark(&mut self, ino: usize, mark: u64) {
        self.sessions[ino].marks.push(mark);
        self.ring(ino);
    }

    pub fn has_heard(&self, ino: usize, mark: u64) -> bool {
        !self.sessions[ino].marks.contains(&mark)
    }

    /// Whether it had rung.
    pub fn hear(&mut self, ino: usize) -> bool {
        self.sessions[ino].marks.clear();
        std::mem::take(&mut self.sessions[ino].rung)
    }

    pub fn ring(&mut self, ino: usize) {
        self.sessions[ino].rung = true;
        self.wake(On::Bell(ino));
    }

    pub fn watch(&mut self, ino: usize, bell: usize, pid: Pid) {
        match self.sessions[ino].locked {
            true => self.sessions[ino].watchers.push((bell, pid)),
            false => self.ring(bell),
        }
    }

    pub fn watch_process(&mut self, watched: Pid, bell: usize, pid: Pid) {
        match self.processes.get_mut(watched) {
            Some(process) if process.alive => process.watchers.push((bell, pid)),
            _ => self.ring(bell),
        }
    }
}
