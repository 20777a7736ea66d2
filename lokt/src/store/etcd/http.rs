//! A connection to one member, and HTTP/1.1 on it, as far as the gateway speaks it. All that waits has a deadline,
//! an instant of the monotonic clock.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::address::Endpoint;
use super::tls::{self, Tls};
use crate::host::clock::monotonic;
use crate::host::signals::start_beside;

/// The longest line of a head; etcd's are short.
const LONGEST_LINE: usize = 16 << 10;
/// The largest answer that is read: far above what etcd takes in one request (1.5 MiB), as a range may find a lot.
const LARGEST_BODY: usize = 256 << 20;

/// A connection. It can be used again once an answer's body was read to its end.
pub(super) struct Connection {
    stream: Stream,
    /// The same socket, to set its timeouts and to shut it down.
    socket: TcpStream,
    host: String,
    buffer: Vec<u8>,
    /// When a member has last answered on it.
    pub proven: Option<Duration>,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<tls::Stream>),
}

/// How an answer begins.
pub(super) struct Head {
    pub status: u16,
    /// Whether the connection ends with it.
    closes: bool,
    framing: Framing,
}

#[derive(Clone, Copy)]
enum Framing {
    /// So many bytes are left.
    Length(usize),
    /// So many bytes are left of the chunk; at 0, a chunk's head comes next.
    Chunked(usize),
    /// After a chunk, the end of its line comes.
    ChunkEnd,
    /// After the last chunk, lines come, up to an empty one.
    Trailers,
    UntilClose,
    Ended,
}

impl Connection {
    /// Connects, and makes the handshake of TLS.
    pub fn open(endpoint: &Endpoint, tls: Option<&Tls>, by: Duration) -> io::Result<Self> {
        let socket = connect(endpoint, by)?;
        socket.set_nodelay(true)?;
        limit(&socket, by)?;
        let same = socket.try_clone()?;
        let stream = match tls {
            None => Stream::Plain(socket),
            Some(tls) => Stream::Tls(Box::new(tls.over(socket, &endpoint.host).map_err(in_words)?)),
        };
        Ok(Self { stream, socket: same, host: endpoint.to_string(), buffer: Vec::new(), proven: None })
    }

    /// Whether it is one without TLS.
    pub fn is_plain(&self) -> bool {
        matches!(self.stream, Stream::Plain(_))
    }

    /// Its socket, for another thread to shut down.
    pub fn socket(&self) -> io::Result<TcpStream> {
        self.socket.try_clone()
    }

