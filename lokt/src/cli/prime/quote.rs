//! Text of others, quoted so that it can't become anything but text: in Markdown, in a table, in YAML.

use crate::words;

/// `text` in one line of at most `most` characters, with nothing that a terminal would obey.
pub(super) fn line(text: &str, most: usize) -> String {
    let text: Vec<&str> = text.split_whitespace().collect();
    let text = words::printable(&text.join(" "));
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// A code span of Markdown: its fence is longer than any run of backticks in it.
pub(super) fn code(text: &str, most: usize) -> String {
    fenced(&line(text, most))
}

/// A code span in a table. A bar must be escaped there, and that escape itself must not be escaped.
pub(super) fn in_table(text: &str, most: usize) -> String {
    let mut safe = String::new();
    for c in line(text, most).chars() {
        if c == '|' {
            safe.truncate(safe.trim_end_matches('\\').len());
            safe.push('\\');
        }
        safe.push(c);
    }
    fenced(&safe)
}

fn fenced(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let pad = if longest > 0 || text.is_empty() { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// A string of YAML, in single quotes.
pub(super) fn yaml(text: &str) -> String {
    format!("'{}'", words::printable(text).replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quotation_is_one_line_of_limited_length() {
        assert_eq!(line("a\n\n# b\t c\u{1b}[2J", 40), "a # b c\\u{1b}[2J");
        assert_eq!(line("abcdef", 3), "abc…");
        assert_eq!(line("äöü", 3), "äöü");
    }

    #[test]
    fn a_code_span_ends_where_it_is_ended() {
        assert_eq!(code("make", 9), "`make`");
        assert_eq!(code("`rm` ``x``", 20), "``` `rm` ``x`` ```");
        assert_eq!(code("", 9), "`  `");
    }

    #[test]
    fn a_cell_of_a_table_ends_where_it_is_ended() {
        assert_eq!(in_table("a | b", 9), r"`a \| b`");
        assert_eq!(in_table(r"a \| b \\| c", 20), r"`a \| b \| c`");
        assert_eq!(in_table("`|`", 9), r"`` `\|` ``");
    }

    #[test]
    fn a_string_of_yaml_ends_where_it_is_ended() {
        assert_eq!(yaml("./it's: #x"), "'./it''s: #x'");
        assert_eq!(yaml("a\nb"), "'a\\nb'");
    }
}
