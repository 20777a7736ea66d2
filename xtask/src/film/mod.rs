//! `cargo xtask film`: the moving picture of the README, from a scene that is really played.
//!
//! Two terminals, the real program, and nothing made up but the typing: whatever is shown after a line was typed is
//! what the program said. It is played in namespaces of its own, so that the machine's name and the process ids are
//! always the same, and by a fixed timetable, so that ages and leases are, too.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `scene` | who types what, and when |
//! | `stage` | the place where it is played: directories, environment, the timetable |
//! | `terminal` | a pty, the program on it, and the screen that it makes |
//! | `reel` | screens over time, and which row is shown from when to when |
//! | `svg` | a reel as a picture that moves without any script |

mod reel;
mod scene;
mod stage;
mod svg;
mod terminal;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use xshell::{Shell, cmd};

use crate::{built, console, paths};
use reel::Reel;

/// The host's name in the picture.
const HOST: &str = "build-1";

#[derive(Args)]
pub struct Film {
    /// Where to write the picture [default: docs/images/guard.svg]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Write stills of these moments, in seconds, to target/film, too
    #[arg(long, value_name = "SECONDS", value_delimiter = ',')]
    still: Vec<f32>,

    /// Play the scene here, with this program: the namespaces have been made
    #[arg(long, hide = true, value_name = "LOKT")]
    inside: Option<PathBuf>,
}

impl Film {
    pub fn run(self, sh: &Shell) -> anyhow::Result<()> {
        match &self.inside {
            Some(lokt) => self.shoot(lokt),
            None => self.go_inside(sh),
        }
    }

    /// Runs this program again, in namespaces of its own.
    fn go_inside(&self, sh: &Shell) -> anyhow::Result<()> {
        if !cfg!(target_os = "linux") {
            bail!("the film is played in namespaces, which only Linux has");
        }
        let lokt = built::lokt(sh)?;
        let xtask = std::env::current_exe().context("failed to find this program")?;
        let script = format!("hostname {HOST} && exec \"$@\"");
        let out = self.out();
        let stills: Vec<String> = self.still.iter().map(|at| format!("--still={at}")).collect();
        cmd!(sh, "unshare --user --map-root-user --uts --pid --fork --mount-proc")
            .args(["sh", "-c", &script, "sh"])
            .arg(xtask)
            .args(["film", "--inside"])
            .args([&lokt, Path::new("--out"), &out])
            .args(stills)
            .quiet()
            .run()
            .context("failed to play the scene in namespaces of its own (may this user make them?)")
    }

    fn out(&self) -> PathBuf {
        self.out.clone().unwrap_or_else(|| paths::workspace().join("docs/images/guard.svg"))
    }

    fn shoot(&self, lokt: &Path) -> anyhow::Result<()> {
        console::note("the scene is played: half a minute");
        let reel = scene::play(lokt)?;
        let out = self.out();
        write(&out, &svg::moving(&reel))?;
        let stills = paths::target().join("film");
        for at in &self.still {
            write(&stills.join(format!("{at}.svg")), &still(&reel, *at))?;
        }
        console::line(&format!("{}", out.display()));
        Ok(())
    }
}

fn still(reel: &Reel, at: f32) -> String {
    svg::still(reel, Duration::from_secs_f32(at.max(0.0)))
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).with_context(|| format!("failed to create {}", dir.display()))?;
    }
    fs::write(path, text).with_context(|| format!("failed to write {}", path.display()))
}
