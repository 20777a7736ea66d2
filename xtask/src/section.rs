//! What one task found: the same value is printed, written to `report.json`, and set into a page.
//!
//! `report.json` is one object with the fields of [`Section`], documented there.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use serde::Serialize;

use crate::page::{self, escape};
use crate::stats::{Spread, time};
use crate::{console, paths};

/// What a task found.
#[derive(Debug, Clone, Serialize)]
pub struct Section {
    /// The task's name; also that of its directory below `target`.
    pub name: &'static str,
    /// What was asked.
    pub title: String,
    /// The command that finds it again.
    pub command: String,
    pub passed: bool,
    /// The outcome in a sentence that claims no more than was seen.
    pub verdict: String,
    pub seconds: f64,
    pub figures: Vec<Figure>,
    pub tables: Vec<Table>,
    #[serde(skip)]
    pub plots: Vec<Plot>,
}

/// A number that was measured or counted.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// Its name for programs, such as `schedules_per_second`.
    pub key: &'static str,
    /// What it is, for people.
    pub label: String,
    pub value: f64,
    /// The value for people, with its unit.
    pub shown: String,
}

/// Rows of text under their columns.
#[derive(Debug, Clone, Serialize)]
pub struct Table {
    pub title: String,
    pub columns: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

/// A drawing, as SVG or HTML that needs nothing else.
#[derive(Debug, Clone)]
pub struct Plot {
    pub title: String,
    pub caption: String,
    pub drawing: String,
}

impl Figure {
    pub fn new(key: &'static str, label: &str, value: f64, shown: impl Into<String>) -> Self {
        Self { key, label: label.to_owned(), value, shown: shown.into() }
    }

    /// The median of some times, if there are any.
    pub fn p50(key: &'static str, label: &str, spread: Option<&Spread>) -> Option<Self> {
        spread.map(|spread| Self::new(key, label, spread.p50, time(spread.p50)))
    }

    /// A count, with its thousands set apart.
    pub fn count(key: &'static str, label: &str, count: u64) -> Self {
        Self::new(key, label, count as f64, crate::stats::thousands(count))
    }
}

impl Plot {
    pub fn new(title: &str, caption: &str, drawing: String) -> Self {
        Self { title: title.to_owned(), caption: caption.to_owned(), drawing }
    }
}

impl Table {
    pub fn new(title: &str, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|&column| column.to_owned()).collect();
        Self { title: title.to_owned(), columns, rows: Vec::new() }
    }

    pub fn text(&self) -> String {
        let width = |text: &String| text.chars().count();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|n| self.rows.iter().filter_map(|row| row.get(n)).chain([&self.columns[n]]).map(width).max())
            .map(Option::unwrap_or_default)
            .collect();
        let line = |cells: &Vec<String>| {
            let cells: Vec<String> = cells
                .iter()
                .zip(&widths)
                .enumerate()
                .map(|(n, (cell, &width))| match n > 0 && is_number(cell) {
                    true => format!("{cell:>width$}"),
                    false => format!("{cell:<width$}"),
                })
                .collect();
            format!("  {}\n", cells.join("  ").trim_end())
        };
        let rows: String = self.rows.iter().map(line).collect();
        format!("{}\n{}{rows}", self.title, line(&self.columns))
    }

    pub fn html(&self) -> String {
        let class = |n: usize, cell: &str| if n > 0 && is_number(cell) { "" } else { " class=\"words\"" };
        let head = |(n, column): (usize, &String)| {
            // As what stands below it.
            let below = self.rows.first().and_then(|row| row.get(n)).unwrap_or(column);
            format!("<th scope=\"col\"{}>{}</th>", class(n, below), escape(column))
        };
        let heads: String = self.columns.iter().enumerate().map(head).collect();
        let cell = |(n, cell): (usize, &String)| format!("<td{}>{}</td>", class(n, cell), escape(cell));
        let cells = |row: &Vec<String>| row.iter().enumerate().map(cell).collect::<String>();
        let rows: String = self.rows.iter().map(|row| format!("<tr>{}</tr>\n", cells(row))).collect();
        let title = escape(&self.title);
        format!(
            "<h3>{title}</h3>\n<div class=\"scroll card\" tabindex=\"0\" role=\"region\" aria-label=\"{title}\">\n\
             <table class=\"results\">\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n"
        )
    }
}

