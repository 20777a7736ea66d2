//! What is to be run, and the contract with the test program: its environment, its tests' names.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::UsageError;

/// The package and the test target that hold the contention test.
pub const PACKAGE: &str = "lokt-tests";
pub const TARGET: &str = "contention";
/// The planted data race, listed by the target when [`PLANTED_ENV`] is set.
pub const PLANTED_TEST: &str = "planted::data_race";
pub const PLANTED_ENV: &str = "LOKT_RACE_PLANTED";

/// Below it a heartbeat can't keep its distance from the expiry; `guard` refuses it as well.
const TTL_MIN_MS: u64 = 1_000;
/// A run takes about one and a half TTLs of real time, and nextest ends it after a minute.
const TTL_MAX_MS: u64 = 30_000;

/// A TTL as it was written: one whole number and one unit, because it becomes part of test and file names.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ttl {
    pub label: String,
    pub ms: u64,
}

impl FromStr for Ttl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(unit_at);
        let unit_ms = match unit {
            "ms" if unit_at > 0 => 1,
            "s" if unit_at > 0 => 1_000,
            "m" if unit_at > 0 => 60_000,
            _ => return Err("write a whole number with a unit, such as 2s or 1500ms".to_owned()),
        };
        let ms = number.parse().ok().and_then(|n: u64| n.checked_mul(unit_ms));
        match ms {
            Some(ms @ TTL_MIN_MS..=TTL_MAX_MS) => Ok(Self { label: text.to_owned(), ms }),
            _ => Err("runs are in real time: choose a TTL from 1s to 30s".to_owned()),
        }
    }
}

impl TryFrom<String> for Ttl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Ttl> for String {
    fn from(ttl: Ttl) -> Self {
        ttl.label
    }
}

/// Refuses the same TTL twice: the report has one row for each.
pub fn distinct(ttls: &[Ttl]) -> Result<Vec<Ttl>, UsageError> {
    for (index, ttl) in ttls.iter().enumerate() {
        if ttls[..index].iter().any(|other| other.ms == ttl.ms) {
            return Err(UsageError(format!("--ttl has {} twice", ttl.label)));
        }
    }
    Ok(ttls.to_vec())
}

/// Where the locks of a race are.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Store {
    /// In a directory for each run.
    #[default]
    Dir,
    /// On an etcd, below a prefix for each run.
    Etcd,
}

/// One race.
pub struct Plan {
    pub ttls: Vec<Ttl>,
    /// Runs for each TTL.
    pub runs: u32,
    /// Of those, only this one.
    pub only: Option<u32>,
    pub jobs: u32,
    pub contenders: Option<u32>,
    pub store: Store,
    pub keep: bool,
    pub sanitize: bool,
    pub out: PathBuf,
}

/// One run of the contention test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunId {
    pub ttl: Ttl,
    pub number: u32,
}

impl RunId {
    /// The test's name within the target.
    pub fn test_name(&self) -> String {
        format!("race::ttl_{}::run_{:04}", self.ttl.label, self.number)
    }

    /// The name of its result file and of its sandbox.
    pub fn file_stem(&self) -> String {
        format!("{}-{:04}", self.ttl.label, self.number)
    }
}

impl Plan {
    /// Every run that has to happen.
    pub fn expected(&self) -> Vec<RunId> {
        let numbers = self.only.map_or(1..=self.runs, |only| only..=only);
        let runs_of =
            |ttl: &Ttl| numbers.clone().map(|number| RunId { ttl: ttl.clone(), number }).collect::<Vec<_>>();
        self.ttls.iter().flat_map(runs_of).collect()
    }

