//! `cargo xtask proof`: every part of the proof at the size of CI, one after the other, on one page.
//!
//! `report.json` is one object with the fields of [`Proof`], documented there.

use std::fs;
use std::time::Instant;

use clap::{Args, ValueEnum};
use serde::Serialize;
use xshell::Shell;

use crate::faults::Faults;
use crate::fuzz::Fuzz;
use crate::machine::Machine;
use crate::mutants::Mutants;
use crate::page::{self, escape};
use crate::race::{Race, Store};
use crate::section::{self, Section};
use crate::sim::Sim;
use crate::soak::Soak;
use crate::stats::time;
use crate::{console, paths};

#[derive(Args)]
pub struct Prove {
    /// Only these parts
    #[arg(value_name = "PART")]
    parts: Vec<Part>,
}

/// A part of the proof.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Renewals under contention
    Race,
    /// The same on an etcd
    RaceEtcd,
    /// Simulated schedules
    Sim,
    /// Faults at every system call
    Faults,
    /// Many processes and a checker
    Soak,
    /// The same on an etcd
    SoakEtcd,
    /// Hostile input
    Fuzz,
    /// What the tests would notice
    Mutants,
}

/// All that was found.
#[derive(Serialize)]
struct Proof {
    /// `lokt proof`, and the version of this format.
    format: &'static str,
    version: u32,
    /// When it ended, RFC 3339.
    ended_at: String,
    machine: Machine,
    /// Whether all parts passed.
    passed: bool,
    /// Whether these are all parts that there are.
    whole: bool,
    seconds: f64,
    sections: Vec<Section>,
}

impl Part {
    /// Runs it at the size of CI.
    pub fn measure(self, sh: &Shell) -> anyhow::Result<Section> {
        match self {
            Self::Race => Race::ci_size(Store::Dir).measure(sh),
            Self::RaceEtcd => Race::ci_size(Store::Etcd).measure(sh),
            Self::Sim => Sim::ci_size().measure(sh),
            Self::Faults => Faults::ci_size().measure(sh),
            Self::Soak => Soak::ci_size(Store::Dir).measure(sh),
            Self::SoakEtcd => Soak::ci_size(Store::Etcd).measure(sh),
            Self::Fuzz => Fuzz::ci_size().measure(sh),
            Self::Mutants => Mutants::ci_size().measure(sh),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Race => "race",
            Self::RaceEtcd => "race-etcd",
            Self::Sim => "sim",
            Self::Faults => "faults",
            Self::Soak => "soak",
            Self::SoakEtcd => "soak-etcd",
            Self::Fuzz => "fuzz",
            Self::Mutants => "mutants",
        }
    }

    /// Its section, whatever happened: a part that could not be run has failed.
    fn section_of(self, measured: anyhow::Result<Section>) -> Section {
        measured.unwrap_or_else(|error| Section {
            name: self.name(),
            title: format!("{} could not be run", self.name()),
            command: format!("cargo xtask proof {}", self.name()),
            passed: false,
            verdict: format!("{error:#}"),
            seconds: 0.0,
            figures: Vec::new(),
            tables: Vec::new(),
            plots: Vec::new(),
        })
    }
}

impl Prove {
    pub fn run(self, sh: &Shell) -> anyhow::Result<()> {
        let all = Part::value_variants();
        let parts: Vec<Part> =
            all.iter().copied().filter(|part| self.parts.is_empty() || self.parts.contains(part)).collect();
        let began = Instant::now();
        let mut sections = Vec::new();
        for part in &parts {
            console::heading(part.name());
            let section = part.section_of(part.measure(sh));
            console::print(&section.text());
            sections.push(section);
        }
        let proof = Proof {
            format: "lokt proof",
            version: 1,
            ended_at: format!("{:.0}", jiff::Timestamp::now()),
            machine: Machine::this(sh),
            passed: sections.iter().all(|section| section.passed),
            whole: parts.len() == all.len(),
            seconds: began.elapsed().as_secs_f64(),
            sections,
        };
        proof.conclude()
    }
}