/// Numbers, with or without a unit, stand to the right of their column.
fn is_number(cell: &str) -> bool {
    cell.starts_with(|first: char| first.is_ascii_digit() || first == '-' || first == '–')
}

impl Section {
    /// Prints it, leaves it in `target/<name>`, and fails if it did not pass.
    pub fn conclude(&self) -> anyhow::Result<()> {
        console::print(&self.text());
        let dir = paths::target().join(self.name);
        let page = page::document(&format!("lokt {}: {}", self.name, self.verdict), &[self.html()]);
        write(&dir, &(serde_json::to_string_pretty(self)? + "\n"), &page)?;
        console::note(&format!("report: {}", dir.join("report.html").display()));
        if !self.passed {
            bail!("{}: {}", self.name, self.verdict);
        }
        Ok(())
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        let tables: String = self.tables.iter().map(|table| table.text() + "\n").collect();
        let width = self.figures.iter().map(|figure| figure.label.chars().count()).max().unwrap_or(0);
        let figure = |figure: &Figure| format!("  {:<width$}  {}\n", figure.label, figure.shown);
        let figures: String = self.figures.iter().map(figure).collect();
        format!("{tables}{figures}{}: {} ({:.0} s)\n", self.name, self.verdict, self.seconds)
    }

    /// For a page.
    pub fn html(&self) -> String {
        let (class, sign) = if self.passed { ("good", "✓") } else { ("bad", "✗") };
        let tile = |figure: &Figure| {
            let (label, shown) = (escape(&figure.label), escape(&figure.shown));
            format!("<div><dt>{label}</dt><dd>{shown}</dd></div>\n")
        };
        let tiles: String = self.figures.iter().map(tile).collect();
        let tiles = around("<dl class=\"tiles\">", &tiles, "</dl>");
        let tables: String = self.tables.iter().map(Table::html).collect();
        let plots: String =
            self.plots.iter().map(|plot| page::figure(&plot.title, &plot.caption, &plot.drawing)).collect();
        let plots = around("<div class=\"plots\">", &plots, "</div>");
        format!(
            "<section id=\"{}\">\n<h2><span class=\"sign {class}\" aria-hidden=\"true\">{sign}</span> {}</h2>\n\
             <p class=\"lead\">{}</p>\n<p class=\"facts\"><code>{}</code> · {:.0} s</p>\n\
             {tiles}{tables}{plots}</section>\n",
            self.name,
            escape(&self.title),
            escape(&self.verdict),
            escape(&self.command),
            self.seconds,
        )
    }
}

/// What is inside with its beginning and end, if there is anything.
fn around(begin: &str, inside: &str, end: &str) -> String {
    if inside.is_empty() { String::new() } else { format!("{begin}\n{inside}{end}\n") }
}

/// Writes a report as `report.json` and `report.html`.
pub fn write(dir: &Path, json: &str, html: &str) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("failed to create {}", dir.display()))?;
    for (file, text) in [("report.json", json), ("report.html", html)] {
        let path = dir.join(file);
        fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_aligns_words_left_and_numbers_right() {
        let mut table = Table::new("Positions", &["operation", "tried", "how"]);
        table.rows = [["acquire", "7", "kill"], ["renew", "1,211", "stop"]]
            .map(|row| row.map(str::to_owned).to_vec())
            .to_vec();
        assert_eq!(
            table.text(),
            "Positions\n  operation  tried  how\n  acquire        7  kill\n  renew      1,211  stop\n"
        );
    }
}
