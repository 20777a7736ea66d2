//! The name of a lock: it exists only if it is valid.

use std::fmt;

/// Longest name, in bytes: with what is added to it, it still fits into one file name.
const MAX_BYTES: usize = 200;

/// A valid lock name: `[A-Za-z0-9._-]+`, at most 200 bytes, not `.`, no `..`, no leading `-`.
///
/// ```
/// use lokt::Name;
///
/// assert!("deploy-eu.west_1".parse::<Name>().is_ok());
/// assert!("../escape".parse::<Name>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// The name as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for Name {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let fault = if text.is_empty() {
            "it is empty"
        } else if text.len() > MAX_BYTES {
            "it is longer than 200 bytes"
        } else if text.starts_with('-') {
            "it begins with '-', as an option does"
        } else if text == "." || text == ".." {
            "'.' and '..' would leave the lock directory"
        } else if text.contains("..") {
            "'..' is not allowed in a name"
        } else if !text.bytes().all(is_allowed) {
            "only a-z, A-Z, 0-9, '.', '_' and '-' are allowed"
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(BadName { name: text.chars().take(MAX_BYTES).collect(), fault })
    }
}

fn is_allowed(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

/// Why a text is not a lock name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadName {
    name: String,
    fault: &'static str,
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid lock name \"{}\": {}", self.name.escape_debug(), self.fault)
    }
}

impl std::error::Error for BadName {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_go_and_file_systems_accept() {
        let longest = "x".repeat(200);
        for good in ["a", "build", ".hidden", "a.b_c-d", "UPPER9", longest.as_str()] {
            let name =
                good.parse::<Name>().unwrap_or_else(|error| panic!("{good} should be a name: {error}"));
            assert_eq!((name.as_str(), name.to_string().as_str()), (good, good));
        }
    }

    #[test]
    fn refuses_everything_else_and_says_why() {
        let too_long = "x".repeat(201);
        for bad in [
            "",
            ".",
            "..",
            "a..b",
            "../x",
            "a/b",
            "/a",
            "-x",
            "--json",
            "a b",
            "a\nb",
            "é",
            "a\0",
            too_long.as_str(),
        ] {
            let refused = bad.parse::<Name>();
            assert!(refused.is_err(), "{bad:?} should be refused");
        }
    }

    #[test]
    fn what_is_wrong_with_a_name_is_said() {
        let too_long = "x".repeat(201);
        let leaves = "'.' and '..' would leave the lock directory";
        let dots = "'..' is not allowed in a name";
        let others = "only a-z, A-Z, 0-9, '.', '_' and '-' are allowed";
        for (bad, fault) in [
            ("", "it is empty"),
            (&too_long, "it is longer than 200 bytes"),
            ("-x", "it begins with '-', as an option does"),
            (".", leaves),
            ("..", leaves),
            ("...", dots),
            ("a..b", dots),
            ("../x", dots),
            ("ünïcode", others),
            ("a/b", others),
        ] {
            let said = bad.parse::<Name>().unwrap_err().to_string();
            assert_eq!(said.split_once(": ").map(|(_, fault)| fault), Some(fault), "{said}");
        }
        let said = "\u{1b}[31m".parse::<Name>().unwrap_err().to_string();
        assert!(!said.contains('\u{1b}'), "control sequences are escaped: {said}");
    }
}
