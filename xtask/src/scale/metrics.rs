//! What an etcd counts of itself, as it tells at `/metrics` in the text format of Prometheus.

use std::ops::Sub;

/// Its counters at one instant, or what they have grown by between two.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Metrics {
    /// Entries that its members have agreed on: each is a write to every member's disk.
    pub writes: f64,
    /// Looks at keys, by ranges and transactions that write nothing too.
    pub looks: f64,
    /// Renewals of leases.
    pub renewals: f64,
    /// Questions whether a member is there.
    pub asked: f64,
    /// Watches there are.
    pub watches: f64,
    /// Leases there are.
    pub leases: f64,
    /// Processor time that it has used, in seconds.
    pub cpu: f64,
    /// Memory that it has, in bytes.
    pub memory: f64,
}

impl Metrics {
    /// Reads the text of `/metrics`.
    pub fn read(text: &str) -> Self {
        let value = |name: &str| number(text, |metric| metric == name);
        let calls = |method: &str| {
            let quoted = format!("grpc_method=\"{method}\"");
            number(text, |metric| metric.starts_with("grpc_server_handled_total") && metric.contains(&quoted))
        };
        let writes = value("etcd_server_proposals_committed_total");
        Self {
            writes,
            looks: calls("Range") + calls("Txn"),
            renewals: calls("LeaseKeepAlive"),
            asked: calls("Status"),
            watches: value("etcd_debugging_mvcc_watcher_total"),
            leases: value("etcd_debugging_lease_granted_total") - value("etcd_debugging_lease_revoked_total"),
            cpu: value("process_cpu_seconds_total"),
            memory: value("process_resident_memory_bytes"),
        }
    }
}

/// What the counters have grown by; what there is, stays.
impl Sub for Metrics {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            writes: self.writes - before.writes,
            looks: self.looks - before.looks,
            renewals: self.renewals - before.renewals,
            asked: self.asked - before.asked,
            cpu: self.cpu - before.cpu,
            ..self
        }
    }
}

/// The sum of all metrics that are wanted.
fn number(text: &str, is_wanted: impl Fn(&str) -> bool) -> f64 {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let metrics = lines.filter_map(|line| line.rsplit_once(' ')).filter(|(metric, _)| is_wanted(metric));
    metrics.filter_map(|(_, value)| value.parse::<f64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP process_cpu_seconds_total Of it.\n\
        etcd_server_proposals_committed_total 1.5e+02\n\
        process_cpu_seconds_total 2.25\n\
        grpc_server_handled_total{grpc_code=\"OK\",grpc_method=\"Range\"} 7\n\
        grpc_server_handled_total{grpc_code=\"OK\",grpc_method=\"Txn\"} 3\n\
        grpc_server_handled_total{grpc_code=\"Unavailable\",grpc_method=\"Txn\"} 1\n\
        etcd_debugging_lease_granted_total 9\netcd_debugging_lease_revoked_total 4\n";

    #[test]
    fn counters_are_read_and_those_of_all_codes_added_up() {
        let read = Metrics::read(TEXT);
        assert_eq!((read.writes, read.looks, read.leases, read.cpu), (150.0, 11.0, 5.0, 2.25));
    }

    #[test]
    fn between_two_instants_counters_grow_and_there_is_what_there_is() {
        let (before, after) = (Metrics::read(TEXT), Metrics::read(&TEXT.replace("1.5e+02", "153")));
        let grown = after - before;
        assert_eq!((grown.writes, grown.looks, grown.leases), (3.0, 0.0, 5.0));
    }
}
