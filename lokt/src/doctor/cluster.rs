//! A root on an etcd cluster: whether its members answer and agree, and whether a write and a lease work there.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::machine::clock_of;
use super::place::plain;
use super::{Check, Diagnosis};
use crate::Locks;
use crate::host::{Fault, Host, Identity, RootSource, UnixHost, runtime_dir};
use crate::store::etcd::{self, Access, Address, Client, Endpoint, Op, Span, Txn};
use crate::words;

/// How long each call may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// From when on an answer is called slow: a renewal takes two, and a short lease has no room for many such.
const SLOW: Duration = Duration::from_millis(250);

/// How long clearing up may take.
const BUDGET: Duration = Duration::from_secs(15);

/// A cluster under examination.
struct Cluster {
    client: Client,
    address: Address,
    host: UnixHost,
    views: Vec<(Endpoint, Duration, Result<etcd::Status, etcd::Error>)>,
}

type Examine = fn(&Cluster) -> Check;

/// The checks after that of the address, in their order.
const CHECKS: [(&str, Examine); 7] = [
    ("endpoints", endpoints),
    ("leader", leader),
    ("members", members),
    ("write", write),
    ("lease", lease),
    ("clock", |cluster| clock_of(&cluster.host.now(), Duration::ZERO)),
    ("local_directory", local_directory),
];

/// Examines the root at `address`; `fixes` says whether to clear up there before.
pub(super) fn examine(address: &str, identity: &Identity, fixes: bool) -> Diagnosis {
    let (check, cluster) = match reach(address) {
        Ok(cluster) => (Check::ok(format!("LOKT_ROOT names it: {}", cluster.address)), Some(cluster)),
        Err(check) => (check, None),
    };
    let to_clear = cluster.as_ref().filter(|_| fixes);
    let fixed = to_clear.map(|cluster| clear_up(&cluster.address, identity)).unwrap_or_default();
    let mut checks = vec![Check { name: "address", ..check }];
    for (name, examine) in CHECKS {
        let asks = ["members", "write", "lease"].contains(&name);
        let usable = cluster.as_ref().filter(|cluster| !asks || cluster.reached().count() > 0);
        let check = usable.map_or_else(Check::skipped, examine);
        checks.push(Check { name, ..check });
    }
    if let Some(write) = checks.iter_mut().find(|check| check.name == "write") {
        write.fixed = fixed;
    }
    Diagnosis { path: PathBuf::from(address), source: Some(RootSource::Environment), checks }
}

fn clear_up(address: &Address, identity: &Identity) -> Vec<String> {
    let locks = Locks::on_cluster(address, identity.clone(), Arc::new(|_| {}));
    let swept = locks.map(|locks| locks.sweep(BUDGET)).unwrap_or_default();
    swept.iter().map(|name| format!("removed the stale record of \"{name}\"")).collect()
}

fn reach(address: &str) -> Result<Cluster, Check> {
    let bad = |why: String| {
        Check::fail(why).advise("LOKT_ROOT=etcd://host:2379[,host:2379…]/prefix; see docs/etcd.md")
    };
    let address: Address = address.parse().map_err(|error: etcd::BadAddress| bad(error.to_string()))?;
    let access = Access::from_environment().map_err(|error| bad(error.to_string()))?;
    let client = Client::new(&address, &access).map_err(|error| bad(error.to_string()))?;
    let dir = runtime_dir(&address.to_string()).unwrap_or_default();
    let host = UnixHost::new(dir);
    let view = |endpoint: &Endpoint| {
        let began = host.now().monotonic;
        let view = client.status(endpoint, PATIENCE);
        (endpoint.clone(), host.now().monotonic.saturating_sub(began), view)
    };
    let views = client.endpoints().iter().map(view).collect();
    Ok(Cluster { client, address, host, views })
}

impl Cluster {
    /// Runs `work` and tells how long it took.
    fn timed<T>(&self, work: impl FnOnce() -> Result<T, etcd::Error>) -> (Result<T, etcd::Error>, Duration) {
        let began = self.host.now().monotonic;
        let result = work();
        (result, self.host.now().monotonic.saturating_sub(began))
    }

    fn reached(&self) -> impl Iterator<Item = &etcd::Status> {
        self.views.iter().filter_map(|(_, _, view)| view.as_ref().ok())
    }
}

