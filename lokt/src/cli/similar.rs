//! What is meant by a word that is nearly one of ours.

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

/// Our commands that are nearest to what was asked, in our words for them or in other tools'. `runs`: there is a
/// command behind `--`.
pub(super) fn commands(asked: &str, runs: bool) -> Vec<String> {
    let asked = asked.to_ascii_lowercase();
    let program = super::command();
    let ours = program.get_subcommands().filter(|command| !command.is_hide_set());
    let ours: Vec<&str> = ours.map(clap::Command::get_name).collect();
    let others = OTHER_WORDS.iter().filter(|(command, _)| ours.contains(command));
    let others = others.flat_map(|(command, words)| words.iter().map(|word| (*word, *command)));
    let known: Vec<(&str, &str)> = ours.iter().map(|command| (*command, *command)).chain(others).collect();
    // Of words that are equally near, our own.
    let distance = |(word, command): &(&str, &str)| (strsim::osa_distance(word, &asked), word != command);
    let least = known.iter().map(distance).min();
    // With a command behind it, it is the name of a lock, unless it is nearly guard itself.
    let may_be = |command: &str| match least {
        Some((0, _)) => true,
        Some((slips, _)) => slips <= most_slips(&asked) && (!runs || command == "guard"),
        None => false,
    };
    let nearest = known.iter().filter(|one| Some(distance(one)) == least && may_be(one.1));
    let mut nearest: Vec<String> = nearest.map(|(_, command)| (*command).to_owned()).collect();
    nearest.dedup();
    nearest
}

/// Those of the known words that are nearest to what was asked; if none is near, those that it begins.
pub(super) fn words<'a>(asked: &str, known: &[&'a str]) -> Vec<&'a str> {
    let asked = asked.to_ascii_lowercase();
    if asked.is_empty() {
        return Vec::new();
    }
    let distance = |word: &str| strsim::osa_distance(word, &asked);
    let least = known.iter().map(|word| distance(word)).min().filter(|least| *least <= most_slips(&asked));
    let is_meant = |word: &&&str| match least {
        Some(least) => distance(word) == least,
        None => word.starts_with(&asked),
    };
    known.iter().filter(is_meant).copied().collect()
}

/// One in three letters. Of a word of two there are none: half of it is not what makes it that word.
fn most_slips(asked: &str) -> usize {
    asked.len() / 3
}

/// `a`, `a or b`, `a, b or c`.
pub(super) fn either(words: &[String]) -> String {
    match words.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => words.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_are_equally_near_are_named() {
        assert_eq!(commands("ulock", false), ["lock", "unlock"]);
        assert_eq!(words("wit", &["with", "ttl", "wait"]), ["with", "wait"]);
        assert_eq!(words("with", &["with", "wait"]), ["with"]);
    }

    #[test]
    fn what_has_little_in_common_is_not_near() {
        assert!(words("a", &["wait", "slots"]).is_empty());
        assert!(words("tx", &["ttl"]).is_empty());
        assert!(commands("lx", false).is_empty());
    }

    #[test]
    fn the_beginning_of_a_word_is_near_it() {
        assert_eq!(words("t", &["ttl", "timeout", "wait"]), ["ttl", "timeout"]);
        assert!(words("", &["ttl"]).is_empty());
    }

    #[test]
    fn before_a_command_to_run_only_guard_is_misspelt() {
        assert_eq!(commands("gaurd", true), ["guard"]);
        assert_eq!(commands("run", true), ["guard"]);
        assert!(commands("statsu", true).is_empty());
    }

    #[test]
    fn a_choice_reads_as_a_sentence() {
        let words = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(
            ["a", "a or b", "a, b or c"],
            [1, 2, 3].map(|count| either(&words[..count])).each_ref().map(String::as_str)
        );
    }
}
