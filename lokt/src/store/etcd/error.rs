//! Why a call failed, and whether it can have changed anything all the same.

use std::fmt;

use super::address::Endpoint;

/// What is known of a call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// No member has taken it: nothing has changed, and it can be tried again.
    NotSent,
    /// etcd has answered that it won't do it: nothing has changed.
    Refused,
    /// It was sent, and the answer was lost: it may have been carried out, may still be, or never will.
    Unknown,
}

/// A call failed. In words it is one line, with the endpoints that it is about.
#[derive(Debug, Clone)]
pub struct Error(Box<Kind>);

#[derive(Debug, Clone)]
enum Kind {
    /// What the user has set can't be used.
    Setup(String),
    /// What each endpoint said, or did not say, when it was tried last.
    Unreachable(Vec<(Endpoint, String)>),
    Refused {
        endpoint: Endpoint,
        fault: Fault,
    },
    Lost {
        endpoint: Endpoint,
        why: String,
    },
}

/// An error of etcd's: a gRPC status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub code: i64,
    pub message: String,
}

/// What a fault means for who has sent the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It was turned away before it was proposed to the cluster; another member may take it.
    TurnedAway,
    /// The token is not known (any more), or missing.
    Token,
    /// It may have been proposed.
    Doubtful,
    /// It is etcd's last word.
    Final,
}

impl Fault {
    /// The doubtful codes are those that etcd gives for what becomes of a proposal on its way through the cluster.
    pub fn meaning(&self) -> Meaning {
        let says = |words: &str| self.message.contains(words);
        match self.code {
            16 => Meaning::Token,
            // The second is what a request without a token gets.
            _ if says("revision of auth store is old") || says("user name is empty") => Meaning::Token,
            _ if says("etcdserver: no leader")
                || says("etcdserver: too many requests")
                || says("etcdserver: not capable")
                || says("not supported for learner") =>
            {
                Meaning::TurnedAway
            }
            1 | 2 | 4 | 10 | 13 | 14 | 15 => Meaning::Doubtful,
            _ => Meaning::Final,
        }
    }

    /// Its database has reached its quota: it takes no writes until somebody has made room and disarmed the alarm.
    fn is_out_of_space(&self) -> bool {
        self.message.contains("database space exceeded")
    }

    /// What the user can do about it.
    fn advice(&self) -> &'static str {
        let says = |words: &str| self.message.contains(words);
        if says("user name is empty") {
            "; it wants a user: ETCDCTL_USER=name:password"
        } else if says("authentication failed") {
            "; see ETCDCTL_USER and ETCDCTL_PASSWORD"
        } else if says("permission denied") {
            "; the user in ETCDCTL_USER needs a role that may read and write below the prefix"
        } else if self.is_out_of_space() {
            "; it is out of space: compact and defragment it, then disarm the alarm: etcdctl alarm disarm"
        } else {
            ""
        }
    }
}

impl Error {
    pub(super) fn setup(message: impl Into<String>) -> Self {
        Self(Box::new(Kind::Setup(message.into())))
    }

    pub(super) fn unreachable(tried: Vec<(Endpoint, String)>) -> Self {
        Self(Box::new(Kind::Unreachable(tried)))
    }

    pub(super) fn refused(endpoint: &Endpoint, fault: Fault) -> Self {
        Self(Box::new(Kind::Refused { endpoint: endpoint.clone(), fault }))
    }

    pub(super) fn lost(endpoint: &Endpoint, why: String) -> Self {
        Self(Box::new(Kind::Lost { endpoint: endpoint.clone(), why }))
    }

    /// What is known of the call.
    pub fn outcome(&self) -> Outcome {
        match *self.0 {
            Kind::Setup(_) | Kind::Unreachable(_) => Outcome::NotSent,
            Kind::Refused { .. } => Outcome::Refused,
            Kind::Lost { .. } => Outcome::Unknown,
        }
    }

    /// There is no such lease (any more).
    pub fn is_lease_gone(&self) -> bool {
        self.fault().is_some_and(|fault| fault.message.contains("requested lease not found"))
    }

    /// etcd takes no writes until it has room again.
    pub fn is_out_of_space(&self) -> bool {
        self.fault().is_some_and(Fault::is_out_of_space)
    }

    /// The user is not known, not let in, or not allowed to do this.
    pub fn is_denied(&self) -> bool {
        self.fault().is_some_and(|fault| {
            matches!(fault.code, 7 | 16)
                || fault.message.contains("authentication failed")
                || fault.message.contains("user name is empty")
        })
    }

    /// etcd's own words, if it has refused.
    pub fn refusal(&self) -> Option<&str> {
        self.fault().map(|fault| fault.message.as_str())
    }

    fn fault(&self) -> Option<&Fault> {
        match &*self.0 {
            Kind::Refused { fault, .. } => Some(fault),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Kind::Setup(message) => f.write_str(message),
            Kind::Unreachable(tried) if tried.is_empty() => f.write_str("there was no time left to ask etcd"),
            Kind::Unreachable(tried) => {
                f.write_str("etcd can't be reached: ")?;
                for (index, (endpoint, why)) in tried.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "; " };
                    write!(f, "{comma}{endpoint}: {why}")?;
                }
                Ok(())
            }
            Kind::Refused { endpoint, fault } => {
                let message = fault.message.strip_prefix("etcdserver: ").unwrap_or(&fault.message);
                write!(f, "etcd at {endpoint} refused: {message}{}", fault.advice())
            }
            Kind::Lost { endpoint, why } => {
                write!(f, "etcd at {endpoint} may or may not have done it: {why}")
            }
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_on_the_way_through_the_cluster_leaves_doubt() {
        let meaning = |code, message: &str| Fault { code, message: message.to_owned() }.meaning();
        assert_eq!(meaning(14, "etcdserver: request timed out"), Meaning::Doubtful);
        assert_eq!(meaning(14, "etcdserver: no leader"), Meaning::TurnedAway);
        assert_eq!(meaning(14, "etcdserver: rpc not supported for learner"), Meaning::TurnedAway);
        assert_eq!(meaning(8, "etcdserver: too many requests"), Meaning::TurnedAway);
        assert_eq!(meaning(8, "etcdserver: mvcc: database space exceeded"), Meaning::Final);
        assert_eq!(meaning(16, "etcdserver: invalid auth token"), Meaning::Token);
        assert_eq!(meaning(3, "etcdserver: revision of auth store is old"), Meaning::Token);
        assert_eq!(meaning(7, "etcdserver: permission denied"), Meaning::Final);
    }
}
