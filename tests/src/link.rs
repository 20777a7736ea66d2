//! A line to a member of a cluster that a test can listen to, stop at, and cut.
//!
//! A proxy of its own for each actor: what is done to one happens to that one alone. It reads no more of HTTP than
//! which call a request makes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use lokt::store::etcd::Endpoint;

use crate::machine::Point;

type Hook = Arc<dyn Fn(Point) + Send + Sync>;

/// What is in a transaction that puts something, and in nothing else.
const PUT: &[u8] = b"\"request_put\"";

/// Steps of a renewal: the lease is renewed, then the record is looked at.
const AT_REST: u8 = 0;
const LEASE_RENEWED: u8 = 1;
const LOOKS: u8 = 2;

/// A line to one member.
pub struct Link {
    state: Arc<State>,
    port: u16,
}

struct State {
    member: Endpoint,
    cut: AtomicBool,
    ended: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
    hook: Mutex<Option<Hook>>,
    before_put: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    step: AtomicU8,
}

impl Link {
    /// A line to `member`.
    pub fn to(member: &Endpoint) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("its port").port();
        let state = Arc::new(State {
            member: member.clone(),
            cut: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            open: Mutex::default(),
            hook: Mutex::default(),
            before_put: Mutex::default(),
            step: AtomicU8::new(AT_REST),
        });
        let own = Arc::clone(&state);
        thread::spawn(move || own.accept(&listener));
        Self { state, port }
    }

    /// Where it is reached.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint { host: Ipv4Addr::LOCALHOST.to_string(), port: self.port }
    }

    /// Cuts it, or mends it again.
    pub fn cut(&self, cut: bool) {
        self.state.cut.store(cut, Ordering::SeqCst);
        if cut {
            self.state.close();
        }
    }

    /// Calls `hook` at each step of each renewal of a lease, in the thread that passes it on: before the lease is
    /// renewed, before its holder looks whether the record is still its own, and before it hears that it is.
    pub fn at_renewals(&self, hook: Option<Hook>) {
        *self.state.hook.lock().unwrap() = hook;
    }

    /// Calls `hook` before the next transaction that puts something is passed on, in the thread that does.
    pub fn before_next_put(&self, hook: impl FnOnce() + Send + 'static) {
        *self.state.before_put.lock().unwrap() = Some(Box::new(hook));
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        self.state.close();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl State {
    fn close(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming().map_while(Result::ok) {
            if self.ended.load(Ordering::SeqCst) {
                return;
            }
            if let Some((client, member)) = self.connected(client) {
                let (own, answers) = (Arc::clone(self), (member.try_clone(), client.try_clone()));
                thread::spawn(move || own.pass_on(client, member, true));
                if let (Ok(member), Ok(client)) = answers {
                    let own = Arc::clone(self);
                    thread::spawn(move || own.pass_on(member, client, false));
                }
            }
        }
    }

    fn connected(&self, client: TcpStream) -> Option<(TcpStream, TcpStream)> {
        if self.cut.load(Ordering::SeqCst) {
            return None;
        }
        let member: SocketAddr = self.member.to_string().parse().ok()?;
        let member = TcpStream::connect(member).ok()?;
        for stream in [&client, &member] {
            stream.set_nodelay(true).ok()?;
            self.open.lock().unwrap().push(stream.try_clone().ok()?);
        }
        // It may have been cut meanwhile.
        if self.cut.load(Ordering::SeqCst) {
            self.close();
        }
        Some((client, member))
    }

    fn pass_on(&self, mut from: TcpStream, mut to: TcpStream, are_requests: bool) {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            let chunk = &buffer[..read];
            if are_requests {
                self.hear_request(chunk);
            } else {
                self.hear_answer();
            }
            if to.write_all(chunk).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    }

    fn hear_request(&self, chunk: &[u8]) {
        if chunk.windows(PUT.len()).any(|part| part == PUT) {
            let hook = self.before_put.lock().unwrap().take();
            hook.into_iter().for_each(|hook| hook());
        }
        if chunk.starts_with(b"POST /v3/lease/keepalive") {
            self.pass(Point::BeforeMutex);
            self.step.store(LEASE_RENEWED, Ordering::SeqCst);
        } else if chunk.starts_with(b"POST /v3/kv/txn") && self.is_now(LEASE_RENEWED, LOOKS) {
            self.pass(Point::BeforeWrite);
        }
    }

    fn hear_answer(&self) {
        if self.is_now(LOOKS, AT_REST) {
            self.pass(Point::AfterMutex);
        }
    }

    fn is_now(&self, before: u8, after: u8) -> bool {
        self.step.compare_exchange(before, after, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    fn pass(&self, point: Point) {
        // Not called under the lock: a hook may take its time.
        let hook = self.hook.lock().unwrap().clone();
        if let Some(hook) = hook {
            hook(point);
        }
    }
}
