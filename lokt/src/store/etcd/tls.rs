//! TLS 1.3 to the members: the CA is the user's own, and nothing of the machine's is trusted.

use std::fs;
use std::io;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::address::Access;
use super::error::Error;

/// What it means when a handshake is answered with something else, or not at all.
const NOT_TLS: &str = "it does not speak TLS: etcd:// instead of etcds://?";

/// How the members are spoken to.
pub(super) struct Tls(Arc<ClientConfig>);

/// A connection that is spoken over in secret.
pub(super) type Stream = StreamOwned<ClientConnection, TcpStream>;

impl Tls {
    /// Reads the files.
    pub fn new(access: &Access) -> Result<Self, Error> {
        let Some(ca) = &access.ca else {
            return Err(Error::setup("etcds:// needs the file of the cluster's CA: set ETCDCTL_CACERT"));
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates("ETCDCTL_CACERT", ca)? {
            roots.add(certificate).map_err(|error| unusable("ETCDCTL_CACERT", ca, &error))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| Error::setup(format!("TLS can't be used: {error}")))?
            .with_root_certificates(roots);
        let config = match (&access.cert, &access.key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(cert), Some(key)) => {
                let chain = certificates("ETCDCTL_CERT", cert)?;
                let secret = PrivateKeyDer::from_pem_slice(&read("ETCDCTL_KEY", key)?)
                    .map_err(|error| unusable("ETCDCTL_KEY", key, &error))?;
                builder
                    .with_client_auth_cert(chain, secret)
                    .map_err(|error| unusable("ETCDCTL_KEY", key, &error))?
            }
            (Some(_), None) => return Err(Error::setup("ETCDCTL_CERT is set without ETCDCTL_KEY")),
            (None, Some(_)) => return Err(Error::setup("ETCDCTL_KEY is set without ETCDCTL_CERT")),
        };
        Ok(Self(Arc::new(config)))
    }

    /// Makes the handshake over a connection, within that one's own timeouts.
    pub fn over(&self, mut socket: TcpStream, host: &str) -> io::Result<Stream> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let mut connection = ClientConnection::new(Arc::clone(&self.0), name).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            match connection.complete_io(&mut socket) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, NOT_TLS));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(StreamOwned::new(connection, socket))
    }
}

fn read(variable: &str, path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|error| unusable(variable, path, &error))
}

fn certificates(variable: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&read(variable, path)?)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(variable, path, &error))?;
    if certificates.is_empty() {
        return Err(unusable(variable, path, &"there is no certificate in it (PEM is what it has to be)"));
    }
    Ok(certificates)
}

fn unusable(variable: &str, path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::setup(format!("{variable}: {} can't be used: {why}", path.display()))
}

/// What a failure of TLS means, if it is one; trying again won't help.
pub(super) fn explain(error: &io::Error) -> Option<String> {
    let cause = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(match cause {
        rustls::Error::InvalidCertificate(why) => {
            format!(
                "its certificate is not accepted ({why}); ETCDCTL_CACERT names the CA that has to vouch for it"
            )
        }
        rustls::Error::InvalidMessage(_) => NOT_TLS.to_owned(),
        rustls::Error::AlertReceived(AlertDescription::ProtocolVersion) => {
            "it does not speak TLS 1.3, which lokt asks for".to_owned()
        }
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateExpired,
        ) => format!("it does not accept our certificate ({cause}); see ETCDCTL_CERT and ETCDCTL_KEY"),
        _ => format!("TLS failed: {cause}"),
    })
}
