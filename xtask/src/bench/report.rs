//! The report: what is printed at the end, and written to `report.json` and `report.html`.
//!
//! `report.json` is one object with the fields of [`Report`], documented there.

use std::fs;

use serde::Serialize;
use xshell::{Shell, cmd};

use super::found::Found;
use super::ground::Ground;
use super::targets::{self, Judged};
use crate::console;
use crate::machine::Machine;
use crate::outdir::OutDir;
use crate::page::{self, escape};
use crate::stats::time;

/// With more to do than this, a machine is not quiet.
const QUIET: f64 = 1.0;

/// All that was measured.
#[derive(Serialize)]
pub struct Report {
    /// `lokt bench`, and the version of this format.
    format: &'static str,
    version: u32,
    /// When it ended, RFC 3339.
    ended_at: String,
    /// Whether it was the short one, with fewer runs and smaller crowds.
    quick: bool,
    machine: Machine,
    surroundings: Surroundings,
    seconds: f64,
    /// What a reader has to know: of the machine and of all sections.
    warnings: Vec<String>,
    pub targets: Vec<Judged>,
    pub sections: Vec<Found>,
}

/// What the figures depend on, beyond the machine.
#[derive(Serialize)]
pub struct Surroundings {
    kernel: String,
    cpu: String,
    /// Whether it says that a hypervisor runs it.
    virtualised: bool,
    /// The load average of the last minute before anything was built or started.
    load: f64,
    /// The file system that the locks were on.
    filesystem: String,
    /// The first line that each peer says of its version.
    peers: Vec<String>,
}

impl Surroundings {
    pub fn look() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let info = read("/proc/cpuinfo");
        let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
        let has_hypervisor = field("flags").is_some_and(|(_, all)| all.split(' ').any(|f| f == "hypervisor"));
        Self {
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            cpu: field("model name").map_or("CPU not known", |(_, name)| name.trim()).to_owned(),
            virtualised: has_hypervisor,
            load: read("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0),
            filesystem: String::new(),
            peers: Vec::new(),
        }
    }

    /// What can be told once there is a place to work in.
    pub fn complete(&mut self, sh: &Shell, ground: &Ground) {
        let dir = ground.path("");
        let said = |said: Result<String, xshell::Error>| {
            said.ok().and_then(|text| text.lines().next().map(str::to_owned))
        };
        self.filesystem = said(cmd!(sh, "stat -f -c %T {dir}").quiet().ignore_stderr().read())
            .unwrap_or_else(|| "not known".to_owned());
        let versions =
            ["flock", "sem"].map(|peer| said(cmd!(sh, "{peer} --version").quiet().ignore_stderr().read()));
        // These do not tell themselves.
        let packages = ["daemontools", "moreutils"].map(|package| {
            said(cmd!(sh, "dpkg-query -W {package}").quiet().ignore_stderr().read())
                .map(|line| line.replace('\t', " "))
        });
        self.peers = versions.into_iter().chain(packages).flatten().collect();
    }
}

impl Report {
    pub fn new(sh: &Shell, quick: bool, surroundings: Surroundings, seconds: f64, all: Vec<Found>) -> Self {
        let targets = targets::judge(&all);
        let load = surroundings.load;
        let busy =
            (load > QUIET).then(|| format!("the machine is not quiet: its load was {load} at the start"));
        let short = quick.then(|| "this was the short run: few rounds, small crowds".to_owned());
        let of_sections = all.iter().flat_map(|found| {
            found.warnings.iter().map(|warning| format!("{}: {warning}", found.section.name))
        });
        Self {
            format: "lokt bench",
            version: 1,
            ended_at: format!("{:.0}", jiff::Timestamp::now()),
            quick,
            machine: Machine::this(sh),
            surroundings,
            seconds,
            warnings: busy.into_iter().chain(short).chain(of_sections).collect(),
            targets,
            sections: all,
        }
    }

    pub fn write(&self, out: &OutDir) -> anyhow::Result<()> {
        fs::write(out.path("report.json"), serde_json::to_string_pretty(self)? + "\n")?;
        fs::write(out.path("report.html"), self.page())?;
        Ok(())
    }

    pub fn print(&self, out: &OutDir) {
        console::heading("bench");
        console::print(&(targets::table(&self.targets).text() + "\n"));
        for warning in &self.warnings {
            console::line(&format!("note: {warning}"));
        }
        console::line(&format!("{} in {}", self.headline(), time(self.seconds * 1_000.0)));
        console::note(&format!("report: {}", out.path("report.html").display()));
    }

    fn headline(&self) -> String {
        let count = |state| self.targets.iter().filter(|one| one.state == state).count();
        let (met, missed, left) = (count("met"), count("missed"), count("not measured"));
        let left = if left == 0 { String::new() } else { format!(", {left} not measured") };
        format!("{met} of {} targets met{left}", met + missed)
    }

    fn facts(&self) -> Vec<String> {
        let (machine, around) = (&self.machine, &self.surroundings);
        let real = if around.virtualised { "virtualised" } else { "no hypervisor" };
        let facts = [
            Some(self.ended_at.replace('T', " ").replace('Z', " UTC")),
            machine.commit.as_ref().map(|commit| format!("commit {commit}")),
            Some(format!("{} {}, {} cores, {real}", around.cpu, machine.arch, machine.cores)),
            Some(format!("{} {}", machine.os, around.kernel)),
            Some(format!("locks on {}", around.filesystem)),
            Some(format!("load {} at the start", around.load)),
            machine.rustc.as_ref().map(|rustc| rustc.split(" (").next().unwrap_or(rustc).to_owned()),
        ];
        facts.into_iter().flatten().chain(around.peers.iter().cloned()).collect()
    }

    fn page(&self) -> String {
        let missed = self.targets.iter().any(Judged::is_missed) || self.sections.iter().any(|one| one.failed);
        let (class, sign) = if missed { ("bad", "✗") } else { ("good", "✓") };
        let header = format!(
            "<header>\n<p class=\"brand\">lokt bench</p>\n\
             <h1><span class=\"sign {class}\" aria-hidden=\"true\">{sign}</span> {}</h1>\n\
             <p class=\"lead\">lokt beside its peers, in one run on one machine. The ratios are what to compare; the times \
             are this machine's.</p>\n<p class=\"facts\">{}</p>\n</header>\n",
            escape(&self.headline()),
            escape(&self.facts().join(" · ")),
        );
        let notes: String = self.warnings.iter().map(|note| format!("<li>{}</li>\n", escape(note))).collect();
        let notes = match notes.as_str() {
            "" => String::new(),
            notes => {
                format!("<section>\n<h2>To be known</h2>\n<ul class=\"notes\">\n{notes}</ul>\n</section>\n")
            }
        };
        let targets = format!("<section>\n{}</section>\n", targets::table(&self.targets).html());
        let footer = "<footer><p>Made by <code>cargo xtask bench</code>. Every time that was measured is in \
                      <code>report.json</code> beside this file.</p></footer>\n";
        let mut body = vec![header, targets, notes];
        body.extend(self.sections.iter().map(|found| found.section.html()));
        body.push(footer.to_owned());
        page::document(&format!("lokt bench: {}", self.headline()), &body)
    }
}
