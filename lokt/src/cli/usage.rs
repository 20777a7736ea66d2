//! Arguments that make no sense: what is wrong with them, and what to write instead.

use std::error::Error as _;
use std::ffi::{OsStr, OsString};

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::exit::Exit;
use super::{output, similar};
use crate::words;

/// A complaint is cut off after so many characters.
const LONGEST_LINE: usize = 400;

/// Options of the Go tool that are either there or not.
const SWITCHES: [&str; 7] =
    ["--wait", "--json", "--force", "--break-stale", "--all", "--prune-expired", "--tail"];

/// What the Go tool takes too: `-ttl` for `--ttl`, `--json=true` for `--json`. And `lokt help --help`, which clap has no
/// flag for.
pub(super) fn go_style(arguments: Vec<OsString>) -> Vec<OsString> {
    let mut own = true;
    let mut taken = Vec::with_capacity(arguments.len());
    for argument in arguments {
        own &= argument != "--";
        let argument = match (&argument, taken.len()) {
            (flag, 2) if taken[1] == "help" && (flag == "--help" || flag == "-h") => "help".into(),
            (_, 1..) if own => lengthened(argument),
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

/// `--ttl` for `-ttl`; whatever else as it is.
fn lengthened(argument: OsString) -> OsString {
    if !is_go_flag(&argument) {
        return argument;
    }
    let mut long = OsString::from("-");
    long.push(argument);
    long
}

/// A switch that is set in Go's way, and to what.
fn switch(argument: &str) -> Option<(&str, bool)> {
    let (flag, value) = argument.split_once('=')?;
    let value = value.parse().ok()?;
    SWITCHES.contains(&flag).then_some((flag, value))
}

/// One clear line for bad usage, and one with what to do; help and version as they are. `typed` is what [`go_style`] has
/// made the arguments of.
pub(super) fn explain(error: &clap::Error, arguments: &[OsString], typed: &[OsString]) -> Exit {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return output::page(&error.render()).err().unwrap_or(Exit::Ok);
    }
    let command = arguments.get(1).map(|command| command.to_string_lossy()).unwrap_or_default();
    let end = arguments.iter().position(|argument| argument == "--");
    let last = end.and_then(|end| arguments.get(end.checked_sub(1)?)?.to_str());
    let typed = typed.iter().take_while(|argument| *argument != "--");
    let typed: Vec<String> = typed.map(|argument| argument.to_string_lossy().into_owned()).collect();
    let complaint =
        Complaint { error, command: &command, arguments, typed: &typed, runs: end.is_some(), last };
    output::say(&shortened(&as_typed(complaint.message(), &typed)));
    output::say(&shortened(&format!("hint: {}", complaint.hint())));
    Exit::Usage
}

/// A message that quotes what was typed, and not what [`go_style`] has made of it.
fn as_typed(message: String, typed: &[String]) -> String {
    let flags = typed.iter().filter(|argument| is_go_flag(OsStr::new(argument)));
    // An option is quoted without its value.
    let quoted = flags.flat_map(|flag| [flag.as_str(), flag.split('=').next().unwrap_or_default()]);
    quoted.fold(message, |message, flag| message.replace(&format!("\"-{flag}\""), &format!("\"{flag}\"")))
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
    /// What was asked for, as clap has seen it.
    arguments: &'a [OsString],
    /// The same as it was typed, as far as it is ours and not the guarded command's.
    typed: &'a [String],
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
            ErrorKind::InvalidSubcommand if self.helps_with().is_some() => {
                format!("unexpected argument \"{}\"", self.first(ContextKind::InvalidSubcommand))
            }
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
            (true, false, _) if self.command == "unlock" => match self.of_one_lock().last() {
                Some((option, _)) => format!("{option} needs the NAME of the lock"),
                None => "nothing to release is given".to_owned(),
            },
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
                let known = similar::either(&self.all(ContextKind::ValidValue));
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
        if let Some((option, value)) = self.taken_for_an_option() {
            return format!("if it is the value of {option}: {option}={}", words::shell_word(value));
        }
        if let Some(command) = self.helps_with() {
            return format!("help is of one command: lokt help {command}");
        }
        match (self.error.kind(), self.meant()) {
            (_, meant) if !meant.is_empty() => format!("did you mean {}?", similar::either(&meant)),
            (ErrorKind::InvalidSubcommand, _) if self.runs => {
                format!("to run a command under a lock: lokt guard {} -- CMD", self.command)
            }
            (ErrorKind::InvalidSubcommand, _) => "lokt --help lists the commands".to_owned(),
            _ if missing && self.command == "unlock" => match &*self.of_one_lock() {
                [] => "give a NAME, --owner OWNER or --all".to_owned(),
                options => {
                    let options: Vec<String> =
                        options.iter().map(|(option, value)| format!("{option}{value}")).collect();
                    format!("lokt unlock NAME {}", options.join(" "))
                }
            },
            (ErrorKind::UnknownArgument, _) if self.is_misplaced_command() => {
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

    /// Of our commands, options and values those that are nearest to what is none.
    fn meant(&self) -> Vec<String> {
        let asked = |kind| self.first(kind);
        match self.error.kind() {
            ErrorKind::InvalidSubcommand => {
                similar::commands(&asked(ContextKind::InvalidSubcommand), self.runs)
            }
            ErrorKind::UnknownArgument if asked(ContextKind::InvalidArg).starts_with('-') => {
                let (program, asked) = (super::command(), asked(ContextKind::InvalidArg));
                let command = program.find_subcommand(self.command).unwrap_or(&program);
                let options = command.get_arguments().filter(|argument| !argument.is_hide_set());
                let options: Vec<&str> = options.filter_map(clap::Arg::get_long).collect();
                let meant = similar::words(asked.trim_start_matches('-'), &options);
                meant.iter().map(|option| format!("--{option}")).collect()
            }
            ErrorKind::InvalidValue => {
                let known = self.all(ContextKind::ValidValue);
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                let meant = similar::words(&asked(ContextKind::InvalidValue), &known);
                meant.into_iter().map(str::to_owned).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The command that help is asked of, if it is what stands behind it that is wrong.
    fn helps_with(&self) -> Option<&str> {
        let command = self.arguments.get(2)?.to_str()?;
        let is_more = self.error.kind() == ErrorKind::InvalidSubcommand && self.command == "help";
        (is_more && super::command().find_subcommand(command).is_some()).then_some(command)
    }

    /// The options of `unlock` that are there and ask for a name, the last with what follows it.
    fn of_one_lock(&self) -> Vec<(&'static str, &'static str)> {
        let is_there = |option: &str| {
            let named = |argument: &OsString| {
                argument.to_str().and_then(|text| text.split('=').next()) == Some(option)
            };
            self.arguments.iter().any(named)
        };
        let mut all = vec![("--force", ""), ("--break-stale", ""), ("--lock-id", " ID")];
        all.retain(|(option, _)| is_there(option));
        all
    }

    /// The option before what was taken for an option, and that, which may be its value.
    fn taken_for_an_option(&self) -> Option<(String, &str)> {
        let taken = self.first(ContextKind::InvalidArg);
        if self.error.kind() != ErrorKind::UnknownArgument || !taken.starts_with('-') {
            return None;
        }
        let long = |argument: &str| lengthened(argument.into()).to_string_lossy().into_owned();
        // Of a word after one dash, clap names the first letter.
        let is_taken = |argument: &str| match long(argument).strip_prefix(&taken) {
            Some(rest) => rest.is_empty() || rest.starts_with('=') || taken.chars().count() == 2,
            None => false,
        };
        let pairs = self.typed.windows(2).map(|pair| (long(&pair[0]), pair[1].as_str()));
        let mut pairs = pairs.filter(|(option, value)| is_taken(value) && self.takes_value(option));
        pairs.next()
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
        self.last.filter(|last| self.takes_value(last))
    }

    /// Whether it is an option of the command that takes a value.
    fn takes_value(&self, option: &str) -> bool {
        let program = super::command();
        let Some((command, long)) = program.find_subcommand(self.command).zip(option.strip_prefix("--"))
        else {
            return false;
        };
        let mut named = command.get_arguments().filter(|argument| argument.get_long() == Some(long));
        named.any(|argument| argument.get_action().takes_values())
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
