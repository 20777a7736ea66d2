//! `cargo xtask man`: a man page for the program and for each of its commands, from their own help.

mod facts;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Command};
use clap_mangen::roff::{Roff, bold, roman};
use xshell::Shell;

use self::facts::{EXIT_CODES, FILES, Fact, VARIABLES};
use crate::source::Source;
use crate::{console, paths};

#[derive(Args)]
pub struct Man {
    /// Where to write them [default: target/man]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Man {
    pub fn run(self, sh: &Shell) -> anyhow::Result<()> {
        let source = Source::of_workspace(sh)?;
        let out = self.out.unwrap_or_else(|| paths::target().join("man"));
        for page in pages(&source)? {
            let path = page.write_to(&out)?;
            console::line(&path.display().to_string());
        }
        Ok(())
    }
}

/// A page and the name of its file.
pub struct Page {
    pub file: String,
    pub text: String,
}

impl Page {
    /// Writes it, and returns where.
    pub fn write_to(&self, dir: &Path) -> anyhow::Result<PathBuf> {
        let path = dir.join(&self.file);
        fs::create_dir_all(dir)
            .and_then(|()| fs::write(&path, &self.text))
            .with_context(|| format!("failed to write {}", path.display()))?;
        Ok(path)
    }
}

/// All pages, the program's first.
pub fn pages(source: &Source) -> anyhow::Result<Vec<Page>> {
    let mut program = lokt::cli::command();
    program.build();
    let commands: Vec<&Command> =
        program.get_subcommands().filter(|one| !one.is_hide_set() && one.get_name() != "help").collect();
    let mut pages = vec![page(&program, &commands, source)?];
    for command in &commands {
        pages.push(page(command, &commands, source)?);
    }
    Ok(pages)
}

fn page(command: &Command, commands: &[&Command], source: &Source) -> anyhow::Result<Page> {
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let is_program = command.has_subcommands();
    let man = clap_mangen::Man::new(for_a_page(command))
        .title(name.to_uppercase())
        .date(source.date()?)
        .source(format!("lokt {}", source.version))
        .manual("User Commands");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    if is_program {
        list_of(commands).to_writer(&mut page)?;
    }
    man.render_options_section(&mut page)?;
    let mut rest = Roff::new();
    examples(&mut rest, command);
    let whose = (!is_program).then(|| command.get_name());
    section(&mut rest, "EXIT STATUS", &EXIT_CODES, whose);
    section(&mut rest, "ENVIRONMENT", &VARIABLES, whose);
    section(&mut rest, "FILES", &FILES, whose);
    see_also(&mut rest, &name, commands);
    rest.to_writer(&mut page)?;
    Ok(Page { file: format!("{name}.1"), text: tidied(&String::from_utf8(page)?) })
}

/// The command as a page needs it: with the usage of its help, which knows of the `--` before a guarded command, and
/// without saying twice what it is.
fn for_a_page(command: &Command) -> Command {
    let usage = command.clone().render_usage().to_string();
    let mut command = command.clone().override_usage(usage.trim_start_matches("Usage:").trim().to_owned());
    let long = command.get_long_about().map(ToString::to_string).unwrap_or_default();
    if let Some((_, more)) = long.split_once("\n\n") {
        command = command.long_about(more.to_owned());
    }
    command
}

/// Every piece begins with a definition that is needed once; and some break a line twice.
fn tidied(page: &str) -> String {
    let is_preamble = |line: &str| line.starts_with(".ie \\n(.g") || line.starts_with(".el .ds Aq");
    let preamble: Vec<&str> = page.lines().take_while(|line| is_preamble(line)).collect();
    let rest = page.lines().filter(|line| !is_preamble(line) && !line.is_empty());
    let page: String = preamble.iter().copied().chain(rest).map(|line| format!("{line}\n")).collect();
    page.replace("\n.br\n.br\n", "\n.br\n")
}

/// The commands in their groups.
fn list_of(commands: &[&Command]) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["COMMANDS"]);
    for (title, names) in lokt::cli::GROUPS {
        let member = |name: &&str| commands.iter().find(|one| one.get_name() == *name);
        let members: Vec<_> = names.iter().filter_map(member).collect();
        if members.is_empty() {
            continue;
        }
        roff.control("SS", [title]);
        for command in members {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            roff.control("TP", []).text([bold(reference(command)), roman("(1)")]).text([roman(about)]);
        }
    }
    roff
}

fn reference(command: &Command) -> String {
    command.get_display_name().unwrap_or(command.get_name()).to_owned()
}