    /// Whether it is as it should be between two calls: open, with nothing to read.
    pub fn is_quiet(&self) -> bool {
        let peeked = self.socket.set_nonblocking(true).and_then(|()| self.socket.peek(&mut [0]));
        let quiet = matches!(&peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        self.buffer.is_empty() && self.socket.set_nonblocking(false).is_ok() && quiet
    }

    /// Sends a request. If this fails, the member has not got all of it, and won't act on it.
    pub fn send(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        by: Duration,
    ) -> io::Result<()> {
        let mut head = format!("POST {path} HTTP/1.1\r\nHost: {}\r\n", self.host);
        for (name, value) in headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let _ = write!(head, "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
        let mut request = head.into_bytes();
        request.extend_from_slice(body);
        let mut rest = request.as_slice();
        while !rest.is_empty() {
            limit(&self.socket, by)?;
            let taken = match &mut self.stream {
                Stream::Plain(stream) => stream.write(rest),
                Stream::Tls(stream) => stream.write(rest),
            };
            match taken {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(taken) => rest = rest.get(taken..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(in_words(error)),
            }
        }
        limit(&self.socket, by)?;
        match &mut self.stream {
            Stream::Plain(stream) => stream.flush(),
            Stream::Tls(stream) => stream.flush(),
        }
        .map_err(in_words)
    }

    /// Reads how the answer begins.
    pub fn head(&mut self, by: Duration) -> io::Result<Head> {
        let line = self.line(by)?;
        let status = line
            .strip_prefix("HTTP/1.")
            .and_then(|rest| rest.split(' ').nth(1))
            .and_then(|status| status.parse().ok())
            .ok_or_else(|| garbled("it does not speak HTTP"))?;
        let mut head = Head { status, closes: line.starts_with("HTTP/1.0"), framing: Framing::UntilClose };
        for _ in 0..100 {
            let line = self.line(by)?;
            if line.is_empty() {
                return Ok(head);
            }
            let (name, value) = line.split_once(':').ok_or_else(|| garbled("a header without a colon"))?;
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                let length: usize =
                    value.parse().map_err(|_| garbled("a content length that is no number"))?;
                if !matches!(head.framing, Framing::Chunked(_)) {
                    head.framing = if length == 0 { Framing::Ended } else { Framing::Length(length) };
                }
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                head.framing = Framing::Chunked(0);
            } else if name.eq_ignore_ascii_case("connection") {
                head.closes |= value.eq_ignore_ascii_case("close");
            }
        }
        Err(garbled("too many headers"))
    }

    /// Reads all of the answer's body, and whether the connection can be used again.
    pub fn body(&mut self, mut head: Head, by: Duration) -> io::Result<(Vec<u8>, bool)> {
        let mut body = Vec::new();
        while self.more(&mut head, &mut body, by)? {
            if body.len() > LARGEST_BODY {
                return Err(garbled("the answer is too large"));
            }
        }
        Ok((body, !head.closes))
    }

    /// Appends what comes next of the body; `false` at its end. After a timeout, it can be called again.
    pub fn more(&mut self, head: &mut Head, body: &mut Vec<u8>, by: Duration) -> io::Result<bool> {
        loop {
            match head.framing {
                Framing::Ended => return Ok(false),
                Framing::Length(left) => {
                    let got = self.take(left, body, by)?.ok_or(io::ErrorKind::UnexpectedEof)?;
                    head.framing = if got == left { Framing::Ended } else { Framing::Length(left - got) };
                    return Ok(true);
                }
                Framing::Chunked(0) => {
                    let line = self.line(by)?;
                    let size = line.split(';').next().unwrap_or_default().trim();
                    let size =
                        usize::from_str_radix(size, 16).map_err(|_| garbled("a chunk without a size"))?;
                    head.framing = if size == 0 { Framing::Trailers } else { Framing::Chunked(size) };
                }
                Framing::Chunked(left) => {
                    let got = self.take(left, body, by)?.ok_or(io::ErrorKind::UnexpectedEof)?;
                    head.framing = if got == left { Framing::ChunkEnd } else { Framing::Chunked(left - got) };
                    return Ok(true);
                }
                Framing::ChunkEnd => {
                    self.line(by)?;
                    head.framing = Framing::Chunked(0);
                }
                Framing::Trailers => {
                    if self.line(by)?.is_empty() {
                        head.framing = Framing::Ended;
                    }
                }
                Framing::UntilClose => {
                    head.closes = true;
                    match self.take(usize::MAX, body, by)? {
                        Some(_) => return Ok(true),
                        None => head.framing = Framing::Ended,
                    }
                }
            }
        }
    }

    /// Moves at most `limit` bytes; `None` if there are no more.
    fn take(&mut self, limit: usize, into: &mut Vec<u8>, by: Duration) -> io::Result<Option<usize>> {
        if self.buffer.is_empty() && !self.fill(by)? {
            return Ok(None);
        }
        let got = self.buffer.len().min(limit);
        into.extend(self.buffer.drain(..got));
        Ok(Some(got))
    }

    /// A line, without its end. Nothing of it is lost if time runs out before it is whole.
    fn line(&mut self, by: Duration) -> io::Result<String> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line);
                return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
            }
            if self.buffer.len() > LONGEST_LINE {
                return Err(garbled("a line that does not end"));
            }
            if !self.fill(by)? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Waits for bytes; `false` if there won't be any.
    fn fill(&mut self, by: Duration) -> io::Result<bool> {
        let mut bytes = [0; 8 << 10];
        loop {
            limit(&self.socket, by)?;
            let got = match &mut self.stream {
                Stream::Plain(stream) => stream.read(&mut bytes),
                Stream::Tls(stream) => stream.read(&mut bytes),
            };
            match got {
                Ok(got) => {
                    self.buffer.extend(bytes.iter().take(got));
                    return Ok(got > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(in_words(error)),
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Another thread may have a copy of the socket, which would keep it open.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// Lets a socket wait no longer.
fn limit(socket: &TcpStream, by: Duration) -> io::Result<()> {
    let left = left(by)?;
    socket.set_read_timeout(Some(left))?;
    socket.set_write_timeout(Some(left))
}

/// The time that is left, which is some.
fn left(by: Duration) -> io::Result<Duration> {
    let left = by.saturating_sub(monotonic());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// A socket that has run into its timeout says "try again".
fn in_words(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}

fn garbled(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn connect(endpoint: &Endpoint, by: Duration) -> io::Result<TcpStream> {
    let addresses = resolve(endpoint, by)?;
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
    for (index, address) in addresses.iter().enumerate() {
        let share = left(by)? / (addresses.len() - index) as u32;
        match TcpStream::connect_timeout(address, share) {
            Ok(socket) => return Ok(socket),
            Err(error) => failed = in_words(error),
        }
    }
    Err(failed)
}

/// The addresses of a host. The system's resolver knows no deadline, so that it runs in a thread of its own, and may be
/// left behind there.
fn resolve(endpoint: &Endpoint, by: Duration) -> io::Result<Vec<SocketAddr>> {
    if let Ok(ip) = endpoint.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, endpoint.port)]);
    }
    let (sender, answer) = mpsc::channel();
    let (host, port) = (endpoint.host.clone(), endpoint.port);
    start_beside(thread::Builder::new().name("resolver".into()), move || {
        let addresses = (host.as_str(), port).to_socket_addrs().map(Vec::from_iter);
        let _ = sender.send(addresses);
    })?;
    match answer.recv_timeout(left(by)?) {
        Ok(addresses) => addresses.map_err(|error| {
            io::Error::new(io::ErrorKind::NotFound, format!("its name can't be resolved: {error}"))
        }),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "its name is not resolved in time")),
    }
}
