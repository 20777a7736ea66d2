//! `lokt doctor`: whether locks work here, what is wrong if not, and what to do about it.

use std::path::PathBuf;

use anstyle::Style;
use serde_json::{Map, Value, json};
use unicode_width::UnicodeWidthStr;

use super::exit::Exit;
use super::output::{Output, Report};
use super::screen::{BAD, DIM, GOOD, HELD, PLAIN, STRONG, Screen, padded};
use crate::doctor::{self, Check, Diagnosis, Status};
use crate::host::{Identity, RootSource, rival};
use crate::protocol::VERSION;
use crate::words::printable;

/// No line is longer, however wide the terminal is.
const WIDEST: usize = 100;

/// Check that locks work here, and say what to do if they do not
///
/// It tries what locks need (writing, flock between two processes) and looks at what stands in the lock directory. It
/// makes no lock directory, and leaves nothing behind. Exit code 1 if a check failed, 0 if there are only warnings.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    lokt doctor\n  \
    lokt doctor --fix     clear away what nobody alive uses\n  \
    lokt doctor --json")]
pub(super) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Clear away what nobody alive uses: stale and corrupt records, lapsed freezes, leftovers of the dead
    #[arg(long)]
    fix: bool,
    /// Be the second process of a trial: contend for this file
    #[arg(long, hide = true, value_name = "PATH", exclusive = true)]
    rival: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Report {
    if let Some(path) = &args.rival {
        return Report::silent(rival::serve(path).map_or(Exit::Failed, |()| Exit::Ok));
    }
    let identity = Identity::current();
    let diagnosis = if args.fix { doctor::mend(&identity) } else { doctor::examine(&identity) };
    let exit = if diagnosis.overall() == Status::Fail { Exit::Failed } else { Exit::Ok };
    let result = match args.json {
        true => Output::Json(object(&diagnosis)),
        false => Output::Text(text(&diagnosis, args.fix, Screen::stdout())),
    };
    Report { exit, ..Report::ok(result) }
}

/// The Go tool's fields first.
fn object(diagnosis: &Diagnosis) -> Value {
    let method = match diagnosis.source {
        Some(RootSource::Environment) => "env",
        Some(RootSource::Git) => "git",
        Some(RootSource::WorkingDirectory) => "local",
        None => "unknown",
    };
    let checks: Vec<Value> = diagnosis.checks.iter().map(check_object).collect();
    json!({
        "protocol_version": VERSION,
        "root_method": method,
        "root_path": diagnosis.path.to_string_lossy(),
        "checks": checks,
        "overall": diagnosis.overall().as_str(),
        "version": env!("CARGO_PKG_VERSION"),
    })
}

fn check_object(check: &Check) -> Value {
    let mut object = Map::new();
    object.insert("name".into(), json!(check.name));
    object.insert("status".into(), json!(check.status.as_str()));
    object.insert("message".into(), json!(check.message));
    for (key, lines) in [("items", &check.items), ("advice", &check.advice), ("fixed", &check.fixed)] {
        if !lines.is_empty() {
            object.insert(key.into(), json!(lines));
        }
    }
    object.insert("fixable".into(), json!(check.fixable));
    if check.skipped {
        object.insert("skipped".into(), json!(true));
    }
    Value::Object(object)
}

/// What stands before a line: for a terminal, and for everything else.
struct Mark {
    drawn: &'static str,
    plain: &'static str,
    style: Style,
}

const FINE: Mark = Mark { drawn: "✓", plain: "[OK]", style: GOOD };
const DOUBTFUL: Mark = Mark { drawn: "!", plain: "[WARN]", style: HELD };
const WRONG: Mark = Mark { drawn: "✗", plain: "[FAIL]", style: BAD };
const SKIPPED: Mark = Mark { drawn: "-", plain: "[SKIP]", style: DIM };
const ITEM: Mark = Mark { drawn: "·", plain: "-", style: DIM };
const ADVICE: Mark = Mark { drawn: "→", plain: "->", style: STRONG };
const FIXED: Mark = Mark { drawn: "✓", plain: "fixed:", style: GOOD };

/// Lines for a screen.
struct Page {
    screen: Screen,
    text: String,
}

fn text(diagnosis: &Diagnosis, fixed: bool, screen: Screen) -> String {
    let mut page = Page { screen, text: String::new() };
    let source = match diagnosis.source {
        Some(RootSource::Environment) => " (LOKT_ROOT)",
        Some(RootSource::Git) => " (git repository)",
        Some(RootSource::WorkingDirectory) => " (working directory)",
        None => "unknown",
    };
    let path = printable(&diagnosis.path.to_string_lossy());
    let heading = screen.paint(STRONG, "lokt doctor");
    page.line(&format!("{heading}  {path}{}", screen.paint(DIM, source)));
    page.line("");
    let width = diagnosis.checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    diagnosis.checks.iter().for_each(|check| page.check(check, width));
    page.line("");
    let (result, style) = result(&diagnosis.checks, fixed);
    page.line(&screen.paint(style, &result));
    page.text
}

