//! Where the cluster is, and what lets one in: `etcd://host:2379,host:2379/prefix`, and etcdctl's own variables.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::str::FromStr;

use crate::host::{environment, environment_path};

/// The port on which etcd serves its clients.
const PORT: u16 = 2379;

/// How an address is written.
const FORM: &str = "etcd://host:2379[,host:2379…]/prefix";
const DIRECTORY: &str = "and a directory is given by its path alone";

/// The longest prefix: it is part of every key.
const LONGEST_PREFIX: usize = 200;

/// A cluster and the place of a root in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Its members, or some of them; at least one.
    pub endpoints: Vec<Endpoint>,
    /// What every key begins with: a slash first, none last.
    pub prefix: String,
    /// Whether it is `etcds`: spoken to over TLS.
    pub tls: bool,
}

/// Where one member serves its clients.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// A port.
    pub port: u16,
}

/// What is wrong with an address, or with a variable that goes with it: one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadAddress(String);

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let bad = |what: &str| BadAddress(format!("\"{text}\": {what}"));
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| bad(&format!("an etcd address looks so: {FORM}, {DIRECTORY}")))?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "etcd" => false,
            "etcds" => true,
            _ => {
                return Err(bad(&format!(
                    "the scheme is etcd or etcds (with TLS), not {scheme}; {DIRECTORY}"
                )));
            }
        };
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        if hosts.contains('@') {
            // Addresses stand in messages and logs.
            return Err(BadAddress(
                "an etcd address has no user in it: set ETCDCTL_USER=name:password".to_owned(),
            ));
        }
        if hosts.is_empty() {
            return Err(bad(&format!("the host is missing: {FORM}")));
        }
        let endpoints =
            hosts.split(',').map(Endpoint::from_str).collect::<Result<Vec<_>, _>>().map_err(|e| bad(&e.0))?;
        let prefix = prefix(path).map_err(|what| bad(&what))?;
        let mut unique: Vec<Endpoint> = Vec::new();
        for endpoint in endpoints {
            if !unique.contains(&endpoint) {
                unique.push(endpoint);
            }
        }
        Ok(Self { endpoints: unique, prefix, tls })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.tls { "etcds://" } else { "etcd://" })?;
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{endpoint}")?;
        }
        f.write_str(&self.prefix)
    }
}

/// The path of an address, as keys begin with it.
fn prefix(path: &str) -> Result<String, String> {
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Err(
            "the prefix is missing, below which the keys are: etcd://host:2379/lokt for instance".into()
        );
    }
    if path.len() > LONGEST_PREFIX {
        return Err(format!("the prefix has more than {LONGEST_PREFIX} bytes"));
    }
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(format!("the prefix \"/{path}\" has an empty part, \".\" or \"..\" between its slashes"));
    }
    let odd = path.chars().find(|c| !(c.is_ascii_alphanumeric() || "/-_.:+=".contains(*c)));
    match odd {
        Some(odd) => Err(format!("{odd:?} can't stand in the prefix: letters, digits and -_.:+= can")),
        None => Ok(format!("/{path}")),
    }
}

impl FromStr for Endpoint {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let bad = |what: String| Err(BadAddress(what));
        if text.is_empty() {
            return bad("there is an empty host between the commas".into());
        }
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let Some((host, port)) = rest.split_once(']') else {
                return bad(format!("the bracket of {text} is not closed"));
            };
            if host.parse::<Ipv6Addr>().is_err() {
                return bad(format!("[{host}] is no IPv6 address"));
            }
            match port.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if port.is_empty() => (host, None),
                None => return bad(format!("after [{host}] comes a colon and a port, not {port}")),
            }
        } else if text.matches(':').count() > 1 {
            return bad(format!("an IPv6 address stands in brackets: [{text}]:{PORT}"));
        } else {
            match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            }
        };
        let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
        if host.is_empty() || !host.chars().all(is_fine) {
            return bad(format!("\"{host}\" is no name of a host"));
        }
        let port = match port {
            None => PORT,
            Some(digits) => match digits.parse() {
                Ok(port) if port > 0 && digits.bytes().all(|digit| digit.is_ascii_digit()) => port,
                _ => return bad(format!("the port of {host} is a number from 1 to 65535, not \"{digits}\"")),
            },
        };
        Ok(Self { host: host.to_ascii_lowercase(), port })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for BadAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadAddress {}

/// Who asks.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// The user's name in etcd.
    pub name: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What lets one in: files for TLS, and a user. Variables are those that etcdctl reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// `ETCDCTL_CACERT`: the certificates of those who may vouch for a member, as PEM.
    pub ca: Option<PathBuf>,
    /// `ETCDCTL_CERT`: our own certificate, as PEM.
    pub cert: Option<PathBuf>,
    /// `ETCDCTL_KEY`: the key of our certificate, as PEM.
    pub key: Option<PathBuf>,
    /// `ETCDCTL_USER`, as `name:password`; or the name alone, with `ETCDCTL_PASSWORD`.
    pub user: Option<User>,
}

