//! A reel as a picture that moves without any script: each row is there from its first picture on, and CSS says from
//! when to when it is seen. So it also moves where a page shows it as an image.

use std::fmt::Write as _;
use std::time::Duration;

use super::reel::{Pane, Reel, Run, Screen, Span};
use crate::page::escape;

const STYLE: &str = include_str!("film.css");

/// The width of a character, the height of a row, and what is around them, in pixels.
const CELL: f32 = 8.4;
const ROW: f32 = 19.0;
const PAD: f32 = 14.0;
const BAR: f32 = 28.0;
const GAP: f32 = 14.0;
/// From the top of a row to the line that its letters stand on.
const BASE: f32 = 14.0;

/// The film.
pub fn moving(reel: &Reel) -> String {
    draw(reel, None)
}

/// One picture of it.
pub fn still(reel: &Reel, at: Duration) -> String {
    draw(reel, Some(at))
}

fn draw(reel: &Reel, at: Option<Duration>) -> String {
    let mut drawing = Drawing { reel, at, spans: Vec::new(), body: String::new() };
    let mut top = 0.0;
    for (number, pane) in reel.panes.iter().enumerate() {
        drawing.pane(number, pane, top);
        top += height(pane) + GAP;
    }
    let (width, height) = (width(reel), top - GAP);
    let title = reel.panes.iter().map(|pane| pane.title.as_str()).collect::<Vec<_>>().join(" and ");
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" role=\"img\" xml:space=\"preserve\">\n\
         <title>Two terminals: {}</title>\n<style>\n{STYLE}{}</style>\n{}</svg>\n",
        escape(&title),
        drawing.keyframes(),
        drawing.body,
    )
}

fn width(reel: &Reel) -> f32 {
    (f32::from(reel.columns) * CELL + 2.0 * PAD).ceil()
}

fn height(pane: &Pane) -> f32 {
    BAR + f32::from(pane.rows) * ROW + PAD
}

struct Drawing<'a> {
    reel: &'a Reel,
    /// For a still.
    at: Option<Duration>,
    /// Each has a class of its own, named by its place.
    spans: Vec<Span>,
    body: String,
}

impl Drawing<'_> {
    fn pane(&mut self, number: usize, pane: &Pane, top: f32) {
        let (width, height) = (width(self.reel) - 1.0, height(pane) - 1.0);
        let _ = writeln!(
            self.body,
            "<g transform=\"translate(0 {top})\">\n\
             <rect class=\"w\" x=\".5\" y=\".5\" width=\"{width}\" height=\"{height}\" rx=\"8\"/>\n\
             <text class=\"t\" x=\"{PAD}\" y=\"19\">{}</text>",
            escape(&pane.title)
        );
        self.cursor(number);
        for row in 0..pane.rows {
            self.row(number, row);
        }
        self.body.push_str("</g>\n");
    }

    fn row(&mut self, pane: usize, row: u16) {
        let reel = self.reel;
        let of_row = |screen: &Screen| screen.rows.get(usize::from(row)).cloned().unwrap_or_default();
        for (span, runs) in reel.spans(|frame| of_row(&frame.screens[pane])) {
            let drawn: String = runs.iter().map(|run| text(run, row)).collect();
            self.show(span, &drawn);
        }
    }

    fn cursor(&mut self, pane: usize) {
        let reel = self.reel;
        for (span, cursor) in reel.spans(|frame| frame.screens[pane].cursor) {
            let Some((row, column)) = cursor else {
                continue;
            };
            let (x, y) = (x(column), y(row) + 1.0);
            self.show(
                span,
                &format!("<rect class=\"c\" x=\"{x}\" y=\"{y}\" width=\"{CELL}\" height=\"17\"/>"),
            );
        }
    }

    /// Adds what is drawn, to be seen for this span only.
    fn show(&mut self, span: Span, drawn: &str) {
        let always = span.from.is_zero() && span.to == self.reel.length;
        match self.at {
            _ if drawn.is_empty() => {}
            Some(at) if !span.covers(at) => {}
            None if !always => {
                let number = self.number(span);
                let poster = if span.covers(self.reel.poster) { " p" } else { "" };
                let _ = writeln!(self.body, "<g class=\"f{poster} k{number}\">{drawn}</g>");
            }
            _ => {
                let _ = writeln!(self.body, "{drawn}");
            }
        }
    }

    fn number(&mut self, span: Span) -> usize {
        self.spans.iter().position(|known| *known == span).unwrap_or_else(|| {
            self.spans.push(span);
            self.spans.len() - 1
        })
    }

    /// When each span is seen, as a share of the whole.
    fn keyframes(&self) -> String {
        if self.spans.is_empty() {
            return String::new();
        }
        let length = self.reel.length;
        let share = |at: Duration| {
            let share = format!("{:.3}", at.as_secs_f64() / length.as_secs_f64() * 100.0);
            share.trim_end_matches('0').trim_end_matches('.').to_owned()
        };
        let mut css = format!(".f{{animation:{}s step-end infinite}}\n", length.as_secs_f32());
        for (number, span) in self.spans.iter().enumerate() {
            let mut steps = String::new();
            if !span.from.is_zero() {
                steps.push_str("0%{opacity:0}");
            }
            let _ = write!(steps, "{}%{{opacity:1}}", share(span.from));
            if span.to < length {
                let _ = write!(steps, "{}%{{opacity:0}}", share(span.to));
            }
            let _ = writeln!(css, "@keyframes k{number}{{{steps}}}.k{number}{{animation-name:k{number}}}");
        }
        // Whoever wants nothing to move sees the poster.
        css.push_str("@media (prefers-reduced-motion:reduce){.f{animation:none}}\n");
        css
    }
}