impl Proof {
    fn conclude(&self) -> anyhow::Result<()> {
        let dir = paths::target().join("proof");
        fs::create_dir_all(&dir)?;
        section::write(&dir, &(serde_json::to_string_pretty(self)? + "\n"), &self.page())?;
        console::heading("proof");
        for section in &self.sections {
            let sign = if section.passed { "passed" } else { "FAILED" };
            console::line(&format!("{:<9}  {sign}  {}", section.name, section.verdict));
        }
        console::line(&format!("{} in {}", self.headline(), time(self.seconds * 1_000.0)));
        console::note(&format!("report: {}", dir.join("report.html").display()));
        anyhow::ensure!(self.passed, "not all parts of the proof passed");
        Ok(())
    }

    fn headline(&self) -> String {
        let (all, passed) = (self.sections.len(), self.sections.iter().filter(|one| one.passed).count());
        let parts = if self.whole { "parts" } else { "chosen parts" };
        format!("{passed} of {all} {parts} passed")
    }

    fn page(&self) -> String {
        let (class, sign) = if self.passed { ("good", "✓") } else { ("bad", "✗") };
        let machine = &self.machine;
        let facts = [
            Some(self.ended_at.replace('T', " ").replace('Z', " UTC")),
            machine.commit.as_ref().map(|commit| format!("commit {commit}")),
            Some(format!("{} {}, {} cores", machine.os, machine.arch, machine.cores)),
            machine.rustc.as_ref().map(|rustc| rustc.split(" (").next().unwrap_or(rustc).to_owned()),
            Some(format!("{} in all", time(self.seconds * 1_000.0))),
        ];
        let facts: Vec<String> = facts.into_iter().flatten().collect();
        let header = format!(
            "<header>\n<p class=\"brand\">lokt proof</p>\n\
             <h1><span class=\"sign {class}\" aria-hidden=\"true\">{sign}</span> {}</h1>\n\
             <p class=\"facts\">{}</p>\n</header>\n",
            escape(&self.headline()),
            escape(&facts.join(" · ")),
        );
        let row = |section: &Section| {
            format!(
                "<tr><th scope=\"row\"><a href=\"#{0}\">{0}</a></th><td class=\"words\">{1}</td><td class=\"words\">{2}</td><td>{3}</td></tr>\n",
                section.name,
                if section.passed { "passed" } else { "failed" },
                escape(&section.verdict),
                time(section.seconds * 1_000.0)
            )
        };
        let overview = format!(
            "<section>\n<div class=\"scroll card\"><table class=\"results\"><thead><tr><th scope=\"col\">part</th>\
             <th scope=\"col\" class=\"words\">outcome</th><th scope=\"col\" class=\"words\">what was seen</th><th scope=\"col\">took</th></tr></thead>\n\
             <tbody>\n{}</tbody></table></div>\n</section>\n",
            self.sections.iter().map(row).collect::<String>()
        );
        let footer = "<footer><p>Made by <code>cargo xtask proof</code>. Every number is in <code>report.json</code> beside this \
                      file. What no test here can show is in <code>docs/proof.md</code>.</p></footer>\n";
        let mut body = vec![header, overview];
        body.extend(self.sections.iter().map(Section::html));
        body.push(footer.to_owned());
        page::document(&format!("lokt proof: {}", self.headline()), &body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_cannot_be_run_fails_the_proof() -> anyhow::Result<()> {
        let sh = Shell::new()?;
        let failed = Part::Fuzz.section_of(Err(anyhow::anyhow!("no compiler")));
        let proof = Proof {
            format: "lokt proof",
            version: 1,
            ended_at: String::new(),
            machine: Machine::this(&sh),
            passed: failed.passed,
            whole: false,
            seconds: 1.0,
            sections: vec![failed],
        };
        assert_eq!(proof.headline(), "0 of 1 chosen parts passed");
        let page = proof.page();
        assert!(page.contains("no compiler") && page.contains("failed"), "{page}");
        Ok(())
    }
}
