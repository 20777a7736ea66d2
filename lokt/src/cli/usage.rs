//! Arguments that make no sense: what is wrong with them, and what to write instead.

use std::error::Error as _;
use std::ffi::{OsStr, OsString};

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::exit::Exit;
use super::output;
use crate::words;

/// A complaint is cut off after so many characters.
const LONGEST_LINE: usize = 400;

/// Options of the Go tool that are either there or not.
const SWITCHES: [&str; 7] =
    ["--wait", "--json", "--force", "--break-stale", "--all", "--prune-expired", "--tail"];

/// What other tools call our commands.
const OTHER_WORDS: [(&str, &[&str]); 13] = [
    ("guard", &["run", "exec", "with", "do", "hold"]),
    ("lock", &["acquire", "take", "get", "claim", "grab"]),
    ("unlock", &["release", "rm", "remove", "delete", "del", "free", "drop", "break", "steal"]),
    ("renew", &["refresh", "extend", "heartbeat", "touch", "keepalive"]),
    ("status", &["list", "ls", "ps", "show", "info", "locks", "top", "watch", "holders"]),
    ("why", &["explain", "who", "blame", "describe", "inspect"]),
    ("exists", &["check", "test", "is-locked", "held"]),
    ("freeze", &["pause", "block", "disable", "suspend"]),
    ("unfreeze", &["thaw", "resume", "unblock", "enable"]),
    ("audit", &["log", "logs", "history", "events", "tail"]),
    ("doctor", &["diagnose", "verify", "validate", "health", "fsck"]),
    ("completions", &["completion", "complete"]),
    ("prime", &["init", "setup", "agents", "instructions"]),
];

/// What the Go tool takes too: `-ttl` for `--ttl`, `--json=true` for `--json`. And `lokt help --help`, which clap has no
/// flag for.
pub(super) fn go_style(arguments: Vec<OsString>) -> Vec<OsString> {
    let mut own = true;
    let mut taken = Vec::with_capacity(arguments.len());
    for argument in arguments {
        own &= argument != "--";
        let argument = match (&argument, taken.len()) {
            (flag, 2) if taken[1] == "help" && (flag == "--help" || flag == "-h") => "help".into(),
            (flag, 1..) if own && is_go_flag(flag) => {
                let mut long = OsString::from("-");
                long.push(flag);
                long
            }
            _ => argument,
        };
        match argument.to_str().filter(|_| own).and_then(switch) {
            Some((switch, true)) => taken.push(switch.into()),
            Some((_, false)) => {}
            None => taken.push(argument),
        }
    }
    taken
}

fn is_go_flag(argument: &OsStr) -> bool {
    let bytes = argument.as_encoded_bytes();
    let is_name = !bytes.iter().any(u8::is_ascii_whitespace);
    bytes.len() > 2 && bytes[0] == b'-' && bytes[1].is_ascii_lowercase() && is_name
}

/// A switch that is set in Go's way, and to what.
fn switch(argument: &str) -> Option<(&str, bool)> {
    let (flag, value) = argument.split_once('=')?;
    let value = value.parse().ok()?;
    SWITCHES.contains(&flag).then_some((flag, value))
}

/// One clear line for bad usage, and one with what to do; help and version as they are.
pub(super) fn explain(error: &clap::Error, arguments: &[OsString]) -> Exit {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return output::page(&error.render()).err().unwrap_or(Exit::Ok);
    }
    let command = arguments.get(1).map(|command| command.to_string_lossy()).unwrap_or_default();
    let end = arguments.iter().position(|argument| argument == "--");
    let last = end.and_then(|end| arguments.get(end.checked_sub(1)?)?.to_str());
    let complaint = Complaint { error, command: &command, runs: end.is_some(), last };
    output::say(&shortened(&complaint.message()));
    output::say(&shortened(&format!("hint: {}", complaint.hint())));
    Exit::Usage
}

/// One line for people: what was given may be as long as a file.
fn shortened(line: &str) -> String {
    let line = words::printable(line);
    match line.char_indices().nth(LONGEST_LINE) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// Clap's error, in our words.
struct Complaint<'a> {
    error: &'a clap::Error,
    /// The command that was asked for, as it was written.
    command: &'a str,
    /// There is a `--`, as before the command of a guard.
    runs: bool,
    /// What stands before that.
    last: Option<&'a str>,
}