impl Access {
    /// As the environment has it.
    ///
    /// # Errors
    ///
    /// A variable makes no sense; the message names it.
    pub fn from_environment() -> Result<Self, BadAddress> {
        let skip = environment("ETCDCTL_INSECURE_SKIP_TLS_VERIFY");
        if skip.is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "1" | "t" | "true")) {
            return Err(BadAddress(
                "ETCDCTL_INSECURE_SKIP_TLS_VERIFY is set, but lokt always checks who it talks to: name the CA's file \
                 in ETCDCTL_CACERT instead"
                    .to_owned(),
            ));
        }
        Ok(Self {
            ca: environment_path("ETCDCTL_CACERT"),
            cert: environment_path("ETCDCTL_CERT"),
            key: environment_path("ETCDCTL_KEY"),
            user: user(environment("ETCDCTL_USER"), environment("ETCDCTL_PASSWORD"))?,
        })
    }
}

/// The user of the two variables.
fn user(user: Option<String>, password: Option<String>) -> Result<Option<User>, BadAddress> {
    let Some(user) = user else {
        return match password {
            Some(_) => Err(BadAddress("ETCDCTL_PASSWORD is set without ETCDCTL_USER".to_owned())),
            None => Ok(None),
        };
    };
    let (name, password) = match (user.split_once(':'), password) {
        // With a password of its own, a colon is part of the name, as for etcdctl.
        (_, Some(password)) => (user.as_str(), password),
        (Some((name, password)), None) => (name, password.to_owned()),
        (None, None) => {
            return Err(BadAddress(format!(
                "ETCDCTL_USER is \"{user}\", without a password: name:password, or set ETCDCTL_PASSWORD"
            )));
        }
    };
    if name.is_empty() {
        return Err(BadAddress("ETCDCTL_USER has no name before its colon".to_owned()));
    }
    Ok(Some(User { name: name.to_owned(), password }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(host: &str, port: u16) -> Endpoint {
        Endpoint { host: host.to_owned(), port }
    }

    fn complaint(text: &str) -> String {
        text.parse::<Address>().unwrap_err().to_string()
    }

    #[test]
    fn an_address_names_members_and_a_prefix() {
        let address: Address =
            "etcd://a,B.example:4001,10.0.0.1,[::1]:3,[fe80::2],a:2379/team/locks/".parse().unwrap();
        let endpoints = [
            endpoint("a", 2379),
            endpoint("b.example", 4001),
            endpoint("10.0.0.1", 2379),
            endpoint("::1", 3),
            endpoint("fe80::2", 2379),
        ];
        assert_eq!(address.endpoints, endpoints);
        assert_eq!(address.prefix, "/team/locks");
        assert!(!address.tls);
        let same: Address = address.to_string().parse().unwrap();
        assert_eq!(same, address, "it is written as it is read");
        assert!("ETCDS://a/p".parse::<Address>().unwrap().tls);
    }

    #[test]
    fn what_is_wrong_is_said_of_the_part_that_is() {
        for (text, words) in [
            ("/tmp/x", "an etcd address looks so"),
            ("http://a/p", "the scheme is etcd or etcds"),
            ("etcd:///p", "the host is missing"),
            ("etcd://a", "the prefix is missing"),
            ("etcd://a:1/", "the prefix is missing"),
            ("etcd://a,,b/p", "an empty host between the commas"),
            ("etcd://a:0/p", "the port of a is a number from 1 to 65535, not \"0\""),
            ("etcd://a:/p", "the port of a"),
            ("etcd://a:+5/p", "the port of a"),
            ("etcd://a:70000/p", "not \"70000\""),
            ("etcd://::1/p", "in brackets: [::1]:2379"),
            ("etcd://[::1/p", "is not closed"),
            ("etcd://[a]:1/p", "[a] is no IPv6 address"),
            ("etcd://[::1]x/p", "comes a colon and a port, not x"),
            ("etcd://a b/p", "\"a b\" is no name of a host"),
            ("etcd://a/p//q", "has an empty part"),
            ("etcd://a/../q", "has an empty part"),
            ("etcd://a/p?x=1", "'?' can't stand in the prefix"),
        ] {
            let complaint = complaint(text);
            assert!(complaint.contains(words), "{text}: {complaint}");
            assert_eq!(complaint.lines().count(), 1, "{text}");
        }
    }

    #[test]
    fn a_password_in_an_address_is_refused_and_not_repeated() {
        let complaint = complaint("etcd://ada:secret@a/p");
        assert!(complaint.contains("ETCDCTL_USER") && !complaint.contains("secret"), "{complaint}");
    }

    #[test]
    fn a_user_comes_with_a_password() {
        let some = |text: &str| Some(text.to_owned());
        let found = |name: &str, password: &str| Some(User { name: name.into(), password: password.into() });
        assert_eq!(user(None, None), Ok(None));
        assert_eq!(user(some("ada:a:b"), None), Ok(found("ada", "a:b")));
        assert_eq!(user(some("ada"), some("pw")), Ok(found("ada", "pw")));
        for (name, password) in [(some("ada"), None), (some(":pw"), None), (None, some("pw"))] {
            let error = user(name, password).unwrap_err().to_string();
            assert!(error.contains("ETCDCTL_USER") && !error.contains("pw"), "{error}");
        }
        assert!(!format!("{:?}", found("ada", "secret")).contains("secret"));
    }
}
