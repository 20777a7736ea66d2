//! `lokt --help`: the commands in groups, by what one wants to do.

use std::fmt::Write as _;

use clap::Command;
use clap::builder::StyledStr;

/// Which commands belong together, in the order in which people meet them. What is in no group comes last.
pub const GROUPS: [(&str, &[&str]); 4] = [
    ("Every day", &["guard", "lock", "unlock", "renew"]),
    ("Looking", &["status", "why", "exists", "audit"]),
    ("Freezing", &["freeze", "unfreeze"]),
    ("Setting up", &["doctor", "prime", "completions", "demo", "version", "help"]),
];

/// The command of the whole program, with a help that shows its commands in groups.
pub(super) fn grouped(mut command: Command) -> Command {
    // Adds `help`, which is a command as well.
    command.build();
    let mut template = StyledStr::new();
    let _ = write!(template, "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n");
    for (title, commands) in groups(&command) {
        let (bold, heading) = (command.get_styles().get_literal(), command.get_styles().get_header());
        let _ = writeln!(template, "{heading}{title}:{heading:#}");
        for one in commands {
            let (name, about) = (one.get_name(), one.get_about().cloned().unwrap_or_default());
            let _ = writeln!(template, "  {bold}{name:<11}{bold:#}  {about}");
        }
        let _ = writeln!(template);
    }
    let heading = command.get_styles().get_header();
    let _ = write!(template, "{heading}Options:{heading:#}\n{{options}}{{after-help}}");
    command.help_template(template)
}

/// Each group with its commands, as far as there are any.
fn groups(command: &Command) -> Vec<(&'static str, Vec<&Command>)> {
    let of = |names: &[&str]| names.iter().filter_map(|name| command.find_subcommand(name)).collect();
    let mut groups: Vec<(&str, Vec<&Command>)> =
        GROUPS.iter().map(|(title, names)| (*title, of(names))).collect();
    let is_grouped = |one: &Command| GROUPS.iter().any(|(_, names)| names.contains(&one.get_name()));
    groups.push((
        "More",
        command.get_subcommands().filter(|one| !one.is_hide_set() && !is_grouped(one)).collect(),
    ));
    groups.retain(|(_, commands)| !commands.is_empty());
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_belongs_to_a_group() {
        let mut command = crate::cli::command();
        command.build();
        assert!(!groups(&command).iter().any(|(title, _)| *title == "More"));
    }

    #[test]
    fn a_command_of_no_group_is_shown_as_well_unless_it_is_hidden() {
        let secret = Command::new("secret").hide(true);
        let command = Command::new("lokt")
            .subcommand(Command::new("guard"))
            .subcommand(Command::new("new"))
            .subcommand(secret);
        let help = grouped(command).render_help().to_string();
        assert!(
            help.contains("Every day:\n  guard") && help.contains("More:\n  new") && !help.contains("secret"),
            "{help}"
        );
    }
}
