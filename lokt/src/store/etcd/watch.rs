//! Watching keys: a stream of events that outlives the member it comes from.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::call::{Call, Miss, Trouble, miss, refusal};
use super::client::{Client, Shared};
use super::error::{Error, Fault};
use super::http::Connection;
use super::json::{Bytes, Number, Streamed};
use super::keys::{KeyValue, Range, Span};
use super::wire::{WatchCreate, WatchRequest, WatchResponse};
use crate::host::clock::monotonic;
use crate::host::signals::start_beside;

/// How long a member may take to begin a watch, and to show that it is still of use.
const PATIENCE: Duration = Duration::from_secs(1);
/// After how long without an event a member is asked whether it is still of use: a stream that has nothing to say looks
/// the same as one whose member hangs, or whose packets go nowhere.
const SILENCE: Duration = Duration::from_secs(3);
/// The pause after a round in which no member was of use.
const PAUSE: Duration = Duration::from_millis(200);

/// What a watch tells.
#[derive(Debug, Clone)]
pub enum News {
    /// It has begun, at a member; all that came before it asked, from the revision asked for, is told next.
    Began {
        /// The cluster's revision by then.
        revision: i64,
    },
    /// A key was put.
    Put(KeyValue),
    /// A key was deleted, by somebody or by its lease's end.
    Deleted {
        /// Which.
        key: Vec<u8>,
        /// The revision at which it went.
        revision: i64,
    },
    /// The member is lost, or all of them are; nothing is missed if it begins again.
    Interrupted(Error),
    /// What happened from the revision asked for is forgotten by the cluster, or that revision is still to come, as the
    /// cluster has gone back (its data was lost, or an older backup restored): look at the keys again, and watch from
    /// there. The watch is over.
    Compacted {
        /// The first revision that is still known; or the one to which the cluster has gone back.
        revision: i64,
    },
    /// The watch is refused, and over.
    Refused(Error),
}

/// A watch that runs. Dropping it cancels it.
pub struct Watch {
    line: Arc<Line>,
    thread: Option<JoinHandle<()>>,
}

/// Between a watch's thread and who may cancel it.
#[derive(Default)]
struct Line {
    state: Mutex<State>,
    cancelled: Condvar,
}

#[derive(Default)]
struct State {
    cancelled: bool,
    socket: Option<TcpStream>,
}

/// Why a stream has ended.
enum End {
    Cancelled,
    Interrupted(Trouble),
    Compacted(i64),
    Token(Fault),
    Refused(Fault),
}

struct Watcher {
    shared: Arc<Shared>,
    line: Arc<Line>,
    span: Span,
    /// The first revision that has not been told of; 0 before that is known.
    next: i64,
    tell: Box<dyn FnMut(News) + Send>,
}

impl Watch {
    pub(super) fn start(
        shared: Arc<Shared>,
        span: &Span,
        from: i64,
        tell: Box<dyn FnMut(News) + Send>,
    ) -> Result<Self, Error> {
        let line = Arc::<Line>::default();
        let mut watcher =
            Watcher { shared, line: Arc::clone(&line), span: span.clone(), next: from.max(0), tell };
        let thread = start_beside(thread::Builder::new().name("etcd watch".into()), move || watcher.run())
            .map_err(|error| Error::setup(format!("a watch needs a thread: {error}")))?;
        Ok(Self { line, thread: Some(thread) })
    }

    /// Ends it at once: nothing more is told, but for what is being told just now. Does not wait for the thread.
    pub fn cancel(&self) {
        let mut state = self.line.lock();
        state.cancelled = true;
        if let Some(socket) = state.socket.take() {
            let _ = socket.shutdown(Shutdown::Both);
        }
        self.line.cancelled.notify_all();
    }

    /// Cancels it, and waits for its thread: after that, nothing is told. Not for use within what it calls.
    pub fn join(mut self) {
        self.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_cancelled(&self) -> bool {
        self.lock().cancelled
    }

    /// Lets the connection be shut down by who cancels; `false` if that is done already.
    fn attach(&self, connection: &Connection) -> io::Result<bool> {
        let mut state = self.lock();
        state.socket = Some(connection.socket()?);
        Ok(!state.cancelled)
    }

    /// Waits, but not once it is cancelled.
    fn pause(&self, pause: Duration) {
        let waited = self.cancelled.wait_timeout_while(self.lock(), pause, |state| !state.cancelled);
        drop(waited);
    }
}

impl Watcher {
    fn run(&mut self) {
        let mut failed = 0;
        let mut index = self.shared.pool.order().next().map_or(0, |(index, _)| index);
        let mut renewed = false;
        while !self.line.is_cancelled() {
            let mut began = false;
            let end = self.follow(index, &mut began);
            if began {
                failed = 0;
                renewed = false;
            }
            let endpoint = self.shared.pool.endpoints()[index].clone();
            match end {
                End::Cancelled => return,
                End::Compacted(revision) => return self.tell(News::Compacted { revision }),
                End::Token(_) if !renewed => renewed = true,
                End::Token(fault) | End::Refused(fault) => {
                    return self.tell(News::Refused(Error::refused(&endpoint, fault)));
                }
                End::Interrupted(trouble) => {
                    self.tell(News::Interrupted(Error::unreachable(vec![(endpoint, trouble.words)])));
                    let count = self.shared.pool.endpoints().len();
                    index = (index + 1) % count;
                    failed += 1;
                    if failed % count == 0 {
                        self.line.pause(PAUSE);
                    }
                }
            }
        }
    }

