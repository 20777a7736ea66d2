//! The only file that prints: results on stdout, messages on stderr as `lokt: …`.

#![expect(clippy::disallowed_methods, reason = "this is the door")]

use std::borrow::Cow;
use std::io::{BufWriter, StdoutLock, Write};
use std::time::Duration;

use anstyle::Style;
use clap::builder::StyledStr;
use rustix::pipe::PIPE_BUF;
use serde_json::Value;

use super::exit::Exit;
use super::screen::{BAD, DIM, FROZEN, HELD, STRONG, Screen};
use crate::host::signals::end_by_signals;
use crate::host::{have_room, write_soon};
use crate::protocol::{Name, Refusal};
use crate::{Error, words};

/// How long a message may take to find room on stderr.
const PATIENCE: Duration = Duration::from_millis(100);

/// What a command has to say, once.
pub(super) struct Report {
    /// For stdout: text, or JSON.
    pub(super) result: Option<Output>,
    /// For stderr, a line each.
    pub(super) messages: Vec<String>,
    /// What has been done all the same, and how to undo it, if the result can't be written.
    pub(super) unsaid: Vec<String>,
    /// How the program ends.
    pub(super) exit: Exit,
}

/// A result in the form that was asked for.
pub(super) enum Output {
    Text(String),
    Json(Value),
    /// JSON in one line.
    JsonLine(Value),
}

impl Output {
    fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Json(value) => Cow::Owned(inert(&format!("{value:#}"))),
            Self::JsonLine(value) => Cow::Owned(inert(&value.to_string())),
        }
    }
}

impl Report {
    /// Success, with a result.
    pub(super) fn ok(result: Output) -> Self {
        Self { result: Some(result), ..Self::silent(Exit::Ok) }
    }

    /// Nothing to say.
    pub(super) fn silent(exit: Exit) -> Self {
        Self { result: None, messages: Vec::new(), unsaid: Vec::new(), exit }
    }

    /// A failure that has been put into words.
    pub(super) fn failed(error: &Error) -> Self {
        Self { messages: messages(error), ..Self::silent(Exit::from(error)) }
    }
}

/// The error and its hints.
fn messages(error: &Error) -> Vec<String> {
    let mut messages = vec![error.to_string()];
    messages.extend(error.hints().into_iter().map(|hint| format!("hint: {hint}")));
    messages
}

/// Prints the last report. If it has to wait for whoever reads it, a signal may end that: there is nothing left to do.
pub(super) fn conclude(report: &Report) -> Exit {
    let is_silent = report.result.is_none() && report.messages.is_empty();
    if !is_silent && !have_room(&[rustix::stdio::stdout(), rustix::stdio::stderr()]) {
        end_by_signals();
    }
    print(report)
}

/// Prints a report.
pub(super) fn print(report: &Report) -> Exit {
    let tone = if report.exit == Exit::Ok { STRONG } else { BAD.bold() };
    report.messages.iter().for_each(|message| write_line(message, tone));
    match report.result.as_ref().map_or(Ok(()), show) {
        Err(Exit::Failed) => {
            report.unsaid.iter().for_each(|message| write_line(message, tone));
            Exit::Failed
        }
        _ => report.exit,
    }
}

/// Prints a result.
///
/// # Errors
///
/// How the program ends when nobody takes it: well if its reader has gone away.
pub(super) fn show(result: &Output) -> Result<(), Exit> {
    ended(writeln(&result.text()))
}

/// As [`show`]; if it may have to wait for whoever reads it, a signal ends the program.
///
/// # Errors
///
/// As for [`show`].
pub(super) fn show_or_end(result: &Output) -> Result<(), Exit> {
    let text = result.text();
    if text.len() > PIPE_BUF || !have_room(&[rustix::stdio::stdout()]) {
        end_by_signals();
    }
    ended(writeln(&text))
}

fn ended<T>(written: std::io::Result<T>) -> Result<T, Exit> {
    written.map_err(|error| print(&unwritten(&error, Exit::Ok)))
}

/// What is to be said when a result could not be written. A reader that has gone away is no error of ours.
pub(super) fn unwritten(error: &std::io::Error, exit: Exit) -> Report {
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        return Report::silent(exit);
    }
    let message = format!("failed to write the result: {}", words::cause(error));
    Report { messages: vec![message], ..Report::silent(Exit::Failed) }
}

