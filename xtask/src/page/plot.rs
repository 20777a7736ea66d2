//! Plots, as SVG that takes its colours from the page, so that it follows light and dark.
//!
//! Each is drawn more than once, for wide and for narrow pages: text in a drawing that is scaled would scale too.

use super::escape;
use super::scale::Scale;
use crate::stats::Spread;

/// Widths of the drawings in CSS pixels, and the classes by which `page.css` shows one of them at a time.
pub(super) const NARROW: (&str, f64) = ("narrow", 320.0);
pub(super) const WIDE: (&str, f64) = ("wide", 550.0);
pub(super) const FULL: (&str, f64) = ("full", 1140.0);

/// Space for labels: left of the plot, right of it, below it.
pub(super) const LEFT: f64 = 58.0;
pub(super) const RIGHT: f64 = 16.0;
pub(super) const BELOW: f64 = 40.0;

/// The height of a row of a histogram, and of the line of text on top of it.
const ROW: f64 = 78.0;
const ROW_TEXT: f64 = 24.0;

/// Beyond it the dots of a scatter plot lie on each other, and the page grows for nothing.
const MOST_DOTS: usize = 3_000;

/// Values that belong together.
pub struct Series {
    pub label: String,
    /// Which of the page's series colours.
    pub color: usize,
    pub values: Vec<f64>,
}

/// One histogram per series, above each other over one axis.
pub struct Rows<'a> {
    pub series: &'a [Series],
    pub scale: &'a Scale,
    /// Below the axis: what is measured, in which unit.
    pub axis: &'a str,
    /// What is counted, such as `renewals`.
    pub things: &'a str,
    /// Whether the small end is the one to worry about.
    pub worst_is_min: bool,
    pub words: fn(f64) -> String,
}

/// One of a scatter plot.
pub struct Dot {
    pub series: usize,
    pub x: f64,
    pub y: f64,
    pub title: String,
    pub failed: bool,
}

pub(super) fn drawn(sizes: &[(&str, f64)], draw: impl Fn(f64) -> String) -> String {
    let one = |(class, width): &(&str, f64)| format!("<div class=\"{class}\">{}</div>\n", draw(*width));
    sizes.iter().map(one).collect()
}

pub(super) fn svg(width: f64, height: f64, name: &str, body: &str) -> String {
    let name = escape(name);
    format!("<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{name}\">{body}</svg>")
}

pub(super) fn text(class: &str, x: f64, y: f64, anchor: &str, words: &str) -> String {
    let words = escape(words);
    format!("<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>")
}

pub(super) fn line(class: &str, x1: f64, y1: f64, x2: f64, y2: f64) -> String {
    format!("<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>")
}

/// The axis at the foot of a plot, with a line up for each tick. Labels that would touch are left out.
pub(super) fn foot(scale: &Scale, name: &str, width: f64, bottom: f64) -> String {
    let mut body = String::new();
    let mut free_from = f64::MIN;
    for tick in &scale.ticks {
        let x = x_of(scale, tick.value, width);
        body += &line("grid", x, 0.0, x, bottom);
        let half = tick.label.chars().count() as f64 * 3.4;
        if x - half > free_from {
            body += &text("tick", x, bottom + 16.0, "middle", &tick.label);
            free_from = x + half + 4.0;
        }
    }
    body += &line("base", LEFT, bottom, width - RIGHT, bottom);
    body + &text("axis", (LEFT + width - RIGHT) / 2.0, bottom + 34.0, "middle", name)
}

pub(super) fn x_of(scale: &Scale, value: f64, width: f64) -> f64 {
    LEFT + scale.position(value) * (width - LEFT - RIGHT)
}

/// The axis at the left of a plot, with a line across for each tick.
pub(super) fn side(scale: &Scale, width: f64, bottom: f64) -> String {
    let tick = |tick: &super::scale::Tick| {
        let y = y_of(scale, tick.value, bottom);
        line("grid", LEFT, y, width - RIGHT, y) + &text("tick", LEFT - 8.0, y + 4.0, "end", &tick.label)
    };
    scale.ticks.iter().map(tick).collect()
}

pub(super) fn y_of(scale: &Scale, value: f64, bottom: f64) -> f64 {
    bottom - scale.position(value) * (bottom - 12.0)
}