    fn tell(&mut self, news: News) {
        if !self.line.is_cancelled() {
            (self.tell)(news);
        }
    }

    /// Watches at one member until the end of that.
    fn follow(&mut self, index: usize, began: &mut bool) -> End {
        match self.begin(index) {
            Ok(mut stream) => self.read(index, &mut stream, began),
            Err(end) => end,
        }
    }

    /// Asks a member for the stream.
    fn begin(&mut self, index: usize) -> Result<Stream, End> {
        let interrupted = |error: io::Error| End::Interrupted(Trouble::of(&error));
        let by = monotonic() + PATIENCE;
        let mut connection = self.shared.pool.open(index, by).map_err(interrupted)?;
        if !self.line.attach(&connection).map_err(interrupted)? {
            return Err(End::Cancelled);
        }
        let token = self.shared.token(&mut connection, by).map_err(end)?;
        let create = WatchCreate {
            key: Bytes(self.span.key.clone()),
            range_end: Bytes(self.span.end.clone()),
            start_revision: Number(self.next),
        };
        let call = Call::new("/v3/watch", &WatchRequest { create_request: create })
            .map_err(|error| End::Interrupted(Trouble::lasting(error.to_string())))?;
        let mut head = call.send(&mut connection, token.as_deref(), by).map_err(end)?;
        if head.status != 200 {
            let mut body = Vec::new();
            while connection.more(&mut head, &mut body, by).map_err(interrupted)? {}
            return Err(end(refusal(head.status, &body)));
        }
        Ok(Stream { connection, head, bytes: Vec::new(), token })
    }

    fn read(&mut self, index: usize, stream: &mut Stream, began: &mut bool) -> End {
        loop {
            let line = match stream.line() {
                Ok(Some(line)) => line,
                Ok(None) => return self.broken(Trouble::passing("it has ended the stream")),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    match self.shared.check(index, monotonic() + PATIENCE) {
                        Ok(()) => continue,
                        Err(miss) => return end(miss),
                    }
                }
                Err(error) => return self.broken(Trouble::of(&error)),
            };
            let response = match serde_json::from_slice::<Streamed<WatchResponse>>(&line) {
                Ok(Streamed { error: Some(failure), .. }) => return end(miss(failure.into())),
                Ok(Streamed { result: Some(response), .. }) => response,
                Ok(_) => continue,
                Err(error) => return self.broken(Trouble::lasting(format!("its answer: {error}"))),
            };
            if let Some(ended) = self.hear(response, stream, began) {
                return ended;
            }
        }
    }

    fn broken(&self, trouble: Trouble) -> End {
        if self.line.is_cancelled() { End::Cancelled } else { End::Interrupted(trouble) }
    }

    /// Whether the cluster has not come to the revision asked for, of which etcd would say nothing until then: if only
    /// the member has not, it is behind the others.
    fn gone_back(&self) -> Option<End> {
        let look = Range::of(Span::key(self.span.key.clone())).keys_only().at_most(1);
        match Client(Arc::clone(&self.shared)).range(&look, PATIENCE) {
            Ok(found) => (found.revision + 1 < self.next).then_some(End::Compacted(found.revision)),
            Err(error) => Some(End::Interrupted(Trouble::passing(&error.to_string()))),
        }
    }

    /// Passes on what a message says.
    fn hear(&mut self, response: WatchResponse, stream: &Stream, began: &mut bool) -> Option<End> {
        if response.canceled {
            return Some(if response.compact_revision.0 > 0 {
                End::Compacted(response.compact_revision.0)
            } else if response.cancel_reason.contains("auth") {
                stream.token.iter().for_each(|token| self.shared.pool.forget_token(token));
                End::Token(Fault { code: 16, message: response.cancel_reason })
            } else if response.cancel_reason.contains("permission denied") {
                End::Refused(Fault { code: 7, message: "etcdserver: permission denied".to_owned() })
            } else {
                End::Interrupted(Trouble::passing(&response.cancel_reason))
            });
        }
        if response.created {
            let revision = response.header.revision.0;
            if revision + 1 < self.next
                && let Some(ended) = self.gone_back()
            {
                return Some(ended);
            }
            *began = true;
            if self.next == 0 {
                self.next = revision + 1;
            }
            self.tell(News::Began { revision });
        }
        for event in response.events {
            let deleted = event.kind == "DELETE";
            let kv = KeyValue::from(event.kv);
            let revision = kv.mod_revision;
            self.tell(if deleted { News::Deleted { key: kv.key, revision } } else { News::Put(kv) });
            self.next = self.next.max(revision + 1);
        }
        None
    }
}

/// A watch that is open at a member.
struct Stream {
    connection: Connection,
    head: super::http::Head,
    bytes: Vec<u8>,
    token: Option<Arc<str>>,
}

impl Stream {
    /// The next message; `None` at the end.
    fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut searched = 0;
        loop {
            if let Some(end) = self.bytes.iter().skip(searched).position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.bytes.drain(..=searched + end).collect();
                if line.len() > 1 {
                    return Ok(Some(line));
                }
                searched = 0;
                continue;
            }
            searched = self.bytes.len();
            if !self.connection.more(&mut self.head, &mut self.bytes, monotonic() + SILENCE)? {
                return Ok(None);
            }
        }
    }
}

/// What it means for a stream that a call was missed.
fn end(miss: Miss) -> End {
    match miss {
        Miss::NotSent(trouble) | Miss::Lost(trouble) => End::Interrupted(trouble),
        Miss::Token(fault) => End::Token(fault),
        Miss::Final(fault) => End::Refused(fault),
    }
}