fn x(column: u16) -> f32 {
    round(PAD + f32::from(column) * CELL)
}

fn y(row: u16) -> f32 {
    BAR + f32::from(row) * ROW
}

fn round(pixels: f32) -> f32 {
    (pixels * 10.0).round() / 10.0
}

/// A run of text, as wide as it is in a terminal, whatever font there is.
fn text(run: &Run, row: u16) -> String {
    let mut class = String::new();
    if let Some(color) = run.style.color {
        let _ = write!(class, "a{color} ");
    }
    for (set, name) in [(run.style.bold, "b "), (run.style.dim, "d "), (run.style.underline, "u ")] {
        class.push_str(if set { name } else { "" });
    }
    let class = match class.trim_end() {
        "" => String::new(),
        class => format!(" class=\"{class}\""),
    };
    let (x, y) = (x(run.column), y(row) + BASE);
    let length = round(f32::from(run.width) * CELL);
    format!("<text{class} x=\"{x}\" y=\"{y}\" textLength=\"{length}\">{}</text>", escape(&run.text))
}

#[cfg(test)]
mod tests {
    use super::super::reel::{Frame, Style};
    use super::*;

    fn screen(text: &str, style: Style) -> Screen {
        let width = u16::try_from(text.chars().count()).unwrap();
        let run = Run { column: 2, width, text: text.to_owned(), style };
        Screen { rows: vec![vec![run]], cursor: None }
    }

    fn reel(texts: &[(u64, &str)]) -> Reel {
        let frame = |&(at, text): &(u64, &str)| Frame {
            at: Duration::from_secs(at),
            screens: vec![screen(text, Style::default())],
        };
        Reel {
            columns: 10,
            panes: vec![Pane { title: "a<b".to_owned(), rows: 1 }],
            frames: texts.iter().map(frame).collect(),
            length: Duration::from_secs(8),
            poster: Duration::from_secs(5),
        }
    }

    #[test]
    fn what_never_changes_does_not_move() {
        let picture = moving(&reel(&[(0, "here")]));
        assert!(picture.contains(">here</text>"), "{picture}");
        assert!(!picture.contains("@keyframes"), "{picture}");
    }

    #[test]
    fn a_row_is_seen_from_its_frame_to_the_next() {
        let picture = moving(&reel(&[(0, "one"), (2, "two"), (6, "three")]));
        for steps in [
            "@keyframes k0{0%{opacity:1}25%{opacity:0}}",
            "@keyframes k1{0%{opacity:0}25%{opacity:1}75%{opacity:0}}",
            "@keyframes k2{0%{opacity:0}75%{opacity:1}}",
        ] {
            assert!(picture.contains(steps), "{steps}\n{picture}");
        }
        assert!(picture.contains("animation:8s step-end infinite"), "{picture}");
    }

    #[test]
    fn where_nothing_moves_the_poster_is_shown() {
        let picture = moving(&reel(&[(0, "one"), (2, "two"), (6, "three")]));
        let posters: Vec<&str> = picture.lines().filter(|line| line.contains("class=\"f p ")).collect();
        assert!(posters.len() == 1 && posters[0].contains(">two<"), "{posters:?}");
    }

    #[test]
    fn a_still_has_only_what_is_seen_at_its_moment() {
        let picture = still(&reel(&[(0, "one"), (2, "two"), (6, "three")]), Duration::from_secs(2));
        assert!(picture.contains(">two<") && !picture.contains(">one<") && !picture.contains(">three<"));
        assert!(!picture.contains("@keyframes"), "{picture}");
    }

    #[test]
    fn markup_on_a_screen_stays_text() {
        let picture = moving(&reel(&[(0, "<script>&")]));
        assert!(picture.contains("&lt;script&gt;&amp;</text>"), "{picture}");
        assert!(picture.contains("a&lt;b"), "{picture}");
        assert!(!picture.contains("<script"), "{picture}");
    }

    #[test]
    fn text_stands_in_its_column_and_is_as_wide_as_there() {
        let run = &screen("four", Style { color: Some(2), bold: true, ..Style::default() }).rows[0][0];
        let drawn = text(run, 0);
        assert_eq!(drawn, "<text class=\"a2 b\" x=\"30.8\" y=\"42\" textLength=\"33.6\">four</text>");
    }
}
