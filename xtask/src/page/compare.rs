//! Plots that compare: how values of several things are spread over one axis, and how they grow.

use super::Scale;
use super::escape;
use super::plot::{BELOW, FULL, NARROW, RIGHT, Series, WIDE, drawn, foot, line, side, svg, text, x_of, y_of};
use crate::stats::percentile;

/// The height of a row, and how far above its foot the middle of its box is.
const ROW: f64 = 46.0;
const MIDDLE: f64 = 12.0;

/// One box per series, below each other over one axis: the whisker spans 80 % of the values, the box their middle half,
/// the line in it is the median.
pub struct Boxes<'a> {
    pub series: &'a [Series],
    pub scale: &'a Scale,
    /// Below the axis: what is measured, in which unit.
    pub axis: &'a str,
    /// A value to compare with, drawn as a line across all rows.
    pub mark: Option<f64>,
    pub words: fn(f64) -> String,
}

impl Boxes<'_> {
    pub fn draw(&self) -> String {
        drawn(&[FULL, WIDE, NARROW], |width| {
            let bottom = self.series.len() as f64 * ROW + 6.0;
            let mut body = foot(self.scale, self.axis, width, bottom);
            if let Some(mark) = self.mark {
                let x = x_of(self.scale, mark, width);
                body += &line("median", x, 0.0, x, bottom);
            }
            for (index, series) in self.series.iter().enumerate() {
                body += &self.row(series, width, (index + 1) as f64 * ROW);
            }
            svg(width, bottom + BELOW, self.axis, &body)
        })
    }

    fn row(&self, series: &Series, width: f64, foot: f64) -> String {
        let (color, top) = (series.color, foot - ROW + 16.0);
        let name = text(&format!("name c{color}"), 0.0, top, "start", &series.label);
        let at = |percent| percentile(&series.values, percent);
        let (Some(p10), Some(p25), Some(p50), Some(p75), Some(p90)) =
            (at(10), at(25), at(50), at(75), at(90))
        else {
            return name + &text("tick", width - RIGHT, top, "end", "nothing measured");
        };
        let x = |value| x_of(self.scale, value, width);
        let (y, words) = (foot - MIDDLE, (self.words)(p50));
        let title = format!("{}: median {words}, n {}", series.label, series.values.len());
        name + &text("tick", width - RIGHT, top, "end", &words)
            + &format!("<g class=\"c{color}\"><title>{}</title>", escape(&title))
            + &line("stroke", x(p10), y, x(p90), y)
            + &rect(x(p25), y - 6.0, (x(p75) - x(p25)).max(1.5), 12.0)
            + "</g>"
            + &line("middle", x(p50), y - 9.0, x(p50), y + 9.0)
    }
}

fn rect(x: f64, y: f64, width: f64, height: f64) -> String {
    format!("<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"2\"/>")
}

/// Something that grows with a number: points of number and value.
pub struct Curve {
    pub label: String,
    /// Which of the page's series colours.
    pub color: usize,
    pub points: Vec<(f64, f64)>,
}

impl Curve {
    pub fn new(label: &str, color: usize) -> Self {
        Self { label: label.to_owned(), color, points: Vec::new() }
    }
}

/// Times in milliseconds over numbers of things, both logarithmic.
pub fn curves(curves: &[Curve], axis: &str, words: fn(f64) -> String) -> String {
    let points = || curves.iter().flat_map(|curve| curve.points.iter().copied());
    let across = Scale::log_count(points().map(|(x, _)| x).collect::<Vec<_>>().into_iter());
    let up = Scale::log_time(points().map(|(_, y)| y).collect::<Vec<_>>().into_iter());
    let lines = |width: f64, bottom: f64| -> String {
        let at = |&(x, y): &(f64, f64)| (x_of(&across, x, width), y_of(&up, y, bottom));
        curves
            .iter()
            .map(|curve| one(curve, &curve.points.iter().map(at).collect::<Vec<_>>(), words))
            .collect()
    };
    let key = |curve: &Curve| format!("<li><i class=\"c{}\"></i>{}</li>", curve.color, escape(&curve.label));
    let keys: String = curves.iter().map(key).collect();
    format!("<ul class=\"legend\">{keys}</ul>\n")
        + &drawn(&[FULL, WIDE, NARROW], |width| {
            let bottom = 260.0;
            let body = foot(&across, axis, width, bottom) + &side(&up, width, bottom) + &lines(width, bottom);
            svg(width, bottom + BELOW, axis, &body)
        })
}

fn one(curve: &Curve, at: &[(f64, f64)], words: fn(f64) -> String) -> String {
    let path: Vec<String> = at.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let dot = |((x, y), (number, value)): (&(f64, f64), &(f64, f64))| {
        let title = escape(&format!("{}, {number}: {}", curve.label, words(*value)));
        format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.4\"><title>{title}</title></circle>")
    };
    let dots: String = at.iter().zip(&curve.points).map(dot).collect();
    format!(
        "<g class=\"c{}\"><polyline class=\"stroke\" points=\"{}\"/>{dots}</g>",
        curve.color,
        path.join(" ")
    )
}
