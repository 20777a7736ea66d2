//! One call, tried on one member: what is sent, and what the answer, or its absence, means.

use std::io;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::{Error, Fault, Meaning};
use super::http::{Connection, Head};
use super::json::{self, Streamed};
use super::tls;

/// What is asked.
pub(super) struct Call {
    pub path: &'static str,
    pub body: Vec<u8>,
    pub effect: Effect,
    /// Whether a member without a leader is to turn it away at once.
    pub leader: bool,
    /// Whether the answer is in the form of a stream.
    pub streamed: bool,
}

/// What a call does to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// It looks.
    Nothing,
    /// It can be sent again when its answer was lost: twice is as good as once.
    Repeatable,
    /// Twice is not as good as once.
    Once,
}

/// What came of trying a call on one member, without an answer to it.
pub(super) enum Miss {
    /// The member has not taken it.
    NotSent(Trouble),
    /// It was sent.
    Lost(Trouble),
    /// The token was refused, and so nothing was done.
    Token(Fault),
    /// etcd has refused it.
    Final(Fault),
}

/// Why a member is of no use just now.
pub(super) struct Trouble {
    pub words: String,
    /// It won't be better in a moment.
    pub lasting: bool,
}

impl Call {
    /// A call that looks, and needs a leader.
    pub fn new(path: &'static str, request: &impl Serialize) -> Result<Self, Error> {
        let body = serde_json::to_vec(request)
            .map_err(|error| Error::setup(format!("a request can't be written: {error}")))?;
        Ok(Self { path, body, effect: Effect::Nothing, leader: true, streamed: false })
    }

    /// Makes it, on this connection; it can be used again if this is said.
    pub fn make<R: DeserializeOwned>(
        &self,
        connection: &mut Connection,
        token: Option<&str>,
        by: Duration,
    ) -> (Result<R, Miss>, bool) {
        match self.send(connection, token, by) {
            Ok(head) => self.answer(connection, head, by),
            Err(miss) => (Err(miss), false),
        }
    }

    /// Sends it, and waits for the answer to begin.
    pub fn send(&self, connection: &mut Connection, token: Option<&str>, by: Duration) -> Result<Head, Miss> {
        let mut headers = Vec::new();
        if let Some(token) = token.filter(|token| !token.is_empty()) {
            headers.push(("Authorization", token));
        }
        if self.leader {
            headers.push(("Grpc-Metadata-hasleader", "true"));
        }
        connection
            .send(self.path, &headers, &self.body, by)
            .map_err(|error| Miss::NotSent(Trouble::of(&error)))?;
        connection.head(by).map_err(|error| {
            let mut trouble = Trouble::of(&error);
            if error.kind() == io::ErrorKind::UnexpectedEof
                && connection.is_plain()
                && connection.proven.is_none()
            {
                trouble.words.push_str(" without an answer; if it speaks TLS, it is etcds://");
            }
            Miss::Lost(trouble)
        })
    }

    fn answer<R: DeserializeOwned>(
        &self,
        connection: &mut Connection,
        head: Head,
        by: Duration,
    ) -> (Result<R, Miss>, bool) {
        let status = head.status;
        let (body, reusable) = match connection.body(head, by) {
            Ok(read) => read,
            Err(error) => return (Err(Miss::Lost(Trouble::of(&error))), false),
        };
        let result = if status == 200 { self.success(&body) } else { Err(refusal(status, &body)) };
        if result.is_ok() {
            connection.proven = Some(crate::host::clock::monotonic());
        }
        (result, reusable)
    }

    fn success<R: DeserializeOwned>(&self, body: &[u8]) -> Result<R, Miss> {
        let strange = |error: serde_json::Error| Miss::Lost(Trouble::lasting(format!("its answer: {error}")));
        if !self.streamed {
            return serde_json::from_slice(body).map_err(strange);
        }
        let streamed: Streamed<R> = serde_json::from_slice(body).map_err(strange)?;
        match (streamed.result, streamed.error) {
            (Some(result), None) => Ok(result),
            (_, Some(failure)) => Err(miss(failure.into())),
            (None, None) => Err(Miss::Lost(Trouble::passing("an empty answer"))),
        }
    }
}

/// What an answer means that is no success.
pub(super) fn refusal(status: u16, body: &[u8]) -> Miss {
    if let Some(fault) = json::fault(body) {
        return miss(fault);
    }
    let text = String::from_utf8_lossy(body);
    let first = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let first: String = first.chars().filter(|c| !c.is_control()).take(160).collect();
    let words = match status {
        400 if text.contains("HTTPS server") => "it speaks TLS: etcds:// instead of etcd://".to_owned(),
        404 => "there is no JSON gateway (HTTP 404): not a client URL of etcd 3.4 or later, or it was started with \
                --enable-grpc-gateway=false"
            .to_owned(),
        _ => format!("HTTP {status}: {first}"),
    };
    match status {
        // A proxy before it, or the member at its end, may have let the request through.
        500.. => Miss::Lost(Trouble::passing(&words)),
        _ => Miss::NotSent(Trouble::lasting(words)),
    }
}

/// What a fault of etcd's means.
pub(super) fn miss(fault: Fault) -> Miss {
    match fault.meaning() {
        Meaning::TurnedAway => Miss::NotSent(Trouble::passing(&fault.message)),
        Meaning::Doubtful => Miss::Lost(Trouble::passing(&fault.message)),
        Meaning::Token => Miss::Token(fault),
        Meaning::Final => Miss::Final(fault),
    }
}

impl Trouble {
    pub fn lasting(words: String) -> Self {
        Self { words, lasting: true }
    }

    pub fn passing(words: &str) -> Self {
        Self { words: words.strip_prefix("etcdserver: ").unwrap_or(words).to_owned(), lasting: false }
    }

    /// An error of the connection's, in words.
    pub fn of(error: &io::Error) -> Self {
        if let Some(words) = tls::explain(error) {
            return Self::lasting(words);
        }
        let words = match error.kind() {
            io::ErrorKind::TimedOut if error.get_ref().is_none() => "no answer in time".to_owned(),
            io::ErrorKind::UnexpectedEof => "it has closed the connection".to_owned(),
            io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "connection broken".to_owned(),
            _ => error.to_string(),
        };
        let lasting = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData);
        Self { words, lasting }
    }
}
