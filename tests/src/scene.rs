//! Where a race is run: in a directory, or on a cluster; and the actors in it, each with its own way there.

use std::path::PathBuf;
use std::sync::Arc;

use lokt::Locks;
use lokt::host::Identity;
use lokt::store::etcd::{Address, Endpoint};

use crate::link::Link;
use crate::machine::{Machine, Point};

/// Where the locks of a race are.
#[derive(Clone)]
pub enum Scene {
    /// In this directory.
    Directory(PathBuf),
    /// On a cluster, below a prefix of its own.
    Cluster {
        /// One of its members.
        member: Endpoint,
        /// The prefix.
        prefix: String,
    },
}

/// One who takes part, by its own machine or its own line.
#[derive(Clone)]
pub enum Actor {
    /// On a directory.
    Machine(Arc<Machine>),
    /// On a cluster.
    Linked(Arc<Link>, String),
}

impl Scene {
    /// One who takes part.
    pub fn actor(&self) -> Actor {
        match self {
            Self::Directory(root) => Actor::Machine(Machine::new(root)),
            Self::Cluster { member, prefix } => Actor::Linked(Arc::new(Link::to(member)), prefix.clone()),
        }
    }

    /// The locks of one who is left alone, asked for as `owner`.
    pub fn locks(&self, owner: &str) -> Locks {
        match self {
            Self::Directory(root) => Machine::new(root).locks(owner),
            Self::Cluster { member, prefix } => on_cluster(member, prefix, owner),
        }
    }

    /// Whether nobody else gets on in the middle of a transition.
    pub fn has_mutex(&self) -> bool {
        matches!(self, Self::Directory(_))
    }
}

impl Actor {
    /// Its locks, asked for as `owner`; of no use without it.
    pub fn locks(&self, owner: &str) -> Locks {
        match self {
            Self::Machine(machine) => machine.locks(owner),
            Self::Linked(link, prefix) => on_cluster(&link.endpoint(), prefix, owner),
        }
    }

    /// Calls `hook` at each narrow place of each of its renewals (on a directory: of all of its transitions).
    pub fn at_renewals(&self, hook: impl Fn(Point) + Send + Sync + 'static) {
        let hook = Arc::new(hook);
        match self {
            Self::Machine(machine) => {
                for point in [Point::BeforeMutex, Point::BeforeWrite, Point::AfterMutex] {
                    let hook = Arc::clone(&hook);
                    machine.at(point, move || hook(point));
                }
            }
            Self::Linked(link, _) => link.at_renewals(Some(hook)),
        }
    }

    /// Calls `hook` whenever it comes up to the mutex, if there is one.
    pub fn at_mutex(&self, hook: impl Fn() + Send + Sync + 'static) {
        if let Self::Machine(machine) = self {
            machine.at(Point::BeforeMutex, hook);
        }
    }

    /// Forgets all hooks.
    pub fn unhook(&self) {
        match self {
            Self::Machine(machine) => machine.unhook(),
            Self::Linked(link, _) => link.at_renewals(None),
        }
    }

    /// From now on nothing that it writes comes about (or, with `false`, again it does).
    pub fn fail_writes(&self, fail: bool) {
        match self {
            Self::Machine(machine) => machine.fail_writes(fail),
            Self::Linked(link, _) => link.cut(fail),
        }
    }
}

fn on_cluster(member: &Endpoint, prefix: &str, owner: &str) -> Locks {
    let address = Address { endpoints: vec![member.clone()], prefix: prefix.to_owned(), tls: false };
    let identity = Identity { owner: owner.to_owned(), ..Identity::current() };
    Locks::on_cluster(&address, identity, Arc::new(|_| {})).expect("an address")
}
