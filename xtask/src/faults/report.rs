//! The table of what was tried, and the list of what was wrong.

use std::collections::BTreeMap;
use std::path::Path;

use super::case::{Case, Fault, Outcome};
use super::clock::Stepped;
use super::operation::Operation;
use super::trace::Position;
use crate::section::{Figure, Section, Table};
use crate::stats::thousands;

#[derive(Clone, Copy, Default)]
struct Count {
    tried: u64,
    violations: u64,
    not_reached: u64,
    inconclusive: u64,
}

pub struct Report {
    command: String,
    quick: bool,
    positions: BTreeMap<Operation, (u64, u64)>,
    counts: BTreeMap<(Operation, Fault), Count>,
    violations: Vec<Vec<String>>,
    inconclusive: Vec<Vec<String>>,
    again: u64,
    clock: Option<Stepped>,
}

impl Report {
    pub fn new(command: String, quick: bool) -> Self {
        Self {
            command,
            quick,
            positions: BTreeMap::new(),
            counts: BTreeMap::new(),
            violations: vec![],
            inconclusive: vec![],
            again: 0,
            clock: None,
        }
    }

    pub fn positions(&mut self, operation: Operation, positions: &[Position]) {
        let in_root = positions.iter().filter(|position| position.in_root).count() as u64;
        self.positions.insert(operation, (positions.len() as u64, in_root));
    }

    /// A case was tried once more, as the machine had been too slow to tell.
    pub fn measured_again(&mut self) {
        self.again += 1;
    }

    /// What the steps of the wall clock did.
    pub fn clock(&mut self, stepped: Stepped) {
        self.clock = Some(stepped);
    }

    pub fn count(&mut self, case: &Case, outcome: &Outcome, dir: &Path) {
        let count = self.counts.entry((case.operation, case.fault)).or_default();
        let row = |why: &str| vec![why.replace('\n', "; "), case.command(), dir.display().to_string()];
        match outcome {
            Outcome::Passed => count.tried += 1,
            Outcome::NotReached => count.not_reached += 1,
            Outcome::Inconclusive(why) => {
                count.inconclusive += 1;
                self.inconclusive.push(row(why));
            }
            Outcome::Violated(what) => {
                count.tried += 1;
                count.violations += 1;
                self.violations.push(row(&what.join("; ")));
            }
        }
    }

    fn sum(&self, of: impl Fn(&Count) -> u64) -> u64 {
        self.counts.values().map(of).sum()
    }

    pub fn section(mut self, seconds: f64) -> Section {
        let clock = self.clock.take();
        if let Some(stepped) = &clock {
            let row = |wrong: &String| {
                vec![wrong.clone(), "cargo xtask faults --clock --keep".to_owned(), String::new()]
            };
            self.violations.extend(stepped.wrong.iter().map(row));
        }
        let stepped = clock.as_ref().map_or(0, |stepped| stepped.table.rows.len() as u64);
        let wrong_steps = clock.as_ref().map_or(0, |stepped| stepped.wrong.len() as u64);
        let tried = self.sum(|count| count.tried) + stepped;
        let violations = self.sum(|count| count.violations) + wrong_steps;
        let inconclusive = self.sum(|count| count.inconclusive);
        let not_reached = self.sum(|count| count.not_reached);
        let blind = not_reached > tried / 10;
        let passed = tried > 0 && violations == 0 && inconclusive == 0 && !blind;
        let faults = format!("{} faults injected", thousands(tried));
        let verdict = match (tried, violations, inconclusive) {
            (_, 1.., _) => format!("{violations} violations at {faults}"),
            (0, ..) => "no fault was injected".to_owned(),
            (_, 0, 0) if blind => {
                format!("{faults}, no violation, but {not_reached} positions were not reached")
            }
            (_, 0, 0) => format!("{faults}, no violation"),
            (_, 0, _) => format!("{faults}, no violation, but {inconclusive} inconclusive"),
        };
        let figures = vec![
            Figure::count("tried", "faults injected and judged", tried),
            Figure::count("violations", "violations", violations),
            Figure::count("clock_steps", "of them steps of the wall clock", stepped),
            Figure::count("not_reached", "position not reached, in four runs", not_reached),
            Figure::count("inconclusive", "inconclusive", inconclusive),
            Figure::count("measured_again", "measured again, the machine being too slow", self.again),
        ];
        let mut tables = Vec::new();
        if !self.positions.is_empty() {
            tables.push(self.table());
        }
        tables.extend(clock.map(|stepped| stepped.table));
        for (title, rows) in [("Violations", self.violations), ("Inconclusive", self.inconclusive)] {
            if !rows.is_empty() {
                let mut table = Table::new(title, &["what", "repeat it", "directory"]);
                table.rows = rows;
                tables.push(table);
            }
        }
        Section {
            name: "faults",
            title: "Does it hold with a fault at every system call?".to_owned(),
            command: self.command,
            passed,
            verdict,
            seconds,
            figures,
            tables,
            plots: vec![],
        }
    }

    /// A row per operation, a column per fault.
    fn table(&self) -> Table {
        let faults: Vec<Fault> =
            Fault::ALL.into_iter().filter(|fault| self.counts.keys().any(|(_, of)| of == fault)).collect();
        let names: Vec<String> = faults.iter().map(|fault| fault.name()).collect();
        let columns: Vec<&str> = ["operation", "calls", "in the root"]
            .into_iter()
            .chain(names.iter().map(String::as_str))
            .chain(["not reached"])
            .collect();
        let sampled = if self.quick { "; of the faults other than kill, some positions" } else { "" };
        let title = format!(
            "Positions tried/violations (kill: every call; else from the first that touches the root on{sampled})"
        );
        let mut table = Table::new(&title, &columns);
        for (operation, (all, in_root)) in &self.positions {
            let cell = |fault: &Fault| {
                let count = self.counts.get(&(*operation, *fault)).copied().unwrap_or_default();
                match count.inconclusive {
                    0 => format!("{}/{}", count.tried, count.violations),
                    unknown => format!("{}/{} ?{unknown}", count.tried, count.violations),
                }
            };
            let first = [operation.name(), all.to_string(), in_root.to_string()];
            let of_it = self.counts.iter().filter(|((of, _), _)| of == operation);
            let not_reached: u64 = of_it.map(|(_, count)| count.not_reached).sum();
            let cells = first.into_iter().chain(faults.iter().map(cell));
            table.rows.push(cells.chain([not_reached.to_string()]).collect());
        }
        table
    }
}
