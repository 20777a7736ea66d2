//! As much of a shell's grammar as it takes to find `lokt guard NAME … -- CMD` where it is run: not in a comment, a
//! string or a here-document.

use crate::protocol::Name;

/// `lokt guard`, as a script runs it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Guard {
    /// Its lock; of several, their names with commas between them.
    pub(super) lock: String,
    /// The command behind `--`, as it is written; `None` if it is the script's own arguments.
    pub(super) command: Option<String>,
}

/// A word of a command.
#[derive(Debug)]
struct Word {
    /// As it is written.
    raw: String,
    /// Without its quotes.
    value: String,
    /// Whether the shell would put something else in its place.
    open: bool,
}

/// Words before a command that leave it a command.
const RESERVED: [&str; 10] = ["if", "then", "elif", "else", "while", "until", "do", "!", "{", "time"];

/// Programs that run the command which is among their arguments.
const RUNNERS: [&str; 11] =
    ["exec", "command", "env", "sudo", "doas", "nice", "ionice", "nohup", "timeout", "setsid", "caffeinate"];

/// The script's own arguments.
const ARGUMENTS: [&str; 6] = ["$@", "$*", "\"$@\"", "\"$*\"", "\"${@}\"", "${@}"];

/// A substitution longer than this is none.
const LONGEST_SUBSTITUTION: usize = 1000;

/// As deep may substitutions be nested.
const DEEPEST: usize = 5;

/// Every guard in the text of a script whose lock has a plain name; `valued` options of it take a value.
pub(super) fn guards(text: &str, valued: &[String]) -> Vec<Guard> {
    commands(text, DEEPEST).iter().filter_map(|words| guard(words, valued)).collect()
}

fn guard(words: &[Word], valued: &[String]) -> Option<Guard> {
    let at = words.windows(2).position(|pair| is_lokt(&pair[0]) && pair[1].value == "guard")?;
    if !is_run(&words[..at]) {
        return None;
    }
    let arguments = &words[at + 2..];
    let end = arguments.iter().position(|word| word.raw == "--")?;
    let lock = names(&arguments[..end], valued)?;
    let command = &arguments[end + 1..];
    let raw: Vec<&str> = command.iter().map(|word| word.raw.as_str()).collect();
    let given = raw.len() == 1 && ARGUMENTS.contains(&raw[0]);
    (!raw.is_empty()).then(|| Guard { lock, command: (!given).then(|| raw.join(" ")) })
}

/// `lokt`, by whatever path, or the variable that scripts keep it in.
fn is_lokt(word: &Word) -> bool {
    let variable: String = word.raw.chars().filter(|c| !"\"${}()".contains(*c)).collect();
    word.value == "lokt"
        || word.value.ends_with("/lokt")
        || (word.open && (variable == "LOKT" || variable == "LOKT:-lokt"))
}

/// Whether what comes behind `before` is run, and not an argument.
fn is_run(before: &[Word]) -> bool {
    let is_beside = |word: &&Word| RESERVED.contains(&word.value.as_str()) || is_assignment(word);
    match before.iter().find(|word| !is_beside(word)) {
        None => true,
        Some(program) => RUNNERS.iter().any(|runner| program.value.rsplit('/').next() == Some(runner)),
    }
}