/// Stdout, for a result that is printed piece by piece.
pub(super) struct Stream(BufWriter<StdoutLock<'static>>);

impl Stream {
    pub(super) fn stdout() -> Self {
        Self(BufWriter::new(std::io::stdout().lock()))
    }

    /// Prints a line as it is.
    pub(super) fn line(&mut self, line: &str) -> std::io::Result<()> {
        self.text(line)?;
        self.text("\n")
    }

    /// Prints text as it is.
    pub(super) fn text(&mut self, text: &str) -> std::io::Result<()> {
        self.0.write_all(text.as_bytes())
    }

    /// Sees to it that all is printed.
    pub(super) fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()?;
        self.0.get_mut().flush()
    }
}

/// A value as an element of an array that is printed piece by piece.
pub(super) fn element(value: &Value) -> String {
    format!("  {}", inert(&format!("{value:#}")).replace('\n', "\n  "))
}

/// JSON whose strings have the same value, but show a terminal nothing to obey: what JSON itself need not escape.
fn inert(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && words::is_obeyed(c) {
            let units = c.encode_utf16(&mut [0; 2]).to_vec();
            units.iter().for_each(|unit| safe.push_str(&format!("\\u{unit:04x}")));
        } else {
            safe.push(c);
        }
    }
    safe
}

fn writeln(text: &str) -> std::io::Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", text.trim_end_matches('\n'))?;
    out.flush()
}

/// Prints a failure.
pub(super) fn fail(error: &Error) -> Exit {
    conclude(&Report::failed(error))
}

/// Prints text to stdout as it is.
pub(super) fn out(text: &str) {
    // Whoever closed it did not want it.
    let _ = writeln(text);
}

/// Prints clap's own text, coloured on a terminal.
///
/// # Errors
///
/// As for [`show`].
pub(super) fn page(text: &StyledStr) -> Result<(), Exit> {
    let text = if Screen::stdout().colour { text.ansi().to_string() } else { text.to_string() };
    show(&Output::Text(text))
}

/// Prints what is wrong to stderr: one line, whatever is in it.
pub(super) fn say(message: &str) {
    write_line(message, BAD.bold());
}

fn line_of(message: &str, tone: Style) -> String {
    format!("{}\n", painted(&words::printable(message), tone, Screen::stderr()))
}

fn write_line(message: &str, tone: Style) {
    let line = line_of(message, tone);
    // In one write: others may share the terminal, or the log. With stderr gone there is nowhere to complain.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// `lokt: ` and the message; a hint steps back behind what it is about.
fn painted(message: &str, tone: Style, screen: Screen) -> String {
    let by = |style| screen.paint(style, "lokt:");
    match message.split_once(": ") {
        Some(("hint", hint)) => format!("{} {} {hint}", by(DIM), screen.paint(FROZEN, "hint:")),
        Some(("warning", what)) => format!("{} {} {what}", by(STRONG), screen.paint(HELD, "warning:")),
        _ => format!("{} {message}", by(tone)),
    }
}

/// Says it, if that can be done soon: whoever has something to attend to must not wait for a full pipe, or for a
/// terminal that was told to hold (Ctrl-S).
pub(super) fn say_soon(message: &str) {
    let _ = write_soon(rustix::stdio::stderr(), line_of(message, STRONG).as_bytes(), PATIENCE);
}

/// Writes to the terminal what it obeys, if that can be done soon; `false` if the terminal takes nothing at the moment.
///
/// # Errors
///
/// As for [`show`].
pub(super) fn draw_soon(text: &str, patience: Duration) -> Result<bool, Exit> {
    ended(write_soon(rustix::stdio::stdout(), text.as_bytes(), patience))
}

/// Rewrites the one line that a person watches.
pub(super) fn rewrite(line: &str) {
    let line = format!("\r\x1b[2K{line}");
    let _ = write_soon(rustix::stdio::stderr(), line.as_bytes(), Duration::ZERO);
}

/// What is to be said to one who asked for a lock by its id, if another one is there now.
pub(super) fn another(name: &Name, id: &str, error: &Error) -> Report {
    let mut report = Report::failed(error);
    if let Some(Refusal::NotOwner { record, .. }) = error.refusal()
        && record.lock_id != id
    {
        report.messages = vec![
            format!("lock \"{name}\" is not the one with the id {id}: {} has it now", words::person(record)),
            format!("hint: see who that is: lokt why {name}"),
        ];
    }
    report
}
