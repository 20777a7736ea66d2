//! An etcd cluster, as a store needs it: its address, and a blocking client of its JSON gateway.
//!
//! The gateway is served by every member at its client URL, under `/v3`, since etcd 3.4; it is plain HTTP/1.1, so
//! that neither an async runtime nor a gRPC stack is needed. [`Client`] has a method for each call; every call has a
//! deadline, within which it tries one member after the other. An [`Error`] says by its [`Outcome`] whether anything
//! can have changed.
//!
//! Nothing here knows what a lock is.

mod address;
mod base64;
mod call;
mod client;
mod error;
mod http;
mod json;
mod keys;
mod pool;
#[cfg(feature = "etcd-tls")]
mod tls;
#[cfg(not(feature = "etcd-tls"))]
#[path = "no_tls.rs"]
mod tls;
mod watch;
mod wire;

pub use address::{Access, Address, BadAddress, Endpoint, User};
pub use client::{Client, Lease, Member, Status};
pub use error::{Error, Outcome};
pub use keys::{Compare, Done, Found, Is, KeyValue, Op, OpAnswer, Range, Span, Txn};
pub use watch::{News, Watch};