fn is_assignment(word: &Word) -> bool {
    let name = word.raw.split_once('=').map_or("", |(name, _)| name);
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The first argument that is neither an option nor an option's value, and what `--with` adds to it; `None` unless all of
/// it is known, and names.
fn names(arguments: &[Word], valued: &[String]) -> Option<String> {
    let (mut first, mut more) = (None, Vec::new());
    let mut arguments = arguments.iter();
    while let Some(word) = arguments.next() {
        let Some(option) = word.value.strip_prefix('-') else {
            first = first.or(Some((word, word.value.as_str())));
            continue;
        };
        let option = option.trim_start_matches('-');
        if let Some(value) = option.strip_prefix("with=") {
            more.push((word, value));
        } else if valued.iter().any(|valued| valued == option) {
            let value = arguments.next().filter(|_| option == "with");
            more.extend(value.map(|value| (value, value.value.as_str())));
        }
    }
    more.insert(0, first?);
    let is_known = |(word, names): &(&Word, &str)| {
        !word.open && names.split(',').all(|name| name.parse::<Name>().is_ok())
    };
    let names: Vec<&str> = more.iter().map(|(_, names)| *names).collect();
    more.iter().all(is_known).then(|| names.join(","))
}

/// The commands of a text, each as its words.
fn commands(text: &str, depth: usize) -> Vec<Vec<Word>> {
    let mut reader = Reader { text: text.chars().collect(), at: 0, documents: Vec::new(), inner: Vec::new() };
    let mut commands = vec![Vec::new()];
    while let Some(c) = reader.peek(0) {
        match c {
            ' ' | '\t' | '\r' => reader.at += 1,
            '\\' if reader.is_continuation() => reader.skip_line(),
            '#' => reader.skip_to_end_of_line(),
            '<' if reader.peek(1) == Some('<') && reader.peek(2) != Some('<') => reader.document(),
            _ if is_operator(c) && !(c == '&' && reader.peek(1) == Some('>')) => {
                reader.at += 1;
                if c == '\n' {
                    reader.skip_documents();
                }
                commands.push(Vec::new());
            }
            _ => commands.last_mut().into_iter().for_each(|words| words.push(reader.word())),
        }
    }
    if depth > 0 {
        commands.extend(reader.inner.iter().flat_map(|text| self::commands(text, depth - 1)));
    }
    commands
}

fn is_operator(c: char) -> bool {
    matches!(c, '\n' | ';' | '|' | '&' | '(' | ')' | '`')
}

/// A text, read from left to right.
struct Reader {
    text: Vec<char>,
    at: usize,
    /// The ends of the here-documents that begin on the next line, and whether they may be indented.
    documents: Vec<(String, bool)>,
    /// What stands in `$(…)`.
    inner: Vec<String>,
}

impl Reader {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.text.get(self.at + ahead).copied()
    }

    fn is_continuation(&self) -> bool {
        matches!((self.peek(1), self.peek(2)), (Some('\n'), _) | (Some('\r'), Some('\n')))
    }

    /// To the beginning of the next line.
    fn skip_line(&mut self) {
        self.skip_to_end_of_line();
        self.at += 1;
    }

    fn skip_to_end_of_line(&mut self) {
        while self.peek(0).is_some_and(|c| c != '\n') {
            self.at += 1;
        }
    }

    /// `<<END`, `<<-'END'`.
    fn document(&mut self) {
        self.at += 2;
        let indented = self.peek(0) == Some('-');
        self.at += usize::from(indented);
        while matches!(self.peek(0), Some(' ' | '\t')) {
            self.at += 1;
        }
        if self.peek(0).is_some_and(|c| !is_operator(c)) {
            let end = self.word().value;
            self.documents.push((end, indented));
        }
    }

    fn skip_documents(&mut self) {
        for (end, indented) in std::mem::take(&mut self.documents) {
            while self.at < self.text.len() {
                let begin = self.at;
                self.skip_to_end_of_line();
                let line: String = self.text[begin..self.at].iter().collect();
                self.at += 1;
                let line = line.trim_end_matches('\r');
                if end == if indented { line.trim_start_matches('\t') } else { line } {
                    break;
                }
            }
        }
    }

    fn word(&mut self) -> Word {
        let mut word = Word { raw: String::new(), value: String::new(), open: false };
        let mut before = ' ';
        while let Some(c) = self.peek(0) {
            let redirects = c == '&' && (matches!(before, '<' | '>') || self.peek(1) == Some('>'));
            match c {
                ' ' | '\t' | '\r' => break,
                _ if is_operator(c) && !redirects => break,
                '\\' if self.is_continuation() => self.skip_line(),
                '\\' => {
                    let escaped: String = self.text.iter().skip(self.at + 1).take(1).collect();
                    word.value.push_str(&escaped);
                    self.take(&mut word.raw, 2);
                }
                '\'' | '"' => self.string(c, &mut word),
                '$' => self.expansion(&mut word),
                _ => {
                    word.value.push(c);
                    self.take(&mut word.raw, 1);
                }
            }
            before = c;
        }
        word
    }

    /// Moves `count` characters to `raw`.
    fn take(&mut self, raw: &mut String, count: usize) {
        raw.extend(self.text.iter().skip(self.at).take(count));
        self.at += count;
    }

    /// A string in quotes; a quote that is never closed is a character like others.
    fn string(&mut self, quote: char, word: &mut Word) {
        let mut value = String::new();
        let mut end = self.at + 1;
        loop {
            match self.text.get(end) {
                None => {
                    word.value.push(quote);
                    return self.take(&mut word.raw, 1);
                }
                Some(c) if *c == quote => break,
                Some('\\') if quote == '"' => {
                    end += 1;
                    value.extend(self.text.get(end));
                }
                Some(c) => {
                    word.open |= quote == '"' && matches!(c, '$' | '`');
                    value.push(*c);
                }
            }
            end += 1;
        }
        word.value.push_str(&value);
        self.take(&mut word.raw, end + 1 - self.at);
    }

    /// `$NAME`, `${NAME}`, `$(command)`.
    fn expansion(&mut self, word: &mut Word) {
        word.open = true;
        word.value.push('$');
        let length = if self.peek(1) == Some('(') { self.substitution() } else { None };
        self.take(&mut word.raw, length.unwrap_or(1));
    }

    /// The length of the `$(…)` that begins here; what is in it is kept.
    fn substitution(&mut self) -> Option<usize> {
        let text = &self.text[self.at..];
        let mut depth = 0;
        for (length, c) in text.iter().enumerate().take(LONGEST_SUBSTITUTION) {
            match c {
                '(' => depth += 1,
                ')' if depth == 1 => {
                    self.inner.push(text[2..length].iter().collect());
                    return Some(length + 1);
                }
                ')' => depth -= 1,
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(String, String)> {
        let valued = ["ttl", "timeout", "note", "with"].map(str::to_owned);
        let guards = guards(text, &valued).into_iter();
        guards.map(|guard| (guard.lock, guard.command.unwrap_or("(given)".to_owned()))).collect()
    }

    #[track_caller]
    fn finds(text: &str, lock: &str, command: &str) {
        assert_eq!(found(text), [(lock.to_owned(), command.to_owned())], "{text}");
    }

    #[test]
    fn options_stand_before_the_name_or_behind_it() {
        finds("lokt guard build -- make", "build", "make");
        finds("lokt guard build --ttl 5m -- make build", "build", "make build");
        finds("lokt guard --ttl 5m build -- make", "build", "make");
        finds("lokt guard -ttl 5m -wait build -- make", "build", "make");
        finds("lokt guard --ttl=5m --wait --timeout=2m build -- make", "build", "make");
        finds("lokt guard --note 'x y' build -- make", "build", "make");
        finds("lokt guard --note \"a -- b\" 'build' --wait -- make -- all", "build", "make -- all");
        finds("lokt guard --ttl \"$TTL\" \"build\" -- make", "build", "make");
    }

    #[test]
    fn several_names_stand_in_one_argument_or_in_options() {
        finds("lokt guard a,b --wait -- make", "a,b", "make");
        finds("lokt guard --with b --with=c,d a -- make", "a,b,c,d", "make");
        for unknown in ["a,", "a,$B", "a --with $B", "a --with b/", "--with b"] {
            assert_eq!(found(&format!("lokt guard {unknown} -- make")), [], "{unknown}");
        }
    }

    #[test]
    fn it_may_stand_wherever_a_command_may() {
        for text in [
            "exec lokt guard b -- make",
            "if ! lokt guard b -- make; then exit 1; fi",
            "cd src && ./bin/lokt guard b -- make || exit",
            "A=1 B='x y' sudo -E /usr/bin/lokt guard b -- make",
            "out=$(cd x; lokt guard b -- make)",
            "f() { lokt guard b -- make; }",
            "case $1 in b) lokt guard b -- make;; esac",
            "\"$LOKT\" guard b -- make",
            "${LOKT:-lokt} guard b -- make",
            "\tlokt guard b -- make # and so on\r\n",
            "timeout 60 lokt guard b -- make | tee log",
        ] {
            finds(text, "b", "make");
        }
    }

    #[test]
    fn a_line_goes_on_behind_a_backslash() {
        finds("lokt guard \\\n  --ttl 5m \\\n  b \\\n  -- make \\\n  -j4 all\nrm x", "b", "make -j4 all");
        finds("lokt guard b -- sh -c 'a &&\n b; c'", "b", "sh -c 'a &&\n b; c'");
        finds("lokt guard b -- make >log 2>&1", "b", "make >log 2>&1");
        finds("lokt guard b -- make &>log", "b", "make &>log");
    }

    #[test]
    fn what_is_only_written_there_does_not_count() {
        for text in [
            "# lokt guard b -- make",
            "make # lokt guard b -- make",
            "echo lokt guard b -- make",
            "echo 'run: lokt guard b -- make'",
            "usage=\"\nlokt guard b -- make\n\"",
            "cat <<EOF\nlokt guard b -- make\nEOF",
            "cat <<-'END' > x\n\tlokt guard b -- make\n\tEND\n",
            "lokt guard b make",
            "lokt guard -- make",
            "lokt guard b --",
            "lokt lock b -- make",
            "polokt guard b -- make",
        ] {
            assert_eq!(found(text), [], "{text}");
        }
        finds("cat <<EOF\nit's\nEOF\nlokt guard b -- make", "b", "make");
        finds("don't stop\nlokt guard b -- make", "b", "make");
    }

    #[test]
    fn a_name_that_is_known_only_when_it_runs_is_passed_over() {
        for name in ["$NAME", "\"$NAME\"", "build-$SHA", "\"${NAME}\"", "$(name)", "<name>", "a/b", ".."] {
            assert_eq!(found(&format!("lokt guard {name} -- make")), [], "{name}");
        }
        assert_eq!(found("lokt guard b -- \"$@\""), [("b".to_owned(), "(given)".to_owned())]);
    }

    #[test]
    fn no_text_takes_long_or_too_deep() {
        for text in ["$(", "((", "\"", "'", "\\", "<<", "<<a\n", "`", "\"$("] {
            let text = text.repeat(100_000);
            assert_eq!(found(&text), []);
            assert!(found(&format!("lokt guard b -- {text}")).len() <= 1);
        }
    }
}