fn millis(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

fn endpoints(cluster: &Cluster) -> Check {
    let count = cluster.views.len();
    let reached = cluster.reached().count();
    let check = match reached {
        0 => Check::fail("no member answers").advise(
            "see that etcd runs there, and serves its HTTP gateway (--enable-grpc-gateway, on by default)",
        ),
        _ if reached < count => Check::warn(format!("{reached} of {count} members answer"))
            .advise("locks work as long as most of the members do; see to the others"),
        _ => Check::ok(format!("{reached} of {count} answer")),
    };
    check.naming(cluster.views.iter().map(|(endpoint, took, view)| match view {
        Ok(status) => format!("{endpoint}: etcd {}, {}", status.version, millis(*took)),
        Err(error) => error.to_string(),
    }))
}

fn leader(cluster: &Cluster) -> Check {
    let mut leaders: Vec<u64> = cluster.reached().map(|status| status.leader_id).collect();
    let mut clusters: Vec<u64> = cluster.reached().map(|status| status.cluster_id).collect();
    leaders.sort_unstable();
    leaders.dedup();
    clusters.sort_unstable();
    clusters.dedup();
    match (clusters.len(), &*leaders) {
        (0, _) => Check::skipped(),
        (2.., _) => Check::fail("the endpoints are of different clusters: there would be two locks")
            .advise("name the members of one cluster only"),
        (_, [0]) => Check::fail("the members that answer have no leader")
            .advise("most of the members must run and reach each other: etcdctl endpoint status"),
        (_, [_]) => Check::ok("the members that answer agree on it"),
        _ => Check::warn("the members that answer do not agree on it: it may be changing")
            .advise("look again; if it stays so, see to the network between the members"),
    }
}

fn members(cluster: &Cluster) -> Check {
    match cluster.client.members(PATIENCE) {
        Ok(members) if members.len() == 1 => {
            Check::warn("there is one: when it is down, nobody gets or renews a lock")
                .advise("three on three machines outlast the loss of one")
        }
        Ok(members) => Check::ok(format!("there are {}", members.len())),
        // A user need not be allowed to ask.
        Err(error) if error.is_denied() => Check::ok("who they are is not for this user to know"),
        Err(error) => Check::warn(error.to_string()),
    }
}

fn write(cluster: &Cluster) -> Check {
    let random = crate::protocol::LockId::from_random(cluster.host.random());
    let key = format!("{}/doctor/{random}", cluster.address.prefix);
    let delete = Txn { then: vec![Op::Delete(Span::key(key.as_str()))], ..Txn::default() };
    let put = Txn { then: vec![Op::put(key, "")], ..Txn::default() };
    let (result, took) = cluster.timed(|| cluster.client.txn(&put, PATIENCE));
    let removed = cluster.client.txn(&delete, PATIENCE);
    match result.and(removed) {
        Ok(_) => told(format!("a key was written in {} and removed", millis(took)), took),
        Err(error) => Check::fail(error.to_string()).advise(
            "etcd must have a leader, room, and (with users) a role that may read and write below the prefix",
        ),
    }
}

fn lease(cluster: &Cluster) -> Check {
    let (result, took) = cluster.timed(|| {
        let lease = cluster.client.grant(1, PATIENCE)?;
        let alive = cluster.client.keep_alive(lease.id, PATIENCE)?;
        cluster.client.revoke(lease.id, PATIENCE)?;
        Ok((lease, alive))
    });
    match result {
        Ok((lease, Some(_))) => {
            let shortest = words::short(Duration::from_secs(lease.granted_s.unsigned_abs()));
            told(
                format!("one was granted, renewed and ended in {}; the shortest is {shortest}", millis(took)),
                took / 3,
            )
        }
        Ok((_, None)) => Check::fail("a lease was gone before it could be renewed")
            .advise("see how loaded the members and their disks are"),
        Err(error) => Check::fail(error.to_string()),
    }
}

fn told(message: String, took: Duration) -> Check {
    match took > SLOW {
        true => Check::warn(message).advise("that is slow: give leases some room (--ttl 30s or more)"),
        false => Check::ok(message),
    }
}

fn local_directory(cluster: &Cluster) -> Check {
    let dir = match runtime_dir(&cluster.address.to_string()) {
        Ok(dir) => dir,
        Err(error) => {
            return Check::fail(words::cause(&error))
                .advise("set XDG_RUNTIME_DIR to a directory of your own");
        }
    };
    let tried = cluster.host.prepare().map_err(|error| words::cause(&error));
    let tried = tried.and_then(|()| {
        cluster.host.probe_flock().map_err(|fault| match fault {
            Fault::Untried(why) | Fault::Broken(why) => plain(why),
        })
    });
    match tried {
        Ok(()) => Check::ok(format!("sessions of this machine are in {}", dir.display())),
        Err(why) => {
            Check::fail(why).advise("set XDG_RUNTIME_DIR to a directory of your own, on a local disk")
        }
    }
}
