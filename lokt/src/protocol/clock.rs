//! Readings of a machine's clocks, and whose they are.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

const UNKNOWN: &str = "unknown-";

/// Before the id of a boot that a container is told, and not its kernel.
const TOLD: &str = "container-";

/// Which clock a deadline was read from: the boot's id, and the time namespace where it is not the first.
///
/// Two processes whose ids are equal read the same monotonic clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClockId(String);

impl ClockId {
    /// Wraps an id as it stands in a record.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// An id that equals nobody's, for a machine that does not tell its boots apart: then every lease is judged
    /// by watching it.
    pub fn unknown(unique: u128) -> Self {
        Self(format!("{UNKNOWN}{unique}"))
    }

    /// The id of a boot that a container is told instead of its kernel's (LXC, systemd-nspawn): others of the same kernel
    /// are told others.
    pub fn told(id: &str) -> Self {
        Self(format!("{TOLD}{id}"))
    }

    /// Whether there is a kernel behind each boot: then what was written in another one was so before this one, or
    /// elsewhere.
    pub fn tells_kernels(&self) -> bool {
        self.is_known() && !self.0.starts_with(TOLD)
    }

    /// Whether the machine tells its boots apart.
    pub fn is_known(&self) -> bool {
        !self.0.starts_with(UNKNOWN)
    }

    /// The id as it stands in a record.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The boot's part of the id.
    pub fn boot(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }
}

impl fmt::Display for ClockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One reading of all clocks of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Now {
    /// `CLOCK_MONOTONIC`: stands still while the machine is suspended. Leases of guards live on it.
    pub monotonic: Duration,
    /// `CLOCK_BOOTTIME`: counts suspended time. Manual locks live on it, as nobody renews them.
    pub boottime: Duration,
    /// The wall clock: for people, and for what the Go tool wrote.
    pub wall: Timestamp,
    /// Whose monotonic and boottime these are.
    pub clock: ClockId,
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The clock of the tests' machine.
    pub(in super::super) const BOOT: &str = "boot-1/4026531834";

    /// Some seconds after the tests begin.
    pub(in super::super) fn at(seconds: u64) -> Now {
        let since = |start: u64| Duration::from_secs(start + seconds);
        Now {
            monotonic: since(1000),
            boottime: since(5000),
            wall: Timestamp::UNIX_EPOCH + since(1_800_000_000),
            clock: ClockId::new(BOOT),
        }
    }

    #[test]
    fn an_id_is_a_boot_and_a_namespace() {
        let id = ClockId::new("b00t/4026531834");
        assert_eq!((id.as_str(), id.boot()), ("b00t/4026531834", "b00t"));
        assert_eq!(id.to_string(), id.as_str(), "as it stands in a record");
        assert_eq!(ClockId::new("b00t").boot(), "b00t");
    }

    #[test]
    fn what_a_container_is_told_tells_no_kernels() {
        let told = ClockId::told("b00t");
        assert!(told.is_known() && !told.tells_kernels());
        assert!(ClockId::new("b00t").tells_kernels() && !ClockId::unknown(7).tells_kernels());
    }

    #[test]
    fn an_unknown_boot_is_nobody_elses() {
        assert!(ClockId::new("b00t/4026531834").is_known());
        assert!(!ClockId::unknown(7).is_known());
        assert_ne!(ClockId::unknown(7), ClockId::unknown(8));
    }
}
