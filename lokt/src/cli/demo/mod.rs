//! `lokt demo`: the same work without a lock and with one, side by side.
//!
//! What is shown is measured. Both sides run the same commands, at the same time, in processes of their own; the only
//! difference is `lokt guard` in front of those on the right. A [`Scene`] knows the work and how it looks; [`stage`] runs
//! it, [`show`] puts it on the terminal, and neither knows what it is about.

mod canvas;
mod command;
mod hexwall;
mod paint;
mod scene;
mod show;
mod stage;
mod trunk;

use std::io;
use std::ops::RangeInclusive;
use std::time::Duration;

use self::paint::Stroke;
use self::scene::{Pace, Scene};
use super::exit::Exit;
use super::output;
use crate::words;

/// How many can work on a side.
const WORKERS: RangeInclusive<u32> = 2..=8;

/// How many times as fast it can be.
const SPEEDS: RangeInclusive<u32> = 1..=50;

/// Play the same work without a lock and with one
///
/// hexwall: painters fill a wall that is one file. trunk: agents push to one git repository. Real processes and real
/// locks, in a temporary directory; what is shown is what happened.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    lokt demo\n  \
    lokt demo trunk\n  \
    lokt demo hexwall --workers 8 --speed 2")]
pub(super) struct Args {
    /// What to show
    #[arg(value_enum, default_value = "hexwall")]
    scene: Which,
    /// How many work on each side, 2 to 8
    #[arg(long, value_name = "N", value_parser = |text: &str| number(text, WORKERS),
        allow_hyphen_values = true)]
    workers: Option<u32>,
    /// How many times as fast, 1 to 50
    #[arg(long, value_name = "N", default_value = "1", hide_default_value = true,
        value_parser = |text: &str| number(text, SPEEDS), allow_hyphen_values = true)]
    speed: u32,
    /// What a painter does, in the directory of its side
    #[arg(long, hide = true)]
    paint: Option<String>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Which {
    /// Painters fill a wall that is one file
    Hexwall,
    /// Agents push to one git repository
    Trunk,
}

pub(super) fn run(args: &Args) -> Exit {
    if let Some(stroke) = &args.paint {
        return match Stroke::parse(stroke)
            .ok_or(io::ErrorKind::InvalidInput.into())
            .and_then(|stroke| stroke.paint())
        {
            Ok(()) => Exit::Ok,
            Err(error) => failed(&format!("failed to paint: {}", words::cause(&error))),
        };
    }
    let workers = |usual| args.workers.map_or(usual, |workers| workers as usize);
    let pace = |usual| Pace(Duration::from_millis(usual) / args.speed);
    let mut scene: Box<dyn Scene> = match args.scene {
        Which::Hexwall => Box::new(hexwall::HexWall::new(workers(6), pace(12))),
        Which::Trunk => Box::new(trunk::Trunk::new(workers(4), pace(200))),
    };
    match stage::play(scene.as_mut()) {
        Ok(None) if scene.kept_its_promise() => Exit::Ok,
        Ok(None) => failed("the side with the lock is not as it should be: please report this"),
        Ok(Some(signal)) => Exit::Signal(signal.as_raw()),
        Err(why) => failed(&why),
    }
}

fn number(text: &str, range: RangeInclusive<u32>) -> Result<u32, String> {
    let wrong = || {
        format!("\"{}\" is not a number from {} to {}", words::printable(text), range.start(), range.end())
    };
    text.parse().ok().filter(|number| range.contains(number)).ok_or_else(wrong)
}

fn failed(why: &str) -> Exit {
    output::say(why);
    Exit::Failed
}