/// The examples of the help, each with what is said of it.
fn examples(roff: &mut Roff, command: &Command) {
    let help = command.get_after_long_help().or(command.get_after_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    roff.control("SH", ["EXAMPLES"]);
    let lines = help.lines().skip_while(|line| !["Example:", "Examples:"].contains(line)).skip(1);
    for line in lines.take_while(|line| line.starts_with("  ")) {
        let (example, words) = line.trim().split_once("   ").unwrap_or((line.trim(), ""));
        roff.control("TP", []).text([bold(example)]).text([roman(words.trim_start_matches([' ', '#']))]);
    }
}

fn section(roff: &mut Roff, title: &str, facts: &[Fact], command: Option<&str>) {
    roff.control("SH", [title]);
    for fact in facts.iter().filter(|fact| fact.is_of(command)) {
        roff.control("TP", []).text([bold(fact.what)]).text([roman(fact.words)]);
    }
}

fn see_also(roff: &mut Roff, this: &str, commands: &[&Command]) {
    let mut others = vec!["lokt".to_owned()];
    others.extend(commands.iter().map(|command| reference(command)));
    others.push("flock".to_owned());
    others.retain(|other| other != this);
    roff.control("SH", ["SEE ALSO"]);
    for (place, other) in others.iter().enumerate() {
        let comma = if place + 1 < others.len() { "," } else { "" };
        roff.text([bold(other.as_str()), roman(format!("(1){comma}"))]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> Vec<Page> {
        pages(&Source { version: "1.2.3".to_owned(), seconds: 86_400 }).unwrap()
    }

    #[test]
    fn every_command_has_a_page_with_every_section() {
        let pages = made();
        let program = lokt::cli::command();
        for command in program.get_subcommands().filter(|one| !one.is_hide_set() && one.get_name() != "help")
        {
            let file = format!("lokt-{}.1", command.get_name());
            let page = pages.iter().find(|page| page.file == file).expect(&file);
            for part in [
                "NAME",
                "SYNOPSIS",
                "DESCRIPTION",
                "OPTIONS",
                "EXAMPLES",
                "\"EXIT STATUS\"",
                "ENVIRONMENT",
                "FILES",
            ] {
                let (_, text) = page.text.split_once(&format!("\n.SH {part}\n")).expect(part);
                assert!(!text.starts_with(".SH"), "{file}: nothing is said of {part}");
            }
        }
        assert_eq!(pages[0].file, "lokt.1");
        assert!(pages[0].text.contains("lokt\\-guard"), "{}", pages[0].text);
    }

    #[test]
    fn a_page_depends_on_the_source_and_not_on_today() {
        let page = made().swap_remove(1);
        let title = ".TH LOKT-GUARD 1 1970-01-02 \"lokt 1.2.3\" \"User Commands\"\n";
        assert!(page.text.contains(title), "{}", page.text);
    }

    #[test]
    fn the_usage_is_that_of_the_help() {
        assert!(made()[1].text.contains("[OPTIONS] <NAME> \\-\\- <CMD>..."), "{}", made()[1].text);
    }

    #[test]
    fn a_page_says_what_concerns_its_command() {
        let pages = made();
        let page = |file: &str| pages.iter().find(|page| page.file == file).unwrap().text.as_str();
        assert!(page("lokt-guard.1").contains("LOKT_TOKEN") && page("lokt-guard.1").contains("\\fB127\\fR"));
        assert!(!page("lokt-why.1").contains("LOKT_TOKEN") && !page("lokt-why.1").contains("127"));
    }

    #[test]
    fn the_commands_are_in_the_order_of_the_help() {
        let page = &made()[0].text;
        let (_, list) = page.split_once("\n.SH COMMANDS\n").unwrap();
        let at = |name: &&str| list.find(&format!("\\fBlokt\\-{name}\\fR"));
        for (title, names) in lokt::cli::GROUPS {
            let places: Vec<usize> = names.iter().filter_map(at).collect();
            assert!(places.is_sorted() && places.len() >= 2, "{title}: {places:?}");
        }
    }

    /// What is asked of the environment in any file of the program: `environment("HOME")`.
    fn variables(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        let of = |path: PathBuf| match path.is_dir() {
            true => variables(&path),
            false => {
                let text = fs::read_to_string(&path).unwrap();
                let asked = ["environment(\"", "environment_path(\""].map(|call| text.split(call).skip(1));
                let asked = asked.into_iter().flatten();
                asked.map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
            }
        };
        entries.flat_map(of).collect()
    }

    #[test]
    fn every_variable_that_the_program_reads_is_on_its_page() {
        let read = variables(&paths::workspace().join("lokt/src"));
        assert!(read.len() >= 15, "they were found: {read:?}");
        let page = &made()[0].text;
        let (_, told) = page.split_once("\n.SH ENVIRONMENT\n").unwrap();
        for variable in read {
            assert!(told.contains(&variable), "lokt.1 says nothing of {variable}");
        }
    }
}
