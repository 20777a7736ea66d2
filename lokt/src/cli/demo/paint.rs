//! One stroke on the wall of [`super::hexwall`]: what many programs do with a file, read it, change it, write it back.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::time::Duration;

/// The wall, a byte for each cell.
pub(super) const WALL: &str = "wall";

/// The brush that all painters share; in it is the colour that it was dipped in last.
const BRUSH: &str = "brush";

/// A cell that nobody has painted.
pub(super) const BARE: u8 = b'.';

/// A stroke: `CELL:COLOUR:MICROSECONDS`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stroke {
    /// Which cell.
    pub(super) cell: usize,
    /// In which colour.
    pub(super) colour: char,
    /// How long it takes.
    pub(super) takes: Duration,
}

impl Stroke {
    /// Dips the brush, looks at the wall, takes its time, and puts what is in the brush onto what was seen.
    #[expect(
        clippy::disallowed_methods,
        reason = "the painter takes its time, which is what races are made of"
    )]
    pub(super) fn paint(&self) -> io::Result<()> {
        let mut file = File::options().read(true).write(true).open(WALL)?;
        fs::write(BRUSH, self.colour.to_string())?;
        let mut wall = Vec::new();
        (&file).take(1 << 16).read_to_end(&mut wall)?;
        std::thread::sleep(self.takes);
        let brush = fs::read(BRUSH)?;
        if let (Some(cell), Some(colour)) = (wall.get_mut(self.cell), brush.first()) {
            *cell = *colour;
        }
        file.rewind()?;
        file.write_all(&wall)
    }

    /// What [`Self::to_argument`] says.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (cell, colour, takes) = (parts.next()?, parts.next()?, parts.next()?);
        let takes = Duration::from_micros(takes.parse().ok()?);
        Some(Self { cell: cell.parse().ok()?, colour: colour.parse().ok()?, takes })
    }

    /// As an argument.
    pub(super) fn to_argument(self) -> String {
        format!("--paint={}:{}:{}", self.cell, self.colour, self.takes.as_micros())
    }
}