impl Complaint<'_> {
    fn message(&self) -> String {
        let argument = || self.first(ContextKind::InvalidArg);
        match self.error.kind() {
            ErrorKind::MissingRequiredArgument => self.missing(),
            ErrorKind::UnknownArgument if argument().starts_with('-') => {
                format!("unknown option \"{}\"", argument())
            }
            ErrorKind::UnknownArgument if self.without_value().is_some() => {
                format!("{} needs a value", self.without_value().unwrap_or_default())
            }
            ErrorKind::UnknownArgument => format!("unexpected argument \"{}\"", argument()),
            ErrorKind::InvalidSubcommand => {
                let command = self.first(ContextKind::InvalidSubcommand);
                format!("unknown command \"{command}\"")
            }
            ErrorKind::ArgumentConflict => {
                let prior = self.all(ContextKind::PriorArg);
                let prior: Vec<&str> = prior.iter().map(|prior| plain(prior)).collect();
                format!("{} cannot be combined with {}", plain(&argument()), prior.join(", "))
            }
            ErrorKind::TooManyValues => format!("{} takes no value", plain(&argument())),
            ErrorKind::ValueValidation => self.bad_value(),
            ErrorKind::InvalidValue => self.no_such_value(),
            ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                "a command is missing".to_owned()
            }
            ErrorKind::InvalidUtf8 => "an argument is not valid UTF-8".to_owned(),
            _ => self.in_claps_words(),
        }
    }

    fn missing(&self) -> String {
        let missing = self.all(ContextKind::InvalidArg);
        let of = |what: &str| missing.iter().any(|argument| argument.starts_with(what));
        match (of("<NAME>"), of("<CMD>"), of("--wait")) {
            (_, _, true) => "--timeout requires --wait".to_owned(),
            _ if of("--watch") => "--interval requires --watch".to_owned(),
            (true, true, _) => "the lock's name and the command are missing".to_owned(),
            (true, false, _) if self.command == "unlock" => "nothing to release is given".to_owned(),
            (true, false, _) => "the lock's name is missing".to_owned(),
            (false, true, _) => "the command is missing".to_owned(),
            _ => format!("{} is missing", self.plain_all(ContextKind::InvalidArg).join(", ")),
        }
    }

    /// A value that its parser refused, whose words say why.
    fn bad_value(&self) -> String {
        let argument = self.first(ContextKind::InvalidArg);
        let why = self.error.source().map(ToString::to_string);
        let why = why.unwrap_or_else(|| self.in_claps_words());
        match plain(&argument) {
            option if option.starts_with("--") => format!("{option}: {why}"),
            _ => why,
        }
    }

    fn no_such_value(&self) -> String {
        let argument = self.first(ContextKind::InvalidArg);
        let option = plain(&argument);
        match self.first(ContextKind::InvalidValue) {
            value if value.is_empty() => format!("{option} needs a value"),
            value => {
                let known = self.all(ContextKind::ValidValue);
                let known = match known.split_last() {
                    Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
                    _ => known.concat(),
                };
                format!("{option} can be {known}, not \"{value}\"")
            }
        }
    }

    fn in_claps_words(&self) -> String {
        let text = self.error.render().to_string();
        let first = text.split("\n\n").next().unwrap_or_default();
        let words: Vec<&str> = first.split_whitespace().collect();
        words.join(" ").trim_start_matches("error: ").to_owned()
    }

    fn hint(&self) -> String {
        let missing = self.error.kind() == ErrorKind::MissingRequiredArgument;
        let similar = [ContextKind::SuggestedArg, ContextKind::SuggestedValue]
            .into_iter()
            .find_map(|kind| self.all(kind).pop());
        match (self.error.kind(), similar) {
            _ if self.meant().is_some() => {
                format!("did you mean {}?", self.meant().unwrap_or_default())
            }
            (ErrorKind::InvalidSubcommand, _) if self.runs => {
                format!("to run a command under a lock: lokt guard {} -- CMD", self.command)
            }
            (ErrorKind::InvalidSubcommand, _) => "lokt --help lists the commands".to_owned(),
            (_, Some(similar)) => format!("did you mean {}?", plain(&similar)),
            _ if missing && self.command == "unlock" => "give a NAME, --owner OWNER or --all".to_owned(),
            (ErrorKind::UnknownArgument, None) if self.is_misplaced_command() => {
                let argument = self.first(ContextKind::InvalidArg);
                match self.runs {
                    true => format!("several names are one argument: lokt guard NAME,{argument} -- CMD"),
                    false => format!("the command goes after --: lokt guard NAME -- {argument}"),
                }
            }
            _ if missing
                && self.all(ContextKind::InvalidArg).iter().any(|missing| missing.starts_with("--wait")) =>
            {
                "to wait so long: --wait --timeout 5m".to_owned()
            }
            _ if missing && self.command == "guard" => "lokt guard NAME -- CMD".to_owned(),
            _ if missing && self.command == "freeze" => "lokt freeze NAME --ttl 30m".to_owned(),
            _ if missing && !self.all(ContextKind::InvalidArg).concat().contains("--") => {
                format!("lokt {} {}", self.command, self.plain_all(ContextKind::InvalidArg).join(" "))
            }
            _ if self.is_of_a_command() => {
                format!("options come after their command: lokt COMMAND {}", self.command)
            }
            _ if self.command.starts_with('-') => "see lokt --help".to_owned(),
            _ => format!("see lokt {} --help", self.command),
        }
    }

    /// Our command for what was asked, or nearly asked, in our word for it or in another tool's.
    fn meant(&self) -> Option<String> {
        let asked = self.first(ContextKind::InvalidSubcommand).to_ascii_lowercase();
        if asked.is_empty() {
            return None;
        }
        let ours = super::command();
        let ours = ours.get_subcommands().filter(|command| !command.is_hide_set());
        let ours: Vec<&str> = ours.map(clap::Command::get_name).collect();
        let others = OTHER_WORDS.iter().filter(|(command, _)| ours.contains(command));
        let others = others.flat_map(|(command, words)| words.iter().map(|word| (*word, *command)));
        let near = |word: &str| strsim::osa_distance(word, &asked);
        let known = ours.iter().map(|command| (*command, *command)).chain(others);
        let (word, command) = known.min_by_key(|(word, _)| near(word))?;
        // With a command behind it, it is the name of a lock, unless it is nearly guard itself.
        let slips = if self.runs && command != "guard" { 0 } else { asked.len() / 3 };
        (near(word) <= slips).then(|| command.to_owned())
    }

    /// Whether an option stands in the command's place that some command has.
    fn is_of_a_command(&self) -> bool {
        let has = |command: &clap::Command| {
            command
                .get_arguments()
                .filter_map(clap::Arg::get_long)
                .any(|long| self.command == format!("--{long}"))
        };
        super::command().get_subcommands().any(has)
    }

    fn is_misplaced_command(&self) -> bool {
        let is_option = self.first(ContextKind::InvalidArg).starts_with('-');
        self.command == "guard" && !is_option && self.without_value().is_none()
    }

    /// The option that has taken the `--` for its value.
    fn without_value(&self) -> Option<&str> {
        let command = super::command();
        let command = command.get_subcommands().find(|command| command.get_name() == self.command)?;
        let takes_one = |option: &str| {
            let mut named = command.get_arguments().filter(|argument| argument.get_long() == Some(option));
            named.any(|argument| argument.get_action().takes_values())
        };
        self.last.filter(|last| last.strip_prefix("--").is_some_and(takes_one))
    }

    fn first(&self, kind: ContextKind) -> String {
        self.all(kind).into_iter().next().unwrap_or_default()
    }

    fn plain_all(&self, kind: ContextKind) -> Vec<String> {
        self.all(kind).iter().map(|argument| plain(argument).to_owned()).collect()
    }

    fn all(&self, kind: ContextKind) -> Vec<String> {
        match self.error.get(kind) {
            Some(ContextValue::String(text)) => vec![text.clone()],
            Some(ContextValue::Strings(texts)) => texts.clone(),
            _ => Vec::new(),
        }
    }
}