impl Rows<'_> {
    pub fn draw(&self) -> String {
        drawn(&[WIDE, NARROW], |width| {
            let bottom = self.series.len() as f64 * ROW;
            let mut body = foot(self.scale, self.axis, width, bottom);
            for (index, series) in self.series.iter().enumerate() {
                body += &self.row(series, width, (index + 1) as f64 * ROW);
            }
            svg(width, bottom + BELOW, self.axis, &body)
        })
    }

    fn row(&self, series: &Series, width: f64, base: f64) -> String {
        let mut body = text(&format!("name c{}", series.color), 0.0, base - 22.0, "start", &series.label);
        body += &text("tick", 0.0, base - 7.0, "start", &format!("n {}", series.values.len()));
        body += &line("base", LEFT, base, width - RIGHT, base);
        let Some(spread) = Spread::of(series.values.iter().copied()) else {
            return body + &text("tick", LEFT + 8.0, base - 7.0, "start", "nothing measured");
        };
        let counts = self.counts(&series.values);
        body + &self.bars(series, &counts, width, base) + &self.marks(&spread, &counts, width, base)
    }

    fn bars(&self, series: &Series, counts: &[usize], width: f64, base: f64) -> String {
        let bin = (width - LEFT - RIGHT) / counts.len() as f64;
        let mut body = String::new();
        for (index, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let (x, height) = (LEFT + index as f64 * bin + 0.5, bar_height(*count, counts));
            body += &format!(
                "<rect class=\"c{}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\">\
                 <title>{}</title></rect>",
                series.color,
                base - height,
                (bin - 1.0).max(1.0),
                escape(&self.bar_title(series, counts, index)),
            );
        }
        body
    }

    fn bar_title(&self, series: &Series, counts: &[usize], index: usize) -> String {
        let edge = |index: usize| (self.words)(self.scale.value(index as f64 / counts.len() as f64));
        let (from, to) = (edge(index), edge(index + 1));
        format!("{}: {} {}, {from} to {to}", series.label, counts[index], self.things)
    }

    fn counts(&self, values: &[f64]) -> Vec<usize> {
        let mut counts = vec![0; self.scale.bins().max(1)];
        for value in values {
            let bin = self.bin_of(*value, counts.len());
            counts[bin] += 1;
        }
        counts
    }

    fn bin_of(&self, value: f64, bins: usize) -> usize {
        ((self.scale.position(value) * bins as f64) as usize).min(bins - 1)
    }

    /// The median as a line, the worst value as an arrow head above its bar, both in words.
    fn marks(&self, spread: &Spread, counts: &[usize], width: f64, base: f64) -> String {
        let (worst, name) = match self.worst_is_min {
            true => (spread.min, "least"),
            false => (spread.max, "max"),
        };
        let top = base - ROW + ROW_TEXT;
        let median = x_of(self.scale, spread.p50, width);
        let bar = counts[self.bin_of(worst, counts.len())];
        let (x, y) = (x_of(self.scale, worst, width) - 4.5, base - bar_height(bar, counts) - 9.0);
        let words = format!("median {} · {name} {}", (self.words)(spread.p50), (self.words)(worst));
        line("median", median, top, median, base)
            + &format!("<path class=\"worst\" d=\"M{x:.1} {y:.1}h9l-4.5 7z\"/>")
            + &text("tick", width - RIGHT, top - 7.0, "end", &words)
    }
}

/// The fullest bin reaches to the row's text; a single value still shows beside it.
fn bar_height(count: usize, counts: &[usize]) -> f64 {
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    (count as f64 / most as f64 * (ROW - ROW_TEXT - 10.0)).max(2.0)
}

/// A dot for each thing: across is a number, up are seconds.
pub fn scatter(dots: &[Dot], across_name: &str, name: &str) -> String {
    let largest = |of: fn(&Dot) -> f64| dots.iter().map(of).fold(0.0, f64::max);
    let (largest_x, largest_y) = (largest(|dot| dot.x), largest(|dot| dot.y));
    let every = dots.len().div_ceil(MOST_DOTS).max(1);
    let shown = || {
        dots.iter().enumerate().filter(|(index, dot)| index % every == 0 || dot.failed).map(|(_, dot)| dot)
    };
    drawn(&[FULL, WIDE, NARROW], |width| {
        let bottom = 210.0;
        let across = Scale::counts(largest_x, if width > 400.0 { 10 } else { 5 });
        let up = Scale::from_zero(largest_y, 5, |value| format!("{value} s"));
        let mut body = foot(&across, across_name, width, bottom);
        body += &side(&up, width, bottom);
        let at = |dot: &Dot| (x_of(&across, dot.x, width), y_of(&up, dot.y, bottom));
        body += &shown().map(|dot| mark(dot, at(dot))).collect::<String>();
        svg(width, bottom + BELOW, name, &body)
    })
}

fn mark(dot: &Dot, (x, y): (f64, f64)) -> String {
    let title = escape(&dot.title);
    match dot.failed {
        true => format!(
            "<path class=\"cross\" d=\"M{:.1} {:.1}l8 8m0 -8l-8 8\"><title>{title}</title></path>",
            x - 4.0,
            y - 4.0
        ),
        false => format!(
            "<circle class=\"c{}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.6\"><title>{title}</title></circle>",
            dot.series
        ),
    }
}