    /// What the test program is told. With these set it lists the runs, and nothing else.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        let ttls: Vec<&str> = self.ttls.iter().map(|ttl| ttl.label.as_str()).collect();
        let mut env = vec![
            ("LOKT_RACE_RUNS", self.runs.to_string()),
            ("LOKT_RACE_TTLS", ttls.join(",")),
            ("LOKT_RACE_OUT", self.out.display().to_string()),
        ];
        env.extend(self.contenders.map(|contenders| ("LOKT_RACE_CONTENDERS", contenders.to_string())));
        env.extend(self.keep.then(|| ("LOKT_RACE_KEEP", "1".to_owned())));
        env
    }

    /// The nextest expression that picks the runs to happen out of those listed.
    pub fn filter(&self) -> String {
        match self.only {
            Some(number) => format!("test(/^race::.*::run_{number:04}$/)"),
            None => "test(/^race::/)".to_owned(),
        }
    }

    /// Settings for nextest that depend on the plan: where its files go, and the longest runs first, so that the
    /// end of the race is not a few long runs on an idle machine.
    pub fn nextest_config(&self, store: &Path) -> String {
        let mut by_length: Vec<&Ttl> = self.ttls.iter().collect();
        by_length.sort_by_key(|ttl| std::cmp::Reverse(ttl.ms));
        let mut config = format!("[store]\ndir = {:?}\n", store.display().to_string());
        for (rank, ttl) in by_length.iter().enumerate() {
            let priority = 100_i32.saturating_sub(rank as i32).max(-100);
            let filter = format!("test(/^race::ttl_{}::/)", ttl.label);
            config += &format!("\n[[profile.race.overrides]]\nfilter = '{filter}'\npriority = {priority}\n");
        }
        config
    }

    /// The command that runs one run again, beside the results of this race.
    pub fn again(&self, run: &RunId) -> String {
        let mut command = format!("cargo xtask race --ttl {} --run {}", run.ttl.label, run.number);
        if let Some(contenders) = self.contenders {
            command += &format!(" --contenders {contenders}");
        }
        if self.store == Store::Etcd {
            command += " --store etcd";
        }
        if self.sanitize {
            command += " --sanitize";
        }
        command + " --keep --out target/race-again"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(ttls: &str) -> Plan {
        let ttls = ttls.split(',').filter_map(|ttl| ttl.parse().ok()).collect();
        let out = PathBuf::from("/out");
        let store = Store::Dir;
        Plan {
            ttls,
            runs: 2,
            only: None,
            jobs: 1,
            contenders: None,
            store,
            keep: false,
            sanitize: false,
            out,
        }
    }

    #[test]
    fn a_ttl_is_a_whole_number_and_a_unit() {
        let ms = |text: &str| text.parse::<Ttl>().map(|ttl| ttl.ms);
        assert_eq!(ms("2s"), Ok(2_000));
        assert_eq!(ms("1500ms"), Ok(1_500));
        for wrong in ["", "2", "s", "-2s", "1.5s", "2 s", "2h", "1m30s", "2S", "٢s"] {
            assert!(ms(wrong).is_err_and(|error| error.contains("unit")), "{wrong}");
        }
        for out_of_range in ["0s", "999ms", "31s", "1m", "99999999999999999999s"] {
            assert!(ms(out_of_range).is_err_and(|error| error.contains("from 1s to 30s")), "{out_of_range}");
        }
    }

    #[test]
    fn the_same_ttl_twice_is_refused_however_it_is_written() {
        assert!(distinct(&plan("2s,3s").ttls).is_ok());
        assert!(distinct(&plan("2s,2000ms").ttls).is_err());
    }

    #[test]
    fn every_run_of_every_ttl_is_expected() {
        let names: Vec<String> = plan("2s,3s").expected().iter().map(RunId::test_name).collect();
        let expected = [
            "race::ttl_2s::run_0001",
            "race::ttl_2s::run_0002",
            "race::ttl_3s::run_0001",
            "race::ttl_3s::run_0002",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn a_single_run_is_picked_by_its_number() {
        let plan = Plan { runs: 17, only: Some(17), ..plan("5s") };
        assert_eq!(plan.expected().len(), 1);
        assert_eq!(plan.filter(), "test(/^race::.*::run_0017$/)");
        assert_eq!(
            plan.again(&plan.expected()[0]),
            "cargo xtask race --ttl 5s --run 17 --keep --out target/race-again"
        );
    }

    #[test]
    fn the_longest_runs_start_first() {
        let config = plan("2s,5s").nextest_config(Path::new("/out/nextest"));
        let five = config.find("ttl_5s::/)'\npriority = 100");
        let two = config.find("ttl_2s::/)'\npriority = 99");
        assert!(five.is_some() && two.is_some(), "{config}");
    }
}
