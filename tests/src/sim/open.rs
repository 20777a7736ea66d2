//! What a process of the simulated machine has open, and what becomes of it when it is closed.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use lokt::host::{Running, SessionFile, Stripe, Wake};

use super::disk::Place;
use super::host::SimHost;
use super::world::{NEVER, On};

/// A session's file, open.
pub(super) struct SimFile {
    pub(super) host: SimHost,
    pub(super) ino: usize,
}

impl SessionFile for SimFile {
    fn wait(&self, until: Option<Duration>, _: Option<BorrowedFd<'_>>) -> Wake {
        let Ok(mut world) = self.host.step() else { return Wake::Timeout };
        let until = until.map_or(NEVER, |until| world.instant(until));
        loop {
            if world.hear(self.ino) {
                return Wake::Rung;
            }
            if world.now >= until {
                return Wake::Timeout;
            }
            let left = until.saturating_sub(world.now);
            world.tell(self.host.pid, || format!("sleeps for {left:?} at most"));
            world = self.host.sleep(world, On::Bell(self.ino), until);
        }
    }

    fn ring(&self) {
        if let Ok(mut world) = self.host.step() {
            world.ring(self.ino);
        }
    }

    fn release(&self) {
        if let Ok(mut world) = self.host.step() {
            world.end_session(self.ino);
        }
    }

    fn inode(&self) -> u64 {
        self.ino as u64
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        // Not a step: when all is over, a thread that has never run is cleared away outside of it.
        let mut world = self.host.world();
        if world.is_running(self.host.pid) {
            world.close_session(self.ino, self.host.pid);
        }
    }
}

/// A mutex, held.
pub(super) struct SimStripe {
    pub(super) host: SimHost,
    pub(super) stripe: usize,
    pub(super) file: String,
}

impl Stripe for SimStripe {
    fn read(&self) -> io::Result<Vec<u8>> {
        let world = self.host.failing_step(io::ErrorKind::Other)?;
        Ok(world.disk.read(&Place::Stripes, &self.file).cloned().unwrap_or_default())
    }

    fn write(&mut self, content: &[u8], sync: bool) -> io::Result<()> {
        let mut world = self.host.failing_step(io::ErrorKind::StorageFull)?;
        world.disk.write(&Place::Stripes, &self.file, content.to_vec());
        drop(world);
        if sync {
            let mut world = self.host.failing_step(io::ErrorKind::Other)?;
            world.disk.sync(&Place::Stripes, &self.file);
        }
        Ok(())
    }
}

impl Drop for SimStripe {
    fn drop(&mut self) {
        if let Ok(mut world) = self.host.step() {
            world.unlock(self.stripe);
        }
    }
}

/// A thread, started.
pub(super) struct SimThread {
    pub(super) host: SimHost,
    pub(super) fiber: usize,
}

impl Running for SimThread {
    fn join(self: Box<Self>) {
        let Ok(mut world) = self.host.step() else { return };
        while !world.has_ended(self.fiber) {
            world = self.host.sleep(world, On::End(self.fiber), NEVER);
        }
    }

    fn is_current(&self) -> bool {
        self.host.world().current == self.fiber
    }
}
