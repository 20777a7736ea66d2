//! In place of `tls.rs` in a build without the feature `etcd-tls`.

use std::io;
use std::net::TcpStream;

use super::address::Access;
use super::error::Error;

/// There is none.
pub(super) enum Tls {}

/// Nothing is ever spoken over it.
pub(super) type Stream = TcpStream;

impl Tls {
    pub fn new(_: &Access) -> Result<Self, Error> {
        Err(Error::setup("this lokt was built without TLS (the feature etcd-tls): etcds:// can't be used"))
    }

    pub fn over(&self, _: TcpStream, _: &str) -> io::Result<Stream> {
        match *self {}
    }
}

pub(super) fn explain(_: &io::Error) -> Option<String> {
    None
}