/// The last line.
fn result(checks: &[Check], fixed: bool) -> (String, Style) {
    let number = |wanted: fn(&&Check) -> bool| checks.iter().filter(wanted).count();
    let failed = number(|check| check.status == Status::Fail);
    let warned = number(|check| check.status == Status::Warn && !check.skipped);
    let done: usize = checks.iter().map(|check| check.fixed.len()).sum();
    let mut parts = Vec::new();
    if fixed {
        parts.push(if done == 0 {
            "nothing to clear away".to_owned()
        } else {
            format!("{done} cleared away")
        });
    }
    match (failed, warned) {
        (0, 0) => parts.push("all is well".to_owned()),
        _ => {
            let fixable = number(|check| check.fixable);
            let of_them = match failed + warned {
                1 => "it",
                all if all == fixable => "them",
                _ => "some of them",
            };
            let advice = format!("; lokt doctor --fix mends {of_them}");
            let advice = if fixable > 0 && !fixed { advice } else { String::new() };
            parts.extend((failed > 0).then(|| format!("{failed} failed")));
            let plural = if warned == 1 { "" } else { "s" };
            parts.extend((warned > 0).then(|| format!("{warned} warning{plural}")));
            if let Some(last) = parts.last_mut() {
                last.push_str(&advice);
            }
        }
    }
    let style = match (failed, warned) {
        (0, 0) => GOOD,
        (0, _) => HELD,
        _ => BAD,
    };
    (format!("Result: {}", parts.join(", ")), style)
}

impl Page {
    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    fn check(&mut self, check: &Check, width: usize) {
        let mark = match check.status {
            _ if check.skipped => SKIPPED,
            Status::Ok => FINE,
            Status::Warn => DOUBTFUL,
            Status::Fail => WRONG,
        };
        let style = if check.skipped || check.status == Status::Ok { DIM } else { PLAIN };
        let name = padded(&check.name.replace('_', " "), width);
        self.marked("", &mark, 6, &format!("{name}  "), (style, &check.message));
        let below = if self.is_drawn() { "    " } else { "         " };
        check.items.iter().for_each(|item| self.marked(below, &ITEM, 1, "", (PLAIN, item)));
        check.fixed.iter().for_each(|fixed| self.marked(below, &FIXED, 1, "", (PLAIN, fixed)));
        check.advice.iter().for_each(|advice| self.marked(below, &ADVICE, 1, "", (STRONG, advice)));
    }

    fn is_drawn(&self) -> bool {
        self.screen.columns.is_some()
    }

    /// A mark, a label, and text that goes on below its own beginning; `plain` is the least width of a plain mark.
    fn marked(&mut self, indent: &str, mark: &Mark, plain: usize, label: &str, (style, text): (Style, &str)) {
        let drawn = self.is_drawn();
        let mark_text = if drawn { mark.drawn.to_owned() } else { padded(mark.plain, plain) };
        let hang = indent.width() + mark_text.width() + 1 + label.width();
        let text = printable(text);
        let lines = match self.screen.columns {
            Some(columns) => wrapped(&text, columns.min(WIDEST).saturating_sub(hang)),
            None => vec![text],
        };
        for (at, line) in lines.iter().enumerate() {
            let line = self.screen.paint(style, line);
            match at {
                0 => {
                    self.line(&format!("{indent}{} {label}{line}", self.screen.paint(mark.style, &mark_text)))
                }
                _ => self.line(&format!("{}{line}", " ".repeat(hang))),
            }
        }
    }
}

/// Text in lines of at most `room` columns, broken between words; a longer word has a line of its own.
fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.width() + 1 + word.width() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnosis() -> Diagnosis {
        let fine = Check { name: "root", ..Check::ok("LOKT_ROOT names it") };
        let wrong =
            Check { name: "stale_records", ..Check::warn("2 left behind, as two of those who held it died") };
        let wrong = wrong.naming(["\"x\": \u{1b}[31m".to_owned()]).advise("lokt doctor --fix");
        let skipped = Check { name: "flock", ..Check::skipped() };
        let source = Some(RootSource::Environment);
        Diagnosis { path: "/srv/\u{7}locks".into(), source, checks: vec![fine, wrong, skipped] }
    }

    #[test]
    fn a_terminal_gets_marks_in_colour_and_lines_that_fit() {
        let screen = Screen { columns: Some(40), colour: true };
        let text = text(&diagnosis(), false, screen);
        assert!(text.contains("\u{1b}[32m✓\u{1b}[0m root"), "{text}");
        assert!(text.contains("\u{1b}[33m!\u{1b}[0m stale records  2 left behind, as two\n"), "{text}");
        assert!(text.contains("\n                 of those who held it\n"), "{text}");
        assert!(
            text.contains("    \u{1b}[2m·\u{1b}[0m \"x\": \\u{1b}[31m\n"),
            "what a file says is inert: {text}"
        );
        assert!(text.contains("/srv/\\u{7}locks"), "so is the path: {text}");
        assert!(
            text.ends_with("\u{1b}[33mResult: 1 warning\u{1b}[0m\n"),
            "what was skipped is no warning: {text}"
        );
    }

    #[test]
    fn what_is_no_terminal_gets_words_in_whole_lines() {
        let text = text(&diagnosis(), false, Screen::NONE);
        assert!(
            text.contains("\n[WARN] stale records  2 left behind, as two of those who held it died\n"),
            "{text}"
        );
        assert!(text.contains("\n         -> lokt doctor --fix\n"), "{text}");
        assert!(text.contains("\n[SKIP] flock          not looked at\n"), "{text}");
    }

    #[test]
    fn text_is_broken_between_words() {
        assert_eq!(wrapped("a file was written", 10), ["a file was", "written"]);
        assert_eq!(wrapped("a /very/long/path here", 6), ["a", "/very/long/path", "here"]);
        assert_eq!(wrapped("", 10), [""]);
    }
}
