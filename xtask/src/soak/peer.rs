//! What is soaked: lokt, or another lock tool in front of the same sections. Where it runs, and how it is started.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::plan::{How, Plan};
use crate::UsageError;

/// The tool.
pub enum Tool {
    /// The program of this workspace.
    Lokt(PathBuf),
    /// A line of shell that is put before the section's command.
    Peer(String),
}

/// A sandbox for one soak: a root, lock files, witnesses, the history.
pub struct Arena {
    dir: PathBuf,
    tool: Tool,
    section: PathBuf,
    /// The address of the etcd on which the locks are, if they are on one.
    etcd: Option<String>,
}

impl Arena {
    pub fn new(dir: &Path, tool: Tool, section: &Path, etcd: Option<String>) -> anyhow::Result<Self> {
        for sub in ["locks", "witness", "home", "work", "runtime"] {
            let path = dir.join(sub);
            fs::create_dir(&path).with_context(|| format!("failed to create {}", path.display()))?;
        }
        Ok(Self { dir: dir.to_owned(), tool, section: section.to_owned(), etcd })
    }

    pub fn history(&self) -> PathBuf {
        self.dir.join("history.jsonl")
    }

    pub fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// Whether the locks are in files, and so is their log.
    pub fn has_files(&self) -> bool {
        self.is_lokt() && self.etcd.is_none()
    }

    pub fn is_lokt(&self) -> bool {
        matches!(self.tool, Tool::Lokt(_))
    }

    /// A command of lokt, in the sandbox and a clean environment. Only for a soak of lokt.
    pub fn lokt(&self, args: &[&str]) -> Command {
        let program = match &self.tool {
            Tool::Lokt(program) => program.clone(),
            Tool::Peer(_) => "false".into(),
        };
        let mut command = self.clean(&program);
        command.args(args);
        command
    }

    fn clean(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.dir.join("home"))
            .env("LOKT_ROOT", self.etcd.as_ref().map_or_else(|| self.root().into(), OsString::from))
            .env("XDG_RUNTIME_DIR", self.dir.join("runtime"))
            .env("LOKT_OWNER", "soak")
            .env("LOKT_AGENT_ID", "agent-soak")
            // All of the log is checked afterwards.
            .env("LOKT_AUDIT_MAX_BYTES", "0")
            .current_dir(self.dir.join("work"));
        command
    }

    /// A claim of `who` by `plan`: the tool, and behind it the section.
    pub fn claim(&self, plan: &Plan, who: &str) -> Command {
        match &self.tool {
            Tool::Lokt(_) => {
                let flags = plan.flags();
                let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
                let mut command = self.lokt(&flags);
                if plan.how == How::Guard {
                    command.arg("--").arg(&self.section).args(self.section_args(plan, who));
                }
                command
            }
            Tool::Peer(template) => {
                let file = self.dir.join("locks").join(&plan.name);
                let line = template
                    .replace("{file}", &file.display().to_string())
                    .replace("{dir}", &self.root().display().to_string())
                    .replace("{name}", &plan.name)
                    .replace("{who}", who);
                let mut command = self.clean(Path::new("sh"));
                command.args(["-c", &format!("exec {line} \"$@\""), "sh"]);
                command.arg(&self.section).args(self.section_args(plan, who));
                command
            }
        }
    }

    fn section_args(&self, plan: &Plan, who: &str) -> Vec<String> {
        let witness = self.dir.join("witness").join(&plan.name);
        vec![
            self.history().display().to_string(),
            witness.display().to_string(),
            who.to_owned(),
            plan.name.clone(),
            plan.hold.as_millis().to_string(),
        ]
    }

    /// Processes that were started here and still run: their command lines name the sandbox.
    pub fn processes(&self) -> Vec<String> {
        let dir = self.dir.display().to_string();
        let own = std::process::id().to_string();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let pid = entry.file_name().to_string_lossy().into_owned();
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            if pid != own && pid.parse::<u32>().is_ok() && line.contains(&dir) {
                found.push(format!("process {pid}: {}", line.trim_end()));
            }
        }
        found
    }

    /// What is left in the root, apart from the mutexes and the log.
    pub fn leftovers(&self) -> Vec<String> {
        let mut found = Vec::new();
        let fixed =
            ["locks", "holders", "freezes", "sessions", "lines", "stripes"].map(|dir| self.root().join(dir));
        let mut dirs = vec![self.root()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                let path = entry.path();
                let shown = path.strip_prefix(self.root()).unwrap_or(&path).display().to_string();
                match path.is_dir() {
                    true if fixed.contains(&path) => dirs.push(path),
                    true => {
                        found.push(format!("{shown}/"));
                        dirs.push(path);
                    }
                    false if shown == "audit.log" || shown.starts_with("stripes/") => {}
                    false => found.push(shown),
                }
            }
        }
        found.sort();
        found
    }
}

/// A template that says which lock is meant.
pub fn template(text: &str) -> anyhow::Result<String> {
    if !text.contains("{file}") && !text.contains("{name}") {
        let why = format!("--command {text:?} names no lock: write {{file}} or {{name}} where it belongs");
        return Err(UsageError(why).into());
    }
    Ok(text.to_owned())
}