/// An argument as it is typed: `--ttl` of `--ttl <DURATION>`, `NAME` of `[NAME]`.
fn plain(argument: &str) -> &str {
    let argument = argument.split(' ').next().unwrap_or_default();
    argument.trim_matches(['<', '>', '[', ']', '.'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(arguments: &[&str]) -> Vec<String> {
        let arguments = arguments.iter().map(OsString::from).collect();
        let taken = go_style(arguments).into_iter();
        taken.map(|text| text.into_string().unwrap()).collect()
    }

    #[test]
    fn takes_what_the_go_tool_takes() {
        assert_eq!(
            taken(&["lokt", "lock", "-ttl", "5m", "-json=true", "--wait=false", "x"]),
            ["lokt", "lock", "--ttl", "5m", "--json", "x"]
        );
        assert_eq!(taken(&["lokt", "help", "-h"]), ["lokt", "help", "help"]);
    }

    #[test]
    fn a_complaint_is_a_line_and_no_page() {
        assert_eq!(shortened("é"), "é");
        let page = "é".repeat(LONGEST_LINE + 1);
        assert_eq!(shortened(&page).chars().count(), LONGEST_LINE + 1);
        assert_eq!(shortened(&page[2..]), page[2..]);
    }

    #[test]
    fn leaves_the_guarded_command_alone() {
        let arguments = ["lokt", "guard", "x", "--", "cc", "-std=c99", "--json=true"];
        assert_eq!(taken(&arguments), arguments);
        let arguments = ["lokt", "guard", "version", "--", "version"];
        assert_eq!(taken(&arguments), arguments);
    }
}
